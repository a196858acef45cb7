/**
 * Every field of a grant's digest, changed in the world after the approval: the grant is void, and the error and the log
 * name that field. The table has a line for each field of the type, by its type; a field without a test fails. Promise P4.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, symlink } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { pino } from 'pino';
import { startApp, type App } from '../src/app.ts';
import { fieldLabel, grantFields, type GrantField } from '../src/approvals/digest.ts';
import { iterateEntries, readerFor } from '../src/audit/verify.ts';
import type { Configuration } from '../src/config/schema.ts';
import { startEmbeddedPostgres } from '../demo/embedded-postgres.ts';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness } from './harness.ts';

type Connection = Configuration['connections'][number];

/** What is changed, and where the grant is then used. */
type Change =
  /** In a job whose request is approved. What it returns is the configuration of the node that starts the run. */
  | { readonly of: 'job'; readonly change: (request: string, job: string) => Promise<Partial<Connection> | void> }
  /** In a statement that waits. */
  | { readonly of: 'statement'; readonly change: () => Promise<void>; readonly undo: () => Promise<void> }
  /** Nothing in the world changes it alone; `src/approvals/digest.test.ts` does. */
  | { readonly of: 'nothing'; readonly because: string };

let harness: Harness;
let store: pg.Client;
const closing: (() => Promise<unknown>)[] = [];

before(async () => {
  harness = await startHarness({
    schema: `${customersSchema}
      create function noted() returns trigger language plpgsql as 'begin return new; end';
      create trigger noting before insert on plain for each row execute function noted();`,
  });
  store = new pg.Client({ connectionString: harness.postgres.url('control') });
  await store.connect();
});

after(async () => {
  for (const close of closing.toReversed()) await close();
  await store?.end();
  await harness?.close();
});

interface Failure {
  readonly error: { readonly code: string; readonly message: string; readonly detail?: string };
}

const definition = (job: string, label = 'EU') => `
job: ${job}
connection: crm
source: select id, name from customers where region = :region
parameters: { region: { type: text, allowed: [EU, US], default: ${label} } }
chunk: { by: id, rows: 100 }
output: { format: ndjson, to: "file://${job}" }
limits: { rows: 1000, bytes: 1MB }
`;

async function push(job: string, content = definition(job), file?: string): Promise<string> {
  const body = { content, ...(file === undefined ? {} : { path: file }) };
  const answer = await harness.api<{ request: string }>('designer', 'POST', '/jobs', body);
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return answer.body.request;
}

async function approve(request: string): Promise<void> {
  const answer = await harness.api('executor', 'POST', `/requests/${request}/approve`, { comment: 'fine' });
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
}

/** Somebody with rights on the control store edits what a request shows beside its digest. */
async function edit(request: string, place: string, value: unknown): Promise<void> {
  await store.query(`update requests set evidence = jsonb_set(evidence, $2::text[], $3::jsonb) where id = $1`, [
    request,
    place,
    JSON.stringify(value),
  ]);
}

const planned = (place: string, value: unknown): Change => ({
  of: 'job',
  change: (request) => edit(request, `{plan,${place}}`, value),
});

const connected = (change: () => Promise<Partial<Connection>> | Partial<Connection>): Change => ({
  of: 'job',
  change: async () => change(),
});

/** A rule of masking on another column than those that are read, so that only its digest is in question. */
function reload(more: Partial<Configuration>): Promise<void> {
  harness.app.reload({ ...harness.configuration, ...more });
  return Promise.resolve();
}

const oneMoreMask = () => ({
  masking: [
    ...harness.configuration.masking,
    { name: 'more', appliesTo: {}, columns: [{ match: 'name', mask: 'redact' as const }], detectors: [] },
  ],
});

