/**
 * `limits.statementTimeoutMs` against a user who has lifted the target's own limit in their session: nothing is masked
 * here, so that everything that could make a statement slow may run.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type pg from 'pg';
import { frame, streamOf } from './bypass/wire.ts';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness } from './harness.ts';

const limitMs = 3_000;
const longer = 'select pg_sleep(60)';
const shorter = 'select pg_sleep(1.1)';

let harness: Harness;

before(async () => {
  harness = await startHarness({
    schema: customersSchema,
    configure: (configuration) => {
      configuration['masking'] = [];
      Object.assign(configuration['gateway'] as object, { limits: { statementTimeoutMs: limitMs } });
    },
  });
});

after(async () => {
  await harness?.close();
});

async function unlimited(): Promise<pg.Client> {
  const client = await harness.connect('reader');
  await client.query('set statement_timeout = 0');
  return client;
}

async function refusal(work: Promise<unknown>): Promise<pg.DatabaseError> {
  return work.then(
    () => assert.fail('this had to be cut'),
    (failure: pg.DatabaseError) => failure,
  );
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt++) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`never: ${what}`);
}

/** Sessions of users that are at work at the target. */
async function atWork(): Promise<number> {
  const [found] = await harness.target<{ count: number }>(
    "select count(*)::int as count from pg_stat_activity where application_name like 'countersign ses_%' and state = 'active'",
  );
  return found?.count ?? 0;
}

describe('a statement that takes too long is cut although its session has no limit at the target', () => {
  const cut = (failure: pg.DatabaseError) => {
    assert.equal(failure.code, '57014');
    assert.match(failure.message, /^countersign: the statement took longer than 3000 ms$/);
  };

  it('in the simple protocol, and the session goes on', async () => {
    const client = await unlimited();
    cut(await refusal(client.query(longer)));
    assert.deepEqual((await client.query('select 1 as one')).rows, [{ one: 1 }]);
    await client.end();
  });

  it('in the text that lifts the limit', async () => {
    const client = await harness.connect('reader');
    cut(await refusal(client.query(`set statement_timeout = 0; ${longer}`)));
    await client.end();
  });

  it('behind others in its text, and in a transaction', async () => {
    const client = await unlimited();
    cut(await refusal(client.query(`select 1; begin; ${longer}`)));
    await client.query('rollback');
    await client.query('begin');
    await client.query('set local statement_timeout = 0');
    cut(await refusal(client.query(longer)));
    await client.query('rollback');
    await client.end();
  });

  it('with parameters', async () => {
    const client = await unlimited();
    cut(await refusal(client.query({ text: 'select pg_sleep($1)', values: [60] })));
    await client.end();
  });

  it('in a batch without an end', async () => {
    const client = await unlimited();
    const socket = streamOf(client);
    socket.removeAllListeners('data');
    let said = '';
    const cutShort = new Promise<void>((resolve, reject) => {
      socket.on('data', (data: Buffer) => {
        said += data.toString('latin1');
        if (said.includes('countersign: the statement took longer')) resolve();
      });
      socket.on('close', () => reject(new Error('the session ended')));
    });
    socket.write(Buffer.concat([frame.parse('', longer), frame.bind('', ''), frame.execute('')]));
    await cutShort;
    socket.destroy();
  });

  it('in the block that raises it anew each time', async () => {
    const client = await unlimited();
    await client.query("select set_config('statement_timeout', '0', false)");
    cut(
      await refusal(
        client.query(
          `do $$ begin loop perform set_config('statement_timeout', '0', false), pg_sleep(0.1); end loop; end $$`,
        ),
      ),
    );
    await client.end();
  });
});

describe('the time of a statement', () => {
  it('is its own, not that of all', async () => {
    const client = await unlimited();
    for (let index = 0; index < 4; index++) await client.query(shorter);
    await client.end();
  });

  it('ends a session that does not read its result, and nothing goes on at the target', async () => {
    const client = await unlimited();
    const socket = streamOf(client);
    socket.removeAllListeners('data');
    socket.pause();
    socket.write(frame.query("select repeat('x', 1000) from generate_series(1, 1000000)"));
    const isEnded = async () => (await harness.entries()).some(({ reason }) => reason === 'statement_timeout');
    await until('the session is ended', isEnded);
    await until('nobody is at work', async () => (await atWork()) === 0);
    socket.destroy();
  });

  it('goes on when its client has gone', async () => {
    const client = await unlimited();
    streamOf(client).write(frame.query('select pg_sleep(300)'));
    await until('it is at work', async () => (await atWork()) === 1);
    streamOf(client).destroy();
    await until('nobody is at work', async () => (await atWork()) === 0);
  });
});
