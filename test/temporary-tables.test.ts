/** Temporary tables through the whole gateway: nothing masked gets into one, and none is taken for another relation. */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import pg from 'pg';
import { bypassColumns, bypassSchema, leaked } from './bypass/schema.ts';
import { errorsOf, frame, RawSession, rowsOf } from './bypass/wire.ts';
import { startHarness, type Harness } from './harness.ts';
import { refusalFrom, rowsFrom } from './queries.ts';

let harness: Harness;
let client: pg.Client;

before(async () => {
  harness = await startHarness({
    schema: `${bypassSchema}
      create schema audit; create table audit.trail (id integer); create type public.color as enum ('red');
      create domain public.age as integer;`,
    configure: (raw) => {
      const [personal] = raw['masking'] as { columns: unknown[] }[];
      personal?.columns.push(...bypassColumns);
    },
  });
});

after(async () => {
  await harness?.close();
});

const received: RawSession[] = [];
beforeEach(async () => {
  client = await harness.connect('builder');
});
afterEach(async () => {
  for (const session of received.splice(0)) assert.equal(leaked(session.bytes), undefined, 'a raw value was received');
  await client.end();
});

async function raw(): Promise<RawSession> {
  const session = new RawSession(await harness.connect('builder'));
  received.push(session);
  return session;
}

const rows = (text: string, on = client) => rowsFrom(on, text);
const refusal = (text: string, on = client) => refusalFrom(on, text);

async function run(...texts: string[]): Promise<void> {
  for (const text of texts) await client.query(text);
}

describe('what works', () => {
  it('a table of columns: filled, read, joined, counted, copied, indexed, emptied, dropped', async () => {
    await run(
      'create temp table scratch (id integer primary key, label text not null default $$none$$, check (id > 0))',
      "insert into scratch values (1, 'one'), (2, 'two')",
      'insert into scratch (id) select id from vault where id between 3 and 4',
      'create index on scratch (label)',
    );
    assert.deepEqual(await rows('select * from scratch order by id limit 3'), [
      { id: 1, label: 'one' },
      { id: 2, label: 'two' },
      { id: 3, label: 'none' },
    ]);
    assert.deepEqual(
      await rows('select s.label, v.token, upper(v.token) as u from scratch s join vault v using (id) where id = 1'),
      [{ label: 'one', token: '[masked]', u: '[masked]' }],
    );
    assert.deepEqual(await rows('select count(*)::int as n, max(label) as m from pg_temp.scratch'), [
      { n: 4, m: 'two' },
    ]);
    assert.deepEqual(await rows("update scratch set label = label || '!' where id = 1 returning *"), [
      { id: 1, label: 'one!' },
    ]);
    assert.equal((await rows('select ctid, s from scratch s')).length, 4);
    await run('truncate scratch', 'drop table scratch');
    assert.equal((await refusal('select * from scratch')).code, '42P01');
    await run('create temporary table scratch (other text)');
    assert.deepEqual(await rows('select other from scratch'), []);
  });

  it('filled by a query that stores nothing masked, in both protocols', async () => {
    await client.query({
      text: 'create temp table ids as select id, id + 1 as next from vault where id < 3',
      values: [],
    });
    const query: pg.QueryConfig & { binary: boolean } = {
      text: 'select * from ids order by id',
      values: [],
      binary: true,
    };
    assert.deepEqual((await client.query(query)).rows, [
      { id: 1, next: 2 },
      { id: 2, next: 3 },
    ]);
    await run(
      'select id as a, label into temp named from plain where id < 3',
      'create temp table two (x, y) as values (1, 2)',
    );
    assert.deepEqual(await rows('select a from named order by a'), [{ a: 1 }, { a: 2 }]);
    assert.deepEqual(await rows('select x, y from two'), [{ x: 1, y: 2 }]);
    const { rows: prepared } = await client.query({ name: 'p', text: 'select a from named where a = $1', values: [1] });
    assert.deepEqual(prepared, [{ a: 1 }]);
    await client.query('drop table named');
    await assert.rejects(client.query({ name: 'p', text: 'select a from named where a = $1', values: [1] }), {
      code: '42P01',
    });
    await client.query('create temp table named (a text)');
    await client.query("insert into named values ('1')");
    assert.deepEqual(
      (await client.query({ name: 'q', text: 'select a from named where a = $1', values: ['1'] })).rows,
      [{ a: '1' }],
    );
  });

  it('COPY into it and out of it, and a cursor', async () => {
    const session = await raw();
    await session.run(1, frame.query('create temp table scratch (id integer, label text)'));
    session.send(frame.query('copy scratch from stdin'));
    await session.until('G');
    await session.run(1, frame.raw('d', Buffer.from('1\tone\n')), frame.copyDone());
    const copied = await session.run(1, frame.query('copy scratch to stdout'));
    assert.deepEqual(errorsOf(copied), []);
    assert.equal(copied.find(({ type }) => type === 'd')?.body, '1\tone\n');
    const texts = ['begin', 'declare c cursor for select label from scratch', 'fetch c', 'commit'];
    assert.equal(rowsOf(await session.run(4, ...texts.map((text) => frame.query(text)))), 1);
  });

  it('queries sent ahead: what names it waits for it', async () => {
    const session = await raw();
    const texts = [
      'create temp table s (id integer)',
      'insert into s values (1)',
      'select * from s',
      'drop table s',
      'select * from s',
    ];
    const answers = await session.run(5, ...texts.map((text) => frame.query(text)));
    assert.equal(rowsOf(answers), 1);
    assert.deepEqual(errorsOf(answers), ['42P01']);
  });

  it('many statements over it in one batch', async () => {
    const session = await raw();
    await session.run(1, frame.query('create temp table s (id integer)'));
    const insert = [
      frame.parse('', 'insert into s values ($1)'),
      ...['1', '2'].flatMap((n) => [frame.bind('', '', [n]), frame.execute('')]),
    ];
    const answers = await session.run(
      1,
      ...insert,
      frame.parse('', 'select * from s'),
      frame.bind('', ''),
      frame.execute(''),
      frame.sync(),
    );
    assert.deepEqual(errorsOf(answers), []);
    assert.equal(rowsOf(answers), 2);
  });
});

