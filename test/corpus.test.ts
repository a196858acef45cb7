/**
 * Promise P8: ordinary statements give, through the gateway, byte for byte the output that psql prints without it, as
 * long as nothing is masked and policy permits everything. The corpus is in `corpus/`, one file per kind.
 *
 * A file is a list of statements with one blank line between them (psql's own commands count as statements). What differs
 * on purpose says so in a comment of its own, with a piece of the gateway's answer in backquotes:
 *
 *   -- differs, `the function call message is refused`: why
 *
 * and then it must differ, and the answer must hold that piece. A file whose name has a number in it (`bind-16.sql`)
 * needs a psql of that version. Nothing is filtered: the corpus avoids what is never the same twice.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { hasDebianPostgres } from '../demo/embedded-postgres.ts';
import { startHarness, type Harness } from './harness.ts';

interface Statement {
  readonly line: number;
  readonly text: string;
  /** A piece of the gateway's answer, where it is meant to be another one than the server's. */
  readonly differs: string | undefined;
}

interface Side {
  readonly name: string;
  readonly environment: Readonly<Record<string, string>>;
}

const folder = fileURLToPath(new URL('corpus', import.meta.url));
const fileTimeoutMs = 30_000;
const leastStatements = 300;

const everything = `
@id("corpus/everything")
permit (principal in Group::"readers", action in Action::"statement", resource);
@id("corpus/unknown")
permit (principal in Group::"readers", action == Action::"unknown", resource);
`;

function findPsql(): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/lib/postgresql/15/bin'];
  return folders.map((each) => join(each, 'psql')).find((each) => existsSync(each));
}

