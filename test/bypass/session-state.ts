/**
 * Attacks by what a session remembers: statements prepared in SQL, temporary tables, settings. `builder` may change
 * definitions without an approval, so that nothing else stands in the way.
 */
import assert from 'node:assert/strict';
import { assertClean, failure, scriptList, type World } from './attack.ts';
import { refused, type Attack } from './attack-lists.ts';
import { clean, fails, harmless, secret } from './protocol.ts';
import { errorsOf, frame, rowsOf, type RawSession } from './wire.ts';

const { scripts, add } = scriptList('what a session remembers', 'masked');
export const sessionStateScripts = scripts;

const bound = (statement: string, format: 0 | 1 = 0): Buffer[] => [
  frame.bind('', statement, [], format),
  frame.execute(''),
];
const extended = (text: string): Buffer[] => [frame.parse('', text), ...bound('')];
const queries = (...texts: string[]): Buffer[] => texts.map((text) => frame.query(text));

async function told(session: RawSession, ...texts: string[]): Promise<void> {
  for (const text of texts) await session.run(1, frame.query(text));
}

// ---- statements ----

const takeovers: Readonly<Record<string, readonly Buffer[]>> = {
  'in one text': queries(`deallocate p; prepare p as ${secret}`),
  'behind a comment': queries(`/* ; */ deallocate /**/ p; prepare p as ${secret}`),
  'after DISCARD ALL': queries('discard all', `prepare p as ${secret}`),
  'after a text that fails': queries(`deallocate p; prepare p as ${secret}; ${fails}`, `prepare p as ${secret}`),
  'in a transaction that is rolled back': queries('begin', `deallocate p; prepare p as ${secret}`, 'rollback'),
  'in a batch': [...extended('deallocate p'), ...extended(`prepare p as ${secret}`), frame.sync()],
  'after Close': [frame.close('S', 'p'), frame.sync(), ...queries(`prepare p as ${secret}`)],
  'with its name in quotes': queries(`deallocate "p"; prepare "p" as ${secret}`),
  'in capitals': queries(`DEALLOCATE PREPARE P; PREPARE P AS ${secret}`),
};

for (const [how, takeover] of Object.entries(takeovers)) {
  const answers = takeover.filter((one) => one[0] === 0x51 || one[0] === 0x53).length;
  add(`SQL takes over the name of a statement of the protocol: ${how}`, async (world) => {
    for (const format of [0, 1] as const) {
      const session = await world.raw();
      await session.run(1, frame.parse('p', harmless), frame.describe('S', 'p'), frame.sync());
      await session.run(1, ...bound('p'), frame.sync());
      await session.run(answers, ...takeover);
      await session.run(1, ...bound('p', format), frame.sync());
      await told(session, 'execute p');
      await clean(session);
    }
  });
  add(`the same, sent ahead of Bind: ${how}`, async (world) => {
    const session = await world.raw();
    await session.run(1, frame.parse('p', harmless), frame.describe('S', 'p'), frame.sync());
    session.send(...takeover, ...bound('p'), frame.sync(), ...bound('p', 1), frame.sync(), frame.query('execute p'));
    await session.until('Z', answers + 3, 1_000);
    await clean(session);
  });
}

add('names of 63 bytes and more, which the server cuts and the encoding may move', async (world) => {
  for (const name of ['n'.repeat(63), '€'.repeat(21), `${'é'.repeat(31)}a`, 'é'.repeat(40)]) {
    const session = await world.raw();
    await session.run(1, frame.parse(`${name}x`, harmless), frame.describe('S', `${name}x`), frame.sync());
    await told(session, `deallocate "${name}"`, `deallocate "${name}x"`, `prepare "${name}" as ${secret}`);
    await told(session, `prepare "${name}y" as ${secret}`, `execute "${name}"`);
    await session.run(1, frame.close('S', name), frame.parse(name, secret), frame.sync());
    await session.run(1, ...bound(`${name}x`), frame.sync());
    await session.run(1, ...bound(`${name}y`, 1), frame.sync());
    await clean(session);
  }
});