async function proxied(): Promise<Partial<Connection>> {
  const { host, port } = harness.postgres;
  const server = net.createServer((socket) => {
    const upstream = net.connect(port, host);
    for (const [from, to] of [
      [socket, upstream],
      [upstream, socket],
    ] as const) {
      from.on('error', () => to.destroy());
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => new Promise((resolve) => server.close(resolve)));
  const address = server.address();
  assert(typeof address === 'object' && address !== null);
  return { port: address.port };
}

const roles = `
  create role cs_gateway login password 'test-role';
  create role cs_designer login password 'test-role';
  create role cs_executor login password 'test-role';`;

/** What a restore to another server gives: the same tables behind the same name. */
async function restored(): Promise<Partial<Connection>> {
  const other = await startEmbeddedPostgres({ databases: ['crm'] });
  closing.push(() => other.stop());
  const client = new pg.Client({ connectionString: other.url('crm') });
  await client.connect();
  await client.query(`${customersSchema}${roles}; grant select on all tables in schema public to cs_gateway`);
  await client.end();
  return { port: other.port };
}

/** The database is replaced by a copy of itself. */
async function replaced(): Promise<Partial<Connection>> {
  await store.query('create database copy');
  const copy = new pg.Client({ connectionString: harness.postgres.url('copy') });
  await copy.connect();
  await copy.query(`${customersSchema}; grant select on all tables in schema public to cs_gateway`);
  await copy.end();
  return { database: 'copy' };
}

/** Each field of the digest: how the world changes it after the approval. */
const world: Record<GrantField, Change> = {
  kind: { of: 'nothing', because: 'a request keeps its kind; a held statement has no run, and a job no session' },
  'job.name': {
    of: 'job',
    change: async (request, job) => {
      await push(`${job}-other`);
      await store.query(`update requests set job = $2, job_version = 1 where id = $1`, [request, `${job}-other`]);
    },
  },
  'job.path': {
    of: 'job',
    change: async (_, job) => {
      await push(job, `${definition(job)}# second\n`);
      await store.query(`update job_versions set path = 'jobs/x.yaml' where job = $1 and version = 2`, [job]);
    },
  },
  'job.contentDigest': { of: 'job', change: async (_, job) => void (await push(job, `${definition(job)}# more\n`)) },
  'job.commit': { of: 'job', change: async (_, job) => void (await push(job, `${definition(job)}# other\n`)) },
  'job.authors': {
    of: 'job',
    change: async (_, job) =>
      void (await store.query(`update job_versions set authors = authors - 1 where job = $1`, [job])),
  },
  'statement.text': { of: 'nothing', because: 'the text that waits is the text that is sent' },
  'statement.parameters': { of: 'nothing', because: 'the Bind that waits is the Bind that is sent' },
  'statement.parameterKinds': { of: 'nothing', because: 'the Bind that waits is the Bind that is sent' },
  'statement.classes': { of: 'nothing', because: 'they follow from the text and from definitions' },
  'statement.template.text': { of: 'nothing', because: 'test/templates.test.ts changes what a step is' },
  'statement.template.shape': { of: 'nothing', because: 'test/templates.test.ts changes what a step is' },
  'statement.template.form': { of: 'nothing', because: 'test/templates.test.ts changes what a step is' },
  'statement.template.key': { of: 'nothing', because: 'test/templates.test.ts changes what a step is' },
  'statement.template.lowest': {
    of: 'nothing',
    because: 'they are what the approver said; steps are held against them',
  },
  'statement.template.highest': {
    of: 'nothing',
    because: 'they are what the approver said; steps are held against them',
  },
  'statement.template.uses': { of: 'nothing', because: 'they are what the approver said; steps are held against them' },
  'statement.template.anySession': { of: 'nothing', because: 'it is what the approver said' },
  'target.host': connected(() => ({ host: 'localhost' })),
  'target.port': connected(proxied),
  'target.database': connected(replaced),
  'target.systemIdentifier': connected(restored),
  'target.databaseOid': connected(() => ({ database: 'copy' })),
  'target.timeline': { of: 'nothing', because: 'a server that is promoted needs a standby' },
  'target.engine': { of: 'nothing', because: 'there is one engine' },
  searchPath: connected(() => ({ searchPath: ['public', 'pg_catalog'] })),
  definitions: {
    of: 'job',
    change: async () => void (await harness.target('alter table customers add column if not exists added integer')),
  },
  parameters: planned('parameters,region', 'US'),
  'plan.strategy': planned('strategy', 'keyset'),
  'plan.key': planned('key,0,source', 'public.customers.ssn'),
  'plan.count': planned('chunks', []),
  'plan.bounds': planned('chunks,0,sql', 'select * from customers'),
  output: planned('output,to', 'file://elsewhere'),
  maskingDigest: { of: 'job', change: () => reload(oneMoreMask()) },
  policyDigest: {
    of: 'statement',
    change: () => reload({ policies: { ...harness.configuration.policies, files: [] } }),
    undo: () => reload({}),
  },
  'caps.rows': planned('limits,rows', 1_000_000),
  'caps.bytes': planned('limits,bytes', 1_000_000_000),
  'executors.duty': { of: 'nothing', because: 'a job is run by executors; a session keeps its duty' },
  'executors.groups': {
    of: 'job',
    change: () =>
      reload({ bindings: [...harness.configuration.bindings, { group: 'more', duties: ['executor'], labels: {} }] }),
  },
  'executors.principal': { of: 'nothing', because: 'the session that waits keeps its principal' },
  'executors.session': { of: 'nothing', because: 'the session that waits is the session that goes on' },
  'expiry.durationMs': { of: 'nothing', because: 'it does not change while the gateway runs' },
};

/** A second node on the same store, with another idea of the connection. */
async function otherNode(connection: Partial<Connection>): Promise<App> {
  const dataDirectory = path.join(harness.home, `node-${closing.length}`);
  await mkdir(path.join(dataDirectory, 'keys'), { recursive: true });
  await copyFile(
    path.join(harness.dataDirectory, 'keys', 'masking-hash.key'),
    path.join(dataDirectory, 'keys', 'masking-hash.key'),
  );
  await symlink(path.join(harness.dataDirectory, 'jobs.git'), path.join(dataDirectory, 'jobs.git'));
  const { configuration } = harness;
  const connections = configuration.connections.map((one) => ({ ...one, ...connection }));
  const app = await startApp({
    configuration: { ...configuration, node: `node-${closing.length}`, dataDirectory, connections },
    version: '0.0.0-test',
    logger: pino({ level: 'silent' }),
  });
  closing.push(() => app.close());
  return app;
}

async function entriesOf(app: App): Promise<Record<string, unknown>[]> {
  const size = Number((await app.checkpoint()).split('\n')[1]);
  const entries: Record<string, unknown>[] = [];
  for await (const { text } of iterateEntries({ read: readerFor(app.logDirectory), size })) {
    entries.push(JSON.parse(text) as Record<string, unknown>);
  }
  return entries;
}

async function assertLogged(app: App, request: string, label: string): Promise<void> {
  const voided = (await entriesOf(app)).filter((one) => one['type'] === 'grant.void' && one['request'] === request);
  assert.equal(voided.length, 1);
  const drift = voided[0]?.['drift'] as string[];
  assert.ok(
    drift.some((one) => one.startsWith(label)),
    `${label} is not in ${drift.join('; ')}`,
  );
}

async function driftsInJob(field: GrantField, { change }: Change & { of: 'job' }): Promise<void> {
  const job = `drift-${field.toLowerCase().replaceAll('.', '-')}`;
  const request = await push(job);
  await approve(request);
  const connection = await change(request, job);
  const app = connection === undefined ? harness.app : await otherNode(connection);
  const response = await fetch(`${app.apiUrl}/api/v1/runs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await harness.token('executor')}`, 'content-type': 'application/json' },
    body: JSON.stringify({ job: field === 'job.name' ? `${job}-other` : job, request }),
  });
  await reload({});
  const { error } = (await response.json()) as Failure;
  assert.equal(error?.code, 'grant_void', JSON.stringify(error));
  assert.ok(error.message.includes(fieldLabel(field)), error.message);
  await assertLogged(app, request, fieldLabel(field));
}

