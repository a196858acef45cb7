/**
 * Rewrites one DataRow that is too large to be taken whole, while its bytes come. What is kept is the row as it will be
 * delivered, which is what its limit applies to.
 */
import { CountersignError } from '../errors.ts';
import { ByteSink } from '../lib/byte-sink.ts';
import { rowTooLarge, type StreamedCell, type StreamedColumn, type StreamLimits } from './streamed-cells.ts';

/** Type byte, length. */
const headBytes = 5;

export class RowStream {
  readonly #columns: readonly StreamedColumn[];
  readonly #limits: StreamLimits;
  /** The new body. */
  readonly #out: ByteSink;
  /** Bytes of the old body that are still to come. */
  #left: number;
  /** A number that lies across pieces. */
  #number = 0;
  #numberBytes = 0;
  /** -1 before the number of columns was read. */
  #column = -1;
  #inCell = false;
  #cellLeft = 0;
  #cellStart = 0;
  #cell: StreamedCell | undefined;
  maskedCells = 0;

  /**
   * @param bodyBytes behind the length
   * @param out what is there already stands before the row, and counts
   */
  constructor(
    columns: readonly StreamedColumn[],
    bodyBytes: number,
    limits: StreamLimits,
    out: ByteSink = new ByteSink(1024),
  ) {
    this.#columns = columns;
    this.#left = bodyBytes;
    this.#limits = limits;
    this.#out = out;
  }

  /** Bytes of the row that are in memory. */
  get keptBytes(): number {
    return this.#out.length + (this.#cell?.keptBytes ?? 0);
  }

  /** @throws CountersignError `message_too_large` for the masked row, `protocol_violation` for a malformed one */
  write(src: Buffer, start: number, end: number): void {
    let at = start;
    this.#left -= end - start;
    if (this.#left < 0) throw malformed('bytes are left after the last column');
    while (at < end) {
      if (this.#inCell) {
        const stop = Math.min(end, at + this.#cellLeft);
        this.#cellBytes(src, at, stop);
        this.#cellLeft -= stop - at;
        at = stop;
        if (this.#cellLeft === 0) this.#endCell();
        continue;
      }
      this.#number = (this.#number << 8) | (src[at++] as number);
      if (++this.#numberBytes < (this.#column < 0 ? 2 : 4)) continue;
      const number = this.#number;
      this.#number = 0;
      this.#numberBytes = 0;
      if (this.#column < 0) this.#begin(number);
      else this.#beginCell(number, end - at);
    }
  }

  /** Appends the message, of this type, to the sink. */
  finish(type: number, sink: ByteSink): void {
    if (this.#left > 0 || this.#inCell || this.#numberBytes > 0 || this.#column !== this.#columns.length)
      throw malformed('a column is missing');
    const out = this.#out;
    sink.byte(type);
    sink.int32(out.length + 4);
    sink.copy(out.buffer, 0, out.length);
  }

  #begin(columns: number): void {
    if (columns !== this.#columns.length)
      throw malformed(`${columns} columns where ${this.#columns.length} were described`);
    this.#column = 0;
    this.#out.int16(columns);
  }

  #beginCell(size: number, inPiece: number): void {
    const column = this.#columns[this.#column];
    if (column === undefined) throw malformed('bytes are left after the last column');
    const out = this.#out;
    if (size < 0) {
      if (size !== -1) throw malformed(`a value of ${size} bytes`);
      if (column.kind === 'constant' && column.hidesNull) this.#replace(column.value);
      else out.int32(-1);
      this.#nextColumn();
      return;
    }
    if (size > this.#left + inPiece) throw malformed('a value reaches beyond the row');
    this.#cellStart = out.length;
    this.#cellLeft = size;
    this.#inCell = true;
    if (column.kind === 'pass' && out.length + 4 + size + headBytes > this.#limits.delivered)
      throw rowTooLarge(this.#limits.delivered);
    if (column.kind === 'detect' && size > this.#limits.detected) throw rowTooLarge(this.#limits.delivered);
    if (column.kind === 'pass' || column.kind === 'detect') out.int32(size);
    this.#cell = column.kind === 'computed' ? column.begin() : undefined;
    if (size === 0) this.#endCell();
  }

  #cellBytes(src: Buffer, start: number, end: number): void {
    const kind = this.#columns[this.#column]?.kind;
    if (kind === 'pass' || kind === 'detect') this.#out.copy(src, start, end);
    else this.#cell?.write(src, start, end);
  }

  #endCell(): void {
    const column = this.#columns[this.#column] as StreamedColumn;
    const out = this.#out;
    if (column.kind === 'constant') this.#replace(column.value);
    else if (this.#cell !== undefined) this.#replace(this.#cell.end());
    else if (column.kind === 'detect') {
      const found = column.detect(out.buffer, this.#cellStart + 4, out.length);
      if (found !== undefined) {
        out.length = this.#cellStart;
        this.#replace(found);
      }
    }
    this.#cell = undefined;
    this.#nextColumn();
  }

  #replace(value: Buffer | null): void {
    const out = this.#out;
    out.int32(value === null ? -1 : value.length);
    if (value !== null) out.append(value);
    this.maskedCells++;
  }

  #nextColumn(): void {
    this.#inCell = false;
    this.#column++;
    if (this.#out.length + headBytes > this.#limits.delivered) throw rowTooLarge(this.#limits.delivered);
  }
}

function malformed(what: string): CountersignError {
  return new CountersignError('protocol_violation', `DataRow: ${what}`);
}
