/**
 * The ledger of runs: which chunk is where, and what is known of it.
 *
 *   chunk:  planned ──lease──> leased ──begin──> streaming ──(delivered)──seal──> sealed
 *              │                  │                  │
 *              ├──begin (a client without a lease)──>┤
 *              │ <──fail, expiry (attempts left)─────┤──fail, expiry (none left)──> failed
 *              │ <──────────────────────────retry, so often────────────────────────────┘
 *              └──────kill, cap────────┴─────────────┴──> blocked
 *   run:    running <──pause/resume──> paused;  both ──> completed | failed | killed;  failed ──retry──> running
 *
 * An attempt begins when a chunk leaves `planned`; its number fences every later call. `delivered` is the gateway's word
 * that all rows went out; only then can the attempt be sealed, and only one attempt of a chunk ever is. Every change
 * locks its run, is compared with the state that it was decided on, and is recorded durably before it is committed: the
 * log may know of a change that was then lost, never the other way round.
 */
import { CountersignError } from '../errors.ts';
import { canonicalJson, type Json } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { notifyChange } from '../store/changes.ts';
import type { ChunksTable, Store, StoreOrTransaction } from '../store/database.ts';
import {
  changeChunk,
  changeRun,
  chunkOfRun,
  chunksOfRun,
  expiredChunks,
  extendLease,
  firstPlannedChunk,
  insertRun,
  lockRun,
  runById,
  runsWithExpiredChunks,
  runTotals,
  type ChunkRow,
  type RunRow,
} from '../store/runs.ts';
import type { Updateable } from 'kysely';
import type { JobPlan } from './job-plan.ts';
import { buildManifest, type ManifestFacts } from './manifest.ts';
import type { ChunkFile, ChunkRef, ChunkState, LeaseAnswer, RunState, RunStatus } from './runner-api.ts';

const successors: Record<ChunkState, readonly ChunkState[]> = {
  planned: ['leased', 'streaming', 'blocked'],
  leased: ['streaming', 'planned', 'failed', 'blocked'],
  streaming: ['sealed', 'planned', 'failed', 'blocked'],
  sealed: [],
  failed: ['planned'],
  blocked: [],
};

/** Nothing more happens to a chunk in such a state unless somebody asks for it. */
const isOver = (state: ChunkState) => state === 'sealed' || state === 'failed' || state === 'blocked';

export type LedgerEventType =
  | 'run.created'
  | 'run.paused'
  | 'run.resumed'
  | 'run.killed'
  | 'run.retried'
  | 'run.completed'
  | 'run.failed'
  | 'run.snapshot-mixed'
  | 'chunk.leased'
  | 'chunk.streaming'
  | 'chunk.delivered'
  | 'chunk.sealed'
  | 'chunk.returned'
  | 'chunk.failed'
  | 'chunk.blocked';

export interface LedgerEvent {
  readonly type: LedgerEventType;
  readonly runId: string;
  readonly grantId: string;
  readonly job: string;
  readonly connection: string;
  readonly atMs: number;
  readonly chunkNo: number | undefined;
  readonly attempt: number | undefined;
  /** What else is known: rows, digests, holder, reason. No values of rows. */
  readonly detail: { readonly [member: string]: Json };
}

export interface NewRun {
  readonly id: string;
  readonly grantId: string;
  readonly job: string;
  readonly jobVersion: number;
  readonly connection: string;
  readonly executor: { readonly id: string; readonly human: string };
  readonly plan: JobPlan;
  readonly snapshot: 'shared' | 'mixed';
}

export interface BegunChunk extends ChunkRef {
  readonly job: string;
  readonly grantId: string;
  readonly sql: string;
  /** What the caps of the approval leave for this chunk; undefined = no cap. */
  readonly rowsLeft: number | undefined;
  readonly bytesLeft: number | undefined;
  readonly statementTimeoutMs: number;
}

export interface DeliveredCounts {
  readonly rows: number;
  readonly bytes: number;
  readonly maskedCells: number;
}