describe('what is masked stays out', () => {
  for (const text of [
    'create temp table stolen as select token from vault',
    'create temp table stolen as select upper(token) as label from vault',
    'create temp table stolen as select v as whole from vault v',
    'create temp table stolen as table vault_nested',
    'select label into temp stolen from vault_tokens',
    'create temp table stolen (a) as select token from vault with no data',
    "create temp table stolen as select id from vault where token like 'z%'",
    'insert into safe (label) select token from vault',
    'insert into safe select number, label from vault_nested',
    'update safe set label = token from vault where vault.id = safe.id',
    'merge into safe s using vault v on v.id = s.id when not matched then insert values (v.id, v.token)',
    'with w as (select token from vault) insert into safe (label) select token from w',
    'create table kept as select s.label, v.token from safe s, vault v',
    'select s.id from safe s join vault v on v.token = s.label',
    'select jsonb_build_object(s.label, 1, v.token, 2) from safe s, vault v',
    'select to_jsonb(row(s.label, v.token)) from safe s, vault v',
  ]) {
    it(text, async () => {
      await run('create temp table safe (id integer, label text)', "insert into safe values (1, 'x')");
      const error = await refusal(text);
      assert.equal(error.code, '42501');
      assert.match(error.message, /vault\.token/);
    });
  }

  for (const text of [
    'create temp table vault (id integer)',
    'create temp table plain (id integer)',
    'create temp table trail (id integer)',
    'create temp table pg_class (id integer)',
    'create temp table text (id integer)',
    'create temp table _date (id integer)',
    'create temp table color (id integer)',
    'create temp table age (id integer)',
    'create temp table "é" (id integer)',
    `create temp table ${'n'.repeat(63)} (id integer)`,
    'create temp table fresh (id integer, token text)',
    "create temp table fresh as select 'x' as token",
    'create temp table fresh (like vault)',
    'create temp table fresh () inherits (vault)',
    'create temp table fresh partition of split_vault for values in (1)',
    'create temp table fresh of vault',
    'create temp table fresh (id serial)',
    'create temp table fresh (id integer generated always as identity)',
    "create temp table fresh (id integer, x text default query_to_xml('select token from vault', true, true, '')::text)",
    "create temp table fresh (id integer default nextval('numbers'))",
    'create temp table fresh (id age)',
    'create temp table fresh (id integer references labels)',
    'create temp view fresh as select id from plain',
    'create temp sequence fresh',
    'create view pg_temp.fresh as select id from plain',
    'create table pg_temp_3.fresh (id integer)',
    'create domain pg_temp.text as text',
    "create function pg_temp.f() returns text language sql as 'select 1::text'",
    'create type pg_temp.text as (a integer)',
    'create view fresh as select * from safe',
    'alter table safe rename to fresh',
    'alter index safe rename to fresh',
    'alter table safe add column token text',
    'alter table safe rename column label to token',
    'alter table vault inherit safe',
    'create rule r as on insert to safe do also select token from vault',
    'create trigger t before insert on safe for each row execute function f()',
    'create index on safe ((query_to_xml(label, true, true, $$$$)))',
    'create table fresh (like safe)',
    'alter table safe set schema public',
    'explain (analyze) create temp table fresh as select 1 as a',
    'begin; create temp table fresh as select 1 as a; select * from fresh; commit',
    'drop table safe; select * from safe',
    'begin; rollback; select * from safe',
  ]) {
    it(`refuses: ${text}`, async () => {
      await run('create temp table safe (id integer, label text)');
      const { code = '' } = await refusal(text);
      assert.ok(['42501', '0A000', '42P01'].includes(code), code);
    });
  }
});

