/**
 * The people and groups that an identity provider manages here by SCIM 2.0 (RFC 7643, RFC 7644). A user is a principal
 * (provider and subject). Who is not active, or is deleted, has left (`leavers.ts`); the groups of an active user are
 * those that SCIM says, whatever a token or an assertion says, and a change ends live sessions that were decided by the
 * groups before.
 *
 * Not for: HTTP (`api/scim.ts`); what clients may write (`scim-user.ts`, `scim-group.ts`).
 */
import { randomUUID } from 'node:crypto';
import type { Transaction } from 'kysely';
import type { ScimConfiguration } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import type { Json } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import type { Database, Store } from '../store/database.ts';
import type { StoredLeaver } from '../store/leavers.ts';
import { listPrincipals } from '../store/principals.ts';
import {
  activePrincipalsAmong,
  changeMembers,
  countScimUsers,
  deleteScimGroup,
  deleteScimUser,
  findScimGroup,
  findScimGroupNamed,
  findScimPrincipal,
  findScimRival,
  findScimUser,
  groupsOfUser,
  lockScim,
  membersOfGroup,
  recentGroupChanges,
  touchScimGroupsOf,
  usersAmong,
  writeScimGroup,
  writeScimUser,
  type ScimMember,
  type StoredScimGroup,
  type StoredScimUser,
} from '../store/scim.ts';
import type { Leavers } from './leavers.ts';
import type { Principal } from './principal.ts';
import { groupContent, patchedGroup, type ScimGroupContent } from './scim-group.ts';
import { invalidValue, noResource, ScimProblem } from './scim-problem.ts';
import { patchedUser, userContent, type ScimUserContent } from './scim-user.ts';

export interface ScimEvent {
  readonly type: `scim.${'user' | 'group'}-${'created' | 'changed' | 'deleted'}` | 'person.groups-changed';
  readonly [member: string]: Json | undefined;
}

export interface ScimDirectoryOptions {
  readonly configuration: ScimConfiguration;
  /** Names of all further providers: ids of their principals begin with them. */
  readonly providerNames: readonly string[];
  readonly store: Store;
  readonly record: (event: ScimEvent) => Promise<void>;
  readonly clock: Clock;
  /** The form in which names of humans are compared. */
  readonly fold: (name: string) => string;
  readonly leavers: Leavers;
  /** Ends live sessions on this node that were decided by other groups; resolves when they are over. */
  readonly endSessions: (principalId: string, error: CountersignError) => Promise<void>;
  readonly onError: (cause: unknown) => void;
}

export type Change = { readonly replace: unknown } | { readonly patch: unknown };

/** What has to follow the commit. */
interface Aftermath {
  leaver: StoredLeaver | undefined;
}

const actorName = 'scim';
/** So many principals are named in one entry of the log. */
const namesPerEntry = 500;

export class ScimDirectory {
  readonly #options: ScimDirectoryOptions;
  /** The changes of groups that this node has acted on: principal -> when it changed. */
  #seen = new Map<string, string>();

  constructor(options: ScimDirectoryOptions) {
    this.#options = options;
  }

  // ---- whom it manages ----

  /** The groups that count; undefined when SCIM does not manage this person. */
  async groupsOf(principalId: string): Promise<string[] | undefined> {
    const user = await this.#userOf(principalId);
    if (user?.active !== true) return undefined;
    return this.#isSpelled(user, principalId) ? this.#groupNames(user.id) : [];
  }

  /** Of these people, those whom SCIM manages. */
  async managedAmong(principalIds: readonly string[]): Promise<ReadonlySet<string>> {
    const { store, fold } = this.#options;
    const active = await activePrincipalsAmong(store, principalIds.map(fold));
    return new Set(principalIds.filter((id) => active.has(fold(id))));
  }

  /**
   * The principal with the groups that count now. A service account is asked for its owner, and keeps its own groups.
   * @throws CountersignError `principal_disabled`, `principal_not_provisioned`
   */
  async admit(principal: Principal): Promise<Principal> {
    const person = principal.kind === 'person' ? principal.id : principal.human;
    if (!this.#isOurs(person)) return principal;
    const user = await this.#userOf(person);
    if (user === undefined) {
      if (!this.#options.configuration.required) return principal;
      throw new CountersignError('principal_not_provisioned', `countersign: SCIM does not know ${person}`, {
        hint: 'assign the person to Countersign at the identity provider',
      });
    }
    if (!user.active) throw new CountersignError('principal_disabled', `countersign: ${person} is not active in SCIM`);
    if (principal.kind === 'service') return principal;
    if (this.#isSpelled(user, person)) return { ...principal, groups: await this.#groupNames(user.id) };
    throw new CountersignError('principal_not_provisioned', `countersign: SCIM knows ${person} by another spelling`, {
      hint: 'the subject in SCIM is that of tokens and assertions, character for character; only the case of user names and addresses does not count',
    });
  }

  /** Names that look the same are one human for what they may not do. What they may is for the one whom SCIM has named. */
  #isSpelled({ principalId }: StoredScimUser, shown: string): boolean {
    if (principalId === shown) return true;
    const { subjectFrom } = this.#options.configuration;
    return subjectFrom !== 'externalId' && principalId.toLowerCase() === shown.toLowerCase();
  }

  #userOf(principalId: string): Promise<StoredScimUser | undefined> {
    return findScimPrincipal(this.#options.store, this.#options.fold(principalId));
  }

  #isOurs(principalId: string): boolean {
    const { configuration, providerNames, fold } = this.#options;
    const folded = fold(principalId);
    const { provider } = configuration;
    if (provider !== undefined) return folded.startsWith(`${provider}:`);
    return !providerNames.some((name) => folded.startsWith(`${name}:`));
  }

  async #groupNames(userId: string): Promise<string[]> {
    const { configuration, store } = this.#options;
    const groups = await groupsOfUser(store, userId);
    const names = groups.map((one) => (configuration.groupsFrom === 'displayName' ? one.displayName : one.externalId));
    return names.filter((name) => name !== undefined);
  }

