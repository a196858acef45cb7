/** Principals in the control store: everybody whose token was ever accepted, as the newest token described them. */
import { sql, type Selectable } from 'kysely';
import type { Principal } from '../identity/principal.ts';
import type { PrincipalsTable, StoreOrTransaction } from './database.ts';

export interface StoredPrincipal extends Principal {
  readonly lastSeenAt: Date;
  /** When the groups were known to be these. */
  readonly groupsAt: Date;
  /** The identity provider; `service` for a service account. */
  readonly provider: string;
}

/** Who it is by a proof. */
export interface SeenPrincipal extends Principal {
  /** The identity provider. Default: `default`, and `service` for service accounts. */
  readonly provider?: string | undefined;
  /** When the groups were known to be these. Default: when it was seen. */
  readonly groupsAt?: Date | undefined;
}

/**
 * Adds the principal, or replaces what is known of it; groups only by groups that are not older.
 * @returns as it is known now; undefined when the id is one of another provider, and nothing was changed
 */
export async function upsertPrincipal(
  store: StoreOrTransaction,
  principal: SeenPrincipal,
  seenAt: Date,
): Promise<StoredPrincipal | undefined> {
  const described = {
    human: principal.human,
    kind: principal.kind,
    display_name: principal.displayName,
    email: principal.email ?? null,
    last_seen_at: seenAt,
  };
  const row = await store
    .insertInto('principals')
    .values({
      id: principal.id,
      ...described,
      groups: JSON.stringify(principal.groups),
      groups_at: principal.groupsAt ?? seenAt,
      provider: principal.provider ?? (principal.kind === 'service' ? 'service' : 'default'),
    })
    .onConflict((conflict) =>
      conflict
        .column('id')
        .doUpdateSet({
          ...described,
          groups: sql`case when excluded.groups_at >= principals.groups_at then excluded.groups else principals.groups end`,
          groups_at: sql`greatest(excluded.groups_at, principals.groups_at)`,
        })
        .whereRef('principals.provider', '=', 'excluded.provider'),
    )
    .returningAll()
    .executeTakeFirst();
  return row === undefined ? undefined : principalOf(row);
}

export async function findPrincipal(store: StoreOrTransaction, id: string): Promise<StoredPrincipal | undefined> {
  const row = await store.selectFrom('principals').selectAll().where('id', '=', id).executeTakeFirst();
  return row === undefined ? undefined : principalOf(row);
}

/** Those with these ids that were ever seen. */
export async function findPrincipals(store: StoreOrTransaction, ids: readonly string[]): Promise<StoredPrincipal[]> {
  if (ids.length === 0) return [];
  const rows = await store
    .selectFrom('principals')
    .selectAll()
    .where('id', '=', sql<string>`any (${[...ids]}::text[])`)
    .execute();
  return rows.map(principalOf);
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
    groupsAt: row.groups_at,
    provider: row.provider,
  };
}
