/**
 * What pushing a job tells a designer of masked values, besides rows: sizes and errors (promise P2); and what the one who
 * runs it can make of it by their session (P4).
 */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import pg from 'pg';
import { customersSchema, secretPatterns } from './customers.ts';
import { startHarness, type Harness } from './harness.ts';

let harness: Harness;

before(async () => {
  harness = await startHarness({
    schema: `${customersSchema}
      create table made (id integer primary key, made date not null);
      insert into made select n, date '2026-01-01' + n from generate_series(0, 59) n;`,
  });
});
after(() => harness?.close());

interface Answer {
  readonly plan?: { readonly estimatedBytes: number; readonly chunks: unknown[] };
  readonly error?: { readonly code: string; readonly message: string };
}

let pushed = 0;

async function push(source: string, chunk = '{ by: none }'): Promise<Answer> {
  const content = `
job: attack${pushed++}
connection: crm
source: ${JSON.stringify(source)}
chunk: ${chunk}
output: { format: ndjson, to: "file://attack" }
`;
  return (await harness.api<Answer>('designer', 'POST', '/jobs', { content })).body;
}

it('estimated bytes do not say what a masked value holds, and neither does the number of chunks', async () => {
  // Row 23 has the number 123-45-6023: each of these has another length if a guess is right.
  const guesses = [
    "replace(ssn, '123-45-6023', '')",
    "split_part(ssn, '3', 1)",
    "rtrim(ssn, '3')",
    'substr(ssn, 1, 3)',
  ];
  for (const where of ['id = 23', 'id < 40']) {
    const sizes = new Set<string>();
    for (const value of ['ssn', ...guesses]) {
      const { plan, error } = await push(
        `select id, ${value} as v from customers where ${where}`,
        '{ by: id, bytes: 200 }',
      );
      assert.ok(plan !== undefined, JSON.stringify(error));
      sizes.add(`${plan.estimatedBytes} bytes, ${plan.chunks.length} chunks`);
    }
    assert.equal(sizes.size, 1, [...sizes].join('; '));
  }
});

it('what the target says of a source that fails on some value is in no answer and no log', async () => {
  for (const value of ['notes::int', "('x' || notes)::date", 'notes::regclass::text', 'name::int']) {
    const { error } = await push(`select id, ${value} as v from customers`);
    assert.match(error?.message ?? '', /cannot evaluate it \(SQLSTATE|not known|unknown/, JSON.stringify(error));
    assert.notEqual(error?.code, 'internal');
  }
  const log = harness.serverLog();
  assert.doesNotMatch(log, /Person 1/);
  for (const pattern of secretPatterns) assert.doesNotMatch(log, pattern);
});

it('a run reads what was planned, whatever order of dates its session asks for', async () => {
  const content = `
job: dates
connection: crm
source: select id from made where made >= '01/02/2026'
chunk: { by: none }
output: { format: ndjson, to: "file://dates" }
`;
  const { body } = await harness.api<{ request: string }>('designer', 'POST', '/jobs', { content });
  await harness.api('executor', 'POST', `/requests/${body.request}/approve`, {});
  const run = await harness.api<{ credential: { user: string; password: string } }>('executor', 'POST', '/runs', {
    job: 'dates',
  });
  assert.equal(run.status, 201, JSON.stringify(run.body));
  const client = new pg.Client({
    host: '127.0.0.1',
    port: harness.app.postgresPort,
    database: 'crm',
    ...run.body.credential,
    ssl: { ca: harness.caPem },
    options: '-c datestyle=ISO,DMY -c timezone=Asia/Tokyo',
  });
  await client.connect();
  const result = await client.query('select * from chunkrun."dates" where chunk_no = 0');
  await client.end();
  // From the second of January on, not from the first of February.
  assert.equal(result.rows.length, 59);
});