describe('other sessions', () => {
  it('share no verdict with one that has temporary tables', async () => {
    const other = await harness.connect('builder');
    const text = 'select label from mine';
    assert.equal((await refusal(text, other)).code, '42P01');
    await run('create temp table mine (label text)', "insert into mine values ('own')");
    assert.deepEqual(await rows(text), [{ label: 'own' }]);
    assert.equal((await refusal(text, other)).code, '42P01');
    await other.query('create temp table mine (number integer, label text)');
    await other.query("insert into mine values (7, 'other')");
    assert.deepEqual(await rows('select * from mine', other), [{ number: 7, label: 'other' }]);
    assert.deepEqual(await rows('select * from mine'), [{ label: 'own' }]);
    assert.deepEqual(await rows(text, other), [{ label: 'other' }]);
  });

  it('a table that comes later is another one to each of them', async () => {
    const other = await harness.connect('builder');
    await run('create temp table late (label text)', "insert into late values ('own')");
    await harness.target('create table late as select token as label, upper(token) as token from vault limit 1');
    await harness.target('grant all on late to cs_executor');
    try {
      await new Promise((resolve) => setTimeout(resolve, 700));
      const text = "select label || '' as l from late";
      assert.deepEqual(await rows(text), [{ l: 'own' }]);
      assert.deepEqual(await rows('select upper(token) as t from public.late'), [{ t: '[masked]' }]);
      assert.deepEqual(await rows('select upper(token) as t from late', other), [{ t: '[masked]' }]);
      assert.equal((await refusal('insert into late select token from public.late')).code, '42501');
      await client.query('drop table late');
      assert.deepEqual(await rows('select upper(token) as t from late'), [{ t: '[masked]' }]);
    } finally {
      await harness.target('drop table late');
    }
  });
});

