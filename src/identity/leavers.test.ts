import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import {
  approvalBench,
  approver,
  designer,
  jobInput,
  person,
  serviceOf,
  storeJobVersion,
  type Services,
} from '../../test/approval-fixtures.ts';
import { humanKey } from '../policy/entities.ts';
import { findGrant } from '../store/grants.ts';
import { upsertPrincipal } from '../store/principals.ts';
import { CredentialService } from './credentials.ts';
import { Leavers, type LeaverSteps } from './leavers.ts';
import type { Principal } from './principal.ts';
import { WebSessions } from './web-sessions.ts';

const { database, start } = await approvalBench();
await storeJobVersion(database);
const { store } = database;

const [ann] = [person('ann')];

interface World {
  readonly services: Services;
  readonly leavers: Leavers;
  readonly credentials: CredentialService;
  readonly webSessions: WebSessions;
  readonly events: Record<string, unknown>[];
  readonly ended: string[];
  readonly errors: unknown[];
}

function world(broken: Partial<LeaverSteps> = {}): World {
  const services = start();
  const events: Record<string, unknown>[] = [];
  const ended: string[] = [];
  const errors: unknown[] = [];
  const record = (event: Record<string, unknown>) => {
    events.push(event);
    return Promise.resolve();
  };
  const { clock, requests, grants } = services;
  const common = { store, record, clock, random: randomBytes };
  const credentials = new CredentialService({ ...common, current: (principal) => Promise.resolve(principal) });
  const webSessions = new WebSessions({ ...common, key: Buffer.alloc(32, 1), ttlMs: 3_600_000, idleMs: 3_600_000 });
  const leavers = new Leavers({
    store,
    record,
    humanKey,
    steps: {
      endWebSessions: (id, reason, within) => webSessions.endAllOf(id, reason, within),
      revokeCredentials: (id, within) => credentials.revokeAllOf(id, 'countersign', within),
      endSessions: (id, error) => {
        ended.push(`${id}: ${error.code}`);
        return Promise.resolve();
      },
      withdrawRequest: (id, reason) => requests.withdraw(id, { reason }),
      voidGrant: (grantId, reason) => grants.void({ grantId }, reason),
      disableServiceAccounts: () => Promise.resolve(0),
      ...broken,
    },
    onError: (cause) => void errors.push(cause),
  });
  return { services, leavers, credentials, webSessions, events, ended, errors };
}

async function jobRequest({ services }: World, requester: Principal): Promise<string> {
  const ask = { requester, duties: designer, connection: 'crm', title: 'export', input: jobInput(), jobVersion: 1 };
  return (await services.requests.create(ask)).id;
}

async function grantOf(one: World, requester: Principal): Promise<string> {
  const decided = await one.services.requests.decide(await jobRequest(one, requester), ann, approver, 'approve', '');
  return decided.grant?.id ?? assert.fail('no grant');
}

/** Somebody with one of everything, under two names and an account. */
async function settle(one: World, name: string) {
  const [here, there, account] = [
    person(name),
    { ...person(`corp:${name}`), human: name.toUpperCase() },
    serviceOf(name, `etl-${name}`),
  ];
  for (const principal of [here, there, account]) await upsertPrincipal(store, principal, new Date());
  const principals = [here, there, account];
  const credentials = await Promise.all(
    principals.map((principal) => one.credentials.issue({ principal, ttlMs: 60_000 })),
  );
  const web = await one.webSessions.open({ principal: there, provider: 'corp' });
  return {
    principals,
    credentials,
    cookie: web.cookie,
    pending: await jobRequest(one, here),
    grants: [await grantOf(one, here), await grantOf(one, account)],
  };
}

const removal = (principalId: string) =>
  ({ principalId, reason: 'left the company', source: 'admin', by: 'root' }) as const;

async function assertGone(one: World, had: Awaited<ReturnType<typeof settle>>): Promise<void> {
  for (const principal of had.principals) {
    await assert.rejects(one.leavers.check(principal), { code: 'principal_disabled' });
  }
  for (const { user } of had.credentials) assert.equal(await one.credentials.lookup(user), undefined);
  assert.equal(await one.webSessions.find(had.cookie), undefined);
  const { request } = await one.services.requests.get(had.pending);
  assert.equal(request.state, 'withdrawn');
  for (const id of had.grants) {
    const grant = await findGrant(store, id);
    assert.equal(grant?.state, 'void');
    assert.match(grant?.voidReason ?? '', /left the company/);
  }
}

void test('a leaver loses everything, under every name and with every account, and nobody else does', async () => {
  const one = world();
  const had = await settle(one, 'dora');
  const others = await settle(one, 'dorothea');
  await one.leavers.remove(removal('dora'));
  await assertGone(one, had);
  assert.deepEqual(one.ended.toSorted(), [
    'corp:dora: principal_disabled',
    'dora: principal_disabled',
    'etl-dora: principal_disabled',
  ]);
  const [finished] = one.events.filter((event) => event['type'] === 'person.removal-finished');
  assert.deepEqual(finished, {
    type: 'person.removal-finished',
    principal: 'dora',
    human: 'dora',
    source: 'admin',
    reason: 'left the company',
    by: 'root',
    webSessions: 1,
    credentials: 3,
    requests: 1,
    grants: 2,
    serviceAccounts: 0,
  });
  assert.ok(one.services.events.some((event) => event.type === 'grant.void' && event['grant'] === had.grants[0]));

  for (const principal of others.principals) await one.leavers.check(principal);
  for (const { user } of others.credentials) assert.ok(await one.credentials.lookup(user));
  assert.ok(await one.webSessions.find(others.cookie));
  assert.equal((await one.services.requests.get(others.pending)).request.state, 'pending');
  for (const id of others.grants) assert.equal((await findGrant(store, id))?.state, 'open');
});