async function pending(): Promise<string> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const { body } = await harness.api<{ requests: { id: string; kind: string }[] }>(
      'executor',
      'GET',
      '/requests?state=pending',
    );
    const found = body.requests.find(({ kind }) => kind === 'statement');
    if (found !== undefined) return found.id;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('no request appeared');
}

async function driftsInStatement(label: string, text: string, change: Change & { of: 'statement' }): Promise<void> {
  const client = await harness.connect('designer');
  const answer = client.query(text).then(
    () => undefined,
    (error: unknown) => error as pg.DatabaseError,
  );
  const request = await pending();
  await change.change();
  try {
    await approve(request);
    const error = await answer;
    assert.equal(error?.code, 'ZC007', error?.message ?? 'it ran');
    assert.ok(error?.message.includes(label), error?.message);
    await assertLogged(harness.app, request, label);
    assert.ok(!(await harness.targetLog()).includes(text));
  } finally {
    await change.undo();
    await client.end();
  }
}

describe('drift in the world', () => {
  it('the table has a line for each field', () => {
    assert.deepEqual(Object.keys(world).toSorted(), grantFields.toSorted());
  });

  for (const [name, change] of Object.entries(world)) {
    const field = name as GrantField;
    if (change.of === 'nothing') continue;
    it(`of ${name} voids the grant and is named`, async () => {
      if (change.of === 'job') await driftsInJob(field, change);
      else
        await driftsInStatement(
          fieldLabel(field),
          `select id, name from customers where id > ${grantFields.indexOf(field)}`,
          change,
        );
    });
  }

  it('of a view, a function of a trigger and a mask, while the statement waits', async () => {
    for (const [label, text, does, undoes] of [
      [
        'definition of public.customer_contacts',
        'select id, contact from customer_contacts',
        'create or replace view customer_contacts as select id, name as contact, upper(ssn) as loud from customers',
        'create or replace view customer_contacts as select id, email as contact, upper(ssn) as loud from customers',
      ],
      [
        'definition of function public.noted()',
        "insert into plain values (1001, 'x')",
        "create or replace function noted() returns trigger language plpgsql as 'begin return null; end'",
        "create or replace function noted() returns trigger language plpgsql as 'begin return new; end'",
      ],
      [
        'definition of public.plain',
        "insert into plain values (1002, 'x')",
        'alter table plain disable trigger noting',
        'alter table plain enable trigger noting',
      ],
    ] as const) {
      await driftsInStatement(label, text, {
        of: 'statement',
        change: async () => void (await harness.target(does)),
        undo: async () => void (await harness.target(undoes)),
      });
    }
    await driftsInStatement('masking policy', 'select id, name from customers where id > 77', {
      of: 'statement',
      change: () => reload(oneMoreMask()),
      undo: () => reload({}),
    });
  });
});

