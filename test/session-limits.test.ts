/** Each limit of `gateway.limits` that a client can run into before or beside its statements, at a running gateway. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { encodeCancelRequest, encodeQuery } from '../src/wire/postgres/frontend.ts';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness, type Who } from './harness.ts';
import { encoded, RawClient, sslRequest } from './raw-client.ts';

let harness: Harness;
const slow = 'select count(*) from generate_series(1, 3000) a, generate_series(1, 3000) b, generate_series(1, 99) c';

before(async () => {
  harness = await startHarness({
    schema: customersSchema,
    configure: (configuration) => {
      const connections = configuration['connections'] as object[];
      connections.push({ ...connections[0], name: 'gone', port: 1 });
      configuration['gateway'] = {
        ...(configuration['gateway'] as object),
        limits: {
          handshakeTimeoutMs: 2_500,
          idleTimeoutMs: 6_000,
          statementTimeoutMs: 4_000,
          maxSessions: 4,
          maxSessionsPerPrincipal: 2,
          maxHandshakes: 8,
          maxHoldsPerPrincipal: 1,
          maxPreparedBytes: 100 * 1024,
          catalogueTtlMs: 500,
        },
      };
    },
  });
});

after(async () => {
  await harness?.close();
});

async function error(work: Promise<unknown>): Promise<pg.DatabaseError> {
  return work.then(
    () => assert.fail('this had to fail'),
    (failure: pg.DatabaseError) => failure,
  );
}

/** Ends the clients and waits until the gateway has let their seats go. */
async function leave(...clients: pg.Client[]): Promise<void> {
  await Promise.all(clients.map((client) => client.end()));
  await new Promise((resolve) => setTimeout(resolve, 100));
}

async function refusalCodes(): Promise<unknown[]> {
  return (await harness.entries()).filter((entry) => entry['type'] === 'session.refused').map((entry) => entry['code']);
}

async function rawSession(who: Who): Promise<{ client: RawClient; processId: number; key: Buffer }> {
  const { body } = await harness.api<{ user: string; password: string }>(who, 'POST', '/credentials', {});
  const client = await RawClient.connect(harness.app.postgresPort);
  client.write(sslRequest);
  await client.letter();
  await client.startTls();
  const { said, processId, key } = await client.logIn({ ...body, database: 'crm' }, { minor: 2 });
  assert.equal(said.at(-1), 'Z');
  return { client, processId, key };
}

describe('sessions', () => {
  it('of one principal are so many, whatever others have', async () => {
    const own = [await harness.connect('reader'), await harness.connect('reader')];
    const refused = await error(harness.connect('reader'));
    assert.equal(refused.code, '53300');
    assert.match(refused.hint ?? '', /maxSessionsPerPrincipal/);
    const other = await harness.connect('executor');
    await leave(own.pop() as pg.Client);
    own.push(await harness.connect('reader'));
    await leave(other, ...own);
  });

  it('are counted when they begin, so that a crowd does not slip through', async () => {
    const crowd = await Promise.allSettled(Array.from({ length: 6 }, () => harness.connect('reader')));
    const inside = crowd.filter((one) => one.status === 'fulfilled').map((one) => one.value);
    await leave(...inside);
    assert.equal(inside.length, 2);
  });

  it('of everybody are so many, and cancel requests pass all the same', async () => {
    const { client, processId, key } = await rawSession('reader');
    const others = [
      await harness.connect('reader'),
      await harness.connect('executor'),
      await harness.connect('executor'),
    ];
    const refused = await error(harness.connect('executor2'));
    assert.equal(refused.code, '53300');
    assert.match(refused.hint ?? '', /maxSessions$/);
    client.write(encoded((sink) => encodeQuery(sink, slow)));
    await new Promise((resolve) => setTimeout(resolve, 200));
    const canceller = await RawClient.connect(harness.app.postgresPort);
    canceller.write(encoded((sink) => encodeCancelRequest(sink, processId, key)));
    let said = await client.next();
    while (said === 'T') said = await client.next();
    assert.match(said, /user request/);
    client.destroy();
    await leave(...others);
  });

  it('that fail behind the log-in give their seats back', async () => {
    for (let round = 0; round < 4; round++) {
      const password = await harness.token('reader');
      const refused = await error(harness.connect('reader', { user: 'reader', password, database: 'gone' }));
      assert.equal(refused.code, '08001');
    }
    await leave(await harness.connect('reader'));
  });
});

