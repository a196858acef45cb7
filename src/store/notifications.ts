/** Messages that wait for their receivers: rows in, records out. The rules are in `notify/`. */
import { sql, type Selectable } from 'kysely';
import type { RequestKind, StoreOrTransaction } from './database.ts';
import type { NotificationsTable } from './review-tables.ts';

export type NotificationRow = Selectable<NotificationsTable>;

export interface NewNotification {
  readonly id: string;
  readonly receiver: string;
  readonly event: string;
  /** One row for each receiver and this. */
  readonly dedupe: string;
  readonly message: object;
  readonly recipient: string | undefined;
  readonly at: Date;
}

/** Those that are there already stay as they are. */
export async function insertNotifications(store: StoreOrTransaction, rows: readonly NewNotification[]): Promise<void> {
  if (rows.length === 0) return;
  await store
    .insertInto('notifications')
    .values(
      rows.map(({ id, receiver, event, dedupe, message, recipient, at }) => ({
        id,
        receiver,
        event,
        dedupe,
        message: JSON.stringify(message),
        recipient: recipient ?? null,
        state: 'waiting' as const,
        next_at: at,
        created_at: at,
        ended_at: null,
        failure: null,
      })),
    )
    .onConflict((conflict) => conflict.columns(['receiver', 'dedupe']).doNothing())
    .execute();
}

/** Which of these the receiver has, in whatever state. */
export async function knownNotifications(
  store: StoreOrTransaction,
  receiver: string,
  rows: readonly { readonly dedupe: string }[],
): Promise<ReadonlySet<string>> {
  if (rows.length === 0) return new Set();
  const found = await store
    .selectFrom('notifications')
    .select('dedupe')
    .where('receiver', '=', receiver)
    .where('dedupe', '=', sql<string>`any(${rows.map(({ dedupe }) => dedupe)})`)
    .execute();
  return new Set(found.map(({ dedupe }) => dedupe));
}

export async function countWaiting(store: StoreOrTransaction, receiver: string): Promise<number> {
  const row = await store
    .selectFrom('notifications')
    .select((eb) => eb.fn.countAll<number>().as('waiting'))
    .where('receiver', '=', receiver)
    .where('state', '=', 'waiting')
    .executeTakeFirstOrThrow();
  return row.waiting;
}

/** Takes the oldest that are due; until `leaseUntil` nobody else takes them. Each counts as an attempt. */
export async function claimDue(
  store: StoreOrTransaction,
  receiver: string,
  now: Date,
  leaseUntil: Date,
  limit: number,
): Promise<NotificationRow[]> {
  const rows = await store
    .updateTable('notifications')
    .set({ next_at: leaseUntil, attempts: sql<number>`attempts + 1` })
    .where('id', 'in', (eb) =>
      eb
        .selectFrom('notifications')
        .select('id')
        .where('receiver', '=', receiver)
        .where('state', '=', 'waiting')
        .where('next_at', '<=', now)
        .orderBy('position')
        .limit(limit)
        .forUpdate()
        .skipLocked(),
    )
    .returningAll()
    .execute();
  return rows.toSorted((a, b) => a.position - b.position);
}

export async function endNotification(
  store: StoreOrTransaction,
  id: string,
  state: 'sent' | 'failed',
  failure: string | undefined,
  at: Date,
): Promise<void> {
  await store
    .updateTable('notifications')
    .set({ state, failure: failure ?? null, ended_at: at })
    .where('id', '=', id)
    .execute();
}

/** `isAttempt` false: nothing was tried, so it does not count. */
export async function postpone(
  store: StoreOrTransaction,
  ids: readonly string[],
  nextAt: Date,
  failure: string,
  isAttempt: boolean,
): Promise<void> {
  if (ids.length === 0) return;
  await store
    .updateTable('notifications')
    .set({ next_at: nextAt, failure, ...(isAttempt ? {} : { attempts: sql<number>`attempts - 1` }) })
    .where('id', 'in', ids)
    .execute();
}

/** Also what waits for a receiver that is none of these any more. */
export async function forgetEnded(
  store: StoreOrTransaction,
  before: Date,
  receivers: readonly string[],
): Promise<void> {
  await store
    .deleteFrom('notifications')
    .where((row) =>
      row.or([
        row.and([row('state', '<>', 'waiting'), row('ended_at', '<', before)]),
        row.and([row('receiver', 'not in', [...receivers]), row('created_at', '<', before)]),
      ]),
    )
    .execute();
}

export interface ReceiverCounts {
  readonly receiver: string;
  readonly waiting: number;
  readonly sent: number;
  readonly failed: number;
  /** Of the newest that was tried and did not get through. */
  readonly last_failure: string | null;
}

export async function receiverCounts(store: StoreOrTransaction): Promise<ReceiverCounts[]> {
  const { rows } = await sql<ReceiverCounts>`
    select receiver, count(*) filter (where state = 'waiting') as waiting, count(*) filter (where state = 'sent') as sent,
      count(*) filter (where state = 'failed') as failed,
      (array_agg(failure order by position desc) filter (where failure is not null))[1] as last_failure
    from notifications group by receiver order by receiver`.execute(store);
  return rows;
}

/** Pending requests that come to their end, by the share of their time that is left. */
export async function expiringRequests(
  store: StoreOrTransaction,
  now: Date,
  expiringMs: number,
  limit: number,
): Promise<
  {
    readonly id: string;
    readonly kind: RequestKind;
    readonly connection: string;
    readonly requester_human: string;
    readonly authors: readonly { human: string }[];
    readonly expires_at: Date;
  }[]
> {
  return (
    store
      .selectFrom('requests')
      .select(['id', 'kind', 'connection', 'requester_human', 'authors', 'expires_at'])
      .where('state', '=', 'pending')
      .where('expires_at', '>', now)
      // What waits for minutes only is reminded of in its last quarter.
      .where(
        sql<boolean>`expires_at - ${now}::timestamptz <= least(${expiringMs} * interval '1 millisecond', (expires_at - created_at) / 4)`,
      )
      .orderBy('expires_at')
      .limit(limit)
      .execute()
  );
}

export interface RequestOrigin {
  readonly kind: RequestKind;
  readonly connection: string;
  readonly requester_human: string;
  readonly authors: readonly { readonly human: string }[];
}

/** By id: where requests belong, and whose they are. */
export async function requestOrigins(
  store: StoreOrTransaction,
  ids: readonly string[],
): Promise<Map<string, RequestOrigin>> {
  if (ids.length === 0) return new Map();
  const rows = await store
    .selectFrom('requests')
    .select(['id', 'kind', 'connection', 'requester_human', 'authors'])
    .where('id', 'in', ids)
    .execute();
  return new Map(rows.map((row) => [row.id, row]));
}
