/**
 * Groups as they are now. What a log-in said an hour ago does not approve or execute anything: when somebody does, their
 * groups are read anew where that is possible, and must have been read not long ago where it is not.
 *
 *  - Groups that are kept here (SCIM) are always current, and win.
 *  - A person's access token: the provider's userinfo or introspection is asked with it now. Where the provider is set to
 *    `freshGroups: token`, the newest that is known must be younger than `groupsMaxAgeMs`.
 *  - A log-in to the page: its refresh token is used now; without one, the log-in must be younger.
 *  - A service account: the newest token that was seen of it must be younger.
 *  - A database session has nothing to show: what the directory knows must be younger when a statement is held, and is
 *    read again when it is released.
 *
 * What is learnt goes into the directory, so that it counts for sessions and older tokens too.
 */
import { CountersignError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { SeenPrincipal } from '../store/principals.ts';
import type { PrincipalDirectory } from './directory.ts';
import type { Principal } from './principal.ts';
import type { IdentityProviders } from './providers.ts';

/** What the caller has shown. */
export type Proof =
  | { readonly kind: 'bearer'; readonly token: string }
  | { readonly kind: 'web-session'; readonly cookie: string };

export interface FreshGroupsOptions {
  readonly providers: Pick<IdentityProviders, 'providerOf' | 'get'>;
  readonly directory: Pick<PrincipalDirectory, 'seen' | 'get'>;
  /** Groups that are kept here (SCIM) and count instead of all others. */
  readonly managedGroups?: ((principalId: string) => Promise<readonly string[] | undefined>) | undefined;
  /**
   * Uses the refresh token of a log-in to the page; undefined where it has none.
   * @throws CountersignError when the provider does not take it any more
   */
  readonly refresh: (cookie: string) => Promise<SeenPrincipal | undefined>;
  /** Whether they may still come in. @throws CountersignError `principal_disabled` and the like */
  readonly admit?: ((principal: Principal) => Promise<Principal>) | undefined;
  readonly groupsMaxAgeMs: number;
  readonly clock: Clock;
}

export class FreshGroups {
  readonly #options: FreshGroupsOptions;

  constructor(options: FreshGroupsOptions) {
    this.#options = options;
  }

  /**
   * The principal with the groups of now.
   * @param principal as the proof was verified just before
   * @throws CountersignError `groups_stale` when nobody can be asked and what is known is too old; `token_invalid` when the
   *   provider does not take the proof any more; `groups_claim_missing`; `identity_provider_unreachable`
   */
  async freshPrincipal(principal: Principal, proof: Proof): Promise<Principal> {
    const managed = await this.#managed(principal);
    if (managed !== undefined) return managed;
    const asked =
      proof.kind === 'bearer' ? await this.#ask(principal, proof.token) : await this.#refresh(principal, proof);
    if (asked !== undefined) return this.#options.directory.seen(asked);
    return this.#known(principal, 'log in again, or renew the token: countersign login');
  }

  /**
   * For a database session that asks for something to be approved.
   * @throws CountersignError `groups_stale`
   */
  async recentPrincipal(principal: Principal): Promise<Principal> {
    const renew = 'let the gateway see a fresh token of yours (countersign whoami), then send the statement again';
    return (await this.#managed(principal)) ?? this.#known(principal, renew);
  }

  /** For a database session that executes: what is known now, however old. Somebody who is not known has no groups. */
  async knownPrincipal(principal: Principal): Promise<Principal> {
    const managed = await this.#managed(principal);
    if (managed !== undefined) return managed;
    const known = await this.#options.directory.get(principal.id);
    const isSame = known !== undefined && known.human === principal.human && known.kind === principal.kind;
    return { ...principal, groups: isSame ? known.groups : [] };
  }

  async #managed(principal: Principal): Promise<Principal | undefined> {
    await this.#options.admit?.(principal);
    const groups = await this.#options.managedGroups?.(principal.id);
    return groups === undefined ? undefined : { ...principal, groups: [...groups] };
  }

  /** The provider's word on a person's access token; undefined where none is to be asked for. */
  async #ask(principal: Principal, token: string): Promise<SeenPrincipal | undefined> {
    const { providers, clock } = this.#options;
    // A service account has no userinfo. Neither has what is no token of a provider: keys, jobs of CI systems.
    if (principal.kind === 'service') return undefined;
    const provider = providers.providerOf(token);
    if (provider === undefined || provider.freshGroups === 'token') return undefined;
    const groups = await providers.get(provider.name)?.groupsNow(token, provider.freshGroups);
    if (groups === undefined) return undefined;
    return { ...principal, groups, provider: provider.name, groupsAt: new Date(clock.now()) };
  }

  async #refresh(principal: Principal, { cookie }: { cookie: string }): Promise<SeenPrincipal | undefined> {
    const refreshed = await this.#options.refresh(cookie);
    if (refreshed === undefined || refreshed.id === principal.id) return refreshed;
    throw new CountersignError('token_invalid', 'the identity provider answered for somebody else');
  }

  /** What the directory knows, if it is young enough, and no more than the principal's own proof has. */
  async #known(principal: Principal, hint: string): Promise<Principal> {
    const { directory, clock, groupsMaxAgeMs } = this.#options;
    const known = await directory.get(principal.id);
    const ageMs = known === undefined ? Number.POSITIVE_INFINITY : clock.now() - known.groupsAt.getTime();
    if (known === undefined || ageMs > groupsMaxAgeMs) {
      const when = known === undefined ? 'are not known' : `were last read at ${known.groupsAt.toISOString()}`;
      throw new CountersignError('groups_stale', `your groups ${when}, which is too long ago to decide or execute by`, {
        detail: `identity.groupsMaxAgeMs is ${groupsMaxAgeMs}`,
        hint,
      });
    }
    if (known.human !== principal.human) {
      throw new CountersignError('token_invalid', `${principal.id} counts as somebody else by now`, { hint });
    }
    return { ...principal, groups: principal.groups.filter((group) => known.groups.includes(group)) };
  }
}
