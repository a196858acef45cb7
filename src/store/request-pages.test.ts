import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  author,
  jobInput,
  person,
  startServices,
  storeJobVersion,
  type Services,
} from '../../test/approval-fixtures.ts';
import { startTestStore, type TestStore } from '../../test/control-store.ts';
import { lastApprovedBefore, requestPage, type RequestPageFilter } from './request-pages.ts';

let control: TestStore;
let services: Services;
const ids: string[] = [];

before(async () => {
  control = await startTestStore();
  services = startServices(control);
  await storeJobVersion(control);
  // The first three have the same moment, so that pages have to tell them apart by their ids.
  for (let no = 0; no < 7; no++) {
    if (no > 2) services.clock.time += 1_000;
    const requester = person(no === 4 ? 'dana' : 'dora', ['chunk-designers']);
    const input = jobInput({}, [author(requester.human, 'pusher')]);
    const ask = {
      requester,
      duties: ['designer'] as const,
      connection: 'crm',
      title: `no ${no}`,
      input,
      jobVersion: 1,
    };
    ids.push((await services.requests.create(ask)).id);
  }
});

after(async () => {
  await services.requests.close();
  await control.stop();
});

async function all(filter: Partial<RequestPageFilter>): Promise<string[]> {
  const seen: string[] = [];
  for (let page = 0; page < 20; page++) {
    const after = seen.at(-1);
    const next = await requestPage(control.store, {
      order: 'oldest',
      connections: ['crm'],
      limit: 2,
      after,
      ...filter,
    });
    if (next.length === 0) return seen;
    seen.push(...next);
  }
  throw new Error('no end');
}

void test('pages in either order hold every request once, also those of one moment', async () => {
  const oldest = await all({});
  assert.deepEqual(new Set(oldest), new Set(ids));
  assert.equal(oldest.length, ids.length);
  assert.deepEqual(oldest.slice(3), ids.slice(3));
  assert.deepEqual(await all({ order: 'newest' }), oldest.toReversed());
});

void test('a filter holds on every page; without a connection there is nothing', async () => {
  assert.deepEqual(await all({ requesterHuman: 'dana' }), [ids[4]]);
  assert.deepEqual(await all({ connections: [] }), []);
  assert.deepEqual(await all({ connections: ['other'] }), []);
  assert.deepEqual(await all({ kind: 'statement' }), []);
  assert.deepEqual(await all({ after: 'req_unknown' }), []);
});

void test('what was approved last is the newest that was approved before, and not the request itself', async () => {
  const { requests } = services;
  const approver = person('eli', ['chunk-executors']);
  for (const no of [3, 5]) await requests.decide(ids[no] ?? '', approver, ['approver'], 'approve', '');
  const before = async (no: number) =>
    (await lastApprovedBefore(control.store, (await requests.get(ids[no] ?? '')).request))?.requestId;
  assert.equal(await before(6), ids[5]);
  assert.equal(await before(5), ids[3]);
  assert.equal(await before(4), ids[3]);
  assert.equal(await before(3), undefined);
});
