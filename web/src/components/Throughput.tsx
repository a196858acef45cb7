/** Rows a second over the time of a run, as bars; the same in a sentence for whoever does not see them. */
import { Text } from '@mantine/core';
import { count, span } from '../lib/format.ts';
import type { RunProgress } from '../lib/run.ts';
import './Throughput.css';

const width = 600;
const height = 120;

export function Throughput({
  run,
}: {
  readonly run: Pick<RunProgress, 'timeline' | 'sliceMs' | 'createdAt' | 'finishedAt'>;
}) {
  const { timeline, sliceMs } = run;
  const startMs = Date.parse(run.createdAt);
  const last = timeline.at(-1);
  if (last === undefined) {
    return (
      <Text size="sm" c="dimmed">
        Nothing is sealed yet.
      </Text>
    );
  }
  const rates = timeline.map(({ atMs, rows }) => ({
    slice: Math.round((atMs - startMs) / sliceMs),
    rate: rows / (sliceMs / 1_000),
  }));
  const slices = Math.max(Math.round((last.atMs - startMs) / sliceMs) + 1, 12);
  const highest = Math.max(...rates.map(({ rate }) => rate), 1);
  const rows = timeline.reduce((sum, slice) => sum + slice.rows, 0);
  const lengthMs = last.atMs + sliceMs - startMs;
  const bar = width / slices;
  const told = `${count(rows)} rows were sealed in ${span(lengthMs)}: ${count(Math.round(rows / (lengthMs / 1_000)))} rows/s on average, ${count(Math.round(highest))} rows/s at most.`;
  return (
    <figure className="plot-figure">
      <svg viewBox={`0 0 ${width} ${height}`} className="plot" role="img" aria-label={told} preserveAspectRatio="none">
        <line x1="0" x2={width} y1={height - 0.5} y2={height - 0.5} className="plot-line" />
        <line x1="0" x2={width} y1="0.5" y2="0.5" className="plot-line" strokeDasharray="4 4" />
        {rates.map(({ slice, rate }) => (
          <rect
            key={slice}
            x={slice * bar}
            width={Math.max(1, bar - 1)}
            y={height - (rate / highest) * (height - 2)}
            height={(rate / highest) * (height - 2)}
            className="plot-bar"
          />
        ))}
      </svg>
      <Text component="figcaption" size="sm" c="dimmed">
        {told}
      </Text>
    </figure>
  );
}
