/** Workflows with steps and break-glass on a real store: who may decide when, and what is left afterwards. Promise P3. */
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
  type Services,
} from '../../test/approval-fixtures.ts';
import { CountersignError, type ErrorCode } from '../errors.ts';
import type { Principal } from '../identity/principal.ts';
import type { RequestRecord } from '../store/requests.ts';
import { defaultWorkflow, type Workflow } from './workflow.ts';

const { start, database } = await approvalBench();

const dora = person('dora');
const [ann, bob, cy] = [person('ann', ['dba']), person('bob', ['privacy']), person('cy', ['dba', 'privacy'])];
const [eve, fay, gus] = [person('eve'), person('fay'), person('gus')];
const hourMs = 3_600_000;

const glass: Workflow = {
  ...defaultWorkflow,
  approvals: { count: 1, steps: [{ allOf: ['dba', 'privacy'] }, { count: 1 }] },
  breakGlass: { approvals: 1, reviewers: 2, reviewWithinMs: 24 * hourMs, duringQuietHours: false },
};

function ask({ requests }: Services, requester: Principal = dora): Promise<RequestRecord> {
  const input = jobInput({}, [author(requester.human, 'pusher')]);
  const title = 'export version 1';
  return requests.create({ requester, duties: designer, connection: 'crm', title, input, jobVersion: 1 });
}

function approve({ requests }: Services, { id }: RequestRecord, who: Principal) {
  return requests.decide(id, who, approver, 'approve', '');
}

