/**
 * What a session that does nothing costs in the gateway's process: thousands of clients log in, run one statement and
 * stay. Their target is not PostgreSQL, which could not hold so many (idle-target.ts).
 *
 *   npm run bench:sessions                     prints a table, keeps results/sessions.json
 *   npm run bench:sessions -- --check          and exits with 1 where a session costs more than its mark
 *   npm run bench:sessions -- --sessions=500 --snapshot=FILE    smaller, and writes a snapshot of the heap at the end
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { makeCertificate } from '../demo/certificate.ts';
import { startEmbeddedPostgres } from '../demo/embedded-postgres.ts';
import { assertRuntime } from '../src/lib/runtime.ts';
import { type BenchGateway, startGatewayForBench } from './gateway-process.ts';
import { idleUser, startIdleTarget } from './idle-target.ts';
import { checkMarks, figure, marked, marks, ratioRows, table, told, type Ratio } from './marks.ts';
import type { ProbedMemory } from './memory-probe.ts';

const database = 'bench';
const storeDatabase = 'bench_store';
const allSessions = 5_000;
const logInsAtOnce = 40;
/** In the gateway: a client, a target and a recording. */
const filesOfSession = 3;
const filesBeside = 300;
/** Recordings end their segments after a second. */
const settleMs = 2_500;
const kibibyte = 1024;