export interface LedgerOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** Resolves when the event is durable. If it rejects, the change does not happen. */
  readonly record: (event: LedgerEvent) => Promise<void>;
  readonly leaseMs: number;
  /** Attempts per chunk. */
  readonly attempts: number;
  /** How often a failed chunk may be set going again, each time with that many attempts. Default 5. */
  readonly retries?: number;
  /** Lease of a client that reads a chunk without having leased it (psql, Spark): it sends no heartbeats. */
  readonly directLeaseMs?: number;
}

/** One change: the transaction, the locked run, and the events that it will record. */
interface Change {
  readonly transaction: StoreOrTransaction;
  readonly run: RunRow;
  readonly plan: JobPlan;
  readonly now: Date;
  emit(
    type: LedgerEventType,
    chunk: Pick<ChunkRow, 'chunk_no' | 'attempt'> | undefined,
    detail?: LedgerEvent['detail'],
  ): void;
}

export class Ledger {
  readonly #store: Store;
  readonly #options: LedgerOptions;
  readonly #directLeaseMs: number;

  constructor(options: LedgerOptions) {
    this.#store = options.store;
    this.#options = options;
    this.#directLeaseMs = options.directLeaseMs ?? 60 * 60_000;
  }

  /** Adds a run in the caller's transaction (the one that consumes its grant). */
  async createRun(transaction: StoreOrTransaction, run: NewRun): Promise<void> {
    const now = new Date(this.#options.clock.now());
    const row: RunRow = {
      id: run.id,
      grant_id: run.grantId,
      job: run.job,
      job_version: run.jobVersion,
      connection: run.connection,
      executor_id: run.executor.id,
      executor_human: run.executor.human,
      state: 'running',
      plan_json: canonicalJson(run.plan as unknown as Json),
      snapshot: run.snapshot,
      created_at: now,
      finished_at: null,
      manifest_json: null,
      failure: null,
    };
    await insertRun(
      transaction,
      row,
      run.plan.chunks.map((chunk) => chunk.no),
    );
    await notifyChange(transaction, 'runs', row.id);
    await this.#options.record(
      eventOf('run.created', row, now, undefined, {
        executor: run.executor.id,
        chunks: run.plan.chunks.length,
        snapshot: run.snapshot,
      }),
    );
  }