void test('whoever comes back has nothing of it, and is removed again as before', async () => {
  const one = world();
  const had = await settle(one, 'ella');
  await one.leavers.remove(removal('corp:ella'));
  await assertGone(one, had);
  assert.equal(await one.leavers.reactivate({ ...removal('corp:ella'), source: 'scim' }), false);
  assert.equal(await one.leavers.reactivate(removal('corp:ella')), true);
  for (const principal of had.principals) await one.leavers.check(principal);
  for (const { user } of had.credentials) assert.equal(await one.credentials.lookup(user), undefined);
  assert.equal(await one.webSessions.find(had.cookie), undefined);
  for (const id of had.grants) assert.equal((await findGrant(store, id))?.state, 'void');
  assert.ok(one.events.some((event) => event['type'] === 'person.reactivated'));
  await one.leavers.remove(removal('corp:ella'));
  await assert.rejects(one.leavers.check(person('ella')), { code: 'principal_disabled' });
});

void test('what was issued while somebody was removed is nothing worth when they come back', async () => {
  const one = world();
  const { principals } = await settle(one, 'zoe');
  await one.leavers.remove(removal('corp:zoe'));
  // As by calls that were let in before the removal, and went on during it.
  const late = await Promise.all(principals.map((principal) => one.credentials.issue({ principal, ttlMs: 60_000 })));
  const cookies: string[] = [];
  for (const principal of principals) cookies.push((await one.webSessions.open({ principal, provider: 'x' })).cookie);
  assert.equal(await one.leavers.reactivate({ ...removal('corp:zoe'), source: 'scim' }), false);
  for (const { user } of late) assert.ok(await one.credentials.lookup(user));
  assert.equal(await one.leavers.reactivate(removal('corp:zoe')), true);
  for (const { user } of late) assert.equal(await one.credentials.lookup(user), undefined);
  for (const cookie of cookies) assert.equal(await one.webSessions.find(cookie), undefined);
  const again = await one.credentials.issue({ principal: principals[0] ?? ann, ttlMs: 60_000 });
  assert.ok(await one.credentials.lookup(again.user));
});

void test('a step that fails stops no other, and is done again', async () => {
  let isBroken = true;
  const broken = (): Promise<number> => (isBroken ? Promise.reject(new Error('out of order')) : Promise.resolve(0));
  const one = world({ disableServiceAccounts: broken });
  const webBroken = world({ endWebSessions: () => Promise.reject(new Error('no web sessions')) });
  const had = await settle(one, 'fay');
  await assert.rejects(one.leavers.remove(removal('fay')), /out of order/);
  await assertGone(one, had);
  assert.equal(one.events.filter((event) => event['type'] === 'person.removal-finished').length, 0);
  const make = () =>
    store
      .updateTable('leavers')
      .set({ removed_at: new Date(Date.now() - 60_000) })
      .execute();
  await make();
  await one.leavers.sweep();
  assert.equal(one.errors.length, 1);
  isBroken = false;
  await one.leavers.sweep();
  assert.equal(one.events.filter((event) => event['type'] === 'person.removal-finished').length, 1);
  await one.leavers.sweep();
  assert.equal(one.events.filter((event) => event['type'] === 'person.removal-finished').length, 1);

  const second = await settle(webBroken, 'gil');
  await assert.rejects(webBroken.leavers.remove(removal('gil')), /no web sessions/);
  for (const { user } of second.credentials) assert.equal(await webBroken.credentials.lookup(user), undefined);
  assert.equal((await webBroken.services.requests.get(second.pending)).request.state, 'withdrawn');
});

void test('another node ends its own sessions of a leaver', async () => {
  const [here, there] = [world(), world()];
  await settle(here, 'hal');
  await here.leavers.remove(removal('hal'));
  there.ended.length = 0;
  await there.leavers.sweep();
  for (const id of ['hal', 'corp:hal', 'etl-hal']) assert.ok(there.ended.includes(`${id}: principal_disabled`));
});

void test('somebody who was never seen can be removed; a service account, or nobody, cannot', async () => {
  const one = world();
  await one.leavers.remove(removal('never-seen'));
  await assert.rejects(one.leavers.check(person('NEVER-seen')), { code: 'principal_disabled' });
  await upsertPrincipal(store, serviceOf('ida', 'etl-ida'), new Date());
  await assert.rejects(one.leavers.remove(removal('etl-ida')), { code: 'input_invalid' });
  await one.leavers.check(person('ida'));
  await assert.rejects(one.leavers.remove({ ...removal('x'), reason: ' ' }), { code: 'input_invalid' });
  assert.ok((await one.leavers.list()).some((leaver) => leaver.principalId === 'never-seen'));
});
