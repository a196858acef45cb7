/** Why a token was refused, in words for whoever showed it: from jose's errors to ours. */
import { errors as joseErrors } from 'jose';
import { CountersignError } from '../errors.ts';

/** What a token was checked against. */
export interface TokenExpectation {
  readonly issuer: string;
  readonly audience: string;
  readonly algorithms: readonly string[];
}

export function explainedTokenError(error: unknown, expected: TokenExpectation): CountersignError {
  if (error instanceof CountersignError) return error;
  if (error instanceof joseErrors.JWTExpired) {
    const endedAt = new Date(Number(error.payload.exp) * 1_000);
    const when = Number.isNaN(endedAt.getTime()) ? 'has expired' : `expired at ${endedAt.toISOString()}`;
    return new CountersignError('token_expired', `the token ${when}`, { hint: 'log in again: countersign login' });
  }
  if (error instanceof joseErrors.JWTClaimValidationFailed) return claimError(error, expected);
  if (error instanceof joseErrors.JOSEAlgNotAllowed || error instanceof joseErrors.JOSENotSupported) {
    return invalidToken('the token is not signed in a way that is allowed', {
      detail: `allowed: ${expected.algorithms.join(', ')}`,
    });
  }
  if (error instanceof joseErrors.JWSSignatureVerificationFailed) return invalidToken("the token's signature is wrong");
  if (error instanceof joseErrors.JWKSNoMatchingKey) {
    return invalidToken(`the token is signed with a key that ${expected.issuer} does not have`, {
      hint: 'log in again: countersign login',
    });
  }
  if (error instanceof joseErrors.JWKSMultipleMatchingKeys) {
    return invalidToken('the token does not name its key (`kid`)');
  }
  if (error instanceof joseErrors.JWKSInvalid || error instanceof joseErrors.JWKInvalid) {
    const message = `tokens cannot be checked: the keys of ${expected.issuer} are malformed`;
    return new CountersignError('identity_provider_unreachable', message, { cause: error });
  }
  return invalidToken('the token is malformed', { cause: error });
}

function claimError(error: joseErrors.JWTClaimValidationFailed, expected: TokenExpectation): CountersignError {
  if (error.claim === 'aud') {
    const message = `the token is for the audience ${quoted(error.payload.aud)}, not for ${expected.audience}`;
    return invalidToken(message, {
      hint: 'ask the identity provider for a token for Countersign, or correct identity.audience',
    });
  }
  if (error.claim === 'nbf') return invalidToken('the token is not valid yet', { hint: 'compare the clocks' });
  return invalidToken(`the token's claim \`${error.claim}\` is ${error.reason === 'missing' ? 'missing' : 'wrong'}`);
}

/** For messages: what a stranger wrote is quoted and cut. */
export function quoted(value: unknown): string {
  return (JSON.stringify(value) ?? 'nobody').slice(0, 200);
}

export function invalidToken(
  message: string,
  more: { hint?: string; detail?: string; cause?: unknown } = {},
): CountersignError {
  return new CountersignError('token_invalid', message, more);
}
