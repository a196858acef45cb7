/** Rules applied to a running gateway: at once or by a second person, on every node, and after a restart. Promise P3. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { pino } from 'pino';
import { startApp, type App } from '../src/app.ts';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness, type Who } from './harness.ts';

let harness: Harness;
let second: App | undefined;

before(async () => {
  harness = await startHarness({ schema: customersSchema });
});

after(async () => {
  await second?.close();
  await harness?.close();
});

interface Answer {
  readonly outcome: string;
  readonly effect: string;
  readonly from: { readonly version: number; readonly digest: string };
  readonly changes: readonly { readonly effect: string; readonly what: string }[];
  readonly version?: number;
  readonly request?: string;
  readonly warnings: readonly string[];
  readonly error?: { readonly code: string; readonly message: string };
}

function apply(who: Who, text: string, more: { dryRun?: boolean; base?: string; name?: string } = {}) {
  const { name = 'rules.yaml', ...rest } = more;
  return harness.api<Answer>(who, 'POST', '/policies', { files: [{ name, text }], message: 'a test', ...rest });
}

interface Decided {
  readonly state: string;
  readonly grant?: { readonly state: string; readonly voidReason?: string };
  readonly error?: { readonly code: string; readonly message: string };
}

function approve(who: Who, request: string | undefined) {
  return harness.api<Decided>(who, 'POST', `/requests/${request}/approve`, { comment: 'fine' });
}

async function rules<T>(part: string): Promise<T> {
  const { body } = await harness.api<{ rules: Record<string, unknown> }>('auditor', 'GET', '/policies');
  return body.rules[part] as T;
}

/** The bindings in force and one more. */
async function withBinding(more: object): Promise<string> {
  return JSON.stringify({ bindings: [...(await rules<object[]>('bindings')), more] });
}

async function cli(who: Who, ...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const binary = fileURLToPath(new URL('../src/bin.ts', import.meta.url));
  const env = { ...process.env, COUNTERSIGN_TOKEN: await harness.token(who), NO_COLOR: '1' };
  return new Promise((resolve) => {
    execFile(process.execPath, [binary, '--server', harness.app.apiUrl, ...args], { env }, (error, out, err) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, out, err });
    });
  });
}

it('what only narrows is applied at once, and a live session sees it with its next statement', async () => {
  const reader = await harness.connect('reader');
  const region = async () =>
    (await reader.query<{ region: string }>('select region from customers limit 1')).rows[0]?.region;
  assert.doesNotMatch((await region()) ?? '', /masked/);
  const masking = await rules<{ name: string; columns: object[] }[]>('masking');
  const more = masking.map((template) => ({
    ...template,
    columns: [...template.columns, { match: 'region', mask: 'redact' }],
  }));
  const text = JSON.stringify({ masking: more });
  const seen = await apply('executor', text, { dryRun: true });
  assert.deepEqual(
    [seen.status, seen.body.outcome, seen.body.effect],
    [200, 'dry-run', 'narrower'],
    JSON.stringify(seen.body),
  );
  assert.doesNotMatch((await region()) ?? '', /masked/);
  const done = await apply('executor', text, { base: seen.body.from.digest });
  assert.deepEqual([done.status, done.body.outcome, done.body.version], [200, 'applied', 2], JSON.stringify(done.body));
  assert.equal(await region(), '[masked]');
  assert.equal((await apply('executor', text)).body.outcome, 'unchanged');
  const stale = await apply('executor', 'workflows: []', { base: seen.body.from.digest });
  assert.equal(stale.body.error?.code, 'policy_conflict');
  const entries = await harness.entries();
  const applied = entries.find((entry) => entry['type'] === 'policy.applied');
  assert.deepEqual([applied?.['version'], applied?.['human'], applied?.['message']], [2, 'eli', 'a test']);
});

