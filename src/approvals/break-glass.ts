/**
 * Break-glass: in an emergency the requester may ask, by name and with a reason, that fewer others approve before. It is
 * a workflow and no exemption: at least one other human approves, everything else is checked as always, everybody is
 * told (`request.break-glass`), and afterwards distinct humans who had no part in it have to confirm it. Until they
 * have, nobody who had a part in it can use break-glass again, neither ask for it nor approve it.
 */
import type { Transaction } from 'kysely';
import { CountersignError } from '../errors.ts';
import type { Principal } from '../identity/principal.ts';
import type { Clock } from '../lib/clock.ts';
import { humanKey } from '../policy/entities.ts';
import type { Database, Store, StoreOrTransaction } from '../store/database.ts';
import { notifyChange } from '../store/changes.ts';
import { findRequest, lockRequest, type RequestRecord } from '../store/requests.ts';
import {
  confirm,
  executorsOf,
  insertReview,
  lateReviews,
  lockBreakGlass,
  reviewsOf,
  setBreakGlass,
  unconfirmedRequests,
  type ReviewRecord,
} from '../store/reviews.ts';
import { actor, type RecordEvent } from './events.ts';
import type { Asker, Opened } from './standing.ts';
import { unknownRequest, type Refusal } from './refusal.ts';

export interface BreakGlassOptions {
  readonly store: Store;
  readonly record: RecordEvent;
  readonly clock: Clock;
  /** @param others further humans who are compared */
  readonly open: (
    store: StoreOrTransaction,
    request: RequestRecord,
    asker?: Principal,
    others?: readonly string[],
  ) => Promise<Opened>;
}

const maxTextLength = 4_000;
const maxLateAtOnce = 500;

export class BreakGlassService {
  readonly #options: BreakGlassOptions;

  constructor(options: BreakGlassOptions) {
    this.#options = options;
  }

  /** @throws request_unknown, request_not_pending, break_glass_refused, input_invalid (no reason), log_unavailable */
  async ask(requestId: string, principal: Principal, reason: string): Promise<RequestRecord> {
    const text = checkedText(reason, 'break-glass needs a reason');
    const { store, record, clock } = this.#options;
    return committed(store, async (transaction) => {
      // The order in which an approval takes its locks too.
      const request = await lockRequest(transaction, requestId);
      if (request === undefined) return unknownRequest(requestId);
      await lockBreakGlass(transaction);
      const refused = await this.whyNotAsk(transaction, request, principal);
      if (refused !== undefined) {
        await record({
          type: 'request.refused',
          action: 'break-glass',
          request: requestId,
          ...actor(principal),
          code: refused.code,
          reason: refused.message,
        });
        return refused;
      }
      const { subject, decisions } = await this.#options.open(transaction, request);
      const { workflow } = subject;
      if (workflow.breakGlass === undefined) throw new Error('break-glass was allowed by no workflow');
      // Later than every decision so far, so that none of them counts.
      const at = new Date(Math.max(clock.now(), (decisions.at(-1)?.decidedAt.getTime() ?? 0) + 1)).toISOString();
      const breakGlass = { ...workflow.breakGlass, principal: principal.id, human: principal.human, reason: text, at };
      await setBreakGlass(transaction, requestId, breakGlass);
      const { approvals, reviewers, reviewWithinMs } = breakGlass;
      const members = { approvals, reviewers, reviewWithinMs, reason: text };
      await record({
        type: 'request.break-glass',
        request: requestId,
        digest: request.digest,
        ...members,
        ...actor(principal),
      });
      return { ...request, breakGlass, stepDueAt: undefined };
    });
  }

