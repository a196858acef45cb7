/**
 * The difference between two sets of rules, in words and by effect. Only what is shown here to narrow access counts as
 * narrower; everything else that changes anything counts as wider and needs a second person (promise P7). Pure.
 */
import type { RuleSet } from '../config/rules-schema.ts';
import { canonicalJson } from '../lib/canonical-json.ts';
import { parsePolicies } from '../policy/engine.ts';
import { maskingChanges } from './masking-diff.ts';
import { policyChanges } from './cedar-diff.ts';
import { connectionChanges } from './connection-diff.ts';
import { isWithin, mayMeet, placeText, type Labels, type RuleChange } from './rule-change.ts';
import { workflowChanges } from './workflow-diff.ts';

/** @throws configuration_invalid when policies of one of the two do not parse */
export function ruleDiff(from: RuleSet, to: RuleSet): RuleChange[] {
  const changes = [
    ...connectionChanges(from, to),
    ...bindingChanges(from, to),
    ...workflowChanges(from.workflows, to.workflows),
    ...maskingChanges(from.masking, to.masking),
    ...(canonicalJson(from.policies) === canonicalJson(to.policies)
      ? []
      : policyChanges(parsePolicies(from.policies), parsePolicies(to.policies))),
  ];
  if (changes.length === 0 && canonicalJson(from) !== canonicalJson(to)) {
    return [{ part: 'policies', effect: 'same', what: 'order, names or spelling', labels: undefined }];
  }
  return changes;
}

interface BindingAtom {
  readonly group: string;
  readonly duty: string;
  readonly labels: Labels;
}

function bindingChanges(from: RuleSet, to: RuleSet): RuleChange[] {
  const [before, after] = [atomsOf(from), atomsOf(to)];
  const changes: RuleChange[] = [];
  for (const atom of after) {
    if (before.some((one) => sameAtom(one, atom))) continue;
    const isCovered = before.some((one) => covers(one, atom));
    changes.push({
      part: 'bindings',
      effect: isCovered ? 'same' : 'wider',
      what: `group ${atom.group} gets the duty ${atom.duty} on ${placeText(atom.labels)}`,
      labels: atom.labels,
    });
  }
  for (const atom of before) {
    if (after.some((one) => sameAtom(one, atom))) continue;
    const why = after.some((one) => covers(one, atom)) ? undefined : whyRemovalWidens(atom, from, to);
    changes.push({
      part: 'bindings',
      effect: why === undefined ? 'narrower' : 'wider',
      what: `group ${atom.group} loses the duty ${atom.duty} on ${placeText(atom.labels)}`,
      why,
      labels: atom.labels,
    });
  }
  return changes;
}

/** To lose a duty can be a gain: designer sessions do less than executor sessions, and a policy can forbid by duty. */
function whyRemovalWidens({ duty, labels }: BindingAtom, from: RuleSet, to: RuleSet): string | undefined {
  const executes = atomsOf(to).some((one) => one.duty === 'executor' && mayMeet(one.labels, labels));
  if (duty === 'designer' && executes) return 'sessions of whoever is an executor too become those of an executor';
  const speaksOfDuties = [...from.policies.files, ...to.policies.files].some(({ text }) => /duty/i.test(text));
  return speaksOfDuties ? 'a policy decides by duties, so losing one can lift a prohibition' : undefined;
}

function atomsOf({ bindings }: RuleSet): BindingAtom[] {
  return bindings.flatMap(({ group, duties, labels }) => duties.map((duty) => ({ group, duty, labels })));
}

function sameAtom(one: BindingAtom, other: BindingAtom): boolean {
  return covers(one, other) && covers(other, one);
}

function covers(one: BindingAtom, other: BindingAtom): boolean {
  return one.group === other.group && one.duty === other.duty && isWithin(other.labels, one.labels);
}
