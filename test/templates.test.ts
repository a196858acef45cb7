/** A loop that was approved once as a template: an unchanged script runs to its end, and nothing else does. Promises P1, P3, P4. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { customersSchema } from './customers.ts';
import { pino } from 'pino';
import { startApp, type App } from '../src/app.ts';
import { startHarness, type Harness, type Who } from './harness.ts';

let harness: Harness;
let store: pg.Client;
/** A second node on the same store. */
let second: App | undefined;

before(async () => {
  harness = await startHarness({
    schema: `${customersSchema}
      insert into plain select n, 'label ' || n from generate_series(51, 1000) n;
      create table events (id bigint primary key, what text not null);
      insert into events select n, 'event ' || n from generate_series(1, 500) n;`,
    configure: (raw) => {
      raw['sampling'] = { rowsPerHour: 0 };
    },
  });
  store = new pg.Client({ connectionString: harness.postgres.url('control') });
  await store.connect();
});

after(async () => {
  await store?.end();
  await second?.close();
  await harness?.close();
});

afterEach(async () => {
  for (const id of await pending()) await reject(id);
});

interface Shown {
  readonly id: string;
  readonly state: string;
  readonly digestInputJson: string;
  readonly evidence: { readonly reason: string; readonly template?: Record<string, unknown> };
  readonly grant?: { readonly id: string; readonly state: string };
}

interface Answer {
  readonly id: string;
  readonly state: string;
  readonly grant?: { readonly id: string };
  readonly error?: { readonly code: string; readonly message: string };
}

type Bounds = {
  untilKey: number;
  rows: number;
  uses?: number;
  fromKey?: number;
  expiresMs?: number;
  anySession?: boolean;
};

async function pending(): Promise<string[]> {
  const { body } = await harness.api<{ requests: { id: string }[] }>('executor', 'GET', '/requests?state=pending');
  return body.requests.map(({ id }) => id);
}

async function held(): Promise<Shown> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const [id] = await pending();
    if (id !== undefined) return show(id);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('nothing is held');
}

async function show(id: string): Promise<Shown> {
  return (await harness.api<Shown>('executor', 'GET', `/requests/${id}`)).body;
}

async function approveTemplate(id: string, template: Bounds, who: Who = 'executor'): Promise<Answer> {
  return (await harness.api<Answer>(who, 'POST', `/requests/${id}/approve`, { comment: 'the loop', template })).body;
}

async function reject(id: string): Promise<void> {
  await harness.api('executor', 'POST', `/requests/${id}/reject`, { comment: 'no' });
}

