import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { makeCertificate, type ServerCertificate } from '../../demo/certificate.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { Upstream, type UpstreamOptions } from './upstream.ts';

let server: EmbeddedPostgres;
let certificate: ServerCertificate;

before(async () => {
  certificate = await makeCertificate({ hosts: ['localhost'] });
  server = await startEmbeddedPostgres({ tls: certificate });
});

after(async () => {
  await server?.stop();
});

function options(tls: UpstreamOptions['address']['tls'], more: Partial<UpstreamOptions> = {}): UpstreamOptions {
  return {
    address: { name: 'crm', host: '127.0.0.1', port: server.port, database: 'postgres', tls },
    user: server.user,
    password: server.password,
    parameters: { client_encoding: 'UTF8' },
    timeoutMs: 5_000,
    ...more,
  };
}

const verified = (serverName: string | undefined, ca: string | undefined) => ({
  mode: 'verify-full' as const,
  ca,
  serverName,
});

async function refused(options: UpstreamOptions, code: string, message: RegExp): Promise<void> {
  await assert.rejects(
    Upstream.connect(options).then((upstream) => upstream.destroy()),
    (error: Error & { code?: string }) => error.code === code && message.test(error.message),
  );
}

describe('the log-in to a target', () => {
  it('works over TLS when the authority and the name are right, and without TLS on the same machine', async () => {
    for (const tls of [verified('localhost', certificate.caPem), { mode: 'disable' as const }]) {
      const upstream = await Upstream.connect(options(tls));
      assert.equal(upstream.parameterStatuses.get('client_encoding'), 'UTF8');
      assert.ok(upstream.processId > 0);
      upstream.end();
    }
  });

  it('refuses an authority that is not trusted, and a certificate of another name', async () => {
    const other = await makeCertificate({ hosts: ['localhost'] });
    await refused(options(verified('localhost', undefined)), 'target_certificate_untrusted', /not trusted/);
    await refused(options(verified('localhost', other.caPem)), 'target_certificate_untrusted', /not trusted/);
    await refused(
      options(verified('elsewhere.example', certificate.caPem)),
      'target_certificate_untrusted',
      /not trusted/,
    );
  });

  it('names a wrong password, a target that is not there, and one that does not answer', async () => {
    await refused(options({ mode: 'disable' }, { password: 'wrong' }), 'target_login_failed', /28P01/);
    const nowhere = options({ mode: 'disable' });
    await refused({ ...nowhere, address: { ...nowhere.address, port: 1 } }, 'target_unreachable', /127\.0\.0\.1:1/);
    const { createServer } = await import('node:net');
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const address = silent.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await refused(
      { ...nowhere, timeoutMs: 300, address: { ...nowhere.address, port } },
      'target_unreachable',
      /300 ms/,
    );
    silent.close();
  });
});
