/**
 * What the gateway costs, as ratios in one run against a direct connection and against pgbouncer in session mode.
 *
 *   npm run bench:postgres                     about ten minutes; updates results/postgres.json and README.md
 *   npm run bench:postgres -- --check          and exits with 1 naming each ratio that misses its mark
 *   npm run bench:postgres -- --quick          about a minute, prints only: does it run, is the order right
 *   npm run bench:postgres -- --only=streams   statements, streams or workers; prints only
 *   npm run bench:postgres -- --seconds=10 --rounds=5 --rows=1000000
 *
 * Needs Linux, pgbench and pgbouncer (Debian: postgresql-15, pgbouncer).
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { arch, cpus } from 'node:os';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { type EmbeddedPostgres, hasDebianPostgres, startEmbeddedPostgres } from '../demo/embedded-postgres.ts';
import { configurationSchema } from '../src/config/schema.ts';
import { assertRuntime } from '../src/lib/runtime.ts';
import type { Endpoint } from './endpoint.ts';
import { type BenchGateway, type GatewayVariant, startGatewayForBench } from './gateway-process.ts';
import { initialisePgbench, measureStatements, queryModes, type StatementMeasure } from './pgbench.ts';
import { hasPgbouncer, startPgbouncer } from './pgbouncer.ts';
import { residentBytes } from './process-usage.ts';
import { measureFlush } from './flush.ts';
import { checkMarks, type Ratio } from './marks.ts';
import {
  markdownOf,
  medians,
  ratiosOf,
  type Report,
  type StreamCase,
  type StreamPath,
  type WorkersMeasure,
  withReport,
} from './report.ts';
import { createBenchRows, measureStream, type StreamMeasure } from './stream.ts';

const parts = ['statements', 'streams', 'workers'] as const;
type Part = (typeof parts)[number];

interface Options {
  /** Undefined: all. */
  readonly only: Part | undefined;
  readonly isQuick: boolean;
  readonly mustCheck: boolean;
  readonly seconds: number;
  readonly rounds: number;
  readonly rows: number;
  readonly clients: readonly number[];
}

const database = 'bench';
/** One for each gateway. */
const storeDatabases = ['bench_store', 'bench_store_unrecorded', 'bench_store_workers'] as const;

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      quick: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      seconds: { type: 'string' },
      rounds: { type: 'string' },
      rows: { type: 'string' },
    },
  });
  const number = (text: string | undefined, normal: number, quick: number): number => {
    const value = text === undefined ? (values.quick ? quick : normal) : Number(text);
    if (!Number.isInteger(value) || value < 1) throw new Error(`not a positive whole number: ${text}`);
    return value;
  };
  const only = parts.find((part) => part === values.only);
  if (values.only !== undefined && only === undefined) throw new Error(`--only is one of ${parts.join(', ')}`);
  return {
    only,
    isQuick: values.quick,
    mustCheck: values.check,
    seconds: number(values.seconds, 5, 1),
    rounds: number(values.rounds, 3, 1),
    rows: number(values.rows, 1_000_000, 200_000),
    clients: values.quick ? [1, 8] : [1, 8, 32],
  };
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Every mode with every number of clients; within a round, all endpoints of a case directly after one another. */
async function measureAllStatements(
  endpoints: readonly Endpoint[],
  options: Options,
): Promise<Pick<Report, 'statements' | 'flushMicroseconds'>> {
  const cases = queryModes.flatMap((mode) => options.clients.map((clients) => ({ mode, clients })));
  const measured = new Map<string, StatementMeasure[]>();
  const key = (each: object, endpoint: string): string => `${JSON.stringify(each)} ${endpoint}`;
  const flushes: { microseconds: number }[] = [];
  for (let round = 1; round <= options.rounds; round += 1) {
    flushes.push({ microseconds: await measureFlush() });
    for (const each of cases) {
      for (const endpoint of endpoints) {
        const measure = await measureStatements(endpoint, { ...each, seconds: options.seconds });
        const list = measured.get(key(each, endpoint.name)) ?? [];
        measured.set(key(each, endpoint.name), [...list, measure]);
      }
      say(`round ${round} of ${options.rounds}: ${each.mode}, ${each.clients} clients`);
    }
  }
  const medianOf = (each: object, endpoint: string): StatementMeasure | undefined => {
    const rounds = measured.get(key(each, endpoint));
    return rounds === undefined ? undefined : medians(rounds);
  };
  const statements = cases.map((each) => {
    const direct = medianOf(each, 'direct');
    const pgbouncer = medianOf(each, 'pgbouncer');
    const gateway = medianOf(each, 'gateway');
    if (direct === undefined || pgbouncer === undefined || gateway === undefined)
      throw new Error('a case without measurements');
    return { ...each, direct, pgbouncer, gateway };
  });
  return { statements, flushMicroseconds: medians(flushes).microseconds };
}

