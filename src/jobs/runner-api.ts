/**
 * What a runner asks of the control plane. The command line implements it over HTTP; tests over a ledger. Plain JSON
 * values throughout.
 */
import type { OutputFormat } from './definition.ts';

/** One attempt at one chunk: the fence of every later call about it. */
export interface ChunkRef {
  readonly runId: string;
  readonly chunkNo: number;
  readonly attempt: number;
}

export interface ChunkFile {
  /** File name inside the output directory. */
  readonly path: string;
  readonly bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

export type LeaseAnswer =
  | { readonly kind: 'leased'; readonly chunkNo: number; readonly attempt: number; readonly leaseUntilMs: number }
  /** Nothing to take now: the run is paused, its concurrency is used up, or the rest is being read by others. */
  | { readonly kind: 'wait'; readonly reason: 'paused' | 'concurrency' | 'in-flight' }
  /** No chunk is left to read; `finish` says how it ended. */
  | { readonly kind: 'done' }
  | { readonly kind: 'stopped'; readonly state: 'completed' | 'failed' | 'killed' };

export type RunState = 'running' | 'paused' | 'completed' | 'failed' | 'killed';
export type ChunkState = 'planned' | 'leased' | 'streaming' | 'sealed' | 'failed' | 'blocked';

export interface RunStatus {
  readonly runId: string;
  readonly grantId: string;
  readonly executorId: string;
  readonly executorHuman: string;
  /** RFC 3339. */
  readonly createdAt: string;
  readonly finishedAt: string | null;
  readonly job: string;
  readonly jobVersion: number;
  readonly connection: string;
  readonly state: RunState;
  readonly snapshot: 'shared' | 'mixed';
  readonly chunks: Readonly<Record<ChunkState, number>>;
  readonly chunkCount: number;
  /** Delivered so far, as the gateway counted. */
  readonly rows: number;
  readonly bytes: number;
  readonly maskedCells: number;
  readonly estimatedRows: number;
  readonly estimatedBytes: number;
  readonly concurrency: number;
  readonly rowsPerSecond: number | null;
  readonly output: { readonly format: OutputFormat; readonly to: string; readonly escapeFormulas: boolean };
  readonly sealed: readonly {
    readonly chunkNo: number;
    readonly attempt: number;
    readonly rows: number;
    readonly file: ChunkFile | null;
  }[];
  readonly failures: readonly { readonly chunkNo: number; readonly state: ChunkState; readonly reason: string }[];
  readonly failure: string | null;
}

/** A run as somebody watches it: one letter and one number for each chunk, so that ten thousand are a small answer. */
export interface RunProgressView extends Omit<RunStatus, 'sealed' | 'failures'> {
  /** The state of chunk n is the letter at n: Planned, Leased, Streaming, sEaled, Failed, Blocked. */
  readonly states: string;
  /** Rows delivered of each chunk. */
  readonly chunkRows: readonly number[];
  /** The first hundred of `failureCount`. */
  readonly failures: readonly (RunStatus['failures'][number] & { readonly attempt: number })[];
  readonly failureCount: number;
  /** Rows and bytes of the chunks that were sealed in each slice of time since the run began; nothing in a slice is left out. */
  readonly timeline: readonly { readonly atMs: number; readonly rows: number; readonly bytes: number }[];
  /** Width of a slice. */
  readonly sliceMs: number;
}

export interface RunnerApi {
  state(runId: string): Promise<RunStatus>;
  lease(runId: string, holder: string): Promise<LeaseAnswer>;
  /** @returns the run's state, so that a killed run stops its workers; `held` is false when the lease is lost. */
  heartbeat(ref: ChunkRef, holder: string): Promise<{ readonly state: RunState; readonly held: boolean }>;
  /** May be repeated: the same file for the same attempt is accepted again. */
  seal(ref: ChunkRef, sealed: { readonly rows: number; readonly file: ChunkFile | null }): Promise<void>;
  /** `retryable`: whether another attempt may succeed. */
  fail(ref: ChunkRef, reason: string, retryable: boolean): Promise<void>;
  /** Ends the run. @returns the manifest's exact text when it is completed */
  finish(runId: string): Promise<{ readonly state: RunState; readonly manifest: string | null }>;
}
