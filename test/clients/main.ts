/**
 * `npm run test:clients`: real clients against a whole gateway, one table of client x check.
 *
 *   npm run test:clients               every client
 *   npm run test:clients -- NAME...    only these; CLIENTS_VERBOSE=1 shows what their programs print
 *
 * A client is a small program in its own language that prints a JSON line per check (`protocol.ts`); this file starts it,
 * and `verdicts.ts` judges the lines together with every byte that the client received. A client that cannot be had on
 * this machine is skipped, with the reason. Exit status 1 if a check fails, or if one that is known to fail passes.
 */
import { mkdir } from 'node:fs/promises';
import { assertRuntime } from '../../src/lib/runtime.ts';
import { clients, type Client, type Start } from './clients.ts';
import { cacheDirectory, Missing } from './packages.ts';
import { lastLines, runProgram } from './program.ts';
import { parseLine } from './protocol.ts';
import { printReport, type ClientResult } from './report.ts';
import { startStage, type Stage } from './stage.ts';
import { judge } from './verdicts.ts';

const programTimeoutMs = 75_000;
/** After this no further client is started: everything ends within six minutes. */
const budgetMs = 260_000;

async function main(names: readonly string[]): Promise<number> {
  assertRuntime();
  const unknown = names.filter((name) => !clients.some((client) => client.name === name));
  if (unknown.length > 0)
    throw new Error(`unknown: ${unknown.join(', ')}; known: ${clients.map(({ name }) => name).join(', ')}`);
  const chosen = clients.filter(({ name }) => names.length === 0 || names.includes(name));
  const startedMs = performance.now();
  await mkdir(cacheDirectory, { recursive: true, mode: 0o700 });
  const stage = await startStage();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void stage.close().finally(() => process.exit(1)));
  }
  const results: ClientResult[] = [];
  try {
    // They install one after another, while those that are ready run.
    let last: Promise<unknown> = Promise.resolve();
    const provisions = chosen.map((client) => {
      const provision = last.then(() => provide(client));
      last = provision.catch(() => undefined);
      return { client, provision };
    });
    for (const { client, provision } of provisions) {
      const provided = await provision;
      const isLate = performance.now() - startedMs > budgetMs;
      const result =
        provided instanceof Error || isLate
          ? notRun(client, isLate ? new Missing('no time is left') : (provided as Error))
          : await runClient(stage, client, provided);
      results.push(result);
      process.stdout.write(`${client.name}: ${result.skipped ?? `${result.seconds} s`}\n`);
    }
  } finally {
    await stage.close();
  }
  return printReport(results, Math.round((performance.now() - startedMs) / 1000)) ? 0 : 1;
}

async function provide(client: Client): Promise<Start | Error> {
  try {
    return await client.provide();
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** Skipped where something is missing on this machine; anything else is a fault of ours. */
function notRun(client: Client, why: Error): ClientResult {
  if (why instanceof Missing) return { client, skipped: why.message, verdicts: [], seconds: 0 };
  const verdict = { check: 'provide', outcome: 'failed', reason: String(why) } as const;
  return { client, skipped: undefined, verdicts: [verdict], seconds: 0 };
}

async function runClient(stage: Stage, client: Client, { command, environment }: Start): Promise<ClientResult> {
  const startedMs = performance.now();
  const entrance = await stage.enter(client.name);
  const result = await runProgram(command, {
    timeoutMs: programTimeoutMs,
    environment: { ...entrance.environment, ...environment },
  });
  const received = await entrance.leave();
  const printed = `${result.stdout}\n${result.stderr}`;
  if (process.env['CLIENTS_VERBOSE']) process.stdout.write(`${printed}\n`);
  const lines = printed.split('\n').flatMap((text) => parseLine(text) ?? []);
  const isWell = result.exitCode === 0;
  const ending = isWell
    ? undefined
    : `${result.failure ?? `exit status ${result.exitCode}`}: ${lastLines(result.stderr || result.stdout)}`;
  const verdicts = judge({ lines, printed, received, decisions: entrance.decisions, ending }, client);
  return { client, verdicts, skipped: undefined, seconds: Math.round((performance.now() - startedMs) / 1000) };
}

process.exitCode = await main(process.argv.slice(2));
