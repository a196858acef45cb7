/** Principals in the control store: everybody whose token was ever accepted, as the newest token described them. */
import type { Selectable } from 'kysely';
import type { Principal } from '../identity/principal.ts';
import type { PrincipalsTable, StoreOrTransaction } from './database.ts';

export interface StoredPrincipal extends Principal {
  readonly lastSeenAt: Date;
}

/** Adds the principal, or replaces everything that is known of it. */
export async function upsertPrincipal(store: StoreOrTransaction, principal: Principal, seenAt: Date): Promise<void> {
  const described = {
    human: principal.human,
    kind: principal.kind,
    display_name: principal.displayName,
    email: principal.email ?? null,
    groups: JSON.stringify(principal.groups),
    last_seen_at: seenAt,
  };
  await store
    .insertInto('principals')
    .values({ id: principal.id, ...described })
    .onConflict((conflict) => conflict.column('id').doUpdateSet(described))
    .execute();
}

export async function findPrincipal(store: StoreOrTransaction, id: string): Promise<StoredPrincipal | undefined> {
  const row = await store.selectFrom('principals').selectAll().where('id', '=', id).executeTakeFirst();
  return row === undefined ? undefined : principalOf(row);
}

/** By id. */
export async function listPrincipals(store: StoreOrTransaction): Promise<StoredPrincipal[]> {
  const rows = await store.selectFrom('principals').selectAll().orderBy('id').execute();
  return rows.map(principalOf);
}

function principalOf(row: Selectable<PrincipalsTable>): StoredPrincipal {
  return {
    id: row.id,
    human: row.human,
    kind: row.kind,
    displayName: row.display_name,
    email: row.email ?? undefined,
    groups: row.groups,
    lastSeenAt: row.last_seen_at,
  };
}
