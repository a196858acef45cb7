/**
 * Who somebody is, from a token of one OpenID provider: a JWT (RFC 7519) that the provider signed. An access token
 * (RFC 9068) for our audience is what command line and scripts show; an ID token (OpenID Connect Core 1.0) is what the page
 * gets at log-in. People and service accounts come the same way; a service account is registered with an owner and
 * counts as that owner for every duty rule, and one that is not registered is nobody.
 *
 * Not for: choosing among several providers (`providers.ts`), what they may do (`bindings.ts`, `policy/`), remembering
 * them (`directory.ts`), getting a token (`cli/`, `code-flow.ts`).
 */
import { decodeJwt, jwtVerify, type JWTVerifyResult } from 'jose';
import { CountersignError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { humanKey } from '../policy/entities.ts';
import {
  clientsOf,
  emailOf,
  groupsOf,
  hasGroups,
  isClientsOwn,
  refuseOverage,
  subjectOf,
  textClaim,
  type Claims,
} from './claims.ts';
import { IssuerKeys } from './issuer-keys.ts';
import type { Principal } from './principal.ts';
import { introspect, userinfo } from './provider-answers.ts';
import { unusable } from './provider-http.ts';
import { explainedTokenError, invalidToken as invalid, quoted } from './token-errors.ts';
import { checkIdToken, checkKind, type TokenKind } from './token-kinds.ts';

export interface ServiceAccountConfig {
  /** The principal's id. */
  readonly name: string;
  /** The subject (`sub`) of its tokens; with client credentials mostly the client id. */
  readonly subject: string;
  /** The id of the person whom it counts as. */
  readonly owner: string;
  /** Its groups; left out = those that its token lists. */
  readonly groups?: readonly string[] | undefined;
}

/** The provider whose subjects are principal ids as they are. */
export const defaultProvider = 'default';
/** Where principals of service accounts come from, whoever proved them: a provider, a CI system, a key. */
export const serviceProvider = 'service';

export interface TokenVerifierOptions {
  /** What we call the provider. Default: `default`, whose subjects are principal ids; others get `NAME:` before them. */
  readonly name?: string | undefined;
  /** The other providers, of any kind: no subject of `default` may look like one of theirs. */
  readonly otherNames?: readonly string[] | undefined;
  /** Ids of service accounts, whoever proves them: no person may have one. */
  readonly reservedIds?: readonly string[] | undefined;
  /** Groups that are kept here (SCIM) and count instead of what a token lists; undefined: the token counts. */
  readonly managedGroups?: ((principalId: string) => Promise<readonly string[] | undefined>) | undefined;
  /** The client that asks the introspection endpoint (RFC 7662). */
  readonly introspection?: { readonly clientId: string; readonly clientSecret: string } | undefined;
  /** Exactly as the provider calls itself. */
  readonly issuer: string;
  /** What `aud` of an access token must hold. */
  readonly audience: string;
  /** The claim that lists the groups, or a path of members to it: `groups`, `realm_access.roles`. */
  readonly groupsClaim: string;
  /** Signature algorithms (RFC 7518), asymmetric ones only. Default: RS256, ES256, PS256, EdDSA. */
  readonly allowedAlgorithms?: readonly string[] | undefined;
  /** By how much our clock and the provider's may differ. Default: 30 seconds. */
  readonly clockToleranceMs?: number | undefined;
  /** How long the provider's keys are used without looking again. Default: 10 minutes. */
  readonly jwksCacheMs?: number | undefined;
  /** The least time between two looks because of an unknown key. Default: 10 seconds. */
  readonly jwksCooldownMs?: number | undefined;
  /** Those whose tokens this provider issues. */
  readonly serviceAccounts: readonly ServiceAccountConfig[];
  readonly clock: Clock;
}

export interface VerifiedPrincipal extends Principal {
  /** The provider's name here; `service` for a service account. */
  readonly provider: string;
  /** When the token ends. */
  readonly expiresAt: Date;
  /** When the groups were as they are here: the time at which the token was issued. The epoch if it does not say. */
  readonly groupsAt: Date;
}

export interface IdTokenAsk {
  /** What the authorization request carried. */
  readonly nonce: string;
  /** The client that asked, which the token must be for. */
  readonly clientId: string;
  /** The access token that came with it: `at_hash` is checked against it, and it may have or get us the groups. */
  readonly accessToken?: string | undefined;
}

export interface RefreshedTokens {
  readonly idToken: string | undefined;
  readonly accessToken: string;
  readonly clientId: string;
}

export const defaultAlgorithms: readonly string[] = ['RS256', 'ES256', 'PS256', 'EdDSA'];
const asymmetric = /^(RS|PS|ES)(256|384|512)$|^EdDSA$|^Ed25519$/;
const maxTokenLength = 32 * 1024;

interface ClaimsBehind {
  /** The access token's, where it is for us. */
  readonly access: () => Promise<Claims | undefined>;
  /** Userinfo's. */
  readonly told: () => Promise<Claims | undefined>;
}

const nothing = (): Promise<undefined> => Promise.resolve(undefined);

export class TokenVerifier {
  readonly name: string;
  readonly #options: TokenVerifierOptions;
  readonly #keys: IssuerKeys;
  readonly #algorithms: string[];

  /** @throws CountersignError `configuration_invalid` */
  constructor(options: TokenVerifierOptions) {
    this.name = options.name ?? defaultProvider;
    this.#options = options;
    this.#algorithms = [...(options.allowedAlgorithms ?? defaultAlgorithms)];
    const symmetric = this.#algorithms.find((name) => !asymmetric.test(name));
    if (symmetric !== undefined) {
      throw misconfigured(`allowedAlgorithms: ${symmetric} is no asymmetric signature algorithm`);
    }
    checkServiceAccounts(options.serviceAccounts);
    this.#keys = new IssuerKeys({
      issuer: options.issuer,
      cacheMs: options.jwksCacheMs ?? 600_000,
      cooldownMs: options.jwksCooldownMs ?? 10_000,
    });
  }

  get issuer(): string {
    return this.#options.issuer;
  }

  get keys(): IssuerKeys {
    return this.#keys;
  }

  /**
   * Whose access token this is.
   * @throws CountersignError `token_expired`; `token_invalid`; `groups_claim_missing`; `identity_provider_unreachable`
   */
  async verify(jwt: string): Promise<VerifiedPrincipal> {
    const claims = await this.#accessToken(jwt);
    const subject = subjectOf(claims);
    const { groupsClaim } = this.#options;
    const account = this.#serviceAccount(claims, subject);
    if (account === undefined) {
      return this.#person(claims, subject, () => Promise.resolve(groupsOf(claims, groupsClaim)));
    }
    const groups = account.groups === undefined ? groupsOf(claims, groupsClaim) : [...account.groups];
    const { name: id, owner: human } = account;
    return {
      id,
      human,
      kind: 'service',
      displayName: id,
      email: undefined,
      groups,
      provider: serviceProvider,
      ...this.#timesOf(claims),
    };
  }

  /**
   * The groups that the provider has now for whom it gave this access token to. Its signature is checked first.
   * @throws CountersignError as `verify`; `token_invalid` when the provider does not take the token any more
   */
  async groupsNow(jwt: string, source: 'userinfo' | 'introspection'): Promise<string[]> {
    const { groupsClaim } = this.#options;
    const subject = subjectOf(await this.#accessToken(jwt));
    const told = await (source === 'userinfo' ? this.#userinfo(jwt, subject) : this.#introspect(jwt, subject));
    if (told !== undefined) return groupsOf(told, groupsClaim);
    throw unusable(this.issuer, `it names no ${source} endpoint, so groups cannot be read anew`, {
      hint: 'set freshGroups of this provider to token: then access tokens must be younger than identity.groupsMaxAgeMs',
    });
  }

  /**
   * Whose ID token this is: a person's, who has just logged in. Where it does not list the groups, those count that the
   * access token lists, or else what the provider's userinfo answers to it; both must be of the same subject. A list that
   * is not whole (group overage) is refused wherever it shows.
   * @throws CountersignError `token_expired`; `token_invalid`; `groups_claim_missing`; `identity_provider_unreachable`
   */
  async verifyIdToken(jwt: string, ask: IdTokenAsk): Promise<VerifiedPrincipal> {
    const claims = await this.#idToken(jwt, ask);
    if (ask.nonce === '' || claims['nonce'] !== ask.nonce) {
      throw invalid('the ID token answers another log-in (`nonce`)');
    }
    return this.#loggedIn(claims, ask.accessToken);
  }

  /**
   * Who a refreshed log-in is now (OpenID Connect Core 1.0, section 12.2): by its ID token, which answers no question and
   * so has no nonce, or, where there is none, by its access token.
   * @throws CountersignError as `verifyIdToken`
   */
  async verifyRefreshed(refreshed: RefreshedTokens): Promise<VerifiedPrincipal> {
    const { idToken, accessToken } = refreshed;
    if (idToken === undefined) return this.verify(accessToken);
    return this.#loggedIn(await this.#idToken(idToken, refreshed), accessToken);
  }

  async #idToken(jwt: string, ask: Pick<IdTokenAsk, 'clientId' | 'accessToken'>): Promise<Claims> {
    const { payload, protectedHeader } = await this.#verified(jwt, ask.clientId, 'ID token', ['exp', 'sub', 'iat']);
    checkIdToken(payload, protectedHeader.alg, ask);
    return payload;
  }

  async #loggedIn(claims: Claims, accessToken: string | undefined): Promise<VerifiedPrincipal> {
    const subject = subjectOf(claims);
    if (this.#serviceAccount(claims, subject) !== undefined) {
      throw invalid(`${quoted(subject)} is a service account, which does not log in to the page`);
    }
    const more = this.#claimsBehind(accessToken, subject);
    const person = await this.#person(claims, subject, () => this.#groupsOfLogin(claims, more));
    return { ...person, ...(await described(claims, more, person)) };
  }

  async #groupsOfLogin(claims: Claims, { access, told }: ClaimsBehind): Promise<string[]> {
    const { groupsClaim } = this.#options;
    for (const source of [() => Promise.resolve(claims), access, told]) {
      const found = await source();
      if (found === undefined) continue;
      refuseOverage(found, groupsClaim);
      if (hasGroups(found, groupsClaim)) return groupsOf(found, groupsClaim);
    }
    const message = `neither the ID token nor the access token nor userinfo has the claim \`${groupsClaim}\``;
    throw new CountersignError('groups_claim_missing', message, {
      hint: 'let the identity provider put the groups into ID tokens for Countersign, or correct identity.groupsClaim',
    });
  }

  #userinfo(accessToken: string, subject: string): Promise<Claims | undefined> {
    return userinfo(this.#keys, { issuer: this.issuer, accessToken, subject });
  }

  #introspect(accessToken: string, subject: string): Promise<Claims | undefined> {
    const { introspection } = this.#options;
    return introspect(this.#keys, { issuer: this.issuer, accessToken, subject }, introspection);
  }

  /** The claims of an access token of this provider. */
  async #accessToken(jwt: string): Promise<Claims> {
    const { payload } = await this.#verified(jwt, this.#options.audience, 'access token', ['exp', 'sub']);
    return payload;
  }

  /** What can be learnt besides the ID token; each is asked for once at most, and only when it is needed. */
  #claimsBehind(accessToken: string | undefined, subject: string): ClaimsBehind {
    if (accessToken === undefined) return { access: nothing, told: nothing };
    let access: Promise<Claims | undefined> | undefined;
    let told: Promise<Claims | undefined> | undefined;
    return {
      access: () => (access ??= this.#ownAccessToken(accessToken, subject)),
      told: () => (told ??= this.#userinfo(accessToken, subject)),
    };
  }

  /** Undefined for another audience, or opaque: then it says nothing to us. */
  async #ownAccessToken(accessToken: string, subject: string): Promise<Claims | undefined> {
    const claims = await this.#accessToken(accessToken).catch((error: unknown) => {
      if (error instanceof CountersignError && error.code === 'token_invalid') return undefined;
      throw error;
    });
    if (claims === undefined || claims['sub'] === subject) return claims;
    throw invalid('the access token is of another subject than the ID token');
  }

  async #person(claims: Claims, subject: string, listed: () => Promise<string[]>): Promise<VerifiedPrincipal> {
    const id = this.#idOf(subject);
    const managed = await this.#options.managedGroups?.(id);
    const { expiresAt, groupsAt } = this.#timesOf(claims);
    return {
      id,
      human: id,
      kind: 'person',
      displayName: nameOf(claims) ?? subject,
      email: emailOf(claims),
      groups: managed === undefined ? await listed() : [...managed],
      provider: this.name,
      expiresAt,
      groupsAt: managed === undefined ? groupsAt : new Date(this.#options.clock.now()),
    };
  }

  #timesOf(claims: Claims): { expiresAt: Date; groupsAt: Date } {
    const seconds = (name: string) => (typeof claims[name] === 'number' ? claims[name] : 0);
    return {
      expiresAt: new Date(seconds('exp') * 1_000),
      groupsAt: new Date(Math.min(seconds('iat') * 1_000, this.#options.clock.now())),
    };
  }

  /** No two providers can give one principal id: every provider but `default` has its name in front of it. */
  #idOf(subject: string): string {
    if (this.name !== defaultProvider) return `${this.name}:${subject}`;
    if (this.#options.reservedIds?.includes(subject) === true) {
      throw invalid(`${quoted(subject)} is a service account, but this token was not issued to it as a client`, {
        hint: 'a person must not have the name of a service account',
      });
    }
    const taken = (this.#options.otherNames ?? []).find((name) => humanKey(subject).startsWith(`${name}:`));
    if (taken === undefined) return subject;
    throw invalid(`the subject ${quoted(subject)} looks like one of the provider ${taken}`, {
      hint: `an administrator gives the provider ${taken} another name`,
    });
  }

  async #verified(jwt: string, audience: string, kind: TokenKind, requiredClaims: string[]): Promise<JWTVerifyResult> {
    const { issuer, clockToleranceMs = 30_000, clock } = this.#options;
    // Refused before any key is asked for: a stranger's token costs no request to the provider.
    if (issuerOf(jwt) !== issuer) throw invalid(`the token was issued by ${quoted(issuerOf(jwt))}, not by ${issuer}`);
    try {
      const result = await jwtVerify(jwt, this.#keys.keyOf, {
        issuer,
        audience,
        algorithms: this.#algorithms,
        clockTolerance: clockToleranceMs / 1_000,
        currentDate: new Date(clock.now()),
        requiredClaims,
      });
      checkKind(result, kind);
      const { iat } = result.payload;
      if (iat !== undefined && iat * 1_000 > clock.now() + clockToleranceMs) {
        throw invalid('the token was issued in the future', { hint: 'compare the clocks' });
      }
      return result;
    } catch (error) {
      throw explainedTokenError(error, { issuer, audience, algorithms: this.#algorithms });
    }
  }

  /**
   * The registered service account of a token that a client got for itself; undefined for a person's token.
   * @throws CountersignError `token_invalid` for a service account that nobody owns, and for a person under a service
   *   account's name or subject (RFC 9068, section 5, warns of both being the same text)
   */
  #serviceAccount(claims: Claims, subject: string): ServiceAccountConfig | undefined {
    const { serviceAccounts } = this.#options;
    if (isClientsOwn(claims, subject)) {
      const account = serviceAccounts.find((one) => one.subject === subject);
      if (account !== undefined) return account;
      const client = [...clientsOf(claims)][0] ?? subject;
      throw invalid(`the service account ${quoted(client)} is not registered; it has no owner`, {
        detail: `the token's subject is ${quoted(subject)}`,
        hint: 'an administrator registers it under identity.serviceAccounts, with the person who owns it',
      });
    }
    const isNamed = (one: ServiceAccountConfig) => this.name === defaultProvider && one.name === subject;
    if (!serviceAccounts.some((one) => isNamed(one) || one.subject === subject)) return undefined;
    throw invalid(`${quoted(subject)} is a service account, but this token was not issued to it as a client`, {
      hint: 'a person must not have the name of a service account',
    });
  }
}