describe('the digest for everybody', () => {
  const shell = async (script: string) => {
    const env = {
      PATH: process.env['PATH'] ?? '',
      COUNTERSIGN_SERVER: harness.app.apiUrl,
      COUNTERSIGN_TOKEN: await harness.token('executor'),
      API: `${harness.app.apiUrl}/api/v1`,
    };
    const program = `${process.execPath} ${fileURLToPath(new URL('../src/bin.ts', import.meta.url))}`;
    const { stdout } = await promisify(execFile)('/bin/sh', ['-c', `countersign() { ${program} "$@"; }; ${script}`], {
      env,
    });
    return stdout;
  };

  it("is two lines whose first has the second as its SHA-256, by the system's own sha256sum", async () => {
    const request = await push(
      'recipe',
      definition('recipe').replace('select id,', "select id, 'Ünïcödé \\\\ ' as x,"),
    );
    const shown = await harness.api<{ digest: string; digestInputJson: string }>(
      'executor',
      'GET',
      `/requests/${request}`,
    );
    const lines = (await shell(`countersign requests show ${request} --digest`)).split('\n');
    assert.deepEqual(lines, [shown.body.digestInputJson, shown.body.digest, '']);
    // The recipe of docs/approve.md.
    const summed = await shell(`countersign requests show ${request} --digest | head -n 1 | tr -d '\\n' | sha256sum`);
    assert.equal(summed.split(' ')[0], shown.body.digest);
    const checked = await shell(
      `countersign requests show ${request} --digest | { read -r json; read -r sum; printf '%s' "$json" | sha256sum | grep -q "^$sum " && echo same; }`,
    );
    assert.equal(checked, 'same\n');
  });

  it('is the same bytes over the API, for whom may see the request', async () => {
    const request = await push('recipe-api');
    const { body } = await harness.api<{ digest: string; digestInputJson: string }>(
      'executor',
      'GET',
      `/requests/${request}`,
    );
    const get = async (who: 'executor' | 'nobody') =>
      fetch(`${harness.app.apiUrl}/api/v1/requests/${request}/digest`, {
        headers: { authorization: `Bearer ${await harness.token(who)}` },
      });
    const answer = await get('executor');
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('repr-digest'), `sha-256=:${Buffer.from(body.digest, 'hex').toString('base64')}:`);
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), Buffer.from(body.digestInputJson));
    assert.equal((await get('nobody')).status, 403);
  });
});
