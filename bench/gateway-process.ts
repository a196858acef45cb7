/**
 * The gateway under measurement, as a process of its own, so that its CPU time and memory are its own.
 *
 * What the benchmark needs of it:
 * - TLS off on both sides, SCRAM-SHA-256 on both, as for pgbouncer;
 * - the log and the recordings on;
 * - two connections to the same target: one whose masking template masks `bench_rows.secret_name` and
 *   `bench_rows.secret_code` with the detectors on, and one that masks nothing;
 * - a principal that may run `pgbench -S` (with the catalogue queries pgbench opens with) and read the whole of
 *   `bench_rows` without a hold, on both.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { clientCredentials } from '../src/cli/login.ts';
import type { ProbedMemory } from './memory-probe.ts';
import { startOidcProvider } from '../demo/oidc-provider.ts';

export interface GatewayTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** A database on the same server for the control store. */
  readonly storeUrl: string;
}

export interface BenchGateway {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** The connection with masks. */
  readonly database: string;
  /** The same target without masks. */
  readonly unmaskedDatabase: string;
  readonly pid: number;
  /** After collecting garbage; `snapshotFile` also writes a snapshot of the heap. Only where `isProbed`. */
  memory(snapshotFile?: string): Promise<ProbedMemory>;
  stop(): Promise<void>;
}

const program = path.resolve(import.meta.dirname, '../src/bin.ts');
const secret = 'bench-secret';
const policy = `
@id("bench/read")
permit (principal in Group::"bench", action in [Action::"read", Action::"sample", Action::"session"], resource);
`;

export interface GatewayVariant {
  /** false: without recordings, which only a benchmark can ask for. */
  readonly records?: boolean;
  readonly configure?: (configuration: ReturnType<typeof configurationOf>) => void;
  /** Loaded with `memory-probe.ts`, so that `memory` can ask it. */
  readonly isProbed?: boolean;
}

export async function startGatewayForBench(
  target: GatewayTarget,
  { records = true, isProbed = false, configure = () => undefined }: GatewayVariant = {},
): Promise<BenchGateway> {
  const home = await mkdtemp(path.join(tmpdir(), 'countersign-bench-'));
  const provider = await startOidcProvider({ services: [{ id: 'bench', secret, groups: ['bench'] }] });
  let gateway: ChildProcess | undefined;
  const stop = async () => {
    if (gateway !== undefined) await stopProcess(gateway);
    await provider.close();
    await rm(home, { recursive: true, force: true });
  };
  try {
    await writeFile(path.join(home, 'bench.cedar'), policy);
    const file = path.join(home, 'countersign.yaml');
    const configuration = configurationOf(target, home, provider.issuer);
    configure(configuration);
    await writeFile(file, JSON.stringify(configuration));
    const load = (name: string) => ['--import', path.join(import.meta.dirname, name)];
    const preload = [...(records ? [] : load('no-recording.ts')), ...(isProbed ? load('memory-probe.ts') : [])];
    gateway = spawn(process.execPath, [...preload, program, 'serve', '--config', file], {
      stdio: ['ignore', 'pipe', 'inherit', isProbed ? 'ipc' : 'ignore'],
    });
    const child = gateway;
    const { postgres, api } = await upLine(gateway);
    const { accessToken } = await clientCredentials({
      issuer: provider.issuer,
      clientId: 'bench',
      clientSecret: secret,
      audience: 'countersign',
    });
    const response = await fetch(`${api}/api/v1/credentials`, {
      method: 'POST',
      headers: { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' },
      body: '{}',
    });
    if (!response.ok) throw new Error(`no credential: ${await response.text()}`);
    const { user, password } = (await response.json()) as { user: string; password: string };
    const { pid } = gateway;
    if (pid === undefined) throw new Error('the gateway has no process id');
    return {
      host: '127.0.0.1',
      port: postgres,
      user,
      password,
      database: 'masked',
      unmaskedDatabase: 'unmasked',
      pid,
      memory: (snapshotFile) => askMemory(child, snapshotFile),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function configurationOf(target: GatewayTarget, home: string, issuer: string) {
  const credential = { user: target.user, password: target.password };
  const connection = (name: string, data: string) => ({
    name,
    engine: 'postgres',
    host: target.host,
    port: target.port,
    database: target.database,
    labels: { data },
    tls: { mode: 'disable' },
    credentials: { gateway: credential, designer: credential, executor: credential },
  });
  return {
    node: 'bench',
    dataDirectory: path.join(home, 'data'),
    store: { url: target.storeUrl },
    gateway: { postgres: { port: 0, requireTls: false }, limits: {} as Record<string, number> },
    api: { port: 0 },
    identity: { issuer, serviceAccounts: [{ name: 'bench', subject: 'bench', owner: 'ben' }] },
    bindings: [{ group: 'bench', duties: ['executor'] }],
    policies: { files: [path.join(home, 'bench.cedar')] },
    connections: [connection('masked', 'personal'), connection('unmasked', 'plain')],
    masking: [
      {
        name: 'personal',
        appliesTo: { data: 'personal' },
        columns: [
          { match: 'bench_rows.secret_name', mask: 'redact' },
          { match: 'bench_rows.secret_code', mask: 'redact' },
        ],
        detectors: [{ detect: 'card' }, { detect: 'ssn' }, { detect: 'email' }, { detect: 'iban' }],
      },
    ],
  };
}

async function askMemory(child: ChildProcess, snapshotFile: string | undefined): Promise<ProbedMemory> {
  const answer = new Promise<ProbedMemory>((resolve, reject) => {
    child.once('message', (message) => resolve(message as ProbedMemory));
    child.once('exit', () => reject(new Error('the gateway has ended')));
  });
  child.send({ snapshotFile });
  return answer;
}

async function upLine(gateway: ChildProcess): Promise<{ postgres: number; api: string }> {
  let output = '';
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the gateway did not start: ${output}`)), 30_000);
    gateway.once('exit', () => reject(new Error(`the gateway ended: ${output}`)));
    gateway.stdout?.on('data', (data: Buffer) => {
      output += data.toString('utf8');
      const line = output.split('\n').find((one) => one.includes(' is up'));
      if (line === undefined) return;
      clearTimeout(timer);
      resolve(JSON.parse(line) as { postgres: number; api: string });
    });
  });
}

async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 8_000);
  await ended;
  clearTimeout(timer);
}
