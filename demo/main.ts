/**
 * `npm run demo`: the whole story on one machine, with real components. Ends by itself without a terminal; on one it
 * stays up until Ctrl-C. Cleans up after itself in every case, and may run several times at once.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import colors from 'picocolors';
import { assertRuntime } from '../src/lib/runtime.ts';
import { commandLine } from './command.ts';
import { passwordOf, startEnvironment, type Environment } from './environment.ts';
import { searchEverything } from './search.ts';
import { secretsOf } from './seed.ts';
import { tellStory } from './story.ts';

assertRuntime();

const rows = 200_000;
const seed = 20_261_124;
const output = path.resolve('demo-out');
const startedMs = Date.now();
const print = (text: string) => process.stdout.write(`${text}\n`);

let starting: Promise<Environment> | undefined;
let interrupted: (() => void) | undefined;
const interruption = new Promise<void>((resolve) => {
  interrupted = resolve;
});
process.once('SIGINT', () => interrupted?.());
process.once('SIGTERM', () => interrupted?.());

async function main(): Promise<void> {
  print(colors.bold('Countersign: the person who defines how data is read is never the person who lets it run.\n'));
  starting = startEnvironment({ rows, seed, say: (text) => print(colors.dim(`# ${text}`)) });
  const environment = await starting;
  const printed: string[] = [];
  const run = commandLine({ environment, print, capture: (text) => printed.push(text) });
  const story = await tellStory({ environment, run, print });
  print(colors.dim('\n# searching everything that left the gateway for every seeded secret'));
  const secrets = secretsOf({ rows, seed });
  const found = await searchEverything({ environment, run, secrets, outputDirectory: story.outputDirectory, printed });
  const summary = {
    rows: story.rows,
    chunks: story.chunks,
    maskedCells: story.maskedCells,
    rawSecretsFound: found.findings.length,
    bytesSearched: found.bytes,
    refusals: story.refusals,
    logEntries: story.logEntries,
    logVerified: story.logVerified,
    durationMs: Date.now() - startedMs,
  };
  await mkdir(output, { recursive: true });
  await writeFile(path.join(output, 'summary.json'), `${JSON.stringify(summary, undefined, 2)}\n`);
  print(`\n${colors.bold('summary')}`);
  print(`  rows exported        ${summary.rows.toLocaleString('en-US')} in ${summary.chunks} chunks`);
  print(`  cells masked         ${summary.maskedCells.toLocaleString('en-US')}`);
  print(
    `  raw secrets found    ${summary.rawSecretsFound} in ${(found.bytes / 2 ** 20).toFixed(0)} MiB of everything that left`,
  );
  for (const finding of found.findings.slice(0, 5))
    print(colors.red(`    ${finding.kind} in ${finding.source} at byte ${finding.offset}`));
  print(`  refused              ${summary.refusals.length}`);
  for (const { what, code } of summary.refusals) print(`    ${what} ${colors.dim(`[${code}]`)}`);
  print(`  log                  ${summary.logEntries} entries, ${summary.logVerified ? 'verified' : 'NOT verified'}`);
  print(`  took                 ${(summary.durationMs / 1_000).toFixed(1)} s`);
  print(colors.dim(`  written to ${path.relative(process.cwd(), path.join(output, 'summary.json'))}`));
  if (summary.rawSecretsFound > 0) throw new Error('raw secrets left the gateway');
  if (process.stdout.isTTY) await stayUp(environment, run);
}

async function stayUp(live: Environment, run: ReturnType<typeof commandLine>): Promise<void> {
  const token = await run('designer', ['token', 'crm'], { quiet: true });
  print(`\n${colors.bold('still up until Ctrl-C')}`);
  print(`  API        ${live.apiUrl}/api/v1/openapi.json`);
  print(
    `  OpenID     ${live.issuer}   (accounts designer, executor, executor2, auditor; password of designer: ${passwordOf('designer')})`,
  );
  print(`  log in     COUNTERSIGN_SERVER=${live.apiUrl} npm run countersign -- login`);
  print(`  as designer:\n${token.stdout.trimEnd().replaceAll(/^/gm, '    ')}`);
  await interruption;
}

const work = main();
const ended = await Promise.race([
  work.then(
    () => 'done',
    (error: unknown) => error,
  ),
  interruption.then(() => 'interrupted'),
]);
if (ended instanceof Error) {
  process.stderr.write(`${colors.red('the demo failed')}: ${ended.stack ?? ended.message}\n`);
  process.exitCode = 1;
} else if (ended === 'interrupted' && !process.stdout.isTTY) {
  process.exitCode = 130;
}
// An interrupted start is waited for: only what is up can be taken down.
const environment = await starting?.catch(() => undefined);
await environment?.close();
// Children of an interrupted step may still hold handles; everything that matters is closed.
process.exit();
