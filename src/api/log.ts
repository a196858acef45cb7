import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { FastifyPluginAsync } from 'fastify';
import { CountersignError } from '../errors.ts';
import { caller, dutiesAnywhere, needDuty } from './caller.ts';
import type { ApiServices } from './services.ts';

/** The transparency log as C2SP tlog-tiles: checkpoint, hash tiles, entry bundles, and the public key. */
export const logRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    const auditor = async (request: Parameters<typeof caller>[0]) => {
      const principal = await caller(request, services);
      needDuty(principal, dutiesAnywhere(principal, services), ['auditor'], 'read the log');
    };

    api.get('/log/key', { schema: { security: [] } }, async (_request, reply) =>
      reply.type('text/plain').send(services.verifierKey),
    );

    api.get('/log/checkpoint', async (request, reply) => {
      await auditor(request);
      return reply.type('text/plain').send(await services.log.checkpoint());
    });

    api.get<{ Params: { '*': string } }>('/log/tile/*', async (request, reply) => {
      await auditor(request);
      const name = request.params['*'];
      if (!/^(entries|\d{1,2})(\/x\d{3})*\/\d{3}(\.p\/\d{1,3})?$/.test(name))
        throw new CountersignError('not_found', `there is no tile ${name}`);
      try {
        return await reply
          .type('application/octet-stream')
          .send(await readFile(path.join(services.logDirectory, 'tile', name)));
      } catch (error) {
        throw new CountersignError('not_found', `there is no tile ${name}`, { cause: error });
      }
    });
  };
