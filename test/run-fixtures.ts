/** Plans and grants for tests of runs that need no planner and no approval. */
import type { JobPlan } from '../src/jobs/job-plan.ts';
import type { Store } from '../src/store/database.ts';

export interface FakePlanOptions {
  readonly chunks?: number;
  readonly concurrency?: number;
  readonly rows?: number | undefined;
  readonly format?: 'csv' | 'ndjson' | 'parquet';
  readonly estimatedRows?: number;
}

export function fakePlan({
  chunks = 3,
  concurrency = 8,
  rows,
  format = 'csv',
  estimatedRows = 15,
}: FakePlanOptions): JobPlan {
  const node = {
    node: 'Seq Scan',
    relation: 't',
    index: undefined,
    rows: 5,
    cost: 1,
    width: 4,
    condition: undefined,
    children: [],
  };
  return {
    job: 'export',
    connection: 'crm',
    strategy: 'quantile',
    reason: 'a test',
    source: 'select id from t',
    parameters: {},
    key: [{ column: 'id', type: 'bigint', source: 'public.t.id', notNullProved: true }],
    chunks: Array.from({ length: chunks }, (_, no) => ({
      no,
      lower: no === 0 ? undefined : [String(no * 10)],
      upper: no === chunks - 1 ? undefined : [String((no + 1) * 10)],
      nulls: false,
      sql: `select ${no}`,
    })),
    notNullProved: true,
    estimatedRows,
    estimatedBytes: 100,
    explain: { first: node, middle: node, last: node },
    outputs: [{ name: 'id', typeOid: 20, typeName: 'bigint', sources: ['public.t.id'], mask: undefined }],
    sample: { columns: ['id'], rows: [['1']] },
    output: { format, to: 'file://out', escapeFormulas: false },
    limits: { rows, bytes: undefined, concurrency, rowsPerSecond: undefined, statementTimeoutMs: 60_000 },
    warnings: [],
  };
}

/** A consumed grant, with the request that its key needs. */
export async function grantRow(store: Store, id: string): Promise<void> {
  const at = new Date(0);
  const requestId = `request_of_${id}`;
  await store
    .insertInto('requests')
    .values({
      id: requestId,
      kind: 'job',
      state: 'approved',
      connection: 'crm',
      title: 'a test',
      requester_id: 'dora',
      requester_human: 'dora',
      authors: '[]',
      job: null,
      job_version: null,
      session_id: null,
      digest: 'd',
      digest_input_json: '{}',
      evidence: '{}',
      created_at: at,
      expires_at: at,
      closed_at: at,
    })
    .execute();
  await store
    .insertInto('grants')
    .values({
      id,
      request_id: requestId,
      digest: 'd',
      state: 'consumed',
      created_at: at,
      expires_at: at,
      consumed_by: 'erik',
      consumed_at: at,
      void_reason: null,
    })
    .execute();
}
