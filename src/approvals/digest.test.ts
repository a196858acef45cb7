import assert from 'node:assert/strict';
import { test } from 'node:test';
import { author, hex, jobInput, statementInput } from '../../test/approval-fixtures.ts';
import { sha256Hex } from '../lib/canonical-json.ts';
import { drift, grantDigest, grantInputJson, type GrantInput } from './digest.ts';

const job = jobInput();
const statement = statementInput();

function withJob(more: Partial<NonNullable<GrantInput['job']>>): GrantInput {
  const { job: approved } = job;
  assert(approved !== undefined);
  return { ...job, job: { ...approved, ...more } };
}

function withPlan(more: Partial<NonNullable<GrantInput['plan']>>): GrantInput {
  const { plan } = job;
  assert(plan !== undefined);
  return { ...job, plan: { ...plan, ...more } };
}

function withTarget(more: Partial<GrantInput['target']>): GrantInput {
  return { ...job, target: { ...job.target, ...more } };
}

function withStatement(more: Partial<NonNullable<GrantInput['statement']>>): GrantInput {
  const { statement: approved } = statement;
  assert(approved !== undefined);
  return { ...statement, statement: { ...approved, ...more } };
}

const [customers, regions] = job.definitions;
assert(customers !== undefined && regions !== undefined);

/** Every field of the digest, changed alone, and the words that name it. */
const changes: readonly (readonly [string, GrantInput, GrantInput, readonly string[]])[] = [
  ['kind', job, { ...job, kind: 'session' }, ['request kind (job -> session)']],
  ['job name', job, withJob({ name: 'other' }), ['job name (export -> other)']],
  ['job path', job, withJob({ path: 'x.yaml' }), ['job path (jobs/export.yaml -> x.yaml)']],
  ['job content', job, withJob({ contentDigest: hex('9') }), ['job content (111111111111 -> 999999999999)']],
  ['commit', job, withJob({ commit: '8'.repeat(40) }), ['commit (222222222222 -> 888888888888)']],
  ['authors', job, withJob({ authors: [author('dora', 'pusher'), author('eve', 'co-author')] }), ['authors (']],
  ['a role of an author', job, withJob({ authors: [author('dora', 'committer')] }), ['authors (']],
  ['host', job, withTarget({ host: 'evil.test' }), ['target host (db.test -> evil.test)']],
  ['port', job, withTarget({ port: 1 }), ['target port (5432 -> 1)']],
  ['database', job, withTarget({ database: 'x' }), ['target database (crm -> x)']],
  ['system identifier', job, withTarget({ systemIdentifier: '1' }), ['target system identifier (7300 -> 1)']],
  ['engine', job, withTarget({ engine: 'redshift' }), ['target engine (postgres -> redshift)']],
  ['search path', job, { ...job, searchPath: ['evil', 'public'] }, ['search_path (["public"] -> ["evil","public"])']],
  [
    'a definition',
    job,
    { ...job, definitions: [{ ...customers, digest: hex('7') }, regions] },
    ['definition of public.customers (333333333333 -> 777777777777)'],
  ],
  [
    'a definition gone',
    job,
    { ...job, definitions: [customers] },
    ['definition of public.regions (444444444444 -> absent)'],
  ],
  [
    'a definition more',
    job,
    { ...job, definitions: [...job.definitions, { name: 'public.f(text)', digest: hex('6') }] },
    ['definition of public.f(text) (absent -> 666666666666)'],
  ],
  [
    'an overload more',
    job,
    { ...job, definitions: [...job.definitions, { ...regions, digest: hex('6') }] },
    ['definition of public.regions ('],
  ],
  ['a parameter', job, { ...job, parameters: { region: { type: 'text', allowed: ['EU'] } } }, ['parameter region (']],
  ['a parameter more', job, { ...job, parameters: { ...job.parameters, x: 1 } }, ['parameter x (absent -> ']],
  ['strategy', job, withPlan({ strategy: 'keyset' }), ['chunk strategy (quantile -> keyset)']],
  ['key', job, withPlan({ key: ['id', 'x'] }), ['chunk key (["id"] -> ["id","x"])']],
  ['count', job, withPlan({ count: 4 }), ['chunk count (3 -> 4)']],
  ['bounds', job, withPlan({ bounds: [['10'], ['21']] }), ['chunk bounds (']],
  ['output format', job, { ...job, output: { ...job.output, format: 'csv' } }, ['output format (parquet -> csv)']],
  [
    'output sink',
    job,
    { ...job, output: { ...job.output, to: 's3://x' } },
    ['output to (file://out/export -> s3://x)'],
  ],
  ['masking', job, { ...job, maskingDigest: hex('6') }, ['masking policy (555555555555 -> 666666666666)']],
  ['row cap', job, { ...job, caps: { ...job.caps, rows: null } }, ['row cap (5000 -> null)']],
  ['byte cap', job, { ...job, caps: { ...job.caps, bytes: 1 } }, ['byte cap (null -> 1)']],
  [
    'executor duty',
    job,
    { ...job, executors: { duty: 'designer', groups: [] } },
    ['who may execute: duty (executor -> designer)'],
  ],
  [
    'executor groups',
    job,
    { ...job, executors: { duty: 'executor', groups: ['g'] } },
    ['who may execute: groups ([] -> ["g"])'],
  ],
  ['expiry', job, { ...job, expiry: { durationMs: 1 } }, ['expiry (3600000 -> 1)']],
  ['text', statement, withStatement({ text: 'select * from customers ' }), ['statement text (']],
  ['a bound value', statement, withStatement({ parameters: ['8', null] }), ['statement parameters (']],
  ['the order of values', statement, withStatement({ parameters: [null, '7'] }), ['statement parameters (']],
  ['null is not the word null', statement, withStatement({ parameters: ['7', 'null'] }), ['statement parameters (']],
  ['no values at all', statement, withStatement({ parameters: undefined }), ['statement parameters (']],
  ['classes', statement, withStatement({ classes: ['write'] }), ['statement classes (["read"] -> ["write"])']],
];

