import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { CountersignError } from '../src/errors.ts';
import { assertRuntime, oldestNode } from '../src/lib/runtime.ts';

interface PackageFile {
  readonly engines: { readonly node: string };
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

const read = (name: string): string => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8');
const packageFile = JSON.parse(read('package.json')) as PackageFile;

void describe('the runtime', () => {
  void test('is new enough here, by the rule that every entry applies', () => {
    assertRuntime();
  });

  for (const version of ['v22.18.0', 'v22.18.1', 'v22.19.0', 'v23.0.0', 'v24.21.0', 'v100.0.0', 'v25.0.0-nightly']) {
    void test(`accepts ${version}`, () => assertRuntime(version));
  }

  for (const version of ['v20.20.2', 'v22.17.9', 'v22.9.0', 'v9.99.99', 'v22.18.0-rc.1', 'nonsense']) {
    void test(`refuses ${version}, saying what is wrong and what to do`, () => {
      assert.throws(
        () => assertRuntime(version),
        (error) => {
          assert.ok(error instanceof CountersignError);
          assert.match(error.message, /needs Node\.js 22\.18/);
          assert.ok(error.message.includes(version));
          assert.match(error.hint ?? '', /--ignore-scripts/);
          return true;
        },
      );
    });
  }

  void test('is the same in package.json', () => {
    assert.ok(oldestNode.startsWith(packageFile.engines.node.replace('>=', '')));
  });
});

void describe('the check in front of npm scripts', () => {
  const check = new URL('../scripts/require-node.mjs', import.meta.url).href;
  const startAs = (version: string): { status: number | null; stderr: string } => {
    const pretend = `Object.defineProperty(process, 'versions', { value: { node: ${JSON.stringify(version)} } })`;
    const imports = [`--import=data:text/javascript,${encodeURIComponent(pretend)}`, `--import=${check}`];
    return spawnSync(process.execPath, [...imports, '--eval', '0'], { encoding: 'utf8' });
  };

  void test('refuses and accepts the same versions', () => {
    for (const version of ['20.20.2', '22.17.1', '22.18.0', '24.21.0']) {
      const { status, stderr } = startAs(version);
      const isAccepted = status === 0;
      if (isAccepted) assertRuntime(`v${version}`);
      else assert.throws(() => assertRuntime(`v${version}`));
      assert.equal(stderr.includes('needs Node.js 22.18') && stderr.includes(version), !isAccepted, version);
    }
  });
});

void describe('the packages', () => {
  void test('are pinned to exact versions', () => {
    const { dependencies, devDependencies, optionalDependencies } = packageFile;
    const all = Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies });
    const loose = all.filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version));
    assert.deepEqual(loose, []);
  });

  void test('have no download address in the lockfile', () => {
    assert.doesNotMatch(read('package-lock.json'), /"resolved": "http/);
  });
});
