/** psql as people use it: scripts, backslash commands, \copy, \watch, Ctrl-C, and the queries of tab completion. */
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import {
  caFile,
  check,
  database,
  gatewayPort,
  host,
  login,
  port,
  scratchDirectory,
  sleep,
  slow,
} from '../client-environment.ts';
import { leaveWaiting, pleaseReject } from '../protocol.ts';

interface Output {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number | null;
}

function environment(who: 'READER' | 'DESIGNER', to: number): NodeJS.ProcessEnv {
  const { user, password } = login(who);
  return {
    ...process.env,
    PGHOST: host,
    PGPORT: String(to),
    PGUSER: user,
    PGPASSWORD: password,
    PGDATABASE: database,
    PGSSLMODE: 'verify-full',
    PGSSLROOTCERT: caFile,
    PSQLRC: '/dev/null',
    PAGER: 'cat',
    LC_ALL: 'C.UTF-8',
  };
}

/** Runs a script; `interruptMs` after its start comes Ctrl-C. */
async function psql(
  who: 'READER' | 'DESIGNER',
  script: string,
  { to = port, interruptMs = 0, flags = [] }: { to?: number; interruptMs?: number; flags?: readonly string[] } = {},
): Promise<Output> {
  const child = spawn('psql', ['--no-psqlrc', '--quiet', ...flags, '-v', 'VERBOSITY=verbose', '-f', '-'], {
    env: environment(who, to),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => (output[name] += text));
  }
  child.stdin.end(script);
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (interruptMs > 0) {
    await sleep(interruptMs);
    child.kill('SIGINT');
  }
  const exitCode = await ended;
  // The runner searches this, too.
  process.stdout.write(`${output.stdout}\n${output.stderr}\n`);
  return { ...output, exitCode };
}

const tuples = ['--no-align', '--tuples-only', '--field-separator=\t', '--pset=null=(null)'] as const;

async function rows(who: 'READER' | 'DESIGNER', script: string): Promise<(string | null)[][]> {
  const { stdout, stderr } = await psql(who, script, { flags: tuples });
  if (/ERROR|FATAL|error:/.test(stderr)) throw new Error(stderr);
  const lines = stdout.split('\n').filter((line) => line !== '');
  return lines.map((line) => line.split('\t').map((cell) => (cell === '(null)' ? null : cell)));
}

const states = (stderr: string): string[] =>
  [...stderr.matchAll(/ERROR: {2}([0-9A-Z]{5}):/g)].map(([, state]) => state ?? '');

/** psql's own words: nothing has this name, or it is older than the server and asks for a column that is gone. */
const notOfTheGateway = /^Did not find any relation|column d\.daticulocale does not exist/;

/** \d and its like: everything has to be answered, and to show these words. */
async function describes(commands: Readonly<Record<string, RegExp>>): Promise<{ ok: boolean; detail: string }> {
  const wrong: string[] = [];
  for (const [command, shows] of Object.entries(commands)) {
    const { stdout, stderr } = await psql('READER', `${command}\n`);
    if (notOfTheGateway.test(stderr)) continue;
    if (stderr !== '') wrong.push(`${command}: ${stderr.split('\n')[0]}`);
    else if (!shows.test(stdout)) wrong.push(`${command} shows ${JSON.stringify(stdout.slice(0, 200))}`);
  }
  return { ok: wrong.length === 0, detail: wrong.join('; ') };
}

const refusedOrMasked = async (command: string) => {
  const { stdout, stderr } = await psql('READER', `${command}\n`);
  const [sqlstate] = states(stderr);
  return sqlstate === undefined ? { data: stdout } : { sqlstate };
};

await check('connect', async () => {
  const { stdout, exitCode } = await psql('READER', '\\conninfo\nselect 1 as one;\n', { to: gatewayPort });
  return { ok: exitCode === 0 && /TLS/.test(stdout), detail: stdout };
});
await check('masked', async () => ({
  rows: await rows(
    'READER',
    'select id, ssn, email, card_number, notes, profile, name from customers where id <= 20 order by id;\n',
  ),
}));
await check('types', async () => {
  const [row = []] = await rows('READER', `set timezone = 'UTC';\nselect * from kinds;\n`);
  const [id, big, exact, flag, at, words, nothing, doc, tag, raw, numbers, names] = row;
  const array = (text: string | null | undefined): unknown =>
    (text ?? '')
      .slice(1, -1)
      .split(',')
      .map((item) => (item === 'NULL' ? null : item.replaceAll('"', '')));
  const values = { id, big, exact, words, nothing, tag, flag: flag === 't' ? 'true' : flag, names: array(names) };
  return {
    values: {
      ...values,
      at: at === '2024-02-29 12:34:56.789+00' ? '2024-02-29T12:34:56.789Z' : at,
      doc: JSON.parse(doc ?? 'null') as unknown,
      raw: raw?.replace('\\x', ''),
      numbers: (array(numbers) as (string | null)[]).map((item) => (item === null ? null : Number(item))),
    },
  };
});
await check('errors', async () => {
  const { stderr } = await psql(
    'READER',
    'select 1 / (id - id) from plain;\nselect id from customers order by ssn;\nselec 1;\n',
  );
  return { sqlstates: states(stderr) };
});
await check('cancel', async () => {
  const { stderr } = await psql('READER', `${slow};\n`, { interruptMs: 1_000 });
  return { sqlstate: states(stderr)[0] ?? stderr };
});
await check('cancel-held', async () => {
  const { stderr } = await psql('DESIGNER', `select id, ssn from customers ${leaveWaiting};\n`, { interruptMs: 1_000 });
  return { sqlstate: states(stderr)[0] ?? stderr };
});
const pages = (comment: string): string =>
  [0, 100, 200, 300]
    .map((last) => `select id, ssn, email from customers where id > ${last} order by id limit 100 ${comment};\n`)
    .join('');
