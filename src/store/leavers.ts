/** People who may not come in any more, and what they have: rows in, records out. The rules are in `identity/leavers.ts`. */
import { sql, type Selectable } from 'kysely';
import type { LeaversTable, Store, StoreOrTransaction } from './database.ts';

export type LeaverSource = LeaversTable['source'];

export interface StoredLeaver {
  readonly principalId: string;
  /** Who says so: each takes back its own word only. */
  readonly source: LeaverSource;
  readonly human: string;
  readonly reason: string;
  /** Id of the principal, or the name of the service, that removed them. */
  readonly removedBy: string;
  readonly removedAt: Date;
  /** When all that they had was taken away. */
  readonly finishedAt: Date | undefined;
}

/** @returns the new one, or the one that this source had made before */
export async function insertLeaver(
  store: StoreOrTransaction,
  leaver: Omit<StoredLeaver, 'removedAt' | 'finishedAt'>,
): Promise<StoredLeaver> {
  await store
    .insertInto('leavers')
    .values({
      principal_id: leaver.principalId,
      source: leaver.source,
      human: leaver.human,
      reason: leaver.reason,
      removed_by: leaver.removedBy,
      removed_at: sql<Date>`now()`,
      finished_at: null,
    })
    .onConflict((conflict) => conflict.columns(['principal_id', 'source']).doNothing())
    .execute();
  const row = await store
    .selectFrom('leavers')
    .selectAll()
    .where('principal_id', '=', leaver.principalId)
    .where('source', '=', leaver.source)
    .executeTakeFirstOrThrow();
  return leaverOf(row);
}

/** @returns the one that was there */
export async function deleteLeaver(
  store: StoreOrTransaction,
  principalId: string,
  source: LeaverSource,
): Promise<StoredLeaver | undefined> {
  const row = await store
    .deleteFrom('leavers')
    .where('principal_id', '=', principalId)
    .where('source', '=', source)
    .returningAll()
    .executeTakeFirst();
  return row === undefined ? undefined : leaverOf(row);
}

export async function finishLeaver(store: Store, leaver: StoredLeaver): Promise<void> {
  await store
    .updateTable('leavers')
    .set({ finished_at: sql<Date>`now()` })
    .where('principal_id', '=', leaver.principalId)
    .where('source', '=', leaver.source)
    .execute();
}

/** The first that is there of these principals. */
export async function findLeaver(
  store: StoreOrTransaction,
  principalIds: readonly string[],
): Promise<StoredLeaver | undefined> {
  const row = await store
    .selectFrom('leavers')
    .selectAll()
    .where('principal_id', '=', sql<string>`any(${[...principalIds]})`)
    .limit(1)
    .executeTakeFirst();
  return row === undefined ? undefined : leaverOf(row);
}

/** Everybody who is removed, with the human behind the principal. */
export async function leaverHumans(store: StoreOrTransaction): Promise<{ principalId: string; human: string }[]> {
  return store.selectFrom('leavers').select(['principal_id as principalId', 'human']).distinct().execute();
}

/** Newest first. */
export async function listLeavers(store: StoreOrTransaction, limit: number): Promise<StoredLeaver[]> {
  const rows = await store.selectFrom('leavers').selectAll().orderBy('removed_at', 'desc').limit(limit).execute();
  return rows.map(leaverOf);
}

/**
 * Those who were removed within the last minute, by the store's clock, or are not finished. `isOverdue`: whoever was at
 * it has had the time, so somebody else has to do it.
 */
export async function recentLeavers(
  store: StoreOrTransaction,
): Promise<(StoredLeaver & { readonly isOverdue: boolean })[]> {
  const rows = await store
    .selectFrom('leavers')
    .selectAll()
    .select(sql<boolean>`finished_at is null and removed_at < now() - interval '10 seconds'`.as('is_overdue'))
    .where((expression) =>
      expression.or([
        expression('finished_at', 'is', null),
        expression('removed_at', '>', sql<Date>`now() - interval '1 minute'`),
      ]),
    )
    .orderBy('removed_at')
    .execute();
  return rows.map((row) => ({ ...leaverOf(row), isOverdue: row.is_overdue }));
}

export interface OwnedByHuman {
  readonly id: string;
  readonly human: string;
}

/** Every pending request, with the human who asked. */
export async function pendingRequestOwners(store: StoreOrTransaction): Promise<OwnedByHuman[]> {
  return store
    .selectFrom('requests')
    .select(['id', 'requester_human as human'])
    .where('state', '=', 'pending')
    .execute();
}

/** Every open grant, with the human who asked for it. */
export async function openGrantOwners(store: StoreOrTransaction): Promise<OwnedByHuman[]> {
  return store
    .selectFrom('grants')
    .innerJoin('requests', 'requests.id', 'grants.request_id')
    .select(['grants.id as id', 'requests.requester_human as human'])
    .where('grants.state', '=', 'open')
    .execute();
}

function leaverOf(row: Selectable<LeaversTable>): StoredLeaver {
  return {
    principalId: row.principal_id,
    source: row.source,
    human: row.human,
    reason: row.reason,
    removedBy: row.removed_by,
    removedAt: row.removed_at,
    finishedAt: row.finished_at ?? undefined,
  };
}
