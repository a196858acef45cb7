/** Debian's pgbouncer in session mode: what a connection proxy written in C costs on the same machine. */
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { chown, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, serviceAccount } from '../demo/embedded-postgres.ts';
import type { Endpoint } from './endpoint.ts';

export interface Pgbouncer {
  readonly endpoint: Endpoint;
  stop(): Promise<void>;
}

const program = '/usr/sbin/pgbouncer';

export function hasPgbouncer(): boolean {
  try {
    accessSync(program, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Everything as Debian ships it but for the pool mode and the number of connections; no TLS, SCRAM on both sides. */
export async function startPgbouncer(target: Endpoint): Promise<Pgbouncer> {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-pgbouncer-'));
  const port = await freePort();
  const usersFile = join(folder, 'users');
  const configurationFile = join(folder, 'pgbouncer.ini');
  const logFile = join(folder, 'log');
  await writeFile(usersFile, `"${target.user}" "${target.password.replaceAll('"', '""')}"\n`, { mode: 0o600 });
  await writeFile(
    configurationFile,
    `[databases]
${target.database} = host=${target.host} port=${target.port} dbname=${target.database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${usersFile}
pool_mode = session
default_pool_size = 64
max_client_conn = 100
logfile = ${logFile}
log_connections = 0
log_disconnections = 0
`,
    { mode: 0o600 },
  );
  const account = await serviceAccount();
  if (account !== undefined) {
    for (const path of [folder, usersFile, configurationFile]) await chown(path, account.uid, account.gid);
  }
  const child = spawn(program, ['--quiet', configurationFile], { ...account, cwd: folder, stdio: 'ignore' });
  const ended = new Promise<void>((done) => {
    child.once('exit', () => done());
    child.once('error', () => done());
  });
  const killNow = (): void => {
    child.kill('SIGKILL');
  };
  process.once('exit', killNow);
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
    process.off('exit', killNow);
    await rm(folder, { recursive: true, force: true });
  };
  for (let tries = 0; !(await accepts(port)); tries += 1) {
    if (tries === 100 || child.pid === undefined || child.exitCode !== null) {
      const log = await readFile(logFile, 'utf8').catch(() => 'no log');
      await stop();
      throw new Error(`pgbouncer did not start: ${log}`);
    }
    await sleep(50);
  }
  if (child.pid === undefined) throw new Error('pgbouncer has no process');
  return { endpoint: { ...target, name: 'pgbouncer', port, pid: child.pid }, stop };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      done(true);
    });
    socket.once('error', () => done(false));
  });
}
