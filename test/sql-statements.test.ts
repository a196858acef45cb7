/** PREPARE and EXECUTE in SQL through the whole gateway: what runs is decided and masked as the statement itself is. */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import pg from 'pg';
import { bypassColumns, bypassSchema, leaked } from './bypass/schema.ts';
import { errorsOf, frame, RawSession, rowsOf } from './bypass/wire.ts';
import { startHarness, type Harness, type Who } from './harness.ts';
import { refusalFrom, rowsFrom } from './queries.ts';

let harness: Harness;
let client: pg.Client;

before(async () => {
  harness = await startHarness({
    schema: `${bypassSchema} create schema front; grant all on schema front to public;`,
    configure: (raw) => {
      const [connection] = raw['connections'] as Record<string, unknown>[];
      if (connection !== undefined) connection['searchPath'] = ['front', 'public'];
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
  client = await harness.connect('reader');
});
afterEach(() => {
  for (const session of received.splice(0)) assert.equal(leaked(session.bytes), undefined, 'a raw value was received');
});

async function raw(): Promise<RawSession> {
  const session = new RawSession(await harness.connect('reader'));
  received.push(session);
  return session;
}

const rows = (text: string, on = client) => rowsFrom(on, text);
const refusal = (text: string, on = client) => refusalFrom(on, text);

const secret = 'select upper(token) as t, id from vault where id = 1';
const harmless = 'select label as t, id from plain where id = 1';
const hidden = { t: '[masked]', id: 1 };
const shown = { t: 'label 1', id: 1 };

describe('simple protocol', () => {
  it('an EXECUTE is masked as its statement, with every argument', async () => {
    await client.query('prepare p(int, text) as select id, token, upper(token) as u, $2 as v from vault where id = $1');
    assert.deepEqual(await rows("execute p(2, 'x')"), [{ id: 2, token: '[masked]', u: '[masked]', v: 'x' }]);
    assert.deepEqual(await rows("execute p('3'::int, null)"), [{ id: 3, token: '[masked]', u: '[masked]', v: null }]);
    assert.deepEqual(await rows('execute p(-1, date $$2020-01-02$$::text)'), []);
  });

  it('writes, and what comes back of them', async () => {
    await client.query('prepare w(int) as update vault set id = id where id = $1 returning token, id');
    assert.deepEqual(await rows('execute w(1)'), [{ token: '[masked]', id: 1 }]);
    const entries = await harness.entries();
    const intent = entries.findLast(
      ({ type, text }) => type === 'statement.intent' && String(text).startsWith('execute w'),
    );
    assert.equal(intent?.['class'], 'write');
  });

  it('one name for one statement after the other, whatever drops it', async () => {
    for (const drop of [
      'deallocate p',
      'deallocate prepare p',
      '/**/ deallocate all',
      'discard all',
      'DEALLOCATE "p"',
    ]) {
      for (const [text, expected] of [
        [harmless, shown],
        [secret, hidden],
        [harmless, shown],
      ] as const) {
        await client.query(`prepare p as ${text}`);
        assert.deepEqual(await rows('execute p'), [expected]);
        await client.query(drop);
        const { code, message } = await refusal('execute p');
        assert.deepEqual([code, message], ['26000', 'countersign: prepared statement "p" does not exist']);
      }
    }
  });

  it('a PREPARE that fails at the target changes nothing; a rollback does not undo one', async () => {
    await client.query('begin');
    await client.query(`prepare p as ${secret}`);
    await client.query('savepoint s');
    assert.equal((await refusal(`prepare p as ${harmless}`)).code, '42P05');
    await client.query('rollback to s');
    assert.deepEqual(await rows('execute p'), [hidden]);
    await client.query('rollback');
    assert.deepEqual(await rows('execute p'), [hidden]);
  });

  it('several in one text, of which one fails', async () => {
    await refusal(`prepare a as ${secret}; prepare b as ${harmless}; select 1 / (id - id) from plain; deallocate a`);
    assert.deepEqual(await rows('execute a'), [hidden]);
    assert.deepEqual(await rows('execute b'), [shown]);
  });

  it('EXECUTE among other statements is refused, and nothing of that text runs', async () => {
    await client.query(`prepare p as ${harmless}`);
    for (const text of [
      'execute p; execute p',
      `deallocate p; prepare p as ${secret}; execute p`,
      'select 1; execute p',
    ])
      assert.match((await refusal(text)).code ?? '', /^(42501|26000)$/);
    assert.deepEqual(await rows('execute p'), [shown]);
  });

  it('queries sent ahead: EXECUTE waits for its PREPARE', async () => {
    const session = await raw();
    const texts = [`prepare p as ${secret}`, 'execute p', 'deallocate p', `prepare p as ${harmless}`, 'execute p'];
    const answers = await session.run(5, ...texts.map((text) => frame.query(text)));
    assert.deepEqual(errorsOf(answers), []);
    assert.deepEqual(
      answers.filter(({ type }) => type === 'D').map(({ body }) => /label 1|\[masked\]/.exec(body)?.[0]),
      ['[masked]', 'label 1'],
    );
  });

  for (const text of [
    'prepare p as select id from vault where token = $1',
    'prepare p as insert into labels select 1, token from vault',
    "prepare p as select query_to_xml('select token from vault', true, true, '')",
    'prepare p as select label from no_such_table',
    'prepare p(short) as select $1 from plain',
    'prepare p(vault) as select $1',
    "prepare p as select set_config('search_path', 'pg_temp', false)",
    `prepare ${'n'.repeat(63)} as ${harmless}`,
    `prepare "é" as ${harmless}`,
    'create table made_of_it as execute ready(1)',
    'explain execute ready(1)',
    'explain (analyze) execute ready(1)',
    'execute ready((select max(id) from vault))',
    'execute ready(1 + 1)',
    "execute ready('1'::short)",
    'execute ready(nextval($$numbers$$))',
    'execute ready(array[1])',
    'execute never_prepared',
  ]) {
    it(`refuses: ${text}`, async () => {
      await client.query('prepare ready(int) as select id from plain where id = $1');
      assert.ok(['42501', '0A000', '42P01', '26000'].includes((await refusal(text)).code ?? ''));
    });
  }
});

describe('what is decided anew', () => {
  it('a relation that gets in the way of one that was prepared', async () => {
    const session = await raw();
    await session.run(1, frame.parse('s', secret), frame.describe('S', 's'), frame.sync());
    await client.query(`prepare p as ${secret}`);
    await rows('execute p');
    try {
      await harness.target('create table front.vault as select id, label as token from plain');
      await harness.target('grant all on front.vault to cs_executor');
      await new Promise((resolve) => setTimeout(resolve, 700));
      const error = await refusal('execute p');
      assert.deepEqual([error.code, error.hint], ['26000', 'prepare it again']);
      assert.match(error.message, /in the way of public\.vault/);
      const answers = await session.run(1, frame.bind('', 's'), frame.execute(''), frame.sync());
      assert.deepEqual(errorsOf(answers), ['26000']);
    } finally {
      await harness.target('drop table front.vault');
    }
  });

  it('a table that was made again is read anew, as the target does it', async () => {
    await harness.target('create table swapped (id integer, label text); grant all on swapped to cs_executor');
    await harness.target("insert into swapped values (1, 'plain')");
    await client.query('prepare p as select label || $$$$ as t from swapped');
    assert.deepEqual(await rows('execute p'), [{ t: 'plain' }]);
    await harness.target('alter table swapped rename to swapped_old');
    await harness.target('create view swapped as select id, token as label from vault');
    await harness.target('grant all on swapped to cs_executor');
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.equal((await rows('execute p'))[0]?.['t'], '[masked]');
  });
});

describe('extended protocol', () => {
  const executes = [frame.parse('e', 'execute p'), frame.describe('S', 'e'), frame.sync()];
  const runs = [frame.bind('', 'e'), frame.execute(''), frame.sync()];
  const values = (answers: Awaited<ReturnType<RawSession['run']>>) =>
    answers.filter(({ type }) => type === 'D').map(({ body }) => /label 1|\[masked\]/.exec(body)?.[0]);

  it('through a driver', async () => {
    await client.query({ text: `prepare p as ${secret}`, values: [] });
    assert.deepEqual((await client.query({ text: 'execute p', values: [] })).rows, [hidden]);
    const inBinary: pg.QueryConfig & { binary: boolean } = { text: 'execute p', values: [], binary: true };
    assert.deepEqual((await client.query(inBinary)).rows, [hidden]);
    assert.deepEqual((await client.query({ name: 'kept', text: 'execute p' })).rows, [hidden]);
    await client.query({ text: 'deallocate p', values: [] });
    await client.query({ text: `prepare p as ${harmless}`, values: [] });
    assert.deepEqual((await client.query({ name: 'kept', text: 'execute p' })).rows, [shown]);
  });

  it('a prepared EXECUTE is masked by what its name stands for now', async () => {
    const session = await raw();
    await session.run(2, frame.query(`prepare p as ${harmless}`), ...executes);
    assert.deepEqual(values(await session.run(1, ...runs)), ['label 1']);
    await session.run(2, frame.query('deallocate p'), frame.query(`prepare p as ${secret}`));
    assert.deepEqual(values(await session.run(1, ...runs)), ['[masked]']);
  });

  it('sent ahead, too', async () => {
    const session = await raw();
    await session.run(2, frame.query(`prepare p as ${harmless}`), ...executes);
    const answers = await session.run(
      3,
      frame.query(`deallocate p; prepare p as ${secret}`),
      ...runs,
      frame.query('select label as t from plain where id = 1'),
    );
    assert.deepEqual(values(answers), ['[masked]', 'label 1']);
  });

  it('a portal that was bound before its name came to mean something else', async () => {
    const session = await raw();
    await session.run(2, frame.query(`prepare p as ${harmless}`), ...executes);
    await session.run(2, frame.query('begin'), frame.bind('x', 'e'), frame.describe('P', 'x'), frame.sync());
    await session.run(1, frame.query(`deallocate p; prepare p as ${secret}`));
    const answers = await session.run(1, frame.execute('x'), frame.sync());
    assert.deepEqual(errorsOf(answers), ['26000']);
  });

  it('one batch that prepares and executes is refused', async () => {
    const session = await raw();
    await session.run(2, frame.query(`prepare p as ${harmless}`), ...executes);
    const answers = await session.run(
      1,
      frame.parse('d', 'deallocate p'),
      frame.bind('', 'd'),
      frame.execute(''),
      frame.parse('n', `prepare p as ${secret}`),
      frame.bind('', 'n'),
      frame.execute(''),
      ...runs,
    );
    assert.deepEqual(values(answers), []);
    assert.equal(errorsOf(answers).length, 1);
  });
});

describe('one space of names for both protocols', () => {
  it('a statement of the protocol whose name SQL has taken over is gone', async () => {
    for (const drop of ['deallocate p', '/* */ deallocate p', 'deallocate all']) {
      for (const ahead of [false, true]) {
        const session = await raw();
        await session.run(1, frame.parse('p', harmless), frame.describe('S', 'p'), frame.sync());
        const taken = frame.query(`${drop}; prepare p as ${secret}`);
        const bound = [frame.bind('', 'p'), frame.execute(''), frame.sync()];
        const answers = ahead
          ? await session.run(2, taken, ...bound)
          : [...(await session.run(1, taken)), ...(await session.run(1, ...bound))];
        assert.deepEqual(errorsOf(answers), ['26000']);
        assert.equal(rowsOf(answers), 0);
      }
    }
  });

  it('a name that SQL has prepared, parsed by the protocol', async () => {
    const session = await raw();
    await session.run(1, frame.query(`prepare p as ${secret}`));
    const parse = [frame.parse('p', harmless), frame.describe('S', 'p'), frame.bind('', 'p'), frame.execute('')];
    assert.deepEqual(errorsOf(await session.run(1, ...parse, frame.sync())), ['42P05']);
    assert.equal(rowsOf(await session.run(1, frame.query('execute p'))), 1);
    const closed = await session.run(1, frame.close('S', 'p'), ...parse, frame.sync());
    assert.match(closed.find(({ type }) => type === 'D')?.body ?? '', /label 1/);
    assert.equal(rowsOf(await session.run(1, frame.query('execute p'))), 0);
  });

  it('a name that SQL has freed can be parsed again', async () => {
    for (const drop of ['deallocate p', '/* */ deallocate prepare "p"', 'deallocate all', 'discard all']) {
      const session = await raw();
      await session.run(1, frame.parse('p', harmless), frame.sync());
      await session.run(1, frame.query(drop));
      const answers = await session.run(
        1,
        frame.parse('p', secret),
        frame.bind('', 'p'),
        frame.execute(''),
        frame.sync(),
      );
      assert.deepEqual([errorsOf(answers), rowsOf(answers)], [[], 1], drop);
    }
  });

  it('EXECUTE of what the protocol has prepared is refused', async () => {
    const session = await raw();
    await session.run(1, frame.parse('p', harmless), frame.sync());
    assert.deepEqual(errorsOf(await session.run(1, frame.query('execute p'))), ['26000']);
  });

  it('names that the server cuts', async () => {
    const session = await raw();
    // 63 bytes, of which a longer name leaves the same.
    const name = '€'.repeat(21);
    await session.run(1, frame.parse(`${name}x`, harmless), frame.describe('S', `${name}x`), frame.sync());
    await session.run(1, frame.close('S', name), frame.parse(name, secret), frame.sync());
    await session.run(1, frame.bind('', `${name}x`), frame.execute(''), frame.sync());
  });
});

describe('designers', () => {
  const connect = async (who: Who) => harness.connect(who);
  const used = async () => {
    const control = new pg.Client({ connectionString: harness.postgres.url('control') });
    await control.connect();
    const { rows: found } = await control.query<{ n: string }>('select coalesce(sum(rows), 0) as n from sample_reads');
    await control.end();
    return Number(found[0]?.n);
  };

  it('an EXECUTE that was parsed for fewer rows pays for what it runs', async () => {
    const session = new RawSession(await connect('designer'));
    received.push(session);
    const before = await used();
    await session.run(1, frame.query('prepare p as select id from vault limit 1'));
    await session.run(1, frame.parse('e', 'execute p'), frame.sync());
    await session.run(2, frame.query('deallocate p'), frame.query('prepare p as select id from vault limit 30'));
    const answers = await session.run(1, frame.bind('', 'e'), frame.execute(''), frame.sync());
    assert.equal(rowsOf(answers), 30);
    assert.ok((await used()) - before >= 30);
  });

  it('an EXECUTE takes the rows of its statement from the budget, PREPARE takes none', async () => {
    const designer = await connect('designer');
    const before = await used();
    await designer.query('prepare p(int) as select id, token from vault where id >= $1 limit 10');
    assert.equal((await rows('execute p(1)', designer)).length, 10);
    assert.equal((await used()) - before, 10);
    for (let step = 0; step < 9; step++) await designer.query('execute p(1)').catch(() => undefined);
    const error = await refusal('execute p(1)', designer);
    assert.equal(error.code, '0A000');
    assert.match(`${error.message} ${error.hint}`, /sample rows of the last hour are used.*send the statement itself/);
  });

  it('what would be held is not prepared, and is told to be sent itself', async () => {
    const designer = await connect('designer');
    for (const text of ['select id from plain', 'delete from plain where id = 1', 'select id from plain limit $1']) {
      const error = await refusal(`prepare p as ${text}`, designer);
      assert.equal(error.code, '0A000');
      assert.match(`${error.message} ${error.hint}`, /needs an approval.*send the statement itself/);
    }
  });
});
