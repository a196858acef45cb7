/** Relations that approved jobs of a connection read, by the digests that their approvals are bound to. */
import { sql } from 'kysely';
import type { StoreOrTransaction } from './database.ts';

const newest = 1_000;

/** As schema.name; undefined = no job of this connection was ever approved. */
export async function usedRelations(
  store: StoreOrTransaction,
  connection: string,
): Promise<ReadonlySet<string> | undefined> {
  const rows = await store
    .selectFrom('requests')
    .select('digest_input_json')
    .where('connection', '=', connection)
    .where('kind', '=', 'job')
    .where('state', '=', 'approved')
    .orderBy('created_at', 'desc')
    .limit(newest)
    .execute();
  if (rows.length === 0) return undefined;
  const inputs = rows.map((row) => JSON.parse(row.digest_input_json) as { definitions: readonly { name: string }[] });
  return new Set(inputs.flatMap(({ definitions }) => definitions.map(({ name }) => name)));
}

/** Milliseconds since 1970, by the store's own clock. */
export async function storeClock(store: StoreOrTransaction): Promise<number> {
  const { rows } = await sql<{ now: Date }>`select clock_timestamp() as now`.execute(store);
  return rows[0]?.now.getTime() ?? Number.NaN;
}
