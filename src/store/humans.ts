/**
 * Who is the same human: rows in, records out. Humans, their addresses and links between them are a graph, whose connected
 * components are people. Names come and go in the form of `humanKey`. The rules are in `identity/humans.ts`.
 */
import { sql, type Selectable, type Transaction } from 'kysely';
import type { Database, HumanLinksTable, Store, StoreOrTransaction } from './database.ts';

export interface HumanLink {
  readonly a: string;
  readonly b: string;
  readonly source: 'configuration' | 'admin';
  readonly reason: string;
  readonly linkedBy: string;
  readonly linkedAt: Date;
  readonly unlinkedBy: string | undefined;
  readonly unlinkedAt: Date | undefined;
  readonly unlinkReason: string | undefined;
}

/** One lock for everything that says who is who: readers that decide share it, writers have it alone. */
const lockKey = 0x4355_4d41;

/** Until the transaction ends, who is who stays as it is. Every query after this sees every change before it. */
export async function holdHumans(store: StoreOrTransaction): Promise<void> {
  await sql`select pg_advisory_xact_lock_shared(${lockKey})`.execute(store);
}

/** Runs a change alone and counts it. */
export async function changeHumans<T>(
  store: Store,
  change: (transaction: Transaction<Database>) => Promise<T>,
): Promise<T> {
  return store.transaction().execute(async (transaction) => {
    await sql`select pg_advisory_xact_lock(${lockKey})`.execute(transaction);
    const result = await change(transaction);
    await sql`update human_changes set version = version + 1`.execute(transaction);
    return result;
  });
}

export async function humansVersion(store: StoreOrTransaction): Promise<number> {
  return (await store.selectFrom('human_changes').select('version').executeTakeFirstOrThrow()).version;
}

export interface Reached {
  readonly root: string;
  readonly name: string;
  /** Whether `name` is a human who was seen. */
  readonly known: boolean;
}

/**
 * Everything that is connected to each of these roots, by links that had not ended at `since`. Each root starts from
 * its own name and from further ones, e.g. the other form of an address.
 */
export async function reach(
  store: StoreOrTransaction,
  starts: readonly { readonly root: string; readonly name: string }[],
  since: Date,
): Promise<Reached[]> {
  if (starts.length === 0) return [];
  const { rows } = await sql<Reached>`
    with recursive reached (root, name) as (
      select root, name
        from unnest(${starts.map(({ root }) => root)}::text[], ${starts.map(({ name }) => name)}::text[]) as s (root, name)
      union
      select reached.root, next.name
        from reached,
             lateral (
               select email as name from human_emails where human = reached.name
               union all select human from human_emails where email = reached.name
               union all select b from human_links where a = reached.name and (unlinked_at is null or unlinked_at > ${since})
               union all select a from human_links where b = reached.name and (unlinked_at is null or unlinked_at > ${since})
             ) next
    )
    select root, reached.name, humans.name is not null as known
      from reached left join humans on humans.name = reached.name`.execute(store);
  return rows;
}

/** Everybody who owned one of these accounts at that time or later. */
export async function ownersSince(
  store: StoreOrTransaction,
  accounts: readonly string[],
  since: Date,
): Promise<{ readonly account: string; readonly owner: string }[]> {
  if (accounts.length === 0) return [];
  return store
    .selectFrom('account_owners')
    .select(['account', 'owner'])
    .where('account', 'in', [...accounts])
    .where((where) => where.or([where('until', 'is', null), where('until', '>', since)]))
    .execute();
}

export async function currentOwner(store: StoreOrTransaction, account: string): Promise<string | undefined> {
  const row = await store
    .selectFrom('account_owners')
    .select('owner')
    .where('account', '=', account)
    .where('until', 'is', null)
    .executeTakeFirst();
  return row?.owner;
}

