/**
 * Everything that the demo needs on one machine, with real components: a PostgreSQL as target and control store, an
 * OpenID provider with its accounts, certificates, a configuration file, and the gateway as a process of its own.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { stringify } from 'yaml';
import { makeCertificate } from './certificate.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from './embedded-postgres.ts';
import { startOidcProvider } from './oidc-provider.ts';
import { seedCustomers } from './seed.ts';
import { statementLogSettings } from './statement-log.ts';
import { startTap, type Tap } from './tap.ts';

export const people = ['designer', 'executor', 'executor2', 'auditor'] as const;
export const services = { 'etl-designer': 'designer', 'etl-runner': 'executor' } as const;
export type Person = (typeof people)[number];
export type Service = keyof typeof services;

const groupsOf: Readonly<Record<Person, readonly string[]>> = {
  designer: ['chunk-designers'],
  executor: ['chunk-executors'],
  executor2: ['chunk-executors'],
  auditor: ['auditors'],
};

export const clientSecret = 'demo-secret';
export const passwordOf = (person: Person): string => `${person}-password`;

export interface Environment {
  readonly home: string;
  readonly postgres: EmbeddedPostgres;
  readonly issuer: string;
  readonly apiUrl: string;
  readonly tap: Tap;
  readonly gatewayPort: number;
  readonly caFile: string;
  readonly configFile: string;
  readonly dataDirectory: string;
  readonly gateway: ChildProcess;
  /** Changes the configuration file and has the running gateway read it. */
  reconfigure(change: (configuration: DemoConfiguration) => void): Promise<void>;
  close(): Promise<void>;
}

export interface DemoConfiguration {
  masking: {
    name: string;
    appliesTo: Record<string, string>;
    columns: { match: string; mask: string }[];
    detectors: { detect: string; mask: string }[];
  }[];
  [member: string]: unknown;
}

const repository = path.resolve(import.meta.dirname, '..');