describe('log-ins', () => {
  it('at one time are so many', async () => {
    const waiting: RawClient[] = [];
    for (let index = 0; index < 8; index++) waiting.push(await RawClient.connect(harness.app.postgresPort));
    const late = await RawClient.connect(harness.app.postgresPort);
    assert.match(await late.next(), /^FATAL 53300 .*logging in/);
    for (const client of waiting) client.destroy();
    await new Promise((resolve) => setTimeout(resolve, 100));
    await leave(await harness.connect('reader'));
  });

  for (const [name, bytes] of [
    ['asks for TLS and does not speak it', sslRequest],
    ['begins TLS and does not go on', Buffer.from([0x16, 3, 1, 2, 0])],
  ] as const) {
    it(`end in time for a client that ${name}`, async () => {
      const before = (await refusalCodes()).length;
      const started = Date.now();
      const client = await RawClient.connect(harness.app.postgresPort);
      client.write(bytes);
      const rest = (await client.rest()).toString('latin1');
      assert.equal(rest, bytes === sslRequest ? 'S' : '', 'words in clear where TLS was to come');
      assert.ok(Date.now() - started < 8_000);
      assert.deepEqual((await refusalCodes()).slice(before), ['handshake_timeout']);
    });
  }

  it('end in time for a client that stops in the middle of its proof, who is told so', async () => {
    const client = await RawClient.connect(harness.app.postgresPort);
    client.write(sslRequest);
    await client.letter();
    await client.startTls();
    client.write(Buffer.from([0, 0, 0, 40]));
    assert.match(await client.next(), /^FATAL 08P01 .*2500 ms/);
  });
});

describe('prepared statements', () => {
  const preparing: readonly [string, (client: pg.Client, number: number) => Promise<unknown>][] = [
    ['by the protocol', (client, n) => client.query({ name: `kept ${n}`, text: `select ${n} as n` })],
    ['in SQL', (client, n) => client.query(`prepare kept${n} as select ${n} as n`)],
  ];
  for (const [way, prepare] of preparing) {
    it(`${way} take so much memory, and less when some are ended`, async () => {
      const client = await harness.connect('reader');
      const refused = await error(
        (async () => {
          for (let n = 0; n < 60; n++) await prepare(client, n);
        })(),
      );
      assert.equal(refused.code, '53400');
      assert.match(refused.hint ?? '', /maxPreparedBytes/);
      assert.deepEqual((await client.query('select 1 as one')).rows, [{ one: 1 }]);
      await client.query('deallocate all');
      for (let n = 100; n < 130; n++) await prepare(client, n);
      await leave(client);
    });
  }

  it('that replace each other take no more', async () => {
    const client = await harness.connect('reader');
    for (let n = 0; n < 200; n++) await client.query({ text: 'select $1::int as n', values: [n] });
    for (let n = 0; n < 200; n++) {
      await client.query('prepare again as select 1');
      await client.query('deallocate again');
    }
    await leave(client);
  });
});

describe('time', () => {
  it('in which a session sends nothing ends it', async () => {
    const { client } = await rawSession('reader');
    assert.match(await client.next(), /^FATAL 57P05 .*6000 ms/);
    assert.equal(await client.next(), 'closed');
  });

  it('of one statement is limited by the target', async () => {
    const client = await harness.connect('reader');
    assert.deepEqual((await client.query('show statement_timeout')).rows, [{ statement_timeout: '4s' }]);
    const cancelled = await error(client.query(slow));
    assert.equal(cancelled.code, '57014');
    assert.match(cancelled.message, /statement timeout/);
    await leave(client);
  });

  it('of one statement may be lowered at the start, not raised', async () => {
    const lowered = await harness.connect('reader', { options: '-c statement_timeout=300ms' });
    assert.deepEqual((await lowered.query('show statement_timeout')).rows, [{ statement_timeout: '300ms' }]);
    await lowered.query('reset statement_timeout');
    assert.deepEqual((await lowered.query('show statement_timeout')).rows, [{ statement_timeout: '300ms' }]);
    await leave(lowered);
    for (const value of ['0', '5s', '4000001us', '1h']) {
      const refused = await error(harness.connect('reader', { options: `-c statement_timeout=${value}` }));
      assert.equal(refused.code, '42501', value);
      assert.match(refused.message, /4000 ms here/);
    }
  });
});

describe('held statements', () => {
  it('of one principal are so many', async () => {
    const [first, second] = [await harness.connect('executor'), await harness.connect('executor')];
    const held = first.query('delete from plain where id = -1').catch(() => undefined);
    for (let attempt = 0; attempt < 100; attempt++) {
      const { body } = await harness.api<{ requests: unknown[] }>('executor2', 'GET', '/requests?state=pending');
      if (body.requests.length > 0) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const refused = await error(second.query('delete from plain where id = -2'));
    assert.equal(refused.code, 'ZC008');
    await leave(first, second);
    await held;
  });
});

describe('the end of the gateway', () => {
  it('is told to a session over TLS', async () => {
    const { client } = await rawSession('reader');
    const silent = await RawClient.connect(harness.app.postgresPort);
    const said = client.next();
    await harness.app.close();
    assert.match(await said, /^FATAL 57P01/);
    assert.equal((await silent.rest()).length, 0);
  });
});
