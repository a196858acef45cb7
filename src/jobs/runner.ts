/**
 * Runs an approved job: leases chunks, reads each through the gateway, writes a file per chunk and seals it in the
 * ledger. It is an ordinary client of the gateway's wire and of the API, with no rights of its own; the same can be done
 * with psql.
 *
 * A file gets its final name only after its seal, so a file under a final name always has an entry in the ledger. What a
 * crash leaves between the two is finished at the next start, from the temporary file whose digest was sealed.
 */
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CountersignError } from '../errors.ts';
import { GatewaySession, type GatewayAddress } from './chunk-reader.ts';
import type { OutputFormat } from './definition.ts';
import { manifestFileName, sha256OfFile } from './manifest.ts';
import type { ChunkRef, LeaseAnswer, RunnerApi, RunState, RunStatus } from './runner-api.ts';
import { HashedFile, syncDirectory, type WrittenFile } from './sinks/file.ts';
import { openSink } from './sinks/sink.ts';
import { Throttle } from './throttle.ts';

export interface RunProgress {
  /** `rows`: some more; `sealed`: a chunk is done; `retry`: an attempt failed; `state`: paused, resumed or over. */
  readonly kind: 'rows' | 'sealed' | 'retry' | 'state';
  readonly job: string;
  readonly runId: string;
  readonly state: RunState;
  /** The chunk that this is about. */
  readonly chunk: number | undefined;
  readonly chunksSealed: number;
  readonly chunkCount: number;
  /** Rows and bytes of sealed chunks and of what is being read now. */
  readonly rows: number;
  readonly bytes: number;
  readonly estimatedRows: number;
  /** 0 to 1. */
  readonly fraction: number;
  readonly rowsPerSecond: number;
  readonly etaMs: number | undefined;
  readonly message: string | undefined;
}

export interface RunJobOptions {
  readonly api: RunnerApi;
  readonly runId: string;
  readonly database: GatewayAddress;
  /** Sessions at once; never more than the approval allows. */
  readonly concurrency?: number | undefined;
  readonly outputDirectory: string;
  /** Names this runner in the ledger; unique among runners. */
  readonly holder: string;
  readonly onProgress?: ((progress: RunProgress) => void) | undefined;
  /** Aborting stops at once; the run stays open and can be gone on with. */
  readonly signal?: AbortSignal | undefined;
  readonly heartbeatMs?: number | undefined;
  readonly batchRows?: number | undefined;
  readonly nowMs?: (() => number) | undefined;
  readonly random?: (() => number) | undefined;
  readonly sleep?: ((ms: number) => Promise<void>) | undefined;
}

export interface RunSummary {
  readonly runId: string;
  readonly job: string;
  /** `running` or `paused` when it was left open: by the signal, or because other runners go on. */
  readonly state: RunState;
  readonly rows: number;
  readonly chunks: number;
  readonly maskedCells: number;
  readonly retries: number;
  readonly durationMs: number;
  readonly outputDirectory: string;
  /** undefined unless the run is completed. */
  readonly manifestPath: string | undefined;
  readonly failures: RunStatus['failures'];
}

const pollMs = 500;
const connectTimeoutMs = 15_000;

/** SQLSTATEs after which the same chunk may well succeed: lost connections, conflicts, shortages, shutdowns. */
export function isTransient(code: string | undefined): boolean {
  return code !== undefined && (/^(08|40|53)/.test(code) || /^57P0[1-3]$/.test(code));
}

/** Faults of this machine: another attempt here would end the same way, one elsewhere may not. */
const localFaults: ReadonlySet<string> = new Set([
  'ENOSPC',
  'EDQUOT',
  'EROFS',
  'EACCES',
  'EPERM',
  'EMFILE',
  'ENOENT',
  'EIO',
]);
const lostConnection: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

/**
 * Reads what is left of a run until all is sealed, somebody ends it, or `signal` aborts.
 * @throws what makes going on pointless: refused log-in, full disk, an API that cannot be reached
 */
export async function runJob(options: RunJobOptions): Promise<RunSummary> {
  const runner = new Runner(options, await options.api.state(options.runId));
  return runner.run();
}

interface ChunkInFlight {
  readonly ref: ChunkRef;
  rows: number;
  bytes: number;
}

