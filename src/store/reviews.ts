/** Break-glass on requests and the reviews of it: rows in, records out. The rules are in `approvals/break-glass.ts`. */
import { sql, type Transaction } from 'kysely';
import type { BreakGlassRecord, Database, StoreOrTransaction } from './database.ts';
import { findRequest, type RequestRecord } from './requests.ts';

export interface ReviewRecord {
  readonly requestId: string;
  readonly human: string;
  readonly principalId: string;
  readonly verdict: 'ok' | 'object';
  readonly comment: string;
  readonly reviewedAt: Date;
}

/** The steps of the ordinary workflow are over, and with them their time limit. */
export async function setBreakGlass(
  transaction: Transaction<Database>,
  id: string,
  breakGlass: BreakGlassRecord,
): Promise<void> {
  await transaction
    .updateTable('requests')
    .set({ break_glass: JSON.stringify(breakGlass), step_due_at: null })
    .where('id', '=', id)
    .execute();
}

export async function confirm(transaction: Transaction<Database>, id: string, at: Date): Promise<void> {
  await transaction.updateTable('requests').set({ confirmed_at: at }).where('id', '=', id).execute();
}

export async function insertReview(transaction: Transaction<Database>, review: ReviewRecord): Promise<void> {
  await transaction
    .insertInto('reviews')
    .values({
      request_id: review.requestId,
      human: review.human,
      principal_id: review.principalId,
      verdict: review.verdict,
      comment: review.comment,
      reviewed_at: review.reviewedAt,
    })
    .execute();
}

/** Oldest first. */
export async function reviewsOf(store: StoreOrTransaction, requestId: string): Promise<ReviewRecord[]> {
  const rows = await store
    .selectFrom('reviews')
    .selectAll()
    .where('request_id', '=', requestId)
    .orderBy('reviewed_at')
    .execute();
  return rows.map((row) => ({
    requestId: row.request_id,
    human: row.human,
    principalId: row.principal_id,
    verdict: row.verdict,
    comment: row.comment,
    reviewedAt: row.reviewed_at,
  }));
}

/** One at a time asks for, or approves by, break-glass: otherwise two could each be somebody's first. */
export async function lockBreakGlass(transaction: Transaction<Database>): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended('countersign break-glass', 0))`.execute(transaction);
}

/** By break-glass and not confirmed yet, or not decided yet, the most urgent first. Late ones have `reviewDueAt` behind them. */
export async function unconfirmedRequests(store: StoreOrTransaction): Promise<RequestRecord[]> {
  const rows = await store
    .selectFrom('requests')
    .select('id')
    .where('break_glass', 'is not', null)
    .where('confirmed_at', 'is', null)
    .where((row) => row.or([row('state', '=', 'pending'), row('review_due_at', 'is not', null)]))
    .orderBy('review_due_at')
    .execute();
  const found = await Promise.all(rows.map(({ id }) => findRequest(store, id)));
  return found.filter((request) => request !== undefined);
}

/** Ids of those that should have been confirmed by now, and of which that was not said yet; the latest last. */
export async function lateReviews(store: StoreOrTransaction, now: Date, limit: number): Promise<string[]> {
  const rows = await store
    .selectFrom('requests')
    .select('id')
    .where('break_glass', 'is not', null)
    .where('confirmed_at', 'is', null)
    .where('review_due_at', '<=', now)
    .where(sql<boolean>`break_glass ->> 'lateAt' is null`)
    .orderBy('review_due_at')
    .limit(limit)
    .execute();
  return rows.map(({ id }) => id);
}

/** Humans who executed what was approved: of a run its executor, otherwise whoever used the grant. */
export async function executorsOf(store: StoreOrTransaction, requestId: string): Promise<string[]> {
  const { rows } = await sql<{ human: string }>`
    select runs.executor_human as human from grants join runs on runs.grant_id = grants.id where grants.request_id = ${requestId}
    union
    select principals.human from grants join principals on principals.id = grants.consumed_by where grants.request_id = ${requestId}
  `.execute(store);
  return rows.map(({ human }) => human);
}
