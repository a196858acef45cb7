import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, test } from 'node:test';
import { startTestStore } from '../../test/control-store.ts';
import { CountersignError, type ErrorCode } from '../errors.ts';
import { AccountAccess } from './account-access.ts';
import { CredentialService } from './credentials.ts';
import { PrincipalDirectory } from './directory.ts';
import { Humans } from './humans.ts';
import type { Principal } from './principal.ts';
import { Revocations, sessionMarkOf } from './revocations.ts';
import { ServiceAccounts, type ServiceAccountEvent } from './service-accounts.ts';

const database = await startTestStore();
after(() => database.stop());
const { store, pool } = database;
const dayMs = 86_400_000;
let nowMs = Date.parse('2026-01-02T03:04:05Z');
const clock = { now: () => nowMs };
const events: ServiceAccountEvent[] = [];
const record = (event: ServiceAccountEvent): Promise<void> => Promise.resolve(void events.push(event));
const quiet = () => Promise.resolve();

/** One node: its own services and sessions over the one store. */
function startNode() {
  const ended: string[] = [];
  const humans = new Humans({ store, clock, record: quiet });
  const directory = new PrincipalDirectory({ store, clock, humans });
  const access = new AccountAccess({ store, clock, ownerUnseenMs: 30 * dayMs });
  const current = (principal: Principal) => access.current(principal);
  const credentials = new CredentialService({ store, record: quiet, clock, random: randomBytes, current });
  const end = (mark: string) => Promise.resolve(void ended.push(mark));
  const revocations = new Revocations({
    store,
    clock,
    end,
    endAccount: end,
    endedAccounts: (names) => access.endedAmong(names),
    endsWithLogin: false,
  });
  const accounts = new ServiceAccounts({
    store,
    clock,
    random: randomBytes,
    humans,
    record,
    isAdmin: (principal) => principal.groups.includes('admins'),
    keyMaxTtlMs: 90 * dayMs,
    endAccess: async (account, by) => {
      await credentials.revokeAllOf(account, by);
      await revocations.check();
    },
    endRevoked: () => revocations.check(),
  });
  return { humans, directory, access, credentials, revocations, accounts, ended };
}

const { humans, directory, access, credentials, revocations, accounts, ended } = startNode();

function person(id: string, groups: string[] = []): Principal {
  return { id, human: id, kind: 'person', displayName: id, email: undefined, groups };
}

const admin = person('root', ['admins', 'chunk-designers']);
const ann = person('ann', ['chunk-designers', 'chunk-executors']);
const bob = person('bob', ['chunk-executors']);
const seeAll = async () => {
  for (const one of [admin, ann, bob]) await directory.seen(one);
};
await seeAll();

