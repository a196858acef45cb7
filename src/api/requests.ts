import type { FastifyPluginAsync, FastifyRequest } from 'fastify';
import { dutiesFor } from '../approvals/policy-input.ts';
import { lastApprovedBefore } from '../store/request-pages.ts';
import { runByGrant } from '../store/runs.ts';
import { caller, freshCaller, needDuty } from './caller.ts';
import { dutiesToSee, listQuery, requestView, summary, type ListQuery } from './request-views.ts';
import type { ApiServices } from './services.ts';

const comment = { type: 'string', maxLength: 4_000 } as const;
/** An integer as a number or, where it is larger than a number is exact for, as text. */
const key = { anyOf: [{ type: 'integer' }, { type: 'string', pattern: '^-?[0-9]{1,18}$' }] } as const;

const decisionBodies = {
  reject: { type: 'object', additionalProperties: false, properties: { comment } },
  approve: {
    type: 'object',
    additionalProperties: false,
    properties: {
      comment,
      /** Not this statement alone, but the loop of which it is a step. */
      template: {
        type: 'object',
        additionalProperties: false,
        required: ['untilKey', 'rows'],
        properties: {
          fromKey: key,
          untilKey: key,
          rows: { type: 'integer', minimum: 1 },
          uses: { type: 'integer', minimum: 1 },
          expiresMs: { type: 'integer', minimum: 1 },
          anySession: { type: 'boolean' },
        },
      },
    },
  },
} as const;

interface DecisionBody {
  readonly comment?: string;
  readonly template?: {
    readonly fromKey?: string | number;
    readonly untilKey: string | number;
    readonly rows: number;
    readonly uses?: number;
    readonly expiresMs?: number;
    readonly anySession?: boolean;
  };
}

/** Requests: what waits, what exactly is asked, and the decision. */
export const requestRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    api.get<{ Querystring: ListQuery }>('/requests', { schema: { querystring: listQuery } }, async (request) => {
      const principal = await caller(request, services);
      const { inbox, state, limit } = request.query;
      const view = inbox === undefined ? request.query.view : 'waiting';
      if (view !== undefined) return requestView(services, principal, { ...request.query, view });
      const all = await services.requests.list({ state, limit });
      return { requests: all.filter((one) => dutiesToSee(services, principal, one).length > 0).map(summary) };
    });

    /** The request, for whom it is. */
    const visible = async (request: FastifyRequest, id: string) => {
      const principal = await caller(request, services);
      const detail = await services.requests.get(id);
      const seen = dutiesToSee(services, principal, detail.request);
      needDuty(principal, seen, ['designer', 'approver', 'executor', 'auditor', 'admin'], 'see this request');
      return { ...detail, asker: { principal, duties: dutiesFor(detail.request, principal, services.dutiesOn) } };
    };

    /** Whoever is asked anew who they are, and the duties of theirs that count for the request. */
    const acting = async (request: FastifyRequest, id: string) => {
      const principal = await freshCaller(request, services);
      const { request: found } = await services.requests.get(id);
      return { id: found.id, principal, duties: dutiesFor(found, principal, services.dutiesOn) };
    };

    api.get<{ Params: { id: string } }>('/requests/:id', async (request) => {
      const { asker, ...detail } = await visible(request, request.params.id);
      const { grant } = detail;
      const [you, before, run] = await Promise.all([
        services.requests.standing(detail.request.id, asker),
        lastApprovedBefore(services.store, detail.request),
        grant === undefined ? undefined : runByGrant(services.store, grant.id),
      ]);
      return {
        ...summary(detail.request),
        // The exact text that was digested, so that anybody can compute the digest again.
        digestInputJson: detail.request.digestInputJson,
        evidence: detail.request.evidence,
        decisions: detail.decisions,
        grant,
        approvalsNeeded: detail.approvalsNeeded,
        approvalsGiven: detail.approvalsGiven,
        steps: detail.steps,
        reviews: detail.reviews,
        you,
        runId: run?.id,
        lastApproved: before && {
          request: before.requestId,
          approvedAt: before.approvedAt,
          version: before.version.version,
          content: before.version.content,
        },
      };
    });

    // The bytes of the body are what is digested, no more and no less.
    api.get<{ Params: { id: string } }>('/requests/:id/digest', async (request, reply) => {
      const { digest, digestInputJson } = (await visible(request, request.params.id)).request;
      return reply
        .header('content-type', 'application/json')
        .header('repr-digest', `sha-256=:${Buffer.from(digest, 'hex').toString('base64')}:`)
        .send(Buffer.from(digestInputJson));
    });

    for (const verdict of ['approve', 'reject'] as const) {
      api.post<{ Params: { id: string }; Body: DecisionBody }>(
        `/requests/:id/${verdict}`,
        { schema: { body: decisionBodies[verdict] } },
        async (request) => {
          const { id, principal, duties } = await acting(request, request.params.id);
          const { comment: text = '', template } = request.body;
          const decided =
            template === undefined
              ? await services.requests.decide(id, principal, duties, verdict, text)
              : await services.templates.approve(id, { principal, duties }, text, {
                  ...template,
                  fromKey: template.fromKey === undefined ? undefined : String(template.fromKey),
                  untilKey: String(template.untilKey),
                });
          return { ...summary(decided.request), grant: decided.grant };
        },
      );
    }

    api.post<{ Params: { id: string } }>('/requests/:id/withdraw', async (request) => {
      const { id, principal, duties } = await acting(request, request.params.id);
      return summary(await services.requests.withdraw(id, { principal, duties }));
    });

    api.post<{ Params: { id: string }; Body: { reason: string } }>(
      '/requests/:id/break-glass',
      {
        schema: {
          body: {
            type: 'object',
            additionalProperties: false,
            required: ['reason'],
            properties: { reason: { type: 'string', maxLength: 4_000 } },
          },
        },
      },
      async (request) => {
        const { id, principal } = await acting(request, request.params.id);
        return summary(await services.requests.breakGlass.ask(id, principal, request.body.reason));
      },
    );

    api.post<{ Params: { id: string }; Body: { verdict: 'ok' | 'object'; comment?: string } }>(
      '/requests/:id/review',
      {
        schema: {
          body: {
            type: 'object',
            additionalProperties: false,
            required: ['verdict'],
            properties: {
              verdict: { type: 'string', enum: ['ok', 'object'] },
              comment: { type: 'string', maxLength: 4_000 },
            },
          },
        },
      },
      async (request) => {
        const { id, principal, duties } = await acting(request, request.params.id);
        const { verdict, comment = '' } = request.body;
        return summary(await services.requests.breakGlass.review(id, { principal, duties }, verdict, comment));
      },
    );
  };
