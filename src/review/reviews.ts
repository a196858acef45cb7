/**
 * Reviews: frozen lines, and a word of a reviewer on each.
 *
 *     open --(decided, line by line; a later word replaces an earlier one)--> open
 *     open --(ended by a reviewer)--> ended        nothing changes any more
 *
 * A word is durable in the log before it is kept. Nobody reviews what they hold themselves, under whatever name, service
 * accounts included (promise P3). A `revoke` says what to do at the identity provider; the next review says whether it
 * happened. A review takes nothing away by itself: groups are the provider's.
 */
import { CountersignError } from '../errors.ts';
import type { HumanSource } from '../identity/humans.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import type { Json } from '../lib/canonical-json.ts';
import { newId, type Clock } from '../lib/clock.ts';
import {
  countLines,
  decideLine,
  endReview,
  findReview,
  insertReview,
  listReviews,
  lockReview,
  reviewLine,
  reviewLines,
  type LineCounts,
  type LineFilter,
  type ReviewLineRow,
  type ReviewRow,
} from '../store/access.ts';
import type { Store, StoreOrTransaction } from '../store/database.ts';
import { noteUses } from '../store/log-index.ts';
import { revocationOf, type AccessWorld } from './access.ts';
import type { AccessFacts, AccessView, ReviewedLine } from './facts.ts';

export interface ReviewEvent {
  readonly type: 'review.started' | 'review.decided' | 'review.ended';
  readonly [member: string]: Json | undefined;
}

export interface ReviewOptions {
  readonly store: Store;
  /** Rejects when the log cannot be written; then nothing changed. */
  readonly record: (event: ReviewEvent) => Promise<void>;
  readonly clock: Clock;
  readonly humans: HumanSource;
  readonly view: AccessView;
}

export interface Reviewer {
  readonly principal: Principal;
  readonly dutiesOn: (connection: string) => readonly Duty[];
}

export interface LineDecision {
  readonly line: string;
  readonly verdict: 'keep' | 'revoke';
  readonly comment: string;
}

export interface DecidedLine extends ReviewedLine {
  readonly verdict: 'keep' | 'revoke' | undefined;
  readonly reviewer: string | undefined;
  readonly comment: string | undefined;
  readonly decidedAt: string | undefined;
  /** For `revoke`: what to do at the identity provider. */
  readonly remedy: string | undefined;
}

export interface ReviewSummary {
  readonly id: string;
  readonly startedBy: string;
  readonly startedAt: string;
  readonly endedBy: string | undefined;
  readonly endedAt: string | undefined;
}

export interface ReviewReport extends ReviewSummary {
  readonly counts: LineCounts;
  readonly facts: AccessFacts;
  readonly lines: readonly DecidedLine[];
}

const maxComment = 4_000;

export class AccessReviews {
  readonly #options: ReviewOptions;

  constructor(options: ReviewOptions) {
    this.#options = options;
  }

  /** The lines as they are now, on connections that the reviewer may review. */
  async holdings(reviewer: Reviewer): Promise<ReviewedLine[]> {
    const { view } = this.#options;
    const world = await view.world();
    const scope = scopeOf(reviewer, world);
    const lines = await view.lines(world);
    return lines.filter((line) => scope.includes(line.connection));
  }

  async facts(reviewer: Reviewer): Promise<AccessFacts> {
    const { view } = this.#options;
    const world = await view.world();
    return view.facts(world, scopeOf(reviewer, world));
  }

  /** Freezes what is held now. @throws forbidden, log_unavailable */
  async start(reviewer: Reviewer): Promise<ReviewSummary> {
    const { store, record, clock } = this.#options;
    const { principal } = reviewer;
    await this.#known(principal);
    await this.#options.view.observe();
    const { view } = this.#options;
    const world = await view.world();
    const scope = scopeOf(reviewer, world);
    if (scope.length === 0) {
      throw new CountersignError('forbidden', `${principal.id} may not review access on any connection`, {
        detail: 'this needs the duty auditor or admin',
      });
    }
    const lines = (await view.lines(world)).filter((line) => scope.includes(line.connection));
    const review = {
      id: newId('review'),
      started_by: principal.id,
      started_human: principal.human,
      started_at: new Date(clock.now()),
    };
    const facts = await view.facts(world, scope);
    await store.transaction().execute(async (transaction) => {
      await insertReview(
        transaction,
        { ...review, facts },
        lines.map((holding) => ({ ...holding, holding })),
      );
      await this.#used(transaction, reviewer, scope);
      await record({
        type: 'review.started',
        review: review.id,
        connections: scope,
        lines: lines.length,
        ...actor(principal),
      });
    });
    return summaryOf({ ...review, ended_by: null, ended_at: null });
  }

