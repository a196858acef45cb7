/**
 * What a mask leaves of one value, by the column's type and wire format. The column keeps its declared type in text and
 * in binary, so that drivers read it as before; where a mask cannot be shown in a type, the value becomes NULL.
 *
 * NULL stays NULL under every mask. Nothing here throws on a value, whatever its bytes: what cannot be read is withheld.
 */
import {
  truncateBinaryDate,
  truncateBinaryTimestamp,
  truncateDate,
  truncateTimestamp,
  type DatePart,
} from './dates.ts';
import type { HashValue, MaskSpec } from './policy.ts';
import { roundBinary, roundFloatText, roundIntegerText, roundNumericText } from './rounding.ts';
import { typeOid } from './type-oids.ts';

export type CellMask =
  | { readonly kind: 'constant'; readonly value: Buffer | null }
  /** `render` gets the cell as src[start, end), may allocate, and gives the new cell; null is the SQL NULL. */
  | { readonly kind: 'computed'; readonly render: (src: Buffer, start: number, end: number) => Buffer | null };

const sqlNull: CellMask = { kind: 'constant', value: null };

export interface MaskTarget {
  readonly mask: MaskSpec;
  readonly typeOid: number;
  /** 0 text, 1 binary. */
  readonly format: 0 | 1;
  readonly hash: HashValue;
}

export function compileMask(target: MaskTarget): CellMask {
  if (target.mask === 'null') return sqlNull;
  switch (target.typeOid) {
    case typeOid.text:
    case typeOid.varchar:
    case typeOid.bpchar:
    case typeOid.name:
    case typeOid.unknown:
      return textMask(target);
    case typeOid.char:
      // One byte wide: there is no room for a placeholder or a part.
      return constant('*');
    case typeOid.xml:
      return target.mask === 'hash' ? hashMask(target) : constant(placeholder);
    case typeOid.json:
    case typeOid.jsonb:
      return jsonMask(target);
    case typeOid.date:
    case typeOid.timestamp:
    case typeOid.timestamptz:
      return dateMask(target);
    case typeOid.int2:
    case typeOid.int4:
    case typeOid.int8:
    case typeOid.float4:
    case typeOid.float8:
    case typeOid.numeric:
      return roundMask(target);
    default:
      return sqlNull;
  }
}

const placeholder = '[masked]';
const placeholderBytes = Buffer.from(placeholder);

function constant(text: string): CellMask {
  return { kind: 'constant', value: Buffer.from(text) };
}

function computed(render: (src: Buffer, start: number, end: number) => Buffer | null): CellMask {
  return { kind: 'computed', render };
}

function textMask(target: MaskTarget): CellMask {
  const { mask } = target;
  if (mask === 'last4') return computed((src, start, end) => keepParts(src, start, end, 0, 4));
  if (mask === 'hash') return hashMask(target);
  if (mask === 'email-domain') return computed(keepDomain);
  if (typeof mask === 'object' && mask.kind === 'partial') {
    return computed((src, start, end) => keepParts(src, start, end, mask.keepStart, mask.keepEnd));
  }
  return constant(placeholder);
}

/** `char(n)` is padded with blanks that do not count when values are compared, so they do not count in a digest either. */
function hashMask(target: MaskTarget): CellMask {
  const { hash } = target;
  const padded = target.typeOid === typeOid.bpchar;
  return computed((src, start, end) =>
    Buffer.from(hash(src.subarray(start, padded ? withoutPadding(src, start, end) : end))),
  );
}

/** The version byte that stands before the text of a binary jsonb value. */
const jsonbVersion = 1;

function jsonMask(target: MaskTarget): CellMask {
  const versioned = target.typeOid === typeOid.jsonb && target.format === 1;
  const prefix = versioned ? String.fromCharCode(jsonbVersion) : '';
  if (target.mask !== 'hash') return constant(`${prefix}"${placeholder}"`);
  const { hash } = target;
  return computed((src, start, end) =>
    Buffer.from(`${prefix}"${hash(src.subarray(versioned ? start + 1 : start, end))}"`),
  );
}

function dateMask({ mask, typeOid: type, format }: MaskTarget): CellMask {
  const to = datePartOf(mask);
  if (to === undefined) return sqlNull;
  if (format === 0) {
    const truncate = type === typeOid.date ? truncateDate : truncateTimestamp;
    return computed((src, start, end) => asBytes(truncate(src.toString('latin1', start, end), to)));
  }
  if (type === typeOid.date) return computed((src, start, end) => truncateBinaryDate(src, start, end, to));
  return computed((src, start, end) => truncateBinaryTimestamp(src, start, end, to));
}

function datePartOf(mask: MaskSpec): DatePart | undefined {
  if (mask === 'year') return 'year';
  return typeof mask === 'object' && mask.kind === 'truncate-date' ? mask.to : undefined;
}

function roundMask({ mask, typeOid: type, format }: MaskTarget): CellMask {
  if (typeof mask !== 'object' || mask.kind !== 'round') return sqlNull;
  const { to } = mask;
  if (format === 1) {
    // A binary numeric is a list of base-10000 digits with a scale of its own; it is withheld.
    if (type === typeOid.numeric) return sqlNull;
    return computed((src, start, end) => roundBinary(src, start, end, type, to));
  }
  if (type === typeOid.numeric)
    return computed((src, start, end) => asBytes(roundNumericText(src.toString('latin1', start, end), to)));
  if (type === typeOid.float4 || type === typeOid.float8) {
    return computed((src, start, end) => asBytes(roundFloatText(src.toString('latin1', start, end), to, type)));
  }
  return computed((src, start, end) => asBytes(roundIntegerText(src.toString('latin1', start, end), to, type)));
}

function asBytes(text: string | undefined): Buffer | null {
  return text === undefined ? null : Buffer.from(text, 'latin1');
}

function withoutPadding(src: Buffer, start: number, end: number): number {
  let at = end;
  while (at > start && src[at - 1] === 0x20) at--;
  return at;
}

/**
 * The first and last characters with `****` between, whatever the length of what is hidden. At least as much must be
 * hidden as is shown: a shorter value is withheld whole.
 */
function keepParts(src: Buffer, start: number, paddedEnd: number, keepStart: number, keepEnd: number): Buffer {
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
function keepDomain(src: Buffer, start: number, paddedEnd: number): Buffer {
  const end = withoutPadding(src, start, paddedEnd);
  const at = src.subarray(start, end).lastIndexOf(0x40);
  if (at < 1 || end - start - at - 1 > longestDomain) return placeholderBytes;
  const domain = src.toString('utf8', start + at + 1, end);
  return domainForm.test(domain) ? Buffer.from(`***@${domain}`) : placeholderBytes;
}
