/**
 * The SCIM 2.0 server (RFC 7644) at /scim/v2, for the identity provider alone: it has a token of its own, and answers
 * and errors are in SCIM's form.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify';
import { CountersignError } from '../errors.ts';
import type { ScimDirectory } from '../identity/scim.ts';
import { parseFilter, type ScimFilter } from '../identity/scim-filter.ts';
import { noResource, ScimProblem } from '../identity/scim-problem.ts';
import {
  findScimGroup,
  findScimUser,
  groupsOfUser,
  listScimGroups,
  listScimUsers,
  membersOfGroup,
  type StoredScimGroup,
  type StoredScimUser,
} from '../store/scim.ts';
import {
  errorSchema,
  groupResource,
  list,
  maxResults,
  resourceTypes,
  schemas,
  serviceProviderConfig,
  userResource,
} from './scim-documents.ts';
import type { ApiServices } from './services.ts';

export interface ScimService {
  readonly directory: ScimDirectory;
  /** SHA-256 of the token, hex. */
  readonly tokenHash: string;
  readonly requestsPerMinute: number;
}

interface ById {
  Params: { id: string };
}

interface Listing {
  Querystring: {
    filter?: string;
    startIndex?: string;
    count?: string;
    attributes?: string;
    excludedAttributes?: string;
  };
}

const defaultCount = 100;
const maxBodyBytes = 2 * 1024 * 1024;
const userAttributes = new Set(['id', 'username', 'externalid', 'active', 'emails', 'emails.value']);
const groupAttributes = new Set(['id', 'displayname', 'externalid', 'members', 'members.value']);

export const scimRoutes =
  (services: ApiServices, { directory, tokenHash, requestsPerMinute }: ScimService): FastifyPluginAsync =>
  async (app) => {
    await Promise.resolve();
    const { store } = services;
    const base = () => `${services.publicUrl()}/scim/v2`;
    prepare(app, services);
    const options = {
      config: { rateLimit: { max: requestsPerMinute, timeWindow: 60_000 } },
      bodyLimit: maxBodyBytes,
      schema: { hide: true },
    };
    // Behind the limit of requests, so that wrong tokens count, and before the body is read.
    app.addHook('preParsing', async (request) => checkToken(request, tokenHash));

    const showUser = async (user: StoredScimUser) => userResource(user, await groupsOfUser(store, user.id), base());
    const showGroup = async (group: StoredScimGroup, withMembers = true) =>
      groupResource(group, withMembers ? await membersOfGroup(store, group.id) : undefined, base());

    app.get('/ServiceProviderConfig', options, () => serviceProviderConfig(base()));
    app.get('/ResourceTypes', options, () => list(resourceTypes(base()), 2, 1));
    app.get('/Schemas', options, () => list(schemas(base()), 2, 1));

    app.get<Listing>('/Users', options, async ({ query }) => {
      const page = pageOf(query, userAttributes);
      const { users, total } = await listScimUsers(store, page);
      const shown = await Promise.all(users.map(showUser));
      return list(shown.map(picked(query)), total, page.offset + 1);
    });
    app.get<ById & Listing>('/Users/:id', options, async ({ params, query }) => {
      const user = await findScimUser(store, params.id);
      if (user === undefined) throw noResource('user', params.id);
      return picked(query)(await showUser(user));
    });
    app.post('/Users', options, async (request, reply) => {
      const user = await showUser(await directory.createUser(request.body));
      return reply.status(201).header('location', user.meta.location).send(user);
    });
    app.put<ById>('/Users/:id', options, async ({ params, body }) =>
      showUser(await directory.changeUser(params.id, { replace: body })),
    );
    app.patch<ById>('/Users/:id', options, async ({ params, body }) =>
      showUser(await directory.changeUser(params.id, { patch: body })),
    );
    app.delete<ById>('/Users/:id', options, async ({ params }, reply) => {
      await directory.deleteUser(params.id);
      return reply.status(204).send();
    });

    app.get<Listing>('/Groups', options, async ({ query }) => {
      const page = pageOf(query, groupAttributes);
      const { groups, total } = await listScimGroups(store, page);
      const shown = await Promise.all(groups.map((group) => showGroup(group, wantsMembers(query))));
      return list(shown.map(picked(query)), total, page.offset + 1);
    });
    app.get<ById & Listing>('/Groups/:id', options, async ({ params, query }) => {
      const group = await findScimGroup(store, params.id);
      if (group === undefined) throw noResource('group', params.id);
      return picked(query)(await showGroup(group, wantsMembers(query)));
    });
    app.post('/Groups', options, async (request, reply) => {
      const group = await showGroup(await directory.createGroup(request.body));
      return reply.status(201).header('location', group.meta.location).send(group);
    });
    app.put<ById>('/Groups/:id', options, async ({ params, body }) =>
      showGroup(await directory.changeGroup(params.id, { replace: body })),
    );
    app.patch<ById>('/Groups/:id', options, async ({ params, body }) =>
      showGroup(await directory.changeGroup(params.id, { patch: body })),
    );
    app.delete<ById>('/Groups/:id', options, async ({ params }, reply) => {
      await directory.deleteGroup(params.id);
      return reply.status(204).send();
    });
  };

