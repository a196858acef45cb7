/** Whether a set of rules can be used at all: it compiles, and it leaves somebody who can decide. Pure. */
import type { RuleSet } from '../config/rules-schema.ts';
import { CountersignError } from '../errors.ts';
import { isLoopback } from '../lib/loopback.ts';
import { compileMasking } from '../masking/policy.ts';
import { compilePolicies } from '../policy/engine.ts';
import type { PolicyConnection } from '../policy/entities.ts';
import { isWithin } from './rule-change.ts';

/** A connection, and where its database is. */
export interface PlacedConnection extends PolicyConnection {
  readonly host: string;
  readonly port: number;
  readonly database: string;
}

/**
 * @param configured the connections of the configuration file
 * @throws CountersignError `policy_invalid`
 */
export function checkRules(rules: RuleSet, configured: readonly PolicyConnection[]): void {
  try {
    compilePolicies(rules.policies);
    // Also the templates that apply to no connection yet.
    const everywhere = rules.masking.map((template) => ({ ...template, appliesTo: {} }));
    compileMasking(everywhere, {}, { hashKey: Buffer.alloc(32) });
  } catch (error) {
    if (!(error instanceof CountersignError)) throw error;
    throw new CountersignError('policy_invalid', error.message, { hint: error.hint, detail: error.detail });
  }
  const connections = [...configured, ...rules.connections];
  const names = new Set<string>();
  for (const { name } of connections) {
    if (names.has(name))
      throw new CountersignError('policy_invalid', `connections: there is a connection ${name} already`);
    names.add(name);
  }
  const lockedOut = connections.filter(
    ({ labels }) =>
      !rules.bindings.some(
        (binding) =>
          isWithin(labels, binding.labels) && (binding.duties.includes('admin') || binding.duties.includes('approver')),
      ),
  );
  if (lockedOut.length === 0) return;
  const where = lockedOut.map(({ name }) => name).join(', ');
  throw new CountersignError('policy_invalid', `bindings: nobody could decide anything on ${where}`, {
    hint: 'bind a group to admin or approver there',
  });
}

/** What a person should look at before these rules are applied. */
export function warningsOf(rules: RuleSet, configured: readonly PlacedConnection[]): string[] {
  const connections = [...configured, ...rules.connections];
  const matchesNone = (labels: Readonly<Record<string, string>>) =>
    !connections.some((connection) => isWithin(connection.labels, labels));
  const text = (labels: Readonly<Record<string, string>>) => JSON.stringify(labels);
  return [
    ...new Set(rules.connections.flatMap((one) => lessMasked(one, connections, rules))),
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

/** A second name for a database must not be a way around what is masked under the first. */
function lessMasked(one: PlacedConnection, connections: readonly PlacedConnection[], { masking }: RuleSet): string[] {
  const templatesOf = ({ labels }: PlacedConnection) =>
    masking.filter((template) => isWithin(labels, template.appliesTo));
  const missing = (here: PlacedConnection, there: PlacedConnection) => {
    const own = new Set(templatesOf(here));
    const names = templatesOf(there).filter((template) => !own.has(template));
    const text = names.map(({ name }) => name).join(', ');
    return names.length === 0
      ? []
      : [`connections: ${here.name} is the database of ${there.name}, and is not masked by ${text}`];
  };
  return connections
    .filter((other) => other.name !== one.name && placeOf(other) === placeOf(one))
    .flatMap((other) => [...missing(one, other), ...missing(other, one)]);
}

function placeOf({ host, port, database }: PlacedConnection): string {
  const name = host.toLowerCase().replace(/\.$/, '');
  return `${isLoopback(name) || name === '::1' ? 'localhost' : name}:${port}/${database}`;
}
