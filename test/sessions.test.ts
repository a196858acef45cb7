/** Sessions through the whole gateway on a real PostgreSQL: masking, holds, refusals, transactions. Promises P1, P2, P5, P7, P8. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { errorsOf, frame, RawSession, rowsOf } from './bypass/wire.ts';
import { copyIn } from './copy.ts';
import { customersSchema, secretPatterns } from './customers.ts';
import { startHarness, type Harness, type Who } from './harness.ts';

let harness: Harness;

before(async () => {
  harness = await startHarness({ schema: customersSchema });
});

after(async () => {
  await harness?.close();
});

function leaks(text: string): string | undefined {
  return secretPatterns.map((pattern) => pattern.exec(text)?.[0]).find((found) => found !== undefined);
}

function assertNoLeak(value: unknown): void {
  assert.equal(leaks(JSON.stringify(value)), undefined);
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

async function pending(isOver: () => boolean): Promise<{ id: string } | undefined> {
  for (let attempt = 0; attempt < 200 && !isOver(); attempt++) {
    const { body } = await harness.api<{ requests: { id: string }[] }>('executor', 'GET', '/requests?state=pending');
    const [found] = body.requests;
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return undefined;
}

async function heldRequest(): Promise<{ id: string }> {
  const found = await pending(() => false);
  assert.ok(found !== undefined, 'no request appeared');
  return found;
}

/** How a decision on the next held statement is made while it waits. */
async function decide(who: Who, verdict: 'approve' | 'reject', comment = 'because'): Promise<string> {
  const { id } = await heldRequest();
  const answer = await harness.api<unknown>(who, 'POST', `/requests/${id}/${verdict}`, { comment });
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return id;
}

describe('masking', () => {
  it('masks by origin, lineage and content in text results', async () => {
    const client = await harness.connect('reader');
    const { rows } = await client.query(
      `select ssn, ssn as x, upper(ssn) u, email, card_number, notes, profile, row_to_json(c) j, coalesce(ssn, '-') k, c
         from customers c limit 5`,
    );
    assert.equal(rows.length, 5);
    assertNoLeak(rows);
    assert.match((rows[0] as { email: string }).email, /\*\*\*@secret\.example/);
  });

  it('masks binary results and prepared statements that are executed again without a description', async () => {
    const client = await harness.connect('reader');
    for (let round = 0; round < 3; round++) {
      const query = {
        name: 'again',
        text: 'select id, ssn, email from customers where id < $1',
        values: [4],
        binary: true,
      };
      const { rows } = await client.query(query);
      assert.equal(rows.length, 3);
      assertNoLeak(rows);
    }
  });

  it('masks through views, subqueries, unions, CTEs and aggregates', async () => {
    const client = await harness.connect('reader');
    for (const text of [
      'select contact, loud from customer_contacts limit 3',
      'select * from (select ssn s from customers) q limit 3',
      'select ssn from customers union all select label from plain limit 3',
      'with w as (select email e, ssn from customers) select * from w limit 3',
      'select max(ssn), min(email), string_agg(card_number, $$,$$) from customers',
      'select array_agg(ssn) from customers',
      'select (select ssn from customers c where c.id = p.id) from plain p limit 3',
      'select json_agg(c) from customers c',
      'table customers limit 3',
      "select case when id > 0 then ssn else 'x' end from customers limit 3",
      'update customers set region = region where id = 1 returning ssn, email',
    ]) {
      const { rows } = await client.query(text);
      assert.ok(rows.length > 0, text);
      assert.equal(leaks(JSON.stringify(rows)), undefined, text);
    }
  });

  it('keeps what is not masked exactly as it is', async () => {
    const client = await harness.connect('reader');
    const through = await client.query(
      'select p.*, 1.5::numeric n, now() - now() i, array[1,2] a, null::int z, p.id::text t from plain p order by 1',
    );
    assert.deepEqual(
      through.rows,
      await harness.target(
        'select p.*, 1.5::numeric n, now() - now() i, array[1,2] a, null::int z, p.id::text t from plain p order by 1',
      ),
    );
  });

  it('withholds error texts that quote masked data', async () => {
    const client = await harness.connect('reader');
    const error = await failure(client.query('update customers set id = 1 where id = 2'));
    assert.equal(error.code, '23505');
    assert.match(error.message, /withheld/);
    assert.equal(error.detail, undefined);
    assertNoLeak(error);
  });

  for (const text of [
    "select id from customers where ssn like '1%'",
    'select id from customers order by ssn',
    'select count(*) from customers group by email',
    'select distinct card_number from customers',
    'select p.id from plain p join customers c on c.ssn = p.label',
    'select count(*) filter (where ssn is not distinct from $$1$$) from customers',
  ]) {
    it(`refuses a masked column as an oracle: ${text}`, async () => {
      const client = await harness.connect('reader');
      const error = await failure(client.query(text));
      assert.equal(error.code, '42501');
      assert.match(error.message, /customers\./);
    });
  }

  for (const text of [
    "select query_to_xml('select ssn from customers', true, true, '')",
    "select most_common_vals from pg_stats where tablename = 'customers'",
    'do $$ begin raise notice $x$hello$x$; end $$',
    "select pg_read_file('/etc/passwd')",
    'set search_path = pg_temp, public',
    "select set_config('search_path', 'pg_temp', false)",
    'set role postgres',
    "set client_encoding = 'latin1'",
    'set standard_conforming_strings = off',
    'create temp table customers_copy as select * from customers',
    'prepare p as select id from customers order by ssn',
    'select lo_get(1)',
    'select * from no_such_table',
    'select no_such_function(1)',
    'selec 1',
    "explain select * from customers where ssn = '1'",
    'listen x; select 1; drop table plain',
  ]) {
    it(`refuses: ${text}`, async () => {
      const client = await harness.connect('reader');
      const work = failure(client.query(text));
      // A held statement is refused here, too: nothing may run without somebody else.
      const over = { is: false };
      const rejecting = pending(() => over.is).then(async (request) => {
        if (request !== undefined)
          await harness.api('executor', 'POST', `/requests/${request.id}/reject`, { comment: 'no' });
      });
      const error = await work;
      over.is = true;
      await rejecting;
      const codes = ['42501', '0A000', 'ZC001', '42601', '42P01'];
      assert.ok(codes.includes(error.code ?? ''), `${error.code}: ${error.message}`);
      assert.match(error.message, /^countersign: /);
      assertNoLeak(error);
      assert.equal((await harness.target("select to_regclass('plain') as t"))[0] !== undefined, true);
      await client.query('select 1');
    });
  }
});

