/**
 * Rewrites the CopyData messages of a COPY OUT in flight. A row of any layout is brought into the form of a DataRow and
 * masked as such, so that every mask and detector means the same here; what did not change keeps its bytes.
 *
 * Layouts (PostgreSQL documentation, COPY): the server sends one CopyData message per row; in binary the first one also
 * holds the file's header, and the last one is a trailer.
 */
import { ByteSink } from '../lib/byte-sink.ts';
import { backslash, copyData, escapes, lineFeed, malformedCopy, TextLayout, type CopyLayout } from './copy-layout.ts';
import { afterBinaryHead, BinaryCopyStream, TextCopyStream, type CopyStream } from './copy-stream.ts';
import type { RowMasker } from './rows.ts';
import { rowTooLarge, type StreamLimits } from './streamed-cells.ts';

export interface CopiedRow {
  /** 0 for a header or a trailer. */
  readonly rows: 0 | 1;
  readonly maskedCells: number;
}

export interface CopyMasker {
  /**
   * Appends the CopyData message in src[start, end), masked, to the sink. The result is valid until the next call.
   * @throws CountersignError `protocol_violation` for what is no whole row of the layout
   */
  mask(src: Buffer, start: number, end: number, sink: ByteSink): CopiedRow;
  /**
   * The same for a message that is too large to be taken whole.
   * @param bodyBytes behind its length
   * @throws CountersignError `message_too_large` where nothing of it is masked
   */
  stream(bodyBytes: number, limits: StreamLimits): CopyStream;
}

const dataRow = 0x44;
const messageHead = 5;

/** @param masker for the columns of the COPY, in text form, or in binary form for the layout `binary` */
export function compileCopyMasker(layout: CopyLayout, columns: number, masker: RowMasker): CopyMasker {
  return layout.format === 'binary' ? new BinaryCopy(masker) : new TextCopy(layout, columns, masker);
}

/** For a COPY whose layout is not known, where nothing is masked: every message counts as a row. */
export const copyAsItIs: CopyMasker = {
  mask(src, start, end, sink) {
    sink.copy(src, start, end);
    return { rows: 1, maskedCells: 0 };
  },
  stream(_bodyBytes, limits) {
    throw rowTooLarge(limits.delivered);
  },
};

class BinaryCopy implements CopyMasker {
  readonly #masker: RowMasker;
  readonly #row = new ByteSink(1024);
  readonly #result = { rows: 0 as 0 | 1, maskedCells: 0 };
  #began = false;
  #ended = false;

  constructor(masker: RowMasker) {
    this.#masker = masker;
  }

