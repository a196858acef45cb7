/** A run as somebody watches it: small whatever the number of its chunks, and without their bounds. */
import type { ChunkRow } from '../store/runs.ts';
import type { ChunkState, RunProgressView, RunStatus } from './runner-api.ts';

export const chunkLetters: Readonly<Record<ChunkState, string>> = {
  planned: 'P',
  leased: 'L',
  streaming: 'S',
  sealed: 'E',
  failed: 'F',
  blocked: 'B',
};

const shownFailures = 100;
const slices = 120;
const shortestSliceMs = 1_000;

export function runProgress(status: RunStatus, chunks: readonly ChunkRow[]): RunProgressView {
  const { sealed: _sealed, failures: _failures, ...summary } = status;
  const failed = chunks.filter((chunk) => chunk.failure !== null);
  return {
    ...summary,
    states: chunks.map((chunk) => chunkLetters[chunk.state]).join(''),
    chunkRows: chunks.map((chunk) => (chunk.delivered ? (chunk.rows ?? 0) : 0)),
    failures: failed.slice(0, shownFailures).map((chunk) => ({
      chunkNo: chunk.chunk_no,
      state: chunk.state,
      attempt: chunk.attempt,
      reason: chunk.failure ?? '',
    })),
    failureCount: failed.length,
    ...timelineOf(chunks, Date.parse(status.createdAt)),
  };
}

function timelineOf(chunks: readonly ChunkRow[], startMs: number): Pick<RunProgressView, 'timeline' | 'sliceMs'> {
  const sealed = chunks.filter((chunk) => chunk.state === 'sealed');
  const lastMs = sealed.reduce((last, chunk) => Math.max(last, chunk.updated_at.getTime()), startMs);
  const sliceMs = Math.max(shortestSliceMs, Math.ceil((lastMs - startMs) / slices));
  const bySlice = new Map<number, { rows: number; bytes: number }>();
  for (const chunk of sealed) {
    const slice = Math.max(0, Math.floor((chunk.updated_at.getTime() - startMs) / sliceMs));
    const at = bySlice.get(slice) ?? { rows: 0, bytes: 0 };
    bySlice.set(slice, { rows: at.rows + (chunk.rows ?? 0), bytes: at.bytes + (chunk.bytes ?? 0) });
  }
  const timeline = [...bySlice]
    .sort(([one], [other]) => one - other)
    .map(([slice, sums]) => ({ atMs: startMs + slice * sliceMs, ...sums }));
  return { timeline, sliceMs };
}
