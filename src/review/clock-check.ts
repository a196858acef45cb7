/** Clocks that are apart: expiries, budgets and the order of events rest on them. */
import type { Finding } from './finding.ts';

/** One look at another clock: ours before and after, and what it showed. */
export interface ClockReading {
  readonly where: string;
  readonly beforeMs: number;
  readonly afterMs: number;
  readonly shownMs: number;
  /** How coarse what it shows is; 1000 for an HTTP Date. */
  readonly resolutionMs: number;
}

/** How far apart the clocks are at least, in ms; the time of the question itself is no difference. Negative: it is behind. */
export function skewOf({ beforeMs, afterMs, shownMs, resolutionMs }: ClockReading): number {
  // What is shown as s is some moment of [s, s + resolution).
  if (shownMs > afterMs) return shownMs - afterMs;
  const latest = shownMs + resolutionMs;
  return latest < beforeMs ? latest - beforeMs : 0;
}

export function clockFindings(readings: readonly ClockReading[], maxSkewMs: number): Finding[] {
  return readings.flatMap((reading) => {
    const skewMs = skewOf(reading);
    if (Math.abs(skewMs) <= maxSkewMs) return [];
    const seconds = (Math.abs(skewMs) / 1_000).toFixed(1);
    return [
      {
        check: 'clock-skew',
        severity: Math.abs(skewMs) > 60_000 ? ('high' as const) : ('medium' as const),
        where: reading.where,
        what: `its clock is ${seconds} s ${skewMs < 0 ? 'behind' : 'ahead of'} the gateway's`,
        why: 'tokens, grants and budgets end at the wrong moment, and the logs of both do not fit together',
        remedy: 'let both follow one time source (NTP)',
      },
    ];
  });
}