/** Whom a token names as its issuer; nothing is proved by it. @throws CountersignError `token_invalid` */
export function issuerOf(jwt: string): unknown {
  if (jwt.length > maxTokenLength) throw invalid(`the token is longer than ${maxTokenLength} characters`);
  try {
    return decodeJwt(jwt).iss;
  } catch (error) {
    throw invalid('this is no JSON web token', { cause: error });
  }
}

/** An owner is a person: a chain of service accounts would hide the human at its end. */
function checkServiceAccounts(accounts: readonly ServiceAccountConfig[]): void {
  const names = new Set<string>();
  const subjects = new Set<string>();
  for (const { name, subject } of accounts) {
    if (names.has(name)) throw misconfigured(`serviceAccounts: the name ${name} is used twice`);
    if (subjects.has(subject)) throw misconfigured(`serviceAccounts: the subject ${subject} is used twice`);
    names.add(name);
    subjects.add(subject);
  }
  for (const { name, owner } of accounts) {
    if (!names.has(owner) && !subjects.has(owner)) continue;
    throw misconfigured(`serviceAccounts: ${name} is owned by ${owner}, which is a service account itself`);
  }
}

function misconfigured(problem: string): CountersignError {
  return new CountersignError('configuration_invalid', `identity.${problem}`);
}

/**
 * Name and address where the ID token has none: many providers put them elsewhere when there is an access token. Two
 * accounts with one address are one human, so the address is looked for; a provider that does not tell it is no reason
 * to refuse the log-in.
 */
async function described(
  claims: Claims,
  { access, told }: ClaimsBehind,
  { displayName, email }: Principal,
): Promise<Pick<Principal, 'displayName' | 'email'>> {
  const isComplete = (one: Claims) => one['email'] !== undefined && nameOf(one) !== undefined;
  const sources = [claims];
  for (const source of [access, told]) {
    if (sources.some(isComplete)) break;
    const found = await source().catch(() => undefined);
    if (found !== undefined) sources.push(found);
  }
  const addressed = sources.find((one) => one['email'] !== undefined);
  const named = sources.find((one) => nameOf(one) !== undefined);
  return {
    displayName: (named && nameOf(named)) ?? displayName,
    email: addressed === undefined ? email : emailOf(addressed),
  };
}

function nameOf(claims: Claims): string | undefined {
  return textClaim(claims, 'name') ?? textClaim(claims, 'preferred_username');
}
