/** What `doctor` may ask of a target: the gateway's own questions, and the certificate that the target shows. */
import net from 'node:net';
import type { ExaminedTarget } from '../review/doctor.ts';
import type { WiredConnection } from './data-plane.ts';
import { startUpstreamTls } from './upstream-tls.ts';

const patienceMs = 10_000;

export function examinedTarget({ configuration, target, listener }: WiredConnection): ExaminedTarget {
  const { address, gate } = listener;
  return {
    name: configuration.name,
    query: (sql) => target.query(sql),
    database: async () => {
      const { systemIdentifier, databaseOid } = await target.identity();
      return `${systemIdentifier}/${databaseOid}`;
    },
    catalogue: async () => {
      const { catalogue, maskIndex } = await gate.refresh();
      return { catalogue, index: maskIndex };
    },
    certificate: async () => {
      if (address.tls.mode === 'disable') return undefined;
      const plain = net.connect({ host: address.host, port: address.port });
      plain.setTimeout(patienceMs, () => plain.destroy(new Error('the target does not answer')));
      try {
        const { socket, certificate } = await startUpstreamTls(plain, address, address.tls);
        socket.destroy();
        return certificate;
      } finally {
        plain.destroy();
      }
    },
  };
}
