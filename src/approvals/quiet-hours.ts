/** Hours in which no approval counts, on the wall clock of one time zone. Pure. */

const weekdays = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;

export interface QuietHours {
  /** IANA name, e.g. `Europe/Berlin`. */
  readonly timeZone: string;
  /** `HH:MM`, inclusive. */
  readonly from: string;
  /** `HH:MM`, exclusive. Not later than `from` means: of the next day. */
  readonly to: string;
  /** Days on which they begin; every day when left out. */
  readonly days?: readonly (typeof weekdays)[number][] | undefined;
}

const minuteMs = 60_000;
const dayMinutes = 24 * 60;

export function isQuiet(quiet: QuietHours, atMs: number): boolean {
  const { minutes, day } = wallClock(quiet.timeZone, atMs);
  const [from, to] = [minutesOf(quiet.from), minutesOf(quiet.to)];
  const begins = (index: number): boolean => {
    const name = weekdays[(index + 7) % 7];
    return quiet.days === undefined || (name !== undefined && quiet.days.includes(name));
  };
  if (from < to) return begins(day) && minutes >= from && minutes < to;
  return (begins(day) && minutes >= from) || (begins(day - 1) && minutes < to);
}

/** The first moment from `atMs` on that is not quiet; undefined when there is none within nine days. */
export function quietUntil(quiet: QuietHours, atMs: number): number | undefined {
  let at = atMs;
  // At most one step for each day, and some more where a clock is put forward or back.
  for (let step = 0; step < 24; step++) {
    if (!isQuiet(quiet, at)) return at;
    const { minutes } = wallClock(quiet.timeZone, at);
    const left = (minutesOf(quiet.to) - minutes + dayMinutes) % dayMinutes;
    at = Math.floor(at / minuteMs) * minuteMs + (left === 0 ? dayMinutes : left) * minuteMs;
  }
  return undefined;
}

function minutesOf(text: string): number {
  return Number(text.slice(0, 2)) * 60 + Number(text.slice(3, 5));
}

/** `day`: 0 = Monday. */
function wallClock(timeZone: string, atMs: number): { readonly minutes: number; readonly day: number } {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
  const parts = new Map(format.formatToParts(atMs).map(({ type, value }) => [type, value]));
  const day = weekdays.findIndex((name) => name === parts.get('weekday')?.toLowerCase());
  return { minutes: Number(parts.get('hour')) * 60 + Number(parts.get('minute')), day };
}
