import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { generateLogKey, logSigner } from './checkpoint.ts';
import { SessionChain, encodeEntry, type StatementOutcome } from './events.ts';
import { copyOf, logOptions, origin, temporaryDirectory } from './fixtures.ts';
import { TransparencyLog } from './log.ts';
import { leafHash, perfectRoot } from './tlog.ts';
import { bundleOffsets, tilePath } from './tree-shape.ts';
import type { LogProblem } from './content-check.ts';
import type { LogReader } from './proofs.ts';
import { readerFor, verifyLog } from './verify.ts';

const outcome = (session: string, statement: number): StatementOutcome => ({
  type: 'statement.outcome',
  at: '2026-01-02T03:04:05.678Z',
  node: 'node-1',
  session,
  statement,
  status: 'complete',
  tag: 'SELECT 1',
  rows: statement * 7,
  bytes: 100,
  maskedCells: 3,
});

const size = 600;

/** A log of 600 entries of three sessions: two full bundles and a partial one. */
async function sampleLog(context: TestContext) {
  const directory = await temporaryDirectory(context);
  const options = logOptions(directory);
  const log = await TransparencyLog.open(options);
  const chains = ['a', 'b', 'c'].map((session) => ({ session, chain: new SessionChain(session) }));
  let early = '';
  for (let index = 0; index < size; index++) {
    const one = chains[index % 3];
    if (one !== undefined) log.append(one.chain.encode(outcome(one.session, index)));
    if (index === 299) early = await log.checkpoint();
  }
  const late = await log.checkpoint();
  await log.close();
  return { early, late, ...options };
}

/** The log with some files replaced; null = removed. */
function changed(directory: string, files: Readonly<Record<string, Buffer | null>>): LogReader {
  const read = readerFor(directory);
  return async (name) => (name in files ? (files[name] ?? undefined) : read(name));
}

async function problemOf(read: LogReader, verifierKey: string, known?: string): Promise<LogProblem> {
  const verdict = await verifyLog({ read, verifierKey, known });
  assert.ok(!verdict.ok, 'the change must be found');
  return verdict.problem;
}

function rebuild(bundle: Buffer, edit: (entries: Buffer[]) => void): Buffer {
  const { offsets } = bundleOffsets(bundle);
  const entries: Buffer[] = [];
  for (let at = 0; at < offsets.length; at += 2) entries.push(bundle.subarray(offsets[at], offsets[at + 1]));
  edit(entries);
  return Buffer.concat(
    entries.map((entry) => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(entry.length);
      return Buffer.concat([length, entry]);
    }),
  );
}

const names = { bundle0: 'tile/entries/000', bundle1: 'tile/entries/001', bundle2: 'tile/entries/002.p/88' } as const;

