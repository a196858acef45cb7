/** How far the readers of a node's log have come. The reader is `audit/follower.ts`. */
import { sql } from 'kysely';
import type { StoreOrTransaction } from './database.ts';

/**
 * The index from which this reader goes on; undefined = it never read. Whoever asks for the same reader waits until the
 * transaction ends.
 */
export async function lockCursor(
  transaction: StoreOrTransaction,
  node: string,
  consumer: string,
): Promise<number | undefined> {
  const key = `countersign log ${JSON.stringify([node, consumer])}`;
  await sql`select pg_advisory_xact_lock(hashtextextended(${key}, 0))`.execute(transaction);
  const row = await transaction
    .selectFrom('log_cursors')
    .select('next_index')
    .where('node', '=', node)
    .where('consumer', '=', consumer)
    .executeTakeFirst();
  return row?.next_index;
}

export async function moveCursor(
  transaction: StoreOrTransaction,
  node: string,
  consumer: string,
  nextIndex: number,
): Promise<void> {
  await transaction
    .insertInto('log_cursors')
    .values({ node, consumer, next_index: nextIndex })
    .onConflict((conflict) => conflict.columns(['node', 'consumer']).doUpdateSet({ next_index: nextIndex }))
    .execute();
}

/** Of all nodes. */
export async function cursorsOf(
  store: StoreOrTransaction,
  consumer: string,
): Promise<{ readonly node: string; readonly next_index: number }[]> {
  return store
    .selectFrom('log_cursors')
    .select(['node', 'next_index'])
    .where('consumer', '=', consumer)
    .orderBy('node')
    .execute();
}
