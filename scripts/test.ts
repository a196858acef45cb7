/**
 * `npm test`: everything that must hold, in one command.
 *
 *   npm test               types, lint, format, then every test file
 *   npm test -- FILE...    only these test files
 *
 * Tests that need Debian's PostgreSQL 15 are skipped where it is missing. As root on a system with apt it is
 * installed first, unless COUNTERSIGN_NO_APT is set.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assertRuntime } from '../src/lib/runtime.ts';
import { installed } from './apt.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const testFiles = ['src/**/*.test.ts', 'test/**/*.test.ts', 'demo/**/*.test.ts'];
const fileTimeoutMs = 240_000;
const environment = { ...process.env, PATH: [join(root, 'node_modules/.bin'), process.env['PATH']].join(delimiter) };

interface Step {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
}

function succeeds({ name, command: [program, ...parameters] }: Step): boolean {
  process.stdout.write(`\n== ${name}\n`);
  const { status, error } = spawnSync(program, parameters, { cwd: root, env: environment, stdio: 'inherit' });
  if (error !== undefined) process.stdout.write(`${program}: ${error.message}\n`);
  return status === 0;
}

function tests(files: readonly string[]): Step {
  const options = ['--test', '--test-reporter=spec', '--test-concurrency=2', `--test-timeout=${fileTimeoutMs}`];
  return { name: 'tests', command: [process.execPath, ...options, ...files] };
}

/** True when PostgreSQL 15 is there, installed now or before. */
function providePostgres15(): boolean {
  if (existsSync('/usr/lib/postgresql/15/bin/postgres')) return true;
  return installed(['postgresql-15'], 'for the tests that need it');
}

function main(files: readonly string[]): number {
  const startedMs = performance.now();
  assertRuntime();
  const skipped = providePostgres15() ? '' : '; SKIPPED: what needs postgresql-15, which is not installed';
  const steps: readonly Step[] =
    files.length > 0
      ? [tests(files)]
      : [
          { name: 'types', command: ['tsc', '--noEmit'] },
          { name: 'types of the page', command: ['tsc', '--noEmit', '-p', 'web'] },
          {
            name: 'lint',
            command: ['oxlint', '--type-aware', '--deny-warnings', 'src', 'test', 'demo', 'bench', 'scripts', 'web'],
          },
          { name: 'format', command: ['biome', 'format'] },
          tests(testFiles),
        ];
  const failed = steps.filter((step) => !succeeds(step)).map(({ name }) => name);
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  const verdict = failed.length === 0 ? 'npm test: all passed' : `npm test: FAILED: ${failed.join(', ')}`;
  process.stdout.write(`\n${verdict} (${seconds} s)${skipped}\n`);
  return failed.length === 0 ? 0 : 1;
}

process.exitCode = main(process.argv.slice(2));
