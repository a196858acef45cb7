import type { FastifyPluginAsync } from 'fastify';
import { caller } from './caller.ts';
import { unknownConnection } from './connections.ts';
import type { ApiServices } from './services.ts';

/** Who am I, how do I log in, and database credentials for myself. */
export const principalRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    api.get('/login', { schema: { security: [] } }, () => ({
      ...services.cliLogins[0],
      providers: [...services.pageLogin.providers, ...services.samlLogin.providers],
      cli: services.cliLogins,
    }));

    api.get('/whoami', async (request) => {
      const principal = await caller(request, services);
      return {
        ...principal,
        duties: Object.fromEntries(
          services.connectionNames().map((name) => [name, services.dutiesOn(principal, name)]),
        ),
      };
    });

    api.post<{ Body: { connection?: string; ttlMs?: number } }>(
      '/credentials',
      {
        schema: {
          body: {
            type: 'object',
            additionalProperties: false,
            properties: { connection: { type: 'string', maxLength: 63 }, ttlMs: { type: 'integer', minimum: 1_000 } },
          },
        },
      },
      async (request) => {
        const principal = await caller(request, services);
        const { connection, ttlMs } = request.body;
        if (connection !== undefined && services.dutiesOn(principal, connection).length === 0) {
          throw unknownConnection(connection);
        }
        const credential = await services.issueCredential(principal, connection, ttlMs);
        return { ...credential, expiresAt: credential.expiresAt.toISOString(), gateway: services.gateway, connection };
      },
    );

    api.get<{ Querystring: { all?: boolean } }>(
      '/credentials',
      { schema: { querystring: { type: 'object', properties: { all: { type: 'boolean' } } } } },
      async (request) => {
        const principal = await caller(request, services);
        return { credentials: await services.listCredentials(principal, request.query.all === true) };
      },
    );

    api.delete<{ Params: { user: string } }>('/credentials/:user', async (request, reply) => {
      const principal = await caller(request, services);
      await services.revokeCredential(principal, request.params.user);
      return reply.status(204).send();
    });
  };
