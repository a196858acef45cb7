/** The digest's input as fields for people: everything that is in it, whatever is added to it later. */
import type { DigestInput } from './requests.ts';

export interface DigestField {
  readonly name: string;
  readonly value: string;
}

export interface DigestGroup {
  readonly group: string;
  readonly fields: readonly DigestField[];
}

const groupNames: Readonly<Record<string, string>> = {
  kind: 'Kind of request',
  job: 'Job',
  statement: 'Statement',
  target: 'Target',
  searchPath: 'search_path',
  definitions: 'Definitions of what is touched (SHA-256)',
  parameters: 'Parameters',
  plan: 'Chunk plan',
  output: 'Output',
  maskingDigest: 'Masking rules (SHA-256)',
  policyDigest: 'Policies (SHA-256)',
  caps: 'Caps',
  executors: 'Who may execute',
  expiry: 'Expiry',
  changes: 'Changes of the rules',
  connections: 'Connections that they touch',
  from: 'Rules in force before (SHA-256)',
  to: 'New rules (SHA-256)',
  content: 'All of the new rules',
};

const order = Object.keys(groupNames);

export function digestFields(input: DigestInput): DigestGroup[] {
  const rank = (name: string) => (order.indexOf(name) + order.length + 1) % (order.length + 1);
  return Object.keys(input)
    .toSorted((a, b) => rank(a) - rank(b))
    .map((name) => ({
      group: groupNames[name] ?? name,
      fields: name === 'definitions' ? definitions(input[name]) : leaves('', input[name]),
    }));
}

function definitions(value: unknown): DigestField[] {
  if (!Array.isArray(value)) return leaves('', value);
  return value.flatMap((one: unknown) => {
    const { name, digest, ...rest } = one as { name?: unknown; digest?: unknown };
    const isPlain = typeof name === 'string' && typeof digest === 'string' && Object.keys(rest).length === 0;
    return isPlain ? [{ name, value: digest }] : leaves('', one);
  });
}

/** Every leaf below a value, with its path. A list of things is one field for each, with its members side by side. */
function leaves(path: string, value: unknown): DigestField[] {
  if (Array.isArray(value)) {
    if (!value.some(isObject)) return [{ name: path, value: listText(value) }];
    return value.map((one: unknown, index) => ({ name: `${path}[${index}]`, value: lineOf(one) }));
  }
  if (!isObject(value)) return [{ name: path, value: textOf(value) }];
  const entries = Object.entries(value);
  if (entries.length === 0) return [{ name: path, value: '(none)' }];
  return entries.flatMap(([name, one]) => leaves(path === '' ? name : `${path}.${name}`, one));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `2569, 3285`; of lists: `(1, a), (2, b)`. */
function listText(value: readonly unknown[]): string {
  const said = value.map((one) => {
    if (isObject(one)) return `(${lineOf(one)})`;
    if (!Array.isArray(one)) return textOf(one);
    return one.length === 1 ? lineOf(one[0]) : `(${listText(one)})`;
  });
  return said.join(', ') || '(none)';
}

/** `name: id · mask: none`. */
function lineOf(value: unknown): string {
  if (Array.isArray(value)) return listText(value);
  if (!isObject(value)) return textOf(value);
  const members = Object.entries(value).map(
    ([name, one]) => `${name}: ${isObject(one) ? `(${lineOf(one)})` : lineOf(one)}`,
  );
  return members.join(' · ') || 'none';
}

function textOf(value: unknown): string {
  if (value === null) return 'none';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