it('what widens is a request: its author cannot decide it, somebody else can, and only then it counts', async () => {
  const text = await withBinding({ group: 'others', duties: ['approver'] });
  for (const rules of [text, 'workflows: [{ strict: true }]']) {
    assert.equal((await apply('designer', rules)).body.error?.code, 'duty_missing');
  }
  const asked = await apply('executor', text);
  assert.deepEqual([asked.status, asked.body.outcome], [202, 'requested'], JSON.stringify(asked.body));
  const duties = async () =>
    (await harness.api<{ duties: { crm: string[] } }>('nobody', 'GET', '/whoami')).body.duties.crm;
  assert.deepEqual(await duties(), []);
  const own = await approve('executor', asked.body.request);
  assert.equal(own.body.error?.code, 'duty_conflict');
  for (const who of ['designer', 'auditor', 'nobody'] as const) {
    assert.equal((await approve(who, asked.body.request)).status, 403, who);
  }
  const detail = await harness.api<{
    digest: string;
    digestInputJson: string;
    you: { may: string[]; reasons: { action: string; reason: string }[] };
    steps: { state: string; needed: number }[];
  }>('executor', 'GET', `/requests/${asked.body.request}`);
  assert.deepEqual(detail.body.you.may, ['withdraw']);
  assert.match(detail.body.you.reasons.find(({ action }) => action === 'approve')?.reason ?? '', /authored/);
  assert.deepEqual(
    detail.body.steps.map(({ state, needed }) => [state, needed]),
    [['open', 1]],
  );
  assert.match(detail.body.digestInputJson, /"changes":\[/);
  const inbox = async (who: Who) =>
    (await harness.api<{ requests: { id: string }[] }>(who, 'GET', '/requests?inbox=1')).body.requests.map(
      ({ id }) => id,
    );
  assert.deepEqual(await inbox('executor'), []);
  assert.deepEqual(await inbox('executor2'), [asked.body.request]);
  const approved = await approve('executor2', asked.body.request);
  assert.deepEqual(
    [approved.body.state, approved.body.grant?.state],
    ['approved', 'consumed'],
    JSON.stringify(approved.body),
  );
  assert.deepEqual(await duties(), ['approver']);
  const run = await harness.api<Decided>('executor', 'POST', '/runs', { job: 'none', request: asked.body.request });
  assert.ok(run.status >= 400);
  const entries = await harness.entries();
  const about = entries.filter((entry) => entry['request'] === asked.body.request).map((entry) => entry['type']);
  assert.deepEqual(about, [
    'request.created',
    'request.refused',
    'request.refused',
    'request.refused',
    'request.refused',
    'request.decided',
    'grant.created',
    'policy.applied',
    'grant.consumed',
    'request.closed',
  ]);
});

it('a session ends when its principal loses a duty of it; others go on', async () => {
  const [reader, designer] = [await harness.connect('reader'), await harness.connect('designer')];
  await reader.query('select 1');
  const ended = new Promise<pg.DatabaseError>((resolve) =>
    reader.on('error', (error) => resolve(error as pg.DatabaseError)),
  );
  const bindings = await rules<{ group: string; duties: string[] }[]>('bindings');
  const less = await apply(
    'executor',
    JSON.stringify({ bindings: bindings.filter(({ group }) => group !== 'readers') }),
  );
  assert.equal(less.body.outcome, 'applied', JSON.stringify(less.body));
  const late = new Promise<never>((_resolve, reject) =>
    setTimeout(() => reject(new Error('the session goes on')), 10_000).unref(),
  );
  const error = await Promise.race([ended, late]);
  assert.match(error.message, /do not hold the duty executor/);
  assert.equal(error.code, '28000');
  await designer.query('select 1');
  const back = await apply('executor', JSON.stringify({ bindings }));
  assert.equal((await approve('executor2', back.body.request)).body.grant?.state, 'consumed');
});

it('an approval comes to nothing when other rules are in force by then', async () => {
  const wide = await apply('executor', await withBinding({ group: 'others', duties: ['executor'] }));
  assert.equal(wide.body.outcome, 'requested');
  const narrow = await apply('executor', 'workflows: [{ name: twice, approvals: { count: 2 } }]');
  assert.equal(narrow.body.outcome, 'applied', JSON.stringify(narrow.body));
  // The rules of now: two humans.
  assert.equal((await approve('executor2', wide.body.request)).body.state, 'pending');
  const decided = await approve('nobody', wide.body.request);
  assert.equal(decided.body.grant?.state, 'void', JSON.stringify(decided.body));
  assert.match(decided.body.grant?.voidReason ?? '', /other rules/);
  assert.equal((await rules<{ group: string }[]>('bindings')).filter(({ group }) => group === 'others').length, 1);
});

it('mistakes have a place, and nobody is locked out', async () => {
  const wrong = await apply('executor', 'bindings:\n  - { group: g, duties: [king] }');
  assert.equal(wrong.status, 422);
  assert.match(wrong.body.error?.message ?? '', /rules\.yaml:2:\d+: bindings\.0\.duties\.0/);
  const cedar = await apply('executor', '\npermit (principal, action == Action::"fly", resource);', {
    name: 'x.cedar',
  });
  assert.match(cedar.body.error?.message ?? '', /x\.cedar:2/);
  const locked = await apply('executor', 'bindings: [{ group: readers, duties: [executor] }]');
  assert.match(locked.body.error?.message ?? '', /nobody could decide/);
});

it('another node takes what is applied within moments; its own file, although wider, does not count after a restart', async () => {
  let serverLog = '';
  const { configuration } = harness;
  const bindings = [...configuration.bindings, { group: 'others', duties: ['admin' as const], labels: {} }];
  second = await startApp({
    configuration: { ...configuration, node: 'second', dataDirectory: path.join(harness.home, 'second'), bindings },
    version: '0.0.0-test',
    logger: pino({ level: 'trace' }, { write: (line: string) => void (serverLog += line) }),
  });
  const ask = async <T>(who: Who, route: string) => {
    const headers = { authorization: `Bearer ${await harness.token(who)}` };
    return (await (await fetch(`${second?.apiUrl}/api/v1${route}`, { headers })).json()) as T;
  };
  interface Status {
    readonly version: { readonly number: number };
    readonly configurationFile: { readonly differs: boolean; readonly changes: { readonly what: string }[] };
    readonly rules: { readonly workflows: { readonly name: string }[] };
  }
  const status = await ask<Status>('auditor', '/policies');
  assert.deepEqual([status.version.number, status.configurationFile.differs], [6, true]);
  assert.match(JSON.stringify(status.configurationFile.changes), /others gets the duty admin/);
  assert.match(serverLog, /the file differs/);
  const { duties } = await ask<{ duties: { crm: string[] } }>('nobody', '/whoami');
  assert.deepEqual(duties.crm, ['approver']);
  second.reload({ ...configuration, bindings });
  assert.deepEqual((await ask<{ duties: { crm: string[] } }>('nobody', '/whoami')).duties.crm, ['approver']);
  // A third workflow, applied at the first node.
  const more = [
    { name: 'thrice', match: { kinds: ['session'] }, approvals: { count: 3 } },
    ...(await rules<object[]>('workflows')),
  ];
  assert.equal((await apply('executor', JSON.stringify({ workflows: more }))).body.outcome, 'applied');
  const names = async () => (await ask<Status>('auditor', '/policies')).rules.workflows.map(({ name }) => name);
  for (let tries = 0; tries < 100 && (await names()).length < 2; tries++)
    await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(await names(), ['thrice', 'twice']);
});

it('the command line shows the difference first, applies a folder, and shows versions', async () => {
  const folder = path.join(harness.home, 'rules');
  await mkdir(folder);
  await writeFile(
    path.join(folder, 'a.cedar'),
    '@id("no-copy")\nforbid (principal, action == Action::"copy-in", resource);',
  );
  await writeFile(
    path.join(folder, 'reader.cedar'),
    (await rules<{ files: { text: string }[] }>('policies')).files[0]?.text ?? '',
  );
  const dry = await cli('executor', 'apply', folder, '--dry-run');
  assert.match(dry.out, /- narrower policies: forbid added: a\.cedar\/no-copy\n.*needs nobody else/s, dry.err);
  const done = await cli('executor', 'apply', folder, '-m', 'no more COPY');
  assert.match(done.out, /version 8 is in force/, done.err);
  const history = await cli('auditor', '--json', 'policies', 'history');
  const { versions } = JSON.parse(history.out) as { versions: { number: number; message: string }[] };
  assert.deepEqual(
    versions.map(({ number }) => number),
    [8, 7, 6, 5, 4, 3, 2, 1],
  );
  assert.equal(versions[0]?.message, 'no more COPY');
  const difference = await cli('auditor', 'policies', 'diff', '8', '7');
  assert.match(difference.out, /\+ wider {4}policies: forbid removed: a\.cedar\/no-copy/);
  const wide = await cli('executor', '--json', 'apply', path.join(folder, 'reader.cedar'));
  const { request } = JSON.parse(wide.out) as { request: string };
  const shown = await cli('executor2', 'requests', 'show', request);
  assert.match(shown.out, /forbid removed: a\.cedar\/no-copy[^]*/);
  assert.match(shown.out, /you +may approve this/);
  const copy = await harness.connect('reader');
  await assert.rejects(copy.query('copy plain from stdin'), pg.DatabaseError);
});

it('break-glass: fewer before, everybody is told, others review afterwards; by API and command line', async () => {
  // In force: everything takes two humans. What widens is decided by two others.
  const workflow = {
    name: 'jobs',
    match: { kinds: ['job'] },
    approvals: { count: 2 },
    breakGlass: { reviewWithinMs: 3_600_000 },
  };
  const asked = await apply('executor', JSON.stringify({ workflows: [workflow] }));
  assert.equal(asked.body.outcome, 'requested', JSON.stringify(asked.body));
  await approve('executor2', asked.body.request);
  assert.equal((await approve('nobody', asked.body.request)).body.grant?.state, 'consumed');
  const pushed = await harness.api<{ request: string }>('designer', 'POST', '/jobs', {
    content:
      'job: urgent\nconnection: crm\nsource: select id, region from customers\nchunk: { by: id, rows: 100 }\noutput: { format: ndjson, to: "file://urgent" }\n',
  });
  const { request } = pushed.body;
  assert.equal((await approve('executor', request)).body.state, 'pending');
  const other = await harness.api<Decided>('executor', 'POST', `/requests/${request}/break-glass`, { reason: 'mine' });
  assert.equal(other.body.error?.code, 'break_glass_refused');
  const broken = await cli('designer', 'requests', 'break-glass', request, '-m', 'payroll is today');
  assert.match(broken.out, /somebody else still has to approve, and 2 review it/, broken.err);
  assert.equal((await approve('designer', request)).body.error?.code, 'duty_conflict');
  assert.equal((await approve('executor2', request)).body.state, 'approved');
  const shown = await cli('auditor', 'requests', 'show', request);
  assert.match(shown.out, /break-glass +dana at .*: payroll is today/, shown.err);
  for (const who of ['designer', 'executor', 'executor2'] as const) {
    const own = await harness.api<Decided>(who, 'POST', `/requests/${request}/review`, { verdict: 'ok' });
    assert.equal(own.body.error?.code, 'break_glass_refused', who);
  }
  assert.match((await cli('auditor', 'requests', 'review', request, '--ok')).out, /not confirmed yet/);
  assert.match((await cli('nobody', 'requests', 'review', request, '--ok')).out, /: confirmed/);
  const types = (await harness.entries()).filter((entry) => entry['request'] === request).map((entry) => entry['type']);
  for (const type of ['request.break-glass', 'request.reviewed', 'grant.created'])
    assert.ok(types.includes(type), type);
});