  /**
   * One reviewer's word. As many `ok` as the workflow wants confirm it; an objection is kept and confirms nothing.
   * @throws request_unknown, break_glass_refused, input_invalid (an objection without a comment), log_unavailable
   */
  async review(requestId: string, asker: Asker, verdict: 'ok' | 'object', comment: string): Promise<RequestRecord> {
    const text = verdict === 'object' ? checkedText(comment, 'an objection needs a comment') : checkedText(comment);
    const { store, record, clock } = this.#options;
    const { principal } = asker;
    return committed(store, async (transaction) => {
      const request = await lockRequest(transaction, requestId);
      if (request === undefined) return unknownRequest(requestId);
      const refused = await this.whyNotReview(transaction, request, asker);
      if (refused !== undefined) {
        await record({
          type: 'request.refused',
          action: 'review',
          request: requestId,
          ...actor(principal),
          code: refused.code,
          reason: refused.message,
        });
        return refused;
      }
      const now = new Date(clock.now());
      const review: ReviewRecord = {
        requestId,
        human: principal.human,
        principalId: principal.id,
        verdict,
        comment: text,
        reviewedAt: now,
      };
      await insertReview(transaction, review);
      const given = (await reviewsOf(transaction, requestId)).filter((one) => one.verdict === 'ok');
      const names = given.map(({ human }) => human);
      const { keys } = await this.#options.open(transaction, request, principal, names);
      const humans = new Set(names.map(keys.keyOf));
      const isConfirmed = humans.size >= (request.breakGlass?.reviewers ?? Number.POSITIVE_INFINITY);
      if (isConfirmed) await confirm(transaction, requestId, now);
      await record({
        type: 'request.reviewed',
        request: requestId,
        digest: request.digest,
        verdict,
        comment: text,
        confirmed: isConfirmed,
        ...actor(principal),
      });
      return { ...request, confirmedAt: isConfirmed ? now : undefined };
    });
  }

  /** Why this principal may not ask for break-glass here; undefined = they may. */
  async whyNotAsk(
    store: StoreOrTransaction,
    request: RequestRecord,
    principal: Principal,
  ): Promise<CountersignError | undefined> {
    if (request.state !== 'pending') {
      return new CountersignError('request_not_pending', `request ${request.id} is ${request.state}, not pending`);
    }
    const { subject, keys } = await this.#options.open(store, request, principal);
    const own = humanKey(principal.human);
    if (keys.keyOf(principal.human) === '' || own !== humanKey(request.requesterHuman)) {
      return refused('only its requester asks for break-glass');
    }
    if (request.breakGlass !== undefined) return refused('break-glass was asked for already');
    if (subject.workflow.breakGlass === undefined) return refused('the workflow of this request has no break-glass');
    return this.blocked(store, principal, request.id);
  }

  /**
   * Why this human may have no part in another break-glass yet: one that is not confirmed, or not even decided.
   * @param requestId the one that they would have a part in
   */
  async blocked(
    store: StoreOrTransaction,
    principal: Principal,
    requestId: string,
  ): Promise<CountersignError | undefined> {
    for (const request of await unconfirmedRequests(store)) {
      const part = request.id === requestId ? undefined : await this.#partOf(store, request, principal);
      if (part !== undefined) {
        return refused(
          `${principal.displayName} ${part} request ${request.id}, whose break-glass is not confirmed yet`,
          {
            hint: 'others have to confirm it first: countersign requests review',
          },
        );
      }
    }
    return undefined;
  }

  /** The same for an approval, in the transaction of it: no other break-glass is asked for or approved until its end. */
  async refusal(
    transaction: Transaction<Database>,
    principal: Principal,
    requestId: string,
  ): Promise<Refusal | undefined> {
    await lockBreakGlass(transaction);
    const blocked = await this.blocked(transaction, principal, requestId);
    return blocked && { code: blocked.code, policies: ['countersign/break-glass'], reason: blocked.message };
  }

