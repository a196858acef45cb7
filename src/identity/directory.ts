/**
 * Everybody whose token was ever accepted, as their newest token described them. Credentials take the groups of their
 * principal from here at every log-in, so that a change of groups reaches them with the next token that is seen.
 */
import type { Clock } from '../lib/clock.ts';
import { canonicalJson } from '../lib/canonical-json.ts';
import type { Store } from '../store/database.ts';
import { findPrincipal, upsertPrincipal } from '../store/principals.ts';
import type { Humans } from './humans.ts';
import type { Principal } from './principal.ts';

/** An unchanged principal is written again (its `last_seen_at`) no sooner than this. */
const rewriteAfterMs = 60_000;
const maxRemembered = 10_000;

export interface PrincipalDirectoryOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly humans: Humans;
}

export class PrincipalDirectory {
  readonly #store: Store;
  readonly #clock: Clock;
  /** What this node wrote last, so that a hundred API calls are not a hundred writes. */
  readonly #written = new Map<string, { readonly text: string; readonly atMs: number }>();
  readonly #humans: Humans;

  constructor(options: PrincipalDirectoryOptions) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#humans = options.humans;
  }

  /** Call it for every verified token, and wait for it before the principal is let in. */
  async seen(principal: Principal): Promise<void> {
    const { id, human, kind, displayName, email, groups } = principal;
    const known: Principal = { id, human, kind, displayName, email, groups };
    const text = canonicalJson({ ...known });
    const nowMs = this.#clock.now();
    const last = this.#written.get(id);
    if (last !== undefined && last.text === text && nowMs - last.atMs < rewriteAfterMs) return;
    await this.#humans.seen(known);
    await upsertPrincipal(this.#store, known, new Date(nowMs));
    if (this.#written.size >= maxRemembered) this.#written.clear();
    this.#written.set(id, { text, atMs: nowMs });
  }

  get(id: string): Promise<Principal | undefined> {
    return findPrincipal(this.#store, id);
  }
}
