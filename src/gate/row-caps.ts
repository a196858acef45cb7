/** What an answer may hold at most, checked while it streams: before the rows of a turn go out. */
import { CountersignError } from '../errors.ts';
import type { Execution } from './pipeline.ts';

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
  const { chunk } = execution;
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
