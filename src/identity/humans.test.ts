import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { startTestStore } from '../../test/control-store.ts';
import { CountersignError } from '../errors.ts';
import { upsertPrincipal } from '../store/principals.ts';
import { emailKey, Humans, type PeopleEvent } from './humans.ts';
import { humanKey } from '../policy/entities.ts';
import type { Principal } from './principal.ts';

const database = await startTestStore();
after(() => database.stop());
const { store } = database;
let nowMs = Date.parse('2026-01-02T03:04:05Z');
const clock = { now: () => nowMs };
const events: PeopleEvent[] = [];
/** A node of its own: what another one did reaches it by the store only. */
const node = () => new Humans({ store, clock, record: (event) => Promise.resolve(void events.push(event)) });
const humans = node();

function person(id: string, email?: string): Principal {
  return { id, human: id, kind: 'person', displayName: id, email, groups: [] };
}

function account(id: string, owner: string): Principal {
  return { id, human: owner, kind: 'service', displayName: id, email: undefined, groups: [] };
}

const admin = person('root');
await humans.seen(admin);
const refusal = (code: string) => (error: unknown) => error instanceof CountersignError && error.code === code;

async function same(a: string, b: string, since = new Date(nowMs)): Promise<boolean> {
  const keys = await humans.keysFor(store, { names: [a, b], accounts: [], since });
  assert(keys.keyOf(a) !== '' && keys.keyOf(b) !== '');
  return keys.keyOf(a) === keys.keyOf(b);
}

void test('addresses are one in every spelling', () => {
  const forms = [
    'Ann@Bücher.example',
    ' ann@bücher.example ',
    'ANN@xn--bcher-kva.example',
    'ann+git@bücher.example',
    'ann@bücher.example.',
    'a\u200bnn@bücher.example',
    '"ann"@bücher.example',
    'ａnn@bücher.example',
  ];
  assert.deepEqual(new Set(forms.map(emailKey)), new Set(['ann@xn--bcher-kva.example']));
  assert.notEqual(emailKey('ann@a.example'), emailKey('ann@b.example'));
  assert.notEqual(emailKey('+1@a.example'), emailKey('+2@a.example'));
});

void test('the form of a name is a form: what has it, keeps it', () => {
  for (const name of [
    'e\u200d\u0301ve',
    'ΑΣ',
    'İpek',
    'a\u034fnn',
    'ann\ufe0f',
    'Straße',
    '\u3164ann',
    'ﬁ\u200b\u0301',
  ]) {
    assert.equal(humanKey(humanKey(name)), humanKey(name), name);
  }
  assert.equal(humanKey('e\u200d\u0301ve'), humanKey('éve'));
  for (const name of ['a\u034fnn', 'ann\ufe0f', '\u3164ann', '\u115fann', 'an\u17b4n'])
    assert.equal(humanKey(name), 'ann');
});

void describe('one human is one person', () => {
  void test('with an address as the subject, at whichever provider, beside another address or with a detail', async () => {
    await humans.seen(person('vera', 'vera@mail.example'));
    await humans.seen(person('corp:Vera@mail.example'));
    assert.equal(await same('vera', 'corp:Vera@mail.example'), true);
    // The subject is an address of theirs even where the provider tells another one.
    await humans.seen(person('shop:vera+shop@mail.example', 'orders@shop.example'));
    assert.equal(await same('vera', 'shop:vera+shop@mail.example'), true);
    assert.equal(await same('shop:vera+shop@mail.example', 'corp:Vera@mail.example'), true);
    await humans.seen(person('wim+a@mail.example', 'wim@other.example'));
    await humans.seen(person('wim', 'wim@mail.example'));
    assert.equal(await same('wim', 'wim+a@mail.example'), true);
    await humans.seen(person('corp:wendy@mail.example'));
    assert.equal(await same('wim', 'corp:wendy@mail.example'), false);
  });

  void test('with one verified address, also one from earlier', async () => {
    await humans.seen(person('ann', 'Ann@Example.test'));
    await humans.seen(person('ann2', 'other@example.test'));
    assert.equal(await same('ann', 'ann2'), false);
    // Ann's address changes at the provider, and later a second account has the old one.
    await humans.seen(person('ann', 'ann.new@example.test'));
    await humans.seen(person('ann2', 'ann+x@example.test'));
    assert.equal(await same('ann', 'ann2'), true);
    assert.equal(humans.keyOf('ANN'), humans.keyOf('ann2'));
    assert.deepEqual([...humans.humansByEmail('ann@example.test')].sort(), ['ann', 'ann2']);
    assert(events.some(({ type, human }) => type === 'people.same-email' && human === 'ann2'));
  });

  void test('whose subject is an address', async () => {
    await humans.seen(person('joe@example.test'));
    await humans.seen(person('joseph', 'Joe@example.test'));
    assert.equal(await same('joe@example.test', 'joseph'), true);
    assert.equal(await same('JOE@example.test', 'joseph'), true);
  });

  void test('an address that nobody has is nobody, until somebody is seen with it', async () => {
    const ask = { names: ['new@example.test', 'ann'], accounts: [], since: new Date(nowMs) };
    assert.equal((await humans.keysFor(store, ask)).keyOf('new@example.test'), '');
    await humans.seen(person('newcomer', 'NEW@example.test'));
    assert.equal(await same('new@example.test', 'newcomer'), true);
  });

  void test('who was not asked for is a fault, not a stranger', async () => {
    const keys = await humans.keysFor(store, { names: ['ann'], accounts: [], since: new Date(nowMs) });
    assert.throws(() => keys.keyOf('bob'), /not asked for/);
    assert.equal(keys.keyOf(''), '');
  });
});