  /** Takes one chunk: the given one, or the next. @throws run_unknown; chunk_not_available for a given chunk that is not planned */
  async lease(runId: string, holder: string, chunkNo?: number): Promise<LeaseAnswer> {
    return this.#change(runId, async (change): Promise<LeaseAnswer> => {
      const { transaction, run, plan, now } = change;
      if (run.state !== 'running' && run.state !== 'paused') return { kind: 'stopped', state: run.state };
      await this.#returnExpired(change);
      if (run.state === 'paused') return { kind: 'wait', reason: 'paused' };
      const { chunks } = await runTotals(transaction, runId);
      const inFlight = chunks.leased + chunks.streaming;
      if (chunks.planned + inFlight === 0) return { kind: 'done' };
      if (inFlight >= plan.limits.concurrency) return { kind: 'wait', reason: 'concurrency' };
      const chunk =
        chunkNo === undefined ? await firstPlannedChunk(transaction, runId) : await this.#chunk(change, chunkNo);
      if (chunk === undefined) return { kind: 'wait', reason: 'in-flight' };
      const attempt = chunk.attempt + 1;
      const until = new Date(now.getTime() + this.#options.leaseMs);
      await this.#move(change, chunk, 'leased', { attempt, lease_holder: holder, lease_until: until, ...untouched });
      change.emit('chunk.leased', { ...chunk, attempt }, { holder });
      return { kind: 'leased', chunkNo: chunk.chunk_no, attempt, leaseUntilMs: until.getTime() };
    });
  }

  /** Keeps a lease alive; `held` false means that it ran out or was taken. */
  async heartbeat(ref: ChunkRef, holder: string): Promise<{ state: RunState; held: boolean }> {
    const run = await runById(this.#store, ref.runId);
    if (run === undefined) throw runUnknown(ref.runId);
    const now = new Date(this.#options.clock.now());
    const until = new Date(now.getTime() + this.#options.leaseMs);
    const held = await extendLease(this.#store, { ...ref, holder, now, until });
    return { state: run.state, held };
  }

  /**
   * The chunk starts to stream, for the gateway. A leased chunk keeps its attempt; a planned one gets an attempt and a
   * lease of its own, as long as the run is not paused.
   * @param session who reads, for the record
   * @throws run_unknown, run_not_open, chunk_not_available, limit_exceeded
   */
  async begin(runId: string, chunkNo: number, session: string): Promise<BegunChunk> {
    const begun = await this.#change(runId, async (change): Promise<BegunChunk | CountersignError> => {
      const { transaction, run, plan, now } = change;
      if (run.state !== 'running' && run.state !== 'paused') return runNotOpen(run);
      await this.#returnExpired(change);
      let chunk = await this.#chunk(change, chunkNo);
      if (chunk.state === 'streaming' && chunk.delivered && chunk.lease_holder?.startsWith(directPrefix) === true) {
        chunk = await this.#giveUp(change, chunk, 'it is read again', true);
      }
      const { rows, bytes, chunks } = await runTotals(transaction, runId);
      if (chunk.state === 'planned') {
        if (run.state === 'paused') return runNotOpen(run);
        if (chunks.leased + chunks.streaming >= plan.limits.concurrency) {
          return notAvailable(chunk, `${plan.limits.concurrency} chunks of this run are being read already`);
        }
      } else if (chunk.state !== 'leased') return notAvailable(chunk, `it is ${chunk.state}`);
      const rowsLeft = plan.limits.rows === undefined ? undefined : plan.limits.rows - rows;
      const bytesLeft = plan.limits.bytes === undefined ? undefined : plan.limits.bytes - bytes;
      if ((rowsLeft ?? 1) <= 0 || (bytesLeft ?? 1) <= 0) {
        await this.#block(change, chunk, 'the cap of the approval is reached');
        return capReached(run);
      }
      const direct = chunk.state === 'planned';
      const attempt = direct ? chunk.attempt + 1 : chunk.attempt;
      const lease = {
        attempt,
        lease_holder: `${directPrefix}${session}`,
        lease_until: new Date(now.getTime() + this.#directLeaseMs),
        ...untouched,
      };
      await this.#move(change, chunk, 'streaming', direct ? lease : {});
      change.emit('chunk.streaming', { ...chunk, attempt }, { session });
      const planned = plan.chunks[chunkNo];
      if (planned?.no !== chunkNo) throw new Error(`run ${runId}: the plan has no chunk ${chunkNo}`);
      return {
        runId,
        chunkNo,
        attempt,
        job: run.job,
        grantId: run.grant_id,
        sql: planned.sql,
        rowsLeft,
        bytesLeft,
        statementTimeoutMs: plan.limits.statementTimeoutMs,
      };
    });
    if (begun instanceof CountersignError) throw begun;
    return begun;
  }

  /**
   * All rows of the attempt went out, says the gateway. Past a cap the chunk is blocked instead.
   * @param rowDigest digest over the delivered (masked) rows
   * @throws run_unknown, chunk_not_available (another attempt, expired, killed), limit_exceeded
   */
  async delivered(ref: ChunkRef, counts: DeliveredCounts, rowDigest: string): Promise<void> {
    const refusal = await this.#change(ref.runId, async (change): Promise<CountersignError | undefined> => {
      const chunk = await this.#attempt(change, ref, 'streaming');
      if (chunk.delivered) return notAvailable(chunk, 'it was delivered already');
      const { rows, bytes } = await runTotals(change.transaction, ref.runId);
      const { limits } = change.plan;
      const overRows = limits.rows !== undefined && rows + counts.rows > limits.rows;
      const overBytes = limits.bytes !== undefined && bytes + counts.bytes > limits.bytes;
      if (overRows || overBytes) {
        await this.#block(change, chunk, 'it goes beyond the cap of the approval');
        return capReached(change.run);
      }
      const written = await changeChunk(change.transaction, chunk, {
        delivered: true,
        rows: counts.rows,
        bytes: counts.bytes,
        masked_cells: counts.maskedCells,
        row_digest: rowDigest,
        updated_at: change.now,
      });
      if (!written) return notAvailable(chunk, 'it changed meanwhile');
      change.emit('chunk.delivered', chunk, { ...counts, rowDigest });
      return undefined;
    });
    if (refusal !== undefined) throw refusal;
  }

  /**
   * The attempt's rows are safe at their destination. The same seal again is accepted; anything else about a sealed chunk is not.
   * @param sealed rows that the receiver counted, and its file (null: the rows went to a client that writes no file of ours)
   * @throws run_unknown, run_not_open, chunk_not_available when it is not this attempt, not delivered, or the counts differ
   */
  async seal(ref: ChunkRef, sealed: { readonly rows: number; readonly file: ChunkFile | null }): Promise<void> {
    await this.#change(ref.runId, async (change) => {
      const fileJson = sealed.file === null ? null : canonicalJson({ ...sealed.file });
      const existing = await this.#chunk(change, ref.chunkNo);
      const same = existing.attempt === ref.attempt && existing.rows === sealed.rows && existing.file_json === fileJson;
      if (existing.state === 'sealed' && same) return;
      if (change.run.state !== 'running' && change.run.state !== 'paused') throw runNotOpen(change.run);
      const chunk = await this.#attempt(change, ref, 'streaming');
      if (!chunk.delivered) throw notAvailable(chunk, 'the gateway has not delivered all of its rows');
      if (chunk.rows !== sealed.rows) {
        throw notAvailable(chunk, `the gateway delivered ${chunk.rows} rows, the receiver has ${sealed.rows}`);
      }
      await this.#move(change, chunk, 'sealed', { file_json: fileJson, lease_holder: null, lease_until: null });
      change.emit('chunk.sealed', chunk, {
        rows: sealed.rows,
        rowDigest: chunk.row_digest,
        file: sealed.file === null ? null : { ...sealed.file },
      });
    });
  }

  /** The attempt is over without a result: the chunk is planned again while attempts are left, else failed. Late words about an older attempt change nothing. */
  async failAttempt(ref: ChunkRef, reason: string, retryable: boolean): Promise<void> {
    await this.#change(ref.runId, async (change) => {
      const chunk = await this.#chunk(change, ref.chunkNo);
      const open = chunk.state === 'leased' || chunk.state === 'streaming';
      if (open && chunk.attempt === ref.attempt) await this.#giveUp(change, chunk, reason, retryable);
    });
  }

  /** Policy stops this chunk for good. */
  async block(runId: string, chunkNo: number, reason: string): Promise<void> {
    await this.#change(runId, async (change) => this.#block(change, await this.#chunk(change, chunkNo), reason));
  }

  /** No more leases; what is being read goes on to its end. @throws run_not_open */
  async pause(runId: string, by: string): Promise<void> {
    await this.#changeRun(runId, ['running'], { state: 'paused' }, 'run.paused', { by });
  }

  async resume(runId: string, by: string): Promise<void> {
    await this.#changeRun(runId, ['paused'], { state: 'running' }, 'run.resumed', { by });
  }

  /**
   * Sets failed chunks going again: all of them, or one. A run that ended because of them is open again, under a mixed
   * snapshot, as long as the approval's time is not up.
   * @param grantUntil when the run's grant expires
   * @returns how many chunks
   * @throws run_not_open (completed, killed, nothing failed), chunk_not_available, grant_expired, limit_exceeded
   */
  async retry(runId: string, by: string, grantUntil: Date, chunkNo?: number): Promise<number> {
    return this.#change(runId, async (change) => {
      const { transaction, run, now } = change;
      if (run.state === 'completed' || run.state === 'killed') throw runNotOpen(run);
      if (run.state === 'failed' && now >= grantUntil) {
        throw new CountersignError(
          'grant_expired',
          `the approval of run ${runId} ended at ${grantUntil.toISOString()}`,
          {
            hint: 'a new run needs a new grant',
          },
        );
      }
      const wanted =
        chunkNo === undefined ? await chunksOfRun(transaction, runId) : [await this.#chunk(change, chunkNo)];
      const failed = wanted.filter((chunk) => chunk.state === 'failed');
      if (failed.length === 0) {
        const what = chunkNo === undefined ? 'no chunk' : `chunk ${chunkNo} is not one that`;
        throw new CountersignError('chunk_not_available', `run ${runId}: ${what} has failed`);
      }
      const limit = this.#options.retries ?? 5;
      const spent = failed.find((chunk) => chunk.retries >= limit);
      if (spent !== undefined) {
        throw new CountersignError(
          'limit_exceeded',
          `chunk ${spent.chunk_no} of run ${runId} was retried ${limit} times`,
          {
            hint: 'find out why it fails; runs.retries is the limit',
          },
        );
      }
      for (const chunk of failed)
        await this.#move(change, chunk, 'planned', { retries: chunk.retries + 1, failure: null });
      change.emit('run.retried', undefined, { by, chunks: failed.map((chunk) => chunk.chunk_no) });
      if (run.state !== 'failed') return failed.length;
      const reopened = { state: 'running' as const, finished_at: null, failure: null, snapshot: 'mixed' as const };
      if (!(await changeRun(transaction, runId, ['failed'], reopened))) throw runNotOpen(run);
      if (run.snapshot === 'shared')
        change.emit('run.snapshot-mixed', undefined, { reason: 'the run was set going again' });
      return failed.length;
    });
  }

  /** Ends the run now. @returns the chunks that were being read, whose sessions the caller ends */
  async kill(runId: string, by: string, reason: string): Promise<ChunkRef[]> {
    return this.#change(runId, async (change) => {
      const { transaction, run, now } = change;
      const failure = `killed by ${by}: ${reason}`;
      const ended = { state: 'killed' as const, finished_at: now, failure };
      if (!(await changeRun(transaction, runId, ['running', 'paused'], ended))) throw runNotOpen(run);
      change.emit('run.killed', undefined, { by, reason });
      const streaming: ChunkRef[] = [];
      for (const chunk of await chunksOfRun(transaction, runId)) {
        if (!successors[chunk.state].includes('blocked')) continue;
        if (chunk.state === 'streaming') streaming.push({ runId, chunkNo: chunk.chunk_no, attempt: chunk.attempt });
        // `run.killed` says it for chunks that nobody was reading; a record each would be thousands.
        const killed = { lease_holder: null, lease_until: null, failure: 'the run was killed' };
        await this.#move(change, chunk, 'blocked', killed);
        if (chunk.state !== 'planned') change.emit('chunk.blocked', chunk, { reason: killed.failure });
      }
      return streaming;
    });
  }

  /** The shared snapshot is gone: chunks from now on read another state of the data, and the manifest says so. */
  async markSnapshotMixed(runId: string, reason: string): Promise<void> {
    await this.#changeRun(runId, ['running', 'paused'], { snapshot: 'mixed' }, 'run.snapshot-mixed', { reason });
  }

  /**
   * Ends a run in which nothing is left to do: completed, with its manifest, if every chunk is sealed; else failed. A run
   * that has ended gives its ending again.
   * @throws run_not_open while chunks are planned, leased or streaming
   */
  async finish(runId: string, facts: ManifestFacts): Promise<{ state: RunState; manifest: string | null }> {
    return this.#change(runId, async (change) => {
      const { transaction, run, plan, now } = change;
      if (run.state !== 'running' && run.state !== 'paused') return { state: run.state, manifest: run.manifest_json };
      await this.#returnExpired(change);
      const chunks = await chunksOfRun(transaction, runId);
      const open = chunks.filter((chunk) => !isOver(chunk.state));
      if (open.length > 0) {
        throw new CountersignError(
          'run_not_open',
          `run ${runId}: ${open.length} of ${chunks.length} chunks are not finished`,
        );
      }
      const unsealed = chunks.filter((chunk) => chunk.state !== 'sealed');
      if (unsealed.length > 0) {
        const failure = `${unsealed.length} of ${chunks.length} chunks were not sealed; first: chunk ${unsealed[0]?.chunk_no}: ${unsealed[0]?.failure}`;
        await changeRun(transaction, runId, [run.state], { state: 'failed', finished_at: now, failure });
        change.emit('run.failed', undefined, { failure });
        return { state: 'failed', manifest: null };
      }
      const { text, digest } = buildManifest({ run: manifestRun(run), plan, chunks: chunks.map(manifestChunk), facts });
      await changeRun(transaction, runId, [run.state], { state: 'completed', finished_at: now, manifest_json: text });
      const rows = chunks.reduce((sum, chunk) => sum + (chunk.rows ?? 0), 0);
      change.emit('run.completed', undefined, { manifestDigest: digest, chunks: chunks.length, rows });
      return { state: 'completed', manifest: text };
    });
  }

  async status(runId: string): Promise<RunStatus> {
    return (await this.watched(runId)).status;
  }

  /** The same with the rows that it was made from, for whoever needs both. */
  async watched(runId: string): Promise<{ readonly status: RunStatus; readonly chunks: readonly ChunkRow[] }> {
    const run = await runById(this.#store, runId);
    if (run === undefined) throw runUnknown(runId);
    const plan = planOf(run);
    const [totals, chunks] = await Promise.all([runTotals(this.#store, runId), chunksOfRun(this.#store, runId)]);
    const status: RunStatus = {
      runId,
      grantId: run.grant_id,
      executorId: run.executor_id,
      executorHuman: run.executor_human,
      createdAt: run.created_at.toISOString(),
      finishedAt: run.finished_at?.toISOString() ?? null,
      job: run.job,
      jobVersion: run.job_version,
      connection: run.connection,
      state: run.state,
      snapshot: run.snapshot,
      ...totals,
      chunkCount: chunks.length,
      estimatedRows: plan.estimatedRows,
      estimatedBytes: plan.estimatedBytes,
      concurrency: plan.limits.concurrency,
      rowsPerSecond: plan.limits.rowsPerSecond ?? null,
      output: plan.output,
      sealed: chunks.flatMap((chunk) =>
        chunk.state === 'sealed'
          ? [{ chunkNo: chunk.chunk_no, attempt: chunk.attempt, rows: chunk.rows ?? 0, file: fileOf(chunk) }]
          : [],
      ),
      failures: chunks.flatMap((chunk) =>
        chunk.failure === null ? [] : [{ chunkNo: chunk.chunk_no, state: chunk.state, reason: chunk.failure }],
      ),
      failure: run.failure,
    };
    return { status, chunks };
  }

  /** Returns chunks whose leases ran out, in all runs. Leasing does it too; this is for runs that nobody asks about. */
  async sweep(): Promise<void> {
    for (const runId of await runsWithExpiredChunks(this.#store, new Date(this.#options.clock.now()))) {
      await this.#change(runId, (change) => this.#returnExpired(change));
    }
  }

  async #change<T>(runId: string, work: (change: Change) => Promise<T>): Promise<T> {
    return this.#store.transaction().execute(async (transaction) => {
      const run = await lockRun(transaction, runId);
      if (run === undefined) throw runUnknown(runId);
      const now = new Date(this.#options.clock.now());
      const events: LedgerEvent[] = [];
      const emit: Change['emit'] = (type, chunk, detail = {}) => events.push(eventOf(type, run, now, chunk, detail));
      const result = await work({ transaction, run, plan: planOf(run), now, emit });
      for (const event of events) await this.#options.record(event);
      await notifyChange(transaction, 'runs', runId);
      return result;
    });
  }

  async #changeRun(
    runId: string,
    from: readonly RunState[],
    to: { state: RunState } | { snapshot: 'mixed' },
    type: LedgerEventType,
    detail: LedgerEvent['detail'],
  ): Promise<void> {
    await this.#change(runId, async (change) => {
      if (!(await changeRun(change.transaction, runId, from, to))) throw runNotOpen(change.run);
      change.emit(type, undefined, detail);
    });
  }

  /** The one place where a chunk changes its state. */
  async #move(change: Change, chunk: ChunkRow, to: ChunkState, fields: Updateable<ChunksTable>): Promise<void> {
    if (!successors[chunk.state].includes(to)) throw notAvailable(chunk, `it is ${chunk.state}`);
    const moved = await changeChunk(change.transaction, chunk, { ...fields, state: to, updated_at: change.now });
    if (!moved) throw notAvailable(chunk, 'it changed meanwhile');
  }

  async #chunk(change: Change, chunkNo: number): Promise<ChunkRow> {
    const chunk = await chunkOfRun(change.transaction, change.run.id, chunkNo);
    if (chunk === undefined) {
      throw new CountersignError('chunk_not_available', `run ${change.run.id} has no chunk ${chunkNo}`, {
        hint: `its chunks are 0 to ${change.plan.chunks.length - 1}`,
      });
    }
    return chunk;
  }

  async #attempt(change: Change, ref: ChunkRef, state: ChunkState): Promise<ChunkRow> {
    const chunk = await this.#chunk(change, ref.chunkNo);
    if (chunk.state !== state) throw notAvailable(chunk, `it is ${chunk.state}, not ${state}`);
    if (chunk.attempt !== ref.attempt) {
      throw notAvailable(chunk, `this is attempt ${ref.attempt}, the ledger is at attempt ${chunk.attempt}`);
    }
    return chunk;
  }

  async #returnExpired(change: Change): Promise<void> {
    for (const chunk of await expiredChunks(change.transaction, change.run.id, change.now)) {
      await this.#giveUp(change, chunk, `its lease (${chunk.lease_holder}) ran out`, true);
    }
  }

  async #giveUp(change: Change, chunk: ChunkRow, reason: string, retryable: boolean): Promise<ChunkRow> {
    const allowed = this.#options.attempts * (1 + chunk.retries);
    const state = retryable && chunk.attempt < allowed ? 'planned' : 'failed';
    const fields = { ...untouched, lease_holder: null, lease_until: null, failure: reason };
    await this.#move(change, chunk, state, fields);
    change.emit(state === 'planned' ? 'chunk.returned' : 'chunk.failed', chunk, { reason });
    return { ...chunk, ...fields, state };
  }

  async #block(change: Change, chunk: ChunkRow, reason: string): Promise<void> {
    await this.#move(change, chunk, 'blocked', { lease_holder: null, lease_until: null, failure: reason });
    change.emit('chunk.blocked', chunk, { reason });
  }
}

