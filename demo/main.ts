/**
 * `npm run demo`: the whole story on one machine, with real components. Ends by itself without a terminal; on one it
 * stays up until Ctrl-C. Cleans up after itself in every case, and may run several times at once.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import colors from 'picocolors';
import { assertRuntime } from '../src/lib/runtime.ts';
import { commandLine } from './command.ts';
import { openInBrowser } from './open.ts';
import { passwordOf, people, startEnvironment, type Environment } from './environment.ts';
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
  print(
    `the page   ${colors.bold(environment.apiUrl)}   (accounts ${people.join(', ')}; each with the password NAME-password)`,
  );
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
  const request = await somethingToDecide(live, run);
  const address = `${live.apiUrl}/requests/${request}`;
  print(`\n${colors.bold('still up until Ctrl-C')}`);
  print(`\n  ${colors.bold('the page')}   ${colors.bold(colors.cyan(address))}`);
  print(
    `  1. Log in as executor (password ${passwordOf('executor')}). Who, what, where and why come first, then the SQL, what`,
  );
  print('     changed since the last approved version, the masks and the masked sample. Press Approve.');
  print(
    `  2. Log out (the menu at the top right), open the address again as designer (${passwordOf('designer')}): whoever wrote`,
  );
  print('     the job cannot decide on it, and the page says why.');
  print(
    '  3. Still as designer, send a large read with the credential below: it waits, and its NOTICE has an address. Reject',
  );
  print('     it as executor2 in another window (Inbox, Reject, a comment), and see what the client gets.');
  print(
    `  4. As auditor (${passwordOf('auditor')}): Audit shows that every execution passed an approval, Sessions what was delivered.`,
  );
  print(`\n  API        ${live.apiUrl}/api/v1/openapi.json`);
  print(`  OpenID     ${live.issuer}   (accounts designer, executor, executor2, auditor; each with NAME-password)`);
  print(`  log in     COUNTERSIGN_SERVER=${live.apiUrl} npm run countersign -- login`);
  print(`  as designer:\n${token.stdout.trimEnd().replaceAll(/^/gm, '    ')}`);
  openInBrowser(address);
  await interruption;
}

/** A new version of the story's job that waits, for whoever goes on by hand. @returns the id of its request */
async function somethingToDecide(live: Environment, run: ReturnType<typeof commandLine>): Promise<string> {
  const file = path.join(live.home, 'customers-export.yaml');
  await writeFile(file, (await readFile(file, 'utf8')).replace(/rows: \d+/, 'rows: 30000'));
  const pushed = await run('designer', ['jobs', 'push', 'customers-export.yaml', '-m', 'One more version'], {
    quiet: true,
  });
  const id = /req_[0-9a-z]+/.exec(pushed.stdout)?.[0];
  if (id === undefined) throw new Error(`no request in:\n${pushed.stdout}${pushed.stderr}`);
  return id;
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
