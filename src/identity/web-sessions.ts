/**
 * Log-ins of the page. A person who has proved who they are at the identity provider gets a random cookie; the store
 * keeps its hash, so that whoever reads the store has no session. What the person may do is read anew at every call.
 *
 * Not for: how they proved it (`code-flow.ts`, SAML), cookies as HTTP writes them (`api/auth.ts`).
 */
import { createHash } from 'node:crypto';
import type { Json } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import type { Store, StoreOrTransaction } from '../store/database.ts';
import { findPrincipal } from '../store/principals.ts';
import {
  deleteExpiredWebSessions,
  deleteWebSessions,
  findWebSession,
  insertWebSession,
  touchWebSession,
  type StoredWebSession,
} from '../store/web-sessions.ts';
import type { Principal } from './principal.ts';
import { openText, sealText } from './sealed-text.ts';

/** What goes into the log. */
export interface WebSessionEvent {
  readonly type: 'web-session.opened' | 'web-session.ended';
  readonly [member: string]: Json | undefined;
}

export interface WebSessionsOptions {
  readonly store: Store;
  /** Rejects when the log cannot be written; then no session is opened. */
  readonly record: (event: WebSessionEvent) => Promise<void>;
  readonly clock: Clock;
  readonly random: (sizeBytes: number) => Buffer;
  /** 32 bytes; seals refresh tokens. */
  readonly key: Uint8Array;
  readonly ttlMs: number;
  readonly idleMs: number;
}

export interface WebSession {
  /** As the directory knows them now. */
  readonly principal: Principal;
  readonly provider: string;
  readonly expiresAt: Date;
}

export interface NewWebSession {
  readonly principal: Principal;
  /** Name of the identity provider. */
  readonly provider: string;
  readonly refreshToken?: string | undefined;
  /** Where the provider limits it; never longer than the setting. */
  readonly expiresAt?: Date | undefined;
}

const cookieBytes = 32;
const cookieForm = /^[\w-]{43}$/;
/** `seen_at` is written again no sooner than this. */
const touchAfterMs = 60_000;

export class WebSessions {
  readonly #options: WebSessionsOptions;

  constructor(options: WebSessionsOptions) {
    this.#options = options;
  }

  async open(ask: NewWebSession): Promise<{ readonly cookie: string; readonly expiresAt: Date }> {
    const { store, record, clock, random, key, ttlMs } = this.#options;
    const { principal, provider, refreshToken } = ask;
    const cookie = random(cookieBytes).toString('base64url');
    const cookieHash = hashOf(cookie);
    const now = new Date(clock.now());
    const latest = now.getTime() + ttlMs;
    const expiresAt = new Date(Math.min(ask.expiresAt?.getTime() ?? latest, latest));
    await store.transaction().execute(async (transaction) => {
      await insertWebSession(transaction, {
        cookieHash,
        principalId: principal.id,
        human: principal.human,
        provider,
        refreshToken: refreshToken === undefined ? undefined : sealText(key, cookieHash, refreshToken),
        createdAt: now,
        seenAt: now,
        expiresAt,
      });
      await record({ ...event('web-session.opened', principal, provider), expiresAt: expiresAt.toISOString() });
    });
    return { cookie, expiresAt };
  }

  /**
   * The session, if it may be used now: known, in time, and its principal still counts as the human who logged in.
   * To use it keeps it from being idle; to look whether it still is does not.
   */
  async find(cookie: string, purpose: 'use' | 'look' = 'use'): Promise<WebSession | undefined> {
    const stored = await this.#valid(cookie);
    if (stored === undefined) return undefined;
    const { store, clock } = this.#options;
    const principal = await findPrincipal(store, stored.principalId);
    if (principal === undefined || principal.human !== stored.human) return undefined;
    const nowMs = clock.now();
    if (purpose === 'use' && nowMs - stored.seenAt.getTime() >= touchAfterMs) {
      await touchWebSession(store, stored.cookieHash, { seenAt: new Date(nowMs) });
    }
    const { id, human, kind, displayName, email, groups } = principal;
    const known = { id, human, kind, displayName, email, groups };
    return { principal: known, provider: stored.provider, expiresAt: stored.expiresAt };
  }

  /** The provider's refresh token of a session; undefined where there is none. */
  async refreshTokenOf(cookie: string): Promise<string | undefined> {
    const stored = await this.#valid(cookie);
    if (stored?.refreshToken === undefined) return undefined;
    return openText(this.#options.key, stored.cookieHash, stored.refreshToken);
  }

  /** In place of the one before, when the provider gave a new one. */
  async keepRefreshToken(cookie: string, refreshToken: string): Promise<void> {
    const { store, clock, key } = this.#options;
    const cookieHash = hashOf(cookie);
    const sealed = sealText(key, cookieHash, refreshToken);
    await touchWebSession(store, cookieHash, { seenAt: new Date(clock.now()), refreshToken: sealed });
  }

  async end(cookie: string): Promise<void> {
    if (cookieForm.test(cookie)) await this.#end({ cookieHash: hashOf(cookie) }, 'logged out');
  }

  /** @param store a transaction of which it is a part @returns how many */
  endAllOf(principalId: string, reason = 'ended', store?: StoreOrTransaction): Promise<number> {
    return this.#end({ principalId }, reason, store);
  }

  async sweep(): Promise<void> {
    const nowMs = this.#options.clock.now();
    await deleteExpiredWebSessions(this.#options.store, new Date(nowMs), new Date(nowMs - this.#options.idleMs));
  }

  async #valid(cookie: string): Promise<StoredWebSession | undefined> {
    if (!cookieForm.test(cookie)) return undefined;
    const stored = await findWebSession(this.#options.store, hashOf(cookie));
    if (stored === undefined) return undefined;
    const nowMs = this.#options.clock.now();
    const isIdle = nowMs - stored.seenAt.getTime() >= this.#options.idleMs;
    return isIdle || nowMs >= stored.expiresAt.getTime() ? undefined : stored;
  }

  async #end(
    which: Parameters<typeof deleteWebSessions>[1],
    reason: string,
    store: StoreOrTransaction = this.#options.store,
  ): Promise<number> {
    // Taking something away does not wait for the log, and stays done when the log fails.
    const ended = await deleteWebSessions(store, which);
    for (const { principalId, human, provider } of ended) {
      await this.#options.record({ ...event('web-session.ended', { id: principalId, human }, provider), reason });
    }
    return ended.length;
  }
}

function event(
  type: WebSessionEvent['type'],
  { id, human }: Pick<Principal, 'id' | 'human'>,
  provider: string,
): WebSessionEvent {
  return { type, principal: id, human, provider };
}

function hashOf(cookie: string): Buffer {
  return createHash('sha256').update(cookie).digest();
}