/** SCIM's own content type and errors. */
function prepare(app: FastifyInstance, services: ApiServices): void {
  app.removeAllContentTypeParsers();
  const json = app.getDefaultJsonParser('error', 'error');
  for (const type of ['application/scim+json', 'application/json']) {
    app.addContentTypeParser(type, { parseAs: 'string' }, json);
  }
  app.addHook('onSend', async (_request, reply) => {
    if (reply.statusCode !== 204) void reply.header('content-type', 'application/scim+json; charset=utf-8');
  });
  app.setNotFoundHandler(() => {
    throw new ScimProblem(404, 'there is nothing here');
  });
  app.setErrorHandler((cause, request, reply) => {
    const problem = problemOf(cause, services);
    if (problem.httpStatus === 401) {
      void reply.header('www-authenticate', 'Bearer');
      services.note({
        type: 'scim.refused',
        at: new Date(services.clock.now()).toISOString(),
        node: services.node,
        route: `${request.method} ${request.routeOptions.url ?? 'elsewhere'}`.slice(0, 200),
        address: request.ip,
      });
    }
    void reply.status(problem.httpStatus).send({
      schemas: [errorSchema],
      status: String(problem.httpStatus),
      scimType: problem.scimType,
      detail: problem.message,
    });
  });
}

function problemOf(cause: unknown, services: ApiServices): ScimProblem {
  if (cause instanceof ScimProblem) return cause;
  if (!(cause instanceof CountersignError) && typeof cause === 'object' && cause !== null && 'statusCode' in cause) {
    const status = Number(cause.statusCode);
    if (status >= 400 && status < 500) {
      return new ScimProblem(
        status,
        'message' in cause ? String(cause.message) : 'this cannot be read',
        'invalidSyntax',
      );
    }
  }
  const error = services.onError(cause);
  return new ScimProblem(error.httpStatus, error.message);
}

/** @throws ScimProblem 401; takes as long for every wrong token */
function checkToken(request: FastifyRequest, tokenHash: string): void {
  const token = /^Bearer ([\x21-\x7e]{1,4096})$/i.exec(request.headers.authorization ?? '')?.[1];
  const shown = createHash('sha256')
    .update(token ?? '')
    .digest();
  if (token !== undefined && timingSafeEqual(shown, Buffer.from(tokenHash, 'hex'))) return;
  throw new ScimProblem(401, 'this needs the token of identity.scim: Authorization: Bearer …');
}

function pageOf({ filter, startIndex, count }: Listing['Querystring'], attributes: ReadonlySet<string>) {
  const parsed: ScimFilter | undefined = filter === undefined ? undefined : parseFilter(filter, attributes);
  const number = (text: string | undefined, otherwise: number): number => {
    const value = text === undefined ? otherwise : Number(text);
    if (Number.isSafeInteger(value)) return value;
    throw new ScimProblem(400, 'startIndex and count are whole numbers', 'invalidValue');
  };
  // RFC 7644, 3.4.2.4: less than 1 counts as 1, a negative count as 0.
  const offset = Math.max(number(startIndex, 1), 1) - 1;
  return { filter: parsed, offset, limit: Math.min(Math.max(number(count, defaultCount), 0), maxResults) };
}

function namesOf(text: string | undefined): Set<string> {
  const names = (text ?? '').split(',').map((name) => name.trim().toLowerCase());
  return new Set(names.filter((name) => name !== ''));
}

function wantsMembers({ attributes, excludedAttributes }: Listing['Querystring']): boolean {
  const wanted = namesOf(attributes);
  return !namesOf(excludedAttributes).has('members') && (wanted.size === 0 || wanted.has('members'));
}

/** Only the attributes that were asked for; `schemas`, `id` and `meta` always. */
function picked({ attributes, excludedAttributes }: Listing['Querystring']): (resource: object) => object {
  const wanted = namesOf(attributes);
  const excluded = namesOf(excludedAttributes);
  const always = new Set(['schemas', 'id', 'meta']);
  return (resource) =>
    Object.fromEntries(
      Object.entries(resource).filter(([name]) => {
        const lower = name.toLowerCase();
        return always.has(lower) || (!excluded.has(lower) && (wanted.size === 0 || wanted.has(lower)));
      }),
    );
}
