/**
 * A whole gateway in this process for system tests: a real PostgreSQL as target and control store, a real OpenID
 * provider, TLS, and the app with its listener and API. One per test file; `close` takes everything down.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { pino } from 'pino';
import { startApp, type App } from '../src/app.ts';
import { iterateEntries, readerFor } from '../src/audit/verify.ts';
import { clientCredentials, deviceLogin } from '../src/cli/login.ts';
import { parseConfiguration } from '../src/config/load.ts';
import type { Configuration } from '../src/config/schema.ts';
import { makeCertificate } from '../demo/certificate.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../demo/embedded-postgres.ts';
import { statementLogSettings, statementsOf } from '../demo/statement-log.ts';
import type { OidcAccount } from '../demo/oidc-configuration.ts';
import { approveDeviceCode, startOidcProvider } from '../demo/oidc-provider.ts';

export interface HarnessOptions {
  /** Run in database `crm` of the target as its superuser, before roles get their rights. */
  readonly schema: string;
  readonly configure?: (configuration: Record<string, unknown>) => void;
  /** More people who can log in, see `person`. */
  readonly accounts?: readonly OidcAccount[];
  /** Of the target and the control store. */
  readonly version?: 'embedded' | 'debian15';
}

export interface Harness {
  readonly app: App;
  readonly postgres: EmbeddedPostgres;
  readonly home: string;
  readonly caPem: string;
  readonly dataDirectory: string;
  readonly configuration: Configuration;
  /** An access token; people of the tests are service clients with an owner of their own, which is quicker than a browser. */
  token(who: Who): Promise<string>;
  /** An access token of somebody who logs in with their password by the device flow. */
  person(id: string): Promise<string>;
  api<T>(who: Who, method: string, route: string, body?: unknown): Promise<{ status: number; body: T }>;
  /** A connected client of the gateway; it is ended with the harness. */
  connect(who: Who, options?: pg.ClientConfig): Promise<pg.Client>;
  /** Straight to the target, as its superuser. */
  target<T extends object>(sql: string): Promise<T[]>;
  /** Every entry of the log so far. */
  entries(): Promise<Record<string, unknown>[]>;
  /** The target's own statement log. */
  targetLog(): Promise<string>;
  /** Everything that the server itself has logged so far, at every level. */
  serverLog(): string;
  close(): Promise<void>;
}

export type Who = 'designer' | 'etl-designer' | 'executor' | 'executor2' | 'auditor' | 'nobody' | 'reader' | 'builder';

const owners: Record<Who, string> = {
  designer: 'dana',
  'etl-designer': 'dana',
  executor: 'eli',
  executor2: 'erin',
  auditor: 'ana',
  nobody: 'nora',
  reader: 'rita',
  builder: 'bela',
};

const groups: Record<Who, string[]> = {
  designer: ['chunk-designers'],
  'etl-designer': ['chunk-designers'],
  executor: ['chunk-executors'],
  executor2: ['chunk-executors'],
  auditor: ['auditors'],
  nobody: ['others'],
  reader: ['readers'],
  builder: ['readers', 'builders'],
};

/** The same humans in person, as they log in to the page. */
export const people: readonly OidcAccount[] = [
  ['dana', 'Dana Designer', 'chunk-designers'],
  ['eli', 'Eli Executor', 'chunk-executors'],
  ['erin', 'Erin Executor', 'chunk-executors'],
  ['ana', 'Ana Auditor', 'auditors'],
  ['nora', 'Nora Nobody', 'others'],
].map(([id = '', displayName, group = '']) => ({
  id,
  password: `${id}-password`,
  displayName,
  email: `${id}@example.test`,
  groups: [group],
}));

const secret = 'test-secret';
const rolePassword = 'test-role';

/** TEST_WORKERS=2 runs every system test with its sessions in worker processes. */
const workers = Number(process.env['TEST_WORKERS'] ?? 1);

/**
 * `reader` is an executor whom a policy of the tests lets read and write without an approval, and run what nobody
 * understands (as far as the gateway lets anybody). `builder` may also change definitions.
 */
export const readerPolicy = `
@id("tests/reader")
permit (principal in Group::"readers", action in [Action::"read", Action::"sample", Action::"write", Action::"copy-in", Action::"copy-out", Action::"session", Action::"unknown"], resource);
@id("tests/builder")
permit (principal in Group::"builders", action == Action::"ddl", resource);
`;

