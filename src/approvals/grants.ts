/**
 * Grants: what an approved request becomes. Bound to a digest, used at most once, for a limited time.
 *
 *     open --(claimed by an executor, nothing drifted)--> consumed
 *     open --(something drifted; or taken back)---------> void
 *     open --(its time is up)---------------------------> expired
 *
 * Nothing leaves an ended state. `#end` is the only place that changes one: a compare-and-set under the locks of the
 * request and the grant (in this order everywhere), after the event is durable and before the transaction commits.
 * The caller's own work (the run's row) is done in the same transaction: both happen or neither does. The grant of a
 * template stays open while it is used (`templates.ts`).
 *
 * A process can die between the event and the commit. Then the log says "consumed" and nothing was executed, and nobody
 * may execute it any more. So a mark of the claim is committed before anything, and goes away with the transaction that
 * consumes the grant; a mark that is left behind is looked up in the log of its node (`reconcile`).
 */
import type { Transaction } from 'kysely';
import { CountersignError } from '../errors.ts';
import type { HumanSource } from '../identity/humans.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import type { Json } from '../lib/canonical-json.ts';
import { newId, type Clock } from '../lib/clock.ts';
import { mayExecute } from '../policy/duty.ts';
import type { PolicySet } from '../policy/engine.ts';
import type { Database, Store } from '../store/database.ts';
import { claimMarksOf, deleteClaimMark, insertClaimMark, type ClaimMark } from '../store/grant-claims.ts';
import {
  dueOpenGrants,
  endGrant,
  findGrant,
  grantOfRequest,
  lockGrantOfRequest,
  type GrantEnd,
  type GrantRecord,
} from '../store/grants.ts';
import { decisionsOf, lockRequest, type DecisionRecord, type RequestRecord } from '../store/requests.ts';
import { drift, grantDigest, type GrantInput } from './digest.ts';
import { actor, type RecordEvent } from './events.ts';
import { refusalError, refusalMembers, refusalOf, unknownRequest, type Refusal } from './refusal.ts';
import { approvedInput, caseOf, keysOf, subjectOf, type ConnectionLookup, type RequestSubject } from './subject.ts';
import { approvalsNeeded, progressOf, type Workflow } from './workflow.ts';

export interface GrantServiceOptions {
  readonly store: Store;
  readonly record: RecordEvent;
  readonly clock: Clock;
  readonly policySet: () => PolicySet;
  readonly workflows: () => readonly Workflow[];
  readonly connections: ConnectionLookup;
  readonly humans: HumanSource;
  /** In whose log claims are recorded. */
  readonly node: string;
  /** Told of each step of a claim before the next one: for tests that stop there. */
  readonly onStep?: ((step: ClaimStep) => void | Promise<void>) | undefined;
}

/**
 * begun: nothing is done; marked: the mark is committed; locked: the grant is locked; recorded: the event is durable;
 * worked: everything is in the transaction; committed: the grant is consumed, and nobody has been told.
 */
export type ClaimStep = 'begun' | 'marked' | 'locked' | 'recorded' | 'worked' | 'committed';

export const claimSteps: readonly ClaimStep[] = ['begun', 'marked', 'locked', 'recorded', 'worked', 'committed'];

/** Whether the log of this node has the event of this claim. */
export type WasRecorded = (mark: ClaimMark) => Promise<boolean>;

/** A grant is found by its own id or by its request's. */
export type GrantReference = { readonly grantId: string } | { readonly requestId: string };

export type Claim<T> = GrantReference & {
  readonly principal: Principal;
  /** Duties held on the connection now. */
  readonly duties: readonly Duty[];
  /** The session that claims; must be the one that waited, for a held statement or session. */
  readonly sessionId?: string | undefined;
  /** The digest's input as it is now, worked out anew by the caller. */
  readonly current: GrantInput;
  /**
   * One use of many: the grant of a template stays open, and `extra` counts the use. Only such a grant can be used so, and
   * in no other way.
   */
  readonly oneOfMany?: boolean | undefined;
  /** The caller's own work, in the transaction that consumes the grant. If it throws, the grant stays open. */
  readonly extra?: (transaction: StoreTransaction, grant: GrantRecord, request: RequestRecord) => Promise<T>;
};

export interface Claimed<T> {
  readonly grant: GrantRecord;
  readonly request: RequestRecord;
  readonly decisions: readonly DecisionRecord[];
  /** What `extra` returned. */
  readonly result: T;
}

type StoreTransaction = Transaction<Database>;

interface Mark {
  readonly id: string;
  /** The log was asked to take the event. */
  recording: boolean;
}

interface Locked {
  readonly request: RequestRecord;
  readonly grant: GrantRecord;
}

const maxExpiredAtOnce = 500;
const maxReconciledAtOnce = 500;

