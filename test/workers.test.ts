/** Sessions in worker processes: on one port, under the same rules, and one dead worker takes only its own with it. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { readerFor, verifyLog } from '../src/audit/verify.ts';
import { encodeCancelRequest } from '../src/wire/postgres/frontend.ts';
import { customersSchema, secretPatterns } from './customers.ts';
import { startHarness, type Harness } from './harness.ts';
import { encoded, RawClient } from './raw-client.ts';

let harness: Harness;
const slow = 'select count(*) from generate_series(1, 3000) a, generate_series(1, 3000) b, generate_series(1, 99) c';

before(async () => {
  harness = await startHarness({
    schema: `${customersSchema}; create view shown as select id, region from customers`,
    configure: (configuration) => {
      configuration['gateway'] = {
        ...(configuration['gateway'] as object),
        workers: 2,
        limits: { maxSessionsPerPrincipal: 12, catalogueTtlMs: 60_000, idleTimeoutMs: 0 },
      };
    },
  });
});

after(async () => {
  await harness?.close();
});

async function until(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
  const end = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > end) assert.fail(`in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function refusal(work: Promise<unknown>): Promise<pg.DatabaseError> {
  return work.then(
    () => assert.fail('this had to fail'),
    (failure: pg.DatabaseError) => failure,
  );
}

async function readers(count: number): Promise<pg.Client[]> {
  const clients: pg.Client[] = [];
  for (let index = 0; index < count; index++) {
    const client = await harness.connect('reader');
    client.on('error', () => undefined);
    clients.push(client);
  }
  return clients;
}

async function leave(clients: readonly pg.Client[]): Promise<void> {
  await Promise.all(clients.map((client) => client.end()));
  await new Promise((resolve) => setTimeout(resolve, 150));
}

async function alive(client: pg.Client): Promise<boolean> {
  return client.query('select 1').then(
    () => true,
    () => false,
  );
}

async function pending(): Promise<{ id: string }[]> {
  const { body } = await harness.api<{ requests: { id: string }[] }>('executor', 'GET', '/requests?state=pending');
  return body.requests;
}

async function pendingRequest(): Promise<{ id: string }> {
  await until('a request', async () => (await pending()).length > 0);
  const [request] = await pending();
  return request ?? assert.fail('it is gone');
}

/** As a driver does it: a connection of its own, with nothing else on it. */
async function cancel(client: pg.Client): Promise<void> {
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const key = Buffer.alloc(4);
  key.writeInt32BE(secretKey);
  const canceller = await RawClient.connect(harness.app.postgresPort);
  canceller.write(encoded((sink) => encodeCancelRequest(sink, processID, key)));
  await canceller.rest();
}

const types = async (type: string) => (await harness.entries()).filter((entry) => entry['type'] === type);

