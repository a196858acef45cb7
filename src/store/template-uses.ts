/** Templates of held statements and the uses of their grants: rows in, records out. The rules are in `approvals/templates.ts`. */
import { sql, type Transaction } from 'kysely';
import type { Database, StoreOrTransaction } from './database.ts';

export async function insertTemplate(
  transaction: Transaction<Database>,
  template: {
    readonly requestId: string;
    readonly connection: string;
    readonly principalId: string;
    readonly shape: string;
  },
): Promise<void> {
  const { requestId, connection, principalId, shape } = template;
  await transaction
    .insertInto('statement_templates')
    .values({ request_id: requestId, connection, principal_id: principalId, shape })
    .execute();
}

/** Requests whose open grants are for statements of this shape, newest first. */
export async function openTemplates(
  store: StoreOrTransaction,
  who: { readonly principalId: string; readonly connection: string; readonly shape: string },
): Promise<string[]> {
  const rows = await store
    .selectFrom('statement_templates as template')
    .innerJoin('grants', 'grants.request_id', 'template.request_id')
    .select('template.request_id')
    .where('template.principal_id', '=', who.principalId)
    .where('template.connection', '=', who.connection)
    .where('template.shape', '=', who.shape)
    .where('grants.state', '=', 'open')
    .orderBy('grants.created_at', 'desc')
    .limit(20)
    .execute();
  return rows.map((row) => row.request_id);
}

export interface UsedSoFar {
  readonly uses: number;
  /** Delivered, or promised to uses whose end is not known. */
  readonly rows: number;
  /** The furthest key that any use may have read; undefined = none. */
  readonly reached: bigint | undefined;
  /** Uses whose end is not known. */
  readonly open: number;
}

/** The caller holds the lock of the grant. */
export async function usedSoFar(transaction: Transaction<Database>, grantId: string): Promise<UsedSoFar> {
  const { rows } = await sql<{ uses: string; rows: string; reached: string | null; open: string }>`
    select count(*)::text as uses, coalesce(sum(coalesce(rows, rows_reserved)), 0)::text as rows,
      max(greatest(high_key, reached_key, low_key - 1))::text as reached,
      (count(*) filter (where settled_at is null))::text as open
    from template_uses where grant_id = ${grantId}`.execute(transaction);
  const [row] = rows;
  if (row === undefined) throw new Error('an aggregate returns one row');
  const reached = row.reached === null ? undefined : BigInt(row.reached);
  return { uses: Number(row.uses), rows: Number(row.rows), reached, open: Number(row.open) };
}

export async function insertUse(
  transaction: Transaction<Database>,
  use: {
    readonly grantId: string;
    readonly useNo: number;
    readonly sessionId: string;
    readonly low: bigint;
    readonly high: bigint | undefined;
    readonly rowsReserved: number;
    readonly at: Date;
  },
): Promise<void> {
  await transaction
    .insertInto('template_uses')
    .values({
      grant_id: use.grantId,
      use_no: use.useNo,
      session_id: use.sessionId,
      low_key: String(use.low),
      high_key: use.high === undefined ? null : String(use.high),
      rows_reserved: use.rowsReserved,
      rows: null,
      reached_key: null,
      used_at: use.at,
      settled_at: null,
    })
    .execute();
}

/** Its end is known: once, and never with more rows than were promised to it. Returns false when nothing was changed. */
export async function settleUse(
  store: StoreOrTransaction,
  use: {
    readonly grantId: string;
    readonly useNo: number;
    readonly rows: number;
    readonly reached: string | undefined;
  },
  at: Date,
): Promise<boolean> {
  const result = await store
    .updateTable('template_uses')
    .set({ rows: use.rows, reached_key: use.reached ?? null, settled_at: at })
    .where('grant_id', '=', use.grantId)
    .where('use_no', '=', use.useNo)
    .where('settled_at', 'is', null)
    .where('rows_reserved', '>=', use.rows)
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}
