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
import type { Duty, Principal } from '../identity/principal.ts';
import type { Json } from '../lib/canonical-json.ts';
import { newId, type Clock } from '../lib/clock.ts';
import {
  countLines,
  decideLine,
  endReview,
  findReview,
  heldSince,
  insertReview,
  listReviews,
  lockReview,
  newestUses,
  noteHoldings,
  reviewLine,
  reviewLines,
  revokedBefore,
  type LineCounts,
  type LineFilter,
  type ReviewLineRow,
  type ReviewRow,
} from '../store/access.ts';
import type { Store, StoreOrTransaction } from '../store/database.ts';
import { noteUses } from '../store/log-index.ts';
import {
  holdingsOf,
  isUnused,
  revocationOf,
  type AccessWorld,
  type DutyUse,
  type Holding,
  type ReviewedPrincipal,
} from './access.ts';
import { aloneConflicts, pairConflicts, type AloneConflict, type PairConflict } from './conflicts.ts';
import type { ExecutionReport } from './executions.ts';
import type { Finding } from './finding.ts';

export interface ReviewEvent {
  readonly type: 'review.started' | 'review.decided' | 'review.ended';
  readonly [member: string]: Json | undefined;
}

export interface ReviewOptions {
  readonly store: Store;
  /** Rejects when the log cannot be written; then nothing changed. */
  readonly record: (event: ReviewEvent) => Promise<void>;
  readonly clock: Clock;
  readonly keyOf: (human: string) => string;
  readonly world: () => Promise<Pick<AccessWorld, 'principals' | 'bindings' | 'connections'>>;
  readonly executions: (ask: { from: Date; connections: readonly string[] }) => Promise<ExecutionReport>;
  /** Chunking commands that the policies let a principal run without an approval, with the rules that do. */
  readonly unapproved: (
    principal: Principal,
    connection: string,
  ) => readonly { action: string; policies: readonly string[] }[];
  /** Database accounts that can do more than their duty needs. */
  readonly accounts: (connections: readonly string[]) => Promise<readonly Finding[]>;
  /** Break-glass uses that wait for their review. */
  readonly breakGlass?: ((connections: readonly string[]) => Promise<readonly BreakGlassUse[]>) | undefined;
  readonly unusedAfterMs: number;
}

export interface BreakGlassUse {
  readonly request: string;
  readonly connection: string;
  readonly human: string;
  readonly at: string;
  readonly reviewsGiven: number;
  readonly reviewsNeeded: number;
}

export interface ReviewedLine extends Holding {
  readonly unused: boolean;
  readonly heldSince: string | undefined;
}

export interface Unapproved {
  readonly connection: string;
  readonly humans: readonly string[];
  readonly action: string;
  readonly policies: readonly string[];
}

/** A `revoke` of an earlier review, and what became of it. */
export interface FollowUp {
  readonly review: string;
  readonly line: string;
  readonly principal: string;
  readonly connection: string;
  readonly duty: string;
  readonly reviewer: string;
  readonly decidedAt: string;
  readonly state: 'done' | 'still-held';
  readonly todo: string;
}

/** Everything beside the lines, as it is at one moment. */
export interface AccessFacts {
  readonly connections: readonly string[];
  readonly alone: readonly AloneConflict[];
  readonly pairs: readonly PairConflict[];
  readonly unapproved: readonly Unapproved[];
  readonly accounts: readonly Finding[];
  readonly executions: Pick<
    ExecutionReport,
    'complete' | 'executions' | 'approved' | 'exceptions' | 'exceptionCount' | 'allowedByRule'
  >;
  /** ISO 8601: executions from here on. */
  readonly executionsSince: string;
  readonly followUps: readonly FollowUp[];
  /** Absent where there is no break-glass workflow. */
  readonly breakGlass?: readonly BreakGlassUse[] | undefined;
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
  readonly todo: string | undefined;
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
const maxUnapproved = 1_000;

export class AccessReviews {
  readonly #options: ReviewOptions;

  constructor(options: ReviewOptions) {
    this.#options = options;
  }

  /** The lines as they are now, on connections that the reviewer may review. */
  async holdings(reviewer: Reviewer): Promise<ReviewedLine[]> {
    const world = await this.#world();
    const scope = scopeOf(reviewer, world);
    const lines = await this.#lines(world);
    return lines.filter((line) => scope.includes(line.connection));
  }

  async facts(reviewer: Reviewer): Promise<AccessFacts> {
    const world = await this.#world();
    return this.#facts(world, scopeOf(reviewer, world));
  }

