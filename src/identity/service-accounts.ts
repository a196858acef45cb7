/**
 * Service accounts: names for programs, each with one human owner, whom it counts as in every duty rule.
 *
 *     offered --(the owner accepts)--> active --(disabled, or its owner left)--> disabled
 *       ^                                |                                          |
 *       +---- offered to a new owner ----+------------------------------------------+
 *
 * An account may do less than its owner, never more: of the groups that were given to it, it has those that its owner
 * has now. Only the owner gets its keys, so an admin who makes an account for somebody else gains nothing by it. A new
 * owner has to accept, and the keys of the old one end there.
 *
 * A key is 256 random bits and is shown once. SHA-256 of it is kept: hashes that are slow on purpose protect what
 * people think of and others can guess; nobody guesses 256 random bits, whatever the hash costs.
 *
 * Accounts of the configuration, whose tokens come from the identity provider, are known here too: who owned them, and
 * whether they are disabled. Not for: who comes in with a key (`account-access.ts`), what groups may do (`bindings.ts`),
 * who counts as whom (`humans.ts`).
 */
import type { Transaction } from 'kysely';
import { CountersignError } from '../errors.ts';
import { sha256Hex, type Json } from '../lib/canonical-json.ts';
import { newId, type Clock } from '../lib/clock.ts';
import { humanKey } from '../policy/entities.ts';
import type { Database, Store } from '../store/database.ts';
import { changeHumans, setOwner } from '../store/humans.ts';
import { findPrincipal } from '../store/principals.ts';
import {
  insertKey,
  insertServiceAccount,
  listKeys,
  listServiceAccounts,
  lockServiceAccount,
  revokeKeys,
  saveServiceAccount,
  type ServiceAccountKey,
  type ServiceAccountRecord,
} from '../store/service-accounts.ts';
import type { Humans } from './humans.ts';
import type { Principal } from './principal.ts';

export interface ServiceAccountEvent {
  readonly type: `service-account.${'created' | 'changed' | 'offered' | 'accepted' | 'disabled' | 'enabled' | 'key-created' | 'key-revoked'}`;
  readonly [member: string]: Json | undefined;
}

export interface ConfiguredAccount {
  readonly name: string;
  readonly owner: string;
}

export interface ServiceAccountsOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: (sizeBytes: number) => Buffer;
  readonly humans: Humans;
  /** Rejects when the log cannot be written; then nothing was changed. */
  readonly record: (event: ServiceAccountEvent) => Promise<void>;
  readonly isAdmin: (principal: Principal) => boolean;
  /** The longest life of a key, and the one of a key that names none. */
  readonly keyMaxTtlMs: number;
  /** Everything that was opened as this account ends: credentials and sessions, on every node. */
  readonly endAccess: (account: string, by: string) => Promise<void>;
  /** Sessions that were opened with keys that are revoked end. */
  readonly endRevoked: () => Promise<void>;
}

export interface NewKey {
  readonly id: string;
  /** Shown once; it is stored nowhere. */
  readonly key: string;
  readonly expiresAt: Date;
}

type StoreTransaction = Transaction<Database>;

const keyBytes = 32;
const namePattern = /^[a-z0-9][a-z0-9_-]{0,62}$/;

export class ServiceAccounts {
  readonly #options: ServiceAccountsOptions;

  constructor(options: ServiceAccountsOptions) {
    this.#options = options;
  }

  /**
   * Takes over the accounts of the configuration, at start. One that was disabled stays so until it has another owner.
   * @throws configuration_invalid when a name is one of the store's
   */
  async adopt(configured: readonly ConfiguredAccount[]): Promise<void> {
    const { store, record } = this.#options;
    const createdAt = this.#now();
    for (const { name, owner: human } of configured) {
      const owner = humanKey(human);
      await changeHumans(store, async (transaction) => {
        const known = await lockServiceAccount(transaction, name);
        if (known?.source === 'store') {
          throw new CountersignError('configuration_invalid', `identity.serviceAccounts: ${name} exists in the store`);
        }
        if (known?.owner === owner) return;
        const account = { ...blank(name, 'configuration', 'countersign', createdAt), owner };
        if (known === undefined) await insertServiceAccount(transaction, account);
        else await saveServiceAccount(transaction, account);
        await setOwner(transaction, name, owner, createdAt);
        await record({
          type: 'service-account.accepted',
          account: name,
          owner,
          former: known?.owner,
          by: 'countersign',
        });
      });
    }
  }

