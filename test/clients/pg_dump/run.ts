/** pg_dump: a bulk read of everything. It has to end with the gateway's refusal, and without a row that is not masked. */
import { check, caFile, database, host, login, port } from '../client-environment.ts';
import { runProgram } from '../program.ts';

async function dump(
  who: 'READER' | 'DESIGNER',
  ...options: readonly string[]
): Promise<{ ok: boolean; detail: string }> {
  const { user, password } = login(who);
  const { stdout, stderr, exitCode } = await runProgram(['pg_dump', '--no-password', ...options], {
    timeoutMs: 20_000,
    environment: {
      PGHOST: host,
      PGPORT: String(port),
      PGUSER: user,
      PGPASSWORD: password,
      PGDATABASE: database,
      PGSSLMODE: 'verify-full',
      PGSSLROOTCERT: caFile,
      LC_ALL: 'C.UTF-8',
    },
  });
  // The runner searches this, too.
  process.stdout.write(`${stdout}\n${stderr}\n`);
  if (exitCode === 0) return { ok: stdout.includes('***@secret.example'), detail: 'it dumped' };
  return { ok: stderr.includes('countersign: ') && !stdout.includes('COPY'), detail: stderr };
}

await check('as reader', () => dump('READER'));
await check('as designer', () => dump('DESIGNER'));
await check('data of one table', () => dump('READER', '--data-only', '--table=customers'));
await check('as INSERTs', () => dump('READER', '--inserts', '--table=customers'));
