/** From our words to Cedar entities. */
import type { CedarValueJson, EntityJson, TypeAndId } from '@cedar-policy/cedar-wasm/nodejs';
import type { Duty, Principal } from '../identity/principal.ts';

export interface PolicyConnection {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly engine: string;
}

const invisible = /[\p{Cf}\p{Default_Ignorable_Code_Point}]/gu;

/**
 * The form in which humans are compared. Two spellings of one identity must never count as two people, so case,
 * compatibility forms, white space around and invisible characters do not count. Empty = not known. What has this form
 * keeps it. Only ever used to refuse: whoever spells a name differently may be somebody else.
 */
export function humanKey(human: string): string {
  const bare = human.normalize('NFKC').replace(invisible, '').trim().toLowerCase();
  // What an invisible character kept apart may be one letter now.
  return bare.normalize('NFKC');
}

export function principalUid(principal: Principal): TypeAndId {
  return { type: 'Principal', id: principal.id };
}

export function principalEntity(principal: Principal, duties: readonly Duty[]): EntityJson {
  return {
    uid: principalUid(principal),
    attrs: { human: humanKey(principal.human), kind: principal.kind },
    parents: [
      ...principal.groups.toSorted().map((id) => ({ type: 'Group', id })),
      ...duties.toSorted().map((id) => ({ type: 'Duty', id })),
    ],
  };
}

export function connectionUid(name: string): TypeAndId {
  return { type: 'Connection', id: name };
}

export function connectionEntity(connection: PolicyConnection): EntityJson {
  const tags: Record<string, CedarValueJson> = {};
  for (const name of Object.keys(connection.labels).toSorted()) tags[name] = connection.labels[name] ?? '';
  return {
    uid: connectionUid(connection.name),
    attrs: { name: connection.name, engine: connection.engine },
    parents: [],
    tags,
  };
}
