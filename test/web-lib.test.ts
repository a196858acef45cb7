/** What the page works out by itself: verdicts on approvals, rates of runs, recordings within bounds, forms. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkApproval } from '../web/src/lib/approval-check.ts';
import type { Execution } from '../web/src/lib/audit.ts';
import { cedarSpans } from '../web/src/lib/cedar.ts';
import { parseLabels } from '../web/src/lib/connection.ts';
import { problemsOf } from '../web/src/lib/job.ts';
import { changedFiles, problemsIn, ruleTexts } from '../web/src/lib/rule-files.ts';
import { Collector } from '../web/src/lib/recording.ts';
import { etaMs, rowRate, type RunProgress } from '../web/src/lib/run.ts';

type Entry = Record<string, unknown>;

const node = 'n';
const execution: Execution = {
  at: '2026-01-02T00:00:00Z',
  sessionId: 'ses_1',
  problems: [],
  proof: {
    request: { node, index: 1 },
    decisions: [{ node, index: 2, human: 'eli', verdict: 'approve' }],
    grant: { node, index: 3 },
    consumption: { node, index: 4 },
    session: { node, index: 5 },
    intent: { node, index: 6 },
  },
};

function entries(): Map<number, Entry> {
  const of = { request: 'req_1', digest: 'd' };
  return new Map<number, Entry>([
    [
      1,
      { type: 'request.created', kind: 'job', human: 'dana', connection: 'crm', authors: [{ human: 'dana' }], ...of },
    ],
    [2, { type: 'request.decided', verdict: 'approve', human: 'eli', ...of }],
    [3, { type: 'grant.created', grant: 'g', ...of }],
    [4, { type: 'grant.consumed', grant: 'g', human: 'eli', ...of }],
    [5, { type: 'session.opened', session: 'ses_1', human: 'eli', connection: 'crm' }],
    [6, { type: 'statement.intent', session: 'ses_1', grant: 'g', verdict: 'granted' }],
  ]);
}

async function problems(change: (all: Map<number, Entry>) => void, of: Execution = execution): Promise<string> {
  const all = entries();
  change(all);
  const check = await checkApproval(of, {
    at: async ({ index }) => {
      const entry = all.get(index);
      if (entry === undefined) throw new Error(`entry ${index} is missing`);
      return Promise.resolve(entry);
    },
  });
  return check.problems.join('; ');
}

const set = (index: number, members: Entry) => (all: Map<number, Entry>) =>
  void all.set(index, { ...all.get(index), ...members });

describe('the verdict on an approval', () => {
  it('holds for a good one', async () => {
    assert.equal(await problems(() => undefined), '');
  });

  const cases: readonly (readonly [what: string, change: (all: Map<number, Entry>) => void, expected: RegExp])[] = [
    ['an entry is not proved', (all) => void all.delete(3), /entry 3 is missing/],
    ['an entry of another type', set(2, { type: 'request.created' }), /not request\.decided/],
    ['another grant ran', set(6, { grant: 'h' }), /names another grant/],
    ['an intent without a grant', set(6, { grant: undefined }), /names another grant/],
    ['another grant was used', set(4, { grant: 'h' }), /another grant was used up/],
    ['a grant of another request', set(3, { request: 'req_2' }), /of another request/],
    ['a grant for something else', set(3, { digest: 'e' }), /something else than was asked for/],
    ['something else was used', set(4, { digest: 'e' }), /not what was asked for/],
    ['another session', set(6, { session: 'ses_2' }), /session is another one/],
    ['somebody else ran it', set(5, { human: 'erin' }), /somebody else used the grant/],
    ['another connection', set(5, { connection: 'erp' }), /another connection/],
    ['a rejection', set(2, { verdict: 'reject' }), /rejected/],
    ['an approval of something else', set(2, { digest: 'e' }), /nobody but its authors/],
    ['an approval of another request', set(2, { request: 'req_2' }), /nobody but its authors/],
    ['its requester approved it', set(2, { human: 'dana' }), /nobody but its authors/],
    ['an author approved it', set(1, { authors: [{ human: 'dana' }, { human: 'eli' }] }), /nobody but its authors/],
    ['an author ran it', set(1, { authors: [{ human: 'eli' }] }), /an author ran it/],
  ];
  for (const [what, change, expected] of cases) {
    it(`does not hold: ${what}`, async () => assert.match(await problems(change), expected));
  }

  it('does not hold: approved only afterwards, or in the wrong order', async () => {
    const { proof } = execution;
    const late = {
      ...execution,
      proof: { ...proof, decisions: [{ node, index: 7, human: 'eli', verdict: 'approve' }] },
    };
    const decision = { type: 'request.decided', verdict: 'approve', human: 'eli', request: 'req_1', digest: 'd' };
    assert.match(await problems((all) => void all.set(7, decision), late), /nobody but its authors/);
    const before = { ...execution, proof: { ...proof, intent: { node, index: 0 } } };
    assert.match(await problems((all) => void all.set(0, all.get(6) ?? {}), before), /wrong order/);
    const { grant: _grant, ...rest } = proof;
    assert.match(await problems(() => undefined, { ...execution, proof: rest }), /no entry for: a grant was made/);
  });
});

describe('a recording', () => {
  it('is kept within bounds, and counted beyond them', () => {
    const collector = new Collector();
    collector.add({ offsetMs: 1, type: 'request', request: { kind: 'query', text: 'select 1' } });
    collector.add({ offsetMs: 2, type: 'columns', columns: [{ name: 'a' }] });
    for (let row = 0; row < 10_000; row++)
      collector.add({ offsetMs: 3, type: 'row', values: ['x'.repeat(10_000), null] });
    collector.add({ offsetMs: 4, type: 'complete', tag: 'SELECT 10000' });
    for (let no = 0; no < 3_000; no++)
      collector.add({ offsetMs: 5, type: 'request', request: { kind: 'query', text: 'x' } });
    collector.add({ offsetMs: 6, type: 'end' });
    const { scenes, leftOut, isWhole, durationMs } = collector.recording();
    const [first] = scenes;
    assert.deepEqual([first?.rowCount, first?.rows.length, first?.tag], [10_000, 200, 'SELECT 10000']);
    assert.ok((first?.rows[0]?.[0]?.length ?? 0) <= 4_001);
    assert.equal(first?.rows[0]?.[1], null);
    assert.deepEqual([scenes.length, leftOut, isWhole, durationMs], [2_000, 1_001, true, 6]);
  });
});

describe('the pace of a run', () => {
  const start = Date.parse('2026-01-02T00:00:00Z');
  const run = {
    createdAt: new Date(start).toISOString(),
    timeline: [
      { atMs: start, rows: 1_000_000, bytes: 1 },
      { atMs: start + 100_000, rows: 600, bytes: 1 },
    ],
    state: 'running',
    rows: 600,
    chunks: { planned: 2, leased: 0, streaming: 0, sealed: 2, failed: 0, blocked: 0 },
  } as unknown as RunProgress;

  it('goes by the last minute; nobody knows before the first chunk, or while it is paused', () => {
    assert.equal(rowRate(run, start + 120_000), 10);
    assert.equal(etaMs(run, start + 120_000), 60_000);
    assert.equal(etaMs({ ...run, state: 'paused' }, start + 120_000), undefined);
    assert.equal(rowRate({ ...run, timeline: [] }, start + 120_000), undefined);
    assert.equal(etaMs({ ...run, timeline: [] }, start + 120_000), undefined);
  });
});

describe('texts', () => {
  it('mistakes of a definition are taken apart by line', () => {
    assert.deepEqual(problemsOf('jobs/x.yaml:7: chunk.rows: expected a number\njobs/x.yaml:9: is missing'), [
      { line: 7, message: 'chunk.rows: expected a number' },
      { line: 9, message: 'is missing' },
    ]);
    assert.deepEqual(problemsOf('the target is gone'), []);
  });

  it('labels are read or refused whole', () => {
    assert.deepEqual(parseLabels('data=personal, country: de'), { data: 'personal', country: 'de' });
    assert.deepEqual(parseLabels(''), {});
    assert.equal(parseLabels('data=personal, nonsense'), undefined);
  });

  it('a policy in colour is the same text', () => {
    const text = '@id("a") permit (principal in Group::"x", action, resource) when { true }; // "note';
    const spans = cedarSpans(text);
    assert.equal(spans.map(({ from, to }) => text.slice(from, to)).join(''), text);
    assert.ok(spans.some(({ classes }) => classes === 'tok-keyword'));
  });

  it('rules are edited as files, and only what was touched is sent', () => {
    const files = [
      { name: 'a.cedar', text: 'permit (principal, action, resource);' },
      { name: 'b.cedar', text: 'forbid (principal, action, resource);' },
    ];
    const before = ruleTexts({
      connections: [],
      bindings: [],
      masking: [],
      workflows: [],
      policies: { defaults: true, files },
    });
    assert.deepEqual(
      before.map(({ name }) => name),
      ['rules.yaml', 'a.cedar', 'b.cedar'],
    );
    assert.deepEqual(changedFiles(before, before), []);
    const edit = (name: string) => before.map((one) => (one.name === name ? { name, text: 'else' } : one));
    const names = (name: string) => changedFiles(before, edit(name)).map((one) => one.name);
    assert.deepEqual(names('rules.yaml'), ['rules.yaml']);
    // A Cedar file that is not sent with another one would be gone.
    assert.deepEqual(names('b.cedar'), ['a.cedar', 'b.cedar']);
  });

  it('mistakes in rules are found at their lines', () => {
    const said = 'the configuration is invalid:\n  rules.yaml:3:5: bindings.0.duty: unknown\n  b.cedar: line 2: no';
    assert.deepEqual(problemsIn('rules.yaml', said), [{ line: 3, message: 'bindings.0.duty: unknown' }]);
    assert.deepEqual(problemsIn('a.cedar', said), []);
  });
});