async function measureAllStreams(paths: ReadonlyMap<StreamPath, Endpoint>, options: Options): Promise<StreamCase[]> {
  const measured = new Map<StreamPath, StreamMeasure[]>();
  const before = new Map([...paths].map(([path, { pid }]) => [path, pid === undefined ? 0 : residentBytes(pid)]));
  for (let round = 0; round <= options.rounds; round += 1) {
    for (const [path, endpoint] of paths) {
      measured.set(path, [...(measured.get(path) ?? []), await measureStream(endpoint, options.rows)]);
    }
    say(`round ${round} of ${options.rounds}: stream of ${options.rows} rows`);
  }
  return [...measured].map(([path, all]) => {
    const peaks = all.map(({ peakResidentBytes }) => peakResidentBytes).filter((peak) => peak !== undefined);
    const peakGrowthBytes = peaks.length === 0 ? undefined : Math.max(...peaks) - (before.get(path) ?? 0);
    // Round 0 warms caches and compilers: it counts for memory, not for time.
    return { path, measure: medians(all.slice(1)), peakGrowthBytes };
  });
}

async function startGateway(
  server: EmbeddedPostgres,
  store: (typeof storeDatabases)[number],
  variant: GatewayVariant,
): Promise<BenchGateway> {
  const { host, port, user, password } = server;
  return startGatewayForBench({ host, port, user, password, database, storeUrl: server.url(store) }, variant);
}

/** Throughput with one and with two workers, in interleaved rounds. */
async function measureWorkers(server: EmbeddedPostgres, options: Options): Promise<WorkersMeasure> {
  if (!('workers' in configurationSchema.shape.gateway.parse({}))) {
    return { skipped: 'this gateway does not know gateway.workers yet' };
  }
  const clients = 32;
  if (cpus().length < 4) return { skipped: `${cpus().length} cores: two workers, clients and server need four` };
  const measured: Record<1 | 2, number[]> = { 1: [], 2: [] };
  for (let round = 0; round < options.rounds; round++) {
    for (const workers of [1, 2] as const) {
      const configure: GatewayVariant['configure'] = (configuration) =>
        Object.assign(configuration.gateway, { workers });
      const gateway = await startGateway(server, 'bench_store_workers', { configure });
      try {
        const endpoint: Endpoint = { ...gateway, name: 'gateway' };
        await measureStatements(endpoint, { mode: 'prepared', clients, seconds: 1 });
        const { transactionsPerSecond } = await measureStatements(endpoint, {
          mode: 'prepared',
          clients,
          seconds: options.seconds,
        });
        measured[workers].push(transactionsPerSecond);
      } finally {
        await gateway.stop();
      }
    }
    say(`round ${round + 1} of ${options.rounds}: workers`);
  }
  const median = (all: number[]) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? Number.NaN;
  return { one: median(measured[1]), two: median(measured[2]) };
}

async function prepareData(server: EmbeddedPostgres, direct: Endpoint, options: Options): Promise<string> {
  await initialisePgbench(direct);
  const client = new pg.Client({ connectionString: server.url(database) });
  await client.connect();
  try {
    await createBenchRows(client, options.rows);
    const { rows } = await client.query<{ server_version: string }>('show server_version');
    return rows[0]?.server_version ?? 'unknown';
  } finally {
    await client.end();
  }
}

