/** Where messages begin and end in a byte stream. */
import { CountersignError } from '../../errors.ts';
import { headerBytes } from './fields.ts';
import { backend } from './messages.ts';

/** The first room for an unfinished frame, in bytes. */
const smallestRoom = 256;

/** Receives a whole frame, type byte included, as buffer[start, end). Returning `false` stops the scan after it. */
export type OnFrame = (type: number, buffer: Buffer, start: number, end: number) => boolean | void;

/** Takes a message that is larger than the limit piece by piece, so that it need not be kept. */
export interface FrameStream {
  /** The next bytes of the body: what stands behind the length. */
  write(buffer: Buffer, start: number, end: number): void;
  /** The message is complete. Returning `false` stops the scan after it. */
  end(): boolean | void;
}

/** Asked for each message that is larger than the limit; undefined = it is refused. `bodyBytes` leaves the header out. */
export type OpenFrameStream = (type: number, bodyBytes: number) => FrameStream | undefined;

/** In the place of a size: the frame is taken as a stream. */
const streamed = -1;

/**
 * Cuts a byte stream into frames. Frames that lie wholly in a chunk are handed over in place, without any allocation;
 * only a frame that a chunk leaves unfinished is collected in a buffer of its own, which is bounded.
 *
 * A stream that broke the protocol has no further frames: every later `push` throws the same error. What `onFrame`
 * itself throws passes through; the place in the chunk is then lost, and so is the stream.
 */
export class FrameSplitter {
  readonly #maxFrameBytes: number;
  readonly #openStream: OpenFrameStream | undefined;
  #partial: Buffer = Buffer.alloc(0);
  #partialLength = 0;
  #stream: FrameStream | undefined;
  #streamLeft = 0;
  #failure: CountersignError | undefined;

  constructor(options: { readonly maxFrameBytes: number; readonly openStream?: OpenFrameStream }) {
    this.#maxFrameBytes = options.maxFrameBytes;
    this.#openStream = options.openStream;
  }

  /** The next byte begins a frame. */
  get isBetweenFrames(): boolean {
    return this.#partialLength === 0 && this.#stream === undefined;
  }

  /** Bytes of an unfinished frame that are kept until the rest comes. */
  get pendingBytes(): number {
    return this.#partialLength;
  }

