/**
 * Where the command line keeps its log-ins: one file per server under ~/.config/countersign (or COUNTERSIGN_HOME), that
 * only its owner can read. A file is replaced whole, so a reader never sees half of one.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { CountersignError } from '../errors.ts';

export interface StoredLogin {
  /** The Countersign server that the log-in is for. */
  readonly server: string;
  readonly issuer: string;
  readonly clientId: string;
  readonly accessToken: string;
  readonly refreshToken?: string | undefined;
  /** ISO 8601. */
  readonly expiresAt: string;
}

const storedLogin = z.object({
  server: z.string(),
  issuer: z.string(),
  clientId: z.string(),
  accessToken: z.string(),
  refreshToken: z.string().optional(),
  expiresAt: z.iso.datetime(),
});

const lockWaitMs = 40_000;
/** Longer than any refresh takes: its maker must have died. */
const lockStaleMs = 35_000;

export function defaultHome(environment: NodeJS.ProcessEnv = process.env): string {
  const named = environment['COUNTERSIGN_HOME'];
  return named === undefined || named === '' ? path.join(os.homedir(), '.config', 'countersign') : named;
}

/** @throws CountersignError `input_invalid` for what is no address */
export function tokenFile(home: string, server: string): string {
  const url = URL.parse(server);
  if (url === null || url.host === '') {
    throw new CountersignError('input_invalid', `${JSON.stringify(server)} is no server address`, {
      hint: 'an address looks like https://countersign.example.com',
    });
  }
  const scheme = url.protocol === 'https:' ? '' : `${url.protocol.replace(':', '')}_`;
  const place = `${scheme}${url.host}${url.pathname.replace(/\/+$/, '')}`;
  // The name is for people; the file itself says which server it is for.
  return path.join(home, `${place.replaceAll(/[^A-Za-z0-9.-]/g, '_')}.json`);
}

/** @returns undefined when there is none, it cannot be read as one, or it is for another server */
export async function readLogin(file: string, server: string): Promise<StoredLogin | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw new CountersignError('input_invalid', `cannot read the stored log-in ${file}`, { cause: error });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const result = storedLogin.safeParse(value);
  return result.success && result.data.server === server ? result.data : undefined;
}

export async function writeLogin(file: string, login: StoredLogin): Promise<void> {
  const directory = path.dirname(file);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  const handle = await open(temporary, 'wx', 0o600);
  try {
    await handle.writeFile(`${JSON.stringify(login, null, 2)}\n`);
    await handle.close();
    // The umask can only take rights away; this states them.
    await chmod(temporary, 0o600);
    await rename(temporary, file);
  } catch (error) {
    await handle.close().catch(() => undefined);
    await rm(temporary, { force: true });
    throw error;
  }
}

export async function removeLogin(file: string): Promise<void> {
  await rm(file, { force: true });
}

/** One process at a time works on the file: a refresh token that is used twice ends the log-in at many providers. */
export async function withLock<T>(file: string, work: () => Promise<T>): Promise<T> {
  const lock = `${file}.lock`;
  const deadlineMs = Date.now() + lockWaitMs;
  for (;;) {
    try {
      await (await open(lock, 'wx', 0o600)).close();
      break;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
    const age = await stat(lock).then(
      (found) => Date.now() - found.mtimeMs,
      () => 0,
    );
    if (age > lockStaleMs) await rm(lock, { force: true });
    else if (Date.now() > deadlineMs) {
      throw new CountersignError('internal', `another process holds ${lock}`, {
        hint: 'remove it if no other countersign runs',
      });
    } else await sleep(50);
  }
  try {
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
