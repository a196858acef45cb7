/**
 * What a mask leaves of one value, by the column's type and wire format. The column keeps its declared type in text and
 * in binary, so that drivers read it as before. A mask that shows nothing in a type leaves what `redact` leaves.
 *
 * NULL stays NULL under every mask. Nothing here throws on a value, whatever its bytes: what cannot be read is withheld.
 */
import { rewriteArray } from './arrays.ts';
import {
  truncateBinaryDate,
  truncateBinaryTimestamp,
  truncateDate,
  truncateTimestamp,
  type DatePart,
} from './dates.ts';
import { byteaDigest, textDigest, uuidDigest, type HashValue } from './digests.ts';
import { roundBinaryNumeric } from './numeric.ts';
import { jsonVersion, placeholderOf } from './placeholders.ts';
import type { MaskSpec } from './policy.ts';
import { roundBinary, roundFloatText, roundIntegerText, roundNumericText } from './rounding.ts';
import { keepDomain, keepParts, withoutPadding } from './text-parts.ts';
import { elementTypeOf, typeOid } from './type-oids.ts';

/** Gets the cell as src[start, end), may allocate, and gives the new cell; null is the SQL NULL. */
type Render = (src: Buffer, start: number, end: number) => Buffer | null;

export type CellMask =
  | { readonly kind: 'constant'; readonly value: Buffer | null }
  | { readonly kind: 'computed'; readonly render: Render };

export interface MaskTarget {
  readonly mask: MaskSpec;
  readonly typeOid: number;
  /** 0 text, 1 binary. */
  readonly format: 0 | 1;
  readonly hash: HashValue;
}

export function compileMask(target: MaskTarget): CellMask {
  if (target.mask === 'null') return { kind: 'constant', value: null };
  const render = target.mask === 'redact' ? undefined : partShown(target);
  if (render !== undefined) return { kind: 'computed', render };
  return { kind: 'constant', value: placeholderOf(target.typeOid, target.format) };
}

/** undefined: this mask shows nothing of a value of this type. */
function partShown(target: MaskTarget): Render | undefined {
  switch (target.typeOid) {
    case typeOid.text:
    case typeOid.varchar:
    case typeOid.bpchar:
    case typeOid.name:
    case typeOid.unknown:
    case typeOid.cstring:
    case typeOid.refcursor:
      return textPart(target);
    case typeOid.xml:
    case typeOid.json:
    case typeOid.jsonb:
    case typeOid.uuid:
    case typeOid.bytea:
      return target.mask === 'hash' ? digest(target) : undefined;
    case typeOid.date:
    case typeOid.timestamp:
    case typeOid.timestamptz:
      return datePart(target);
    case typeOid.int2:
    case typeOid.int4:
    case typeOid.int8:
    case typeOid.float4:
    case typeOid.float8:
    case typeOid.numeric:
      return rounded(target);
    default:
      return elementParts(target);
  }
}

function textPart(target: MaskTarget): Render | undefined {
  const { mask } = target;
  if (mask === 'last4') return (src, start, end) => keepParts(src, start, end, 0, 4);
  if (mask === 'hash') return digest(target);
  if (mask === 'email-domain') return keepDomain;
  if (typeof mask === 'object' && mask.kind === 'partial') {
    return (src, start, end) => keepParts(src, start, end, mask.keepStart, mask.keepEnd);
  }
  return undefined;
}

function digest({ hash, typeOid: type, format }: MaskTarget): Render {
  switch (type) {
    case typeOid.uuid:
      return (src, start, end) => uuidDigest(hash, src, start, end, format);
    case typeOid.bytea:
      return (src, start, end) => byteaDigest(hash, src, start, end, format);
    case typeOid.bpchar:
      // The blanks that pad `char(n)` do not count when values are compared, so they do not count in a digest either.
      return (src, start, end) => Buffer.from(textDigest(hash, src.subarray(start, withoutPadding(src, start, end))));
    case typeOid.json:
    case typeOid.jsonb: {
      const version = type === typeOid.jsonb && format === 1 ? jsonVersion : '';
      return (src, start, end) =>
        Buffer.from(`${version}"${textDigest(hash, src.subarray(start + version.length, end))}"`);
    }
    default:
      return (src, start, end) => Buffer.from(textDigest(hash, src.subarray(start, end)));
  }
}

function datePart({ mask, typeOid: type, format }: MaskTarget): Render | undefined {
  const to = datePartOf(mask);
  if (to === undefined) return undefined;
  if (format === 0) {
    const truncate = type === typeOid.date ? truncateDate : truncateTimestamp;
    return (src, start, end) => asBytes(truncate(src.toString('latin1', start, end), to));
  }
  if (type === typeOid.date) return (src, start, end) => truncateBinaryDate(src, start, end, to);
  return (src, start, end) => truncateBinaryTimestamp(src, start, end, to);
}

function datePartOf(mask: MaskSpec): DatePart | undefined {
  if (mask === 'year') return 'year';
  return typeof mask === 'object' && mask.kind === 'truncate-date' ? mask.to : undefined;
}

function rounded({ mask, typeOid: type, format }: MaskTarget): Render | undefined {
  if (typeof mask !== 'object' || mask.kind !== 'round') return undefined;
  const { to } = mask;
  if (format === 1) {
    if (type === typeOid.numeric) return (src, start, end) => roundBinaryNumeric(src, start, end, to);
    return (src, start, end) => roundBinary(src, start, end, type, to);
  }
  if (type === typeOid.numeric)
    return (src, start, end) => asBytes(roundNumericText(src.toString('latin1', start, end), to));
  if (type === typeOid.float4 || type === typeOid.float8) {
    return (src, start, end) => asBytes(roundFloatText(src.toString('latin1', start, end), to, type));
  }
  return (src, start, end) => asBytes(roundIntegerText(src.toString('latin1', start, end), to, type));
}

function asBytes(text: string | undefined): Buffer | null {
  return text === undefined ? null : Buffer.from(text, 'latin1');
}

/** Of a longer array in bytes nothing is shown: a row that is too large to be taken whole could not keep it. */
export const longestArray = 64 * 1024;

/** A mask that shows a part of the elements shows it of each, and so how many there are. */
function elementParts(target: MaskTarget): Render | undefined {
  const elementType = elementTypeOf(target.typeOid);
  if (elementType === undefined) return undefined;
  const render = partShown({ ...target, typeOid: elementType });
  if (render === undefined) return undefined;
  const form = { format: target.format, elementType };
  return (src, start, end) => {
    if (end - start > longestArray) return placeholderOf(target.typeOid, target.format);
    const changed = rewriteArray(src, start, end, form, render);
    // Nothing changes in an array that is empty or has only NULLs.
    return changed === undefined ? src.subarray(start, end) : changed;
  };
}
