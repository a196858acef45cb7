/**
 * The HTTP API, version 1: a thin layer of routes over `ApiServices`. Callers prove who they are with an access token of
 * the identity provider (RFC 6750, Bearer). The description that clients can read is at /api/v1/openapi.json.
 */
import helmet from '@fastify/helmet';
import rateLimit from '@fastify/rate-limit';
import swagger from '@fastify/swagger';
import fastify, { type FastifyInstance } from 'fastify';
import { CountersignError } from '../errors.ts';
import { accessRoutes } from './access.ts';
import { auditRoutes } from './audit.ts';
import { authRoutes, registerCookies } from './auth.ts';
import { connectionRoutes } from './connections.ts';
import { doctorRoutes } from './doctor.ts';
import { eventRoutes } from './events.ts';
import { isForPage, page, sendDocument } from './page.ts';
import { jobRoutes } from './jobs.ts';
import { leaverRoutes } from './leavers.ts';
import { logRoutes } from './log.ts';
import { maskingRoutes } from './masking.ts';
import { peopleRoutes } from './people.ts';
import { policyRoutes } from './policies.ts';
import { notificationRoutes } from './notifications.ts';
import { principalRoutes } from './principal.ts';
import { requestRoutes } from './requests.ts';
import { runRoutes } from './runs.ts';
import { serviceAccountRoutes } from './service-accounts.ts';
import type { ApiServices } from './services.ts';
import { samlRoutes } from './saml.ts';
import { scimRoutes } from './scim.ts';
import { sessionRoutes } from './sessions.ts';

export interface ApiOptions {
  readonly services: ApiServices;
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  /** Addresses and networks (CIDR) of proxies whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[];
  readonly requestsPerMinute: number;
  readonly loginsPerMinute: number;
  readonly maxConnections: number;
  readonly requestTimeoutMs: number;
  /** Hears of every route there is. */
  readonly onRoute?:
    | ((route: { readonly method: string | readonly string[]; readonly url: string }) => void)
    | undefined;
}

const maxBodyBytes = 1024 * 1024;
/** Ids of people are the longest in addresses: what a provider calls them, each character percent-encoded. */
const maxParamLength = 4_096;
/** A server that closes gives its answers so long. Connections on which nobody has asked yet would keep it a minute. */
const closingMs = 1_000;

export async function buildApi(options: ApiOptions): Promise<FastifyInstance> {
  const { services, tls, requestsPerMinute, loginsPerMinute, trustedProxies } = options;
  const common = {
    bodyLimit: maxBodyBytes,
    ajv: { customOptions: { removeAdditional: false } },
    trustProxy: trustedProxies.length === 0 ? false : [...trustedProxies],
    requestTimeout: options.requestTimeoutMs,
    routerOptions: { maxParamLength },
  };
  // The instance's type depends on TLS only in its server; the routes do not care.
  const app = (tls === undefined ? fastify(common) : fastify({ ...common, https: tls })) as unknown as FastifyInstance;
  app.server.maxConnections = options.maxConnections;
  if (options.onRoute !== undefined) app.addHook('onRoute', options.onRoute);
  // Whatever is answered is for whoever asked, and not for a cache on the way.
  app.addHook('onRequest', (_request, reply, done) => {
    void reply.header('cache-control', 'no-store');
    done();
  });
  app.decorateRequest('principal', undefined);
  app.addHook('preClose', (done) => {
    setTimeout(() => app.server.closeAllConnections(), closingMs).unref();
    done();
  });
  app.decorateRequest('proof', undefined);
  app.setErrorHandler((cause, request, reply) => {
    const error = apiError(cause, services);
    if (
      error.httpStatus === 401 ||
      error.httpStatus === 403 ||
      error.code === 'grant_void' ||
      error.code === 'grant_used'
    ) {
      services.note({
        type: 'api.refused',
        at: new Date(services.clock.now()).toISOString(),
        node: services.node,
        route: `${request.method} ${request.routeOptions.url ?? request.url}`.slice(0, 200),
        code: error.code,
        principal: request.principal?.id,
        address: request.ip,
      });
    }
    void reply.status(error.httpStatus).send({
      error: { code: error.code, message: error.message, hint: error.hint, detail: error.detail },
    });
  });
  const logInAddresses = [...services.cliLogins.map(({ issuer }) => issuer), ...services.samlLogin.entryPoints];
  const pageOptions = { logInOrigins: [...new Set(logInAddresses.map((address) => new URL(address).origin))] };
  app.setNotFoundHandler((request, reply) => {
    if (isForPage(request)) return sendDocument(reply, pageOptions, 404);
    throw new CountersignError('not_found', `there is nothing at ${request.method} ${request.url}`);
  });
  await app.register(helmet, {
    contentSecurityPolicy: { directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
  });
  await app.register(rateLimit, {
    max: requestsPerMinute,
    timeWindow: 60_000,
    errorResponseBuilder: (_request, context) =>
      new CountersignError('rate_limited', `more than ${context.max} requests in a minute`, {
        hint: `try again in ${context.after}`,
      }),
  });
  await app.register(swagger, {
    openapi: {
      info: { title: 'Countersign', version: services.version },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } } },
      security: [{ token: [] }],
    },
  });
  await app.register(page(pageOptions));
  await registerCookies(app);
  const perLogin = { config: { rateLimit: { max: loginsPerMinute, timeWindow: 60_000 } } };
  await app.register(authRoutes(services, perLogin));
  await app.register(samlRoutes(services, perLogin));
  if (services.scim !== undefined) await app.register(scimRoutes(services, services.scim), { prefix: '/scim/v2' });
  await app.register(
    async (api) => {
      api.get('/health', { schema: { security: [] } }, () => ({
        status: 'ok',
        version: services.version,
        node: services.node,
      }));
      api.get('/openapi.json', { schema: { hide: true } }, () => app.swagger());
      await api.register(principalRoutes(services));
      await api.register(peopleRoutes(services));
      await api.register(serviceAccountRoutes(services));
      await api.register(connectionRoutes(services));
      await api.register(maskingRoutes(services));
      await api.register(jobRoutes(services));
      await api.register(requestRoutes(services));
      await api.register(policyRoutes(services));
      await api.register(runRoutes(services));
      await api.register(sessionRoutes(services));
      await api.register(logRoutes(services));
      await api.register(leaverRoutes(services));
      await api.register(auditRoutes(services));
      await api.register(accessRoutes(services));
      await api.register(doctorRoutes(services));
      await api.register(notificationRoutes(services));
      await api.register(eventRoutes(services, { heartbeatMs: 20_000, lookMs: 5_000 }));
    },
    { prefix: '/api/v1' },
  );
  return app;
}

function apiError(cause: unknown, services: ApiServices): CountersignError {
  if (cause instanceof CountersignError) return cause;
  if (typeof cause === 'object' && cause !== null && 'statusCode' in cause && 'message' in cause) {
    const status = Number(cause.statusCode);
    const code = status === 413 ? 'message_too_large' : 'input_invalid';
    if (status >= 400 && status < 500) return new CountersignError(code, String(cause.message));
  }
  return services.onError(cause);
}
