/**
 * Arrays in PostgreSQL's two wire forms (documentation, 8.15.6 and array_send), changed element by element. What is not
 * changed keeps its bytes; the number of elements, the dimensions and their bounds stay.
 */

/** The new element for src[start, end); null is the SQL NULL, undefined leaves it as it is. NULL elements are not shown. */
export type RewriteElement = (src: Buffer, start: number, end: number) => Buffer | null | undefined;

/** @returns undefined when no element has changed, null when src[start, end) is no array of this element type */
export function rewriteArray(
  src: Buffer,
  start: number,
  end: number,
  form: { readonly format: 0 | 1; readonly elementType: number },
  rewrite: RewriteElement,
): Buffer | null | undefined {
  return form.format === 0
    ? rewriteText(src, start, end, rewrite)
    : rewriteBinary(src, start, end, form.elementType, rewrite);
}

const mostDimensions = 6;

const quote = 0x22;
const comma = 0x2c;
const opening = 0x7b;
const closing = 0x7d;
const backslash = 0x5c;

function rewriteText(src: Buffer, start: number, end: number, rewrite: RewriteElement): Buffer | null | undefined {
  const pieces: Buffer[] = [];
  let copied = start;
  let at = afterBounds(src, start, end);
  if (src[at] !== opening || at >= end) return null;
  let depth = 0;
  // Whether an element or a list may come here: after an opening brace or a comma.
  let open = true;
  while (at < end) {
    const byte = src[at];
    if (byte === opening) {
      if (!open || ++depth > mostDimensions) return null;
      at++;
    } else if (byte === closing) {
      if (open && src[at - 1] !== opening) return null;
      at++;
      open = false;
      if (--depth === 0) break;
    } else if (byte === comma) {
      if (open) return null;
      open = true;
      at++;
    } else {
      const stop = byte === quote ? quotedEnd(src, at, end) : plainEnd(src, at, end);
      if (!open || stop < 0) return null;
      const changed = rewriteTextElement(src, at, stop, rewrite);
      if (changed !== undefined) {
        pieces.push(src.subarray(copied, at), changed);
        copied = stop;
      }
      open = false;
      at = stop;
    }
  }
  if (depth !== 0 || at !== end) return null;
  if (pieces.length === 0) return undefined;
  pieces.push(src.subarray(copied, end));
  return Buffer.concat(pieces);
}

/** Lower bounds other than 1 are written before the array: `[0:1]={a,b}`. */
function afterBounds(src: Buffer, start: number, end: number): number {
  const longest = mostDimensions * 24;
  const bounds = /^(?:\[-?\d+:-?\d+\])+=/.exec(src.toString('latin1', start, Math.min(end, start + longest)));
  return start + (bounds?.[0].length ?? 0);
}

function quotedEnd(src: Buffer, start: number, end: number): number {
  for (let at = start + 1; at < end; at++) {
    if (src[at] === backslash) at++;
    else if (src[at] === quote) return at + 1;
  }
  return -1;
}

function plainEnd(src: Buffer, start: number, end: number): number {
  for (let at = start; at < end; at++) {
    const byte = src[at];
    if (byte === comma || byte === closing) return at;
    if (byte === quote || byte === opening || byte === backslash) return -1;
  }
  return -1;
}

function rewriteTextElement(src: Buffer, start: number, end: number, rewrite: RewriteElement): Buffer | undefined {
  if (src[start] !== quote) {
    if (end - start === 4 && src.toString('latin1', start, end).toUpperCase() === 'NULL') return undefined;
    return asTextElement(rewrite(src, start, end));
  }
  if (!src.subarray(start, end).includes(backslash)) return asTextElement(rewrite(src, start + 1, end - 1));
  const value = Buffer.alloc(end - start);
  let length = 0;
  for (let at = start + 1; at < end - 1; at++) {
    if (src[at] === backslash) at++;
    value[length++] = src.readUInt8(at);
  }
  return asTextElement(rewrite(value, 0, length));
}

function asTextElement(changed: Buffer | null | undefined): Buffer | undefined {
  if (changed === undefined) return undefined;
  if (changed === null) return Buffer.from('NULL');
  return Buffer.from(`"${changed.toString('latin1').replaceAll(/["\\]/g, String.raw`\$&`)}"`, 'latin1');
}

const headBytes = 12;

/**
 * int32 number of dimensions, int32 1 if there are NULLs, int32 element type; per dimension int32 length and int32 lower
 * bound; per element int32 length (-1 = NULL) and that many bytes.
 */
function rewriteBinary(
  src: Buffer,
  start: number,
  end: number,
  elementType: number,
  rewrite: RewriteElement,
): Buffer | null | undefined {
  if (end - start < headBytes) return null;
  const dimensions = src.readInt32BE(start);
  if (dimensions < 0 || dimensions > mostDimensions || end - start < headBytes + 8 * dimensions) return null;
  if (src.readInt32BE(start + 8) !== elementType) return null;
  let count = dimensions === 0 ? 0 : 1;
  for (let dimension = 0; dimension < dimensions; dimension++)
    count *= src.readInt32BE(start + headBytes + 8 * dimension);
  const head = Buffer.from(src.subarray(start, start + headBytes));
  const pieces: Buffer[] = [head];
  let copied = start + headBytes;
  let at = copied + 8 * dimensions;
  for (; count > 0; count--) {
    if (at + 4 > end) return null;
    const size = src.readInt32BE(at);
    const stop = at + 4 + Math.max(size, 0);
    if (size < -1 || stop > end) return null;
    const changed = size === -1 ? undefined : rewrite(src, at + 4, stop);
    if (changed !== undefined) {
      const length = Buffer.alloc(4);
      length.writeInt32BE(changed?.length ?? -1);
      pieces.push(src.subarray(copied, at), length);
      if (changed === null) head.writeInt32BE(1, 4);
      else pieces.push(changed);
      copied = stop;
    }
    at = stop;
  }
  if (count !== 0 || at !== end) return null;
  if (pieces.length === 1) return undefined;
  pieces.push(src.subarray(copied, end));
  return Buffer.concat(pieces);
}
