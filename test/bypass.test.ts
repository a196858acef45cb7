/**
 * A hostile user with valid credentials against the whole gateway on a real PostgreSQL. Promises P1, P2, P4, P7: every
 * byte that a client received, the log and the recordings are searched for raw values at the end.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { bypassColumns, bypassSchema, leaked } from './bypass/schema.ts';
import { attacks, knownLeaks, type Expected } from './bypass/statements.ts';
import { errorsOf, frame, RawSession, rowsOf, streamOf } from './bypass/wire.ts';
import { startHarness, type Harness, type Who } from './harness.ts';

let harness: Harness;

before(async () => {
  harness = await startHarness({
    schema: bypassSchema,
    configure: (raw) => {
      const [personal] = raw['masking'] as { columns: unknown[] }[];
      personal?.columns.push(...bypassColumns);
    },
  });
});

after(async () => {
  await harness?.close();
});

interface Tapped {
  readonly client: pg.Client;
  /** Bytes received since the last call, as latin1. */
  readonly taken: () => string;
}

async function tapped(who: Who = 'reader'): Promise<Tapped> {
  const client = await harness.connect(who);
  let bytes = '';
  streamOf(client).on('data', (chunk: Buffer) => (bytes += chunk.toString('latin1')));
  return {
    client,
    taken: () => {
      const all = bytes;
      bytes = '';
      return all;
    },
  };
}

async function raw(who: Who = 'reader'): Promise<RawSession> {
  return new RawSession(await harness.connect(who));
}

function assertClean(text: string): void {
  assert.equal(leaked(text), undefined, 'a raw value was received');
}

async function failure(work: Promise<unknown>): Promise<pg.DatabaseError> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof pg.DatabaseError, String(error));
    return error;
  }
  throw new Error('this had to fail');
}

