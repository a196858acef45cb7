/** Everything that may go wrong at the door: each a clear error, one log entry, and the process lives on. */
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import tls from 'node:tls';
import pg from 'pg';
import { makeCertificate } from '../demo/certificate.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../demo/embedded-postgres.ts';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness } from './harness.ts';

let harness: Harness;
let tlsTarget: EmbeddedPostgres;

before(async () => {
  const certificate = await makeCertificate({ hosts: ['localhost'] });
  tlsTarget = await startEmbeddedPostgres({ tls: certificate });
  harness = await startHarness({
    schema: customersSchema,
    configure: (configuration) => {
      const connections = configuration['connections'] as Record<string, unknown>[];
      const [crm] = connections;
      connections.push({ ...crm, name: 'gone', port: 1 });
      connections.push({
        ...crm,
        name: 'stranger',
        port: tlsTarget.port,
        host: 'localhost',
        database: 'postgres',
        tls: { mode: 'verify-full' },
      });
      connections.push({ ...crm, name: 'plaintext', tls: { mode: 'verify-full' } });
      configuration['gateway'] = {
        ...(configuration['gateway'] as object),
        limits: { handshakeTimeoutMs: 1_500, maxMessageBytes: 100_000, maxStatementBytes: 50_000, catalogueTtlMs: 500 },
      };
    },
  });
});

after(async () => {
  await harness?.close();
  await tlsTarget?.stop();
});

function raw(): net.Socket {
  const socket = net.connect(harness.app.postgresPort, '127.0.0.1');
  socket.on('error', () => undefined);
  return socket;
}

