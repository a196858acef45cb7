/**
 * Short-lived database credentials. A person or service account that has proved who it is (a token of the identity
 * provider) gets a user name and a random password that any PostgreSQL driver can use; the gateway checks it with
 * SCRAM-SHA-256 (RFC 5802, RFC 7677). Nobody ever holds a password of a target database.
 *
 * Only verifiers are stored: whoever reads the control store cannot log in with what they find.
 * Not for: what the holder may do (`bindings.ts`, `policy/`), and ending sessions that are already open (`gateway/`).
 */
import { CountersignError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { Json } from '../lib/canonical-json.ts';
import {
  deleteExpiredCredentials,
  findCredential,
  insertCredential,
  listCredentials,
  revokeCredentials,
  type CredentialSelection,
  type StoredCredential,
} from '../store/credentials.ts';
import type { Store, StoreOrTransaction } from '../store/database.ts';
import { findPrincipal } from '../store/principals.ts';
import { makeVerifier, type ScramVerifier } from '../wire/postgres/scram.ts';
import type { Principal } from './principal.ts';

/** What goes into the log. Whoever records adds time and node, and resolves only when the entry is durable. */
export interface CredentialEvent {
  readonly type: 'credential.issued' | 'credential.revoked';
  readonly [member: string]: Json | undefined;
}

export interface CredentialServiceOptions {
  readonly store: Store;
  /** Rejects when the log cannot be written; then no credential is issued. */
  readonly record: (event: CredentialEvent) => Promise<void>;
  readonly clock: Clock;
  /** That many bytes from a cryptographic source. */
  readonly random: (sizeBytes: number) => Buffer;
  /** The longest life that may be asked for. Default: a day. */
  readonly maxTtlMs?: number | undefined;
  /** The principal as it may act at this moment; undefined if it may not. */
  readonly current: (principal: Principal) => Promise<Principal | undefined>;
}

export interface CredentialAsk {
  readonly principal: Principal;
  /** The only connection that it opens; left out = every one that the duties allow. */
  readonly connection?: string | undefined;
  /** For a credential that opens sessions of this run and nothing else. */
  readonly runId?: string | undefined;
  readonly ttlMs: number;
}

export interface IssuedCredential {
  readonly user: string;
  /** Shown once; it is stored nowhere. */
  readonly password: string;
  readonly expiresAt: Date;
}

/** What may be told of a credential. */
export type CredentialDescription = Omit<StoredCredential, 'verifier' | 'revokedAt'>;

/** A credential that is valid now, with its principal as it is known now. */
export interface CredentialRecord {
  readonly userName: string;
  readonly verifier: ScramVerifier;
  readonly principal: Principal;
  readonly connection: string | undefined;
  readonly runId: string | undefined;
  readonly expiresAt: Date;
}

/**
 * PostgreSQL's own count, the least that drivers accept. More iterations slow down guessing a password that a human
 * thought of; ours has 256 random bits, which nobody guesses, and every client connection pays for the iterations.
 */
const scramIterations = 4_096;
const passwordBytes = 32;
const saltBytes = 16;
const suffixLength = 6;
const suffixAlphabet = '0123456789abcdefghjkmnpqrstvwxyz';
const maxSuffixTries = 8;
const dayMs = 86_400_000;
/** A revocation on another node acts after this at the latest. */
const cacheMs = 2_000;
const maxCached = 10_000;

interface Cached {
  readonly record: CredentialRecord;
  readonly readAtMs: number;
}

export class CredentialService {
  readonly #options: CredentialServiceOptions;
  readonly #maxTtlMs: number;
  readonly #cache = new Map<string, Cached>();
  /** Counts revocations and changes here, so that an answer read before one is not cached after it. */
  #revocations = 0;

  constructor(options: CredentialServiceOptions) {
    this.#options = options;
    this.#maxTtlMs = options.maxTtlMs ?? dayMs;
  }

  /** @throws CountersignError `input_invalid` for a life that is too long or not positive; what `record` throws */
  async issue(ask: CredentialAsk): Promise<IssuedCredential> {
    const { store, record, clock, random } = this.#options;
    const { principal, connection, runId, ttlMs } = ask;
    if (!Number.isSafeInteger(ttlMs) || ttlMs <= 0 || ttlMs > this.#maxTtlMs) {
      throw new CountersignError(
        'input_invalid',
        `a credential lives between 1 and ${this.#maxTtlMs} ms; ${ttlMs} was asked for`,
      );
    }
    const createdAt = new Date(clock.now());
    const expiresAt = new Date(createdAt.getTime() + ttlMs);
    const password = random(passwordBytes).toString('base64url');
    const verifier = makeVerifier(password, random(saltBytes), scramIterations);
    const stem = runId === undefined ? principal.id : `run-${runId.replace(/^run_/, '')}`;
    const user = await store.transaction().execute(async (transaction) => {
      const { id: principalId, human } = principal;
      const stored = { principalId, human, connection, runId, verifier, createdAt, expiresAt };
      for (let tries = 0; tries < maxSuffixTries; tries++) {
        const userName = `${stem}.${this.#suffix()}`;
        if (!(await insertCredential(transaction, { userName, ...stored }))) continue;
        const times = { expiresAt: expiresAt.toISOString() };
        await record({
          type: 'credential.issued',
          user: userName,
          principal: principalId,
          human,
          connection,
          run: runId,
          ...times,
        });
        return userName;
      }
      throw new Error(`no free user name for ${stem} in ${maxSuffixTries} tries`);
    });
    return { user, password, expiresAt };
  }

  /**
   * The credential, if it may be used now: known, not revoked, not expired, and its principal still counts as the
   * human that it was issued to.
   */
  async lookup(user: string): Promise<CredentialRecord | undefined> {
    // A user name that PostgreSQL cannot store cannot be there; asking for it would be an error of the store.
    if (user.includes('\0') || !user.isWellFormed()) return undefined;
    const nowMs = this.#options.clock.now();
    const cached = this.#cache.get(user);
    const fresh = cached !== undefined && Math.abs(nowMs - cached.readAtMs) < cacheMs;
    const record = fresh ? cached.record : await this.#read(user, nowMs);
    return record !== undefined && record.expiresAt.getTime() > this.#options.clock.now() ? record : undefined;
  }

  /** What is stored, valid or not: for asking whose it is. */
  find(user: string): Promise<StoredCredential | undefined> {
    return findCredential(this.#options.store, user);
  }

  /** Those that can still be used, of one principal or of all; newest first, at most 1,000. */
  async list(principalId: string | undefined): Promise<CredentialDescription[]> {
    const { store, clock } = this.#options;
    const stored = await listCredentials(store, principalId, new Date(clock.now()));
    return stored.map(({ verifier: _verifier, revokedAt: _revokedAt, ...described }) => described);
  }

  /** `by`: the id of whoever revokes. @returns false when it was not there or already revoked */
  async revoke(user: string, by: string): Promise<boolean> {
    return (await this.#revoke({ userName: user }, by)) > 0;
  }

  /** @param store a transaction of which it is a part @returns how many */
  revokeAllOf(principalId: string, by: string, store?: StoreOrTransaction): Promise<number> {
    return this.#revoke({ principalId }, by, store);
  }

  /** @returns how many */
  revokeAllOfRun(runId: string, by: string): Promise<number> {
    return this.#revoke({ runId }, by);
  }

  /** The principal is not what it was: its credentials are read anew at their next use. */
  forget(principalId: string): void {
    this.#revocations++;
    for (const [userName, { record }] of this.#cache) {
      if (record.principal.id === principalId) this.#cache.delete(userName);
    }
  }

  /** It was revoked, perhaps by another node: it is read anew at its next use. */
  forgetCredential(userName: string): void {
    this.#revocations++;
    this.#cache.delete(userName);
  }

  /** Forgets credentials that expired more than a day ago; the log keeps that they existed. @returns how many */
  sweep(): Promise<number> {
    return deleteExpiredCredentials(this.#options.store, new Date(this.#options.clock.now() - dayMs));
  }

  async #read(user: string, nowMs: number): Promise<CredentialRecord | undefined> {
    const { store } = this.#options;
    this.#cache.delete(user);
    const revocations = this.#revocations;
    const stored = await findCredential(store, user);
    if (stored === undefined || stored.revokedAt !== undefined) return undefined;
    const principal = await findPrincipal(store, stored.principalId);
    // A service account that got another owner keeps no credential of the old one.
    if (principal === undefined || principal.human !== stored.human) return undefined;
    const { id, human, kind, displayName, email, groups } = principal;
    const { userName, verifier, connection, runId, expiresAt } = stored;
    const known = await this.#options.current({ id, human, kind, displayName, email, groups });
    if (known === undefined) return undefined;
    const record = { userName, verifier, principal: known, connection, runId, expiresAt };
    // Unknown names are not cached: a new credential of another node works at once.
    if (revocations === this.#revocations) {
      if (this.#cache.size >= maxCached) this.#cache.clear();
      this.#cache.set(user, { record, readAtMs: nowMs });
    }
    return record;
  }

  async #revoke(selection: CredentialSelection, by: string, store: StoreOrTransaction = this.#options.store) {
    const { record, clock } = this.#options;
    // Taking something away does not wait for the log, and stays done when the log fails; the caller learns of that.
    const revoked = await revokeCredentials(store, selection, new Date(clock.now()));
    this.#revocations++;
    for (const { userName } of revoked) this.#cache.delete(userName);
    for (const { userName, principalId, human, connection, runId } of revoked) {
      await record({
        type: 'credential.revoked',
        user: userName,
        principal: principalId,
        human,
        connection,
        run: runId,
        by,
      });
    }
    return revoked.length;
  }

  #suffix(): string {
    let text = '';
    for (const byte of this.#options.random(suffixLength)) text += suffixAlphabet[byte & 31];
    return text;
  }
}
