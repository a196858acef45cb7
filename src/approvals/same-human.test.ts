/** Promise P3 where one human has several names: by an address, a link, or a service account that changes hands. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
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
import { Humans, type HumanSource } from '../identity/humans.ts';
import type { Principal } from '../identity/principal.ts';
import type { AuthorRecord } from '../store/database.ts';
import { defaultWorkflow } from './workflow.ts';

const { database, start } = await approvalBench();
const { store } = database;
const clock = { now: () => Date.parse('2026-01-02T03:04:05Z') };
const humans = new Humans({ store, clock, record: () => Promise.resolve() });
after(() => humans.close());
const admin = person('root');
const [dora, ann, bob, cy] = [person('dora'), person('ann'), person('bob'), person('cy')];
for (const one of [admin, dora, ann, bob, cy]) await humans.seen(one);
/** Bob's second account, with the same address at another provider. */
const bobToo: Principal = { ...person('okta:bob'), email: 'Bob@example.TEST' };
/** Dora's other account, which an admin has linked. */
const doraToo = person('dora-admin');
for (const one of [bobToo, doraToo]) await humans.seen(one);
await humans.link('dora', 'dora-admin', admin, 'an account for administration');

const services = start({ humans });
const two = start({ humans, workflows: [{ ...defaultWorkflow, approvals: { count: 2 } }] });
const strict = start({ humans, workflows: [{ ...defaultWorkflow, strict: true }] });

async function askJob(
  { requests }: Services = services,
  authors: AuthorRecord[] = [author('dora', 'pusher')],
  requester = dora,
): Promise<string> {
  const input = jobInput({}, authors);
  const ask = { requester, duties: designer, connection: 'crm', title: 'export version 1', input, jobVersion: 1 };
  return (await requests.create(ask)).id;
}

const claimOf = (requestId: string, principal: Principal, authors = [author('dora', 'pusher')]) => ({
  requestId,
  principal,
  duties: approver,
  current: jobInput({}, authors),
});

async function refused(work: Promise<unknown>, code: ErrorCode, rule: string): Promise<void> {
  await assert.rejects(work, (error) => {
    assert(error instanceof CountersignError);
    assert.deepEqual([error.code, error.detail?.includes(`countersign/${rule}`)], [code, true], error.message);
    return true;
  });
}

void test('an author does not decide through a linked account, and their words count once', async () => {
  const id = await askJob();
  await refused(
    services.requests.decide(id, doraToo, everyDuty, 'approve', 'ok'),
    'duty_conflict',
    'approver-is-author',
  );
  const other = await askJob(two);
  await two.requests.decide(other, bob, approver, 'approve', 'ok');
  await refused(two.requests.decide(other, bobToo, approver, 'approve', 'ok'), 'duty_conflict', 'one-decision-each');
  assert.equal((await two.requests.get(other)).approvalsGiven, 1);
  await two.requests.decide(other, ann, approver, 'approve', 'ok');
  await refused(two.grants.claim(claimOf(other, doraToo)), 'duty_conflict', 'executor-is-author');
});

void test('in strict mode an approver does not execute through an account with the same address', async () => {
  const id = await askJob(strict);
  await strict.requests.decide(id, bob, approver, 'approve', 'ok');
  await refused(strict.grants.claim(claimOf(id, bobToo)), 'duty_conflict', 'executor-is-approver');
  assert.equal((await strict.grants.claim(claimOf(id, cy))).grant.state, 'consumed');
});

void test('two approvals that turn out to be of one human are one at the claim', async () => {
  for (const one of [person('eve'), person('eva')]) await humans.seen(one);
  const id = await askJob(two);
  await two.requests.decide(id, person('eve'), approver, 'approve', 'ok');
  await two.requests.decide(id, person('eva'), approver, 'approve', 'ok');
  assert.equal((await two.requests.get(id)).grant?.state, 'open');
  await humans.link('eve', 'eva', admin, 'one person');
  await refused(two.grants.claim(claimOf(id, cy)), 'grant_missing', 'approvals');
  await humans.unlink('eve', 'eva', admin, 'set it free');
  // What the request has seen stays.
  await refused(two.grants.claim(claimOf(id, cy)), 'grant_missing', 'approvals');
});

