/** Who calls the API, and which duties a route needs of them. */
import type { FastifyRequest } from 'fastify';
import { CountersignError } from '../errors.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import type { ApiServices } from './services.ts';

declare module 'fastify' {
  interface FastifyRequest {
    principal: Principal | undefined;
  }
}

/** Who asks. @throws token_invalid, token_expired, groups_claim_missing */
export async function caller(request: FastifyRequest, services: ApiServices): Promise<Principal> {
  const token = /^Bearer ([\w.~+/=-]+)$/.exec(request.headers.authorization ?? '')?.[1];
  if (token === undefined) {
    throw new CountersignError('token_invalid', 'this needs an access token: Authorization: Bearer …', {
      hint: 'countersign login',
    });
  }
  request.principal = await services.verifyToken(token);
  return request.principal;
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
