/** From measurements to the tables, the ratios and the marks that they must meet. */
import type { QueryMode, StatementMeasure } from './pgbench.ts';
import type { StreamMeasure } from './stream.ts';

export type StreamPath = 'direct' | 'pgbouncer' | 'gateway unmasked' | 'gateway masked';

export interface StatementCase {
  readonly mode: QueryMode;
  readonly clients: number;
  readonly direct: StatementMeasure;
  readonly pgbouncer: StatementMeasure;
  readonly gateway: StatementMeasure | undefined;
}

export interface StreamCase {
  readonly path: StreamPath;
  readonly measure: StreamMeasure;
  /** Largest resident size in any round, the warm-up included, above that before the first stream. */
  readonly peakGrowthBytes: number | undefined;
}

export interface Report {
  readonly measuredAt: string;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly rounds: number;
  readonly secondsPerRun: number;
  readonly statements: readonly StatementCase[];
  readonly streams: readonly StreamCase[];
}

export interface Ratio {
  readonly name: string;
  /** Undefined if the gateway was not measured. */
  readonly value: number | undefined;
  readonly unit: string;
  readonly mark: number;
}

const marks = { cpuPerStatement: 2.5, maskedStreamWall: 1.3, memoryGrowthMebibytes: 64 };
const bytesPerMebibyte = 1024 * 1024;

/** The median of each field, so that one disturbed round does not decide. Undefined where no round has a value. */
export function medians<Measure extends object>(rounds: readonly Measure[]): Measure {
  const [first] = rounds;
  if (first === undefined) throw new Error('no rounds');
  const fields = Object.keys(first).map((field) => {
    const values = rounds.map((round) => (round as Record<string, unknown>)[field]);
    const numbers = values.filter((value) => typeof value === 'number').sort((a, b) => a - b);
    return [field, numbers[Math.floor(numbers.length / 2)]];
  });
  return Object.fromEntries(fields) as Measure;
}

/** Everything that `--check` compares with a mark. */
export function ratiosOf({ statements, streams }: Report): Ratio[] {
  const cpu = statements.map(({ mode, clients, pgbouncer, gateway }) => ({
    name: `CPU per statement, ${mode}, ${clients} client${clients === 1 ? '' : 's'}: gateway / pgbouncer`,
    value: quotient(gateway?.cpuMicrosecondsPerStatement, pgbouncer.cpuMicrosecondsPerStatement),
    unit: 'x',
    mark: marks.cpuPerStatement,
  }));
  const stream = (path: StreamPath): StreamCase | undefined => streams.find((each) => each.path === path);
  const growth = (path: StreamPath): Ratio => {
    return {
      name: `peak memory growth, stream, ${path}`,
      value: quotient(stream(path)?.peakGrowthBytes, bytesPerMebibyte),
      unit: 'MiB',
      mark: marks.memoryGrowthMebibytes,
    };
  };
  return [
    ...cpu,
    {
      name: 'wall time of the masked stream: gateway / direct',
      value: quotient(stream('gateway masked')?.measure.seconds, stream('direct')?.measure.seconds),
      unit: 'x',
      mark: marks.maskedStreamWall,
    },
    growth('gateway unmasked'),
    growth('gateway masked'),
  ];
}

function quotient(value: number | undefined, base: number | undefined): number | undefined {
  return value === undefined || base === undefined ? undefined : value / base;
}

/** One line for each ratio that misses its mark or could not be measured. */
export function missesOf(ratios: readonly Ratio[]): string[] {
  return ratios
    .filter(({ value, mark }) => value === undefined || !(value <= mark))
    .map(({ name, value, unit, mark }) => {
      const found = value === undefined ? 'not measured' : `${figure(value, 2)} ${unit}`;
      return `${name}: ${found}, the mark is <= ${mark} ${unit}`;
    });
}

function figure(value: number | undefined, decimals = 0): string {
  if (value === undefined) return '-';
  return value.toLocaleString('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

/** The report in Markdown, which reads well on a terminal too. */
export function markdownOf(report: Report): string {
  const { machine, rounds, secondsPerRun, statements, streams, measuredAt } = report;
  const statementCells = ({ transactionsPerSecond, p50Microseconds, p99Microseconds }: StatementMeasure): string =>
    [transactionsPerSecond, p50Microseconds, p99Microseconds].map((value) => figure(value)).join(' / ');
  const statementRows = statements.map(({ mode, clients, direct, pgbouncer, gateway }) => [
    mode,
    String(clients),
    statementCells(direct),
    statementCells(pgbouncer),
    gateway === undefined ? '-' : statementCells(gateway),
    figure(pgbouncer.cpuMicrosecondsPerStatement, 1),
    figure(gateway?.cpuMicrosecondsPerStatement, 1),
    figure(quotient(gateway?.cpuMicrosecondsPerStatement, pgbouncer.cpuMicrosecondsPerStatement), 2),
  ]);
  const direct = streams.find(({ path }) => path === 'direct')?.measure;
  const streamRows = streams.map(({ path, measure, peakGrowthBytes }) => [
    path,
    figure(measure.seconds, 2),
    figure(quotient(measure.seconds, direct?.seconds), 2),
    figure(measure.rowsPerSecond),
    figure(measure.cpuSecondsPerGigabyte, 2),
    figure(quotient(peakGrowthBytes, bytesPerMebibyte), 1),
  ]);
  const rows = direct?.rows ?? 0;
  const rowBytes = direct === undefined ? 0 : direct.bytes / direct.rows;
  return [
    `Measured ${measuredAt.slice(0, 10)} on ${Object.values(machine).join(', ')}; medians of ${rounds} interleaved ` +
      `round${rounds === 1 ? '' : 's'} of ${secondsPerRun} s; TLS off and SCRAM-SHA-256 on everywhere.`,
    '',
    '`pgbench -S`, scale 10. Cells: transactions per second / p50 us / p99 us. CPU: microseconds of the process in ' +
      'between, user and system, per statement.',
    '',
    table(
      ['mode', 'clients', 'direct', 'pgbouncer', 'gateway', 'CPU pgbouncer', 'CPU gateway', 'ratio'],
      statementRows,
    ),
    '',
    `A stream of ${figure(rows)} rows of ${figure(rowBytes)} bytes:`,
    '',
    table(['path', 'wall s', '/ direct', 'rows/s', 'CPU s per GB', 'peak growth MiB'], streamRows),
  ].join('\n');
}

/** A Markdown table with columns of even width; the first column to the left, the others to the right. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0), 3));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, column) => (column === 0 ? `:${'-'.repeat(width + 1)}` : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

const markers = ['<!-- bench:postgres:begin -->', '<!-- bench:postgres:end -->'] as const;

/** `readme` with `text` between the markers; appended with its markers if they are not there. */
export function withReport(readme: string, text: string): string {
  const [begin, end] = markers;
  const block = `${begin}\n\n${text}\n\n${end}`;
  const first = readme.indexOf(begin);
  const last = readme.indexOf(end);
  if (first === -1 || last === -1) return `${readme.trimEnd()}\n\n${block}\n`;
  return readme.slice(0, first) + block + readme.slice(last + end.length);
}