describe('what a server would not take either', () => {
  for (const [text, code, message, position] of [
    ['selec 1', '42601', 'countersign: syntax error at or near "selec"', '1'],
    ["select 'é😀', from plain", '42601', 'countersign: syntax error at or near "from"', '14'],
    ['select 1; select (', '42601', 'countersign: syntax error at end of input', '19'],
    ['select * from no_such_table', '42P01', 'countersign: relation no_such_table is not in the catalogue', undefined],
    ['copy no_such_table to stdout', '42P01', 'countersign: relation no_such_table is not in the catalogue', undefined],
  ] as const) {
    it(`is refused in its words: ${text}`, async () => {
      const client = await harness.connect('reader');
      for (const query of [{ text }, { text, values: [] }]) {
        const error = await failure(client.query(query));
        assert.deepEqual([error.code, error.message, error.position], [code, message, position]);
      }
      await client.query('select 1');
    });
  }

  it('is refused as not understood where there is more to it', async () => {
    const client = await harness.connect('reader');
    const error = await failure(client.query('select no_such_function(1) from no_such_table'));
    assert.equal(error.code, '42501');
  });
});

describe('set_config with constants', () => {
  it('is decided as SET', async () => {
    const client = await harness.connect('reader');
    const { rows } = await client.query("select current_setting('jit') as cur, set_config('jit', 'off', false) as new");
    assert.equal((rows as { new: string }[])[0]?.new, 'off');
    const values = { text: "select set_config('jit', 'on', false), current_setting('jit') as cur", values: [] };
    assert.deepEqual((await client.query(values)).rows, [{ set_config: 'on', cur: 'on' }]);
    const parameter = { text: "select set_config('jit', $1, false)", values: ['off'] };
    assert.deepEqual((await client.query(parameter)).rows, [{ set_config: 'off' }]);
    await failure(client.query({ text: "select set_config('datestyle', $1, false)", values: ['iso'] }));
    for (const [name, value] of [
      ['search_path', 'public'],
      ['role', 'postgres'],
      ['client_encoding', 'latin1'],
      ['datestyle', 'german'],
      ['row_security', 'off'],
      ['bytea_output', 'escape'],
      ['no.such', 'x'],
    ]) {
      const error = await failure(client.query(`select set_config('${name}', '${value}', false)`));
      assert.equal(error.code, '42501', name);
      assert.match(error.message, /^countersign: /);
    }
  });
});

