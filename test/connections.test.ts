/** Connections added to a running gateway: by two people, with secrets that neither sees, on every node. Promises P2, P3. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { pino } from 'pino';
import { startApp, type App } from '../src/app.ts';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness, type Who } from './harness.ts';

let harness: Harness;
let second: App | undefined;

before(async () => {
  harness = await startHarness({
    schema: customersSchema,
    configure: (raw) => {
      raw['gateway'] = { ...(raw['gateway'] as object), workers: 2 };
      // What is masked on crm is so by its label.
      raw['masking'] = (raw['masking'] as object[]).map((one) => ({ ...one, appliesTo: { data: 'personal' } }));
      raw['bindings'] = [...(raw['bindings'] as object[]), { group: 'readers', duties: ['executor'] }];
    },
  });
});

after(async () => {
  await second?.close();
  await harness?.close();
});

interface Answer {
  readonly outcome?: string;
  readonly changes?: readonly { readonly effect: string; readonly what: string; readonly why?: string }[];
  readonly warnings?: readonly string[];
  readonly request?: string;
  readonly error?: { readonly code: string; readonly message: string };
}

interface Shown {
  readonly origin?: string;
  readonly problem?: { readonly code: string; readonly hint?: string } | null;
  readonly masks?: readonly { readonly column: string }[];
  readonly error?: { readonly code: string };
}

const billing = (more: object = {}) => ({
  name: 'billing',
  engine: 'postgres',
  host: harness.postgres.host,
  port: harness.postgres.port,
  database: 'crm',
  labels: { data: 'personal', team: 'billing' },
  tls: { mode: 'disable' },
  users: { gateway: 'cs_gateway', designer: 'cs_designer', executor: 'cs_executor' },
  ...more,
});

async function apply(who: Who, connections: readonly object[], more: object = {}): Promise<Answer> {
  const text = JSON.stringify({ connections });
  const files = [{ name: 'connections.json', text }];
  return (await harness.api<Answer>(who, 'POST', '/policies', { files, message: 'a test', ...more })).body;
}

async function approve(who: Who, request: string | undefined) {
  const route = `/requests/${request}/approve`;
  return (await harness.api<{ grant?: { state: string }; error?: { code: string } }>(who, 'POST', route, {})).body;
}

/** By two people, until it is in force everywhere. */
async function put(connections: readonly object[]): Promise<void> {
  const { request, outcome, error } = await apply('executor', connections);
  assert.equal(outcome, 'requested', JSON.stringify(error));
  assert.equal((await approve('executor2', request)).grant?.state, 'consumed');
}

const shown = async (who: Who, name = 'billing') => (await harness.api<Shown>(who, 'GET', `/connections/${name}`)).body;

async function connect(who: Who, app: App = harness.app, database = 'billing') {
  const credential = await harness.api<{ user: string; password: string }>(who, 'POST', '/credentials', {});
  const { user, password } = credential.body;
  const client = new pg.Client({
    host: '127.0.0.1',
    port: app.postgresPort,
    user,
    password,
    database,
    ssl: { ca: harness.caPem },
  });
  const ended = new Promise<pg.DatabaseError>((resolve, reject) => {
    client.on('error', (error) => resolve(error as pg.DatabaseError));
    client.on('connect', () => setTimeout(() => reject(new Error('the session goes on')), 30_000).unref());
  });
  ended.catch(() => undefined);
  await client.connect();
  return { client, ended };
}

const refusal = (code: string) => (error: unknown) => error instanceof pg.DatabaseError && error.code === code;

async function cli(who: Who, ...args: string[]): Promise<string> {
  const binary = fileURLToPath(new URL('../src/bin.ts', import.meta.url));
  const env = { ...process.env, COUNTERSIGN_TOKEN: await harness.token(who), NO_COLOR: '1' };
  return new Promise((resolve) => {
    execFile(process.execPath, [binary, '--server', harness.app.apiUrl, ...args], { env }, (_error, out, err) =>
      resolve(out + err),
    );
  });
}

