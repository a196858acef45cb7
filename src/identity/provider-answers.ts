/**
 * What a provider says now about an access token: userinfo (OpenID Connect Core 1.0, section 5.3) and introspection
 * (RFC 7662). Both answer for the same subject, or the answer is none.
 */
import type { Claims } from './claims.ts';
import type { IssuerKeys } from './issuer-keys.ts';
import { askProvider, objectIn } from './provider-http.ts';
import { invalidToken as invalid } from './token-errors.ts';

export interface TokenAsk {
  readonly issuer: string;
  readonly accessToken: string;
  /** Whose the token is, as far as we know. */
  readonly subject: string;
}

const hint = 'log in again: countersign login';

/**
 * @returns undefined when the provider has no userinfo
 * @throws CountersignError `token_invalid` when the token is not active any more, or the answer is another subject's;
 *   `identity_provider_unreachable`
 */
export async function userinfo(keys: IssuerKeys, { issuer, accessToken, subject }: TokenAsk) {
  const address = await keys.endpoint('userinfo_endpoint');
  if (address === undefined) return undefined;
  const ask = { address, issuer, headers: { authorization: `Bearer ${accessToken}` }, alsoTaken: [400, 401, 403] };
  const answer = await askProvider(ask);
  if (answer.status !== 200) {
    const message = `the identity provider does not take this token any more (userinfo: status ${answer.status})`;
    throw invalid(message, {
      detail: 'or it never gives userinfo for tokens of this audience: then set freshGroups of this provider to token',
      hint,
    });
  }
  return ofSubject(objectIn(answer, ask), subject, 'userinfo');
}

/**
 * @param client who asks; undefined = nobody may
 * @returns undefined when the provider has no introspection, or there is no client
 * @throws CountersignError as `userinfo`
 */
export async function introspect(
  keys: IssuerKeys,
  { issuer, accessToken, subject }: TokenAsk,
  client: { readonly clientId: string; readonly clientSecret: string } | undefined,
) {
  const address = await keys.endpoint('introspection_endpoint');
  if (address === undefined || client === undefined) return undefined;
  // RFC 6749, section 2.3.1: both are form-encoded before they are put together.
  const encoded = (text: string) => new URLSearchParams({ '': text }).toString().slice(1);
  const basic = Buffer.from(`${encoded(client.clientId)}:${encoded(client.clientSecret)}`).toString('base64');
  const form = new URLSearchParams({ token: accessToken, token_type_hint: 'access_token' });
  const ask = { address, issuer, headers: { authorization: `Basic ${basic}` }, form };
  const claims = objectIn(await askProvider(ask), ask);
  if (claims['active'] !== true) {
    throw invalid('the identity provider says that this token is not active any more', { hint });
  }
  return ofSubject(claims, subject, 'introspection');
}

/** Without this, another person's answer could be passed off as this one's (OpenID Connect Core 1.0, section 5.3.4). */
function ofSubject(claims: Claims, subject: string, what: string): Claims {
  if (claims['sub'] === subject) return claims;
  throw invalid(`the provider's ${what} is about another subject than the token`);
}