export class GrantService {
  readonly #options: GrantServiceOptions;
  /** Ids of claims that go on in this process. */
  readonly #live = new Set<string>();

  constructor(options: GrantServiceOptions) {
    this.#options = options;
  }

  /**
   * Consumes the grant, exactly once whatever races for it.
   * @throws request_unknown; grant_missing (not approved, not approved enough any more, or of another session);
   * grant_used, grant_expired, grant_void (also now, when something drifted: the detail lists what); duty_conflict,
   * duty_missing, forbidden; log_unavailable; whatever `extra` throws
   */
  async claim<T = undefined>(claim: Claim<T>): Promise<Claimed<T>> {
    await this.#step('begun');
    if (claim.oneOfMany === true) return this.#claim(claim, undefined);
    const mark = await this.#mark(claim);
    if (mark === undefined) return this.#claim(claim, undefined);
    try {
      await this.#step('marked');
      const claimed = await this.#claim(claim, mark);
      await this.#step('committed');
      return claimed;
    } catch (error) {
      // Once the log was asked for it, only the log knows whether the event is there: the mark stays.
      if (!mark.recording) await deleteClaimMark(this.#options.store, mark.id);
      throw error;
    } finally {
      this.#live.delete(mark.id);
    }
  }

  async #mark(claim: Claim<unknown>): Promise<Mark | undefined> {
    const { store, node, clock } = this.#options;
    const found =
      'requestId' in claim ? await grantOfRequest(store, claim.requestId) : await findGrant(store, claim.grantId);
    if (found === undefined) return undefined;
    const mark = { id: newId('claim'), recording: false };
    this.#live.add(mark.id);
    const begunAt = new Date(clock.now());
    await insertClaimMark(store, { id: mark.id, grantId: found.id, node, principalId: claim.principal.id, begunAt });
    return mark;
  }

