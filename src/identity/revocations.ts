/**
 * Ends live sessions whose credential, key or account was taken away or has run out, whichever node took it away. Each
 * node asks the store every second about what its own sessions were opened with; what this node does itself, it asks
 * about at once. The life of a key and of a service account is a right of access, so its end ends sessions. The life of a
 * credential or token says how long one can log in with it: whether sessions end with it is a setting, and a run is never
 * ended by it.
 * Not for: refusing to open sessions (`credentials.ts`, `account-access.ts`).
 */
import { decodeJwt } from 'jose';
import { CountersignError } from '../errors.ts';
import { sha256Hex } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { endedCredentials, type StoredCredential } from '../store/credentials.ts';
import type { Store } from '../store/database.ts';
import { endedKeys, type ServiceAccountKey } from '../store/service-accounts.ts';

export interface RevocationsOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** Ends the live sessions of this node that were opened with this. */
  readonly end: (openedWith: string, error: CountersignError) => Promise<void>;
  /** Ends the live sessions of a service account on this node, whatever they were opened with. */
  readonly endAccount: (name: string, error: CountersignError) => Promise<void>;
  /** Of these service accounts, those that may not act now, each with why in words that follow its name. */
  readonly endedAccounts: (names: readonly string[]) => Promise<ReadonlyMap<string, string>>;
  /** Sessions end when the life of the credential or token is over that opened them. */
  readonly endsWithLogin: boolean;
}

const pollMs = 1_000;
const dayMs = 86_400_000;
/** A session that was let in just before is found, too: what is over stays on the list for longer than a log-in takes. */
const keepMs = 5 * 60_000;
const sessionMarkPrefix = 'secret:';

/** What a session that was opened with this key or token is found by. It is neither. */
export function sessionMarkOf(secret: string): string {
  return sessionMarkPrefix + sha256Hex(secret);
}

export class Revocations {
  readonly #options: RevocationsOptions;
  /** What sessions here were opened with -> since when it is over. */
  readonly #credentials = new Map<string, number | undefined>();
  /** When the store forgets the credential; nobody can revoke it any more then. */
  readonly #forgotten = new Map<string, number>();
  readonly #keys = new Map<string, number | undefined>();
  readonly #accounts = new Map<string, number | undefined>();
  /** Mark -> when the token expires. */
  readonly #tokens = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #isPolling = false;

  constructor(options: RevocationsOptions) {
    this.#options = options;
  }

  start(onError: (error: unknown) => unknown): void {
    this.#timer = setInterval(() => {
      // A store that is slow is not asked twice at a time.
      if (this.#isPolling) return;
      this.#isPolling = true;
      void this.check()
        .catch(onError)
        .finally(() => {
          this.#isPolling = false;
        });
    }, pollMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  watchCredential(user: string, expiresAt: Date): void {
    if (this.#credentials.has(user)) return;
    this.#credentials.set(user, undefined);
    this.#forgotten.set(user, expiresAt.getTime() + dayMs);
  }

  watchKey(key: string): void {
    const mark = sessionMarkOf(key);
    if (!this.#keys.has(mark)) this.#keys.set(mark, undefined);
  }

  /** A token of an identity provider, after it was verified. */
  watchToken(token: string): void {
    const { exp } = decodeJwt(token);
    if (exp !== undefined && this.#options.endsWithLogin) this.#tokens.set(sessionMarkOf(token), exp * 1_000);
  }

  /** A service account, with whatever it comes. */
  watchAccount(name: string): void {
    if (!this.#accounts.has(name)) this.#accounts.set(name, undefined);
  }

  async check(): Promise<void> {
    const { store, clock, end, endAccount, endedAccounts, endsWithLogin } = this.#options;
    const nowMs = clock.now();
    const now = new Date(nowMs);
    for (const [user, forgottenAtMs] of this.#forgotten) {
      if (nowMs < forgottenAtMs) continue;
      this.#forgotten.delete(user);
      this.#credentials.delete(user);
    }
    const credentials = await endedCredentials(store, [...this.#credentials.keys()], endsWithLogin ? now : undefined);
    await this.#over(this.#credentials, new Map(credentials.map((one) => [one.userName, credentialError(one)])), end);
    const hashes = [...this.#keys.keys()].map((mark) => mark.slice(sessionMarkPrefix.length));
    const keys = await endedKeys(store, hashes, now);
    await this.#over(this.#keys, new Map(keys.map((one) => [sessionMarkPrefix + one.secretHash, keyError(one)])), end);
    const accounts = [...(await endedAccounts([...this.#accounts.keys()]))];
    await this.#over(
      this.#accounts,
      new Map(accounts.map(([name, why]) => [name, accountError(name, why)])),
      endAccount,
    );
    await this.#endTokens(nowMs);
  }

  async #over(
    watched: Map<string, number | undefined>,
    over: ReadonlyMap<string, CountersignError>,
    end: RevocationsOptions['end'],
  ): Promise<void> {
    const nowMs = this.#options.clock.now();
    for (const [mark, sinceMs] of watched) {
      const error = over.get(mark);
      if (error === undefined) watched.set(mark, undefined);
      else if (sinceMs !== undefined && nowMs - sinceMs > keepMs) watched.delete(mark);
      else {
        watched.set(mark, sinceMs ?? nowMs);
        await end(mark, error);
      }
    }
  }

  async #endTokens(nowMs: number): Promise<void> {
    for (const [mark, expiresAtMs] of this.#tokens) {
      if (nowMs > expiresAtMs + keepMs) this.#tokens.delete(mark);
      else if (nowMs >= expiresAtMs) await this.#options.end(mark, expired('token', new Date(expiresAtMs)));
    }
  }
}

function credentialError({ revokedAt, expiresAt }: StoredCredential): CountersignError {
  return revokedAt === undefined ? expired('credential', expiresAt) : revoked('credential');
}

function keyError({ revokedAt, expiresAt, account, id }: ServiceAccountKey): CountersignError {
  if (revokedAt !== undefined) return revoked('key');
  return new CountersignError(
    'access_ended',
    `countersign: the key ${id} of ${account}, with which this session was opened, expired at ${expiresAt.toISOString()}`,
    { hint: `connect again with another key: countersign service-accounts keys create ${account}` },
  );
}

function accountError(name: string, why: string): CountersignError {
  return new CountersignError('access_ended', `countersign: the service account ${name} ${why}`, {
    hint: 'its owner and an administrator can change that; then connect again',
  });
}

function expired(what: 'credential' | 'token', at: Date): CountersignError {
  return new CountersignError(
    'access_ended',
    `countersign: the ${what} of this session expired at ${at.toISOString()}, and sessions end with it`,
    { hint: `connect again with a new ${what}; credentials.endSessions is the setting` },
  );
}

function revoked(what: string): CountersignError {
  return new CountersignError('authentication_failed', `countersign: the ${what} of this session was revoked`);
}
