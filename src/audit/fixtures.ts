/** For tests: a log directory of its own, a log in it, and a file system that can be made to fail. */
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock } from '../lib/clock.ts';
import { generateLogKey } from './checkpoint.ts';
import { systemFiles, type LogFiles } from './files.ts';
import type { TransparencyLogOptions } from './log.ts';

export const origin = 'test.example/log';

export async function temporaryDirectory(context: TestContext): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), 'countersign-audit-'));
  context.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

export async function copyOf(context: TestContext, directory: string): Promise<string> {
  const copy = await temporaryDirectory(context);
  await cp(directory, copy, { recursive: true });
  return copy;
}

/** Publishes only when asked, and has small segments, unless `more` says otherwise. */
export function logOptions(
  directory: string,
  more: Partial<TransparencyLogOptions> = {},
): TransparencyLogOptions & { verifierKey: string } {
  const key = generateLogKey(origin);
  return { directory, origin, clock: systemClock, checkpointIntervalMs: 0, segmentBytes: 64 * 1024, ...key, ...more };
}

export interface FaultyFiles extends LogFiles {
  /** Durable journal writes so far. */
  writes: number;
  /** Throws, or returns a promise that holds the write back. */
  beforeWrite: (() => Promise<void>) | undefined;
  /** Throws for a published file that cannot be written. */
  beforeFile: ((file: string) => void) | undefined;
}

export function faultyFiles(): FaultyFiles {
  const files: FaultyFiles = {
    ...systemFiles,
    writes: 0,
    beforeWrite: undefined,
    beforeFile: undefined,
    writeDurably(fd, buffer, start, end, position, callback) {
      files.writes++;
      const write = () => systemFiles.writeDurably(fd, buffer, start, end, position, callback);
      if (files.beforeWrite === undefined) write();
      else files.beforeWrite().then(write, callback);
    },
    async writeFile(file, data) {
      files.beforeFile?.(file);
      return systemFiles.writeFile(file, data);
    },
  };
  return files;
}

export function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { promise, resolve };
}
