/**
 * Everybody who was ever let in, as the newest proof described them. Credentials take the groups of their principal from
 * here at every log-in, so that a change of groups reaches them with the next proof that is seen. What was learnt later
 * counts: an older token brings no group back that is known to be lost.
 */
import { CountersignError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { canonicalJson } from '../lib/canonical-json.ts';
import type { Store } from '../store/database.ts';
import { findPrincipal, upsertPrincipal, type SeenPrincipal, type StoredPrincipal } from '../store/principals.ts';
import type { Humans } from './humans.ts';
import type { Principal } from './principal.ts';

/** An unchanged principal is written again (its `last_seen_at`) no sooner than this. */
const rewriteAfterMs = 60_000;
const refreshAfterMs = 5_000;
const maxRemembered = 10_000;

export interface PrincipalDirectoryOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly humans: Humans;
  /** Called when a principal is not what this node wrote last. */
  readonly onChanged?: ((principalId: string) => void) | undefined;
}

export class PrincipalDirectory {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #onChanged: ((principalId: string) => void) | undefined;
  /** What this node wrote last, so that a hundred API calls are not a hundred writes. */
  readonly #written = new Map<string, { readonly text: string; readonly atMs: number; readonly groupsAtMs: number }>();
  readonly #humans: Humans;

  constructor(options: PrincipalDirectoryOptions) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#humans = options.humans;
    this.#onChanged = options.onChanged;
  }

  /**
   * Call it for every verified proof, and wait for it before the principal is let in.
   * @returns the principal as it counts now: where newer groups are known, only those that the proof and they both have
   * @throws CountersignError `token_invalid` when the id is known as another provider's
   */
  async seen(principal: SeenPrincipal): Promise<Principal> {
    const { id, human, kind, displayName, email, groups } = principal;
    const known: Principal = { id, human, kind, displayName, email, groups };
    const nowMs = this.#clock.now();
    const { provider } = principal;
    const groupsAt = principal.groupsAt ?? new Date(nowMs);
    const text = canonicalJson({ ...known, provider });
    const last = this.#written.get(id);
    const isNews = last === undefined || last.text !== text || nowMs - last.atMs >= rewriteAfterMs;
    // Newer knowledge of the same groups is written too, but not once for each of a hundred API calls with fresh tokens.
    if (!isNews && groupsAt.getTime() - last.groupsAtMs < refreshAfterMs) return known;
    await this.#humans.seen(known);
    const stored = await upsertPrincipal(this.#store, { ...known, provider, groupsAt }, new Date(nowMs));
    if (stored === undefined) {
      throw new CountersignError('token_invalid', `the id ${JSON.stringify(id)} is known as another provider's`, {
        hint: 'an administrator looks into it: one id must not be two principals',
      });
    }
    if (this.#written.size >= maxRemembered) this.#written.clear();
    this.#written.delete(id);
    if (last?.text !== text) this.#onChanged?.(id);
    if (stored.groupsAt.getTime() > groupsAt.getTime()) {
      return { ...known, groups: groups.filter((group) => stored.groups.includes(group)) };
    }
    this.#written.set(id, { text, atMs: nowMs, groupsAtMs: groupsAt.getTime() });
    return known;
  }

  get(id: string): Promise<StoredPrincipal | undefined> {
    return findPrincipal(this.#store, id);
  }
}
