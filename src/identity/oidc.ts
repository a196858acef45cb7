/**
 * Who somebody is, from a token of one OpenID provider: a JWT (RFC 7519) that the provider signed. An access token
 * (RFC 9068) for our audience is what command line and scripts show; an ID token (OpenID Connect Core 1.0) is what the page
 * gets at log-in. People and service accounts come the same way; a service account is registered with an owner and
 * counts as that owner for every duty rule, and one that is not registered is nobody.
 *
 * Not for: choosing among several providers (`providers.ts`), what they may do (`bindings.ts`, `policy/`), remembering
 * them (`directory.ts`), getting a token (`cli/`, `code-flow.ts`).
 */
import { createHash } from 'node:crypto';
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
import { askProvider, objectIn } from './provider-http.ts';
import { explainedTokenError, invalidToken as invalid, quoted } from './token-errors.ts';

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

export interface TokenVerifierOptions {
  /** What we call the provider. Default: `default`, whose subjects are principal ids; others get `NAME:` before them. */
  readonly name?: string | undefined;
  /** The other providers, of any kind: no subject of `default` may look like one of theirs. */
  readonly otherNames?: readonly string[] | undefined;
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
  /** The provider's name here. */
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

export const defaultAlgorithms: readonly string[] = ['RS256', 'ES256', 'PS256', 'EdDSA'];
const asymmetric = /^(RS|PS|ES)(256|384|512)$|^EdDSA$|^Ed25519$/;
/** By the name of RFC 9068 or by the general one. Others (log-out tokens, security events) are no proof. */
const accessTokenTypes: ReadonlySet<string> = new Set(['jwt', 'at+jwt', 'application/at+jwt']);
const idTokenTypes: ReadonlySet<string> = new Set(['jwt']);
const maxTokenLength = 32 * 1024;

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
    const account = this.#serviceAccount(claims, subject);
    if (account === undefined) return this.#person(claims, subject, groupsOf(claims, this.#options.groupsClaim));
    const groups = account.groups === undefined ? groupsOf(claims, this.#options.groupsClaim) : [...account.groups];
    const { name: id, owner: human } = account;
    const { times } = this.#told(claims);
    return { id, human, kind: 'service', displayName: id, email: undefined, groups, provider: this.name, ...times };
  }

  /**
   * Whose ID token this is: a person's, who has just logged in. Where it does not list the groups, those count that the
   * access token lists, or else what the provider's userinfo answers to it; both must be of the same subject. A list that
   * is not whole (group overage) is refused wherever it shows.
   * @throws CountersignError `token_expired`; `token_invalid`; `groups_claim_missing`; `identity_provider_unreachable`
   */
  async verifyIdToken(jwt: string, ask: IdTokenAsk): Promise<VerifiedPrincipal> {
    const { payload, protectedHeader } = await this.#verified(jwt, ask.clientId, idTokenTypes, ['exp', 'sub', 'iat']);
    const claims: Claims = payload;
    checkIdToken(claims, protectedHeader.alg, ask);
    const subject = subjectOf(claims);
    if (this.#serviceAccount(claims, subject) !== undefined) {
      throw invalid(`${quoted(subject)} is a service account, which does not log in to the page`);
    }
    const { groupsClaim } = this.#options;
    refuseOverage(claims, groupsClaim);
    if (hasGroups(claims, groupsClaim)) return this.#person(claims, subject, groupsOf(claims, groupsClaim));
    if (ask.accessToken !== undefined) {
      const groups = await this.#groupsBehind(ask.accessToken, subject);
      if (groups !== undefined) return this.#person(claims, subject, groups);
    }
    const message = `neither the ID token nor the access token nor userinfo has the claim \`${groupsClaim}\``;
    throw new CountersignError('groups_claim_missing', message, {
      hint: 'let the identity provider put the groups into ID tokens for Countersign, or correct identity.groupsClaim',
    });
  }

  /**
   * What the provider's userinfo says now to this access token; undefined when it has no userinfo.
   * @throws CountersignError `token_invalid` when the token is not active any more, or the answer is another subject's;
   *   `identity_provider_unreachable`
   */
  async userinfo(accessToken: string, subject: string): Promise<Claims | undefined> {
    const address = await this.#keys.endpoint('userinfo_endpoint');
    if (address === undefined) return undefined;
    const headers = { authorization: `Bearer ${accessToken}` };
    const ask = { address, issuer: this.issuer, headers, alsoTaken: [400, 401, 403] };
    const answer = await askProvider(ask);
    if (answer.status !== 200) {
      throw invalid(`the identity provider does not take this token any more (userinfo: status ${answer.status})`, {
        hint: 'log in again: countersign login',
      });
    }
    const claims = objectIn(answer, ask);
    // OpenID Connect Core 5.3.4: without this, another person's answer could be passed off as this one's.
    if (claims['sub'] !== subject) throw invalid("the provider's userinfo is about another subject than the token");
    return claims;
  }

