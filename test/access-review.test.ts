/** The access review and "every execution passed an approval", through the whole gateway. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { runProgram } from '../src/cli/program.ts';
import { logVerifier } from '../src/audit/checkpoint.ts';
import { readInclusionProof } from '../src/audit/proofs.ts';
import { leafHash, verifyInclusion } from '../src/audit/tlog.ts';
import type { ExecutionReport } from '../src/review/executions.ts';
import type { AccessFacts } from '../src/review/facts.ts';
import type { DecidedLine, ReviewSummary } from '../src/review/reviews.ts';
import { customersSchema } from './customers.ts';
import { startHttpSink, type HttpSink } from './http-sink.ts';
import { startHarness, type Harness, type Who } from './harness.ts';

let harness: Harness;
let store: pg.Client;
let receiver: HttpSink;

before(async () => {
  receiver = await startHttpSink();
  harness = await startHarness({
    schema: customersSchema,
    configure: (raw) => {
      raw['notifications'] = [
        { name: 'chat', kind: 'slack', url: receiver.url, events: ['request.created', 'access.revoked'] },
      ];
      raw['notificationLimits'] = { allowLoopback: true };
      // `nobody` is an administrator, `builder` an auditor besides what it is.
      (raw['bindings'] as object[]).push(
        { group: 'others', duties: ['admin'] },
        { group: 'builders', duties: ['auditor'] },
      );
    },
  });
  store = new pg.Client({ connectionString: harness.postgres.url('control') });
  await store.connect();
  // Only who was ever seen holds anything.
  for (const who of ['etl-designer', 'builder'] as const) await ok(who, 'GET', '/whoami');
});

after(async () => {
  await store?.end();
  await harness?.close();
  await receiver?.close();
});

interface Failure {
  readonly error: { readonly code: string; readonly message: string };
}

async function ok<T>(who: Who, method: string, route: string, body?: unknown): Promise<T> {
  const answer = await harness.api<T & Failure>(who, method, route, body);
  assert.ok(answer.status < 300, `${method} ${route}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

async function refusal(who: Who, method: string, route: string, body?: unknown): Promise<string> {
  const answer = await harness.api<Failure>(who, method, route, body);
  assert.ok(answer.status >= 400, `${method} ${route}: ${JSON.stringify(answer.body)}`);
  return answer.body.error.code;
}

const executions = (query = '') => ok<ExecutionReport>('auditor', 'GET', `/audit/executions${query}`);

async function decidePending(who: Who): Promise<string> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const { requests } = await ok<{ requests: { id: string }[] }>('executor', 'GET', '/requests?state=pending');
    const [request] = requests;
    if (request !== undefined) {
      await ok(who, 'POST', `/requests/${request.id}/approve`, { comment: 'fine' });
      return request.id;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('nothing is held');
}

async function runJob(name: string): Promise<{ runId: string; requestId: string }> {
  const pushed = await ok<{ request: string }>('designer', 'POST', '/jobs', {
    content: `
job: ${name}
connection: crm
source: select id, region from customers
chunk: { by: id, rows: 100 }
output: { format: ndjson, to: "file://${name}" }
`,
  });
  await ok('executor', 'POST', `/requests/${pushed.request}/approve`, { comment: 'fine' });
  const run = await ok<{ runId: string; credential: { user: string; password: string } }>(
    'executor2',
    'POST',
    '/runs',
    {
      job: name,
    },
  );
  const client = new pg.Client({
    host: '127.0.0.1',
    port: harness.app.postgresPort,
    database: 'crm',
    ...run.credential,
    ssl: { ca: harness.caPem },
  });
  await client.connect();
  for (const chunk of [0, 1]) await client.query(`select * from chunkrun."${name}" where chunk_no = ${chunk}`);
  await client.end();
  return { runId: run.runId, requestId: pushed.request };
}

describe('executions', () => {
  it('are counted, and each is proved by its places in the log', async () => {
    const before = await executions();
    assert.deepEqual([before.executions, before.exceptionCount, before.complete], [0, 0, true]);
    const { runId, requestId } = await runJob('audited');
    const designer = await harness.connect('designer');
    const [heldId] = await Promise.all([decidePending('executor'), designer.query('select id from customers')]);
    await designer.query('select id from customers limit 5');

    const report = await executions();
    assert.deepEqual([report.executions, report.approved, report.exceptions], [3, 3, []]);
    const sample = report.allowedByRule.find((one) => one.human === 'dana' && /sample/.test(one.policies));
    assert.equal(sample?.duty, 'designer');
    assert.ok(sample.statements >= 1);
    assert.deepEqual(new Set(report.page.items.map((one) => one.requestId)), new Set([requestId, heldId]));

    const entries = await harness.entries();
    const checkpoint = logVerifier(harness.app.verifierKey).verify(await (await fetchText('/log/checkpoint')).text());
    const read = async (path: string) => {
      const answer = await fetchText(`/log/${path}`);
      return answer.status === 200 ? Buffer.from(await answer.arrayBuffer()) : undefined;
    };
    for (const item of report.page.items) {
      const { proof } = item;
      const typed = [
        [proof.session, 'session.opened'],
        [proof.request, 'request.created'],
        [proof.decisions[0], 'request.decided'],
        [proof.grant, 'grant.created'],
        [proof.consumption, 'grant.consumed'],
        [proof.intent, 'statement.intent'],
        ...(item.runId === undefined ? [] : [[proof.run, 'run.created'] as const]),
      ] as const;
      for (const [place, type] of typed) {
        assert.ok(place !== undefined, type);
        const entry = entries[place.index];
        assert.equal(entry?.['type'], type);
        const audit = await readInclusionProof(read, place.index, checkpoint.size);
        const bundle = JSON.stringify(entry);
        assert.ok(
          verifyInclusion(leafHash(Buffer.from(bundle)), place.index, checkpoint.size, audit, checkpoint.root),
          type,
        );
      }
      assert.equal(entries[proof.intent.index]?.['grant'], item.grantId);
    }
    assert.equal(report.page.items.filter((one) => one.runId === runId).length, 2);
  });

  it('come in pages, and by time', async () => {
    const whole = await executions();
    const ids: string[] = [];
    let next: string | undefined = '';
    while (next !== undefined) {
      const query: string = next === '' ? '?limit=1' : `?limit=1&before=${encodeURIComponent(next)}`;
      const { page }: ExecutionReport = await executions(query);
      ids.push(...page.items.map((item) => String(item.proof.intent.index)));
      next = page.next;
    }
    assert.deepEqual(
      ids,
      whole.page.items.map((item) => String(item.proof.intent.index)),
    );
    const later = await executions(`?from=${encodeURIComponent(new Date(Date.now() + 60_000).toISOString())}`);
    assert.deepEqual([later.executions, later.page.items], [0, []]);
    assert.equal(await refusal('auditor', 'GET', '/audit/executions?before=nonsense'), 'input_invalid');
    assert.equal(await refusal('executor', 'GET', '/audit/executions'), 'forbidden');
    assert.equal(await refusal('nobody', 'GET', '/audit/executions'), 'forbidden');
  });

  it('are exceptions as soon as the store and the log disagree', async () => {
    const { page } = await executions();
    const held = page.items.find((item) => item.runId === undefined);
    const chunk = page.items.find((item) => item.runId !== undefined);
    assert.ok(held !== undefined && chunk !== undefined);
    const exceptions = async () => {
      const report = await executions();
      assert.equal(
        report.approved + report.exceptions.reduce((sum, one) => sum + one.executions, 0),
        report.executions,
      );
      return report.exceptions.flatMap(({ problems }) => problems.map(({ code }) => code));
    };
    const undo = async (change: string, back: string, values: unknown[]) => {
      await store.query(change, values);
      const found = await exceptions();
      await store.query(back, values);
      assert.deepEqual(await exceptions(), [], 'it is as it was');
      return found;
    };
    const approver = [held.requestId];
    assert.deepEqual(
      await undo(
        "update decisions set human = 'mallory' where request_id = $1",
        "update decisions set human = 'eli' where request_id = $1",
        approver,
      ),
      ['store-differs'],
    );
    assert.deepEqual(
      await undo(
        "update requests set state = 'rejected' where id = $1",
        "update requests set state = 'approved' where id = $1",
        approver,
      ),
      ['store-differs'],
    );
    // The store claims an execution that the log does not have.
    assert.deepEqual(
      await undo(
        'update chunks set delivered = true where run_id = $1 and chunk_no = 2',
        'update chunks set delivered = false where run_id = $1 and chunk_no = 2',
        [chunk.runId],
      ),
      ['store-differs'],
    );
    const { rows } = await store.query<{ digest: string }>('select digest from requests where id = $1', approver);
    await store.query(
      `insert into requests select 'req_forged', kind, state, connection, title, requester_id, requester_human, authors, job,
        job_version, session_id, digest, digest_input_json, evidence, created_at, expires_at, closed_at from requests where id = $1`,
      approver,
    );
    await store.query(
      `insert into grants (id, request_id, digest, state, created_at, expires_at, consumed_by, consumed_at)
        values ('grant_forged', 'req_forged', $1, 'consumed', now(), now(), 'eli', now())`,
      [rows[0]?.digest],
    );
    assert.deepEqual(await exceptions(), ['store-differs']);
    await store.query("delete from grants where id = 'grant_forged'");
    await store.query("delete from requests where id = 'req_forged'");
  });
});

describe('an access review', () => {
  let review: string;
  const lines = (query = '') =>
    ok<{ lines: DecidedLine[] }>('auditor', 'GET', `/access/reviews/${review}/lines?limit=1000${query}`).then(
      (answer) => answer.lines,
    );
  const decide = (line: string | undefined, verdict: string, comment = '') => ({
    decisions: [{ line, verdict, comment }],
  });

  it('is for auditors and administrators', async () => {
    for (const who of ['designer', 'executor', 'reader'] as const) {
      assert.equal(await refusal(who, 'GET', '/access/holdings'), 'forbidden');
      assert.equal(await refusal(who, 'POST', '/access/reviews'), 'forbidden');
    }
    const { total } = await ok<{ total: number }>('nobody', 'GET', '/access/holdings');
    assert.ok(total > 5);
  });

  it('says who holds what, from where, and when it was last used', async () => {
    const { holdings } = await ok<{ holdings: DecidedLine[] }>('auditor', 'GET', '/access/holdings?limit=1000');
    const line = (principal: string, duty: string) =>
      holdings.find((one) => one.principal === principal && one.duty === duty);
    assert.deepEqual(line('executor', 'approver')?.groups, ['chunk-executors']);
    assert.equal(line('executor', 'approver')?.lastUse?.kind, 'decision');
    assert.equal(line('executor2', 'executor')?.lastUse?.kind, 'session');
    assert.equal(line('etl-designer', 'designer')?.human, 'dana');
    assert.equal(line('etl-designer', 'designer')?.kind, 'service');
    assert.equal(line('etl-designer', 'designer')?.lastUse, undefined);
    assert.ok(
      holdings.every((one) => !one.unused),
      'held since moments ago',
    );
    const old =
      "insert into duty_holdings select unnest($1::text[]), now() - interval '91 days' on conflict (line) do update set since = excluded.since";
    await store.query(old, [holdings.map((one) => one.line)]);
    const { holdings: unused } = await ok<{ holdings: DecidedLine[] }>(
      'auditor',
      'GET',
      '/access/holdings?unused=true',
    );
    assert.ok(unused.some((one) => one.principal === 'etl-designer'));
    assert.ok(!unused.some((one) => one.principal === 'executor' && one.duty === 'approver'));
  });

  it('finds who could do too much, and what runs without an approval', async () => {
    const facts = await ok<AccessFacts>('auditor', 'GET', '/access/facts');
    assert.deepEqual(
      facts.alone.map(({ reason, humans }) => [reason, humans]),
      [['audits-own-work', ['bela']]],
    );
    const job = facts.pairs.filter((one) => one.what === 'job');
    // dana writes; eli or erin approves and executes.
    assert.equal(
      job.reduce((sum, one) => sum + one.pairs, 0),
      2,
    );
    const ddl = facts.unapproved.find((one) => one.action === 'ddl');
    assert.deepEqual(ddl?.humans, ['bela']);
    assert.ok(facts.unapproved.some((one) => one.action === 'read' && one.humans.includes('rita')));
    assert.deepEqual([facts.executions.executions, facts.executions.exceptionCount], [3, 0]);
    assert.ok(facts.accounts.some((one) => one.check === 'account-writes' && /cs_designer/.test(one.where)));
  });

  it('finds break-glass that nobody has confirmed', async () => {
    const glass = { human: 'dana', at: '2026-01-01T00:00:00Z', reviewers: 2 };
    const { rows } = await store.query<{ id: string }>("select id from requests where state = 'approved' limit 1");
    const id = rows[0]?.id;
    await store.query('update requests set break_glass = $2, review_due_at = now() where id = $1', [
      id,
      JSON.stringify(glass),
    ]);
    const { breakGlass } = await ok<AccessFacts>('auditor', 'GET', '/access/facts');
    const [{ dueAt, ...use } = { dueAt: '' }] = breakGlass ?? [];
    assert.ok(Math.abs(Date.parse(dueAt) - Date.now()) < 60_000);
    // dana asked, one of eli and erin approved it, and whoever used it ran it: the others who review at all may review it.
    const detail = await ok<{ decisions: { human: string }[]; grant: { consumedBy: string } }>(
      'auditor',
      'GET',
      `/requests/${id}`,
    );
    const owners: Record<string, string> = { designer: 'dana', executor: 'eli', executor2: 'erin' };
    const parts = [...detail.decisions.map(({ human }) => human), owners[detail.grant.consumedBy] ?? ''];
    assert.ok(detail.decisions.length > 0 && !parts.includes(''));
    const mayReview = ['ana', 'bela', 'eli', 'erin', 'nora'].filter((human) => !parts.includes(human));
    assert.deepEqual(use, {
      request: id,
      connection: 'crm',
      human: 'dana',
      at: glass.at,
      reviewsGiven: 0,
      reviewsNeeded: 2,
      mayReview,
    });
    const { findings } = await ok<{ findings: { check: string }[] }>('nobody', 'POST', '/doctor', {});
    assert.ok(findings.some(({ check }) => check === 'break-glass-unreviewed'));
    await store.query('update requests set break_glass = null, review_due_at = null where id = $1', [id]);
  });

  it('takes a word of somebody else on each line, and nobody’s on their own', async () => {
    ({ id: review } = await ok<ReviewSummary>('auditor', 'POST', '/access/reviews'));
    const all = await lines();
    const own = all.find((one) => one.principal === 'auditor');
    const other = all.find((one) => one.principal === 'etl-designer');
    const route = `/access/reviews/${review}/decisions`;
    assert.equal(await refusal('auditor', 'POST', route, decide(own?.line, 'keep')), 'duty_conflict');
    assert.equal(
      await refusal('nobody', 'POST', route, decide(all.find((one) => one.principal === 'nobody')?.line, 'keep')),
      'duty_conflict',
    );
    assert.equal(await refusal('executor', 'POST', route, decide(own?.line, 'keep')), 'forbidden');
    assert.equal(await refusal('auditor', 'POST', route, decide(other?.line, 'revoke')), 'input_invalid');
    assert.equal(await refusal('auditor', 'POST', route, decide('no-such-line', 'keep')), 'not_found');
    // All or none: the second is the reviewer's own.
    const both = {
      decisions: [
        { line: other?.line, verdict: 'keep' },
        { line: own?.line, verdict: 'keep' },
      ],
    };
    assert.equal(await refusal('auditor', 'POST', route, both), 'duty_conflict');
    assert.ok((await lines()).every((one) => one.verdict === undefined));

    await ok('auditor', 'POST', route, decide(other?.line, 'revoke', 'nobody uses it'));
    await ok('nobody', 'POST', route, decide(own?.line, 'keep'));
    const decided = await lines();
    const revoked = decided.find((one) => one.line === other?.line);
    assert.equal(revoked?.reviewer, 'auditor');
    assert.match(revoked.remedy ?? '', /take etl-designer out of group "chunk-designers"/);
    const logged = (await harness.entries()).filter((entry) => entry['type'] === 'review.decided');
    assert.deepEqual(
      logged.map((entry) => [entry['holder'], entry['verdict'], entry['principal']]),
      [
        ['etl-designer', 'revoke', 'auditor'],
        ['auditor', 'keep', 'nobody'],
      ],
    );
    const undecided = await lines('&undecided=true');
    assert.equal(undecided.length, decided.length - 2);
    assert.equal(await refusal('auditor', 'POST', `/access/reviews/${review}/end`, {}), 'input_invalid');
  });

  it('ends for good, and can be read as text', async () => {
    await ok('auditor', 'POST', `/access/reviews/${review}/end`, { incomplete: true });
    const [line] = await lines();
    const route = `/access/reviews/${review}/decisions`;
    assert.equal(await refusal('auditor', 'POST', route, decide(line?.line, 'keep')), 'review_closed');
    assert.equal(
      await refusal('auditor', 'POST', `/access/reviews/${review}/end`, { incomplete: true }),
      'review_closed',
    );
    const text = await (await fetchText(`/access/reviews/${review}/report?format=text`)).text();
    assert.match(text, /3 executions under a grant, 3 of them passed an approval, 0 did not/);
    assert.match(text, /revoke by auditor at .*: nobody uses it/);
    assert.match(text, /to do: take etl-designer out of group "chunk-designers"/);
    const report = await ok<{ counts: { revoked: number }; lines: unknown[] }>(
      'nobody',
      'GET',
      `/access/reviews/${review}/report`,
    );
    assert.equal(report.counts.revoked, 1);
    assert.equal(await refusal('auditor', 'GET', '/access/reviews/review_none'), 'review_unknown');
  });

  it('shows in the next one whether a revocation happened', async () => {
    const still = await ok<ReviewSummary>('auditor', 'POST', '/access/reviews');
    const first = await ok<{ facts: AccessFacts }>('auditor', 'GET', `/access/reviews/${still.id}`);
    assert.deepEqual(
      first.facts.followUps.map(({ principal, state, review: of }) => [principal, state, of]),
      [['etl-designer', 'still-held', review]],
    );
    await store.query(`update principals set groups = '[]' where id = 'etl-designer'`);
    const next = await ok<ReviewSummary>('auditor', 'POST', '/access/reviews');
    const second = await ok<{ facts: AccessFacts }>('auditor', 'GET', `/access/reviews/${next.id}`);
    assert.deepEqual(
      second.facts.followUps.map(({ state }) => state),
      ['done'],
    );
  });
});

describe('the command line', () => {
  /** Runs a command as somebody. @returns what it prints, and its exit code */
  async function command(who: Who, ...words: string[]): Promise<{ out: string; code: number }> {
    const { COUNTERSIGN_TOKEN: before } = process.env;
    process.env['COUNTERSIGN_TOKEN'] = await harness.token(who);
    const write = process.stdout.write.bind(process.stdout);
    let out = '';
    // What the test runner says goes the same way, as bytes.
    process.stdout.write = (text: string | Uint8Array) => {
      if (typeof text !== 'string') return write(text);
      out += text;
      return true;
    };
    try {
      const none = () => Promise.reject(new Error('not here'));
      const code = await runProgram(['--server', harness.app.apiUrl, ...words], {
        version: '0',
        serve: none,
        doctor: none,
      });
      // With CI set, colours are printed wherever it goes.
      return { out: stripVTControlCharacters(out), code };
    } finally {
      process.stdout.write = write;
      process.exitCode = undefined;
      if (before === undefined) delete process.env['COUNTERSIGN_TOKEN'];
      else process.env['COUNTERSIGN_TOKEN'] = before;
    }
  }

  it('reviews access', async () => {
    const now = await command('auditor', 'access', 'review');
    assert.match(now.out, /every execution passed an approval: 3 of 3/);
    assert.match(now.out, /2 pairs +designer and approver\+executor, a job on crm/);
    const started = JSON.parse((await command('auditor', '--json', 'access', 'review', 'start')).out) as ReviewSummary;
    const shown = JSON.parse((await command('auditor', '--json', 'access', 'review', 'show', started.id)).out) as {
      lines: DecidedLine[];
    };
    const lines = shown.lines.filter((one) => one.human !== 'ana').map((one) => one.line);
    const decided = await command('auditor', 'access', 'review', 'decide', started.id, 'keep', ...lines);
    assert.match(decided.out, new RegExp(`${lines.length} kept, 0 revoked, 1 not decided`));
    assert.equal((await command('auditor', 'access', 'review', 'end', started.id)).code, 2);
    assert.equal((await command('auditor', 'access', 'review', 'end', started.id, '--incomplete')).code, 0);
    assert.match((await command('auditor', 'access', 'review', 'list')).out, new RegExp(started.id));
    const text = path.join(harness.home, 'review.txt');
    await command('auditor', 'access', 'review', 'export', started.id, '--out', text);
    assert.match(await readFile(text, 'utf8'), /^ACCESS REVIEW review_/);
  });

  it('runs doctor on the running gateway, for administrators, with an exit code', async () => {
    const found = await command('nobody', '--json', 'doctor');
    const { findings, worst } = JSON.parse(found.out) as { findings: { check: string }[]; worst: string };
    assert.ok(findings.some(({ check }) => check === 'account-writes'));
    assert.equal(worst, 'high');
    assert.equal(found.code, 11);
    assert.equal((await command('auditor', 'doctor')).code, 3);
  });

  it('tries a receiver of notifications', async () => {
    assert.match((await command('nobody', 'notifications', 'test', 'chat')).out, /sent a test message to chat/);
    receiver.answer = 500;
    assert.equal((await command('nobody', 'notifications', 'test', 'chat')).code, 5);
    receiver.answer = 200;
    assert.match((await command('nobody', 'notifications')).out, /chat +slack +request\.created, access\.revoked/);
    assert.equal((await command('auditor', 'notifications')).code, 3);
  });
});

describe('a receiver', () => {
  it('hears of a held statement, with its place on the page and without its text', async () => {
    receiver.posts.splice(0);
    const designer = await harness.connect('designer');
    const [id] = await Promise.all([
      decidePending('executor'),
      designer.query("select id from customers where region = 'EU-canary'"),
    ]);
    for (let tries = 0; tries < 200 && !receiver.posts.some(({ body }) => body.includes(id)); tries++) await sleep(25);
    const [post] = receiver.posts.filter(({ body }) => body.includes(id));
    assert.ok(post !== undefined);
    assert.ok(post.body.includes(`${harness.app.apiUrl}/requests/${id}`));
    assert.ok(!post.body.includes('canary') && !post.body.includes('select id'));
  });
});

async function fetchText(route: string): Promise<Response> {
  return fetch(`${harness.app.apiUrl}/api/v1${route}`, {
    headers: { authorization: `Bearer ${await harness.token('auditor')}` },
  });
}
