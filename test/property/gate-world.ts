/**
 * The gate without sockets: a `GateSession` with a log and a recording that only remember, beside a real target or
 * instead of one. What is real is everything that decides and masks.
 */
import { SessionChain } from '../../src/audit/events.ts';
import { CountersignError } from '../../src/errors.ts';
import { Admissions } from '../../src/gate/admission.ts';
import { GateConnection } from '../../src/gate/connection.ts';
import type { ControlPlane, SessionIdentity } from '../../src/gate/control-plane.ts';
import { GateSession, isPooled, recycle } from '../../src/gate/session.ts';
import { Target } from '../../src/gateway/target.ts';
import { Upstream, type UpstreamAddress } from '../../src/gateway/upstream.ts';
import { compileMasking, type MaskingTemplate } from '../../src/masking/policy.ts';
import { compilePolicies, type PolicySet } from '../../src/policy/engine.ts';
import { loadParser } from '../../src/sql/parse.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import pg from 'pg';
import { readerPolicy } from '../harness.ts';

export interface GateWorldOptions {
  readonly databases: readonly string[];
  readonly schema: string;
  readonly masking: readonly MaskingTemplate[];
  /** Of each database, after the schema stands in all of them with the same OIDs. */
  readonly data: (database: string) => string;
}

export interface GateWorld {
  readonly postgres: EmbeddedPostgres;
  readonly policies: PolicySet;
  connection(database: string): GateConnection;
  /** A log-in at the target. */
  upstream(database: string): Promise<Upstream>;
  /** Straight to one database. */
  direct(database: string): pg.Client;
  close(): Promise<void>;
}

const hugeTtlMs = 2 ** 31;

