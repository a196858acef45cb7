/** People who left: by hand of an administrator, and who they are. */
import type { FastifyPluginAsync } from 'fastify';
import { CountersignError } from '../errors.ts';
import { caller, dutiesAnywhere, freshCaller, needDuty } from './caller.ts';
import type { ApiServices } from './services.ts';

interface OnPerson {
  Params: { id: string };
  Body: { reason: string };
}

const withReason = {
  schema: {
    body: {
      type: 'object',
      additionalProperties: false,
      required: ['reason'],
      properties: { reason: { type: 'string', minLength: 1, maxLength: 1_000 } },
    },
  },
};

export const leaverRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();

    api.get('/people/removed', async (request) => {
      const principal = await caller(request, services);
      needDuty(principal, dutiesAnywhere(principal, services), ['admin', 'auditor'], 'see who was removed');
      const people = await services.leavers.list();
      return {
        people: people.map(({ principalId, source, reason, removedBy, removedAt, finishedAt }) => ({
          principalId,
          source,
          reason,
          removedBy,
          removedAt: removedAt.toISOString(),
          finishedAt: finishedAt?.toISOString(),
        })),
      };
    });

    api.post<OnPerson>('/people/:id/remove', withReason, async (request, reply) => {
      const principal = await caller(request, services);
      needDuty(principal, dutiesAnywhere(principal, services), ['admin'], 'remove people');
      const { id: principalId } = request.params;
      await services.leavers.remove({ principalId, reason: request.body.reason, source: 'admin', by: principal.id });
      return reply.status(204).send();
    });

    api.post<OnPerson>('/people/:id/reactivate', withReason, async (request, reply) => {
      const principal = await freshCaller(request, services);
      needDuty(principal, dutiesAnywhere(principal, services), ['admin'], 'let people in again');
      const { id: principalId } = request.params;
      const removal = { principalId, reason: request.body.reason, source: 'admin', by: principal.id } as const;
      if (await services.leavers.reactivate(removal)) return reply.status(204).send();
      throw new CountersignError('not_found', `no administrator has removed ${JSON.stringify(principalId)}`, {
        hint: 'whom SCIM has removed, SCIM lets in again',
      });
    });
  };
