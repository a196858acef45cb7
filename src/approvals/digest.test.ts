import assert from 'node:assert/strict';
import { test } from 'node:test';
import { author, hex, jobInput, statementInput } from '../../test/approval-fixtures.ts';
import { sha256Hex } from '../lib/canonical-json.ts';
import { drift, grantDigest, grantFields, grantInputJson, type GrantField, type GrantInput } from './digest.ts';

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

const template: NonNullable<NonNullable<GrantInput['statement']>['template']> = {
  text: 'select * from customers where id > :lo and id <= :hi',
  shape: hex('a'),
  form: 'range',
  key: 'public.customers.id',
  lowest: '1',
  highest: '100',
  uses: 10,
  anySession: false,
};
const loop = withStatement({ template });

function withTemplate(more: Partial<typeof template>): GrantInput {
  return withStatement({ template: { ...template, ...more } });
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
  ['database OID', job, withTarget({ databaseOid: '9' }), ['target database OID (16384 -> 9)']],
  ['timeline', job, withTarget({ timeline: 2 }), ['target timeline (1 -> 2)']],
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
  [
    'the type of a value',
    withStatement({ parameterKinds: [{ type: 23, format: 'text' }] }),
    withStatement({ parameterKinds: [{ type: 25, format: 'text' }] }),
    ['types of statement parameters ('],
  ],
  [
    'policies',
    { ...statement, policyDigest: hex('b') },
    { ...statement, policyDigest: hex('c') },
    ['policies (bbbbbbbbbbbb -> cccccccccccc)'],
  ],
  [
    'the principal',
    { ...statement, executors: { ...statement.executors, principal: 'dora' } },
    { ...statement, executors: { ...statement.executors, principal: 'eve' } },
    ['who may execute: principal (dora -> eve)'],
  ],
  [
    'the session',
    { ...statement, executors: { ...statement.executors, session: 'ses_1' } },
    { ...statement, executors: { ...statement.executors, session: 'ses_2' } },
    ['who may execute: session (ses_1 -> ses_2)'],
  ],
  ['the text of a template', loop, withTemplate({ text: 'x' }), ['template text (']],
  ['its shape', loop, withTemplate({ shape: hex('b') }), ['template (aaaaaaaaaaaa -> bbbbbbbbbbbb)']],
  ['its form', loop, withTemplate({ form: 'offset' }), ['template form (range -> offset)']],
  ['its key', loop, withTemplate({ key: 'public.customers.ssn' }), ['template key (']],
  ['its lowest key', loop, withTemplate({ lowest: '0' }), ['lowest key (']],
  ['its highest key', loop, withTemplate({ highest: '101' }), ['highest key (']],
  ['its uses', loop, withTemplate({ uses: 11 }), ['cap on uses (10 -> 11)']],
  ['its sessions', loop, withTemplate({ anySession: true }), ['later sessions (false -> true)']],
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

void test('every field of the type is one that the list above changes', () => {
  const isChanged = (field: GrantField) =>
    changes.some(
      ([, approved, current]) => JSON.stringify(read(approved, field)) !== JSON.stringify(read(current, field)),
    );
  assert.deepEqual(
    grantFields.filter((field) => !isChanged(field)),
    [],
  );
});

function read(value: unknown, path: string): unknown {
  return path
    .split('.')
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