it('a new connection is what it says, needs somebody else, and says what its labels bring', async () => {
  const seen = await apply('executor', [billing()], { dryRun: true });
  assert.match(seen.changes?.[0]?.what ?? '', /^new connection billing: database "crm" at postgres 127/);
  assert.match(
    seen.changes?.[0]?.why ?? '',
    /"data":"personal"[^]*; masked by personal; open to chunk-designers \(designer\)/,
  );
  assert.deepEqual(seen.warnings, []);
  // A second name for a database, where less is masked.
  const bare = await apply('executor', [billing({ labels: {} })], { dryRun: true });
  assert.match(bare.changes?.[0]?.why ?? '', /nothing is masked there/);
  assert.match(bare.warnings?.join() ?? '', /billing is the database of crm, and is not masked by personal/);
  assert.equal((await apply('designer', [billing()])).error?.code, 'duty_missing');
  assert.equal((await apply('auditor', [billing()])).error?.code, 'duty_missing');

  const asked = await apply('executor', [billing()]);
  assert.equal(asked.outcome, 'requested');
  assert.equal((await approve('executor', asked.request)).error?.code, 'duty_conflict');
  assert.equal((await shown('designer')).error?.code, 'connection_unknown');
  assert.equal((await approve('executor2', asked.request)).grant?.state, 'consumed');
});

it('whoever runs the gateway gives it its passwords, and nobody else sees them', async () => {
  const { problem, origin } = await shown('designer');
  assert.deepEqual([problem?.code, origin], ['connection_secret_missing', 'rules']);
  assert.match(problem?.hint ?? '', /billing\/gateway in the folder connectionSecrets/);
  await assert.rejects(connect('designer'), refusal('08001'));
  const folder = path.join(harness.dataDirectory, 'connections', 'billing');
  await mkdir(folder, { recursive: true });
  for (const duty of ['gateway', 'designer', 'executor']) await writeFile(path.join(folder, duty), 'test-role\n');

  const now = await shown('designer');
  assert.equal(now.problem, null);
  assert.ok(now.masks?.some(({ column }) => column === 'public.customers.ssn'));
  const tested = await harness.api<{ serverVersion: string }>('executor', 'POST', '/connections/billing/test', {});
  assert.match(tested.body.serverVersion, /^\d+/);
  assert.equal((await harness.api('designer', 'POST', '/connections/billing/test', {})).status, 403);
  const { client } = await connect('designer');
  const { rows } = await client.query<{ ssn: string }>('select ssn from customers limit 1');
  assert.equal(rows[0]?.ssn, '[masked]');
  await client.end();
  for (const text of [harness.serverLog(), JSON.stringify(await harness.entries())])
    assert.doesNotMatch(text, /test-role/);
  const policies = await harness.api('auditor', 'GET', '/policies');
  assert.doesNotMatch(JSON.stringify(policies.body), /test-role/);
});

it('another node has it too, and after a start', async () => {
  const { configuration, home, dataDirectory } = harness;
  second = await startApp({
    configuration: {
      ...configuration,
      node: 'second',
      dataDirectory: path.join(home, 'second'),
      connectionSecrets: path.join(dataDirectory, 'connections'),
      gateway: { ...configuration.gateway, workers: 1 },
    },
    version: '0.0.0-test',
    logger: pino({ level: 'silent' }),
  });
  const { client } = await connect('designer', second);
  assert.equal((await client.query<{ ssn: string }>('select ssn from customers limit 1')).rows[0]?.ssn, '[masked]');
  await client.end();
});

it('other labels end its sessions, and the next ones have what the new labels bring', async () => {
  const { client, ended } = await connect('reader');
  const other = await connect('reader', second);
  const others = await connect('reader', harness.app, 'crm');
  await client.query('select 1');
  await put([billing({ labels: { team: 'billing' } })]);
  for (const error of await Promise.all([ended, other.ended])) {
    assert.equal(error.code, '57P01');
    assert.match(error.message, /billing is not the same any more/);
  }
  await others.client.query('select 1');
  const again = await connect('reader');
  const { rows } = await again.client.query<{ ssn: string }>('select ssn from customers limit 1');
  assert.match(rows[0]?.ssn ?? '', /^\d{3}-/);
  await Promise.all([again, others].map((one) => one.client.end()));
  await put([billing()]);
});

it('a credential for it is for whoever holds a duty there, and for no other name', async () => {
  const issue = (who: Who, connection: string) => harness.api<Answer>(who, 'POST', '/credentials', { connection });
  assert.equal((await issue('designer', 'billing')).status, 200);
  for (const [who, connection] of [
    ['nobody', 'billing'],
    ['designer', 'elsewhere'],
    ['designer', '__proto__'],
  ] as const) {
    assert.equal((await issue(who, connection)).body.error?.code, 'connection_unknown', `${who} ${connection}`);
  }
});

