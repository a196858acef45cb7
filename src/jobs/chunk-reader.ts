/**
 * Reads one chunk of a run as any client could: a wire session with the gateway and
 * `select * from chunkrun."<job>" where chunk_no = <n>`. Rows come in batches and in text format, just as they were sent.
 */
import pg from 'pg';
import Cursor from 'pg-cursor';
import { quoteIdentifier } from './sql-text.ts';
import type { SinkColumn, TextRow } from './sinks/sink.ts';

export interface GatewayAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** The connection's name. */
  readonly database: string;
  /** undefined = no TLS. */
  readonly tls: { readonly ca?: string | undefined; readonly serverName?: string | undefined } | undefined;
}

export interface ChunkRows {
  readonly columns: readonly SinkColumn[];
  /** Ends with the last batch. */
  readonly batches: AsyncIterable<readonly TextRow[]>;
}

const asText = { getTypeParser: () => (value: string) => value } as unknown as pg.CustomTypesConfig;

/** One session; used for one chunk after the other. */
export class GatewaySession {
  readonly #client: pg.Client;
  #failure: Error | undefined;
  #closing = false;

  private constructor(client: pg.Client) {
    this.#client = client;
  }

  static async open(address: GatewayAddress, application: string, connectTimeoutMs: number): Promise<GatewaySession> {
    const { host, port, user, password, database, tls } = address;
    const ssl =
      tls === undefined ? false : { ca: tls.ca, servername: tls.serverName ?? host, rejectUnauthorized: true };
    const client = new pg.Client({
      host,
      port,
      user,
      password,
      database,
      ssl,
      application_name: application,
      connectionTimeoutMillis: connectTimeoutMs,
      keepAlive: true,
    });
    const session = new GatewaySession(client);
    // Without a listener a lost connection between two queries would end the process.
    client.on('error', (error) => {
      session.#failure = error;
    });
    await client.connect();
    return session;
  }

  get usable(): boolean {
    return this.#failure === undefined && !this.#closing;
  }

  async read(job: string, chunkNo: number, batchRows: number): Promise<ChunkRows> {
    const text = `select * from chunkrun.${quoteIdentifier(job)} where chunk_no = ${chunkNo}`;
    const cursor = this.#client.query(new Cursor<(string | null)[]>(text, [], { rowMode: 'array', types: asText }));
    const first = await readBatch(cursor, batchRows);
    const columns = first.fields.map(({ name, dataTypeID }) => ({ name, typeOid: dataTypeID }));
    async function* batches() {
      let rows = first.rows;
      while (rows.length > 0) {
        yield rows;
        if (rows.length < batchRows) break;
        rows = (await readBatch(cursor, batchRows)).rows;
      }
      await cursor.close();
    }
    return { columns, batches: batches() };
  }

  /** Ends the session; what is being read fails. Never rejects. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    await this.#client.end().catch(() => undefined);
  }

  /** Cuts the connection now, in the middle of whatever is being read. */
  abort(): void {
    this.#closing = true;
    const { stream } = (this.#client as unknown as { connection: { stream: { destroy(): void } } }).connection;
    stream.destroy();
  }
}

interface Batch {
  readonly rows: (string | null)[][];
  readonly fields: readonly pg.FieldDef[];
}

function readBatch(cursor: Cursor<(string | null)[]>, rows: number): Promise<Batch> {
  return new Promise((resolve, reject) => {
    cursor.read(rows, (error, batch, result) => {
      // The driver gives an error object or nothing, whatever its types say.
      if (error) reject(error);
      else resolve({ rows: batch, fields: result.fields });
    });
  });
}
