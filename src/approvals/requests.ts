/**
 * Requests: from the ask to its decision.
 *
 *     pending --(enough approvals)--> approved      (a grant is made in the same transaction)
 *     pending --(one rejection)-----> rejected
 *     pending --(requester, or a client that went away)--> withdrawn
 *     pending --(its time is up)----> expired
 *
 * Nothing leaves a closed state. `#close` is the only place that changes a state: a compare-and-set under the row's
 * lock, after the event is durable in the log and before the transaction commits; if the log fails, nothing changed.
 * Who may do what is in `policy/duty.ts`, how many approvals are needed in `workflow.ts`; what an approved request
 * becomes is in `grants.ts`. Not for: running SQL of any kind on a target.
 */
import { sql, type Transaction } from 'kysely';
import type pg from 'pg';
import { CountersignError } from '../errors.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import { sha256Hex, type Json } from '../lib/canonical-json.ts';
import { newId, type Clock } from '../lib/clock.ts';
import { mayDecide, mayRequest, mayWithdraw } from '../policy/duty.ts';
import type { PolicySet } from '../policy/engine.ts';
import { notifyChange } from '../store/changes.ts';
import type { Database, RequestState, Store } from '../store/database.ts';
import { grantOfRequest, insertGrant, type GrantRecord } from '../store/grants.ts';
import {
  closeRequest,
  decisionsOf,
  duePendingRequests,
  orphanedRequests,
  findRequest,
  insertDecision,
  insertRequest,
  listRequests,
  lockRequest,
  type DecisionRecord,
  type RequestFilter,
  type RequestRecord,
} from '../store/requests.ts';
import { grantInputJson } from './digest.ts';
import type { HumanSource } from '../identity/humans.ts';
import { actor, type RecordEvent } from './events.ts';
import { authorsOf, createdEvent, limitHolds, type NewRequest } from './new-request.ts';
import { standingOf, type Asker, type Standing } from './standing.ts';
import { refusalError, refusalMembers, refusalOf, unknownRequest } from './refusal.ts';
import {
  connectionOf,
  independentApprovers,
  keysOf,
  outsideGroups,
  secondWord,
  subjectOf,
  workflowOf,
  type ConnectionLookup,
  type RequestSubject,
} from './subject.ts';
import { RequestWatcher, requestChannel } from './watcher.ts';
import type { Workflow } from './workflow.ts';

export interface RequestServiceOptions {
  readonly store: Store;
  /** Its settings open the one connection that listens for changes. */
  readonly pool: pg.Pool;
  readonly record: RecordEvent;
  readonly clock: Clock;
  readonly policySet: () => PolicySet;
  readonly workflows: readonly Workflow[];
  readonly connections: ConnectionLookup;
  readonly humans: HumanSource;
  /** Pending statement requests that one human may have at a time; no limit when left out. */
  readonly maxHoldsPerHuman?: number | undefined;
  /** How often a waiter looks by itself. Default 2000. */
  readonly pollMs?: number | undefined;
}

export interface RequestDetail {
  readonly request: RequestRecord;
  readonly decisions: readonly DecisionRecord[];
  readonly grant: GrantRecord | undefined;
  readonly approvalsNeeded: number;
  readonly approvalsGiven: number;
}

export interface DecideResult {
  readonly request: RequestRecord;
  /** Set when this decision was the last one needed. */
  readonly grant: GrantRecord | undefined;
}

type ClosedState = Exclude<RequestState, 'pending'>;
type StoreTransaction = Transaction<Database>;

const maxCommentLength = 4_000;
const maxClosedAtOnce = 500;

export class RequestService {
  readonly #options: RequestServiceOptions;
  readonly #watcher: RequestWatcher;

  constructor(options: RequestServiceOptions) {
    this.#options = options;
    this.#watcher = new RequestWatcher(options.pool.options);
  }

  /** Ends the listening connection; waiters go on by polling until their signal aborts. */
  async close(): Promise<void> {
    await this.#watcher.close();
  }

