/** Where the listener listens: TCP addresses of either family, and a Unix socket that is named as PostgreSQL's is. */
import { lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { CountersignError } from '../errors.ts';

export interface Addresses {
  /** Host names and IP addresses; at least one. */
  readonly hosts: readonly string[];
  /** The same one everywhere; 0 = a free one. */
  readonly port: number;
  /** The directory of the Unix socket `.s.PGSQL.<port>`; undefined = none. */
  readonly socketDirectory: string | undefined;
}

export interface OpenServers {
  readonly port: number;
  /** Stops accepting (and removes the Unix socket) at once; resolves when the last connection has ended. */
  close(): Promise<void>;
}

type OnConnection = (socket: net.Socket, isLocal: boolean) => void;

/** What the kernel holds of a Unix socket's name, without the final zero. */
const maxSocketPathBytes = 107;

/**
 * Opens every address, or none.
 * @param isPaused nothing is read from a connection before whoever takes it asks for it
 * @throws CountersignError `configuration_invalid`; the system's own errors
 */
export async function listen(
  { hosts, port, socketDirectory }: Addresses,
  onConnection: OnConnection,
  onError: (error: Error) => void,
  isPaused = false,
): Promise<OpenServers> {
  const servers: net.Server[] = [];
  const open = async (isLocal: boolean, options: net.ListenOptions): Promise<net.Server> => {
    const server = net.createServer({ noDelay: !isLocal, pauseOnConnect: isPaused }, (socket) =>
      onConnection(socket, isLocal),
    );
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(options, resolve);
    });
    server.removeAllListeners('error');
    server.on('error', onError);
    servers.push(server);
    return server;
  };
  const close = async () => {
    await Promise.all(servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
  };
  try {
    let bound = port;
    for (const host of hosts) {
      // Next to other addresses, `::` is IPv6 only, so that `0.0.0.0` can stand beside it.
      const server = await open(false, { host, port: bound, ipv6Only: hosts.length > 1 && net.isIPv6(host) });
      bound = portOf(server);
    }
    if (socketDirectory !== undefined) {
      const file = socketFile(socketDirectory, bound);
      await removeStale(file);
      // As with PostgreSQL, the directory is the door, not the file in it.
      await open(true, { path: file, readableAll: true, writableAll: true });
    }
    return { port: bound, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function portOf(server: net.Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

function socketFile(directory: string, port: number): string {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = path.join(directory, `.s.PGSQL.${port}`);
  if (Buffer.byteLength(file) <= maxSocketPathBytes) return file;
  throw new CountersignError(
    'configuration_invalid',
    `gateway.postgres.socket: ${file} is longer than the ${maxSocketPathBytes} bytes that a socket's name may have`,
  );
}

/** Removes the socket that a gateway left behind when it was killed. One where somebody answers is not ours to take. */
async function removeStale(file: string): Promise<void> {
  const found = lstatSync(file, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new CountersignError('configuration_invalid', `gateway.postgres.socket: ${file} is there and is no socket`);
  }
  const state = await new Promise<string>((resolve) => {
    const probe = net.connect(file);
    probe.once('connect', () => {
      probe.destroy();
      resolve('live');
    });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown'));
  });
  if (state !== 'ECONNREFUSED') {
    const why =
      state === 'live' ? 'another process listens there' : `it cannot be told whether it is in use (${state})`;
    throw new CountersignError('configuration_invalid', `gateway.postgres.socket: ${file}: ${why}`);
  }
  unlinkSync(file);
}
