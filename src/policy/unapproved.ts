/**
 * What a principal may do on a connection without anybody's approval, by the policies as they are: for reviews, not for
 * decisions. A permit whose condition needs more than a plain statement (a certain relation, say) is not found.
 */
import type { CedarValueJson } from '@cedar-policy/cedar-wasm/nodejs';
import type { Duty, Principal } from '../identity/principal.ts';
import { connectionEntity, connectionUid, principalEntity, principalUid, type PolicyConnection } from './entities.ts';
import type { PolicySet } from './engine.ts';
import type { StatementAction } from './schema.ts';

const chunking = [
  'read',
  'write',
  'ddl',
  'copy-out',
  'copy-in',
  'unknown',
] as const satisfies readonly StatementAction[];

export interface UnapprovedAction {
  readonly action: (typeof chunking)[number];
  readonly policies: readonly string[];
}

const plainStatement: Readonly<Record<string, CedarValueJson>> = {
  approved: false,
  command: '',
  rows: 1_000_000,
  paging: false,
  relations: [],
  touchesMasked: true,
  nothingMasked: false,
  maskedPredicates: [],
  maskedEqualities: [],
  setting: { name: '', value: '' },
};

/**
 * The same for many principals: those whom no policy can tell apart share an answer. Policies tell apart duties, groups
 * and principals that they name, and people from service accounts; a policy of users that reads `principal.human` has
 * every human looked at.
 */
export function unapprovedLookup(
  policySet: PolicySet,
): (principal: Principal, duties: readonly Duty[], connection: PolicyConnection) => readonly UnapprovedAction[] {
  const own = [...policySet.policies.values()].filter(({ id }) => !id.startsWith('countersign'));
  const texts = own.map(({ text }) => text).join('\n');
  const readsHumans = /\bhuman\b/.test(texts);
  const known = new Map<string, readonly UnapprovedAction[]>();
  return (principal, duties, connection) => {
    if (duties.length === 0) return [];
    const named = (name: string) => texts.includes(JSON.stringify(name));
    const { id, human, kind, groups } = principal;
    const who = readsHumans ? human : named(id) ? id : '';
    const key = JSON.stringify([connection.name, duties, kind, who, groups.filter(named).toSorted()]);
    let found = known.get(key);
    if (found === undefined) known.set(key, (found = unapprovedActions(policySet, principal, duties, connection)));
    return found;
  };
}

function unapprovedActions(
  policySet: PolicySet,
  principal: Principal,
  duties: readonly Duty[],
  connection: PolicyConnection,
): UnapprovedAction[] {
  const found = new Map<string, UnapprovedAction>();
  for (const duty of duties.filter((one) => one === 'designer' || one === 'executor')) {
    for (const action of chunking) {
      const answer = policySet.evaluate({
        principal: principalUid(principal),
        action,
        resource: connectionUid(connection.name),
        // What is not understood can only ever run where nothing is masked.
        context: { ...plainStatement, duty, nothingMasked: action === 'unknown' },
        entities: [principalEntity(principal, duties), connectionEntity(connection)],
      });
      if (answer.allowed) found.set(action, { action, policies: answer.policies });
    }
  }
  return [...found.values()];
}
