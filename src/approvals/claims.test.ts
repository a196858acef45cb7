/** A process that dies at each step of a claim, with a real log and a real store. Promises P4 and P5. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  approvalBench,
  approver,
  designer,
  jobInput,
  person,
  recordIn,
  storeRun,
  type Services,
} from '../../test/approval-fixtures.ts';
import { generateLogKey } from '../audit/checkpoint.ts';
import { hasEntry } from '../audit/find-entry.ts';
import { TransparencyLog } from '../audit/log.ts';
import { iterateEntries, readerFor, verifyLog } from '../audit/verify.ts';
import { CountersignError } from '../errors.ts';
import { systemClock } from '../lib/clock.ts';
import { findGrant } from '../store/grants.ts';
import { claimSteps, type Claim, type ClaimStep } from './grants.ts';

const { database, start } = await approvalBench();
const home = await mkdtemp(path.join(tmpdir(), 'countersign-claims-'));
const node = 'victim';
const origin = `countersign/${node}`;
const key = generateLogKey(origin);
const directory = path.join(home, 'log');
after(() => rm(home, { recursive: true, force: true }));

const storeRunOf: NonNullable<Claim<string>['extra']> = (transaction, grant) => storeRun(transaction, grant.id);

const claimOf = (grantId: string) => ({
  grantId,
  principal: person('eve'),
  duties: ['executor'] as const,
  current: jobInput(),
  extra: storeRunOf,
});

async function approved({ requests }: Services): Promise<string> {
  const ask = {
    requester: person('dora'),
    duties: designer,
    connection: 'crm',
    title: 't',
    input: jobInput(),
    jobVersion: 1,
  };
  const { id } = await requests.create(ask);
  const { grant } = await requests.decide(id, person('ann'), approver, 'approve', '');
  assert(grant !== undefined);
  return grant.id;
}

/** @returns what it printed before it ended */
async function die(grantId: string, step: ClaimStep | 'never'): Promise<string> {
  const program = fileURLToPath(new URL('../../test/claim-and-die.ts', import.meta.url));
  const args = [program, database.url, directory, key.privateKeyPem, node, grantId, step];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  assert.deepEqual([code, signal], step === 'never' ? [0, null] : [null, 'SIGKILL']);
  return printed;
}

/** The node starts again: its log is open, and what it left behind is ended. */
async function restart<T>(work: (services: Services, ended: string[]) => Promise<T>): Promise<T> {
  const log = await TransparencyLog.open({ directory, origin, privateKeyPem: key.privateKeyPem, clock: systemClock });
  try {
    const services = start({ node, record: recordIn(log, node) });
    const ended = await services.grants.reconcile(async (mark) => {
      const size = Number((await log.checkpoint()).split('\n')[1]);
      const texts = ['grant.consumed', mark.id];
      return hasEntry({ read: readerFor(directory), size, since: new Date(0), texts });
    });
    return await work(services, ended);
  } finally {
    await log.close();
  }
}

async function eventsOf(grantId: string): Promise<string[]> {
  const read = readerFor(directory);
  const verdict = await verifyLog({ read, verifierKey: key.verifierKey });
  assert(verdict.ok, JSON.stringify(verdict));
  const types: string[] = [];
  for await (const { text } of iterateEntries({ read, size: verdict.size })) {
    const entry = JSON.parse(text) as { type: string; grant?: string };
    if (entry.grant === grantId) types.push(entry.type);
  }
  return types;
}

async function runsOf(grantId: string): Promise<number> {
  return (await database.store.selectFrom('runs').select('id').where('grant_id', '=', grantId).execute()).length;
}

async function marks(): Promise<number> {
  return (await database.store.selectFrom('grant_claims').select('id').execute()).length;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'claimed',
    (error: unknown) => (error instanceof CountersignError ? error.code : String(error)),
  );
}

