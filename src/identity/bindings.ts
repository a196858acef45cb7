/**
 * From groups to duties. Groups come from the identity provider; which duty a group gives on which connections is
 * configuration (`bindings`). Nothing else gives a duty.
 */
import { duties as allDuties, type Duty, type Principal } from './principal.ts';

export interface Binding {
  readonly group: string;
  readonly duties: readonly Duty[];
  /** The connections that it is for: those that carry all of these labels. None = every connection. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

/** Used where the configuration has no `bindings`. */
export const defaultBindings: readonly Binding[] = [
  { group: 'chunk-designers', duties: ['designer'] },
  { group: 'chunk-executors', duties: ['approver', 'executor'] },
  { group: 'auditors', duties: ['auditor'] },
];

/** The duties that a principal holds on a connection with these labels, each once, in the order of `duties`. */
export function dutiesOf(
  principal: Pick<Principal, 'groups'>,
  connectionLabels: Readonly<Record<string, string>>,
  bindings: readonly Binding[],
): Duty[] {
  const held = dutySources(principal, connectionLabels, bindings);
  return allDuties.filter((duty) => held.has(duty));
}

/** The same duties, each with the groups that give it. */
export function dutySources(
  principal: Pick<Principal, 'groups'>,
  connectionLabels: Readonly<Record<string, string>>,
  bindings: readonly Binding[],
): Map<Duty, Set<string>> {
  const sources = new Map<Duty, Set<string>>();
  for (const { group, duties, labels } of bindings) {
    if (!principal.groups.includes(group) || !carriesAll(connectionLabels, labels ?? {})) continue;
    for (const duty of duties) sources.set(duty, (sources.get(duty) ?? new Set()).add(group));
  }
  return sources;
}

/** The groups that give this duty on a connection with these labels, each once. */
export function groupsWith(
  duty: Duty,
  connectionLabels: Readonly<Record<string, string>>,
  bindings: readonly Binding[],
): string[] {
  const binding = bindings.filter((one) => one.duties.includes(duty) && carriesAll(connectionLabels, one.labels ?? {}));
  return [...new Set(binding.map(({ group }) => group))].sort();
}

/**
 * The duty in which a database session acts: the first of these that is held. Undefined: approvers, auditors and
 * admins have no business in a target database, and the caller refuses the session (`duty_missing`).
 * A designer who is also an executor is a designer here, because that session can do less.
 */
export function sessionDuty(duties: readonly Duty[]): 'designer' | 'executor' | undefined {
  if (duties.includes('designer')) return 'designer';
  return duties.includes('executor') ? 'executor' : undefined;
}

function carriesAll(labels: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([name, value]) => Object.hasOwn(labels, name) && labels[name] === value);
}
