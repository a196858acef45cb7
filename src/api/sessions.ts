import { Readable } from 'node:stream';
import type { FastifyPluginAsync, FastifyRequest } from 'fastify';
import { sessionTimeline } from '../audit/session-timeline.ts';
import { readerFor } from '../audit/verify.ts';
import { CountersignError } from '../errors.ts';
import type { Principal } from '../identity/principal.ts';
import { findSession, listSessions, type StoredSession } from '../store/sessions.ts';
import { caller, dutiesAnywhere, needDuty } from './caller.ts';
import type { ApiServices } from './services.ts';

interface SessionParams {
  Params: { id: string };
}

interface SessionQuery {
  Querystring: {
    principal?: string;
    human?: string;
    connection?: string;
    run?: string;
    from?: string;
    to?: string;
    open?: boolean;
    before?: string;
    limit?: number;
  };
}

const text = { type: 'string', minLength: 1, maxLength: 300 } as const;
const time = { type: 'string', format: 'date-time' } as const;
const statementsPerAnswer = 500;

/** Sessions and their masked replay: for auditors only, and every look at a replay is in the log. */
export const sessionRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();

    const auditor = async (
      request: FastifyRequest<SessionParams>,
      what: string,
    ): Promise<{ principal: Principal; session: StoredSession }> => {
      const principal = await caller(request, services);
      needDuty(principal, dutiesAnywhere(principal, services), ['auditor'], `${what} a session`);
      const session = await findSession(services.store, request.params.id);
      if (session === undefined)
        throw new CountersignError('recording_unknown', `there is no session ${request.params.id}`);
      needDuty(principal, services.dutiesOn(principal, session.connection), ['auditor'], `${what} this session`);
      return { principal, session };
    };

    /** Newest first. `from` is inclusive, `to` exclusive; `before` is the id of the last session that was shown. */
    api.get<SessionQuery>(
      '/sessions',
      {
        schema: {
          querystring: {
            type: 'object',
            properties: {
              principal: text,
              human: text,
              connection: text,
              run: text,
              from: time,
              to: time,
              open: { type: 'boolean' },
              before: text,
              limit: { type: 'integer', minimum: 1, maximum: 1_000 },
            },
          },
        },
      },
      async (request) => {
        const principal = await caller(request, services);
        needDuty(principal, dutiesAnywhere(principal, services), ['auditor'], 'list sessions');
        const { principal: principalId, run: runId, from, to, open, limit = 100, ...filter } = request.query;
        const connections = services
          .connectionNames()
          .filter((name) => services.dutiesOn(principal, name).includes('auditor'));
        const sessions = await listSessions(services.store, {
          ...filter,
          principalId,
          runId,
          connections,
          openOnly: open,
          startedFrom: from === undefined ? undefined : new Date(from),
          startedBefore: to === undefined ? undefined : new Date(to),
          limit: limit + 1,
        });
        const shown = sessions.slice(0, limit);
        return { sessions: shown, next: sessions.length > limit ? (shown.at(-1)?.id ?? null) : null };
      },
    );

    api.get<SessionParams>('/sessions/:id', async (request) => (await auditor(request, 'see')).session);

    /** Statement by statement, from the log: verdict, outcome, counts. No rows; those are in the replay. */
    api.get<SessionParams & { Querystring: { from?: number } }>(
      '/sessions/:id/statements',
      { schema: { querystring: { type: 'object', properties: { from: { type: 'integer', minimum: 0 } } } } },
      async (request) => {
        const { session } = await auditor(request, 'see');
        const { log, logDirectory } = services;
        return sessionTimeline({
          read: readerFor(logDirectory),
          size: Number((await log.checkpoint()).split('\n')[1]),
          sessionId: session.id,
          startedAt: session.startedAt,
          endedAt: session.endedAt,
          from: request.query.from,
          limit: statementsPerAnswer,
        });
      },
    );

    api.get<SessionParams>('/sessions/:id/replay', async (request, reply) => {
      const { principal, session } = await auditor(request, 'replay');
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
