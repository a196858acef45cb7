/**
 * The handshake of the listener, side by side with PostgreSQL 18 (and 15 where it knows the thing): versions, TLS in
 * both ways, channel binding, cancel keys. What the servers say is the expectation, not what we believe that they say.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { makeCertificate } from '../demo/certificate.ts';
import { hasDebianPostgres, startEmbeddedPostgres, type EmbeddedPostgres } from '../demo/embedded-postgres.ts';
import { tlsServerEndPoint } from '../src/wire/postgres/channel-binding.ts';
import { encodeCancelRequest, encodeQuery } from '../src/wire/postgres/frontend.ts';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness } from './harness.ts';
import { encoded, gssEncRequest, RawClient, sslRequest, startupPacket, type Credentials } from './raw-client.ts';

interface Peer {
  readonly name: string;
  readonly port: number;
  readonly credentials: Credentials;
}

let harness: Harness;
let server18: EmbeddedPostgres;
let server15: EmbeddedPostgres | undefined;
let gateway: Peer;
let postgres18: Peer;
const peers: Peer[] = [];

before(async () => {
  const certificate = await makeCertificate({ hosts: ['localhost'] });
  server18 = await startEmbeddedPostgres({ tls: certificate });
  if (hasDebianPostgres()) server15 = await startEmbeddedPostgres({ tls: certificate, version: 'debian15' });
  harness = await startHarness({ schema: customersSchema });
  const issued = await harness.api<{ user: string; password: string }>('reader', 'POST', '/credentials', {
    connection: 'crm',
  });
  const { user, password } = issued.body;
  gateway = { name: 'the gateway', port: harness.app.postgresPort, credentials: { user, password, database: 'crm' } };
  const asPeer = (name: string, { port, user, password }: EmbeddedPostgres): Peer => ({
    name,
    port,
    credentials: { user, password, database: 'postgres' },
  });
  postgres18 = asPeer('PostgreSQL 18', server18);
  peers.push(gateway, postgres18);
  if (server15 !== undefined) peers.push(asPeer('PostgreSQL 15', server15));
});

after(async () => {
  await harness?.close();
  await server18?.stop();
  await server15?.stop();
});

async function overTls({ port }: Peer): Promise<RawClient> {
  const client = await RawClient.connect(port);
  client.write(sslRequest);
  assert.equal(await client.letter(), 'S');
  await client.startTls();
  return client;
}

/** Holds the same talk with each and expects the same words from each. */
async function alike(talk: (peer: Peer) => Promise<unknown>, with15 = true): Promise<unknown> {
  const answers = new Map<string, unknown>();
  for (const peer of peers) {
    if (peer.name === 'PostgreSQL 15' && !with15) continue;
    answers.set(peer.name, await talk(peer));
  }
  const expected = answers.get('PostgreSQL 18');
  for (const [name, answer] of answers) assert.deepEqual(answer, expected, `${name} and PostgreSQL 18`);
  return expected;
}

/** An error's class and nothing more: wording and SQLSTATE are each product's own. */
function withoutWords(said: string): string {
  return said.replace(/^(FATAL) .*/s, '$1');
}

