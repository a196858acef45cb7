import assert from 'node:assert/strict';
import { duplexPair, type Duplex } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generateLogKey } from '../audit/checkpoint.ts';
import { maxEntryBytes, TransparencyLog } from '../audit/log.ts';
import { iterateEntries, readerFor } from '../audit/verify.ts';
import { systemClock } from '../lib/clock.ts';
import { RemoteLog, serveLog } from './remote-log.ts';

const code = (wanted: string) => (error: Error & { code?: string }) => error.code === wanted;
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A log whose other end is played by the test. */
function played(): { log: RemoteLog; far: Duplex; received: () => Buffer } {
  const [near, far] = duplexPair();
  const pieces: Buffer[] = [];
  far.on('data', (piece: Buffer) => pieces.push(Buffer.from(piece)));
  return { log: new RemoteLog(near), far, received: () => Buffer.concat(pieces) };
}

describe('a log in another process', () => {
  let directory: string;
  let main: TransparencyLog;

  before(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'countersign-remote-'));
    const { privateKeyPem } = generateLogKey('test/log');
    main = await TransparencyLog.open({ directory, origin: 'test/log', privateKeyPem, clock: systemClock });
  });

  after(async () => {
    await main.close();
    await rm(directory, { recursive: true, force: true });
  });

  it('has every entry, in the order of each process, when it says that it is durable', async () => {
    const logs = [0, 1, 2].map(() => {
      const [near, far] = duplexPair();
      serveLog(far, main);
      return new RemoteLog(near);
    });
    const called: string[] = [];
    for (let number = 0; number < 500; number++) {
      for (const [who, log] of logs.entries()) {
        const text = `{"n":${number},"text":"${'é'.repeat(number % 70)}","who":${who}}`;
        const index = log.append(number % 2 === 0 ? text : Buffer.from(text));
        assert.equal(index, number);
        log.whenDurable(index, (error) => {
          assert.equal(error, undefined);
          assert.ok(main.durableSize > number, 'it is on the disk of the other process');
          called.push(`${who}.${number}`);
        });
      }
      if (number % 7 === 0) await turn();
    }
    for (const log of logs) await log.flush();
    await turn();
    for (const who of logs.keys()) {
      const own = called.filter((one) => one.startsWith(`${who}.`));
      assert.deepEqual(
        own,
        Array.from({ length: 500 }, (_, number) => `${who}.${number}`),
      );
    }
    await main.checkpoint();
    const seen = [0, 0, 0];
    for await (const { text } of iterateEntries({ read: readerFor(directory), size: main.publishedSize })) {
      const { n, who, text: content } = JSON.parse(text) as { n: number; who: number; text: string };
      assert.equal(n, seen[who]);
      assert.equal(content, 'é'.repeat(n % 70));
      seen[who] = n + 1;
    }
    assert.deepEqual(seen, [500, 500, 500]);
  });

  it('calls back for what is durable already before anything that comes later', async () => {
    const [near, far] = duplexPair();
    serveLog(far, main);
    const log = new RemoteLog(near);
    await log.durable(log.append('{"a":1}'));
    const order: string[] = [];
    // An answer of the other process is not read before the turn is over: what waits for a later entry comes behind.
    setImmediate(() => order.push('turn'));
    log.whenDurable(0, () => order.push('callback'));
    assert.deepEqual(order, [], 'never before the call returns');
    await turn();
    await turn();
    assert.deepEqual(order, ['callback', 'turn']);
  });

  it('takes what fits into an entry, and leaves the others as they are', async () => {
    const [near, far] = duplexPair();
    serveLog(far, main);
    const log = new RemoteLog(near);
    log.append('{"before":1}');
    assert.throws(() => log.append('x'.repeat(maxEntryBytes + 1)), code('input_invalid'));
    assert.equal(log.append('{"after":1}'), 1);
    await log.flush();
    assert.equal(log.append('y'.repeat(maxEntryBytes)), 2);
    await log.flush();
  });

  it('sends the next batch when the last one is durable', async () => {
    const { log, far, received } = played();
    let calls = 0;
    log.whenDurable(log.append('{"a":1}'), () => calls++);
    await turn();
    await turn();
    const first = received();
    assert.equal(first.readUInt32BE(4), 1);
    for (const text of ['{"b":1}', '{"c":1}']) log.whenDurable(log.append(text), () => calls++);
    await turn();
    await turn();
    assert.equal(received().length, first.length, 'nothing follows before the answer');
    far.write(Buffer.from([1]));
    await turn();
    await turn();
    await turn();
    assert.equal(calls, 1);
    assert.equal(received().readUInt32BE(first.length + 4), 2);
  });
});

describe('a log that is lost', () => {
  for (const [name, lose] of [
    ['says so', (far: Duplex) => far.write(Buffer.from([0]))],
    ['answers what nobody asked', (far: Duplex) => far.write(Buffer.from([1, 1]))],
    ['is gone', (far: Duplex) => far.end()],
  ] as const) {
    it(`because it ${name}: whoever waits hears of it, and nothing is appended`, async () => {
      const { log, far } = played();
      const index = log.append('{"a":1}');
      const errors: unknown[] = [];
      log.whenDurable(index, (error) => errors.push(error?.code));
      await turn();
      log.whenDurable(log.append('{"b":1}'), (error) => errors.push(error?.code));
      await turn();
      lose(far);
      for (let turns = 0; turns < 10; turns++) await turn();
      assert.equal(errors.at(-1), 'log_unavailable');
      assert.throws(() => log.append('{"c":1}'), code('log_unavailable'));
      if (name !== 'answers what nobody asked') {
        assert.deepEqual(errors, ['log_unavailable', 'log_unavailable']);
        await assert.rejects(log.durable(index), code('log_unavailable'));
      }
    });
  }

  it('in the main process is lost in the worker', async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'countersign-remote-'));
    const { privateKeyPem } = generateLogKey('test/log');
    const main = await TransparencyLog.open({ directory, origin: 'test/log', privateKeyPem, clock: systemClock });
    const [near, far] = duplexPair();
    serveLog(far, main);
    const log = new RemoteLog(near);
    await log.durable(log.append('{"a":1}'));
    await main.close();
    await assert.rejects(log.durable(log.append('{"b":1}')), code('log_unavailable'));
    await rm(directory, { recursive: true, force: true });
  });
});
