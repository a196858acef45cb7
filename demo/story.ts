/** The story of the product, step by step, with real commands and drivers. Every refusal in it is checked. */
import { cp, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import colors from 'picocolors';
import pg from 'pg';
import { logIn, type CommandLine, type CommandResult } from './command.ts';
import { statementsOf } from './statement-log.ts';
import { inDatabase, people, services, type Environment, type Person, type Service } from './environment.ts';

export interface Refusal {
  readonly what: string;
  readonly code: string;
}

export interface Story {
  readonly rows: number;
  readonly chunks: number;
  readonly maskedCells: number;
  readonly refusals: readonly Refusal[];
  readonly logEntries: number;
  readonly logVerified: boolean;
  readonly outputDirectory: string;
}

export interface StoryOptions {
  readonly environment: Environment;
  readonly run: CommandLine;
  readonly print: (text: string) => void;
}

const job = `# what leaves, in which pieces, and where to
job: customers-export
connection: crm
source: |
  select id, name, email, ssn, card_number, region, profile, notes, created_at
  from customers
chunk: { by: id, rows: 25000 }
output: { format: parquet, to: "file://out/customers-export" }
limits: { rows: 1000000, bytes: 2GB, concurrency: 4, statementTimeout: 60s }
`;

export async function tellStory({ environment, run, print }: StoryOptions): Promise<Story> {
  const refusals: Refusal[] = [];
  const chapter = (title: string) => print(`\n${colors.bold(colors.cyan(`── ${title} `.padEnd(100, '─')))}`);
  const say = (text: string) => print(colors.dim(`# ${text}`));
  const refused = (what: string, result: CommandResult) => {
    const code = /\[([a-z_]+)\]/.exec(stripped(result.stderr))?.[1];
    if (result.exitCode === 0 || code === undefined)
      throw new Error(`${what}: this had to be refused, but was not\n${result.stdout}${result.stderr}`);
    refusals.push({ what, code });
  };
  const done = async (who: Person | Service, words: readonly string[]) => {
    const result = await run(who, words);
    if (result.exitCode !== 0)
      throw new Error(`${who}: countersign ${words.join(' ')} failed:\n${result.stdout}${result.stderr}`);
    return result;
  };

  chapter('1. Everybody logs in with the identity provider');
  for (const who of [...people, ...(Object.keys(services) as Service[])]) await logIn(run, who);
  await done('designer', ['whoami']);

  chapter('2. A designer reads a sample, then tries to read the whole table');
  const credential = JSON.parse((await done('designer', ['--json', 'token', 'crm'])).stdout) as {
    user: string;
    password: string;
    gateway: { host: string; port: number };
  };
  await samplesAndLoop({ environment, run, print, say, refusals, credential });

  chapter('3. The designer registers a chunk job, and cannot let it run');
  const file = path.join(environment.home, 'customers-export.yaml');
  await writeFile(file, job);
  const pushed = await done('designer', [
    'jobs',
    'push',
    'customers-export.yaml',
    '-m',
    'Export customers for the quarterly review',
  ]);
  const request = requestIn(pushed);
  refused('the designer approves their own job', await run('designer', ['requests', 'approve', request]));
  say('etl-designer is a service account that designer owns: the same human');
  refused(
    "the designer's service account approves the job",
    await run('etl-designer', ['requests', 'approve', request]),
  );
  refused('the designer runs the job', await run('designer', ['run', 'customers-export']));

  chapter('4. Somebody else sees what is signed, and approves once');
  await done('executor', ['requests', 'list', '--state', 'pending']);
  await done('executor', ['requests', 'show', request]);
  await done('executor', ['requests', 'approve', request, '-m', 'quarterly review, masked columns are fine']);

  chapter('5. The run: chunks in parallel through the gateway');
  const ran = await done('etl-runner', ['run', 'customers-export']);
  const outputDirectory = path.join(environment.home, 'out/customers-export');
  await done('etl-runner', ['runs', 'verify', outputDirectory]);
  refused('the same grant is used again', await run('etl-runner', ['run', 'customers-export', '--request', request]));

  chapter('6. Whatever drifts after the approval voids it');
  await drifts({ environment, run, say, print, done, refused, file });

  chapter('7. The auditor looks at everything; the designer may not');
  const sessions = JSON.parse((await run('auditor', ['--json', 'sessions', 'list'], { quiet: true })).stdout) as {
    sessions: { id: string; principalId: string; runId?: string; rows: number }[];
  };
  await done('auditor', ['sessions', 'list']);
  const designerSession = sessions.sessions.find((one) => one.principalId === 'designer');
  const runSession = sessions.sessions.find((one) => one.runId !== undefined && one.rows > 0);
  if (designerSession === undefined || runSession === undefined) throw new Error('a session is missing from the list');
  await done('auditor', ['replay', designerSession.id, '--rows', '3']);
  await done('auditor', ['replay', runSession.id, '--rows', '3']);
  refused('the designer replays a session', await run('designer', ['replay', designerSession.id]));

  chapter('8. The log proves it');
  const log = path.join(environment.dataDirectory, 'log');
  const key = path.join(environment.home, 'log.vkey');
  await cp(path.join(log, 'log.vkey'), key);
  // A checkpoint is published at least once a second; what is verified is what has been published.
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  const verified = await done('auditor', ['audit', 'verify', '--log', log, '--key', key]);
  const logEntries = Number(/OK\S* (\d+) entries/.exec(stripped(verified.stdout))?.[1] ?? 0);
  say('one byte of a copy of the log is changed, and the same command names the entry');
  const copy = path.join(environment.home, 'log-copy');
  await cp(log, copy, { recursive: true });
  await flipByte(copy);
  const broken = await run('auditor', ['audit', 'verify', '--log', copy, '--key', key]);
  if (broken.exitCode === 0 || !/entry \d+/.test(broken.stdout)) throw new Error('the changed byte was not found');

  const rows = Number((/rows\s+([\d,]+)/.exec(stripped(ran.stdout))?.[1] ?? '0').replaceAll(',', ''));
  const chunks = Number(/chunks\s+(\d+) sealed/.exec(stripped(ran.stdout))?.[1] ?? 0);
  const maskedCells = Number((/masked cells\s+([\d,]+)/.exec(stripped(ran.stdout))?.[1] ?? '0').replaceAll(',', ''));
  return { rows, chunks, maskedCells, refusals, logEntries, logVerified: true, outputDirectory };
}

interface LoopOptions {
  readonly environment: Environment;
  readonly run: CommandLine;
  readonly print: (text: string) => void;
  readonly say: (text: string) => void;
  readonly refusals: Refusal[];
  readonly credential: { user: string; password: string; gateway: { host: string; port: number } };
}

async function samplesAndLoop({ environment, run, print, say, refusals, credential }: LoopOptions): Promise<void> {
  const ca = await readFile(environment.caFile, 'utf8');
  const client = new pg.Client({
    host: credential.gateway.host,
    port: credential.gateway.port,
    user: credential.user,
    password: credential.password,
    database: 'crm',
    ssl: { ca },
  });
  client.on('notice', (notice) => print(`  ${colors.yellow('NOTICE')} ${notice.message ?? ''}`));
  await client.connect();
  try {
    const sample = 'select id, name, email, ssn, card_number, region, notes from customers limit 20';
    print(`${colors.bold('designer (node-postgres)>')} ${sample}`);
    const read = await client.query<Record<string, string>>(sample);
    for (const row of read.rows.slice(0, 3)) print(`  ${Object.values(row).join(' | ').slice(0, 150)}`);
    print(colors.dim(`  … ${read.rows.length} rows, masked`));
    if (read.rows.length !== 20) throw new Error(`20 rows were expected, ${read.rows.length} came`);
    const step = 'select id, name, email, ssn from customers where id > $1 order by id limit 1000';
    print(
      `${colors.bold('designer (node-postgres)>')} ${step}   ${colors.dim('-- first step of a paging loop, $1 = 0')}`,
    );
    const loop = client.query(step, [0]).then(
      () => {
        throw new Error('the paging loop was not held');
      },
      (error: unknown) => error as pg.DatabaseError,
    );
    say('the statement waits on the wire; an executor finds it and rejects it');
    const request = await pendingRequest(run);
    await run('executor', ['requests', 'show', request]);
    await run('executor', ['requests', 'reject', request, '-m', 'reading all customers needs a chunk job']);
    const error = await loop;
    print(`  ${colors.red('ERROR')} ${error.code ?? ''} ${error.message}`);
    if (error.detail !== undefined) print(`  DETAIL ${error.detail}`);
    if (error.hint !== undefined) print(`  HINT ${error.hint}`);
    if (error.code !== 'ZC001') throw new Error(`the loop ended with ${error.code}: ${error.message}`);
    refusals.push({ what: "the designer's paging loop", code: 'request_rejected' });
  } finally {
    await client.end();
  }
  const statements = statementsOf(await readFile(environment.postgres.logFile, 'utf8'), 'crm');
  const arrived = statements.split('\n').filter((line) => line.includes('where id > $1')).length;
  print(colors.dim(`# lines of the target's own statement log (log_statement = all) that contain it: ${arrived}`));
  if (arrived > 0) throw new Error('a held statement reached the target');
}

async function pendingRequest(run: CommandLine): Promise<string> {
  for (let attempt = 0; attempt < 40; attempt++) {
    const listed = await run('executor', ['--json', 'requests', 'list', '--state', 'pending'], { quiet: true });
    const { requests } = JSON.parse(listed.stdout) as { requests: { id: string; kind: string }[] };
    const found = requests.find((one) => one.kind === 'statement');
    if (found !== undefined) return found.id;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  throw new Error('no held statement appeared');
}

interface DriftOptions {
  readonly environment: Environment;
  readonly run: CommandLine;
  readonly say: (text: string) => void;
  readonly print: (text: string) => void;
  readonly done: (who: Person | Service, words: readonly string[]) => Promise<CommandResult>;
  readonly refused: (what: string, result: CommandResult) => void;
  readonly file: string;
}

async function drifts({ environment, run, say, print, refused, file }: DriftOptions): Promise<void> {
  const quiet = { quiet: true };
  const push = async (content: string) => {
    await writeFile(file, content);
    const pushed = await run('designer', ['jobs', 'push', file], quiet);
    if (pushed.exitCode !== 0) throw new Error(pushed.stderr);
    return requestIn(pushed);
  };
  const approve = async (request: string) => {
    const approved = await run('executor', ['requests', 'approve', request, '-m', 'again'], quiet);
    if (approved.exitCode !== 0) throw new Error(approved.stderr);
  };

  say('version 2 is pushed and approved; then one byte of the job changes (version 3)');
  const second = await push(job.replace('rows: 25000', 'rows: 40000'));
  await approve(second);
  const third = await push(job.replace('rows: 25000', 'rows: 40001'));
  refused('one byte of the job changed', await run('etl-runner', ['run', 'customers-export', '--request', second]));

  say('version 3 is approved; then a masking rule is taken out of countersign.yaml (kill -HUP)');
  await approve(third);
  await environment.reconfigure((configuration) => {
    for (const template of configuration.masking)
      template.columns = template.columns.filter((rule) => rule.match !== 'ssn');
  });
  refused('a masking rule changed', await run('etl-runner', ['run', 'customers-export', '--request', third]));
  await environment.reconfigure((configuration) => {
    for (const template of configuration.masking) template.columns.push({ match: 'ssn', mask: 'last4' });
  });

  say("version 4 is approved; then the table's definition changes at the target");
  const fourth = await push(job.replace('rows: 25000', 'rows: 50000'));
  await approve(fourth);
  const change = 'alter table customers add column loyalty_tier text';
  print(`${colors.bold('dba (psql, straight to the target)>')} ${change}`);
  await inDatabase(environment.postgres, 'crm', (client) => client.query(change));
  refused("the table's definition changed", await run('etl-runner', ['run', 'customers-export', '--request', fourth]));
}

function requestIn(result: CommandResult): string {
  const id = /req_[0-9a-z]+/.exec(result.stdout)?.[0];
  if (id === undefined) throw new Error(`no request in:\n${result.stdout}${result.stderr}`);
  return id;
}

/** Changes one character inside an entry in the middle of the copy's first bundle. */
async function flipByte(directory: string): Promise<void> {
  const { readdir } = await import('node:fs/promises');
  const bundles = (
    await readdir(path.join(directory, 'tile/entries'), { recursive: true, withFileTypes: true })
  ).filter((one) => one.isFile());
  // The newest version of the first bundle: the largest file.
  let chosen = '';
  let bytes = Buffer.alloc(0);
  for (const bundle of bundles) {
    const name = path.join(bundle.parentPath, bundle.name);
    const content = await readFile(name);
    if (content.length > bytes.length) {
      chosen = name;
      bytes = content;
    }
  }
  const at = bytes.indexOf('"type"', Math.floor(bytes.length / 2)) + 9;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await writeFile(chosen, bytes);
}

function stripped(text: string): string {
  // oxlint-disable-next-line no-control-regex -- colours of the terminal
  return text.replaceAll(/\u001b\[[0-9;]*m/g, '');
}