describe('when it goes', () => {
  const columns = ['create temp table gone (label text)', "insert into gone values ('own')"];
  /** A table of that name in which everything is masked takes its place. */
  async function behind(...texts: string[]): Promise<RawSession> {
    const session = await raw();
    for (const text of columns.slice(0, 1)) await session.run(1, frame.query(text));
    await session.run(1, frame.query("insert into gone values ('own')"));
    for (const text of texts) await session.run(1, frame.query(text));
    return session;
  }

  before(async () => {
    await harness.target('create schema away');
    await harness.target('create view away.hidden as select token as label from vault');
    await harness.target('grant all on away.hidden to cs_executor');
  });

  it('with its transaction, by ON COMMIT DROP, DISCARD and DROP', async () => {
    for (const texts of [
      ['begin', ...columns, 'rollback'],
      ['begin', 'savepoint s', ...columns, 'rollback to s'],
      ['begin', 'create temp table gone on commit drop as select 1 as label', 'commit'],
      ['create temp table gone on commit drop as select 1 as label'],
      ['begin', 'create temp table gone (label text) on commit drop', 'commit and chain'],
      [...columns, 'discard all'],
      [...columns, 'discard temp'],
      [...columns, 'drop table pg_temp.gone'],
      [...columns, 'drop table if exists gone, gone_too cascade'],
    ]) {
      const session = await raw();
      for (const text of texts) await session.run(1, frame.query(text));
      assert.deepEqual(errorsOf(await session.run(1, frame.query('select * from gone'))), ['42P01'], texts.join('; '));
    }
  });

  it('after a rollback that may have brought it back, it can be dropped or made again', async () => {
    await run(...columns, 'begin', 'drop table gone', 'create temp table gone (number integer)', 'rollback');
    assert.equal((await refusal('select * from gone')).code, '42P01');
    await run('drop table gone', 'create temp table gone (number integer)', 'insert into gone values (3)');
    assert.deepEqual(await rows('select * from gone'), [{ number: 3 }]);
    await run('begin');
    await refusal('select 1 / (id - id) from plain');
    await run('rollback');
    assert.deepEqual(await rows('select * from gone'), [{ number: 3 }]);
    await run('create temp table if not exists gone (other text)');
    assert.deepEqual(await rows('select number from gone'), [{ number: 3 }]);
  });

  it('an error in the batch that made it', async () => {
    const session = await raw();
    const made = [
      frame.parse('', 'create temp table gone (label text)'),
      frame.bind('', ''),
      frame.execute(''),
      frame.flush(),
    ];
    session.send(...made);
    await session.until('C');
    const fails = [
      frame.parse('', 'select 1 / (id - id) from plain'),
      frame.bind('', ''),
      frame.execute(''),
      frame.sync(),
    ];
    const answers = await session.run(2, ...fails, frame.query('select * from gone'));
    assert.deepEqual(errorsOf(answers), ['22012', '42P01']);
  });

  it('another table takes its name while what drops it is under way', async () => {
    for (const drops of [['drop table gone'], ['discard temp'], ['begin', 'drop table gone', 'commit']]) {
      const session = await behind();
      await harness.target('alter table away.hidden rename to gone');
      await harness.target('alter table away.gone set schema public');
      try {
        const reads = [
          frame.query("select label || '' as l from gone"),
          frame.parse('', "select label || '' as l from gone"),
          frame.bind('', ''),
          frame.execute(''),
          frame.sync(),
        ];
        await session.run(drops.length + 2, ...drops.map((text) => frame.query(text)), ...reads);
        assert.equal(leaked(session.bytes), undefined, drops.join());
        const batch = drops.flatMap((text) => [frame.parse('', text), frame.bind('', ''), frame.execute('')]);
        const again = await behind();
        await again.run(1, ...batch, ...reads.slice(1));
        assert.equal(leaked(again.bytes), undefined, drops.join());
      } finally {
        await harness.target('alter table public.gone set schema away');
        await harness.target('alter table away.gone rename to hidden');
        await new Promise((resolve) => setTimeout(resolve, 700));
      }
    }
  });

  it('what DROP OWNED or CASCADE may have taken along is not taken for certain', async () => {
    for (const text of ['drop owned by cs_executor', 'drop schema if exists never_there cascade']) {
      await run('create temp table owned (label text)');
      await run(text);
      assert.equal((await refusal('select * from owned')).code, '42P01');
      await run('drop table if exists owned');
    }
    await harness.target('grant all on all tables in schema public to cs_executor');
  });
});

describe('prepared statements over it', () => {
  it('are read anew when it is made anew', async () => {
    await run('create temp table s (label text)', "insert into s values ('x')", 'prepare p as select * from s');
    assert.deepEqual(await rows('execute p'), [{ label: 'x' }]);
    await run('drop table s');
    assert.ok(['42P01', '42501', '26000'].includes((await refusal('execute p')).code ?? ''));
    await run('deallocate p', 'create temp table s (number integer)', 'prepare p as select * from s');
    assert.deepEqual(await rows('execute p'), []);
  });
});
