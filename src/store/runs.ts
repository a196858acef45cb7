/**
 * Runs and their chunks in the control store. Only reads and conditional writes; which change is allowed when is the
 * ledger's business (jobs/ledger.ts), and nothing else writes these tables.
 */
import { sql, type Selectable, type Updateable } from 'kysely';
import type { ChunksTable, ChunkState, RunsTable, RunState, StoreOrTransaction } from './database.ts';

export type RunRow = Selectable<RunsTable>;
export type ChunkRow = Selectable<ChunksTable>;

export async function insertRun(
  store: StoreOrTransaction,
  run: RunRow,
  chunkNumbers: readonly number[],
): Promise<void> {
  await store.insertInto('runs').values(run).execute();
  const batch = 1_000;
  for (let from = 0; from < chunkNumbers.length; from += batch) {
    await store
      .insertInto('chunks')
      .values(
        chunkNumbers.slice(from, from + batch).map((chunkNo) => ({
          run_id: run.id,
          chunk_no: chunkNo,
          state: 'planned' as const,
          updated_at: run.created_at,
        })),
      )
      .execute();
  }
}

export async function runById(store: StoreOrTransaction, runId: string): Promise<RunRow | undefined> {
  return store.selectFrom('runs').selectAll().where('id', '=', runId).executeTakeFirst();
}

export async function runByGrant(store: StoreOrTransaction, grantId: string): Promise<RunRow | undefined> {
  return store.selectFrom('runs').selectAll().where('grant_id', '=', grantId).executeTakeFirst();
}

/** The run, locked until the transaction ends: every change of a run or its chunks begins here, so they come one by one. */
export async function lockRun(transaction: StoreOrTransaction, runId: string): Promise<RunRow | undefined> {
  return transaction.selectFrom('runs').selectAll().where('id', '=', runId).forUpdate().executeTakeFirst();
}

export interface RunFilter {
  readonly connections: readonly string[];
  readonly job?: string | undefined;
  readonly state?: RunState | undefined;
  /** Id of a run: only those that began before it. */
  readonly before?: string | undefined;
  readonly limit: number;
}

/** Newest first, without their plans and manifests. */
export async function listRuns(
  store: StoreOrTransaction,
  filter: RunFilter,
): Promise<Omit<RunRow, 'plan_json' | 'manifest_json'>[]> {
  if (filter.connections.length === 0) return [];
  let query = store.selectFrom('runs').where('connection', 'in', [...filter.connections]);
  if (filter.job !== undefined) query = query.where('job', '=', filter.job);
  if (filter.state !== undefined) query = query.where('state', '=', filter.state);
  if (filter.before !== undefined) {
    const { before } = filter;
    query = query.where((where) =>
      where(
        where.refTuple('created_at', 'id'),
        '<',
        where
          .selectFrom('runs as cursor')
          .select(['cursor.created_at', 'cursor.id'])
          .where('cursor.id', '=', before)
          .$asTuple('created_at', 'id'),
      ),
    );
  }
  return query
    .select([
      'id',
      'grant_id',
      'job',
      'job_version',
      'connection',
      'executor_id',
      'executor_human',
      'state',
      'snapshot',
      'created_at',
      'finished_at',
      'failure',
    ])
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(filter.limit)
    .execute();
}

