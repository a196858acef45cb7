/** What the page's further places ask of the API, with duties: runs, sessions, connections, masking. Promises P2, P3. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Inheritance } from '../src/approvals/inheritance.ts';
import type { Timeline } from '../src/audit/session-timeline.ts';
import { runJob } from '../src/jobs/runner.ts';
import { parseManifest } from '../src/jobs/manifest.ts';
import type { RunnerApi, RunProgressView, RunStatus } from '../src/jobs/runner-api.ts';
import type { VersionStanding } from '../src/store/jobs.ts';
import { customersSchema, secretPatterns } from './customers.ts';
import { startHarness, type Harness, type Who } from './harness.ts';

let harness: Harness;
let out: string;

interface Failure {
  readonly error: { readonly code: string; readonly message: string };
}

interface Started {
  readonly runId: string;
  readonly credential: { readonly user: string; readonly password: string };
}

before(async () => {
  harness = await startHarness({
    schema: customersSchema,
    configure: (raw) => {
      // Everybody works on crm only, but for the readers: erp is there all the same.
      const bindings = raw['bindings'] as { group: string }[];
      raw['bindings'] = [
        ...bindings.map((one) => (one.group === 'readers' ? one : { ...one, labels: { data: 'personal' } })),
        { group: 'others', duties: ['admin'], labels: { data: 'personal' } },
      ];
      const [crm] = raw['connections'] as object[];
      raw['connections'] = [crm, { ...crm, name: 'erp', labels: { data: 'internal' } }];
      raw['workflows'] = [{ match: { labels: { data: 'health' } }, approvals: { count: 2 } }];
      raw['runs'] = { attempts: 1, retries: 1 };
    },
  });
  out = await mkdtemp(path.join(tmpdir(), 'countersign-out-'));
});

after(async () => {
  await harness?.close();
  await rm(out, { recursive: true, force: true });
});

async function ask<T>(who: Who, method: string, route: string, body?: unknown): Promise<T> {
  const answer = await harness.api<T>(who, method, route, body);
  assert.ok(answer.status < 300, `${method} ${route}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

async function refused(who: Who, method: string, route: string, body?: unknown): Promise<string> {
  const answer = await harness.api<Failure>(who, method, route, body);
  assert.ok(answer.status >= 400, `${who} ${method} ${route} was answered: ${JSON.stringify(answer.body)}`);
  return answer.body.error.code;
}

function assertNoSecret(value: unknown): void {
  for (const pattern of secretPatterns) assert.doesNotMatch(JSON.stringify(value), pattern);
}

async function startRun(job: string): Promise<Started> {
  const content = `
job: ${job}
connection: crm
source: select id, name, email, ssn from customers
chunk: { by: id, rows: 100 }
output: { format: ndjson, to: "file://${job}" }
`;
  const { request } = await ask<{ request: string }>('designer', 'POST', '/jobs', { content });
  await ask('executor', 'POST', `/requests/${request}/approve`, { comment: 'fine' });
  return ask<Started>('executor', 'POST', '/runs', { job });
}

function runnerApi(): RunnerApi {
  return {
    state: (id) => ask('executor', 'GET', `/runs/${id}`),
    lease: (id, holder) => ask('executor', 'POST', `/runs/${id}/lease`, { holder }),
    heartbeat: ({ runId, ...ref }, holder) => ask('executor', 'POST', `/runs/${runId}/heartbeat`, { ...ref, holder }),
    seal: ({ runId, ...ref }, sealed) => ask('executor', 'POST', `/runs/${runId}/seal`, { ...ref, ...sealed }),
    fail: ({ runId, ...ref }, reason, retryable) =>
      ask('executor', 'POST', `/runs/${runId}/fail`, { ...ref, reason, retryable }),
    finish: (id) => ask('executor', 'POST', `/runs/${id}/finish`, {}),
  };
}

function finishRun({ runId, credential }: Started) {
  return runJob({
    api: runnerApi(),
    runId,
    database: {
      host: '127.0.0.1',
      port: harness.app.postgresPort,
      ...credential,
      database: 'crm',
      tls: { ca: harness.caPem },
    },
    outputDirectory: path.join(out, runId),
    holder: 'test',
  });
}

describe('jobs and runs', () => {
  it('a version says what became of it', async () => {
    const { runId } = await startRun('standing');
    const { jobs } = await ask<{ jobs: { job: string; standing: VersionStanding | null }[] }>(
      'auditor',
      'GET',
      '/jobs',
    );
    const standing = jobs.find((one) => one.job === 'standing')?.standing;
    assert.deepEqual(
      [standing?.state, standing?.grant, standing?.run, standing?.runState],
      ['approved', 'consumed', runId, 'running'],
    );
    const { versions } = await ask<{ versions: { standing: VersionStanding | null }[] }>(
      'auditor',
      'GET',
      '/jobs/standing',
    );
    assert.equal(versions[0]?.standing?.run, runId);
  });

  it('progress is one letter a chunk, without bounds; the manifest is the exact text', async () => {
    const started = await startRun('progress');
    const { runId } = started;
    const before = await ask<RunProgressView & { request: string }>('designer', 'GET', `/runs/${runId}/progress`);
    assert.match(before.states, /^P{3,}$/);
    assert.match(before.request, /^req_/);
    assert.equal(await refused('auditor', 'GET', `/runs/${runId}/manifest`), 'not_found');
    assert.equal((await finishRun(started)).state, 'completed');
    const done = await ask<RunProgressView>('auditor', 'GET', `/runs/${runId}/progress`);
    assert.match(done.states, /^E{3,}$/);
    assert.equal(
      done.chunkRows.reduce((sum, rows) => sum + rows, 0),
      300,
    );
    assert.equal(
      done.timeline.reduce((sum, slice) => sum + slice.rows, 0),
      300,
    );
    for (const word of ['lower', 'upper', 'sql', 'bounds']) assert.equal(word in done, false);
    const response = await fetch(`${harness.app.apiUrl}/api/v1/runs/${runId}/manifest`, {
      headers: { authorization: `Bearer ${await harness.token('auditor')}` },
    });
    const manifest = parseManifest(await response.text());
    assert.equal(manifest.totals.rows, 300);
    assertNoSecret(manifest);
  });

  it('runs are listed in pages', async () => {
    const ids: string[] = [];
    let before = '';
    for (let page = 0; page < 50; page++) {
      const answer: { runs: { id: string }[]; next: string | null } = await ask(
        'auditor',
        'GET',
        `/runs?limit=1${before === '' ? '' : `&before=${before}`}`,
      );
      ids.push(...answer.runs.map((run) => run.id));
      if (answer.next === null) break;
      before = answer.next;
    }
    const all = await ask<{ runs: { id: string }[] }>('auditor', 'GET', '/runs');
    assert.ok(ids.length >= 2);
    assert.deepEqual(
      ids,
      all.runs.map((run) => run.id),
    );
    assert.deepEqual(
      (await ask<{ runs: { job: string }[] }>('auditor', 'GET', '/runs?job=progress')).runs.map((run) => run.job),
      ['progress'],
    );
  });

  it('a failed chunk is set going again by whoever executes the run, so often, and never after an end', async () => {
    const started = await startRun('retry');
    const { runId } = started;
    const fail = async () => {
      const lease = await ask<{ chunkNo: number; attempt: number }>('executor', 'POST', `/runs/${runId}/lease`, {
        holder: 'test',
      });
      await ask('executor', 'POST', `/runs/${runId}/fail`, {
        chunkNo: lease.chunkNo,
        attempt: lease.attempt,
        reason: 'disk full',
        retryable: true,
      });
      return lease.chunkNo;
    };
    assert.equal(await refused('executor', 'POST', `/runs/${runId}/retry`, {}), 'chunk_not_available');
    const chunk = await fail();
    for (const who of ['designer', 'executor2', 'auditor', 'nobody'] as const)
      assert.equal(await refused(who, 'POST', `/runs/${runId}/retry`, {}), 'forbidden');
    assert.equal(
      await refused('executor', 'POST', `/runs/${runId}/retry`, { chunk: chunk + 1 }),
      'chunk_not_available',
    );
    const again = await ask<RunStatus & { retried: number }>('executor', 'POST', `/runs/${runId}/retry`, { chunk });
    assert.equal(again.retried, 1);
    // The others first, so that the run ends with this one failed.
    const ended = await finishRun(started);
    assert.equal(ended.state, 'completed');
    assert.equal(await refused('executor', 'POST', `/runs/${runId}/retry`, {}), 'run_not_open');
    const types = (await harness.entries()).filter((entry) => entry['run'] === runId).map((entry) => entry['type']);
    assert.ok(types.indexOf('run.retried') > types.indexOf('chunk.failed'));
  });

  it('a run that ended because of failed chunks is open again under a mixed snapshot; retries are counted', async () => {
    const { runId } = await startRun('reopen');
    const failAll = async () => {
      for (let turn = 0; turn < 100; turn++) {
        const lease = await ask<{ kind: string; chunkNo: number; attempt: number }>(
          'executor',
          'POST',
          `/runs/${runId}/lease`,
          { holder: 'test' },
        );
        if (lease.kind !== 'leased') return lease.kind;
        await ask('executor', 'POST', `/runs/${runId}/fail`, {
          chunkNo: lease.chunkNo,
          attempt: lease.attempt,
          reason: 'no',
          retryable: true,
        });
      }
      return 'endless';
    };
    assert.equal(await failAll(), 'done');
    assert.equal((await ask<{ state: string }>('executor', 'POST', `/runs/${runId}/finish`, {})).state, 'failed');
    const open = await ask<RunStatus>('executor', 'POST', `/runs/${runId}/retry`, {});
    assert.deepEqual([open.state, open.snapshot, open.finishedAt], ['running', 'mixed', null]);
    assert.ok(
      (await ask<{ credential: { user: string } }>('executor', 'POST', `/runs/${runId}/credential`)).credential.user,
    );
    assert.equal(await failAll(), 'done');
    assert.equal(await refused('executor', 'POST', `/runs/${runId}/retry`, {}), 'limit_exceeded');
  });
});

describe('sessions', () => {
  it('are listed for auditors only, by person, connection and time, in pages, and told statement by statement', async () => {
    const client = await harness.connect('reader');
    await client.query('select id, ssn from customers where id < 4');
    await client.query("select id from customers where ssn like '1%'").catch(() => undefined);
    await client.query('select count(*) from plain');
    await client.end();
    for (const who of ['designer', 'executor', 'reader', 'nobody'] as const)
      assert.equal(await refused(who, 'GET', '/sessions'), 'forbidden');
    interface Listed {
      readonly sessions: { id: string; human: string }[];
      readonly next: string | null;
    }
    const mine = await ask<Listed>('auditor', 'GET', '/sessions?human=rita');
    const [session] = mine.sessions;
    assert.ok(session !== undefined);
    assert.equal((await ask<Listed>('auditor', 'GET', '/sessions?human=rita&connection=other')).sessions.length, 0);
    assert.equal(
      (await ask<Listed>('auditor', 'GET', '/sessions?human=rita&to=2020-01-01T00:00:00Z')).sessions.length,
      0,
    );
    const first = await ask<Listed>('auditor', 'GET', '/sessions?limit=1');
    const second = await ask<Listed>('auditor', 'GET', `/sessions?limit=1&before=${first.next}`);
    assert.notEqual(first.sessions[0]?.id, second.sessions[0]?.id);
    assert.equal((await ask<{ id: string }>('auditor', 'GET', `/sessions/${session.id}`)).id, session.id);
    const told = await ask<Timeline>('auditor', 'GET', `/sessions/${session.id}/statements`);
    assert.deepEqual(
      told.statements.map((one) => [one.verdict, one.outcome?.status, one.outcome?.rows]),
      [
        ['allow', 'complete', 3],
        ['denied', undefined, undefined],
        ['allow', 'complete', 1],
      ],
    );
    assert.equal(told.statements[0]?.outcome?.maskedCells, 3);
    assertNoSecret(told);
    for (const who of ['designer', 'executor', 'reader', 'nobody'] as const) {
      for (const rest of ['', '/statements', '/replay'])
        assert.equal(await refused(who, 'GET', `/sessions/${session.id}${rest}`), 'forbidden', `${who} ${rest}`);
    }
  });
});

describe('a connection on which one holds no duty', () => {
  it('is as if it were not there, with its sessions', async () => {
    const issued = await ask<{ user: string; password: string }>('reader', 'POST', '/credentials', {
      connection: 'erp',
    });
    const { user, password } = issued;
    const client = await harness.connect('reader', { user, password, database: 'erp' });
    await client.query('select count(*) from plain');
    await client.end();
    const opened = (await harness.entries()).find(
      (entry) => entry['type'] === 'session.opened' && entry['connection'] === 'erp',
    );
    const session = { id: opened?.['session'] as string };
    assert.match(session.id, /^ses/);
    const { sessions } = await ask<{ sessions: { connection: string }[] }>('auditor', 'GET', '/sessions?limit=1000');
    assert.ok(sessions.length > 0 && sessions.every(({ connection }) => connection === 'crm'));
    for (const rest of ['', '/statements', '/replay'])
      assert.equal(await refused('auditor', 'GET', `/sessions/${session.id}${rest}`), 'forbidden');
    for (const who of ['designer', 'auditor', 'nobody'] as const) {
      assert.equal(await refused(who, 'GET', '/connections/erp'), 'connection_unknown');
      assert.equal(await refused(who, 'POST', '/connections/erp/test'), 'connection_unknown');
      const { connections } = await ask<{ connections: { name: string }[] }>(who, 'GET', '/connections');
      assert.deepEqual(
        connections.map(({ name }) => name),
        ['crm'],
      );
    }
  });
});

describe('connections and masking', () => {
  it('show what labels bring with them', async () => {
    const crm = await ask<{ inherits: Inheritance; target: object }>('designer', 'GET', '/connections/crm');
    assert.deepEqual(
      crm.inherits.masking.map((one) => one.name),
      ['personal'],
    );
    assert.equal(crm.inherits.workflows.find((one) => one.kind === 'job')?.workflow.approvals.count, 1);
    const health = await ask<Inheritance>('designer', 'POST', '/connections/inherits', { labels: { data: 'health' } });
    assert.equal(health.workflows.find((one) => one.kind === 'job')?.workflow.approvals.count, 2);
    assert.deepEqual(health.bindings, [{ group: 'readers', duties: ['executor'] }]);
    assert.ok(crm.inherits.bindings.some((one) => one.group === 'auditors'));
    assert.equal(await refused('designer', 'GET', '/connections/other'), 'connection_unknown');
    assert.doesNotMatch(JSON.stringify(crm), /test-role|cs_gateway/);
  });

  it('the target is asked who it is by whoever decides there', async () => {
    const reached = await ask<{ systemIdentifier: string; serverVersion: string }>(
      'nobody',
      'POST',
      '/connections/crm/test',
    );
    assert.match(reached.systemIdentifier, /^\d+$/);
    for (const who of ['designer', 'auditor'] as const)
      assert.equal(await refused(who, 'POST', '/connections/crm/test'), 'forbidden');
    assert.equal(await refused('nobody', 'POST', '/connections/other/test'), 'connection_unknown');
  });

  it("a value of one's own is masked by the real rules, and is nowhere afterwards", async () => {
    interface Tried {
      readonly masked: string | null;
      readonly by: string;
      readonly rule: string | null;
    }
    const attempt = (body: object) => ask<Tried>('designer', 'POST', '/masking/test', { type: 'text', ...body });
    const ssn = '987-65-4329';
    assert.deepEqual(await attempt({ value: ssn, connection: 'crm', column: 'customers.ssn' }), {
      masked: '[masked]',
      by: 'rule',
      rule: 'personal/columns[0]',
      mask: 'redact',
    });
    assert.equal(
      (await attempt({ value: 'a@tried.example', connection: 'crm', column: 'email' })).masked,
      '***@tried.example',
    );
    const noted = await attempt({ value: 'card 4111 1111 1111 1111', connection: 'crm', column: 'notes' });
    assert.equal(noted.by, 'detector');
    assert.doesNotMatch(noted.masked ?? '', /4111/);
    assert.equal((await attempt({ value: 'nothing', connection: 'crm', column: 'notes' })).by, 'nothing');
    assert.equal((await attempt({ value: '2001-05-17', type: 'date', mask: 'year' })).masked, '2001-01-01');
    assert.equal(
      await refused('designer', 'POST', '/masking/test', { value: 'x', type: 'text', mask: 'rot13' }),
      'input_invalid',
    );
    assert.equal(
      await refused('designer', 'POST', '/masking/test', { value: 'x', type: 'text', connection: 'other' }),
      'connection_unknown',
    );
    assert.doesNotMatch(JSON.stringify(await harness.entries()), /tried\.example|987-65-4329/);
    assert.doesNotMatch(harness.serverLog(), /tried\.example|987-65-4329/);
  });

  it('a hash is made with a key of its own: no dictionary of hashed columns can be built', async () => {
    const hashOf = async () =>
      (await ask<{ masked: string }>('designer', 'POST', '/masking/test', { value: '123', type: 'text', mask: 'hash' }))
        .masked;
    assert.notEqual(await hashOf(), await hashOf());
  });
});
