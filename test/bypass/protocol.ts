/** Attacks that lie in the order and the form of messages: pipelines that fail, names used again, COPY, rubbish. */
import assert from 'node:assert/strict';
import type pg from 'pg';
import { assertClean, failure, scriptList } from './attack.ts';
import { errorsOf, frame, rowsOf, type RawSession } from './wire.ts';

const { scripts, add } = scriptList('protocol', 'masked');
export const protocolScripts = scripts;

// A computed column has no origin that the server could name: only the plan of the right statement masks it.
export const secret = 'select reverse(token) from vault where id < 9';
export const harmless = 'select upper(label) from plain where id < 9';
export const fails = 'select upper(1) from plain';

/** What still comes is waited for, and searched. */
export async function clean(session: RawSession): Promise<void> {
  await session.until('Z', 1, 150);
  assertClean(session.bytes);
}

for (const name of ['a', '', 'x\u{1f600} "\';--']) {
  add(`a statement prepared again in a batch that fails keeps its own plan: ${JSON.stringify(name)}`, async (world) => {
    const session = await world.raw();
    await session.run(1, frame.parse(name, secret), frame.sync());
    session.send(
      frame.parse('bad', fails),
      frame.close('S', name),
      frame.parse(name, harmless),
      frame.sync(),
      frame.bind('', name),
      frame.execute(''),
      frame.sync(),
    );
    await session.until('Z', 2);
    await clean(session);
  });
}

add('a statement whose Close was skipped, prepared again in the batch after, keeps its own plan', async (world) => {
  const session = await world.raw();
  await session.run(1, frame.parse('a', secret), frame.sync());
  session.send(
    frame.parse('bad', fails),
    frame.close('S', 'a'),
    frame.sync(),
    frame.parse('a', harmless),
    frame.sync(),
    frame.bind('', 'a'),
    frame.execute(''),
    frame.sync(),
  );
  await session.until('Z', 3);
  await clean(session);
});

add('a statement behind a failing one of the simple protocol keeps its own plan', async (world) => {
  const session = await world.raw();
  await session.run(1, frame.parse('', secret), frame.sync());
  session.send(
    frame.parse('bad', fails),
    frame.query('select 1'),
    frame.parse('', harmless),
    frame.sync(),
    frame.bind('', ''),
    frame.execute(''),
    frame.sync(),
    frame.query(harmless),
    frame.query(secret),
  );
  await session.until('Z', 4);
  await clean(session);
});

add('a statement prepared again behind a refusal keeps its own plan', async (world) => {
  const session = await world.raw();
  await session.run(1, frame.parse('a', secret), frame.parse('ok', harmless), frame.sync());
  session.send(
    frame.bind('', 'ok'),
    frame.parse('bad', 'select id from vault order by token'),
    frame.close('S', 'a'),
    frame.parse('a', harmless),
    frame.sync(),
    frame.bind('', 'a'),
    frame.execute(''),
    frame.sync(),
  );
  await session.until('Z', 2);
  await clean(session);
});

add('a portal bound again in a batch that fails inside a savepoint keeps its own plan', async (world) => {
  const session = await world.raw();
  await session.run(1, frame.query('begin'));
  await session.run(1, frame.parse('a', secret), frame.bind('p', 'a'), frame.execute('p', 1), frame.sync());
  await session.run(1, frame.query('savepoint s'));
  await session.run(1, frame.parse('b', harmless), frame.describe('S', 'b'), frame.sync());
  await session.run(1, frame.parse('', fails), frame.close('P', 'p'), frame.bind('p', 'b'), frame.sync());
  await session.run(1, frame.query('rollback to s'));
  await session.run(1, frame.execute('p'), frame.sync());
  await clean(session);
});

for (const portal of ['p', '']) {
  add(
    `so does a portal bound again and executed before the error is known: ${JSON.stringify(portal)}`,
    async (world) => {
      const session = await world.raw();
      await session.run(1, frame.query('begin'));
      await session.run(
        1,
        frame.parse('a', secret),
        frame.parse('b', harmless),
        frame.describe('S', 'b'),
        frame.sync(),
      );
      await session.run(1, frame.bind(portal, 'a'), frame.execute(portal, 1), frame.sync());
      await session.run(1, frame.parse('s', 'savepoint s'), frame.bind('s', 's'), frame.execute('s'), frame.sync());
      session.send(
        frame.parse('bad', fails),
        frame.close('P', portal),
        frame.bind(portal, 'b'),
        frame.sync(),
        frame.parse('r', 'rollback to s'),
        frame.bind('r', 'r'),
        frame.execute('r'),
        frame.execute(portal),
        frame.sync(),
        frame.execute(portal),
        frame.sync(),
      );
      await session.until('Z', 3);
      await clean(session);
    },
  );
}

