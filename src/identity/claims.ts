/**
 * What the claims of a verified token say: whose it is and which groups it lists. Pure. Providers differ here (RFC 9068,
 * OpenID Connect Core, and the habits of Entra ID, Okta, Auth0, Keycloak); whatever is not understood is refused.
 */
import { CountersignError } from '../errors.ts';

/** The claims of a token, after its signature, issuer, audience and times were checked. */
export type Claims = Readonly<Record<string, unknown>>;

/** PostgreSQL's start-up packet is 10,000 bytes long at most; a subject is an identifier, not a text. */
const maxSubjectLength = 255;
const maxGroups = 10_000;

/** @throws CountersignError `token_invalid` */
export function subjectOf(claims: Claims): string {
  const subject = claims['sub'];
  if (typeof subject !== 'string' || subject === '') throw invalid('the token names no subject (claim `sub`)');
  if (subject.length > maxSubjectLength || !subject.isWellFormed() || /\p{Cc}/u.test(subject)) {
    throw invalid(`the token's subject is longer than ${maxSubjectLength} characters or has control characters`);
  }
  return subject;
}

/** The clients that the token names as its own; usually one. */
export function clientsOf(claims: Claims): Set<string> {
  // RFC 9068; OpenID Connect; Entra ID version 1; Okta.
  const names = ['client_id', 'azp', 'appid', 'cid'].map((name) => claims[name]);
  return new Set(names.filter((name) => typeof name === 'string'));
}

/**
 * Whether a client got the token for itself (OAuth client credentials) and no person stands behind it. Only ever used
 * to refuse, or together with a subject that is registered: `preferred_username` can be chosen by people.
 */
export function isClientsOwn(claims: Claims, subject: string): boolean {
  const clients = clientsOf(claims);
  return (
    clients.has(subject) || // RFC 9068, section 2.2
    claims['gty'] === 'client-credentials' || // Auth0
    claims['grant_type'] === 'client_credentials' ||
    claims['idtyp'] === 'app' || // Entra ID, optional claim
    (typeof claims['tid'] === 'string' && claims['oid'] === subject) || // Entra ID: a person's `sub` is another one
    [...clients].some((client) => claims['preferred_username'] === `service-account-${client}`) // Keycloak
  );
}

/**
 * The groups at `path`: the claim of exactly that name, or members separated by dots (`realm_access.roles`).
 * @throws CountersignError `groups_claim_missing` when the claim is not there, is no list of texts, or is not the whole list
 */
export function groupsOf(claims: Claims, path: string): string[] {
  refuseOverage(claims, path);
  const value = valueAt(claims, path);
  if (value === undefined) {
    throw new CountersignError('groups_claim_missing', `the token has no groups: it lacks the claim \`${path}\``, {
      hint: 'let the identity provider put the groups into access tokens for Countersign, or correct identity.groupsClaim',
    });
  }
  const groups: readonly unknown[] = typeof value === 'string' ? [value] : Array.isArray(value) ? value : [undefined];
  if (groups.length > maxGroups || !groups.every((group) => typeof group === 'string')) {
    throw new CountersignError('groups_claim_missing', `the token's claim \`${path}\` is not a list of group names`, {
      hint: 'identity.groupsClaim must name a claim that is a list of texts',
    });
  }
  return [...new Set(groups)];
}

/**
 * With more groups than fit, Entra ID leaves the claim out (or in part) and points to an address where the groups can
 * be asked for (OpenID Connect Core 5.6.2, "distributed claims"). An incomplete list is no list.
 * @throws CountersignError `groups_claim_missing`
 */
export function refuseOverage(claims: Claims, path: string): void {
  const elsewhere = claims['_claim_names'];
  const first = path.split('.')[0] ?? path;
  const distributed =
    typeof elsewhere === 'object' &&
    elsewhere !== null &&
    (Object.hasOwn(elsewhere, path) || Object.hasOwn(elsewhere, first));
  const flag = claims['hasgroups'];
  const isFlagged = path === 'groups' && (flag === true || flag === 'true');
  if (!distributed && !isFlagged) return;
  throw new CountersignError(
    'groups_claim_missing',
    'the token does not list the groups: there are too many of them (group overage)',
    {
      detail: `the identity provider left the claim \`${path}\` out and says that it is to be found elsewhere`,
      hint: 'let the identity provider list only the groups that are assigned to the application, or use application roles and set identity.groupsClaim to `roles`',
    },
  );
}

/** Whether there is anything at `path`. */
export function hasGroups(claims: Claims, path: string): boolean {
  return valueAt(claims, path) !== undefined;
}

export function valueAt(claims: Claims, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path];
  let value: unknown = claims;
  for (const name of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Claims)[name];
  }
  return value;
}

/** A text claim that is for people to read. */
export function textClaim(claims: Claims, name: string): string | undefined {
  const value = claims[name];
  return typeof value === 'string' && value !== '' && value.isWellFormed() && !value.includes('\0') ? value : undefined;
}

/** Only an address that the provider does not call unverified: commits are attributed by it. */
export function emailOf(claims: Claims): string | undefined {
  return claims['email_verified'] === false || claims['email_verified'] === 'false'
    ? undefined
    : textClaim(claims, 'email');
}

function invalid(message: string): CountersignError {
  return new CountersignError('token_invalid', message);
}
