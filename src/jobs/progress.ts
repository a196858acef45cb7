/** How a run shows how far it is: a bar with an estimate on a terminal, one JSON object per line without one. */
import type { RunProgress } from './runner.ts';

export interface ProgressOutput {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

export interface ProgressView {
  update(progress: RunProgress): void;
  /** Ends the bar's line. */
  end(): void;
}

/** @param now milliseconds; the bar is drawn at most ten times a second, a JSON line per second and per sealed chunk */
export function progressView(output: ProgressOutput, now: () => number): ProgressView {
  return output.isTTY === true ? barView(output, now) : lineView(output, now);
}

function barView(output: ProgressOutput, now: () => number): ProgressView {
  let drawnAt = Number.NEGATIVE_INFINITY;
  let latest: RunProgress | undefined;
  const draw = (progress: RunProgress) => {
    drawnAt = now();
    output.write(`\r\u001b[K${barText(progress, output.columns ?? 80)}`);
  };
  return {
    update(progress) {
      latest = progress;
      if (progress.kind !== 'rows' || now() - drawnAt >= 100) draw(progress);
    },
    end() {
      if (latest === undefined) return;
      draw(latest);
      output.write('\n');
    },
  };
}

function lineView(output: ProgressOutput, now: () => number): ProgressView {
  let writtenAt = Number.NEGATIVE_INFINITY;
  return {
    update(progress) {
      if (progress.kind === 'rows' && now() - writtenAt < 1_000) return;
      writtenAt = now();
      output.write(`${JSON.stringify({ type: 'progress', ...progress })}\n`);
    },
    end() {},
  };
}

/** `customers-export [#####-----] 12/24 chunks  61,234 rows  12.4 MB  31,000 rows/s  ETA 0:12`, no longer than `width`. */
export function barText(progress: RunProgress, width: number): string {
  const { chunksSealed, chunkCount, rows, bytes, rowsPerSecond, etaMs, state } = progress;
  const facts = [
    `${chunksSealed}/${chunkCount} chunks`,
    `${rows.toLocaleString('en-US')} rows`,
    sizeText(bytes),
    `${Math.round(rowsPerSecond).toLocaleString('en-US')} rows/s`,
    state === 'paused' ? 'paused' : `ETA ${etaMs === undefined ? '?' : durationText(etaMs)}`,
  ].join('  ');
  const room = width - 1 - progress.job.length - facts.length - 5;
  const cells = Math.min(30, room);
  if (cells < 5) return `${progress.job} ${facts}`.slice(0, Math.max(0, width - 1));
  const filled = Math.round(cells * Math.min(1, progress.fraction));
  return `${progress.job} [${'#'.repeat(filled)}${'-'.repeat(cells - filled)}] ${facts}`;
}

export function sizeText(bytes: number): string {
  const names = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let index = 0;
  while (value >= 1_000 && index < names.length - 1) {
    value /= 1_000;
    index++;
  }
  return `${index === 0 ? value : value.toFixed(1)} ${names[index]}`;
}

export function durationText(ms: number): string {
  const seconds = Math.ceil(ms / 1_000);
  const two = (value: number) => String(value).padStart(2, '0');
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}:${two(seconds % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`;
}