  /** The claims of an access token of this provider. */
  async #accessToken(jwt: string): Promise<Claims> {
    const { payload } = await this.#verified(jwt, this.#options.audience, accessTokenTypes, ['exp', 'sub']);
    const claims: Claims = payload;
    // Sender-constrained (RFC 9449, RFC 8705): taken as a bearer token it would be worth less than its issuer promised.
    if (claims['cnf'] !== undefined) throw invalid('the token is bound to a key of its client, which is not supported');
    // Where audience and client id are the same text, nothing else tells an ID token from an access token.
    if (claims['at_hash'] !== undefined || claims['c_hash'] !== undefined) {
      throw invalid('this is an ID token, not an access token');
    }
    return claims;
  }

  async #groupsBehind(accessToken: string, subject: string): Promise<string[] | undefined> {
    const { groupsClaim } = this.#options;
    // For another audience, or opaque: then it says nothing to us, and userinfo is asked.
    const claims = await this.#accessToken(accessToken).catch((error: unknown) => {
      if (error instanceof CountersignError && error.code === 'token_invalid') return undefined;
      throw error;
    });
    if (claims !== undefined) {
      if (claims['sub'] !== subject) throw invalid('the access token is of another subject than the ID token');
      refuseOverage(claims, groupsClaim);
      if (hasGroups(claims, groupsClaim)) return groupsOf(claims, groupsClaim);
    }
    const told = await this.userinfo(accessToken, subject);
    if (told === undefined) return undefined;
    refuseOverage(told, groupsClaim);
    return hasGroups(told, groupsClaim) ? groupsOf(told, groupsClaim) : undefined;
  }

  #person(claims: Claims, subject: string, groups: string[]): VerifiedPrincipal {
    const id = this.#idOf(subject);
    const { displayName, times } = this.#told(claims);
    return {
      id,
      human: id,
      kind: 'person',
      displayName: displayName ?? subject,
      email: emailOf(claims),
      groups,
      provider: this.name,
      ...times,
    };
  }

  #told(claims: Claims) {
    const seconds = (name: string) => (typeof claims[name] === 'number' ? claims[name] : 0);
    return {
      displayName: textClaim(claims, 'name') ?? textClaim(claims, 'preferred_username'),
      times: {
        expiresAt: new Date(seconds('exp') * 1_000),
        groupsAt: new Date(Math.min(seconds('iat') * 1_000, this.#options.clock.now())),
      },
    };
  }

  /** No two providers can give one principal id: every provider but `default` has its name in front of it. */
  #idOf(subject: string): string {
    if (this.name !== defaultProvider) return `${this.name}:${subject}`;
    const taken = (this.#options.otherNames ?? []).find((name) => humanKey(subject).startsWith(`${name}:`));
    if (taken === undefined) return subject;
    throw invalid(`the subject ${quoted(subject)} looks like one of the provider ${taken}`, {
      hint: `an administrator gives the provider ${taken} another name`,
    });
  }

  async #verified(
    jwt: string,
    audience: string,
    types: ReadonlySet<string>,
    requiredClaims: string[],
  ): Promise<JWTVerifyResult> {
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
      checkKind(result, types);
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
    if (!serviceAccounts.some((one) => one.name === subject || one.subject === subject)) return undefined;
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

/** Log-out tokens (OpenID Connect Back-Channel Logout) and other notices are signed with the same keys, and prove nothing. */
function checkKind({ protectedHeader, payload }: JWTVerifyResult, types: ReadonlySet<string>): void {
  const type = protectedHeader.typ;
  const what = types === idTokenTypes ? 'ID token' : 'access token';
  if (type !== undefined && !types.has(type.toLowerCase())) {
    throw invalid(`a token of type ${quoted(type)} is no ${what}`);
  }
  if (payload['events'] !== undefined) throw invalid(`a token about events is no ${what}`);
  // Keycloak and Amazon Cognito name the kind in a claim.
  const fitting = types === idTokenTypes ? ['id'] : ['bearer', 'access'];
  for (const kind of [payload['typ'], payload['token_use']]) {
    if (kind === undefined || (typeof kind === 'string' && fitting.includes(kind.toLowerCase()))) continue;
    throw invalid(`a token of the kind ${quoted(kind)} is no ${what}`);
  }
}

/** OpenID Connect Core 1.0, sections 3.1.3.7 and 3.1.3.8. */
function checkIdToken(claims: Claims, algorithm: string, { nonce, clientId, accessToken }: IdTokenAsk): void {
  if (nonce === '' || claims['nonce'] !== nonce) throw invalid('the ID token answers another log-in (`nonce`)');
  const party = claims['azp'];
  const isForSeveral = Array.isArray(claims['aud']) && claims['aud'].length > 1;
  if ((party !== undefined || isForSeveral) && party !== clientId) {
    throw invalid(`the ID token was issued to ${quoted(party)} (\`azp\`), not to ${clientId}`);
  }
  const hash = claims['at_hash'];
  if (hash === undefined || accessToken === undefined) return;
  if (hash === halfHash(accessToken, algorithm)) return;
  throw invalid('the access token is not the one that the ID token came with (`at_hash`)');
}

/** The left half of the hash that the signature algorithm uses. */
function halfHash(text: string, algorithm: string): string | undefined {
  const bits = /(256|384|512)$/.exec(algorithm)?.[1];
  // EdDSA means Ed25519 here, which hashes with SHA-512.
  const digest = createHash(`sha${algorithm === 'EdDSA' || algorithm === 'Ed25519' ? '512' : bits}`)
    .update(text, 'ascii')
    .digest();
  return digest.subarray(0, digest.length / 2).toString('base64url');
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
