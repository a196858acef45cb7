import type { FastifyPluginAsync } from 'fastify';
import { caller, dutiesAnywhere, freshCaller, needDuty } from './caller.ts';
import type { ApiServices } from './services.ts';

const pair = {
  body: {
    type: 'object',
    additionalProperties: false,
    required: ['a', 'b', 'reason'],
    properties: {
      a: { type: 'string', minLength: 1, maxLength: 255 },
      b: { type: 'string', minLength: 1, maxLength: 255 },
      reason: { type: 'string', maxLength: 1_000 },
    },
  },
} as const;

/** People: which names are one human, and who said so. */
export const peopleRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    api.get('/people', async (request) => {
      const principal = await caller(request, services);
      needDuty(principal, dutiesAnywhere(principal, services), ['admin', 'auditor'], 'see who is who');
      return services.humans.list();
    });

    for (const action of ['link', 'unlink'] as const) {
      api.post<{ Body: { a: string; b: string; reason: string } }>(
        `/people/${action}`,
        { schema: pair },
        async (request, reply) => {
          const principal = await freshCaller(request, services);
          needDuty(principal, dutiesAnywhere(principal, services), ['admin'], 'say who is who');
          const { a, b, reason } = request.body;
          await services.humans[action](a, b, principal, reason);
          return reply.status(204).send();
        },
      );
    }
  };
