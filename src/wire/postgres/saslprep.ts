/** SASLprep (RFC 4013, a profile of RFC 3454) as PostgreSQL applies it to passwords. */
import {
  leftToRight,
  mappedToNothing,
  nonAsciiSpaces,
  prohibited,
  rightToLeft,
  unassigned,
} from './saslprep-tables.ts';

/**
 * The password that SCRAM works on. One that may not be prepared is taken as it is, so that any password works. Like
 * PostgreSQL, and unlike the RFC's letter, it looks for prohibited characters before the normalization.
 */
export function preparePassword(password: string): string {
  if (isAscii(password) || !password.isWellFormed()) return password;
  const mapped: number[] = [];
  for (const character of password) {
    const codePoint = character.codePointAt(0) ?? 0;
    if (nonAsciiSpaces.has(codePoint)) mapped.push(0x20);
    else if (!mappedToNothing.has(codePoint)) mapped.push(codePoint);
  }
  if (mapped.length === 0 || !isAllowed(mapped)) return password;
  return mapped
    .map((codePoint) => String.fromCodePoint(codePoint))
    .join('')
    .normalize('NFKC');
}

function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return false;
  return true;
}

function isAllowed(codePoints: readonly number[]): boolean {
  if (codePoints.some((codePoint) => prohibited.has(codePoint) || unassigned.has(codePoint))) return false;
  if (!codePoints.some((codePoint) => rightToLeft.has(codePoint))) return true;
  // RFC 3454, section 6: nothing left-to-right beside it, and at both ends something right-to-left.
  const first = codePoints[0] ?? 0;
  const last = codePoints.at(-1) ?? 0;
  return rightToLeft.has(first) && rightToLeft.has(last) && !codePoints.some((codePoint) => leftToRight.has(codePoint));
}
