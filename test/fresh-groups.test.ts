/**
 * Groups are read anew when somebody approves or executes: whoever lost them at the provider in the meantime does neither,
 * over the API, on the page and on the wire. Promises P3, P4.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { decodeJwt } from 'jose';
import pg from 'pg';
import { startHarness, people, type Harness } from './harness.ts';
import { json, startLocalIssuer, type LocalIssuer } from './local-issuer.ts';
import { PageVisitor } from './page-visitor.ts';

let harness: Harness;
let corp: LocalIssuer;
/** A CI system. */
let ci: LocalIssuer;
/** What the provider `corp` knows now; undefined: the person is not there any more. */
const groupsNow = new Map<string, string[]>();

before(async () => {
  [corp, ci] = await Promise.all([startLocalIssuer(), startLocalIssuer('RS256')]);
  corp.answers['/userinfo'] = (response, request, body) => {
    const { sub = '' } = decodeJwt((request.headers.authorization ?? '').replace('Bearer ', ''));
    const groups = groupsNow.get(sub);
    const answer = groups === undefined ? json({}, 401) : json({ sub, groups });
    answer(response, request, body);
  };
  harness = await startHarness({
    schema:
      'create table customers (id integer primary key, ssn text); insert into customers values (1, $$123-45-6789$$)',
    configure: (raw) => {
      const gateway = raw['gateway'] as { limits: Record<string, unknown> };
      gateway.limits['holdTimeoutMs'] = 20_000;
      const identity = raw['identity'] as { serviceAccounts: unknown[] } & Record<string, unknown>;
      identity['providers'] = [{ kind: 'oidc', name: 'corp', issuer: corp.issuer }];
      identity.serviceAccounts.push({ name: 'deployer', owner: 'corp:emil', groups: ['chunk-executors'] });
      const claims = { repository: 'org/repo', ref: 'refs/heads/main' };
      const workload = { name: 'ci', issuer: ci.issuer, audience: 'ci', claims, serviceAccount: 'deployer' };
      identity['workloads'] = [workload];
    },
  });
});
after(async () => {
  await harness?.close();
  await Promise.all([corp?.close(), ci?.close()]);
});
beforeEach(() => {
  groupsNow.clear();
  for (const [name, group] of [
    ['dora', 'chunk-designers'],
    ['emil', 'chunk-executors'],
    ['erik', 'chunk-executors'],
  ] as const) {
    groupsNow.set(name, [group]);
  }
});

interface Answer {
  readonly error?: { readonly code: string; readonly message: string };
  readonly request?: string;
  readonly state?: string;
  readonly runId?: string;
  readonly credential?: { readonly user: string; readonly password: string };
}

/** A token that lists the groups of now, and goes on to list them when they are lost. */
const token = (sub: string) =>
  corp.sign({ sub, groups: groupsNow.get(sub), exp: Math.floor(Date.now() / 1_000) + 3_600 });

