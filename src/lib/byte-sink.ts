/**
 * A growing output buffer that a whole turn of the event loop writes into, so that one turn makes one socket write.
 * Positions are byte offsets from the start of the current batch.
 */
export class ByteSink {
  buffer: Buffer;
  length = 0;
  readonly #initialBytes: number;
  readonly #spare: Buffer[] = [];

  constructor(initialBytes = 64 * 1024) {
    this.#initialBytes = initialBytes;
    this.buffer = Buffer.allocUnsafeSlow(initialBytes);
  }

  /** Makes room for `extra` more bytes. */
  reserve(extra: number): void {
    const needed = this.length + extra;
    if (needed <= this.buffer.length) return;
    let size = this.buffer.length * 2;
    while (size < needed) size *= 2;
    const larger = Buffer.allocUnsafeSlow(size);
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }

  /** Appends source[start, end). */
  copy(source: Uint8Array, start: number, end: number): void {
    const size = end - start;
    this.reserve(size);
    if (Buffer.isBuffer(source)) source.copy(this.buffer, this.length, start, end);
    else this.buffer.set(source.subarray(start, end), this.length);
    this.length += size;
  }

  append(source: Uint8Array): void {
    this.copy(source, 0, source.length);
  }

  int32(value: number): void {
    this.reserve(4);
    this.length = this.buffer.writeInt32BE(value, this.length);
  }

  int16(value: number): void {
    this.reserve(2);
    this.length = this.buffer.writeInt16BE(value, this.length);
  }

  byte(value: number): void {
    this.reserve(1);
    this.buffer[this.length++] = value;
  }

  utf8(text: string): void {
    this.reserve(text.length * 3);
    this.length += this.buffer.write(text, this.length, 'utf8');
  }

  /** Hands the batch over (the caller owns the bytes) and starts a new one. */
  take(): Buffer {
    const batch = this.buffer.subarray(0, this.length);
    this.buffer = this.#spare.pop() ?? Buffer.allocUnsafeSlow(this.#initialBytes);
    this.length = 0;
    return batch;
  }

  /** Whether a batch is the whole of a buffer that may serve again: no small copy, no outgrown one. */
  isOwn({ buffer, byteOffset }: Buffer): boolean {
    return byteOffset === 0 && buffer.byteLength === this.#initialBytes;
  }

  /** Gives a batch's memory back once nobody reads it any more. Fresh memory for each costs more than the copying. */
  recycle(batch: Buffer): void {
    if (!this.isOwn(batch) || this.#spare.length >= maxSpare) return;
    this.#spare.push(Buffer.from(batch.buffer as ArrayBuffer));
  }

  /** Forgets the batch; its memory is used again. */
  reset(): void {
    this.length = 0;
  }
}

const maxSpare = 16;
