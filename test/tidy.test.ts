/**
 * The house rules that a machine can read off the source. The order of folders is the architecture: a folder imports
 * only from itself and from those above it in this list. If a change needs another order, change the list first.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

/** Places in order, each with the file that says what it is for. */
const order = [
  { place: 'errors.ts', mainFile: 'errors.ts' },
  { place: 'lib', mainFile: 'lib/byte-sink.ts' },
  { place: 'config', mainFile: 'config/schema.ts' },
  { place: 'wire', mainFile: 'wire/postgres/messages.ts' },
  { place: 'sql', mainFile: 'sql/analyse.ts' },
  { place: 'policy', mainFile: 'policy/engine.ts' },
  { place: 'masking', mainFile: 'masking/policy.ts' },
  { place: 'store', mainFile: 'store/database.ts' },
  { place: 'audit', mainFile: 'audit/log.ts' },
  { place: 'identity', mainFile: 'identity/principal.ts' },
  { place: 'approvals', mainFile: 'approvals/requests.ts' },
  { place: 'gate', mainFile: 'gate/door.ts' },
  { place: 'jobs', mainFile: 'jobs/definition.ts' },
  { place: 'notify', mainFile: 'notify/notifier.ts' },
  { place: 'review', mainFile: 'review/access.ts' },
  { place: 'gateway', mainFile: 'gateway/postgres.ts' },
  { place: 'workers', mainFile: 'workers/pool.ts' },
  { place: 'api', mainFile: 'api/server.ts' },
  { place: 'wiring', mainFile: 'wiring/identity.ts' },
  { place: 'app.ts', mainFile: 'app.ts' },
  { place: 'cli', mainFile: 'cli/program.ts' },
  { place: 'bin.ts', mainFile: 'bin.ts' },
] as const;

/** What everybody may import, types only. */
const typesForEverybody = 'identity/principal.ts';

/** The command line is a client: besides itself it may import these, and what `audit/verify.ts` needs of its folder. */
const cliMayImport =
  /^(errors\.ts|lib\/.*|audit\/verify\.ts|jobs\/(runner|runner-api|sinks|progress|manifest|definition)(\.ts|\/.*))$/;

const maximumLines = 450;
/** Longer files, each with the reason why it is one thing. */
const longFiles: ReadonlyMap<string, string> = new Map<string, string>([
  ['app.ts', 'the one place where everything is made and wired'],
  ['sql/expressions.ts', 'what every kind of expression reads and tells, one after the other'],
  ['gateway/postgres.ts', 'the listener and the life of a session, told in order'],
  ['jobs/ledger.ts', 'the state machine of runs and chunks, with every transition'],
  ['jobs/runner.ts', 'one run from lease to manifest'],
  ['audit/log.ts', 'one log: append, group commit, publish, restart'],
]);

interface Import {
  readonly from: string;
  readonly to: string;
  readonly isTypeOnly: boolean;
}

interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly Import[];
}

const root = fileURLToPath(new URL('../src', import.meta.url));
const importClause = /^(?:import|export)\s+(type\s)?([\w\s{},*$]*?)\s*from\s+'([^']+)'/gm;
const bareImport = /(?:^import|\bimport\()\s*'([^']+)'/gm;

/** The imports of one file that stay inside src, as paths relative to src. */
function importsOf(path: string, text: string): Import[] {
  const resolve = (specifier: string): string => normalize(join(dirname(path), specifier));
  const clauses = [...text.matchAll(importClause)].map(([, typeKeyword, names = '', specifier = '']) => {
    const inBraces = names.trim().replace(/^\{|\}$/g, '');
    const isTypeOnly =
      typeKeyword !== undefined ||
      (names.trim().startsWith('{') &&
        inBraces
          .split(',')
          .map((name) => name.trim())
          .every((name) => name === '' || name.startsWith('type ')));
    return { from: path, to: resolve(specifier), isTypeOnly, specifier };
  });
  const bare = [...text.matchAll(bareImport)].map(([, specifier = '']) => ({
    from: path,
    to: resolve(specifier),
    isTypeOnly: false,
    specifier,
  }));
  return [...clauses, ...bare].filter(({ specifier }) => specifier.startsWith('.'));
}

function sourceFiles(): SourceFile[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => {
      const text = readFileSync(join(root, path), 'utf8');
      return { path, text, imports: importsOf(path, text) };
    });
}

function placeOf(path: string): string {
  return path.split('/', 1)[0] ?? path;
}

function rankOf(path: string): number {
  return order.findIndex(({ place }) => place === placeOf(path));
}

/** Why this import breaks the order, or undefined. */
function violation({ from, to, isTypeOnly }: Import, neededByVerify: ReadonlySet<string>): string | undefined {
  const [fromPlace, toPlace] = [placeOf(from), placeOf(to)];
  if (to.startsWith('..')) return to === '../package.json' ? undefined : 'leaves src';
  if (fromPlace === toPlace) return undefined;
  if (to === typesForEverybody && isTypeOnly) return undefined;
  if (toPlace === 'app.ts' && fromPlace !== 'bin.ts') return 'only bin.ts imports app.ts';
  if (fromPlace === 'gateway' && toPlace === 'jobs') return 'gateway does not import jobs';
  if (fromPlace === 'cli' && !cliMayImport.test(to) && !neededByVerify.has(to)) {
    return 'the command line is a client of the API and does not import the inside of the server';
  }
  if (rankOf(to) < rankOf(from)) return undefined;
  return `${toPlace} comes after ${fromPlace}`;
}

