/**
 * What tells the kinds of tokens apart that one provider signs with one key: access tokens, ID tokens, and those that prove
 * nothing about a caller (log-out tokens, refresh tokens, security events). Pure.
 */
import { createHash } from 'node:crypto';
import type { JWTVerifyResult } from 'jose';
import type { Claims } from './claims.ts';
import { invalidToken as invalid, quoted } from './token-errors.ts';

export type TokenKind = 'access token' | 'ID token';

/** Header types: the name of RFC 9068, or the general one. */
const headerTypes: Readonly<Record<TokenKind, readonly string[]>> = {
  'access token': ['jwt', 'at+jwt', 'application/at+jwt'],
  'ID token': ['jwt'],
};
/** Keycloak (`typ`) and Amazon Cognito (`token_use`) name the kind in a claim. */
const claimedKinds: Readonly<Record<TokenKind, readonly string[]>> = {
  'access token': ['bearer', 'access'],
  'ID token': ['id'],
};

/** @throws CountersignError `token_invalid` */
export function checkKind({ protectedHeader, payload }: JWTVerifyResult, kind: TokenKind): void {
  const { typ } = protectedHeader;
  if (typ !== undefined && !headerTypes[kind].includes(typ.toLowerCase())) {
    throw invalid(`a token of type ${quoted(typ)} is no ${kind}`);
  }
  if (payload['events'] !== undefined) throw invalid(`a token about events is no ${kind}`);
  for (const claimed of [payload['typ'], payload['token_use']]) {
    if (claimed === undefined) continue;
    if (typeof claimed === 'string' && claimedKinds[kind].includes(claimed.toLowerCase())) continue;
    throw invalid(`a token of the kind ${quoted(claimed)} is no ${kind}`);
  }
  // Sender-constrained (RFC 9449, RFC 8705): taken as a bearer token it would be worth less than its issuer promised.
  if (payload['cnf'] !== undefined) throw invalid('the token is bound to a key of its client, which is not supported');
  // Where audience and client id are the same text, nothing else tells an ID token from an access token.
  if (kind === 'access token' && (payload['at_hash'] !== undefined || payload['c_hash'] !== undefined)) {
    throw invalid('this is an ID token, not an access token');
  }
}

/**
 * That an ID token is for this client and belongs to this access token (OpenID Connect Core 1.0, sections 3.1.3.7 and
 * 3.1.3.8); its nonce is another matter.
 * @throws CountersignError `token_invalid`
 */
export function checkIdToken(
  claims: Claims,
  algorithm: string,
  { clientId, accessToken }: { readonly clientId: string; readonly accessToken?: string | undefined },
): void {
  const party = claims['azp'];
  const isForSeveral = Array.isArray(claims['aud']) && claims['aud'].length > 1;
  if ((party !== undefined || isForSeveral) && party !== clientId) {
    throw invalid(`the ID token was issued to ${quoted(party)} (\`azp\`), not to ${clientId}`);
  }
  const hash = claims['at_hash'];
  if (hash === undefined || accessToken === undefined || hash === halfHash(accessToken, algorithm)) return;
  throw invalid('the access token is not the one that the ID token came with (`at_hash`)');
}

/** The left half of the hash that the signature algorithm uses; EdDSA means Ed25519, which hashes with SHA-512. */
function halfHash(text: string, algorithm: string): string {
  const bits = /(256|384|512)$/.exec(algorithm)?.[1] ?? '512';
  const digest = createHash(`sha${bits}`).update(text, 'ascii').digest();
  return digest.subarray(0, digest.length / 2).toString('base64url');
}