void test('who was let in by an earlier version is known from the start', async () => {
  const groupsAt = new Date(nowMs);
  for (const [id, email] of [
    ['early', 'Early@example.test'],
    ['early2', 'early@EXAMPLE.test'],
  ] as const) {
    await upsertPrincipal(store, { ...person(id, email), provider: 'default', groupsAt }, groupsAt);
  }
  const robot = { ...account('early-etl', 'early-owner'), provider: 'default', groupsAt };
  await upsertPrincipal(store, robot, groupsAt);
  for (const one of [humans, node()]) await one.adopt([]);
  assert.equal(await same('early', 'early2'), true);
  assert.equal(await same('early-owner', 'early'), false);
  const keys = await humans.keysFor(store, { names: [], accounts: ['early-etl'], since: new Date(nowMs) });
  assert.deepEqual(keys.ownersOf('early-etl'), ['early-owner']);
});

void describe('links', () => {
  void test('join through others, in both directions, and reach another node', async () => {
    for (const id of ['l1', 'l2', 'l3', 'l4']) await humans.seen(person(id));
    const other = node();
    await other.refresh();
    await humans.link('l1', 'l2', admin, 'two accounts');
    await humans.link('l3', 'l2', admin, 'and a third');
    await humans.link('l3', 'external@example.org', admin, 'private address');
    assert.equal(await same('l1', 'l3'), true);
    assert.equal(await same('l1', 'external@example.org'), true);
    assert.equal(await same('l1', 'l4'), false);
    assert.notEqual(other.keyOf('l1'), other.keyOf('l3'));
    await other.refresh();
    assert.equal(other.keyOf('l1'), other.keyOf('l3'));
  });

  void test('that have ended count for what was there before', async () => {
    for (const id of ['p', 'q']) await humans.seen(person(id));
    await humans.link('p', 'q', admin, 'looked like one');
    const before = new Date(nowMs);
    nowMs += 1_000;
    await humans.unlink('q', 'p', admin, 'they are two');
    assert.equal(await same('p', 'q', before), true);
    assert.equal(await same('p', 'q'), false);
    assert.notEqual(humans.keyOf('p'), humans.keyOf('q'));
    const author = { human: 'p', name: 'P', role: 'author' as const };
    const names = async (at: Date) => (await humans.authorsSince([author], at)).map(({ human }) => human);
    assert.deepEqual(await names(before), ['p', 'q']);
    assert.deepEqual(await names(new Date(nowMs)), ['p']);
    const { links } = await humans.list();
    const ended = links.find(({ a, b }) => a === 'p' && b === 'q');
    assert.deepEqual(
      [ended?.reason, ended?.unlinkReason, ended?.unlinkedBy],
      ['looked like one', 'they are two', 'root'],
    );
    assert.deepEqual(events.at(-1), {
      type: 'people.unlinked',
      names: ['p', 'q'],
      source: 'admin',
      reason: 'they are two',
      by: 'root',
    });
  });

  void test('are ended by nobody whom they concern', async () => {
    for (const id of ['boss', 'boss-alias', 'boss-third']) await humans.seen(person(id));
    await humans.link('boss', 'boss-alias', admin, 'aliases');
    await humans.link('boss-alias', 'boss-third', admin, 'aliases');
    for (const [who, a, b] of [
      ['boss', 'boss', 'boss-alias'],
      ['boss-alias', 'boss', 'boss-alias'],
      ['boss', 'boss-alias', 'boss-third'],
    ] as const) {
      await assert.rejects(humans.unlink(a, b, person(who), 'set me free'), refusal('duty_conflict'));
    }
    await assert.rejects(humans.unlink('boss', 'boss-alias', account('etl', 'boss'), 'x'), refusal('duty_conflict'));
    assert.equal(await same('boss', 'boss-third'), true);
  });

  void test('need a reason, two names, and one of them known', async () => {
    const bad: [string, string, string][] = [
      ['ann', 'ANN', 'same'],
      ['ann', 'root', ' '],
      ['', 'root', 'because'],
      ['nobody-1', 'nobody-2', 'because'],
    ];
    for (const [a, b, reason] of bad) await assert.rejects(humans.link(a, b, admin, reason), refusal('input_invalid'));
    await humans.link('Written By Hand', 'root', admin, 'a name in a commit');
    await assert.rejects(humans.link('root', 'written by hand', admin, 'again'), refusal('input_invalid'));
    await assert.rejects(humans.unlink('ann', 'root', person('ann3'), 'x'), refusal('duty_conflict'));
    await assert.rejects(humans.unlink('l4', 'p', admin, 'x'), refusal('not_found'));
  });

  void test('of the configuration follow the configuration', async () => {
    for (const id of ['c1', 'c2']) await humans.seen(person(id));
    await humans.adopt([['C1', 'c2']]);
    await humans.adopt([['c2', 'c1']]);
    assert.equal(await same('c1', 'c2'), true);
    await assert.rejects(humans.unlink('c1', 'c2', admin, 'x'), refusal('not_found'));
    const before = new Date(nowMs);
    nowMs += 1_000;
    await humans.adopt([]);
    assert.equal(await same('c1', 'c2'), false);
    assert.equal(await same('c1', 'c2', before), true);
  });

  void test('do not come to be without a record', async () => {
    const broken = new Humans({ store, clock, record: () => Promise.reject(new Error('full disk')) });
    await assert.rejects(broken.link('c1', 'c2', admin, 'x'), /full disk/);
    assert.equal(await same('c1', 'c2'), false);
  });
});