async function measure(options: Options): Promise<Report> {
  if (!hasPgbouncer()) throw new Error('pgbouncer is not installed; fix: apt-get install pgbouncer postgresql-15');
  await using cleanup = new AsyncDisposableStack();
  const server = await startEmbeddedPostgres({
    version: hasDebianPostgres() ? 'debian15' : 'embedded',
    databases: [database, ...storeDatabases],
    settings: { shared_buffers: '512MB', autovacuum: 'off', max_parallel_workers_per_gather: '0' },
  });
  cleanup.defer(() => server.stop());
  const { host, port, user, password } = server;
  const direct: Endpoint = { name: 'direct', host, port, user, password, database };
  say('filling the tables');
  const serverVersion = await prepareData(server, direct, options);
  const pgbouncer = await startPgbouncer(direct);
  cleanup.defer(() => pgbouncer.stop());
  const wants = (part: Part): boolean => options.only === undefined || options.only === part;
  const gateway = await startGateway(server, 'bench_store', {});
  cleanup.defer(() => gateway.stop());
  const masked: Endpoint = { ...gateway, name: 'gateway' };
  const endpoints: readonly Endpoint[] = [direct, pgbouncer.endpoint, masked];
  let statements: Awaited<ReturnType<typeof measureAllStatements>> = { statements: [], flushMicroseconds: undefined };
  if (wants('statements')) {
    for (const endpoint of endpoints) await measureStatements(endpoint, { mode: 'simple', clients: 8, seconds: 1 });
    statements = await measureAllStatements(endpoints, options);
  }
  let streams: StreamCase[] = [];
  if (wants('streams')) {
    const unrecorded = await startGateway(server, 'bench_store_unrecorded', { records: false });
    cleanup.defer(() => unrecorded.stop());
    const paths = new Map<StreamPath, Endpoint>([
      ['direct', direct],
      ['pgbouncer', pgbouncer.endpoint],
      ['gateway unmasked', { ...masked, database: gateway.unmaskedDatabase }],
      ['gateway masked, not recorded', { ...unrecorded, name: 'gateway' }],
      ['gateway masked', masked],
    ]);
    // What a process loads and compiles once is no growth of a stream.
    for (const endpoint of paths.values())
      await measureStatements(endpoint, { mode: 'simple', clients: 8, seconds: 1 });
    streams = await measureAllStreams(paths, options);
  }
  const workers = wants('workers') ? await measureWorkers(server, options) : { skipped: 'not asked for' };
  const [processor] = cpus();
  return {
    measuredAt: new Date().toISOString(),
    machine: {
      processor: processor?.model ?? 'unknown processor',
      cores: `${cpus().length} cores (${arch()})`,
      server: `PostgreSQL ${serverVersion}`,
      node: `Node ${process.version}`,
    },
    rounds: options.rounds,
    secondsPerRun: options.seconds,
    ...statements,
    streams,
    workers,
  };
}

async function keep(report: Report, ratios: readonly Ratio[]): Promise<void> {
  const results = new URL('results/', import.meta.url);
  await mkdir(results, { recursive: true });
  await writeFile(new URL('postgres.json', results), `${JSON.stringify({ ...report, ratios }, undefined, 2)}\n`);
  const readme = new URL('README.md', import.meta.url);
  const text = await readFile(readme, 'utf8').catch(() => '# Benchmarks\n');
  await writeFile(readme, withReport(text, markdownOf(report)));
}

async function main(): Promise<number> {
  assertRuntime();
  const options = readOptions();
  const report = await measure(options);
  const ratios = ratiosOf(report);
  say(`\n${markdownOf(report)}\n`);
  if (options.isQuick || options.only !== undefined) say('bench/results and bench/README.md stay as they are');
  else await keep(report, ratios);
  return options.mustCheck ? checkMarks(ratios, say) : 0;
}

process.exitCode = await main();
