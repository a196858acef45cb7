import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { open, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { CountersignError } from '../errors.ts';
import { ByteSink } from '../lib/byte-sink.ts';
import { systemClock } from '../lib/clock.ts';
import {
  encodeCommandComplete,
  encodeDataRow,
  encodeErrorResponse,
  encodeNoticeResponse,
  encodeParseComplete,
  encodeReadyForQuery,
  encodeRowDescription,
} from '../wire/postgres/backend.ts';
import type { RecordingSegment } from './events.ts';
import { logOptions, temporaryDirectory } from './fixtures.ts';
import { TransparencyLog } from './log.ts';
import { RecordingStore, type RecordingFile } from './recording.ts';
import { fileHeadBytes } from './segment.ts';
import { replay, replaySession, type ReplayEvent } from './replay.ts';

const codeIs =
  (code: string, text = /./) =>
  (error: unknown) =>
    error instanceof CountersignError && error.code === code && text.test(error.message);
const column = (name: string, typeOid: number, format: 0 | 1 = 0) => ({
  name,
  tableOid: 0,
  attnum: 0,
  typeOid,
  typeSize: -1,
  typeModifier: -1,
  format,
});

async function storeOf(context: TestContext, openFile?: (file: string) => Promise<RecordingFile>) {
  const directory = await temporaryDirectory(context);
  const entries: RecordingSegment[] = [];
  const log = { append: (entry: string) => entries.push(JSON.parse(entry) as RecordingSegment) - 1 };
  const store = await RecordingStore.open({
    directory,
    key: randomBytes(32),
    log,
    clock: systemClock,
    node: 'node-1',
    openFile,
  });
  return { directory, store, entries };
}

async function collect(events: AsyncIterable<ReplayEvent>) {
  const contents: unknown[] = [];
  for await (const event of events) {
    const { offsetMs, ...content } = event;
    assert.ok(offsetMs >= 0);
    contents.push(content);
  }
  return contents;
}

function answer(rows: number, width: number): Buffer {
  const sink = new ByteSink();
  encodeRowDescription(sink, [column('id', 23), column('text', 25)]);
  const text = Buffer.from('x'.repeat(width));
  for (let row = 0; row < rows; row++) encodeDataRow(sink, [Buffer.from(String(row)), row % 10 === 0 ? null : text]);
  encodeCommandComplete(sink, `SELECT ${rows}`);
  encodeReadyForQuery(sink, 'I');
  return sink.take();
}

void test('a session comes back as readable events', async (context) => {
  const { store, entries } = await storeOf(context);
  const recording = store.start('ses_1');
  recording.request({ kind: 'query', text: 'select …' });
  const sink = new ByteSink();
  encodeParseComplete(sink);
  encodeRowDescription(sink, [
    column('n', 23, 1),
    column('t', 25),
    column('u', 2950, 1),
    column('x', 600, 1),
    column('b', 16, 1),
  ]);
  const int = Buffer.from([0xff, 0xff, 0xff, 0xfe]);
  const uuid = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
  encodeDataRow(sink, [int, Buffer.from('grün'), uuid, Buffer.from([1, 2]), Buffer.of(1)]);
  encodeDataRow(sink, [null, Buffer.from([0xff]), null, null, null]);
  encodeCommandComplete(sink, 'SELECT 2');
  encodeNoticeResponse(sink, { S: 'NOTICE', C: '00000', M: 'held' });
  encodeErrorResponse(sink, { S: 'ERROR', C: '42501', M: 'denied', H: 'ask' });
  encodeReadyForQuery(sink, 'E');
  // In pieces that cut through messages; the caller's buffer changes afterwards.
  const bytes = sink.take();
  for (let at = 0; at < bytes.length; at += 7) {
    const piece = Buffer.from(bytes.subarray(at, at + 7));
    recording.response(piece, 0, piece.length);
    piece.fill(0);
  }
  await recording.close();
  assert.equal(entries.length, 1);
  assert.deepEqual(
    [entries[0]?.type, entries[0]?.session, entries[0]?.segment, entries[0]?.node],
    ['recording.segment', 'ses_1', 1, 'node-1'],
  );
  assert.deepEqual(await collect(replay({ store, sessionId: 'ses_1', segments: entries })), [
    { type: 'request', request: { kind: 'query', text: 'select …' } },
    { type: 'message', message: 'ParseComplete', bytes: 5 },
    {
      type: 'columns',
      columns: [
        { name: 'n', typeOid: 23, binary: true },
        { name: 't', typeOid: 25, binary: false },
        { name: 'u', typeOid: 2950, binary: true },
        { name: 'x', typeOid: 600, binary: true },
        { name: 'b', typeOid: 16, binary: true },
      ],
    },
    { type: 'row', values: ['-2', 'grün', '00112233-4455-6677-8899-aabbccddeeff', '\\x0102', 't'] },
    { type: 'row', values: [null, '\\xff', null, null, null] },
    { type: 'complete', tag: 'SELECT 2' },
    { type: 'notice', fields: { severity: 'NOTICE', code: '00000', message: 'held' } },
    { type: 'error', fields: { severity: 'ERROR', code: '42501', message: 'denied', hint: 'ask' } },
    { type: 'ready', status: 'E' },
    { type: 'end' },
  ]);
});

void test('a long answer is many segments, in order, and no plain text is on the disk', async (context) => {
  const { store, directory, entries } = await storeOf(context);
  const recording = store.start('ses_long');
  const bytes = answer(20_000, 500);
  recording.response(bytes, 0, bytes.length);
  assert.ok(recording.pendingBytes > bytes.length);
  let drained = false;
  recording.onDrain(() => {
    drained = true;
  });
  assert.equal(drained, false);
  await recording.close();
  assert.equal(drained, true);
  assert.equal(recording.pendingBytes, 0);
  assert.ok(entries.length > 4);
  assert.deepEqual(
    entries.map(({ segment }) => segment),
    entries.map((_, index) => index + 1),
  );
  const stored = await readFile(path.join(directory, entries[0]?.path ?? ''));
  assert.ok(!stored.includes('xxxxxxxx') && stored.length < bytes.length);
  const events = await collect(replay({ store, sessionId: 'ses_long', segments: entries }));
  assert.equal(events.length, 20_000 + 4);
  assert.deepEqual(events[12_346], { type: 'row', values: ['12345', 'x'.repeat(500)] });
});

void test('every tampered segment is found and named', async (context) => {
  const { store, directory, entries } = await storeOf(context);
  const recording = store.start('ses_t');
  const bytes = answer(12_000, 600);
  recording.response(bytes, 0, bytes.length);
  await recording.close();
  const file = path.join(directory, entries[0]?.path ?? '');
  const genuine = await readFile(file);
  const starts: number[] = [];
  let end = fileHeadBytes;
  for (const { bytes: length } of entries) {
    starts.push(end);
    end += length;
  }
  assert.equal(end, genuine.length);
  const attempt = async (content: Buffer, segments = entries) => {
    await writeFile(file, content);
    await collect(replay({ store, sessionId: 'ses_t', segments }));
  };
  await attempt(genuine);
  for (const [index, start] of starts.entries()) {
    for (const offset of [0, 4, 5, 9, 13, 20, 40, (entries[index]?.bytes ?? 0) - 1]) {
      const edited = Buffer.from(genuine);
      edited[start + offset] = (edited[start + offset] ?? 0) ^ 1;
      await assert.rejects(attempt(edited), codeIs('recording_broken', new RegExp(`segment ${index + 1} `)));
    }
  }
  const salt = Buffer.from(genuine);
  salt[20] = (salt[20] ?? 0) ^ 1;
  await assert.rejects(attempt(salt), codeIs('recording_broken', /segment 1 .*cannot be decrypted/));
  const [, second = 0, third = 0] = starts;
  const removed = Buffer.concat([genuine.subarray(0, second), genuine.subarray(third)]);
  await assert.rejects(attempt(removed), codeIs('recording_broken', /segment 2 /));
  await assert.rejects(
    attempt(genuine.subarray(0, genuine.length - 5)),
    codeIs('recording_broken', new RegExp(`segment ${starts.length} .*cut off`)),
  );
  await assert.rejects(attempt(genuine.subarray(0, third)), codeIs('recording_broken', /segment 3 .*missing/));
  await assert.rejects(
    attempt(Buffer.concat([genuine, genuine.subarray(second)])),
    codeIs('recording_broken', new RegExp(`segment ${starts.length + 1} .*does not know`)),
  );
  await assert.rejects(attempt(genuine, entries.toSpliced(1, 1)), codeIs('recording_broken', /segment 2 /));
  await assert.rejects(collect(replay({ store, sessionId: 'ses_t', segments: [] })), codeIs('recording_unknown'));
  await writeFile(file, genuine);
  await assert.rejects(
    collect(replay({ store, sessionId: 'ses_other', segments: entries })),
    codeIs('recording_broken', /decrypted/),
  );
});

void test('a recording forged with the right key is still not the one that the log knows', async (context) => {
  const key = randomBytes(32);
  const stores = await Promise.all(
    ['genuine', 'forged!'].map(async (text) => {
      const entries: RecordingSegment[] = [];
      const log = { append: (entry: string) => entries.push(JSON.parse(entry) as RecordingSegment) - 1 };
      const directory = await temporaryDirectory(context);
      const store = await RecordingStore.open({ directory, key, log, clock: { now: () => 0 }, node: 'n' });
      const recording = store.start('ses_1');
      recording.request({ text });
      await recording.close();
      return { directory, store, entries };
    }),
  );
  const [genuine, forged] = stores;
  assert.ok(genuine !== undefined && forged !== undefined);
  const file = genuine.entries[0]?.path ?? '';
  assert.equal(forged.entries[0]?.bytes, genuine.entries[0]?.bytes);
  await writeFile(path.join(genuine.directory, file), await readFile(path.join(forged.directory, file)));
  const events = replay({ store: genuine.store, sessionId: 'ses_1', segments: genuine.entries });
  await assert.rejects(collect(events), codeIs('recording_broken', /segment 1 .*digest/));
});

void test('a failed write fails the recording: nothing more is taken', async (context) => {
  let fail = false;
  const full = await open('/dev/full', 'w');
  context.after(() => full.close());
  const { store } = await storeOf(context, async (file) => {
    const handle = await open(file, 'wx');
    return {
      get fd() {
        return fail ? full.fd : handle.fd;
      },
      writeFile: handle.writeFile.bind(handle),
      datasync: handle.datasync.bind(handle),
      close: handle.close.bind(handle),
    };
  });
  const recording = store.start('ses_f');
  const bytes = randomBytes(600_000);
  recording.response(bytes, 0, 300_000);
  while (recording.pendingBytes > 100_000) await new Promise((resolve) => setImmediate(resolve));
  fail = true;
  recording.response(bytes, 0, bytes.length);
  const drained = new Promise<void>((resolve) => recording.onDrain(resolve));
  await drained;
  while (recording.pendingBytes > 0) await new Promise((resolve) => setImmediate(resolve));
  assert.throws(() => recording.response(bytes, 0, 1), codeIs('log_unavailable', /no space left/));
  assert.throws(() => recording.request({}), codeIs('log_unavailable'));
  await assert.rejects(recording.close(), codeIs('log_unavailable', /no space left/));
});

void test('a log that takes no entry fails the recording', async (context) => {
  const directory = await temporaryDirectory(context);
  const log = {
    append: () => {
      throw new CountersignError('log_unavailable', 'poisoned');
    },
  };
  const store = await RecordingStore.open({ directory, key: randomBytes(32), log, clock: systemClock, node: 'n' });
  const recording = store.start('ses_l');
  recording.request({ kind: 'query' });
  await assert.rejects(recording.close(), codeIs('log_unavailable', /poisoned/));
});

void test('what a second brought is written without a close', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const { store, entries } = await storeOf(context);
  const recording = store.start('ses_s');
  recording.request({ kind: 'query' });
  context.mock.timers.tick(1_000);
  while (entries.length === 0) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(await collect(replay({ store, sessionId: 'ses_s', segments: entries })), [
    { type: 'request', request: { kind: 'query' } },
  ]);
  await store.close();
  assert.equal(entries.length, 2, 'closing the store ends its recordings');
  assert.throws(() => recording.request({}), codeIs('log_unavailable', /closed/));
});

