/**
 * A gateway that is reached in every way there is (IPv4, IPv6, a Unix socket, TLS with client certificates) and reaches a
 * target with TLS from the first byte on and a certificate of its own; with node-postgres and the real libpq.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { makeCertificate } from '../demo/certificate.ts';
import type { EmbeddedPostgres } from '../demo/embedded-postgres.ts';
import { makeClientCertificate, type ClientCertificate } from './client-certificate.ts';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness } from './harness.ts';
import { startMutualTlsPostgres } from './mutual-tls-postgres.ts';
import { hasPsql, runPsql } from './psql.ts';
import { RawClient, sslRequest, startupPacket } from './raw-client.ts';

const home = mkdtempSync(path.join(tmpdir(), 'cs-listener-'));
const socketDirectory = path.join(home, 's');
const file = (name: string) => path.join(home, name);

let harness: Harness;
let target: EmbeddedPostgres;
let mine: ClientCertificate;
/** Of an authority that the gateway trusts, but for a server. */
let ofServer: ClientCertificate;
let issued: { user: string; password: string };

before(async () => {
  const targetCertificate = await makeCertificate({ hosts: ['localhost'] });
  const gatewayCertificate = await makeClientCertificate();
  mine = await makeClientCertificate();
  ofServer = await makeClientCertificate('server');
  for (const [name, text] of Object.entries({
    'target-ca.crt': targetCertificate.caPem,
    'gateway-client.crt': gatewayCertificate.certPem,
    'gateway-client.key': gatewayCertificate.keyPem,
    'client-ca.crt': `${mine.caPem}\n${ofServer.caPem}`,
    'client.crt': mine.certPem,
    'client.key': mine.keyPem,
  })) {
    writeFileSync(file(name), text, { mode: 0o600 });
  }
  target = await startMutualTlsPostgres(targetCertificate, gatewayCertificate.caPem);
  harness = await startHarness({
    schema: customersSchema,
    configure: (configuration) => {
      const { postgres, limits } = configuration['gateway'] as { postgres: { tls: object }; limits: object };
      const tls = { ...postgres.tls, clientCaFile: file('client-ca.crt') };
      const host = ['127.0.0.1', ...(hasIPv6 ? ['::1'] : [])];
      configuration['gateway'] = { limits, postgres: { ...postgres, tls, host, socket: socketDirectory } };
      const connections = configuration['connections'] as Record<string, unknown>[];
      const login = { user: target.user, password: target.password };
      connections.push({
        ...connections[0],
        name: 'mutual',
        port: target.port,
        database: 'postgres',
        credentials: { gateway: login, designer: login, executor: login },
        tls: {
          mode: 'verify-full',
          caFile: file('target-ca.crt'),
          serverName: 'localhost',
          certFile: file('gateway-client.crt'),
          keyFile: file('gateway-client.key'),
          negotiation: 'direct',
        },
      });
    },
  });
  const answer = await harness.api<{ user: string; password: string }>('reader', 'POST', '/credentials', {});
  issued = { user: answer.body.user, password: answer.body.password };
});

const hasIPv6 = existsSync('/proc/net/if_inet6');

after(async () => {
  await harness?.close();
  assert.ok(!existsSync(socketFile()), 'the Unix socket outlived the gateway');
  await target?.stop();
  rmSync(home, { recursive: true, force: true });
});

let lastPort = 0;
function socketFile(): string {
  lastPort = harness.app.postgresPort;
  return path.join(socketDirectory, `.s.PGSQL.${lastPort}`);
}

function ssl(certificate: ClientCertificate | undefined = mine) {
  return { ca: harness.caPem, cert: certificate?.certPem, key: certificate?.keyPem };
}

async function refused(work: Promise<unknown>, sqlstate: string, message: RegExp): Promise<void> {
  await assert.rejects(work, (error: pg.DatabaseError) => {
    assert.equal(error.code, sqlstate, error.message);
    assert.match(error.message, message);
    return true;
  });
}

async function oneRow(client: pg.Client): Promise<void> {
  assert.deepEqual((await client.query('select 1 as one')).rows, [{ one: 1 }]);
  await client.end();
}

