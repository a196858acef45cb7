/** Content detection on one cell, by the column's type and wire format. */
import type { CompiledDetectors } from './detectors.ts';
import { typeOid } from './type-oids.ts';

/** The new cell for src[start, end), null for the SQL NULL, or undefined when nothing was found. Never throws. */
export type CellDetector = (src: Buffer, start: number, end: number) => Buffer | null | undefined;

/** @returns undefined for types that hold no text, and when there are no detectors */
export function compileCellDetector(
  type: number,
  format: 0 | 1,
  detectors: CompiledDetectors,
): CellDetector | undefined {
  if (!detectors.active || textless.has(type)) return undefined;
  switch (type) {
    case typeOid.text:
    case typeOid.varchar:
    case typeOid.bpchar:
    case typeOid.name:
    case typeOid.unknown:
    case typeOid.xml:
      return detectors.replaceText;
    case typeOid.json:
      return detectors.replaceJson;
    case typeOid.jsonb:
      return format === 0 ? detectors.replaceJson : binaryJsonb(detectors);
    case typeOid.bytea:
    case typeOid.byteaArray:
      if (format === 0) return hexText(detectors);
      return nullIf(detectors, findsInBytes);
    case typeOid.jsonArray:
    case typeOid.jsonbArray:
      // A replaced number would need quotes inside the quotes of an array.
      if (format === 0) return nullIf(detectors, findsInText);
      return nullIf(detectors, findsInArray);
    case typeOid.textArray:
    case typeOid.varcharArray:
    case typeOid.bpcharArray:
    case typeOid.nameArray:
    case typeOid.xmlArray:
      if (format === 0) return detectors.replaceText;
      return nullIf(detectors, findsInArray);
    default:
      // Enums, domains' arrays, composites, extensions' types: text is text; what binary means nobody knows.
      if (format === 0) return detectors.replaceText;
      return nullIf(detectors, findsInOpaque);
  }
}

/** inet, cidr and their arrays hold nothing but addresses: where addresses are to be detected, every value is one. */
export function holdsAddresses(type: number): boolean {
  return type === typeOid.inet || type === typeOid.cidr || type === typeOid.inetArray || type === typeOid.cidrArray;
}

/** Built-in types whose values cannot hold free text: numbers, times, bits, geometry, identifiers, their arrays and ranges. */
const textless: ReadonlySet<number> = new Set([
  16, 18, 20, 21, 22, 23, 24, 26, 27, 28, 29, 30, 600, 601, 602, 603, 604, 628, 700, 701, 718, 774, 790, 829, 1082,
  1083, 1114, 1184, 1186, 1266, 1560, 1562, 1700, 2202, 2203, 2204, 2205, 2206, 2278, 2950, 2970, 3220, 3734, 3769,
  4089, 4096, 4191, 5038, 5069, 650, 651, 869, 1041, 1000, 1002, 1005, 1006, 1007, 1008, 1010, 1011, 1012, 1013, 1016,
  1017, 1018, 1019, 1020, 1021, 1022, 1027, 1028, 1040, 1115, 1182, 1183, 1185, 1187, 1231, 1270, 1561, 1563, 2949,
  2951, 3221, 3904, 3905, 3906, 3907, 3908, 3909, 3910, 3911, 3912, 3913, 3926, 3927, 4451, 4532, 4533, 4534, 4535,
  4536,
]);

type Finds = (detectors: CompiledDetectors, src: Buffer, start: number, end: number) => boolean;

function nullIf(detectors: CompiledDetectors, finds: Finds): CellDetector {
  return (src, start, end) =>
    detectors.suspects(src, start, end) && finds(detectors, src, start, end) ? null : undefined;
}

function findsInText(detectors: CompiledDetectors, src: Buffer, start: number, end: number): boolean {
  return detectors.replaceText(src, start, end) !== undefined;
}

const jsonbVersionBytes = 1;

function binaryJsonb(detectors: CompiledDetectors): CellDetector {
  return (src, start, end) => {
    if (end - start < jsonbVersionBytes) return undefined;
    const replaced = detectors.replaceJson(src, start + jsonbVersionBytes, end);
    return replaced === undefined
      ? undefined
      : Buffer.concat([src.subarray(start, start + jsonbVersionBytes), replaced]);
  };
}

/** In bytes that are no text, something shorter looks like an e-mail or IP address by chance in every large image. */
const shortestInBytes = 9;

function findsInBytes(detectors: CompiledDetectors, src: Buffer, start: number, end: number): boolean {
  return detectors.find(src, start, end).some((finding) => finding.end - finding.start >= shortestInBytes);
}

/** bytea as text is `\x` and hex digits; as an array, several of them. Under bytea_output = escape it is text with octal escapes. */
function hexText(detectors: CompiledDetectors): CellDetector {
  return (src, start, end) => {
    const text = src.toString('latin1', start, end);
    if (!text.includes('\\x')) return findsInBytes(detectors, src, start, end) ? null : undefined;
    for (const [, hex = ''] of text.matchAll(/\\x([0-9A-Fa-f]+)/g)) {
      const bytes = Buffer.from(hex, 'hex');
      if (findsInBytes(detectors, bytes, 0, bytes.length)) return null;
    }
    return undefined;
  };
}

/**
 * A binary array: int32 dimensions, flags, element type; per dimension length and lower bound; per element its length
 * (-1 = NULL) and bytes. What does not fit that form is looked at as a whole.
 */
function findsInArray(detectors: CompiledDetectors, src: Buffer, start: number, end: number): boolean {
  if (end - start < 12) return findsInOpaque(detectors, src, start, end);
  const dimensions = src.readInt32BE(start);
  if (dimensions < 0 || dimensions > 6) return findsInOpaque(detectors, src, start, end);
  let at = start + 12 + dimensions * 8;
  while (at + 4 <= end) {
    const size = src.readInt32BE(at);
    at += 4;
    if (size === -1) continue;
    if (size < 0 || at + size > end) return findsInOpaque(detectors, src, start, end);
    if (detectors.replaceText(src, at, at + size) !== undefined) return true;
    at += size;
  }
  return at === end ? false : findsInOpaque(detectors, src, start, end);
}

/**
 * Bytes of a form that we do not know. Binary forms put lengths before texts, and the last byte of a small length can
 * look like a digit or letter of the text behind it; so a byte after three zeros does not count as text.
 */
function findsInOpaque(detectors: CompiledDetectors, src: Buffer, start: number, end: number): boolean {
  const bytes = Buffer.from(src.subarray(start, end));
  for (let at = start + 3; at < end; at++) {
    if (src[at - 3] === 0 && src[at - 2] === 0 && src[at - 1] === 0) bytes[at - start] = 0;
  }
  return detectors.detectText(bytes) !== undefined;
}
