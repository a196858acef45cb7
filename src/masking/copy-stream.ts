/**
 * Rewrites one CopyData message of a COPY OUT that is too large to be taken whole, while its bytes come: what
 * `row-stream.ts` does for a DataRow, in the layouts of COPY.
 */
import { ByteSink } from '../lib/byte-sink.ts';
import { backslash, copyData, escapes, lineFeed, malformedCopy, type TextLayout } from './copy-layout.ts';
import { RowStream } from './row-stream.ts';
import { rowTooLarge, type StreamedCell, type StreamedColumn, type StreamLimits } from './streamed-cells.ts';

export interface CopyStream {
  readonly maskedCells: number;
  /** Bytes of the message that are in memory. */
  readonly keptBytes: number;
  /** @throws CountersignError `message_too_large` for the masked row, `protocol_violation` for what is no row */
  write(src: Buffer, start: number, end: number): void;
  /** Appends the message to the sink. */
  finish(sink: ByteSink): void;
}

const messageHead = 5;
const signature = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1');
const binaryHeadBytes = signature.length + 8;

/** Where the first row begins in src[at, end), which begins with the header of a binary COPY. */
export function afterBinaryHead(src: Buffer, at: number, end: number): number {
  if (end - at < binaryHeadBytes || src.compare(signature, 0, signature.length, at, at + signature.length) !== 0) {
    throw malformedCopy('it does not begin with the signature of a binary COPY');
  }
  // Flags: bit 16 would put object ids in front of the columns (up to PostgreSQL 11); nothing else is known.
  if (src.readUInt32BE(at + signature.length) !== 0) throw malformedCopy('flags that are not known');
  const after = at + binaryHeadBytes + src.readUInt32BE(at + signature.length + 4);
  if (after > end) throw malformedCopy('its header reaches beyond the message');
  return after;
}

export class BinaryCopyStream implements CopyStream {
  readonly #out = new ByteSink(1024);
  readonly #row: RowStream;
  /** Of the file's header, which the first message begins with. */
  #headLeft: number;

  constructor(columns: readonly StreamedColumn[], isFirst: boolean, bodyBytes: number, limits: StreamLimits) {
    this.#headLeft = isFirst ? binaryHeadBytes : 0;
    this.#row = new RowStream(columns, bodyBytes - this.#headLeft, limits, this.#out);
  }

  get maskedCells(): number {
    return this.#row.maskedCells;
  }

  get keptBytes(): number {
    return this.#row.keptBytes;
  }

