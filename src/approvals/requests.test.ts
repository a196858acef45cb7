import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  approvalBench,
  approver,
  author,
  designer,
  everyDuty,
  jobInput,
  person,
  serviceOf,
  statementInput,
  type Services,
} from '../../test/approval-fixtures.ts';
import { CountersignError, type ErrorCode } from '../errors.ts';
import type { Principal } from '../identity/principal.ts';
import { grantDigest } from './digest.ts';
import { defaultWorkflow } from './workflow.ts';

const { closeServices, database, start } = await approvalBench();

const [dora, ann, bob, cy] = [person('dora'), person('ann'), person('bob'), person('cy')];
const two = [{ ...defaultWorkflow, approvals: { count: 2 } }];

function askJob({ requests }: Services, requester: Principal = dora, authors = [author('dora', 'pusher')]) {
  const input = jobInput({}, authors);
  return requests.create({
    requester,
    duties: designer,
    connection: 'crm',
    title: 'export version 1',
    input,
    jobVersion: 1,
  });
}

function askStatement({ requests }: Services, requester: Principal = dora, more: { expiresMs?: number } = {}) {
  const input = statementInput();
  const ask = { requester, duties: designer, connection: 'crm', title: 'SELECT', input, sessionId: 'ses_1' };
  return requests.create({ ...ask, ...more });
}