  /** Why this principal may not review it; undefined = they may. */
  async whyNotReview(
    store: StoreOrTransaction,
    request: RequestRecord,
    { principal, duties }: Asker,
  ): Promise<CountersignError | undefined> {
    if (request.breakGlass === undefined || request.reviewDueAt === undefined) {
      return refused('there is nothing to review: this request was not approved by break-glass');
    }
    if (request.confirmedAt !== undefined) return refused('this break-glass is confirmed already');
    if (!(['approver', 'auditor', 'admin'] as const).some((duty) => duties.includes(duty))) {
      return refused('reviewing needs the duty approver, auditor or admin');
    }
    const part = await this.#partOf(store, request, principal);
    if (part !== undefined) return refused(`${principal.displayName} ${part} it; reviewers had no part in it`);
    const before = (await reviewsOf(store, request.id)).map(({ human }) => human);
    const { keyOf } = (await this.#options.open(store, request, principal, before)).keys;
    const own = keyOf(principal.human);
    if (own === '') return refused('it is not known which human you are');
    if (before.some((human) => keyOf(human) === own)) return refused(`${principal.human} reviewed it already`);
    return undefined;
  }

  /** Whether this principal may review it. @throws CountersignError where nobody can: its connection is gone */
  async mayReview(requestId: string, asker: Asker): Promise<boolean> {
    const { store } = this.#options;
    const request = await findRequest(store, requestId);
    return request !== undefined && (await this.whyNotReview(store, request, asker)) === undefined;
  }

  /**
   * Says of each that its review is late, once, whichever node sees it first. Call it now and then. Returns the ids.
   * @throws log_unavailable; then it is said later
   */
  async tellLate(): Promise<string[]> {
    const { store, clock } = this.#options;
    const told: string[] = [];
    for (const id of await lateReviews(store, new Date(clock.now()), maxLateAtOnce)) {
      if (await this.#tellLate(id)) told.push(id);
    }
    return told;
  }

  async #tellLate(requestId: string): Promise<boolean> {
    const { store, record, clock } = this.#options;
    return store.transaction().execute(async (transaction) => {
      const request = await lockRequest(transaction, requestId);
      const { breakGlass, reviewDueAt, confirmedAt } = request ?? {};
      if (request === undefined || breakGlass === undefined || reviewDueAt === undefined) return false;
      const now = new Date(clock.now());
      if (breakGlass.lateAt !== undefined || confirmedAt !== undefined || now < reviewDueAt) return false;
      await setBreakGlass(transaction, requestId, { ...breakGlass, lateAt: now.toISOString() });
      await notifyChange(transaction, 'requests', requestId);
      const { reviewers } = breakGlass;
      const given = (await reviewsOf(transaction, requestId)).filter(({ verdict }) => verdict === 'ok').length;
      await record({
        type: 'request.review-late',
        request: requestId,
        digest: request.digest,
        dueAt: reviewDueAt.toISOString(),
        reviewers,
        given,
      });
      return true;
    });
  }

  /** The part that this human had in a request, in words. */
  async #partOf(store: StoreOrTransaction, request: RequestRecord, principal: Principal): Promise<string | undefined> {
    const executors = await executorsOf(store, request.id);
    const { subject, decisions, keys } = await this.#options.open(store, request, principal, executors);
    const own = keys.keyOf(principal.human);
    const isOwn = (human: string) => own !== '' && keys.keyOf(human) === own;
    if (isOwn(request.requesterHuman)) return 'asked for';
    if (subject.duty.authors.some((author) => isOwn(author.human))) return 'authored';
    const deciders = decisions.flatMap(({ human, principalId }) => [human, ...keys.ownersOf(principalId)]);
    if (deciders.some(isOwn)) return 'decided on';
    return executors.some(isOwn) ? 'executed' : undefined;
  }
}

function refused(message: string, more: { readonly hint?: string } = {}): CountersignError {
  return new CountersignError('break_glass_refused', message, more);
}

function checkedText(text: string, needed?: string): string {
  const trimmed = text.trim();
  if (needed !== undefined && trimmed === '') throw new CountersignError('input_invalid', needed);
  if (trimmed.length > maxTextLength || trimmed.includes('\0')) {
    throw new CountersignError('input_invalid', `a text has at most ${maxTextLength} characters and no NUL`);
  }
  return trimmed;
}

/** What `work` returns is committed, also an error: that is then thrown. */
async function committed<T>(
  store: Store,
  work: (transaction: Transaction<Database>) => Promise<T | CountersignError>,
): Promise<T> {
  const result = await store.transaction().execute(work);
  if (result instanceof CountersignError) throw result;
  return result;
}
