import type { FastifyPluginAsync, FastifyRequest } from 'fastify';
import { dutiesFor } from '../approvals/policy-input.ts';
import type { Principal } from '../identity/principal.ts';
import type { RequestState } from '../store/database.ts';
import type { RequestRecord } from '../store/requests.ts';
import { caller, dutiesAnywhere, needDuty } from './caller.ts';
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
    /** Duties that count for a request: on its connection, or on every connection that a change of rules touches. */
    const dutiesOn = (principal: Principal, request: RequestRecord) => dutiesFor(request, principal, services.dutiesOn);
    const sees = (principal: Principal, request: RequestRecord) =>
      request.kind === 'policy' ? dutiesAnywhere(principal, services) : dutiesOn(principal, request);
    const found = async (request: FastifyRequest<{ Params: { id: string } }>) => {
      const principal = await caller(request, services);
      const { request: one } = await services.requests.get(request.params.id);
      return { principal, id: one.id, duties: dutiesOn(principal, one) };
    };

    api.get<{ Querystring: { state?: RequestState; limit?: number; before?: string; inbox?: '1' | 'true' } }>(
      '/requests',
      {
        schema: {
          querystring: {
            type: 'object',
            properties: {
              state: { type: 'string', enum: ['pending', 'approved', 'rejected', 'withdrawn', 'expired'] },
              limit: { type: 'integer', minimum: 1, maximum: 1_000 },
              /** Only those made before this moment. */
              before: { type: 'string', format: 'date-time' },
              /** Only what this caller may approve now, oldest first. */
              inbox: { type: 'string', enum: ['1', 'true'] },
            },
          },
        },
      },
      async (request) => {
        const principal = await caller(request, services);
        const { state, limit, before, inbox } = request.query;
        if (inbox !== undefined) {
          const waiting = await services.requests.inbox(principal, (one) => dutiesOn(principal, one), limit ?? 100);
          return { requests: waiting.map(summary) };
        }
        const createdBefore = before === undefined ? undefined : new Date(before);
        const all = await services.requests.list({ state, limit, createdBefore });
        return { requests: all.filter((one) => [...sees(principal, one)].length > 0).map(summary) };
      },
    );

    api.get<{ Params: { id: string } }>('/requests/:id', async (request) => {
      const principal = await caller(request, services);
      const detail = await services.requests.get(request.params.id);
      needDuty(
        principal,
        sees(principal, detail.request),
        ['designer', 'approver', 'executor', 'auditor', 'admin'],
        'see this request',
      );
      return {
        ...summary(detail.request),
        // The exact text that was digested, so that anybody can compute the digest again.
        digestInputJson: detail.request.digestInputJson,
        evidence: detail.request.evidence,
        decisions: detail.decisions,
        grant: detail.grant,
        approvalsNeeded: detail.approvalsNeeded,
        approvalsGiven: detail.approvalsGiven,
        steps: detail.steps,
        reviews: detail.reviews,
        you: await services.requests.explain(detail.request.id, {
          principal,
          duties: dutiesOn(principal, detail.request),
        }),
      };
    });

    for (const verdict of ['approve', 'reject'] as const) {
      api.post<{ Params: { id: string }; Body: { comment?: string } }>(
        `/requests/:id/${verdict}`,
        { schema: comment },
        async (request) => {
          const { id, principal, duties } = await found(request);
          const comment = request.body.comment ?? '';
          const decided = await services.requests.decide(id, principal, duties, verdict, comment);
          return { ...summary(decided.request), grant: decided.grant };
        },
      );
    }

    api.post<{ Params: { id: string } }>('/requests/:id/withdraw', async (request) => {
      const { id, principal, duties } = await found(request);
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
        const { id, principal } = await found(request);
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
        const { id, principal, duties } = await found(request);
        const { verdict, comment = '' } = request.body;
        return summary(await services.requests.breakGlass.review(id, { principal, duties }, verdict, comment));
      },
    );
  };

function summary(request: RequestRecord) {
  const { digestInputJson: _json, evidence: _evidence, ...rest } = request;
  return rest;
}
