import type { FastifyPluginAsync, FastifyRequest } from 'fastify';
import type { RequestState } from '../store/database.ts';
import type { RequestRecord } from '../store/requests.ts';
import { caller, needDuty } from './caller.ts';
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
    api.get<{ Querystring: { state?: RequestState; limit?: number } }>(
      '/requests',
      {
        schema: {
          querystring: {
            type: 'object',
            properties: {
              state: { type: 'string', enum: ['pending', 'approved', 'rejected', 'withdrawn', 'expired'] },
              limit: { type: 'integer', minimum: 1, maximum: 1_000 },
            },
          },
        },
      },
      async (request) => {
        const principal = await caller(request, services);
        const all = await services.requests.list({ state: request.query.state, limit: request.query.limit });
        return { requests: all.filter((one) => services.dutiesOn(principal, one.connection).length > 0).map(summary) };
      },
    );

    /** The request, for whom it is. */
    const visible = async (request: FastifyRequest, id: string) => {
      const principal = await caller(request, services);
      const detail = await services.requests.get(id);
      const duties = services.dutiesOn(principal, detail.request.connection);
      needDuty(principal, duties, ['designer', 'approver', 'executor', 'auditor'], 'see this request');
      return detail;
    };

    api.get<{ Params: { id: string } }>('/requests/:id', async (request) => {
      const detail = await visible(request, request.params.id);
      return {
        ...summary(detail.request),
        // The exact text that was digested, so that anybody can compute the digest again.
        digestInputJson: detail.request.digestInputJson,
        evidence: detail.request.evidence,
        decisions: detail.decisions,
        grant: detail.grant,
        approvalsNeeded: detail.approvalsNeeded,
        approvalsGiven: detail.approvalsGiven,
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
          const principal = await caller(request, services);
          const { request: found } = await services.requests.get(request.params.id);
          const duties = services.dutiesOn(principal, found.connection);
          const { comment: text = '', template } = request.body;
          const decided =
            template === undefined
              ? await services.requests.decide(found.id, principal, duties, verdict, text)
              : await services.templates.approve(found.id, { principal, duties }, text, {
                  ...template,
                  fromKey: template.fromKey === undefined ? undefined : String(template.fromKey),
                  untilKey: String(template.untilKey),
                });
          return { ...summary(decided.request), grant: decided.grant };
        },
      );
    }

    api.post<{ Params: { id: string } }>('/requests/:id/withdraw', async (request) => {
      const principal = await caller(request, services);
      const { request: found } = await services.requests.get(request.params.id);
      const duties = services.dutiesOn(principal, found.connection);
      return summary(await services.requests.withdraw(found.id, { principal, duties }));
    });
  };

function summary(request: RequestRecord) {
  const { digestInputJson: _json, evidence: _evidence, ...rest } = request;
  return rest;
}
