/** A certificate authority and one server certificate of it, for the demo, the tests and the benchmarks. */
import { isIP } from 'node:net';
import { generate } from 'selfsigned';

export interface ServerCertificate {
  readonly certPem: string;
  readonly keyPem: string;
  /** What a client must trust. */
  readonly caPem: string;
}

/** `hosts` are DNS names and IP addresses; valid from an hour ago for 30 days. Each call makes a new authority. */
export async function makeCertificate({ hosts }: { readonly hosts: readonly string[] }): Promise<ServerCertificate> {
  const nowMs = Date.now();
  const common = {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(nowMs - 3_600_000),
    notAfterDate: new Date(nowMs + 30 * 86_400_000),
  } as const;
  const authority = await generate([{ name: 'commonName', value: 'Countersign demo authority' }], {
    ...common,
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  const server = await generate([{ name: 'commonName', value: hosts[0] ?? 'localhost' }], {
    ...common,
    ca: { key: authority.private, cert: authority.cert },
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: hosts.map((host) => (isIP(host) === 0 ? { type: 2, value: host } : { type: 7, ip: host })),
      },
    ],
  });
  return { certPem: server.cert, keyPem: server.private, caPem: authority.cert };
}