it('to remove it needs nobody else, ends its sessions, and what waits there comes to nothing', async () => {
  const { client, ended } = await connect('designer');
  await client.query('select 1');
  const waiting = await connect('designer');
  const held = assert.rejects(waiting.client.query('update customers set region = region'), refusal('57P01'));
  let request: { id: string; connection: string } | undefined;
  for (let tries = 0; tries < 100 && request === undefined; tries++) {
    const { body } = await harness.api<{ requests: { id: string; connection: string }[] }>(
      'executor2',
      'GET',
      '/requests?state=pending',
    );
    request = body.requests.find(({ connection }) => connection === 'billing');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.ok(request);
  const removed = await apply('executor', []);
  assert.equal(removed.outcome, 'applied', JSON.stringify(removed));
  assert.match(removed.changes?.[0]?.what ?? '', /billing is removed/);
  assert.equal((await ended).code, '57P01');
  await held;
  const late = await approve('executor2', request.id);
  assert.match(late.error?.code ?? '', /^(request_not_pending|connection_unknown|duty_missing)$/, JSON.stringify(late));
  assert.equal((await shown('designer')).error?.code, 'connection_unknown');
  await assert.rejects(connect('designer'), refusal('3D000'));
});

it('connections of the file are taken anew with it, and no name stands in both', async () => {
  const { configuration, app } = harness;
  const [crm] = configuration.connections;
  assert.ok(crm);
  await put([billing()]);
  const having = (name: string) => ({ ...configuration, connections: [crm, { ...crm, name }] });
  assert.throws(() => app.reload(having('billing')), { code: 'configuration_invalid', message: /billing stands in/ });
  const [kept, added] = [await connect('designer', app, 'crm'), await connect('designer')];
  app.reload(having('hr'));
  assert.equal((await shown('designer', 'hr')).origin, 'file');
  const { client } = await connect('designer', app, 'hr');
  for (const one of [client, kept.client, added.client]) {
    assert.equal((await one.query<{ ssn: string }>('select ssn from customers limit 1')).rows[0]?.ssn, '[masked]');
  }
  const gone = await connect('designer', app, 'hr');
  app.reload(configuration);
  assert.equal((await gone.ended).code, '57P01');
  await kept.client.query('select 1');
  await Promise.all([kept, added].map((one) => one.client.end()));
  assert.equal((await apply('executor', [])).outcome, 'applied');
});

it('what cannot be one is refused with its place', async () => {
  const cases: [object, RegExp][] = [
    [billing({ name: 'crm' }), /there is a connection crm already/],
    [billing({ name: '../crm' }), /connections\.0\.name/],
    [billing({ host: '/var/run/postgresql' }), /connections\.0\.host/],
    [billing({ host: 'db.example.com' }), /connections\.0\.tls\.mode: without TLS/],
    [billing({ credentials: {} }), /credentials/],
    [billing({ users: { gateway: 'g', designer: 'd', executor: 'e', password: { env: 'HOME' } } }), /password/],
    [billing({ tls: { mode: 'verify-full', caFile: '/etc/passwd' } }), /caFile/],
  ];
  for (const [one, message] of cases) {
    const { error } = await apply('executor', [one]);
    assert.equal(error?.code, 'policy_invalid');
    assert.match(error?.message ?? '', message);
  }
});

it('the command line adds and removes', async () => {
  const { host, port } = harness.postgres;
  const add = ['connections', 'add', 'billing', '--host', host, '--port', String(port), '--database', 'crm'];
  const dry = await cli('executor', ...add, '--label', 'data=personal', '--without-tls', '--dry-run');
  assert.match(dry, /\+ wider +connections: new connection billing[^]*somebody else has to approve it/);
  const asked = await cli('executor', ...add, '--label', 'data=personal', '--without-tls', '-m', 'bills');
  const [id] = /req_\w+/.exec(asked) ?? [];
  assert.match(await cli('executor2', 'requests', 'show', id ?? ''), /new connection billing/);
  assert.equal((await approve('executor2', id)).grant?.state, 'consumed');
  assert.match(await cli('executor', 'connections', 'show', 'billing'), /stands in +the rules/);
  assert.match(await cli('executor', 'connections', 'remove', 'crm'), /no connection "crm" was added/);
  assert.match(await cli('executor', 'connections', 'remove', 'billing', '-m', 'over'), /version \d+ is in force/);
});
