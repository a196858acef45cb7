/** Lists of requests as people look at them: what waits for me, what I asked for, everything that I may see. */
import { dutiesFor } from '../approvals/policy-input.ts';
import type { Standing } from '../approvals/standing.ts';
import { CountersignError } from '../errors.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import type { RequestKind, RequestState } from '../store/database.ts';
import { requestPage } from '../store/request-pages.ts';
import { findRequest, type RequestRecord } from '../store/requests.ts';
import { dutiesAnywhere } from './caller.ts';
import type { ApiServices } from './services.ts';

export type RequestViewName = 'waiting' | 'mine' | 'all';

export interface ListQuery {
  readonly view?: RequestViewName;
  /** The same as `view: waiting`. */
  readonly inbox?: '1' | 'true';
  readonly state?: RequestState;
  readonly kind?: RequestKind;
  readonly connection?: string;
  /** Default: oldest first for what waits, newest first else. */
  readonly order?: 'oldest' | 'newest';
  /** `next` of the page before this one. */
  readonly before?: string;
  readonly limit?: number;
}

export const listQuery = {
  type: 'object',
  properties: {
    view: { type: 'string', enum: ['waiting', 'mine', 'all'] },
    inbox: { type: 'string', enum: ['1', 'true'] },
    state: { type: 'string', enum: ['pending', 'approved', 'rejected', 'withdrawn', 'expired'] },
    kind: { type: 'string', maxLength: 20 },
    connection: { type: 'string', maxLength: 200 },
    order: { type: 'string', enum: ['oldest', 'newest'] },
    before: { type: 'string', maxLength: 100 },
    limit: { type: 'integer', minimum: 1, maximum: 1_000 },
  },
} as const;

const defaultLimit = 50;
const maxLimit = 100;
/** How many requests one page looks at, at most, to find those that wait for somebody. */
const maxScanned = 500;

export function summary(request: RequestRecord) {
  const { digestInputJson: _json, evidence: _evidence, ...rest } = request;
  return rest;
}

/** A change of rules is for everybody to see who holds any duty; everything else for those of its connection. */
export function dutiesToSee(services: ApiServices, principal: Principal, request: RequestRecord): readonly Duty[] {
  if (request.kind === 'policy') return [...dutiesAnywhere(principal, services)];
  return services.dutiesOn(principal, request.connection);
}

/** One page. `next` is there when more may follow; a page can be short, also empty, and still have a next. */
export async function requestView(
  services: ApiServices,
  principal: Principal,
  query: ListQuery & { readonly view: RequestViewName },
) {
  const { view } = query;
  const limit = Math.min(query.limit ?? defaultLimit, maxLimit);
  const needed = view === 'waiting' ? (['approver', 'admin'] as const) : undefined;
  const connections = services.connectionNames().filter((name) => {
    if (query.connection !== undefined && query.connection !== name) return false;
    const duties = services.dutiesOn(principal, name);
    return needed === undefined ? duties.length > 0 : needed.some((duty) => duties.includes(duty));
  });
  // Requests about the rules have no connection.
  const sees = needed ?? (['designer', 'approver', 'executor', 'auditor', 'admin'] as const);
  const held = dutiesAnywhere(principal, services);
  const seesRules = query.connection === undefined && sees.some((duty) => held.has(duty));
  const filter = {
    connections: seesRules ? [...connections, ''] : connections,
    order: query.order ?? (view === 'waiting' ? 'oldest' : 'newest'),
    state: view === 'waiting' ? ('pending' as const) : query.state,
    kind: query.kind,
    requesterHuman: view === 'mine' ? principal.human : undefined,
  };
  const requests: Awaited<ReturnType<typeof entry>>[] = [];
  let after = query.before;
  for (let scanned = 0; scanned < maxScanned && requests.length < limit; scanned += limit) {
    const ids = await requestPage(services.store, { ...filter, after, limit });
    const entries = await Promise.all(ids.map((id) => entry(services, principal, id)));
    for (const one of entries) {
      if (requests.length === limit) break;
      after = one.id;
      if (view !== 'waiting' || one.you.may.includes('approve')) requests.push(one);
    }
    if (ids.length < limit && after === (ids.at(-1) ?? after)) return { requests, next: undefined };
  }
  return { requests, next: after };
}

async function entry(services: ApiServices, principal: Principal, id: string) {
  try {
    const { request, approvalsNeeded, approvalsGiven } = await services.requests.get(id);
    const duties = dutiesFor(request, principal, services.dutiesOn);
    const you = await services.requests.standing(id, { principal, duties });
    const { reason } = request.evidence as { reason?: string };
    return { ...summary(request), reason, approvalsNeeded, approvalsGiven, you };
  } catch (cause) {
    // One request that somebody changed in the store must not hide the others.
    if (!(cause instanceof CountersignError && cause.code === 'grant_void')) throw cause;
    const request = await findRequest(services.store, id);
    if (request === undefined) throw cause;
    const you: Standing = { may: [], reasons: [{ action: 'approve', code: cause.code, reason: cause.message }] };
    return { ...summary(request), reason: cause.message, approvalsNeeded: 0, approvalsGiven: 0, you };
  }
}
