import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultBindings, dutiesOf, sessionDuty, type Binding } from './bindings.ts';

const holder = (...groups: string[]) => ({ groups });

void test('the default bindings give each group its duties on every connection', () => {
  for (const labels of [{}, { env: 'prod' }]) {
    assert.deepEqual(dutiesOf(holder('chunk-designers'), labels, defaultBindings), ['designer']);
    assert.deepEqual(dutiesOf(holder('chunk-executors'), labels, defaultBindings), ['approver', 'executor']);
    assert.deepEqual(dutiesOf(holder('auditors'), labels, defaultBindings), ['auditor']);
    assert.deepEqual(dutiesOf(holder('everyone', 'Chunk-Designers', ''), labels, defaultBindings), []);
  }
});

void test('a binding with labels holds only where the connection carries every one of them', () => {
  const bindings: Binding[] = [{ group: 'eu', duties: ['executor'], labels: { env: 'prod', region: 'eu' } }];
  assert.deepEqual(dutiesOf(holder('eu'), { env: 'prod', region: 'eu', team: 'crm' }, bindings), ['executor']);
  assert.deepEqual(dutiesOf(holder('eu'), { env: 'prod', region: 'us' }, bindings), []);
  assert.deepEqual(dutiesOf(holder('eu'), { env: 'prod' }, bindings), []);
  assert.deepEqual(dutiesOf(holder('eu'), { env: 'prod', region: '' }, bindings), []);
});

void test('duties of several groups add up, each once, in one order', () => {
  const bindings: Binding[] = [
    { group: 'a', duties: ['admin', 'executor'] },
    { group: 'b', duties: ['executor', 'designer'] },
  ];
  assert.deepEqual(dutiesOf(holder('b', 'a', 'b'), {}, bindings), ['designer', 'executor', 'admin']);
});

void test('a session acts as designer before executor, and not at all in any other duty', () => {
  assert.equal(sessionDuty(['approver', 'executor']), 'executor');
  assert.equal(sessionDuty(['executor', 'designer']), 'designer');
  assert.equal(sessionDuty(['approver', 'auditor', 'admin']), undefined);
  assert.equal(sessionDuty([]), undefined);
});