class Runner {
  readonly #options: RunJobOptions;
  readonly #api: RunnerApi;
  readonly #status: RunStatus;
  readonly #throttle: Throttle | undefined;
  readonly #nowMs: () => number;
  readonly #sleep: (ms: number) => Promise<void>;
  readonly #random: () => number;
  readonly #startedMs: number;
  readonly #sessions = new Set<GatewaySession>();
  readonly #inFlight = new Map<number, ChunkInFlight>();
  readonly #stop = new AbortController();
  #sealedChunks: number;
  #sealedRows: number;
  #sealedBytes = 0;
  #rowsHere = 0;
  #retries = 0;
  #state: RunState;

  constructor(options: RunJobOptions, status: RunStatus) {
    this.#options = options;
    this.#api = options.api;
    this.#status = status;
    this.#state = status.state;
    this.#sealedChunks = status.sealed.length;
    this.#sealedRows = status.sealed.reduce((sum, chunk) => sum + chunk.rows, 0);
    this.#nowMs = options.nowMs ?? Date.now;
    this.#random = options.random ?? Math.random;
    this.#sleep = options.sleep ?? ((ms) => abortableSleep(ms, this.#stop.signal));
    this.#startedMs = this.#nowMs();
    const rate = status.rowsPerSecond;
    this.#throttle = rate === null ? undefined : new Throttle(rate, this.#nowMs, this.#sleep);
  }

