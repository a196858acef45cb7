/**
 * `npm run build`: JavaScript into dist/, for the published package. Node runs the clone unbuilt, but it does not
 * strip types under node_modules.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assertRuntime } from '../src/lib/runtime.ts';
import { buildPage } from './web.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const shebang = '#!/usr/bin/env node\n';

function compile(): void {
  const compiler = join(root, 'node_modules/.bin/tsc');
  const { status } = spawnSync(compiler, ['-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
  if (status !== 0) throw new Error('the TypeScript compiler found errors');
}

/** The compiler rewrites imports, but not `new URL('./worker.ts', import.meta.url)`: such a path would not exist. */
function refuseSourcePaths(): void {
  const broken = readdirSync(dist, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.js'))
    .filter((path) => /['"`]\.{1,2}\/[^'"`\s]*\.ts['"`]/.test(readFileSync(join(dist, path), 'utf8')));
  if (broken.length > 0) throw new Error(`still naming .ts files after the build: ${broken.join(', ')}`);
}

function makeExecutable(file: string): void {
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.startsWith('#!') ? text : shebang + text);
  chmodSync(file, 0o755);
}

assertRuntime();
rmSync(dist, { recursive: true, force: true });
compile();
cpSync(join(root, 'src/store/migrations'), join(dist, 'store/migrations'), { recursive: true });
refuseSourcePaths();
makeExecutable(join(dist, 'bin.js'));
await buildPage();
