import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { startTestStore, type TestStore } from '../../test/control-store.ts';
import { CountersignError } from '../errors.ts';
import { logOptions, temporaryDirectory } from './fixtures.ts';
import { LogFollower } from './follower.ts';
import { TransparencyLog } from './log.ts';
import { readerFor } from './verify.ts';

let database: TestStore;
before(async () => {
  database = await startTestStore();
});
after(() => database.stop());

async function openLog(context: Parameters<typeof temporaryDirectory>[0]) {
  const log = await TransparencyLog.open(logOptions(await temporaryDirectory(context)));
  context.after(() => log.close());
  return log;
}

function follow(
  log: TransparencyLog,
  consumer: string,
  seen: string[],
  more: { startsAtEnd?: boolean; fail?: () => boolean } = {},
) {
  return new LogFollower({
    store: database.store,
    log: {
      checkpoint: () => log.checkpoint(),
      get publishedSize() {
        return log.publishedSize;
      },
      read: readerFor(log.directory),
    },
    node: 'n1',
    consumer,
    startsAtEnd: more.startsAtEnd,
    handle: (_transaction, entries) => {
      if (more.fail?.() === true) return Promise.reject(new Error('the consumer failed'));
      seen.push(...entries.map(({ text }) => text));
      return Promise.resolve();
    },
  });
}

void it('gives each entry once, in order, whoever else reads for the same consumer, also after a failure', async (context) => {
  const log = await openLog(context);
  const seen: string[] = [];
  const wanted: string[] = [];
  const append = (count: number) => {
    for (let n = 0; n < count; n++) {
      const text = `{"n":${wanted.length}}`;
      wanted.push(text);
      log.append(text);
    }
  };
  append(5_000);
  let fails = true;
  const [one, other] = [follow(log, 'a', seen, { fail: () => fails }), follow(log, 'a', seen)];
  await assert.rejects(one.catchUp(), /the consumer failed/);
  fails = false;
  await Promise.all([one.catchUp(), other.catchUp()]);
  append(3);
  assert.deepEqual(await one.catchUp(), { read: 5_003, size: 5_003 });
  await other.catchUp();
  assert.deepEqual(seen, wanted);
});

void it('can begin at the end', async (context) => {
  const log = await openLog(context);
  const seen: string[] = [];
  log.append('{"n":0}');
  const follower = follow(log, 'b', seen, { startsAtEnd: true });
  await follower.catchUp();
  log.append('{"n":1}');
  await follower.catchUp();
  assert.deepEqual(seen, ['{"n":1}']);
});

void it('notices a log that is shorter than what was read of it', async (context) => {
  const long = await openLog(context);
  for (let n = 0; n < 3; n++) long.append('{}');
  await follow(long, 'c', []).catchUp();
  const cut = await openLog(context);
  cut.append('{}');
  await assert.rejects(
    follow(cut, 'c', []).catchUp(),
    (error) => error instanceof CountersignError && error.code === 'log_broken',
  );
});
