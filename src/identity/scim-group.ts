/** A SCIM group as clients write it, and as it is kept: a name and its members. Pure. RFC 7643, section 4.2. */
import { ScimProblem, invalidValue } from './scim-problem.ts';
import { objectOf, operationsOf, properName, textOf } from './scim-user.ts';

export interface ScimGroupContent {
  readonly displayName: string;
  readonly externalId: string | undefined;
  /** Ids of users. */
  readonly members: ReadonlySet<string>;
}

export const groupSchema = 'urn:ietf:params:scim:schemas:core:2.0:Group';
const oneMember = /^members\[value eq "([^"\\]{1,100})"\]$/i;

/** @throws ScimProblem */
export function groupContent(body: unknown): ScimGroupContent {
  const given = withProperNames(objectOf(body));
  return {
    displayName: textOf(given['displayName'], 'displayName'),
    externalId: given['externalId'] == null ? undefined : textOf(given['externalId'], 'externalId'),
    members: new Set(membersOf(given['members'] ?? [])),
  };
}

interface Draft {
  displayName: unknown;
  externalId: unknown;
  members: Set<string>;
}

/** @throws ScimProblem */
export function patchedGroup(before: ScimGroupContent, body: unknown): ScimGroupContent {
  const draft: Draft = { ...before, members: new Set(before.members) };
  for (const { op, path, value } of operationsOf(body) as { op: string; path?: string; value?: unknown }[]) {
    if (path !== undefined) {
      apply(draft, op, path, value);
      continue;
    }
    // Other attributes of a group mean nothing here, and Okta writes the `id` along.
    const known = Object.entries(withProperNames(objectOf(value))).filter(([name]) =>
      ['displayName', 'externalId', 'members'].includes(name),
    );
    for (const [name, member] of known) apply(draft, op, name, member);
  }
  return groupContent({ ...draft, members: [...draft.members].map((id) => ({ value: id })) });
}

function apply(draft: Draft, op: string, path: string, value: unknown): void {
  const one = oneMember.exec(path)?.[1];
  if (one !== undefined && op === 'remove') {
    draft.members.delete(one);
  } else if (path === 'members') {
    const named = value === undefined || value === null ? undefined : membersOf(value);
    if (op === 'replace') draft.members = new Set(named ?? []);
    else if (op === 'add') for (const id of named ?? []) draft.members.add(id);
    else if (named === undefined) draft.members.clear();
    else for (const id of named) draft.members.delete(id);
  } else if (path === 'displayName' || path === 'externalId') {
    draft[path] = op === 'remove' ? undefined : value;
  } else {
    throw new ScimProblem(400, `groups have no ${JSON.stringify(path.slice(0, 100))}`, 'invalidPath');
  }
}

function membersOf(value: unknown): string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return list.map((one) => {
    const { value: id, type } = objectOf(one);
    if (typeof type === 'string' && type.toLowerCase() === 'group')
      throw invalidValue('a group is no member of a group');
    return textOf(id, "a member's value");
  });
}

function withProperNames(value: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [properName(name), member]));
}
