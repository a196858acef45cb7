/**
 * All who can say who somebody is by a signed token: the OpenID providers of the configuration, and the CI systems whose
 * jobs are service accounts. A token is verified by the one whose issuer it names, and by no other. No two of them can
 * give one principal id: the subjects of the provider `default` are ids as they are, those of every other provider have
 * its name in front, and what could be mistaken for another's is refused.
 */
import { decodeJwt } from 'jose';
import { readSecret } from '../config/load.ts';
import type { IdentityConfiguration, OidcProviderConfiguration } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { humanKey } from '../policy/entities.ts';
import { defaultProvider, issuerOf, serviceProvider, TokenVerifier, type VerifiedPrincipal } from './oidc.ts';
import { noPreset, presets } from './presets.ts';
import { invalidToken, quoted } from './token-errors.ts';
import { Workloads } from './workloads.ts';

/** One OpenID provider, with what its preset says where the configuration says nothing. */
export interface OidcProvider {
  readonly name: string;
  readonly title: string;
  readonly issuer: string;
  readonly audience: string;
  /** The public client of the command line, and what it asks for. */
  readonly clientId: string;
  readonly cliScopes: readonly string[];
  readonly web: {
    readonly clientId: string;
    readonly clientSecret: string | undefined;
    readonly scopes: readonly string[];
    readonly parameters: Readonly<Record<string, string>>;
  };
  readonly groupsClaim: string;
  readonly algorithms: readonly string[];
  readonly clockToleranceMs: number;
  readonly jwksCacheMs: number;
  readonly jwksCooldownMs: number;
  readonly freshGroups: 'userinfo' | 'introspection' | 'token';
  readonly introspection: { readonly clientId: string; readonly clientSecret: string } | undefined;
}

export interface CliLogin {
  readonly name: string;
  readonly issuer: string;
  readonly clientId: string;
  readonly audience: string;
  readonly scope: string;
}

export interface LoginTokens {
  readonly idToken: string | undefined;
  readonly accessToken: string;
  /** What the log-in began with. */
  readonly nonce: string;
}

export interface IdentityProvidersOptions {
  readonly identity: IdentityConfiguration;
  readonly clock: Clock;
  /** Groups that are kept here (SCIM) and count instead of what a token lists. */
  readonly managedGroups?: ((principalId: string) => Promise<readonly string[] | undefined>) | undefined;
}

/** In the order of the configuration; `default` first. */
export function oidcProvidersOf(identity: IdentityConfiguration): OidcProvider[] {
  const { issuer } = identity;
  const flat = issuer === undefined ? [] : [settled({ ...identity, kind: 'oidc', name: defaultProvider, issuer })];
  return [...flat, ...identity.providers.filter((one) => one.kind === 'oidc').map(settled)];
}

function settled(written: OidcProviderConfiguration): OidcProvider {
  const { name, issuer, preset, web, introspection } = written;
  const known = preset === undefined ? { ...noPreset, freshGroups: undefined } : presets[preset];
  const introspected = introspection === undefined ? undefined : ('introspection' as const);
  return {
    name,
    title: written.title ?? new URL(issuer).host,
    issuer,
    audience: written.audience,
    clientId: written.clientId,
    cliScopes: written.cliScopes,
    web: {
      clientId: web.clientId ?? written.clientId,
      clientSecret: web.clientSecret === undefined ? undefined : readSecret(web.clientSecret),
      scopes: web.scopes ?? known.scopes,
      parameters: web.parameters ?? known.parameters,
    },
    groupsClaim: written.groupsClaim ?? known.groupsClaim,
    algorithms: written.algorithms ?? known.algorithms,
    clockToleranceMs: written.clockToleranceMs,
    jwksCacheMs: written.jwksCacheMs,
    jwksCooldownMs: written.jwksCooldownMs,
    freshGroups: written.freshGroups ?? introspected ?? known.freshGroups ?? 'userinfo',
    introspection: introspection && {
      clientId: introspection.clientId,
      clientSecret: readSecret(introspection.clientSecret),
    },
  };
}

export class IdentityProviders {
  /** Settings of the OpenID providers, `default` first. */
  readonly oidc: readonly OidcProvider[];
  readonly #verifiers: ReadonlyMap<string, TokenVerifier>;
  readonly #workloads: Workloads;

