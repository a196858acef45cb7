/**
 * What one human may take from one connection in a sliding window, whichever session or node: rows of samples
 * (`sample_reads`), and constants that a masked column is compared with (`equality_tests`, one "row" each).
 */
import { sql } from 'kysely';
import type { Store, StoreOrTransaction } from './database.ts';

export type BudgetTable = 'sample_reads' | 'equality_tests';

export interface SampleBudget {
  /** Default: sample_reads. */
  readonly of?: BudgetTable | undefined;
  readonly human: string;
  readonly connection: string;
  /** Rows per window. */
  readonly limit: number;
  readonly windowMs: number;
  /** Milliseconds since 1970; undefined = the store's own clock, which is the same for all nodes. */
  readonly now: number | undefined;
}

export interface SampleReservationResult {
  readonly allowed: boolean;
  /** Rows taken in the window, with these if they were allowed. */
  readonly used: number;
}

/**
 * Takes `rows` from the budget, or nothing. Reservations of one human on one connection wait for each other, so that
 * a hundred parallel small reads cannot each see the same room.
 */
export async function reserveSample(
  store: Store,
  { rows, ...asked }: SampleBudget & { readonly rows: number },
): Promise<SampleReservationResult> {
  if (!Number.isSafeInteger(rows) || rows < 0) throw new RangeError(`a sample of ${rows} rows cannot be reserved`);
  // With a snapshot from before the wait for the lock, what others took meanwhile would not be seen.
  return store
    .transaction()
    .setIsolationLevel('read committed')
    .execute(async (transaction) => {
      const table = asked.of ?? 'sample_reads';
      const key = `countersign ${table} ${JSON.stringify([asked.human, asked.connection])}`;
      await sql`select pg_advisory_xact_lock(hashtextextended(${key}, 0))`.execute(transaction);
      const budget = { ...asked, now: asked.now ?? (await storeTime(transaction)) };
      const used = await usedSamples(transaction, budget);
      if (used + rows > budget.limit) return { allowed: false, used };
      await transaction
        .deleteFrom(table)
        .where('human', '=', budget.human)
        .where('connection', '=', budget.connection)
        .where('read_at', '<=', windowStart(budget))
        .execute();
      if (rows > 0) {
        const { human, connection } = budget;
        await transaction
          .insertInto(table)
          .values({ human, connection, read_at: new Date(budget.now), rows })
          .execute();
      }
      return { allowed: true, used: used + rows };
    });
}

/** Rows taken in the window that ends now. Reads that another node's clock puts into the future count too. */
export async function usedSamples(store: StoreOrTransaction, asked: Omit<SampleBudget, 'limit'>): Promise<number> {
  const budget = { ...asked, now: asked.now ?? (await storeTime(store)) };
  const row = await store
    .selectFrom(asked.of ?? 'sample_reads')
    .select((expression) => expression.fn.sum<string | number | null>('rows').as('used'))
    .where('human', '=', budget.human)
    .where('connection', '=', budget.connection)
    .where('read_at', '>', windowStart(budget))
    .executeTakeFirst();
  return Number(row?.used ?? 0);
}

/** Not now(), which is when the transaction began. */
async function storeTime(store: StoreOrTransaction): Promise<number> {
  const { rows } = await sql<{ now: Date }>`select clock_timestamp() as now`.execute(store);
  return rows[0]?.now.getTime() ?? Number.NaN;
}

function windowStart(budget: { readonly now: number; readonly windowMs: number }): Date {
  return new Date(budget.now - budget.windowMs);
}