  /**
   * Takes chunk[from, to).
   * @returns the offset of the first byte that was not taken: `to`, or less if `onFrame` stopped the scan
   * @throws CountersignError `message_too_large` before a too large frame is collected, where `openStream` does not take it;
   *   `protocol_violation` for a length below 4
   */
  push(chunk: Buffer, from: number, to: number, onFrame: OnFrame): number {
    if (this.#failure !== undefined) throw this.#failure;
    let position = from;
    if (this.#partialLength > 0) {
      position = this.#complete(chunk, position, to);
      if (this.#stream === undefined) {
        if (this.#partialLength < headerBytes || this.#partialLength < this.#sizeOf(this.#partial, 0)) return position;
        const frame = this.#partial;
        const size = this.#partialLength;
        // The buffer is given away: the handler may keep views of it.
        this.#partial = Buffer.alloc(0);
        this.#partialLength = 0;
        if (onFrame(frame[0] ?? 0, frame, 0, size) === false) return position;
      }
    }
    if (this.#stream !== undefined) {
      position = this.#feed(this.#stream, chunk, position, to);
      if (this.#stream !== undefined || this.#stopped) return position;
    }
    while (to - position >= headerBytes) {
      const size = this.#sizeOf(chunk, position);
      if (size === streamed) {
        position = this.#feed(this.#stream as unknown as FrameStream, chunk, position + headerBytes, to);
        if (this.#stream !== undefined || this.#stopped) return position;
        continue;
      }
      if (size > to - position) break;
      const start = position;
      position += size;
      if (onFrame(chunk[start] ?? 0, chunk, start, position) === false) return position;
    }
    if (position < to) this.#append(chunk, position, to);
    return to;
  }

  #stopped = false;

  /** Hands as much of chunk[from, to) to the stream as belongs to it. */
  #feed(stream: FrameStream, chunk: Buffer, from: number, to: number): number {
    const end = from + Math.min(this.#streamLeft, to - from);
    this.#streamLeft -= end - from;
    if (end > from) stream.write(chunk, from, end);
    if (this.#streamLeft > 0) return end;
    this.#stream = undefined;
    this.#stopped = stream.end() === false;
    return end;
  }

  /** The bytes of the frame whose header is at `start`, type byte included; `streamed` where a stream takes it. */
  #sizeOf(buffer: Buffer, start: number): number {
    const length = buffer.readInt32BE(start + 1);
    if (length < 4) {
      this.#failure = new CountersignError(
        'protocol_violation',
        `message ${typeName(buffer[start])}: a length of ${length} bytes`,
      );
      throw this.#failure;
    }
    if (length >= this.#maxFrameBytes) {
      this.#stream = this.#openStream?.(buffer[start] ?? 0, length - 4);
      if (this.#stream !== undefined) {
        this.#streamLeft = length - 4;
        return streamed;
      }
      // What a target sends may be raw: how long it is, is not said.
      const size = this.#openStream === undefined ? ` of ${length + 1} bytes` : '';
      this.#failure = new CountersignError(
        'message_too_large',
        `message ${typeName(buffer[start])}${size} is larger than the limit of ${this.#maxFrameBytes}`,
        { hint: 'raise gateway.limits.maxMessageBytes (client) or maxRowBytes (target) if this is legitimate' },
      );
      throw this.#failure;
    }
    return length + 1;
  }

  /** Moves bytes to the unfinished frame, as many as it needs. */
  #complete(chunk: Buffer, from: number, to: number): number {
    let position = from;
    if (this.#partialLength < headerBytes) {
      const take = Math.min(headerBytes - this.#partialLength, to - position);
      this.#append(chunk, position, position + take);
      position += take;
      if (this.#partialLength < headerBytes) return position;
    }
    const size = this.#sizeOf(this.#partial, 0);
    if (size === streamed) {
      this.#partialLength = 0;
      return position;
    }
    const take = Math.min(size - this.#partialLength, to - position);
    this.#append(chunk, position, position + take);
    return position + take;
  }

  /**
   * Room doubles up to the size of the frame, so that a frame in many small pieces costs no more than its bytes, and a
   * header that promises much and delivers little holds little.
   */
  #append(chunk: Buffer, from: number, to: number): void {
    const needed = this.#partialLength + (to - from);
    if (needed > this.#partial.length) {
      const doubled = Math.max(smallestRoom, needed, this.#partial.length * 2);
      const larger = Buffer.allocUnsafe(Math.min(doubled, Math.max(needed, this.#maxFrameBytes)));
      this.#partial.copy(larger, 0, 0, this.#partialLength);
      this.#partial = larger;
    }
    chunk.copy(this.#partial, this.#partialLength, from, to);
    this.#partialLength = needed;
  }
}

function typeName(type: number | undefined): string {
  return JSON.stringify(String.fromCharCode(type ?? 0));
}

/** Result of the last `scanDataRowRun`; one object, written over by each call, so that a run allocates nothing. */
const run = { end: 0, rows: 0 };

/**
 * How far complete DataRow frames reach from `from` on, and how many they are: for streams that pass through as they
 * are. The result is valid until the next call.
 * @throws CountersignError `protocol_violation` for a length that leaves no room for the column count
 */
export function scanDataRowRun(
  buffer: Buffer,
  from: number,
  to: number,
): { readonly end: number; readonly rows: number } {
  let position = from;
  let rows = 0;
  while (to - position >= headerBytes && buffer[position] === backend.DataRow) {
    const length = buffer.readInt32BE(position + 1);
    if (length < 6) throw new CountersignError('protocol_violation', `DataRow: a length of ${length} bytes`);
    if (length >= to - position) break;
    position += 1 + length;
    rows++;
  }
  run.end = position;
  run.rows = rows;
  return run;
}
