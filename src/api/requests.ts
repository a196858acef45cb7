import type { FastifyPluginAsync, FastifyRequest } from 'fastify';
import { lastApprovedBefore } from '../store/request-pages.ts';
import { runByGrant } from '../store/runs.ts';
import { caller, freshCaller, needDuty } from './caller.ts';
import { listQuery, requestView, summary, type ListQuery } from './request-views.ts';
import type { ApiServices } from './services.ts';

const comment = {
  body: {
    type: 'object',
    additionalProperties: false,
    properties: { comment: { type: 'string', maxLength: 4_000 } },
  },
} as const;

/** Requests: what waits, what exactly is asked, and the decision. */
export const requestRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    api.get<{ Querystring: ListQuery }>('/requests', { schema: { querystring: listQuery } }, async (request) => {
      const principal = await caller(request, services);
      const { view, state, limit } = request.query;
      if (view !== undefined) return requestView(services, principal, { ...request.query, view });
      const all = await services.requests.list({ state, limit });
      return { requests: all.filter((one) => services.dutiesOn(principal, one.connection).length > 0).map(summary) };
    });

    /** The request, for whom it is. */
    const visible = async (request: FastifyRequest, id: string) => {
      const principal = await caller(request, services);
      const detail = await services.requests.get(id);
      const duties = services.dutiesOn(principal, detail.request.connection);
      needDuty(principal, duties, ['designer', 'approver', 'executor', 'auditor'], 'see this request');
      return { ...detail, asker: { principal, duties } };
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
      api.post<{ Params: { id: string }; Body: { comment?: string } }>(
        `/requests/:id/${verdict}`,
        { schema: comment },
        async (request) => {
          const principal = await freshCaller(request, services);
          const { request: found } = await services.requests.get(request.params.id);
          const duties = services.dutiesOn(principal, found.connection);
          const decided = await services.requests.decide(
            found.id,
            principal,
            duties,
            verdict,
            request.body.comment ?? '',
          );
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
