/** COPY … TO STDOUT through the whole gateway: masked in all three layouts, by the same three nets as every result. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { bypassColumns, bypassSchema, leaked } from './bypass/schema.ts';
import { errorsOf, frame, RawSession, type Answer } from './bypass/wire.ts';
import { copyOut } from './copy.ts';
import { startHarness, type Harness } from './harness.ts';

let harness: Harness;

before(async () => {
  harness = await startHarness({
    schema: `${bypassSchema}
      create table odd (id integer primary key, label text, token text, computed text generated always as ('x' || token) stored);
      insert into odd values (1, E'tab\\there, "quotes" and \\\\ back\\nnew line', 'zq7k0001'), (2, null, null), (3, '', ''), (4, '\\N', 'zq7k\\N');
      create table wide as select n as id, repeat('w', 500) as filler, 'zq7k' || lpad(n::text, 4, '0') as token from generate_series(1, 3000) n;
      grant select on odd, wide to public;`,
    configure: (raw) => {
      const [personal] = raw['masking'] as { columns: unknown[] }[];
      personal?.columns.push(...bypassColumns);
    },
  });
});

after(async () => {
  await harness?.close();
});

async function copied(text: string): Promise<string> {
  const data = await copyOut(await harness.connect('reader'), text);
  assert.equal(leaked(data.toString('latin1')), undefined, `${text} leaks`);
  return data.toString('utf8');
}

async function refusal(work: Promise<unknown>): Promise<pg.DatabaseError> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof pg.DatabaseError, String(error));
    return error;
  }
  throw new Error('this had to fail');
}

describe('what is masked', () => {
  it('the text layout: masks by type, NULL, escapes, and the rest byte for byte', async () => {
    assert.equal(
      await copied('copy (select id, label, token from odd order by id) to stdout'),
      '1\ttab\\there, "quotes" and \\\\ back\\nnew line\t[masked]\n2\t\\N\t\\N\n3\t\t[masked]\n4\t\\\\N\t[masked]\n',
    );
    assert.equal(
      await copied('copy (select id, token, pin, born, tags from vault where id = 1) to stdout'),
      '1\t[masked]\t\\N\t1961-01-01\t{}\n',
    );
  });

  it('csv: quotes, headers, other marks', async () => {
    assert.equal(
      await copied('copy (select id, label, token from odd order by id) to stdout (format csv, header)'),
      'id,label,token\n1,"tab\there, ""quotes"" and \\ back\nnew line","[masked]"\n2,,\n3,"","[masked]"\n4,\\N,"[masked]"\n',
    );
    assert.equal(
      await copied(
        `copy (select id, label, token from odd where id < 3 order by id) to stdout (format csv, delimiter ';', quote '''', escape '\\', null 'nil', force_quote (id))`,
      ),
      `'1';'tab\there, "quotes" and \\\\ back\nnew line';'[masked]'\n'2';nil;nil\n`,
    );
  });

  it('binary: the same cells as a binary result', async () => {
    const data = await copyOut(
      await harness.connect('reader'),
      'copy (select id, token, label, pin from vault join labels using (id)) to stdout (format binary)',
    );
    assert.equal(leaked(data.toString('latin1')), undefined);
    const cells = Buffer.from('0004000000040000000100000008', 'hex');
    const expected = Buffer.concat([
      Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'),
      Buffer.alloc(8),
      cells,
      Buffer.from('[masked]'),
      Buffer.from([0, 0, 0, 3]),
      Buffer.from('one'),
      Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ]);
    assert.deepEqual(data, expected);
  });

  it('tables, column lists in any order, generated columns, content', async () => {
    assert.equal(
      (await copied('copy odd to stdout')).split('\n')[1],
      '2\t\\N\t\\N',
      'COPY leaves generated columns out',
    );
    assert.equal((await copied('copy odd (token, id) to stdout')).split('\n')[0], '[masked]\t1');
    assert.equal((await copied('copy public.plain to stdout')).split('\n')[0], '1\tlabel 1');
    const found = await copied('copy (select notes from customers where id = 1) to stdout csv');
    assert.match(found, /^"?called about card /);
    await copied('copy customers to stdout');
    await copied('copy (table vault) to stdout (format csv, header true)');
    await copied('copy (select v, to_jsonb(v), (v.*)::text from vault v) to stdout');
    await copied('copy (select * from vault_nested) to stdout (format binary)');
    await copied('copy (select max(token), count(*) from vault) to stdout');
  });

  it('counts rows and masked cells in the log', async () => {
    await copied('copy (select id, token from wide) to stdout');
    const entries = await harness.entries();
    const outcome = entries.findLast((entry) => entry['type'] === 'statement.outcome' && entry['tag'] === 'COPY 3000');
    assert.equal(outcome?.['rows'], 3000);
    assert.equal(outcome?.['maskedCells'], 3000);
  });

  it('data without secrets is byte for byte what the target sends', async () => {
    for (const options of ['', '(format csv, header)', '(format binary)']) {
      const text = `copy (select g, 'x' || g as t, null::text as n, now() - now() as i from generate_series(1, 500) g) to stdout ${options}`;
      const direct = new pg.Client({ connectionString: harness.postgres.url('crm') });
      await direct.connect();
      try {
        assert.deepEqual(await copyOut(await harness.connect('reader'), text), await copyOut(direct, text));
      } finally {
        await direct.end();
      }
    }
  });
});

describe('what is refused', () => {
  for (const text of [
    "copy (select id from vault where token = 'zq7k0001') to stdout",
    'copy (select id from vault order by token) to stdout',
    "copy vault to stdout (encoding 'latin1')",
    "copy vault to '/tmp/x'",
    "copy vault to program 'cat'",
    'copy vault to stdout; select 1',
    'copy (delete from vault returning token) to stdout',
    'copy (select token from vault for update) to stdout',
    'copy pg_stats to stdout',
    "copy (select query_to_xml('select token from vault', true, true, '')) to stdout",
  ]) {
    it(text, async () => {
      const error = await refusal(copyOut(await harness.connect('reader'), text));
      assert.ok(['42501', '0A000'].includes(error.code ?? ''), `${error.code} ${error.message}`);
      assert.equal(leaked(error.message), undefined);
    });
  }

  it('an error of the target is the ordinary one, and the session goes on', async () => {
    const client = await harness.connect('reader');
    const error = await refusal(
      copyOut(client, 'copy (select 1 / (g - 100) from generate_series(1, 200) g) to stdout'),
    );
    assert.equal(error.code, '22012');
    const view = await refusal(copyOut(client, 'copy customer_contacts to stdout'));
    assert.equal(view.code, '42809');
    assert.equal((await client.query<{ n: number }>('select 1 as n')).rows[0]?.n, 1);
    await client.query('begin');
    const broken = await refusal(copyOut(client, "copy (select 'x'::int) to stdout"));
    assert.equal(broken.code, '22P02');
    assert.equal((await refusal(copyOut(client, 'copy plain to stdout'))).code, '25P02');
    await client.query('rollback');
    assert.match((await copyOut(client, 'copy plain to stdout')).toString(), /^1\tlabel 1\n/);
  });

  it('a prepared statement in the place of our own question gets nothing', async () => {
    const session = new RawSession(await harness.connect('reader'));
    await session.run(1, frame.parse('countersign_copy_probe', 'select id, label from plain'), frame.sync());
    const answers = await session.run(1, frame.query('copy (select id, token from vault) to stdout'));
    assert.deepEqual(errorsOf(answers), ['42P05']);
    assert.equal(dataOf(answers), '');
    assert.equal(leaked(session.bytes), undefined);
  });
});

describe('the extended protocol', () => {
  const text = 'copy (select id, token from vault order by id limit 2) to stdout';
  const expected = '1\t[masked]\n2\t[masked]\n';

  it('masks, also when a portal of the same statement is made again', async () => {
    const session = new RawSession(await harness.connect('reader'));
    const parse = [frame.parse('c', text), frame.describe('S', 'c')];
    for (const begin of [parse, []]) {
      const batch = [...begin, frame.bind('', 'c'), frame.execute(''), frame.sync()];
      const answers = await session.run(1, ...batch);
      assert.equal(dataOf(answers), expected);
      assert.deepEqual(
        answers.map(({ type }) => type),
        [...(begin.length > 0 ? ['1', 't', 'n'] : []), '2', 'H', 'd', 'd', 'c', 'C', 'Z'],
      );
    }
    assert.equal(leaked(session.bytes), undefined);
  });

  it('an error in the batch skips to Sync, and the next batch is masked', async () => {
    const session = new RawSession(await harness.connect('reader'));
    const batch = (query: string) => [frame.parse('', query), frame.bind('', ''), frame.execute(''), frame.sync()];
    const answers = await session.run(2, ...batch("copy (select 'x'::int from vault) to stdout"), ...batch(text));
    assert.deepEqual(errorsOf(answers), ['22P02']);
    assert.equal(dataOf(answers), expected);
    assert.equal(leaked(session.bytes), undefined);
  });

  it('pipelined with rows before and after it', async () => {
    const session = new RawSession(await harness.connect('reader'));
    const one = (query: string) => [
      frame.parse('', query),
      frame.bind('', ''),
      frame.describe('P', ''),
      frame.execute(''),
    ];
    const answers = await session.run(
      1,
      ...one('select token from vault where id = 1'),
      ...one(text),
      ...one('select token from vault where id = 2'),
      frame.sync(),
    );
    assert.deepEqual(errorsOf(answers), []);
    assert.equal(dataOf(answers), expected);
    assert.equal(answers.filter(({ type }) => type === 'D').length, 2);
    assert.equal(leaked(session.bytes), undefined);
  });
});

function dataOf(answers: readonly Answer[]): string {
  return answers
    .filter(({ type }) => type === 'd')
    .map(({ body }) => body)
    .join('');
}
