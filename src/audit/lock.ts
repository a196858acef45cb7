/**
 * One owner per directory: a lock file that says who. Its owner is gone if its process is (a number that was given to
 * another process does not count), or, for an owner on another machine or in another container, if it stopped touching
 * the file.
 */
import { link, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { randomBytes } from 'node:crypto';
import { CountersignError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';

const touchEveryMs = 10_000;
const foreignStaleMs = 60_000;

interface Owner {
  readonly pid: number;
  /** When the process started, in the kernel's words; empty where the system does not say. */
  readonly started: string;
  readonly host: string;
  readonly token: string;
}

export interface DirectoryLock {
  release(): Promise<void>;
}

/**
 * @param onLost called once if somebody removed or replaced the lock: the directory is no longer ours
 * @throws CountersignError `log_unavailable` naming the owner
 */
export async function lockDirectory(directory: string, clock: Clock, onLost: () => void): Promise<DirectoryLock> {
  const file = path.join(directory, 'lock');
  const own: Owner = {
    pid: process.pid,
    started: processStart(process.pid),
    host: hostname(),
    token: randomBytes(8).toString('hex'),
  };
  const text = `${JSON.stringify(own)}\n`;
  const temporary = `${file}.${own.token}`;
  await writeFile(temporary, text);
  try {
    while (!(await linked(temporary, file))) await removeStale(file, own, clock);
  } finally {
    await rm(temporary, { force: true });
  }
  const timer = setInterval(() => {
    touch(file, text, clock).then(
      (held) => {
        if (!held) lost();
      },
      () => lost(),
    );
  }, touchEveryMs);
  timer.unref();
  const lost = () => {
    clearInterval(timer);
    onLost();
  };
  return {
    async release() {
      clearInterval(timer);
      if ((await readFile(file, 'utf8').catch(() => '')) === text) await rm(file, { force: true });
    },
  };
}

async function touch(file: string, text: string, clock: Clock): Promise<boolean> {
  if ((await readFile(file, 'utf8')) !== text) return false;
  const seconds = clock.now() / 1000;
  await utimes(file, seconds, seconds);
  return true;
}

async function linked(temporary: string, file: string): Promise<boolean> {
  try {
    await link(temporary, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Returns when the lock may be tried again; throws while its owner lives. */
async function removeStale(file: string, own: Owner, clock: Clock): Promise<void> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return;
  const owner = parseOwner(text);
  if (!(await isGone(file, owner, own, clock))) {
    const who = owner === undefined ? 'somebody' : `process ${owner.pid} on ${owner.host}`;
    throw new CountersignError('log_unavailable', `the log directory ${path.dirname(file)} is in use by ${who}`, {
      hint: `one log has one writer; stop the other process, or remove ${file} if you know that it is gone`,
    });
  }
  // Two processes may come here at once: take the file away in one step, and give it back if it is not the stale one.
  const aside = `${file}.stale.${own.token}`;
  try {
    await rename(file, aside);
  } catch {
    return;
  }
  if ((await readFile(aside, 'utf8')) !== text) await link(aside, file).catch(() => undefined);
  await rm(aside, { force: true });
}

async function isGone(file: string, owner: Owner | undefined, own: Owner, clock: Clock): Promise<boolean> {
  if (owner?.host === own.host) return !isAlive(owner.pid) || processStart(owner.pid) !== owner.started;
  const touched = await stat(file).then(
    (stats) => stats.mtimeMs,
    () => undefined,
  );
  return touched === undefined || clock.now() - touched > foreignStaleMs;
}

function parseOwner(text: string): Owner | undefined {
  try {
    const owner = JSON.parse(text) as Partial<Owner> | null;
    if (typeof owner?.pid === 'number' && typeof owner.started === 'string' && typeof owner.host === 'string')
      return owner as Owner;
  } catch {
    // Not ours, or cut off: judged by its age.
  }
  return undefined;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Linux: boot id and start time in ticks since boot (proc(5), field 22 of stat). */
function processStart(pid: number): string {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const ticks = fields.slice(fields.lastIndexOf(')') + 2).split(' ')[19] ?? '';
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}.${ticks}`;
  } catch {
    return '';
  }
}
