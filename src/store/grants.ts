/** Grants: rows in, records out. The rules are in `approvals/grants.ts`. */
import type { Selectable, Transaction } from 'kysely';
import type { Database, GrantState, GrantsTable, StoreOrTransaction } from './database.ts';

export interface GrantRecord {
  readonly id: string;
  readonly requestId: string;
  readonly digest: string;
  readonly state: GrantState;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  /** Principal id. */
  readonly consumedBy: string | undefined;
  readonly consumedAt: Date | undefined;
  readonly voidReason: string | undefined;
}

export async function insertGrant(
  transaction: Transaction<Database>,
  grant: Pick<GrantRecord, 'id' | 'requestId' | 'digest' | 'createdAt' | 'expiresAt'>,
): Promise<GrantRecord> {
  const row = await transaction
    .insertInto('grants')
    .values({
      id: grant.id,
      request_id: grant.requestId,
      digest: grant.digest,
      state: 'open',
      created_at: grant.createdAt,
      expires_at: grant.expiresAt,
      consumed_by: null,
      consumed_at: null,
      void_reason: null,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  return grantOf(row);
}

export async function findGrant(store: StoreOrTransaction, id: string): Promise<GrantRecord | undefined> {
  const row = await store.selectFrom('grants').selectAll().where('id', '=', id).executeTakeFirst();
  return row === undefined ? undefined : grantOf(row);
}

/** A request has at most one grant. */
export async function grantOfRequest(store: StoreOrTransaction, requestId: string): Promise<GrantRecord | undefined> {
  const row = await store.selectFrom('grants').selectAll().where('request_id', '=', requestId).executeTakeFirst();
  return row === undefined ? undefined : grantOf(row);
}

/** As `grantOfRequest`, and keeps everybody else from changing it until the transaction ends. */
export async function lockGrantOfRequest(
  transaction: Transaction<Database>,
  requestId: string,
): Promise<GrantRecord | undefined> {
  const row = await transaction
    .selectFrom('grants')
    .selectAll()
    .where('request_id', '=', requestId)
    .forUpdate()
    .executeTakeFirst();
  return row === undefined ? undefined : grantOf(row);
}

export type GrantEnd =
  | { readonly state: 'consumed'; readonly by: string; readonly at: Date }
  | { readonly state: 'void'; readonly reason: string }
  | { readonly state: 'expired' };

/** Compare-and-set: undefined when the grant was not open any more. */
export async function endGrant(
  transaction: Transaction<Database>,
  id: string,
  end: GrantEnd,
): Promise<GrantRecord | undefined> {
  const row = await transaction
    .updateTable('grants')
    .set({
      state: end.state,
      ...(end.state === 'consumed' ? { consumed_by: end.by, consumed_at: end.at } : {}),
      ...(end.state === 'void' ? { void_reason: end.reason } : {}),
    })
    .where('id', '=', id)
    .where('state', '=', 'open')
    .returningAll()
    .executeTakeFirst();
  return row === undefined ? undefined : grantOf(row);
}

/** Open grants whose time is up. */
export async function dueOpenGrants(store: StoreOrTransaction, now: Date, limit: number): Promise<GrantRecord[]> {
  const rows = await store
    .selectFrom('grants')
    .selectAll()
    .where('state', '=', 'open')
    .where('expires_at', '<=', now)
    .orderBy('created_at')
    .limit(limit)
    .execute();
  return rows.map(grantOf);
}

function grantOf(row: Selectable<GrantsTable>): GrantRecord {
  return {
    id: row.id,
    requestId: row.request_id,
    digest: row.digest,
    state: row.state,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    consumedBy: row.consumed_by ?? undefined,
    consumedAt: row.consumed_at ?? undefined,
    voidReason: row.void_reason ?? undefined,
  };
}
