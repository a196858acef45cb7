/**
 * Ends live sessions whose credential, key or account was taken away, whichever node did it. Each node asks the store
 * every second about what its own sessions were opened with; what this node does itself, it asks about at once.
 * Not for: refusing to open sessions (`credentials.ts`, `account-access.ts`).
 */
import { CountersignError } from '../errors.ts';
import { sha256Hex } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { revokedCredentials } from '../store/credentials.ts';
import type { Store } from '../store/database.ts';
import { disabledAmong, revokedAmong } from '../store/service-accounts.ts';

export interface RevocationsOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** Ends the live sessions of this node that were opened with this. */
  readonly end: (openedWith: string, error: CountersignError) => Promise<void>;
}

const pollMs = 1_000;
const dayMs = 86_400_000;
/** A session that was let in just before is found, too: what is over stays on the list for longer than a log-in takes. */
const keepMs = 5 * 60_000;

/** What a session that was opened with this key is found by. It is not the key. */
export function sessionMarkOf(key: string): string {
  return `key:${sha256Hex(key)}`;
}

export class Revocations {
  readonly #options: RevocationsOptions;
  /** What sessions here were opened with -> since when it is over. */
  readonly #credentials = new Map<string, number | undefined>();
  /** When the store forgets the credential; nobody can revoke it any more then. */
  readonly #forgotten = new Map<string, number>();
  readonly #keys = new Map<string, number | undefined>();
  readonly #accounts = new Map<string, number | undefined>();
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

  /** An account that comes with tokens of the identity provider. */
  watchAccount(name: string): void {
    if (!this.#accounts.has(name)) this.#accounts.set(name, undefined);
  }

  async check(): Promise<void> {
    const { store } = this.#options;
    const nowMs = this.#options.clock.now();
    for (const [user, forgottenAtMs] of this.#forgotten) {
      if (nowMs < forgottenAtMs) continue;
      this.#forgotten.delete(user);
      this.#credentials.delete(user);
    }
    await this.#over(this.#credentials, await revokedCredentials(store, [...this.#credentials.keys()]), 'credential');
    const hashes = [...this.#keys.keys()].map((mark) => mark.slice('key:'.length));
    await this.#over(
      this.#keys,
      (await revokedAmong(store, hashes)).map((hash) => `key:${hash}`),
      'key',
    );
    await this.#over(this.#accounts, await disabledAmong(store, [...this.#accounts.keys()]), 'service account');
  }

  async #over(watched: Map<string, number | undefined>, over: readonly string[], what: string): Promise<void> {
    const { clock, end } = this.#options;
    const nowMs = clock.now();
    const ended = new Set(over);
    for (const [mark, sinceMs] of watched) {
      if (!ended.has(mark)) watched.set(mark, undefined);
      else if (sinceMs !== undefined && nowMs - sinceMs > keepMs) watched.delete(mark);
      else {
        watched.set(mark, sinceMs ?? nowMs);
        await end(mark, revoked(what));
      }
    }
  }
}

function revoked(what: string): CountersignError {
  return new CountersignError('authentication_failed', `countersign: the ${what} of this session was revoked`);
}
