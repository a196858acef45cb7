import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { humanKey } from '../policy/entities.ts';
import { judge, type GrantEvidence, type JudgedExecutions } from './judge.ts';

const digest = 'a'.repeat(64);
const at = (index: number) => ({ node: 'n1', index });

/** Dana wrote a job, Eli approved it, Erin executed one of its chunks. */
const job: GrantEvidence = {
  grantId: 'grant_1',
  created: at(12),
  consumed: [{ ...at(13), human: 'erin', principal: 'erin', digest }],
  request: {
    ...at(10),
    id: 'req_1',
    kind: 'job',
    connection: 'crm',
    digest,
    requesterHuman: 'dana',
    authors: ['dana', 'dora'],
  },
  decisions: [{ ...at(11), human: 'eli', principal: 'eli', verdict: 'approve', digest }],
  runs: [{ ...at(14), id: 'run_1' }],
  stored: {
    grantState: 'consumed',
    grantDigest: digest,
    requestId: 'req_1',
    requestState: 'approved',
    requestDigest: digest,
    approvers: ['eli'],
    runs: ['run_1'],
    once: false,
  },
};
const chunk: JudgedExecutions = {
  node: 'n1',
  index: 20,
  executions: 3,
  grantId: 'grant_1',
  requestId: undefined,
  runId: 'run_1',
  human: 'Erin',
  connection: 'crm',
};
/** Dana’s held statement, approved by Eli. */
const statement: GrantEvidence = {
  ...job,
  request: { ...job.request, kind: 'statement', authors: ['dana'] } as GrantEvidence['request'],
  consumed: [{ ...at(13), human: 'dana', principal: 'dana', digest }],
  runs: [],
  stored: { ...job.stored, runs: [], once: true } as GrantEvidence['stored'],
};
const held: JudgedExecutions = { ...chunk, executions: 1, requestId: 'req_1', runId: undefined, human: 'dana' };

/** Dana's loop, approved by Eli: its grant stays open. */
const loop = {
  ...statement,
  stored: { ...statement.stored, once: false, grantState: 'open' },
} as GrantEvidence;

const codes = (executed: JudgedExecutions, evidence: GrantEvidence | undefined, keyOf = humanKey) => [
  ...new Set(judge(executed, evidence, keyOf).map(({ code }) => code)),
];
const stored = (more: Partial<NonNullable<GrantEvidence['stored']>>) =>
  ({ ...job, stored: { ...job.stored, ...more } }) as GrantEvidence;
const request = (more: Partial<NonNullable<GrantEvidence['request']>>) =>
  ({ ...job, request: { ...job.request, ...more } }) as GrantEvidence;
const decided = (...decisions: Partial<GrantEvidence['decisions'][number]>[]) => ({
  ...job,
  decisions: decisions.map((one) => ({ ...job.decisions[0], ...one })) as GrantEvidence['decisions'],
});
const consumed = (...more: Partial<GrantEvidence['consumed'][number]>[]) => ({
  ...job,
  consumed: more.map((one) => ({ ...job.consumed[0], ...one })) as GrantEvidence['consumed'],
});

