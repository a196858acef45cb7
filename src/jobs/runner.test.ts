import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { fakePlan, grantRow, type FakePlanOptions } from '../../test/run-fixtures.ts';
import { migrate } from '../store/migrate.ts';
import { openStore, type Store } from '../store/database.ts';
import type { GatewayAddress } from './chunk-reader.ts';
import { Ledger } from './ledger.ts';
import { verifyManifest } from './manifest.ts';
import { isTransient, runJob, type RunJobOptions, type RunProgress } from './runner.ts';
import type { RunnerApi } from './runner-api.ts';

const facts = { commit: 'c', contentDigest: '1'.repeat(64), maskDigest: '2'.repeat(64), boundsKey: Buffer.from('k') };

/**
 * The runner against a real PostgreSQL in the gateway's place: a table per job in schema `chunkrun`. What the gateway
 * tells the ledger (begin, delivered) the test tells it just before the seal.
 */
void describe('runner', () => {
  let server: EmbeddedPostgres;
  let store: Store;
  let pool: ReturnType<typeof openStore>['pool'];
  let ledger: Ledger;
  let root: string;
  let outputDirectory: string;
  let runId: string;
  let runNo = 0;
  let database: GatewayAddress;

  before(async () => {
    server = await startEmbeddedPostgres({ databases: ['crm'] });
    ({ store, pool } = openStore(server.url('crm')));
    await migrate(store);
    await pool.query('create schema chunkrun');
    await pool.query('create table chunkrun.export (chunk_no integer, id bigint, t text)');
    await pool.query(
      "insert into chunkrun.export select i % 6, i, case when i % 5 > 0 then 'r' || i end from generate_series(1, 3000) i",
    );
    root = await mkdtemp(join(tmpdir(), 'countersign-runner-'));
    const { host, port, user, password } = server;
    database = { host, port, user, password, database: 'crm', tls: undefined };
  });
  after(async () => {
    await store.destroy();
    await server.stop();
    await rm(root, { recursive: true, force: true });
  });
  beforeEach(async () => {
    outputDirectory = await mkdtemp(join(root, 'out-'));
    ledger = new Ledger({
      store,
      clock: { now: () => Date.now() },
      record: async () => {},
      leaseMs: 60_000,
      attempts: 3,
    });
    await newRun({ chunks: 6, concurrency: 3, estimatedRows: 3000 });
  });

  async function newRun(options: FakePlanOptions): Promise<void> {
    runId = `run_${++runNo}`;
    await grantRow(store, `grant_${runNo}`);
    const run = {
      id: runId,
      grantId: `grant_${runNo}`,
      job: 'export',
      jobVersion: 1,
      connection: 'crm',
      executor: { id: 'e', human: 'e' },
      plan: fakePlan(options),
      snapshot: 'shared' as const,
    };
    await store.transaction().execute((transaction) => ledger.createRun(transaction, run));
  }

  function apiOf(change: Partial<RunnerApi> = {}): RunnerApi {
    return {
      state: (id) => ledger.status(id),
      lease: (id, holder) => ledger.lease(id, holder),
      heartbeat: (ref, holder) => ledger.heartbeat(ref, holder),
      fail: (ref, reason, retryable) => ledger.failAttempt(ref, reason, retryable),
      finish: (id) => ledger.finish(id, facts),
      seal: async (ref, sealed) => {
        await ledger.begin(ref.runId, ref.chunkNo, 's');
        await ledger.delivered(ref, { rows: sealed.rows, bytes: 1, maskedCells: 1 }, 'd');
        await ledger.seal(ref, sealed);
      },
      ...change,
    };
  }

  const options = (more: Partial<RunJobOptions> = {}): RunJobOptions => ({
    api: apiOf(),
    runId,
    database,
    outputDirectory,
    holder: 'test',
    batchRows: 100,
    random: () => 0,
    ...more,
  });

  const csvRows = async () => {
    const names = (await readdir(outputDirectory)).filter((name) => name.endsWith('.csv'));
    const texts = await Promise.all(names.map((name) => readFile(join(outputDirectory, name), 'utf8')));
    return texts.flatMap((text) => text.trimEnd().split('\r\n').slice(1));
  };

  void test('reads all chunks in parallel, seals them and writes the manifest', async () => {
    const seen: RunProgress[] = [];
    const summary = await runJob(options({ onProgress: (progress) => seen.push(progress) }));
    assert.deepEqual(
      [summary.state, summary.rows, summary.chunks, summary.maskedCells, summary.retries],
      ['completed', 3000, 6, 6, 0],
    );
    const verified = await verifyManifest(outputDirectory);
    assert.deepEqual(verified.problems, []);
    assert.equal(new Set(await csvRows()).size, 3000);
    assert.equal(seen.filter((progress) => progress.kind === 'sealed').length, 6);
    assert.equal(seen.at(-1)?.fraction, 1);
    assert.ok(seen.every((progress, index) => index === 0 || progress.fraction >= 0));
  });

  void test('writes Parquet and NDJSON just as well', async () => {
    for (const format of ['parquet', 'ndjson'] as const) {
      await newRun({ chunks: 6, format });
      outputDirectory = await mkdtemp(join(root, 'out-'));
      const summary = await runJob(options());
      assert.equal(summary.rows, 3000);
      assert.deepEqual((await verifyManifest(outputDirectory)).problems, []);
    }
  });

  void test('goes on where it was stopped, and reads nothing twice', async () => {
    const stop = new AbortController();
    const first = await runJob(
      options({
        signal: stop.signal,
        concurrency: 1,
        onProgress: ({ kind, chunksSealed }) => {
          if (kind === 'sealed' && chunksSealed === 2) stop.abort();
        },
      }),
    );
    assert.equal(first.state, 'running');
    assert.equal(first.manifestPath, undefined);
    const sealedBefore = (await ledger.status(runId)).sealed;
    assert.equal(sealedBefore.length, 2);
    const second = await runJob(options());
    assert.equal(second.state, 'completed');
    const status = await ledger.status(runId);
    assert.deepEqual(status.sealed.slice(0, 2), sealedBefore);
    assert.equal(new Set(await csvRows()).size, 3000);
    assert.deepEqual((await verifyManifest(outputDirectory)).problems, []);
  });

  void test('finishes a seal whose file still had its temporary name', async () => {
    const stop = new AbortController();
    await runJob(
      options({ signal: stop.signal, concurrency: 1, onProgress: ({ kind }) => kind === 'sealed' && stop.abort() }),
    );
    const [sealed] = (await ledger.status(runId)).sealed;
    assert.ok(sealed?.file);
    const temporary = `chunk-0000.attempt-${sealed.attempt}.tmp`;
    await rename(join(outputDirectory, sealed.file.path), join(outputDirectory, temporary));
    await runJob(options());
    assert.deepEqual((await verifyManifest(outputDirectory)).problems, []);
  });

  void test('tries again after a lost connection', async () => {
    let killed = 0;
    const api = apiOf({
      heartbeat: async (ref, holder) => {
        if (killed === 0) {
          // Only what reads a chunk at this moment: a connection that is idle could end without anybody noticing.
          const { rowCount } = await pool.query(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'test#%' and state = 'active'",
          );
          killed += rowCount ?? 0;
        }
        return ledger.heartbeat(ref, holder);
      },
    });
    await pool.query(
      'create view chunkrun.slow as select chunk_no, id, t from chunkrun.export, lateral (select pg_sleep(0.001 * (id % 2))) s',
    );
    const slow = { ...api, state: async (id: string) => ({ ...(await ledger.status(id)), job: 'slow' }) };
    const summary = await runJob(options({ api: slow, heartbeatMs: 20 }));
    assert.ok(killed >= 1);
    assert.ok(summary.retries >= 1);
    assert.equal(summary.state, 'completed');
    assert.equal(new Set(await csvRows()).size, 3000);
  });

  void test('does not repeat what cannot succeed', async () => {
    const api = apiOf({ state: async (id) => ({ ...(await ledger.status(id)), job: 'missing' }) });
    const summary = await runJob(options({ api }));
    assert.equal(summary.state, 'failed');
    assert.equal(summary.failures.length, 6);
    assert.match(summary.failures[0]?.reason ?? '', /42P01/);
    assert.ok((await readdir(outputDirectory)).every((name) => name !== 'manifest.json'));
  });

  void test('a refused log-in ends the runner, not the run', async () => {
    await assert.rejects(
      runJob(options({ database: { ...database, password: 'wrong' } })),
      /password authentication failed/,
    );
    assert.equal((await ledger.status(runId)).state, 'running');
    assert.equal((await runJob(options())).state, 'completed');
  });

  void test('a seal whose answer was lost is asked for again', async () => {
    let lost = 0;
    const api = apiOf();
    const seal: RunnerApi['seal'] = async (ref, sealed) => {
      if (lost === 0) {
        lost++;
        await api.seal(ref, sealed);
        throw new Error('socket hang up');
      }
      const { sealed: all } = await ledger.status(ref.runId);
      await (all.some((one) => one.chunkNo === ref.chunkNo) ? ledger.seal(ref, sealed) : api.seal(ref, sealed));
    };
    const summary = await runJob(options({ api: { ...api, seal }, sleep: async () => {} }));
    assert.deepEqual([lost, summary.retries, summary.state], [1, 0, 'completed']);
  });

  void test('a killed run stops at the next heartbeat', async () => {
    await pool.query(
      'create view chunkrun.endless as select chunk_no, id, t from chunkrun.export, lateral (select pg_sleep(0.01 + id * 0)) s',
    );
    let seals = 0;
    const api = apiOf({
      state: async (id) => ({ ...(await ledger.status(id)), job: 'endless' }),
      seal: async () => {
        seals++;
      },
    });
    let killing: Promise<unknown> | undefined;
    const onProgress = ({ kind }: RunProgress) => {
      if (kind === 'rows') killing ??= ledger.kill(runId, 'erik', 'enough');
    };
    const summary = await runJob(options({ api, heartbeatMs: 20, batchRows: 10, onProgress }));
    await killing;
    assert.deepEqual([summary.state, summary.chunks, seals], ['killed', 0, 0]);
  });

  void test('a paused run waits and goes on', async () => {
    await ledger.pause(runId, 'erik');
    let waits = 0;
    const sleep = async () => {
      if (++waits === 3) await ledger.resume(runId, 'erik');
    };
    const summary = await runJob(options({ concurrency: 1, sleep }));
    assert.equal(waits, 3);
    assert.equal(summary.state, 'completed');
  });

  void test('transient are lost connections, conflicts, shortages and shutdowns', () => {
    for (const code of ['08006', '40001', '53300', '57P01', '57P03']) assert.equal(isTransient(code), true, code);
    for (const code of ['42P01', '57014', '57P04', '28P01', 'ZC006', undefined])
      assert.equal(isTransient(code), false, code);
  });
});
