/** What the gateway agrees upon with targets before it logs in, at real servers of 15 and 18 and at ones that misbehave. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import tls from 'node:tls';
import pg from 'pg';
import { makeClientCertificate, type ClientCertificate } from '../../test/client-certificate.ts';
import { startMutualTlsPostgres } from '../../test/mutual-tls-postgres.ts';
import { makeCertificate, type ServerCertificate } from '../../demo/certificate.ts';
import { hasDebianPostgres, startEmbeddedPostgres, type EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { ByteSink } from '../lib/byte-sink.ts';
import { encodeErrorResponse } from '../wire/postgres/backend.ts';
import { Target } from './target.ts';
import { Upstream, type UpstreamOptions } from './upstream.ts';
import type { UpstreamTls, VerifiedTls } from './upstream-tls.ts';

let server18: EmbeddedPostgres;
let server15: EmbeddedPostgres | undefined;
let mutual: EmbeddedPostgres;
let certificate: ServerCertificate;
let clientCertificate: ClientCertificate;
const fakes: net.Server[] = [];

before(async () => {
  certificate = await makeCertificate({ hosts: ['localhost'] });
  clientCertificate = await makeClientCertificate();
  server18 = await startEmbeddedPostgres({ tls: certificate });
  if (hasDebianPostgres()) server15 = await startEmbeddedPostgres({ tls: certificate, version: 'debian15' });
  mutual = await startMutualTlsPostgres(certificate, clientCertificate.caPem);
});

after(async () => {
  for (const fake of fakes) fake.close();
  await server18?.stop();
  await server15?.stop();
  await mutual?.stop();
});

function options(
  server: { port: number; user?: string; password?: string; host?: string },
  channel: UpstreamTls,
  timeoutMs = 5_000,
): UpstreamOptions {
  const { port, user = 'postgres', password = 'x', host = '127.0.0.1' } = server;
  const address = { name: 'crm', host, port, database: 'postgres', tls: channel };
  return { address, user, password, parameters: { client_encoding: 'UTF8' }, timeoutMs };
}

function verified(more: Partial<VerifiedTls> = {}): VerifiedTls {
  return { mode: 'verify-full', ca: certificate.caPem, serverName: 'localhost', ...more };
}

async function fakeServer(onConnection: (socket: net.Socket) => void): Promise<number> {
  const fake = net.createServer((socket) => {
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  fakes.push(fake);
  fake.listen(0, '127.0.0.1');
  await once(fake, 'listening');
  return (fake.address() as net.AddressInfo).port;
}

function errorFrame(sqlstate: string): Buffer {
  const sink = new ByteSink(64);
  encodeErrorResponse(sink, { S: 'FATAL', C: sqlstate, M: 'no' });
  return sink.take();
}

async function connected(wanted: UpstreamOptions): Promise<Upstream> {
  const upstream = await Upstream.connect(wanted);
  upstream.end();
  return upstream;
}

async function refused(wanted: UpstreamOptions, code: string, message: RegExp): Promise<void> {
  await assert.rejects(connected(wanted), (error: Error & { code?: string }) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

/** Starts a long statement in the upstream session, cancels it, and waits for the server's word. */
async function cancelled(upstream: Upstream): Promise<string> {
  const text = 'select pg_sleep(30)\0';
  const query = Buffer.alloc(5 + text.length);
  query.write('Q');
  query.writeInt32BE(4 + text.length, 1);
  query.write(text, 5);
  let received = '';
  const answered = new Promise<void>((resolve) => {
    upstream.attach(
      (buffer, start, end) => {
        received += buffer.subarray(start, end).toString('latin1');
        if (received.includes('57014')) resolve();
      },
      () => undefined,
      () => resolve(),
    );
  });
  upstream.write(query);
  await new Promise((resolve) => setTimeout(resolve, 200));
  await upstream.cancel();
  await answered;
  upstream.end();
  return received;
}

describe('the protocol version', () => {
  it('is 3.2 with PostgreSQL 18, whose long key cancels', async () => {
    const upstream = await Upstream.connect(options(server18, verified()));
    assert.equal(upstream.secretKey.length, 32);
    assert.match(await cancelled(upstream), /57014/);
  });

  it('is 3.0 with PostgreSQL 15, whose short key cancels', async (t) => {
    if (server15 === undefined) return t.skip('PostgreSQL 15 is not installed');
    const upstream = await Upstream.connect(options(server15, verified()));
    assert.equal(upstream.secretKey.length, 4);
    assert.match(await cancelled(upstream), /57014/);
  });

  for (const [how, refusal] of [
    ['with an error', errorFrame('08P01')],
    ['without a word', undefined],
  ] as const) {
    it(`falls back to 3.0 where 3.2 is refused ${how}`, async () => {
      const minors: number[] = [];
      const port = await fakeServer((socket) => {
        socket.once('data', (startup) => {
          minors.push(startup.readUInt16BE(6));
          if (startup.readUInt16BE(6) > 0) {
            socket.end(refusal ?? '');
            return;
          }
          socket.write(Buffer.from('R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x01abcdZ\0\0\0\x05I', 'latin1'));
        });
      });
      const upstream = await connected(options({ port }, { mode: 'disable' }));
      assert.deepEqual(minors, [2, 0]);
      assert.equal(upstream.secretKey.toString(), 'abcd');
    });
  }

  it('is not tried again where the log-in itself is refused, or the target claims a newer one', async () => {
    let connections = 0;
    const port = await fakeServer((socket) => {
      connections++;
      socket.once('data', () => socket.end(errorFrame('28P01')));
    });
    await refused(options({ port }, { mode: 'disable' }), 'target_login_failed', /28P01/);
    assert.equal(connections, 1);
    const newer = await fakeServer((socket) => {
      socket.once('data', () => socket.write(Buffer.from('v\0\0\0\x0c\0\x03\0\x03\0\0\0\0', 'latin1')));
    });
    await refused(options({ port: newer }, { mode: 'disable' }), 'target_login_failed', /3\.3/);
  });
});

