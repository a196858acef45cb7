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
  caps: 'Caps',
  executors: 'Who may execute',
  expiry: 'Expiry',
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

/** Every leaf below a value, with its path; short lists of plain values are one leaf. */
function leaves(path: string, value: unknown): DigestField[] {
  if (Array.isArray(value)) {
    if (value.every((one) => typeof one !== 'object' || one === null))
      return [{ name: path, value: value.map(textOf).join(', ') || '(none)' }];
    return value.flatMap((one: unknown, index) => leaves(`${path}[${index}]`, one));
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value);
    if (entries.length === 0) return [{ name: path, value: '(none)' }];
    return entries.flatMap(([name, one]) => leaves(path === '' ? name : `${path}.${name}`, one));
  }
  return [{ name: path, value: textOf(value) }];
}

function textOf(value: unknown): string {
  if (value === null) return 'none';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
