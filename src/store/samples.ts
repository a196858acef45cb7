/**
 * What one human may take from one connection in a sliding window, whichever session or node: rows of samples, and, for
 * each masking rule that allows it, constants that masked columns are compared with (each counts as a row).
 */
import { sql } from 'kysely';
import type { Store, StoreOrTransaction } from './database.ts';

export interface SampleBudget {
  readonly human: string;
  readonly connection: string;
  /** The masking rule; '' (default) = rows of samples. */
  readonly rule?: string | undefined;
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
      const rule = asked.rule ?? '';
      const key = `countersign sample ${JSON.stringify([asked.human, asked.connection, rule])}`;
      await sql`select pg_advisory_xact_lock(hashtextextended(${key}, 0))`.execute(transaction);
      const budget = { ...asked, now: asked.now ?? (await storeTime(transaction)) };
      const used = await usedSamples(transaction, budget);
      if (used + rows > budget.limit) return { allowed: false, used };
      await transaction
        .deleteFrom('sample_reads')
        .where('human', '=', budget.human)
        .where('connection', '=', budget.connection)
        .where('rule', '=', rule)
        .where('read_at', '<=', windowStart(budget))
        .execute();
      if (rows > 0) {
        const { human, connection } = budget;
        await transaction
          .insertInto('sample_reads')
          .values({ human, connection, rule, read_at: new Date(budget.now), rows })
          .execute();
      }
      return { allowed: true, used: used + rows };
    });
}

/** Rows taken in the window that ends now. Reads that another node's clock puts into the future count too. */
export async function usedSamples(store: StoreOrTransaction, asked: Omit<SampleBudget, 'limit'>): Promise<number> {
  const budget = { ...asked, now: asked.now ?? (await storeTime(store)) };
  const row = await store
    .selectFrom('sample_reads')
    .select((expression) => expression.fn.sum<string | number | null>('rows').as('used'))
    .where('human', '=', budget.human)
    .where('connection', '=', budget.connection)
    .where('rule', '=', asked.rule ?? '')
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
