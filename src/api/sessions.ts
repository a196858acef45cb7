import { Readable } from 'node:stream';
import type { FastifyPluginAsync } from 'fastify';
import { CountersignError } from '../errors.ts';
import { findSession, listSessions } from '../store/sessions.ts';
import { caller, dutiesAnywhere, needDuty } from './caller.ts';
import type { ApiServices } from './services.ts';

/** Sessions and their masked replay: for auditors only, and every look is in the log. */
export const sessionRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    api.get<{ Querystring: { principal?: string; run?: string; limit?: number } }>(
      '/sessions',
      {
        schema: {
          querystring: {
            type: 'object',
            properties: {
              principal: { type: 'string' },
              run: { type: 'string' },
              limit: { type: 'integer', minimum: 1, maximum: 1_000 },
            },
          },
        },
      },
      async (request) => {
        const principal = await caller(request, services);
        needDuty(principal, dutiesAnywhere(principal, services), ['auditor'], 'list sessions');
        const { principal: principalId, run: runId, limit } = request.query;
        const sessions = await listSessions(services.store, { principalId, runId, limit });
        return { sessions: sessions.filter((one) => services.dutiesOn(principal, one.connection).includes('auditor')) };
      },
    );

    api.get<{ Params: { id: string } }>('/sessions/:id/replay', async (request, reply) => {
      const principal = await caller(request, services);
      needDuty(principal, dutiesAnywhere(principal, services), ['auditor'], 'replay a session');
      const session = await findSession(services.store, request.params.id);
      if (session === undefined)
        throw new CountersignError('recording_unknown', `there is no session ${request.params.id}`);
      needDuty(principal, services.dutiesOn(principal, session.connection), ['auditor'], 'replay this session');
      const index = services.log.append(
        services.encode({
          type: 'recording.read',
          at: new Date(services.clock.now()).toISOString(),
          node: services.node,
          session: session.id,
          auditor: principal.id,
        }),
      );
      // Reading is in the log before the first byte is read.
      await services.log.durable(index);
      const lines = (async function* () {
        for await (const event of services.replay(session.id)) yield `${JSON.stringify(event)}\n`;
      })();
      return reply.type('application/x-ndjson').send(Readable.from(lines));
    });
  };