export async function startEnvironment(options: {
  rows: number;
  seed: number;
  say: (text: string) => void;
}): Promise<Environment> {
  const { say } = options;
  const home = await mkdtemp(path.join(tmpdir(), 'countersign-demo-'));
  const closing: (() => Promise<unknown>)[] = [() => rm(home, { recursive: true, force: true })];
  const close = async () => {
    for (const step of closing.splice(0).toReversed()) await step().catch(() => undefined);
  };
  try {
    say('starting PostgreSQL 18 (embedded): database crm is the target, database control is the control store');
    const postgres = await startEmbeddedPostgres({ databases: ['crm', 'control'], settings: statementLogSettings });
    closing.push(() => postgres.stop());
    await createRoles(postgres);
    say(`filling crm.customers with ${options.rows.toLocaleString('en-US')} synthetic customers`);
    await seedCustomers(postgres.url('crm'), { rows: options.rows, seed: options.seed });
    await grantRights(postgres);
    say('starting an OpenID provider with the accounts of the story');
    const provider = await startOidcProvider({
      accounts: people.map((id) => ({
        id,
        password: passwordOf(id),
        groups: groupsOf[id],
        email: `${id}@demo.invalid`,
      })),
      services: [
        { id: 'etl-designer', secret: clientSecret, groups: groupsOf.designer },
        { id: 'etl-runner', secret: clientSecret, groups: groupsOf.executor },
      ],
    });
    closing.push(() => provider.close());
    const certificate = await makeCertificate({ hosts: ['localhost', '127.0.0.1'] });
    const files = {
      cert: path.join(home, 'gateway.crt'),
      key: path.join(home, 'gateway.key'),
      ca: path.join(home, 'ca.crt'),
    };
    await writeFile(files.cert, certificate.certPem);
    await writeFile(files.key, certificate.keyPem, { mode: 0o600 });
    await writeFile(files.ca, certificate.caPem);
    const ports: { gateway: number } = { gateway: 0 };
    const tap = await startTap({
      ...certificate,
      gatewayPort: () => ports.gateway,
      copyTo: path.join(home, 'client-bytes'),
    });
    closing.push(() => tap.close());
    const dataDirectory = path.join(home, 'data');
    const configuration = configurationOf({
      postgres,
      issuer: provider.issuer,
      files,
      dataDirectory,
      tapPort: tap.port,
    });
    const configFile = path.join(home, 'countersign.yaml');
    await writeFile(configFile, stringify(configuration));
    say('starting the gateway: countersign serve --config countersign.yaml');
    const started = await startGateway(configFile);
    closing.push(() => stopProcess(started.process));
    ports.gateway = started.postgresPort;
    return {
      home,
      postgres,
      issuer: provider.issuer,
      apiUrl: started.apiUrl,
      tap,
      gatewayPort: started.postgresPort,
      caFile: files.ca,
      configFile,
      dataDirectory,
      gateway: started.process,
      reconfigure: async (change) => {
        change(configuration);
        await writeFile(configFile, stringify(configuration));
        const reloaded = started.waitFor('configuration reloaded');
        started.process.kill('SIGHUP');
        await reloaded;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

const rolePassword = 'demo-role-password';

async function createRoles(postgres: EmbeddedPostgres): Promise<void> {
  await inDatabase(postgres, 'crm', async (client) => {
    for (const role of ['cs_gateway', 'cs_designer', 'cs_executor']) {
      await client.query(`create role ${role} login password '${rolePassword}'`);
    }
  });
}

async function grantRights(postgres: EmbeddedPostgres): Promise<void> {
  await inDatabase(postgres, 'crm', async (client) => {
    await client.query('grant select on all tables in schema public to cs_gateway, cs_designer, cs_executor');
  });
}

export async function inDatabase<T>(
  postgres: EmbeddedPostgres,
  database: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({ connectionString: postgres.url(database) });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

function configurationOf(parts: {
  postgres: EmbeddedPostgres;
  issuer: string;
  files: { cert: string; key: string };
  dataDirectory: string;
  tapPort: number;
}): DemoConfiguration {
  const { postgres, issuer, files, dataDirectory, tapPort } = parts;
  const credential = (user: string) => ({ user, password: rolePassword });
  return {
    node: 'demo',
    dataDirectory,
    store: { url: postgres.url('control') },
    gateway: {
      postgres: {
        host: '127.0.0.1',
        port: 0,
        tls: { certFile: files.cert, keyFile: files.key },
        advertise: { host: '127.0.0.1', port: tapPort },
      },
    },
    api: { host: '127.0.0.1', port: 0 },
    identity: {
      issuer,
      audience: 'countersign',
      clientId: 'countersign-cli',
      // This provider gives no userinfo for access tokens that are for Countersign.
      freshGroups: 'token',
      serviceAccounts: Object.entries(services).map(([name, owner]) => ({ name, subject: name, owner })),
    },
    connections: [
      {
        name: 'crm',
        engine: 'postgres',
        host: postgres.host,
        port: postgres.port,
        database: 'crm',
        labels: { data: 'personal' },
        tls: { mode: 'disable' },
        credentials: {
          gateway: credential('cs_gateway'),
          designer: credential('cs_designer'),
          executor: credential('cs_executor'),
        },
      },
    ],
    masking: [
      {
        name: 'personal-data',
        appliesTo: { data: 'personal' },
        columns: [
          { match: 'name', mask: 'redact' },
          { match: 'email', mask: 'email-domain' },
          { match: 'ssn', mask: 'last4' },
          { match: 'card_number', mask: 'hash' },
        ],
        detectors: [
          { detect: 'card', mask: 'redact' },
          { detect: 'ssn', mask: 'redact' },
          { detect: 'email', mask: 'redact' },
        ],
      },
    ],
  };
}

interface StartedGateway {
  readonly process: ChildProcess;
  readonly postgresPort: number;
  readonly apiUrl: string;
  waitFor(message: string): Promise<void>;
}

async function startGateway(configFile: string): Promise<StartedGateway> {
  const child = spawn(process.execPath, [path.join(repository, 'src/bin.ts'), 'serve', '--config', configFile], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // Ctrl-C goes to the demo alone; the demo ends the gateway in order.
    detached: true,
  });
  let output = '';
  const waiters = new Set<() => void>();
  const collect = (data: Buffer) => {
    output += data.toString('utf8');
    for (const waiter of waiters) waiter();
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  const waitFor = (text: string, from = output.length) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        const found = output.includes(text, from);
        if (!found && child.exitCode === null) return;
        waiters.delete(look);
        clearTimeout(timer);
        if (found) resolve();
        else reject(new Error(`the gateway ended (${child.exitCode}):\n${output}`));
      };
      const timer = setTimeout(() => {
        waiters.delete(look);
        reject(new Error(`the gateway did not say "${text}" in time:\n${output}`));
      }, 30_000);
      waiters.add(look);
      child.once('exit', look);
      look();
    });
  await waitFor(' is up', 0);
  const line = output.split('\n').find((one) => one.includes(' is up')) ?? '{}';
  const { postgres, api } = JSON.parse(line) as { postgres: number; api: string };
  return { process: child, postgresPort: postgres, apiUrl: api, waitFor: (message) => waitFor(message) };
}

async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 8_000);
  await ended;
  clearTimeout(timer);
}
