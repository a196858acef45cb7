/**
 * The transparency log: what the gateway did, in an order that nobody can change afterwards without being found out
 * (promise P6), and durable before anything depends on it (P5). This folder records and proves; it decides nothing.
 * Formats: RFC 6962 trees, C2SP tlog-tiles, tlog-checkpoint and signed-note.
 *
 * Way of an entry: `append` copies it into the batch of this turn of the event loop and gives its index. Once the turn is
 * over and the disk is free, the batch becomes one durable write to the journal (group commit); then those who wait
 * are called, in order. At an interval a publisher hashes durable entries into tiles and signs a checkpoint; journal
 * segments that are wholly published are dropped.
 *
 * States: open -> closing -> closed, and from open or closing -> poisoned. Any failed write poisons the log: nothing is appended or published any more
 * (after a failed sync nobody knows what is on disk), and everybody who waits gets the error. Only a restart helps.
 */
import { mkdir, open, readdir } from 'node:fs/promises';
import path from 'node:path';
import { CountersignError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { logSigner } from './checkpoint.ts';
import { readOptional, systemFiles, type LogFiles } from './files.ts';
import { batchHeaderBytes, readJournal, sealBatch, segmentName, type EntryRun } from './journal.ts';
import { lockDirectory, type DirectoryLock } from './lock.ts';
import { Publisher } from './publisher.ts';

export interface TransparencyLogOptions {
  /** Made if it is missing. One process at a time may have it open. */
  readonly directory: string;
  /** Name of the log and of its key: a URL without scheme, e.g. `gateway.example.com/log/node-1`. */
  readonly origin: string;
  readonly privateKeyPem: string;
  readonly clock: Clock;
  /** 0 = only `checkpoint()` and `close()` publish. */
  readonly checkpointIntervalMs?: number | undefined;
  /** At most 65,535. */
  readonly maxEntryBytes?: number | undefined;
  readonly segmentBytes?: number | undefined;
  readonly files?: LogFiles | undefined;
}

export type DurableCallback = (error?: CountersignError) => void;

/** Where entries are put by whoever does something; it may stand for a log in another process. */
export interface EntryLog {
  append(entry: string | Buffer): number;
  whenDurable(index: number, callback: DurableCallback): void;
  durable(index: number): Promise<void>;
}

interface Segment {
  readonly path: string;
  readonly fd: number;
  readonly sizeBytes: number;
  /** Index after the last entry in it. */
  endIndex: number;
}

interface Waiter {
  readonly callback: DurableCallback;
}

/** At most so long unless it is set otherwise. */
export const maxEntryBytes = 60_000;

const slabBytes = 1024 * 1024;
/** Entries that nobody waits for are written after this at the latest … */
const lazyWriteMs = 20;
/** … or when so many bytes of them have gathered. */
const eagerBatchBytes = 256 * 1024;

export class TransparencyLog implements EntryLog {
  /** Where the published files are: `readerFor(log.directory)` reads them. */
  readonly directory: string;
  readonly #files: LogFiles;
  readonly #journalDirectory: string;
  readonly #maxEntryBytes: number;
  readonly #segmentBytes: number;
  readonly #publisher: Publisher;
  readonly #verifierKey: string;
  #lock: DirectoryLock | undefined;
  #timer: NodeJS.Timeout | undefined;

  // Batches lie one behind the other in a slab; the slab lives until its last batch is published.
  #slab: Buffer = Buffer.allocUnsafeSlow(slabBytes);
  #batchStart = 0;
  #position = batchHeaderBytes;
  #batchEntries = 0;

  #size: number;
  #durableSize: number;
  /** Index after the last entry of the batch that is being written. */
  #writingSize: number;
  #writing = false;
  #scheduled = false;
  #lazyTimer: NodeJS.Timeout | undefined;
  #waitingForWrite: Waiter[] = [];
  #waitingForNext: Waiter[] = [];
  #ready: Waiter[] = [];
  #dispatching = false;

  #segment: Segment | undefined;
  #segmentPosition = 0;
  #nextSegment: Promise<Segment> | undefined;
  #nextNumber: number;
  /** Segments that are full, oldest first. */
  readonly #full: { readonly path: string; readonly endIndex: number }[];

  #unpublished: EntryRun[];
  #publishing: Promise<void> = Promise.resolve();
  #publishBusy = false;
  #poisoned = false;
  /** Why nothing more can be appended: poisoned, closing or closed. */
  #failure: CountersignError | undefined;
  #closing: Promise<void> | undefined;

  private constructor(
    options: TransparencyLogOptions,
    opened: {
      publisher: Publisher;
      verifierKey: string;
      runs: readonly EntryRun[];
      segments: readonly string[];
      nextSegment: number;
    },
  ) {
    this.directory = options.directory;
    this.#files = options.files ?? systemFiles;
    this.#journalDirectory = path.join(options.directory, 'journal');
    this.#maxEntryBytes = Math.min(options.maxEntryBytes ?? maxEntryBytes, 65_535);
    this.#segmentBytes = options.segmentBytes ?? 4 * 1024 * 1024;
    this.#publisher = opened.publisher;
    this.#verifierKey = opened.verifierKey;
    this.#unpublished = [...opened.runs];
    const last = opened.runs.at(-1);
    this.#size = last === undefined ? opened.publisher.publishedSize : last.firstIndex + last.entries;
    this.#durableSize = this.#size;
    this.#writingSize = this.#size;
    this.#nextNumber = opened.nextSegment;
    this.#full = opened.segments.map((file) => ({ path: file, endIndex: this.#size }));
  }

  /**
   * Opens or makes the log of a directory: checks its own checkpoint, replays the journal, cuts off a batch that a crash
   * left unfinished.
   * @throws CountersignError `log_unavailable` if another process has it, `log_broken` naming what does not add up
   */
  static async open(options: TransparencyLogOptions): Promise<TransparencyLog> {
    const { directory, clock } = options;
    const files = options.files ?? systemFiles;
    const signer = logSigner(options.origin, options.privateKeyPem);
    const journal = path.join(directory, 'journal');
    await mkdir(journal, { recursive: true, mode: 0o750 });
    let lost = () => {};
    const lock = await lockDirectory(directory, clock, () => lost());
    try {
      const existing = await readdir(directory);
      const isNew = !existing.includes('tile') && (await readJournal(journal, 0)).runs.length === 0;
      const publisher = await Publisher.open({ directory, signer, files }, isNew);
      const content = await readJournal(journal, publisher.publishedSize);
      if (content.torn !== undefined) await cutOff(content.torn.path, content.torn.at);
      await keepVerifierKey(directory, signer.verifierKey, files);
      const log = new TransparencyLog(options, { publisher, verifierKey: signer.verifierKey, ...content });
      log.#lock = lock;
      lost = () => log.#poison(new Error('the lock of its directory was taken away'));
      log.#nextSegment = log.#makeSegment(log.#segmentBytes);
      log.#segment = await log.#nextSegment;
      log.#nextSegment = undefined;
      const intervalMs = options.checkpointIntervalMs ?? 1000;
      if (intervalMs > 0) {
        log.#timer = setInterval(log.#tick, intervalMs);
        log.#timer.unref();
      }
      return log;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /** Entries appended, durable or not. */
  get size(): number {
    return this.#size;
  }

  get durableSize(): number {
    return this.#durableSize;
  }

  /** Entries under the signed checkpoint. */
  get publishedSize(): number {
    return this.#publisher.publishedSize;
  }

  get verifierKey(): string {
    return this.#verifierKey;
  }

  /** Why the log is closed to new entries; undefined = it is open. */
  get failure(): CountersignError | undefined {
    return this.#failure;
  }

  /**
   * Puts an entry (one line of canonical JSON) at the end; it is durable when `whenDurable` says so.
   * @returns its index
   * @throws CountersignError `log_unavailable` when the log is closed or poisoned, `input_invalid` for a too large entry
   */
  append(entry: string | Buffer): number {
    if (this.#failure !== undefined) throw this.#failure;
    if (entry.length > this.#maxEntryBytes) throw this.#tooLarge(entry.length);
    const most = typeof entry === 'string' ? entry.length * 3 : entry.length;
    if (this.#position + 2 + most > this.#slab.length) this.#newSlab(2 + most);
    const slab = this.#slab;
    const start = this.#position + 2;
    const length = typeof entry === 'string' ? slab.write(entry, start, 'utf8') : entry.copy(slab, start);
    if (length > this.#maxEntryBytes) throw this.#tooLarge(length);
    slab.writeUInt16BE(length, this.#position);
    this.#position = start + length;
    this.#batchEntries++;
    if (this.#position - this.#batchStart > eagerBatchBytes) this.#schedule();
    else this.#lazyTimer ??= setTimeout(this.#endOfWait, lazyWriteMs);
    return this.#size++;
  }

  /**
   * Calls back when entry `index` is durable, never before this returns, in the order of the calls for rising indexes.
   * With an error: the entry may or may not be on disk; what waits for it must not happen.
   */
  whenDurable(index: number, callback: DurableCallback): void {
    if (index >= this.#size || index < 0) throw new RangeError(`there is no entry ${index} to wait for`);
    const waiter = { callback };
    if (index < this.#durableSize || this.#poisoned) this.#settle([waiter]);
    else if (index < this.#writingSize) this.#waitingForWrite.push(waiter);
    else {
      this.#waitingForNext.push(waiter);
      this.#schedule();
    }
  }

  /** @throws (rejects) CountersignError `log_unavailable` */
  durable(index: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.whenDurable(index, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  }

  /**
   * Makes everything appended so far durable and publishes it.
   * @returns the signed checkpoint, a C2SP signed note
   */
  async checkpoint(): Promise<string> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#size > this.#durableSize) await this.durable(this.#size - 1);
    await this.#publish();
    return this.#publisher.checkpoint;
  }

  /** Publishes everything, drops the journal, gives the directory free. A poisoned log is only given free. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  // ---- group commit ----

  /** After the poll phase: what every ready socket of this turn has to say goes into one write. */
  #schedule(): void {
    if (this.#writing || this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#endOfTurn);
  }

  /** Entries that nobody waits for (outcomes) ride along with the next that somebody does, or go after a while. */
  readonly #endOfWait = (): void => {
    this.#lazyTimer = undefined;
    if (this.#batchEntries > 0) this.#schedule();
  };

  readonly #endOfTurn = (): void => {
    this.#scheduled = false;
    if (!this.#writing) this.#commit();
  };

  #tooLarge(bytes: number): CountersignError {
    return new CountersignError(
      'input_invalid',
      `a log entry has ${bytes} bytes; at most ${this.#maxEntryBytes} are possible`,
    );
  }

  #newSlab(needed: number): void {
    const used = this.#position - this.#batchStart;
    const larger = Buffer.allocUnsafeSlow(Math.max(slabBytes, 2 * (used + needed)));
    this.#slab.copy(larger, 0, this.#batchStart, this.#position);
    this.#slab = larger;
    this.#batchStart = 0;
    this.#position = used;
  }

  #commit(): void {
    if (this.#batchEntries === 0 || this.#poisoned) return;
    const segment = this.#segment;
    const bytes = this.#position - this.#batchStart;
    this.#writing = true;
    if (segment === undefined || this.#segmentPosition + bytes > segment.sizeBytes) {
      this.#rotate(bytes).then(
        () => this.#commit(),
        (error: unknown) => this.#poison(error),
      );
      return;
    }
    const start = this.#batchStart;
    const end = this.#position;
    const entries = this.#batchEntries;
    const firstIndex = this.#size - entries;
    const slab = this.#slab;
    sealBatch(slab, start, end, entries, firstIndex);
    this.#writingSize = this.#size;
    this.#waitingForWrite = this.#waitingForNext;
    this.#waitingForNext = [];
    this.#batchStart = end;
    this.#position = end + batchHeaderBytes;
    this.#batchEntries = 0;
    if (this.#position > slab.length) this.#newSlab(0);
    this.#files.writeDurably(segment.fd, slab, start, end, this.#segmentPosition, (error) => {
      if (error !== null) {
        this.#poison(error);
        return;
      }
      if (this.#poisoned) return;
      this.#writing = false;
      this.#segmentPosition += bytes;
      segment.endIndex = firstIndex + entries;
      this.#durableSize = firstIndex + entries;
      this.#unpublished.push({ buffer: slab, start: start + batchHeaderBytes, end, entries, firstIndex });
      const ready = this.#waitingForWrite;
      this.#waitingForWrite = [];
      this.#dispatch(ready);
      if (this.#waitingForNext.length > 0) this.#schedule();
      else if (this.#batchEntries > 0) this.#lazyTimer ??= setTimeout(this.#endOfWait, lazyWriteMs);
    });
    if (this.#nextSegment === undefined && this.#segmentPosition > segment.sizeBytes / 2) {
      this.#nextSegment = this.#makeSegment(this.#segmentBytes);
      this.#nextSegment.catch((error: unknown) => this.#poison(error));
    }
  }

  async #rotate(bytes: number): Promise<void> {
    const full = this.#segment;
    let next = await (this.#nextSegment ?? this.#makeSegment(Math.max(this.#segmentBytes, bytes)));
    this.#nextSegment = undefined;
    if (next.sizeBytes < bytes) {
      await this.#files.closeSegment(next.fd);
      await this.#files.remove(next.path);
      next = await this.#makeSegment(bytes);
    }
    this.#segment = next;
    this.#segmentPosition = 0;
    if (full === undefined) return;
    this.#full.push({ path: full.path, endIndex: full.endIndex });
    await this.#files.closeSegment(full.fd);
  }

  async #makeSegment(sizeBytes: number): Promise<Segment> {
    const file = path.join(this.#journalDirectory, segmentName(this.#nextNumber++));
    return { path: file, fd: await this.#files.createSegment(file, sizeBytes), sizeBytes, endIndex: this.#size };
  }

  /** Later, in order: somebody who asks during a callback comes after those who asked before. */
  #settle(waiters: readonly Waiter[]): void {
    const idle = this.#ready.length === 0 && !this.#dispatching;
    this.#ready.push(...waiters);
    if (idle) process.nextTick(() => this.#dispatch([]));
  }

  #dispatch(waiters: readonly Waiter[]): void {
    this.#ready.push(...waiters);
    if (this.#dispatching) return;
    this.#dispatching = true;
    for (let index = 0; index < this.#ready.length; index++) {
      try {
        this.#ready[index]?.callback(this.#poisoned ? this.#failure : undefined);
      } catch (error) {
        // A broken caller must not keep the others from their turn.
        process.nextTick(() => {
          throw error;
        });
      }
    }
    this.#ready = [];
    this.#dispatching = false;
  }

  #poison(cause: unknown): void {
    if (this.#poisoned) return;
    this.#poisoned = true;
    clearInterval(this.#timer);
    const reason = cause instanceof Error ? cause.message : String(cause);
    this.#failure = new CountersignError(
      'log_unavailable',
      `countersign: the log cannot be written, so nothing runs: ${reason}`,
      {
        hint: 'free or repair the disk of the log directory, then restart this node',
        cause,
      },
    );
    const waiting = [...this.#waitingForWrite, ...this.#waitingForNext];
    this.#waitingForWrite = [];
    this.#waitingForNext = [];
    this.#settle(waiting);
  }

  // ---- publishing and the end ----

  readonly #tick = (): void => {
    if (this.#publishBusy || this.#unpublished.length === 0) return;
    // A failure poisons the log; whoever uses it next is told.
    this.#publish().catch(() => undefined);
  };

  #publish(): Promise<void> {
    const published = this.#publishing.then(async () => {
      if (this.#poisoned) throw this.#failure;
      this.#publishBusy = true;
      try {
        const runs = this.#unpublished;
        this.#unpublished = [];
        await this.#publisher.publish(runs);
        await this.#dropSegments();
      } catch (error) {
        this.#poison(error);
        throw this.#failure;
      } finally {
        this.#publishBusy = false;
      }
    });
    this.#publishing = published.catch(() => undefined);
    return published;
  }

  async #dropSegments(): Promise<void> {
    for (
      let oldest = this.#full[0];
      oldest !== undefined && oldest.endIndex <= this.#publisher.publishedSize;
      oldest = this.#full[0]
    ) {
      await this.#files.remove(oldest.path);
      this.#full.shift();
    }
  }

  async #close(): Promise<void> {
    this.#failure ??= new CountersignError('log_unavailable', 'countersign: the log is closed');
    clearInterval(this.#timer);
    clearTimeout(this.#lazyTimer);
    try {
      if (this.#size > this.#durableSize && !this.#poisoned) await this.durable(this.#size - 1);
      if (!this.#poisoned) await this.#publish();
      const prepared = await this.#nextSegment?.catch(() => undefined);
      const open = [this.#segment, prepared].filter((segment) => segment !== undefined);
      for (const segment of open) {
        await this.#files.closeSegment(segment.fd);
        if (!this.#poisoned) await this.#files.remove(segment.path);
      }
    } finally {
      await this.#lock?.release();
    }
  }
}

async function cutOff(file: string, at: number): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    await handle.truncate(at);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function keepVerifierKey(directory: string, verifierKey: string, files: LogFiles): Promise<void> {
  const file = path.join(directory, 'log.vkey');
  const text = `${verifierKey}\n`;
  if ((await readOptional(file))?.toString('utf8') !== text) await files.replaceFile(file, Buffer.from(text));
}
