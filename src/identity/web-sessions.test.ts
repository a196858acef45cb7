import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, beforeEach, describe, test } from 'node:test';
import { startTestStore, type TestStore } from '../../test/control-store.ts';
import { upsertPrincipal } from '../store/principals.ts';
import type { Principal } from './principal.ts';
import { WebSessions, type WebSessionEvent } from './web-sessions.ts';

const dana: Principal = {
  id: 'dana',
  human: 'dana',
  kind: 'person',
  displayName: 'Dana',
  email: undefined,
  groups: ['g'],
};
const minuteMs = 60_000;

void describe('web sessions', () => {
  let database: TestStore;
  let nowMs = Date.UTC(2026, 0, 1);
  let events: WebSessionEvent[] = [];
  let isLogBroken = false;
  const sessions = () =>
    new WebSessions({
      store: database.store,
      record: (event) => {
        if (isLogBroken) return Promise.reject(new Error('the log is broken'));
        events.push(event);
        return Promise.resolve();
      },
      clock: { now: () => nowMs },
      random: randomBytes,
      key: Buffer.alloc(32, 7),
      ttlMs: 60 * minuteMs,
      idleMs: 10 * minuteMs,
    });
  const count = async () => (await database.store.selectFrom('web_sessions').selectAll().execute()).length;

  before(async () => {
    database = await startTestStore();
  });
  after(() => database.stop());
  beforeEach(async () => {
    events = [];
    isLogBroken = false;
    await database.store.deleteFrom('web_sessions').execute();
    await upsertPrincipal(database.store, dana, new Date(nowMs));
  });

  void test('is found by its cookie, which the store does not hold', async () => {
    const one = sessions();
    const { cookie } = await one.open({ principal: dana, provider: 'default', refreshToken: 'refresh-me' });
    assert.deepEqual((await one.find(cookie))?.principal, dana);
    assert.equal(await one.refreshTokenOf(cookie), 'refresh-me');
    await one.keepRefreshToken(cookie, 'another');
    assert.equal(await one.refreshTokenOf(cookie), 'another');
    const stored = JSON.stringify(await database.store.selectFrom('web_sessions').selectAll().execute());
    for (const secret of [cookie, 'refresh-me', 'another']) {
      assert.ok(!stored.includes(secret) && !stored.includes(Buffer.from(secret).toString('base64')));
    }
    for (const wrong of ['', 'x', `${cookie}x`, cookie.toUpperCase(), 'é'.repeat(43), '\0'.repeat(43)]) {
      assert.equal(await one.find(wrong), undefined);
    }
  });

  void test('ends when its time is up, when nobody uses it, and when it is ended', async () => {
    const one = sessions();
    const used = await one.open({ principal: dana, provider: 'default' });
    const idle = await one.open({ principal: dana, provider: 'default' });
    for (let minute = 0; minute < 59; minute += 5) {
      assert.notEqual(await one.find(used.cookie), undefined);
      if (minute >= 10) assert.equal(await one.find(idle.cookie), undefined);
      nowMs += 5 * minuteMs;
    }
    assert.equal(await one.find(used.cookie), undefined, 'an hour is over');
    await one.sweep();
    assert.equal(await count(), 0);

    const { cookie } = await one.open({ principal: dana, provider: 'default' });
    const other = await one.open({ principal: dana, provider: 'default' });
    await one.end(cookie);
    assert.equal(await one.find(cookie), undefined);
    assert.equal(await one.endAllOf('dana', 'left'), 1);
    assert.equal(await one.find(other.cookie), undefined);
    assert.equal(events.at(-1)?.['reason'], 'left');
  });

  void test('is not opened when the log cannot be written', async () => {
    isLogBroken = true;
    await assert.rejects(sessions().open({ principal: dana, provider: 'default' }), /log is broken/);
    assert.equal(await count(), 0);
  });

  void test('says what the directory says now, and nothing once it names another human', async () => {
    const one = sessions();
    const { cookie } = await one.open({ principal: dana, provider: 'default' });
    await upsertPrincipal(database.store, { ...dana, groups: [] }, new Date(nowMs));
    assert.deepEqual((await one.find(cookie))?.principal.groups, []);
    await upsertPrincipal(database.store, { ...dana, human: 'eve' }, new Date(nowMs));
    assert.equal(await one.find(cookie), undefined);
  });
});
