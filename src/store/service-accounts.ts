/** Service accounts and their keys: rows in, records out. The rules are in `identity/service-accounts.ts`. */
import { sql, type Selectable, type Transaction } from 'kysely';
import type { Database, ServiceAccountKeysTable, ServiceAccountsTable, StoreOrTransaction } from './database.ts';

export interface ServiceAccountRecord {
  readonly name: string;
  readonly source: 'configuration' | 'store';
  /** The owner as a human (`humanKey`), and their principal's id; undefined until somebody has accepted the account. */
  readonly owner: string | undefined;
  readonly ownerId: string | undefined;
  readonly groups: readonly string[];
  readonly offeredTo: string | undefined;
  readonly offeredBy: string | undefined;
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly expiresAt: Date | undefined;
  readonly disabledAt: Date | undefined;
  readonly disabledReason: string | undefined;
}

export interface ServiceAccountKey {
  readonly id: string;
  readonly account: string;
  readonly createdBy: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly lastUsedAt: Date | undefined;
  readonly revokedAt: Date | undefined;
}

/** @returns false when the name is taken */
export async function insertServiceAccount(
  transaction: Transaction<Database>,
  account: ServiceAccountRecord,
): Promise<boolean> {
  const row = await transaction
    .insertInto('service_accounts')
    .values({ name: account.name, source: account.source, ...changesOf(account) })
    .onConflict((conflict) => conflict.doNothing())
    .returning('name')
    .executeTakeFirst();
  return row !== undefined;
}

export async function saveServiceAccount(
  transaction: Transaction<Database>,
  account: ServiceAccountRecord,
): Promise<void> {
  await transaction.updateTable('service_accounts').set(changesOf(account)).where('name', '=', account.name).execute();
}

export async function findServiceAccount(
  store: StoreOrTransaction,
  name: string,
): Promise<ServiceAccountRecord | undefined> {
  const row = await store.selectFrom('service_accounts').selectAll().where('name', '=', name).executeTakeFirst();
  return row === undefined ? undefined : accountOf(row);
}

/** As `findServiceAccount`, and keeps everybody else from changing it until the transaction ends. */
export async function lockServiceAccount(
  transaction: Transaction<Database>,
  name: string,
): Promise<ServiceAccountRecord | undefined> {
  const row = await transaction
    .selectFrom('service_accounts')
    .selectAll()
    .where('name', '=', name)
    .forUpdate()
    .executeTakeFirst();
  return row === undefined ? undefined : accountOf(row);
}

/** Those of these names that there are. */
export async function serviceAccountsNamed(
  store: StoreOrTransaction,
  names: readonly string[],
): Promise<ServiceAccountRecord[]> {
  if (names.length === 0) return [];
  const rows = await store
    .selectFrom('service_accounts')
    .selectAll()
    .where('name', '=', sql<string>`any (${[...names]}::text[])`)
    .execute();
  return rows.map(accountOf);
}

/** By name. */
export async function listServiceAccounts(store: StoreOrTransaction): Promise<ServiceAccountRecord[]> {
  const rows = await store.selectFrom('service_accounts').selectAll().orderBy('name').execute();
  return rows.map(accountOf);
}

export async function insertKey(
  transaction: Transaction<Database>,
  key: Pick<ServiceAccountKey, 'id' | 'account' | 'createdBy' | 'createdAt' | 'expiresAt'> & { secretHash: string },
): Promise<void> {
  await transaction
    .insertInto('service_account_keys')
    .values({
      id: key.id,
      account: key.account,
      secret_hash: key.secretHash,
      created_by: key.createdBy,
      created_at: key.createdAt,
      expires_at: key.expiresAt,
      last_used_at: null,
      revoked_at: null,
    })
    .execute();
}

export async function findKey(store: StoreOrTransaction, secretHash: string): Promise<ServiceAccountKey | undefined> {
  const row = await store
    .selectFrom('service_account_keys')
    .selectAll()
    .where('secret_hash', '=', secretHash)
    .executeTakeFirst();
  return row === undefined ? undefined : keyOf(row);
}

/** Newest first; of one account, or of all. */
export async function listKeys(store: StoreOrTransaction, account?: string): Promise<ServiceAccountKey[]> {
  let query = store.selectFrom('service_account_keys').selectAll();
  if (account !== undefined) query = query.where('account', '=', account);
  return (await query.orderBy('created_at', 'desc').orderBy('id').execute()).map(keyOf);
}

/** One key of the account, or all. @returns those revoked now */
export async function revokeKeys(
  transaction: Transaction<Database>,
  account: string,
  id: string | undefined,
  at: Date,
): Promise<ServiceAccountKey[]> {
  let query = transaction
    .updateTable('service_account_keys')
    .set({ revoked_at: at })
    .where('account', '=', account)
    .where('revoked_at', 'is', null);
  if (id !== undefined) query = query.where('id', '=', id);
  return (await query.returningAll().execute()).map(keyOf);
}

export async function touchKey(store: StoreOrTransaction, id: string, usedAt: Date): Promise<void> {
  await store.updateTable('service_account_keys').set({ last_used_at: usedAt }).where('id', '=', id).execute();
}

/** Of the keys with these hashes, those that are revoked or whose time is up. */
export async function endedKeys(
  store: StoreOrTransaction,
  hashes: readonly string[],
  now: Date,
): Promise<(ServiceAccountKey & { readonly secretHash: string })[]> {
  if (hashes.length === 0) return [];
  const rows = await store
    .selectFrom('service_account_keys')
    .selectAll()
    .where('secret_hash', '=', sql<string>`any (${[...hashes]}::text[])`)
    .where((row) => row.or([row('revoked_at', 'is not', null), row('expires_at', '<=', now)]))
    .execute();
  return rows.map((row) => ({ ...keyOf(row), secretHash: row.secret_hash }));
}

function changesOf(account: ServiceAccountRecord) {
  return {
    owner: account.owner ?? null,
    owner_id: account.ownerId ?? null,
    groups: JSON.stringify(account.groups),
    offered_to: account.offeredTo ?? null,
    offered_by: account.offeredBy ?? null,
    created_by: account.createdBy,
    created_at: account.createdAt,
    expires_at: account.expiresAt ?? null,
    disabled_at: account.disabledAt ?? null,
    disabled_reason: account.disabledReason ?? null,
  };
}

function accountOf(row: Selectable<ServiceAccountsTable>): ServiceAccountRecord {
  return {
    name: row.name,
    source: row.source,
    owner: row.owner ?? undefined,
    ownerId: row.owner_id ?? undefined,
    groups: row.groups,
    offeredTo: row.offered_to ?? undefined,
    offeredBy: row.offered_by ?? undefined,
    createdBy: row.created_by,
    createdAt: row.created_at,
    expiresAt: row.expires_at ?? undefined,
    disabledAt: row.disabled_at ?? undefined,
    disabledReason: row.disabled_reason ?? undefined,
  };
}

function keyOf(row: Selectable<ServiceAccountKeysTable>): ServiceAccountKey {
  return {
    id: row.id,
    account: row.account,
    createdBy: row.created_by,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    lastUsedAt: row.last_used_at ?? undefined,
    revokedAt: row.revoked_at ?? undefined,
  };
}