/** Runs a statement, and rejects it should it be held. */
async function withoutApproval(
  work: Promise<pg.QueryResult>,
): Promise<{ rows: number } | { code: string; message: string }> {
  const over = { is: false };
  const rejecting = (async () => {
    while (!over.is) {
      for (const id of await pending()) await reject(id);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  try {
    return { rows: (await work).rows.length };
  } catch (error) {
    return { code: (error as pg.DatabaseError).code ?? '', message: (error as Error).message };
  } finally {
    over.is = true;
    await rejecting;
  }
}

async function assertHeld(work: Promise<pg.QueryResult>, what: string): Promise<void> {
  const answer = await withoutApproval(work);
  assert.ok('code' in answer && answer.code === 'ZC001', `${what}: ${JSON.stringify(answer)}`);
}

async function assertRuns(work: Promise<pg.QueryResult>, rows: number, what = ''): Promise<void> {
  assert.deepEqual(await withoutApproval(work), { rows }, what);
}

const range = (low: number, high: number) => `select id, label from plain where id > ${low} and id <= ${high}`;

const far = (low: number, high: number) => `select id from plain where id > ${low} and id <= ${high}`;

/** A session in which the first step of a loop was approved, and ran, as a template. */
async function looping(bounds: Bounds, text: string | pg.QueryConfig = range(0, 10), who: Who = 'designer') {
  const client = await harness.connect(who);
  const first = client.query(text as string);
  const request = await held();
  const approved = await approveTemplate(request.id, bounds);
  assert.equal(approved.error, undefined, JSON.stringify(approved));
  assert.equal(approved.state, 'approved');
  const { rows } = await first;
  return { client, rows, request, template: approved.id, grant: approved.grant?.id ?? '' };
}

describe('an unchanged paging script of a designer', () => {
  it('runs to its end with one approval, each statement with an intent that names the grant and the use', async () => {
    const { client, rows, request, template, grant } = await looping({ untilKey: 1_000, rows: 1_000 }, range(0, 100));
    assert.equal(rows.length, 100);
    assert.deepEqual(request.evidence.template, {
      form: 'range',
      key: 'public.plain.id',
      low: '1',
      high: '100',
      limit: null,
      text: 'select id, label from plain where id > :lo and id <= :hi',
    });
    const seen = rows.map((row: { id: number }) => row.id);
    for (let low = 100; low < 1_000; low += 100) {
      const page = await client.query<{ id: number }>(range(low, low + 100));
      seen.push(...page.rows.map(({ id }) => id));
    }
    assert.deepEqual(
      seen.toSorted((a, b) => a - b),
      Array.from({ length: 1_000 }, (_, n) => n + 1),
    );
    assert.deepEqual(await pending(), []);
    const entries = await harness.entries();
    const intents = entries.filter((one) => one['type'] === 'statement.intent' && one['grant'] === grant);
    assert.deepEqual(
      intents.map((one) => [one['use'], one['request'], one['verdict']]),
      Array.from({ length: 10 }, (_, n) => [n + 1, template, 'granted']),
    );
    const { statement, caps } = JSON.parse((await show(template)).digestInputJson) as {
      statement: { template: Record<string, unknown> };
      caps: { rows: number };
    };
    assert.deepEqual([statement.template['lowest'], statement.template['highest'], caps.rows], ['1', '1000', 1_000]);
    assert.equal(entries.filter((one) => one['type'] === 'grant.consumed' && one['grant'] === grant).length, 1);
    const report = await harness.api<{ executions: number; exceptionCount: number }>(
      'auditor',
      'GET',
      '/audit/executions',
    );
    assert.ok(report.body.executions >= 10, JSON.stringify(report.body));
    assert.equal(report.body.exceptionCount, 0, JSON.stringify(report.body));
    assert.equal((await show(request.id)).state, 'withdrawn');
    await assertHeld(client.query(range(1_000, 1_100)), 'beyond the last key');
  });

  it('with parameters, in text and in binary, and a prepared statement that is bound again', async () => {
    const text = 'select id, what from events where id between $1 and $2';
    const { client } = await looping({ untilKey: 500, rows: 500 }, { name: 'page', text, values: [1, 50] });
    for (let low = 51; low < 500; low += 50) {
      await assertRuns(client.query({ name: 'page', text, values: [low, low + 49] }), 50);
    }
    await assertHeld(client.query({ name: 'page', text, values: [1, 50] }), 'the first page again');
  });

  it('that goes on after the last key that it has seen, under LIMIT', async () => {
    const page = (after: number) => `select what, id from events where id > ${after} order by id limit 60`;
    const { client, rows, request } = await looping({ untilKey: 500, rows: 500 }, page(0));
    assert.equal(request.evidence.template?.['form'], 'keyset');
    let last = Number((rows.at(-1) as { id: string }).id);
    let pages = 1;
    for (;;) {
      const answer = await client.query<{ id: string }>(page(last));
      if (answer.rows.length === 0) break;
      last = Number(answer.rows.at(-1)?.id);
      pages++;
    }
    assert.deepEqual([pages, last], [9, 500]);
  });

  it('that counts an OFFSET up', async () => {
    const page = (offset: number) => `select id from events order by id limit 100 offset ${offset}`;
    const { client, request } = await looping({ untilKey: 499, rows: 500 }, page(0));
    assert.equal(request.evidence.template?.['form'], 'offset');
    for (const offset of [100, 200, 300, 400]) await assertRuns(client.query(page(offset)), 100);
    await assertHeld(client.query(page(500)), 'beyond the last position');
    await assertHeld(client.query(page(100)), 'again');
  });
});

describe('the command line', () => {
  const countersign = async (...args: string[]) => {
    const program = fileURLToPath(new URL('../src/bin.ts', import.meta.url));
    const env = {
      ...process.env,
      COUNTERSIGN_SERVER: harness.app.apiUrl,
      COUNTERSIGN_TOKEN: await harness.token('executor'),
    };
    return promisify(execFile)(process.execPath, [program, ...args], { env }).then(
      ({ stdout }) => stdout,
      (error: { stderr: string }) => error.stderr,
    );
  };

  it('shows the loop, says what is missing, and approves it', async () => {
    const client = await harness.connect('designer');
    const text = (low: number, high: number) => `select label, id from plain where id > ${low} and id <= ${high}`;
    const first = client.query(text(0, 10));
    const { id } = await held();
    const shown = await countersign('requests', 'show', id);
    assert.match(shown, /select label, id from plain where id > :lo and id <= :hi/);
    assert.match(shown, /public\.plain\.id, now from 1 to 10/);
    assert.match(await countersign('requests', 'approve', id, '--template', '--rows', '5'), /--until-key/);
    assert.match(await countersign('requests', 'approve', id, '--until-key', '5'), /add --template/);
    assert.match(
      await countersign('requests', 'approve', id, '--template', '--until-key', '20', '--rows', 'x'),
      /--rows/,
    );
    const bounds = ['--until-key', '20', '--rows', '20', '--uses', '2', '--expires', '30m', '-m', 'the loop'];
    const answer = await countersign('requests', 'approve', id, '--template', ...bounds);
    assert.match(answer, /may be used by every step of the loop until/);
    assert.equal((await first).rows.length, 10);
    await assertRuns(client.query(text(10, 20)), 10);
    const template = /^(req_\S+):/.exec(answer)?.[1] ?? '';
    assert.match(
      await countersign('requests', 'show', template),
      /public\.plain\.id from 1 to 20, upwards, none twice \(range\)/,
    );
  });
});

describe('who may approve a loop', () => {
  it('nobody who wrote it, by any account; and nothing is left behind by trying', async () => {
    const client = await harness.connect('designer');
    const first = client.query(range(0, 10)).catch((error: unknown) => error as pg.DatabaseError);
    const { id } = await held();
    for (const who of ['designer', 'etl-designer', 'auditor', 'nobody'] as const) {
      const refused = await approveTemplate(id, { untilKey: 100, rows: 100 }, who);
      assert.match(refused.error?.code ?? '', /^(duty_missing|duty_conflict)$/, who);
    }
    assert.deepEqual(await pending(), [id]);
    const wrong = [
      { untilKey: 9, rows: 10 },
      { untilKey: 10, rows: 0 },
      { untilKey: 10, rows: 10, fromKey: 2 },
      { untilKey: 10, rows: 10, uses: 10_001 },
      { untilKey: 10, rows: 10, expiresMs: 25 * 3_600_000 },
    ];
    for (const bounds of wrong) {
      assert.equal((await approveTemplate(id, bounds)).error?.code, 'input_invalid', JSON.stringify(bounds));
    }
    await reject(id);
    assert.equal(((await first) as pg.DatabaseError).code, 'ZC001');
  });

  it('is offered for nothing that is not certain', async () => {
    const client = await harness.connect('designer');
    for (const text of [
      'select id from plain',
      'select id from plain where id > 1',
      'select id from plain where id > 1 and id <= 10 and id < 20',
      'select id from plain where id > 1 or id <= 10',
      'select id from plain where not (id > 1 and id <= 10)',
      'select id from plain where id > 10 and id <= 1',
      'select id from plain where id between symmetric 10 and 1',
      'select id from plain where id > 1::int and id <= 10',
      "select id from plain where id > '1' and id <= '10'",
      'select id from plain where id > 1.0 and id <= 10.0',
      'select id from plain where id + 0 > 1 and id + 0 <= 10',
      "select id from plain where label > 'a' and label <= 'b'",
      'select id from plain where id > 1 order by id desc limit 10',
      'select label from plain where id > 1 order by id limit 10',
      'select id from plain where id > 1 order by id fetch first 10 rows with ties',
      'select id from plain limit 10 offset 5',
      'select id from plain order by id limit 10 offset (select 5)',
      'with w as (select 1) select id from plain where id > 1 and id <= 10',
      'select id from plain where id > 1 and id <= 10 for update',
      'select id from plain where id > 1 and id <= 10 union all select id from plain',
      'select x from plain as p(x, id) where x > 1 and x <= 10',
      'update plain set label = label where id > 1 and id <= 10',
      'copy (select id from plain where id > 1 and id <= 10) to stdout',
      'select id from plain where id > 1 and id <= 10; select 1',
      'declare c cursor with hold for select id from plain where id > 1 and id <= 10',
    ]) {
      const work = client.query(text).then(
        () => 'ran',
        (error: unknown) => (error as pg.DatabaseError).code ?? '',
      );
      const first = await Promise.race([work, held()]);
      if (typeof first === 'string') {
        assert.notEqual(first, 'ran', text);
        continue;
      }
      assert.equal(first.evidence.template, undefined, text);
      assert.equal(
        (await approveTemplate(first.id, { untilKey: 100, rows: 100 })).error?.code,
        'template_not_offered',
        text,
      );
      await reject(first.id);
      await work;
    }
  });
});

describe('what an approved loop does not cover', () => {
  it('other keys: beyond the bounds, again, overlapping, swapped, NULL, wide open', async () => {
    const { client } = await looping({ untilKey: 500, rows: 1_000 });
    for (const text of [
      range(0, 10),
      range(9, 20),
      range(490, 501),
      range(-100, 20),
      range(20, 10),
      range(-1_000_000_000, 1_000_000_000),
      'select id, label from plain where id > 10 and id <= null',
      'select id, label from plain where id > null and id <= 20',
    ]) {
      await assertHeld(client.query(text), text);
    }
    await assertRuns(client.query(range(10, 20)), 10);
    await assertHeld(client.query(range(10, 20)), 'twice');
  });

  it('another tree, however little it differs', async () => {
    const { client } = await looping({ untilKey: 1_000, rows: 1_000 });
    for (const text of [
      'select id, label from plain where id > 10 and id <= 20 or true',
      'select id, label from plain where id > 10 and id <= 20 or id > 0',
      'select id, label from plain where id >= 10 and id <= 20',
      'select id, label from plain where id > 10 and id < 20',
      'select id, label from plain where id > 10 and id <= 20 and true',
      'select id, label, 1 from plain where id > 10 and id <= 20',
      'select id, label as name from plain where id > 10 and id <= 20',
      'select label, id from plain where id > 10 and id <= 20',
      'select * from plain where id > 10 and id <= 20',
      'select id, label from plain p where id > 10 and id <= 20',
      'select id, label from only plain where id > 10 and id <= 20',
      'select id, label from public.plain where id > 10 and id <= 20',
      'select id, label from plain where id > 10::int and id <= 20',
      "select id, label from plain where id > '10' and id <= 20",
      'select id, label from plain where id > 1e1 and id <= 20',
      'select id, label from plain where id > 10 and id <= 20 limit 5',
      'select id, label from plain where id <= 20 and id > 10',
      'select id, label from plain where 10 < id and id <= 20',
      'select id, label from plain where id between 11 and 20',
      'select id, label from plain where id > 10 and id <= (select 20)',
      'select id, label from plain where id operator(pg_catalog.>) 10 and id <= 20',
      'select id, label from plain where id > 10 and id <= 20; select id, label from plain',
      'select id, label from events, plain where id > 10 and id <= 20',
      'select distinct id, label from plain where id > 10 and id <= 20',
    ]) {
      const answer = await withoutApproval(client.query(text));
      assert.ok('code' in answer && answer.code !== '', text);
    }
    // White space and comments are no part of the tree; the text goes on as it is.
    await assertRuns(client.query('/* page 2 */ SELECT id,\n label FROM plain WHERE id>10 AND id<=20 -- end'), 10);
    assert.match(await harness.targetLog(), /page 2.*\n?.*WHERE id>10 AND id<=20 -- end/);
  });

  it('other parameters, other types of them, and values that are no plain integers', async () => {
    const text = 'select id from events where what <> $3 and id > $1 and id <= $2';
    const { client } = await looping({ untilKey: 500, rows: 500 }, { text, values: [0, 10, 'x'] });
    for (const values of [
      [10, 20, 'y'],
      [10, 20, null],
      [null, 20, 'x'],
      [10, null, 'x'],
      ['10 ', 20, 'x'],
      ['+10', 20, 'x'],
      ['0x0A', 20, 'x'],
      ['1_0', 20, 'x'],
      ['010', 20, 'x'],
      [-10, 20, 'x'],
      [20, 10, 'x'],
      [10, '9999999999999999999', 'x'],
    ]) {
      await assertHeld(client.query({ text, values }), JSON.stringify(values));
    }
    await assertHeld(client.query(text.replace('$2', '$2::int'), [10, 20, 'x']), 'a cast');
    await assertHeld(
      client.query('select id from events where what <> $1 and id > $2 and id <= $3', ['x', 10, 20]),
      'renamed',
    );
    await assertRuns(client.query({ text, values: [10, 20, 'x'] }), 10);
  });

  it('a table of the session that takes the name, other sessions, other people', async () => {
    const { client } = await looping({ untilKey: 1_000, rows: 1_000 });
    const others = await Promise.all([
      harness.connect('designer'),
      harness.connect('etl-designer'),
      harness.connect('executor2'),
    ]);
    for (const other of others) await assertHeld(other.query(range(10, 20)), 'another session');
    for (const other of others) await other.end();
    assert.ok('code' in (await withoutApproval(client.query('create temporary table plain (id int, label text)'))));
    assert.ok('code' in (await withoutApproval(client.query('set search_path to pg_temp, public'))));
    await assertRuns(client.query(range(10, 20)), 10);
  });

  it('later sessions, unless the approver said so; then two at once never share a key', async () => {
    const { client } = await looping({ untilKey: 1_000, rows: 1_000, anySession: true });
    const other = await harness.connect('designer');
    const both = await Promise.all(
      [client, other].flatMap((session) =>
        Array.from({ length: 3 }, () => withoutApproval(session.query(range(10, 20)))),
      ),
    );
    assert.equal(both.filter((one) => 'rows' in one).length, 1, JSON.stringify(both));
    await client.end();
    await assertRuns(other.query(range(20, 30)), 10);
    const stranger = await harness.connect('etl-designer');
    await assertHeld(stranger.query(range(30, 40)), 'another principal of the same human');
    await stranger.end();
  });

  it('twice on two nodes: the second one knows what the first one has used', async () => {
    const { client, grant } = await looping({ untilKey: 1_000, rows: 1_000, anySession: true }, far(0, 10));
    const { configuration } = harness;
    const dataDirectory = path.join(harness.home, 'second');
    await mkdir(path.join(dataDirectory, 'keys'), { recursive: true });
    const key = path.join('keys', 'masking-hash.key');
    await copyFile(path.join(harness.dataDirectory, key), path.join(dataDirectory, key));
    second = await startApp({
      configuration: { ...configuration, node: 'second', dataDirectory },
      version: '0.0.0-test',
      logger: pino({ level: 'silent' }),
    });
    const other = await harness.connect('designer', { port: second.postgresPort });
    const both = await Promise.all(
      [client, other].flatMap((session) =>
        Array.from({ length: 3 }, () => withoutApproval(session.query(far(10, 20)))),
      ),
    );
    assert.equal(both.filter((one) => 'rows' in one).length, 1, JSON.stringify(both));
    await assertRuns(other.query(far(20, 30)), 10);
    await assertHeld(client.query(far(20, 30)), 'read on the other node');
    await assertRuns(client.query(far(30, 40)), 10);
    const uses = await store.query<{ use_no: number; rows: number }>(
      'select use_no, rows::int from template_uses where grant_id = $1 order by 1',
      [grant],
    );
    assert.deepEqual(
      uses.rows.map(({ use_no, rows }) => [use_no, rows]),
      [1, 2, 3, 4].map((n) => [n, 10]),
    );
  });

  it('more statements, more rows, more time than were approved', async () => {
    const few = await looping({ untilKey: 1_000, rows: 1_000, uses: 2 });
    await assertRuns(few.client.query(range(10, 20)), 10);
    await assertHeld(few.client.query(range(20, 30)), 'a third use of two');

    // Its own statement: other tests have templates for the other one.
    const own = (low: number, high: number) => `select label from plain where id > ${low} and id <= ${high}`;
    const small = await looping({ untilKey: 1_000, rows: 25, anySession: true }, own(0, 10));
    await assertRuns(small.client.query(own(10, 20)), 10);
    const cut = await withoutApproval(small.client.query(own(20, 30)));
    assert.ok('code' in cut && cut.code === '53400', JSON.stringify(cut));
    const again = await harness.connect('designer');
    await assertHeld(again.query(own(30, 31)), 'the cap is used up');

    const short = await looping({ untilKey: 1_000, rows: 1_000 });
    await store.query('update grants set expires_at = now() where id = $1', [short.grant]);
    await assertHeld(short.client.query(range(10, 20)), 'its time is up');
  });

  it('keys that come in rows and were not approved: the stream is cut before them', async () => {
    const page = (after: number) => `select what, id from events where id > ${after} order by id limit 60`;
    for (const binary of [false, true]) {
      const query = (after: number) => (binary ? { text: page(after), values: [], binary } : { text: page(after) });
      const { client } = await looping({ untilKey: 100, rows: 500 }, query(0));
      const cut = await withoutApproval(client.query(query(60)));
      assert.ok('code' in cut && cut.code === '53400', JSON.stringify(cut));
    }
  });

  it('keys below what was read already, whatever the text says', async () => {
    const page = (after: number) => `select id from events where id > ${after} order by id limit 60`;
    const { client } = await looping({ untilKey: 500, rows: 500 }, page(0));
    for (const after of [0, 30, 59]) await assertHeld(client.query(page(after)), String(after));
    await assertRuns(client.query(page(60)), 60);
  });

  it('what has drifted: the grant is void, names it, and the statement is held', async () => {
    const { client, template } = await looping({ untilKey: 1_000, rows: 1_000 });
    await harness.target('alter table plain add column more integer');
    const answer = client.query(range(10, 20)).catch((error: unknown) => error as pg.DatabaseError);
    const again = await held();
    assert.match(again.evidence.reason, /definition of public\.plain/);
    await reject(again.id);
    await answer;
    assert.equal((await show(template)).grant?.state, 'void');
    const voided = (await harness.entries()).filter(
      (one) => one['type'] === 'grant.void' && one['request'] === template,
    );
    assert.equal(voided.length, 1);
    assert.match(String(voided[0]?.['drift']), /definition of public\.plain/);
  });
});