describe('two workers', () => {
  it('are processes of their own and carry every session, masked', async () => {
    const workers = harness.app.workers();
    assert.equal(workers.length, 2);
    assert.ok(!workers.includes(process.pid));
    const clients = await readers(6);
    for (const client of clients) {
      const { rows } = await client.query('select ssn, notes, email from customers order by id limit 5');
      assert.equal(rows.length, 5);
      for (const pattern of secretPatterns) assert.doesNotMatch(JSON.stringify(rows), pattern);
    }
    await leave(clients);
  });

  it('count seats together', async () => {
    const clients = await readers(12);
    assert.equal((await refusal(harness.connect('reader'))).code, '53300');
    await leave(clients);
    await leave(await readers(1));
  });

  it('cancel a statement whichever of them is asked', async () => {
    const [first, second] = await readers(2);
    assert.ok(first !== undefined && second !== undefined);
    for (const client of [first, first, second, second]) {
      const failure = refusal(client.query(slow));
      await new Promise((resolve) => setTimeout(resolve, 100));
      // Cancellations are handed to the workers in turn, so some come to the one that has not the session.
      await cancel(client);
      assert.equal((await failure).code, '57014');
    }
    await leave([first, second]);
  });

  it('hold a statement and run it when it is approved', async () => {
    const designer = await harness.connect('designer');
    const answer = designer.query('select id, ssn from customers where id > $1', [200]);
    const request = await pendingRequest();
    const { status } = await harness.api('executor', 'POST', `/requests/${request.id}/approve`, { comment: 'fine' });
    assert.equal(status, 200);
    assert.equal((await answer).rows.length, 100);
    await leave([designer]);
  });

  it('learn of DDL that went through the other', async () => {
    await harness.target('grant create on schema public to cs_executor; alter view shown owner to cs_executor');
    const clients = await readers(2);
    const read = async (client: pg.Client) =>
      (await client.query<{ region: string }>('select region from shown where id = 1')).rows[0]?.region;
    for (const client of clients) assert.equal(await read(client), 'US');
    const executor = await harness.connect('executor');
    const altered = executor.query('create or replace view shown as select id, ssn as region from customers');
    const request = await pendingRequest();
    await harness.api('executor2', 'POST', `/requests/${request.id}/approve`, {});
    await altered;
    await new Promise((resolve) => setTimeout(resolve, 200));
    for (const client of clients) assert.equal(await read(client), '[masked]');
    await leave([...clients, executor]);
  });

  it('end the sessions of a credential that is revoked', async () => {
    const { body } = await harness.api<{ user: string; password: string }>('reader', 'POST', '/credentials', {});
    const options = { user: body.user, password: body.password };
    const clients = await Promise.all([harness.connect('reader', options), harness.connect('reader', options)]);
    const ended = clients.map((client) => new Promise((resolve) => client.once('error', resolve)));
    await harness.api('reader', 'DELETE', `/credentials/${body.user}`);
    for (const error of await Promise.all(ended)) assert.match(String(error), /revoked/);
    await leave([]);
  });

  it('have new rules after a reload', async () => {
    const clients = await readers(2);
    const label = async (client: pg.Client) =>
      (await client.query<{ label: string }>('select label from plain where id = 1')).rows[0]?.label;
    for (const client of clients) assert.equal(await label(client), 'label 1');
    const { masking } = harness.configuration;
    const more = {
      name: 'more',
      appliesTo: {},
      columns: [{ match: 'plain.label', mask: 'redact' as const }],
      detectors: [],
    };
    harness.app.reload({ ...harness.configuration, masking: [...masking, more] });
    for (const client of clients) {
      await until('the label is masked', async () => (await label(client)) === '[masked]');
    }
    harness.app.reload(harness.configuration);
    for (const client of clients) await until('the label is open', async () => (await label(client)) === 'label 1');
    await leave(clients);
  });
});

describe('a worker that dies', () => {
  it('takes its own sessions with it, no other, and is replaced; the log says which', async () => {
    const clients = await readers(8);
    const [victim, survivor] = harness.app.workers();
    assert.ok(victim !== undefined && survivor !== undefined);
    process.kill(victim, 'SIGKILL');
    await until('another worker', () => {
      const now = harness.app.workers();
      return now.length === 2 && !now.includes(victim);
    });
    assert.ok(harness.app.workers().includes(survivor));
    const states = await Promise.all(clients.map(alive));
    assert.equal(states.filter((state) => state).length, 4, 'half of the sessions were in the other one');
    const [lost] = await types('worker.lost');
    assert.equal(((lost?.['sessions'] ?? []) as unknown[]).length, 4);
    assert.equal(lost?.['status'], 'SIGKILL');
    // Its seats are free again, and sessions of the store are over.
    const more = await readers(8);
    assert.deepEqual(
      await Promise.all(more.map(alive)),
      more.map(() => true),
    );
    await leave([...more, ...clients.filter((_, index) => states[index])]);
    const { body } = await harness.api<{ sessions: { id: string; endedAt: string | null }[] }>(
      'auditor',
      'GET',
      '/sessions',
    );
    const ids = new Set((lost?.['sessions'] ?? []) as string[]);
    const ended = body.sessions.filter(({ id }) => ids.has(id));
    assert.equal(ended.length, 4);
    assert.ok(ended.every(({ endedAt }) => endedAt !== null));
  });

  it('withdraws what waited in it', async () => {
    const designer = await harness.connect('designer');
    designer.on('error', () => undefined);
    const answer = refusal(designer.query('select id, ssn from customers where id > 100'));
    await pendingRequest();
    for (const pid of harness.app.workers()) process.kill(pid, 'SIGKILL');
    await answer;
    await until('no request', async () => (await pending()).length === 0);
    await until('new workers', async () => (await harness.connect('reader')).end().then(() => true));
  });
});

it('the log of all of them is one, and whole', async () => {
  await harness.app.checkpoint();
  const verified = await verifyLog({ read: readerFor(harness.app.logDirectory), verifierKey: harness.app.verifierKey });
  assert.equal(verified.ok, true);
  const opened = (await types('session.opened')).length;
  assert.ok(opened > 30, `${opened}`);
});