async function refused(work: Promise<unknown>, code: ErrorCode, text = /./): Promise<void> {
  await assert.rejects(work, (error) => {
    assert(error instanceof CountersignError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(`${error.message} ${error.detail ?? ''}`, text);
    return true;
  });
}

let made = 0;
/** An account of Ann's that works, with a key. */
async function annsAccount(groups = ['chunk-designers']) {
  const name = `etl-${++made}`;
  await accounts.create(admin, { name, owner: 'ann', groups });
  await accounts.accept(ann, name);
  return { name, ...(await accounts.createKey(ann, name)) };
}

void test('an account for somebody else works when they accept, and only they get its keys', async () => {
  await refused(accounts.create(ann, { name: 'own', owner: 'ann', groups: [] }), 'forbidden', /admin/);
  const made = await accounts.create(admin, { name: 'etl', owner: 'Ann', groups: ['chunk-designers'] });
  assert.deepEqual([made.owner, made.offeredTo], [undefined, 'ann']);
  await refused(accounts.createKey(ann, 'etl'), 'forbidden');
  for (const who of [admin, bob, { ...ann, kind: 'service' as const }, person('ann2')]) {
    await assert.rejects(accounts.accept(who, 'etl'), `${who.id} accepted it`);
  }
  await accounts.accept(ann, 'etl');
  for (const who of [admin, bob, { ...ann, kind: 'service' as const }])
    await assert.rejects(accounts.createKey(who, 'etl'));
  const { key, id } = await accounts.createKey(ann, 'etl');
  assert.match(key, /^csk_[\w-]{43}$/);
  assert.deepEqual(await access.verify(key), {
    id: 'etl',
    human: 'ann',
    kind: 'service',
    displayName: 'etl',
    email: undefined,
    groups: ['chunk-designers'],
  });
  const dump = JSON.stringify([
    (await pool.query('select * from service_account_keys')).rows,
    (await pool.query('select * from service_accounts')).rows,
    events,
  ]);
  assert(!dump.includes(key) && !dump.includes(key.slice(4)), 'the key itself is stored');
  assert(dump.includes(id));
});

void test('an account has no group that its owner has not, at every moment', async () => {
  const { name, key } = await annsAccount(['admins', 'chunk-designers', 'chunk-executors']);
  assert.deepEqual((await access.verify(key)).groups, ['chunk-designers', 'chunk-executors']);
  const { user } = await credentials.issue({ principal: await access.verify(key), ttlMs: 1_000 });
  nowMs += 5_000;
  await directory.seen({ ...ann, groups: ['chunk-executors'] });
  assert.deepEqual((await access.verify(key)).groups, ['chunk-executors']);
  await directory.seen(await access.verify(key));
  const issued = await credentials.issue({ principal: await access.verify(key), ttlMs: 60_000 });
  await directory.seen({ ...ann, groups: [] });
  assert.deepEqual((await credentials.lookup(issued.user))?.principal.groups, []);
  assert.equal(await credentials.lookup(user), undefined);
  await directory.seen(ann);
  await accounts.change(admin, name, { groups: [] });
  assert.deepEqual((await access.verify(key)).groups, []);
  await refused(accounts.change(ann, name, { groups: ['chunk-executors'] }), 'forbidden');
});

void test('several keys at a time, each with its own end', async () => {
  const { name, key, id } = await annsAccount();
  const second = await accounts.createKey(ann, name, dayMs);
  await refused(accounts.createKey(ann, name, 91 * dayMs), 'input_invalid', /live/);
  await refused(accounts.createKey(ann, name, 0), 'input_invalid');
  assert.equal((await access.verify(second.key)).id, name);
  await refused(accounts.revokeKey(bob, name, id), 'not_found');
  assert.deepEqual(await accounts.revokeKey(ann, name, id), [id]);
  await refused(access.verify(key), 'token_invalid');
  await refused(accounts.revokeKey(ann, name, id), 'not_found');
  assert.equal((await access.verify(second.key)).id, name);
  const used = (await accounts.list(ann)).find((one) => one.name === name)?.keys.find((one) => one.id === second.id);
  assert.deepEqual(used?.lastUsedAt, new Date(nowMs));
  nowMs += dayMs;
  await refused(access.verify(second.key), 'token_expired');
  for (const wrong of ['csk_', `csk_${'a'.repeat(43)}`, `${key}x`, key.toUpperCase()]) {
    await refused(access.verify(wrong), 'token_invalid');
  }
});

void test('an account ends with its own time, and rests while its owner is not seen', async () => {
  await seeAll();
  await accounts.create(admin, {
    name: 'short',
    owner: 'ann',
    groups: ['chunk-designers'],
    expiresAt: new Date(nowMs + 40 * dayMs),
  });
  await refused(
    accounts.create(admin, { name: 'past', owner: 'ann', groups: [], expiresAt: new Date(nowMs) }),
    'input_invalid',
  );
  await accounts.accept(ann, 'short');
  const { key } = await accounts.createKey(ann, 'short');
  nowMs += 30 * dayMs + 1;
  await refused(access.verify(key), 'authentication_failed', /has not logged in since/);
  const managedGroups = (id: string) => Promise.resolve(id === 'ann' ? [] : undefined);
  const managed = new AccountAccess({ store, clock, ownerUnseenMs: 30 * dayMs, managedGroups });
  assert.deepEqual((await managed.verify(key)).groups, []);
  await seeAll();
  assert.equal((await access.verify(key)).id, 'short');
  nowMs += 10 * dayMs;
  await refused(access.verify(key), 'authentication_failed', /expired/);
  await seeAll();
});

void test('a new owner has to accept, and the old keys and sessions end there', async () => {
  const { name, key } = await annsAccount();
  const { user } = await credentials.issue({ principal: await access.verify(key), ttlMs: 60_000 });
  await directory.seen(await access.verify(key));
  revocations.watchCredential(user, new Date(nowMs + 60_000));
  revocations.watchKey(key);
  await refused(accounts.offer(bob, name, 'bob'), 'not_found');
  await accounts.offer(ann, name, 'bob');
  assert.equal((await access.verify(key)).human, 'ann');
  await refused(accounts.accept(ann, name), 'forbidden');
  await accounts.accept(bob, name);
  await refused(access.verify(key), 'token_invalid');
  assert.equal(await credentials.lookup(user), undefined);
  assert.deepEqual(new Set(ended), new Set([user, sessionMarkOf(key)]));
  await refused(accounts.createKey(ann, name), 'not_found');
  const fresh = await accounts.createKey(bob, name);
  assert.deepEqual([(await access.verify(fresh.key)).human, (await access.verify(fresh.key)).groups], ['bob', []]);
  const owners = await humans.keysFor(store, { names: [], accounts: [name], since: new Date(0) });
  assert.deepEqual([...owners.ownersOf(name)].sort(), ['ann', 'bob']);
  assert(
    events.some((one) => one.type === 'service-account.accepted' && one['account'] === name && one['former'] === 'ann'),
  );
});

void test('whoever leaves takes their accounts along, on every node', async () => {
  const { name, key } = await annsAccount();
  const other = startNode();
  other.revocations.watchKey(key);
  const issued = await credentials.issue({ principal: await access.verify(key), ttlMs: 60_000 });
  await directory.seen(await access.verify(key));
  other.revocations.watchCredential(issued.user, issued.expiresAt);
  await other.revocations.check();
  assert.deepEqual(other.ended, []);
  assert((await accounts.disableOwnedBy('ANN', 'ann has left')).includes(name));
  await refused(access.verify(key), 'token_invalid');
  await other.revocations.check();
  assert.deepEqual(new Set(other.ended), new Set([sessionMarkOf(key), issued.user]));
  // Nobody brings it back but an owner who accepts it.
  await refused(accounts.enable(admin, name), 'input_invalid');
  await refused(accounts.offer(ann, name, 'ann'), 'forbidden');
  const late = await accounts.createKey(ann, name);
  await refused(access.verify(late.key), 'authentication_failed', /disabled: ann has left/);
  await accounts.offer(admin, name, 'bob');
  await accounts.accept(bob, name);
  await refused(access.verify(late.key), 'token_invalid');
  const fresh = await accounts.createKey(bob, name);
  assert.equal((await access.verify(fresh.key)).human, 'bob');
});

void test('accounts of the configuration: an owner who leaves disables them until there is another owner', async () => {
  const robot: Principal = { ...person('robot', ['chunk-designers']), human: 'cy', kind: 'service' };
  await accounts.adopt([{ name: 'robot', owner: 'cy' }]);
  await access.admit(robot);
  assert.deepEqual(await access.current(robot), robot);
  revocations.watchAccount('robot');
  assert.deepEqual(await accounts.disableOwnedBy('cy', 'left'), ['robot']);
  assert(ended.includes('robot'));
  await refused(access.admit(robot), 'authentication_failed', /left/);
  assert.equal(await access.current(robot), undefined);
  await accounts.adopt([{ name: 'robot', owner: 'cy' }]);
  await refused(access.admit(robot), 'authentication_failed');
  await accounts.adopt([{ name: 'robot', owner: 'dee' }]);
  await access.admit({ ...robot, human: 'dee' });
  const owners = await humans.keysFor(store, { names: [], accounts: ['robot'], since: new Date(0) });
  assert.deepEqual([...owners.ownersOf('robot')].sort(), ['cy', 'dee']);
  await accounts.disable(admin, 'robot', 'broken');
  await accounts.enable(admin, 'robot');
  await access.admit(robot);
  await refused(accounts.change(admin, 'robot', { groups: ['x'] }), 'input_invalid', /configuration/);
  await refused(accounts.offer(admin, 'robot', 'bob'), 'input_invalid');
});

void test('a name is one of a person or of an account', async () => {
  await refused(accounts.create(admin, { name: 'ann', owner: 'bob', groups: [] }), 'input_invalid', /taken/);
  await accounts.create(admin, { name: 'unique', owner: 'bob', groups: [] });
  await refused(accounts.create(admin, { name: 'unique', owner: 'ann', groups: [] }), 'input_invalid', /taken/);
  await refused(access.admit(person('unique')), 'token_invalid');
  await refused(accounts.adopt([{ name: 'unique', owner: 'x' }]), 'configuration_invalid');
  for (const name of ['', 'Upper', 'a.b', '-x', 'x'.repeat(64)]) {
    await refused(accounts.create(admin, { name, owner: 'bob', groups: [] }), 'input_invalid');
  }
});

void test('nothing happens without a record', async () => {
  const broken = new ServiceAccounts({
    store,
    clock,
    random: randomBytes,
    humans,
    record: () => Promise.reject(new Error('full disk')),
    isAdmin: () => true,
    keyMaxTtlMs: dayMs,
    endAccess: quiet,
    endRevoked: quiet,
  });
  const { name, key } = await annsAccount();
  const ways = [
    () => broken.create(admin, { name: 'unrecorded', owner: 'ann', groups: [] }),
    () => broken.change(admin, name, { groups: [] }),
    () => broken.offer(admin, name, 'bob'),
    () => broken.createKey(ann, name),
    () => broken.disable(admin, name, 'x'),
  ];
  for (const way of ways) await assert.rejects(way(), /full disk/);
  assert.deepEqual((await access.verify(key)).groups, ['chunk-designers']);
  const [all] = (await accounts.list(admin)).filter((one) => one.name === name);
  assert.deepEqual([all?.keys.length, all?.offeredTo, all?.disabledAt], [1, undefined, undefined]);
  assert(!(await accounts.list(admin)).some((one) => one.name === 'unrecorded'));
});

void test("somebody whose name only looks like the owner's has no part in the account", async () => {
  const { name, id } = await annsAccount();
  for (const lookalike of [person('ａnn', ['chunk-designers']), person('a\u200bnn'), person('ANN')]) {
    await directory.seen(lookalike);
    await refused(accounts.createKey(lookalike, name), 'not_found');
    await refused(accounts.revokeKey(lookalike, name, id), 'not_found');
    await refused(accounts.disable(lookalike, name, 'mine'), 'not_found');
    await refused(accounts.offer(lookalike, name, 'bob'), 'not_found');
  }
  await accounts.createKey(ann, name);
});
