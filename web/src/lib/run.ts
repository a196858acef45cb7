/** Runs as the API tells of them, and what is worked out from that for people. */

export type RunState = 'running' | 'paused' | 'completed' | 'failed' | 'killed';
export type ChunkState = 'planned' | 'leased' | 'streaming' | 'sealed' | 'failed' | 'blocked';

export interface RunSummary {
  readonly id: string;
  readonly job: string;
  readonly job_version: number;
  readonly connection: string;
  readonly executor_id: string;
  readonly executor_human: string;
  readonly state: RunState;
  readonly snapshot: 'shared' | 'mixed';
  readonly created_at: string;
  readonly finished_at: string | null;
  readonly failure: string | null;
}

export interface RunProgress {
  readonly runId: string;
  readonly grantId: string;
  readonly request: string | null;
  readonly executorId: string;
  readonly executorHuman: string;
  readonly createdAt: string;
  readonly finishedAt: string | null;
  readonly job: string;
  readonly jobVersion: number;
  readonly connection: string;
  readonly state: RunState;
  readonly snapshot: 'shared' | 'mixed';
  readonly chunks: Readonly<Record<ChunkState, number>>;
  readonly chunkCount: number;
  readonly rows: number;
  readonly bytes: number;
  readonly maskedCells: number;
  readonly estimatedRows: number;
  readonly estimatedBytes: number;
  readonly concurrency: number;
  readonly rowsPerSecond: number | null;
  readonly output: { readonly format: string; readonly to: string };
  /** One letter a chunk. */
  readonly states: string;
  readonly chunkRows: readonly number[];
  readonly failures: readonly {
    readonly chunkNo: number;
    readonly state: ChunkState;
    readonly attempt: number;
    readonly reason: string;
  }[];
  readonly failureCount: number;
  readonly timeline: readonly { readonly atMs: number; readonly rows: number; readonly bytes: number }[];
  readonly sliceMs: number;
  readonly failure: string | null;
}

/** In the order of a chunk's life. */
export const chunkStates: readonly { readonly letter: string; readonly state: ChunkState }[] = [
  { letter: 'E', state: 'sealed' },
  { letter: 'S', state: 'streaming' },
  { letter: 'L', state: 'leased' },
  { letter: 'P', state: 'planned' },
  { letter: 'F', state: 'failed' },
  { letter: 'B', state: 'blocked' },
];

export const stateOfLetter = (letter: string | undefined): ChunkState =>
  chunkStates.find((one) => one.letter === letter)?.state ?? 'planned';

/** The last minute counts, so that a pause or a slow start does not. */
const windowMs = 60_000;

/** Rows sealed in a second lately; undefined before the first chunk. */
export function rowRate(run: Pick<RunProgress, 'timeline' | 'createdAt'>, nowMs: number): number | undefined {
  const startMs = Math.max(nowMs - windowMs, Date.parse(run.createdAt));
  const recent = run.timeline.filter(({ atMs }) => atMs >= startMs - windowMs / 60);
  if (recent.length === 0 || nowMs <= startMs) return undefined;
  return recent.reduce((sum, slice) => sum + slice.rows, 0) / ((nowMs - startMs) / 1_000);
}

/** Milliseconds that are left if it goes on like that; undefined: nobody can say. */
export function etaMs(run: RunProgress, nowMs: number): number | undefined {
  const left = run.chunks.planned + run.chunks.leased + run.chunks.streaming;
  const rate = rowRate(run, nowMs);
  if (run.state !== 'running' || rate === undefined || rate === 0 || run.chunks.sealed === 0) return undefined;
  return ((left * run.rows) / run.chunks.sealed / rate) * 1_000;
}

export function isOpen(state: RunState): boolean {
  return state === 'running' || state === 'paused';
}