export async function startHarness(options: HarnessOptions): Promise<Harness> {
  const home = await mkdtemp(path.join(tmpdir(), 'countersign-test-'));
  const closing: (() => Promise<unknown>)[] = [() => rm(home, { recursive: true, force: true })];
  const close = async () => {
    for (const step of closing.splice(0).toReversed()) await step();
  };
  try {
    const postgres = await startEmbeddedPostgres({
      databases: ['crm', 'control'],
      settings: statementLogSettings,
      version: options.version ?? 'embedded',
    });
    closing.push(() => postgres.stop());
    const admin = new pg.Client({ connectionString: postgres.url('crm') });
    await admin.connect();
    closing.push(() => admin.end());
    await admin.query(options.schema);
    for (const role of ['cs_gateway', 'cs_designer', 'cs_executor']) {
      await admin.query(`create role ${role} login password '${rolePassword}'`);
      await admin.query(`grant all on all tables in schema public to ${role}`);
    }
    const names = Object.keys(owners) as Who[];
    const provider = await startOidcProvider({
      services: names.map((id) => ({ id, secret, groups: groups[id] })),
      accounts: [...people, ...(options.accounts ?? [])],
    });
    closing.push(() => provider.close());
    const certificate = await makeCertificate({ hosts: ['localhost', '127.0.0.1'] });
    const { writeFile } = await import('node:fs/promises');
    const files = { certFile: path.join(home, 'gateway.crt'), keyFile: path.join(home, 'gateway.key') };
    await writeFile(files.certFile, certificate.certPem);
    await writeFile(files.keyFile, certificate.keyPem);
    await writeFile(path.join(home, 'reader.cedar'), readerPolicy);
    const dataDirectory = path.join(home, 'data');
    const credential = (user: string) => ({ user, password: rolePassword });
    const raw: Record<string, unknown> = {
      node: 'test',
      dataDirectory,
      store: { url: postgres.url('control') },
      gateway: { postgres: { port: 0, tls: files }, limits: { catalogueTtlMs: 500 }, workers },
      api: { port: 0, requestsPerMinute: 100_000 },
      identity: {
        issuer: provider.issuer,
        serviceAccounts: names.map((name) => ({ name, subject: name, owner: owners[name] })),
      },
      bindings: [
        { group: 'chunk-designers', duties: ['designer'] },
        { group: 'chunk-executors', duties: ['approver', 'executor'] },
        { group: 'auditors', duties: ['auditor'] },
        { group: 'readers', duties: ['executor'] },
      ],
      policies: { files: [path.join(home, 'reader.cedar')] },
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
          name: 'personal',
          appliesTo: {},
          columns: [
            { match: 'ssn', mask: 'redact' },
            { match: 'email', mask: 'email-domain' },
            { match: 'card_number', mask: 'last4' },
          ],
          detectors: [{ detect: 'card' }, { detect: 'ssn' }, { detect: 'email' }],
        },
      ],
    };
    options.configure?.(raw);
    const configuration = parseConfiguration(JSON.stringify(raw), 'test.yaml');
    let serverLog = '';
    const isShown = process.env['TEST_LOG'] !== undefined;
    const takeLogLine = (line: string) => {
      serverLog += line;
      if (isShown) process.stderr.write(line);
    };
    const app = await startApp({
      configuration,
      version: '0.0.0-test',
      logger: pino({ level: 'trace' }, { write: takeLogLine }),
    });
    closing.push(() => app.close());

    const tokens = new Map<Who, Promise<string>>();
    const token = (who: Who) => {
      let found = tokens.get(who);
      if (found === undefined) {
        found = clientCredentials({
          issuer: provider.issuer,
          clientId: who,
          clientSecret: secret,
          audience: 'countersign',
        }).then((answer) => answer.accessToken);
        tokens.set(who, found);
      }
      return found;
    };
    const person = async (id: string) => {
      const onPrompt = ({ userCode }: { userCode: string }) =>
        approveDeviceCode(provider.issuer, userCode, id, `${id}-password`);
      const login = { issuer: provider.issuer, clientId: 'countersign-cli', audience: 'countersign', onPrompt };
      return (await deviceLogin(login)).accessToken;
    };
    const api = async <T>(who: Who, method: string, route: string, body?: unknown) => {
      const response = await fetch(`${app.apiUrl}/api/v1${route}`, {
        method,
        headers: {
          authorization: `Bearer ${await token(who)}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      return { status: response.status, body: (text === '' ? undefined : JSON.parse(text)) as T };
    };
    const connect = async (who: Who, more: pg.ClientConfig = {}) => {
      const issued = await api<{ user: string; password: string }>(who, 'POST', '/credentials', { connection: 'crm' });
      const client = new pg.Client({
        host: '127.0.0.1',
        port: app.postgresPort,
        user: issued.body.user,
        password: issued.body.password,
        database: 'crm',
        ssl: { ca: certificate.caPem },
        ...more,
      });
      client.on('error', () => undefined);
      await client.connect();
      closing.push(() => client.end().catch(() => undefined));
      return client;
    };
    return {
      app,
      postgres,
      home,
      caPem: certificate.caPem,
      dataDirectory,
      configuration,
      token,
      person,
      api,
      connect,
      target: async <T extends object>(sql: string) => (await admin.query<T>(sql)).rows,
      entries: async () => {
        // What nobody waits for comes from a worker process a moment later.
        if (app.workers().length > 0) await new Promise((resolve) => setTimeout(resolve, 100));
        const checkpoint = await app.checkpoint();
        const size = Number(checkpoint.split('\n')[1]);
        const entries: Record<string, unknown>[] = [];
        for await (const { text } of iterateEntries({ read: readerFor(app.logDirectory), size })) {
          entries.push(JSON.parse(text) as Record<string, unknown>);
        }
        return entries;
      },
      targetLog: async () => statementsOf(await readFile(postgres.logFile, 'utf8'), 'crm'),
      serverLog: () => serverLog,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
