/** A real, empty, migrated control store for one test file, in a PostgreSQL of its own. */
import type pg from 'pg';
import { startEmbeddedPostgres } from '../demo/embedded-postgres.ts';
import { openStore, type Store } from '../src/store/database.ts';
import { migrate } from '../src/store/migrate.ts';

export interface TestStore {
  readonly url: string;
  readonly store: Store;
  readonly pool: pg.Pool;
  stop(): Promise<void>;
}

export async function startTestStore(options: { maxConnections?: number } = {}): Promise<TestStore> {
  const server = await startEmbeddedPostgres({ databases: ['store'] });
  const url = server.url('store');
  const { store, pool } = openStore(url, options);
  try {
    await migrate(store);
  } catch (error) {
    await store.destroy();
    await server.stop();
    throw error;
  }
  return {
    url,
    store,
    pool,
    stop: async () => {
      await store.destroy();
      await server.stop();
    },
  };
}
