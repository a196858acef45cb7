import type { FastifyPluginAsync, FastifyRequest } from 'fastify';
import { CountersignError } from '../errors.ts';
import type { Principal } from '../identity/principal.ts';
import { caller, dutiesAnywhere, needDuty } from './caller.ts';
import type { ApiServices, ReachedTarget } from './services.ts';

interface ConnectionParams {
  Params: { name: string };
}

const labels = {
  type: 'object',
  maxProperties: 50,
  additionalProperties: { type: 'string', maxLength: 200 },
} as const;

/** Connections: which there are, what is masked there, what labels bring with them, and whether the target answers. */
export const connectionRoutes =
  (services: ApiServices): FastifyPluginAsync =>
  async (api) => {
    await Promise.resolve();
    const described = async (principal: Principal, name: string) => ({
      ...(await services.describeConnection(name)),
      duties: services.dutiesOn(principal, name),
    });

    /** The connections on which the caller holds a duty, with what is masked there. */
    api.get('/connections', async (request) => {
      const principal = await caller(request, services);
      const names = services.connectionNames().filter((name) => services.dutiesOn(principal, name).length > 0);
      return { connections: await Promise.all(names.map((name) => described(principal, name))) };
    });

    api.get<ConnectionParams>('/connections/:name', async (request) => {
      const principal = await caller(request, services);
      const { name } = request.params;
      if (services.dutiesOn(principal, name).length === 0) throw unknownConnection(name);
      const connection = await described(principal, name);
      return { ...connection, inherits: services.inheritedBy(connection.labels) };
    });

    /** What a connection with these labels would have. For whoever holds a duty somewhere. */
    api.post<{ Body: { labels: Record<string, string> } }>(
      '/connections/inherits',
      {
        schema: { body: { type: 'object', additionalProperties: false, required: ['labels'], properties: { labels } } },
      },
      async (request) => {
        await withAnyDuty(request, services, 'try labels');
        return services.inheritedBy(request.body.labels);
      },
    );

    /** Tests that are under way: whoever asks meanwhile gets the same answer, so that the target is asked once. */
    const testing = new Map<string, Promise<ReachedTarget>>();
    api.post<ConnectionParams>('/connections/:name/test', async (request) => {
      const principal = await caller(request, services);
      const { name } = request.params;
      const duties = services.dutiesOn(principal, name);
      if (duties.length === 0) throw unknownConnection(name);
      needDuty(principal, duties, ['admin', 'approver'], 'test a connection');
      let test = testing.get(name);
      if (test === undefined) {
        test = services.testConnection(name).finally(() => testing.delete(name));
        testing.set(name, test);
      }
      return test;
    });
  };

/** The same words whether there is none of that name or it is not for them. */
export function unknownConnection(name: string): CountersignError {
  return new CountersignError('connection_unknown', `you hold no duty on a connection ${JSON.stringify(name)}`, {
    hint: "'countersign connections' lists those where you do",
  });
}

/** @throws forbidden for whoever holds no duty at all */
export async function withAnyDuty(request: FastifyRequest, services: ApiServices, what: string): Promise<Principal> {
  const principal = await caller(request, services);
  const held = dutiesAnywhere(principal, services);
  needDuty(principal, held, ['designer', 'approver', 'executor', 'auditor', 'admin'], what);
  return principal;
}
