import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Command } from 'commander';
import colors from 'picocolors';
import { CountersignError } from '../errors.ts';
import { outputPath } from '../jobs/definition.ts';
import { verifyManifest } from '../jobs/manifest.ts';
import { durationText, progressView } from '../jobs/progress.ts';
import { runJob } from '../jobs/runner.ts';
import type { RunnerApi, RunStatus } from '../jobs/runner-api.ts';
import type { ApiClient } from './client.ts';
import type { CredentialAnswer } from './database.ts';
import { bytes, count, exitCodes, facts, show, table } from './output.ts';
import type { CommandContext } from './context.ts';

interface OpenRun {
  readonly credential: { readonly user: string; readonly password: string };
  readonly gateway: CredentialAnswer['gateway'];
  readonly status: RunStatus;
}

/** run, runs list, show, resume, pause, kill, retry, manifest, verify */
export function runCommands(program: Command, context: CommandContext): void {
  program
    .command('run')
    .description('run an approved job: claim its grant, read its chunks through the gateway, write its files')
    .argument('<job>')
    .option('--request <id>', 'the approved request to use (default: the newest)')
    .option('--out <directory>', 'where a relative output address begins', '.')
    .option('--resume <run>', 'go on with a run that was left open')
    .option('--progress <how>', 'bar, lines (JSON), or auto: a bar on a terminal', 'auto')
    .option('--ca <file>', "certificate authority of the gateway's TLS certificate", process.env['COUNTERSIGN_CA'])
    .action(
      async (
        job: string,
        options: { request?: string; out: string; resume?: string; ca?: string; progress: string },
      ) => {
        const client = context.client();
        const open =
          options.resume === undefined
            ? await client.post<OpenRun>('/runs', {
                job,
                ...(options.request === undefined ? {} : { request: options.request }),
              })
            : await client.post<OpenRun>(`/runs/${encodeURIComponent(options.resume)}/credential`);
        await execute(client, open, options, context.json());
      },
    );

  const runs = program.command('runs').description('runs and their chunks');

  runs
    .command('list')
    .description('runs, newest first')
    .action(async () => {
      const answer = await context.client().get<{
        runs: {
          id: string;
          job: string;
          job_version: number;
          connection: string;
          executor_id: string;
          state: string;
          created_at: string;
        }[];
      }>('/runs');
      show({ json: context.json() }, answer, () =>
        table(
          ['RUN', 'JOB', 'CONNECTION', 'EXECUTOR', 'STATE', 'SINCE'],
          answer.runs.map((one) => [
            one.id,
            `${one.job} version ${one.job_version}`,
            one.connection,
            one.executor_id,
            one.state,
            one.created_at,
          ]),
        ),
      );
    });

  runs
    .command('show')
    .argument('<run>')
    .description('how a run stands')
    .action(async (run: string) => {
      const status = await context.client().get<RunStatus>(`/runs/${encodeURIComponent(run)}`);
      show({ json: context.json() }, status, () => statusText(status));
    });

  for (const action of ['pause', 'resume', 'kill'] as const) {
    runs
      .command(action)
      .argument('<run>')
      .description(
        { pause: 'lease no more chunks', resume: 'lease chunks again', kill: 'end the run and its sessions' }[action],
      )
      .action(async (run: string) => {
        const status = await context.client().post<RunStatus>(`/runs/${encodeURIComponent(run)}/${action}`);
        show({ json: context.json() }, status, () => `${status.runId}: ${status.state}`);
      });
  }

  runs
    .command('retry')
    .argument('<run>')
    .option('--chunk <n>', 'this one only (default: every failed chunk)', Number)
    .description('plan failed chunks again; go on with: run JOB --resume RUN')
    .action(async (run: string, options: { chunk?: number }) => {
      const path = `/runs/${encodeURIComponent(run)}/retry`;
      const status = await context.client().post<RunStatus & { retried: number }>(path, options);
      show(
        { json: context.json() },
        status,
        () => `${status.runId}: ${status.state}, ${status.retried} chunks planned again`,
      );
    });

  runs
    .command('manifest')
    .argument('<run>')
    .description('the manifest of a completed run: the exact text whose digest is in the log')
    .action(async (run: string) => {
      const response = await context.client().open('GET', `/runs/${encodeURIComponent(run)}/manifest`);
      process.stdout.write(await response.text());
    });

  runs
    .command('verify')
    .description("compare a run's files with its manifest, byte for byte (offline)")
    .argument('<directory>')
    .action(async (directory: string) => {
      const verified = await verifyManifest(directory);
      if (!verified.ok) process.exitCode = exitCodes.failed;
      show({ json: context.json() }, verified, () =>
        verified.ok
          ? `${colors.green('OK')} ${verified.manifest.chunks.length} chunks, manifest sha256:${verified.digest}`
          : verified.problems
              .map(
                (one) =>
                  `${colors.red('BROKEN')} ${one.chunk === undefined ? '' : `chunk ${one.chunk}: `}${one.path}: ${one.problem}`,
              )
              .join('\n'),
      );
    });
}