void test('an untouched log verifies, from files and over HTTP, also against a checkpoint seen before', async (context) => {
  const { directory, verifierKey, early, late } = await sampleLog(context);
  const expected = { ok: true, size, entries: size, origin, sessions: 0, root: late.split('\n')[2] };
  for (const known of [undefined, early, late])
    assert.deepEqual(await verifyLog({ read: readerFor(directory), verifierKey, known }), expected);
  const server = createServer((request, response) => {
    readFile(path.join(directory, request.url ?? '')).then(
      (bytes) => response.end(bytes),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  assert.deepEqual(await verifyLog({ read: readerFor(url), verifierKey, known: early }), expected);
});

void test('every changed byte of a bundle names its entry', async (context) => {
  const { directory, verifierKey } = await sampleLog(context);
  for (const [name, first] of [
    [names.bundle0, 0],
    [names.bundle1, 256],
    [names.bundle2, 512],
  ] as const) {
    const genuine = await readFile(path.join(directory, name));
    const { offsets } = bundleOffsets(genuine);
    const positions = Array.from({ length: 12 }, (_, step) => Math.floor((step * (genuine.length - 1)) / 11));
    // And the length prefix of one entry, high and low byte.
    positions.push((offsets[20] ?? 0) - 2, (offsets[20] ?? 0) - 1);
    for (const position of positions) {
      const edited = Buffer.from(genuine);
      edited[position] = (edited[position] ?? 0) ^ 1;
      const problem = await problemOf(changed(directory, { [name]: edited }), verifierKey);
      const entry =
        first +
        Array.from({ length: offsets.length / 2 }, (_, index) => offsets[index * 2 + 1] ?? 0).findIndex(
          (end) => position < end,
        );
      assert.deepEqual(
        [problem.code, problem.entry],
        ['entry_changed', entry],
        `${name} byte ${position}: ${problem.message}`,
      );
    }
  }
});

void test('deletion, reordering, insertion and truncation name the first entry that is not the signed one', async (context) => {
  const { directory, verifierKey } = await sampleLog(context);
  const genuine = await readFile(path.join(directory, names.bundle1));
  const cases: [string, Buffer | null, string, number][] = [
    ['removed', rebuild(genuine, (entries) => entries.splice(100, 1)), 'entry_changed', 356],
    ['last removed', rebuild(genuine, (entries) => entries.pop()), 'entry_changed', 511],
    [
      'swapped',
      rebuild(genuine, (entries) => entries.splice(10, 2, ...entries.slice(10, 12).reverse())),
      'entry_changed',
      266,
    ],
    ['put in', rebuild(genuine, (entries) => entries.splice(7, 0, Buffer.from('{"type":"x"}'))), 'entry_changed', 263],
    [
      'replaced',
      rebuild(genuine, (entries) => entries.splice(7, 1, Buffer.from('{"type":"x"}'))),
      'entry_changed',
      263,
    ],
    ['put at the end', Buffer.concat([genuine, Buffer.from('\0\x01x')]), 'entry_changed', 511],
    ['cut off', genuine.subarray(0, genuine.length - 1), 'entry_changed', 511],
    ['emptied', Buffer.alloc(0), 'entry_changed', 256],
    ['bundle removed', null, 'bundle_missing', 256],
  ];
  for (const [what, bundle, code, entry] of cases) {
    const problem = await problemOf(changed(directory, { [names.bundle1]: bundle }), verifierKey);
    assert.deepEqual([problem.code, problem.entry], [code, entry], `${what}: ${problem.message}`);
  }
  const truncated = await problemOf(changed(directory, { [names.bundle2]: null }), verifierKey);
  assert.deepEqual([truncated.code, truncated.entry], ['bundle_missing', 512]);
});

void test('a changed or missing hash tile is named, and the entries are said to be genuine', async (context) => {
  const { directory, verifierKey } = await sampleLog(context);
  for (const name of ['tile/0/000', 'tile/0/001', 'tile/0/002.p/88', 'tile/1/000.p/2']) {
    const genuine = await readFile(path.join(directory, name));
    for (const position of [0, Math.floor(genuine.length / 2), genuine.length - 1]) {
      const edited = Buffer.from(genuine);
      edited[position] = (edited[position] ?? 0) ^ 0x80;
      const problem = await problemOf(changed(directory, { [name]: edited }), verifierKey);
      assert.equal(problem.code, 'tile_changed');
      assert.ok(problem.message.includes(name.split('.')[0] ?? ''), problem.message);
    }
    assert.equal(
      (await problemOf(changed(directory, { [name]: genuine.subarray(32) }), verifierKey)).code,
      'tile_changed',
    );
    assert.equal((await problemOf(changed(directory, { [name]: null }), verifierKey)).code, 'tile_missing');
  }
});

void test('an entry rewritten together with its hash tile: the session chain still names it', async (context) => {
  const { directory, verifierKey } = await sampleLog(context);
  const bundle = await readFile(path.join(directory, names.bundle1));
  const target = 300;
  const edited = rebuild(bundle, (entries) => {
    const text = (entries[target - 256] ?? Buffer.alloc(0)).toString();
    entries[target - 256] = Buffer.from(text.replace('"maskedCells":3', '"maskedCells":4'));
  });
  const { offsets } = bundleOffsets(edited);
  const tile = Buffer.concat(
    Array.from({ length: 256 }, (_, index) => leafHash(edited.subarray(offsets[index * 2], offsets[index * 2 + 1]))),
  );
  const problem = await problemOf(changed(directory, { [names.bundle1]: edited, 'tile/0/001': tile }), verifierKey);
  assert.deepEqual([problem.code, problem.entry], ['entries_rewritten', target], problem.message);
  // Rewritten up to the top: nothing but the signature is left to contradict.
  const top = await readFile(path.join(directory, 'tile/1/000.p/2'));
  perfectRoot(tile, 0, 256).copy(top, 32);
  const all = await problemOf(
    changed(directory, { [names.bundle1]: edited, 'tile/0/001': tile, 'tile/1/000.p/2': top }),
    verifierKey,
  );
  assert.deepEqual([all.code, all.entry], ['root_mismatch', target], all.message);
});

void test('checkpoints: missing, edited, signed by another key, of another log, rolled back, rewritten', async (context) => {
  const { directory, verifierKey, privateKeyPem, early, late } = await sampleLog(context);
  const withCheckpoint = (note: string | null) =>
    changed(directory, { checkpoint: note === null ? null : Buffer.from(note) });
  assert.equal((await problemOf(withCheckpoint(null), verifierKey)).code, 'checkpoint_missing');
  for (let position = 0; position < late.length; position += 5) {
    const edited = Buffer.from(late);
    edited[position] = (edited[position] ?? 0) ^ 1;
    assert.equal(
      (await problemOf(changed(directory, { checkpoint: edited }), verifierKey)).code,
      'checkpoint_invalid',
      `byte ${position}`,
    );
  }
  const [, , rootText = ''] = late.split('\n');
  const head = { size, root: Buffer.from(rootText, 'base64') };
  const other = generateLogKey(origin);
  assert.equal(
    (await problemOf(withCheckpoint(logSigner(origin, other.privateKeyPem).sign(head)), verifierKey)).code,
    'checkpoint_invalid',
  );
  // Rolled back to a checkpoint that was genuine once: it verifies, unless somebody remembers.
  assert.ok((await verifyLog({ read: withCheckpoint(early), verifierKey })).ok);
  const rolled = await problemOf(withCheckpoint(early), verifierKey, late);
  assert.deepEqual([rolled.code, rolled.entry], ['rolled_back', 300]);
  // The whole history rewritten and signed with the log's own key.
  const rewritten = await temporaryDirectory(context);
  const log = await TransparencyLog.open(logOptions(rewritten, { privateKeyPem }));
  for (let index = 0; index < 700; index++) log.append(encodeEntry(outcome(`z${index}`, index)));
  await log.close();
  assert.ok((await verifyLog({ read: readerFor(rewritten), verifierKey })).ok);
  assert.equal((await problemOf(readerFor(rewritten), verifierKey, late)).code, 'history_rewritten');
  assert.equal(
    (await problemOf(readerFor(directory), verifierKey, late.replace('\n600\n', '\n601\n'))).code,
    'checkpoint_invalid',
  );
});

/** A log with these entries, signed by its own key: what a faulty or lying gateway would publish. */
async function logOf(context: TestContext, entries: readonly string[]) {
  const directory = await temporaryDirectory(context);
  const options = logOptions(directory);
  const log = await TransparencyLog.open(options);
  for (const entry of entries) log.append(entry);
  await log.close();
  return { read: readerFor(directory), verifierKey: options.verifierKey };
}

void test('signed entries that are not canonical JSON or break a session chain are named', async (context) => {
  const chain = new SessionChain('s');
  const texts = [1, 2, 3, 4].map((statement) => chain.encode(outcome('s', statement)));
  const [one = '', two = '', three = '', four = ''] = texts;
  const free = encodeEntry(outcome('other', 1));
  const check = async (entries: string[], code: string, entry: number) => {
    const { read, verifierKey } = await logOf(context, entries);
    const problem = await problemOf(read, verifierKey);
    assert.deepEqual([problem.code, problem.entry], [code, entry], problem.message);
  };
  const good = await logOf(context, [one, free, two, three, free, four]);
  assert.ok((await verifyLog(good)).ok);
  await check([one, free, three, four], 'chain_broken', 2);
  await check([one, three, two, four], 'chain_broken', 1);
  await check([two, three], 'chain_broken', 0);
  await check([one, encodeEntry(outcome('s', 2))], 'chain_broken', 1);
  await check([one, free.replace(',', ', ')], 'entry_malformed', 1);
  await check([free, '{"type":"a","at":"b"}'], 'entry_malformed', 1);
  await check(['[]'], 'entry_malformed', 0);
  await check(['not json'], 'entry_malformed', 0);
  await check(['{"no":"type"}'], 'entry_malformed', 0);
});

void test('a missing partial file is no fault when the full one took its place', async (context) => {
  const { directory, verifierKey, privateKeyPem, late } = await sampleLog(context);
  const copy = await copyOf(context, directory);
  const log = await TransparencyLog.open(logOptions(copy, { privateKeyPem }));
  for (let index = 0; index < 200; index++) log.append(encodeEntry(outcome('d', index)));
  await log.close();
  await assert.rejects(readFile(path.join(copy, names.bundle2)));
  await writeFile(path.join(copy, 'checkpoint'), late);
  assert.ok((await verifyLog({ read: readerFor(copy), verifierKey, known: late })).ok);
  await rm(path.join(copy, tilePath('entries', 2)));
  assert.equal((await problemOf(readerFor(copy), verifierKey)).code, 'bundle_missing');
});