  /** Notes since when each duty is held. Call it now and then: `unused` counts from there. */
  async observe(): Promise<void> {
    const { store, clock } = this.#options;
    const held = holdingsOf(await this.#world()).map((holding) => holding.line);
    await noteHoldings(store, held, new Date(clock.now()));
  }

  /** Freezes what is held now. @throws forbidden, log_unavailable */
  async start(reviewer: Reviewer): Promise<ReviewSummary> {
    const { store, record, clock } = this.#options;
    const { principal } = reviewer;
    this.#known(principal);
    await this.observe();
    const world = await this.#world();
    const scope = scopeOf(reviewer, world);
    if (scope.length === 0) {
      throw new CountersignError('forbidden', `${principal.id} may not review access on any connection`, {
        detail: 'this needs the duty auditor or admin',
      });
    }
    const lines = (await this.#lines(world)).filter((line) => scope.includes(line.connection));
    const review = {
      id: newId('review'),
      started_by: principal.id,
      started_human: principal.human,
      started_at: new Date(clock.now()),
    };
    const facts = await this.#facts(world, scope);
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
    const { bindings } = await this.#options.world();
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
    const { store, record, clock, keyOf } = this.#options;
    const { principal } = reviewer;
    const own = this.#known(principal);
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
        if (keyOf(found.human) === own) throw ownLine(found, principal);
        checked.push({ found, verdict, comment: commentOf(verdict, comment) });
      }
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
    this.#known(reviewer.principal);
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

  /** The key of the reviewer as a human. @throws forbidden when that is not known */
  #known(principal: Principal): string {
    const key = this.#options.keyOf(principal.human);
    if (key !== '') return key;
    throw new CountersignError('forbidden', `it is not known which human ${principal.id} is`);
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

  async #world(): Promise<AccessWorld> {
    const { store, keyOf, world } = this.#options;
    const uses = (await newestUses(store)).map(
      (row): DutyUse => ({
        principal: row.principal_id,
        connection: row.connection,
        duty: row.duty as Duty,
        kind: row.kind as DutyUse['kind'],
        at: row.at,
      }),
    );
    return { ...(await world()), uses, keyOf };
  }

  async #lines(world: AccessWorld): Promise<ReviewedLine[]> {
    const { store, clock, unusedAfterMs } = this.#options;
    const since = await heldSince(store);
    return holdingsOf(world).map((holding) => {
      const held = since.get(holding.line);
      const unused = isUnused(holding, held, clock.now(), unusedAfterMs);
      return { ...holding, heldSince: held?.toISOString(), unused };
    });
  }

  async #facts(whole: AccessWorld, connections: readonly string[]): Promise<AccessFacts> {
    const { clock, unusedAfterMs, executions, accounts, breakGlass } = this.#options;
    const world = { ...whole, connections: whole.connections.filter(({ name }) => connections.includes(name)) };
    const from = new Date(clock.now() - unusedAfterMs);
    const report = await executions({ from, connections });
    const broken = await breakGlass?.(connections);
    return {
      connections,
      alone: aloneConflicts(world),
      pairs: pairConflicts(world),
      unapproved: this.#unapproved(world),
      accounts: await accounts(connections),
      executions: {
        complete: report.complete,
        executions: report.executions,
        approved: report.approved,
        exceptions: report.exceptions,
        exceptionCount: report.exceptionCount,
        allowedByRule: report.allowedByRule,
      },
      executionsSince: from.toISOString(),
      followUps: await this.#followUps(world),
      ...(broken === undefined ? {} : { breakGlass: broken }),
    };
  }

  #unapproved(world: AccessWorld): Unapproved[] {
    const found = new Map<string, { readonly one: Omit<Unapproved, 'humans'>; readonly humans: Set<string> }>();
    for (const { name } of world.connections) {
      for (const principal of world.principals) {
        for (const { action, policies } of this.#options.unapproved(principal, name)) {
          const one = { connection: name, action, policies };
          const key = JSON.stringify(one);
          const known = found.get(key) ?? { one, humans: new Set<string>() };
          known.humans.add(principal.human);
          found.set(key, known);
        }
      }
    }
    return [...found.values()].map(({ one, humans }) => ({
      ...one,
      humans: [...humans].toSorted().slice(0, maxUnapproved),
    }));
  }

  async #followUps(world: AccessWorld): Promise<FollowUp[]> {
    const { store, clock } = this.#options;
    const held = new Map(holdingsOf(world).map((holding) => [holding.line, holding]));
    const names = new Set(world.connections.map(({ name }) => name));
    const rows = await revokedBefore(store, new Date(clock.now() + 1));
    return rows
      .filter((row) => names.has(row.connection))
      .map((row) => {
        const now = held.get(row.line);
        return {
          review: row.review_id,
          line: row.line,
          principal: row.principal_id,
          connection: row.connection,
          duty: row.duty,
          reviewer: row.reviewer_id ?? '',
          decidedAt: row.decided_at?.toISOString() ?? '',
          state: now === undefined ? 'done' : 'still-held',
          todo: now === undefined ? '' : revocationOf(now, world.bindings),
        };
      });
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

function ownLine(found: ReviewLineRow, { human }: Principal): CountersignError {
  const text = `${found.principal_id} is ${human}, who may not review what they hold`;
  return new CountersignError('duty_conflict', text, {
    hint: 'another auditor or administrator reviews this line',
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
    todo: row.verdict === 'revoke' ? revocationOf(holding, bindings) : undefined,
  };
}

function actor({ id, human }: Principal): { principal: string; human: string } {
  return { principal: id, human };
}

/** Everybody who was ever seen, and the service accounts of the configuration that were not. */
export function everybody(
  seen: readonly ReviewedPrincipal[],
  configured: readonly {
    readonly name: string;
    readonly owner: string;
    readonly groups?: readonly string[] | undefined;
  }[],
): ReviewedPrincipal[] {
  const known = new Set(seen.map(({ id }) => id));
  const unseen = configured
    .filter(({ name }) => !known.has(name))
    .map(
      ({ name, owner, groups }): ReviewedPrincipal => ({
        id: name,
        human: owner,
        kind: 'service',
        displayName: name,
        email: undefined,
        groups: groups ?? [],
        lastSeenAt: undefined,
      }),
    );
  return [...seen, ...unseen];
}
