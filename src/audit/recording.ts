/**
 * Recordings: what a session asked and every byte that was delivered to it, which is masked already. Not the place for
 * anything that was not delivered.
 *
 * One file per session, in segments (`segment.ts`); the SHA-256 of each stored segment goes to the log as
 * `recording.segment`. Without the log a recording proves nothing.
 *
 * States of a recording: open -> closed, open -> failed. After a failed write nothing more is recorded, so whoever
 * delivers only what is recorded delivers nothing more.
 */
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { CountersignError } from '../errors.ts';
import type { Json } from '../lib/canonical-json.ts';
import { timestamp, type Clock } from '../lib/clock.ts';
import { encodeEntry } from './events.ts';
import { Sealer } from './sealing.ts';
import { eventHeadBytes, eventKinds, fileKey, newFileHead } from './segment.ts';

/** Each costs the session and the sealing thread a wake-up of the other. */
const segmentBytes = 2 * 1024 * 1024;
const smallestBufferBytes = 4 * 1024;
const segmentAgeMs = 1_000;
/** A recording that was behind goes on below this. */
const drainedBytes = segmentBytes;
/** Covers what may wait to be sealed, so that a stream uses the same memory over and over. */
const keptBuffers = 3;
const noBuffer = sharedBuffer(0);

export interface RecordingLog {
  append(entry: string): number;
}

export interface RecordingStoreOptions {
  /** Made if it is missing. */
  readonly directory: string;
  /** 32 bytes. */
  readonly key: Buffer;
  readonly log: RecordingLog;
  readonly clock: Clock;
  readonly node: string;
  /** Opens a session's file; it must be new. */
  readonly openFile?: ((file: string) => Promise<RecordingFile>) | undefined;
}

export type RecordingFile = Pick<FileHandle, 'fd' | 'writeFile' | 'datasync' | 'close'>;

export interface Recording {
  /** @throws CountersignError `log_unavailable` when the recording failed */
  request(event: Json): void;
  /** Copies bytes[start, end). @throws CountersignError `log_unavailable` when the recording failed */
  response(bytes: Buffer, start: number, end: number): void;
  /** Bytes that are not in the file yet. */
  readonly pendingBytes: number;
  /** Calls back once, later, when the recording has caught up (or failed: then there is nothing to wait for). */
  onDrain(callback: () => void): void;
  /** Writes the rest. @throws (rejects) CountersignError `log_unavailable` when the recording failed */
  close(): Promise<void>;
}

export class RecordingStore {
  readonly directory: string;
  readonly #options: RecordingStoreOptions;
  readonly #open = new Set<SessionRecording>();
  readonly #buffers: Buffer<SharedArrayBuffer>[] = [];
  readonly #sealer = Sealer.start();

  private constructor(options: RecordingStoreOptions) {
    this.#options = options;
    this.directory = options.directory;
  }

  static async open(options: RecordingStoreOptions): Promise<RecordingStore> {
    if (options.key.length !== 32)
      throw new CountersignError('configuration_invalid', 'the key of recordings must have 32 bytes');
    await mkdir(options.directory, { recursive: true, mode: 0o750 });
    return new RecordingStore(options);
  }

  /** Begins the recording of a session; its file appears with the first segment. */
  start(sessionId: string): Recording {
    if (!/^[A-Za-z0-9_-]{1,100}$/.test(sessionId))
      throw new CountersignError('input_invalid', 'a session id is letters, digits, - and _');
    const recording: SessionRecording = new SessionRecording(
      sessionId,
      this.#options,
      this.#sealer,
      this.#buffers,
      () => {
        this.#open.delete(recording);
      },
    );
    this.#open.add(recording);
    return recording;
  }

  /** Ends every recording that is still open. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#open].map((recording) => recording.close()));
    await this.#sealer.close();
  }

  /** The key of one file. */
  fileKey(head: Buffer, sessionId: string): Buffer {
    return fileKey(this.#options.key, head, sessionId);
  }
}

class SessionRecording implements Recording {
  readonly #sessionId: string;
  readonly #options: RecordingStoreOptions;
  readonly #sealer: Sealer;
  readonly #buffers: Buffer<SharedArrayBuffer>[];
  readonly #onEnd: () => void;
  readonly #startedMs: number;
  /** Inside the store's directory. */
  readonly #path: string;
  #buffer: Buffer<SharedArrayBuffer> = noBuffer;
  /** The last segment was filled by bytes, not ended by time. */
  #streams = false;
  #length = 0;
  #queuedBytes = 0;
  #segment = 0;
  #timer: NodeJS.Timeout | undefined;
  #file: { readonly handle: RecordingFile; readonly key: Buffer } | undefined;
  /** Segments are written one after the other. */
  #tail: Promise<void> = Promise.resolve();
  #drains: (() => void)[] = [];
  #failure: CountersignError | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    sessionId: string,
    options: RecordingStoreOptions,
    sealer: Sealer,
    buffers: Buffer<SharedArrayBuffer>[],
    onEnd: () => void,
  ) {
    this.#sessionId = sessionId;
    this.#options = options;
    this.#sealer = sealer;
    this.#buffers = buffers;
    this.#onEnd = onEnd;
    this.#startedMs = options.clock.now();
    this.#path = path.posix.join(new Date(this.#startedMs).toISOString().slice(0, 10), `${sessionId}.rec`);
  }

  get pendingBytes(): number {
    return this.#queuedBytes + this.#length;
  }

  request(event: Json): void {
    const text = JSON.stringify(event);
    const head = this.#begin(eventKinds.request, text.length * 3);
    this.#end(head, this.#buffer.write(text, head + eventHeadBytes, 'utf8'));
  }

