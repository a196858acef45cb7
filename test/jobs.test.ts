/** Chunk jobs through the whole gateway: push, duties, approval, run, drift. Promises P2, P3, P4. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { runJob } from '../src/jobs/runner.ts';
import { verifyManifest } from '../src/jobs/manifest.ts';
import type { RunnerApi, RunStatus } from '../src/jobs/runner-api.ts';
import { customersSchema, secretPatterns } from './customers.ts';
import { startHarness, type Harness, type Who } from './harness.ts';

let harness: Harness;
let out: string;

before(async () => {
  harness = await startHarness({ schema: customersSchema });
  out = await mkdtemp(path.join(tmpdir(), 'countersign-out-'));
});

after(async () => {
  await harness?.close();
  await rm(out, { recursive: true, force: true });
});

interface Failure {
  readonly error: { readonly code: string; readonly message: string; readonly detail?: string };
}

interface Started {
  readonly runId: string;
  readonly credential: { readonly user: string; readonly password: string };
  readonly status: RunStatus;
}

const definition = (name: string, more: { rows?: number; source?: string; by?: string } = {}) => `
job: ${name}
connection: crm
source: ${JSON.stringify(more.source ?? 'select id, name, email, ssn, card_number, notes, profile from customers')}
chunk: { by: ${more.by ?? 'id'}, rows: ${more.rows ?? 100} }
output: { format: ndjson, to: "file://${name}" }
`;

async function push(name: string, more: Parameters<typeof definition>[1] = {}, who: Who = 'designer') {
  return harness.api<
    {
      request: string;
      plan: { chunks: unknown[]; outputs: { name: string; mask?: string }[]; sample: unknown };
    } & Failure
  >(who, 'POST', '/jobs', {
    content: definition(name, more),
  });
}

async function approve(request: string, who: Who = 'executor') {
  return harness.api<Failure & { grant: { id: string } }>(who, 'POST', `/requests/${request}/approve`, {
    comment: 'fine',
  });
}

async function start(job: string, who: Who = 'executor', request?: string) {
  return harness.api<Started & Failure>(who, 'POST', '/runs', { job, ...(request === undefined ? {} : { request }) });
}

function runnerApi(who: Who): RunnerApi {
  const call = async <T>(method: string, route: string, body?: unknown): Promise<T> => {
    const answer = await harness.api<T>(who, method, route, body);
    assert.ok(answer.status < 300, JSON.stringify(answer.body));
    return answer.body;
  };
  return {
    state: (id) => call('GET', `/runs/${id}`),
    lease: (id, holder) => call('POST', `/runs/${id}/lease`, { holder }),
    heartbeat: ({ runId, ...ref }, holder) => call('POST', `/runs/${runId}/heartbeat`, { ...ref, holder }),
    seal: ({ runId, ...ref }, sealed) => call('POST', `/runs/${runId}/seal`, { ...ref, ...sealed }),
    fail: ({ runId, ...ref }, reason, retryable) => call('POST', `/runs/${runId}/fail`, { ...ref, reason, retryable }),
    finish: (id) => call('POST', `/runs/${id}/finish`, {}),
  };
}

function database(credential: Started['credential']) {
  return {
    host: '127.0.0.1',
    port: harness.app.postgresPort,
    ...credential,
    database: 'crm',
    tls: { ca: harness.caPem },
  };
}

describe('a job', () => {
  it('is planned with masks and a masked sample, approved by somebody else, and run once', async () => {
    const pushed = await push('export');
    assert.equal(pushed.status, 201, JSON.stringify(pushed.body));
    assert.ok(pushed.body.plan.chunks.length >= 3);
    assert.equal(pushed.body.plan.outputs.find((column) => column.name === 'ssn')?.mask, 'redact');
    for (const pattern of secretPatterns) assert.doesNotMatch(JSON.stringify(pushed.body), pattern);
    for (const who of ['designer', 'etl-designer'] as const) {
      const own = await approve(pushed.body.request, who);
      assert.equal(own.status, 403);
    }
    assert.equal((await start('export')).body.error.code, 'grant_missing');
    assert.equal((await approve(pushed.body.request)).status, 200);
    assert.equal((await start('export', 'designer')).status, 403);
    const started = await start('export');
    assert.equal(started.status, 201, JSON.stringify(started.body));
    const directory = path.join(out, 'export');
    const summary = await runJob({
      api: runnerApi('executor'),
      runId: started.body.runId,
      database: database(started.body.credential),
      outputDirectory: directory,
      holder: 'test',
    });
    assert.equal(summary.state, 'completed', JSON.stringify(summary));
    assert.equal(summary.rows, 300);
    assert.ok(summary.maskedCells >= 300 * 5);
    const verified = await verifyManifest(directory);
    assert.ok(verified.ok, JSON.stringify(verified.problems));
    const ids = new Set<number>();
    for (const chunk of verified.manifest.chunks) {
      const text = await readFile(path.join(directory, chunk.file?.path ?? ''), 'utf8');
      for (const pattern of secretPatterns) assert.doesNotMatch(text, pattern);
      for (const line of text.split('\n').filter((one) => one !== ''))
        ids.add(Number((JSON.parse(line) as { id: unknown }).id));
    }
    assert.equal(ids.size, 300);
    assert.equal((await start('export', 'executor', pushed.body.request)).body.error.code, 'grant_used');
  });

  it('a grant is claimed once, whoever races for it', async () => {
    const { body } = await push('race');
    await approve(body.request);
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, n) => start('race', n % 2 === 0 ? 'executor' : 'executor2')),
    );
    assert.deepEqual(
      answers.map((one) => one.status).filter((status) => status === 201),
      [201],
    );
    assert.ok(answers.every((one) => one.status === 201 || one.body.error.code === 'grant_used'));
  });

  it('a run session reads its chunks and nothing else', async () => {
    const { body } = await push('narrow');
    await approve(body.request);
    const { body: run } = await start('narrow');
    const client = new pg.Client({ ...database(run.credential), ssl: { ca: harness.caPem } });
    client.on('error', () => undefined);
    await client.connect();
    const chunk = await client.query('select * from chunkrun."narrow" where chunk_no = 0');
    assert.ok(chunk.rows.length > 50);
    for (const pattern of secretPatterns) assert.doesNotMatch(JSON.stringify(chunk.rows), pattern);
    for (const text of [
      'select * from customers',
      'select * from chunkrun."narrow"',
      'select * from chunkrun."narrow" where chunk_no = 1 union select * from customers',
      'select * from chunkrun."export" where chunk_no = 1',
      'select * from chunkrun."narrow" where chunk_no = 9999',
      'select * from chunkrun."narrow" where chunk_no = 1; select * from customers',
    ]) {
      await assert.rejects(client.query(text), (error: pg.DatabaseError) => error.code !== undefined, text);
    }
    await client.end();
    assert.ok(!(await harness.targetLog()).includes('chunkrun.'));
  });

  it('drift after the approval voids the grant and is named', async () => {
    const first = await push('drift');
    await approve(first.body.request);
    const second = await push('drift', { rows: 101 });
    const content = await start('drift', 'executor', first.body.request);
    assert.equal(content.body.error.code, 'grant_void');
    assert.match(JSON.stringify(content.body), /job content/);

    await approve(second.body.request);
    await harness.target('alter table customers add column added integer');
    const definitionDrift = await start('drift', 'executor', second.body.request);
    assert.equal(definitionDrift.body.error.code, 'grant_void');
    assert.match(JSON.stringify(definitionDrift.body), /definition of public\.customers/);

    const third = await push('drift', { rows: 102 });
    await approve(third.body.request);
    const template = {
      name: 'more',
      appliesTo: {},
      columns: [{ match: 'name', mask: 'redact' as const }],
      detectors: [],
    };
    harness.app.reload({ ...harness.configuration, masking: [...harness.configuration.masking, template] });
    const maskingDrift = await start('drift', 'executor', third.body.request);
    harness.app.reload(harness.configuration);
    assert.equal(maskingDrift.body.error.code, 'grant_void');
    assert.match(JSON.stringify(maskingDrift.body), /masking policy/);
    // Void is void, also when the world is as it was.
    assert.equal((await start('drift', 'executor', third.body.request)).body.error.code, 'grant_void');
  });
});

describe('a bad definition', () => {
  for (const [name, content, code, pattern] of [
    ['unknown field', `${definition('bad')}colour: red\n`, 'job_invalid', /:\d+: .*colour/],
    [
      'wrong type',
      definition('bad', { by: 'id' }).replace('rows: 100', 'rows: many'),
      'job_invalid',
      /:\d+: chunk\.rows/,
    ],
    ['no YAML', 'job: [', 'job_invalid', /:\d+:/],
    [
      'unknown connection',
      definition('bad').replace('connection: crm', 'connection: nowhere'),
      'connection_unknown',
      /nowhere/,
    ],
    [
      'missing table',
      definition('bad', { source: 'select id from no_such_table' }),
      'job_relation_missing',
      /no_such_table/,
    ],
    ['masked key', definition('bad', { by: 'ssn' }), 'chunk_key_masked', /ssn/],
    ['key whose values are detected', definition('bad', { by: 'notes' }), 'chunk_key_masked', /notes.*bounds hold/],
    ['key that is not there', definition('bad', { by: 'nothing' }), 'chunk_key_invalid', /nothing/],
    ['limit', definition('bad', { source: 'select id from customers limit 5' }), 'source_not_chunkable', /LIMIT/i],
  ] as const) {
    it(`${name}: ${code}`, async () => {
      const before = (await harness.entries()).filter((entry) => entry['type'] === 'job.refused').length;
      const answer = await harness.api<Failure>('designer', 'POST', '/jobs', { content });
      assert.equal(answer.body.error.code, code, JSON.stringify(answer.body));
      assert.match(`${answer.body.error.message} ${answer.body.error.detail ?? ''}`, pattern);
      for (const secret of secretPatterns) assert.doesNotMatch(JSON.stringify(answer.body), secret);
      const after = (await harness.entries()).filter((entry) => entry['type'] === 'job.refused');
      assert.equal(after.length, before + 1);
      assert.equal(after.at(-1)?.['code'], code);
    });
  }

  it('nobody but a designer pushes', async () => {
    for (const who of ['executor', 'auditor', 'nobody'] as const)
      assert.equal((await push('theirs', {}, who)).status, 403);
  });
});

describe('replay', () => {
  it('shows an auditor what was delivered, masked; nobody else; and is logged', async () => {
    const client = await harness.connect('reader');
    await client.query('select id, ssn from customers where id < 4');
    await client.end();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    const { body } = await harness.api<{ sessions: { id: string; principalId: string }[] }>(
      'auditor',
      'GET',
      '/sessions?principal=reader',
    );
    const session = body.sessions[0]?.id ?? '';
    const replay = async (who: Who) => {
      const response = await fetch(`${harness.app.apiUrl}/api/v1/sessions/${session}/replay`, {
        headers: { authorization: `Bearer ${await harness.token(who)}` },
      });
      return { status: response.status, text: await response.text() };
    };
    const shown = await replay('auditor');
    assert.equal(shown.status, 200, shown.text);
    assert.match(shown.text, /select id, ssn from customers/);
    assert.match(shown.text, /\[masked\]/);
    for (const pattern of secretPatterns) assert.doesNotMatch(shown.text, pattern);
    for (const who of ['designer', 'executor', 'reader', 'nobody'] as const)
      assert.equal((await replay(who)).status, 403);
    const reads = (await harness.entries()).filter(
      (entry) => entry['type'] === 'recording.read' && entry['session'] === session,
    );
    assert.equal(reads.length, 1);
  });
});
