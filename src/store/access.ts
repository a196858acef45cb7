/** The access review in the control store: uses of duties, reviews and what was decided in them. The rules are in `review/`. */
import { sql, type Selectable } from 'kysely';
import type { StoreOrTransaction } from './database.ts';
import type { AccessReviewLinesTable, AccessReviewsTable } from './review-tables.ts';

export type ReviewRow = Selectable<AccessReviewsTable>;
export type ReviewLineRow = Selectable<AccessReviewLinesTable>;

export interface UseRow {
  readonly principal_id: string;
  readonly connection: string;
  readonly duty: string;
  readonly kind: string;
  readonly at: Date;
}

/** The newest of each kind: sessions in each duty, decisions, runs, pushes, replays and reviews. */
export async function newestUses(store: StoreOrTransaction): Promise<UseRow[]> {
  const { rows } = await sql<UseRow>`
    select principal_id, connection, duty, 'session' as kind, max(started_at) as at from sessions group by 1, 2, 3
    union all
    select d.principal_id, r.connection, 'approver', 'decision', max(d.decided_at)
      from decisions d join requests r on r.id = d.request_id group by 1, 2
    union all
    select executor_id, connection, 'executor', 'run', max(created_at) from runs group by 1, 2
    union all
    select pushed_by, connection, 'designer', 'push', max(pushed_at) from job_versions group by 1, 2
    union all
    select principal_id, connection, duty, case when duty = 'auditor' then 'replay' else 'review' end, used_at
      from duty_uses
    union all
    select v.principal_id, r.connection, duty, 'review', max(v.reviewed_at)
      from reviews v join requests r on r.id = v.request_id cross join unnest(array['approver', 'auditor', 'admin']) as duty
      group by 1, 2, 3`.execute(store);
  return rows;
}

/**
 * Notes since when each of these lines is held: new ones since now, and those that are held no more are forgotten, so
 * that a duty that comes back counts from then on.
 */
export async function noteHoldings(store: StoreOrTransaction, lines: readonly string[], now: Date): Promise<void> {
  const held = JSON.stringify(lines);
  await sql`
    insert into duty_holdings (line, since)
    select line, ${now}::timestamptz from jsonb_array_elements_text(${held}::jsonb) as held(line)
    on conflict (line) do nothing`.execute(store);
  await sql`
    delete from duty_holdings where line not in (select jsonb_array_elements_text(${held}::jsonb))`.execute(store);
}

export async function heldSince(store: StoreOrTransaction): Promise<Map<string, Date>> {
  const rows = await store.selectFrom('duty_holdings').selectAll().execute();
  return new Map(rows.map((row) => [row.line, row.since]));
}

export async function insertReview(
  transaction: StoreOrTransaction,
  review: Pick<ReviewRow, 'id' | 'started_by' | 'started_human' | 'started_at'> & { readonly facts: object },
  lines: readonly {
    readonly line: string;
    readonly principal: string;
    readonly human: string;
    readonly connection: string;
    readonly duty: string;
    readonly holding: object;
  }[],
): Promise<void> {
  const { facts, ...rest } = review;
  await transaction
    .insertInto('access_reviews')
    .values({ ...rest, ended_by: null, ended_at: null, facts: JSON.stringify(facts) })
    .execute();
  const batch = 1_000;
  for (let from = 0; from < lines.length; from += batch) {
    await transaction
      .insertInto('access_review_lines')
      .values(
        lines.slice(from, from + batch).map(({ line, principal, human, connection, duty, holding }) => ({
          review_id: review.id,
          line,
          principal_id: principal,
          human,
          connection,
          duty,
          holding: JSON.stringify(holding),
        })),
      )
      .execute();
  }
}

/** Newest first. */
export async function listReviews(
  store: StoreOrTransaction,
  limit: number,
  before: Date | undefined,
): Promise<Omit<ReviewRow, 'facts'>[]> {
  let query = store
    .selectFrom('access_reviews')
    .select(['id', 'started_by', 'started_human', 'started_at', 'ended_by', 'ended_at']);
  if (before !== undefined) query = query.where('started_at', '<', before);
  return query.orderBy('started_at', 'desc').limit(limit).execute();
}

export async function findReview(store: StoreOrTransaction, id: string): Promise<ReviewRow | undefined> {
  return store.selectFrom('access_reviews').selectAll().where('id', '=', id).executeTakeFirst();
}

/** Keeps everybody else from deciding in it or ending it until the transaction ends. */
export async function lockReview(transaction: StoreOrTransaction, id: string): Promise<ReviewRow | undefined> {
  return transaction.selectFrom('access_reviews').selectAll().where('id', '=', id).forUpdate().executeTakeFirst();
}

export async function endReview(transaction: StoreOrTransaction, id: string, by: string, at: Date): Promise<void> {
  await transaction.updateTable('access_reviews').set({ ended_by: by, ended_at: at }).where('id', '=', id).execute();
}

export interface LineFilter {
  readonly undecidedOnly?: boolean | undefined;
  /** Only lines behind this one, in the order principal, connection, duty. */
  readonly after?: string | undefined;
  readonly limit?: number | undefined;
}

