import type { FastifyPluginAsync, FastifyRequest } from 'fastify';
import { CountersignError } from '../errors.ts';
import type { ChunkFile, ChunkRef } from '../jobs/runner-api.ts';
import type { Principal } from '../identity/principal.ts';
import { runProgress } from '../jobs/run-progress.ts';
import type { RunState, RunStatus } from '../jobs/runner-api.ts';
import { findGrant } from '../store/grants.ts';
import { listRuns, runById } from '../store/runs.ts';
import { caller, freshCaller, needDuty } from './caller.ts';
import type { ApiServices } from './services.ts';

interface RunParams {
  Params: { id: string };
}

const chunkRef = { chunkNo: { type: 'integer', minimum: 0 }, attempt: { type: 'integer', minimum: 1 } } as const;

function bodySchema(properties: Record<string, unknown>, required: readonly string[]) {
  return { body: { type: 'object', additionalProperties: false, required, properties } };
}

/** Runs: start one from a grant, and the runner's protocol (lease, heartbeat, seal, fail, finish). */
export const runRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();

    /** Only the human who executes a run works on it. */
    const executor = async (request: FastifyRequest<RunParams>, identify = caller): Promise<Principal> => {
      const principal = await identify(request, services);
      const run = await runById(services.store, request.params.id);
      if (run === undefined) throw new CountersignError('run_unknown', `there is no run ${request.params.id}`);
      if (
        run.executor_human !== principal.human ||
        !services.dutiesOn(principal, run.connection).includes('executor')
      ) {
        throw new CountersignError('forbidden', `run ${run.id} belongs to ${run.executor_id}`);
      }
      return principal;
    };

    api.post<{ Body: { job: string; request?: string } }>(
      '/runs',
      { schema: bodySchema({ job: { type: 'string' }, request: { type: 'string' } }, ['job']) },
      async (request, reply) => {
        const principal = await freshCaller(request, services);
        const { job, request: requestId } = request.body;
        const dutiesOn = (connection: string) => services.dutiesOn(principal, connection);
        const started = await services.runs.start({ principal, dutiesOn, job, requestId });
        void reply.status(201);
        return { ...started, gateway: services.gateway, status: await services.ledger.status(started.runId) };
      },
    );

    api.get<{ Querystring: { job?: string; state?: RunState; before?: string; limit?: number } }>(
      '/runs',
      {
        schema: {
          querystring: {
            type: 'object',
            properties: {
              job: { type: 'string', maxLength: 100 },
              state: { type: 'string', enum: ['running', 'paused', 'completed', 'failed', 'killed'] },
              before: { type: 'string', maxLength: 100 },
              limit: { type: 'integer', minimum: 1, maximum: 1_000 },
            },
          },
        },
      },
      async (request) => {
        const principal = await caller(request, services);
        const { limit = 200, ...filter } = request.query;
        const connections = services.connectionNames().filter((name) => services.dutiesOn(principal, name).length > 0);
        const runs = await listRuns(services.store, { ...filter, connections, limit: limit + 1 });
        const shown = runs.slice(0, limit);
        return { runs: shown, next: runs.length > limit ? (shown.at(-1)?.id ?? null) : null };
      },
    );

    const watched = async (request: FastifyRequest<RunParams>) => {
      const principal = await caller(request, services);
      const { status, chunks } = await services.ledger.watched(request.params.id);
      const duties = services.dutiesOn(principal, status.connection);
      needDuty(principal, duties, ['designer', 'approver', 'executor', 'auditor'], 'see this run');
      return { status, chunks };
    };
    const visible = async (request: FastifyRequest<RunParams>) => (await watched(request)).status;
    const requestOf = async ({ grantId }: RunStatus) => (await findGrant(services.store, grantId))?.requestId ?? null;

    api.get<RunParams>('/runs/:id', async (request) => {
      const status = await visible(request);
      return { ...status, request: await requestOf(status) };
    });

    /** The same for somebody who watches: small, however many chunks there are. */
    api.get<RunParams>('/runs/:id/progress', async (request) => {
      const { status, chunks } = await watched(request);
      return { ...runProgress(status, chunks), request: await requestOf(status) };
    });

    /** The exact text whose digest is in the log. */
    api.get<RunParams>('/runs/:id/manifest', async (request, reply) => {
      const status = await visible(request);
      const text = (await runById(services.store, status.runId))?.manifest_json;
      if (text === undefined || text === null)
        throw new CountersignError('not_found', `run ${status.runId} is ${status.state}: it has no manifest`, {
          hint: 'a run has a manifest once it is completed',
        });
      return reply.type('application/json').send(text);
    });

    /** Failed chunks are planned again, all or one; who may is who may work on the run. */
    api.post<RunParams & { Body: { chunk?: number } }>(
      '/runs/:id/retry',
      { schema: bodySchema({ chunk: { type: 'integer', minimum: 0 } }, []) },
      async (request) => {
        const principal = await executor(request, freshCaller);
        const { id } = request.params;
        const { grantId } = await services.ledger.status(id);
        const grant = await findGrant(services.store, grantId);
        if (grant === undefined) throw new Error(`run ${id} has no grant`);
        const retried = await services.ledger.retry(id, principal.id, grant.expiresAt, request.body.chunk);
        return { retried, ...(await services.ledger.status(id)) };
      },
    );

    api.post<RunParams>('/runs/:id/credential', async (request) => {
      const principal = await executor(request, freshCaller);
      const credential = await services.runs.credential(request.params.id, principal);
      return { credential, gateway: services.gateway, status: await services.ledger.status(request.params.id) };
    });

    api.post<RunParams & { Body: { holder: string } }>(
      '/runs/:id/lease',
      { schema: bodySchema({ holder: { type: 'string', maxLength: 200 } }, ['holder']) },
      async (request) => {
        await executor(request);
        return services.ledger.lease(request.params.id, request.body.holder);
      },
    );

    api.post<RunParams & { Body: Omit<ChunkRef, 'runId'> & { holder: string } }>(
      '/runs/:id/heartbeat',
      {
        schema: bodySchema({ ...chunkRef, holder: { type: 'string', maxLength: 200 } }, [
          'chunkNo',
          'attempt',
          'holder',
        ]),
      },
      async (request) => {
        await executor(request);
        const { chunkNo, attempt, holder } = request.body;
        return services.ledger.heartbeat({ runId: request.params.id, chunkNo, attempt }, holder);
      },
    );

    api.post<RunParams & { Body: Omit<ChunkRef, 'runId'> & { rows: number; file: ChunkFile | null } }>(
      '/runs/:id/seal',
      {
        schema: bodySchema(
          {
            ...chunkRef,
            rows: { type: 'integer', minimum: 0 },
            file: {
              anyOf: [
                { type: 'null' },
                {
                  type: 'object',
                  additionalProperties: false,
                  required: ['path', 'bytes', 'sha256'],
                  properties: {
                    path: { type: 'string', maxLength: 1_000 },
                    bytes: { type: 'integer', minimum: 0 },
                    sha256: { type: 'string', pattern: '^[0-9a-f]{64}$' },
                  },
                },
              ],
            },
          },
          ['chunkNo', 'attempt', 'rows', 'file'],
        ),
      },
      async (request, reply) => {
        await executor(request);
        const { chunkNo, attempt, rows, file } = request.body;
        await services.ledger.seal({ runId: request.params.id, chunkNo, attempt }, { rows, file });
        return reply.status(204).send();
      },
    );

    api.post<RunParams & { Body: Omit<ChunkRef, 'runId'> & { reason: string; retryable: boolean } }>(
      '/runs/:id/fail',
      {
        schema: bodySchema(
          { ...chunkRef, reason: { type: 'string', maxLength: 2_000 }, retryable: { type: 'boolean' } },
          ['chunkNo', 'attempt', 'reason', 'retryable'],
        ),
      },
      async (request, reply) => {
        await executor(request);
        const { chunkNo, attempt, reason, retryable } = request.body;
        await services.ledger.failAttempt({ runId: request.params.id, chunkNo, attempt }, reason, retryable);
        return reply.status(204).send();
      },
    );

    api.post<RunParams>('/runs/:id/finish', async (request) => {
      await executor(request);
      return services.runs.finish(request.params.id);
    });

    for (const action of ['pause', 'resume', 'kill'] as const) {
      api.post<RunParams>(`/runs/:id/${action}`, async (request) => {
        // Whoever could have approved it may stop it; only its own executor sets it going again.
        const principal = await (action === 'resume' ? executor(request, freshCaller) : caller(request, services));
        const { id } = request.params;
        const status = await services.ledger.status(id);
        const duties = services.dutiesOn(principal, status.connection);
        needDuty(principal, duties, ['executor', 'approver'], `${action} this run`);
        if (action === 'kill') await services.runs.kill(id, principal.id, `killed by ${principal.id}`);
        else await services.ledger[action](id, principal.id);
        return services.ledger.status(id);
      });
    }
  };