describe('a required client certificate', () => {
  it('opens the door, and the log-in is needed all the same', async () => {
    await oneRow(await harness.connect('reader', { ssl: ssl() }));
    await refused(harness.connect('reader', { ssl: ssl(), password: 'wrong' }), '28P01', /password/);
  });

  it("that is missing, of another authority, or a server's is refused in words", async () => {
    const words = /requires a valid client certificate/;
    await refused(harness.connect('reader', { ssl: { ca: harness.caPem } }), '28000', words);
    await refused(harness.connect('reader', { ssl: ssl(await makeClientCertificate()) }), '28000', words);
    await refused(harness.connect('reader', { ssl: ssl(ofServer) }), '28000', /INVALID_PURPOSE/);
    const refusals = (await harness.entries()).filter((entry) => entry['code'] === 'client_certificate_refused');
    assert.equal(refusals.length, 3);
  });

  it('is not got round by resuming the TLS session of a client that was refused', async () => {
    const refusedAtFirst = await RawClient.connect(harness.app.postgresPort);
    refusedAtFirst.write(sslRequest);
    await refusedAtFirst.letter();
    const tickets: Buffer[] = [];
    const secure = await refusedAtFirst.startTls();
    secure.on('session', (ticket: Buffer) => tickets.push(ticket));
    refusedAtFirst.write(startupPacket({ user: issued.user, database: 'crm' }));
    assert.match(await refusedAtFirst.next(), /^FATAL 28000/);
    const [session] = tickets;
    assert.ok(session !== undefined);
    const again = await RawClient.connect(harness.app.postgresPort);
    again.write(sslRequest);
    await again.letter();
    const resumed = await again.startTls({ session });
    assert.ok(resumed.isSessionReused());
    again.write(startupPacket({ user: issued.user, database: 'crm' }));
    assert.match(await again.next(), /^FATAL 28000 .*none was shown/);
  });

  it('works with libpq, and is not asked for before TLS is there', async (t) => {
    if (!hasPsql(15)) return t.skip('psql is not installed');
    const base = { host: '127.0.0.1', port: harness.app.postgresPort, dbname: 'crm', sslmode: 'require', ...issued };
    const certificate = { sslcert: file('client.crt'), sslkey: file('client.key') };
    const good = await runPsql(15, { ...base, ...certificate }, 'select 41 + 1');
    assert.deepEqual(good, { status: 0, out: '42', err: '' });
    const bad = await runPsql(15, base, 'select 41 + 1');
    assert.equal(bad.status, 2);
    assert.match(bad.err, /requires a valid client certificate/);
  });
});

describe('libpq', () => {
  const settings = {
    'channel binding': { channel_binding: 'require' },
    'TLS from the first byte on': { sslnegotiation: 'direct' },
    'protocol 3.2 and nothing older': { min_protocol_version: '3.2', max_protocol_version: '3.2' },
    'protocol 3.0 and nothing newer': { max_protocol_version: '3.0' },
    everything: { sslnegotiation: 'direct', min_protocol_version: '3.2', channel_binding: 'require' },
  } as const;
  for (const libpq of [15, 18] as const) {
    for (const [name, setting] of Object.entries(settings)) {
      if (libpq === 15 && name !== 'channel binding') continue;
      it(`${libpq} with ${name}: logs in and cancels`, async (t) => {
        if (!hasPsql(libpq)) return t.skip('psql is not installed');
        const connection = {
          host: '127.0.0.1',
          port: harness.app.postgresPort,
          dbname: 'crm',
          sslmode: 'require',
          sslcert: file('client.crt'),
          sslkey: file('client.key'),
          ...issued,
          ...setting,
        };
        assert.deepEqual(await runPsql(libpq, connection, 'select 41 + 1'), { status: 0, out: '42', err: '' });
        const slow =
          'select count(*) from generate_series(1, 3000) a, generate_series(1, 3000) b, generate_series(1, 99) c';
        const cancelled = await runPsql(libpq, connection, slow, 1_000);
        assert.match(cancelled.err, /canceling statement due to user request/);
      });
    }
  }
});

describe('addresses', () => {
  it('are all reached', async (t) => {
    if (!hasIPv6) return t.skip('this machine has no IPv6');
    await oneRow(await harness.connect('reader', { ssl: { ...ssl(), host: 'localhost' }, host: '::1' }));
    const opened = (await harness.entries()).filter((entry) => entry['type'] === 'session.opened');
    assert.equal(opened.at(-1)?.['address'], '::1');
  });
});

describe('the Unix socket', () => {
  const at = () => ({ host: socketDirectory, ssl: false });

  it('takes credentials and tokens, without TLS and without a certificate', async () => {
    await oneRow(await harness.connect('reader', at()));
    await oneRow(await harness.connect('reader', { ...at(), user: 'reader', password: await harness.token('reader') }));
    await refused(harness.connect('reader', { ...at(), password: 'wrong' }), '28P01', /password/);
    const opened = (await harness.entries()).filter((entry) => entry['type'] === 'session.opened');
    assert.equal(opened.at(-1)?.['address'], '[local]');
  });

  it('works with libpq', async (t) => {
    if (!hasPsql(15)) return t.skip('psql is not installed');
    const connection = { host: socketDirectory, port: harness.app.postgresPort, dbname: 'crm', ...issued };
    assert.deepEqual(await runPsql(15, connection, 'select 41 + 1'), { status: 0, out: '42', err: '' });
  });

  it('answers SSLRequest with N, offers no channel binding, and hangs up on TLS', async () => {
    const client = await RawClient.connect({ path: socketFile() });
    client.write(sslRequest);
    assert.equal(await client.letter(), 'N');
    client.write(startupPacket({ user: issued.user, database: 'crm' }));
    assert.equal(await client.next(), 'sasl SCRAM-SHA-256');
    client.destroy();
    const direct = await RawClient.connect({ path: socketFile() });
    await assert.rejects(direct.startTls());
  });
});

describe('a target with TLS from the first byte on and a required certificate', () => {
  it('is reached', async () => {
    const { body } = await harness.api<{ user: string; password: string }>('reader', 'POST', '/credentials', {});
    const client = await harness.connect('reader', { ...body, database: 'mutual', ssl: ssl() });
    await oneRow(client);
  });
});