  async run(): Promise<RunSummary> {
    const { outputDirectory, signal, concurrency } = this.#options;
    await mkdir(outputDirectory, { recursive: true });
    await this.#publishSealed(this.#status);
    const abort = () => this.#halt();
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted === true) this.#halt();
    const workers = Math.max(1, Math.min(concurrency ?? this.#status.concurrency, this.#status.concurrency));
    try {
      const results = await Promise.allSettled(Array.from({ length: workers }, (_, index) => this.#worker(index)));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    } finally {
      signal?.removeEventListener('abort', abort);
      await Promise.all([...this.#sessions].map((session) => session.close()));
    }
    return this.#conclude();
  }

  /** Stops leasing and cuts every session. */
  #halt(): void {
    this.#stop.abort();
    for (const session of this.#sessions) session.abort();
  }

  get #stopped(): boolean {
    return this.#stop.signal.aborted;
  }

  async #worker(index: number): Promise<void> {
    let session: GatewaySession | undefined;
    let failuresInARow = 0;
    try {
      while (!this.#stopped) {
        const answer = await this.#persistently(() => this.#api.lease(this.#options.runId, this.#options.holder));
        if (answer.kind === 'done') return;
        if (answer.kind === 'stopped') {
          this.#setState(answer.state);
          return;
        }
        if (answer.kind === 'wait') {
          this.#setState(answer.reason === 'paused' ? 'paused' : 'running');
          await this.#sleep(pollMs);
          continue;
        }
        this.#setState('running');
        session = await this.#attempt(answer, session, `${this.#options.holder}#${index}`);
        if (session === undefined && !this.#stopped) {
          // Full jitter: many workers that lost one gateway must not come back at once.
          await this.#sleep(this.#random() * Math.min(10_000, 250 * 2 ** failuresInARow++));
        } else failuresInARow = 0;
      }
    } catch (error) {
      this.#halt();
      throw error;
    }
  }

  /** @returns the session if it can be used again; undefined after a failed attempt */
  async #attempt(
    lease: Extract<LeaseAnswer, { kind: 'leased' }>,
    existing: GatewaySession | undefined,
    application: string,
  ): Promise<GatewaySession | undefined> {
    const ref = { runId: this.#options.runId, chunkNo: lease.chunkNo, attempt: lease.attempt };
    const chunk: ChunkInFlight = { ref, rows: 0, bytes: 0 };
    this.#inFlight.set(ref.chunkNo, chunk);
    let session = existing;
    const heart = setInterval(() => void this.#beat(ref), this.#options.heartbeatMs ?? heartbeatOf(lease, Date.now()));
    try {
      if (session?.usable !== true) {
        session = await GatewaySession.open(this.#options.database, application, connectTimeoutMs);
        this.#sessions.add(session);
        if (this.#stopped) session.abort();
      }
      const written = await this.#receive(session, chunk);
      await this.#seal(chunk, written);
      return session;
    } catch (error) {
      if (session !== undefined) {
        this.#sessions.delete(session);
        session.abort();
      }
      await this.#failed(chunk, error);
      return undefined;
    } finally {
      clearInterval(heart);
      this.#inFlight.delete(ref.chunkNo);
    }
  }

  async #receive(session: GatewaySession, chunk: ChunkInFlight): Promise<WrittenFile> {
    const { output, job } = this.#status;
    const { columns, batches } = await session.read(job, chunk.ref.chunkNo, this.#options.batchRows ?? 2_000);
    const path = join(this.#options.outputDirectory, temporaryName(chunk.ref));
    const sink = await openSink({ path, format: output.format, columns, escapeFormulas: output.escapeFormulas });
    try {
      for await (const rows of batches) {
        for (const row of rows) {
          const wait = sink.write(row);
          if (wait !== undefined) await wait;
          for (const value of row) chunk.bytes += value?.length ?? 0;
        }
        chunk.rows += rows.length;
        this.#rowsHere += rows.length;
        this.#report('rows', chunk.ref.chunkNo);
        await this.#throttle?.take(rows.length);
      }
      return await sink.close();
    } catch (error) {
      await sink.discard();
      throw error;
    }
  }

  async #seal(chunk: ChunkInFlight, written: WrittenFile): Promise<void> {
    const { outputDirectory } = this.#options;
    const { ref, rows } = chunk;
    const file = { path: finalName(ref.chunkNo, this.#status.output.format), ...written };
    await this.#persistently(() => this.#api.seal(ref, { rows, file }));
    await rename(join(outputDirectory, temporaryName(ref)), join(outputDirectory, file.path));
    await syncDirectory(outputDirectory);
    this.#sealedChunks++;
    this.#sealedRows += rows;
    this.#sealedBytes += chunk.bytes;
    this.#inFlight.delete(ref.chunkNo);
    this.#report('sealed', ref.chunkNo);
  }

  /** Asks again when no answer came. A seal may have been taken: only its answer decides whether the file exists. */
  async #persistently<T>(call: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await call();
      } catch (error) {
        if (error instanceof CountersignError || tries >= 4 || this.#stopped) throw error;
        await this.#sleep(250 * 2 ** tries);
      }
    }
  }

  async #failed({ ref }: ChunkInFlight, error: unknown): Promise<void> {
    const code = codeOf(error);
    const reason = reasonOf(error);
    const local = code !== undefined && localFaults.has(code);
    const refusedLogin = code?.startsWith('28') === true || code === '3D000';
    const retryable =
      this.#stopped || local || refusedLogin || isTransient(code) || lostConnection.has(code ?? '') || isCut(error);
    await this.#persistently(() => this.#api.fail(ref, reason, retryable));
    if (this.#stopped) return;
    this.#retries++;
    this.#report('retry', ref.chunkNo, reason);
    if (local || refusedLogin) throw error;
  }

  async #beat(ref: ChunkRef): Promise<void> {
    try {
      const { state, held } = await this.#api.heartbeat(ref, this.#options.holder);
      this.#setState(state);
      if (!held && this.#inFlight.has(ref.chunkNo)) this.#report('retry', ref.chunkNo, 'the lease was lost');
    } catch {
      // One missed beat is what leases are long for; if none gets through, the seal will say so.
    }
  }

  #setState(state: RunState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#report('state', undefined);
    if (state === 'killed' || state === 'failed') this.#halt();
  }

  #report(kind: RunProgress['kind'], chunk: number | undefined, message?: string): void {
    const { onProgress, runId } = this.#options;
    if (onProgress === undefined) return;
    const { chunkCount, job, estimatedRows } = this.#status;
    let [rows, bytes] = [this.#sealedRows, this.#sealedBytes];
    for (const one of this.#inFlight.values()) {
      rows += one.rows;
      bytes += one.bytes;
    }
    const elapsedMs = this.#nowMs() - this.#startedMs;
    const rowsPerSecond = elapsedMs > 0 ? (this.#rowsHere * 1_000) / elapsedMs : 0;
    // Sealed chunks say more than the estimate once some are there: they are of about equal size.
    const expectedRows =
      this.#sealedChunks >= 3 ? (this.#sealedRows / this.#sealedChunks) * chunkCount : Math.max(estimatedRows, rows, 1);
    const done = this.#sealedChunks >= chunkCount;
    const fraction = done ? 1 : Math.min(0.999, rows / Math.max(expectedRows, 1));
    const leftRows = Math.max(0, expectedRows - rows);
    const etaMs = done ? 0 : rowsPerSecond > 0 ? Math.round((leftRows * 1_000) / rowsPerSecond) : undefined;
    onProgress({
      kind,
      job,
      runId,
      state: this.#state,
      chunk,
      chunksSealed: this.#sealedChunks,
      chunkCount,
      rows,
      bytes,
      estimatedRows,
      fraction,
      rowsPerSecond,
      etaMs,
      message,
    });
  }

  async #conclude(): Promise<RunSummary> {
    const { runId, outputDirectory } = this.#options;
    let status = await this.#api.state(runId);
    let manifestPath: string | undefined;
    const { planned, leased, streaming } = status.chunks;
    const open = status.state === 'running' || status.state === 'paused';
    if (status.state === 'completed' || (open && planned + leased + streaming === 0)) {
      await this.#publishSealed(status);
      const finished = await this.#api.finish(runId);
      if (finished.manifest !== null) {
        await this.#removeTemporary();
        manifestPath = await writeManifest(outputDirectory, finished.manifest);
      }
      status = await this.#api.state(runId);
    }
    this.#state = status.state;
    this.#report('state', undefined);
    return {
      runId,
      job: status.job,
      state: status.state,
      rows: status.sealed.reduce((sum, chunk) => sum + chunk.rows, 0),
      chunks: status.sealed.length,
      maskedCells: status.maskedCells,
      retries: this.#retries,
      durationMs: this.#nowMs() - this.#startedMs,
      outputDirectory,
      manifestPath,
      failures: status.failures,
    };
  }

  /** Gives sealed files that a crash left under their temporary name their final one. */
  async #publishSealed(status: RunStatus): Promise<void> {
    const { runId, outputDirectory } = this.#options;
    for (const { chunkNo, attempt, file } of status.sealed) {
      if (file === null || (await exists(join(outputDirectory, file.path)))) continue;
      const temporary = join(outputDirectory, temporaryName({ runId, chunkNo, attempt }));
      if ((await exists(temporary)) && (await sha256OfFile(temporary)) === file.sha256) {
        await rename(temporary, join(outputDirectory, file.path));
      }
    }
    await syncDirectory(outputDirectory);
  }

  async #removeTemporary(): Promise<void> {
    const { outputDirectory } = this.#options;
    for (const name of await readdir(outputDirectory)) {
      if (/^chunk-\d+\.attempt-\d+\.tmp$/.test(name)) await rm(join(outputDirectory, name), { force: true });
    }
  }
}

function heartbeatOf(lease: { readonly leaseUntilMs: number }, nowMs: number): number {
  return Math.max(250, Math.min(30_000, (lease.leaseUntilMs - nowMs) / 3));
}

export function temporaryName({ chunkNo, attempt }: ChunkRef): string {
  return `chunk-${String(chunkNo).padStart(4, '0')}.attempt-${attempt}.tmp`;
}

export function finalName(chunkNo: number, format: OutputFormat): string {
  return `chunk-${String(chunkNo).padStart(4, '0')}.${format}`;
}

async function writeManifest(directory: string, text: string): Promise<string> {
  const path = join(directory, manifestFileName);
  const file = await HashedFile.create(`${path}.tmp`);
  await file.append(Buffer.from(text, 'utf8'));
  await file.close();
  await rename(`${path}.tmp`, path);
  await syncDirectory(directory);
  return path;
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

function codeOf(error: unknown): string | undefined {
  if (error instanceof CountersignError) return error.sqlstate;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** The driver reports a cut connection without a code. */
function isCut(error: unknown): boolean {
  return (
    error instanceof Error &&
    /^(Connection terminated|Client has encountered a connection error|timeout expired)/.test(error.message)
  );
}

function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const code = codeOf(error);
  return `${code === undefined ? '' : `${code}: `}${text}`.slice(0, 500);
}

function abortableSleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
  });
}
