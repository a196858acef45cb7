/** Who calls the API, and which duties a route needs of them. */
import type { FastifyRequest } from 'fastify';
import { decodeJwt } from 'jose';
import { CountersignError } from '../errors.ts';
import { isKey } from '../identity/account-access.ts';
import type { Proof } from '../identity/fresh-groups.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import type { ApiServices } from './services.ts';

declare module 'fastify' {
  interface FastifyRequest {
    principal: Principal | undefined;
    proof: Proof | undefined;
  }
}

/**
 * A name with `__Host-` is taken by browsers only over https, for this host alone and every path (RFC 6265bis, 4.1.3): no other
 * host of the same domain can give a browser a cookie of this name.
 */
export function hostCookie(name: string, publicUrl: string): string {
  return publicUrl.startsWith('https:') ? `__Host-${name}` : name;
}

export function sessionCookie(publicUrl: string): string {
  return hostCookie('countersign', publicUrl);
}

/**
 * Who asks: an access token (Bearer), or the cookie of a log-in to the page.
 * @throws token_invalid, token_expired, groups_claim_missing, principal_disabled, principal_not_provisioned, forbidden (a
 *   cookie that another site makes use of)
 */
export async function caller(request: FastifyRequest, services: ApiServices): Promise<Principal> {
  const { authorization } = request.headers;
  const token = /^Bearer ([\w.~+/=-]+)$/.exec(authorization ?? '')?.[1];
  if (token !== undefined) {
    request.principal = await services.verifyToken(token);
    request.proof = { kind: 'bearer', token };
    return request.principal;
  }
  const cookie = authorization === undefined ? request.cookies[sessionCookie(services.publicUrl())] : undefined;
  const session = cookie === undefined ? undefined : await services.webSessions.find(cookie);
  if (cookie === undefined || session === undefined) {
    throw new CountersignError('token_invalid', 'this needs an access token: Authorization: Bearer …', {
      hint: 'log in: countersign login, or on the page',
    });
  }
  refuseOtherSites(request, services.publicUrl());
  request.principal = await services.admit(session.principal);
  request.proof = { kind: 'web-session', cookie };
  return request.principal;
}

/**
 * Who asks, with the groups of now: for what approves or executes.
 * @throws as `caller`; groups_stale, identity_provider_unreachable
 */
export async function freshCaller(request: FastifyRequest, services: ApiServices): Promise<Principal> {
  const principal = await caller(request, services);
  if (request.proof === undefined) throw new Error('who asks has shown something');
  request.principal = await services.freshPrincipal(principal, request.proof);
  return request.principal;
}

/**
 * Whoever `caller` found when this request came, as they may act now; undefined when what they showed has ended, or they
 * may not come in any more. A look is no use of what they showed: a log-in may become idle, and nobody counts as seen.
 */
export async function stillCaller(request: FastifyRequest, services: ApiServices): Promise<Principal | undefined> {
  const shown = await stillShown(request, services);
  if (shown === undefined || shown.id !== request.principal?.id) return undefined;
  return services.admit(shown).catch((cause: unknown) => {
    if (cause instanceof CountersignError) return undefined;
    throw cause;
  });
}

async function stillShown({ proof, principal }: FastifyRequest, services: ApiServices): Promise<Principal | undefined> {
  if (proof === undefined) return undefined;
  if (proof.kind === 'web-session') return (await services.webSessions.find(proof.cookie, 'look'))?.principal;
  // The store knows whether a key has ended; of a token its end is in it.
  if (isKey(proof.token)) return services.verifyToken(proof.token).catch(() => undefined);
  const { exp } = decodeJwt(proof.token);
  return exp === undefined || exp * 1_000 > services.clock.now() ? principal : undefined;
}

/**
 * A browser sends the cookie whoever made it ask. A header of our own cannot be added by another site's form, and what
 * browsers say of the asking site must be this one.
 */
function refuseOtherSites(request: FastifyRequest, publicUrl: string): void {
  const { origin, 'sec-fetch-site': site, 'x-countersign': own } = request.headers;
  const isReading = request.method === 'GET' || request.method === 'HEAD';
  const isOurs =
    (origin === undefined || origin === new URL(publicUrl).origin) &&
    (site === undefined || site === 'same-origin' || (isReading && site === 'none'));
  if (isOurs && (isReading || own !== undefined)) return;
  throw new CountersignError('forbidden', 'this was asked by another site, or without the header x-countersign');
}

/** Duties held on any connection. */
export function dutiesAnywhere(principal: Principal, services: ApiServices): Set<Duty> {
  return new Set(services.connectionNames().flatMap((name) => [...services.dutiesOn(principal, name)]));
}

/** @throws CountersignError `forbidden` naming the duties of which one is needed */
export function needDuty(principal: Principal, held: Iterable<Duty>, needed: readonly Duty[], what: string): void {
  const duties = new Set(held);
  if (needed.some((duty) => duties.has(duty))) return;
  throw new CountersignError('forbidden', `${principal.id} may not ${what}`, {
    detail: `this needs the duty ${needed.join(' or ')}; ${duties.size === 0 ? 'no duty is held' : `held: ${[...duties].join(', ')}`}`,
    hint: 'duties come from groups of the identity provider',
  });
}
