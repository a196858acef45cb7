/** Time and randomness are arguments everywhere; `app.ts` and tests decide which. */
import { randomBytes } from 'node:crypto';

export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

let lastMs = Number.NaN;
let lastText = '';

/** RFC 3339 in UTC with milliseconds. Many entries have the same millisecond, so the last text is kept. */
export function timestamp(ms: number): string {
  if (ms !== lastMs) {
    lastText = new Date(ms).toISOString();
    lastMs = ms;
  }
  return lastText;
}

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/** A random identifier: prefix, underscore and 16 characters of Crockford's base 32 (80 bits). */
export function newId(prefix: string): string {
  let text = '';
  for (const byte of randomBytes(16)) text += alphabet[byte & 31];
  return `${prefix}_${text}`;
}