  async #claim<T>(claim: Claim<T>, mark: Mark | undefined): Promise<Claimed<T>> {
    const { store, record } = this.#options;
    // A refusal is returned, not thrown, so that what belongs to it (a grant voided, an event) is committed first.
    const outcome = await store.transaction().execute(async (transaction): Promise<Claimed<T> | CountersignError> => {
      const locked = await this.#lock(transaction, claim);
      if (locked instanceof CountersignError) return locked;
      await this.#step('locked');
      const { grant, request } = locked;
      // Without a mark nothing is consumed: the grant was not there yet when the claim began.
      if (mark === undefined && claim.oneOfMany !== true) return justMade(request);
      const decisions = await decisionsOf(transaction, request.id);
      const refused =
        (await this.#ended(transaction, locked)) ?? (await this.#refuse(transaction, locked, decisions, claim));
      if (refused !== undefined) {
        const members = { grant: grant.id, request: request.id, ...actor(claim.principal) };
        await record({ type: 'grant.refused', ...members, ...refusalMembers(refused) });
        return refusalError(refused);
      }
      const drifted = drift(approvedInput(request), claim.current);
      if (drifted.length > 0 || grantDigest(claim.current) !== grant.digest) {
        return this.#voidForDrift(transaction, locked, drifted, claim.principal);
      }
      const result = await claim.extra?.(transaction, grant, request);
      if (mark === undefined) return { grant, request, decisions, result: result as T };
      const end: GrantEnd = { state: 'consumed', by: claim.principal.id, at: new Date(this.#options.clock.now()) };
      mark.recording = true;
      const consumed = await this.#end(transaction, locked, end, { ...actor(claim.principal), claim: mark.id });
      await this.#step('recorded');
      await deleteClaimMark(transaction, mark.id);
      await this.#step('worked');
      return { grant: consumed, request, decisions, result: result as T };
    });
    if (outcome instanceof CountersignError) throw outcome;
    return outcome;
  }

  async #step(step: ClaimStep): Promise<void> {
    await this.#options.onStep?.(step);
  }

  /**
   * Ends what claims of this node left behind that died: a grant whose use is in the log, and not in the store, is void.
   * Call it before the node takes claims, and now and then.
   * @returns ids of grants that were void by that
   */
  async reconcile(wasRecorded: WasRecorded): Promise<string[]> {
    const { store, node } = this.#options;
    const voided: string[] = [];
    for (const mark of await claimMarksOf(store, node, maxReconciledAtOnce)) {
      if (this.#live.has(mark.id)) continue;
      const isRecorded = await wasRecorded(mark);
      if (await this.#reconcileOne(mark, isRecorded)) voided.push(mark.grantId);
    }
    return voided;
  }

  #reconcileOne(mark: ClaimMark, isRecorded: boolean): Promise<boolean> {
    const { store, record } = this.#options;
    return store.transaction().execute(async (transaction) => {
      const locked = await this.#lock(transaction, { grantId: mark.grantId });
      if (!(await deleteClaimMark(transaction, mark.id)) || !isRecorded || locked instanceof CountersignError)
        return false;
      const { grant, request } = locked;
      const members = { claim: mark.id, principal: mark.principalId };
      const reason = 'its use was recorded, and the gateway ended before it took effect: nothing was executed';
      if (grant.state === 'open') {
        await this.#end(transaction, locked, { state: 'void', reason }, { reason, ...members });
        return true;
      }
      await record({
        type: 'grant.reconciled',
        grant: grant.id,
        request: request.id,
        state: grant.state,
        reason,
        ...members,
      });
      return false;
    });
  }

  /**
   * Takes an open grant back, e.g. because the client that waited for it is gone.
   * @returns false when it was not open (any more)
   * @throws request_unknown, grant_missing, log_unavailable
   */
  async void(reference: GrantReference, reason: string, by?: Principal): Promise<boolean> {
    const outcome = await this.#options.store.transaction().execute(async (transaction) => {
      const locked = await this.#lock(transaction, reference);
      if (locked instanceof CountersignError) return locked;
      if (locked.grant.state !== 'open') return false;
      await this.#end(
        transaction,
        locked,
        { state: 'void', reason },
        { reason, ...(by === undefined ? {} : actor(by)) },
      );
      return true;
    });
    if (outcome instanceof CountersignError) throw outcome;
    return outcome;
  }

  /** Ends what was not used in time. Returns the ids. Call it now and then; claims check the time by themselves. */
  async expireDue(): Promise<string[]> {
    const { store, clock } = this.#options;
    const expired: string[] = [];
    for (const { id } of await dueOpenGrants(store, new Date(clock.now()), maxExpiredAtOnce)) {
      await store.transaction().execute(async (transaction) => {
        const locked = await this.#lock(transaction, { grantId: id });
        if (locked instanceof CountersignError || locked.grant.state !== 'open') return;
        if ((await this.#ended(transaction, locked)) !== undefined) expired.push(id);
      });
    }
    return expired;
  }

  /** Locks the request, then the grant: the order in which a decision takes its locks too. */
  async #lock(transaction: StoreTransaction, reference: GrantReference): Promise<Locked | CountersignError> {
    const requestId =
      'requestId' in reference ? reference.requestId : (await findGrant(transaction, reference.grantId))?.requestId;
    if (requestId === undefined) return new CountersignError('grant_missing', 'there is no such grant');
    const request = await lockRequest(transaction, requestId);
    if (request === undefined) return unknownRequest(requestId);
    const grant = await lockGrantOfRequest(transaction, requestId);
    if (grant !== undefined) return { request, grant };
    return new CountersignError('grant_missing', `request ${requestId} has no grant: it is ${request.state}`, {
      hint: request.state === 'pending' ? 'an approver has to decide first' : 'make a new request',
    });
  }

  /** Why the grant is not open; a grant whose time is up ends here. */
  async #ended(transaction: StoreTransaction, locked: Locked): Promise<Refusal | undefined> {
    const { grant } = locked;
    const hint = 'make a new request';
    const { state } = grant;
    switch (state) {
      case 'open': {
        if (this.#options.clock.now() < grant.expiresAt.getTime()) return undefined;
        await this.#end(transaction, locked, { state: 'expired' }, { reason: 'its time is up' });
        break;
      }
      case 'expired':
        break;
      case 'consumed': {
        const when = grant.consumedAt?.toISOString() ?? 'before';
        const reason = `grant ${grant.id} was used by ${grant.consumedBy ?? 'somebody'} at ${when}; a grant is used once`;
        return { code: 'grant_used', policies: [], reason, hint };
      }
      case 'void':
        return { code: 'grant_void', policies: [], reason: `grant ${grant.id} is void: ${grant.voidReason}`, hint };
      default:
        state satisfies never;
        return { code: 'grant_void', policies: [], reason: `grant ${grant.id} is in an unknown state`, hint };
    }
    const reason = `grant ${grant.id} expired at ${grant.expiresAt.toISOString()}`;
    return { code: 'grant_expired', policies: [], reason, hint };
  }

  /** Everything that was checked when the request was decided is checked again: the world may have changed since. */
  async #refuse(
    transaction: StoreTransaction,
    { request, grant }: Locked,
    decisions: readonly DecisionRecord[],
    claim: Claim<unknown>,
  ): Promise<Refusal | undefined> {
    const { policySet, workflows, connections, humans } = this.#options;
    const { principal, duties } = claim;
    let subject: RequestSubject;
    try {
      const keys = await keysOf(transaction, humans, request, decisions, principal);
      subject = subjectOf(request, decisions, workflows(), connections, keys);
    } catch (error) {
      // The connection is gone, or the stored input was changed: a refusal that the log has to know of.
      if (!(error instanceof CountersignError)) throw error;
      return { code: error.code, policies: [], reason: error.message, hint: error.hint };
    }
    if (subject.input.kind === 'policy') {
      return { code: 'grant_missing', policies: [], reason: 'a change of rules is applied, not executed' };
    }
    const { executors } = subject.input;
    return (
      notApproved(request, grant, decisions, subject, this.#options.clock.now()) ??
      refusalOf(mayExecute(policySet(), { principal, duties }, subject.duty)) ??
      notAmong(principal, duties, executors) ??
      otherwiseUsed(subject.input, claim) ??
      otherSession(request, subject.input, claim.sessionId)
    );
  }

  async #voidForDrift(
    transaction: StoreTransaction,
    locked: Locked,
    drifted: readonly string[],
    principal: Principal,
  ): Promise<CountersignError> {
    const { grant, request } = locked;
    const reason = `drifted since it was approved: ${drifted.join('; ')}`;
    await this.#end(transaction, locked, { state: 'void', reason }, { drift: drifted, ...actor(principal) });
    return new CountersignError('grant_void', `request ${request.id} is void; ${reason}`, {
      detail: `grant ${grant.id}; drift: ${drifted.join('; ')}`,
      hint: 'make a new request, so that an approver sees what would run now',
    });
  }

  /** The one function that changes a grant's state. */
  async #end(
    transaction: StoreTransaction,
    { grant, request }: Locked,
    end: GrantEnd,
    members: { readonly [member: string]: Json },
  ): Promise<GrantRecord> {
    const ended = await endGrant(transaction, grant.id, end);
    if (ended === undefined) throw new CountersignError('grant_used', `grant ${grant.id} is not open any more`);
    await this.#options.record({
      type: end.state === 'consumed' ? 'grant.consumed' : 'grant.void',
      grant: grant.id,
      request: request.id,
      digest: grant.digest,
      state: end.state,
      ...members,
    });
    return ended;
  }
}