describe('channel binding', () => {
  it('is used where the target offers it, which is over TLS', async () => {
    for (const server of [server18, server15]) {
      if (server === undefined) continue;
      assert.equal((await connected(options(server, verified()))).isChannelBound, true);
      assert.equal((await connected(options(server, { mode: 'disable' }))).isChannelBound, false);
    }
  });

  it('stops a log-in that somebody relays through TLS of their own, although the certificate verifies', async () => {
    const other = await makeCertificate({ hosts: ['localhost'] });
    const port = await fakeServer((socket) => {
      socket.once('data', () => {
        socket.write('S');
        const context = tls.createSecureContext({ cert: other.certPem, key: other.keyPem });
        const front = new tls.TLSSocket(socket, {
          isServer: true,
          secureContext: context,
          ALPNProtocols: ['postgresql'],
        });
        const plain = net.connect(server18.port, '127.0.0.1', () =>
          plain.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])),
        );
        plain.once('data', () => {
          const back = tls.connect({ socket: plain, rejectUnauthorized: false, ALPNProtocols: ['postgresql'] });
          back.pipe(front).pipe(back);
          for (const end of [front, back]) end.on('error', () => socket.destroy());
        });
      });
    });
    const channel = verified({ ca: other.caPem });
    await refused(options({ ...server18, port }, channel), 'target_login_failed', /channel binding/);
  });
});

describe('TLS from the first byte on', () => {
  it("works with PostgreSQL 18, for sessions, cancel requests and the gateway's own questions", async () => {
    const channel = verified({ isDirect: true });
    const upstream = await Upstream.connect(options(server18, channel));
    assert.equal(upstream.isChannelBound, true);
    assert.match(await cancelled(upstream), /57014/);
    const target = new Target({
      ...options(server18, channel),
      searchPath: ['public'],
      connectTimeoutMs: 5_000,
      statementTimeoutMs: 5_000,
    });
    const ssl = await target.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()');
    assert.deepEqual(ssl.rows, [['t']]);
    await target.close();
  });

  it('is refused by PostgreSQL 15, and by TLS that is not for PostgreSQL', async () => {
    const channel = verified({ isDirect: true });
    if (server15 !== undefined) await refused(options(server15, channel), 'target_certificate_untrusted', /TLS/);
    const plain = tls.createServer({ cert: certificate.certPem, key: certificate.keyPem }, (socket) =>
      socket.on('error', () => undefined),
    );
    fakes.push(plain);
    plain.listen(0, '127.0.0.1');
    await once(plain, 'listening');
    const { port } = plain.address() as net.AddressInfo;
    await refused(options({ port }, channel), 'target_certificate_untrusted', /ALPN/);
  });
});

describe('a client certificate', () => {
  it("opens a target that requires one, for sessions and for the gateway's own questions", async () => {
    await refused(options(mutual, verified()), 'target_login_failed', /client certificate/);
    const channel = verified({ client: { cert: clientCertificate.certPem, key: clientCertificate.keyPem } });
    assert.equal((await connected(options(mutual, channel))).isChannelBound, true);
    await refused(options({ ...mutual, password: 'wrong' }, channel), 'target_login_failed', /28P01/);
    const target = new Target({
      ...options(mutual, channel),
      searchPath: ['public'],
      connectTimeoutMs: 5_000,
      statementTimeoutMs: 5_000,
    });
    assert.deepEqual((await target.query('select 1')).rows, [['1']]);
    await target.close();
  });

  it('of another authority is refused', async () => {
    const other = await makeClientCertificate();
    const channel = verified({ client: { cert: other.certPem, key: other.keyPem } });
    await assert.rejects(connected(options(mutual, channel)), /crm/);
  });
});

describe('a Unix socket', () => {
  it('is where a host with a slash leads', async () => {
    const host = server18.socketDirectory;
    const upstream = await Upstream.connect(options({ ...server18, host }, { mode: 'disable' }));
    assert.match(await cancelled(upstream), /57014/);
    const client = new pg.Client({ host, port: server18.port, user: 'postgres', password: server18.password });
    await client.connect();
    await client.end();
  });
});

describe('the time for a log-in', () => {
  it('also ends a wait for an answer to SSLRequest and for TLS itself', async () => {
    let open = 0;
    const watch = (socket: net.Socket) => {
      open++;
      socket.on('close', () => open--);
      socket.resume();
    };
    const silent = await fakeServer(watch);
    const stuck = await fakeServer((socket) => {
      watch(socket);
      socket.once('data', () => socket.write('S'));
    });
    for (const port of [silent, stuck]) {
      await refused(options({ port }, verified(), 300), 'target_unreachable', /300 ms/);
    }
    await refused(options({ port: silent }, verified({ isDirect: true }), 300), 'target_unreachable', /300 ms/);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(open, 0, 'a socket was left open');
  });
});