function statementsOf(text: string): Statement[] {
  let line = 1;
  return text
    .trimEnd()
    .split('\n\n')
    .map((block) => {
      const statement = { line, text: block, differs: /^-- differs, `([^`]+)`: ./m.exec(block)?.[1] };
      line += block.split('\n').length + 1;
      return statement;
    });
}

const marker = (line: number): string => `==== ${line}`;

/** The corpus with a marker in place of each blank line, so that lines keep their numbers. */
function marked(statements: readonly Statement[]): string {
  return statements.map(({ line, text }) => (line === 1 ? text : `\\echo ${marker(line)}\n${text}`)).join('\n') + '\n';
}

/** Output by statement. */
function outputsOf(output: string, statements: readonly Statement[]): string[] {
  let rest = output;
  return statements.map((_, index) => {
    const next = statements[index + 1];
    const end = next === undefined ? rest.length : rest.indexOf(`\n${marker(next.line)}\n`);
    const own = end < 0 ? rest : rest.slice(0, end);
    rest = end < 0 ? '' : rest.slice(end + 1);
    return own;
  });
}

function firstDifference(direct: string, gateway: string): string {
  const [expected, found] = [direct.split('\n'), gateway.split('\n')];
  const at = expected.findIndex((line, index) => line !== found[index]);
  const index = at < 0 ? expected.length : at;
  return `  direct:  ${expected[index] ?? '(nothing)'}\n  gateway: ${found[index] ?? '(nothing)'}`;
}

async function psql(program: string, side: Side, home: string, file: string): Promise<string> {
  const outputFile = join(home, `${file}.${side.name}.out`);
  const output = openSync(outputFile, 'w');
  const child = spawn(program, ['-X', '-a', '-f', file], {
    cwd: home,
    stdio: ['ignore', output, output],
    env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8', ...side.environment },
    timeout: fileTimeoutMs,
  });
  closeSync(output);
  const [status, signal] = (await once(child, 'close')) as [number | null, string | null];
  assert.equal(signal, null, `psql on ${file} (${side.name}) took longer than ${fileTimeoutMs} ms`);
  return `${readFileSync(outputFile, 'utf8')}(psql ended with ${status})\n`;
}

const program = findPsql();
const files = readdirSync(folder).toSorted();
const versions = ['embedded', 'debian15'] as const;

describe('the corpus', () => {
  it(`has at least ${leastStatements} statements, and no two blank lines in a row`, () => {
    const all = files.map((file) => readFileSync(join(folder, file), 'utf8'));
    for (const [index, text] of all.entries()) assert.ok(!text.includes('\n\n\n'), files[index]);
    assert.ok(all.flatMap((text) => statementsOf(text)).length >= leastStatements);
  });
});

for (const version of versions) {
  const reason =
    program === undefined
      ? 'SKIPPED: there is no psql here (package postgresql-client)'
      : version === 'debian15' && !hasDebianPostgres()
        ? 'SKIPPED: PostgreSQL 15 is not installed (package postgresql-15)'
        : undefined;
  if (reason !== undefined) process.stderr.write(`\n*** the corpus on ${version}: ${reason} ***\n\n`);
  describe(`the corpus on ${version}`, reason === undefined ? {} : { skip: reason }, () => {
    let harness: Harness;
    let sides: readonly [Side, Side];
    let home: string;
    let psqlVersion = 0;
    const count = { statements: 0, equal: 0, onPurpose: 0 };

    before(async () => {
      home = mkdtempSync(join(tmpdir(), 'countersign-corpus-'));
      const policyFile = join(home, 'everything.cedar');
      writeFileSync(policyFile, everything);
      harness = await startHarness({
        version,
        schema: 'create database direct',
        configure: (raw) => {
          raw['masking'] = [];
          raw['policies'] = { files: [policyFile] };
        },
      });
      for (const database of ['crm', 'direct']) await harness.target(`alter database ${database} owner to cs_executor`);
      const issued = await harness.api<{ user: string; password: string }>('reader', 'POST', '/credentials', {
        connection: 'crm',
      });
      const { user, password } = harness.configuration.connections[0]?.credentials.executor ?? {};
      const common = { PGHOST: '127.0.0.1', PGAPPNAME: 'corpus', PGCONNECT_TIMEOUT: '10' };
      sides = [
        {
          name: 'direct',
          environment: {
            ...common,
            PGPORT: String(harness.postgres.port),
            PGUSER: user ?? '',
            PGPASSWORD: typeof password === 'string' ? password : '',
            PGDATABASE: 'direct',
          },
        },
        {
          name: 'gateway',
          environment: {
            ...common,
            PGPORT: String(harness.app.postgresPort),
            PGUSER: issued.body.user,
            PGPASSWORD: issued.body.password,
            PGDATABASE: 'crm',
            PGSSLMODE: 'require',
          },
        },
      ];
      writeFileSync(join(home, 'version.sql'), '\\echo :VERSION_NUM\n');
      const said = await psql(program ?? '', sides[0], home, 'version.sql');
      psqlVersion = Number(/^(\d+)\d{4}$/m.exec(said)?.[1] ?? 0);
    });

    after(async () => {
      await harness?.close();
      if (home !== undefined) rmSync(home, { recursive: true, force: true });
    });

    for (const file of files) {
      const needed = Number(/\d+/.exec(file)?.[0] ?? 0);
      it(file, async (test) => {
        if (psqlVersion < needed) return test.skip(`SKIPPED: it needs psql ${needed}, this is ${psqlVersion}`);
        const statements = statementsOf(readFileSync(join(folder, file), 'utf8'));
        writeFileSync(join(home, file), marked(statements));
        const [direct, gateway] = await Promise.all(sides.map((side) => psql(program ?? '', side, home, file)));
        const expected = outputsOf(direct ?? '', statements);
        const silent = statements.find((_, index) => expected[index] === '');
        assert.ok(silent === undefined, `${file}:${silent?.line}: psql did not get there:\n${direct?.slice(-500)}`);
        const found = outputsOf(gateway ?? '', statements);
        const wrong: string[] = [];
        for (const [index, { line, text, differs }] of statements.entries()) {
          const [one = '', other = ''] = [expected[index], found[index]];
          const where = `${file}:${line}: ${text}\n${firstDifference(one, other)}`;
          count.statements++;
          if (one === other) count.equal++;
          else if (differs !== undefined) count.onPurpose++;
          if (differs === undefined && one !== other) wrong.push(where);
          if (differs !== undefined && one === other) wrong.push(`no difference any more: ${where}`);
          if (differs !== undefined && !other.includes(differs)) wrong.push(`not "${differs}": ${where}`);
        }
        assert.ok(wrong.length === 0, `${wrong.length} statements\n${wrong.join('\n')}`);
        return undefined;
      });
    }

    it('was run', (test) => {
      test.diagnostic(`${count.statements} statements, ${count.equal} equal, ${count.onPurpose} differ on purpose`);
      assert.ok(count.statements >= leastStatements);
    });
  });
}
