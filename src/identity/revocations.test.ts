import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, test } from 'node:test';
import { UnsecuredJWT } from 'jose';
import { startTestStore } from '../../test/control-store.ts';
import type { CountersignError } from '../errors.ts';
import { upsertPrincipal } from '../store/principals.ts';
import { CredentialService } from './credentials.ts';
import type { Principal } from './principal.ts';
import { Revocations, sessionMarkOf } from './revocations.ts';

const database = await startTestStore();
after(() => database.stop());
const { store } = database;
const quiet = () => Promise.resolve();
let nowMs = Date.parse('2026-01-02T03:04:05Z');
const clock = { now: () => nowMs };
const ann: Principal = { id: 'ann', human: 'ann', kind: 'person', displayName: 'Ann', email: undefined, groups: [] };
await upsertPrincipal(store, ann, new Date(nowMs));
const credentials = new CredentialService({
  store,
  record: quiet,
  clock,
  random: randomBytes,
  current: (principal) => Promise.resolve(principal),
});

function node(endsWithLogin: boolean, resting = new Map<string, string>()) {
  const ended = new Map<string, CountersignError>();
  const end = (mark: string, error: CountersignError) => Promise.resolve(void ended.set(mark, error));
  const endedAccounts = () => Promise.resolve(resting);
  return { ended, revocations: new Revocations({ store, clock, end, endAccount: end, endedAccounts, endsWithLogin }) };
}

void test('a log-in whose time is up ends its sessions only where that is set, and a run never', async () => {
  const [ends, goesOn] = [node(true), node(false)];
  const own = await credentials.issue({ principal: ann, ttlMs: 60_000 });
  const later = await credentials.issue({ principal: ann, ttlMs: 120_000 });
  const run = await credentials.issue({ principal: ann, runId: 'run_1', ttlMs: 60_000 });
  const token = new UnsecuredJWT({}).setExpirationTime(nowMs / 1_000 + 60).encode();
  const endless = new UnsecuredJWT({}).encode();
  for (const { revocations } of [ends, goesOn]) {
    for (const { user, expiresAt } of [own, later, run]) revocations.watchCredential(user, expiresAt);
    for (const one of [token, endless]) revocations.watchToken(one);
    await revocations.check();
  }
  assert.deepEqual([ends.ended.size, goesOn.ended.size], [0, 0]);
  nowMs += 60_000;
  for (const { revocations } of [ends, goesOn]) await revocations.check();
  assert.deepEqual(new Set(ends.ended.keys()), new Set([own.user, sessionMarkOf(token)]));
  assert.equal(goesOn.ended.size, 0);
  for (const error of ends.ended.values()) {
    assert.deepEqual([error.code, error.sqlstate], ['access_ended', '57P01']);
    assert.match(error.message, /expired at 2026-01-02T03:05:05/);
  }
  // What is taken away ends sessions everywhere, also a run's, also when its time was up.
  for (const { user } of [own, run]) await credentials.revoke(user, 'ann');
  await goesOn.revocations.check();
  assert.deepEqual(new Set(goesOn.ended.keys()), new Set([own.user, run.user]));
  assert.equal(goesOn.ended.get(run.user)?.code, 'authentication_failed');
});

void test('an account that rests and comes back is looked at on', async () => {
  const resting = new Map<string, string>();
  const { revocations, ended } = node(false, resting);
  revocations.watchAccount('etl');
  for (let times = 0; times < 2; times++) {
    resting.set('etl', 'rests');
    await revocations.check();
    assert.match(ended.get('etl')?.message ?? '', /the service account etl rests/);
    ended.clear();
    resting.clear();
    nowMs += 3_600_000;
    await revocations.check();
    assert.equal(ended.size, 0);
  }
});