const directPrefix = 'session:';

/** Nothing is known of the result of an attempt that begins or was given up. */
const untouched = { delivered: false, rows: null, bytes: null, masked_cells: null, row_digest: null } as const;

function eventOf(
  type: LedgerEventType,
  run: RunRow,
  now: Date,
  chunk: Pick<ChunkRow, 'chunk_no' | 'attempt'> | undefined,
  detail: LedgerEvent['detail'],
): LedgerEvent {
  return {
    type,
    runId: run.id,
    grantId: run.grant_id,
    job: run.job,
    connection: run.connection,
    atMs: now.getTime(),
    chunkNo: chunk?.chunk_no,
    attempt: chunk?.attempt,
    detail,
  };
}

function planOf(run: RunRow): JobPlan {
  // Written by createRun from a JobPlan, never by anyone else.
  return JSON.parse(run.plan_json) as JobPlan;
}

function fileOf(chunk: ChunkRow): ChunkFile | null {
  return chunk.file_json === null ? null : (JSON.parse(chunk.file_json) as ChunkFile);
}

function manifestRun(run: RunRow) {
  return {
    runId: run.id,
    grantId: run.grant_id,
    job: run.job,
    jobVersion: run.job_version,
    connection: run.connection,
    executor: run.executor_id,
    snapshot: run.snapshot,
  };
}

