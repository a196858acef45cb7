/** The index of the log: rows in, records out. What makes the rows and what they mean is in `review/`. */
import { sql, type Insertable, type Selectable } from 'kysely';
import type { StoreOrTransaction } from './database.ts';
import type {
  DutyUsesTable,
  ExecutionsTable,
  LogDecisionsTable,
  LogGrantsTable,
  LogRequestsTable,
  LogRunsTable,
  LogSessionsTable,
} from './review-tables.ts';

export type ExecutionRow = Selectable<ExecutionsTable>;

/** The tables whose rows are only ever added. A row that is there already stays: an entry of the log never changes. */
export async function insertLogRows(
  transaction: StoreOrTransaction,
  rows: {
    readonly sessions: readonly Insertable<LogSessionsTable>[];
    readonly requests: readonly Insertable<LogRequestsTable>[];
    readonly decisions: readonly Insertable<LogDecisionsTable>[];
    readonly grants: readonly Insertable<LogGrantsTable>[];
    readonly runs: readonly Insertable<LogRunsTable>[];
    readonly executions: readonly Insertable<ExecutionsTable>[];
  },
): Promise<void> {
  const insert = async <
    T extends 'log_sessions' | 'log_requests' | 'log_decisions' | 'log_grants' | 'log_runs' | 'executions',
  >(
    table: T,
    values: readonly object[],
  ) => {
    if (values.length === 0) return;
    await transaction
      .insertInto(table)
      .values(values as never)
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  };
  await insert('log_sessions', rows.sessions);
  await insert('log_requests', rows.requests);
  await insert('log_decisions', rows.decisions);
  await insert('log_grants', rows.grants);
  await insert('log_runs', rows.runs);
  await insert('executions', rows.executions);
}

export async function openLogSessions(
  store: StoreOrTransaction,
  ids: readonly string[],
): Promise<Map<string, Selectable<LogSessionsTable>>> {
  if (ids.length === 0) return new Map();
  const rows = await store.selectFrom('log_sessions').selectAll().where('session_id', 'in', ids).execute();
  return new Map(rows.map((row) => [row.session_id, row]));
}

/** Sessions that are over are asked for no more. */
export async function forgetLogSessions(transaction: StoreOrTransaction, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await transaction.deleteFrom('log_sessions').where('session_id', 'in', ids).execute();
}

export async function countAllowed(
  transaction: StoreOrTransaction,
  node: string,
  counts: readonly {
    readonly day: string;
    readonly human: string;
    readonly connection: string;
    readonly duty: string;
    readonly policies: string;
    readonly statements: number;
  }[],
): Promise<void> {
  if (counts.length === 0) return;
  await transaction
    .insertInto('allowed_statements')
    .values(counts.map((count) => ({ node, ...count })))
    .onConflict((conflict) =>
      conflict.columns(['node', 'day', 'human', 'connection', 'duty', 'policies']).doUpdateSet({
        statements: sql<number>`allowed_statements.statements + excluded.statements`,
      }),
    )
    .execute();
}

export async function noteUses(
  transaction: StoreOrTransaction,
  uses: readonly Insertable<DutyUsesTable>[],
): Promise<void> {
  const newest = new Map<string, Insertable<DutyUsesTable>>();
  for (const use of uses) newest.set(JSON.stringify([use.principal_id, use.duty, use.connection]), use);
  if (newest.size === 0) return;
  await transaction
    .insertInto('duty_uses')
    .values([...newest.values()])
    .onConflict((conflict) =>
      conflict.columns(['principal_id', 'duty', 'connection']).doUpdateSet({
        used_at: sql<Date>`greatest(duty_uses.used_at, excluded.used_at)`,
      }),
    )
    .execute();
}

export interface ExecutionFilter {
  /** Inclusive. */
  readonly from?: Date | undefined;
  /** Exclusive. */
  readonly to?: Date | undefined;
  /** undefined = all; else also those whose session is not known are left out. */
  readonly connections?: readonly string[] | undefined;
}

/** Executions that one grant, session and human stand behind; judged together, as they share what they depend on. */
export interface ExecutionGroup {
  readonly node: string;
  readonly grant_id: string | null;
  readonly request_id: string | null;
  readonly run_id: string | null;
  readonly human: string | null;
  readonly principal_id: string | null;
  readonly connection: string | null;
  readonly first_index: number;
  readonly executions: number;
}

export async function executionGroups(store: StoreOrTransaction, filter: ExecutionFilter): Promise<ExecutionGroup[]> {
  return filtered(store, filter)
    .select((eb) => [
      'node',
      'grant_id',
      'request_id',
      'run_id',
      'human',
      'principal_id',
      'connection',
      sql<number>`min(log_index)::bigint`.as('first_index'),
      eb.fn.countAll<number>().as('executions'),
    ])
    .groupBy(['node', 'grant_id', 'request_id', 'run_id', 'human', 'principal_id', 'connection'])
    .orderBy('node')
    .orderBy('first_index')
    .execute();
}

/** Newest first. `before`: only those in front of this one in that order. */
export async function listExecutions(
  store: StoreOrTransaction,
  filter: ExecutionFilter,
  page: {
    readonly limit: number;
    readonly before?: { readonly at: Date; readonly node: string; readonly index: number };
  },
): Promise<ExecutionRow[]> {
  let query = filtered(store, filter).selectAll();
  const { before } = page;
  if (before !== undefined) {
    query = query.where(
      sql<boolean>`(at, node, log_index) < (${before.at}::timestamptz, ${before.node}::text, ${before.index}::bigint)`,
    );
  }
  return query.orderBy('at', 'desc').orderBy('node', 'desc').orderBy('log_index', 'desc').limit(page.limit).execute();
}

