/** Everything that says who somebody is: providers, accounts, log-ins, credentials, and what ends them. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import type { ScimService } from '../api/scim.ts';
import type { KeyFolder } from '../config/keys.ts';
import { readSecret } from '../config/load.ts';
import type { Configuration } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import type { SessionMatch } from '../gateway/postgres.ts';
import { AccountAccess, isKey } from '../identity/account-access.ts';
import { CodeFlow } from '../identity/code-flow.ts';
import { CredentialService } from '../identity/credentials.ts';
import { PrincipalDirectory } from '../identity/directory.ts';
import { FreshGroups } from '../identity/fresh-groups.ts';
import { Humans } from '../identity/humans.ts';
import { Leavers } from '../identity/leavers.ts';
import { PageLogin } from '../identity/page-login.ts';
import type { Principal } from '../identity/principal.ts';
import { IdentityProviders } from '../identity/providers.ts';
import { Revocations } from '../identity/revocations.ts';
import { SamlLogin } from '../identity/saml.ts';
import { groupsChanged, ScimDirectory, type ScimDirectoryOptions } from '../identity/scim.ts';
import { ServiceAccounts } from '../identity/service-accounts.ts';
import { SessionRefresh } from '../identity/session-refresh.ts';
import { WebSessions } from '../identity/web-sessions.ts';
import { sha256Hex, type Json } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { humanKey } from '../policy/entities.ts';
import type { Store } from '../store/database.ts';
import type { SeenPrincipal } from '../store/principals.ts';

export interface IdentityParts {
  readonly configuration: Configuration;
  readonly store: Store;
  readonly record: (entry: { readonly type: string; readonly [member: string]: Json | undefined }) => Promise<void>;
  readonly clock: Clock;
  readonly keys: KeyFolder;
  readonly isAdmin: (principal: Principal) => boolean;
  /** The address that people use, without a slash at its end. */
  readonly publicUrl: () => string;
  readonly endSessions: (match: SessionMatch, error: CountersignError) => Promise<void>;
  readonly withdrawRequest: (requestId: string, reason: string) => Promise<unknown>;
  readonly voidGrant: (grantId: string, reason: string) => Promise<unknown>;
  readonly onError: (cause: unknown) => CountersignError;
}

