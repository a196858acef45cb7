/** What the log needs of a file system, as an argument: tests let it fail. Everything is durable when it resolves. */
import { close, constants, fdatasync, open, write } from 'node:fs';
import * as fs from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

export type WriteCallback = (error: Error | null) => void;

export interface PendingFile {
  /** Makes the file durable and closes it. */
  sync(): Promise<void>;
}

export interface LogFiles {
  /** Makes a file of `sizeBytes` zeros and opens it for `writeDurably`. Its name is durable too. */
  createSegment(file: string, sizeBytes: number): Promise<number>;
  /** Writes buffer[start, end) at `position`; calls back once it is on disk. */
  writeDurably(fd: number, buffer: Buffer, start: number, end: number, position: number, callback: WriteCallback): void;
  closeSegment(fd: number): Promise<void>;
  /**
   * Writes a whole file (made or replaced in place). It is durable after the `sync` that comes back, and its name after
   * `syncDirectory`: many files that are written first and synchronised afterwards cost about as much as one.
   */
  writeFile(file: string, data: Uint8Array): Promise<PendingFile>;
  /** Replaces a file in one step: whoever reads sees the old or the new one, also after a crash. */
  replaceFile(file: string, data: Uint8Array): Promise<void>;
  syncDirectory(directory: string): Promise<void>;
  remove(file: string): Promise<void>;
}

const { O_CREAT, O_EXCL, O_RDWR, O_TRUNC, O_WRONLY } = constants;
/** One system call instead of two for each group commit. Where it does not exist (Windows), fdatasync follows the write. */
const dsync = typeof constants.O_DSYNC === 'number' ? constants.O_DSYNC : 0;

async function writePending(file: string, data: Uint8Array): Promise<PendingFile> {
  const handle = await fs.open(file, O_CREAT | O_TRUNC | O_WRONLY, 0o640);
  try {
    await handle.writeFile(data);
  } catch (error) {
    await handle.close();
    throw error;
  }
  return {
    sync: async () => {
      try {
        await handle.datasync();
      } finally {
        await handle.close();
      }
    },
  };
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await fs.open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const openDescriptor = promisify(open);
const closeDescriptor = promisify(close);

export const systemFiles: LogFiles = {
  async createSegment(file, sizeBytes) {
    const zeros = await fs.open(file, O_CREAT | O_EXCL | O_RDWR, 0o640);
    try {
      // Real zeros, not a hole: a write inside them changes no metadata, which makes the sync about twice as fast.
      await zeros.writeFile(Buffer.alloc(sizeBytes));
      await zeros.sync();
    } finally {
      await zeros.close();
    }
    await syncDirectory(path.dirname(file));
    return openDescriptor(file, O_RDWR | dsync);
  },

  writeDurably(fd, buffer, start, end, position, callback) {
    write(fd, buffer, start, end - start, position, (error, written) => {
      if (error !== null) callback(error);
      else if (written < end - start)
        systemFiles.writeDurably(fd, buffer, start + written, end, position + written, callback);
      else if (dsync === 0) fdatasync(fd, callback);
      else callback(null);
    });
  },

  closeSegment: (fd) => closeDescriptor(fd),

  writeFile: writePending,

  async replaceFile(file, data) {
    const temporary = `${file}.new`;
    await (await writePending(temporary, data)).sync();
    await fs.rename(temporary, file);
    await syncDirectory(path.dirname(file));
  },

  syncDirectory,

  async remove(file) {
    await fs.rm(file, { recursive: true, force: true });
  },
};

/** The file's bytes; undefined if there is no such file. */
export async function readOptional(file: string): Promise<Buffer | undefined> {
  try {
    return await fs.readFile(file);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