add('an EXECUTE that stopped half-way keeps its own plan', async (world) => {
  for (const [first, second] of [
    [secret, harmless],
    [harmless, secret],
  ]) {
    const session = await world.raw();
    await told(session, 'begin', `prepare p as ${first}`);
    await session.run(1, frame.parse('e', 'execute p'), frame.bind('x', 'e'), frame.execute('x', 1), frame.sync());
    await told(session, `deallocate p; prepare p as ${second}`);
    await session.run(1, frame.bind('y', 'e'), frame.execute('y', 1), frame.sync());
    await session.run(1, frame.execute('x', 2), frame.execute('y'), frame.execute('x'), frame.sync());
    await clean(session);
  }
});

add('an EXECUTE that was described for another statement', async (world) => {
  const session = await world.raw();
  await told(session, `prepare p as ${harmless}`);
  await session.run(1, frame.parse('e', 'execute p'), frame.describe('S', 'e'), frame.sync());
  session.send(...queries('deallocate p', `prepare p as ${secret}`), ...bound('e'), frame.sync());
  session.send(frame.bind('z', 'e'), frame.describe('P', 'z'), frame.execute('z'), frame.sync());
  await session.until('Z', 4);
  await clean(session);
});

add('names that differ in case or by quotes are two', async (world) => {
  const session = await world.raw();
  await told(session, `prepare p as ${harmless}`, `prepare "P" as ${secret}`, `prepare "p " as ${secret}`);
  for (const text of ['execute p', 'execute "P"', 'execute "p "', 'execute P', 'deallocate p', 'execute "P"'])
    await told(session, text);
  await clean(session);
});

add("a statement by the name of the gateway's own question is not taken for it", async (world) => {
  const session = await world.raw();
  await told(session, `prepare countersign_copy_probe as ${harmless}`);
  await told(session, 'copy (select reverse(token) as upper from vault) to stdout', 'execute countersign_copy_probe');
  await session.run(1, ...extended('copy (select token from vault) to stdout'), frame.sync());
  await clean(session);
});

add('arguments say nothing about what is masked', async (world) => {
  const { client } = await world.tapped();
  await client.query('prepare p(text, int) as select coalesce(token, $1), $1, id from vault where id = $2');
  for (const text of ["execute p('zq', 1)", 'execute p(null, 1)', "execute p('', '2'::int4)"])
    assertClean(await world.told(client, text));
  for (const text of [
    'execute p((select token from vault limit 1), 1)',
    "execute p('x', (select pin from vault limit 1))",
    "execute p('x', length(current_setting('x.y')))",
    "execute p(set_config('search_path', 'pg_temp', false), 1)",
  ])
    assert.equal((await failure(client.query(text))).code, '42501');
});

add('a view that is made anew between two EXECUTEs', async (world) => {
  const { client } = await world.tapped();
  await client.query("prepare p as select shown || '' as s from switching where id = 1");
  await client.query('execute p');
  await world.harness.target('create or replace view switching as select id, token as shown from vault');
  try {
    await new Promise((resolve) => setTimeout(resolve, 700));
    assertClean(await world.told(client, 'execute p'));
  } finally {
    await world.harness.target('create or replace view switching as select id, label as shown from plain');
    await new Promise((resolve) => setTimeout(resolve, 700));
  }
});

add(
  'what was prepared is nothing that CREATE TABLE AS, EXPLAIN or COPY may run',
  async (world) => {
    const { client } = await world.tapped('builder');
    await client.query('prepare p as select token as label from vault');
    for (const text of [
      'create table stolen as execute p',
      'create temp table stolen as execute p',
      'explain execute p',
      'explain (analyze, verbose) execute p',
      'copy (execute p) to stdout',
      'declare c cursor for execute p',
    ])
      assert.match((await failure(client.query(text))).code ?? '', /^(42501|42601)$/, text);
  },
  { expected: 'refused' },
);

add('PREPARE of settings', async (world) => {
  const { client } = await world.tapped('builder');
  for (const [name, value] of [
    ['search_path', 'pg_temp'],
    ['role', 'postgres'],
    ['standard_conforming_strings', 'off'],
    ['datestyle', 'german'],
  ]) {
    await failure(client.query(`prepare a as select set_config('${name}', '${value}', false)`));
    await failure(client.query(`prepare b(text) as select set_config('${name}', $1, false)`));
    await failure(client.query(`execute b('${value}')`));
  }
});

// ---- temporary tables ----

async function ownNames(world: World, ...texts: string[]): Promise<void> {
  const session = await world.raw('builder');
  await told(session, ...texts);
  await clean(session);
}

