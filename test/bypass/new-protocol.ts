/** More attacks on the order and form of messages: long names, formats, portals, what a batch leaves behind. */
import assert from 'node:assert/strict';
import pg from 'pg';
import { ByteSink } from '../../src/lib/byte-sink.ts';
import { encodeBind } from '../../src/wire/postgres/frontend.ts';
import { assertClean, failure, scriptList } from './attack.ts';
import { clean, fails, harmless, secret } from './protocol.ts';
import { errorsOf, frame, rowsOf } from './wire.ts';

const { scripts, add } = scriptList('protocol, second part', 'masked');
export const newProtocolScripts = scripts;

/** The server tells names apart by their first 63 bytes. */
const long = 'n'.repeat(63);

add('prepared statements whose names the server takes for one keep their own plans', async (world) => {
  const session = await world.raw();
  await session.run(1, frame.parse(`${long}x`, harmless), frame.describe('S', `${long}x`), frame.sync());
  await session.run(1, frame.close('S', `${long}y`), frame.parse(`${long}y`, secret), frame.sync());
  await session.run(1, frame.bind('', `${long}x`), frame.execute(''), frame.sync());
  await clean(session);
});

add('portals whose names the server takes for one keep their own plans', async (world) => {
  const session = await world.raw();
  await session.run(
    1,
    frame.query('begin'),
    frame.parse('h', harmless),
    frame.describe('S', 'h'),
    frame.parse('s', secret),
    frame.sync(),
  );
  await session.run(1, frame.bind(`${long}x`, 'h'), frame.sync());
  await session.run(1, frame.close('P', `${long}y`), frame.bind(`${long}y`, 's'), frame.sync());
  await session.run(1, frame.execute(`${long}x`), frame.sync());
  await clean(session);
});

add('DEALLOCATE of a long name leaves no statement with another plan', async (world) => {
  const session = await world.raw();
  await session.run(1, frame.parse(long, harmless), frame.describe('S', long), frame.sync());
  await session.run(1, frame.query(`deallocate ${long}zzz`));
  await session.run(1, frame.parse(`${long}z`, secret), frame.sync());
  await session.run(1, frame.bind('', long), frame.execute(''), frame.sync());
  await clean(session);
});

const bound = (portal: string, statement: string, resultFormats: number[]): Buffer => {
  const sink = new ByteSink(64);
  encodeBind(sink, { portal, statement, parameterFormats: [], parameters: [], resultFormats });
  return Buffer.from(sink.buffer.subarray(0, sink.length));
};

for (const formats of [[0, 1], [1, 0], [1, 1], [1], [0], [1, 1, 1], [2], [0, 2], [-1], [1, 0, 1, 0]]) {
  add(`result formats ${formats.join()} for two columns show nothing, described or not`, async (world) => {
    const session = await world.raw();
    for (const described of [true, false]) {
      await session.run(1, frame.parse('two', 'select token, pin from vault where id < 5'), frame.sync());
      await session.run(
        1,
        bound('', 'two', formats),
        ...(described ? [frame.describe('P', '')] : []),
        frame.execute(''),
        frame.sync(),
      );
      await session.run(1, frame.close('S', 'two'), frame.sync());
    }
    await clean(session);
  });
}

add('one statement bound with several formats in turn is masked in each', async (world) => {
  const session = await world.raw();
  await session.run(1, frame.parse('a', 'select pin, reverse(token) from vault where id < 4'), frame.sync());
  const frames = [[1], [0], [0, 1], [1, 0], []].flatMap((formats) => [bound('', 'a', formats), frame.execute('')]);
  const answers = await session.run(1, ...frames, frame.sync());
  assert.equal(rowsOf(answers), 15);
  await clean(session);
});

add('a portal does not live on in the next transaction', async (world) => {
  const session = await world.raw();
  await session.run(1, frame.query('begin'));
  await session.run(1, frame.parse('a', secret), frame.bind('p', 'a'), frame.execute('p', 1), frame.sync());
  await session.run(1, frame.query('commit; begin'));
  await session.run(1, frame.parse('h', harmless), frame.bind('p', 'h'), frame.execute('p', 1), frame.sync());
  await session.run(1, frame.query('rollback; begin'));
  const answers = await session.run(1, frame.execute('p'), frame.sync());
  assert.equal(rowsOf(answers), 0);
  await clean(session);
});

