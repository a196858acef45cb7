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
import type { Principal, Duty } from '../identity/principal.ts';
import { sha256Hex, type Json } from '../lib/canonical-json.ts';
import { newId, type Clock } from '../lib/clock.ts';
import { mayRequest, mayWithdraw } from '../policy/duty.ts';
import type { PolicySet } from '../policy/engine.ts';
import { notifyChange } from '../store/changes.ts';
import type { Database, RequestState, Store, StoreOrTransaction } from '../store/database.ts';
import { grantOfRequest, type GrantRecord } from '../store/grants.ts';
import {
  closeRequest,
  decisionsOf,
  dueAt,
  duePendingRequests,
  orphanedRequests,
  findRequest,
  insertDecision,
  insertRequest,
  listRequests,
  lockRequest,
  setStepDue,
  type DecisionRecord,
  type RequestFilter,
  type RequestRecord,
} from '../store/requests.ts';
import { reviewsOf, type ReviewRecord } from '../store/reviews.ts';
import { grantFor, type RuleChanger } from './approving.ts';
import { BreakGlassService } from './break-glass.ts';
import { grantInputJson } from './digest.ts';
import type { HumanSource } from '../identity/humans.ts';
import { actor, type RecordEvent } from './events.ts';
import { authorsOf, createdEvent, limitHolds, type NewRequest } from './new-request.ts';
import { escalateDue } from './escalation.ts';
import { policyInputJson } from './policy-input.ts';
import { refusalError, refusalMembers, refusalOf, unknownRequest } from './refusal.ts';
import {
  progressAt,
  refuseDecision,
  standingOf,
  stepViews,
  type Asker,
  type Opened,
  type Standing,
  type StepView,
} from './standing.ts';
import { connectionOf, keysOf, subjectOf, workflowOf, type ConnectionLookup } from './subject.ts';
import { RequestWatcher, requestChannel } from './watcher.ts';
import { approvalsNeeded, stepsOf, type Progress, type Workflow } from './workflow.ts';

export interface RequestServiceOptions {
  readonly store: Store;
  /** Its settings open the one connection that listens for changes. */
  readonly pool: pg.Pool;
  readonly record: RecordEvent;
  readonly clock: Clock;
  readonly policySet: () => PolicySet;
  readonly workflows: () => readonly Workflow[];
  readonly connections: ConnectionLookup;
  readonly humans: HumanSource;
  /** Carries out approved changes of rules. Without it such a request is refused. */
  readonly rules?: RuleChanger | undefined;
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
  readonly steps: readonly StepView[];
  readonly reviews: readonly ReviewRecord[];
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
  readonly breakGlass: BreakGlassService;

