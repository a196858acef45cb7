/**
 * The sampling budget of designers and the way from a paging loop to a job, on a running gateway: rows that were really
 * delivered never go beyond the budget, whatever the statement, protocol, session or node.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { parseJobDefinition } from '../src/jobs/definition.ts';
import { frame, RawSession, rowsOf } from './bypass/wire.ts';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness, type Who } from './harness.ts';

const budget = 100;
const binary = fileURLToPath(new URL('../src/bin.ts', import.meta.url));

let harness: Harness;
let control: pg.Client;
let rejecting: Promise<void>;
const tests = { over: false };
/** Reasons of the requests that were made. */
const reasons: string[] = [];
let rawConfiguration: Record<string, unknown>;

before(async () => {
  harness = await startHarness({
    schema: customersSchema,
    configure: (raw) => {
      rawConfiguration = raw;
    },
  });
  control = new pg.Client({ connectionString: harness.postgres.url('control') });
  await control.connect();
  // Nobody approves anything here: what is held ends.
  rejecting = (async () => {
    while (!tests.over) {
      const { body } = await harness.api<{ requests: { id: string }[] }>('executor', 'GET', '/requests?state=pending');
      for (const { id } of body.requests ?? [])
        await harness.api('executor', 'POST', `/requests/${id}/reject`, { comment: 'no' });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
});

after(async () => {
  tests.over = true;
  await rejecting;
  await control?.end();
  await harness?.close();
});

beforeEach(async () => {
  await control.query('delete from sample_reads');
  reasons.length = 0;
});

async function connect(who: Who = 'designer', options: pg.ClientConfig = {}): Promise<pg.Client> {
  const client = await harness.connect(who, options);
  client.on('notice', (notice) => reasons.push(notice.message ?? ''));
  return client;
}

/** Rows that came back; 0 for what was held and rejected, or denied. */
async function rows(client: pg.Client, query: string | pg.QueryConfig): Promise<number> {
  try {
    return (await client.query(query as string)).rows.length;
  } catch (error) {
    assert.ok(error instanceof pg.DatabaseError, String(error));
    assert.ok(['ZC001', 'ZC008', '42501', '0A000'].includes(error.code ?? ''), `${error.code}: ${error.message}`);
    return 0;
  }
}

async function sessionOf(client: pg.Client): Promise<string> {
  // The newest of this human: the tests of this file run one after the other.
  assert.ok(client);
  const { rows: found } = await control.query<{ id: string }>(
    'select id from sessions order by started_at desc limit 1',
  );
  return found[0]?.id ?? '';
}

describe('rows beyond the budget are not delivered', () => {
  const statements = [
    'select p.* from (select id from plain limit 1) few, plain p',
    'select p.* from (select id from plain limit 10) few join plain p on true',
    'select p.id from plain p, lateral (select id from plain limit 3) l',
    'select generate_series(1, 500), id from plain where id = 1',
    "select unnest(string_to_array(repeat('x,', 500), ',')), label from plain where id = 1",
    'select g, p.label from plain p, generate_series(1, 50) g where p.id = 7',
    Array.from({ length: 30 }, () => '(select id from plain limit 5)').join(' union all '),
    'with few as (select id from plain limit 1) select p.* from few, plain p',
    'select * from plain where id in (select id from plain limit 5)',
    'values ((select label from plain where id = 1)), (generate_series(1, 500)::text)',
    'select * from plain limit 101',
    'select * from plain order by id fetch first 1 rows with ties',
    'table plain',
    'select * from plain limit (select 1000)',
  ];
  for (const text of statements) {
    it(text.slice(0, 100), async () => {
      const client = await connect();
      assert.equal(await rows(client, text), 0);
    });
  }

  it('several statements in one text count together', async () => {
    const client = await connect();
    const text = Array.from({ length: 6 }, () => 'select * from plain limit 20').join('; ');
    assert.equal(await rows(client, text), 0);
  });

  it('many small reads of several sessions at once', async () => {
    const clients = await Promise.all(
      (['designer', 'designer', 'etl-designer', 'designer'] as const).map((who) => connect(who)),
    );
    const counts = await Promise.all(
      clients.flatMap((client, index) =>
        Array.from({ length: 6 }, (_, round) => rows(client, `select id, ${index}, ${round} from plain limit 7`)),
      ),
    );
    const sum = counts.reduce((total, count) => total + count, 0);
    assert.ok(sum > budget - 7 && sum <= budget, `${sum} rows`);
  });

  it('one read of each of many sessions, all at the same moment', async () => {
    const clients = await Promise.all(Array.from({ length: 12 }, () => connect()));
    const counts = await Promise.all(clients.map((client) => rows(client, 'select id, label from plain limit 20')));
    assert.equal(
      counts.reduce((total, count) => total + count, 0),
      budget,
    );
  });

  it('one row that holds several rows counts as several', async () => {
    const client = await connect();
    const columns = Array.from({ length: 60 }, (_, n) => `max(label) filter (where id = ${n + 1})`);
    await rows(client, `select ${columns.join(', ')} from plain`);
    await rows(
      client,
      `select ${columns.map((one) => one.replace('filter', 'filter /* again */')).join(', ')} from plain`,
    );
    const joins = Array.from({ length: 30 }, (_, n) => `plain p${n}`);
    await rows(client, `select * from ${joins.join(', ')} where p0.id = 1 limit 5`);
    const { rows: taken } = await control.query<{ sum: string }>('select sum(rows) from sample_reads');
    assert.equal(Number(taken[0]?.sum ?? 0), 60);
  });
});

describe('the extended protocol', () => {
  it('a prepared statement that is bound again takes from the budget each time', async () => {
    const client = await connect();
    let sum = 0;
    for (let round = 0; round < 6; round++) {
      sum += await rows(client, {
        name: 'again',
        text: 'select id, label from plain where id <> $1 limit 30',
        values: [1],
      });
    }
    assert.equal(sum, 90);
  });

  it('several executions in one batch, and after Sync without Parse', async () => {
    const session = new RawSession(await connect());
    const text = 'select id, label from plain limit 30';
    const one = (portal: string) => [frame.bind(portal, 's'), frame.execute(portal)];
    session.send(frame.parse('s', text), ...one('a'), ...one('b'), ...one('c'), frame.sync());
    const first = rowsOf(await session.until('Z', 1, 5_000));
    session.send(...one(''), frame.sync());
    const second = rowsOf(await session.until('Z', 1, 5_000));
    session.send(...one(''), frame.sync());
    const third = rowsOf(await session.until('Z', 1, 5_000));
    assert.equal(first + second + third, 90);
  });

  it('a portal that is suspended and resumed gives no more than it was charged', async () => {
    const session = new RawSession(await connect());
    const more = Array.from({ length: 9 }, () => frame.execute('p', 10));
    session.send(frame.query('begin'));
    await session.until('Z');
    session.send(frame.parse('s', 'select id from plain limit 40'), frame.bind('p', 's'), ...more, frame.sync());
    assert.equal(rowsOf(await session.until('Z', 1, 5_000)), 40);
    session.send(...more, frame.sync());
    assert.equal(rowsOf(await session.until('Z', 1, 5_000)), 0);
    const { rows: taken } = await control.query<{ sum: string }>('select sum(rows) from sample_reads');
    assert.equal(Number(taken[0]?.sum), 40);
  });
});

describe('what a designer sees', () => {
  it('a spent budget says how much and what to do', async () => {
    const client = await connect();
    assert.equal(await rows(client, 'select * from plain limit 50'), 50);
    assert.equal(await rows(client, 'select * from customers limit 60'), 0);
    assert.match(reasons.join(), /50 of 100 sample rows of the last hour are used/);
    assert.match(reasons.join(), /countersign jobs push/);
  });

  const loops: readonly (readonly [string, string, string, RegExp])[] = [
    [
      'OFFSET',
      'select id, label from plain order by id limit 5',
      'select id, label from plain order by id limit 5 offset 5',
      /OFFSET loop/,
    ],
    [
      'keyset',
      'select id, label from plain where id > 0 limit 5',
      'select id, label from plain where id > 5 limit 5',
      /keyset loop/,
    ],
    [
      'slices',
      'select * from plain where id % 9 = 1 limit 5',
      'select * from plain where id % 9 = 2 limit 5',
      /loop over slices/,
    ],
    [
      'ctid',
      "select id from plain where ctid > '(0,0)' limit 5",
      "select id from plain where ctid > '(0,5)' limit 5",
      /row addresses/,
    ],
  ];
  for (const [name, first, second, words] of loops) {
    it(`the second step of a loop is held within the budget, and names the command: ${name}`, async () => {
      const client = await connect();
      await rows(client, first);
      assert.equal(await rows(client, 'select 1 as one'), 1);
      assert.equal(await rows(client, second), 0);
      const id = await sessionOf(client);
      assert.match(reasons.at(-1) ?? '', words);
      assert.ok(reasons.at(-1)?.includes(`countersign jobs draft --from-session ${id}`), reasons.at(-1));
      assert.equal(await rows(client, second), 0, 'the same step again');
    });
  }

  it('a cursor over more than a sample is held, and told what to do', async () => {
    const client = await connect();
    assert.equal(await rows(client, 'declare c cursor for select id from plain'), 0);
    assert.match(reasons.join(), /cursor that is fetched piece by piece; .*countersign jobs draft --from-session ses/);
  });

  it('look-ups are no loop', async () => {
    const client = await connect();
    for (let id = 1; id < 6; id++) assert.equal(await rows(client, `select * from plain where id = ${id} limit 1`), 1);
    for (let id = 1; id < 4; id++)
      assert.equal(await rows(client, { text: 'select * from plain where id = $1 limit 1', values: [id] }), 1);
    const between = { text: 'select * from plain where id between $1 and $2 limit 5', values: [1, 5] };
    assert.equal(await rows(client, between), 5);
    assert.equal(await rows(client, between), 5);
  });
});

interface Draft {
  readonly job: string;
  readonly path: string;
  readonly content: string;
  readonly error?: { readonly code: string };
}

describe('drafts', () => {
  const draft = (who: Who, session: string) => harness.api<Draft>(who, 'POST', '/jobs/drafts', { session });

  it('come from the log of an open session, and can be pushed as they are', async () => {
    const client = await connect();
    await rows(client, "select id, name, region from customers where region = 'EU' order by id limit 5");
    await rows(client, "select id, name, region from customers where region = 'EU' and id > 10 order by id limit 5");
    const session = await sessionOf(client);
    const { status, body } = await draft('designer', session);
    assert.equal(status, 200, JSON.stringify(body));
    const definition = parseJobDefinition(body.content, body.path);
    assert.equal(definition.source, "select id, name, region from customers where region = 'EU'");
    assert.deepEqual(definition.chunk.by, { kind: 'columns', columns: ['id'] });
    const pushed = await harness.api<{ plan: { strategy: string }; request: string }>('designer', 'POST', '/jobs', {
      content: body.content,
    });
    assert.equal(pushed.status, 201, JSON.stringify(pushed.body));
    assert.equal(pushed.body.plan.strategy, 'keyset');
    await client.end();
    assert.equal((await draft('designer', session)).body.content, body.content);

    assert.equal((await draft('etl-designer', session)).status, 200);
    assert.equal((await draft('auditor', session)).status, 200);
    for (const who of ['executor', 'reader', 'nobody'] as const)
      assert.equal((await draft(who, session)).status, 404, who);
    const looks = (await harness.entries()).filter((entry) => entry['type'] === 'recording.read');
    assert.deepEqual(
      looks.map((entry) => [entry['session'], entry['auditor']]),
      [[session, 'auditor']],
    );
  });

  it('of a session without a loop is an error that says what was looked for', async () => {
    const client = await connect();
    await rows(client, 'select * from plain where id = 1 limit 1');
    const { status, body } = await draft('designer', await sessionOf(client));
    assert.equal(status, 404);
    assert.equal(body.error?.code, 'loop_not_found');
    assert.match(JSON.stringify(body), /OFFSET that grew/);
    assert.equal((await draft('designer', 'ses_none')).body.error?.code, 'recording_unknown');
  });

  it('of a refused cursor', async () => {
    const client = await connect();
    await rows(client, 'declare c cursor for select id, label from plain order by id');
    const { body } = await draft('designer', await sessionOf(client));
    assert.equal(parseJobDefinition(body.content, body.path).source, 'select id, label from plain');
  });

  it('go to a file that is never overwritten unasked', async () => {
    const client = await connect();
    await rows(client, 'select id, label from plain limit 5');
    await rows(client, 'select id, label from plain limit 5 offset 5');
    const folder = await mkdtemp(path.join(harness.home, 'draft-'));
    const file = path.join(folder, 'plain.yaml');
    const session = await sessionOf(client);
    const printed = await command('jobs', 'draft', '--from-session', session);
    assert.equal(printed.code, 0, printed.errors);
    assert.match(printed.output, /^# Draft made from session/);
    const json = await command('--json', 'jobs', 'draft', '--from-session', session);
    assert.equal((JSON.parse(json.output) as Draft).content, printed.output);
    assert.equal((await command('jobs', 'draft', '--from-session', session, '--out', file)).code, 0);
    assert.equal(await readFile(file, 'utf8'), printed.output);
    await writeFile(file, 'mine');
    const refused = await command('jobs', 'draft', '--from-session', session, '--out', file);
    assert.equal(refused.code, 2);
    assert.match(refused.errors, /is there already/);
    assert.equal(await readFile(file, 'utf8'), 'mine');
    assert.equal((await command('jobs', 'draft', '--from-session', session, '--out', file, '--force')).code, 0);
    assert.equal(await readFile(file, 'utf8'), printed.output);
    await rm(folder, { recursive: true });
  });
});

async function command(...words: string[]): Promise<{ code: number | null; output: string; errors: string }> {
  const environment = {
    ...process.env,
    COUNTERSIGN_SERVER: harness.app.apiUrl,
    COUNTERSIGN_TOKEN: await harness.token('designer'),
  };
  const child = spawn(process.execPath, [binary, ...words], { env: environment, timeout: 30_000 });
  let [output, errors] = ['', ''];
  child.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => (errors += bytes.toString()));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, output, errors };
}

describe('two gateway processes on one store', () => {
  let other: ChildProcess;
  let port = 0;

  before(async () => {
    const file = path.join(harness.home, 'other.yaml');
    const configuration = { ...rawConfiguration, node: 'other', dataDirectory: path.join(harness.home, 'other') };
    await writeFile(file, JSON.stringify(configuration));
    other = spawn(process.execPath, [binary, 'serve', '--config', file], { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    port = await new Promise<number>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the other gateway did not start: ${output}`)), 30_000);
      other.stdout?.on('data', (bytes: Buffer) => {
        output += bytes.toString();
        const found = /"postgres":(\d+)/.exec(output)?.[1];
        if (found === undefined) return;
        clearTimeout(timer);
        resolve(Number(found));
      });
    });
  });

  after(async () => {
    const ended = new Promise((resolve) => other.on('close', resolve));
    other.kill('SIGTERM');
    await ended;
  });

  it('share the budget of a human', async () => {
    const clients = await Promise.all([connect(), connect('designer', { port }), connect('etl-designer', { port })]);
    const counts = await Promise.all(
      clients.flatMap((client, index) =>
        Array.from({ length: 8 }, (_, round) => rows(client, `select id, ${index}, ${round} from plain limit 6`)),
      ),
    );
    const sum = counts.reduce((total, count) => total + count, 0);
    assert.ok(sum > budget - 6 && sum <= budget, `${sum} rows`);
  });

  it('and the draft of a session is where its log is', async () => {
    const client = await connect('designer', { port });
    const { body } = await harness.api<Draft>('designer', 'POST', '/jobs/drafts', { session: await sessionOf(client) });
    assert.equal(body.error?.code, 'recording_unknown');
    assert.match(JSON.stringify(body), /node other/);
  });
});
