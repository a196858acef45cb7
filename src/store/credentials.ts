/** Database credentials that the gateway issued: rows in, records out. The rules are in `identity/credentials.ts`. */
import { sql, type Selectable } from 'kysely';
import type { ScramVerifier } from '../wire/postgres/scram.ts';
import type { CredentialsTable, StoreOrTransaction } from './database.ts';

export interface StoredCredential {
  readonly userName: string;
  readonly principalId: string;
  /** The human behind the principal when the credential was issued. */
  readonly human: string;
  /** The only connection that it opens; undefined = every one that the duties allow. */
  readonly connection: string | undefined;
  /** Set for a credential that opens sessions of one run. */
  readonly runId: string | undefined;
  readonly verifier: ScramVerifier;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly revokedAt: Date | undefined;
}

/** Which credentials to revoke: one, all of a principal, or all of a run. */
export type CredentialSelection =
  | { readonly userName: string }
  | { readonly principalId: string }
  | { readonly runId: string };

/** @returns false when the user name is taken; then nothing is stored */
export async function insertCredential(
  store: StoreOrTransaction,
  credential: Omit<StoredCredential, 'revokedAt'>,
): Promise<boolean> {
  const row = await store
    .insertInto('credentials')
    .values({
      user_name: credential.userName,
      principal_id: credential.principalId,
      human: credential.human,
      connection: credential.connection ?? null,
      run_id: credential.runId ?? null,
      scram_salt: credential.verifier.salt,
      scram_iterations: credential.verifier.iterations,
      scram_stored_key: credential.verifier.storedKey,
      scram_server_key: credential.verifier.serverKey,
      created_at: credential.createdAt,
      expires_at: credential.expiresAt,
      revoked_at: null,
    })
    .onConflict((conflict) => conflict.column('user_name').doNothing())
    .returning('user_name')
    .executeTakeFirst();
  return row !== undefined;
}

/** Revoked and expired ones too: whoever asks decides. */
export async function findCredential(
  store: StoreOrTransaction,
  userName: string,
): Promise<StoredCredential | undefined> {
  const row = await store.selectFrom('credentials').selectAll().where('user_name', '=', userName).executeTakeFirst();
  return row === undefined ? undefined : credentialOf(row);
}

/** @returns the credentials revoked now; those revoked before are not among them */
export async function revokeCredentials(
  store: StoreOrTransaction,
  selection: CredentialSelection,
  revokedAt: Date,
): Promise<StoredCredential[]> {
  const update = store.updateTable('credentials').set({ revoked_at: revokedAt }).where('revoked_at', 'is', null);
  const selected =
    'userName' in selection
      ? update.where('user_name', '=', selection.userName)
      : 'principalId' in selection
        ? update.where('principal_id', '=', selection.principalId)
        : update.where('run_id', '=', selection.runId);
  const rows = await selected.returningAll().execute();
  return rows.map(credentialOf);
}

/**
 * Of the credentials with these user names, those that are revoked; and with `expiredBy` those whose time is up by then,
 * other than runs' own.
 */
export async function endedCredentials(
  store: StoreOrTransaction,
  users: readonly string[],
  expiredBy: Date | undefined,
): Promise<StoredCredential[]> {
  if (users.length === 0) return [];
  const rows = await store
    .selectFrom('credentials')
    .selectAll()
    .where('user_name', '=', sql<string>`any (${[...users]}::text[])`)
    .where((row) => {
      const isRevoked = row('revoked_at', 'is not', null);
      if (expiredBy === undefined) return isRevoked;
      return row.or([isRevoked, row.and([row('run_id', 'is', null), row('expires_at', '<=', expiredBy)])]);
    })
    .execute();
  return rows.map(credentialOf);
}

/** Those of one principal, or all, that can still be used; newest first. */
export async function listCredentials(
  store: StoreOrTransaction,
  principalId: string | undefined,
  now: Date,
): Promise<StoredCredential[]> {
  let query = store.selectFrom('credentials').selectAll().where('revoked_at', 'is', null).where('expires_at', '>', now);
  if (principalId !== undefined) query = query.where('principal_id', '=', principalId);
  return (await query.orderBy('created_at', 'desc').orderBy('user_name').limit(1_000).execute()).map(credentialOf);
}

/** Removes the credentials that expired before that time. @returns how many */
export async function deleteExpiredCredentials(store: StoreOrTransaction, before: Date): Promise<number> {
  const result = await store.deleteFrom('credentials').where('expires_at', '<', before).executeTakeFirst();
  return Number(result.numDeletedRows);
}

function credentialOf(row: Selectable<CredentialsTable>): StoredCredential {
  return {
    userName: row.user_name,
    principalId: row.principal_id,
    human: row.human,
    connection: row.connection ?? undefined,
    runId: row.run_id ?? undefined,
    verifier: {
      salt: row.scram_salt,
      iterations: row.scram_iterations,
      storedKey: row.scram_stored_key,
      serverKey: row.scram_server_key,
    },
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at ?? undefined,
  };
}