interface Step {
  readonly sessions: number;
  readonly memory: ProbedMemory;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Node raises its soft limit to the hard one by itself. */
async function checkOpenFiles(sessions: number): Promise<void> {
  const limits = await readFile('/proc/self/limits', 'utf8');
  const allowed = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  const needed = sessions * filesOfSession + filesBeside;
  if (allowed === undefined || Number(allowed) >= needed) return;
  throw new Error(
    `${sessions} sessions need ${needed} open files and ${allowed} are allowed; fix: ulimit -n ${needed}`,
  );
}

async function logIn(gateway: BenchGateway, ssl: pg.ClientConfig['ssl']): Promise<pg.Client> {
  const { host, port, user, password } = gateway;
  const client = new pg.Client({ host, port, user, password, database: gateway.database, ssl });
  client.on('error', () => undefined);
  await client.connect();
  await client.query('select 1');
  return client;
}

/** Waits until nothing more is let go, so that what the log-ins left behind is not counted. */
async function settled(gateway: BenchGateway): Promise<ProbedMemory> {
  await sleep(settleMs);
  await gateway.memory();
  await sleep(settleMs);
  return gateway.memory();
}

interface Case {
  readonly usesTls: boolean;
  /** Ascending. */
  readonly counts: readonly number[];
  readonly snapshotFile: string | undefined;
}

async function measure({ usesTls, counts, snapshotFile }: Case): Promise<Step[]> {
  await using cleanup = new AsyncDisposableStack();
  const home = await mkdtemp(path.join(tmpdir(), 'countersign-bench-'));
  cleanup.defer(() => rm(home, { recursive: true, force: true }));
  const { caPem, certPem, keyPem } = await makeCertificate({ hosts: ['127.0.0.1'] });
  const tls = { certFile: path.join(home, 'gateway.crt'), keyFile: path.join(home, 'gateway.key') };
  await writeFile(tls.certFile, certPem);
  await writeFile(tls.keyFile, keyPem, { mode: 0o600 });
  const ssl = usesTls ? { ca: caPem } : false;
  const server = await startEmbeddedPostgres({ databases: [database, storeDatabase] });
  cleanup.defer(() => server.stop());
  const target = await startIdleTarget(server);
  cleanup.defer(() => target.close());
  const { user, password } = server;
  const most = counts.at(-1) ?? 0;
  const gateway = await startGatewayForBench(
    { host: target.host, port: target.port, user, password, database, storeUrl: server.url(storeDatabase) },
    {
      isProbed: true,
      configure: ({ gateway: { postgres, limits }, connections }) => {
        if (usesTls) Object.assign(postgres, { tls });
        limits['maxSessions'] = limits['maxSessionsPerPrincipal'] = most + 100;
        for (const { credentials } of connections) credentials.executor = { user: idleUser, password };
      },
    },
  );
  cleanup.defer(() => gateway.stop());
  const clients: pg.Client[] = [];
  cleanup.defer(async () => {
    await Promise.all(clients.map((client) => client.end()));
  });
  // What the first sessions load and compile is no cost of a session.
  for (let index = 0; index < 50; index++) await (await logIn(gateway, ssl)).end();
  const steps: Step[] = [];
  for (const count of [0, ...counts]) {
    while (clients.length < count) {
      const some = Math.min(logInsAtOnce, count - clients.length);
      clients.push(...(await Promise.all(Array.from({ length: some }, () => logIn(gateway, ssl)))));
    }
    steps.push({ sessions: count, memory: await settled(gateway) });
    say(`${count} sessions${usesTls ? ' over TLS' : ''}`);
  }
  const answers = await Promise.all(clients.map((client) => client.query<{ '?column?': number }>('select 1')));
  if (answers.some(({ rows }) => rows[0]?.['?column?'] !== 1)) throw new Error('a session does not answer any more');
  if (snapshotFile !== undefined) await gateway.memory(snapshotFile);
  return steps;
}

function ratiosOf(name: string, steps: readonly Step[]): Ratio[] {
  const [none, ...some] = steps;
  if (none === undefined) return [];
  return some.flatMap(({ sessions, memory }) => {
    const each = (kind: keyof ProbedMemory) => (memory[kind] - none.memory[kind]) / sessions / kibibyte;
    return [
      marked(
        `resident memory of each of ${figure(sessions)} idle sessions${name}`,
        marks.idleSession,
        each('resident'),
      ),
      told('of it objects', 'KiB', each('heap')),
      told('of it buffers and what is outside of the heap', 'KiB', each('external')),
    ];
  });
}

async function main(): Promise<number> {
  assertRuntime();
  const { values } = parseArgs({
    options: { check: { type: 'boolean', default: false }, sessions: { type: 'string' }, snapshot: { type: 'string' } },
  });
  const sessions = values.sessions === undefined ? allSessions : Number(values.sessions);
  if (!Number.isInteger(sessions) || sessions < 5) throw new Error(`not a number of sessions: ${values.sessions}`);
  await checkOpenFiles(sessions);
  const counts = [sessions / 5, sessions];
  const plain = await measure({ usesTls: false, counts, snapshotFile: values.snapshot });
  const overTls = await measure({ usesTls: true, counts, snapshotFile: undefined });
  const ratios = [...ratiosOf('', plain), ...ratiosOf(' over TLS', overTls)];
  const mebibytes = (bytes: number) => figure(bytes / 2 ** 20, 1);
  const rowsOf = (name: string, steps: readonly Step[]) =>
    steps.map(({ sessions: count, memory: { resident, heap, external } }) => [
      `${figure(count)}${name}`,
      ...[resident, heap, external].map(mebibytes),
    ]);
  const rows = [...rowsOf('', plain), ...rowsOf(' over TLS', overTls)];
  say(`\n${table(['idle sessions', 'resident MiB', 'heap MiB', 'outside of it MiB'], rows)}`);
  say(`\n${table(['what', 'found', 'mark', ''], ratioRows(ratios))}\n`);
  if (values.sessions === undefined) {
    const results = new URL('results/', import.meta.url);
    await mkdir(results, { recursive: true });
    const kept = { measuredAt: new Date().toISOString(), node: process.version, plain, overTls, ratios };
    await writeFile(new URL('sessions.json', results), `${JSON.stringify(kept, undefined, 2)}\n`);
  }
  return values.check ? checkMarks(ratios, say) : 0;
}

process.exitCode = await main();
