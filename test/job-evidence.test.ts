/** What pushing a job tells a designer of masked values, besides rows: sizes and errors. Promise P2. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { customersSchema, secretPatterns } from './customers.ts';
import { startHarness, type Harness } from './harness.ts';

let harness: Harness;

before(async () => {
  harness = await startHarness({ schema: customersSchema });
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
