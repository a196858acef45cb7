import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CountersignError } from '../errors.ts';
import { systemClock } from '../lib/clock.ts';
import { copyOf, deferred, faultyFiles, logOptions, temporaryDirectory } from './fixtures.ts';
import { batchHeaderBytes } from './journal.ts';
import { TransparencyLog } from './log.ts';
import { readConsistencyProof, readInclusionProof } from './proofs.ts';
import { iterateEntries, readerFor, verifyLog } from './verify.ts';
import { logVerifier } from './checkpoint.ts';
import { leafHash, verifyConsistency, verifyInclusion } from './tlog.ts';

const entry = (number: number, filler = ''): string =>
  `{"at":"2026-01-02T03:04:05.678Z","filler":"${filler}","node":"n","number":${number},"type":"test"}`;
const codeIs =
  (code: string, text = /./) =>
  (error: unknown) =>
    error instanceof CountersignError && error.code === code && text.test(error.message);

const magic = Buffer.from([0xff, 0x43, 0x53, 0x4a]);

async function entriesOf(directory: string, size: number): Promise<string[]> {
  const texts: string[] = [];
  for await (const { text } of iterateEntries({ read: readerFor(directory), size })) texts.push(text);
  return texts;
}

const journalFiles = async (directory: string): Promise<string[]> =>
  (await readdir(path.join(directory, 'journal'))).sort().map((name) => path.join(directory, 'journal', name));

/** A log whose process "died" with entries in the journal only: a copy of its directory while it is open, without the lock. */
async function crashed(context: Parameters<typeof temporaryDirectory>[0], counts: readonly number[]) {
  const directory = await temporaryDirectory(context);
  const options = logOptions(directory);
  const log = await TransparencyLog.open(options);
  let number = 0;
  for (const count of counts) {
    for (let index = 0; index < count; index++) log.append(entry(number++));
    await log.durable(log.size - 1);
  }
  const copy = await copyOf(context, directory);
  await rm(path.join(copy, 'lock'));
  const files = await journalFiles(copy);
  await log.close();
  return { options: { ...options, directory: copy }, journal: files[0] ?? '', size: number };
}

void test('what is appended is published, verifies, and is there after a restart', async (context) => {
  const directory = await temporaryDirectory(context);
  const options = logOptions(directory);
  let log = await TransparencyLog.open(options);
  const expected: string[] = [];
  let known: string | undefined;
  for (const upTo of [3, 255, 256, 257, 700, 1_500]) {
    while (expected.length < upTo) {
      expected.push(entry(expected.length, 'ä'.repeat(expected.length % 50)));
      assert.equal(log.append(expected.at(-1) ?? ''), expected.length - 1);
    }
    const note = await log.checkpoint();
    const verdict = await verifyLog({ read: readerFor(directory), verifierKey: options.verifierKey, known });
    assert.deepEqual(verdict.ok && verdict.size, upTo);
    known = note;
    if (upTo === 257) {
      await log.close();
      assert.deepEqual(await journalFiles(directory), [], 'a clean close leaves no journal');
      log = await TransparencyLog.open(options);
      assert.equal(log.size, upTo);
      assert.equal(log.durableSize, upTo);
    }
  }
  await log.close();
  assert.deepEqual(await entriesOf(directory, 1_500), expected);
  assert.equal((await readFile(path.join(directory, 'log.vkey'), 'utf8')).trim(), options.verifierKey);
  assert.equal((await stat(path.join(directory, 'tile/0/004'))).size, 8_192);
  await assert.rejects(stat(path.join(directory, 'tile/0/000.p')), 'partial tiles go when the full tile is there');
});

void test('proofs from the tiles hold under the checkpoint', async (context) => {
  const directory = await temporaryDirectory(context);
  const options = logOptions(directory);
  const log = await TransparencyLog.open(options);
  const verifier = logVerifier(options.verifierKey);
  for (let index = 0; index < 300; index++) log.append(entry(index));
  const first = verifier.verify(await log.checkpoint());
  for (let index = 300; index < 700; index++) log.append(entry(index));
  const second = verifier.verify(await log.checkpoint());
  const read = readerFor(directory);
  for (const index of [0, 255, 256, 511, 512, 699]) {
    const proof = await readInclusionProof(read, index, second.size);
    assert.ok(
      verifyInclusion(leafHash(Buffer.from(entry(index))), index, second.size, proof, second.root),
      `entry ${index}`,
    );
  }
  const proof = await readConsistencyProof(read, first.size, second.size);
  assert.ok(verifyConsistency(first.size, second.size, proof, first.root, second.root));
  await log.close();
});