  constructor(options: RequestServiceOptions) {
    this.#options = options;
    this.breakGlass = new BreakGlassService({
      ...options,
      open: (store, request, asker, others) => this.#open(store, request, asker, others),
    });
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
    const connection = input.kind === 'policy' ? undefined : connectionOf(this.#options.connections, ask.connection);
    const policySet = this.#options.policySet();
    const refused = refusalOf(mayRequest(policySet, { principal: requester, duties }, input.kind, connection));
    if (refused !== undefined) {
      await record({ type: 'request.refused', action: 'create', ...actor(requester), ...refusalMembers(refused) });
      throw refusalError(refused);
    }
    const authors = authorsOf(ask);
    const workflow = workflowOf(input, connection, workflows(), ask.traits);
    const stepMs = stepsOf(workflow)[0]?.timeLimitMs;
    const createdAt = new Date(clock.now());
    const waitMs = Math.min(ask.expiresMs ?? workflow.expiresMs, workflow.expiresMs);
    const digestInputJson = input.kind === 'policy' ? policyInputJson(input) : grantInputJson(input);
    const request: RequestRecord = {
      id: newId('req'),
      kind: input.kind,
      state: 'pending',
      connection: ask.connection,
      title: ask.title,
      requesterId: requester.id,
      requesterHuman: requester.human,
      authors,
      job: input.kind === 'policy' ? undefined : input.job?.name,
      jobVersion: ask.jobVersion,
      sessionId: ask.sessionId,
      digest: sha256Hex(digestInputJson),
      digestInputJson,
      evidence: { ...ask.evidence, ...(ask.traits === undefined ? {} : { traits: ask.traits }) },
      createdAt,
      expiresAt: new Date(createdAt.getTime() + waitMs),
      closedAt: undefined,
      stepDueAt: stepMs === undefined ? undefined : new Date(createdAt.getTime() + stepMs),
      escalatedSteps: 0,
      breakGlass: undefined,
      reviewDueAt: undefined,
      confirmedAt: undefined,
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
    const result = await this.#onPending(
      requestId,
      async (transaction, request): Promise<DecideResult | CountersignError> => {
        const { policySet, record, clock } = this.#options;
        const opened = await this.#open(transaction, request, principal);
        const nowMs = clock.now();
        const refused =
          refuseDecision(policySet(), { principal, duties }, verdict, opened, nowMs) ??
          (verdict === 'approve' && request.breakGlass !== undefined
            ? await this.breakGlass.refusal(transaction, principal, requestId)
            : undefined);
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
          decidedAt: new Date(momentAfter(opened, nowMs)),
          groups: principal.groups,
        };
        await insertDecision(transaction, decision);
        await notifyChange(transaction, 'requests', requestId);
        const decisions = [...opened.decisions, decision];
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
        const progress = progressAt({ ...opened, decisions }, nowMs);
        if (progress.state === 'complete') {
          const grant = await grantFor(this.#options, transaction, { ...opened, decisions });
          return { request: await this.#close(transaction, request, 'approved', actor(principal)), grant };
        }
        return { request: await this.#nextStep(transaction, request, progress), grant: undefined };
      },
    );
    if (result.request.kind === 'policy' && result.grant?.state === 'consumed') await this.#options.rules?.applied();
    return result;
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
      const { policySet, record } = this.#options;
      const { subject } = await this.#open(transaction, request, by.principal);
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
        const leftMs = dueAt(request).getTime() - clock.now();
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
    const { store, clock } = this.#options;
    const request = await findRequest(store, requestId);
    if (request === undefined) throw unknownRequest(requestId);
    const opened = await this.#open(store, request);
    const steps = stepViews(opened, clock.now());
    return {
      request,
      decisions: opened.decisions,
      grant: await grantOfRequest(store, requestId),
      approvalsNeeded: approvalsNeeded(opened.subject.workflow),
      approvalsGiven: steps.reduce((sum, step) => sum + step.approvals.length, 0),
      steps,
      reviews: request.breakGlass === undefined ? [] : await reviewsOf(store, requestId),
    };
  }

  /** What this principal may do with the request now, and in words why not; `decide` checks again. @throws request_unknown */
  async standing(requestId: string, asker: Asker): Promise<Standing> {
    const { store, policySet, clock } = this.#options;
    const request = await findRequest(store, requestId);
    if (request === undefined) throw unknownRequest(requestId);
    const opened = await this.#open(store, request, asker.principal);
    const isPending = request.state === 'pending';
    const more = {
      approve:
        isPending && request.breakGlass ? await this.breakGlass.blocked(store, asker.principal, requestId) : undefined,
      'break-glass': await this.breakGlass.whyNotAsk(store, request, asker.principal),
      review: await this.breakGlass.whyNotReview(store, request, asker),
    };
    return standingOf(policySet(), asker, opened, more, clock.now());
  }

  /** Steps that waited too long are given to further groups, or those are told. Returns the requests. Call it now and then. */
  escalateDue(): Promise<string[]> {
    return escalateDue({ ...this.#options, open: (store, request) => this.#open(store, request) });
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
      if (clock.now() >= dueAt(request).getTime()) {
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

  /** Everything that a decision depends on, with whoever asks among those who are compared. */
  async #open(
    store: StoreOrTransaction,
    request: RequestRecord,
    asker?: Principal,
    others?: readonly string[],
  ): Promise<Opened> {
    const { workflows, connections, humans } = this.#options;
    const decisions = await decisionsOf(store, request.id);
    const keys = await keysOf(store, humans, request, decisions, asker, others);
    return { request, decisions, keys, subject: subjectOf(request, decisions, workflows(), connections, keys) };
  }

  async #nextStep(transaction: StoreTransaction, request: RequestRecord, { steps }: Progress): Promise<RequestRecord> {
    const dueAtMs = steps.find((step) => step.state === 'open')?.dueAtMs;
    const stepDueAt = dueAtMs === undefined ? undefined : new Date(dueAtMs);
    await setStepDue(transaction, request.id, stepDueAt);
    return { ...request, stepDueAt };
  }

  /** False when somebody else closed it first, or its time is not up. */
  async #expire(requestId: string): Promise<boolean> {
    const { store, clock } = this.#options;
    return store.transaction().execute(async (transaction) => {
      const request = await lockRequest(transaction, requestId);
      if (request?.state !== 'pending' || clock.now() < dueAt(request).getTime()) return false;
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

/** Decisions are replayed in their order, so no two of a request have one time, whatever the clocks of nodes say. */
function momentAfter({ request, decisions }: Opened, nowMs: number): number {
  const asked = request.breakGlass === undefined ? nowMs : Date.parse(request.breakGlass.at);
  return Math.max(nowMs, asked, (decisions.at(-1)?.decidedAt.getTime() ?? 0) + 1);
}

function notPending(requestId: string, state: string): CountersignError {
  return new CountersignError('request_not_pending', `request ${requestId} is ${state}, not pending`, {
    hint: 'a closed request stays closed; make a new one',
  });
}
