/**
 * The gateway's own questions to a target, through the `pg` driver and the connection's `gateway` credential: its
 * catalogue, its identity, plans and samples of jobs, and the snapshot of a run. Users' statements never come here.
 */
import type { Duplex } from 'node:stream';
import pg from 'pg';
import { CountersignError } from '../errors.ts';
import { catalogueQueries, makeCatalogue, type RawCatalogue } from '../sql/catalogue.ts';
import type { Catalogue } from '../sql/statement.ts';
import type { UpstreamAddress } from './upstream.ts';
import { tlsOptions } from './upstream-tls.ts';

export interface TargetOptions {
  readonly address: UpstreamAddress;
  readonly user: string;
  /** Or what gives it at each log-in. @throws CountersignError when there is none */
  readonly password: string | (() => string);
  readonly searchPath: readonly string[];
  readonly connectTimeoutMs: number;
  readonly statementTimeoutMs: number;
}

export interface TargetIdentity {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  /** PostgreSQL: pg_control_system().system_identifier; another cluster has another. */
  readonly systemIdentifier: string;
  /** A database that was dropped and made again, or replaced by renaming, has another. */
  readonly databaseOid: string;
  /** A cluster that was restored to a point in time, or promoted, has another. */
  readonly timeline: number;
  readonly serverVersion: string;
}

export interface TextResult {
  readonly columns: readonly {
    readonly name: string;
    readonly tableOid: number;
    readonly attnum: number;
    readonly typeOid: number;
    readonly typeModifier: number;
  }[];
  readonly rows: readonly (readonly (string | null)[])[];
}

/** A snapshot that other sessions of the same database can enter as long as it is held. */
export interface HeldSnapshot {
  readonly id: string;
  /** Called once if the target lets go of it. */
  onLost(callback: (error: Error) => void): void;
  release(): Promise<void>;
}

const rawText: pg.CustomTypesConfig = { getTypeParser: () => (value: unknown) => value };

/**
 * Counts and sums of row versions in the catalogue tables that our picture is made from: whatever changes a row there
 * gives it a new xmin. Cheap (one pass over a few thousand rows), so it can be asked every second.
 */
const fingerprintQuery = `select concat_ws('/', ${[
  'pg_class',
  'pg_attribute',
  'pg_attrdef',
  'pg_rewrite',
  'pg_proc',
  'pg_operator',
  'pg_type',
  'pg_inherits',
  'pg_policy',
  'pg_namespace',
  'pg_trigger',
  'pg_constraint',
  'pg_cast',
  'pg_opclass',
]
  .map((table) => `(select count(*) || '.' || coalesce(sum(xmin::text::bigint), 0) from pg_catalog.${table})`)
  .join(', ')})`;

/** Of an answer to one question, in bytes. A longer one is no sample or plan, and would fill the process. */
const maxAnswerBytes = 64 * 1024 * 1024;

/** Ends the connection when more than that comes. Returns what stops the counting. */
function bounded(client: pg.PoolClient): () => void {
  const { stream } = (client as unknown as { readonly connection: { readonly stream: Duplex } }).connection;
  let bytes = 0;
  const count = (piece: Buffer) => {
    bytes += piece.length;
    if (bytes <= maxAnswerBytes) return;
    // Not how much it was: it is raw.
    const text = `the target's answer is larger than the limit of ${maxAnswerBytes} bytes`;
    stream.destroy(new CountersignError('message_too_large', text));
  };
  stream.on('data', count);
  return () => stream.off('data', count);
}

export class Target {
  readonly #options: TargetOptions;
  readonly #pool: pg.Pool;

  constructor(options: TargetOptions) {
    this.#options = options;
    this.#pool = new pg.Pool({ ...this.#clientConfig(), max: 4, idleTimeoutMillis: 30_000 });
    // A lost idle connection is replaced at the next question.
    this.#pool.on('error', () => undefined);
    // One that is lost during a question fails that question; nobody else has to hear of it.
    this.#pool.on('connect', (client) => client.on('error', () => undefined));
  }

