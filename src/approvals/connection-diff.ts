/**
 * What a change of the rules' connections does. A connection opens a database to people, and its labels say what is
 * masked there, so whatever is new or different counts as wider; only to remove one does not. Pure.
 */
import { isDeepStrictEqual } from 'node:util';
import type { AddedConnection } from '../config/connection-schema.ts';
import type { RuleSet } from '../config/rules-schema.ts';
import { inheritedBy } from './inheritance.ts';
import type { RuleChange } from './rule-change.ts';

export function connectionChanges(from: RuleSet, to: RuleSet): RuleChange[] {
  const before = new Map(from.connections.map((one) => [one.name, one]));
  const after = new Set(to.connections.map(({ name }) => name));
  return [
    ...to.connections.flatMap((one) => {
      const known = before.get(one.name);
      if (known === undefined) return [added(one, to)];
      return isDeepStrictEqual(known, one) ? [] : [changed(known, one, to)];
    }),
    ...from.connections
      .filter(({ name }) => !after.has(name))
      .map(({ name, labels }) => ({
        part: 'connections' as const,
        effect: 'narrower' as const,
        what: `connection ${name} is removed; its sessions end`,
        labels,
      })),
  ];
}

/** It belongs to no labels that anybody has duties on yet: every connection's deciders decide on it. */
function added(one: AddedConnection, rules: RuleSet): RuleChange {
  const { target, database, ...rest } = factsOf(one);
  const facts = Object.entries(rest).map(([name, value]) => `${name}: ${value}`);
  return {
    part: 'connections',
    effect: 'wider',
    what: `new connection ${one.name}: database ${database} at ${target}`,
    why: [...facts, consequence(one, rules)].join('; '),
    labels: undefined,
  };
}

function changed(before: AddedConnection, one: AddedConnection, rules: RuleSet): RuleChange {
  const [old, now] = [factsOf(before), factsOf(one)];
  const facts = Object.entries(now).flatMap(([name, value]) =>
    old[name as keyof typeof old] === value ? [] : [`${name} ${value} instead of ${old[name as keyof typeof old]}`],
  );
  return {
    part: 'connections',
    effect: 'wider',
    what: `connection ${one.name} changes: ${facts.length === 0 ? 'how it is written' : facts.join('; ')}`,
    why: consequence(one, rules),
    labels: undefined,
  };
}

/** Each in a form of its own, so that no two of them read alike. */
function factsOf({ engine, host, port, database, labels, searchPath, tls, users }: AddedConnection) {
  return {
    database: JSON.stringify(database),
    target: `${engine} ${host}:${port}`,
    TLS:
      tls.mode === 'disable'
        ? 'none'
        : `verified as ${JSON.stringify(tls.serverName ?? host)}${tls.negotiation === 'direct' ? ', direct' : ''}`,
    labels: JSON.stringify(labels),
    'search path': JSON.stringify(searchPath),
    'log-ins': JSON.stringify(users),
  };
}

/** What the labels bring with them, for whoever decides. */
function consequence({ labels }: AddedConnection, rules: RuleSet): string {
  const { masking, bindings } = inheritedBy(labels, rules);
  const masks =
    masking.length === 0 ? 'nothing is masked there' : `masked by ${masking.map(({ name }) => name).join(', ')}`;
  const held = bindings.map(({ group, duties }) => `${group} (${duties.join(', ')})`);
  return `${masks}; ${held.length === 0 ? 'nobody has a duty there' : `open to ${held.join(', ')}`}`;
}
