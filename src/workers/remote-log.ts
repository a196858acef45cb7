/**
 * The log as a worker process sees it: entries go over a pipe to the main process, which has the log, and are durable
 * when it says so. What gathers while a batch is under way goes with the next one.
 *
 * To the main process: batches of `bytes` and `entries` (32 bits each) and the entries, each behind its length (16 bits).
 * From it: one byte for each batch, 1 = it is durable. Anything else, and the end of the pipe, means that nothing
 * is certain any more: nothing is appended after that, and everybody who waits gets the error (promise P5).
 */
import type { Duplex } from 'node:stream';
import { maxEntryBytes, type DurableCallback, type EntryLog, type TransparencyLog } from '../audit/log.ts';
import { CountersignError } from '../errors.ts';
import { ByteSink } from '../lib/byte-sink.ts';

const headerBytes = 8;
const durable = 1;
const lost = 0;
/** Entries that nobody waits for leave after this at the latest … */
const lazyMs = 20;
/** … or when so many bytes of them have gathered. */
const eagerBytes = 256 * 1024;

interface Waiter {
  readonly index: number;
  readonly callback: DurableCallback;
}

export class RemoteLog implements EntryLog {
  readonly #pipe: Duplex;
  readonly #batch = new ByteSink(32 * 1024);
  #batchEntries = 0;
  #size = 0;
  /** Entries in batches that were sent. */
  #sent = 0;
  #durable = 0;
  #waiters: Waiter[] = [];
  #scheduled = false;
  #lazy: NodeJS.Timeout | undefined;
  #failure: CountersignError | undefined;

  constructor(pipe: Duplex) {
    this.#pipe = pipe;
    this.#begin();
    pipe.on('data', (bytes: Buffer) => {
      for (const byte of bytes) this.#answered(byte);
    });
    pipe.on('error', (error) => this.#fail(error));
    pipe.on('end', () => this.#fail(undefined));
    pipe.on('close', () => this.#fail(undefined));
  }

  append(entry: string | Buffer): number {
    if (this.#failure !== undefined) throw this.#failure;
    const batch = this.#batch;
    const start = batch.length;
    batch.int16(0);
    if (typeof entry === 'string') batch.utf8(entry);
    else batch.append(entry);
    const bytes = batch.length - start - 2;
    if (bytes > maxEntryBytes) {
      batch.length = start;
      throw new CountersignError(
        'input_invalid',
        `a log entry has ${bytes} bytes; at most ${maxEntryBytes} are possible`,
      );
    }
    batch.buffer.writeUInt16BE(bytes, start);
    this.#batchEntries++;
    if (batch.length > eagerBytes) this.#schedule();
    else this.#lazy ??= setTimeout(() => this.#endOfWait(), lazyMs);
    return this.#size++;
  }

  whenDurable(index: number, callback: DurableCallback): void {
    if (index >= this.#size || index < 0) throw new RangeError(`there is no entry ${index} to wait for`);
    const failure = this.#failure;
    if (index < this.#durable || failure !== undefined) {
      // Within this turn: an answer that is read in the next one would call those who wait for later entries first.
      process.nextTick(() => callback(failure));
      return;
    }
    this.#waiters.push({ index, callback });
    if (index >= this.#sent) this.#schedule();
  }

  durable(index: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.whenDurable(index, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  }

  /** Resolves when everything appended so far is durable. */
  async flush(): Promise<void> {
    if (this.#size > this.#durable) await this.durable(this.#size - 1);
  }

  #endOfWait(): void {
    this.#lazy = undefined;
    this.#schedule();
  }

  /** After the poll phase: what every ready socket of this turn has to say goes into one batch. */
  #schedule(): void {
    if (this.#scheduled || this.#isUnderWay) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#send();
    });
  }

  get #isUnderWay(): boolean {
    return this.#sent > this.#durable;
  }

  #send(): void {
    if (this.#batchEntries === 0 || this.#failure !== undefined || this.#isUnderWay) return;
    clearTimeout(this.#lazy);
    this.#lazy = undefined;
    const batch = this.#batch.take();
    batch.writeUInt32BE(batch.length - headerBytes, 0);
    batch.writeUInt32BE(this.#batchEntries, 4);
    this.#begin();
    this.#sent = this.#size;
    this.#pipe.write(batch, () => this.#batch.recycle(batch));
  }

  /** A batch starts with room for its header. */
  #begin(): void {
    this.#batch.int32(0);
    this.#batch.int32(0);
    this.#batchEntries = 0;
  }

  #answered(byte: number): void {
    if (byte !== durable || !this.#isUnderWay) {
      this.#fail(undefined);
      return;
    }
    this.#durable = this.#sent;
    const ready: Waiter[] = [];
    const others: Waiter[] = [];
    for (const waiter of this.#waiters) (waiter.index < this.#durable ? ready : others).push(waiter);
    this.#waiters = others;
    call(ready, undefined);
    if (others.length > 0 || this.#batch.length > eagerBytes) this.#schedule();
  }

  #fail(cause: Error | undefined): void {
    if (this.#failure !== undefined) return;
    const failure = new CountersignError('log_unavailable', 'countersign: the log cannot be written', {
      hint: 'the server log of the main process has the reason',
      cause,
    });
    this.#failure = failure;
    clearTimeout(this.#lazy);
    call(this.#waiters.splice(0), failure);
  }
}

/** A broken caller must not keep the others from their turn. */
function call(waiters: readonly Waiter[], failure: CountersignError | undefined): void {
  for (const { callback } of waiters) {
    try {
      callback(failure);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  }
}

/** The other end of the pipe: puts the batches of one worker into the log, and answers each when it is durable. */
export function serveLog(pipe: Duplex, log: TransparencyLog): void {
  let pending: Buffer = Buffer.alloc(0);
  const answer = (byte: number) => {
    if (!pipe.destroyed) pipe.write(Buffer.from([byte]));
  };
  pipe.on('error', () => pipe.destroy());
  pipe.on('data', (bytes: Buffer) => {
    pending = pending.length === 0 ? bytes : Buffer.concat([pending, bytes]);
    while (pending.length >= headerBytes) {
      const end = headerBytes + pending.readUInt32BE(0);
      if (pending.length < end) return;
      const batch = pending.subarray(headerBytes, end);
      pending = pending.subarray(end);
      try {
        log.whenDurable(appendAll(batch, log), (error) => answer(error === undefined ? durable : lost));
      } catch {
        answer(lost);
      }
    }
  });
}

/** @returns the index of the last entry */
function appendAll(batch: Buffer, log: TransparencyLog): number {
  let last = -1;
  for (let position = 0; position < batch.length; ) {
    const start = position + 2;
    position = start + batch.readUInt16BE(position);
    last = log.append(batch.subarray(start, position));
  }
  return last;
}
