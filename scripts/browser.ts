/**
 * `npm run test:browser`: the page's stories in a real browser, against a whole gateway. Screenshots go to browser-out/.
 *
 *   npm run test:browser             all
 *   npm run test:browser -- FILE...  only these
 *
 * Needs Chromium: CHROMIUM names it, else Debian's is taken. As root on a system with apt it is installed, unless
 * COUNTERSIGN_NO_APT is set; without it the stories are skipped, loudly.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assertRuntime } from '../src/lib/runtime.ts';
import { installed } from './apt.ts';
import { providePage } from './web.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const fileTimeoutMs = 240_000;

function chromium(): string | undefined {
  const wanted = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
  if (existsSync(wanted)) return wanted;
  return installed(['chromium'], 'for the tests of the page') && existsSync(wanted) ? wanted : undefined;
}

async function main(files: readonly string[]): Promise<number> {
  assertRuntime();
  const executable = chromium();
  if (executable === undefined) {
    process.stdout.write(
      '\n*** SKIPPED: the tests of the page need Chromium, which is not here (CHROMIUM=PATH names it)\n',
    );
    return 0;
  }
  await providePage();
  const stories = files.length > 0 ? files : globSync('test/browser/*.story.ts', { cwd: root }).toSorted();
  const options = ['--test', '--test-reporter=spec', '--test-concurrency=2', `--test-timeout=${fileTimeoutMs}`];
  const { status } = spawnSync(process.execPath, [...options, ...stories], {
    cwd: root,
    env: { ...process.env, CHROMIUM: executable },
    stdio: 'inherit',
  });
  process.stdout.write(`screenshots: ${join(root, 'browser-out')}\n`);
  return status ?? 1;
}

process.exitCode = await main(process.argv.slice(2));