describe('the protocol version', () => {
  for (const minor of [0, 1, 2, 3, 9_999]) {
    for (const options of [{}, { '_pq_.one': 'x', '_pq_.two': '' }] as Record<string, string>[]) {
      const names = Object.keys(options);
      it(`3.${minor} with ${names.length} options: the answer, the offer and the key are PostgreSQL 18's`, async () => {
        const said = (await alike(async (peer) => {
          const client = await overTls(peer);
          const talk = await client.logIn(peer.credentials, { minor, parameters: options });
          client.destroy();
          return talk.said;
        }, false)) as string[];
        assert.equal(said.at(-1), 'Z');
        assert.equal(said.at(-2), `key of ${minor >= 2 ? 32 : 4} bytes`);
        assert.equal(said[0]?.startsWith('version'), minor > 2 || names.length > 0);
      });
    }
  }

  it('3.0 is the same with PostgreSQL 15', async () => {
    await alike(async (peer) => {
      const client = await overTls(peer);
      const { said } = await client.logIn(peer.credentials, { parameters: { '_pq_.one': 'x' } });
      client.destroy();
      return said;
    });
  });

  for (const minor of [0, 2]) {
    it(`3.${minor}: the key cancels, and a wrong or shortened one is ignored`, async () => {
      await alike(async (peer) => {
        const client = await overTls(peer);
        const { processId, key } = await client.logIn(peer.credentials, { minor });
        const cancel = async (secretKey: Buffer) => {
          const canceller = await overTls(peer);
          canceller.write(encoded((sink) => encodeCancelRequest(sink, processId, secretKey)));
          assert.equal((await canceller.rest()).length, 0);
        };
        const slow =
          'select count(*) from generate_series(1, 2000) a, generate_series(1, 2000) b, generate_series(1, 50) c';
        client.write(encoded((sink) => encodeQuery(sink, slow)));
        const wrong = Buffer.from(key);
        wrong[key.length - 1] = (wrong[key.length - 1] ?? 0) ^ 1;
        await cancel(wrong);
        if (key.length > 4) await cancel(key.subarray(0, 4));
        let isOver = false;
        const next = client.next().then((said) => {
          isOver = true;
          return said;
        });
        await new Promise((resolve) => setTimeout(resolve, 300));
        assert.equal(isOver, false, 'a wrong key did something');
        await cancel(key);
        let said = await next;
        while (!said.startsWith('ERROR') && said !== 'closed') said = await client.next();
        client.destroy();
        return said.slice(0, 'ERROR 57014'.length);
      }, minor < 2);
    });
  }
});

describe('TLS', () => {
  it('from the first byte on: the same offer as behind SSLRequest', async () => {
    const said = await alike(async (peer) => {
      const client = await RawClient.connect(peer.port);
      const secure = await client.startTls();
      assert.equal(secure.alpnProtocol, 'postgresql');
      const talk = await client.logIn(peer.credentials);
      client.destroy();
      return talk.said;
    }, false);
    assert.match(String(said), /^sasl SCRAM-SHA-256-PLUS SCRAM-SHA-256,/);
  });

  it('from the first byte on, without ALPN: no answer but the end', async () => {
    const said = await alike(async (peer) => {
      const client = await RawClient.connect(peer.port);
      await client.startTls({ ALPNProtocols: [] });
      client.write(startupPacket({ user: peer.credentials.user }));
      return (await client.rest()).toString('latin1');
    }, false);
    assert.equal(said, '');
  });

  for (const how of ['direct', 'requested']) {
    it(`${how}, for another protocol: refused in TLS itself`, async () => {
      await alike(async (peer) => {
        const client = await RawClient.connect(peer.port);
        if (how === 'requested') {
          client.write(sslRequest);
          await client.letter();
        }
        return client.startTls({ ALPNProtocols: ['http/1.1'] }).then(
          () => 'accepted',
          (error: Error) => /no.application.protocol/i.exec(error.message)?.[0].toLowerCase() ?? error.message,
        );
      }, false);
    });
  }

  it('is also there without ALPN behind SSLRequest, for older clients', async () => {
    await alike(async (peer) => {
      const client = await RawClient.connect(peer.port);
      client.write(sslRequest);
      assert.equal(await client.letter(), 'S');
      await client.startTls({ ALPNProtocols: [] });
      const { said } = await client.logIn(peer.credentials);
      client.destroy();
      return said;
    });
  });

  it('that breaks: an alert or the end, and nothing in clear', async () => {
    await alike(async (peer) => {
      const client = await RawClient.connect(peer.port);
      client.write(Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]));
      const rest = await client.rest();
      return rest.length === 0 || rest[0] === 0x15;
    });
  });

  it('bytes behind SSLRequest, in clear, are refused', async () => {
    const smuggled = startupPacket({ ...gateway.credentials });
    const early = await RawClient.connect(gateway.port);
    early.write(Buffer.concat([sslRequest, smuggled]));
    assert.match(await early.next(), /^FATAL 08P01 received unencrypted data/);
    assert.equal(await early.next(), 'closed');
    // PostgreSQL looks only when TLS is there, and 18 has fed the bytes to TLS by then: all that counts is that none works.
    await alike(async (peer) => {
      if (peer === gateway) return 'refused';
      const client = await RawClient.connect(peer.port);
      client.write(Buffer.concat([sslRequest, smuggled]));
      if ((await client.letter()) !== 'S') return 'refused';
      try {
        await client.startTls();
      } catch {
        return 'refused';
      }
      return /^(FATAL 08P01|closed)/.test(await client.next()) ? 'refused' : 'taken';
    });
  });

  it('bytes behind GSSENCRequest, before it was answered, are refused', async () => {
    await alike(async (peer) => {
      const client = await RawClient.connect(peer.port);
      client.write(Buffer.concat([gssEncRequest, startupPacket({ ...peer.credentials })]));
      const rest = (await client.rest()).toString('latin1');
      // PostgreSQL has written its letter before it looks; we look first.
      return /^N?E.*08P01/s.test(rest) ? 'refused' : rest;
    }, false);
  });

  // Debian's PostgreSQL 15 has GSSAPI and says G.
  it('GSSENCRequest is answered N, and SSLRequest or the start-up packet goes on', async () => {
    await alike(async (peer) => {
      const client = await RawClient.connect(peer.port);
      client.write(gssEncRequest);
      const first = await client.letter();
      client.write(sslRequest);
      const second = await client.letter();
      await client.startTls();
      const { said } = await client.logIn(peer.credentials);
      client.destroy();
      return [first, second, said];
    }, false);
  });

  it('a request for encryption inside TLS is refused', async () => {
    for (const request of [sslRequest, gssEncRequest]) {
      await alike(async (peer) => {
        const client = await overTls(peer);
        client.write(request);
        return [withoutWords(await client.next()), await client.next()];
      });
    }
  });

  it('a second GSSENCRequest is refused', async () => {
    await alike(async (peer) => {
      const client = await RawClient.connect(peer.port);
      client.write(gssEncRequest);
      await client.letter();
      client.write(gssEncRequest);
      return [withoutWords(await client.next()), await client.next()];
    }, false);
  });
});