  /** @throws duty_missing, duty_conflict, forbidden, connection_unknown, too_many_holds, input_invalid, log_unavailable */
  async create(ask: NewRequest): Promise<RequestRecord> {
    const { store, record, clock, workflows, maxHoldsPerHuman } = this.#options;
    const { input, requester, duties } = ask;
    const connection = connectionOf(this.#options.connections, ask.connection);
    const policySet = this.#options.policySet();
    const refused = refusalOf(mayRequest(policySet, { principal: requester, duties }, input.kind, connection));
    if (refused !== undefined) {
      await record({ type: 'request.refused', action: 'create', ...actor(requester), ...refusalMembers(refused) });
      throw refusalError(refused);
    }
    const authors = authorsOf(ask);
    const workflow = workflowOf(input, connection, workflows);
    const createdAt = new Date(clock.now());
    const waitMs = Math.min(ask.expiresMs ?? workflow.expiresMs, workflow.expiresMs);
    const digestInputJson = grantInputJson(input);
    const request: RequestRecord = {
      id: newId('req'),
      kind: input.kind,
      state: 'pending',
      connection: ask.connection,
      title: ask.title,
      requesterId: requester.id,
      requesterHuman: requester.human,
      authors,
      job: input.job?.name,
      jobVersion: ask.jobVersion,
      sessionId: ask.sessionId,
      digest: sha256Hex(digestInputJson),
      digestInputJson,
      evidence: ask.evidence ?? {},
      createdAt,
      expiresAt: new Date(createdAt.getTime() + waitMs),
      closedAt: undefined,
    };
    await store.transaction().execute(async (transaction) => {
      if (input.kind === 'statement' && maxHoldsPerHuman !== undefined) {
        await limitHolds(transaction, requester.human, createdAt, maxHoldsPerHuman);
      }
      await insertRequest(transaction, request);
      await notifyChange(transaction, 'requests', request.id);
      await record(createdEvent(request, requester));
    });
    return request;
  }

  /**
   * One principal's word on a pending request. `duties` and `principal.groups` are those read now, not those of a log-in.
   * @throws request_unknown, request_not_pending (also when its time is up), duty_conflict (author, requester, or this
   * human decided before), duty_missing, input_invalid (a rejection without a comment), log_unavailable
   */
  async decide(
    requestId: string,
    principal: Principal,
    duties: readonly Duty[],
    verdict: 'approve' | 'reject',
    comment: string,
  ): Promise<DecideResult> {
    const text = comment.trim();
    if (verdict === 'reject' && text === '') {
      throw new CountersignError('input_invalid', 'a rejection needs a comment that says why');
    }
    if (text.length > maxCommentLength || text.includes('\0')) {
      throw new CountersignError('input_invalid', `a comment has at most ${maxCommentLength} characters and no NUL`);
    }
    return this.#onPending(requestId, async (transaction, request) => {
      const { policySet, workflows, connections, humans, record, clock } = this.#options;
      const before = await decisionsOf(transaction, requestId);
      const keys = await keysOf(transaction, humans, request, before, principal);
      const subject = subjectOf(request, before, workflows, connections, keys);
      const refused =
        secondWord(principal, before, request, keys) ??
        refusalOf(mayDecide(policySet(), { principal, duties }, subject.duty, verdict)) ??
        outsideGroups(principal, subject);
      if (refused !== undefined) {
        await record({
          type: 'request.refused',
          action: verdict,
          request: requestId,
          ...actor(principal),
          ...refusalMembers(refused),
        });
        return refusalError(refused);
      }
      const decision: DecisionRecord = {
        requestId,
        human: principal.human,
        principalId: principal.id,
        verdict,
        comment: text,
        decidedAt: new Date(clock.now()),
      };
      await insertDecision(transaction, decision);
      await notifyChange(transaction, 'requests', requestId);
      await record({
        type: 'request.decided',
        request: requestId,
        digest: request.digest,
        verdict,
        comment: text,
        ...actor(principal),
      });
      if (verdict === 'reject') {
        return { request: await this.#close(transaction, request, 'rejected', actor(principal)), grant: undefined };
      }
      const approvals = independentApprovers(subject, [...before, decision]).size;
      if (approvals < subject.workflow.approvals.count) return { request, grant: undefined };
      const grant = await this.#grant(transaction, request, subject);
      return { request: await this.#close(transaction, request, 'approved', actor(principal)), grant };
    });
  }

  /**
   * Takes a pending request back.
   * @param by the requester, or the reason for which the gateway does it (the waiting client went away)
   * @throws request_unknown, request_not_pending, forbidden, log_unavailable
   */
  async withdraw(
    requestId: string,
    by: { readonly principal: Principal; readonly duties: readonly Duty[] } | { readonly reason: string },
  ): Promise<RequestRecord> {
    return this.#onPending(requestId, async (transaction, request) => {
      if ('reason' in by) return this.#close(transaction, request, 'withdrawn', { reason: by.reason });
      const { policySet, workflows, connections, humans, record } = this.#options;
      const keys = await keysOf(transaction, humans, request, [], by.principal);
      const subject = subjectOf(request, [], workflows, connections, keys);
      const refused = refusalOf(mayWithdraw(policySet(), by, subject.duty));
      if (refused === undefined) return this.#close(transaction, request, 'withdrawn', actor(by.principal));
      const members = { ...actor(by.principal), ...refusalMembers(refused) };
      await record({ type: 'request.refused', action: 'withdraw', request: requestId, ...members });
      return refusalError(refused);
    });
  }

  /** Closes what waited too long. Returns the ids. Call it now and then; decisions check the time by themselves. */
  async expireDue(): Promise<string[]> {
    const { store, clock } = this.#options;
    const closed: string[] = [];
    for (const id of await duePendingRequests(store, new Date(clock.now()), maxClosedAtOnce)) {
      if (await this.#expire(id)) closed.push(id);
    }
    return closed;
  }

  /**
   * Takes back what a session waited for that is over: its process died, so nobody waits for the answer. Call it when
   * that is known, and now and then. Returns the ids.
   */
  async withdrawOrphans(): Promise<string[]> {
    const ids = await orphanedRequests(this.#options.store, maxClosedAtOnce);
    for (const id of ids) await this.#withdrawAbandoned(id);
    return ids;
  }

  /**
   * Waits until the request is closed, whichever node closes it. When the signal aborts the request is withdrawn; the
   * answer is then what really happened: an approval that came first stays `approved`, and its grant is the caller's to
   * void.
   */
  async waitForDecision(requestId: string, signal: AbortSignal): Promise<ClosedState> {
    const { store, clock, pollMs } = this.#options;
    const subscription = this.#watcher.subscribe(requestId);
    try {
      for (;;) {
        const request = await findRequest(store, requestId);
        if (request === undefined) throw unknownRequest(requestId);
        if (request.state !== 'pending') return request.state;
        const leftMs = request.expiresAt.getTime() - clock.now();
        if (leftMs <= 0) await this.#expire(requestId);
        else if (signal.aborted) await this.#withdrawAbandoned(requestId);
        else await subscription.next(Math.min(leftMs, pollMs ?? 2_000), signal);
      }
    } finally {
      subscription.close();
    }
  }

  /** @throws request_unknown */
  async get(requestId: string): Promise<RequestDetail> {
    const { store, workflows, connections, humans } = this.#options;
    const request = await findRequest(store, requestId);
    if (request === undefined) throw unknownRequest(requestId);
    const decisions = await decisionsOf(store, requestId);
    const keys = await keysOf(store, humans, request, decisions);
    const subject = subjectOf(request, decisions, workflows, connections, keys);
    return {
      request,
      decisions,
      grant: await grantOfRequest(store, requestId),
      approvalsNeeded: subject.workflow.approvals.count,
      approvalsGiven: independentApprovers(subject, decisions).size,
    };
  }

  /** What this principal may do with the request now, and in words why not. For the page; `decide` checks again. */
  async standing(requestId: string, asker: Asker): Promise<Standing> {
    const { store, policySet, workflows, connections, humans } = this.#options;
    const request = await findRequest(store, requestId);
    if (request === undefined) throw unknownRequest(requestId);
    const decisions = await decisionsOf(store, requestId);
    const keys = await keysOf(store, humans, request, decisions, asker.principal);
    const subject = subjectOf(request, decisions, workflows, connections, keys);
    return standingOf({ policySet: policySet(), request, decisions, subject, keys, asker });
  }

  /** Newest first. */
  async list(filter: RequestFilter = {}): Promise<RequestRecord[]> {
    return listRequests(this.#options.store, filter);
  }

  /**
   * Runs `work` on the locked, pending request. What `work` returns is committed, also an error: that is then thrown
   * after the commit. A request whose time is up is closed here and never reaches `work`.
   */
  async #onPending<T>(
    requestId: string,
    work: (transaction: StoreTransaction, request: RequestRecord) => Promise<T | CountersignError>,
  ): Promise<T> {
    const { store, clock } = this.#options;
    const result = await store.transaction().execute(async (transaction) => {
      const request = await lockRequest(transaction, requestId);
      if (request === undefined) return unknownRequest(requestId);
      if (request.state !== 'pending') return notPending(requestId, request.state);
      if (clock.now() >= request.expiresAt.getTime()) {
        await this.#close(transaction, request, 'expired', {});
        return notPending(requestId, 'expired');
      }
      return work(transaction, request);
    });
    if (result instanceof CountersignError) throw result;
    return result;
  }

  /** The one function that changes a request's state. */
  async #close(
    transaction: StoreTransaction,
    request: RequestRecord,
    state: ClosedState,
    members: { readonly [member: string]: Json },
  ): Promise<RequestRecord> {
    const { record, clock } = this.#options;
    const closedAt = new Date(clock.now());
    if (!(await closeRequest(transaction, request.id, state, closedAt))) throw notPending(request.id, 'closed');
    await sql`select pg_notify(${requestChannel}, ${request.id})`.execute(transaction);
    await notifyChange(transaction, 'requests', request.id);
    await record({ type: 'request.closed', request: request.id, state, digest: request.digest, ...members });
    return { ...request, state, closedAt };
  }

  async #grant(transaction: StoreTransaction, request: RequestRecord, subject: RequestSubject): Promise<GrantRecord> {
    const { record, clock } = this.#options;
    const createdAt = new Date(clock.now());
    const usableMs = Math.min(subject.input.expiry.durationMs, subject.workflow.grantExpiresMs);
    const grant = await insertGrant(transaction, {
      id: newId('grant'),
      requestId: request.id,
      digest: request.digest,
      createdAt,
      expiresAt: new Date(createdAt.getTime() + usableMs),
    });
    const expiresAt = grant.expiresAt.toISOString();
    await record({ type: 'grant.created', grant: grant.id, request: request.id, digest: grant.digest, expiresAt });
    return grant;
  }

  /** False when somebody else closed it first, or its time is not up. */
  async #expire(requestId: string): Promise<boolean> {
    const { store, clock } = this.#options;
    return store.transaction().execute(async (transaction) => {
      const request = await lockRequest(transaction, requestId);
      if (request?.state !== 'pending' || clock.now() < request.expiresAt.getTime()) return false;
      await this.#close(transaction, request, 'expired', {});
      return true;
    });
  }

  async #withdrawAbandoned(requestId: string): Promise<void> {
    try {
      await this.withdraw(requestId, { reason: 'the client that waited for it went away' });
    } catch (error) {
      // Somebody decided at the same moment: the waiter reads what it was.
      if (!(error instanceof CountersignError && error.code === 'request_not_pending')) throw error;
    }
  }
}

function notPending(requestId: string, state: string): CountersignError {
  return new CountersignError('request_not_pending', `request ${requestId} is ${state}, not pending`, {
    hint: 'a closed request stays closed; make a new one',
  });
}
