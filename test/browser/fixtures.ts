/** What the stories of the page begin with: a pushed job, a statement that waits. */
import assert from 'node:assert/strict';
import type pg from 'pg';
import type { Harness, Who } from '../harness.ts';

export interface JobOptions {
  readonly name: string;
  readonly rows?: number;
  readonly columns?: string;
}

export function jobDefinition({
  name,
  rows = 250,
  columns = 'id, name, email, ssn, card_number, region, profile, notes, created_at',
}: JobOptions): string {
  return `# what leaves, in which pieces, and where to
job: ${name}
connection: crm
source: |
  select ${columns}
  from customers
  where region = :region
parameters: { region: { type: text, allowed: [EU, US], default: EU } }
chunk: { by: id, rows: ${rows} }
output: { format: parquet, to: "file://out/${name}" }
limits: { rows: 1000000, bytes: 2GB, concurrency: 4, statementTimeout: 60s }
`;
}

/** @returns the id of the request */
export async function pushJob(harness: Harness, content: string, who: Who = 'designer'): Promise<string> {
  const pushed = await harness.api<{ request: string }>(who, 'POST', '/jobs', { content });
  assert.equal(pushed.status, 201, JSON.stringify(pushed.body));
  return pushed.body.request;
}

export interface Held {
  readonly requestId: string;
  /** The address that the NOTICE shows to the person who waits. */
  readonly address: string;
  /** Ends with the statement: its rows, or the words of the error. */
  readonly answer: Promise<{ readonly rows: readonly Record<string, unknown>[]; readonly refused: string | undefined }>;
}

/** Sends a statement that has to wait, and reads the NOTICE that says so. */
export async function holdStatement(client: pg.Client, sql: string): Promise<Held> {
  const { promise, resolve } = Promise.withResolvers<string>();
  client.on('notice', (notice) => resolve([notice.message, notice.detail, notice.hint].join('\n')));
  const answer = client.query<Record<string, unknown>>(sql).then(
    ({ rows }) => ({ rows, refused: undefined }),
    (error: unknown) => ({ rows: [], refused: error instanceof Error ? error.message : 'failed' }),
  );
  const early = answer.then(({ refused }) => Promise.reject(new Error(`not held: ${refused ?? 'it ran'}`)));
  const notice = await Promise.race([promise, early]);
  early.catch(() => undefined);
  const address = /https?:\/\/\S+\/requests\/(req_[0-9a-z]+)/.exec(notice);
  assert.ok(address?.[1], notice);
  return { requestId: address[1], address: address[0], answer };
}