function notApproved(
  request: RequestRecord,
  grant: GrantRecord,
  decisions: readonly DecisionRecord[],
  subject: RequestSubject,
  nowMs: number,
): Refusal | undefined {
  const progress = progressOf(subject.workflow, caseOf(request, subject, decisions), nowMs);
  const approvals = progress.steps.reduce((sum, step) => sum + step.approvers.length, 0);
  const needed = approvalsNeeded(subject.workflow);
  const rejected = decisions.some((decision) => decision.verdict === 'reject');
  const sound = request.state === 'approved' && grant.digest === request.digest && !rejected;
  if (sound && progress.state === 'complete') return undefined;
  return {
    code: 'grant_missing',
    policies: ['countersign/approvals'],
    reason: sound
      ? `request ${request.id} has ${approvals} independent approvals; it needs ${needed}`
      : `request ${request.id} and its grant do not fit together`,
    hint: 'make a new request',
  };
}

function justMade({ id }: RequestRecord): CountersignError {
  return new CountersignError('grant_missing', `request ${id} was approved only while this claim began`, {
    hint: 'try again',
  });
}

function notAmong(
  principal: Principal,
  duties: readonly Duty[],
  executors: GrantInput['executors'],
): Refusal | undefined {
  if (executors.principal !== undefined && executors.principal !== principal.id) {
    const reason = `it was approved for execution by ${executors.principal}`;
    return { code: 'duty_conflict', policies: ['countersign/executors'], reason };
  }
  const inGroup = executors.groups.length === 0 || principal.groups.some((group) => executors.groups.includes(group));
  if (duties.includes(executors.duty) && inGroup) return undefined;
  const groups = executors.groups.length === 0 ? '' : ` in ${executors.groups.join(' or ')}`;
  const reason = `it was approved for execution by an ${executors.duty}${groups}`;
  return { code: 'duty_missing', policies: ['countersign/executors'], reason };
}

function otherwiseUsed({ statement }: GrantInput, { oneOfMany }: Claim<unknown>): Refusal | undefined {
  const isTemplate = statement?.template !== undefined;
  if (isTemplate === (oneOfMany === true)) return undefined;
  const reason = isTemplate ? 'a template is used statement by statement' : 'this approval is for one use';
  return { code: 'grant_missing', policies: ['countersign/template'], reason };
}

/** The store says which session waited, and the digest says it too, where it matters: both have to be this one. */
function otherSession(request: RequestRecord, input: GrantInput, sessionId: string | undefined): Refusal | undefined {
  if (request.kind === 'job') return undefined;
  const { session } = input.executors;
  if (input.statement?.template?.anySession === true && session === undefined) return undefined;
  const waited = request.sessionId !== undefined && request.sessionId === sessionId;
  if (waited && (session === undefined || session === sessionId)) return undefined;
  const reason = `the approved ${request.kind} belongs to the session that asked for it`;
  return { code: 'grant_missing', policies: ['countersign/session'], reason, hint: 'make a new request' };
}