add('the unnamed portal bound again in a batch that fails keeps its own plan', async (world) => {
  const session = await world.raw();
  await session.run(1, frame.query('begin'), frame.parse('b', harmless), frame.describe('S', 'b'), frame.sync());
  await session.run(1, frame.parse('a', secret), frame.bind('', 'a'), frame.execute('', 1), frame.sync());
  await session.run(1, frame.parse('bad', fails), frame.bind('', 'b'), frame.sync());
  await session.run(1, frame.query('rollback'), frame.execute(''), frame.sync());
  await clean(session);
});

add('Sync while the target is in COPY does not shift answers to other statements', async (world) => {
  const session = await world.raw();
  session.send(frame.parse('', 'copy plain from stdin'), frame.bind('', ''), frame.execute(''));
  session.send(frame.flush());
  await session.until('G');
  session.send(frame.sync(), frame.copyDone(), frame.sync());
  await session.until('Z', 1);
  await session.run(1, frame.parse('', fails), frame.bind('', ''), frame.execute(''), frame.sync());
  await session.run(1, frame.parse('', secret), frame.bind('', ''), frame.execute(''), frame.sync());
  await clean(session);
});

add('Sync in a simple COPY does not shift answers to other statements', async (world) => {
  const session = await world.raw();
  session.send(frame.query('copy plain from stdin'));
  await session.until('G');
  session.send(frame.sync(), frame.sync(), frame.copyFail());
  await session.until('Z', 1);
  await session.run(1, frame.parse('', fails), frame.bind('', ''), frame.execute(''), frame.sync());
  await session.run(1, frame.parse('', fails), frame.bind('', ''), frame.execute(''), frame.sync());
  await session.run(1, frame.parse('', secret), frame.bind('', ''), frame.execute(''), frame.sync());
  await clean(session);
});

add('COPY in the extended protocol with Sync sent ahead, as libpq does it, goes on', async (world) => {
  const session = await world.raw();
  session.send(frame.parse('', 'copy plain from stdin'), frame.bind('', ''), frame.execute(''), frame.sync());
  await session.until('G');
  await session.run(1, frame.raw('d', Buffer.from('7001\tx\n')), frame.copyDone(), frame.sync());
  const answers = await session.run(1, frame.query('select 1'));
  assert.equal(rowsOf(answers), 1);
});

add('a query sent inside COPY does not take the place of another', async (world) => {
  const session = await world.raw();
  session.send(frame.query('copy plain from stdin'));
  await session.until('G');
  session.send(frame.query(harmless), frame.query(secret), frame.query(secret));
  await session.until('Z', 3, 500);
  await clean(session);
});

add('one statement split at every byte is one statement', async (world) => {
  const session = await world.raw();
  const text = Buffer.concat([
    frame.parse('', secret),
    frame.bind('', '', [], 1),
    frame.execute('', 2),
    frame.execute(''),
    frame.sync(),
    frame.query('select token, v from vault v'),
  ]);
  for (const byte of text) session.send(Buffer.from([byte]));
  const answers = await session.until('Z', 2);
  assert.equal(rowsOf(answers) > 8, true);
  await clean(session);
});

add('Execute without Describe, Describe after Execute, and results in binary', async (world) => {
  const session = await world.raw();
  await session.run(
    2,
    frame.parse('a', secret),
    frame.bind('p', 'a', [], 1),
    frame.execute('p', 1),
    frame.describe('P', 'p'),
    frame.execute('p', 1),
    frame.describe('S', 'a'),
    frame.bind('q', 'a'),
    frame.execute('q'),
    frame.sync(),
    frame.bind('', 'a', [], 1),
    frame.execute(''),
    frame.sync(),
  );
  await clean(session);
});

add('a query in the middle of a batch, and a refused one there', async (world) => {
  const session = await world.raw();
  const answers = await session.run(
    4,
    frame.parse('a', secret),
    frame.bind('', 'a'),
    frame.query(secret),
    frame.execute(''),
    frame.sync(),
    frame.parse('b', harmless),
    frame.query('select /*middle-1*/ id from vault order by token'),
    frame.sync(),
  );
  assert.ok(errorsOf(answers).includes('42501'));
  await clean(session);
  assert.ok(!(await world.harness.targetLog()).includes('middle-1'));
});