async function answerTo(bytes: Buffer | undefined): Promise<string> {
  const socket = raw();
  let received = '';
  socket.on('data', (data) => {
    received += data.toString('latin1');
  });
  if (bytes !== undefined) socket.write(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
  return received;
}

async function loginError(overrides: pg.ClientConfig): Promise<pg.DatabaseError> {
  try {
    await harness.connect('reader', overrides);
  } catch (error) {
    return error as pg.DatabaseError;
  }
  throw new Error('the log-in had to fail');
}

async function refusals(): Promise<Record<string, unknown>[]> {
  return (await harness.entries()).filter((entry) => entry['type'] === 'session.refused');
}

/** Runs `work`, and expects exactly one more refusal in the log, with this code; then that the gateway still works. */
async function oneRefusal(code: string, work: () => Promise<void>): Promise<void> {
  const before = (await refusals()).length;
  await work();
  const after = await refusals();
  assert.deepEqual(
    after.slice(before).map((entry) => entry['code']),
    [code],
  );
  const client = await harness.connect('reader');
  assert.deepEqual((await client.query('select 1 as one')).rows, [{ one: 1 }]);
  await client.end();
}

function startup(parameters: Record<string, string>, version = 196_608): Buffer {
  const body = Buffer.from(
    `${Object.entries(parameters)
      .map(([name, value]) => `${name}\0${value}\0`)
      .join('')}\0`,
  );
  const head = Buffer.alloc(8);
  head.writeInt32BE(body.length + 8, 0);
  head.writeInt32BE(version, 4);
  return Buffer.concat([head, body]);
}

describe('log-in', () => {
  it('wrong password', () =>
    oneRefusal('authentication_failed', async () => {
      const error = await loginError({ password: 'wrong' });
      assert.equal(error.code, '28P01');
    }));

  it('unknown user, which looks the same', () =>
    oneRefusal('authentication_failed', async () => {
      const error = await loginError({ user: 'nobody.abc123', password: 'wrong' });
      assert.equal(error.code, '28P01');
      assert.match(error.message, /password authentication failed/);
    }));

  it('a password that is no token', () =>
    oneRefusal('authentication_failed', async () => {
      const error = await loginError({ user: 'reader', password: 'wrong' });
      assert.equal(error.code, '28P01');
    }));

  it('a token whose signature is wrong', () =>
    oneRefusal('token_invalid', async () => {
      const token = await harness.token('reader');
      const error = await loginError({ user: 'reader', password: `${token.slice(0, -6)}AAAAAA` });
      assert.equal(error.code, '28P01');
    }));

  it("somebody else's name with a good token", () =>
    oneRefusal('authentication_failed', async () => {
      const error = await loginError({ user: 'designer', password: await harness.token('reader') });
      assert.match(error.message, /the token is reader's/);
    }));

  it('a good token works as the password', async () => {
    const client = await harness.connect('reader', { user: 'reader', password: await harness.token('reader') });
    assert.deepEqual((await client.query('select 2 as two')).rows, [{ two: 2 }]);
  });

  it('unknown connection', () =>
    oneRefusal('connection_unknown', async () => {
      const error = await loginError({ database: 'nowhere', user: 'reader', password: await harness.token('reader') });
      assert.equal(error.code, '3D000');
    }));

  it('a principal without a duty', () =>
    oneRefusal('duty_missing', async () => {
      const error = await loginError({ user: 'nobody', password: await harness.token('nobody') });
      assert.equal(error.code, '28000');
    }));

  it('an auditor has no business in a database', () =>
    oneRefusal('duty_missing', async () => {
      await loginError({ user: 'auditor', password: await harness.token('auditor') });
    }));

  it('no TLS', () =>
    oneRefusal('tls_required', async () => {
      const error = await loginError({ ssl: false });
      assert.match(error.message, /TLS/);
    }));

  it('a search path in the start-up packet', () =>
    oneRefusal('startup_setting_refused', async () => {
      const error = await loginError({ options: '-c search_path=pg_temp' });
      assert.equal(error.code, '42501');
      assert.match(error.message, /search_path/);
    }));

  it('another encoding in the start-up packet', () =>
    oneRefusal('startup_setting_refused', async () => {
      await loginError({ options: '-c client_encoding=latin1' });
    }));
});

describe('targets', () => {
  it('unreachable', () =>
    oneRefusal('target_unreachable', async () => {
      const error = await loginError({ database: 'gone', user: 'reader', password: await harness.token('reader') });
      assert.equal(error.code, '08001');
      assert.match(error.message, /gone.*127\.0\.0\.1:1/);
    }));

  it('with an untrusted certificate', () =>
    oneRefusal('target_certificate_untrusted', async () => {
      const error = await loginError({ database: 'stranger', user: 'reader', password: await harness.token('reader') });
      assert.equal(error.code, '08001');
      assert.match(error.message, /certificate/);
    }));

  it('without TLS although it is asked for', () =>
    oneRefusal('target_certificate_untrusted', async () => {
      await loginError({ database: 'plaintext', user: 'reader', password: await harness.token('reader') });
    }));
});

describe('bytes', () => {
  for (const [name, bytes] of [
    ['a length of zero', Buffer.from([0, 0, 0, 0, 0, 0, 0, 0])],
    ['a length of two gigabytes', Buffer.from([0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0])],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    [
      'a start-up packet with half a pair',
      Buffer.concat([Buffer.from([0, 0, 0, 13, 0, 3, 0, 0]), Buffer.from('user\0')]),
    ],
    ['an empty start-up packet', startup({})],
    ['a start-up packet with a user twice', startup({ user: 'a\0user\0b' })],
  ] as const) {
    it(`${name} instead of a start-up packet`, () =>
      oneRefusal('protocol_violation', async () => {
        assert.match(await answerTo(bytes), /^E.*08P01/s);
      }));
  }

  it('TLS that breaks, which gets an alert and not a word in clear', () =>
    oneRefusal('protocol_violation', async () => {
      const answer = await answerTo(Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]));
      assert.equal(answer.codePointAt(0), 0x15, JSON.stringify(answer));
    }));

  it('protocol 2.0', () =>
    oneRefusal('protocol_violation', async () => {
      assert.match(await answerTo(startup({ user: 'x' }, 131_072)), /^E/);
    }));

  it('bytes behind an SSLRequest', () =>
    oneRefusal('protocol_violation', async () => {
      assert.match(await answerTo(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47, 1])), /^E/);
    }));

  it('a client that sends nothing is timed out and holds up nobody', () =>
    oneRefusal('handshake_timeout', async () => {
      const silent = answerTo(undefined);
      const client = await harness.connect('reader');
      assert.equal((await client.query('select 1')).rowCount, 1);
      await client.end();
      assert.match(await silent, /^E.*08P01/s);
    }));

  it('a statement over the limit is refused, a message over the limit ends the session', async () => {
    const client = await harness.connect('reader');
    const padded = (size: number) => `drop table plain --${'x'.repeat(size)}`;
    await assert.rejects(client.query(padded(60_000)), (error: pg.DatabaseError) => error.code === '42501');
    await assert.rejects(client.query(padded(120_000)), /larger than the limit|terminated/);
    assert.equal((await harness.target('select 1 from plain limit 1')).length, 1);
    assert.ok(!(await harness.targetLog()).includes('drop table plain --'));
    const another = await harness.connect('reader');
    await another.query('select 1');
  });

  it('clients that reset their connections end their own sessions only', async () => {
    for (let round = 0; round < 5; round++) {
      const client = await harness.connect('reader');
      const query = client.query('select count(*) from plain a, plain b, plain c').catch(() => undefined);
      const { stream } = (client as unknown as { connection: { stream: tls.TLSSocket & { _parent?: net.Socket } } })
        .connection;
      (stream._parent ?? stream).resetAndDestroy();
      await query;
    }
    const another = await harness.connect('reader');
    await another.query('select 1');
  });

  it('an unknown message type ends the session with an error', async () => {
    const client = await harness.connect('reader');
    const ended = new Promise<void>((resolve) => client.once('end', () => resolve()));
    (client as unknown as { connection: { stream: tls.TLSSocket } }).connection.stream.write(
      Buffer.from([0x7e, 0, 0, 0, 4]),
    );
    await ended;
    const another = await harness.connect('reader');
    await another.query('select 1');
  });
});