void test('a service account counts as everybody who has owned it since', async () => {
  const owners = async (since: Date) =>
    [...(await humans.keysFor(store, { names: [], accounts: ['etl'], since })).ownersOf('etl')].sort();
  await humans.seen(account('etl', 'dana'));
  const first = new Date(nowMs);
  nowMs += 1_000;
  await humans.seen(account('etl', 'otto'));
  const second = new Date(nowMs);
  nowMs += 1_000;
  await humans.seen(account('etl', 'petra'));
  assert.deepEqual(await owners(first), ['dana', 'otto', 'petra']);
  assert.deepEqual(await owners(second), ['otto', 'petra']);
  assert.deepEqual(await owners(new Date(nowMs)), ['petra']);
  const pushed = { human: 'dana', name: 'etl', role: 'pusher' as const, principal: 'etl' };
  const names = (await humans.authorsSince([pushed], first)).map(({ human }) => human);
  assert.deepEqual(names.sort(), ['dana', 'otto', 'petra']);
});

void test('who is who waits for a decision that is running, and a decision for a change', async () => {
  for (const id of ['r1', 'r2']) await humans.seen(person(id));
  let isLinked = false;
  let link: Promise<void> | undefined;
  const ask = { names: ['r1', 'r2'], accounts: [], since: new Date(nowMs) };
  await store.transaction().execute(async (transaction) => {
    const keys = await humans.keysFor(transaction, ask);
    assert.notEqual(keys.keyOf('r1'), keys.keyOf('r2'));
    link = humans.link('r1', 'r2', admin, 'race').then(() => void (isLinked = true));
    // The link is waiting for its lock now: the store says so.
    for (let waits = 0; waits === 0; ) {
      const { rows } = await database.pool.query<{ n: number }>(
        "select count(*)::int as n from pg_locks where locktype = 'advisory' and not granted",
      );
      waits = rows[0]?.n ?? 0;
    }
    assert.equal(isLinked, false);
    // Who is already in may look again meanwhile, and sees the same.
    const again = await humans.keysFor(transaction, ask);
    assert.notEqual(again.keyOf('r1'), again.keyOf('r2'));
  });
  await link;
  assert.equal(await same('r1', 'r2'), true);
});