add('commit and begin through the extended protocol keep portals apart', async (world) => {
  const session = await world.raw();
  const extended = (text: string) => [frame.parse('', text), frame.bind('', ''), frame.execute('')];
  session.send(
    ...extended('begin'),
    frame.parse('h', harmless),
    frame.bind('p', 'h'),
    frame.execute('p', 1),
    ...extended('commit'),
    ...extended('begin'),
    frame.parse('s', secret),
    frame.bind('p', 's'),
    frame.execute('p', 1),
    frame.sync(),
  );
  await session.until('Z', 1);
  await session.run(1, frame.execute('p'), frame.sync());
  await session.run(1, frame.bind('p', 's'), frame.execute('p', 1), frame.sync());
  await clean(session);
});

add(
  'PREPARE in SQL makes no statement for Bind',
  async (world) => {
    const session = await world.raw();
    await session.run(1, frame.query(`prepare stolen as ${secret}`));
    const answers = await session.run(1, frame.bind('', 'stolen'), frame.execute(''), frame.sync());
    assert.equal(errorsOf(answers)[0], '26000');
    await clean(session);
  },
  { expected: 'refused' },
);

add('a statement that DISCARD ALL dropped in a failing text is not taken for another', async (world) => {
  const session = await world.raw();
  await session.run(1, frame.parse('a', harmless), frame.describe('S', 'a'), frame.sync());
  await session.run(1, frame.query('deallocate a; select 1/0'));
  await session.run(1, frame.parse('a', secret), frame.sync());
  await session.run(1, frame.bind('', 'a'), frame.execute(''), frame.sync());
  await clean(session);
});

add('DEALLOCATE rolled back, and in the middle of a batch, keeps plans apart', async (world) => {
  const session = await world.raw();
  await session.run(1, frame.parse('a', harmless), frame.describe('S', 'a'), frame.sync());
  session.send(
    frame.parse('d', 'deallocate a'),
    frame.bind('', 'd'),
    frame.execute(''),
    frame.parse('a', secret),
    frame.sync(),
    frame.bind('', 'a'),
    frame.execute(''),
    frame.sync(),
  );
  await session.until('Z', 2);
  await session.run(1, frame.query('begin; deallocate all; rollback'));
  await session.run(1, frame.bind('', 'a'), frame.execute(''), frame.sync());
  await clean(session);
});

add('the unnamed statement after a simple query, and after a refusal, is nobody else', async (world) => {
  const session = await world.raw();
  await session.run(1, frame.parse('', harmless), frame.describe('S', ''), frame.sync());
  session.send(
    frame.query(secret),
    frame.bind('', ''),
    frame.execute(''),
    frame.sync(),
    frame.parse('', secret),
    frame.parse('', 'select id from vault order by token'),
    frame.sync(),
    frame.bind('', ''),
    frame.execute(''),
    frame.sync(),
  );
  await session.until('Z', 4);
  await clean(session);
});

add(
  'Describe of one statement while another of its name is on the way gives neither the plan of the other',
  async (world) => {
    const session = await world.raw();
    await session.run(1, frame.parse('a', harmless), frame.sync());
    session.send(
      frame.describe('S', 'a'),
      frame.close('S', 'a'),
      frame.parse('a', secret),
      frame.bind('', 'a'),
      frame.execute('', 1),
      frame.describe('S', 'a'),
      frame.sync(),
      frame.parse('bad', fails),
      frame.describe('S', 'a'),
      frame.sync(),
      frame.bind('', 'a'),
      frame.execute(''),
      frame.sync(),
    );
    await session.until('Z', 3);
    await clean(session);
  },
);

add('ROLLBACK TO drops a portal that is bound again before the answer', async (world) => {
  const session = await world.raw();
  await session.run(
    1,
    frame.query('begin; savepoint s'),
    frame.parse('h', harmless),
    frame.parse('s', secret),
    frame.sync(),
  );
  session.send(
    frame.bind('p', 's'),
    frame.execute('p', 1),
    frame.parse('r', 'rollback to s'),
    frame.bind('', 'r'),
    frame.execute(''),
    frame.bind('p', 'h'),
    frame.execute('p', 1),
    frame.sync(),
    frame.execute('p'),
    frame.sync(),
  );
  await session.until('Z', 2);
  await clean(session);
});

add('parameters of any type and form bring no raw value back in an error', async (world) => {
  const { client, taken } = await world.tapped();
  for (const [text, values] of [
    ['select token, $1::int from vault', ['x']],
    ['select token, $1::regclass from vault', ['zzz']],
    ['select left(token, $1) from vault', ['2147483648']],
    ['select token from vault limit $1', ['-1']],
    ['select token from vault where id = $1', ['zz']],
    ['insert into locker (id, token) values ($1, $2) returning token', ['1', 'zz']],
    ['update vault set id = $1 where id = 1 returning token', ['2']],
  ] as const) {
    await client.query(text, [...values]).catch((error: unknown) => assert.ok(error instanceof pg.DatabaseError));
    assertClean(taken());
  }
});

