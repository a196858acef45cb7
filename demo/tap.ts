/**
 * A tap between clients and the gateway: it ends the clients' TLS with the gateway's own certificate, passes everything
 * on under TLS, and keeps a copy of every byte that goes to a client. The demo searches that copy for secrets.
 */
import { createWriteStream, type WriteStream } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';

export interface Tap {
  readonly port: number;
  /** Stops, and resolves when the copy is complete on disk. */
  close(): Promise<void>;
}

export interface TapOptions {
  readonly certPem: string;
  readonly keyPem: string;
  readonly caPem: string;
  readonly gatewayPort: () => number;
  readonly copyTo: string;
}

const sslRequest = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);

export async function startTap(options: TapOptions): Promise<Tap> {
  const copy = createWriteStream(options.copyTo);
  const sockets = new Set<net.Socket>();
  const server = net.createServer((client) => {
    sockets.add(client);
    client.on('close', () => sockets.delete(client));
    client.on('error', () => client.destroy());
    client.once('data', (first) => {
      if (first.equals(sslRequest)) connect(client, options, copy, sockets);
      else passCancel(client, first, options);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await new Promise<void>((resolve) => copy.end(() => resolve()));
    },
  };
}

function connect(client: net.Socket, options: TapOptions, copy: WriteStream, sockets: Set<net.Socket>): void {
  client.write('S');
  const inner = new tls.TLSSocket(client, { isServer: true, cert: options.certPem, key: options.keyPem });
  const plain = net.connect(options.gatewayPort(), '127.0.0.1');
  sockets.add(plain);
  const end = () => {
    inner.destroy();
    plain.destroy();
  };
  inner.on('error', end);
  plain.on('error', end);
  plain.once('connect', () => plain.write(sslRequest));
  plain.once('data', () => {
    const outer = tls.connect({ socket: plain, ca: options.caPem, checkServerIdentity: () => undefined });
    outer.on('error', end);
    outer.on('data', (bytes) => copy.write(bytes));
    outer.pipe(inner);
    inner.pipe(outer);
    inner.on('close', () => outer.end());
    outer.on('close', () => inner.end());
  });
}

/** Cancel requests may come without TLS; they bring nothing back. */
function passCancel(client: net.Socket, first: Buffer, options: TapOptions): void {
  const gateway = net.connect(options.gatewayPort(), '127.0.0.1', () => gateway.write(first));
  gateway.on('error', () => client.destroy());
  client.pipe(gateway).pipe(client);
}