export async function wireIdentity(parts: IdentityParts) {
  const { configuration, store, record, clock, keys, isAdmin, publicUrl, onError } = parts;
  const { endSessions, withdrawRequest, voidGrant } = parts;
  const { identity } = configuration;
  const humans = new Humans({ store, clock, record });
  await humans.adopt(configuration.identity.links);
  humans.start(onError);
  const directory = new PrincipalDirectory({ store, clock, humans, onChanged: (id) => credentials.forget(id) });
  /** Groups that are kept here count instead of those that a provider tells. */
  const managedGroups = async (principalId: string) =>
    (await scim?.directory.groupsOf(principalId)) ?? (await access.groupsOf(principalId));
  const providers = new IdentityProviders({ identity, clock, managedGroups });
  const { keyMaxTtlMs, ownerUnseenMs } = identity.accounts;
  const access = new AccountAccess({
    store,
    clock,
    ownerUnseenMs,
    managedGroups: async (principalId) => scim?.directory.groupsOf(principalId),
    managedAmong: async (principalIds) => scim?.directory.managedAmong(principalIds) ?? new Set(),
  });
  const current = (principal: Principal) => access.current(principal);
  const leavers: Leavers = new Leavers({
    store,
    record,
    humanKey: (human) => humans.keyOf(human),
    steps: {
      endWebSessions: (id, reason, within) => webSessions.endAllOf(id, reason, within),
      revokeCredentials: (id, within) => credentials.revokeAllOf(id, 'countersign', within),
      endSessions: (principalId, error) => endSessions({ principalId }, error),
      withdrawRequest,
      voidGrant,
      disableServiceAccounts: async (human, reason) => (await accounts.disableOwnedBy(human, reason)).length,
    },
    onError,
  });
  const scim = scimService(configuration, {
    store,
    record,
    clock,
    leavers,
    endSessions: (principalId, error) => endSessions({ principalId }, error),
    onError,
  });
  const admit = async (principal: Principal): Promise<Principal> => {
    await leavers.check(principal);
    const now = await current(principal);
    if (now === undefined) {
      throw new CountersignError('principal_disabled', `countersign: ${principal.id} may not come in any more`);
    }
    return scim === undefined ? now : scim.directory.admit(now);
  };
  const enter = async (principal: SeenPrincipal): Promise<Principal> => {
    const admitted = await admit(principal);
    // Groups that are kept here (SCIM, accounts) are those of now, whatever the age of the proof.
    const groupsAt = admitted === principal ? principal.groupsAt : new Date(clock.now());
    return directory.seen({ ...principal, groups: admitted.groups, groupsAt });
  };
  /** At the opening of a session, which was decided a moment ago. */
  const stillThere = async (principal: Principal): Promise<void> => {
    const { groups } = await admit(principal);
    if (!isDeepStrictEqual(new Set(groups), new Set(principal.groups))) throw groupsChanged(principal.id);
  };
  await leavers.refresh();
  const enterAsProved = async (principal: SeenPrincipal): Promise<Principal> => {
    await access.admit(principal);
    return enter(principal);
  };
  const verifyToken = async (token: string): Promise<Principal> =>
    isKey(token) ? enter(await access.verify(token)) : enterAsProved(await providers.verify(token));
  const webSessions = new WebSessions({
    store,
    record,
    clock,
    random: randomBytes,
    key: keys.secret('web-sessions.key'),
    ttlMs: configuration.api.webSessionTtlMs,
    idleMs: configuration.api.webSessionIdleMs,
  });
  const flows = new Map(
    providers.oidc.map((one) => {
      const { issuer, audience, web, title } = one;
      return [one.name, { flow: new CodeFlow({ issuer, audience, ...web, clock }), title }] as const;
    }),
  );
  const sessionRefresh = new SessionRefresh({ webSessions, providers, flowOf: (name) => flows.get(name)?.flow });
  const freshGroups = new FreshGroups({
    providers,
    directory,
    managedGroups,
    refresh: (cookie) => sessionRefresh.refresh(cookie),
    admit,
    groupsMaxAgeMs: identity.groupsMaxAgeMs,
    clock,
  });
  const credentials = new CredentialService({ store, record, clock, random: randomBytes, current });
  const revocations = new Revocations({
    store,
    clock,
    end: (credentialUser, error) => {
      // Before its sessions end, so that nobody comes back with what is remembered here.
      credentials.forgetCredential(credentialUser);
      return endSessions({ credentialUser }, error);
    },
    endAccount: (principalId, error) => endSessions({ principalId }, error),
    endedAccounts: (names) => access.endedAmong(names),
    endsWithLogin: configuration.credentials.endSessions,
  });
  const accounts = new ServiceAccounts({
    store,
    clock,
    random: randomBytes,
    humans,
    record,
    isAdmin,
    keyMaxTtlMs,
    endAccess: async (account, by) => {
      await credentials.revokeAllOf(account, by);
      await revocations.check();
    },
    endRevoked: () => revocations.check(),
  });
  await accounts.adopt(identity.serviceAccounts);
  const pageLogin = new PageLogin({
    store,
    clock,
    webSessions,
    flows,
    verifyLogin: async (provider, tokens, nonce) =>
      enterAsProved(await providers.verifyLogin(provider, { ...tokens, nonce })),
    publicUrl,
  });

  const samlLogin = new SamlLogin({
    providers: configuration.identity.providers.filter((one) => one.kind === 'saml'),
    readFile: (file) => readFileSync(file, 'utf8'),
    store,
    record,
    clock,
    random: randomBytes,
    publicUrl,
  });

  return {
    providers,
    humans,
    accounts,
    leavers,
    scim,
    admit,
    enter,
    stillThere,
    verifyToken,
    webSessions,
    freshGroups,
    credentials,
    revocations,
    pageLogin,
    samlLogin,
    close: () => humans.close(),
  };
}

/** The SCIM server, where there is one. */
function scimService(
  { identity }: Configuration,
  parts: Omit<ScimDirectoryOptions, 'configuration' | 'providerNames' | 'fold'>,
): ScimService | undefined {
  const { scim: configuration, providers } = identity;
  if (configuration === undefined) return undefined;
  const providerNames = providers.map(({ name }) => name);
  return {
    directory: new ScimDirectory({ ...parts, configuration, providerNames, fold: humanKey }),
    tokenHash: configuration.tokenHash ?? scimTokenHash(configuration.token && readSecret(configuration.token)),
    requestsPerMinute: configuration.requestsPerMinute,
  };
}

function scimTokenHash(token: string | undefined): string {
  if (token !== undefined && token.length >= 32) return sha256Hex(token);
  throw new CountersignError('configuration_invalid', 'identity.scim.token must have at least 32 characters');
}
