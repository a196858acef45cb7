/** What an answer may hold at most, checked while it streams: before the rows of a turn go out. */
import { CountersignError } from '../errors.ts';
import { backend } from '../wire/postgres/messages.ts';
import type { Execution, Operation } from './pipeline.ts';

/** More rows than were taken from the budget: our reading of the text was wrong, and nothing of this turn goes out. */
export function withinBudget({ rows, rowsAtMost }: Execution): void {
  if (rowsAtMost === undefined || rows <= rowsAtMost) return;
  throw new CountersignError(
    'limit_exceeded',
    `countersign: the target returns more than the ${rowsAtMost} rows that were taken from the sampling budget`,
    { hint: 'what is more than a sample is a chunk job: countersign jobs push' },
  );
}

/** A chunk that turns out larger than what was approved ends here, before the rows of this turn go out. */
export function withinCaps(execution: Execution): void {
  const { chunk, use } = execution;
  if (use !== undefined && execution.rows > use.rowsAtMost)
    throw beyondTemplate(`the ${use.rowsAtMost} rows that are left`);
  if (chunk === undefined) return;
  const over =
    (chunk.rowsLeft !== undefined && execution.rows > chunk.rowsLeft) ||
    (chunk.bytesLeft !== undefined && execution.bytes > chunk.bytesLeft);
  if (!over) return;
  throw new CountersignError(
    'limit_exceeded',
    `countersign: chunk ${chunk.chunkNo} goes beyond the row or byte cap of the approval`,
    {
      hint: 'raise limits.rows or limits.bytes in the job, and have it approved again',
    },
  );
}

function beyondTemplate(what: string): CountersignError {
  return new CountersignError('limit_exceeded', `countersign: this step of an approved loop goes beyond ${what}`, {
    hint: 'have the rest of the loop approved',
  });
}

/**
 * The keys of a keyset step stand in its rows: complete DataRow messages in chunk[start, end), as the target sent them. A
 * key that was not approved ends the session before the rows of this turn go out.
 */
export function withinKeys(
  execution: Execution,
  head: Operation | undefined,
  chunk: Buffer,
  start: number,
  end: number,
): void {
  const { use } = execution;
  if (use?.keys === undefined) return;
  const { at, lowest, highest } = use.keys;
  const formats = head?.kind === 'execute' ? head.portal.resultFormats : [];
  const isBinary = (formats.length === 1 ? formats[0] : formats[at]) === 1;
  for (let row = start; row < end; row += 1 + chunk.readInt32BE(row + 1)) {
    if (chunk[row] !== backend.DataRow) throw new Error('a key is read out of rows only');
    const key = keyAt(chunk, row, at, isBinary);
    if (key === undefined || key < BigInt(lowest) || key > BigInt(highest)) {
      throw beyondTemplate(`the keys from ${lowest} to ${highest}`);
    }
    if (execution.reached === undefined || key > execution.reached) execution.reached = key;
  }
}

function keyAt(chunk: Buffer, row: number, column: number, isBinary: boolean): bigint | undefined {
  if (column >= chunk.readInt16BE(row + 5)) return undefined;
  let at = row + 7;
  for (let skipped = 0; skipped < column; skipped++) at += 4 + Math.max(0, chunk.readInt32BE(at));
  const length = chunk.readInt32BE(at);
  const value = chunk.subarray(at + 4, at + 4 + Math.max(0, length));
  if (!isBinary) {
    const text = value.toString('latin1');
    return /^-?\d{1,19}$/.test(text) ? BigInt(text) : undefined;
  }
  if (length === 2) return BigInt(value.readInt16BE());
  if (length === 4) return BigInt(value.readInt32BE());
  return length === 8 ? value.readBigInt64BE() : undefined;
}

/** Of a row that is read as a stream the key is not at hand. */
export function withoutKeys({ use }: Execution): void {
  if (use?.keys !== undefined) throw beyondTemplate('what can be followed: a row is larger than maxRowBytes');
}