  write(src: Buffer, start: number, end: number): void {
    const at = start + Math.min(this.#headLeft, end - start);
    if (at > start) {
      this.#headLeft -= at - start;
      this.#out.copy(src, start, at);
      // No PostgreSQL has written an extension of the header.
      if (this.#headLeft === 0 && afterBinaryHead(this.#out.buffer, 0, this.#out.length) !== binaryHeadBytes)
        throw malformedCopy('its header is not known');
    }
    if (end > at) this.#row.write(src, at, end);
  }

  finish(sink: ByteSink): void {
    if (this.#headLeft > 0) throw malformedCopy('it does not begin with the signature of a binary COPY');
    this.#row.finish(copyData, sink);
  }
}

/** Where in a csv value the next byte stands. */
type CsvState =
  | 'begin'
  | 'plain'
  | 'quoted'
  /** Behind a quote or an escape inside quotes. */
  | 'mark'
  | 'closed';

export class TextCopyStream implements CopyStream {
  readonly #layout: TextLayout;
  readonly #columns: readonly StreamedColumn[];
  readonly #limits: StreamLimits;
  /** The row as it is delivered. */
  readonly #out = new ByteSink(1024);
  /** A value that detectors look at, without escapes. */
  readonly #value = new ByteSink(1024);
  #left: number;
  #column = 0;
  #isDone = false;
  #start = 0;
  #cell: StreamedCell | undefined;
  /** Bytes of the value as they were sent, and how many of them agree with the text for NULL; -1 = they do not. */
  #sent = 0;
  #nullBytes = 0;
  /** Text layout: behind a backslash. */
  #isEscaped = false;
  #csv: CsvState = 'begin';
  #mark = 0;
  readonly #single = Buffer.alloc(1);
  maskedCells = 0;

  constructor(layout: TextLayout, columns: readonly StreamedColumn[], bodyBytes: number, limits: StreamLimits) {
    this.#layout = layout;
    this.#columns = columns;
    this.#left = bodyBytes;
    this.#limits = limits;
    this.#beginColumn();
  }

  get keptBytes(): number {
    return this.#out.length + this.#value.length + (this.#cell?.keptBytes ?? 0);
  }

  write(src: Buffer, start: number, end: number): void {
    this.#left -= end - start;
    const isLast = this.#left === 0;
    const stop = isLast ? end - 1 : end;
    let at = start;
    while (at < stop) {
      const from = at;
      at = this.#layout.isCsv ? this.#readCsv(src, at, stop) : this.#readText(src, at, stop);
      this.#sentBytes(src, from, at);
      if (at === stop) break;
      this.#endColumn();
      at++;
      this.#column++;
      this.#beginColumn();
    }
    if (!isLast) return;
    if (src[stop] !== lineFeed) throw malformedCopy('a row without its end');
    this.#endColumn();
    if (this.#column !== this.#columns.length - 1) throw malformedCopy('a column is missing');
    this.#isDone = true;
  }

  finish(sink: ByteSink): void {
    if (!this.#isDone) throw malformedCopy('a row without its end');
    const out = this.#out;
    sink.byte(copyData);
    sink.int32(out.length + 1 + 4);
    sink.copy(out.buffer, 0, out.length);
    sink.byte(lineFeed);
  }

  #beginColumn(): void {
    const column = this.#columns[this.#column];
    if (column === undefined) throw malformedCopy('more columns than were described');
    if (this.#column > 0) this.#out.byte(this.#layout.delimiter);
    this.#start = this.#out.length;
    this.#value.reset();
    this.#cell = column.kind === 'computed' ? column.begin() : undefined;
    this.#sent = 0;
    this.#nullBytes = 0;
    this.#csv = 'begin';
  }

  /** Reads up to the delimiter, or to `end`. */
  #readText(src: Buffer, at: number, end: number): number {
    let from = at;
    for (; at < end; at++) {
      const code = src[at] as number;
      if (this.#isEscaped) {
        this.#isEscaped = false;
        this.#byte(escapes.get(code) ?? code);
        from = at + 1;
      } else if (code === this.#layout.delimiter) break;
      else if (code === backslash) {
        this.#bytes(src, from, at);
        from = at + 1;
        this.#isEscaped = true;
      }
    }
    this.#bytes(src, from, at);
    return at;
  }

  #readCsv(src: Buffer, at: number, end: number): number {
    const { delimiter, quote, escape } = this.#layout;
    let from = at;
    for (; at < end; at++) {
      const code = src[at] as number;
      if (this.#csv === 'mark') {
        if (this.#mark === escape && (code === quote || code === escape)) {
          this.#csv = 'quoted';
          this.#byte(code);
          from = at + 1;
          continue;
        }
        from = at;
        if (this.#mark === quote) this.#csv = 'closed';
        else {
          this.#csv = 'quoted';
          this.#byte(this.#mark);
        }
      }
      if (this.#csv === 'begin') {
        this.#csv = code === quote ? 'quoted' : 'plain';
        if (code === quote) {
          from = at + 1;
          continue;
        }
      }
      if (this.#csv === 'quoted') {
        if (code !== quote && code !== escape) continue;
        this.#bytes(src, from, at);
        this.#csv = 'mark';
        this.#mark = code;
        from = at + 1;
      } else if (code === delimiter) break;
      else if (this.#csv === 'closed') throw malformedCopy('bytes behind a column');
    }
    this.#bytes(src, from, at);
    return at;
  }

  /** src[start, end) belongs to the value, as it stands. */
  #bytes(src: Buffer, start: number, end: number): void {
    if (end <= start) return;
    if (this.#cell !== undefined) this.#cell.write(src, start, end);
    else if (this.#columns[this.#column]?.kind === 'detect') this.#value.copy(src, start, end);
  }

  #byte(code: number): void {
    this.#single[0] = code;
    this.#bytes(this.#single, 0, 1);
  }

  /** src[start, end) was sent for the value. */
  #sentBytes(src: Buffer, start: number, end: number): void {
    const text = this.#layout.nullText;
    for (let at = start; at < end && this.#nullBytes >= 0; at++) {
      this.#nullBytes = src[at] === text[this.#nullBytes] ? this.#nullBytes + 1 : -1;
    }
    this.#sent += end - start;
    const kind = this.#columns[this.#column]?.kind;
    if (kind !== 'pass' && kind !== 'detect') return;
    if (kind === 'detect' && this.#sent > this.#limits.detected) throw rowTooLarge(this.#limits.delivered);
    this.#out.copy(src, start, end);
    if (kind === 'pass') this.#withinLimit();
  }

  #endColumn(): void {
    if (this.#isEscaped) throw malformedCopy('it ends in the middle of an escape');
    if (this.#csv === 'quoted' || (this.#csv === 'mark' && this.#mark !== this.#layout.quote))
      throw malformedCopy('a quoted value without its end');
    const column = this.#columns[this.#column] as StreamedColumn;
    const isNull = this.#nullBytes === this.#layout.nullText.length;
    if (column.kind === 'constant') this.#replace(isNull && !column.hidesNull, column.value);
    else if (this.#cell !== undefined) this.#replace(isNull, isNull ? null : this.#cell.end());
    else if (column.kind === 'detect' && !isNull) {
      const found = column.detect(this.#value.buffer, 0, this.#value.length);
      if (found !== undefined) {
        this.#out.length = this.#start;
        this.#replace(false, found);
      }
    }
    this.#withinLimit();
  }

  #replace(staysNull: boolean, value: Buffer | null): void {
    if (!staysNull) this.maskedCells++;
    if (staysNull || value === null) this.#out.append(this.#layout.nullText);
    else this.#layout.writeValue(value, 0, value.length, this.#out);
  }

  #withinLimit(): void {
    // The line feed is still to come.
    if (messageHead + this.#out.length + 1 > this.#limits.delivered) throw rowTooLarge(this.#limits.delivered);
  }
}
