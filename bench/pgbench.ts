/** One run of `pgbench -S` and what it measured. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Endpoint } from './endpoint.ts';
import { measureUsage } from './process-usage.ts';

const run = promisify(execFile);

export const queryModes = ['simple', 'extended', 'prepared'] as const;
export type QueryMode = (typeof queryModes)[number];

export interface StatementMeasure {
  readonly transactionsPerSecond: number;
  readonly p50Microseconds: number;
  readonly p99Microseconds: number;
  /** Of the process between client and server; undefined for `direct`. */
  readonly cpuMicrosecondsPerStatement: number | undefined;
}

const scale = 10;
const timeoutMs = 120_000;

function program(): string {
  const debian = '/usr/lib/postgresql/15/bin/pgbench';
  return existsSync(debian) ? debian : 'pgbench';
}

async function pgbench(endpoint: Endpoint, parameters: readonly string[]): Promise<string> {
  const { host, port, user, password, database } = endpoint;
  const env = {
    ...process.env,
    PGHOST: host,
    PGPORT: String(port),
    PGUSER: user,
    PGPASSWORD: password,
    PGDATABASE: database,
    PGSSLMODE: 'disable',
    PGGSSENCMODE: 'disable',
  };
  try {
    return (await run(program(), parameters, { env, timeout: timeoutMs })).stdout;
  } catch (error) {
    const output = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    throw new Error(`pgbench ${parameters.join(' ')} on ${endpoint.name} failed: ${output || String(error)}`, {
      cause: error,
    });
  }
}

/** Creates and fills pgbench's tables: a million accounts. */
export async function initialisePgbench(endpoint: Endpoint): Promise<void> {
  await pgbench(endpoint, ['--initialize', '--quiet', `--scale=${scale}`]);
}

export interface PgbenchRun {
  readonly mode: QueryMode;
  readonly clients: number;
  readonly seconds: number;
}

export async function measureStatements(
  endpoint: Endpoint,
  { mode, clients, seconds }: PgbenchRun,
): Promise<StatementMeasure> {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-bench-'));
  try {
    const parameters = [
      '--select-only',
      '--no-vacuum',
      `--protocol=${mode}`,
      `--client=${clients}`,
      `--jobs=${Math.min(clients, 2)}`,
      `--time=${seconds}`,
      '--log',
      `--log-prefix=${join(folder, 'latencies')}`,
    ];
    const { result: output, usage } = await measureUsage(endpoint.pid, () => pgbench(endpoint, parameters));
    const transactions = numberIn(output, /number of transactions actually processed: (\d+)/);
    const latencies = await latenciesIn(folder);
    return {
      transactionsPerSecond: numberIn(output, /tps = ([\d.]+) \(without initial connection time\)/),
      p50Microseconds: percentile(latencies, 0.5),
      p99Microseconds: percentile(latencies, 0.99),
      cpuMicrosecondsPerStatement: usage === undefined ? undefined : usage.cpuMicroseconds / transactions,
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}

function numberIn(output: string, pattern: RegExp): number {
  const found = pattern.exec(output)?.[1];
  if (found === undefined) throw new Error(`pgbench printed something else than expected:\n${output}`);
  return Number(found);
}

/** Every transaction's latency in microseconds, sorted. The third field of each line of pgbench's logs. */
async function latenciesIn(folder: string): Promise<Float64Array> {
  const latencies: number[] = [];
  for (const file of await readdir(folder)) {
    const text = await readFile(join(folder, file), 'utf8');
    for (const line of text.split('\n')) {
      const latency = line.split(' ', 3)[2];
      if (latency !== undefined) latencies.push(Number(latency));
    }
  }
  return Float64Array.from(latencies).sort();
}

function percentile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
