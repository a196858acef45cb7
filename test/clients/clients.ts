/** The clients: how each is provided, what it runs, what it cannot do, and what is known to fail. Most used first. */
import path from 'node:path';
import { cargoProgram, debianPackages, goProgram, jar, pythonPackages, tool } from './packages.ts';
import { sharedChecks } from './protocol.ts';
import type { Expectations } from './verdicts.ts';

export interface Client extends Expectations {
  readonly name: string;
  /** Installs what it needs. @throws Missing */
  provide(): Promise<Start>;
}

export interface Start {
  readonly command: readonly [string, ...string[]];
  readonly environment?: Readonly<Record<string, string>>;
}

const here = import.meta.dirname;
const file = (...parts: readonly string[]): string => path.join(here, ...parts);
const psqlOdbc = `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu/odbc/psqlodbcw.so`;

const node = async (script: string): Promise<Start> => {
  await Promise.resolve();
  return { command: [process.execPath, '--disable-warning=ExperimentalWarning', file(script)] };
};

const python = async (script: string, ...packages: readonly string[]): Promise<Start> => ({
  command: [tool('python3'), file(script)],
  environment: {
    PYTHONPATH: [file('python'), ...(packages.length === 0 ? [] : [await pythonPackages(...packages)])].join(':'),
    PYTHONDONTWRITEBYTECODE: '1',
  },
});

const psycopg = ['psycopg[binary]==3.3.9', 'typing_extensions==4.16.0'] as const;

export const clients: readonly Client[] = [
  {
    name: 'psql',
    // It has no statement of its own that is prepared and executed again.
    without: ['prepared'],
    own: [
      '\\copy from',
      '\\watch',
      '\\d',
      '\\gdesc',
      '\\gset and \\gx',
      'FETCH_COUNT',
      'transaction',
      'several in one text',
      'tab completion',
    ],
    provide: async () => {
      tool('psql');
      tool('python3');
      return node('psql/run.ts');
    },
  },
  {
    name: 'pg_dump',
    without: sharedChecks,
    own: ['as reader', 'as designer', 'data of one table', 'as INSERTs'],
    provide: async () => {
      tool('pg_dump');
      return node('pg_dump/run.ts');
    },
  },
  { name: 'node-postgres', own: ['masked types', 'cursor'], provide: () => node('node-postgres/run.ts') },
  {
    name: 'postgres.js',
    // Its reader of text arrays takes NULL for a word, also from PostgreSQL itself.
    kinds: { names: ['a', 'b c', 'NULL', 'ä'] },
    own: ['approved, simple protocol', 'transaction', 'cursor'],
    provide: () => node('postgres-js/run.ts'),
  },
  {
    name: 'psycopg',
    own: [
      'masked types',
      'types, binary',
      'approved, never prepared',
      'copy-out, binary',
      'copy-in',
      'cursor',
      'transaction',
      'pipeline',
      'stream',
      'executemany',
    ],
    provide: () => python('psycopg/run.py', ...psycopg),
  },
  {
    name: 'psycopg2',
    without: ['prepared'],
    own: ['cursor', 'execute_values', 'session'],
    provide: () => python('psycopg2/run.py', 'psycopg2-binary==2.9.13'),
  },
  {
    name: 'asyncpg',
    own: ['masked types', 'types, no arrays', 'introspection', 'approved, no parameters', 'copy-in', 'cursor', 'pool'],
    provide: () => python('asyncpg/run.py', 'asyncpg==0.32.0'),
  },
  {
    name: 'pandas',
    own: ['approved, chunksize', 'chunksize', 'chunksize, stream_results', 'read_sql_table', 'to_sql', 'inspector'],
    without: ['copy-out'],
    provide: () => python('pandas/run.py', ...psycopg, 'SQLAlchemy==2.1.9', 'pandas==3.1.1', 'numpy==2.4.6'),
  },
  {
    name: 'pgjdbc',
    own: [
      'masked types',
      'approved, prepared',
      'copy-in',
      'fetchSize',
      'metadata',
      'batch',
      ...[
        'prepareThreshold=-1',
        'prepareThreshold=1',
        'prepareThreshold=0',
        'preferQueryMode=simple',
        'preferQueryMode=extendedForPrepared',
        'preferQueryMode=extendedCacheEverything',
      ].flatMap((mode) => [`${mode}, types`, `${mode}, approved`, `${mode}, fetchSize`]),
    ],
    provide: async () => ({
      command: [tool('java'), '-cp', await jar('org.postgresql:postgresql:42.7.13'), file('pgjdbc/Run.java')],
    }),
  },
  {
    name: 'pgx',
    own: [
      'masked types',
      'copy-out, binary',
      'copy-in',
      'batch',
      'transaction',
      ...['cache describe', 'describe exec', 'exec', 'simple'].flatMap((mode) => [
        `${mode}, types`,
        `${mode}, approved`,
      ]),
    ],
    provide: async () => ({ command: [await goProgram(file('pgx'))] }),
  },
  {
    name: 'tokio-postgres',
    own: ['approved, simple protocol', 'copy-in', 'portal', 'stream'],
    provide: async () => ({ command: [await cargoProgram(file('tokio-postgres'))] }),
  },
  {
    name: 'ConnectorX',
    own: ['partitions'],
    without: ['types', 'errors', 'prepared', 'cancel', 'cancel-held', 'approved', 'rejected'],
    provide: () => python('connectorx/run.py', 'connectorx==0.4.6', 'pandas==3.1.1', 'numpy==2.4.6'),
  },
  {
    name: 'DuckDB',
    own: ['attach', 'postgres_query'],
    without: ['types', 'errors', 'prepared', 'cancel', 'cancel-held', 'approved', 'rejected'],
    provide: () => python('duckdb/run.py', 'duckdb==1.4.4', 'duckdb-ext==0.1.2', 'duckdb-ext-postgres==1.4.4.20260205'),
  },
  {
    name: 'psqlODBC',
    without: ['copy-out'],
    own: ['approved, UseServerSidePrepare=0', 'UseDeclareFetch=1', 'catalogue', 'transaction'],
    provide: async () => {
      const start = await python('psqlodbc/run.py', 'pyodbc==5.5.0');
      const driver = await debianPackages(psqlOdbc, 'odbc-postgresql', 'unixodbc');
      return { ...start, environment: { ...start.environment, CLIENT_ODBC_DRIVER: driver } };
    },
  },
];