for (const [what, approved, current, expected] of changes) {
  void test(`drift of ${what} changes the digest and is named, alone`, () => {
    assert.notEqual(grantDigest(approved), grantDigest(current));
    const found = drift(approved, current);
    assert.equal(found.length, expected.length, found.join('; '));
    for (const [index, words] of expected.entries())
      assert(found[index]?.startsWith(words), `${found[index]} is not ${words}`);
    assert.equal(drift(current, approved).length, expected.length);
  });
}

/** Paths of all members, so that a field added to the type without a line above is noticed here. */
function leaves(value: unknown, path: string): string[] {
  if (Array.isArray(value) || value === null || typeof value !== 'object') return [path];
  return Object.entries(value).flatMap(([name, member]) => leaves(member, `${path}.${name}`));
}

void test('every field of the input is one that the list above changes', () => {
  const changed = new Set(
    changes.flatMap(([, approved, current]) => {
      const before = new Map(leaves(approved, '').map((path) => [path, read(approved, path)]));
      return [...before.keys()].filter(
        (path) => JSON.stringify(read(current, path)) !== JSON.stringify(before.get(path)),
      );
    }),
  );
  const inside = /^\.parameters\./;
  const all = [...leaves(job, ''), ...leaves(statement, '')].filter((path) => !inside.test(path));
  assert.deepEqual(
    all.filter((path) => !changed.has(path)),
    [],
  );
});

function read(value: unknown, path: string): unknown {
  return path
    .split('.')
    .slice(1)
    .reduce<unknown>((inner, name) => (inner as Record<string, unknown> | undefined)?.[name], value);
}

void test('a field that drift does not know still counts', () => {
  const odd = { ...job, surprise: 1 };
  assert.match(drift(job, odd).join(), /^another field \(/);
});

void test('what has no order has no influence; the digest is that of the stored text', () => {
  const authors = [author('a'), author('b', 'pusher')];
  const one = jobInput({ executors: { duty: 'executor', groups: ['x', 'y'] } }, authors);
  const other = jobInput(
    { executors: { duty: 'executor', groups: ['y', 'x'] }, definitions: job.definitions.toReversed() },
    authors.toReversed(),
  );
  assert.equal(grantDigest(one), grantDigest(other));
  assert.deepEqual(drift(one, other), []);
  assert.equal(sha256Hex(grantInputJson(one)), grantDigest(one));
  assert.deepEqual(drift(JSON.parse(grantInputJson(one)) as GrantInput, other), []);
});

void test('nothing that can hold data appears in what drifted', () => {
  const found = [
    ...drift(job, withPlan({ bounds: [['123-45-6789'], ['x']] })),
    ...drift(job, { ...job, parameters: { region: '123-45-6789' } }),
    ...drift(statement, withStatement({ text: "select '123-45-6789'" })),
    ...drift(statement, withStatement({ parameters: ['123-45-6789'] })),
  ];
  assert.equal(found.length, 4);
  assert(!found.join().includes('123-45'));
});