add('errors of COPY FROM into a masked table quote nothing', async (world) => {
  const session = await world.raw();
  for (const line of ['1\tzz\n', 'x\tzz\n', '90001\tzz\textra\n', '90002\n']) {
    session.send(frame.query('copy locker (id, token) from stdin'));
    await session.until('G');
    await session.run(1, frame.raw('d', Buffer.from(line)), frame.copyDone());
  }
  await clean(session);
});

add(
  'a verdict that was kept for one constant is not used for another',
  async (world) => {
    const { client } = await world.tapped();
    for (const [good, evil] of [
      ['select id, token from vault where id < 3 order by 1', 'select id, token from vault where id < 3 order by 2'],
      [
        'select id, label, token from vault_nested n(id, token, label) order by 1',
        'select id, label, token from vault_nested n(id, token, label) order by 3',
      ],
      ['select id, token from vault group by 1, vault.id', 'select id, token from vault group by 2, vault.id'],
      ['select distinct on (1) id, token from vault', 'select distinct on (2) id, token from vault'],
      [
        'select id, 1 from vault union all select id, 2 from vault order by 1',
        'select id, pin from vault union all select id, 2 from vault order by 2',
      ],
    ] as const) {
      await client.query(good).catch(() => undefined);
      const error = await failure(world.unapproved(client.query(evil)));
      assert.equal(error.code, '42501', evil);
    }
  },
  { expected: 'refused' },
);

add('application_name and settings show nobody anything', async (world) => {
  const { client, taken } = await world.tapped();
  await client.query("set application_name = 'zz'");
  await failure(world.unapproved(client.query("select set_config('application_name', token, false) from vault")));
  await client.query('show application_name');
  await client.query('show all').catch(() => undefined);
  assertClean(taken());
});

add('asynchronous notices and errors between statements are scrubbed while masked data is in reach', async (world) => {
  const { client, taken } = await world.tapped();
  await client.query('begin');
  await client.query('select token from vault limit 1');
  await failure(client.query("select 'zz'::integer"));
  await failure(client.query('select 1'));
  await client.query('rollback');
  assertClean(taken());
});

const breaks = 'update pair_refs set a = a + 1000 where id = 1';
const extended = (text: string): Buffer[] => [frame.parse('', text), frame.bind('', ''), frame.execute('')];

for (const [name, frames] of [
  ['behind another batch', [...extended('select 1'), frame.sync(), ...extended(breaks), frame.sync()]],
  ['behind two queries', [frame.query('select 1'), frame.query('select 2'), ...extended(breaks), frame.sync()]],
  [
    'in a transaction of several batches',
    [frame.query('select 1; begin'), ...extended(breaks), frame.sync(), ...extended('commit'), frame.sync()],
  ],
  [
    'behind a commit',
    [frame.query('begin'), frame.query('commit'), frame.query('begin'), frame.query(breaks), frame.query('commit')],
  ],
  [
    'by SET CONSTRAINTS behind a rollback',
    [
      frame.query('begin'),
      frame.query('rollback'),
      frame.query('begin'),
      frame.query(breaks),
      frame.query('set constraints all immediate'),
      frame.query('rollback'),
    ],
  ],
] as const) {
  add(`the error of a deferred constraint is withheld in a pipeline: ${name}`, async (world) => {
    const session = await world.raw();
    await session.run(1, frame.query('select 1'), ...extended(breaks).slice(0, 1), frame.sync());
    session.send(...frames);
    await session.until('E', 1);
    await clean(session);
  });
}

add('COPY FROM STDIN behind other statements in one packet takes its data and no other', async (world) => {
  const session = await world.raw();
  session.send(frame.query(harmless), frame.query(secret), frame.query('copy plain from stdin'));
  await session.until('G', 1);
  await session.run(1, frame.raw('d', Buffer.from('7101\tx\n')), frame.copyDone());
  session.send(...extended(secret), frame.sync(), ...extended('copy plain from stdin'), frame.sync());
  await session.until('G', 1);
  await session.run(1, frame.raw('d', Buffer.from('7102\tx\n')), frame.copyDone(), frame.sync());
  const answers = await session.run(1, frame.query('select label from plain where id in (7101, 7102)'));
  await clean(session);
  assert.equal(rowsOf(answers), 2);
});