  /** @throws CountersignError `configuration_invalid` */
  constructor({ identity, clock, managedGroups }: IdentityProvidersOptions) {
    this.oidc = oidcProvidersOf(identity);
    checkProviders(this.oidc, identity);
    checkAccounts(identity);
    const { serviceAccounts, workloads } = identity;
    const names = [defaultProvider, ...identity.providers.map(({ name }) => name)];
    this.#verifiers = new Map(
      this.oidc.map((one) => [
        one.name,
        new TokenVerifier({
          ...one,
          allowedAlgorithms: one.algorithms,
          otherNames: names.filter((name) => name !== one.name),
          reservedIds: serviceAccounts.map(({ name }) => name),
          serviceAccounts: serviceAccounts.flatMap(({ provider, subject, ...account }) =>
            provider === one.name && subject !== undefined ? [{ ...account, subject }] : [],
          ),
          managedGroups,
          clock,
        }),
      ]),
    );
    this.#workloads = new Workloads(workloads, (name) => serviceAccounts.find((one) => one.name === name), clock);
    checkShared(this.oidc, identity);
  }

  /** The verifier of the provider of that name; undefined where there is no OpenID provider of that name. */
  get(name: string): TokenVerifier | undefined {
    return this.#verifiers.get(name);
  }

  /** How the command line logs in with each provider (device flow). */
  get cliLogins(): CliLogin[] {
    return this.oidc.map(({ name, issuer, clientId, audience, cliScopes }) => {
      return { name, issuer, clientId, audience, scope: cliScopes.join(' ') };
    });
  }

  /**
   * Who has logged in to the page with this provider.
   * @throws CountersignError `token_expired`; `token_invalid`; `groups_claim_missing`; `identity_provider_unreachable`
   */
  async verifyLogin(name: string, tokens: LoginTokens): Promise<VerifiedPrincipal> {
    const provider = this.oidc.find((one) => one.name === name);
    const verifier = this.#verifiers.get(name);
    if (provider === undefined || verifier === undefined || tokens.idToken === undefined) {
      throw invalidToken(`the provider ${quoted(name)} gave no ID token`, {
        hint: 'the scope openid must be asked for',
      });
    }
    const { nonce, accessToken } = tokens;
    return verifier.verifyIdToken(tokens.idToken, { nonce, clientId: provider.web.clientId, accessToken });
  }

  /** The provider whose access token this is, by the issuer that it names; nothing is proved by it. */
  providerOf(jwt: string): OidcProvider | undefined {
    const issuer = issuerOf(jwt);
    if (this.#workloads.takes(issuer, audiencesOf(jwt))) return undefined;
    return this.oidc.find((one) => one.issuer === issuer);
  }

  /**
   * Whose access token, or whose job's token, this is.
   * @throws CountersignError `token_expired`; `token_invalid`; `groups_claim_missing`; `identity_provider_unreachable`
   */
  async verify(jwt: string): Promise<VerifiedPrincipal> {
    const issuer = issuerOf(jwt);
    const audiences = audiencesOf(jwt);
    if (typeof issuer === 'string' && this.#workloads.takes(issuer, audiences)) {
      return this.#workloads.verify(jwt, issuer, audiences);
    }
    const provider = this.oidc.find((one) => one.issuer === issuer);
    const verifier = provider && this.#verifiers.get(provider.name);
    if (verifier !== undefined) return verifier.verify(jwt);
    const known = [...new Set([...this.oidc.map((one) => one.issuer), ...this.#workloads.issuers])];
    throw invalidToken(`the token was issued by ${quoted(issuer)}, not by ${known.join(' or ')}`);
  }
}

function audiencesOf(jwt: string): string[] {
  const { aud } = decodeJwt(jwt);
  return typeof aud === 'string' ? [aud] : Array.isArray(aud) ? aud : [];
}

function checkProviders(oidc: readonly OidcProvider[], identity: IdentityConfiguration): void {
  const names = new Set<string>();
  const all = [
    ...(identity.issuer === undefined ? [] : [{ name: defaultProvider, kind: 'oidc' }]),
    ...identity.providers,
  ];
  for (const { name, kind } of all) {
    if (names.has(name)) throw misconfigured(`providers: the name ${name} is used twice`);
    if (name === serviceProvider || (name === defaultProvider && kind !== 'oidc')) {
      throw misconfigured(`providers: no provider of the kind ${kind} can have the name ${name}`);
    }
    names.add(name);
  }
  const issuers = new Map<string, string>();
  for (const { name, issuer } of oidc) {
    // Discovery asks both for the same document.
    const key = issuer.replace(/\/$/, '');
    const other = issuers.get(key);
    if (other !== undefined) throw misconfigured(`providers: ${other} and ${name} have the same issuer ${issuer}`);
    issuers.set(key, name);
  }
  for (const { name, freshGroups, introspection } of oidc) {
    if (freshGroups !== 'introspection' || introspection !== undefined) continue;
    throw misconfigured(`providers: ${name}: freshGroups: introspection needs a client (introspection)`);
  }
}

/** A service account's name is the id of a principal, and so must not be one that a provider gives. */
function checkAccounts({ serviceAccounts, providers }: IdentityConfiguration): void {
  const names = new Set(serviceAccounts.map(({ name }) => name));
  const prefixes = [defaultProvider, ...providers.map(({ name }) => name)].map((name) => `${name}:`);
  const oidcNames = new Set([
    defaultProvider,
    ...providers.flatMap(({ kind, name }) => (kind === 'oidc' ? [name] : [])),
  ]);
  for (const [at, { name, owner, provider }] of serviceAccounts.entries()) {
    if (serviceAccounts.findIndex((one) => one.name === name) !== at) {
      throw misconfigured(`serviceAccounts: the name ${name} is used twice`);
    }
    const prefix = prefixes.find((one) => humanKey(name).startsWith(one));
    if (prefix !== undefined) {
      throw misconfigured(`serviceAccounts: ${name} looks like a person of the provider ${prefix.slice(0, -1)}`);
    }
    if (!oidcNames.has(provider)) {
      throw misconfigured(`serviceAccounts: ${name}: there is no OpenID provider ${provider}`);
    }
    // An owner is a person: a chain of service accounts would hide the human at its end.
    if (names.has(owner)) {
      throw misconfigured(`serviceAccounts: ${name} is owned by ${owner}, which is a service account itself`);
    }
  }
}

/** An issuer may have people and jobs (GitLab does), as long as their tokens are told apart by the audience. */
function checkShared(oidc: readonly OidcProvider[], { workloads }: IdentityConfiguration): void {
  for (const { name, issuer, audience } of workloads) {
    const provider = oidc.find((one) => one.issuer === issuer);
    if (provider === undefined) continue;
    if (![provider.audience, provider.clientId, provider.web.clientId].includes(audience)) continue;
    throw misconfigured(`workloads: ${name}: the provider ${provider.name} has the same issuer and audience`);
  }
}

function misconfigured(problem: string): CountersignError {
  return new CountersignError('configuration_invalid', `identity.${problem}`);
}
