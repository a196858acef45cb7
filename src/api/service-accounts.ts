import type { FastifyPluginAsync } from 'fastify';
import { CountersignError } from '../errors.ts';
import { caller, freshCaller } from './caller.ts';
import type { ApiServices } from './services.ts';

const groups = { type: 'array', maxItems: 1_000, items: { type: 'string', minLength: 1, maxLength: 255 } } as const;
const human = { type: 'string', minLength: 1, maxLength: 255 } as const;
const expiresAt = { type: 'string', format: 'date-time' } as const;

function body(properties: Readonly<Record<string, object>>, required: readonly string[] = []) {
  return { body: { type: 'object', additionalProperties: false, required, properties } };
}

/** Service accounts and their keys. Who may do what is in `identity/service-accounts.ts`; whoever changes them is asked for their groups of now. */
export const serviceAccountRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    const { accounts } = services;
    type Named = { Params: { name: string } };

    api.get('/service-accounts', async (request) => ({
      accounts: await accounts.list(await caller(request, services)),
    }));

    api.post<{ Body: { name: string; owner: string; groups?: string[]; expiresAt?: string } }>(
      '/service-accounts',
      { schema: body({ name: human, owner: human, groups, expiresAt }, ['name', 'owner']) },
      async (request, reply) => {
        const principal = await freshCaller(request, services);
        const { name, owner, groups: given = [], expiresAt: end } = request.body;
        const made = await accounts.create(principal, { name, owner, groups: given, expiresAt: dateOf(end) });
        return reply.status(201).send(made);
      },
    );

    api.patch<Named & { Body: { groups?: string[]; expiresAt?: string } }>(
      '/service-accounts/:name',
      { schema: body({ groups, expiresAt }) },
      async (request) => {
        const principal = await freshCaller(request, services);
        const { groups: given, expiresAt: end } = request.body;
        return accounts.change(principal, request.params.name, { groups: given, expiresAt: dateOf(end) });
      },
    );

    api.post<Named & { Body: { to: string } }>(
      '/service-accounts/:name/offer',
      { schema: body({ to: human }, ['to']) },
      async (request) => accounts.offer(await freshCaller(request, services), request.params.name, request.body.to),
    );

    api.post<Named & { Body: { reason: string } }>(
      '/service-accounts/:name/disable',
      { schema: body({ reason: { type: 'string', maxLength: 1_000 } }, ['reason']) },
      async (request) =>
        accounts.disable(await freshCaller(request, services), request.params.name, request.body.reason),
    );

    for (const action of ['accept', 'enable'] as const) {
      api.post<Named>(`/service-accounts/:name/${action}`, async (request) =>
        accounts[action](await freshCaller(request, services), request.params.name),
      );
    }

    api.post<Named & { Body: { ttlMs?: number } }>(
      '/service-accounts/:name/keys',
      { schema: body({ ttlMs: { type: 'integer', minimum: 1_000 } }) },
      async (request, reply) => {
        const principal = await freshCaller(request, services);
        return reply.status(201).send(await accounts.createKey(principal, request.params.name, request.body.ttlMs));
      },
    );

    api.delete<{ Params: { name: string; id: string } }>('/service-accounts/:name/keys/:id', async (request, reply) => {
      const principal = await freshCaller(request, services);
      await accounts.revokeKey(principal, request.params.name, request.params.id);
      return reply.status(204).send();
    });

    api.delete<Named>('/service-accounts/:name/keys', async (request) => ({
      revoked: await accounts.revokeKey(await freshCaller(request, services), request.params.name, undefined),
    }));
  };

function dateOf(text: string | undefined): Date | undefined {
  if (text === undefined) return undefined;
  const date = new Date(text);
  if (!Number.isNaN(date.getTime())) return date;
  throw new CountersignError('input_invalid', `${JSON.stringify(text)} is no time`, {
    hint: 'write it as 2027-01-31T12:00:00Z',
  });
}
