import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CountersignError } from '../errors.ts';
import { outputPath, parseJobDefinition } from './definition.ts';

const good = `# jobs/customers-export.yaml
job: customers-export
connection: crm
source: |
  select id, name, created_at from customers where region = :region
parameters: { region: { type: text, allowed: [EU, US], default: EU } }
chunk: { by: id, rows: 50000 }
output: { format: parquet, to: "file://out/customers-export" }
limits: { rows: 5000000, bytes: 2GB, concurrency: 4, rowsPerSecond: 200000, statementTimeout: 60s }
`;

/** The lines of the error that a changed definition gives. */
function problems(content: string, path = 'jobs/customers-export.yaml'): string[] {
  try {
    parseJobDefinition(content, path);
  } catch (error) {
    assert.ok(error instanceof CountersignError);
    assert.equal(error.code, 'job_invalid');
    return error.message.split('\n');
  }
  return [];
}

void describe('job definition', () => {
  void test('reads every field', () => {
    assert.deepEqual(parseJobDefinition(good, 'jobs/customers-export.yaml'), {
      job: 'customers-export',
      connection: 'crm',
      source: 'select id, name, created_at from customers where region = :region',
      parameters: { region: { type: 'text', allowed: ['EU', 'US'], min: undefined, max: undefined, default: 'EU' } },
      chunk: { by: { kind: 'columns', columns: ['id'] }, size: { unit: 'rows', value: 50_000 }, strategy: undefined },
      output: { format: 'parquet', to: 'file://out/customers-export', escapeFormulas: false },
      limits: {
        rows: 5_000_000,
        bytes: 2_000_000_000,
        concurrency: 4,
        rowsPerSecond: 200_000,
        statementTimeoutMs: 60_000,
      },
    });
  });

  void test('what is left out has a default', () => {
    const content =
      'job: a\nconnection: b\nsource: select 1\nchunk: { by: none }\noutput: { format: csv, to: "file:///x" }\n';
    const { limits, chunk, parameters } = parseJobDefinition(content, 'a.yaml');
    assert.equal(limits.concurrency, 4);
    assert.equal(limits.statementTimeoutMs, 60_000);
    assert.equal(limits.rows, undefined);
    assert.deepEqual(chunk.by, { kind: 'none' });
    assert.deepEqual(parameters, {});
  });

  void test('lists every problem with its line and field', () => {
    const content = `job: customers-export
connection: CRM
source: select 1
parameters:
  region: {type: text, allowd: [EU]}
chunk:
  by: id
  rows: many
output: {format: xml, to: "file://../out"}
limits:
  bytes: 2XB
  concurrency: 0
extra: 1
`;
    const found = problems(content);
    const starts = [
      '2: connection: expected',
      '5: parameters.region.allowd: unknown field',
      '8: chunk.rows: expected a whole number',
      '9: output.format: expected csv, ndjson or parquet',
      '9: output.to: expected file://',
      '11: limits.bytes: expected a size',
      '12: limits.concurrency: expected at least 1',
      '13: extra: unknown field',
    ];
    assert.equal(found.length, starts.length, found.join('\n'));
    for (const [index, start] of starts.entries()) {
      assert.ok(found[index]?.startsWith(`jobs/customers-export.yaml:${start}`), found[index]);
    }
  });

  void test('says which field is missing', () => {
    assert.deepEqual(problems('job: customers-export\nconnection: crm\nsource: select 1\nchunk: {by: none}\n'), [
      'jobs/customers-export.yaml:1: output: is missing',
    ]);
  });

  const one: [string, (text: string) => string, RegExp][] = [
    [
      'a file of another name',
      (text) => text.replace('job: customers', 'job: clients'),
      /:2: job: expected customers-export/,
    ],
    ['duplicate keys', (text) => `${text}job: again\n`, /:10: Map keys must be unique/],
    [
      'aliases',
      (text) => text.replace('job: customers-export', 'job: &a customers-export').replace('crm', '*a'),
      /:3: aliases/,
    ],
    ['an undeclared parameter', (text) => text.replace(':region', ':country'), /:4: source: :country is not declared/],
    [
      'an unused parameter',
      (text) => text.replace(':region', "'EU'"),
      /:6: parameters.region: the source does not use/,
    ],
    [
      'a default that is not allowed',
      (text) => text.replace('default: EU', 'default: XX'),
      /:6: parameters.region.default: expected one of EU, US/,
    ],
    ['a range on text', (text) => text.replace('default: EU', 'min: A'), /:6: parameters.region.min: .* has no range/],
    [
      'two chunk sizes',
      (text) => text.replace('rows: 50000', 'rows: 1, count: 2'),
      /:7: chunk.count: expected only one/,
    ],
    ['a size for one chunk', (text) => text.replace('by: id', 'by: none'), /:7: chunk.by: one chunk/],
    ['a fraction of a row', (text) => text.replace('50000', '1.5'), /:7: chunk.rows: expected a whole number/],
    ['other storage than files', (text) => text.replace('file://out', 's3://out'), /:8: output.to: expected file:/],
    ['a syntax error', (text) => text.replace('by: id,', 'by: [id,'), /:7: /],
    ['a list', () => '- 1\n', /:1: expected the fields/],
    ['nothing', () => '', /:1: expected the fields/],
    ['a prototype field', (text) => `${text}__proto__: { a: 1 }\n`, /:10: __proto__: unknown field/],
  ];
  for (const [what, change, expected] of one) {
    void test(`refuses ${what}`, () => {
      const found = problems(change(good));
      assert.ok(
        found.some((problem) => expected.test(problem)),
        found.join('\n') || 'it was accepted',
      );
    });
  }

  void test('a column called auto can still be the key', () => {
    const { chunk } = parseJobDefinition(good.replace('by: id', 'by: { column: auto }'), 'x');
    assert.deepEqual(chunk.by, { kind: 'columns', columns: ['auto'] });
  });

  void test('large whole numbers keep their digits', () => {
    const content = good
      .replace(':region', ':top')
      .replace(/region: \{.*?\}/, 'top: { type: int, max: 9007199254740993 }');
    assert.equal(parseJobDefinition(content, 'x').parameters['top']?.max, '9007199254740993');
  });

  void test('a relative target begins where the runner stands, an absolute one does not', () => {
    assert.equal(outputPath({ to: 'file://out/a' }, '/srv'), '/srv/out/a');
    assert.equal(outputPath({ to: 'file:///data/a' }, '/work'), '/data/a');
  });
});