function manifestChunk(chunk: ChunkRow) {
  return {
    no: chunk.chunk_no,
    attempt: chunk.attempt,
    rows: chunk.rows ?? 0,
    bytes: chunk.bytes ?? 0,
    maskedCells: chunk.masked_cells ?? 0,
    rowDigest: chunk.row_digest ?? '',
    file: fileOf(chunk),
  };
}

function runUnknown(runId: string): CountersignError {
  return new CountersignError('run_unknown', `there is no run ${runId}`);
}

function runNotOpen(run: RunRow): CountersignError {
  return new CountersignError('run_not_open', `run ${run.id} is ${run.state}`, {
    hint: run.state === 'paused' ? `resume it: countersign runs resume ${run.id}` : 'a new run needs a new grant',
    detail: run.failure ?? undefined,
  });
}

function notAvailable(chunk: ChunkRow, reason: string): CountersignError {
  return new CountersignError('chunk_not_available', `chunk ${chunk.chunk_no} of run ${chunk.run_id}: ${reason}`, {
    detail: chunk.failure ?? undefined,
  });
}

function capReached(run: RunRow): CountersignError {
  return new CountersignError('limit_exceeded', `run ${run.id} reached the row or byte cap of its approval`, {
    hint: 'ask for a job version with higher limits',
  });
}