  mask(src: Buffer, start: number, end: number, sink: ByteSink): CopiedRow {
    const result = this.#result;
    let at = start + messageHead;
    if (this.#ended) throw malformedCopy('data behind the trailer');
    if (!this.#began) {
      this.#began = true;
      at = afterBinaryHead(src, at, end);
    }
    result.rows = 0;
    result.maskedCells = 0;
    if (end - at === 2 && src.readInt16BE(at) === -1) this.#ended = true;
    else if (end > at) result.rows = 1;
    if (result.rows === 0 || this.#masker.passThrough) {
      sink.copy(src, start, end);
      return result;
    }
    const row = this.#row;
    row.reset();
    row.byte(dataRow);
    row.int32(end - at + 4);
    row.copy(src, at, end);
    const message = sink.length;
    sink.byte(copyData);
    sink.int32(0);
    sink.copy(src, start + messageHead, at);
    const masked = sink.length;
    result.maskedCells = this.#masker.maskDataRow(row.buffer, 0, row.length, sink);
    // The masked row comes with a head of its own, whose place is taken by what follows it.
    sink.buffer.copyWithin(masked, masked + messageHead, sink.length);
    sink.length -= messageHead;
    finishMessage(sink, message);
    return result;
  }

  stream(bodyBytes: number, limits: StreamLimits): CopyStream {
    if (this.#masker.passThrough) throw rowTooLarge(limits.delivered);
    if (this.#ended) throw malformedCopy('data behind the trailer');
    const isFirst = !this.#began;
    this.#began = true;
    return new BinaryCopyStream(this.#masker.streamed(), isFirst, bodyBytes, limits);
  }
}

class TextCopy implements CopyMasker {
  readonly #masker: RowMasker;
  readonly #columns: number;
  readonly #layout: TextLayout;
  #header: boolean;
  /** Where each column begins and ends in the message, as it was sent. */
  readonly #starts: Uint32Array;
  readonly #ends: Uint32Array;
  readonly #row = new ByteSink(1024);
  readonly #masked = new ByteSink(1024);
  readonly #result = { rows: 0 as 0 | 1, maskedCells: 0 };

  constructor(layout: CopyLayout, columns: number, masker: RowMasker) {
    this.#masker = masker;
    this.#columns = columns;
    this.#layout = new TextLayout(layout);
    this.#header = layout.header;
    this.#starts = new Uint32Array(columns);
    this.#ends = new Uint32Array(columns);
  }

  mask(src: Buffer, start: number, end: number, sink: ByteSink): CopiedRow {
    const result = this.#result;
    result.maskedCells = 0;
    if (src[end - 1] !== lineFeed) throw malformedCopy('a row without its end');
    result.rows = this.#header ? 0 : 1;
    if (this.#header || this.#masker.passThrough) {
      // Names of columns are the statement's own words, no data.
      this.#header = false;
      sink.copy(src, start, end);
      return result;
    }
    const row = this.#row;
    const masked = this.#masked;
    this.#read(src, start + messageHead, end - 1);
    masked.reset();
    result.maskedCells = this.#masker.maskDataRow(row.buffer, 0, row.length, masked);
    if (result.maskedCells === 0) sink.copy(src, start, end);
    else this.#write(src, sink);
    return result;
  }

  stream(bodyBytes: number, limits: StreamLimits): CopyStream {
    if (this.#header || this.#masker.passThrough) throw rowTooLarge(limits.delivered);
    return new TextCopyStream(this.#layout, this.#masker.streamed(), bodyBytes, limits);
  }

  #isMasked(column: number): boolean {
    const kind = this.#masker.streamed()[column]?.kind;
    return kind === 'constant' || kind === 'computed';
  }

  /** Makes a DataRow of src[at, end). */
  #read(src: Buffer, at: number, end: number): void {
    const row = this.#row;
    row.reset();
    row.byte(dataRow);
    row.int32(0);
    row.int16(this.#columns);
    for (let column = 0; column < this.#columns; column++) {
      if (at > end) throw malformedCopy('a column is missing');
      const cell = row.length;
      row.int32(0);
      const stop = this.#layout.isCsv ? this.#readCsv(src, at, end) : this.#readText(src, at, end);
      this.#starts[column] = at;
      this.#ends[column] = stop;
      if (this.#isNull(src, at, stop)) {
        row.length = cell;
        row.int32(-1);
      } else row.buffer.writeInt32BE(row.length - cell - 4, cell);
      if (stop < end && src[stop] !== this.#layout.delimiter) throw malformedCopy('bytes behind a column');
      at = stop + 1;
    }
    if (at <= end) throw malformedCopy('more columns than were described');
    row.buffer.writeInt32BE(row.length - 1, 1);
  }

  #isNull(src: Buffer, start: number, stop: number): boolean {
    const text = this.#layout.nullText;
    return stop - start === text.length && src.compare(text, 0, text.length, start, stop) === 0;
  }

  /** Appends the value of the column that begins at `at` to the row. Returns where the column ends. */
  #readText(src: Buffer, at: number, end: number): number {
    const row = this.#row;
    let copied = at;
    for (; at < end && src[at] !== this.#layout.delimiter; at++) {
      if (src[at] !== backslash) continue;
      row.copy(src, copied, at);
      at++;
      if (at >= end) throw malformedCopy('it ends in the middle of an escape');
      const code = src[at] as number;
      row.byte(escapes.get(code) ?? code);
      copied = at + 1;
    }
    row.copy(src, copied, at);
    return at;
  }

  #readCsv(src: Buffer, at: number, end: number): number {
    const row = this.#row;
    if (src[at] !== this.#layout.quote || at >= end) {
      const start = at;
      while (at < end && src[at] !== this.#layout.delimiter) at++;
      row.copy(src, start, at);
      return at;
    }
    at++;
    let copied = at;
    for (; ; at++) {
      if (at >= end) throw malformedCopy('a quoted value without its end');
      const code = src[at];
      const next = at + 1 < end ? src[at + 1] : undefined;
      if (code === this.#layout.escape && (next === this.#layout.quote || next === this.#layout.escape)) {
        row.copy(src, copied, at);
        at++;
        copied = at;
      } else if (code === this.#layout.quote) break;
    }
    row.copy(src, copied, at);
    return at + 1;
  }

  /** The row again, with new text only where a cell has changed. */
  #write(src: Buffer, sink: ByteSink): void {
    const row = this.#row.buffer;
    const masked = this.#masked.buffer;
    const message = sink.length;
    sink.byte(copyData);
    sink.int32(0);
    let before = messageHead + 2;
    let after = messageHead + 2;
    for (let column = 0; column < this.#columns; column++) {
      if (column > 0) sink.byte(this.#layout.delimiter);
      const sizeBefore = row.readInt32BE(before);
      const sizeAfter = masked.readInt32BE(after);
      const endBefore = before + 4 + Math.max(sizeBefore, 0);
      const endAfter = after + 4 + Math.max(sizeAfter, 0);
      // How a masked value is written must not depend on whether it was the same before.
      const isAsItWas = !this.#isMasked(column) && sizeBefore === sizeAfter;
      if (isAsItWas && row.compare(masked, after + 4, endAfter, before + 4, endBefore) === 0) {
        sink.copy(src, this.#starts[column] ?? 0, this.#ends[column] ?? 0);
      } else if (sizeAfter < 0) sink.append(this.#layout.nullText);
      else this.#layout.writeValue(masked, after + 4, endAfter, sink);
      before = endBefore;
      after = endAfter;
    }
    sink.byte(lineFeed);
    finishMessage(sink, message);
  }
}

function finishMessage(sink: ByteSink, message: number): void {
  sink.buffer.writeInt32BE(sink.length - message - 1, message + 1);
}
