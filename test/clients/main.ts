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
/** After this no further client is started. */
const budgetMs = 320_000;

async function main(names: readonly string[]): Promise<number> {
  assertRuntime();
  const unknown = names.filter((name) => !clients.some((client) => client.name === name));
  if (unknown.length > 0) throw new Error(`unknown: ${unknown.join(', ')}; known: ${clients.map(({ name }) => name).join(', ')}`);
  const chosen = clients.filter(({ name }) => names.length === 0 || names.includes(name));
  const startedMs = performance.now();
  await mkdir(cacheDirectory, { recursive: true, mode: 0o700 });
  const stage = await startStage();
  const results: ClientResult[] = [];
  try {
    // One installs while the one before it runs.
    let next = start(chosen[0]);
    for (const [index, client] of chosen.entries()) {
      const provided = await next;
      next = start(chosen[index + 1]);
      const late = performance.now() - startedMs > budgetMs;
      const result: ClientResult =
        late || provided instanceof Missing
          ? { client, skipped: late ? 'no time is left' : String((provided as Missing).message), verdicts: [], seconds: 0 }
          : await runClient(stage, client, provided);
      results.push(result);
      process.stdout.write(`${client.name}: ${result.skipped ?? `${result.seconds} s`}\n`);
    }
  } finally {
    await stage.close();
  }
  return printReport(results, Math.round((performance.now() - startedMs) / 1000)) ? 0 : 1;
}

const start = async (client: Client | undefined): Promise<Start | Missing> => {
  try {
    return client === undefined ? new Missing('there is none') : await client.provide();
  } catch (error) {
    if (error instanceof Missing) return error;
    throw error;
  }
};

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
