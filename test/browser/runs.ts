/** Runs for stories of the page: asked for by a designer, approved and executed by an executor. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { runJob } from '../../src/jobs/runner.ts';
import type { RunnerApi } from '../../src/jobs/runner-api.ts';
import type { Harness, Who } from '../harness.ts';
import { pushJob } from './fixtures.ts';

export interface Started {
  readonly runId: string;
  readonly credential: { readonly user: string; readonly password: string };
}

export async function ask<T>(harness: Harness, who: Who, method: string, route: string, body?: unknown): Promise<T> {
  const answer = await harness.api<T>(who, method, route, body);
  assert.ok(answer.status < 300, JSON.stringify(answer.body));
  return answer.body;
}

export function exportDefinition({ name, rows = 250 }: { readonly name: string; readonly rows?: number }): string {
  return `# what leaves, in which pieces, and where to
job: ${name}
connection: crm
source: |
  select id, name, email, ssn, card_number, region, notes
  from customers
chunk: { by: id, rows: ${rows} }
output: { format: parquet, to: "file://out/${name}" }
`;
}

export async function startRun(harness: Harness, name: string): Promise<Started> {
  const request = await pushJob(harness, exportDefinition({ name }));
  await ask(harness, 'executor', 'POST', `/requests/${request}/approve`, { comment: 'fine' });
  return ask(harness, 'executor', 'POST', '/runs', { job: name });
}

export function finishRun(harness: Harness, { runId, credential }: Started) {
  const post = <T>(route: string, body: object) => ask<T>(harness, 'executor', 'POST', route, body);
  const api: RunnerApi = {
    state: (id) => ask(harness, 'executor', 'GET', `/runs/${id}`),
    lease: (id, holder) => post(`/runs/${id}/lease`, { holder }),
    heartbeat: ({ runId: id, ...ref }, holder) => post(`/runs/${id}/heartbeat`, { ...ref, holder }),
    seal: ({ runId: id, ...ref }, sealed) => post(`/runs/${id}/seal`, { ...ref, ...sealed }),
    fail: ({ runId: id, ...ref }, reason, retryable) => post(`/runs/${id}/fail`, { ...ref, reason, retryable }),
    finish: (id) => post(`/runs/${id}/finish`, {}),
  };
  const database = {
    host: '127.0.0.1',
    port: harness.app.postgresPort,
    ...credential,
    database: 'crm',
    tls: { ca: harness.caPem },
  };
  return runJob({ api, runId, database, outputDirectory: path.join(harness.home, runId), holder: 'test' });
}