describe('channel binding', () => {
  /** Logs in over TLS with a client that sees this certificate and this offer. */
  async function bound(peer: Peer, see: { binding?: Buffer; offer?: readonly string[] }): Promise<string[]> {
    const client = await RawClient.connect(peer.port);
    client.write(sslRequest);
    await client.letter();
    const secure = await client.startTls();
    const real = tlsServerEndPoint(new X509Certificate(secure.getPeerX509Certificate()?.raw ?? '').raw);
    const { said } = await client.logIn(peer.credentials, {
      scram: { binding: see.binding ?? real },
      ...(see.offer === undefined ? {} : { offer: see.offer }),
    });
    client.destroy();
    return said.map(withoutWords);
  }

  it('with the certificate of the channel logs in', async () => {
    const said = (await alike((peer) => bound(peer, {}))) as string[];
    assert.ok(!said.includes('FATAL') && said.includes('ok'), String(said));
  });

  it('with another certificate does not', async () => {
    const said = (await alike((peer) => bound(peer, { binding: Buffer.alloc(32) }))) as string[];
    assert.deepEqual(said.slice(-2), ['FATAL', 'closed']);
  });

  it('for which somebody took the offer away is found out', async () => {
    const said = (await alike((peer) => bound(peer, { offer: ['SCRAM-SHA-256'] }))) as string[];
    assert.deepEqual(said.slice(-2), ['FATAL', 'closed']);
  });

  it('is not offered in clear, and a client without it logs in over TLS', async () => {
    await alike(async (peer) => {
      const client = await overTls(peer);
      const { said } = await client.logIn(peer.credentials);
      client.destroy();
      return said;
    });
  });
});

describe('replication connections', () => {
  for (const value of ['true', 'database', 'on', '1', 'yes', 'nonsense']) {
    it(`are refused, however they are asked for: ${value}`, async () => {
      const client = await overTls(gateway);
      client.write(startupPacket({ user: gateway.credentials.user, database: 'crm', replication: value }));
      assert.match(await client.next(), /^FATAL 0A000 .*replication/);
      assert.equal(await client.next(), 'closed');
    });
  }

  it('that are not asked for are no obstacle', async () => {
    await alike(async (peer) => {
      const client = await overTls(peer);
      const { said } = await client.logIn(peer.credentials, { parameters: { replication: 'off' } });
      client.destroy();
      return said;
    });
  });
});
