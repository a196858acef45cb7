/**
 * A SCIM user as clients write it, and as it is kept: what counts here is checked, the rest is kept as it came. Pure.
 * RFC 7643, section 4.1; RFC 7644, section 3.5.2 (PATCH, by `scim-patch`), with the habits of Okta and Entra ID.
 */
import { patchBodyValidation, scimPatch, type ScimPatch, type ScimPatchOperation, type ScimResource } from 'scim-patch';
import type { ScimConfiguration } from '../config/schema.ts';
import { invalidValue, ScimProblem } from './scim-problem.ts';

export interface ScimUserContent {
  readonly userName: string;
  readonly externalId: string | undefined;
  readonly active: boolean;
  /** The subject of the person at their identity provider. */
  readonly subject: string;
  /** Everything else that the client wrote. */
  readonly rest: Readonly<Record<string, unknown>>;
}

type Members = Record<string, unknown>;

export const userSchema = 'urn:ietf:params:scim:schemas:core:2.0:User';
const maxTextLength = 255;
const maxResourceBytes = 64 * 1024;
const maxDepth = 20;
/** Ours to say, or nothing to keep. */
const notKept = new Set(['id', 'meta', 'schemas', 'groups', 'password', 'userName', 'externalId', 'active']);
/** Names of attributes do not depend on case (RFC 7643, section 2.1). */
const spelling = new Map(
  [...notKept, 'displayName', 'emails', 'name', 'members'].map((name) => [name.toLowerCase(), name]),
);

export function properName(name: string): string {
  return spelling.get(name.toLowerCase()) ?? name;
}

/**
 * @param before what was there, for PUT and PATCH
 * @throws ScimProblem
 */
export function userContent(
  body: unknown,
  subjectFrom: ScimConfiguration['subjectFrom'],
  before?: ScimUserContent,
): ScimUserContent {
  const written = objectOf(body);
  const given = Object.fromEntries(Object.entries(written).map(([name, value]) => [properName(name), value]));
  const userName = textOf(given['userName'], 'userName');
  const externalId = given['externalId'] == null ? undefined : textOf(given['externalId'], 'externalId');
  // Whoever replaces a user without a word on `active` does not let a leaver in again.
  const active = given['active'] === undefined ? (before?.active ?? true) : truth(given['active']);
  const rest = Object.fromEntries(Object.entries(given).filter(([name]) => !notKept.has(name)));
  if (JSON.stringify(rest).length > maxResourceBytes) throw invalidValue('the user has more than 64 KiB');
  const subject = subjectOf(subjectFrom, { userName, externalId, emails: rest['emails'] });
  return { userName, externalId, active, subject, rest };
}

/** @throws ScimProblem */
export function patchedUser(
  before: ScimUserContent,
  body: unknown,
  subjectFrom: ScimConfiguration['subjectFrom'],
): ScimUserContent {
  const { userName, externalId, active, rest } = before;
  const resource = { schemas: [userSchema], ...structuredClone(rest), userName, active };
  const whole = (externalId === undefined ? resource : { ...resource, externalId }) as unknown as ScimResource;
  const operations = operationsOf(body);
  let patched: unknown;
  try {
    patched = scimPatch(whole, [...operations], { mutateDocument: true, treatMissingAsAdd: true });
  } catch (cause) {
    const name = cause instanceof Error ? cause.constructor.name : '';
    const isTarget = name === 'NoTarget' || name === 'NoPathInScimPatchOp';
    throw new ScimProblem(400, 'an operation cannot be applied to this user', isTarget ? 'noTarget' : 'invalidPath');
  }
  const result = objectOf(patched);
  // Without a value nobody is active.
  return userContent({ ...result, active: result['active'] ?? false }, subjectFrom, before);
}

/** The operations of a PATCH, with what clients spell differently put right. @throws ScimProblem */
export function operationsOf(body: unknown): ScimPatchOperation[] {
  const patch = objectOf(body);
  const written = patch['Operations'] ?? patch['operations'];
  const operations = (Array.isArray(written) ? written : []).map((one) => operationOf(objectOf(one)));
  try {
    patchBodyValidation({ schemas: patch['schemas'], Operations: operations } as unknown as ScimPatch);
  } catch (cause) {
    const noPath = cause instanceof Error && cause.constructor.name === 'NoPathInScimPatchOp';
    const detail = cause instanceof Error ? cause.message.slice(0, 200) : 'this is no PATCH';
    throw new ScimProblem(400, detail, noPath ? 'noTarget' : 'invalidSyntax');
  }
  return operations as unknown as ScimPatchOperation[];
}

function operationOf({ op, path, value }: Members): Members {
  const isWithoutPath = path === undefined || path === null || path === '';
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  const properValue =
    isWithoutPath && isObject
      ? Object.fromEntries(Object.entries(value).map(([name, member]) => [properPath(name), member]))
      : value;
  return {
    op: typeof op === 'string' ? op.toLowerCase() : op,
    ...(isWithoutPath ? {} : { path: typeof path === 'string' ? properPath(path) : path }),
    ...(value === undefined ? {} : { value: properValue }),
  };
}

function properPath(path: string): string {
  // A path names members of an object; these are those of every object.
  if (/\b(__proto__|constructor|prototype)\b/.test(path)) {
    throw new ScimProblem(400, 'this path is not allowed', 'invalidPath');
  }
  const local = path.replace(/^urn:ietf:params:scim:schemas:core:2\.0:(user|group):/i, '');
  return local.replace(/^\w+/, properName);
}

/** @throws ScimProblem for what is no object, or an object with members that no resource has */
export function objectOf(value: unknown): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ScimProblem(400, 'a JSON object was expected', 'invalidSyntax');
  }
  refuseStrangeNames(value, 0);
  return value as Members;
}

function refuseStrangeNames(value: unknown, depth: number): void {
  if (typeof value !== 'object' || value === null) return;
  if (depth > maxDepth) throw new ScimProblem(400, 'the resource is too deep', 'invalidSyntax');
  for (const [name, member] of Object.entries(value)) {
    if (/(^|\.)(__proto__|constructor|prototype)($|\.)/.test(name)) {
      throw new ScimProblem(400, `the name ${JSON.stringify(name)} is not allowed`, 'invalidSyntax');
    }
    refuseStrangeNames(member, depth + 1);
  }
}

/** @throws ScimProblem */
export function textOf(value: unknown, name: string): string {
  const isText = typeof value === 'string' && value !== '' && value.trim() === value && value.length <= maxTextLength;
  if (isText && value.isWellFormed() && !/\p{Cc}/u.test(value)) return value;
  throw invalidValue(`${name} must be a text of at most ${maxTextLength} characters`);
}

/** Entra ID writes "True" and "False". */
function truth(value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  const text = typeof value === 'string' ? value.toLowerCase() : '';
  if (text === 'true' || text === 'false') return text === 'true';
  throw invalidValue('active must be true or false');
}

function subjectOf(
  from: ScimConfiguration['subjectFrom'],
  user: { readonly userName: string; readonly externalId: string | undefined; readonly emails: unknown },
): string {
  if (from === 'userName') return user.userName;
  if (from === 'externalId' && user.externalId !== undefined) return user.externalId;
  const emails = from === 'emails' && Array.isArray(user.emails) ? user.emails.map(objectOf) : [];
  const primary = emails.find((email) => email['primary'] === true) ?? (emails.length === 1 ? emails[0] : undefined);
  if (primary !== undefined) return textOf(primary['value'], 'the primary e-mail address');
  throw invalidValue(
    `the user has no ${from === 'emails' ? 'primary e-mail address' : from}, which is its subject here`,
  );
}