void test('replay from the real log proves the digests under its checkpoint', async (context) => {
  const logDirectory = await temporaryDirectory(context);
  const options = logOptions(logDirectory);
  const log = await TransparencyLog.open(options);
  const directory = await temporaryDirectory(context);
  const recordings = await RecordingStore.open({ directory, key: randomBytes(32), log, clock: systemClock, node: 'n' });
  for (const session of ['ses_1', 'ses_2']) {
    const recording = recordings.start(session);
    recording.request({ kind: 'query', text: session });
    await recording.close();
  }
  const events = await collect(replaySession({ recordings, sessionId: 'ses_2', log }));
  assert.deepEqual(events, [{ type: 'request', request: { kind: 'query', text: 'ses_2' } }, { type: 'end' }]);
  await assert.rejects(collect(replaySession({ recordings, sessionId: 'ses_3', log })), codeIs('recording_unknown'));
  const bundle = path.join(logDirectory, 'tile/entries/000.p/2');
  const text = await readFile(bundle, 'latin1');
  await writeFile(bundle, text.replace(/"sha256":"./g, '"sha256":"x'), 'latin1');
  await assert.rejects(
    collect(replaySession({ recordings, sessionId: 'ses_2', log })),
    codeIs('log_broken', /entry 1/),
  );
  await log.close();
});
