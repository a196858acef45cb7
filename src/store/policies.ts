/** Versions of the rules: rows in, records out. The rules about them are in `approvals/rule-service.ts`. */
import { sql, type Selectable, type Transaction } from 'kysely';
import type { Database, PolicyVersionsTable, StoreOrTransaction } from './database.ts';

export interface PolicyVersion {
  /** From 1. */
  readonly number: number;
  /** SHA-256 of `contentJson`, hex. */
  readonly digest: string;
  /** Canonical JSON of a `RuleSet`. */
  readonly contentJson: string;
  readonly appliedBy: string;
  readonly appliedHuman: string;
  readonly appliedAt: Date;
  readonly message: string;
  /** The request that was approved, where one was needed. */
  readonly requestId: string | undefined;
}

/** One writer at a time, until the transaction ends. */
export async function lockPolicies(transaction: Transaction<Database>): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended('countersign rules', 0))`.execute(transaction);
}

export async function latestPolicyVersion(store: StoreOrTransaction): Promise<PolicyVersion | undefined> {
  const row = await store
    .selectFrom('policy_versions')
    .selectAll()
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row === undefined ? undefined : versionOf(row);
}

/** 0 = none. */
export async function latestPolicyNumber(store: StoreOrTransaction): Promise<number> {
  const row = await store
    .selectFrom('policy_versions')
    .select((expression) => expression.fn.max('number').as('number'))
    .executeTakeFirst();
  return row?.number ?? 0;
}

export async function policyVersion(store: StoreOrTransaction, number: number): Promise<PolicyVersion | undefined> {
  const row = await store.selectFrom('policy_versions').selectAll().where('number', '=', number).executeTakeFirst();
  return row === undefined ? undefined : versionOf(row);
}

/** Newest first. */
export async function policyVersions(
  store: StoreOrTransaction,
  filter: { readonly before?: number | undefined; readonly limit: number },
): Promise<PolicyVersion[]> {
  let query = store.selectFrom('policy_versions').selectAll();
  if (filter.before !== undefined) query = query.where('number', '<', filter.before);
  const rows = await query.orderBy('number', 'desc').limit(filter.limit).execute();
  return rows.map(versionOf);
}

export async function insertPolicyVersion(transaction: Transaction<Database>, version: PolicyVersion): Promise<void> {
  await transaction
    .insertInto('policy_versions')
    .values({
      number: version.number,
      digest: version.digest,
      content_json: version.contentJson,
      applied_by: version.appliedBy,
      applied_human: version.appliedHuman,
      applied_at: version.appliedAt,
      message: version.message,
      request_id: version.requestId ?? null,
    })
    .execute();
}

function versionOf(row: Selectable<PolicyVersionsTable>): PolicyVersion {
  return {
    number: row.number,
    digest: row.digest,
    contentJson: row.content_json,
    appliedBy: row.applied_by,
    appliedHuman: row.applied_human,
    appliedAt: row.applied_at,
    message: row.message,
    requestId: row.request_id ?? undefined,
  };
}
