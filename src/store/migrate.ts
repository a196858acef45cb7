import { readFileSync, readdirSync } from 'node:fs';
import { sql } from 'kysely';
import { CountersignError } from '../errors.ts';
import { sha256Hex } from '../lib/canonical-json.ts';
import type { Store } from './database.ts';

const directory = new URL('./migrations/', import.meta.url);
/** One lock for all nodes of one store: whoever comes second waits, then finds nothing left to do. */
const lockKey = 0x43534d47;

/**
 * Applies the numbered migrations that this store has not seen, each in its own transaction, under an advisory lock.
 * @returns the names applied now
 * @throws CountersignError `store_unavailable` when an applied migration's text differs from the file (the store belongs to another version).
 */
export async function migrate(store: Store): Promise<string[]> {
  const names = readdirSync(directory)
    .filter((name) => /^\d{4}_[a-z0-9_]+\.sql$/.test(name))
    .sort();
  return store.connection().execute(async (connection) => {
    await sql`select pg_advisory_lock(${lockKey})`.execute(connection);
    try {
      await sql`create table if not exists migrations (
        name text primary key, digest text not null, applied_at timestamptz not null default now())`.execute(
        connection,
      );
      const rows = await sql<{ name: string; digest: string }>`select name, digest from migrations`.execute(connection);
      const seen = new Map(rows.rows.map((row) => [row.name, row.digest]));
      const applied: string[] = [];
      for (const name of names) {
        const text = readFileSync(new URL(name, directory), 'utf8');
        const digest = sha256Hex(text);
        const known = seen.get(name);
        if (known === digest) continue;
        if (known !== undefined) {
          throw new CountersignError(
            'store_unavailable',
            `migration ${name} was applied to this store with another text`,
            {
              hint: 'use the Countersign version that made this store, or a new store',
            },
          );
        }
        await connection.transaction().execute(async (transaction) => {
          await sql.raw(text).execute(transaction);
          await sql`insert into migrations (name, digest) values (${name}, ${digest})`.execute(transaction);
        });
        applied.push(name);
      }
      return applied;
    } finally {
      await sql`select pg_advisory_unlock(${lockKey})`.execute(connection);
    }
  });
}