  /**
   * Ends the sessions of those whose groups changed since the last time, on whichever node the change was made. Call it
   * every second or so.
   */
  async sweep(): Promise<void> {
    const { store, fold, endSessions, onError } = this.#options;
    const changes = new Map((await recentGroupChanges(store)).map(({ principalId, at }) => [principalId, at]));
    const isNew = [...changes].filter(([principalId, at]) => this.#seen.get(principalId) !== at);
    this.#seen = changes;
    if (isNew.length === 0) return;
    // An account has the groups that its owner has.
    const owned = Map.groupBy(await listPrincipals(store), ({ human }) => fold(human));
    const ids = isNew.flatMap(([id]) => [id, ...(owned.get(fold(id)) ?? []).map((principal) => principal.id)]);
    await Promise.all([...new Set(ids)].map((id) => endSessions(id, groupsChanged(id)).catch(onError)));
  }

  // ---- users ----

  /** @throws ScimProblem; log_unavailable */
  async createUser(body: unknown): Promise<StoredScimUser> {
    const { configuration } = this.#options;
    const content = userContent(body, configuration.subjectFrom);
    return this.#write(async (transaction, after) => {
      if ((await countScimUsers(transaction)) >= configuration.maxUsers) {
        throw new ScimProblem(403, `there are ${configuration.maxUsers} users already (identity.scim.maxUsers)`);
      }
      return this.#putUser(transaction, after, undefined, content);
    });
  }

  /** @throws ScimProblem; log_unavailable */
  async changeUser(id: string, change: Change): Promise<StoredScimUser> {
    const { subjectFrom } = this.#options.configuration;
    return this.#write(async (transaction, after) => {
      const before = await findScimUser(transaction, id);
      if (before === undefined) throw noResource('user', id);
      const written: ScimUserContent = { ...before, subject: '' };
      const content =
        'patch' in change
          ? patchedUser(written, change.patch, subjectFrom)
          : userContent(change.replace, subjectFrom, written);
      return this.#putUser(transaction, after, before, content);
    });
  }

  /** @throws ScimProblem; log_unavailable */
  async deleteUser(id: string): Promise<void> {
    await this.#write(async (transaction, after) => {
      const { record, leavers } = this.#options;
      const before = await findScimUser(transaction, id);
      if (before === undefined) throw noResource('user', id);
      const { principalId } = before;
      await deleteScimUser(transaction, id);
      after.leaver = await leavers.mark(transaction, leaving(principalId, 'deleted in SCIM'));
      await record({ type: 'scim.user-deleted', user: id, principal: principalId });
    });
  }

  async #putUser(
    transaction: Transaction<Database>,
    after: Aftermath,
    before: StoredScimUser | undefined,
    { userName, externalId, active, subject, rest }: ScimUserContent,
  ): Promise<StoredScimUser> {
    const { configuration, clock, fold, record, leavers } = this.#options;
    const { provider, subjectFrom } = configuration;
    const principalId = provider === undefined ? subject : `${provider}:${subject}`;
    if (before !== undefined && principalId !== before.principalId) {
      // One human under two names could approve what they asked for.
      const detail = `${subjectFrom} is the subject of this person and cannot be changed`;
      throw new ScimProblem(400, detail, 'mutability');
    }
    const now = new Date(clock.now());
    const user = {
      id: before?.id ?? randomUUID(),
      userName,
      externalId,
      principalId,
      principalKey: fold(principalId),
      active,
      rest,
      version: (before?.version ?? 0) + 1,
      createdAt: before?.createdAt ?? now,
      updatedAt: now,
    };
    if ((await findScimRival(transaction, user)) !== undefined) {
      throw new ScimProblem(409, `there is another user with this userName or ${subjectFrom}`, 'uniqueness');
    }
    await writeScimUser(transaction, user);
    if (before === undefined) await this.#changed(transaction, [{ userId: user.id, userName, principalId }]);
    const type = before === undefined ? 'scim.user-created' : 'scim.user-changed';
    await record({ type, user: user.id, principal: principalId, active });
    if (active) await leavers.unmark(transaction, leaving(principalId, 'active in SCIM'));
    else after.leaver = await leavers.mark(transaction, leaving(principalId, 'not active in SCIM'));
    return user;
  }

  // ---- groups ----

  /** @throws ScimProblem; log_unavailable */
  async createGroup(body: unknown): Promise<StoredScimGroup> {
    const content = groupContent(body);
    return this.#write((transaction) => this.#putGroup(transaction, undefined, content));
  }

  /** @throws ScimProblem; log_unavailable */
  async changeGroup(id: string, change: Change): Promise<StoredScimGroup> {
    return this.#write(async (transaction) => {
      const before = await findScimGroup(transaction, id);
      if (before === undefined) throw noResource('group', id);
      if ('replace' in change) return this.#putGroup(transaction, before, groupContent(change.replace));
      const members = new Set((await membersOfGroup(transaction, id)).map((one) => one.userId));
      return this.#putGroup(transaction, before, patchedGroup({ ...before, members }, change.patch));
    });
  }

  /** @throws ScimProblem; log_unavailable */
  async deleteGroup(id: string): Promise<void> {
    await this.#write(async (transaction) => {
      const before = await findScimGroup(transaction, id);
      if (before === undefined) throw noResource('group', id);
      const members = await membersOfGroup(transaction, id);
      await deleteScimGroup(transaction, id);
      await this.#changed(transaction, members);
      await this.#recordGroup('scim.group-deleted', before, [], members);
    });
  }

  async #putGroup(
    transaction: Transaction<Database>,
    before: StoredScimGroup | undefined,
    { displayName, externalId, members }: ScimGroupContent,
  ): Promise<StoredScimGroup> {
    const { configuration, clock } = this.#options;
    if (members.size > configuration.maxGroupMembers) {
      throw invalidValue(
        `a group has at most ${configuration.maxGroupMembers} members (identity.scim.maxGroupMembers)`,
      );
    }
    const now = new Date(clock.now());
    const group = {
      id: before?.id ?? randomUUID(),
      displayName,
      externalId,
      version: (before?.version ?? 0) + 1,
      createdAt: before?.createdAt ?? now,
      updatedAt: now,
    };
    const rival = await findScimGroupNamed(transaction, displayName);
    if (rival !== undefined && rival.id !== group.id) {
      throw new ScimProblem(409, 'there is another group with this displayName', 'uniqueness');
    }
    await writeScimGroup(transaction, group);
    const old = await membersOfGroup(transaction, group.id);
    const oldIds = new Set(old.map((one) => one.userId));
    const missing = [...members].filter((id) => !oldIds.has(id));
    const added = await usersAmong(transaction, missing);
    if (added.length < missing.length) throw invalidValue('a member of the group is no user here');
    const removed = old.filter((one) => !members.has(one.userId));
    await changeMembers(transaction, group.id, { added: added.map(idOf), removed: removed.map(idOf) });
    const isRenamed = before !== undefined && (before.displayName !== displayName || before.externalId !== externalId);
    await this.#changed(transaction, isRenamed ? [...old, ...added] : [...added, ...removed]);
    const type = before === undefined ? 'scim.group-created' : 'scim.group-changed';
    await this.#recordGroup(type, group, added, removed);
    return group;
  }

  async #changed(transaction: Transaction<Database>, members: readonly ScimMember[]): Promise<void> {
    const { configuration, clock } = this.#options;
    await touchScimGroupsOf(transaction, members.map(idOf), configuration.groupsFrom, new Date(clock.now()));
  }

  async #recordGroup(
    type: ScimEvent['type'],
    { id, displayName, externalId }: StoredScimGroup,
    added: readonly ScimMember[],
    removed: readonly ScimMember[],
  ): Promise<void> {
    const { record } = this.#options;
    await record({ type, group: id, name: displayName, externalId, added: added.length, removed: removed.length });
    for (const [change, members] of Object.entries({ added, removed })) {
      for (let at = 0; at < members.length; at += namesPerEntry) {
        const principals = members.slice(at, at + namesPerEntry).map((one) => one.principalId);
        await record({ type: 'person.groups-changed', group: id, name: displayName, change, principals });
      }
    }
  }

  /** One writer at a time; what follows from the change is done after its commit, and before the client hears of it. */
  async #write<T>(work: (transaction: Transaction<Database>, after: Aftermath) => Promise<T>): Promise<T> {
    const { store, leavers } = this.#options;
    const after: Aftermath = { leaver: undefined };
    const result = await store.transaction().execute(async (transaction) => {
      await lockScim(transaction);
      return work(transaction, after);
    });
    if (after.leaver !== undefined) await leavers.finish(after.leaver);
    await this.sweep();
    return result;
  }
}

function leaving(principalId: string, reason: string) {
  return { principalId, reason, source: 'scim', by: actorName } as const;
}

function idOf({ userId }: ScimMember): string {
  return userId;
}

export function groupsChanged(principalId: string): CountersignError {
  return new CountersignError('groups_changed', `countersign: the groups of ${principalId} have changed`, {
    hint: 'connect again',
  });
}
