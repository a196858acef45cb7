/** Whether a set of rules can be used at all: it compiles, and it leaves somebody who can decide. Pure. */
import type { RuleSet } from '../config/rules-schema.ts';
import { CountersignError } from '../errors.ts';
import { compileMasking } from '../masking/policy.ts';
import { compilePolicies } from '../policy/engine.ts';
import type { PolicyConnection } from '../policy/entities.ts';
import { isWithin } from './rule-change.ts';

/**
 * @param connections those of this gateway
 * @throws CountersignError `policy_invalid`
 */
export function checkRules(rules: RuleSet, connections: readonly PolicyConnection[]): void {
  try {
    compilePolicies(rules.policies);
    // Also the templates that apply to no connection yet.
    const everywhere = rules.masking.map((template) => ({ ...template, appliesTo: {} }));
    compileMasking(everywhere, {}, { hashKey: Buffer.alloc(32) });
  } catch (error) {
    if (!(error instanceof CountersignError)) throw error;
    throw new CountersignError('policy_invalid', error.message, { hint: error.hint, detail: error.detail });
  }
  const lockedOut = connections.filter(
    ({ labels }) =>
      !rules.bindings.some(
        (binding) =>
          isWithin(labels, binding.labels) && (binding.duties.includes('admin') || binding.duties.includes('approver')),
      ),
  );
  if (lockedOut.length === 0) return;
  const names = lockedOut.map(({ name }) => name).join(', ');
  throw new CountersignError('policy_invalid', `bindings: nobody could decide anything any more on ${names}`, {
    hint: 'bind a group to admin or approver there',
  });
}

/** What a person should look at before these rules are applied. */
export function warningsOf(rules: RuleSet, connections: readonly PolicyConnection[]): string[] {
  const matchesNone = (labels: Readonly<Record<string, string>>) =>
    !connections.some((connection) => isWithin(connection.labels, labels));
  const text = (labels: Readonly<Record<string, string>>) => JSON.stringify(labels);
  return [
    ...rules.bindings
      .filter(({ labels }) => matchesNone(labels))
      .map(({ group, labels }) => `bindings: ${group}: no connection has the labels ${text(labels)}`),
    ...rules.masking
      .filter(({ appliesTo }) => matchesNone(appliesTo))
      .map(({ name, appliesTo }) => `masking: ${name}: no connection has the labels ${text(appliesTo)}`),
    ...rules.workflows
      .filter(({ match }) => matchesNone(match.labels))
      .map(
        ({ name, match }, index) =>
          `workflows: ${name ?? index + 1}: no connection has the labels ${text(match.labels)}`,
      ),
  ];
}
