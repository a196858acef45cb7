import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import {
  approvalBench,
  approver,
  author,
  designer,
  everyDuty,
  hex,
  jobInput,
  person,
  plainHumans,
  serviceOf,
  statementInput,
  storeRun,
  type Services,
} from '../../test/approval-fixtures.ts';
import { CountersignError, type ErrorCode } from '../errors.ts';
import { endGrant, findGrant } from '../store/grants.ts';
import { closeRequest } from '../store/requests.ts';
import type { GrantInput } from './digest.ts';
import { defaultWorkflow } from './workflow.ts';

const { database, start } = await approvalBench();

const [dora, ann, eve] = [person('dora'), person('ann'), person('eve')];
const executor = ['executor'] as const;

async function approvedJob(
  services: Services,
  input: GrantInput = jobInput(),
): Promise<{ requestId: string; grantId: string }> {
  const ask = { requester: dora, duties: designer, connection: 'crm', title: 'export version 1', input, jobVersion: 1 };
  const { id } = await services.requests.create(ask);
  const { grant } = await services.requests.decide(id, ann, approver, 'approve', '');
  assert(grant !== undefined);
  return { requestId: id, grantId: grant.id };
}

function fails(promise: Promise<unknown>, code: ErrorCode, message: RegExp = /./): Promise<void> {
  return assert.rejects(promise, (error) => {
    assert(error instanceof CountersignError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(`${error.message} ${error.detail}`, message);
    return true;
  });
}

void test('a claim that begins before the approval and ends after it uses nothing', async () => {
  let decided: () => void = () => undefined;
  const decision = new Promise<void>((resolve) => (decided = resolve));
  let isLocked: () => void = () => undefined;
  const locked = new Promise<void>((resolve) => (isLocked = resolve));
  // The deciding transaction has the request, and waits for us.
  const slow = start({
    humans: {
      keysFor: async (store, question) => {
        isLocked();
        await decision;
        return plainHumans.keysFor(store, question);
      },
    },
  });
  const services = start();
  const ask = { requester: dora, duties: designer, connection: 'crm', title: 'export version 1', input: jobInput() };
  const { id } = await services.requests.create({ ...ask, jobVersion: 1 });
  const approving = slow.requests.decide(id, ann, approver, 'approve', '');
  await locked;
  const claim = { requestId: id, principal: eve, duties: executor, current: jobInput() };
  const early = fails(services.grants.claim(claim), 'grant_missing', /while this claim began/);
  for (let waits = 0; waits === 0; ) {
    const { rows } = await database.pool.query('select 1 from pg_locks where not granted');
    waits = rows.length;
  }
  decided();
  await Promise.all([approving, early]);
  await services.grants.claim(claim);
  await fails(services.grants.claim(claim), 'grant_used');
});

void test("a grant is consumed once, with the caller's own work in the same transaction", async () => {
  const services = start();
  const { grantId, requestId } = await approvedJob(services);
  const claim = { grantId, principal: eve, duties: executor, current: jobInput() };
  // The work fails: the grant is as if nobody had asked.
  const broken = services.grants.claim({ ...claim, extra: () => Promise.reject(new Error('no room')) });
  await assert.rejects(broken, /no room/);
  assert.equal((await findGrant(database.store, grantId))?.state, 'open');
  const claimed = await services.grants.claim({
    ...claim,
    extra: (transaction, grant) => {
      assert.equal(grant.state, 'open');
      return storeRun(transaction, grant.id);
    },
  });
  assert.equal(claimed.result, `run_${grantId}`);
  assert.deepEqual([claimed.grant.state, claimed.grant.consumedBy], ['consumed', 'eve']);
  assert.deepEqual(
    claimed.decisions.map(({ human }) => human),
    ['ann'],
  );
  await fails(services.grants.claim(claim), 'grant_used', /used once/);
  const { grantId: _, ...byRequest } = { ...claim, requestId };
  await fails(services.grants.claim(byRequest), 'grant_used');
  const ends = services.events.filter((event) => event.type.startsWith('grant.')).map((event) => event.type);
  assert.deepEqual(ends, ['grant.created', 'grant.consumed', 'grant.refused', 'grant.refused']);
});

void test('what is not approved, unknown, late or taken back is refused', async () => {
  const services = start();
  const { requests, grants, clock } = services;
  const claim = { principal: eve, duties: executor, current: jobInput() };
  const ask = { requester: dora, duties: designer, connection: 'crm', title: 't', input: jobInput(), jobVersion: 1 };
  const { id } = await requests.create(ask);
  await fails(grants.claim({ ...claim, requestId: id }), 'grant_missing', /pending/);
  await requests.decide(id, ann, approver, 'reject', 'no');
  await fails(grants.claim({ ...claim, requestId: id }), 'grant_missing', /rejected/);
  await fails(grants.claim({ ...claim, requestId: 'req_none' }), 'request_unknown');
  await fails(grants.claim({ ...claim, grantId: 'grant_none' }), 'grant_missing');

  const back = await approvedJob(services);
  assert.equal(await grants.void({ grantId: back.grantId }, 'the client went away', dora), true);
  assert.equal(await grants.void({ grantId: back.grantId }, 'again'), false);
  await fails(grants.claim({ ...claim, grantId: back.grantId }), 'grant_void', /the client went away/);

  const late = await approvedJob(services);
  const later = await approvedJob(services);
  clock.time += 3_600_000;
  await fails(grants.claim({ ...claim, grantId: late.grantId }), 'grant_expired');
  await fails(grants.claim({ ...claim, grantId: late.grantId }), 'grant_expired');
  assert((await grants.expireDue()).includes(later.grantId));
  assert.equal((await findGrant(database.store, later.grantId))?.state, 'expired');
});

void test('drift voids for good and says what drifted; nobody without the right to execute can void by drifting', async () => {
  const services = start();
  const { grantId } = await approvedJob(services);
  const drifted = jobInput({ maskingDigest: hex('6') });
  await fails(
    services.grants.claim({ grantId, principal: eve, duties: ['approver'], current: drifted }),
    'duty_missing',
  );
  assert.equal((await findGrant(database.store, grantId))?.state, 'open');
  const claim = { grantId, principal: eve, duties: executor };
  await fails(
    services.grants.claim({ ...claim, current: drifted }),
    'grant_void',
    /masking policy \(555555555555 -> 666666666666\)/,
  );
  const event = services.events.at(-1);
  assert.deepEqual(
    [event?.type, event?.['state'], event?.['drift']],
    ['grant.void', 'void', ['masking policy (555555555555 -> 666666666666)']],
  );
  // Changing it back does not revive it.
  await fails(services.grants.claim({ ...claim, current: jobInput() }), 'grant_void', /masking policy/);
});

void test('authors, their service accounts and people without the duty or group do not execute', async () => {
  const services = start();
  const input = jobInput({ executors: { duty: 'executor', groups: ['night-shift'] } }, [
    author('dora', 'pusher'),
    author('carl', 'committer'),
  ]);
  const { grantId } = await approvedJob(services, input);
  const shift = ['night-shift'];
  for (const [who, duties, code] of [
    [person('dora', shift), everyDuty, 'duty_conflict'],
    [serviceOf('carl', 'etl', shift), everyDuty, 'duty_conflict'],
    [person('eve', shift), ['admin', 'approver', 'designer'], 'duty_missing'],
    [eve, everyDuty, 'duty_missing'],
    [person('', shift), everyDuty, 'forbidden'],
  ] as const) {
    await fails(services.grants.claim({ grantId, principal: who, duties, current: input }), code);
    const event = services.events.at(-1);
    assert.deepEqual([event?.type, event?.['human'], event?.['code']], ['grant.refused', who.human, code]);
  }
  const claimed = await services.grants.claim({
    grantId,
    principal: person('eve', shift),
    duties: executor,
    current: input,
  });
  assert.equal(claimed.grant.state, 'consumed');
});

void test('strict: the approver does not execute; without it they may', async () => {
  const strict = start({ workflows: [{ ...defaultWorkflow, strict: true }] });
  const { grantId } = await approvedJob(strict);
  const claim = { grantId, principal: serviceOf('ann', 'etl-runner'), duties: executor, current: jobInput() };
  await fails(strict.grants.claim(claim), 'duty_conflict', /approved/);
  assert.equal((await start().grants.claim(claim)).grant.state, 'consumed');
});

void test('a workflow that was tightened after the approval counts at the claim', async () => {
  const { grantId } = await approvedJob(start());
  const tighter = start({ workflows: [{ ...defaultWorkflow, approvals: { count: 2 } }] });
  const claim = { grantId, principal: eve, duties: executor, current: jobInput() };
  await fails(tighter.grants.claim(claim), 'grant_missing', /1 independent approvals; it needs 2/);
});

void test('rows that were changed behind our back make no grant usable', async () => {
  const services = start();
  const claim = { principal: eve, duties: executor, current: jobInput() };
  const { store } = database;
  const forgedInput = await approvedJob(services);
  const text = JSON.stringify(jobInput({}, [author('zed')]));
  await store
    .updateTable('requests')
    .set({ digest_input_json: text })
    .where('id', '=', forgedInput.requestId)
    .execute();
  await fails(services.grants.claim({ ...claim, grantId: forgedInput.grantId }), 'grant_void', /digest/);
  const forgedAuthors = await approvedJob(services);
  await store
    .updateTable('requests')
    .set({ authors: JSON.stringify([author('zed')]) })
    .where('id', '=', forgedAuthors.requestId)
    .execute();
  await fails(
    services.grants.claim({ ...claim, principal: dora, duties: everyDuty, grantId: forgedAuthors.grantId }),
    'duty_conflict',
  );
  const forgedDecision = await approvedJob(services);
  await store
    .updateTable('decisions')
    .set({ human: 'dora' })
    .where('request_id', '=', forgedDecision.requestId)
    .execute();
  await fails(services.grants.claim({ ...claim, grantId: forgedDecision.grantId }), 'grant_missing', /0 independent/);
});

void test('the compare-and-set alone lets one end happen, also without the locks around it', async () => {
  const services = start();
  const { grantId, requestId } = await approvedJob(services);
  await database.store.transaction().execute(async (transaction) => {
    assert.notEqual(await endGrant(transaction, grantId, { state: 'expired' }), undefined);
    assert.equal(await endGrant(transaction, grantId, { state: 'consumed', by: 'eve', at: new Date() }), undefined);
    assert.equal(await endGrant(transaction, grantId, { state: 'void', reason: 'x' }), undefined);
    assert.equal(await closeRequest(transaction, requestId, 'rejected', new Date()), false);
  });
  assert.equal((await findGrant(database.store, grantId))?.state, 'expired');
});

void test('a held statement: only the session that waited, only its person, only the exact text', async () => {
  const services = start();
  const ask = { requester: dora, duties: designer, connection: 'crm', title: 'SELECT', input: statementInput() };
  const approve = async () => {
    const { id } = await services.requests.create({ ...ask, sessionId: 'ses_1' });
    await services.requests.decide(id, ann, approver, 'approve', '');
    return id;
  };
  const requestId = await approve();
  const claim = { requestId, principal: dora, duties: designer, sessionId: 'ses_1', current: statementInput() };
  await fails(services.grants.claim({ ...claim, sessionId: 'ses_2' }), 'grant_missing', /session/);
  await fails(services.grants.claim({ ...claim, sessionId: undefined }), 'grant_missing', /session/);
  await fails(services.grants.claim({ ...claim, principal: eve, duties: everyDuty }), 'duty_conflict');
  await fails(services.grants.claim({ ...claim, principal: ann, duties: everyDuty }), 'duty_conflict');
  await fails(services.grants.claim({ ...claim, duties: executor }), 'duty_missing');
  assert.equal((await services.grants.claim(claim)).grant.state, 'consumed');
  const other = await approve();
  const current = statementInput('select * from customers -- all');
  await fails(services.grants.claim({ ...claim, requestId: other, current }), 'grant_void', /statement text/);
});

void test('fail closed: without the log a grant is neither consumed nor voided', async () => {
  const services = start();
  const { grantId } = await approvedJob(services);
  services.logFailure = new CountersignError('log_unavailable', 'the disk is full');
  const claim = { grantId, principal: eve, duties: executor };
  let worked = false;
  const extra = () => {
    worked = true;
    return database.store.deleteFrom('chunks').execute();
  };
  await fails(services.grants.claim({ ...claim, current: jobInput(), extra }), 'log_unavailable');
  await fails(services.grants.claim({ ...claim, current: jobInput({ maskingDigest: 'x' }) }), 'log_unavailable');
  await fails(services.grants.void({ grantId }, 'x'), 'log_unavailable');
  assert.equal(worked, true);
  assert.equal((await findGrant(database.store, grantId))?.state, 'open');
});

void test('twenty claims at once: exactly one wins', async () => {
  const services = start();
  const { grantId } = await approvedJob(services);
  const claims = Array.from({ length: 20 }, (_, index) =>
    services.grants.claim({ grantId, principal: person(`e${index}`), duties: executor, current: jobInput() }),
  );
  const outcomes = await Promise.allSettled(claims);
  assert.equal(outcomes.filter((one) => one.status === 'fulfilled').length, 1);
  for (const one of outcomes) {
    if (one.status === 'rejected') assert.equal((one.reason as CountersignError).code, 'grant_used');
  }
  assert.equal(services.events.filter((event) => event.type === 'grant.consumed').length, 1);
});

void test('a claim races with a drifted claim and with a withdrawal of the grant: one outcome, both see it', async () => {
  const services = start();
  for (let round = 0; round < 10; round++) {
    const { grantId } = await approvedJob(services);
    const claim = { grantId, principal: eve, duties: executor };
    const [good, drifted, taken] = await Promise.allSettled([
      services.grants.claim({ ...claim, current: jobInput() }),
      services.grants.claim({ ...claim, current: jobInput({ maskingDigest: 'x' }) }),
      services.grants.void({ grantId }, 'taken back'),
    ]);
    const state = (await findGrant(database.store, grantId))?.state;
    assert.equal(state, good.status === 'fulfilled' ? 'consumed' : 'void');
    assert.equal(drifted.status, 'rejected');
    assert.equal(taken.status, 'fulfilled');
  }
});

void test('three processes claim the same ten grants: each is consumed exactly once', { timeout: 60_000 }, async () => {
  const services = start();
  const ids: string[] = [];
  for (let index = 0; index < 10; index++) ids.push((await approvedJob(services)).grantId);
  const program = new URL('../../test/claim-grants.ts', import.meta.url);
  const children = ['a', 'b', 'c'].map((name) => fork(program, [database.url, name, ...ids]));
  const ready = await Promise.all(children.map((child) => once(child, 'message')));
  assert.deepEqual(
    ready.map(([message]) => message as unknown),
    ['ready', 'ready', 'ready'],
  );
  const answers = children.map((child) => once(child, 'message'));
  for (const child of children) child.send('go');
  const won = (await Promise.all(answers)).flatMap(([message]) => (message as { won: string[] }).won);
  assert.deepEqual(won.toSorted(), ids.toSorted());
});
