import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { encodeEntry, type LogEvent } from './events.ts';
import { logOptions, temporaryDirectory } from './fixtures.ts';
import { TransparencyLog } from './log.ts';
import { sessionTimeline } from './session-timeline.ts';
import { readerFor } from './verify.ts';

const start = Date.parse('2026-01-02T00:00:00.000Z');

function at(second: number): { at: string; node: string } {
  return { at: new Date(start + second * 1_000).toISOString(), node: 'n' };
}

const said = { session: 'ses_a', class: 'read', policies: ['p'] } as const;

function intent(second: number, statement: number, more: { request?: string; grant?: string } = {}): LogEvent {
  const verdict = more.grant === undefined ? 'allow' : 'granted';
  return { type: 'statement.intent', ...at(second), ...said, statement, text: `s ${statement}`, verdict, ...more };
}

function outcome(second: number, statement: number): LogEvent {
  const counts = { rows: statement, bytes: 1, maskedCells: 2 };
  return { type: 'statement.outcome', ...at(second), session: 'ses_a', statement, status: 'complete', ...counts };
}

async function timelineOf(context: TestContext, events: readonly LogEvent[]) {
  const directory = await temporaryDirectory(context);
  const log = await TransparencyLog.open(logOptions(directory));
  context.after(() => log.close());
  for (const event of events) log.append(encodeEntry(event));
  const size = Number((await log.checkpoint()).split('\n')[1]);
  return (limit: number, from?: number) =>
    sessionTimeline({
      read: readerFor(directory),
      size,
      sessionId: 'ses_a',
      startedAt: new Date(start),
      endedAt: undefined,
      limit,
      from,
    });
}

void test('what was held is told once: asked then, run later, and how long it ran', async (context) => {
  const timeline = await timelineOf(context, [
    { type: 'statement.held', ...at(0), ...said, statement: 1, text: 's 1', request: 'req_1' },
    intent(50, 1, { request: 'req_1', grant: 'g' }),
    outcome(52, 1),
    { type: 'statement.held', ...at(60), ...said, statement: 2, text: 's 2', request: 'req_2' },
    {
      type: 'statement.denied',
      ...at(70),
      ...said,
      statement: 2,
      text: 's 2',
      request: 'req_2',
      code: 'request_rejected',
    },
    { type: 'statement.held', ...at(80), ...said, statement: 3, text: 's 3', request: 'req_3' },
  ]);
  const { statements, next } = await timeline(10);
  assert.deepEqual(
    statements.map(({ verdict, at: asked, outcome: ended, code }) => [verdict, asked, ended?.durationMs, code]),
    [
      ['granted', at(0).at, 2_000, undefined],
      ['denied', at(60).at, undefined, 'request_rejected'],
      ['held', at(80).at, undefined, undefined],
    ],
  );
  assert.equal(next, null);
});

void test('a page ends with the outcomes of what it shows, and the next goes on where it ended', async (context) => {
  const timeline = await timelineOf(context, [
    intent(0, 1),
    intent(0, 2),
    intent(0, 3),
    outcome(1, 1),
    outcome(2, 2),
    outcome(3, 3),
    intent(4, 4),
  ]);
  const first = await timeline(2);
  assert.deepEqual(
    first.statements.map(({ statement, outcome: ended }) => [statement, ended?.rows]),
    [
      [1, 1],
      [2, 2],
    ],
  );
  const second = await timeline(2, first.next ?? undefined);
  assert.deepEqual(
    second.statements.map(({ statement, outcome: ended }) => [statement, ended?.rows]),
    [
      [3, 3],
      [4, undefined],
    ],
  );
  assert.equal(second.next, null);
});
