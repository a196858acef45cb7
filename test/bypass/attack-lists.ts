/** How lists of statements are written. */
import type { Verdict } from './attack.ts';

export type Attack = readonly [family: string, text: string, expected: Verdict];

const list =
  (expected: Verdict) =>
  (family: string, ...texts: string[]): Attack[] =>
    texts.map((text) => [family, text, expected]);

export const masked = list('masked');
export const refused = list('refused');
export const held = list('held');
