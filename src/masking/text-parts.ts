/** The parts of a text that masks show by design. */
import { placeholderBytes } from './placeholders.ts';

/** The end of the text without the blanks that pad `char(n)`. */
export function withoutPadding(src: Buffer, start: number, end: number): number {
  let at = end;
  while (at > start && src[at - 1] === 0x20) at--;
  return at;
}

/**
 * The first and last characters with `****` between, whatever the length of what is hidden. At least as much must be
 * hidden as is shown: a shorter value is withheld whole.
 */
export function keepParts(src: Buffer, start: number, paddedEnd: number, keepStart: number, keepEnd: number): Buffer {
  const end = withoutPadding(src, start, paddedEnd);
  const kept = keepStart + keepEnd;
  if (countCharacters(src, start, end, 2 * kept) < Math.max(1, 2 * kept)) return placeholderBytes;
  const head = skipCharacters(src, start, end, keepStart);
  const tail = skipCharactersBack(src, start, end, keepEnd);
  return Buffer.concat([src.subarray(start, head), Buffer.from('****'), src.subarray(tail, end)]);
}

/** Continuation bytes of UTF-8 are 10xxxxxx. */
function startsCharacter(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) !== 0x80;
}

/** Counts no further than `enough`. */
function countCharacters(src: Buffer, start: number, end: number, enough: number): number {
  let count = 0;
  for (let at = start; at < end && count <= enough; at++) if (startsCharacter(src[at])) count++;
  return count;
}

function skipCharacters(src: Buffer, start: number, end: number, count: number): number {
  let at = start;
  for (let left = count; left > 0 && at < end; left--) {
    at++;
    while (at < end && !startsCharacter(src[at])) at++;
  }
  return at;
}

function skipCharactersBack(src: Buffer, start: number, end: number, count: number): number {
  let at = end;
  for (let left = count; left > 0 && at > start; left--) {
    at--;
    while (at > start && !startsCharacter(src[at])) at--;
  }
  return at;
}

const longestDomain = 253;
const domainForm = /^[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}[\p{L}\p{N}-]+$/u;

/** `***@domain`, if what follows the last `@` is a domain and nothing else; otherwise everything is withheld. */
export function keepDomain(src: Buffer, start: number, paddedEnd: number): Buffer {
  const end = withoutPadding(src, start, paddedEnd);
  const at = src.subarray(start, end).lastIndexOf(0x40);
  if (at < 1 || end - start - at - 1 > longestDomain) return placeholderBytes;
  const domain = src.toString('utf8', start + at + 1, end);
  return domainForm.test(domain) ? Buffer.from(`***@${domain}`) : placeholderBytes;
}
