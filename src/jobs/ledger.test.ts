import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { startTestStore, type TestStore } from '../../test/control-store.ts';
import { fakePlan, grantRow } from '../../test/run-fixtures.ts';
import { CountersignError } from '../errors.ts';
import { chunksOfRun } from '../store/runs.ts';
import { Ledger, type LedgerEvent } from './ledger.ts';
import { parseManifest } from './manifest.ts';
import type { ChunkFile, ChunkRef, LeaseAnswer } from './runner-api.ts';

const facts = {
  commit: 'c'.repeat(40),
  contentDigest: '1'.repeat(64),
  maskDigest: '2'.repeat(64),
  boundsKey: Buffer.from('k'),
};
const file = (no: number): ChunkFile => ({ path: `chunk-000${no}.csv`, bytes: 10, sha256: '3'.repeat(64) });
const counts = { rows: 5, bytes: 50, maskedCells: 2 };

function refusal(code: string, text = /./) {
  return (error: unknown) => {
    assert.ok(error instanceof CountersignError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, text);
    return true;
  };
}

void describe('ledger', () => {
  let database: TestStore;
  let ledger: Ledger;
  let events: LedgerEvent[];
  let now: number;
  let runNo = 0;
  let runId: string;
  let broken: Error | undefined;

  before(async () => {
    database = await startTestStore({ maxConnections: 20 });
  });
  after(() => database.stop());
  beforeEach(async () => {
    events = [];
    now = 1_700_000_000_000;
    broken = undefined;
    ledger = new Ledger({
      store: database.store,
      clock: { now: () => now },
      record: async (event) => {
        if (broken !== undefined) throw broken;
        events.push(event);
      },
      leaseMs: 1_000,
      attempts: 3,
    });
    runId = await newRun();
  });

  async function newRun(more: Parameters<typeof fakePlan>[0] = {}): Promise<string> {
    const id = `run_${++runNo}`;
    await grantRow(database.store, `grant_${runNo}`);
    const plan = fakePlan({ chunks: 3, ...more });
    const executor = { id: 'etl-runner', human: 'erik' };
    await database.store.transaction().execute((transaction) =>
      ledger.createRun(transaction, {
        id,
        grantId: `grant_${runNo}`,
        job: 'export',
        jobVersion: 1,
        connection: 'crm',
        executor,
        plan,
        snapshot: 'shared',
      }),
    );
    return id;
  }

  async function lease(holder = 'me', chunkNo?: number): Promise<ChunkRef> {
    const answer: LeaseAnswer = await ledger.lease(runId, holder, chunkNo);
    assert.equal(answer.kind, 'leased');
    assert.ok(answer.kind === 'leased');
    return { runId, chunkNo: answer.chunkNo, attempt: answer.attempt };
  }

  async function sealOne(holder = 'me'): Promise<ChunkRef> {
    const ref = await lease(holder);
    await ledger.begin(runId, ref.chunkNo, 's');
    await ledger.delivered(ref, counts, 'd');
    await ledger.seal(ref, { rows: 5, file: file(ref.chunkNo) });
    return ref;
  }

  const stateOf = async (chunkNo: number) => (await chunksOfRun(database.store, runId))[chunkNo];

  void test('a chunk goes from planned to sealed, and each step is recorded', async () => {
    const ref = await lease();
    assert.deepEqual(ref, { runId, chunkNo: 0, attempt: 1 });
    const begun = await ledger.begin(runId, 0, 'session-1');
    assert.deepEqual([begun.attempt, begun.sql, begun.rowsLeft], [1, 'select 0', undefined]);
    await ledger.delivered(ref, counts, 'digest');
    await ledger.seal(ref, { rows: 5, file: file(0) });
    assert.equal((await stateOf(0))?.state, 'sealed');
    assert.deepEqual(
      events.map((event) => [event.type, event.chunkNo]),
      [
        ['run.created', undefined],
        ['chunk.leased', 0],
        ['chunk.streaming', 0],
        ['chunk.delivered', 0],
        ['chunk.sealed', 0],
      ],
    );
  });

  void test('a completed run has a manifest with every chunk', async () => {
    for (let index = 0; index < 3; index++) await sealOne();
    assert.deepEqual(await ledger.lease(runId, 'me'), { kind: 'done' });
    const { state, manifest } = await ledger.finish(runId, facts);
    assert.equal(state, 'completed');
    const parsed = parseManifest(manifest ?? '');
    assert.deepEqual(parsed.totals, { chunks: 3, rows: 15, bytes: 150, maskedCells: 6, fileBytes: 30 });
    assert.equal(parsed.snapshot, 'shared');
    assert.deepEqual(await ledger.finish(runId, facts), { state, manifest });
    assert.deepEqual(await ledger.lease(runId, 'me'), { kind: 'stopped', state: 'completed' });
    assert.equal(events.filter((event) => event.type === 'run.completed').length, 1);
  });

  void test('a run with open chunks is not finished', async () => {
    await sealOne();
    await assert.rejects(ledger.finish(runId, facts), refusal('run_not_open', /2 of 3/));
  });

  void test('what cannot be recorded does not happen', async () => {
    broken = new Error('the log is full');
    await assert.rejects(ledger.lease(runId, 'me'), /the log is full/);
    assert.equal((await stateOf(0))?.state, 'planned');
    broken = undefined;
    const ref = await lease();
    await ledger.begin(runId, 0, 's');
    await ledger.delivered(ref, counts, 'd');
    broken = new Error('the log is full');
    await assert.rejects(ledger.seal(ref, { rows: 5, file: file(0) }), /the log is full/);
    assert.equal((await stateOf(0))?.state, 'streaming');
  });

  void describe('seals', () => {
    void test('need delivery, the same count and the same attempt', async () => {
      const ref = await lease();
      await assert.rejects(
        ledger.seal(ref, { rows: 5, file: null }),
        refusal('chunk_not_available', /leased, not streaming/),
      );
      await ledger.begin(runId, 0, 's');
      await assert.rejects(ledger.seal(ref, { rows: 5, file: null }), refusal('chunk_not_available', /not delivered/));
      await ledger.delivered(ref, counts, 'd');
      await assert.rejects(
        ledger.seal(ref, { rows: 4, file: null }),
        refusal('chunk_not_available', /delivered 5 rows/),
      );
      const other = { ...ref, attempt: 2 };
      await assert.rejects(ledger.seal(other, { rows: 5, file: null }), refusal('chunk_not_available', /attempt/));
      await ledger.seal(ref, { rows: 5, file: null });
    });

    void test('may be repeated, but not changed', async () => {
      const ref = await sealOne();
      const before = events.length;
      await ledger.seal(ref, { rows: 5, file: file(0) });
      assert.equal(events.length, before);
      const changed = { ...file(0), sha256: '4'.repeat(64) };
      await assert.rejects(ledger.seal(ref, { rows: 5, file: changed }), refusal('chunk_not_available'));
    });

    void test('of an attempt that was given up is refused', async () => {
      const old = await lease();
      await ledger.begin(runId, 0, 's');
      await ledger.delivered(old, counts, 'd');
      now += 2 * 3_600_000;
      await ledger.sweep();
      const again = await lease('other', 0);
      assert.equal(again.attempt, 2);
      await assert.rejects(ledger.seal(old, { rows: 5, file: file(0) }), refusal('chunk_not_available'));
      await ledger.begin(runId, 0, 's2');
      await assert.rejects(ledger.delivered(old, counts, 'd'), refusal('chunk_not_available', /attempt 1/));
    });
  });

  void describe('leases', () => {
    void test('that run out return the chunk, and late words change nothing', async () => {
      const old = await lease();
      now += 1_000;
      assert.deepEqual(await ledger.heartbeat(old, 'me'), { state: 'running', held: false });
      const again = await lease('other', 0);
      assert.equal(again.attempt, 2);
      await ledger.failAttempt(old, 'late', true);
      assert.deepEqual([(await stateOf(0))?.state, (await stateOf(0))?.attempt], ['leased', 2]);
    });

    void test("last as long as their heartbeats, and no other holder's", async () => {
      const ref = await lease();
      for (let beat = 0; beat < 4; beat++) {
        now += 900;
        assert.equal((await ledger.heartbeat(ref, 'me')).held, true);
      }
      assert.equal((await ledger.heartbeat(ref, 'you')).held, false);
      await ledger.sweep();
      assert.equal((await stateOf(0))?.state, 'leased');
    });

    void test('are capped by the concurrency of the approval', async () => {
      runId = await newRun({ chunks: 5, concurrency: 2 });
      await lease();
      await lease();
      assert.deepEqual(await ledger.lease(runId, 'me'), { kind: 'wait', reason: 'concurrency' });
      await assert.rejects(ledger.begin(runId, 4, 's'), refusal('chunk_not_available', /2 chunks of this run/));
    });

    void test('wait while the rest is read by others', async () => {
      runId = await newRun({ chunks: 1 });
      await lease();
      assert.deepEqual(await ledger.lease(runId, 'you'), { kind: 'wait', reason: 'in-flight' });
    });

    void test('many at once take each chunk once', async () => {
      runId = await newRun({ chunks: 12, concurrency: 64 });
      const answers = await Promise.all(Array.from({ length: 15 }, (_, index) => ledger.lease(runId, `h${index}`)));
      const taken = answers.flatMap((answer) => (answer.kind === 'leased' ? [answer.chunkNo] : []));
      assert.deepEqual(
        taken.sort((a, b) => a - b),
        Array.from({ length: 12 }, (_, index) => index),
      );
    });

    void test('one of many who begin the same chunk gets it', async () => {
      const results = await Promise.allSettled(
        Array.from({ length: 8 }, (_, index) => ledger.begin(runId, 1, `s${index}`)),
      );
      assert.equal(results.filter((result) => result.status === 'fulfilled').length, 1);
    });

    void test('one of many who seal the same chunk differently wins', async () => {
      const ref = await lease();
      await ledger.begin(runId, 0, 's');
      await ledger.delivered(ref, counts, 'd');
      const results = await Promise.allSettled(
        Array.from({ length: 6 }, (_, index) => ledger.seal(ref, { rows: 5, file: { ...file(0), bytes: index } })),
      );
      assert.equal(results.filter((result) => result.status === 'fulfilled').length, 1);
      assert.equal(events.filter((event) => event.type === 'chunk.sealed').length, 1);
    });
  });

  void describe('attempts', () => {
    void test('are capped; then the chunk and the run have failed', async () => {
      runId = await newRun({ chunks: 1 });
      for (let attempt = 1; attempt <= 3; attempt++) {
        const ref = await lease();
        assert.equal(ref.attempt, attempt);
        await ledger.failAttempt(ref, `fault ${attempt}`, true);
      }
      assert.equal((await stateOf(0))?.state, 'failed');
      assert.deepEqual(await ledger.lease(runId, 'me'), { kind: 'done' });
      const { state, manifest } = await ledger.finish(runId, facts);
      assert.deepEqual([state, manifest], ['failed', null]);
      assert.match((await ledger.status(runId)).failure ?? '', /chunk 0: fault 3/);
    });

    void test('that cannot succeed are not repeated', async () => {
      await ledger.failAttempt(await lease(), '42703: no such column', false);
      assert.equal((await stateOf(0))?.state, 'failed');
    });

    void test('a chunk that waits for its next attempt comes after fresh ones', async () => {
      await ledger.failAttempt(await lease(), 'x', true);
      assert.equal((await lease()).chunkNo, 1);
    });
  });

  void describe('a client without a lease', () => {
    void test('begins an attempt of its own and may read a delivered chunk again', async () => {
      const first = await ledger.begin(runId, 2, 'psql');
      assert.equal(first.attempt, 1);
      await assert.rejects(ledger.begin(runId, 2, 'psql-2'), refusal('chunk_not_available', /streaming/));
      await ledger.delivered(first, counts, 'd');
      const second = await ledger.begin(runId, 2, 'psql');
      assert.equal(second.attempt, 2);
      await ledger.delivered(second, counts, 'd');
      await ledger.seal(second, { rows: 5, file: null });
      await assert.rejects(ledger.begin(runId, 2, 'psql'), refusal('chunk_not_available', /sealed/));
    });

    void test('cannot take what a runner is reading, even when all is delivered', async () => {
      const ref = await lease();
      await ledger.begin(runId, 0, 's');
      await ledger.delivered(ref, counts, 'd');
      await assert.rejects(ledger.begin(runId, 0, 'other'), refusal('chunk_not_available', /streaming/));
    });

    void test('gets no chunk that is not there', async () => {
      await assert.rejects(ledger.begin(runId, 3, 's'), refusal('chunk_not_available', /no chunk 3/));
      await assert.rejects(ledger.begin('run_none', 0, 's'), refusal('run_unknown'));
    });
  });

  void describe('caps', () => {
    void test('stop the next chunk when they are reached', async () => {
      runId = await newRun({ chunks: 3, rows: 5 });
      await sealOne();
      const ref = await lease();
      await assert.rejects(ledger.begin(runId, ref.chunkNo, 's'), refusal('limit_exceeded'));
      assert.equal((await stateOf(ref.chunkNo))?.state, 'blocked');
    });

    void test('block a chunk that goes beyond them', async () => {
      runId = await newRun({ chunks: 3, rows: 7 });
      await sealOne();
      const ref = await lease();
      assert.equal((await ledger.begin(runId, ref.chunkNo, 's')).rowsLeft, 2);
      await assert.rejects(ledger.delivered(ref, counts, 'd'), refusal('limit_exceeded'));
      assert.equal((await stateOf(ref.chunkNo))?.state, 'blocked');
      await assert.rejects(ledger.seal(ref, { rows: 5, file: null }), refusal('chunk_not_available'));
    });
  });

  void describe('people', () => {
    void test('pause: no more leases, what runs ends', async () => {
      const ref = await lease();
      await ledger.pause(runId, 'erik');
      assert.deepEqual(await ledger.lease(runId, 'me'), { kind: 'wait', reason: 'paused' });
      await assert.rejects(ledger.begin(runId, 2, 'psql'), refusal('run_not_open', /paused/));
      await ledger.begin(runId, 0, 's');
      await ledger.delivered(ref, counts, 'd');
      await ledger.seal(ref, { rows: 5, file: null });
      await ledger.resume(runId, 'erik');
      assert.equal((await lease()).chunkNo, 1);
      await assert.rejects(ledger.resume(runId, 'erik'), refusal('run_not_open'));
    });

    void test('kill: nothing goes on, and the sessions to end are named', async () => {
      const ref = await lease();
      await ledger.begin(runId, 0, 's');
      await lease();
      assert.deepEqual(await ledger.kill(runId, 'erik', 'wrong data'), [ref]);
      assert.deepEqual((await ledger.status(runId)).chunks, {
        planned: 0,
        leased: 0,
        streaming: 0,
        sealed: 0,
        failed: 0,
        blocked: 3,
      });
      await assert.rejects(ledger.delivered(ref, counts, 'd'), refusal('chunk_not_available'));
      await assert.rejects(ledger.begin(runId, 2, 's'), refusal('run_not_open', /killed/));
      assert.deepEqual(await ledger.lease(runId, 'me'), { kind: 'stopped', state: 'killed' });
      await assert.rejects(ledger.kill(runId, 'erik', 'again'), refusal('run_not_open'));
      assert.equal((await ledger.heartbeat(ref, 'me')).state, 'killed');
    });

    void test('a snapshot that is lost is in the manifest', async () => {
      await ledger.markSnapshotMixed(runId, 'the target restarted');
      for (let index = 0; index < 3; index++) await sealOne();
      const { manifest } = await ledger.finish(runId, facts);
      assert.equal(parseManifest(manifest ?? '').snapshot, 'mixed');
    });
  });

  describe('retries', () => {
    const later = new Date(1_700_000_000_000 + 60_000);

    async function failOne(chunkNo: number): Promise<void> {
      for (;;) {
        const ref = await lease('me', chunkNo);
        await ledger.failAttempt(ref, 'disk full', true);
        if ((await stateOf(chunkNo))?.state === 'failed') return;
      }
    }

    void test('plan failed chunks again, with all their attempts, so often', async () => {
      await failOne(1);
      assert.equal((await stateOf(1))?.attempt, 3);
      assert.equal(await ledger.retry(runId, 'erik', later, 1), 1);
      await failOne(1);
      assert.equal((await stateOf(1))?.attempt, 6);
      for (let time = 2; time <= 5; time++) {
        assert.equal(await ledger.retry(runId, 'erik', later), 1);
        await failOne(1);
      }
      await assert.rejects(ledger.retry(runId, 'erik', later), refusal('limit_exceeded', /5 times/));
      const retried = events.filter((event) => event.type === 'run.retried');
      assert.deepEqual(retried[0]?.detail, { by: 'erik', chunks: [1] });
      assert.equal(retried.length, 5);
    });

    void test('touch nothing else', async () => {
      await sealOne();
      await failOne(1);
      await assert.rejects(ledger.retry(runId, 'erik', later, 0), refusal('chunk_not_available', /chunk 0/));
      await assert.rejects(ledger.retry(runId, 'erik', later, 2), refusal('chunk_not_available', /chunk 2/));
      await ledger.retry(runId, 'erik', later);
      assert.deepEqual(
        (await chunksOfRun(database.store, runId)).map((chunk) => chunk.state),
        ['sealed', 'planned', 'planned'],
      );
    });

    void test('open a failed run again, mixed, while its approval lasts', async () => {
      for (const chunk of [0, 1, 2]) await failOne(chunk);
      await ledger.finish(runId, facts);
      now = later.getTime();
      await assert.rejects(ledger.retry(runId, 'erik', later), refusal('grant_expired'));
      now--;
      assert.equal(await ledger.retry(runId, 'erik', later), 3);
      const status = await ledger.status(runId);
      assert.deepEqual([status.state, status.snapshot, status.failure], ['running', 'mixed', null]);
      for (let index = 0; index < 3; index++) await sealOne();
      assert.equal(parseManifest((await ledger.finish(runId, facts)).manifest ?? '').snapshot, 'mixed');
      await assert.rejects(ledger.retry(runId, 'erik', later), refusal('run_not_open', /completed/));
    });

    void test('never open a killed run, and happen only when they are recorded', async () => {
      await failOne(0);
      broken = new Error('the log is full');
      await assert.rejects(ledger.retry(runId, 'erik', later), /the log is full/);
      assert.equal((await stateOf(0))?.state, 'failed');
      broken = undefined;
      await ledger.kill(runId, 'erik', 'enough');
      await assert.rejects(ledger.retry(runId, 'erik', later), refusal('run_not_open', /killed/));
    });
  });

  void test('the status says how far it is', async () => {
    await sealOne();
    const status = await ledger.status(runId);
    assert.deepEqual([status.chunkCount, status.rows, status.maskedCells, status.state], [3, 5, 2, 'running']);
    assert.deepEqual(status.sealed, [{ chunkNo: 0, attempt: 1, rows: 5, file: file(0) }]);
    assert.deepEqual(JSON.parse(JSON.stringify(status)), status);
  });
});