/** Rejects whatever is held while `work` goes on: nobody approves anything here. */
async function unapproved<T>(work: Promise<T>): Promise<T> {
  const over = { is: false };
  const rejecting = (async () => {
    while (!over.is) {
      const { body } = await harness.api<{ requests: { id: string }[] }>('executor', 'GET', '/requests?state=pending');
      for (const { id } of body.requests)
        await harness.api('executor', 'POST', `/requests/${id}/reject`, { comment: 'no' });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  try {
    return await work;
  } finally {
    over.is = true;
    await rejecting;
  }
}

/** What the client can tell from an answer; a refusal by the gateway says nothing about values. */
async function told(client: pg.Client, text: string): Promise<string> {
  try {
    const { rows } = await client.query({ text, rowMode: 'array' });
    return JSON.stringify(rows);
  } catch (error) {
    assert.ok(error instanceof pg.DatabaseError, String(error));
    return error.code ?? 'error';
  }
}

async function approveNext(): Promise<{ parameters: unknown; text: string }> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const { body } = await harness.api<{ requests: { id: string }[] }>('executor', 'GET', '/requests?state=pending');
    const [found] = body.requests;
    if (found !== undefined) {
      const shown = await harness.api<{ digestInputJson: string }>('executor', 'GET', `/requests/${found.id}`);
      await harness.api('executor', 'POST', `/requests/${found.id}/approve`, { comment: 'fine' });
      return {
        parameters: /"parameters":(\[.*?\])/.exec(shown.body.digestInputJson)?.[1],
        text: shown.body.digestInputJson,
      };
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('no request appeared');
}

/** In the register of SECURITY.md, and to be closed. Skipped, because what they get would be in the recordings, too. */
const knownLeak = { skip: 'a known limitation, see SECURITY.md' };

const ownCodes = /^(42501|0A000|ZC|25001)/;

describe('statements', () => {
  let session: Tapped;
  before(async () => {
    session = await tapped();
  });

  const sent: { marker: string; text: string }[] = [];

  const expectations: Record<Expected, (text: string, marker: string) => Promise<void>> = {
    masked: async (text, marker) => {
      const { client, taken } = session;
      for (const query of [
        { text: `/*${marker}*/ ${text}` },
        { text: `/*${marker}*/ ${text}`, values: [], binary: true },
      ]) {
        const { rows } = await client.query<Record<string, unknown>>(query);
        assert.ok(rows.length > 0, 'no rows');
        assertClean(taken());
        assertClean(JSON.stringify(rows));
      }
    },
    refused: async (text, marker) => {
      const { client, taken } = session;
      const error = await failure(unapproved(client.query(`/*${marker}*/ ${text}`)));
      assertClean(taken());
      if (ownCodes.test(error.code ?? '')) sent.push({ marker, text });
    },
  };

  attacks.forEach(([family, text, expected], index) => {
    const options = knownLeaks.has(text) ? knownLeak : {};
    it(`${expected}: ${family}: ${text}`, options, () => expectations[expected](text, `attack-${index}-`));
  });

  it('nothing that was refused arrived at the target', async () => {
    const log = await harness.targetLog();
    assert.ok(sent.length > 50);
    for (const { marker, text } of sent) assert.ok(!log.includes(`/*${marker}*/`), text);
  });
});

describe('protocol', () => {
  // A computed column has no origin that the server could name: only the plan of the right statement masks it.
  const secret = 'select reverse(token) from vault where id < 9';
  const harmless = 'select upper(label) from plain where id < 9';
  const fails = 'select upper(1) from plain';

  async function clean(session: RawSession): Promise<void> {
    await session.until('Z', 1, 150);
    assertClean(session.bytes);
  }

  for (const name of ['a', '', 'x\u{1f600} "\';--']) {
    it(`a statement prepared again in a batch that fails keeps its own plan: ${JSON.stringify(name)}`, async () => {
      const session = await raw();
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

  it('a statement whose Close was skipped, prepared again in the batch after, keeps its own plan', async () => {
    const session = await raw();
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

  it('a statement behind a failing one of the simple protocol keeps its own plan', async () => {
    const session = await raw();
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

  it('a statement prepared again behind a refusal keeps its own plan', async () => {
    const session = await raw();
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

  it('a portal bound again in a batch that fails inside a savepoint keeps its own plan', async () => {
    const session = await raw();
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
    it(`so does a portal bound again and executed before the error is known: ${JSON.stringify(portal)}`, async () => {
      const session = await raw();
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
    });
  }

  it('the unnamed portal bound again in a batch that fails keeps its own plan', async () => {
    const session = await raw();
    await session.run(1, frame.query('begin'), frame.parse('b', harmless), frame.describe('S', 'b'), frame.sync());
    await session.run(1, frame.parse('a', secret), frame.bind('', 'a'), frame.execute('', 1), frame.sync());
    await session.run(1, frame.parse('bad', fails), frame.bind('', 'b'), frame.sync());
    await session.run(1, frame.query('rollback'), frame.execute(''), frame.sync());
    await clean(session);
  });

  it('Sync while the target is in COPY does not shift answers to other statements', async () => {
    const session = await raw();
    session.send(frame.parse('', 'copy plain from stdin'), frame.bind('', ''), frame.execute(''));
    session.send(frame.flush());
    await session.until('G');
    session.send(frame.sync(), frame.copyDone(), frame.sync());
    await session.until('Z', 1);
    await session.run(1, frame.parse('', fails), frame.bind('', ''), frame.execute(''), frame.sync());
    await session.run(1, frame.parse('', secret), frame.bind('', ''), frame.execute(''), frame.sync());
    await clean(session);
  });

  it('Sync in a simple COPY does not shift answers to other statements', async () => {
    const session = await raw();
    session.send(frame.query('copy plain from stdin'));
    await session.until('G');
    session.send(frame.sync(), frame.sync(), frame.copyFail());
    await session.until('Z', 1);
    await session.run(1, frame.parse('', fails), frame.bind('', ''), frame.execute(''), frame.sync());
    await session.run(1, frame.parse('', fails), frame.bind('', ''), frame.execute(''), frame.sync());
    await session.run(1, frame.parse('', secret), frame.bind('', ''), frame.execute(''), frame.sync());
    await clean(session);
  });

  it('COPY in the extended protocol with Sync sent ahead, as libpq does it, goes on', async () => {
    const session = await raw();
    session.send(frame.parse('', 'copy plain from stdin'), frame.bind('', ''), frame.execute(''), frame.sync());
    await session.until('G');
    await session.run(1, frame.raw('d', Buffer.from('7001\tx\n')), frame.copyDone(), frame.sync());
    const answers = await session.run(1, frame.query('select 1'));
    assert.equal(rowsOf(answers), 1);
  });

  it('a query sent inside COPY does not take the place of another', async () => {
    const session = await raw();
    session.send(frame.query('copy plain from stdin'));
    await session.until('G');
    session.send(frame.query(harmless), frame.query(secret), frame.query(secret));
    await session.until('Z', 3, 500);
    await clean(session);
  });

  it('one statement split at every byte is one statement', async () => {
    const session = await raw();
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

  it('Execute without Describe, Describe after Execute, and results in binary', async () => {
    const session = await raw();
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

  it('a query in the middle of a batch, and a refused one there', async () => {
    const session = await raw();
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
    assert.ok(!(await harness.targetLog()).includes('middle-1'));
  });

  it('rubbish of the protocol ends in an error or the session, and reaches no data', async () => {
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
      const session = await raw();
      session.send(...frames);
      await session.until('Z', 2, 250);
      await clean(session);
    }
  });

  it('padding beyond every buffer changes nothing', async () => {
    const session = await raw();
    const answers = await session.run(
      2,
      frame.query(`${' '.repeat(900_000)}${secret}`),
      frame.query(`select /*${'x'.repeat(900_000)}*/ id from vault order by token`),
    );
    assert.ok(errorsOf(answers).length >= 1);
    await clean(session);
  });

  it('many small statements in one packet each have their own plan', async () => {
    const session = await raw();
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

  it('a Describe that the target skipped does not end the session later', async () => {
    const session = await raw();
    await session.run(1, frame.parse('a', harmless), frame.sync());
    await session.run(1, frame.parse('bad', fails), frame.describe('S', 'a'), frame.sync());
    const answers = await session.run(1, frame.bind('', 'a'), frame.execute(''), frame.sync());
    assert.equal(rowsOf(answers), 8);
  });

  it('DEALLOCATE, DISCARD and Close leave no statement with another plan', async () => {
    for (const drop of [
      'deallocate a',
      'deallocate "a"',
      'deallocate all',
      'discard all',
      'deallocate /**/ a',
      'discard plans',
    ]) {
      const session = await raw();
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

  it('after a refusal in a savepoint the session is as it was', async () => {
    const { client, taken } = await tapped();
    await client.query('begin; savepoint s');
    await failure(client.query('select id from vault order by token'));
    await client.query('rollback to s');
    const { rows } = await client.query('select token from vault limit 2');
    assert.equal(rows.length, 2);
    await client.query('rollback');
    assertClean(taken());
  });

  it('set_config by a parameter is refused', async () => {
    const { client } = await tapped();
    const error = await failure(client.query('select set_config($1, $2, false)', ['search_path', 'pg_temp']));
    assert.equal(error.code, '42501');
    await failure(client.query('select current_setting($1), pg_read_file($2)', ['x', 'PG_VERSION']));
  });

  it('a view that another session makes read a masked column is masked after the documented time', async () => {
    const { client, taken } = await tapped();
    const query = { name: 'shown', text: 'select id, shown from switching where id < $1', values: [5] };
    await client.query(query);
    await harness.target('create or replace view switching as select id, reverse(token) as shown from vault');
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.equal((await client.query(query)).rows.length, 4);
    assert.equal((await client.query('select shown from switching where id < 5')).rows.length, 4);
    assertClean(taken());
    await harness.target('create or replace view switching as select id, label as shown from plain');
  });

  it('start-up settings that change the reading of names or texts are refused', async () => {
    for (const options of [
      '-c search_path=pg_temp',
      '-crole=postgres',
      '--session_authorization=x',
      '-c standard_conforming_strings=off',
      '-c client_encoding=SQL_ASCII',
      '-i',
    ]) {
      await assert.rejects(harness.connect('reader', { options }), options);
    }
    await assert.rejects(harness.connect('reader', { replication: 'database' } as pg.ClientConfig));
  });
});

describe('masks', () => {
  it('a computed value does not tell by being NULL what it was computed from', async () => {
    const { client } = await tapped();
    const digits = Array.from({ length: 10 }, (_, digit) => `case when substr(ssn, 3, 1) = '${digit}' then 'x' end`);
    const answer = await told(client, `select array[1], ${digits.join(', ')} from customers where id = 7`);
    const cells = answer.startsWith('[') ? (JSON.parse(answer) as unknown[][])[0]?.slice(1) : [];
    assert.ok(new Set(cells).size <= 1, answer);
  });

  for (const text of [
    'select nullif(token, $) from vault where id = 1',
    "select max(case when token = $ then 'x' end) from vault where id = 1",
    'select nullif(token, $) from vault where id = 1 union all select nullif(token, $) from vault where id = 1',
    'with c as (select nullif(token, $) a from vault where id = 1) select a from c',
    'select (select nullif(token, $)) from vault where id = 1',
    'select (array_remove(tags, $))[1] from vault where id = 1',
    'select substring(token from $) from vault where id = 1',
    'select lag(token, (token = $)::int) over () from vault where id = 1',
    ...['"char"', 'xml', 'json', 'name', 'bpchar', 'date', 'text[]', 'bytea'].map(
      (type) =>
        `select (case when token = $ then ${type === 'date' ? "'2020-01-01'" : type === 'text[]' ? "'{1}'" : "'1'"} end)::${type} from vault where id = 1`,
    ),
    'select 1 / (case when token = $ then 0 else 1 end) from vault where id = 1',
    "select (case when token = $ then 'x' else '1' end)::int from vault where id = 1",
    "select regexp_replace('a', case when token = $ then '(' else 'b' end, '') from vault where id = 1",
    'select 1 from vault where id = 1 limit (select case when token = $ then 0 else 1 end from vault where id = 1)',
  ]) {
    it(`a right and a wrong guess look alike: ${text}`, async () => {
      const { client } = await tapped();
      const [right, wrong] = ["'zq7k0001'", "'zq7k0002'"].map((guess) => told(client, text.replaceAll('$', guess)));
      assert.equal(await right, await wrong);
    });
  }

  for (const [column, changes] of [
    ['card_number', ['right(card_number, 12) || left(card_number, 4)', 'left(card_number, 8)', 'reverse(card_number)']],
    ['email', ["'x@' || replace(email, '@', '.')", "regexp_replace(email, '^(.*)@', 'x@\\1.')"]],
  ] as const) {
    for (const change of changes) {
      it(`a mask that shows a part shows no other part after ${column} = ${change}`, async () => {
        const { client } = await tapped();
        await client.query('begin');
        const show = async () => {
          const { rows } = await client.query<Record<string, unknown>>(`select ${column} c from vault where id = 1`);
          return String(rows[0]?.['c']);
        };
        const before = await show();
        try {
          await client.query(`update vault set ${column} = ${change} where id = 1`);
          const after = await show();
          assert.ok(after === before || after === '[masked]', `${before} and now ${after}`);
        } catch (error) {
          if (!(error instanceof pg.DatabaseError)) throw error;
        } finally {
          await client.query('rollback');
        }
      });
    }
  }

  it('RETURNING, INSERT … SELECT, ON CONFLICT and MERGE rewrite no masked column for its mask', async () => {
    const { client } = await tapped();
    for (const text of [
      'update vault set card_number = left(card_number, 8) where id = 2 returning card_number c',
      "insert into vault (id, token, card_number) select 5001, 'a', left(card_number, 8) from vault where id = 2 returning card_number c",
      "insert into vault (id, token) values (2, 'b') on conflict (id) do update set card_number = left(vault.card_number, 8) returning card_number c",
      'merge into vault v using plain p on v.id = p.id and p.id = 2 when matched then update set card_number = left(v.card_number, 8) returning v.card_number c',
    ]) {
      await client.query('begin');
      const shown = await client.query<{ c: string }>(text).then(
        ({ rows }) => rows[0]?.c ?? '',
        () => 'refused',
      );
      await client.query('rollback');
      assert.doesNotMatch(shown, /8888/, text);
    }
  });

  it('a hash of one character is no dictionary', async () => {
    const { client } = await tapped();
    await client.query('begin');
    await client.query(
      "insert into vault (id, token, hashed) select 6000 + n, 'd' || n, n::text from generate_series(0, 9) n",
    );
    const text = 'update vault set hashed = right(hashed, 1) where id = 3 or id >= 6000 returning id, hashed';
    const rows = await client.query<{ id: number; hashed: string }>(text).then(
      (result) => result.rows,
      () => [],
    );
    await client.query('rollback');
    const known = rows.find((row) => row.id === 3)?.hashed;
    assert.equal(rows.find((row) => row.id >= 6000 && row.hashed === known)?.id, undefined);
  });

  it('a masked column that was made NULL by its value is no predicate', async () => {
    const { client } = await tapped();
    await client.query('begin');
    const found = await (async () => {
      try {
        await client.query("update vault set hashed = nullif(hashed, 'zq7k0004') where id < 9");
        return (await client.query<{ id: number }>('select id from vault where hashed is null and id < 9')).rows.map(
          (row) => row.id,
        );
      } catch (error) {
        if (!(error instanceof pg.DatabaseError)) throw error;
        return [];
      }
    })();
    await client.query('rollback');
    assert.deepEqual(found, []);
  });

  it('errors of deferred constraints are withheld where they come: COMMIT, SET CONSTRAINTS, Sync', async () => {
    // A row that is moved onto another's key: the error would quote the key that both have now.
    const change = "update vault set token = 'zq7k0012' where id = 11";
    const { client, taken } = await tapped();
    const withheld = async (work: Promise<unknown>) => {
      assert.match((await failure(work)).message, /withheld/);
      taken();
    };
    await client.query('begin');
    await client.query(change);
    await withheld(client.query('commit'));
    await client.query('begin');
    await client.query(change);
    await withheld(client.query('set constraints all immediate'));
    await client.query('rollback');
    await withheld(client.query(`${change}; select 1`));
    await withheld(client.query({ text: `${change} and id > $1`, values: [1] }));
  });

  it('notifications and notices carry nothing raw', async () => {
    const listener = await tapped();
    await listener.client.query('listen secrets');
    await harness.target("select pg_notify('secrets', email || ssn || card_number) from customers limit 3");
    await listener.client.query('select 1');
    await new Promise((resolve) => setTimeout(resolve, 100));
    assertClean(listener.taken());
  });
});

describe('what the schema does by itself', () => {
  it('a column default that reads a masked column is masked or refused', knownLeak, async () => {
    await harness.target(`
      create function peek() returns text security definer language sql as 'select token from vault limit 1';
      create table stamped (id integer, label text default peek());
      grant all on stamped to cs_executor;`);
    const { client, taken } = await tapped();
    await client.query('insert into stamped (id) values (1) returning label').catch(() => undefined);
    await client.query('select * from stamped').catch(() => undefined);
    assertClean(taken());
  });

  it('a trigger that reads a masked column is masked or refused', knownLeak, async () => {
    await harness.target(`
      create function fill() returns trigger security definer language plpgsql as
        'begin new.label := (select token from vault limit 1); raise notice ''%'', new.label; return new; end';
      create table triggered (id integer, label text);
      create trigger fill before insert on triggered for each row execute function fill();
      grant all on triggered to cs_executor;`);
    const { client, taken } = await tapped();
    await client.query('insert into triggered (id) values (1) returning label').catch(() => undefined);
    assertClean(taken());
  });
});

describe('approvals and budgets', () => {
  const bulk = 'select id, label from plain where id > $1';

  for (const [name, frames] of [
    ['another bind of the same statement', [frame.bind('first', '', ['48']), frame.bind('', '', ['0'])]],
    ['another statement first', [frame.bind('first', 'other', ['48']), frame.bind('', '', ['0'])]],
    ['a portal that is closed again', [frame.bind('', '', ['48']), frame.close('P', ''), frame.bind('', '', ['0'])]],
  ] as const) {
    it(`what runs has the parameters that were approved: ${name}`, async () => {
      const session = await raw('designer');
      await session.run(1, frame.parse('other', 'select $1::text'), frame.sync());
      session.send(frame.parse('', bulk), ...frames, frame.execute(''), frame.sync());
      const approved = await approveNext().catch(() => undefined);
      const answers = await session.until('Z', 1);
      const allowed = approved?.parameters === '["48"]' ? 2 : approved === undefined ? 0 : 50;
      assert.ok(rowsOf(answers) <= allowed, `approved ${String(approved?.parameters)}, ${rowsOf(answers)} rows came`);
    });
  }

  it('an approval that was not used in its batch is not there for other parameters', async () => {
    const session = await raw('designer');
    session.send(frame.parse('', bulk), frame.bind('', '', ['48']), frame.describe('P', ''), frame.sync());
    const approved = await approveNext().catch(() => undefined);
    await session.until('Z', 1);
    session.send(frame.bind('', '', ['0']), frame.execute(''), frame.sync());
    const answers = await unapproved(session.until('Z', 1));
    assert.ok(rowsOf(answers) <= 2, `approved ${String(approved?.parameters)}, ${rowsOf(answers)} rows came`);
  });

  it('a Close of the held statement in its own batch does not pass the approval to another text', async () => {
    const session = await raw('designer');
    session.send(
      frame.parse('h', bulk),
      frame.bind('', 'h', ['48']),
      frame.close('S', 'h'),
      frame.parse('h', 'select id, label /*smuggled*/ from plain where id > $1'),
      frame.bind('', 'h', ['0']),
      frame.execute(''),
      frame.sync(),
    );
    await approveNext().catch(() => undefined);
    const answers = await unapproved(session.until('Z', 1));
    assert.ok(rowsOf(answers) <= 2);
    assert.ok(!(await harness.targetLog()).includes('/*smuggled*/'));
  });

  it('an approved statement runs once, whatever the batch that follows says', async () => {
    const session = await raw('designer');
    session.send(
      frame.parse('a', 'select id, label /*once*/ from plain'),
      frame.bind('', 'a'),
      frame.execute(''),
      frame.sync(),
    );
    await approveNext();
    assert.ok(rowsOf(await session.until('Z', 1)) >= 50);
    session.send(
      frame.parse('bad', 'select upper(1)'),
      frame.close('S', 'a'),
      frame.parse('a', 'select 1, upper(label) from plain limit 1'),
      frame.sync(),
      frame.bind('', 'a'),
      frame.execute(''),
      frame.sync(),
    );
    const answers = await unapproved(session.until('Z', 2));
    assert.ok(rowsOf(answers) <= 1, `${rowsOf(answers)} rows without an approval`);
  });

  for (const text of [
    'select json_agg(p) from plain p',
    'select string_agg(label, $$,$$) from plain',
    'select array(select label from plain)',
    'select (select jsonb_object_agg(id, label) from plain)',
    'select xmlagg(xmlelement(name a, label)) from plain',
    'select array_agg(label) over () from plain limit 1',
    'select q.all from (select json_arrayagg(label) as all from plain) q limit 1',
    'select json_array(select label from plain)',
    "with recursive r(n, t) as (select 0, '' union all select n + 1, t || (select label from plain where id = n + 1) from r where n < 49) select t from r order by n desc limit 1",
    `select ${Array.from({ length: 120 }, (_, n) => `(select label from plain where id = ${n})`).join(', ')}`,
    'select count(*) from plain; select id from plain limit 500',
    'select id from plain offset 1',
    'select id from plain order by id fetch first 10 rows with ties',
    'select id from plain limit (select 90)',
    'select id from plain where id > 10 order by id limit 10',
    'select id from plain where ctid > $$(0,1)$$ limit 10',
    'select id from plain tablesample bernoulli (100)',
    'update plain set label = label',
    'with w as (delete from plain where id = 1 returning *) select * from w limit 1',
    'copy plain from stdin',
    'create table t ()',
    'truncate plain',
  ]) {
    it(`a designer's ${text.slice(0, 100)} needs an approval`, async () => {
      const { client } = await tapped('designer');
      const error = await failure(unapproved(client.query(text)));
      assert.equal(error.code, 'ZC001', error.message);
    });
  }

  it('small reads of many sessions stay within one budget', async () => {
    const sessions = await Promise.all(Array.from({ length: 4 }, () => tapped('etl-designer')));
    let rows = 0;
    await unapproved(
      Promise.all(
        sessions.map(async ({ client }, index) => {
          for (let page = 0; page < 8; page++) {
            const low = (index * 8 + page) * 9;
            const text = `select id, region from customers where id > ${low} and id <= ${low + 9} limit 9`;
            rows += await client.query(page % 2 === 0 ? { text } : { text, name: `p${page}`, values: [] }).then(
              (result) => result.rows.length,
              () => 0,
            );
          }
        }),
      ),
    );
    assert.ok(rows <= 100, `${rows} rows`);
  });
});

describe('what is left behind', () => {
  it('the log holds no raw value', async () => {
    for (const entry of await harness.entries()) {
      // Digests and ids are random: among thousands of them any eight digits stand somewhere.
      const text = JSON.stringify(entry).replaceAll(/[0-9a-f]{32,}|\b[a-z]+_[0-9a-z]{16}\b/g, '');
      // What the attacker typed is not what the target gave.
      if ('text' in entry) continue;
      assertClean(text);
    }
  });

  it('the recordings hold no raw value', async () => {
    const { body } = await harness.api<{ sessions: { id: string }[] }>('auditor', 'GET', '/sessions?limit=1000');
    assert.ok(body.sessions.length > 20);
    const token = await harness.token('auditor');
    for (const { id } of body.sessions) {
      const response = await fetch(`${harness.app.apiUrl}/api/v1/sessions/${id}/replay`, {
        headers: { authorization: `Bearer ${token}` },
      });
      for (const line of (await response.text()).split('\n')) if (!line.includes('"text":')) assertClean(line);
    }
  });
});
