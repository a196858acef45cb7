/**
 * Who somebody is, from an access token of the identity provider: a JWT (RFC 7519, RFC 9068) that the provider signed
 * for our audience. People and service accounts come the same way; a service account is registered with an owner and
 * counts as that owner for every duty rule, and one that is not registered is nobody.
 *
 * Not for: what they may do (`bindings.ts`, `policy/`), remembering them (`directory.ts`), getting a token (`cli/`).
 */
import { decodeJwt, errors as joseErrors, jwtVerify, type JWTVerifyResult } from 'jose';
import { CountersignError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { clientsOf, emailOf, groupsOf, isClientsOwn, subjectOf, textClaim, type Claims } from './claims.ts';
import { IssuerKeys } from './issuer-keys.ts';
import type { Principal } from './principal.ts';

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

export interface TokenVerifierOptions {
  /** Exactly as the provider calls itself. */
  readonly issuer: string;
  /** What `aud` must hold. */
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
  readonly serviceAccounts: readonly ServiceAccountConfig[];
  readonly clock: Clock;
}

export interface VerifiedPrincipal extends Principal {
  /** When the token ends. */
  readonly expiresAt: Date;
}

const defaultAlgorithms = ['RS256', 'ES256', 'PS256', 'EdDSA'];
const asymmetric = /^(RS|PS|ES)(256|384|512)$|^EdDSA$|^Ed25519$/;
/** An access token, by the name of RFC 9068 or by the general one. Others (log-out tokens, security events) are no proof. */
const acceptedTypes = new Set(['jwt', 'at+jwt', 'application/at+jwt']);
const maxTokenLength = 32 * 1024;

export class TokenVerifier {
  readonly #options: TokenVerifierOptions;
  readonly #keys: IssuerKeys;
  readonly #algorithms: string[];

  /** @throws CountersignError `configuration_invalid` */
  constructor(options: TokenVerifierOptions) {
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

  /**
   * @throws CountersignError `token_expired`; `token_invalid`; `groups_claim_missing`; `authentication_failed` when the
   *   provider cannot be asked for its keys
   */
  async verify(jwt: string): Promise<VerifiedPrincipal> {
    const { payload } = await this.#verified(jwt);
    const claims: Claims = payload;
    // Sender-constrained (RFC 9449, RFC 8705): taken as a bearer token it would be worth less than its issuer promised.
    if (claims['cnf'] !== undefined) throw invalid('the token is bound to a key of its client, which is not supported');
    const subject = subjectOf(claims);
    const expiresAt = new Date((payload.exp ?? 0) * 1_000);
    const account = this.#serviceAccount(claims, subject);
    if (account !== undefined) {
      const groups = account.groups === undefined ? groupsOf(claims, this.#options.groupsClaim) : [...account.groups];
      const { name: id, owner: human } = account;
      return { id, human, kind: 'service', displayName: id, email: undefined, groups, expiresAt };
    }
    const groups = groupsOf(claims, this.#options.groupsClaim);
    const displayName = textClaim(claims, 'name') ?? textClaim(claims, 'preferred_username') ?? subject;
    return { id: subject, human: subject, kind: 'person', displayName, email: emailOf(claims), groups, expiresAt };
  }

  async #verified(jwt: string): Promise<JWTVerifyResult> {
    const { issuer, audience, clockToleranceMs, clock } = this.#options;
    // Refused before any key is asked for: a stranger's token costs no request to the provider.
    this.#refuseForeign(jwt);
    try {
      const result = await jwtVerify(jwt, this.#keys.keyOf, {
        issuer,
        audience,
        algorithms: this.#algorithms,
        clockTolerance: (clockToleranceMs ?? 30_000) / 1_000,
        currentDate: new Date(clock.now()),
        requiredClaims: ['exp', 'sub'],
      });
      const type = result.protectedHeader.typ;
      if (type !== undefined && !acceptedTypes.has(type.toLowerCase())) {
        throw invalid(`a token of type ${quoted(type)} is no access token`);
      }
      return result;
    } catch (error) {
      throw this.#explained(error);
    }
  }

  #refuseForeign(jwt: string): void {
    if (jwt.length > maxTokenLength) throw invalid(`the token is longer than ${maxTokenLength} characters`);
    let issuer: unknown;
    try {
      issuer = decodeJwt(jwt).iss;
    } catch (error) {
      throw invalid('this is no JSON web token', { cause: error });
    }
    if (issuer === this.#options.issuer) return;
    throw invalid(`the token was issued by ${quoted(issuer)}, not by ${this.#options.issuer}`);
  }

  #explained(error: unknown): CountersignError {
    if (error instanceof CountersignError) return error;
    if (error instanceof joseErrors.JWTExpired) {
      const endedAt = new Date(Number(error.payload.exp) * 1_000);
      const when = Number.isNaN(endedAt.getTime()) ? 'has expired' : `expired at ${endedAt.toISOString()}`;
      return new CountersignError('token_expired', `the token ${when}`, { hint: 'log in again: countersign login' });
    }
    if (error instanceof joseErrors.JWTClaimValidationFailed) {
      if (error.claim === 'aud') {
        return invalid(
          `the token is for the audience ${quoted(error.payload.aud)}, not for ${this.#options.audience}`,
          {
            hint: 'ask the identity provider for a token for Countersign, or correct identity.audience',
          },
        );
      }
      if (error.claim === 'nbf') return invalid('the token is not valid yet', { hint: 'compare the clocks' });
      return invalid(`the token's claim \`${error.claim}\` is ${error.reason === 'missing' ? 'missing' : 'wrong'}`);
    }
    if (error instanceof joseErrors.JOSEAlgNotAllowed || error instanceof joseErrors.JOSENotSupported) {
      return invalid('the token is not signed in a way that is allowed', {
        detail: `allowed: ${this.#algorithms.join(', ')}`,
      });
    }
    if (error instanceof joseErrors.JWSSignatureVerificationFailed) return invalid("the token's signature is wrong");
    if (error instanceof joseErrors.JWKSNoMatchingKey) {
      return invalid(`the token is signed with a key that ${this.#options.issuer} does not have`, {
        hint: 'log in again: countersign login',
      });
    }
    if (error instanceof joseErrors.JWKSMultipleMatchingKeys) return invalid('the token does not name its key (`kid`)');
    if (error instanceof joseErrors.JWKSInvalid || error instanceof joseErrors.JWKInvalid) {
      const message = `tokens cannot be checked: the keys of ${this.#options.issuer} are malformed`;
      return new CountersignError('identity_provider_unreachable', message, { cause: error });
    }
    return invalid('the token is malformed', { cause: error });
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

/** For messages: what a stranger wrote is quoted and cut. */
function quoted(value: unknown): string {
  return (JSON.stringify(value) ?? 'nobody').slice(0, 200);
}

function invalid(message: string, more: { hint?: string; detail?: string; cause?: unknown } = {}): CountersignError {
  return new CountersignError('token_invalid', message, more);
}

function misconfigured(problem: string): CountersignError {
  return new CountersignError('configuration_invalid', `identity.${problem}`);
}