/** Ends the present ownership, if there is another one, and begins this one. */
export async function setOwner(
  transaction: Transaction<Database>,
  account: string,
  owner: string,
  at: Date,
): Promise<void> {
  if ((await currentOwner(transaction, account)) === owner) return;
  await transaction
    .updateTable('account_owners')
    .set({ until: at })
    .where('account', '=', account)
    .where('until', 'is', null)
    .execute();
  await transaction.insertInto('account_owners').values({ account, owner, since: at, until: null }).execute();
}

export async function isHumanKnown(store: StoreOrTransaction, name: string): Promise<boolean> {
  return (await store.selectFrom('humans').select('name').where('name', '=', name).executeTakeFirst()) !== undefined;
}

export async function hasEmail(store: StoreOrTransaction, email: string, human: string): Promise<boolean> {
  const row = await store
    .selectFrom('human_emails')
    .select('email')
    .where('email', '=', email)
    .where('human', '=', human)
    .executeTakeFirst();
  return row !== undefined;
}

export async function addHuman(transaction: Transaction<Database>, name: string, at: Date): Promise<void> {
  await transaction
    .insertInto('humans')
    .values({ name, first_seen_at: at })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

export async function addEmail(
  transaction: Transaction<Database>,
  email: string,
  human: string,
  at: Date,
): Promise<void> {
  await transaction
    .insertInto('human_emails')
    .values({ email, human, first_seen_at: at })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** @returns false when this link is there already */
export async function insertLink(
  transaction: Transaction<Database>,
  link: Pick<HumanLink, 'a' | 'b' | 'source' | 'reason' | 'linkedBy' | 'linkedAt'>,
): Promise<boolean> {
  const { a, b, source, reason } = link;
  const row = await transaction
    .insertInto('human_links')
    .values({
      a,
      b,
      source,
      reason,
      linked_by: link.linkedBy,
      linked_at: link.linkedAt,
      unlinked_by: null,
      unlinked_at: null,
      unlink_reason: null,
    })
    .onConflict((conflict) => conflict.columns(['a', 'b', 'source']).where('unlinked_at', 'is', null).doNothing())
    .returning('id')
    .executeTakeFirst();
  return row !== undefined;
}

/** @returns false when there is no such link */
export async function endLink(
  transaction: Transaction<Database>,
  link: Pick<HumanLink, 'a' | 'b' | 'source'>,
  end: { readonly by: string; readonly at: Date; readonly reason: string },
): Promise<boolean> {
  const row = await transaction
    .updateTable('human_links')
    .set({ unlinked_by: end.by, unlinked_at: end.at, unlink_reason: end.reason })
    .where('a', '=', link.a)
    .where('b', '=', link.b)
    .where('source', '=', link.source)
    .where('unlinked_at', 'is', null)
    .returning('id')
    .executeTakeFirst();
  return row !== undefined;
}

/** Ended ones too, oldest first. */
export async function listLinks(store: StoreOrTransaction): Promise<HumanLink[]> {
  const rows = await store.selectFrom('human_links').selectAll().orderBy('id').execute();
  return rows.map(linkOf);
}

export async function hasLinkEndedAfter(store: StoreOrTransaction, at: Date): Promise<boolean> {
  const row = await store.selectFrom('human_links').select('id').where('unlinked_at', '>', at).executeTakeFirst();
  return row !== undefined;
}

export async function listEmails(store: StoreOrTransaction): Promise<{ email: string; human: string }[]> {
  return store.selectFrom('human_emails').select(['email', 'human']).orderBy('email').orderBy('human').execute();
}

export async function listHumans(store: StoreOrTransaction): Promise<string[]> {
  return (await store.selectFrom('humans').select('name').orderBy('name').execute()).map(({ name }) => name);
}

function linkOf(row: Selectable<HumanLinksTable>): HumanLink {
  return {
    a: row.a,
    b: row.b,
    source: row.source,
    reason: row.reason,
    linkedBy: row.linked_by,
    linkedAt: row.linked_at,
    unlinkedBy: row.unlinked_by ?? undefined,
    unlinkedAt: row.unlinked_at ?? undefined,
    unlinkReason: row.unlink_reason ?? undefined,
  };
}
