/**
 * Rewrites DataRow messages in flight. This is the hottest loop of the gateway: no string, object or Buffer is made per
 * row or cell unless a mask computes something, and bytes between two rewritten cells are copied in one piece, also
 * across rows.
 *
 * DataRow (PostgreSQL documentation, 55.7): byte `D`, int32 length (itself included, the type byte not), int16 number of
 * columns, then per column an int32 length (-1 = NULL) and that many bytes.
 */
import { CountersignError } from '../errors.ts';
import type { ByteSink } from '../lib/byte-sink.ts';
import { compileCellDetector, type CellDetector } from './detect-cell.ts';
import type { ColumnAction } from './plan.ts';
import { streamedColumn, type StreamedColumn } from './streamed-cells.ts';
import { compileMask } from './types.ts';

export interface RowRun {
  /** Offset behind the last complete DataRow that was taken. */
  readonly end: number;
  readonly rows: number;
  readonly maskedCells: number;
}

export interface RowMasker {
  /** True when no cell can change, so that rows may be copied without being read. */
  readonly passThrough: boolean;
  /** Rewrites the one DataRow in src[start, end) into the sink. Returns the number of masked cells. */
  maskDataRow(src: Buffer, start: number, end: number, sink: ByteSink): number;
  /**
   * Takes as many complete DataRows as there are from src[from, to) and appends them, masked, to the sink. Stops at
   * another message and at an incomplete one. The result is valid until the next call of the same masker.
   * @throws CountersignError `protocol_violation` for a malformed row; then the sink is as it was
   */
  maskRun(src: Buffer, from: number, to: number, sink: ByteSink): RowRun;
  /** The same for rows that are too large to be taken whole. */
  streamed(): readonly StreamedColumn[];
}

const dataRow = 0x44;
const headerBytes = 5;

const pass = 0;
const constant = 1;
const computed = 2;
const detect = 3;
/** A constant that takes the place of NULL, too. */
const always = 4;

type Compute = (src: Buffer, start: number, end: number) => Buffer | null;

export function compileRowMasker(actions: readonly ColumnAction[]): RowMasker {
  const kinds = new Uint8Array(actions.length);
  const constants: Buffer[] = actions.map(() => nullCell);
  const computes: (Compute | undefined)[] = actions.map(() => undefined);
  const detects: (CellDetector | undefined)[] = actions.map(() => undefined);
  for (const [column, action] of actions.entries()) {
    if (action.kind === 'mask') {
      const mask = compileMask(action);
      // What hides NULL is always a constant: a computed mask of a computed value has no meaning.
      kinds[column] = mask.kind === 'constant' ? (action.hidesNull ? always : constant) : computed;
      if (mask.kind === 'constant') constants[column] = cellOf(mask.value);
      else computes[column] = mask.render;
    } else if (action.kind === 'detect') {
      detects[column] = compileCellDetector(action.typeOid, action.format, action.detectors);
      if (detects[column] !== undefined) kinds[column] = detect;
    }
  }
  return new CompiledRowMasker(actions, kinds, constants, computes, detects);
}

/** A cell as it stands in a row: length, then bytes. */
function cellOf(value: Buffer | null): Buffer {
  if (value === null) return nullCell;
  const cell = Buffer.allocUnsafe(4 + value.length);
  cell.writeInt32BE(value.length, 0);
  value.copy(cell, 4);
  return cell;
}

const nullCell = Buffer.from([0xff, 0xff, 0xff, 0xff]);

class CompiledRowMasker implements RowMasker {
  readonly passThrough: boolean;
  readonly #actions: readonly ColumnAction[];
  #streamed: readonly StreamedColumn[] | undefined;
  readonly #kinds: Uint8Array;
  readonly #constants: readonly Buffer[];
  readonly #computes: readonly (Compute | undefined)[];
  readonly #detects: readonly (CellDetector | undefined)[];
  readonly #run = { end: 0, rows: 0, maskedCells: 0 };

  constructor(
    actions: readonly ColumnAction[],
    kinds: Uint8Array,
    constants: readonly Buffer[],
    computes: readonly (Compute | undefined)[],
    detects: readonly (CellDetector | undefined)[],
  ) {
    this.#actions = actions;
    this.#kinds = kinds;
    this.#constants = constants;
    this.#computes = computes;
    this.#detects = detects;
    this.passThrough = kinds.every((kind) => kind === pass);
  }