  /**
   * Makes an account. It is active at once for whoever makes it for themselves; anybody else has to accept it.
   * @throws forbidden, input_invalid (the name is taken or malformed, the end is past)
   */
  async create(
    by: Principal,
    ask: { name: string; owner: string; groups: readonly string[]; expiresAt?: Date | undefined },
  ): Promise<ServiceAccountRecord> {
    this.#needAdmin(by, 'make service accounts');
    const { store, record } = this.#options;
    const { name, groups, expiresAt } = ask;
    if (!namePattern.test(name)) {
      throw new CountersignError(
        'input_invalid',
        'a service account has a name of 1 to 63 lower-case letters, digits, - and _',
      );
    }
    const owner = ownerName(ask.owner);
    this.#checkEnd(expiresAt);
    if ((await findPrincipal(store, name)) !== undefined) throw taken(name);
    const isOwn = by.kind === 'person' && humanKey(by.human) === owner;
    const account: ServiceAccountRecord = {
      ...blank(name, 'store', by.id, this.#now()),
      groups: [...new Set(groups)].toSorted(),
      expiresAt,
      ...(isOwn ? { owner, ownerId: by.id } : { offeredTo: owner, offeredBy: by.id }),
    };
    await changeHumans(store, async (transaction) => {
      if (!(await insertServiceAccount(transaction, account))) throw taken(name);
      if (isOwn) await setOwner(transaction, name, owner, account.createdAt);
      await record({
        type: 'service-account.created',
        account: name,
        owner,
        accepted: isOwn,
        groups: [...account.groups],
        expiresAt: expiresAt?.toISOString(),
        by: by.id,
      });
    });
    return account;
  }

  /** Other groups, another end. @throws forbidden, not_found, input_invalid */
  async change(
    by: Principal,
    name: string,
    change: { groups?: readonly string[] | undefined; expiresAt?: Date | undefined },
  ): Promise<ServiceAccountRecord> {
    this.#needAdmin(by, 'change service accounts');
    this.#checkEnd(change.expiresAt);
    return this.#changing(name, by, async (transaction, account) => {
      const groups = change.groups === undefined ? account.groups : [...new Set(change.groups)].toSorted();
      const changed = { ...account, groups, expiresAt: change.expiresAt ?? account.expiresAt };
      await this.#save(transaction, changed, {
        type: 'service-account.changed',
        groups,
        expiresAt: changed.expiresAt?.toISOString(),
        by: by.id,
      });
      return changed;
    });
  }

  /**
   * Offers an account to a new owner (or, disabled, to its old one). Nothing changes until they accept.
   * @throws forbidden unless admin or owner, not_found, input_invalid
   */
  async offer(by: Principal, name: string, to: string): Promise<ServiceAccountRecord> {
    const offeredTo = ownerName(to);
    return this.#changing(name, by, async (transaction, account) => {
      this.#needOwnerOrAdmin(by, account, 'give it away', account.disabledAt === undefined);
      const changed = { ...account, offeredTo, offeredBy: by.id };
      await this.#save(transaction, changed, { type: 'service-account.offered', to: offeredTo, by: by.id });
      return changed;
    });
  }

  /**
   * Takes an account that was offered. What it did before stays its former owner's, and becomes the new owner's too.
   * @throws forbidden for everybody but the person to whom it was offered, not_found
   */
  async accept(by: Principal, name: string): Promise<ServiceAccountRecord> {
    const at = this.#now();
    const accepted = await this.#changing(name, by, async (transaction, account) => {
      const owner = humanKey(by.human);
      if (by.kind !== 'person' || owner === '' || account.offeredTo !== owner) {
        throw forbidden(by, `accept ${name}`, 'only the person to whom an account was offered accepts it');
      }
      const changed = { ...account, ...nothingOffered, owner, ownerId: by.id };
      await revokeKeys(transaction, name, undefined, at);
      await setOwner(transaction, name, owner, at);
      await this.#save(transaction, changed, {
        type: 'service-account.accepted',
        owner,
        former: account.owner,
        by: by.id,
      });
      return changed;
    });
    await this.#options.endAccess(name, by.id);
    await this.#options.humans.refresh();
    return accepted;
  }

  /** Ends everything that it could do. @throws forbidden unless admin or owner, not_found */
  async disable(by: Principal, name: string, reason: string): Promise<ServiceAccountRecord> {
    const disabled = await this.#changing(name, by, async (transaction, account) => {
      this.#needOwnerOrAdmin(by, account, 'disable it');
      return this.#disabled(transaction, account, reason, by.id);
    });
    await this.#options.endAccess(name, by.id);
    return disabled;
  }

  /** Only for accounts of the configuration; one of the store is offered anew. @throws forbidden, not_found, input_invalid */
  async enable(by: Principal, name: string): Promise<ServiceAccountRecord> {
    this.#needAdmin(by, 'enable service accounts');
    return this.#changing(name, by, async (transaction, account) => {
      if (account.source === 'store') {
        throw new CountersignError('input_invalid', `${name} comes back when its owner accepts it again`, {
          hint: `countersign service-accounts offer ${name} --to ${account.owner ?? 'HUMAN'}`,
        });
      }
      const changed = { ...account, disabledAt: undefined, disabledReason: undefined };
      await this.#save(transaction, changed, { type: 'service-account.enabled', by: by.id });
      return changed;
    });
  }

  /** Whoever leaves takes their accounts along. @returns the accounts that are disabled now */
  async disableOwnedBy(human: string, reason: string, by = 'countersign'): Promise<string[]> {
    const { humans, store, endAccess } = this.#options;
    await humans.refresh();
    const key = humans.keyOf(human);
    const names: string[] = [];
    for (const { name, owner } of await listServiceAccounts(store)) {
      if (owner === undefined || humans.keyOf(owner) !== key) continue;
      await changeHumans(store, async (transaction) => {
        const account = await lockServiceAccount(transaction, name);
        if (account === undefined || account.disabledAt !== undefined || account.owner !== owner) return;
        await this.#disabled(transaction, account, reason, by);
        names.push(name);
      });
    }
    for (const name of names) await endAccess(name, by);
    return names;
  }

  /**
   * Another key for an account; the others stay as they are, so that keys can be rotated.
   * @throws forbidden for everybody but the owner in person; not_found; input_invalid for a life that is too long
   */
  async createKey(by: Principal, name: string, ttlMs?: number): Promise<NewKey> {
    const { keyMaxTtlMs, random, record } = this.#options;
    const lifeMs = ttlMs ?? keyMaxTtlMs;
    if (!Number.isSafeInteger(lifeMs) || lifeMs <= 0 || lifeMs > keyMaxTtlMs) {
      throw new CountersignError(
        'input_invalid',
        `a key lives between 1 and ${keyMaxTtlMs} ms; ${lifeMs} was asked for`,
        {
          hint: 'identity.accounts.keyMaxTtlMs is the limit',
        },
      );
    }
    const createdAt = this.#now();
    const expiresAt = new Date(createdAt.getTime() + lifeMs);
    const key = `csk_${random(keyBytes).toString('base64url')}`;
    const id = newId('key');
    await this.#changing(name, by, async (transaction, account) => {
      this.#needOwner(by, account, 'make keys of it');
      await insertKey(transaction, {
        id,
        account: name,
        secretHash: sha256Hex(key),
        createdBy: by.id,
        createdAt,
        expiresAt,
      });
      await record({
        type: 'service-account.key-created',
        account: name,
        key: id,
        expiresAt: expiresAt.toISOString(),
        by: by.id,
      });
      return account;
    });
    return { id, key, expiresAt };
  }

  /** Ends one key, or all. @returns their ids @throws forbidden unless admin or owner, not_found */
  async revokeKey(by: Principal, name: string, id: string | undefined): Promise<string[]> {
    let revoked: readonly ServiceAccountKey[] = [];
    await this.#changing(name, by, async (transaction, account) => {
      this.#needOwnerOrAdmin(by, account, 'revoke its keys');
      revoked = await revokeKeys(transaction, name, id, this.#now());
      if (revoked.length === 0 && id !== undefined) {
        throw new CountersignError('not_found', `${name} has no key ${JSON.stringify(id)} that could be revoked`);
      }
      for (const one of revoked) {
        await this.#options.record({ type: 'service-account.key-revoked', account: name, key: one.id, by: by.id });
      }
      return account;
    });
    await this.#options.endRevoked();
    return revoked.map((one) => one.id);
  }

  /** Those that whoever asks owns or is offered; an admin's are all. */
  async list(by: Principal): Promise<(ServiceAccountRecord & { keys: ServiceAccountKey[] })[]> {
    const { store, isAdmin } = this.#options;
    const human = humanKey(by.human);
    const all = await listServiceAccounts(store);
    const keys = await listKeys(store);
    return all
      .filter((account) => isAdmin(by) || isOwner(by, account) || account.offeredTo === human)
      .map((one) => ({ ...one, keys: keys.filter(({ account }) => account === one.name) }));
  }

  /** Changes one account while nobody else does. */
  async #changing(
    name: string,
    by: Principal,
    work: (transaction: StoreTransaction, account: ServiceAccountRecord) => Promise<ServiceAccountRecord>,
  ): Promise<ServiceAccountRecord> {
    const { store, isAdmin } = this.#options;
    return changeHumans(store, async (transaction) => {
      const account = await lockServiceAccount(transaction, name);
      const isOffered = account !== undefined && account.offeredTo === humanKey(by.human);
      if (account !== undefined && (isOffered || isAdmin(by) || isOwner(by, account)))
        return work(transaction, account);
      throw new CountersignError('not_found', `you have no service account ${JSON.stringify(name)}`);
    });
  }

  async #save(
    transaction: StoreTransaction,
    account: ServiceAccountRecord,
    { type, ...members }: ServiceAccountEvent,
  ): Promise<void> {
    if (
      account.source === 'configuration' &&
      type !== 'service-account.disabled' &&
      type !== 'service-account.enabled'
    ) {
      throw new CountersignError('input_invalid', `${account.name} is an account of the configuration`, {
        hint: 'change identity.serviceAccounts',
      });
    }
    await saveServiceAccount(transaction, account);
    await this.#options.record({ type, account: account.name, ...members });
  }

  async #disabled(
    transaction: StoreTransaction,
    account: ServiceAccountRecord,
    reason: string,
    by: string,
  ): Promise<ServiceAccountRecord> {
    const text = reason.trim();
    if (text === '' || text.length > 1_000 || text.includes('\0')) {
      throw new CountersignError('input_invalid', 'say why, in 1 to 1000 characters');
    }
    const at = this.#now();
    const changed = { ...account, ...nothingOffered, disabledAt: at, disabledReason: text };
    await revokeKeys(transaction, account.name, undefined, at);
    await this.#save(transaction, changed, {
      type: 'service-account.disabled',
      reason: text,
      owner: account.owner,
      by,
    });
    return changed;
  }

  #needAdmin(by: Principal, what: string): void {
    if (!this.#options.isAdmin(by)) throw forbidden(by, what, 'this needs the duty admin');
  }

  #needOwner(by: Principal, account: ServiceAccountRecord, what: string): void {
    if (by.kind === 'person' && isOwner(by, account)) return;
    throw forbidden(by, what, 'this is for the owner in person; an admin has no part in it');
  }

  #needOwnerOrAdmin(by: Principal, account: ServiceAccountRecord, what: string, isForOwner = true): void {
    if (this.#options.isAdmin(by)) return;
    if (isForOwner) this.#needOwner(by, account, what);
    else this.#needAdmin(by, what);
  }

  #checkEnd(expiresAt: Date | undefined): void {
    if (expiresAt === undefined || expiresAt.getTime() > this.#options.clock.now()) return;
    throw new CountersignError('input_invalid', 'the end of a service account is in the future');
  }

  #now(): Date {
    return new Date(this.#options.clock.now());
  }
}