void describe('an execution', () => {
  it('passed an approval if everything fits', () => {
    assert.deepEqual(judge(chunk, job, humanKey), []);
    assert.deepEqual(judge(held, statement, humanKey), []);
    assert.deepEqual(judge({ ...held, executions: 5 }, loop, humanKey), []);
    // Logs of two nodes have no common order.
    assert.deepEqual(judge({ ...chunk, node: 'n2', index: 1 }, job, humanKey), []);
  });

  const cases: [string, string[], JudgedExecutions, GrantEvidence | undefined][] = [
    ['no grant in its intent', ['no-grant'], { ...chunk, grantId: undefined }, job],
    ['a grant that the log does not have', ['grant-unknown'], chunk, undefined],
    ['a grant that was never made', ['grant-unknown'], chunk, { ...job, created: undefined }],
    ['a grant that nobody consumed', ['not-consumed'], chunk, { ...job, consumed: [] }],
    ['a grant consumed after it', ['not-consumed'], { ...chunk, index: 12 }, job],
    ['a grant consumed twice', ['consumed-twice'], chunk, consumed({}, at(15))],
    ['a loop that nobody began', ['not-consumed'], { ...held, executions: 5 }, { ...loop, consumed: [] }],
    ['another human in a loop', ['another-executor'], { ...held, human: 'eve' }, loop],
    ['somebody else’s grant', ['another-executor'], { ...chunk, human: 'eva' }, job],
    ['an unknown session', ['another-executor'], { ...chunk, human: undefined }, job],
    ['nobody as executor', ['another-executor'], { ...chunk, human: '' }, consumed({ human: '' })],
    ['no request', ['request-unknown'], chunk, { ...job, request: undefined, stored: job.stored }],
    ['another request', ['request-unknown'], { ...chunk, requestId: 'req_9' }, job],
    ['another connection', ['another-connection'], { ...chunk, connection: 'erp' }, job],
    ['no decision', ['not-approved', 'store-differs'], chunk, decided()],
    ['a decision after the grant was consumed', ['not-approved'], chunk, decided(at(16))],
    ['a decision before the request', ['not-approved'], chunk, decided(at(9))],
    ['a rejection', ['rejected', 'not-approved', 'store-differs'], chunk, decided({ verdict: 'reject' })],
    ['the approval of its requester', ['not-independent', 'store-differs'], chunk, decided({ human: 'DANA ' })],
    ['the approval of an author', ['not-independent', 'store-differs'], chunk, decided({ human: 'dora' })],
    ['the approval of nobody', ['not-independent', 'store-differs'], chunk, decided({ human: '' })],
    ['an approval of something else', ['digest-differs'], chunk, decided({ digest: 'b' })],
    ['another digest consumed', ['digest-differs'], chunk, consumed({ digest: 'b' })],
    ['an author as executor', ['author-executes'], { ...chunk, human: 'dora' }, consumed({ human: 'dora' })],
    ['a run of another grant', ['run-unknown', 'store-differs'], { ...chunk, runId: 'run_9' }, job],
    ['a statement under a job’s grant', ['run-unknown'], { ...chunk, runId: undefined }, job],
    ['a grant for one statement, used twice', ['used-again'], { ...held, executions: 2 }, statement],
    ['no grant in the store', ['store-differs'], chunk, { ...job, stored: undefined }],
    ['an open grant in the store', ['store-differs'], chunk, stored({ grantState: 'open' })],
    ['a rejected request in the store', ['store-differs'], chunk, stored({ requestState: 'rejected' })],
    ['another digest in the store', ['store-differs'], chunk, stored({ requestDigest: 'b' })],
    ['another digest of the grant', ['store-differs'], chunk, stored({ grantDigest: 'b' })],
    ['another request in the store', ['store-differs'], chunk, stored({ requestId: 'req_2' })],
    ['no approval in the store', ['store-differs'], chunk, stored({ approvers: [] })],
    ['one more approval in the store', ['store-differs'], chunk, stored({ approvers: ['eli', 'eva'] })],
    ['no run in the store', ['store-differs'], chunk, stored({ runs: [] })],
    [
      'a digest that was asked for, and another that ran',
      ['digest-differs', 'store-differs'],
      chunk,
      request({ digest: 'b' }),
    ],
    [
      'its own approval of a statement',
      ['not-independent', 'store-differs'],
      held,
      { ...statement, decisions: decided({ human: 'dana' }).decisions },
    ],
  ];
  for (const [what, expected, executed, evidence] of cases) {
    it(`is an exception with ${what}`, () => assert.deepEqual(codes(executed, evidence), expected));
  }

  it('counts humans, not names', () => {
    const oneHuman = (human: string) => (humanKey(human) === 'eli' ? 'dana' : humanKey(human));
    assert.deepEqual(codes(chunk, job, oneHuman), ['not-independent']);
  });
});