void test('a link that is made while a decision runs waits for it, and counts at the claim', async () => {
  for (const one of [person('fay'), person('fee')]) await humans.seen(one);
  const order: string[] = [];
  let link: Promise<unknown> = Promise.resolve();
  const source: HumanSource = {
    keysFor: async (transaction, question) => {
      const keys = await humans.keysFor(transaction, question);
      link = humans.link('fay', 'fee', admin, 'one person').then(() => order.push('linked'));
      // Go on when the link waits (or, if nothing holds it back, is made).
      for (let waits = 0; waits === 0 && order.length === 0; ) {
        const found = await database.pool.query("select 1 from pg_locks where locktype = 'advisory' and not granted");
        waits = found.rows.length;
      }
      return keys;
    },
  };
  const id = await askJob(services, [author('fay', 'pusher')], person('fay'));
  const racing = start({ humans: source });
  await racing.requests.decide(id, person('fee'), approver, 'approve', 'ok').then(() => order.push('decided'));
  await link;
  assert.deepEqual(order, ['decided', 'linked']);
  const claim = claimOf(id, cy, [author('fay', 'pusher')]);
  await refused(services.grants.claim(claim), 'grant_missing', 'approvals');
});

void test('a co-author whom nobody knows leaves nobody independent, until it is said who they are', async () => {
  const authors = [author('dora', 'pusher'), author('eli.private@example.org', 'co-author')];
  const id = await askJob(services, authors);
  await refused(services.requests.decide(id, bob, approver, 'approve', 'ok'), 'duty_conflict', 'author-unknown');
  await humans.link('bob', 'Eli.Private@example.org', admin, 'his private address');
  await refused(services.requests.decide(id, bob, approver, 'approve', 'ok'), 'duty_conflict', 'approver-is-author');
  await refused(services.requests.decide(id, bobToo, approver, 'approve', 'ok'), 'duty_conflict', 'approver-is-author');
  await services.requests.decide(id, ann, approver, 'approve', 'ok');
  await refused(services.grants.claim(claimOf(id, bobToo, authors)), 'duty_conflict', 'executor-is-author');
});

void test("what a service account wrote is its former owner's and its new owner's", async () => {
  for (const id of ['gil', 'hal']) await humans.seen(person(id));
  await humans.seen(serviceOf('gil', 'robot'));
  const authors = [{ ...author('gil', 'pusher'), principal: 'robot' }];
  const id = await askJob(services, authors, ann);
  await humans.seen(serviceOf('hal', 'robot'));
  for (const who of [person('gil'), person('hal'), serviceOf('hal', 'robot')]) {
    await refused(services.requests.decide(id, who, everyDuty, 'approve', 'ok'), 'duty_conflict', 'approver-is-author');
  }
  await services.requests.decide(id, bob, approver, 'approve', 'ok');
  await refused(services.grants.claim(claimOf(id, person('hal'), authors)), 'duty_conflict', 'executor-is-author');
  assert.equal((await services.grants.claim(claimOf(id, cy, authors))).grant.state, 'consumed');
});

void test('a statement that a service account asked for is not approved by whoever takes it over', async () => {
  for (const id of ['ina', 'jon']) await humans.seen(person(id));
  const robot = serviceOf('ina', 'asker');
  await humans.seen(robot);
  const ask = { requester: robot, duties: designer, connection: 'crm', title: 'SELECT', input: statementInput() };
  const { id } = await services.requests.create({ ...ask, sessionId: 'ses_1' });
  await humans.seen(serviceOf('jon', 'asker'));
  await refused(
    services.requests.decide(id, person('jon'), approver, 'approve', 'x'),
    'duty_conflict',
    'approver-is-author',
  );
});

void test('whoever asked takes it back through each of their accounts, and nobody else does', async () => {
  const id = await askJob();
  await refused(
    services.requests.withdraw(id, { principal: bob, duties: everyDuty }),
    'forbidden',
    'withdraw-needs-requester',
  );
  await services.requests.withdraw(id, { principal: doraToo, duties: designer });
});

void test('whom nobody has ever seen decides nothing', async () => {
  const id = await askJob();
  await refused(services.requests.decide(id, person('stranger'), approver, 'approve', 'x'), 'forbidden', 'nobody');
});

void test('nobody asks for break-glass in the place of whoever has the same address', async () => {
  const breakGlass = { approvals: 1, reviewers: 1, reviewWithinMs: 1_000, duringQuietHours: false };
  const glass = start({ humans, workflows: [{ ...defaultWorkflow, breakGlass }] });
  const id = await askJob(glass, [author('cy', 'pusher')], bob);
  await assert.rejects(glass.requests.breakGlass.ask(id, bobToo, 'now'), { code: 'break_glass_refused' });
  assert.equal((await glass.requests.breakGlass.ask(id, bob, 'now')).breakGlass?.reason, 'now');
});