/** Changes a run if it still is in `from`. @returns whether it was */
export async function changeRun(
  transaction: StoreOrTransaction,
  runId: string,
  from: readonly RunState[],
  change: Updateable<RunsTable>,
): Promise<boolean> {
  const result = await transaction
    .updateTable('runs')
    .set(change)
    .where('id', '=', runId)
    .where('state', 'in', [...from])
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

/** By number. */
export async function chunksOfRun(store: StoreOrTransaction, runId: string): Promise<ChunkRow[]> {
  return store.selectFrom('chunks').selectAll().where('run_id', '=', runId).orderBy('chunk_no').execute();
}

export async function chunkOfRun(
  store: StoreOrTransaction,
  runId: string,
  chunkNo: number,
): Promise<ChunkRow | undefined> {
  return store
    .selectFrom('chunks')
    .selectAll()
    .where('run_id', '=', runId)
    .where('chunk_no', '=', chunkNo)
    .executeTakeFirst();
}

export async function firstPlannedChunk(store: StoreOrTransaction, runId: string): Promise<ChunkRow | undefined> {
  return store
    .selectFrom('chunks')
    .selectAll()
    .where('run_id', '=', runId)
    .where('state', '=', 'planned')
    .orderBy('attempt')
    .orderBy('chunk_no')
    .limit(1)
    .executeTakeFirst();
}

export async function expiredChunks(store: StoreOrTransaction, runId: string, now: Date): Promise<ChunkRow[]> {
  return store
    .selectFrom('chunks')
    .selectAll()
    .where('run_id', '=', runId)
    .where('state', 'in', ['leased', 'streaming'])
    .where('lease_until', '<=', now)
    .orderBy('chunk_no')
    .execute();
}

/** Runs that hold a lease which has run out; for the sweep. */
export async function runsWithExpiredChunks(store: StoreOrTransaction, now: Date): Promise<string[]> {
  const rows = await store
    .selectFrom('chunks')
    .select('run_id')
    .distinct()
    .where('state', 'in', ['leased', 'streaming'])
    .where('lease_until', '<=', now)
    .execute();
  return rows.map((row) => row.run_id);
}

/** Changes a chunk if it still is in that state and attempt. @returns whether it was */
export async function changeChunk(
  transaction: StoreOrTransaction,
  chunk: Pick<ChunkRow, 'run_id' | 'chunk_no' | 'state' | 'attempt'>,
  change: Updateable<ChunksTable>,
): Promise<boolean> {
  const result = await transaction
    .updateTable('chunks')
    .set(change)
    .where('run_id', '=', chunk.run_id)
    .where('chunk_no', '=', chunk.chunk_no)
    .where('state', '=', chunk.state)
    .where('attempt', '=', chunk.attempt)
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

/** Makes a lease longer; it never brings an expired or ended one back. @returns whether the lease still stands */
export async function extendLease(
  store: StoreOrTransaction,
  lease: { runId: string; chunkNo: number; attempt: number; holder: string; now: Date; until: Date },
): Promise<boolean> {
  const result = await store
    .updateTable('chunks')
    .set({ lease_until: lease.until })
    .where('run_id', '=', lease.runId)
    .where('chunk_no', '=', lease.chunkNo)
    .where('attempt', '=', lease.attempt)
    .where('lease_holder', '=', lease.holder)
    .where('state', 'in', ['leased', 'streaming'])
    .where('lease_until', '>', lease.now)
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

export interface RunTotals {
  readonly chunks: Readonly<Record<ChunkState, number>>;
  /** Over chunks whose rows were delivered. */
  readonly rows: number;
  readonly bytes: number;
  readonly maskedCells: number;
}

export async function runTotals(store: StoreOrTransaction, runId: string): Promise<RunTotals> {
  const rows = await store
    .selectFrom('chunks')
    .select((eb) => [
      'state',
      eb.fn.countAll<number>().as('chunks'),
      sql<number>`coalesce(sum(rows) filter (where delivered), 0)::bigint`.as('rows'),
      sql<number>`coalesce(sum(bytes) filter (where delivered), 0)::bigint`.as('bytes'),
      sql<number>`coalesce(sum(masked_cells) filter (where delivered), 0)::bigint`.as('masked_cells'),
    ])
    .where('run_id', '=', runId)
    .groupBy('state')
    .execute();
  const chunks: Record<ChunkState, number> = { planned: 0, leased: 0, streaming: 0, sealed: 0, failed: 0, blocked: 0 };
  const totals = { rows: 0, bytes: 0, maskedCells: 0 };
  for (const row of rows) {
    chunks[row.state] = row.chunks;
    totals.rows += row.rows;
    totals.bytes += row.bytes;
    totals.maskedCells += row.masked_cells;
  }
  return { chunks, ...totals };
}
