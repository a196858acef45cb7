import type { FastifyPluginAsync } from 'fastify';
import { caller } from './caller.ts';
import type { ApiServices } from './services.ts';

export const connectionRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    /** The connections on which the caller holds a duty, with what is masked there. */
    api.get('/connections', async (request) => {
      const principal = await caller(request, services);
      const names = services.connectionNames().filter((name) => services.dutiesOn(principal, name).length > 0);
      const connections = await Promise.all(
        names.map(async (name) => ({
          ...(await services.describeConnection(name)),
          duties: services.dutiesOn(principal, name),
        })),
      );
      return { connections };
    });
  };
