/** Numbers, times and sizes as people read them. */

const counts = new Intl.NumberFormat('en-US');
const moments = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
const days = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });

export const count = (value: number): string => counts.format(value);
export const moment = (at: string | Date): string => moments.format(new Date(at));
export const day = (at: string | Date): string => days.format(new Date(at));

/** `1 chunk`, `4 chunks`. */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

const spans: readonly (readonly [unit: string, ms: number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
];

/** `3 d`, `2 h 5 min`, `40 s`; two units where the first is small. */
export function span(ms: number): string {
  const left = Math.max(0, ms);
  const first = spans.findIndex(([, unitMs]) => left >= unitMs);
  if (first === -1) return left === 0 ? '0 s' : 'under 1 s';
  const [unit, unitMs] = spans[first] ?? ['s', 1_000];
  const whole = Math.floor(left / unitMs);
  const next = spans[first + 1];
  const rest = next === undefined || whole >= 10 ? 0 : Math.floor((left - whole * unitMs) / next[1]);
  return rest === 0 || next === undefined ? `${whole} ${unit}` : `${whole} ${unit} ${rest} ${next[0]}`;
}

const sizes = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function bytes(value: number): string {
  let left = value;
  let at = 0;
  while (left >= 1024 && at < sizes.length - 1) {
    left /= 1024;
    at += 1;
  }
  return `${at === 0 || left >= 100 ? Math.round(left) : left.toFixed(1)} ${sizes[at]}`;
}