const nothingOffered = { offeredTo: undefined, offeredBy: undefined, disabledAt: undefined, disabledReason: undefined };

function blank(
  name: string,
  source: ServiceAccountRecord['source'],
  createdBy: string,
  createdAt: Date,
): ServiceAccountRecord {
  const nobody = { owner: undefined, ownerId: undefined, expiresAt: undefined };
  return { name, source, groups: [], createdBy, createdAt, ...nobody, ...nothingOffered };
}

/** Who has accepted it, and no account whose name only looks the same; accounts of the configuration are owned by a name. */
function isOwner(by: Principal, { owner, ownerId }: ServiceAccountRecord): boolean {
  if (owner === undefined || owner !== humanKey(by.human)) return false;
  return by.kind === 'service' || ownerId === undefined || ownerId === by.id;
}

function ownerName(text: string): string {
  const owner = humanKey(text);
  if (owner !== '' && owner.length <= 255) return owner;
  throw new CountersignError('input_invalid', 'an owner is the name of a human, of 1 to 255 characters');
}

function taken(name: string): CountersignError {
  return new CountersignError('input_invalid', `the name ${JSON.stringify(name)} is taken`);
}

function forbidden(by: Principal, what: string, detail: string): CountersignError {
  return new CountersignError('forbidden', `${by.id} may not ${what}`, { detail });
}
