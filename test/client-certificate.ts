/** An authority and a client certificate of it, for mutual TLS in tests. */
import { generate } from 'selfsigned';

export interface ClientCertificate {
  readonly certPem: string;
  readonly keyPem: string;
  readonly caPem: string;
}

/** `usage: 'server'`: one that must not be taken for a client's. */
export async function makeClientCertificate(usage: 'client' | 'server' = 'client'): Promise<ClientCertificate> {
  const common = {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() - 3_600_000),
    notAfterDate: new Date(Date.now() + 86_400_000),
  } as const;
  const authority = await generate([{ name: 'commonName', value: `Authority of a ${usage}` }], {
    ...common,
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  const client = await generate([{ name: 'commonName', value: 'client' }], {
    ...common,
    ca: { key: authority.private, cert: authority.cert },
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', ...(usage === 'client' ? { clientAuth: true } : { serverAuth: true }) },
    ],
  });
  return { certPem: client.cert, keyPem: client.private, caPem: authority.cert };
}
