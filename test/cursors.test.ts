/** SQL cursors through the whole gateway: a FETCH is masked by what its cursor was declared for, whatever happens between. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import type pg from 'pg';
import { bypassColumns, bypassSchema, leaked } from './bypass/schema.ts';
import { errorsOf, frame, RawSession, rowsOf } from './bypass/wire.ts';
import { startHarness, type Harness } from './harness.ts';

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

const received: RawSession[] = [];
afterEach(() => {
  for (const session of received.splice(0)) assert.equal(leaked(session.bytes), undefined, 'a raw value was received');
});

async function raw(): Promise<RawSession> {
  const session = new RawSession(await harness.connect('reader'));
  received.push(session);
  return session;
}

async function fetched(client: pg.Client, text: string): Promise<Record<string, unknown>[]> {
  const { rows } = await client.query<Record<string, unknown>>(text);
  assert.equal(leaked(JSON.stringify(rows)), undefined, text);
  return rows;
}

const ofExpression = 'declare c cursor for select upper(token) as t, id from vault order by id';
const ofPlain = 'declare c cursor for select label as t, id from plain order by id';

describe('simple protocol', () => {
  it('masks what is fetched, moved over and fetched again', async () => {
    const client = await harness.connect('reader');
    await client.query('begin');
    await client.query(
      'declare c scroll cursor for select id, token, upper(token) as u, pin, born from vault order by id',
    );
    const [first] = await fetched(client, 'fetch c');
    assert.equal(first?.['token'], '[masked]');
    assert.equal(first?.['u'], '[masked]');
    assert.equal((await fetched(client, 'fetch forward 5 from c')).length, 5);
    await client.query('move backward all in c');
    assert.equal((await fetched(client, 'fetch all from c')).length, 40);
    await client.query('close c');
    await assert.rejects(client.query('fetch c'), { code: '34000' });
    await client.query('rollback');
  });

  it('a cursor that outlives its transaction, and one that does not', async () => {
    const client = await harness.connect('reader');
    await client.query('begin');
    await client.query('declare h cursor with hold for select token, id from vault order by id limit 3');
    await client.query('declare n cursor for select token from vault');
    await client.query('commit');
    assert.deepEqual(await fetched(client, 'fetch 2 from h'), [
      { token: '[masked]', id: 1 },
      { token: '[masked]', id: 2 },
    ]);
    await assert.rejects(client.query('fetch 1 from n'), { code: '34000' });
    await client.query('discard all').catch(() => undefined);
    await client.query('close all');
    await assert.rejects(client.query('fetch h'), { code: '34000' });
  });

  it('the name of one cursor for another query', async () => {
    const client = await harness.connect('reader');
    for (const [text, expected] of [
      [ofPlain, 'label 1'],
      [ofExpression, '[masked]'],
      [ofPlain, 'label 1'],
    ] as const) {
      await client.query('begin');
      await client.query(text);
      assert.deepEqual(await fetched(client, 'fetch c'), [{ t: expected, id: 1 }]);
      await client.query('commit');
    }
  });

  it('a DECLARE that fails at the target changes nothing', async () => {
    const client = await harness.connect('reader');
    await client.query('begin');
    await client.query(ofExpression);
    await client.query('savepoint s');
    await assert.rejects(client.query(ofPlain), { code: '42P03' });
    await client.query('rollback to s');
    assert.deepEqual(await fetched(client, 'fetch c'), [{ t: '[masked]', id: 1 }]);
    await client.query('rollback');
  });

  it('a DECLARE that is rolled back leaves no cursor', async () => {
    const client = await harness.connect('reader');
    await client.query('begin');
    await client.query('savepoint s');
    await client.query(ofPlain);
    await client.query('rollback to s');
    await assert.rejects(client.query('fetch c'), { code: '34000' });
    await client.query('rollback');
  });

  it('EXPLAIN ANALYZE of a DECLARE makes no cursor', async () => {
    const client = await harness.connect('reader');
    await client.query('begin');
    await client.query(ofExpression);
    await client.query('explain (analyze) declare c cursor for select label as t, id from plain');
    assert.deepEqual(await fetched(client, 'fetch c'), [{ t: '[masked]', id: 1 }]);
    await client.query('rollback');
  });

  it('binary cursors', async () => {
    const session = await raw();
    await session.run(
      2,
      frame.query('begin'),
      frame.query('declare b binary cursor for select id, token, pin from vault'),
    );
    const answers = await session.run(1, frame.query('fetch 2 from b'));
    assert.equal(rowsOf(answers), 2);
    assert.ok(answers.some(({ type, body }) => type === 'D' && body.includes('[masked]')));
  });

  it('queries sent ahead: FETCH waits for its DECLARE', async () => {
    const session = await raw();
    const answers = await session.run(
      6,
      ...['begin', ofPlain, 'fetch c', 'close c', ofExpression, 'fetch c'].map((text) => frame.query(text)),
    );
    assert.deepEqual(errorsOf(answers), []);
    assert.deepEqual(
      answers.filter(({ type }) => type === 'D').map(({ body }) => /label 1|\[masked\]/.exec(body)?.[0]),
      ['label 1', '[masked]'],
    );
  });

  for (const text of [
    `${ofPlain}; fetch c`,
    'fetch all from never_declared',
    'declare c cursor for select id from vault order by token',
    'declare c cursor for select token from vault for update',
    "declare c cursor for select query_to_xml('select token from vault', true, true, '')",
    "declare c cursor for select case when token like 'zq7k%' then id end from vault",
  ]) {
    it(`refuses: ${text}`, async () => {
      const client = await harness.connect('reader');
      await assert.rejects(client.query(text), (error: pg.DatabaseError) => {
        assert.ok(['42501', '0A000', '34000'].includes(error.code ?? ''), `${error.code} ${error.message}`);
        return true;
      });
    });
  }
});

describe('extended protocol', () => {
  it('a prepared FETCH is masked by the cursor of the moment', async () => {
    const session = await raw();
    await session.run(2, frame.query('begin'), frame.query(ofPlain));
    const parse = [frame.parse('f', 'fetch 1 from c'), frame.describe('S', 'f'), frame.sync()];
    const execute = [frame.bind('', 'f'), frame.execute(''), frame.sync()];
    const described = await session.run(1, ...parse);
    assert.deepEqual(errorsOf(described), []);
    const values = [];
    values.push(await session.run(1, ...execute));
    await session.run(2, frame.query('close c'), frame.query(ofExpression));
    values.push(await session.run(1, ...execute));
    await session.run(2, frame.query('close c'), frame.query(ofPlain));
    values.push(await session.run(1, ...execute));
    assert.deepEqual(
      values.map((answers) => answers.filter(({ type }) => type === 'D').map(({ body }) => body.slice(6, -5))),
      [['label 1'], ['[masked]'], ['label 1']],
    );
  });

  it('a portal that was described under another cursor', async () => {
    const session = await raw();
    await session.run(2, frame.query('begin'), frame.query(ofPlain));
    await session.run(
      1,
      frame.parse('f', 'fetch all from c'),
      frame.bind('p', 'f'),
      frame.describe('P', 'p'),
      frame.sync(),
    );
    await session.run(2, frame.query('close c'), frame.query(ofExpression));
    const answers = await session.run(1, frame.execute('p'), frame.sync());
    assert.ok(!answers.some(({ type, body }) => type === 'D' && /zq7k/i.test(body)));
  });

  it('FETCH in the batch of its DECLARE is refused, and the session goes on', async () => {
    const session = await raw();
    const one = (text: string) => [frame.parse('', text), frame.bind('', ''), frame.execute('')];
    const answers = await session.run(2, frame.query('begin'), ...one(ofExpression), ...one('fetch c'), frame.sync());
    assert.deepEqual(errorsOf(answers), ['0A000']);
    assert.equal(rowsOf(answers), 0);
    const later = await session.run(2, frame.query('rollback'), ...one('select id from plain limit 1'), frame.sync());
    assert.deepEqual(errorsOf(later), []);
  });

  it('a cursor can be described as a portal, and not executed as one', async () => {
    const session = await raw();
    await session.run(2, frame.query('begin'), frame.query(ofExpression));
    const described = await session.run(1, frame.describe('P', 'c'), frame.sync());
    assert.deepEqual(
      described.map(({ type }) => type),
      ['T', 'Z'],
    );
    const executed = await session.run(1, frame.describe('P', 'c'), frame.execute('c'), frame.sync());
    assert.deepEqual(errorsOf(executed), ['34000']);
    assert.equal(rowsOf(executed), 0);
  });

  it('a portal of the protocol is no cursor', async () => {
    const session = await raw();
    const open = [frame.parse('', 'select upper(token) from vault'), frame.bind('c', ''), frame.sync()];
    await session.run(3, frame.query('begin'), frame.query(ofPlain), frame.query('close c'));
    const answers = await session.run(2, ...open, frame.query('fetch all from c'));
    assert.deepEqual(errorsOf(answers), ['34000']);
    await session.run(2, frame.query('rollback'), frame.query('begin'));
    await session.run(1, frame.query(ofPlain));
    // The name is taken at the target; what it stands for here is forgotten, so that nothing is masked by a guess.
    await session.run(1, ...open);
    await session.run(1, frame.query('rollback'));
  });
});

describe('names', () => {
  it('a portal whose name the target cuts to that of a cursor is not taken for it', async () => {
    const long = 'n'.repeat(63);
    const session = await raw();
    const declare = `declare ${long} cursor with hold for select label as t, id from plain`;
    await session.run(3, frame.query('begin'), frame.query(declare), frame.query('commit'));
    // Closed by the protocol, under a name that only the target reads as the cursor's.
    await session.run(1, frame.close('P', `${long}x`), frame.sync());
    await session.run(1, frame.query('begin'));
    const open = [frame.parse('', 'select upper(token) as t, id from vault'), frame.bind(`${long}x`, ''), frame.sync()];
    await session.run(1, ...open);
    const answers = await session.run(1, frame.query(`fetch all from ${long}`));
    assert.equal(rowsOf(answers), 0);
    assert.deepEqual(errorsOf(answers), ['34000']);
  });

  it('a cursor that ended with its transaction is forgotten', async () => {
    const session = await raw();
    const texts = ['begin', ofPlain, 'commit', 'begin'].map((text) => frame.query(text));
    await session.run(4, ...texts);
    await session.run(1, frame.parse('', 'select upper(token) as t, id from vault'), frame.bind('c', ''), frame.sync());
    assert.equal(rowsOf(await session.run(1, frame.query('fetch all from c'))), 0);
  });
});

describe('designers', () => {
  it('an unbounded cursor is a bulk read, and waits', async () => {
    const client = await harness.connect('designer');
    await client.query('begin');
    const declared = client.query('declare c cursor for select id from plain').then(
      () => 'ran',
      (error: pg.DatabaseError) => error.code,
    );
    let id: string | undefined;
    for (let attempt = 0; attempt < 100 && id === undefined; attempt++) {
      const { body } = await harness.api<{ requests: { id: string }[] }>('executor', 'GET', '/requests?state=pending');
      id = body.requests[0]?.id;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.ok(id !== undefined);
    await harness.api('executor', 'POST', `/requests/${id}/reject`, { comment: 'no' });
    assert.equal(await declared, 'ZC001');
  });
});
