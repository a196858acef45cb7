/**
 * What changes between two sets of Cedar policies. A policy is known by what it says, not by its name or its file.
 * Narrower is: a permit less, a forbid more, and a permit with the same scope and further conditions.
 */
import { policyToJson, type PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';
import { canonicalJson, type Json } from '../lib/canonical-json.ts';
import type { CompiledPolicy } from '../policy/engine.ts';
import type { RuleChange } from './rule-change.ts';

interface Known extends CompiledPolicy {
  /** Everything but the annotations, canonical. */
  readonly meaning: string;
  /** The scope alone. */
  readonly scope: string;
  readonly conditions: ReadonlySet<string>;
}

type Policies = ReadonlyMap<string, CompiledPolicy>;

export function policyChanges(from: Policies, to: Policies): RuleChange[] {
  const [before, after] = [knownOf(from), knownOf(to)];
  const removed = without(before, after);
  const added = without(after, before);
  const changes: RuleChange[] = [];
  const change = (effect: RuleChange['effect'], what: string, why?: string) =>
    changes.push({ part: 'policies', effect, what, why, labels: undefined });
  const replaced = new Set<Known>();
  for (const policy of added) {
    const old = removed.find((one) => one.id === policy.id && !replaced.has(one));
    if (old === undefined) {
      change(policy.effect === 'permit' ? 'wider' : 'narrower', `${policy.effect} added: ${policy.id}`);
      continue;
    }
    replaced.add(old);
    const isNarrower =
      policy.effect === 'permit' &&
      old.effect === 'permit' &&
      policy.scope === old.scope &&
      [...old.conditions].every((condition) => policy.conditions.has(condition));
    const why = isNarrower ? undefined : 'a changed policy counts as wider unless it is a permit with more conditions';
    change(isNarrower ? 'narrower' : 'wider', `${policy.effect} changed: ${policy.id}`, why);
  }
  for (const policy of removed) {
    if (replaced.has(policy)) continue;
    change(policy.effect === 'permit' ? 'narrower' : 'wider', `${policy.effect} removed: ${policy.id}`);
  }
  return changes;
}

function without(policies: readonly Known[], others: readonly Known[]): Known[] {
  const left = others.map(({ meaning }) => meaning);
  return policies.filter(({ meaning }) => {
    const at = left.indexOf(meaning);
    if (at < 0) return true;
    left.splice(at, 1);
    return false;
  });
}

function knownOf(policies: Policies): Known[] {
  return [...policies.values()].map((policy) => {
    const answer = policyToJson(policy.text);
    if (answer.type === 'failure') throw new Error(`a policy that was compiled does not parse: ${policy.id}`);
    const { annotations: _annotations, conditions, ...scope }: PolicyJson = answer.json;
    const json = (value: unknown) => canonicalJson(JSON.parse(JSON.stringify(value)) as Json);
    return {
      ...policy,
      meaning: json({ scope, conditions }),
      scope: json(scope),
      conditions: new Set(conditions.map(json)),
    };
  });
}
