/** From measurements to the tables, the ratios and the marks that they must meet. */
import { figure, marked, marks, quotient, ratioRows, table, told, type Ratio } from './marks.ts';
import type { QueryMode, StatementMeasure } from './pgbench.ts';
import type { StreamMeasure } from './stream.ts';

export type StreamPath =
  | 'direct'
  | 'pgbouncer'
  | 'gateway unmasked'
  | 'gateway masked, not recorded'
  | 'gateway masked';

export interface StatementCase {
  readonly mode: QueryMode;
  readonly clients: number;
  readonly direct: StatementMeasure;
  readonly pgbouncer: StatementMeasure;
  readonly gateway: StatementMeasure;
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
  /** Microseconds of one synchronised write as the log makes them. */
  readonly flushMicroseconds: number | undefined;
  readonly statements: readonly StatementCase[];
  readonly streams: readonly StreamCase[];
  readonly workers: WorkersMeasure;
}

/** Transactions per second with one and with two data-plane workers, or why that was not measured. */
export type WorkersMeasure = { readonly one: number; readonly two: number } | { readonly skipped: string };

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

/** Everything that `--check` compares with a mark, and what stands beside it. */
export function ratiosOf(report: Report): Ratio[] {
  return [...statementRatios(report), ...streamRatios(report), workersRatio(report.workers)];
}

function statementRatios({ statements, flushMicroseconds }: Report): Ratio[] {
  const cpu = statements.map(({ mode, clients, pgbouncer, gateway }) => {
    const name = `CPU per statement, ${mode}, ${clients} client${clients === 1 ? '' : 's'}: gateway / pgbouncer`;
    const value = quotient(gateway.cpuMicrosecondsPerStatement, pgbouncer.cpuMicrosecondsPerStatement);
    return clients === 1 ? told(name, 'x', value) : marked(name, marks.cpuPerStatement, value);
  });
  const added = statements.flatMap(({ mode, clients, direct, pgbouncer, gateway }) => {
    if (clients !== 1) return [];
    const name = `p50 that is added, ${mode}, 1 client: gateway / pgbouncer`;
    const byPgbouncer = pgbouncer.p50Microseconds - direct.p50Microseconds;
    const byGateway = gateway.p50Microseconds - direct.p50Microseconds;
    const withoutFlush = byGateway - (flushMicroseconds ?? Number.NaN);
    return [
      marked(`${name}, without the log's flush`, marks.addedLatency, withoutFlush / byPgbouncer),
      told(`${name}, with it`, 'x', byGateway / byPgbouncer),
    ];
  });
  return statements.length === 0 ? [] : [...cpu, ...added, told("the log's flush, p50", 'us', flushMicroseconds)];
}

function streamRatios({ streams }: Report): Ratio[] {
  if (streams.length === 0) return [];
  const stream = (path: StreamPath): StreamCase | undefined => streams.find((each) => each.path === path);
  const cpu = (path: StreamPath) => stream(path)?.measure.cpuSecondsPerGigabyte;
  const growth = (path: StreamPath): Ratio =>
    marked(
      `peak memory growth, stream, ${path}`,
      marks.memoryGrowth,
      quotient(stream(path)?.peakGrowthBytes, bytesPerMebibyte),
    );
  return [
    marked(
      'wall time of the masked stream: gateway / direct',
      marks.maskedStreamWall,
      quotient(stream('gateway masked')?.measure.seconds, stream('direct')?.measure.seconds),
    ),
    marked(
      'CPU per GB of the masked stream, not recorded: gateway / pgbouncer',
      marks.cpuPerByte,
      quotient(cpu('gateway masked, not recorded'), cpu('pgbouncer')),
    ),
    marked(
      'CPU per GB of the masked stream, recorded: gateway / pgbouncer',
      marks.cpuPerByteRecorded,
      quotient(cpu('gateway masked'), cpu('pgbouncer')),
    ),
    growth('gateway unmasked'),
    growth('gateway masked'),
  ];
}

function workersRatio(measured: WorkersMeasure): Ratio {
  const name = 'statements per second: two data-plane workers / one';
  if ('skipped' in measured) return marked(name, marks.twoWorkers, undefined, measured.skipped);
  return marked(name, marks.twoWorkers, measured.two / measured.one);
}

/** The report in Markdown, which reads well on a terminal too. */
export function markdownOf(report: Report): string {
  const { machine, rounds, secondsPerRun, measuredAt } = report;
  return [
    `Measured ${measuredAt.slice(0, 10)} on ${Object.values(machine).join(', ')}; medians of ${rounds} interleaved ` +
      `round${rounds === 1 ? '' : 's'} of ${secondsPerRun} s; TLS off and SCRAM-SHA-256 on everywhere.`,
    ...statementsTable(report),
    ...streamsTable(report),
    'Ratios and their marks:',
    table(['what', 'found', 'mark', ''], ratioRows(ratiosOf(report))),
  ].join('\n\n');
}

function statementsTable({ statements }: Report): string[] {
  if (statements.length === 0) return [];
  const cells = ({ transactionsPerSecond, p50Microseconds, p99Microseconds }: StatementMeasure): string =>
    [transactionsPerSecond, p50Microseconds, p99Microseconds].map((value) => figure(value)).join(' / ');
  const rows = statements.map(({ mode, clients, direct, pgbouncer, gateway }) => [
    mode,
    String(clients),
    cells(direct),
    cells(pgbouncer),
    cells(gateway),
    figure(pgbouncer.cpuMicrosecondsPerStatement, 1),
    figure(gateway.cpuMicrosecondsPerStatement, 1),
    figure(quotient(gateway.cpuMicrosecondsPerStatement, pgbouncer.cpuMicrosecondsPerStatement), 2),
  ]);
  return [
    '`pgbench -S`, scale 10. Cells: transactions per second / p50 us / p99 us. CPU: microseconds of the process in ' +
      'between, user and system, per statement.',
    table(['mode', 'clients', 'direct', 'pgbouncer', 'gateway', 'CPU pgbouncer', 'CPU gateway', 'ratio'], rows),
  ];
}

function streamsTable({ streams }: Report): string[] {
  const direct = streams.find(({ path }) => path === 'direct')?.measure;
  if (direct === undefined) return [];
  const rows = streams.map(({ path, measure, peakGrowthBytes }) => [
    path,
    figure(measure.seconds, 2),
    figure(quotient(measure.seconds, direct.seconds), 2),
    figure(measure.rowsPerSecond),
    figure(measure.cpuSecondsPerGigabyte, 2),
    figure(quotient(peakGrowthBytes, bytesPerMebibyte), 1),
  ]);
  return [
    `A stream of ${figure(direct.rows)} rows of ${figure(direct.bytes / direct.rows)} bytes:`,
    table(['path', 'wall s', '/ direct', 'rows/s', 'CPU s per GB', 'peak growth MiB'], rows),
  ];
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