export async function startGateWorld(options: GateWorldOptions): Promise<GateWorld> {
  await loadParser();
  const [first = 'a', ...others] = options.databases;
  const postgres = await startEmbeddedPostgres({
    databases: [first],
    settings: { autovacuum: 'off', log_min_messages: 'fatal' },
  });
  const closing: (() => Promise<unknown>)[] = [() => postgres.stop()];
  const close = async () => {
    for (const step of closing.splice(0).toReversed()) await step();
  };
  try {
    const once = async (database: string, ...texts: string[]) => {
      const client = new pg.Client({ connectionString: postgres.url(database) });
      await client.connect();
      for (const text of texts) await client.query(text);
      await client.end();
    };
    await once(first, options.schema);
    await once('postgres', ...others.map((other) => `create database ${other} template ${first}`));
    const policies = compilePolicies({ files: [{ name: 'reader.cedar', text: readerPolicy }] });
    const masking = compileMasking(options.masking, {}, { hashKey: Buffer.alloc(32, 7) });
    const clients = new Map<string, pg.Client>();
    const connections = new Map<string, GateConnection>();
    const addressOf = (database: string): UpstreamAddress => ({
      name: database,
      host: postgres.socketDirectory,
      port: postgres.port,
      database,
      tls: { mode: 'disable' },
    });
    for (const database of options.databases) {
      await once(database, options.data(database));
      const client = new pg.Client({ connectionString: postgres.url(database) });
      client.on('error', () => undefined);
      await client.connect();
      await client.query("set datestyle = 'ISO, MDY'; set statement_timeout = 5000");
      clients.set(database, client);
      closing.push(() => client.end());
      const target = new Target({
        address: addressOf(database),
        user: 'postgres',
        password: postgres.password,
        searchPath: ['public'],
        connectTimeoutMs: 5_000,
        statementTimeoutMs: 10_000,
      });
      const connection = new GateConnection({
        name: 'crm',
        engine: 'postgres',
        labels: {},
        masking,
        source: target,
        clock: { now: () => Date.now() },
        catalogueTtlMs: hugeTtlMs,
      });
      await connection.refresh();
      await target.close();
      connections.set(database, connection);
    }
    const found = <T>(map: Map<string, T>, database: string): T => {
      const value = map.get(database);
      if (value === undefined) throw new Error(`there is no database ${database}`);
      return value;
    };
    return {
      postgres,
      policies,
      connection: (database) => found(connections, database),
      direct: (database) => found(clients, database),
      upstream: (database) =>
        Upstream.connect({
          address: addressOf(database),
          user: 'postgres',
          password: postgres.password,
          parameters: {
            datestyle: 'ISO, MDY',
            search_path: 'public',
            client_encoding: 'UTF8',
            standard_conforming_strings: 'on',
            statement_timeout: '5000',
          },
          timeoutMs: 5_000,
        }),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

const reader: SessionIdentity = {
  sessionId: 'ses_property',
  principal: {
    id: 'reader',
    human: 'rita',
    kind: 'person',
    displayName: 'Rita',
    email: undefined,
    groups: ['readers'],
  },
  duties: ['executor'],
  duty: 'executor',
  runId: undefined,
};

const notHere = () => Promise.reject(new CountersignError('run_not_open', 'countersign: no runs here'));

/** Nobody approves anything; nothing else of the control plane is there. */
const controlPlane: ControlPlane = {
  sessionOpened: () => Promise.resolve(),
  sessionClosed: () => Promise.resolve(),
  openHold: () => Promise.resolve({ requestId: 'req_1', address: 'http://localhost/req_1', expiresAtMs: 0 }),
  awaitHold: () =>
    Promise.resolve({
      kind: 'refused',
      error: new CountersignError('request_rejected', 'countersign: request req_1 was rejected'),
    }),
  useTemplate: () => Promise.resolve({ kind: 'none', reason: undefined }),
  settleTemplate: () => Promise.resolve(),
  reserveSample: () => Promise.resolve({ allowed: false, used: 0, limit: 0 }),
  reserveEqualities: () => Promise.resolve({ allowed: false, used: 0, limit: 0 }),
  beginChunk: notHere,
  probeRun: notHere,
  chunkDelivered: () => Promise.resolve(),
  chunkFailed: () => Promise.resolve(),
};

export interface GateOptions {
  readonly connection: GateConnection;
  readonly policies: PolicySet;
  readonly forward: (bytes: Buffer) => void;
  readonly deliver?: (bytes: Buffer) => void;
  readonly maxRowBytes?: number;
}

/** One session at the gate. What it delivers, logs and records is kept. */
export class Gate {
  readonly session: GateSession;
  readonly #delivered: Buffer[] = [];
  readonly #log: string[] = [];
  readonly #recorded: Buffer[] = [];
  /** Anything that was thrown and is no expected error. */
  readonly surprises: unknown[] = [];
  endedBy: string | undefined;
  #paused = { client: false, target: false };

  constructor({ connection, policies, forward, deliver, maxRowBytes }: GateOptions) {
    this.session = new GateSession({
      identity: reader,
      admissions: new Admissions({
        connection,
        identity: reader,
        policies: () => policies,
        maxStatementBytes: 256 * 1024,
        sampleRowsPerHour: 100,
      }),
      controlPlane,
      log: {
        append: (entry) => this.#log.push(entry) - 1,
        whenDurable: (_index, callback) => queueMicrotask(() => callback()),
      },
      chain: new SessionChain(reader.sessionId),
      recording: {
        request: (event) => this.#log.push(JSON.stringify(event)),
        response: (bytes, start, end) => this.#recorded.push(Buffer.from(bytes.subarray(start, end))),
      },
      clock: { now: () => 0 },
      node: 'test',
      limits: {
        maxMessageBytes: 1024 * 1024,
        maxRowBytes: maxRowBytes ?? 64 * 1024 * 1024,
        maxPreparedBytes: 16 * 1024 * 1024,
        maxStatementBytes: 256 * 1024,
        holdTimeoutMs: 1_000,
      },
      forward,
      deliver: (bytes) => {
        const own = Buffer.from(bytes);
        if (isPooled(bytes)) recycle(bytes);
        this.#delivered.push(own);
        deliver?.(own);
      },
      pause: (peer, paused) => (this.#paused[peer] = paused),
      onError: (cause) => {
        if (cause instanceof CountersignError) return cause;
        this.surprises.push(cause);
        return new CountersignError('internal', 'countersign: an internal error');
      },
      onEnd: (reason) => (this.endedBy = reason),
    });
  }

  get delivered(): Buffer {
    return Buffer.concat(this.#delivered);
  }

  get recorded(): Buffer {
    return Buffer.concat(this.#recorded);
  }

  get log(): readonly string[] {
    return this.#log;
  }

  isPaused(peer: 'client' | 'target'): boolean {
    return this.#paused[peer];
  }
}