  response(bytes: Buffer, start: number, end: number): void {
    // Large deliveries are cut, so that no segment is much larger than the others.
    const most = segmentBytes - eventHeadBytes;
    for (let from = start; from < end; from += most) {
      const size = Math.min(end - from, most);
      const head = this.#begin(eventKinds.response, size);
      bytes.copy(this.#buffer, head + eventHeadBytes, from, from + size);
      this.#end(head, size);
    }
  }

  onDrain(callback: () => void): void {
    this.#drains.push(callback);
    if (this.#failure !== undefined || this.#queuedBytes <= drainedBytes) setImmediate(() => this.#drained());
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Writes the head of an event with up to `most` bytes. Returns where it is; the payload and `#end` come next. */
  #begin(kind: number, most: number): number {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closing !== undefined && kind !== eventKinds.end) throw unavailable('the recording is closed');
    if (this.#length > 0 && this.#length + eventHeadBytes + most > segmentBytes) this.#flush();
    this.#reserve(eventHeadBytes + most);
    const head = this.#length;
    this.#buffer[head] = kind;
    const elapsedMs = Math.max(0, this.#options.clock.now() - this.#startedMs);
    this.#buffer.writeUInt32BE(Math.min(elapsedMs, 0xffff_ffff), head + 1);
    return head;
  }

  #end(head: number, size: number): void {
    this.#buffer.writeUInt32BE(size, head + 5);
    this.#length = head + eventHeadBytes + size;
    if (this.#length >= segmentBytes) this.#flush();
    else if (this.#timer === undefined) {
      this.#timer = setTimeout(() => this.#flush(), segmentAgeMs);
      this.#timer.unref();
    }
  }

  #reserve(size: number): void {
    const needed = this.#length + size;
    if (needed <= this.#buffer.length) return;
    let wanted = Math.max(smallestBufferBytes, this.#buffer.length);
    // A stream fills one segment after the other: growing each anew would only make garbage.
    while (wanted < needed || (this.#streams && wanted < segmentBytes)) wanted *= 2;
    const larger = (wanted === segmentBytes ? this.#buffers.pop() : undefined) ?? sharedBuffer(wanted);
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#release(this.#buffer);
    this.#buffer = larger;
  }

  #release(buffer: Buffer<SharedArrayBuffer>): void {
    if (buffer.length === segmentBytes && this.#buffers.length < keptBuffers) this.#buffers.push(buffer);
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#length === 0 || this.#failure !== undefined) return;
    const buffer = this.#buffer;
    const length = this.#length;
    this.#streams = length > segmentBytes / 2;
    this.#buffer = noBuffer;
    this.#length = 0;
    this.#queuedBytes += length;
    const number = ++this.#segment;
    this.#tail = this.#tail
      .then(async () => {
        if (this.#failure !== undefined) return;
        await this.#write(number, buffer, length);
        this.#queuedBytes -= length;
        if (this.#queuedBytes <= drainedBytes) this.#drained();
      })
      .catch((error: unknown) => this.#fail(error));
  }

  async #write(number: number, plain: Buffer<SharedArrayBuffer>, length: number): Promise<void> {
    this.#file ??= await this.#create();
    const { handle, key } = this.#file;
    const sessionId = this.#sessionId;
    const segment = { fd: handle.fd, key, sessionId, number, memory: plain.buffer, length };
    const { sha256, bytes } = await this.#sealer.seal(segment);
    this.#release(plain);
    const { clock, node, log } = this.#options;
    log.append(
      encodeEntry({
        type: 'recording.segment',
        at: timestamp(clock.now()),
        node,
        session: sessionId,
        segment: number,
        sha256,
        bytes,
        path: this.#path,
      }),
    );
  }

  async #create(): Promise<{ handle: RecordingFile; key: Buffer }> {
    const { directory, key, openFile } = this.#options;
    const file = path.join(directory, this.#path);
    await mkdir(path.dirname(file), { recursive: true, mode: 0o750 });
    const handle = await (openFile ?? ((name) => open(name, 'wx', 0o640)))(file);
    const head = newFileHead();
    await handle.writeFile(head);
    return { handle, key: fileKey(key, head, this.#sessionId) };
  }

  #drained(): void {
    const drains = this.#drains;
    this.#drains = [];
    for (const callback of drains) callback();
  }

  #fail(cause: unknown): void {
    this.#failure ??= unavailable(cause instanceof Error ? cause.message : String(cause), cause);
    this.#queuedBytes = 0;
    this.#length = 0;
    clearTimeout(this.#timer);
    this.#drained();
  }

  async #close(): Promise<void> {
    try {
      // Even an empty session leaves a recording: "nothing was delivered" is a statement too.
      if (this.#failure === undefined) this.#end(this.#begin(eventKinds.end, 0), 0);
      this.#flush();
      await this.#tail;
      await this.#file?.handle.datasync();
    } catch (error) {
      this.#fail(error);
    } finally {
      await this.#file?.handle.close().catch((error: unknown) => this.#fail(error));
      this.#onEnd();
    }
    if (this.#failure !== undefined) throw this.#failure;
  }
}

function unavailable(reason: string, cause?: unknown): CountersignError {
  return new CountersignError(
    'log_unavailable',
    `countersign: this session cannot be recorded, so it cannot go on: ${reason}`,
    {
      hint: 'free or repair the disk of the recordings directory',
      cause,
    },
  );
}

function sharedBuffer(bytes: number): Buffer<SharedArrayBuffer> {
  return Buffer.from(new SharedArrayBuffer(bytes));
}