for (const [title, ...texts] of [
  ['an escaped name', 'create temp table s (label text)', 'insert into U&"\\0073" select token from vault', 'table s'],
  [
    'the schema by its name',
    'create temp table s (label text)',
    'insert into pg_temp.s select token from vault',
    'table s',
  ],
  [
    'a view of the table',
    'create temp table s (label text)',
    'create temp view w as select s.label, token from s, vault',
    'table w',
  ],
  [
    'a rule, a trigger or a default on it',
    'create temp table s (label text)',
    'create rule r as on insert to s do instead select token from vault',
    "alter table s alter column label set default query_to_xml('select token from vault', true, true, '')::text",
    'insert into s default values returning *',
  ],
  [
    'a name that code of the target uses without its schema',
    'create temp table trail (label text)',
    'create temp table s (label text)',
    'alter table s rename to trail',
    'alter index s rename to trail',
    'table trail',
  ],
  [
    'the type of a column that a cast reads',
    'create temp table text (a integer)',
    'create temp table varchar (a integer)',
    'select token::text from vault where id = 1',
  ],
  [
    'an index by the name of a table',
    'create temp table s (id integer constraint vault primary key)',
    'select token from vault where id = 1',
  ],
  [
    'made twice, and the first comes back',
    'create temp table s (label text, id integer)',
    'begin',
    'drop table s',
    'create temp table s (id integer, label text)',
    'rollback',
    'insert into s (id, label) select id, token from vault',
    'table s',
  ],
  [
    'IF NOT EXISTS keeps the first',
    'create temp table s (a text)',
    'create temp table if not exists s (b text)',
    'create temp table if not exists s as select token as a from vault',
    'insert into s (a) select token from vault',
    'table s',
  ],
  [
    'what is prepared over it',
    'create temp table s (label text)',
    'prepare p as select upper(label) as u from s',
    'drop table s',
    'create temp table s as select token as label from vault',
    'execute p',
    'prepare q as insert into s select token from vault returning *',
    'execute q',
  ],
  [
    'a cursor over both',
    'create temp table s (id integer)',
    'insert into s values (1)',
    'begin',
    'declare c cursor for select s.id, v.token, reverse(v.token) as r, v from s join vault v using (id)',
    'fetch all from c',
  ],
  [
    'rows of both put together',
    'create temp table s (id integer, label text)',
    "insert into s values (1, 'x')",
    'select (s, v)::text, row_to_json(v), s.label || v.token as l, json_agg(v) over () as j from s join vault v on s.id = v.id',
    'select label from s union all select token from vault',
    'select * from s natural left join vault_tokens',
  ],
] as const) {
  add(`a temporary table: ${title}`, async (world) => ownNames(world, ...texts));
}

const taken = 'select reverse(label) as r from lent';
for (const [how, before, then] of [
  ['DROP', ['create temp table lent (label text)'], ['drop table lent']],
  ['a rollback', ['begin', 'create temp table lent (label text)'], ['rollback']],
  ['a rollback to a savepoint', ['begin', 'savepoint s', 'create temp table lent (label text)'], ['rollback to s']],
  ['ON COMMIT DROP', ['begin', 'create temp table lent (label text) on commit drop'], ['commit']],
  ['ON COMMIT DROP in a chain', ['begin', 'create temp table lent (label text) on commit drop'], ['commit and chain']],
  ['an error', ['begin', 'create temp table lent (label text)'], [fails, 'commit']],
  ['DISCARD', ['create temp table lent (label text)'], ['discard temp']],
] as const) {
  add(`a table takes the name of a temporary one that goes by ${how}`, async (world) => {
    const session = await world.raw('builder');
    await told(session, ...before, 'prepare p as select reverse(label) as r from lent');
    await session.run(1, frame.parse('s', taken), frame.describe('S', 's'), frame.sync());
    await world.harness.target('create view lent as select id, token as label from vault');
    await world.harness.target('grant all on lent to cs_executor');
    try {
      session.send(...queries(...then, taken), ...extended(taken), frame.sync(), ...bound('s'), frame.sync());
      session.send(...queries('execute p', `${then.join(';')}; ${taken}`));
      await session.until('Z', then.length + 5, 1_500);
      await told(session, 'rollback', taken, 'execute p');
      await clean(session);
    } finally {
      await world.harness.target('drop view lent');
      await new Promise((resolve) => setTimeout(resolve, 600));
    }
  });
}

