/**
 * What every benchmark must meet, in one place. A measured value and its mark come from one run: ratios say something
 * on any machine, absolute numbers only beside what was measured at the same time.
 */
export interface Mark {
  /** `most`: the value may be as large; `least`: it must be as large. */
  readonly is: 'most' | 'least';
  readonly value: number;
  readonly unit: string;
}

const most = (value: number, unit = 'x'): Mark => ({ is: 'most', value, unit });
const least = (value: number, unit = 'x'): Mark => ({ is: 'least', value, unit });

export const marks = {
  /** CPU of the gateway / of pgbouncer in session mode, each protocol mode, with log, policy, masking and recording. */
  cpuPerStatement: most(1.8),
  /** What the gateway adds to the p50 of one client, without the log's synchronised write / what pgbouncer adds. */
  addedLatency: most(2),
  /** Wall of the masked and recorded stream / of the same stream directly. */
  maskedStreamWall: most(1.1),
  /** CPU per byte of the masked stream / pgbouncer's. */
  cpuPerByte: most(1.3),
  cpuPerByteRecorded: most(2.2),
  /** Of the gateway's process over a stream. */
  memoryGrowth: most(64, 'MiB'),
  /** Throughput of two data-plane workers / of one. */
  twoWorkers: least(1.7),
  /** Memory of the gateway's process for one session that does nothing. */
  idleSession: most(60, 'KiB'),
  /** The rewriter alone, on rows of 8 columns with 2 masked, on one core. */
  rewriterRows: least(5_000_000, 'rows/s'),
  /** The same as a ratio: against decoding to strings, and against copying the same bytes. */
  rewriterOverPlain: least(5),
  rewriterOverCopy: least(0.02),
  /**
   * Heap that grew while rows were rewritten, and the collections that kept it from growing. The smallest object takes 12
   * bytes: one for each row would be a dozen times the first mark, and fill a new generation more often than the second.
   */
  heapPerRow: most(1, 'bytes/row'),
  collectionsPerMillionRows: most(0.5, 'per million rows'),
  /** One new statement, parsed and analysed: median over the bypass suite. */
  newStatement: most(1, 'ms'),
  /** A statement that is known / a plain look-up of its text in a map. */
  knownStatement: most(5),
} as const satisfies Record<string, Mark>;

/** One measured value; without a mark it is only told. */
export interface Ratio {
  readonly name: string;
  /** Undefined: not measured. */
  readonly value: number | undefined;
  readonly unit: string;
  readonly mark: Mark | undefined;
  /** Why it is not measured here; then it is no miss. */
  readonly skipped?: string | undefined;
}

export function marked(name: string, mark: Mark, value: number | undefined, skipped?: string): Ratio {
  return { name, value, unit: mark.unit, mark, skipped };
}

export function told(name: string, unit: string, value: number | undefined): Ratio {
  return { name, value, unit, mark: undefined };
}

function meets(value: number | undefined, mark: Mark): boolean {
  if (value === undefined) return false;
  return mark.is === 'most' ? value <= mark.value : value >= mark.value;
}

/** One line for each value that misses its mark or could not be measured. */
export function missesOf(ratios: readonly Ratio[]): string[] {
  return ratios.flatMap((ratio) => {
    const { name, value, unit, mark, skipped } = ratio;
    if (mark === undefined || skipped !== undefined || meets(value, mark)) return [];
    const found = value === undefined ? 'not measured' : `${figure(value, 2)} ${unit}`;
    return [`${name}: ${found}, the mark is ${markText(mark)}`];
  });
}

export function markText({ is, value, unit }: Mark): string {
  return `${is === 'most' ? '<=' : '>='} ${figure(value, Number.isInteger(value) ? 0 : 2)} ${unit}`;
}

/** All of them as rows of a table: name, value, mark, whether it is met. */
export function ratioRows(ratios: readonly Ratio[]): string[][] {
  return ratios.map(({ name, value, unit, mark, skipped }) => {
    const found = value === undefined ? '-' : `${figure(value, 2)} ${unit}`;
    if (skipped !== undefined) return [name, '-', mark === undefined ? '' : markText(mark), `SKIPPED: ${skipped}`];
    if (mark === undefined) return [name, found, '', ''];
    return [name, found, markText(mark), meets(value, mark) ? 'met' : 'MISSED'];
  });
}

/** Prints what was skipped and missed. Returns the exit code of `--check`. */
export function checkMarks(ratios: readonly Ratio[], say: (text: string) => void): number {
  for (const { name, skipped } of ratios) if (skipped !== undefined) say(`*** SKIPPED: ${name}: ${skipped}`);
  const misses = missesOf(ratios);
  say(misses.length === 0 ? 'every ratio meets its mark' : `missed:\n${misses.map((miss) => `  ${miss}`).join('\n')}`);
  return misses.length === 0 ? 0 : 1;
}

export function quotient(value: number | undefined, base: number | undefined): number | undefined {
  return value === undefined || base === undefined ? undefined : value / base;
}

export function figure(value: number | undefined, decimals = 0): string {
  if (value === undefined) return '-';
  return value.toLocaleString('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

/** A Markdown table with columns of even width; the first column to the left, the others to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0), 3));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, column) => (column === 0 ? `:${'-'.repeat(width + 1)}` : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}