/** What each step leaves behind: the grant after the restart, executions, events, and what a later claim gets. */
const expected: Record<ClaimStep, { state: string; runs: number; events: string[]; later: string }> = {
  begun: { state: 'open', runs: 0, events: [], later: 'claimed' },
  marked: { state: 'open', runs: 0, events: [], later: 'claimed' },
  locked: { state: 'open', runs: 0, events: [], later: 'claimed' },
  recorded: { state: 'void', runs: 0, events: ['grant.consumed', 'grant.void'], later: 'grant_void' },
  worked: { state: 'void', runs: 0, events: ['grant.consumed', 'grant.void'], later: 'grant_void' },
  committed: { state: 'consumed', runs: 1, events: ['grant.consumed'], later: 'grant_used' },
};

for (const step of claimSteps) {
  void test(`killed at "${step}": executed once with its event, or not at all and nothing is claimed falsely`, async () => {
    const services = start();
    const grantId = await approved(services);
    assert.equal(await die(grantId, step), '');
    const { state, runs, events, later } = expected[step];
    await restart(async ({ grants }, ended) => {
      assert.deepEqual(ended, state === 'void' ? [grantId] : []);
      assert.equal((await findGrant(database.store, grantId))?.state, state);
      assert.equal(await runsOf(grantId), runs);
      assert.equal(await marks(), 0);
      assert.equal(await codeOf(grants.claim(claimOf(grantId))), later);
      assert.equal(await codeOf(grants.claim(claimOf(grantId))), later === 'claimed' ? 'grant_used' : later);
    });
    assert.equal(await runsOf(grantId), later === 'claimed' ? 1 : runs);
    const told = (await eventsOf(grantId)).filter((type) => type !== 'grant.refused');
    assert.deepEqual(told, later === 'claimed' ? ['grant.consumed'] : events);
  });
}

void test('it lives: one execution, one event, no mark', async () => {
  const grantId = await approved(start());
  assert.equal(await die(grantId, 'never'), `claimed ${grantId}\n`);
  assert.deepEqual([await runsOf(grantId), await marks()], [1, 0]);
  assert.deepEqual(await eventsOf(grantId), ['grant.consumed']);
});

for (const step of ['recorded', 'worked', 'locked'] as const) {
  void test(`killed at "${step}" while a second node takes the grant: one execution, and the dead node says so`, async () => {
    const services = start();
    const grantId = await approved(services);
    await die(grantId, step);
    const second = start({ node: 'second' });
    // What another node left behind is not this one's to end: its log is elsewhere.
    assert.deepEqual(await second.grants.reconcile(() => Promise.reject(new Error('not asked'))), []);
    assert.equal(await codeOf(second.grants.claim(claimOf(grantId))), 'claimed');
    await restart(async ({ grants }, ended) => {
      assert.deepEqual(ended, []);
      assert.equal(await codeOf(grants.claim(claimOf(grantId))), 'grant_used');
    });
    assert.deepEqual([await runsOf(grantId), await marks()], [1, 0]);
    const told = (await eventsOf(grantId)).filter((type) => type !== 'grant.refused');
    assert.deepEqual(told, step === 'locked' ? [] : ['grant.consumed', 'grant.reconciled']);
  });
}

void test('a claim that goes on is not ended by its own node; one that fails leaves no mark, or one that the log settles', async () => {
  let reconciled: Promise<string[]> | undefined;
  const services: Services = start({
    node: 'live',
    onStep: async (step) => {
      if (step !== 'recorded') return;
      reconciled = services.grants.reconcile(() => Promise.resolve(true));
      await reconciled;
    },
  });
  const grantId = await approved(services);
  assert.equal(await codeOf(services.grants.claim(claimOf(grantId))), 'claimed');
  assert.deepEqual(await reconciled, []);
  const other = await approved(services);
  assert.equal(await codeOf(services.grants.claim({ ...claimOf(other), duties: [] })), 'duty_missing');
  assert.equal(await marks(), 0);
  services.logFailure = new CountersignError('log_unavailable', 'the disk is full');
  assert.equal(await codeOf(services.grants.claim(claimOf(other))), 'log_unavailable');
  assert.equal(await marks(), 1);
  services.logFailure = undefined;
  assert.deepEqual(await services.grants.reconcile(() => Promise.resolve(false)), []);
  assert.equal(await marks(), 0);
  assert.equal((await findGrant(database.store, other))?.state, 'open');
});