const files = sourceFiles();
const product = files.filter(({ path }) => !path.endsWith('.test.ts'));
const verify = product.find(({ path }) => path === 'audit/verify.ts');
const neededByVerify = new Set((verify?.imports ?? []).map(({ to }) => to));

void describe('the order of folders', () => {
  void test('holds in every import', () => {
    const broken = product
      .flatMap(({ imports }) => imports)
      .map((each) => ({ ...each, why: violation(each, neededByVerify) }))
      .filter(({ why }) => why !== undefined)
      .map(({ from, to, why }) => `${from} imports ${to}: ${why}`);
    assert.deepEqual(broken, []);
  });

  void test('knows every folder and file at the top of src', () => {
    const unknown = product.map(({ path }) => path).filter((path) => rankOf(path) === -1);
    assert.deepEqual(unknown, []);
  });

  void test('has an opening comment in the main file of each place', () => {
    for (const { place, mainFile } of order) {
      const file = files.find(({ path }) => path === mainFile);
      assert.ok(file, `${place}: its main file ${mainFile} does not exist`);
      assert.match(file.text, /^(#!.*\n)?\s*\/\*\*/, `${mainFile} does not open with what ${place} is for`);
    }
  });

  void test('is read correctly by this test', () => {
    const readings = importsOf(
      'gate/door.ts',
      [
        "import { a } from '../store/runs.ts';",
        "import type { B } from '../identity/principal.ts';",
        "import { type C, type D } from '../identity/principal.ts';",
        'import {\n  type E,\n  f,\n} from "../x";'.replaceAll('"', "'"),
        "export { g } from './holds.ts';",
        "export * from './pipeline.ts';",
        "import './scrub.ts';",
        "const h = await import('../jobs/runner.ts');",
        "import { i } from 'node:fs';",
      ].join('\n'),
    );
    assert.deepEqual(
      readings.map(({ to, isTypeOnly }) => [to, isTypeOnly]),
      [
        ['store/runs.ts', false],
        ['identity/principal.ts', true],
        ['identity/principal.ts', true],
        ['x', false],
        ['gate/holds.ts', false],
        ['gate/pipeline.ts', false],
        ['gate/scrub.ts', false],
        ['jobs/runner.ts', false],
      ],
    );
    const cases: readonly [Import, boolean][] = [
      [{ from: 'gate/door.ts', to: 'jobs/runner.ts', isTypeOnly: true }, false],
      [{ from: 'gate/door.ts', to: 'store/runs.ts', isTypeOnly: false }, true],
      [{ from: 'sql/a.ts', to: 'identity/principal.ts', isTypeOnly: true }, true],
      [{ from: 'sql/a.ts', to: 'identity/principal.ts', isTypeOnly: false }, false],
      [{ from: 'gateway/a.ts', to: 'jobs/ledger.ts', isTypeOnly: false }, false],
      [{ from: 'cli/a.ts', to: 'store/runs.ts', isTypeOnly: false }, false],
      [{ from: 'cli/a.ts', to: 'jobs/sinks/csv.ts', isTypeOnly: false }, true],
      [{ from: 'cli/a.ts', to: 'app.ts', isTypeOnly: false }, false],
      [{ from: 'bin.ts', to: 'app.ts', isTypeOnly: false }, true],
      [{ from: 'api/a.ts', to: '../test/x.ts', isTypeOnly: false }, false],
    ];
    for (const [each, isAllowed] of cases) {
      assert.equal(violation(each, new Set()) === undefined, isAllowed, `${each.from} -> ${each.to}`);
    }
  });
});

void describe('the source', () => {
  void test('has no enum, which Node cannot run unbuilt', () => {
    const found = files.filter(({ text }) => /^\s*(export\s+)?(const\s+|declare\s+)?enum\s+\w+\s*\{/m.test(text));
    assert.deepEqual(
      found.map(({ path }) => path),
      [],
    );
  });

  void test('has no barrel file', () => {
    const found = files.filter(({ path, text }) => basename(path) === 'index.ts' || /^export \* from/m.test(text));
    assert.deepEqual(
      found.map(({ path }) => path),
      [],
    );
  });

  void test('has no drawer', () => {
    const found = files.filter(({ path }) => /(^|\/)(utils?|helpers?|misc|common|shared)(\.|\/)/.test(path));
    assert.deepEqual(
      found.map(({ path }) => path),
      [],
    );
  });

  void test(`has no file of more than ${maximumLines} lines without a reason`, () => {
    const linesOf = (text: string): number => text.split('\n').length - 1;
    const long = product.filter(({ text }) => linesOf(text) > maximumLines);
    const unexplained = long.filter(({ path }) => !longFiles.has(path));
    assert.deepEqual(
      unexplained.map(({ path, text }) => `${path}: ${linesOf(text)} lines`),
      [],
    );
    const outdated = [...longFiles.keys()].filter((path) => !long.some((file) => file.path === path));
    assert.deepEqual(outdated, [], 'no longer long: take it off the list');
  });

  void test('writes to the console only from the command line', () => {
    const found = product.filter(({ path, text }) => placeOf(path) !== 'cli' && /\bconsole\.\w+\(/.test(text));
    assert.deepEqual(
      found.map(({ path }) => path),
      [],
    );
  });
});
