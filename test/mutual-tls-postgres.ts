/** A PostgreSQL that takes nobody over TCP without a client certificate, and asks for the password all the same. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ServerCertificate } from '../demo/certificate.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../demo/embedded-postgres.ts';

export async function startMutualTlsPostgres(
  certificate: ServerCertificate,
  clientCaPem: string,
): Promise<EmbeddedPostgres> {
  const home = await mkdtemp(path.join(tmpdir(), 'countersign-mtls-'));
  await chmod(home, 0o755);
  const [caFile, hbaFile] = [path.join(home, 'client-ca.crt'), path.join(home, 'pg_hba.conf')];
  await writeFile(caFile, clientCaPem);
  await writeFile(
    hbaFile,
    'local all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n',
  );
  try {
    const server = await startEmbeddedPostgres({
      tls: certificate,
      settings: { ssl_ca_file: caFile, hba_file: hbaFile },
    });
    return {
      ...server,
      stop: async () => {
        await server.stop();
        await rm(home, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await rm(home, { recursive: true, force: true });
    throw error;
  }
}