  #clientConfig(): pg.ClientConfig {
    const { address, user, password, searchPath, connectTimeoutMs, statementTimeoutMs } = this.#options;
    return {
      host: address.host,
      port: address.port,
      database: address.database,
      user,
      password,
      ...(address.tls.mode === 'disable'
        ? { ssl: false }
        : {
            ssl: tlsOptions(address, address.tls),
            sslnegotiation: address.tls.isDirect === true ? 'direct' : 'postgres',
          }),
      connectionTimeoutMillis: connectTimeoutMs,
      statement_timeout: statementTimeoutMs,
      application_name: 'countersign gateway',
      options: `-c search_path=${searchPath.map((schema) => `"${schema}"`.replaceAll(/[\\ ]/g, '\\$&')).join(',')} -c client_encoding=UTF8 -c datestyle=ISO,MDY`,
    };
  }

  async fingerprint(): Promise<string> {
    const result = await this.query(fingerprintQuery);
    return result.rows[0]?.[0] ?? '';
  }

  async load(): Promise<Catalogue> {
    const client = await this.#connect();
    try {
      await client.query('begin isolation level repeatable read read only');
      const raw: Record<string, unknown> = {};
      for (const [name, text] of Object.entries(catalogueQueries)) raw[name] = (await client.query(text)).rows;
      await client.query('rollback');
      return makeCatalogue({ ...raw, searchPath: this.#options.searchPath } as unknown as RawCatalogue);
    } finally {
      client.release();
    }
  }

  async identity(): Promise<TargetIdentity> {
    const { host, port, database } = this.#options.address;
    const result = await this.query(
      `select s.system_identifier::text, d.oid::text, c.timeline_id::text, current_setting('server_version')
         from pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c, pg_catalog.pg_database d
         where d.datname = current_database()`,
    );
    const [systemIdentifier = '', databaseOid = '', timeline = '', serverVersion = ''] = (result.rows[0] ?? []).map(
      (value) => value ?? '',
    );
    return { host, port, database, systemIdentifier, databaseOid, timeline: Number(timeline), serverVersion };
  }

  /**
   * One read-only statement in its own transaction, values as text.
   * @throws CountersignError `target_unreachable`, `message_too_large`, or the driver's error with its SQLSTATE in `code`
   */
  async query(sql: string): Promise<TextResult> {
    const client = await this.#connect();
    const release = bounded(client);
    let broken: Error | undefined;
    try {
      await client.query('begin read only');
      const result = await client.query<(string | null)[]>({ text: sql, rowMode: 'array', types: rawText });
      await client.query('rollback');
      return {
        columns: result.fields.map((field) => ({
          name: field.name,
          tableOid: field.tableID,
          attnum: field.columnID,
          typeOid: field.dataTypeID,
          typeModifier: field.dataTypeModifier,
        })),
        rows: result.rows,
      };
    } catch (error) {
      await client.query('rollback').catch((failure: Error) => {
        broken = failure;
      });
      throw error;
    } finally {
      release();
      client.release(broken);
    }
  }

  /** Pins a snapshot in a transaction of its own. The caller releases it. */
  async holdSnapshot(): Promise<HeldSnapshot> {
    const client = new pg.Client({ ...this.#clientConfig(), statement_timeout: 0 });
    await client.connect();
    let onLost: (error: Error) => void = () => undefined;
    let released = false;
    const lost = (error: Error) => {
      if (!released) onLost(error);
    };
    client.on('error', lost);
    client.on('end', () => lost(new Error('the target closed the session that held the snapshot')));
    try {
      await client.query('begin isolation level repeatable read read only');
      const result = await client.query<{ id: string }>('select pg_catalog.pg_export_snapshot() as id');
      const id = result.rows[0]?.id;
      if (id === undefined) throw new Error('the target exported no snapshot');
      return {
        id,
        onLost: (callback) => {
          onLost = callback;
        },
        release: async () => {
          released = true;
          await client.end();
        },
      };
    } catch (error) {
      released = true;
      await client.end().catch(() => undefined);
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }

  async #connect(): Promise<pg.PoolClient> {
    try {
      return await this.#pool.connect();
    } catch (error) {
      if (error instanceof CountersignError) throw error;
      const { address } = this.#options;
      const reason = error instanceof Error ? error.message : String(error);
      const sqlstate = error instanceof pg.DatabaseError ? error.code : undefined;
      const code =
        sqlstate !== undefined
          ? 'target_login_failed'
          : /certificate|self.signed|SSL/i.test(reason)
            ? 'target_certificate_untrusted'
            : 'target_unreachable';
      throw new CountersignError(
        code,
        `connection ${address.name}: the gateway cannot use the target at ${address.host}:${address.port}: ${reason}`,
        {
          cause: error,
        },
      );
    }
  }
}
