import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeEntry, type LogEvent } from './events.ts';
import { logOptions, temporaryDirectory } from './fixtures.ts';
import { TransparencyLog } from './log.ts';
import { sessionStatements } from './session-statements.ts';
import { readerFor } from './verify.ts';

const start = Date.parse('2026-01-02T00:00:00.000Z');
const minuteMs = 60_000;

function at(minute: number): { at: string; node: string } {
  return { at: new Date(start + minute * minuteMs).toISOString(), node: 'n' };
}

function statement(
  minute: number,
  session: string,
  text: string,
  more: { request?: string; textDigest?: string } = {},
) {
  const common = { ...at(minute), session, statement: 1, text, class: 'read', policies: [], ...more };
  return {
    intent: { type: 'statement.intent', verdict: 'allow', ...common },
    held: { type: 'statement.held', ...common, request: more.request ?? '' },
    denied: { type: 'statement.denied', code: 'x', ...common },
  } as const satisfies Record<string, LogEvent>;
}

void test('the statements of one session in a long log, each once, without reading all of it', async (context) => {
  const directory = await temporaryDirectory(context);
  const log = await TransparencyLog.open(logOptions(directory));
  const write = (event: LogEvent) => log.append(encodeEntry(event));
  for (let minute = 0; minute < 2_000; minute++) write(statement(minute, 'ses_b', `b ${minute}`).intent);
  write(statement(2_000, 'ses_a', 'first').intent);
  write(statement(2_000, 'ses_b', 'other').intent);
  write(statement(2_001, 'ses_a', 'held', { request: 'req_1' }).held);
  write(statement(2_001, 'ses_a', 'held', { request: 'req_1' }).intent);
  write(statement(2_002, 'ses_a', 'rejected', { request: 'req_2' }).held);
  write(statement(2_002, 'ses_a', 'rejected', { request: 'req_2' }).denied);
  write(statement(2_003, 'ses_a', 'denied').denied);
  write(statement(2_003, 'ses_b', 'mentions ses_a').intent);
  write(statement(2_003, 'ses_a', 'long …', { textDigest: 'd' }).intent);
  for (let minute = 2_004; minute < 4_000; minute++) write(statement(minute, 'ses_b', `b ${minute}`).intent);
  const size = Number((await log.checkpoint()).split('\n')[1]);
  context.after(() => log.close());

  const read = readerFor(directory);
  const files: string[] = [];
  const counting = (name: string) => {
    files.push(name);
    return read(name);
  };
  const times = { startedAt: new Date(start + 2_000 * minuteMs), endedAt: new Date(start + 2_003 * minuteMs) };
  const all = async (ended: Date | undefined) => {
    const found: [string, boolean][] = [];
    const options = { read: counting, size, sessionId: 'ses_a', startedAt: times.startedAt, endedAt: ended };
    for await (const { text, whole } of sessionStatements(options)) found.push([text, whole]);
    return found;
  };
  const expected = [
    ['first', true],
    ['held', true],
    ['rejected', true],
    ['denied', true],
    ['long …', false],
  ];
  assert.deepEqual(await all(times.endedAt), expected);
  assert.ok(new Set(files).size <= 12, `${new Set(files).size} files were read`);
  assert.deepEqual(await all(undefined), expected);
});
