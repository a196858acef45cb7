/** Log-ins of the page, and those that are under way: rows in, records out. The rules are in `identity/web-sessions.ts`. */
import type { Selectable } from 'kysely';
import type { StoreOrTransaction, WebSessionsTable } from './database.ts';

export interface StoredWebSession {
  /** SHA-256 of the cookie's value. */
  readonly cookieHash: Buffer;
  readonly principalId: string;
  /** The human behind the principal when they logged in. */
  readonly human: string;
  /** Name of the identity provider. */
  readonly provider: string;
  /** Sealed; undefined where the provider gave none. */
  readonly refreshToken: Buffer | undefined;
  readonly createdAt: Date;
  readonly seenAt: Date;
  readonly expiresAt: Date;
}

export interface StoredLoginFlow {
  /** SHA-256 of the `state`. */
  readonly stateHash: Buffer;
  readonly provider: string;
  readonly nonce: string;
  readonly codeVerifier: string;
  /** A path of the page. */
  readonly returnTo: string;
  readonly expiresAt: Date;
}

export async function insertWebSession(store: StoreOrTransaction, session: StoredWebSession): Promise<void> {
  await store
    .insertInto('web_sessions')
    .values({
      cookie_hash: session.cookieHash,
      principal_id: session.principalId,
      human: session.human,
      provider: session.provider,
      refresh_token: session.refreshToken ?? null,
      created_at: session.createdAt,
      seen_at: session.seenAt,
      expires_at: session.expiresAt,
    })
    .execute();
}

export async function findWebSession(
  store: StoreOrTransaction,
  cookieHash: Buffer,
): Promise<StoredWebSession | undefined> {
  const row = await store
    .selectFrom('web_sessions')
    .selectAll()
    .where('cookie_hash', '=', cookieHash)
    .executeTakeFirst();
  return row === undefined ? undefined : sessionOf(row);
}

export async function touchWebSession(
  store: StoreOrTransaction,
  cookieHash: Buffer,
  change: { readonly seenAt: Date; readonly refreshToken?: Buffer | undefined },
): Promise<void> {
  await store
    .updateTable('web_sessions')
    .set({
      seen_at: change.seenAt,
      ...(change.refreshToken === undefined ? {} : { refresh_token: change.refreshToken }),
    })
    .where('cookie_hash', '=', cookieHash)
    .execute();
}

/** @returns those that there were */
export async function deleteWebSessions(
  store: StoreOrTransaction,
  which: { readonly cookieHash: Buffer } | { readonly principalId: string },
): Promise<StoredWebSession[]> {
  const all = store.deleteFrom('web_sessions');
  const selected =
    'cookieHash' in which
      ? all.where('cookie_hash', '=', which.cookieHash)
      : all.where('principal_id', '=', which.principalId);
  const rows = await selected.returningAll().execute();
  return rows.map(sessionOf);
}

/** Forgets sessions and log-ins whose time is up. */
export async function deleteExpiredWebSessions(store: StoreOrTransaction, now: Date, seenBefore: Date): Promise<void> {
  await store
    .deleteFrom('web_sessions')
    .where((expression) =>
      expression.or([expression('expires_at', '<=', now), expression('seen_at', '<=', seenBefore)]),
    )
    .execute();
  await store.deleteFrom('login_flows').where('expires_at', '<=', now).execute();
}

export async function insertLoginFlow(store: StoreOrTransaction, flow: StoredLoginFlow): Promise<void> {
  await store
    .insertInto('login_flows')
    .values({
      state_hash: flow.stateHash,
      provider: flow.provider,
      nonce: flow.nonce,
      code_verifier: flow.codeVerifier,
      return_to: flow.returnTo,
      expires_at: flow.expiresAt,
    })
    .execute();
}

/** Takes it out: whoever comes second with the same state finds nothing. */
export async function takeLoginFlow(
  store: StoreOrTransaction,
  stateHash: Buffer,
): Promise<StoredLoginFlow | undefined> {
  const row = await store
    .deleteFrom('login_flows')
    .where('state_hash', '=', stateHash)
    .returningAll()
    .executeTakeFirst();
  return (
    row && {
      stateHash: row.state_hash,
      provider: row.provider,
      nonce: row.nonce,
      codeVerifier: row.code_verifier,
      returnTo: row.return_to,
      expiresAt: row.expires_at,
    }
  );
}

function sessionOf(row: Selectable<WebSessionsTable>): StoredWebSession {
  return {
    cookieHash: row.cookie_hash,
    principalId: row.principal_id,
    human: row.human,
    provider: row.provider,
    refreshToken: row.refresh_token ?? undefined,
    createdAt: row.created_at,
    seenAt: row.seen_at,
    expiresAt: row.expires_at,
  };
}