function fails(promise: Promise<unknown>, code: ErrorCode, message: RegExp = /./): Promise<void> {
  return assert.rejects(promise, (error) => {
    assert(error instanceof CountersignError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

function types({ events }: Services): string[] {
  return events.map((event) => event.type);
}

void test('a request is approved once: grant, states, times and events fit together', async () => {
  const services = start();
  const { requests, clock } = services;
  const created = await askJob(services);
  assert.deepEqual((await requests.get(created.id)).request, created);
  clock.time += 1_000;
  const { request, grant } = await requests.decide(created.id, ann, approver, 'approve', ' looks right ');
  assert.equal(request.state, 'approved');
  assert.deepEqual([grant?.state, grant?.digest], ['open', grantDigest(jobInput())]);
  assert.equal(grant?.expiresAt.getTime(), clock.time + 3_600_000);
  const detail = await requests.get(created.id);
  assert.deepEqual([detail.request, detail.grant], [request, grant]);
  assert.deepEqual(
    detail.decisions.map(({ human, comment }) => [human, comment]),
    [['ann', 'looks right']],
  );
  assert.deepEqual([detail.approvalsNeeded, detail.approvalsGiven], [1, 1]);
  assert.deepEqual(types(services), ['request.created', 'request.decided', 'grant.created', 'request.closed']);
});

void test('closed is closed: no decision, withdrawal or expiry follows another', async () => {
  const services = start();
  const { requests, clock } = services;
  const close: Record<string, (id: string) => Promise<unknown>> = {
    approved: (id) => requests.decide(id, ann, approver, 'approve', ''),
    rejected: (id) => requests.decide(id, ann, approver, 'reject', 'no'),
    withdrawn: (id) => requests.withdraw(id, { principal: dora, duties: designer }),
    expired: async () => {
      clock.time += 25 * 3_600_000;
      await requests.expireDue();
    },
  };
  for (const [state, how] of Object.entries(close)) {
    const { id } = await askJob(services);
    await how(id);
    assert.equal((await requests.get(id)).request.state, state);
    await fails(requests.decide(id, ann, approver, 'reject', 'no'), 'request_not_pending', new RegExp(state));
    await fails(requests.decide(id, bob, approver, 'approve', ''), 'request_not_pending', new RegExp(state));
    await fails(requests.decide(id, bob, approver, 'reject', 'no'), 'request_not_pending', new RegExp(state));
    await fails(requests.withdraw(id, { principal: dora, duties: designer }), 'request_not_pending', new RegExp(state));
    clock.time += 25 * 3_600_000;
    assert.deepEqual(await requests.expireDue(), []);
    const detail = await requests.get(id);
    assert.equal(detail.request.state, state);
    assert.equal(detail.grant !== undefined, state === 'approved');
  }
  await fails(requests.decide('req_none', ann, approver, 'approve', ''), 'request_unknown');
});

void test('a decision after the time is up closes the request, whether or not somebody looked before', async () => {
  const services = start();
  const { id, expiresAt } = await askStatement(services, dora, { expiresMs: 5_000 });
  services.clock.time = expiresAt.getTime();
  await fails(services.requests.decide(id, ann, approver, 'approve', ''), 'request_not_pending', /expired/);
  const detail = await services.requests.get(id);
  assert.deepEqual([detail.request.state, detail.grant, detail.decisions], ['expired', undefined, []]);
  assert.equal(services.events.at(-1)?.type, 'request.closed');
});

void test('two approvals are two humans: a service account, a second group or another spelling is nobody new', async () => {
  const services = start({ workflows: two });
  const { requests } = services;
  const { id } = await askJob(services);
  assert.equal((await requests.decide(id, ann, approver, 'approve', '')).grant, undefined);
  for (const again of [
    ann,
    serviceOf('ann', 'etl-ann'),
    person('ann', ['second-group']),
    { ...person('ANN '), id: 'ann2' },
  ]) {
    await fails(requests.decide(id, again, everyDuty, 'approve', ''), 'duty_conflict', /already decided/);
    await fails(requests.decide(id, again, everyDuty, 'reject', 'changed my mind'), 'duty_conflict');
  }
  assert.equal((await requests.get(id)).approvalsGiven, 1);
  assert.equal((await requests.get(id)).request.state, 'pending');
  assert.equal(
    (await requests.decide(id, serviceOf('bob', 'etl-bob'), approver, 'approve', '')).request.state,
    'approved',
  );
});

void test('one rejection closes, also after an approval, and needs a comment', async () => {
  const services = start({ workflows: two });
  const { id } = await askJob(services);
  await services.requests.decide(id, ann, approver, 'approve', '');
  await fails(services.requests.decide(id, bob, approver, 'reject', '  '), 'input_invalid', /comment/);
  const { request, grant } = await services.requests.decide(id, bob, approver, 'reject', 'too much');
  assert.deepEqual([request.state, grant], ['rejected', undefined]);
});

void test('refused: author, requester, their service accounts, wrong duty, wrong group; each refusal is an event', async () => {
  const services = start({ workflows: [{ ...defaultWorkflow, approvals: { count: 1, groups: ['finance'] } }] });
  const { requests, events } = services;
  const { id } = await askJob(services, cy, [author('dora', 'pusher'), author('bob', 'co-author')]);
  for (const [who, code] of [
    [dora, 'duty_conflict'],
    [serviceOf('bob', 'etl', ['finance']), 'duty_conflict'],
    [person('cy', ['finance']), 'duty_conflict'],
    [ann, 'duty_missing'],
  ] as const) {
    await fails(requests.decide(id, who, everyDuty, 'approve', ''), code);
    const last = events.at(-1);
    assert.deepEqual(
      [last?.type, last?.['request'], last?.['human'], last?.['code']],
      ['request.refused', id, who.human, code],
    );
  }
  await fails(
    requests.decide(id, person('ann', ['finance']), ['admin', 'executor', 'designer'], 'approve', ''),
    'duty_missing',
  );
  assert.equal((await requests.get(id)).decisions.length, 0);
  assert.equal(
    (await requests.decide(id, person('ann', ['finance']), approver, 'approve', '')).request.state,
    'approved',
  );
});

void test('only the requester withdraws; asking needs a duty, a session or a version, and a known connection', async () => {
  const services = start();
  const { requests } = services;
  const { id } = await askJob(services);
  await fails(requests.withdraw(id, { principal: ann, duties: everyDuty }), 'forbidden');
  assert.equal((await requests.withdraw(id, { principal: serviceOf('dora', 'etl'), duties: [] })).state, 'withdrawn');
  const ask = { requester: dora, duties: designer, connection: 'crm', title: 't', input: jobInput(), jobVersion: 1 };
  await fails(requests.create({ ...ask, duties: ['admin', 'auditor', 'approver'] }), 'duty_missing');
  await fails(requests.create({ ...ask, connection: 'none' }), 'connection_unknown');
  await fails(requests.create({ ...ask, jobVersion: undefined }), 'input_invalid');
  await fails(requests.create({ ...ask, input: jobInput({}, []) }), 'input_invalid');
  await fails(requests.create({ ...ask, input: statementInput() }), 'input_invalid');
  await fails(requests.create({ ...ask, input: statementInput(), jobVersion: undefined }), 'input_invalid', /session/);
});

void test('fail closed: without the log nothing is asked, decided, granted, withdrawn or expired', async () => {
  const services = start();
  const { requests, clock } = services;
  const { id } = await askJob(services);
  const count = (await requests.list({ limit: 1000 })).length;
  services.logFailure = new CountersignError('log_unavailable', 'the disk is full');
  await fails(askJob(services), 'log_unavailable');
  await fails(requests.decide(id, ann, approver, 'approve', ''), 'log_unavailable');
  await fails(requests.decide(id, ann, approver, 'reject', 'x'), 'log_unavailable');
  await fails(requests.withdraw(id, { reason: 'x' }), 'log_unavailable');
  const before = clock.time;
  clock.time += 25 * 3_600_000;
  await fails(requests.expireDue(), 'log_unavailable');
  clock.time = before;
  const detail = await requests.get(id);
  assert.deepEqual([detail.request.state, detail.decisions, detail.grant], ['pending', [], undefined]);
  assert.equal((await requests.list({ limit: 1000 })).length, count);
  services.logFailure = undefined;
  assert.equal((await requests.decide(id, ann, approver, 'approve', '')).request.state, 'approved');
});

void test('twenty deciders at once: one grant, one closing, no half state', async () => {
  const services = start();
  const { id } = await askJob(services);
  const deciders = Array.from({ length: 20 }, (_, index) => person(`p${index}`));
  const outcomes = await Promise.allSettled(
    deciders.map((who, index) =>
      services.requests.decide(id, who, approver, index % 2 === 0 ? 'approve' : 'reject', 'x'),
    ),
  );
  assert.equal(outcomes.filter((one) => one.status === 'fulfilled').length, 1);
  for (const one of outcomes) {
    if (one.status === 'rejected') assert.equal((one.reason as CountersignError).code, 'request_not_pending');
  }
  assert.equal(types(services).filter((type) => type === 'request.closed').length, 1);
  const detail = await services.requests.get(id);
  assert.equal(detail.decisions.length, 1);
  assert.equal(detail.grant !== undefined, detail.request.state === 'approved');
});

void test('two approvals at the same moment see each other: together they approve, once', async () => {
  const services = start({ workflows: two });
  for (let round = 0; round < 5; round++) {
    const { id } = await askJob(services);
    const bySides = await Promise.all(
      [ann, bob].map((who) => services.requests.decide(id, who, approver, 'approve', '')),
    );
    assert.equal(bySides.filter(({ grant }) => grant !== undefined).length, 1);
    assert.equal((await services.requests.get(id)).request.state, 'approved');
  }
});

void test('one person has a limited number of held statements, also when they come at once', async () => {
  const services = start({ maxHoldsPerHuman: 3 });
  const outcomes = await Promise.allSettled(
    Array.from({ length: 10 }, (_, index) => askStatement(services, index % 2 === 0 ? cy : serviceOf('cy', 'etl'))),
  );
  const made = outcomes.filter((one) => one.status === 'fulfilled').map((one) => one.value);
  assert.equal(made.length, 3);
  await fails(askStatement(services, cy), 'too_many_holds');
  await services.requests.withdraw(made[0]?.id ?? '', { principal: cy, duties: designer });
  await askStatement(services, cy);
});

/** Server processes that listen for requests. Watchers of earlier tests are closed first. */
async function listening(): Promise<number[]> {
  const sql = "select pid from pg_stat_activity where query = 'listen countersign_requests' and state = 'idle'";
  const { rows } = await database.pool.query<{ pid: number }>(sql);
  return rows.map(({ pid }) => pid);
}

async function untilListening(except: readonly number[] = []): Promise<number> {
  for (;;) {
    const pid = (await listening()).find((one) => !except.includes(one));
    if (pid !== undefined) return pid;
  }
}

async function closeAll(): Promise<void> {
  await closeServices();
  while ((await listening()).length > 0);
}

void test('a waiter learns of a decision that another node makes', { timeout: 20_000 }, async () => {
  await closeAll();
  // Polling is slower than the test may take, so what wakes these waiters is the notification.
  const here = start({ pollMs: 60_000 });
  const there = start();
  const { signal } = new AbortController();
  const verdicts = ['approve', 'reject'] as const;
  const asked = await Promise.all(verdicts.map(() => askStatement(here)));
  const waits = asked.map(({ id }) => here.requests.waitForDecision(id, signal));
  await untilListening();
  for (const [index, { id }] of asked.entries()) {
    await there.requests.decide(id, ann, approver, verdicts[index] ?? 'reject', 'x');
  }
  assert.deepEqual(await Promise.all(waits), ['approved', 'rejected']);
});

void test('a waiter that cannot hear finds the decision by looking', { timeout: 20_000 }, async () => {
  const deaf = start({ pollMs: 20 });
  await deaf.requests.close();
  const { id } = await askStatement(deaf);
  const wait = deaf.requests.waitForDecision(id, new AbortController().signal);
  await start().requests.decide(id, ann, approver, 'approve', '');
  assert.equal(await wait, 'approved');
});

void test('the listening connection is opened again after it was lost', { timeout: 30_000 }, async () => {
  await closeAll();
  const services = start({ pollMs: 60_000 });
  const asked = await Promise.all([askStatement(services), askStatement(services)]);
  const [early, late] = asked.map(({ id }) => services.requests.waitForDecision(id, new AbortController().signal));
  const pid = await untilListening();
  await database.pool.query('select pg_terminate_backend($1)', [pid]);
  // Decided while nobody listens: found because the new connection makes everybody look.
  await services.requests.decide(asked[0]?.id ?? '', ann, approver, 'approve', '');
  await untilListening([pid]);
  await services.requests.decide(asked[1]?.id ?? '', ann, approver, 'reject', 'no');
  assert.deepEqual(await Promise.all([early, late]), ['approved', 'rejected']);
});

void test('who stops waiting withdraws; who waits too long sees it expire; an approval that came first stands', async () => {
  const services = start({ pollMs: 20 });
  const { requests, clock } = services;
  const [gone, slow, late] = await Promise.all([
    askStatement(services),
    askStatement(services),
    askStatement(services),
  ]);
  const controller = new AbortController();
  const wait = requests.waitForDecision(gone.id, controller.signal);
  controller.abort();
  assert.equal(await wait, 'withdrawn');
  await requests.decide(late.id, ann, approver, 'approve', '');
  assert.equal(await requests.waitForDecision(late.id, AbortSignal.abort()), 'approved');
  const waitSlow = requests.waitForDecision(slow.id, new AbortController().signal);
  clock.time = slow.expiresAt.getTime();
  assert.equal(await waitSlow, 'expired');
  await fails(requests.waitForDecision('req_none', controller.signal), 'request_unknown');
});

void test('a request whose stored input was changed behind our back is decided by nobody', async () => {
  const services = start();
  const { id } = await askJob(services);
  const forged = JSON.stringify({ ...jobInput(), maskingDigest: 'none' });
  await database.store.updateTable('requests').set({ digest_input_json: forged }).where('id', '=', id).execute();
  await fails(services.requests.decide(id, ann, approver, 'approve', ''), 'grant_void', /digest/);
});

void test('lists: newest first, by state, kind, requester', async () => {
  const services = start();
  services.clock.time += 1e9;
  const zoe = person('zoe');
  const first = await askJob(services, zoe);
  services.clock.time += 1;
  const second = await askStatement(services, zoe);
  const list = async (filter: Parameters<typeof services.requests.list>[0]) =>
    (await services.requests.list({ ...filter, requesterHuman: 'zoe' })).map(({ id }) => id);
  assert.deepEqual(await list({}), [second.id, first.id]);
  assert.deepEqual(await list({ limit: 1 }), [second.id]);
  assert.deepEqual(await list({ createdBefore: second.createdAt }), [first.id]);
  assert.deepEqual(await list({ kind: 'job', state: 'pending', connection: 'crm', job: 'export' }), [first.id]);
  assert.deepEqual(await list({ state: 'approved' }), []);
});