void test('all appends of a turn are one write, and what comes during a write is the next one', async (context) => {
  const files = faultyFiles();
  const log = await TransparencyLog.open(logOptions(await temporaryDirectory(context), { files }));
  const order: number[] = [];
  const hold = deferred();
  files.beforeWrite = () => hold.promise;
  for (let index = 0; index < 50; index++) log.whenDurable(log.append(entry(index)), () => order.push(index));
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  assert.equal(files.writes, 1);
  for (let index = 50; index < 90; index++) {
    log.whenDurable(log.append(entry(index)), () => order.push(index));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(files.writes, 1, 'the disk is busy: entries wait for the next batch');
  assert.equal(log.durableSize, 0);
  assert.deepEqual(order, [], 'nobody is told before the entry is durable');
  hold.resolve();
  await log.durable(89);
  assert.equal(files.writes, 2);
  assert.deepEqual(
    order,
    Array.from({ length: 90 }, (_, index) => index),
  );
  await log.close();
});

void test('a callback never runs before whenDurable returns, nor before those that asked earlier', async (context) => {
  const log = await TransparencyLog.open(logOptions(await temporaryDirectory(context)));
  const order: string[] = [];
  const index = log.append(entry(0));
  await log.durable(index);
  log.whenDurable(index, () => order.push('late'));
  order.push('returned');
  const next = log.append(entry(1));
  log.whenDurable(next, () => {
    order.push('a');
    log.whenDurable(next, () => order.push('c'));
  });
  log.whenDurable(next, () => order.push('b'));
  await log.durable(next);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(order, ['returned', 'late', 'a', 'b', 'c']);
  assert.throws(() => log.whenDurable(2, () => undefined), RangeError);
  await log.close();
});

void test('a failed write poisons the log: those who wait get the error, nobody appends any more', async (context) => {
  const directory = await temporaryDirectory(context);
  const files = faultyFiles();
  const options = logOptions(directory, { files });
  const log = await TransparencyLog.open(options);
  await log.durable(log.append(entry(0)));
  files.beforeWrite = () => Promise.reject(new Error('no space left on device'));
  const first = log.durable(log.append(entry(1)));
  const second = log.durable(log.append(entry(2)));
  await assert.rejects(first, codeIs('log_unavailable', /no space left/));
  await assert.rejects(second, codeIs('log_unavailable'));
  files.beforeWrite = undefined;
  assert.throws(() => log.append(entry(3)), codeIs('log_unavailable'));
  await assert.rejects(log.checkpoint(), codeIs('log_unavailable'));
  await assert.rejects(log.durable(0), codeIs('log_unavailable'));
  await log.close();
  const again = await TransparencyLog.open(logOptions(directory, { privateKeyPem: options.privateKeyPem }));
  assert.equal(again.size, 1, 'the acknowledged entry is there, the failed ones are not');
  await again.close();
});

void test('a failed tile write poisons the log too; nothing is lost', async (context) => {
  const directory = await temporaryDirectory(context);
  const files = faultyFiles();
  const options = logOptions(directory, { files });
  const log = await TransparencyLog.open(options);
  for (let index = 0; index < 300; index++) log.append(entry(index));
  files.beforeFile = (file) => {
    if (file.endsWith('tile/0/000')) throw new Error('input/output error');
  };
  await assert.rejects(log.checkpoint(), codeIs('log_unavailable', /input\/output error/));
  assert.throws(() => log.append(entry(300)), codeIs('log_unavailable'));
  await log.close();
  const again = await TransparencyLog.open({ ...options, files: undefined });
  assert.equal(again.size, 300);
  await again.checkpoint();
  const verdict = await verifyLog({ read: readerFor(directory), verifierKey: options.verifierKey });
  assert.ok(verdict.ok);
  await again.close();
});

void test('a closed log takes nothing; too large entries are refused and harm nobody', async (context) => {
  const directory = await temporaryDirectory(context);
  const log = await TransparencyLog.open(logOptions(directory, { maxEntryBytes: 100 }));
  assert.throws(() => log.append('x'.repeat(101)), codeIs('input_invalid'));
  assert.throws(() => log.append('ä'.repeat(51)), codeIs('input_invalid'));
  assert.equal(log.append('ä'.repeat(50)), 0);
  assert.equal(log.append(Buffer.from('bytes')), 1);
  const closing = log.close();
  assert.throws(() => log.append('{}'), codeIs('log_unavailable', /closed/));
  await closing;
  assert.deepEqual(await entriesOf(directory, 2), ['ä'.repeat(50), 'bytes']);
});

void test('batches larger than a slab and entries across many segments', async (context) => {
  const directory = await temporaryDirectory(context);
  const options = logOptions(directory);
  const log = await TransparencyLog.open(options);
  const expected: string[] = [];
  for (let round = 0; round < 40; round++) {
    const count = round === 20 ? 60 : 3;
    for (let index = 0; index < count; index++) {
      expected.push(entry(expected.length, 'y'.repeat(30_000)));
      log.append(expected.at(-1) ?? '');
    }
    await log.durable(log.size - 1);
  }
  assert.ok((await journalFiles(directory)).length > 10);
  await log.checkpoint();
  assert.ok((await journalFiles(directory)).length <= 2, 'published segments are dropped');
  await log.close();
  assert.deepEqual(await entriesOf(directory, expected.length), expected);
});

void test('one directory has one owner', async (context) => {
  const directory = await temporaryDirectory(context);
  const options = logOptions(directory);
  const log = await TransparencyLog.open(options);
  await assert.rejects(
    TransparencyLog.open(options),
    codeIs('log_unavailable', new RegExp(`in use by process ${process.pid}`)),
  );
  await log.close();
  const stale = { pid: process.pid, started: 'another boot', host: hostname(), token: 'x' };
  await writeFile(path.join(directory, 'lock'), JSON.stringify(stale));
  const second = await TransparencyLog.open(options);
  await second.close();
  await writeFile(path.join(directory, 'lock'), JSON.stringify({ ...stale, host: 'another-host' }));
  await assert.rejects(TransparencyLog.open(options), codeIs('log_unavailable', /another-host/));
  const later = { now: () => systemClock.now() + 120_000 };
  const third = await TransparencyLog.open({ ...options, clock: later });
  await third.close();
});

void test('another key, another origin, and damaged tiles are refused at start', async (context) => {
  const directory = await temporaryDirectory(context);
  const options = logOptions(directory);
  const log = await TransparencyLog.open(options);
  log.append(entry(0));
  await log.close();
  await assert.rejects(TransparencyLog.open(logOptions(directory)), codeIs('log_broken', /not signed by the key/));
  const tile = path.join(directory, 'tile/0/000.p/1');
  const genuine = await readFile(tile);
  await writeFile(tile, Buffer.alloc(32));
  await assert.rejects(TransparencyLog.open(options), codeIs('log_broken', /do not lead to its checkpoint/));
  await writeFile(tile, genuine);
  const again = await TransparencyLog.open(options);
  await again.close();
});

void test('a batch torn by a crash is cut off, whatever is missing; what was acknowledged stays', async (context) => {
  const { options, journal, size } = await crashed(context, [5, 7, 20]);
  const whole = await readFile(journal);
  const lastBatch = whole.lastIndexOf(magic);
  const end = lastBatch + batchHeaderBytes + whole.readUInt32BE(lastBatch + 4);
  const cuts = [lastBatch + 1, lastBatch + batchHeaderBytes - 1, lastBatch + batchHeaderBytes, end - 700, end - 1];
  const torn = cuts.map((cut) => whole.subarray(0, cut));
  const zeroed = Buffer.from(whole).fill(0, lastBatch, end);
  torn.push(zeroed);
  for (let sector = Math.ceil(lastBatch / 512) * 512; sector < end; sector += 512) {
    torn.push(Buffer.from(whole).fill(0, sector, end), Buffer.from(whole).fill(0, sector, Math.min(end, sector + 512)));
  }
  assert.ok(torn.length > 8);
  for (const [number, content] of torn.entries()) {
    const at = await copyOf(context, options.directory);
    await writeFile(path.join(at, 'journal', path.basename(journal)), content);
    let log = await TransparencyLog.open({ ...options, directory: at });
    assert.equal(log.size, size - 20, `case ${number}`);
    assert.equal(log.append(entry(12)), 12);
    await log.durable(12);
    const copy = await copyOf(context, at);
    await rm(path.join(copy, 'lock'));
    await log.close();
    log = await TransparencyLog.open({ ...options, directory: copy });
    await log.close();
    assert.deepEqual(
      await entriesOf(copy, 13),
      Array.from({ length: 13 }, (_, index) => entry(index)),
    );
  }
});

void test('damage in the middle of the journal, and a changed byte anywhere, is an error that names the entry', async (context) => {
  const { options, journal } = await crashed(context, [5, 7, 2]);
  const whole = await readFile(journal);
  const open = async (content: Buffer) => {
    const at = await copyOf(context, options.directory);
    await writeFile(path.join(at, 'journal', path.basename(journal)), content);
    return TransparencyLog.open({ ...options, directory: at });
  };
  const starts: number[] = [];
  for (let at = whole.indexOf(magic); at >= 0; at = whole.indexOf(magic, at + 1)) starts.push(at);
  assert.equal(starts.length, 3);
  const firstEntries = [0, 5, 12];
  for (const [batch, start] of starts.entries()) {
    const length = batchHeaderBytes + whole.readUInt32BE(start + 4);
    for (let offset = 0; offset < length; offset += 23) {
      const changed = Buffer.from(whole);
      changed[start + offset] = (changed[start + offset] ?? 0) ^ 0x20;
      await assert.rejects(
        open(changed),
        codeIs('log_broken', batch === 0 ? /damaged/ : new RegExp(`entry ${firstEntries[batch]}\\b`)),
        `batch ${batch} byte ${offset}`,
      );
    }
  }
  const [first = 0, second = 0, third = 0] = starts;
  const zeroed = Buffer.from(whole).fill(0, second, third);
  await assert.rejects(open(zeroed), codeIs('log_broken', /entry 5/), 'a zeroed batch in the middle');
  const removed = Buffer.concat([whole.subarray(0, second), whole.subarray(third)]);
  await assert.rejects(open(removed), codeIs('log_broken', /entry 5/), 'a removed batch');
  const beheaded = Buffer.concat([whole.subarray(0, first), whole.subarray(second)]);
  await assert.rejects(open(beheaded), codeIs('log_broken', /begins at entry 5/), 'the first batch removed');
});

void test('after kill -9 every acknowledged entry is there', async (context) => {
  const directory = await temporaryDirectory(context);
  const options = logOptions(directory);
  const writer = fileURLToPath(new URL('log-writer.fixture.ts', import.meta.url));
  let acknowledged = -1;
  for (let round = 0; round < 3; round++) {
    const child = spawn(process.execPath, [writer, directory], {
      env: { ...process.env, LOG_KEY: options.privateKeyPem },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const wanted = acknowledged + 2_000;
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged = Number(line);
      if (acknowledged > wanted && !child.killed) child.kill('SIGKILL');
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    assert.equal(child.signalCode, 'SIGKILL');
  }
  const log = await TransparencyLog.open(options);
  assert.ok(log.size > acknowledged, `${log.size} entries, ${acknowledged} acknowledged`);
  await log.checkpoint();
  const { size } = log;
  await log.close();
  const texts = await entriesOf(directory, size);
  for (const [index, text] of texts.entries())
    assert.ok(text.startsWith(`{"number":${index},`), `entry ${index} is ${text.slice(0, 40)}`);
  const verdict = await verifyLog({ read: readerFor(directory), verifierKey: options.verifierKey });
  assert.ok(verdict.ok, JSON.stringify(verdict));
});

void test('a lost lock poisons the log', async (context) => {
  context.mock.timers.enable({ apis: ['setInterval'] });
  const directory = await temporaryDirectory(context);
  const log = await TransparencyLog.open(logOptions(directory));
  await writeFile(path.join(directory, 'lock'), 'somebody else');
  context.mock.timers.tick(10_000);
  while (log.failure === undefined) await new Promise((resolve) => setImmediate(resolve));
  assert.throws(() => log.append('{}'), codeIs('log_unavailable', /lock/));
  await log.close();
  assert.equal(await readFile(path.join(directory, 'lock'), 'utf8'), 'somebody else');
});
