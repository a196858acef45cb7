import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startTestStore, type TestStore } from '../../test/control-store.ts';
import {
  findSession,
  finishAbandonedSessions,
  finishSession,
  insertSession,
  listSessions,
  type NewSession,
} from './sessions.ts';

const session = (id: string, more: Partial<NewSession> = {}): NewSession => ({
  id,
  principalId: 'etl',
  human: 'dora',
  duty: 'executor',
  connection: 'crm',
  runId: undefined,
  clientAddress: '127.0.0.1',
  application: 'psql',
  node: 'node-1',
  startedAt: new Date('2026-01-01T00:00:00Z'),
  ...more,
});

void describe('sessions in a real store', () => {
  let database: TestStore;
  before(async () => {
    database = await startTestStore();
  });
  after(() => database.stop());

  void test('a session is open until it is finished, once', async () => {
    const { store } = database;
    await insertSession(store, session('s1', { application: 'a\0b' }));
    const open = await findSession(store, 's1');
    assert.deepEqual(open, {
      ...session('s1', { application: 'a\u{fffd}b' }),
      endedAt: undefined,
      statements: 0,
      rows: 0,
      maskedCells: 0,
    });
    const endedAt = new Date('2026-01-01T01:00:00Z');
    const totals = { statements: 3, rows: 5_000_000_000, maskedCells: 7 };
    assert.equal(await finishSession(store, 's1', totals, endedAt), true);
    assert.equal(await finishSession(store, 's1', { statements: 0, rows: 0, maskedCells: 0 }, new Date()), false);
    assert.equal(await finishSession(store, 'unknown', totals, endedAt), false);
    assert.deepEqual(await findSession(store, 's1'), { ...open, ...totals, endedAt });
    assert.equal(await findSession(store, 'unknown'), undefined);
  });

  void test('the list is newest first, and every filter narrows it', async () => {
    const { store } = database;
    const at = (minute: number) => new Date(Date.UTC(2026, 1, 1, 0, minute));
    await insertSession(store, session('l1', { principalId: 'p1', human: 'h1', startedAt: at(1) }));
    await insertSession(store, session('l2', { principalId: 'p2', human: 'h1', runId: 'run_1', startedAt: at(2) }));
    await insertSession(store, session('l3', { principalId: 'p1', human: 'h1', connection: 'erp', startedAt: at(3) }));
    await finishSession(store, 'l3', { statements: 0, rows: 0, maskedCells: 0 }, at(4));
    const ids = async (filter: Parameters<typeof listSessions>[1]) =>
      (await listSessions(store, { human: 'h1', ...filter })).map(({ id }) => id);
    assert.deepEqual(await ids({}), ['l3', 'l2', 'l1']);
    assert.deepEqual(await ids({ principalId: 'p1' }), ['l3', 'l1']);
    assert.deepEqual(await ids({ human: 'h2' }), []);
    assert.deepEqual(await ids({ runId: 'run_1' }), ['l2']);
    assert.deepEqual(await ids({ connection: 'erp' }), ['l3']);
    assert.deepEqual(await ids({ openOnly: true }), ['l2', 'l1']);
    assert.deepEqual(await ids({ startedFrom: at(2) }), ['l3', 'l2']);
    assert.deepEqual(await ids({ startedBefore: at(2) }), ['l1']);
    assert.deepEqual(await ids({ limit: 1 }), ['l3']);
  });

  void test('what a dead node left open is ended when it starts again, and nothing else', async () => {
    const { store } = database;
    await insertSession(store, session('d1', { node: 'dead' }));
    await insertSession(store, session('d2', { node: 'dead' }));
    await insertSession(store, session('d3', { node: 'alive' }));
    assert.equal(await finishAbandonedSessions(store, 'dead', new Date()), 2);
    assert.equal(await finishAbandonedSessions(store, 'dead', new Date()), 0);
    assert.equal((await findSession(store, 'd3'))?.endedAt, undefined);
  });
});