function filtered(store: StoreOrTransaction, { from, to, connections }: ExecutionFilter) {
  let query = store.selectFrom('executions');
  if (from !== undefined) query = query.where('at', '>=', from);
  if (to !== undefined) query = query.where('at', '<', to);
  if (connections !== undefined) query = query.where('connection', 'in', connections.length === 0 ? [''] : connections);
  return query;
}

export interface AllowedRow {
  readonly human: string;
  readonly connection: string;
  readonly duty: string;
  readonly policies: string;
  readonly statements: number;
}

/** By whole days in UTC. */
export async function allowedStatements(
  store: StoreOrTransaction,
  { from, to, connections }: ExecutionFilter,
  limit: number,
): Promise<AllowedRow[]> {
  let query = store
    .selectFrom('allowed_statements')
    .select(['human', 'connection', 'duty', 'policies', sql<number>`sum(statements)::bigint`.as('statements')])
    .groupBy(['human', 'connection', 'duty', 'policies']);
  if (from !== undefined) query = query.where('day', '>=', from.toISOString().slice(0, 10));
  if (to !== undefined) query = query.where('day', '<=', to.toISOString().slice(0, 10));
  if (connections !== undefined) query = query.where('connection', 'in', connections.length === 0 ? [''] : connections);
  return query.orderBy('statements', 'desc').orderBy('human').orderBy('policies').limit(limit).execute();
}

/** What the log and the store say of these grants and of the requests and runs behind them. */
export async function grantEvidence(store: StoreOrTransaction, grantIds: readonly string[]) {
  if (grantIds.length === 0)
    return { grants: [], requests: [], decisions: [], runs: [], stored: [], storedDecisions: [], storedRuns: [] };
  const grants = await store
    .selectFrom('log_grants')
    .selectAll()
    .where('grant_id', 'in', grantIds)
    .orderBy('node')
    .orderBy('log_index')
    .execute();
  const requestIds = [...new Set(grants.map((grant) => grant.request_id)), ''];
  const [requests, decisions, runs, stored, storedDecisions, storedRuns] = await Promise.all([
    store.selectFrom('log_requests').selectAll().where('request_id', 'in', requestIds).execute(),
    store.selectFrom('log_decisions').selectAll().where('request_id', 'in', requestIds).orderBy('log_index').execute(),
    store.selectFrom('log_runs').selectAll().where('grant_id', 'in', grantIds).execute(),
    store
      .selectFrom('grants')
      .innerJoin('requests', 'requests.id', 'grants.request_id')
      .select([
        'grants.id as grant_id',
        'grants.state as grant_state',
        'grants.digest as grant_digest',
        'requests.id as request_id',
        'requests.state as request_state',
        'requests.digest as request_digest',
        // No text in JSON contains this: quotes in texts are escaped. (jsonb would refuse texts with \u0000.)
        sql<boolean>`requests.kind = 'statement' and strpos(requests.digest_input_json, '"template":') = 0`.as('once'),
      ])
      .where('grants.id', 'in', grantIds)
      .execute(),
    store
      .selectFrom('decisions')
      .select(['request_id', 'human', 'verdict'])
      .where('request_id', 'in', requestIds)
      .execute(),
    store.selectFrom('runs').select(['id', 'grant_id']).where('grant_id', 'in', grantIds).execute(),
  ]);
  return { grants, requests, decisions, runs, stored, storedDecisions, storedRuns };
}

export type GrantEvidenceRows = Awaited<ReturnType<typeof grantEvidence>>;

/** Grants that the store calls consumed in that time and the log does not. */
export async function grantsWithoutEntry(
  store: StoreOrTransaction,
  { from, to }: ExecutionFilter,
  limit: number,
): Promise<string[]> {
  let query = store
    .selectFrom('grants')
    .select('id')
    .where('state', '=', 'consumed')
    .where((eb) =>
      eb.not(
        eb.exists(
          eb
            .selectFrom('log_grants')
            .select('grant_id')
            .whereRef('grant_id', '=', 'grants.id')
            .where('event', '=', 'consumed'),
        ),
      ),
    );
  if (from !== undefined) query = query.where('consumed_at', '>=', from);
  if (to !== undefined) query = query.where('consumed_at', '<', to);
  return (await query.orderBy('id').limit(limit).execute()).map((row) => row.id);
}

/** Chunks of runs of that time whose rows were delivered, without an intent in the log. */
export async function chunksWithoutEntry(
  store: StoreOrTransaction,
  { from, to }: ExecutionFilter,
  limit: number,
): Promise<{ readonly run_id: string; readonly chunk_no: number }[]> {
  let query = store
    .selectFrom('chunks')
    .innerJoin('runs', 'runs.id', 'chunks.run_id')
    .select(['chunks.run_id', 'chunks.chunk_no'])
    .where('chunks.delivered', '=', true)
    .where((eb) =>
      eb.not(
        eb.exists(
          eb
            .selectFrom('executions')
            .select('executions.run_id')
            .whereRef('executions.run_id', '=', 'chunks.run_id')
            .whereRef('executions.chunk_no', '=', 'chunks.chunk_no'),
        ),
      ),
    );
  if (from !== undefined) query = query.where('runs.created_at', '>=', from);
  if (to !== undefined) query = query.where('runs.created_at', '<', to);
  return query.orderBy('chunks.run_id').orderBy('chunks.chunk_no').limit(limit).execute();
}