  async list(limit: number, before: Date | undefined): Promise<ReviewSummary[]> {
    return (await listReviews(this.#options.store, limit, before)).map(summaryOf);
  }

  /** @throws review_unknown, forbidden */
  async get(id: string, reviewer: Reviewer): Promise<Omit<ReviewReport, 'lines'>> {
    const { row, facts } = mayReview(id, await findReview(this.#options.store, id), reviewer);
    return { ...summaryOf(row), counts: await countLines(this.#options.store, id), facts };
  }

  /** @throws review_unknown, forbidden */
  async lines(id: string, reviewer: Reviewer, filter: LineFilter): Promise<DecidedLine[]> {
    mayReview(id, await findReview(this.#options.store, id), reviewer);
    const { bindings } = await this.#options.view.world();
    return (await reviewLines(this.#options.store, id, filter)).map((row) => decidedOf(row, bindings));
  }

  /** Everything, for export. @throws review_unknown, forbidden */
  async report(id: string, reviewer: Reviewer): Promise<ReviewReport> {
    return { ...(await this.get(id, reviewer)), lines: await this.lines(id, reviewer, {}) };
  }

  /**
   * All of these words, or none.
   * @throws review_unknown, review_closed, not_found (no such line), duty_conflict (the reviewer's own line), forbidden,
   * input_invalid (a revocation without a comment), log_unavailable
   */
  async decide(id: string, reviewer: Reviewer, decisions: readonly LineDecision[]): Promise<LineCounts> {
    const { store, record, clock } = this.#options;
    const { principal } = reviewer;
    await this.#known(principal);
    return store.transaction().execute(async (transaction) => {
      const { row, facts } = mayReview(id, await lockReview(transaction, id), reviewer);
      stillOpen(row);
      const checked: {
        readonly found: ReviewLineRow;
        readonly verdict: LineDecision['verdict'];
        readonly comment: string;
      }[] = [];
      for (const { line, verdict, comment } of decisions) {
        const found = await reviewLine(transaction, id, line);
        if (found === undefined) throw new CountersignError('not_found', `review ${id} has no line ${line}`);
        checked.push({ found, verdict, comment: commentOf(verdict, comment) });
      }
      await this.#noneIsOwn(
        transaction,
        row,
        principal,
        checked.map(({ found }) => found),
      );
      // Nothing is recorded before everything was checked: the log never tells of a word that was refused.
      for (const { found, verdict, comment } of checked) {
        const decided = { verdict, reviewer_id: principal.id, reviewer_human: principal.human, comment };
        await decideLine(transaction, id, found.line, { ...decided, decided_at: new Date(clock.now()) });
      }
      await Promise.all(
        checked.map(({ found, verdict, comment }) =>
          record({
            type: 'review.decided',
            review: id,
            line: found.line,
            verdict,
            comment,
            holder: found.principal_id,
            holderHuman: found.human,
            connection: found.connection,
            duty: found.duty,
            ...actor(principal),
          }),
        ),
      );
      await this.#used(transaction, reviewer, facts.connections);
      return countLines(transaction, id);
    });
  }

  /**
   * @param incomplete end it although lines are undecided; the report says how many
   * @throws review_unknown, review_closed, input_invalid (lines are undecided), forbidden, log_unavailable
   */
  async end(id: string, reviewer: Reviewer, incomplete: boolean): Promise<Omit<ReviewReport, 'lines'>> {
    const { store, record, clock } = this.#options;
    await this.#known(reviewer.principal);
    await store.transaction().execute(async (transaction) => {
      const { row } = mayReview(id, await lockReview(transaction, id), reviewer);
      stillOpen(row);
      const counts = await countLines(transaction, id);
      if (counts.undecided > 0 && !incomplete) {
        throw new CountersignError('input_invalid', `${counts.undecided} of ${counts.lines} lines are not decided`, {
          hint: 'decide them, or end the review as incomplete',
        });
      }
      await endReview(transaction, id, reviewer.principal.id, new Date(clock.now()));
      await record({ type: 'review.ended', review: id, ...counts, ...actor(reviewer.principal) });
    });
    return this.get(id, reviewer);
  }

  /** @throws forbidden when it is not known which human the reviewer is */
  async #known({ id, human }: Principal): Promise<void> {
    const { store, clock, humans } = this.#options;
    const ask = { names: [human], accounts: [], since: new Date(clock.now()) };
    if ((await humans.keysFor(store, ask)).keyOf(human) !== '') return;
    throw new CountersignError('forbidden', `it is not known which human ${id} is`);
  }

  /** Names that are one human, owners of accounts, and those who were either since the review began, count as the reviewer. */
  async #noneIsOwn(
    transaction: StoreOrTransaction,
    review: ReviewRow,
    { human }: Principal,
    lines: readonly ReviewLineRow[],
  ): Promise<void> {
    const keys = await this.#options.humans.keysFor(transaction, {
      names: [human, ...lines.map((line) => line.human)],
      accounts: lines.map((line) => line.principal_id),
      since: review.started_at,
    });
    const own = keys.keyOf(human);
    const found = lines.find((line) =>
      [line.human, ...keys.ownersOf(line.principal_id)].some((name) => keys.keyOf(name) === own),
    );
    if (found === undefined) return;
    const text = `${found.principal_id} is ${human}, who may not review what they hold`;
    throw new CountersignError('duty_conflict', text, { hint: 'another auditor or administrator reviews this line' });
  }

  async #used(transaction: StoreOrTransaction, { principal, dutiesOn }: Reviewer, connections: readonly string[]) {
    const used_at = new Date(this.#options.clock.now());
    const uses = connections.flatMap((connection) =>
      dutiesOn(connection)
        .filter((duty) => duty === 'auditor' || duty === 'admin')
        .map((duty) => ({ principal_id: principal.id, duty, connection, used_at })),
    );
    await noteUses(transaction, uses);
  }
}

function scopeOf({ dutiesOn }: Reviewer, { connections }: Pick<AccessWorld, 'connections'>): string[] {
  return connections.map(({ name }) => name).filter((name) => reviews(dutiesOn(name)));
}

function reviews(duties: readonly Duty[]): boolean {
  return duties.includes('auditor') || duties.includes('admin');
}

/** A review that is there and that this reviewer may see. @throws review_unknown, forbidden */
function mayReview(id: string, row: ReviewRow | undefined, { principal, dutiesOn }: Reviewer) {
  if (row === undefined)
    throw new CountersignError('review_unknown', `there is no access review ${JSON.stringify(id)}`);
  const facts = row.facts as AccessFacts;
  const closed = facts.connections.filter((name) => !reviews(dutiesOn(name)));
  if (closed.length === 0) return { row, facts };
  throw new CountersignError('forbidden', `${principal.id} may not review access on ${closed.join(', ')}`, {
    detail: 'this needs the duty auditor or admin on every connection of the review',
  });
}

function stillOpen(row: ReviewRow): void {
  if (row.ended_at === null) return;
  throw new CountersignError('review_closed', `review ${row.id} was ended by ${row.ended_by ?? 'somebody'}`, {
    hint: 'start another one',
  });
}

function commentOf(verdict: LineDecision['verdict'], given: string): string {
  const comment = given.trim();
  if (verdict === 'revoke' && comment === '') {
    throw new CountersignError('input_invalid', 'a revocation needs a comment that says why');
  }
  if (comment.length > maxComment || comment.includes('\0')) {
    throw new CountersignError('input_invalid', `a comment has at most ${maxComment} characters and no NUL`);
  }
  return comment;
}

function summaryOf(row: Omit<ReviewRow, 'facts'>): ReviewSummary {
  return {
    id: row.id,
    startedBy: row.started_by,
    startedAt: row.started_at.toISOString(),
    endedBy: row.ended_by ?? undefined,
    endedAt: row.ended_at?.toISOString(),
  };
}

function decidedOf(row: ReviewLineRow, bindings: AccessWorld['bindings']): DecidedLine {
  const holding = row.holding as ReviewedLine;
  return {
    ...holding,
    verdict: row.verdict ?? undefined,
    reviewer: row.reviewer_id ?? undefined,
    comment: row.comment ?? undefined,
    decidedAt: row.decided_at?.toISOString(),
    remedy: row.verdict === 'revoke' ? revocationOf(holding, bindings) : undefined,
  };
}

function actor({ id, human }: Principal): { principal: string; human: string } {
  return { principal: id, human };
}