export async function reviewLines(
  store: StoreOrTransaction,
  reviewId: string,
  filter: LineFilter = {},
): Promise<ReviewLineRow[]> {
  let query = store.selectFrom('access_review_lines').selectAll().where('review_id', '=', reviewId);
  if (filter.undecidedOnly === true) query = query.where('verdict', 'is', null);
  if (filter.after !== undefined) {
    query = query.where(
      sql<boolean>`(principal_id, connection, duty) >
        (select principal_id, connection, duty from access_review_lines where review_id = ${reviewId} and line = ${filter.after})`,
    );
  }
  query = query.orderBy('principal_id').orderBy('connection').orderBy('duty');
  return (filter.limit === undefined ? query : query.limit(filter.limit)).execute();
}

export async function reviewLine(
  store: StoreOrTransaction,
  reviewId: string,
  line: string,
): Promise<ReviewLineRow | undefined> {
  return store
    .selectFrom('access_review_lines')
    .selectAll()
    .where('review_id', '=', reviewId)
    .where('line', '=', line)
    .executeTakeFirst();
}

export async function decideLine(
  transaction: StoreOrTransaction,
  reviewId: string,
  line: string,
  decision: Required<Pick<ReviewLineRow, 'verdict' | 'reviewer_id' | 'reviewer_human' | 'comment' | 'decided_at'>>,
): Promise<void> {
  await transaction
    .updateTable('access_review_lines')
    .set(decision)
    .where('review_id', '=', reviewId)
    .where('line', '=', line)
    .execute();
}

export interface LineCounts {
  readonly lines: number;
  readonly kept: number;
  readonly revoked: number;
  readonly undecided: number;
}

export async function countLines(store: StoreOrTransaction, reviewId: string): Promise<LineCounts> {
  const row = await store
    .selectFrom('access_review_lines')
    .select((eb) => [
      eb.fn.countAll<number>().as('lines'),
      sql<number>`(count(*) filter (where verdict = 'keep'))::bigint`.as('kept'),
      sql<number>`(count(*) filter (where verdict = 'revoke'))::bigint`.as('revoked'),
    ])
    .where('review_id', '=', reviewId)
    .executeTakeFirstOrThrow();
  return { ...row, undecided: row.lines - row.kept - row.revoked };
}

/** The newest word on each line that was ever decided, of reviews begun before this moment, where it was `revoke`. */
export async function revokedBefore(store: StoreOrTransaction, startedBefore: Date): Promise<ReviewLineRow[]> {
  const { rows } = await sql<ReviewLineRow>`
    select * from (
      select distinct on (l.line) l.* from access_review_lines l join access_reviews r on r.id = l.review_id
      where l.verdict is not null and r.started_at < ${startedBefore}
      order by l.line, l.decided_at desc) as newest
    where verdict = 'revoke' order by principal_id, connection, duty`.execute(store);
  return rows;
}

/** Who may not come in any more: ids, and the humans behind them. */
export async function removedPeople(
  store: StoreOrTransaction,
): Promise<{ readonly ids: ReadonlySet<string>; readonly keys: ReadonlySet<string> }> {
  const rows = await store.selectFrom('leavers').select(['principal_id', 'human']).execute();
  return { ids: new Set(rows.map((row) => row.principal_id)), keys: new Set(rows.map((row) => row.human)) };
}

export interface UnreviewedRow {
  readonly request: string;
  readonly connection: string;
  readonly human: string;
  readonly at: string;
  /** ISO 8601; in the past: late. */
  readonly dueAt: string;
  readonly reviewsGiven: number;
  readonly reviewsNeeded: number;
  /** Humans who asked, wrote, decided or executed it, or have reviewed it: none of them reviews it. */
  readonly hadPart: readonly string[];
}

/** Approved under break-glass, and not confirmed yet; the longest first. */
export async function unreviewedBreakGlass(store: StoreOrTransaction): Promise<UnreviewedRow[]> {
  const { rows } = await sql<Omit<UnreviewedRow, 'dueAt'> & { readonly dueAt: Date }>`
    select r.id as request, r.connection, r.break_glass ->> 'human' as human, r.break_glass ->> 'at' as at,
      (select count(*) from reviews v where v.request_id = r.id and v.verdict = 'ok') as "reviewsGiven",
      (r.break_glass ->> 'reviewers')::bigint as "reviewsNeeded", r.review_due_at as "dueAt",
      array(select r.requester_human
        union select a ->> 'human' from jsonb_array_elements(r.authors::jsonb) a
        union select d.human from decisions d where d.request_id = r.id
        union select v.human from reviews v where v.request_id = r.id
        union select u.executor_human from grants g join runs u on u.grant_id = g.id where g.request_id = r.id
        union select p.human from grants g join principals p on p.id = g.consumed_by where g.request_id = r.id
      ) as "hadPart"
    from requests r where r.break_glass is not null and r.confirmed_at is null and r.review_due_at is not null
    order by r.review_due_at limit 1000`.execute(store);
  return rows.map((row) => ({ ...row, dueAt: row.dueAt.toISOString() }));
}