  streamed(): readonly StreamedColumn[] {
    return (this.#streamed ??= this.#actions.map((action) => streamedColumn(action)));
  }

  maskDataRow(src: Buffer, start: number, end: number, sink: ByteSink): number {
    const before = sink.length;
    const run = this.maskRun(src, start, end, sink);
    if (run.rows !== 1 || run.end !== end) {
      sink.length = before;
      throw malformed('the frame does not hold one row');
    }
    return run.maskedCells;
  }

  maskRun(src: Buffer, from: number, to: number, sink: ByteSink): RowRun {
    const kinds = this.#kinds;
    const columns = kinds.length;
    const view = new DataView(src.buffer, src.byteOffset, src.byteLength);
    const writer = new RunWriter(src, view, from, sink);
    let position = from;
    let rows = 0;
    let maskedCells = 0;
    while (to - position >= headerBytes && src[position] === dataRow) {
      const length = view.getInt32(position + 1);
      if (length < 6) throw malformed(`a length of ${length} bytes`);
      const end = position + 1 + length;
      if (end > to) break;
      if (view.getInt16(position + 5) !== columns) {
        throw malformed(`${view.getInt16(position + 5)} columns where ${columns} were described`);
      }
      let at = position + 7;
      let changed = 0;
      for (let column = 0; column < columns; column++) {
        if (at + 4 > end) throw malformed('a column is missing');
        const size = view.getInt32(at);
        if (size < 0) {
          if (size !== -1) throw malformed(`a value of ${size} bytes`);
          if (kinds[column] === always) {
            if (changed === 0) writer.beginRow(position);
            writer.replace(at, at + 4, this.#constants[column] as Buffer);
            changed++;
          }
          at += 4;
          continue;
        }
        const cellEnd = at + 4 + size;
        if (cellEnd > end) throw malformed('a value reaches beyond the row');
        const kind = kinds[column];
        if (kind !== pass) {
          const cell =
            kind === constant || kind === always
              ? (this.#constants[column] as Buffer)
              : this.#newCell(column, src, at + 4, cellEnd);
          if (cell !== undefined) {
            if (changed === 0) writer.beginRow(position);
            writer.replace(at, cellEnd, cell);
            changed++;
          }
        }
        at = cellEnd;
      }
      if (at !== end) throw malformed('bytes are left after the last column');
      if (changed > 0) {
        writer.endRow(end);
        maskedCells += changed;
      }
      position = end;
      rows++;
    }
    writer.finish(position);
    this.#run.end = position;
    this.#run.rows = rows;
    this.#run.maskedCells = maskedCells;
    return this.#run;
  }

  /** The cell, length included, that takes the place of src[start, end); undefined leaves it as it is. */
  #newCell(column: number, src: Buffer, start: number, end: number): Buffer | undefined {
    const compute = this.#computes[column];
    if (compute !== undefined) return cellOf(compute(src, start, end));
    const found = this.#detects[column]?.(src, start, end);
    return found === undefined ? undefined : cellOf(found);
  }
}

/** Up to this size, moving eight bytes at a time beats a call of `copy`. */
const shortRunBytes = 160;

/** Up to this size, single bytes do. */
const shortCellBytes = 32;

/**
 * Carries bytes from the source to the sink: what was not replaced waits as one pending run, also across rows, until a
 * replaced cell or the end asks for it. The sink's length moves only at the end, so that a malformed row leaves nothing.
 */
class RunWriter {
  readonly #src: Buffer;
  readonly #view: DataView;
  readonly #sink: ByteSink;
  #out: Buffer;
  #outView: DataView;
  #length: number;
  #room: number;
  /** First byte of the source that is not copied yet. */
  #pending: number;
  /** Where the current row begins in the output. */
  #rowStart = 0;

  constructor(src: Buffer, view: DataView, from: number, sink: ByteSink) {
    this.#src = src;
    this.#view = view;
    this.#sink = sink;
    this.#out = sink.buffer;
    this.#outView = new DataView(this.#out.buffer, this.#out.byteOffset, this.#out.byteLength);
    this.#length = sink.length;
    this.#room = this.#out.length;
    this.#pending = from;
  }

  /** The row at `position` of the source, which is still pending, is going to change. */
  beginRow(position: number): void {
    this.#rowStart = this.#length + position - this.#pending;
  }

  /** Puts `cell` in the place of src[start, end). */
  replace(start: number, end: number, cell: Buffer): void {
    this.#copyPending(start);
    this.#pending = end;
    const size = cell.length;
    this.#reserve(size);
    const out = this.#out;
    const to = this.#length;
    this.#length = to + size;
    if (size > shortCellBytes) {
      cell.copy(out, to);
      return;
    }
    for (let at = 0; at < size; at++) out[to + at] = cell[at] as number;
  }

  /** The changed row ends at `position` of the source: its length is known now. */
  endRow(position: number): void {
    const end = this.#length + position - this.#pending;
    this.#outView.setInt32(this.#rowStart + 1, end - this.#rowStart - 1);
  }

  finish(position: number): void {
    this.#copyPending(position);
    this.#sink.length = this.#length;
  }

  #copyPending(end: number): void {
    let from = this.#pending;
    const size = end - from;
    // Eight bytes more, because the last move may write beyond the run; the next bytes overwrite that.
    this.#reserve(size + 8);
    let to = this.#length;
    this.#length = to + size;
    if (size > shortRunBytes || end + 8 > this.#view.byteLength) {
      this.#src.copy(this.#out, to, from, end);
      return;
    }
    const view = this.#view;
    const outView = this.#outView;
    for (; from < end; from += 8, to += 8) outView.setBigInt64(to, view.getBigInt64(from, true), true);
  }

  #reserve(extra: number): void {
    if (this.#length + extra <= this.#room) return;
    const before = this.#sink.length;
    this.#sink.length = this.#length;
    this.#sink.reserve(extra);
    this.#sink.length = before;
    this.#out = this.#sink.buffer;
    this.#outView = new DataView(this.#out.buffer, this.#out.byteOffset, this.#out.byteLength);
    this.#room = this.#out.length;
  }
}

/** What a column's values become in samples: one value, text or binary as the action says; null is the SQL NULL. */
export function maskCell(action: ColumnAction, value: Buffer | null): Buffer | null {
  if (action.kind === 'mask') {
    const mask = compileMask(action);
    if (mask.kind === 'constant') return value === null && !action.hidesNull ? null : mask.value;
    return value === null ? null : mask.render(value, 0, value.length);
  }
  if (value === null || action.kind === 'pass') return value;
  const found = compileCellDetector(action.typeOid, action.format, action.detectors)?.(value, 0, value.length);
  return found === undefined ? value : found;
}

function malformed(what: string): CountersignError {
  return new CountersignError('protocol_violation', `DataRow: ${what}`);
}
