import type { Answer } from './bypass/wire.ts';

/** The cells of every DataRow, as they came; null is the SQL NULL. */
export function binaryCells(answers: readonly Answer[]): (Buffer | null)[][] {
  return answers
    .filter(({ type }) => type === 'D')
    .map(({ body }) => {
      const bytes = Buffer.from(body, 'latin1');
      const cells: (Buffer | null)[] = [];
      let at = 2;
      for (let count = bytes.readInt16BE(0); count > 0; count--) {
        const size = bytes.readInt32BE(at);
        cells.push(size < 0 ? null : bytes.subarray(at + 4, at + 4 + size));
        at += 4 + Math.max(size, 0);
      }
      return cells;
    });
}