await check('approved', async () => ({ total: (await rows('DESIGNER', pages(''))).length }));
await check('rejected', async () => {
  const { stdout, stderr } = await psql(
    'DESIGNER',
    `\\set ON_ERROR_STOP off\n${pages(pleaseReject)}select 'goes on' as x;\n`,
  );
  const all = states(stderr);
  const ok = stdout.includes('goes on') && all.length === 4 && stderr.includes('NOTICE');
  return { ok, detail: `${stdout} ${stderr}`, sqlstate: all[0] ?? stderr };
});
await check('copy-out', () => refusedOrMasked('copy customers to stdout;'));
await check('copy-out', () => refusedOrMasked('\\copy (select id, ssn, email from customers) to pstdout csv header'));
await check('\\copy from', async () => {
  const file = path.join(scratchDirectory, 'arrivals.csv');
  await writeFile(file, 'id,label\n101,one\n102,"two, three"\n');
  const found = await rows(
    'READER',
    `\\copy arrivals from '${file}' csv header\nselect * from arrivals where id in (101, 102) order by id;\n`,
  );
  return { ok: JSON.stringify(found) === '[["101","one"],["102","two, three"]]', detail: JSON.stringify(found) };
});
await check('\\watch', async () => {
  const { stdout } = await psql('READER', 'select ssn, email from customers where id = 1\\watch 0.3\n', {
    interruptMs: 1_500,
  });
  const times = stdout.split('@secret.example').length - 1;
  return { ok: times >= 3, detail: `${times} times` };
});
await check('\\d', () =>
  describes({
    '\\d': /customers/,
    '\\d customers': /card_number.*text/,
    '\\d+ customers': /profile.*jsonb/,
    '\\d+ customer_contacts': /View definition/,
    '\\dt+': /kinds/,
    '\\dv': /customer_contacts/,
    '\\di+': /customers_pkey/,
    '\\dn+': /public/,
    '\\du': /cs_executor/,
    '\\dT': /./,
    '\\dp': /customers/,
    '\\l': /crm/,
    '\\dx': /plpgsql/,
    '\\df': /List of functions/,
    '\\sv customer_contacts': /CREATE OR REPLACE VIEW/,
    '\\d no_such_table': /^$/,
  }),
);
await check('\\gdesc', () => describes({ 'select id, ssn from customers \\gdesc': /ssn.*text/ }));
await check('\\gset and \\gx', async () => {
  const { stdout } = await psql(
    'READER',
    'select id, ssn from customers where id = 7 \\gset\n\\echo :id :ssn\nselect 8 as n \\gx\n',
  );
  return { ok: stdout.startsWith('7 ') && /n \| 8/.test(stdout), detail: stdout };
});
await check('FETCH_COUNT', async () => {
  // psql reads by DECLARE and FETCH: rows, or a clear refusal.
  const { stdout, stderr } = await psql('READER', '\\set FETCH_COUNT 50\nselect id, ssn from customers;\n');
  const [state] = states(stderr);
  return { ok: state === undefined ? stdout.includes('300') : ['0A000', '42501'].includes(state), detail: stderr };
});
await check('transaction', async () => {
  const found = await rows(
    'READER',
    "begin;\ninsert into arrivals values (150, 'x');\nrollback;\nselect count(*) from arrivals where id = 150;\n",
  );
  return { ok: found.at(-1)?.[0] === '0', detail: JSON.stringify(found) };
});
await check('several in one text', async () => {
  const { stdout } = await psql('READER', '', {
    flags: [...tuples, '-c', 'select 1; select email from customers where id = 1'],
  });
  return { ok: /^1\n\W*@secret\.example\n/.test(stdout), detail: stdout };
});
await check('tab completion', async () => {
  const wanted: Readonly<Record<string, string>> = {
    'select label from pla': 'plain',
    'select * from plain where lab': 'label',
    'alter table kin': 'kinds',
    '\\d arri': 'arrivals',
    '\\dn pub': 'public',
    'drop view customer_c': 'customer_contacts',
    'set timez': 'TimeZone',
    '\\connect cr': 'crm',
    'grant select on kinds to cs_d': 'cs_designer',
  };
  const script = path.join(import.meta.dirname, 'complete.py');
  const child = spawn('python3', [script, JSON.stringify(wanted)], {
    env: environment('READER', port),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  return { ok: stdout.trim() === 'completed', detail: stdout };
});