function fails(promise: Promise<unknown>, code: ErrorCode, message: RegExp = /./): Promise<void> {
  return assert.rejects(promise, (error) => {
    assert(error instanceof CountersignError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

/** Nothing of one test stands in the way of the next. */
async function confirmAll(): Promise<void> {
  await database.store
    .updateTable('requests')
    .set({ confirmed_at: new Date(), state: 'approved' })
    .where('break_glass', 'is not', null)
    .execute();
}

void test('steps: one of each group, then anybody else; a person in both groups fills one place', async () => {
  const services = start({ workflows: [glass] });
  const request = await ask(services);
  assert.equal((await approve(services, request, cy)).grant, undefined);
  await fails(approve(services, request, eve), 'duty_missing', /step 1 of 2.*one of each of dba, privacy/);
  await fails(approve(services, request, cy), 'duty_conflict');
  assert.equal((await approve(services, request, bob)).grant, undefined);
  const detail = await services.requests.get(request.id);
  assert.deepEqual(
    detail.steps.map(({ state, needed, approvals }) => [state, needed, approvals.map(({ human }) => human)]),
    [
      ['done', 2, ['cy', 'bob']],
      ['open', 1, []],
    ],
  );
  assert.deepEqual([detail.approvalsGiven, detail.approvalsNeeded], [2, 3]);
  const { grant, request: approved } = await approve(services, request, eve);
  assert.deepEqual([approved.state, grant?.state], ['approved', 'open']);
  const claim = { requestId: request.id, principal: fay, duties: approver, current: jobInput() };
  assert.equal((await services.grants.claim(claim)).grant.state, 'consumed');
});

void test('a grant does not work when its approvals are not enough under the workflow of now', async () => {
  const loose = start();
  const request = await ask(loose);
  assert.notEqual((await approve(loose, request, eve)).grant, undefined);
  const claim = { requestId: request.id, principal: fay, duties: approver, current: jobInput() };
  await fails(
    start({ workflows: [glass] }).grants.claim(claim),
    'grant_missing',
    /0 independent approvals; it needs 3/,
  );
});

void test('a step that is open too long ends the request; the next step has its own time', async () => {
  const services = start({
    workflows: [
      { ...defaultWorkflow, approvals: { count: 1, steps: [{ timeLimitMs: hourMs }, { timeLimitMs: hourMs }] } },
    ],
  });
  const { clock, requests } = services;
  const [late, good, slow] = [await ask(services), await ask(services), await ask(services)];
  clock.time += hourMs - 1;
  await approve(services, good, ann);
  await approve(services, slow, ann);
  clock.time += 1;
  await fails(approve(services, late, ann), 'request_not_pending', /expired/);
  clock.time += hourMs - 2;
  assert.equal((await approve(services, good, bob)).request.state, 'approved');
  clock.time += 1;
  assert.deepEqual(await requests.expireDue(), [slow.id]);
});

void test('escalation is said once, and lets further groups decide', async () => {
  const step = { groups: ['dba'], escalation: { afterMs: hourMs, groups: ['heads'], decide: true } };
  const services = start({ workflows: [{ ...defaultWorkflow, approvals: { count: 1, steps: [step] } }] });
  const { clock, requests, events } = services;
  const request = await ask(services);
  const head = person('hal', ['heads']);
  await fails(approve(services, request, head), 'duty_missing', /members of dba/);
  assert.deepEqual(await requests.escalateDue(), []);
  clock.time += hourMs;
  assert.deepEqual(await requests.escalateDue(), [request.id]);
  assert.deepEqual(await requests.escalateDue(), []);
  const said = events.filter(({ type }) => type === 'request.escalated');
  assert.deepEqual(said, [
    {
      type: 'request.escalated',
      request: request.id,
      step: 1,
      groups: ['heads'],
      decide: true,
      deciders: ['dba', 'heads'],
    },
  ]);
  assert.equal((await approve(services, request, head)).request.state, 'approved');
});

void test('in quiet hours an approval is refused and the request waits; a rejection is taken', async () => {
  const services = start({
    workflows: [{ ...defaultWorkflow, quietHours: { timeZone: 'UTC', from: '00:00', to: '06:00' } }],
  });
  const { clock, requests } = services;
  const [first, second] = [await ask(services), await ask(services)];
  await fails(approve(services, first, ann), 'quiet_hours', /until 2026-01-02T06:00:00/);
  const { may, reasons } = await requests.standing(first.id, { principal: ann, duties: approver });
  assert.deepEqual(may, ['reject']);
  assert.match(reasons.find(({ action }) => action === 'approve')?.reason ?? '', /quiet hours/);
  assert.equal((await requests.decide(second.id, ann, approver, 'reject', 'no')).request.state, 'rejected');
  clock.time = Date.parse('2026-01-02T06:00:00Z');
  assert.equal((await approve(services, first, ann)).request.state, 'approved');
});

void test('break-glass: asked for by name, one other human before, two others afterwards', async () => {
  const services = start({ workflows: [glass] });
  const { requests, events, clock } = services;
  const request = await ask(services);
  await approve(services, request, ann);
  const ask2 = (who: Principal, reason = 'the shop is down') => requests.breakGlass.ask(request.id, who, reason);
  await fails(ask2(dora, ' '), 'input_invalid');
  await fails(ask2(bob), 'break_glass_refused', /only its requester/);
  assert.equal((await ask2(serviceOf('DORA', 'etl'))).breakGlass?.reason, 'the shop is down');
  await fails(ask2(dora), 'break_glass_refused', /already/);
  // Who approved before did not know; who asked, authored or approved before cannot be the one who is left.
  assert.equal((await requests.get(request.id)).request.state, 'pending');
  for (const who of [dora, ann, serviceOf('dora', 'etl')])
    await fails(approve(services, request, who), 'duty_conflict');
  const { grant } = await approve(services, request, bob);
  const detail = await requests.get(request.id);
  assert.equal(detail.request.state, 'approved');
  assert.equal(detail.request.reviewDueAt?.getTime(), clock.time + 24 * hourMs);
  assert.equal(grant?.state, 'open');
  assert.deepEqual(await requests.breakGlass.tellLate(), []);
  clock.time += 24 * hourMs;
  services.logFailure = new CountersignError('log_unavailable', 'full');
  await fails(requests.breakGlass.tellLate(), 'log_unavailable');
  services.logFailure = undefined;
  const both = await Promise.all([requests.breakGlass.tellLate(), requests.breakGlass.tellLate()]);
  assert.deepEqual(both.flat(), [request.id], 'said once');
  assert.deepEqual(await requests.breakGlass.tellLate(), []);
  assert.equal(events.filter(({ type }) => type === 'request.review-late').length, 1);
  const told = events.find(({ type }) => type === 'request.break-glass');
  assert.deepEqual([told?.['human'], told?.['reason'], told?.['reviewers']], ['DORA', 'the shop is down', 2]);
  await confirmAll();
});

void test('reviewers had no part in it and are distinct; until they confirm it, nobody of it breaks glass again', async () => {
  const services = start({ workflows: [glass] });
  const { requests, grants } = services;
  const request = await ask(services);
  const review = (who: Principal, verdict: 'ok' | 'object' = 'ok', comment = '') =>
    requests.breakGlass.review(request.id, { principal: who, duties: everyDuty }, verdict, comment);
  await fails(review(eve), 'break_glass_refused', /nothing to review/);
  await requests.breakGlass.ask(request.id, dora, 'now');
  // Not even decided yet: a second one at the same time is refused, too.
  const other = await ask(services);
  await fails(requests.breakGlass.ask(other.id, dora, 'also'), 'break_glass_refused', /asked for request/);
  await approve(services, request, bob);
  await grants.claim({ requestId: request.id, principal: cy, duties: approver, current: jobInput() });
  await database.store
    .insertInto('principals')
    .values({
      id: 'cy',
      human: 'cy',
      kind: 'person',
      display_name: 'cy',
      email: null,
      groups: '[]',
      last_seen_at: new Date(),
      groups_at: new Date(),
      provider: 'default',
    })
    .execute();
  await fails(requests.breakGlass.ask(other.id, dora, 'also'), 'break_glass_refused', /not confirmed/);
  const bobs = await ask(services, bob);
  await fails(requests.breakGlass.ask(bobs.id, bob, 'also'), 'break_glass_refused', /bob decided on/);
  const gused = await ask(services, gus);
  await requests.breakGlass.ask(gused.id, gus, 'another matter');
  await fails(approve(services, gused, bob), 'break_glass_refused', /bob decided on/);
  const { may } = await requests.standing(gused.id, { principal: bob, duties: approver });
  assert(!may.includes('approve'), 'offered what is refused');
  await fails(review(dora), 'break_glass_refused', /asked for/);
  await fails(review(bob), 'break_glass_refused', /decided on/);
  await fails(review(cy), 'break_glass_refused', /executed/);
  await fails(
    requests.breakGlass.review(request.id, { principal: eve, duties: ['executor'] }, 'ok', ''),
    'break_glass_refused',
    /duty/,
  );
  await fails(review(eve, 'object'), 'input_invalid');
  assert.equal((await review(eve, 'object', 'a ticket was missing')).confirmedAt, undefined);
  await fails(review(eve), 'break_glass_refused', /already/);
  assert.equal((await review(fay)).confirmedAt, undefined);
  await fails(review(serviceOf('FAY', 'bot')), 'break_glass_refused', /already/);
  await fails(requests.breakGlass.ask(other.id, dora, 'also'), 'break_glass_refused');
  assert.notEqual((await review(person('hal'))).confirmedAt, undefined);
  assert.deepEqual(
    (await requests.get(request.id)).reviews.map(({ human, verdict }) => [human, verdict]),
    [
      ['eve', 'object'],
      ['fay', 'ok'],
      ['hal', 'ok'],
    ],
  );
  assert.equal((await requests.breakGlass.ask(other.id, dora, 'again')).breakGlass?.reason, 'again');
  await confirmAll();
});

void test('without the log there is no break-glass and no review, and a workflow without it has none', async () => {
  const services = start({ workflows: [glass] });
  const { requests } = services;
  const request = await ask(services);
  services.logFailure = new CountersignError('log_unavailable', 'full');
  await fails(requests.breakGlass.ask(request.id, dora, 'now'), 'log_unavailable');
  services.logFailure = undefined;
  assert.equal((await requests.get(request.id)).request.breakGlass, undefined);
  await requests.breakGlass.ask(request.id, dora, 'now');
  await approve(services, request, bob);
  services.logFailure = new CountersignError('log_unavailable', 'full');
  await fails(
    requests.breakGlass.review(request.id, { principal: eve, duties: everyDuty }, 'ok', ''),
    'log_unavailable',
  );
  services.logFailure = undefined;
  assert.deepEqual((await requests.get(request.id)).reviews, []);
  const plain = start();
  await fails(
    plain.requests.breakGlass.ask((await ask(plain, gus)).id, gus, 'now'),
    'break_glass_refused',
    /no break-glass/,
  );
});