async function execute(
  client: ApiClient,
  open: OpenRun,
  options: { out: string; ca?: string; progress: string },
  json: boolean,
): Promise<void> {
  const { status, gateway, credential } = open;
  const { stderr } = process;
  const isTTY = options.progress === 'auto' ? stderr.isTTY : options.progress === 'bar';
  const view = progressView({ isTTY, columns: stderr.columns, write: (text) => stderr.write(text) }, Date.now);
  const stop = new AbortController();
  const interrupt = () => stop.abort();
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  try {
    const summary = await runJob({
      api: httpRunnerApi(client),
      runId: status.runId,
      database: {
        host: gateway.host,
        port: gateway.port,
        user: credential.user,
        password: credential.password,
        database: status.connection,
        tls: gateway.tls ? { ca: options.ca === undefined ? undefined : readFileSync(options.ca, 'utf8') } : undefined,
      },
      outputDirectory: outputPath(status.output, options.out),
      holder: `${hostname()}.${process.pid}`,
      onProgress: (progress) => view.update(progress),
      signal: stop.signal,
    });
    view.end();
    show({ json }, summary, () =>
      facts([
        ['run', `${summary.runId}: ${summary.state}`],
        ['rows', count(summary.rows)],
        ['chunks', `${summary.chunks} sealed${summary.retries === 0 ? '' : `, ${summary.retries} retries`}`],
        ['masked cells', count(summary.maskedCells)],
        ['took', durationText(summary.durationMs)],
        ['files', summary.outputDirectory],
        ['manifest', summary.manifestPath],
        ...summary.failures.map((failure): [string, string] => [
          `chunk ${failure.chunkNo}`,
          `${failure.state}: ${failure.reason}`,
        ]),
      ]),
    );
    if (summary.state === 'completed') return;
    if (stop.signal.aborted) {
      throw new CountersignError('run_not_open', `stopped; the run is still open`, {
        hint: `countersign run ${summary.job} --resume ${summary.runId}`,
      });
    }
    throw new CountersignError('run_not_open', `run ${summary.runId} is ${summary.state}`);
  } finally {
    view.end();
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

function httpRunnerApi(client: ApiClient): RunnerApi {
  const at = (runId: string, rest = '') => `/runs/${encodeURIComponent(runId)}${rest}`;
  return {
    state: (runId) => client.get(at(runId)),
    lease: (runId, holder) => client.post(at(runId, '/lease'), { holder }),
    heartbeat: ({ runId, ...ref }, holder) => client.post(at(runId, '/heartbeat'), { ...ref, holder }),
    seal: ({ runId, ...ref }, sealed) => client.post(at(runId, '/seal'), { ...ref, ...sealed }),
    fail: ({ runId, ...ref }, reason, retryable) => client.post(at(runId, '/fail'), { ...ref, reason, retryable }),
    finish: (runId) => client.post(at(runId, '/finish')),
  };
}

function statusText(status: RunStatus): string {
  const chunks = Object.entries(status.chunks)
    .filter(([, number]) => number > 0)
    .map(([state, number]) => `${number} ${state}`);
  return facts([
    ['run', `${status.runId}: ${status.state}`],
    ['job', `${status.job} version ${status.jobVersion} on ${status.connection}`],
    ['chunks', `${chunks.join(', ')} of ${status.chunkCount}`],
    ['delivered', `${count(status.rows)} rows, ${bytes(status.bytes)}, ${count(status.maskedCells)} masked cells`],
    ['snapshot', status.snapshot],
    ['failure', status.failure],
    ...status.failures.map((failure): [string, string] => [
      `chunk ${failure.chunkNo}`,
      `${failure.state}: ${failure.reason}`,
    ]),
  ]);
}
