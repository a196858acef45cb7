/**
 * The rules of a gateway apart from the rest of its configuration: bindings, masking, workflows, Cedar policies with
 * their texts, and further connections. Whatever decides them (the configuration file, or what was applied later), they come as one value.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { CountersignError } from '../errors.ts';
import { connectionOf } from './added-connections.ts';
import { parseYaml } from './load.ts';
import { rulesSchema, type RuleSet } from './rules-schema.ts';
import type { Configuration } from './schema.ts';

/** The configuration's own rules, policy files read. @throws configuration_invalid when one cannot be read */
export function rulesOf({ bindings, masking, workflows, policies }: Configuration): RuleSet {
  const files = policies.files.map((file) => {
    if (typeof file !== 'string') return file;
    try {
      return { name: path.basename(file), text: readFileSync(file, 'utf8') };
    } catch (error) {
      throw new CountersignError('configuration_invalid', `policies.files: cannot read ${file}`, { cause: error });
    }
  });
  return { connections: [], bindings, masking, workflows, policies: { defaults: policies.defaults, files } };
}

/**
 * A gateway of this file under these rules, with the connections of both.
 * @param file as it was read: what came of it by `withRules` has connections already that are not the file's
 * @throws configuration_invalid when both have a connection of one name
 */
export function withRules(file: Configuration, { connections, ...rules }: RuleSet): Configuration {
  const names = new Set(file.connections.map(({ name }) => name));
  const twice = connections.find(({ name }) => names.has(name));
  if (twice !== undefined) {
    throw new CountersignError(
      'configuration_invalid',
      `connections: ${twice.name} stands in the configuration file and in the rules that were applied`,
      { hint: 'call it something else in the file, or remove it from the rules first' },
    );
  }
  const secrets = file.connectionSecrets ?? path.join(file.dataDirectory, 'connections');
  const added = connections.map((one) => connectionOf(one, secrets));
  return { ...file, ...rules, connections: [...file.connections, ...added] };
}

export interface RuleFile {
  readonly name: string;
  readonly text: string;
}

const maxFiles = 200;

/**
 * A set of rules from files: `.cedar` files hold policies; `.yaml`, `.yml` and `.json` files hold any of `connections`,
 * `bindings`, `masking`, `workflows` and `policies: { defaults }`. What several files say of one part is put together in
 * the order of their names. A part that no file speaks of stays as it is in `current`.
 * @throws CountersignError `policy_invalid` with file, line and what
 */
export function rulesFromFiles(files: readonly RuleFile[], current: RuleSet): RuleSet {
  if (files.length === 0) throw invalid('there is no .cedar, .yaml, .yml or .json file');
  if (files.length > maxFiles) throw invalid(`more than ${maxFiles} files`);
  const sorted = files.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const seen = new Set<string>();
  for (const { name } of sorted) {
    if (seen.has(name)) throw invalid(`${name}: two files have this name`);
    seen.add(name);
  }
  const cedar = sorted.filter(({ name }) => name.endsWith('.cedar'));
  const parts = sorted
    .filter((file) => !cedar.includes(file))
    .map(({ name, text }) => {
      if (!/\.(ya?ml|json)$/.test(name)) throw invalid(`${name}: rules are in .cedar, .yaml, .yml or .json files`);
      return parsed(text, name);
    });
  const together = <T>(lists: readonly (readonly T[] | undefined)[], kept: T[]): T[] => {
    const given = lists.filter((list) => list !== undefined);
    return given.length === 0 ? kept : given.flat();
  };
  const defaults = new Set(parts.flatMap(({ policies }) => (policies === undefined ? [] : [policies.defaults])));
  if (defaults.size > 1) throw invalid('policies.defaults: two files contradict each other');
  return {
    connections: together(
      parts.map((part) => part.connections),
      current.connections,
    ),
    bindings: together(
      parts.map((part) => part.bindings),
      current.bindings,
    ),
    masking: together(
      parts.map((part) => part.masking),
      current.masking,
    ),
    workflows: together(
      parts.map((part) => part.workflows),
      current.workflows,
    ),
    policies: {
      defaults: [...defaults][0] ?? current.policies.defaults,
      files: cedar.length === 0 ? current.policies.files : cedar.map(({ name, text }) => ({ name, text })),
    },
  };
}

function parsed(text: string, name: string) {
  try {
    return parseYaml(text, name, rulesSchema);
  } catch (error) {
    if (error instanceof CountersignError) throw invalid(error.message);
    throw error;
  }
}

function invalid(what: string): CountersignError {
  return new CountersignError('policy_invalid', what, { hint: 'nothing was changed; see docs/policies.md' });
}
