import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startTestStore } from '../../test/control-store.ts';
import { reserveSample, usedSamples } from './samples.ts';

const database = await startTestStore({ maxConnections: 30 });
after(() => database.stop());

const hourMs = 3_600_000;
const noon = Date.parse('2026-01-02T12:00:00Z');

function reserve(human: string, rows: number, now = noon, connection = 'crm') {
  return reserveSample(database.store, { human, connection, rows, limit: 100, windowMs: hourMs, now });
}

void test('the budget is cumulative, per human and connection, and a refusal takes nothing', async () => {
  assert.deepEqual(await reserve('dora', 60), { allowed: true, used: 60 });
  assert.deepEqual(await reserve('dora', 41), { allowed: false, used: 60 });
  assert.deepEqual(await reserve('dora', 40), { allowed: true, used: 100 });
  assert.deepEqual(await reserve('dora', 1), { allowed: false, used: 100 });
  assert.deepEqual(await reserve('dora', 0), { allowed: true, used: 100 });
  assert.deepEqual(await reserve('dora', 100, noon, 'hr'), { allowed: true, used: 100 });
  assert.deepEqual(await reserve('ann', 100), { allowed: true, used: 100 });
  assert.deepEqual(await reserve('ann', 101), { allowed: false, used: 100 });
});

void test('each masking rule has a budget of its own', async () => {
  const take = (rule: string, rows: number) =>
    reserveSample(database.store, {
      human: 'gil',
      connection: 'crm',
      rule,
      rows,
      limit: 3,
      windowMs: hourMs,
      now: noon,
    });
  assert.deepEqual(await reserve('gil', 90), { allowed: true, used: 90 });
  assert.deepEqual(await take('personal/columns[0]', 2), { allowed: true, used: 2 });
  assert.deepEqual(await take('personal/columns[1]', 3), { allowed: true, used: 3 });
  assert.deepEqual(await take('personal/columns[0]', 2), { allowed: false, used: 2 });
  assert.deepEqual(await reserve('gil', 10), { allowed: true, used: 100 });
});

void test('the window slides; what a fast clock wrote into the future counts', async () => {
  await reserve('bob', 50, noon);
  await reserve('bob', 50, noon + 1_000);
  assert.equal((await reserve('bob', 1, noon + hourMs - 1)).allowed, false);
  assert.deepEqual(await reserve('bob', 50, noon + hourMs), { allowed: true, used: 100 });
  assert.deepEqual(await reserve('bob', 1, noon), { allowed: false, used: 100 });
  const budget = { human: 'bob', connection: 'crm', windowMs: hourMs, now: noon + hourMs + 1_000 };
  assert.equal(await usedSamples(database.store, budget), 50);
});

void test('many small reads at once do not share one free place', async () => {
  const outcomes = await Promise.all(Array.from({ length: 25 }, () => reserve('cy', 10)));
  assert.equal(outcomes.filter((one) => one.allowed).length, 10);
  assert.equal(Math.max(...outcomes.map((one) => one.used)), 100);
});

void test('a number of rows that is none is refused', async () => {
  for (const rows of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])
    await assert.rejects(reserve('eve', rows), RangeError);
});

void test('the clock of the store counts where none is given', async () => {
  const given = { human: 'fay', connection: 'crm', limit: 100, windowMs: hourMs };
  assert.deepEqual(await reserveSample(database.store, { ...given, rows: 60, now: undefined }), {
    allowed: true,
    used: 60,
  });
  assert.equal(await usedSamples(database.store, { ...given, now: undefined }), 60);
  assert.equal(await usedSamples(database.store, { ...given, now: Date.now() + 2 * hourMs }), 0);
  assert.equal((await reserveSample(database.store, { ...given, rows: 41, now: undefined })).allowed, false);
});
