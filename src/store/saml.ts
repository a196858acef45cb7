/** Log-ins by SAML that are under way, and the assertions that were taken. The rules are in `identity/saml.ts`. */
import type { Store, StoreOrTransaction } from './database.ts';

export interface SamlRequest {
  /** Of the AuthnRequest. */
  readonly id: string;
  readonly provider: string;
  /** SHA-256 of what the browser that began keeps in a cookie. */
  readonly browserHash: Buffer;
  /** A path of the page. */
  readonly returnTo: string;
  readonly expiresAt: Date;
}

export interface SamlAnswer {
  /** SHA-256 of the code with which the browser takes it. */
  readonly codeHash: Buffer;
  readonly principalJson: string;
  readonly sessionExpiresAt: Date | undefined;
}

export async function insertSamlRequest(store: StoreOrTransaction, request: SamlRequest): Promise<void> {
  await store
    .insertInto('saml_requests')
    .values({
      id: request.id,
      provider: request.provider,
      browser_hash: request.browserHash,
      return_to: request.returnTo,
      expires_at: request.expiresAt,
      code_hash: null,
      principal_json: null,
      session_expires_at: null,
    })
    .execute();
}

/** Whether the request waits for its answer. */
export async function isOpenSamlRequest(
  store: StoreOrTransaction,
  id: string,
  provider: string,
  now: Date,
): Promise<boolean> {
  const row = await store
    .selectFrom('saml_requests')
    .select('id')
    .where('id', '=', id)
    .where('provider', '=', provider)
    .where('code_hash', 'is', null)
    .where('expires_at', '>', now)
    .executeTakeFirst();
  return row !== undefined;
}

/** Compare-and-set: false when somebody else answered it first, or its time is up. */
export async function answerSamlRequest(
  store: StoreOrTransaction,
  id: string,
  answer: SamlAnswer,
  now: Date,
): Promise<boolean> {
  const result = await store
    .updateTable('saml_requests')
    .set({
      code_hash: answer.codeHash,
      principal_json: answer.principalJson,
      session_expires_at: answer.sessionExpiresAt ?? null,
    })
    .where('id', '=', id)
    .where('code_hash', 'is', null)
    .where('expires_at', '>', now)
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

/** Takes it out: whoever comes second with the same code finds nothing. */
export async function takeSamlAnswer(
  store: StoreOrTransaction,
  codeHash: Buffer,
): Promise<(SamlRequest & SamlAnswer) | undefined> {
  const row = await store
    .deleteFrom('saml_requests')
    .where('code_hash', '=', codeHash)
    .returningAll()
    .executeTakeFirst();
  if (row?.code_hash == null || row.principal_json === null) return undefined;
  return {
    id: row.id,
    provider: row.provider,
    browserHash: row.browser_hash,
    returnTo: row.return_to,
    expiresAt: row.expires_at,
    codeHash: row.code_hash,
    principalJson: row.principal_json,
    sessionExpiresAt: row.session_expires_at ?? undefined,
  };
}

/** @returns false when it was taken before, by any node */
export async function insertSamlAssertion(
  store: StoreOrTransaction,
  assertion: { readonly provider: string; readonly id: string; readonly expiresAt: Date },
): Promise<boolean> {
  const row = await store
    .insertInto('saml_assertions')
    .values({ provider: assertion.provider, assertion_id: assertion.id, expires_at: assertion.expiresAt })
    .onConflict((conflict) => conflict.columns(['provider', 'assertion_id']).doNothing())
    .returning('assertion_id')
    .executeTakeFirst();
  return row !== undefined;
}

export async function deleteExpiredSaml(store: Store, now: Date): Promise<void> {
  await store.deleteFrom('saml_requests').where('expires_at', '<=', now).execute();
  await store.deleteFrom('saml_assertions').where('expires_at', '<=', now).execute();
}
