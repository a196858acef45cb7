/** People and groups that an identity provider manages by SCIM: rows in, records out. The rules are in `identity/scim.ts`. */
import {
  sql,
  type ExpressionBuilder,
  type ExpressionWrapper,
  type Selectable,
  type SqlBool,
  type Transaction,
} from 'kysely';
import type { Database, ScimGroupsTable, ScimUsersTable, StoreOrTransaction } from './database.ts';

export interface StoredScimUser {
  readonly id: string;
  readonly userName: string;
  readonly externalId: string | undefined;
  readonly principalId: string;
  readonly active: boolean;
  readonly rest: Readonly<Record<string, unknown>>;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface StoredScimGroup {
  readonly id: string;
  readonly displayName: string;
  readonly externalId: string | undefined;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** One of these, each of which is all of its tests; attributes in lower case. */
type Filter = readonly (readonly { readonly attribute: string; readonly value: string | boolean }[])[];

export interface Page {
  readonly filter: Filter | undefined;
  readonly offset: number;
  readonly limit: number;
}

const lockKey = 0x5343494d;

/** One writer at a time, over all nodes: identity providers write seldom, and parts of one change belong together. */
export async function lockScim(transaction: Transaction<Database>): Promise<void> {
  await sql`select pg_advisory_xact_lock(${lockKey})`.execute(transaction);
}

/** @param principalKey the principal's id as humans are compared */
export async function writeScimUser(
  transaction: Transaction<Database>,
  user: StoredScimUser & { readonly principalKey: string },
): Promise<void> {
  const row = {
    user_name: user.userName,
    user_name_key: user.userName.toLowerCase(),
    external_id: user.externalId ?? null,
    principal_id: user.principalId,
    principal_key: user.principalKey,
    active: user.active,
    resource: JSON.stringify(user.rest),
    version: user.version,
    created_at: user.createdAt,
    updated_at: user.updatedAt,
  };
  await transaction
    .insertInto('scim_users')
    .values({ id: user.id, ...row, groups_changed_at: sql<Date>`clock_timestamp()` })
    .onConflict((conflict) => conflict.column('id').doUpdateSet(row))
    .execute();
}

/** The id of another user who has one of these. */
export async function findScimRival(
  store: StoreOrTransaction,
  user: { readonly id: string; readonly userName: string; readonly principalKey: string },
): Promise<string | undefined> {
  const row = await store
    .selectFrom('scim_users')
    .select('id')
    .where('id', '!=', user.id)
    .where((expression) =>
      expression.or([
        expression('user_name_key', '=', user.userName.toLowerCase()),
        expression('principal_key', '=', user.principalKey),
      ]),
    )
    .executeTakeFirst();
  return row?.id;
}

export async function findScimUser(store: StoreOrTransaction, id: string): Promise<StoredScimUser | undefined> {
  const row = await store.selectFrom('scim_users').selectAll().where('id', '=', id).executeTakeFirst();
  return row === undefined ? undefined : userOf(row);
}

export async function findScimPrincipal(
  store: StoreOrTransaction,
  principalKey: string,
): Promise<StoredScimUser | undefined> {
  const row = await store
    .selectFrom('scim_users')
    .selectAll()
    .where('principal_key', '=', principalKey)
    .executeTakeFirst();
  return row === undefined ? undefined : userOf(row);
}

/** Of these keys of principals, those of active users. */
export async function activePrincipalsAmong(
  store: StoreOrTransaction,
  principalKeys: readonly string[],
): Promise<ReadonlySet<string>> {
  if (principalKeys.length === 0) return new Set();
  const rows = await store
    .selectFrom('scim_users')
    .select('principal_key')
    .where('principal_key', '=', sql<string>`any (${[...principalKeys]}::text[])`)
    .where('active', '=', true)
    .execute();
  return new Set(rows.map((row) => row.principal_key));
}

export async function deleteScimUser(transaction: Transaction<Database>, id: string): Promise<void> {
  await transaction.deleteFrom('scim_users').where('id', '=', id).execute();
}

/** By user name; a page, and how many there are in all. */
export async function listScimUsers(
  store: StoreOrTransaction,
  { filter, offset, limit }: Page,
): Promise<{ readonly users: StoredScimUser[]; readonly total: number }> {
  let query = store.selectFrom('scim_users');
  if (filter !== undefined) {
    query = query.where((build) =>
      build.or(filter.map((tests) => build.and(tests.map((one) => userTest(build, one))))),
    );
  }
  const { total } = await query.select(({ fn }) => fn.countAll<number>().as('total')).executeTakeFirstOrThrow();
  const rows = await query.selectAll().orderBy('user_name_key').offset(offset).limit(limit).execute();
  return { users: rows.map(userOf), total };
}

function userTest(
  build: ExpressionBuilder<Database, 'scim_users'>,
  { attribute, value }: Filter[number][number],
): ExpressionWrapper<Database, 'scim_users', SqlBool> {
  if (attribute === 'active' || typeof value === 'boolean') {
    return build(attribute === 'active' ? 'active' : sql<boolean>`null`, '=', value === true || value === 'true');
  }
  switch (attribute) {
    case 'username':
      return build('user_name_key', '=', value.toLowerCase());
    case 'externalid':
      return build('external_id', '=', value);
    case 'emails':
    case 'emails.value':
      return build(sql<string>`resource -> 'emails'`, '@>', sql<string>`${JSON.stringify([{ value }])}::jsonb`);
    default:
      return build('id', '=', value);
  }
}

export async function countScimUsers(store: StoreOrTransaction): Promise<number> {
  const row = await store
    .selectFrom('scim_users')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  return row.count;
}

export async function writeScimGroup(transaction: Transaction<Database>, group: StoredScimGroup): Promise<void> {
  const row = {
    display_name: group.displayName,
    display_name_key: group.displayName.toLowerCase(),
    external_id: group.externalId ?? null,
    version: group.version,
    created_at: group.createdAt,
    updated_at: group.updatedAt,
  };
  await transaction
    .insertInto('scim_groups')
    .values({ id: group.id, ...row })
    .onConflict((conflict) => conflict.column('id').doUpdateSet(row))
    .execute();
}

export async function findScimGroup(store: StoreOrTransaction, id: string): Promise<StoredScimGroup | undefined> {
  const row = await store.selectFrom('scim_groups').selectAll().where('id', '=', id).executeTakeFirst();
  return row === undefined ? undefined : groupOf(row);
}

export async function findScimGroupNamed(
  store: StoreOrTransaction,
  displayName: string,
): Promise<StoredScimGroup | undefined> {
  const row = await store
    .selectFrom('scim_groups')
    .selectAll()
    .where('display_name_key', '=', displayName.toLowerCase())
    .executeTakeFirst();
  return row === undefined ? undefined : groupOf(row);
}

export async function deleteScimGroup(transaction: Transaction<Database>, id: string): Promise<void> {
  await transaction.deleteFrom('scim_groups').where('id', '=', id).execute();
}

/** By name; a page, and how many there are in all. */
export async function listScimGroups(
  store: StoreOrTransaction,
  { filter, offset, limit }: Page,
): Promise<{ readonly groups: StoredScimGroup[]; readonly total: number }> {
  let query = store.selectFrom('scim_groups');
  if (filter !== undefined) {
    query = query.where((build) =>
      build.or(filter.map((tests) => build.and(tests.map((one) => groupTest(build, one))))),
    );
  }
  const { total } = await query.select(({ fn }) => fn.countAll<number>().as('total')).executeTakeFirstOrThrow();
  const rows = await query.selectAll().orderBy('display_name_key').offset(offset).limit(limit).execute();
  return { groups: rows.map(groupOf), total };
}

function groupTest(
  build: ExpressionBuilder<Database, 'scim_groups'>,
  { attribute, value }: Filter[number][number],
): ExpressionWrapper<Database, 'scim_groups', SqlBool> {
  const text = String(value);
  switch (attribute) {
    case 'displayname':
      return build('display_name_key', '=', text.toLowerCase());
    case 'externalid':
      return build('external_id', '=', text);
    case 'members':
    case 'members.value':
      return build('id', 'in', build.selectFrom('scim_members').select('group_id').where('user_id', '=', text));
    default:
      return build('id', '=', text);
  }
}

export interface ScimMember {
  readonly userId: string;
  readonly userName: string;
  readonly principalId: string;
}

/** By user name. */
export async function membersOfGroup(store: StoreOrTransaction, groupId: string): Promise<ScimMember[]> {
  return store
    .selectFrom('scim_members')
    .innerJoin('scim_users', 'scim_users.id', 'scim_members.user_id')
    .select(['scim_users.id as userId', 'user_name as userName', 'principal_id as principalId'])
    .where('group_id', '=', groupId)
    .orderBy('user_name_key')
    .execute();
}

/** By name. */
export async function groupsOfUser(store: StoreOrTransaction, userId: string): Promise<StoredScimGroup[]> {
  const rows = await store
    .selectFrom('scim_members')
    .innerJoin('scim_groups', 'scim_groups.id', 'scim_members.group_id')
    .selectAll('scim_groups')
    .where('user_id', '=', userId)
    .orderBy('display_name_key')
    .execute();
  return rows.map(groupOf);
}

/** Which of these ids are users, with their principals. */
export async function usersAmong(store: StoreOrTransaction, ids: readonly string[]): Promise<ScimMember[]> {
  if (ids.length === 0) return [];
  return store
    .selectFrom('scim_users')
    .select(['id as userId', 'user_name as userName', 'principal_id as principalId'])
    .where('id', '=', sql<string>`any(${[...ids]})`)
    .execute();
}

export async function changeMembers(
  transaction: Transaction<Database>,
  groupId: string,
  { added, removed }: { readonly added: readonly string[]; readonly removed: readonly string[] },
): Promise<void> {
  if (removed.length > 0) {
    await transaction
      .deleteFrom('scim_members')
      .where('group_id', '=', groupId)
      .where('user_id', '=', sql<string>`any(${[...removed]})`)
      .execute();
  }
  if (added.length > 0) {
    await sql`insert into scim_members (group_id, user_id) select ${groupId}, unnest(${[...added]}::text[])`.execute(
      transaction,
    );
  }
}

/**
 * Notes, by the store's clock, that the groups of these users are others now, and writes them where principals are known:
 * what depends on them (a person's service accounts) reads them there.
 */
export async function touchScimGroupsOf(
  transaction: Transaction<Database>,
  userIds: readonly string[],
  groupsFrom: 'displayName' | 'externalId',
  now: Date,
): Promise<void> {
  if (userIds.length === 0) return;
  await transaction
    .updateTable('scim_users')
    .set({ groups_changed_at: sql<Date>`clock_timestamp()` })
    .where('id', '=', sql<string>`any(${[...userIds]})`)
    .execute();
  const name = sql.ref(groupsFrom === 'displayName' ? 'scim_groups.display_name' : 'scim_groups.external_id');
  await sql`
    update principals set groups = now.groups, groups_at = greatest(groups_at, ${now})
    from (
      select principal_id, coalesce(jsonb_agg(${name}) filter (where ${name} is not null), '[]') as groups
      from scim_users
      left join scim_members on scim_members.user_id = scim_users.id
      left join scim_groups on scim_groups.id = scim_members.group_id
      where scim_users.id = any(${[...userIds]}) group by principal_id
    ) as now
    where principals.id = now.principal_id`.execute(transaction);
}

/** Principals whose groups changed within the last minute, by the store's clock, each with when. */
export async function recentGroupChanges(
  store: StoreOrTransaction,
): Promise<{ readonly principalId: string; readonly at: string }[]> {
  return store
    .selectFrom('scim_users')
    .select(['principal_id as principalId', sql<string>`groups_changed_at::text`.as('at')])
    .where('groups_changed_at', '>', sql<Date>`now() - interval '1 minute'`)
    .execute();
}

function userOf(row: Selectable<ScimUsersTable>): StoredScimUser {
  return {
    id: row.id,
    userName: row.user_name,
    externalId: row.external_id ?? undefined,
    principalId: row.principal_id,
    active: row.active,
    rest: row.resource as Record<string, unknown>,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

function groupOf(row: Selectable<ScimGroupsTable>): StoredScimGroup {
  return {
    id: row.id,
    displayName: row.display_name,
    externalId: row.external_id ?? undefined,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