add('rubbish of the protocol ends in an error or the session, and reaches no data', async (world) => {
  for (const frames of [
    [frame.raw('F', Buffer.from([0, 0, 0x0b, 0xb8, 0, 0, 0, 0, 0, 0]))],
    [frame.raw('d', Buffer.from('1\tx\n')), frame.copyDone(), frame.copyFail(), frame.query(secret)],
    [frame.raw('Q', Buffer.from('select reverse(token) from vault\0select 1\0'))],
    [frame.raw('Q', Buffer.from('select reverse(token) from vault'))],
    [
      frame.raw(
        'Q',
        Buffer.concat([
          Buffer.from("select reverse(token), '"),
          Buffer.from([0xc3, 0x28]),
          Buffer.from("' from vault\0"),
        ]),
      ),
    ],
    [frame.raw('P', Buffer.from('a\0select reverse(token) from vault\0\0\x01'))],
    [frame.raw('p', Buffer.from('x\0')), frame.query(secret)],
    [frame.raw('\x7f'), frame.query(secret)],
    [Buffer.from([0x51, 0, 0, 0, 1])],
    [Buffer.from([0x51, 0x7f, 0xff, 0xff, 0xff])],
    [frame.execute('none'), frame.query(secret), frame.sync()],
    [frame.bind('p', 'none'), frame.execute('p'), frame.sync(), frame.query(secret)],
  ]) {
    const session = await world.raw();
    session.send(...frames);
    await session.until('Z', 2, 250);
    await clean(session);
  }
});

add('padding beyond every buffer changes nothing', async (world) => {
  const session = await world.raw();
  const answers = await session.run(
    2,
    frame.query(`${' '.repeat(900_000)}${secret}`),
    frame.query(`select /*${'x'.repeat(900_000)}*/ id from vault order by token`),
  );
  assert.ok(errorsOf(answers).length >= 1);
  await clean(session);
});

add('many small statements in one packet each have their own plan', async (world) => {
  const session = await world.raw();
  const frames: Buffer[] = [];
  for (let round = 0; round < 100; round++) {
    frames.push(frame.query(round % 2 === 0 ? harmless : secret));
    frames.push(
      frame.parse('', round % 3 === 0 ? secret : harmless),
      frame.bind('', ''),
      frame.execute(''),
      frame.sync(),
    );
  }
  const answers = await session.run(200, ...frames);
  assert.equal(rowsOf(answers), 1_600);
  await clean(session);
});

add('a Describe that the target skipped does not end the session later', async (world) => {
  const session = await world.raw();
  await session.run(1, frame.parse('a', harmless), frame.sync());
  await session.run(1, frame.parse('bad', fails), frame.describe('S', 'a'), frame.sync());
  const answers = await session.run(1, frame.bind('', 'a'), frame.execute(''), frame.sync());
  assert.equal(rowsOf(answers), 8);
});

add('DEALLOCATE, DISCARD and Close leave no statement with another plan', async (world) => {
  for (const drop of [
    'deallocate a',
    'deallocate "a"',
    'deallocate all',
    'discard all',
    'deallocate /**/ a',
    'discard plans',
  ]) {
    const session = await world.raw();
    await session.run(1, frame.parse('a', secret), frame.sync());
    session.send(
      frame.query(drop),
      frame.parse('a', harmless),
      frame.sync(),
      frame.bind('', 'a'),
      frame.execute(''),

      frame.sync(),
      frame.close('S', 'a'),
      frame.parse('a', harmless),
      frame.bind('', 'a'),
      frame.execute(''),
      frame.sync(),
    );
    await session.until('Z', 4, 1_000);
    await clean(session);
  }
});

add('after a refusal in a savepoint the session is as it was', async (world) => {
  const { client, taken } = await world.tapped();
  await client.query('begin; savepoint s');
  await failure(client.query('select id from vault order by token'));
  await client.query('rollback to s');
  const { rows } = await client.query('select token from vault limit 2');
  assert.equal(rows.length, 2);
  await client.query('rollback');
  assertClean(taken());
});

add('set_config by a parameter is refused', async (world) => {
  const { client } = await world.tapped();
  const error = await failure(client.query('select set_config($1, $2, false)', ['search_path', 'pg_temp']));
  assert.equal(error.code, '42501');
  await failure(client.query('select current_setting($1), pg_read_file($2)', ['x', 'PG_VERSION']));
});

add('a view that another session makes read a masked column is masked after the documented time', async (world) => {
  const { client, taken } = await world.tapped();
  const query = { name: 'shown', text: 'select id, shown from switching where id < $1', values: [5] };
  await client.query(query);
  await world.harness.target('create or replace view switching as select id, reverse(token) as shown from vault');
  await new Promise((resolve) => setTimeout(resolve, 700));
  assert.equal((await client.query(query)).rows.length, 4);
  assert.equal((await client.query('select shown from switching where id < 5')).rows.length, 4);
  assertClean(taken());
  await world.harness.target('create or replace view switching as select id, label as shown from plain');
});

add('start-up settings that change the reading of names or texts are refused', async (world) => {
  for (const options of [
    '-c search_path=pg_temp',
    '-crole=postgres',
    '--session_authorization=x',
    '-c standard_conforming_strings=off',
    '-c client_encoding=SQL_ASCII',
    '-i',
  ]) {
    await assert.rejects(world.harness.connect('reader', { options }), options);
  }
  await assert.rejects(world.harness.connect('reader', { replication: 'database' } as pg.ClientConfig));
});