add('a temporary table that is dropped by the real name of its schema', async (world) => {
  const session = await world.raw('builder');
  await told(session, 'create temp table lent (label text)');
  const [found] = await world.harness.target<{ schema: string }>(
    "select relnamespace::regnamespace::text as schema from pg_class where relname = 'lent'",
  );
  await told(session, `drop table ${found?.schema}.lent`);
  await world.harness.target('create view lent as select id, token as label from vault');
  await world.harness.target('grant all on lent to cs_executor');
  try {
    await told(
      session,
      taken,
      'prepare p as select reverse(label) from pg_temp.lent',
      `alter table ${found?.schema}.lent rename to x`,
    );
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.ok(rowsOf(await session.run(1, frame.query(taken))) > 0);
    await clean(session);
  } finally {
    await world.harness.target('drop view lent');
    await new Promise((resolve) => setTimeout(resolve, 600));
  }
});

add('two sessions, one name, two tables: no verdict is shared', async (world) => {
  const [first, second] = [await world.raw('builder'), await world.raw('builder')];
  const text = 'select reverse(label) as r from shared_name';
  await told(first, 'create temp table shared_name (label text)', text);
  await world.harness.target('create view shared_name as select token as label from vault');
  await world.harness.target('grant all on shared_name to cs_executor');
  try {
    await new Promise((resolve) => setTimeout(resolve, 700));
    for (const session of [first, second, first]) {
      await told(session, text);
      await session.run(1, ...extended(text), frame.sync());
    }
    assert.ok(rowsOf(await second.run(1, frame.query(text))) > 0);
    assert.equal(rowsOf(await first.run(1, frame.query(text))), 0);
    await clean(first);
    await clean(second);
  } finally {
    await world.harness.target('drop view shared_name');
  }
});

// ---- settings ----

add('RESET ALL and DISCARD ALL go back to the search path of the gateway', async (world) => {
  await world.harness.target("alter role cs_executor set search_path to 'pg_temp'");
  await world.harness.target("alter database crm set search_path to 'pg_temp'");
  try {
    const { client } = await world.tapped('builder');
    for (const text of ['reset all', 'discard all', 'begin; savepoint a; rollback to a; reset all; rollback']) {
      await client.query(text).catch(() => undefined);
      const { rows } = await client.query<{ search_path: string }>('show search_path');
      assert.deepEqual(rows, [{ search_path: '"public"' }], text);
      assertClean(await world.told(client, 'select token, reverse(token) from vault limit 2'));
    }
  } finally {
    await world.harness.target('alter role cs_executor reset search_path');
    await world.harness.target('alter database crm reset search_path');
  }
});

add('a refused setting in a savepoint leaves nothing behind', async (world) => {
  const session = await world.raw('builder');
  await told(session, 'begin', 'savepoint a', 'set local search_path to pg_temp', 'rollback to a');
  const shown = await session.run(1, frame.query('show search_path'));
  assert.match(shown.find(({ type }) => type === 'D')?.body ?? '', /"public"/);
  assert.deepEqual(errorsOf(await session.run(1, frame.query("set local schema 'pg_temp'"))), ['42501']);
  await clean(session);
});

export const sessionStateAttacks: readonly Attack[] = [
  ...refused(
    'settings by other names',
    "set schema 'pg_temp'",
    "set local schema 'pg_temp'",
    'set "search_path" to pg_temp',
    'set SEARCH_PATH = DEFAULT',
    "update pg_settings set setting = 'pg_temp' where name = 'search_path'",
    "insert into labels values (901, set_config('search_path', 'pg_temp', false))",
    "select set_config('SEARCH_path', 'pg_temp', false)",
    "select set_config(name => 'search_path', value => 'pg_temp', is_local => false)",
    "select set_config('search' || '_path', 'pg_temp', false)",
    "select set_config('search_path', 'pg_temp', false) from plain",
    "select set_config('search_path', 'pg_temp', false), label from plain",
    "with w as (select set_config('search_path', 'pg_temp', true)) select * from w",
    "values (set_config('search_path', 'pg_temp', false))",
    "select current_setting('x'), set_config('role', 'postgres', false)",
    'set session authorization default',
    'set local session authorization cs_gateway',
    'set role none',
    "alter system set search_path to 'pg_temp'",
    'set xml option document',
    "set plpgsql.variable_conflict = 'use_column'",
    'set session_replication_role to replica',
    'reset session_authorization',
  ),
];