describe('designers', () => {
  it('read masked samples within the hourly budget, then are held', async () => {
    const client = await harness.connect('designer');
    const { rows } = await client.query('select * from customers limit 40');
    assert.equal(rows.length, 40);
    assertNoLeak(rows);
    const [, error] = await Promise.all([
      decide('executor', 'reject', 'use a job'),
      failure(client.query('select id from customers limit 90')),
    ]);
    assert.equal(error.code, 'ZC001');
    assert.match(error.message, /eli.*use a job/);
  });

  it('are held for bulk reads; a rejection ends them before anything reaches the target', async () => {
    const client = await harness.connect('designer');
    const notices: string[] = [];
    client.on('notice', (notice) => notices.push(notice.message ?? ''));
    const marker = 'select id, region /* bulk-7731 */ from customers where id > $1';
    const [id, error] = await Promise.all([decide('executor', 'reject'), failure(client.query(marker, [5]))]);
    assert.equal(error.code, 'ZC001');
    assert.ok(
      notices.some((notice) => notice.includes(id)),
      notices.join(),
    );
    assert.ok(!(await harness.targetLog()).includes('bulk-7731'));
    assert.deepEqual((await client.query('select 1 as one')).rows, [{ one: 1 }]);
  });

  it('run exactly what was approved, once, with its parameters', async () => {
    const client = await harness.connect('designer');
    const text = 'select id, ssn from customers where id between $1 and $2 order by id';
    const [id, result] = await Promise.all([decide('executor', 'approve'), client.query(text, [10, 200])]);
    assert.equal(result.rows.length, 191);
    assertNoLeak(result.rows);
    const shown = await harness.api<{ digestInputJson: string; grant: { state: string } }>(
      'executor',
      'GET',
      `/requests/${id}`,
    );
    assert.match(shown.body.digestInputJson, /"parameters":\["10","200"\]/);
    assert.equal(shown.body.grant.state, 'consumed');
    const [, again] = await Promise.all([decide('executor', 'reject'), failure(client.query(text, [10, 201]))]);
    assert.equal(again.code, 'ZC001');
  });

  it('cannot decide on their own request, nor can their service account', async () => {
    const client = await harness.connect('designer');
    const held = failure(client.query('select id from customers'));
    const { id } = await heldRequest();
    for (const who of ['designer', 'etl-designer'] as const) {
      const answer = await harness.api<{ error: { code: string } }>(who, 'POST', `/requests/${id}/approve`, {});
      assert.equal(answer.status, 403);
    }
    await harness.api('executor', 'POST', `/requests/${id}/reject`, { comment: 'done' });
    assert.equal((await held).code, 'ZC001');
  });

  it('withdraw by cancelling and by disconnecting', async () => {
    const client = await harness.connect('designer');
    const held = failure(client.query('select id from customers'));
    const { id } = await heldRequest();
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    await sendCancel(harness.app.postgresPort, processID, secretKey);
    assert.equal((await held).code, 'ZC003');
    assert.equal((await harness.api<{ state: string }>('executor', 'GET', `/requests/${id}`)).body.state, 'withdrawn');

    const leaver = await harness.connect('designer');
    leaver.query('select region from customers').catch(() => undefined);
    const second = await heldRequest();
    (leaver as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    for (let attempt = 0; attempt < 100; attempt++) {
      const { body } = await harness.api<{ state: string }>('executor', 'GET', `/requests/${second.id}`);
      if (body.state === 'withdrawn') return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error('the request was not withdrawn');
  });
});

async function sendCancel(port: number, processId: number, secretKey: number): Promise<void> {
  const net = await import('node:net');
  const packet = Buffer.alloc(16);
  packet.writeInt32BE(16, 0);
  packet.writeInt32BE(80_877_102, 4);
  packet.writeInt32BE(processId, 8);
  packet.writeInt32BE(secretKey, 12);
  await new Promise<void>((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.end(packet));
    socket.on('close', () => resolve());
    socket.on('error', reject);
    socket.resume();
  });
}

describe('held statements that a driver prepares first', () => {
  const parse = [
    frame.parse('p', 'select id, ssn from customers where id > $1'),
    frame.describe('S', 'p'),
    frame.sync(),
  ];
  const execute = [frame.bind('', 'p', ['298']), frame.execute(''), frame.sync()];

  it('are described at once, and wait when they are executed, with their parameters, each time', async () => {
    const session = new RawSession(await harness.connect('designer'));
    const described = await session.run(1, ...parse);
    assert.deepEqual(
      described.map(({ type }) => type),
      ['1', 't', 'T', 'Z'],
    );
    const { body: none } = await harness.api<{ requests: unknown[] }>('executor', 'GET', '/requests?state=pending');
    assert.deepEqual(none.requests, []);
    for (const [verdict, rows, errors] of [
      ['approve', 2, []],
      ['reject', 0, ['ZC001']],
      ['approve', 2, []],
    ] as const) {
      session.send(...execute);
      const id = await decide('executor', verdict);
      const answers = await session.until('Z', 1);
      assert.equal(rowsOf(answers), rows);
      assert.deepEqual(errorsOf(answers), errors);
      const { body } = await harness.api<object>('executor', 'GET', `/requests/${id}`);
      assert.match(JSON.stringify(body), /298/, 'the parameters are part of what is decided');
    }
    assertNoLeak(session.bytes);
  });

  it('are prepared only: whatever else is in the batch makes it wait', async () => {
    const session = new RawSession(await harness.connect('designer'));
    const [parsed, describe] = parse;
    assert.ok(parsed !== undefined && describe !== undefined);
    session.send(parsed, describe, ...execute);
    await decide('executor', 'reject');
    const answers = await session.until('Z', 1);
    assert.equal(rowsOf(answers), 0);
    assert.deepEqual(errorsOf(answers), ['ZC001']);
    // A batch that ends without executing leaves nothing that could be executed without being asked for.
    await session.run(1, frame.parse('q', 'select id from customers'), frame.sync());
    const twice = [frame.bind('a', 'q'), frame.bind('b', 'q'), frame.execute('a'), frame.execute('b'), frame.sync()];
    assert.deepEqual(errorsOf(await session.run(1, ...twice)), ['0A000']);
    assertNoLeak(session.bytes);
  });
});

describe('executors', () => {
  it('are held for every ad-hoc statement, and may not approve it themselves', async () => {
    const client = await harness.connect('executor');
    const held = failure(client.query('select id from plain limit 1'));
    const { id } = await heldRequest();
    const own = await harness.api<{ error: { code: string } }>('executor', 'POST', `/requests/${id}/approve`, {});
    assert.equal(own.body.error.code, 'duty_conflict');
    await harness.api('executor2', 'POST', `/requests/${id}/reject`, { comment: 'no' });
    assert.equal((await held).code, 'ZC001');
  });
});

describe('transactions and pipelines', () => {
  it('a refusal inside a transaction aborts it, as an error of the server would', async () => {
    const client = await harness.connect('reader');
    await client.query('begin');
    await client.query("update plain set label = 'changed' where id = 1");
    const error = await failure(client.query('select ssn from customers order by ssn'));
    assert.equal(error.code, '42501');
    assert.equal((await failure(client.query('select 1'))).code, '25P02');
    await client.query('commit');
    assert.deepEqual(await harness.target('select label from plain where id = 1'), [{ label: 'label 1' }]);
    await client.query('select 1');
  });

  it('results and errors of pipelined statements come in order', async () => {
    const client = await harness.connect('reader');
    const settled = await Promise.allSettled([
      client.query('select id from plain where id = $1', [1]),
      client.query('select id from customers order by ssn'),
      client.query('select id from plain where id = $1', [2]),
      client.query('select 1/0'),
      client.query('select id from plain where id = $1', [3]),
    ]);
    assert.deepEqual(
      settled.map((one) =>
        one.status === 'fulfilled' ? (one.value.rows[0] as { id: number }).id : (one.reason as pg.DatabaseError).code,
      ),
      [1, '42501', 2, '22012', 3],
    );
  });

  it('COPY FROM STDIN works where it is permitted', async () => {
    const client = await harness.connect('reader');
    await copyIn(client, 'copy plain from stdin', '900\tcopied\n901\tcopied too\n');
    assert.deepEqual(await harness.target('select count(*)::int as n from plain where id >= 900'), [{ n: 2 }]);
  });

  it('cancels a running statement at the target', async () => {
    const client = await harness.connect('reader');
    const long = failure(client.query('select count(*) from plain a, plain b, plain c, plain d, plain e, plain f'));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    await sendCancel(harness.app.postgresPort, processID, secretKey);
    assert.equal((await long).code, '57014');
  });

  it('large results stream whole', async () => {
    const client = await harness.connect('reader');
    const { rows } = await client.query<{ n: number }>(
      "select g n, repeat('x', 1000) from generate_series(1, 20000) g",
    );
    assert.equal(rows.length, 20_000);
    assert.equal(rows.at(-1)?.n, 20_000);
  });
});

describe('the log', () => {
  it('has an intent before, and an outcome after, each statement; refusals name their rules', async () => {
    const client = await harness.connect('reader');
    await client.query('select id from plain where id = 4');
    await failure(client.query('select id from customers order by ssn'));
    await client.end();
    await new Promise((resolve) => setTimeout(resolve, 200));
    const entries = await harness.entries();
    const intent = entries.findLast(
      (entry) => entry['type'] === 'statement.intent' && entry['text'] === 'select id from plain where id = 4',
    );
    assert.ok(intent !== undefined);
    const outcome = entries.find(
      (entry) =>
        entry['type'] === 'statement.outcome' &&
        entry['session'] === intent['session'] &&
        entry['statement'] === intent['statement'],
    );
    assert.equal(outcome?.['status'], 'complete');
    assert.equal(outcome?.['rows'], 1);
    const denied = entries.findLast((entry) => entry['type'] === 'statement.denied');
    assert.equal(denied?.['code'], 'masked_predicate');
    assert.notDeepEqual(denied?.['policies'], []);
    assertNoLeak(entries);
  });
});
