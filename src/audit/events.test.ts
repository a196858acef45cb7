import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalJson } from '../lib/canonical-json.ts';
import { encodeEntry, SessionChain, type StatementIntent, type StatementOutcome } from './events.ts';

const text = fc.string({ unit: 'grapheme' });
const maybeText = fc.option(text, { nil: undefined });
const maybeNumber = fc.option(fc.integer(), { nil: undefined });
const count = fc.oneof(fc.nat(), fc.maxSafeNat(), fc.constant(-0), fc.double({ noNaN: true, noDefaultInfinity: true }));

const intents: fc.Arbitrary<StatementIntent> = fc.record({
  type: fc.constant('statement.intent' as const),
  at: text,
  node: text,
  session: text,
  chain: maybeText,
  statement: count,
  text,
  textDigest: maybeText,
  class: text,
  verdict: fc.constantFrom('allow' as const, 'granted' as const),
  policies: fc.array(text),
  request: maybeText,
  grant: maybeText,
  run: maybeText,
  chunk: maybeNumber,
  attempt: maybeNumber,
  parametersDigest: maybeText,
});

const outcomes: fc.Arbitrary<StatementOutcome> = fc.record({
  type: fc.constant('statement.outcome' as const),
  at: text,
  node: text,
  session: text,
  chain: maybeText,
  statement: count,
  status: fc.constantFrom('complete' as const, 'error' as const, 'cancelled' as const, 'lost' as const),
  sqlstate: maybeText,
  tag: maybeText,
  rows: count,
  bytes: count,
  maskedCells: count,
});

void test('the fast encoders give exactly the canonical text', () => {
  fc.assert(
    fc.property(fc.oneof(intents, outcomes), (event) => {
      assert.equal(encodeEntry(event), canonicalJson({ ...event }));
    }),
    { numRuns: 500 },
  );
});

void test('what is no interoperable JSON is refused', () => {
  const outcome: StatementOutcome = {
    type: 'statement.outcome',
    at: '2026-01-02T03:04:05.678Z',
    node: 'node-1',
    session: 's',
    statement: 1,
    status: 'complete',
    rows: 1,
    bytes: 2,
    maskedCells: 0,
  };
  assert.throws(() => encodeEntry({ ...outcome, tag: '\ud800' }), TypeError);
  assert.throws(() => encodeEntry({ ...outcome, rows: Number.NaN }), TypeError);
  assert.equal(
    encodeEntry(outcome),
    '{"at":"2026-01-02T03:04:05.678Z","bytes":2,"maskedCells":0,"node":"node-1","rows":1,"session":"s","statement":1,"status":"complete","type":"statement.outcome"}',
  );
});

void test('a chain ties each entry of a session to the one before', () => {
  const chain = new SessionChain('ses_1');
  const common = { at: '2026-01-02T03:04:05.678Z', node: 'node-1', session: 'ses_1' };
  const first = chain.encode({
    type: 'statement.outcome',
    ...common,
    statement: 1,
    status: 'complete',
    rows: 1,
    bytes: 2,
    maskedCells: 0,
  });
  const second = chain.encode({
    type: 'session.closed',
    ...common,
    statements: 1,
    rows: 1,
    maskedCells: 0,
    reason: 'bye',
  });
  const sha256 = (value: string) => createHash('sha256').update(value).digest('hex');
  assert.equal((JSON.parse(first) as { chain: string }).chain, sha256('ses_1'));
  assert.equal((JSON.parse(second) as { chain: string }).chain, sha256(first));
});
