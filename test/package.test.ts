/** What a user gets from the registry: packed, installed in an empty folder, run. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
// The Node that runs this test, also for `env node` in the package's own shebang.
const environment = { ...process.env, PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter) };
const noRegistry = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH/;

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'countersign-package-'));
});
after(() => rm(folder, { recursive: true, force: true }));

void test('the packed package runs in an empty folder', async (t) => {
  await run('npm', ['pack', '--pack-destination', folder], { cwd: root, env: environment });
  const [tarball] = (await readdir(folder)).filter((name) => name.endsWith('.tgz'));
  assert.ok(tarball, 'npm pack wrote no archive');
  await writeFile(join(folder, 'package.json'), '{"private":true}');
  try {
    const options = ['--omit=optional', '--no-audit', '--no-fund', '--prefer-offline'];
    await run('npm', ['install', ...options, `./${tarball}`], { cwd: folder, env: environment });
  } catch (error) {
    if (!noRegistry.test(String(error))) throw error;
    t.skip('SKIPPED: the package registry is not reachable');
    return;
  }
  const installed = join(folder, 'node_modules/countersign');
  const contents = await readdir(installed, { recursive: true });
  const shipped = contents.filter((path) => !path.startsWith('node_modules/'));
  assert.ok(shipped.includes('dist/store/migrations/0001_initial.sql'), 'the migrations are missing');
  assert.ok(shipped.includes('dist/web/index.html'), 'the web page is missing');
  const unwanted = shipped.filter((path) => /\.tsx?$|\.test\.js$|^(src|web|test|demo|bench)\//.test(path));
  assert.deepEqual(unwanted, []);

  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  const { stdout } = await run('npx', ['--no-install', 'countersign', '--version'], { cwd: folder, env: environment });
  assert.equal(stdout.trim(), version);
});
