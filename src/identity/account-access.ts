/**
 * Who comes in as a service account: with one of its keys, with a token of the identity provider, or with a credential
 * that was issued to it. Asks the store each time, so that what was taken away is gone at once.
 */
import { CountersignError } from '../errors.ts';
import { sha256Hex } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { humanKey } from '../policy/entities.ts';
import type { Store } from '../store/database.ts';
import { findPrincipal } from '../store/principals.ts';
import { findKey, findServiceAccount, touchKey, type ServiceAccountRecord } from '../store/service-accounts.ts';
import type { Principal } from './principal.ts';

export interface AccountAccessOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** An account rests when its owner was not seen for so long: their groups may have changed since. */
  readonly ownerUnseenMs: number;
  /** A person's groups where they are kept here (SCIM): always current, so the owner need not be seen. */
  readonly managedGroups?: ((principalId: string) => Promise<readonly string[] | undefined>) | undefined;
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
    if (account.disabledAt !== undefined) throw unusable(account.name, `is disabled: ${account.disabledReason ?? ''}`);
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

  /** The account as a principal; or why it is none. */
  async #principalOf(account: ServiceAccountRecord): Promise<Principal | string> {
    const { store, clock, ownerUnseenMs, managedGroups } = this.#options;
    const { name, owner, ownerId } = account;
    if (account.disabledAt !== undefined) return `is disabled: ${account.disabledReason ?? ''}`;
    if (owner === undefined || ownerId === undefined) return 'waits until its owner accepts it';
    const nowMs = clock.now();
    if (account.expiresAt !== undefined && account.expiresAt.getTime() <= nowMs) {
      return `expired at ${account.expiresAt.toISOString()}`;
    }
    const person = await findPrincipal(store, ownerId);
    if (person === undefined || person.kind !== 'person' || humanKey(person.human) !== owner) {
      return `has an owner who is not known any more`;
    }
    const managed = await managedGroups?.(ownerId);
    if (managed === undefined && nowMs - person.lastSeenAt.getTime() > ownerUnseenMs) {
      return `rests because its owner ${owner} has not logged in since ${person.lastSeenAt.toISOString()}`;
    }
    const held = managed ?? person.groups;
    const groups = account.groups.filter((group) => held.includes(group));
    return { id: name, human: owner, kind: 'service', displayName: name, email: undefined, groups };
  }
}

function unusable(name: string, why: string): CountersignError {
  return new CountersignError('authentication_failed', `the service account ${name} ${why}`.trim());
}
