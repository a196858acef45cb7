/**
 * Who comes in as a service account: with one of its keys, with a token of the identity provider, or with a credential
 * that was issued to it. Asks the store each time, so that what was taken away is gone at once.
 */
import { CountersignError } from '../errors.ts';
import { sha256Hex } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { humanKey } from '../policy/entities.ts';
import type { Store } from '../store/database.ts';
import { findPrincipal, findPrincipals, type StoredPrincipal } from '../store/principals.ts';
import {
  findKey,
  findServiceAccount,
  serviceAccountsNamed,
  touchKey,
  type ServiceAccountRecord,
} from '../store/service-accounts.ts';
import type { Principal } from './principal.ts';

export interface AccountAccessOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** An account rests when its owner was not seen for so long: their groups may have changed since. */
  readonly ownerUnseenMs: number;
  /** A person's groups where they are kept here (SCIM): always current, so the owner need not be seen. */
  readonly managedGroups?: ((principalId: string) => Promise<readonly string[] | undefined>) | undefined;
  /** Of these people, those whose groups are kept here. */
  readonly managedAmong?: ((principalIds: readonly string[]) => Promise<ReadonlySet<string>>) | undefined;
}

const keyPattern = /^csk_[\w-]{43}$/;
/** A key's last use is written no more often than this. */
const touchMs = 60_000;

/** Keys stand where tokens stand, and no token looks like one. */
export function isKey(text: string): boolean {
  return text.startsWith('csk_');
}

export class AccountAccess {
  readonly #options: AccountAccessOptions;

  constructor(options: AccountAccessOptions) {
    this.#options = options;
  }

  /**
   * Who comes with this key, with the groups that it gives at this moment. Asks the store each time.
   * @throws token_invalid, token_expired, authentication_failed (disabled, expired, not accepted, its owner not seen)
   */
  async verify(key: string): Promise<Principal> {
    const { store } = this.#options;
    const found = keyPattern.test(key) ? await findKey(store, sha256Hex(key)) : undefined;
    if (found === undefined || found.revokedAt !== undefined) {
      throw new CountersignError('token_invalid', 'this is no valid key of a service account');
    }
    const nowMs = this.#options.clock.now();
    if (found.expiresAt.getTime() <= nowMs) {
      throw new CountersignError('token_expired', `the key ${found.id} expired at ${found.expiresAt.toISOString()}`, {
        hint: `countersign service-accounts keys create ${found.account}`,
      });
    }
    const account = await findServiceAccount(store, found.account);
    const principal = account === undefined ? 'does not exist' : await this.#principalOf(account);
    if (typeof principal === 'string') throw unusable(found.account, principal);
    if (nowMs - (found.lastUsedAt?.getTime() ?? 0) >= touchMs) await touchKey(store, found.id, new Date(nowMs));
    return principal;
  }

  /**
   * Call it for everybody who came with a token of the identity provider.
   * @throws authentication_failed for a disabled account; token_invalid for a person with an account's name
   */
  async admit(principal: Principal): Promise<void> {
    const account = await findServiceAccount(this.#options.store, principal.id);
    if (account === undefined) return;
    if (principal.kind === 'person' || account.source === 'store') {
      throw new CountersignError('token_invalid', `${JSON.stringify(principal.id)} is the name of a service account`, {
        hint: 'a person must not have the name of a service account',
      });
    }
    const disabled = whyDisabled(account);
    if (disabled !== undefined) throw unusable(account.name, disabled);
  }

  /** A principal that was remembered, as it may act now; undefined if it may not. People are as they were. */
  async current(principal: Principal): Promise<Principal | undefined> {
    if (principal.kind === 'person') return principal;
    const account = await findServiceAccount(this.#options.store, principal.id);
    if (account === undefined) return principal;
    if (account.source === 'configuration') return account.disabledAt === undefined ? principal : undefined;
    const now = await this.#principalOf(account);
    return typeof now === 'string' || now.human !== humanKey(principal.human) ? undefined : now;
  }

  /** The groups that an account of the store has at this moment; undefined for everybody else. */
  async groupsOf(principalId: string): Promise<readonly string[] | undefined> {
    const account = await findServiceAccount(this.#options.store, principalId);
    if (account?.source !== 'store') return undefined;
    const principal = await this.#principalOf(account);
    return typeof principal === 'string' ? [] : principal.groups;
  }

  /**
   * Of these accounts, those that may not act at this moment, each with why in words that follow its name. Asks the store
   * three times, however many they are.
   */
  async endedAmong(names: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const { store, managedAmong } = this.#options;
    const accounts = await serviceAccountsNamed(store, names);
    const ownerIds = accounts.flatMap(({ ownerId }) => ownerId ?? []);
    const owners = new Map((await findPrincipals(store, ownerIds)).map((one) => [one.id, one]));
    const managed = await managedAmong?.(ownerIds);
    const ended = new Map<string, string>();
    for (const account of accounts) {
      const { name, source, ownerId = '' } = account;
      const why =
        source === 'configuration'
          ? whyDisabled(account)
          : this.#whyNot(account, owners.get(ownerId), managed?.has(ownerId) === true);
      if (why !== undefined) ended.set(name, why);
    }
    return ended;
  }

  /** The account as a principal; or why it is none. */
  async #principalOf(account: ServiceAccountRecord): Promise<Principal | string> {
    const { store, managedGroups } = this.#options;
    const { name, owner, ownerId } = account;
    const person = ownerId === undefined ? undefined : await findPrincipal(store, ownerId);
    const managed = ownerId === undefined ? undefined : await managedGroups?.(ownerId);
    const why = this.#whyNot(account, person, managed !== undefined);
    if (why !== undefined || owner === undefined) return why ?? 'has no owner';
    const held = managed ?? person?.groups ?? [];
    const groups = account.groups.filter((group) => held.includes(group));
    return { id: name, human: owner, kind: 'service', displayName: name, email: undefined, groups };
  }

  /** Why an account of the store may not act at this moment. */
  #whyNot(account: ServiceAccountRecord, person: StoredPrincipal | undefined, isManaged: boolean): string | undefined {
    const { clock, ownerUnseenMs } = this.#options;
    const { owner, expiresAt } = account;
    const disabled = whyDisabled(account);
    if (disabled !== undefined) return disabled;
    if (owner === undefined || account.ownerId === undefined) return 'waits until its owner accepts it';
    const nowMs = clock.now();
    if (expiresAt !== undefined && expiresAt.getTime() <= nowMs) return `expired at ${expiresAt.toISOString()}`;
    if (person === undefined || person.kind !== 'person' || humanKey(person.human) !== owner) {
      return 'has an owner who is not known any more';
    }
    if (isManaged || nowMs - person.lastSeenAt.getTime() <= ownerUnseenMs) return undefined;
    return `rests because its owner ${owner} has not logged in since ${person.lastSeenAt.toISOString()}`;
  }
}

function whyDisabled({ disabledAt, disabledReason }: ServiceAccountRecord): string | undefined {
  return disabledAt === undefined ? undefined : `is disabled: ${disabledReason ?? ''}`.trim();
}

function unusable(name: string, why: string): CountersignError {
  return new CountersignError('authentication_failed', `the service account ${name} ${why}`.trim());
}
