/** How wide each chunk's range of keys is, where keys can be measured: numbers and times. For the picture of a plan. */
import type { PlannedChunk } from './requests.ts';

export interface ChunkBar {
  readonly from: number;
  /** Inclusive; above `from` where several chunks are drawn as one. */
  readonly to: number;
  /** Share of the widest bar, 0 … 1; undefined where it has an open end, or keys that cannot be measured. */
  readonly share: number | undefined;
  readonly isNulls: boolean;
}

const maxBars = 80;

/** A number on the axis of keys, for the first key column. */
function measure(bound: string | undefined): number | undefined {
  if (bound === undefined) return undefined;
  if (/^-?\d+(\.\d+)?$/.test(bound)) return Number(bound);
  if (!/^\d{4}-\d{2}-\d{2}/.test(bound)) return undefined;
  const at = Date.parse(bound.replace(' ', 'T').replace(/([+-]\d{2})$/, '$1:00'));
  return Number.isNaN(at) ? undefined : at;
}

export function chunkBars(chunks: readonly PlannedChunk[]): ChunkBar[] {
  const perBar = Math.ceil(chunks.length / maxBars);
  const widths = chunks.map(({ lower, upper, nulls }) => {
    const [from, to] = [measure(lower?.[0]), measure(upper?.[0])];
    return nulls || from === undefined || to === undefined ? undefined : Math.max(0, to - from);
  });
  const bars: { from: number; to: number; width: number | undefined; isNulls: boolean }[] = [];
  for (let at = 0; at < chunks.length; at += perBar) {
    const part = chunks.slice(at, at + perBar);
    const known = widths.slice(at, at + perBar).filter((width) => width !== undefined);
    const width = known.length === 0 ? undefined : known.reduce((sum, one) => sum + one, 0) / known.length;
    bars.push({ from: part[0]?.no ?? at, to: part.at(-1)?.no ?? at, width, isNulls: part.every(({ nulls }) => nulls) });
  }
  const widest = Math.max(...bars.map(({ width }) => width ?? 0));
  return bars.map(({ width, ...bar }) => ({
    ...bar,
    share: width === undefined || widest === 0 ? undefined : width / widest,
  }));
}

/** How many times wider the widest measured range is than the narrowest; undefined where fewer than two are measured. */
export function skewOf(bars: readonly ChunkBar[]): number | undefined {
  const shares = bars.flatMap(({ share }) => (share === undefined || share === 0 ? [] : [share]));
  return shares.length < 2 ? undefined : Math.max(...shares) / Math.min(...shares);
}