async function call(bearer: string, method: string, route: string, body?: unknown) {
  const response = await fetch(`${harness.app.apiUrl}/api/v1${route}`, {
    method,
    headers: {
      authorization: `Bearer ${bearer}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: (text === '' ? {} : JSON.parse(text)) as Answer };
}

async function pushed(job: string): Promise<string> {
  const content = `
job: ${job}
connection: crm
source: select id, ssn from customers
chunk: { by: id, rows: 100 }
output: { format: ndjson, to: "file://${job}" }
`;
  const { status, body } = await harness.api<Answer>('designer', 'POST', '/jobs', { content });
  assert.equal(status, 201, JSON.stringify(body));
  return body.request ?? '';
}

const stateOf = async (request: string) =>
  (await harness.api<Answer>('auditor', 'GET', `/requests/${request}`)).body.state;

async function connect(user: string, password: string): Promise<pg.Client> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port: harness.app.postgresPort,
    user,
    password,
    database: 'crm',
    ssl: { ca: harness.caPem },
  });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

const failure = (work: Promise<unknown>) =>
  work.then(
    () => assert.fail('this had to fail'),
    (error: pg.DatabaseError) => error,
  );

async function heldRequest(): Promise<string> {
  for (let tries = 0; tries < 200; tries++) {
    const { body } = await harness.api<{ requests: { id: string; kind: string }[] }>(
      'executor',
      'GET',
      '/requests?state=pending',
    );
    const found = body.requests.find((one) => one.kind === 'statement');
    if (found !== undefined) return found.id;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('nothing was held');
}

void describe('between log-in and approval', () => {
  void it('a person who lost the group at the provider approves nothing, although the token lists it', async () => {
    const request = await pushed('approval');
    const emil = await token('emil');
    groupsNow.set('emil', ['staff']);
    for (const verdict of ['approve', 'reject']) {
      const { status, body } = await call(emil, 'POST', `/requests/${request}/${verdict}`, { comment: 'x' });
      assert.equal(status, 403, JSON.stringify(body));
      assert.equal(body.error?.code, 'duty_missing');
    }
    // Everywhere else the old token brings the lost group no more, either.
    const who = await call(emil, 'GET', '/whoami');
    assert.deepEqual((who.body as { groups?: string[] }).groups, []);
    groupsNow.delete('erik');
    const erik = await corp.sign({ sub: 'erik', groups: ['chunk-executors'] });
    const gone = await call(erik, 'POST', `/requests/${request}/approve`, {});
    assert.deepEqual([gone.status, gone.body.error?.code], [401, 'token_invalid']);
    assert.equal(await stateOf(request), 'pending');
    groupsNow.set('emil', ['chunk-executors']);
    assert.equal((await call(emil, 'POST', `/requests/${request}/approve`, {})).status, 200);
  });

  void it('nor on the page', async () => {
    const request = await pushed('page');
    const eli = people.find((one) => one.id === 'eli') as { groups: readonly string[] };
    const visitor = new PageVisitor(harness.app.apiUrl);
    await visitor.logIn('eli');
    const had = eli.groups;
    eli.groups = ['staff'];
    const refused = await visitor.api<Answer>('POST', `/requests/${request}/approve`, {});
    assert.deepEqual([refused.status, refused.body.error?.code], [403, 'duty_missing']);
    assert.equal(await stateOf(request), 'pending');
    eli.groups = had;
    // The refresh token was used and replaced; the next decision goes on with the new one.
    const approved = await visitor.api<Answer>('POST', `/requests/${request}/approve`, {});
    assert.equal(approved.status, 200, JSON.stringify(approved.body));
  });
});

void describe('between approval and execution', () => {
  void it('a person who lost the group starts no run', async () => {
    const request = await pushed('start');
    await harness.api('executor2', 'POST', `/requests/${request}/approve`, {});
    const emil = await token('emil');
    groupsNow.set('emil', []);
    const refused = await call(emil, 'POST', '/runs', { job: 'start' });
    assert.deepEqual([refused.status, refused.body.error?.code], [404, 'job_unknown'], JSON.stringify(refused.body));
    groupsNow.set('emil', ['chunk-executors']);
    assert.equal((await call(emil, 'POST', '/runs', { job: 'start' })).status, 201);
  });

  void it('nor reads chunks of one that was started', async () => {
    const request = await pushed('chunks');
    await harness.api('executor2', 'POST', `/requests/${request}/approve`, {});
    const emil = await token('emil');
    const started = await call(emil, 'POST', '/runs', { job: 'chunks' });
    const { user, password } = started.body.credential ?? { user: '', password: '' };
    const open = await connect(user, password);
    groupsNow.set('emil', []);
    // The provider's answer to anything that decides or executes is what the gateway learns it from.
    const again = await call(emil, 'POST', `/runs/${started.body.runId}/credential`, {});
    assert.equal(again.status, 403);
    const before = await harness.targetLog();
    const error = await failure(open.query('select * from chunkrun."chunks" where chunk_no = 0'));
    assert.match(error.message, /is no executor any more/);
    assert.equal(
      (await harness.targetLog()).slice(before.length).includes('select'),
      false,
      'nothing reached the target',
    );
    await open.end();
    assert.match((await failure(connect(user, password))).message, /holds no duty/);
  });

  void it('nor gets a held statement through', async () => {
    const dora = await token('dora');
    const client = await connect('corp:dora', dora);
    const held = failure(client.query('select id from customers order by id desc'));
    const request = await heldRequest();
    groupsNow.set('dora', ['staff']);
    assert.deepEqual(((await call(await token('dora'), 'GET', '/whoami')).body as { groups?: string[] }).groups, [
      'staff',
    ]);
    assert.equal((await harness.api('executor', 'POST', `/requests/${request}/approve`, {})).status, 200);
    const error = await held;
    assert.match(error.message, /dora|duty/);
    assert.equal(error.code, '28000', error.message);
    assert.ok(!(await harness.targetLog()).includes('order by id desc'));
    await client.end();
  });

  void it('and a statement is not even held when the groups are too old', async () => {
    const client = await connect('corp:dora', await token('dora'));
    const store = new pg.Client({ connectionString: harness.postgres.url('control') });
    await store.connect();
    await store.query("update principals set groups_at = now() - interval '16 minutes' where id = 'corp:dora'");
    await store.end();
    const error = await failure(client.query('select id from customers order by id desc'));
    assert.equal(error.code, '28000');
    assert.match(error.message, /too long ago to decide or execute/);
    assert.match(error.hint ?? '', /countersign whoami/);
    await client.end();
  });
});

void describe('a job of a CI system', () => {
  const job = (claims: Record<string, unknown> = {}) =>
    ci.sign({ aud: 'ci', sub: 'x', repository: 'org/repo', ref: 'refs/heads/main', ...claims });

  void it('runs what was approved, as a service account that counts as its owner', async () => {
    const request = await pushed('ci');
    const who = await call(await job(), 'GET', '/whoami');
    assert.deepEqual(who.body, { ...who.body, id: 'deployer', human: 'corp:emil', kind: 'service' });
    // Its owner's word and its own are one word.
    assert.equal((await call(await job(), 'POST', `/requests/${request}/reject`, { comment: 'no' })).status, 200);
    const own = await pushed('ci');
    await harness.api('executor2', 'POST', `/requests/${own}/approve`, {});
    const branch = await call(await job({ ref: 'refs/heads/x' }), 'POST', '/runs', { job: 'ci' });
    assert.deepEqual([branch.status, branch.body.error?.code], [401, 'token_invalid']);
    const iat = Math.floor(Date.now() / 1_000) - 16 * 60;
    const old = await call(await job({ iat, exp: iat + 3_600 }), 'POST', '/runs', { job: 'ci' });
    // The account is known from a young token, so that an older one is no worse; by itself it would not do.
    assert.equal(old.status, 201, JSON.stringify(old.body));
  });

  void it('that began too long ago runs nothing', async () => {
    const request = await pushed('late');
    await harness.api('executor2', 'POST', `/requests/${request}/approve`, {});
    const store = new pg.Client({ connectionString: harness.postgres.url('control') });
    await store.connect();
    await store.query("update principals set groups_at = now() - interval '16 minutes' where id = 'deployer'");
    await store.end();
    const iat = Math.floor(Date.now() / 1_000) - 16 * 60;
    const old = await call(await job({ iat, exp: iat + 3_600 }), 'POST', '/runs', { job: 'late' });
    assert.deepEqual([old.status, old.body.error?.code], [401, 'groups_stale'], JSON.stringify(old.body));
  });
});
