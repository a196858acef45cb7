/** One big result through an endpoint: how fast, at which cost of CPU and memory. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Client } from 'pg';
import type { Endpoint } from './endpoint.ts';
import { measureUsage } from './process-usage.ts';

const run = promisify(execFile);
const timeoutMs = 120_000;
const clientProgram = fileURLToPath(new URL('stream-client.ts', import.meta.url));

export interface StreamMeasure {
  readonly rows: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly rowsPerSecond: number;
  readonly cpuSecondsPerGigabyte: number | undefined;
  readonly peakResidentBytes: number | undefined;
}

/**
 * A table of about 200 bytes a row on the wire. `secret_name` and `secret_code` are there to be masked; no text
 * looks like anything that a content detector knows, so that the detectors look at all of it and find nothing.
 */
export async function createBenchRows(client: Client, rows: number): Promise<void> {
  await client.query('drop table if exists bench_rows');
  await client.query(`
    create table bench_rows (
      id bigint primary key,
      secret_name text not null,
      secret_code text not null,
      account integer not null,
      city text not null,
      note text not null,
      amount numeric(12, 2) not null,
      created_at timestamptz not null
    )`);
  await client.query({
    text: `
      insert into bench_rows
      select n, 'Customer ' || md5('name' || n), 'code-' || substr(md5('code' || n), 1, 12), n % 5000,
             (array['Lisbon', 'Osaka', 'Nairobi', 'Bergen', 'Quito'])[1 + n % 5],
             'an ordinary remark about parcel ' || translate(md5('note' || n), '0123456789', 'ghijklmnop'),
             (n % 90000) / 7.0, timestamptz '2024-01-01 00:00:00Z' + n * interval '1 minute'
        from generate_series(1, $1::int) n`,
    values: [rows],
  });
  await client.query('vacuum analyze bench_rows');
}

export const benchRowsQuery =
  'select id, secret_name, secret_code, account, city, note, amount, created_at from bench_rows';

export async function measureStream(endpoint: Endpoint, expectedRows: number): Promise<StreamMeasure> {
  const { host, port, user, password, database } = endpoint;
  const read = async (): Promise<string> => {
    const parameters = [clientProgram, host, String(port), user, database, benchRowsQuery];
    const env = { ...process.env, PGPASSWORD: password };
    const { stdout } = await run(process.execPath, parameters, { env, timeout: timeoutMs });
    return stdout;
  };
  const { result, usage } = await measureUsage(endpoint.pid, read);
  const { rows, bytes, milliseconds } = JSON.parse(result) as { rows: number; bytes: number; milliseconds: number };
  if (rows !== expectedRows) throw new Error(`${endpoint.name} delivered ${rows} rows instead of ${expectedRows}`);
  return {
    rows,
    bytes,
    seconds: milliseconds / 1000,
    rowsPerSecond: rows / (milliseconds / 1000),
    cpuSecondsPerGigabyte: usage === undefined ? undefined : usage.cpuMicroseconds / 1e6 / (bytes / 1e9),
    peakResidentBytes: usage?.peakResidentBytes,
  };
}
