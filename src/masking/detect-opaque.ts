/**
 * Content detection where the form of the value is not known: enums, composites, extensions' types and their arrays.
 * Text is replaced in place where that cannot break the form; otherwise, and in binary, the whole value goes.
 */
import type { CellDetector } from './detect-cell.ts';
import { isJsonDocument, splice, type CompiledDetectors } from './detectors.ts';

const quote = 0x22;
const backslash = 0x5c;

/** Text in which values may stand in quotes, with escapes, several levels deep: `(1,"a ""b""")`, `{"(1,\"a\")"}`, `"k"=>"v"`. */
export function quotedText(detectors: CompiledDetectors): CellDetector {
  return (src, start, end) => {
    const replaced = detectors.suspects(src, start, end) ? replaceQuoted(detectors, src, start, end) : undefined;
    if (replaced === null) return null;
    return isFoundBehindQuotes(detectors, replaced ?? src.subarray(start, end)) ? null : replaced;
  };
}

function replaceQuoted(
  detectors: CompiledDetectors,
  src: Buffer,
  start: number,
  end: number,
): Buffer | null | undefined {
  const first = src[start];
  const isStructured = first === quote || first === 0x28 || first === 0x5b || first === 0x7b;
  if (!isStructured || (first === 0x7b && isJsonDocument(src.subarray(start, end))))
    return detectors.replaceText(src, start, end);
  const found = detectors.find(src, start, end);
  // What is only found in escapes has no place.
  if (found.length === 0) return detectors.replaceText(src, start, end) === undefined ? undefined : null;
  let quoted = false;
  let at = start;
  for (const finding of found) {
    for (; at < finding.start; at++) {
      if (src[at] === backslash) at++;
      else if (src[at] === quote) quoted = !quoted;
    }
    if (!isReplaceable(src.toString('latin1', finding.start, finding.end), quoted)) return null;
  }
  return splice(src, start, end, found);
}

/** Outside quotes, digits may be a number or an address, which a token is not; and marks belong to the form. */
function isReplaceable(found: string, quoted: boolean): boolean {
  if (/["\\]/.test(found)) return false;
  return quoted || !(/^[0-9A-Fa-f.:+-]+$/.test(found) || /[,(){}[\]]/.test(found));
}

/** Takes one level of escapes away after the other; what stays the same has none left. */
function isFoundBehindQuotes(detectors: CompiledDetectors, text: Buffer): boolean {
  if (isFoundInReferences(detectors, text)) return true;
  if (!text.includes(backslash) && !text.includes('""')) return false;
  let plain = text.toString('latin1');
  for (;;) {
    if (isFoundInHex(detectors, plain)) return true;
    const next = plain.replaceAll(/\\(.)|""/gs, (_, escaped?: string) => escaped ?? '"');
    if (next === plain) return false;
    plain = next;
    if (detectors.detectText(Buffer.from(plain, 'latin1')) !== undefined) return true;
  }
}

/** bytea inside of something else: `\x` and hexadecimal digits. */
function isFoundInHex(detectors: CompiledDetectors, text: string): boolean {
  if (!text.includes(String.raw`\x`)) return false;
  for (const [, hex = ''] of text.matchAll(/\\x((?:[0-9A-Fa-f]{2})+)/g)) {
    if (detectors.detectText(Buffer.from(hex, 'hex')) !== undefined) return true;
  }
  return false;
}

function isFoundInReferences(detectors: CompiledDetectors, text: Buffer): boolean {
  const plain = withoutReferences(text);
  return plain !== undefined && detectors.detectText(plain) !== undefined;
}

/** XML with its references to printable ASCII characters resolved, `&#52;` and `&#x34;`; undefined = there is none. */
export function withoutReferences(xml: Buffer): Buffer | undefined {
  if (!xml.includes('&#')) return undefined;
  const plain = xml
    .toString('latin1')
    .replaceAll(/&#(?:0{0,8}(\d{2,3})|x0{0,8}([0-9A-Fa-f]{2}));/g, (all, decimal?: string, hex?: string) => {
      const code = decimal === undefined ? Number.parseInt(hex ?? '', 16) : Number(decimal);
      return code >= 0x20 && code < 0x7f ? String.fromCodePoint(code) : all;
    });
  return Buffer.from(plain, 'latin1');
}

/** Bytes of a form that we do not know: NULL if there is anything in them. */
export function opaqueBytes(detectors: CompiledDetectors): CellDetector {
  const findsAddresses = detectors.names.includes('ip');
  return (src, start, end) => {
    if (findsAddresses && holdsBinaryAddress(src, start, end)) return null;
    if (isFoundInReferences(detectors, src.subarray(start, end))) return null;
    if (!detectors.suspects(src, start, end)) return undefined;
    if (detectors.replaceText(src, start, end) !== undefined) return null;
    const apart = withoutLengths(src, start, end);
    return apart !== undefined && detectors.detectText(apart) !== undefined ? null : undefined;
  };
}

/**
 * Binary forms put lengths before texts, and the last byte of a length can look like a digit or letter of the text behind
 * it. So the last byte of whatever can be a length does not count as text here. undefined = there is no such byte.
 */
function withoutLengths(src: Buffer, start: number, end: number): Buffer | undefined {
  let bytes: Buffer | undefined;
  for (let at = start; at + 4 <= end; at++) {
    if (src[at] !== 0) continue;
    const length = src.readInt32BE(at);
    if (length > 0xff && length > end - at - 4) continue;
    bytes ??= Buffer.from(src.subarray(start, end));
    bytes[at - start + 3] = 0;
  }
  return bytes;
}

/** inet and cidr behind their length: family (2 or 3), number of bits, is it a cidr, number of bytes. */
function holdsBinaryAddress(src: Buffer, start: number, end: number): boolean {
  for (let at = start + 3; at + 4 < end; at++) {
    const family = src[at + 1];
    if (family !== 2 && family !== 3) continue;
    const size = family === 2 ? 4 : 16;
    const isAddress =
      src[at] === size + 4 &&
      src[at - 1] === 0 &&
      src[at - 2] === 0 &&
      src[at - 3] === 0 &&
      src.readUInt8(at + 2) <= size * 8 &&
      src.readUInt8(at + 3) <= 1 &&
      src[at + 4] === size &&
      at + 5 + size <= end;
    if (isAddress) return true;
  }
  return false;
}
