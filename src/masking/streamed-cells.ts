/**
 * Masks for cells of a row that is too large to be taken whole: the bytes of a masked cell are consumed as they come,
 * and only what its mask needs is kept. Whether a row passes must not depend on how long a masked value is, or its
 * length would answer guesses (`split_part(token || padding, guess, 1)`).
 *
 * A mask gives what it would have given for the whole cell. The only exception are dates and numbers in text that are
 * longer than any value of their types: they become NULL.
 */
import { CountersignError } from '../errors.ts';
import { compileCellDetector, type CellDetector } from './detect-cell.ts';
import type { ColumnAction } from './plan.ts';
import { ByteaText } from './bytea-text.ts';
import type { StreamedHash } from './digests.ts';
import { placeholderOf } from './placeholders.ts';
import { withoutPadding } from './text-parts.ts';
import { elementTypeOf, typeOid } from './type-oids.ts';
import { compileMask, longestArray } from './types.ts';

export interface StreamedCell {
  write(src: Buffer, start: number, end: number): void;
  /** The new value; null is the SQL NULL. */
  end(): Buffer | null;
  /** Bytes of the cell that are in memory. */
  readonly keptBytes: number;
}

export type StreamedColumn =
  | { readonly kind: 'pass' }
  | { readonly kind: 'constant'; readonly value: Buffer | null; readonly hidesNull: boolean }
  | { readonly kind: 'computed'; readonly begin: () => StreamedCell }
  /** The detectors need the whole cell: what is not masked counts fully. */
  | { readonly kind: 'detect'; readonly detect: CellDetector };

/** In bytes. */
export interface StreamLimits {
  /** Of the message as it is delivered. */
  readonly delivered: number;
  /** Of one cell that detectors look at, as the target sends it. */
  readonly detected: number;
}

type MaskAction = ColumnAction & { readonly kind: 'mask' };

export function streamedColumn(action: ColumnAction): StreamedColumn {
  if (action.kind === 'pass') return { kind: 'pass' };
  if (action.kind === 'detect') {
    const detect = compileCellDetector(action.typeOid, action.format, action.detectors);
    return detect === undefined ? { kind: 'pass' } : { kind: 'detect', detect };
  }
  const mask = compileMask(action);
  if (mask.kind === 'constant') return { kind: 'constant', value: mask.value, hidesNull: action.hidesNull };
  const { render } = mask;
  const tooLong = placeholderOf(action.typeOid, action.format);
  if (elementTypeOf(action.typeOid) !== undefined)
    return { kind: 'computed', begin: () => new ShortCell(render, longestArray, tooLong) };
  if (action.mask === 'hash' && action.typeOid !== typeOid.uuid) {
    const isBytea = action.typeOid === typeOid.bytea && action.format === 0;
    return { kind: 'computed', begin: () => (isBytea ? new HashedBytea(action) : new HashedCell(action)) };
  }
  const ends = endsOf(action);
  if (ends === undefined) return { kind: 'computed', begin: () => new ShortCell(render, longestShort, null) };
  return { kind: 'computed', begin: () => new CellEnds(render, ends) };
}

export function rowTooLarge(limit: number): CountersignError {
  return new CountersignError('message_too_large', `a row is larger than the limit of ${limit} bytes after masking`, {
    hint: 'raise gateway.limits.maxRowBytes if this is legitimate',
  });
}

type Render = (src: Buffer, start: number, end: number) => Buffer | null;

const nothing = Buffer.alloc(0);
const blank = 0x20;
const blanks = Buffer.alloc(4096, blank);

/** How much of the beginning and the end of a text a mask looks at, in bytes. */
interface Ends {
  readonly head: number;
  readonly tail: number;
}

const longestCharacter = 4;
/** More than that is shown of no cell that is streamed. */
const largestEnd = 1024 * 1024;

/** @returns undefined for a mask of something that is never long */
function endsOf({ mask }: MaskAction): Ends | undefined {
  // A domain has at most 253 bytes, and something has to stand before its "@".
  if (mask === 'email-domain') return { head: 1, tail: 512 };
  const shown =
    mask === 'last4' ? 4 : typeof mask === 'object' && mask.kind === 'partial' ? partShown(mask) : undefined;
  if (shown === undefined) return undefined;
  // Twice as many characters must be there as are shown.
  const bytes = (2 * shown + 1) * longestCharacter;
  return bytes <= largestEnd ? { head: bytes, tail: bytes } : { head: 0, tail: 0 };
}

function partShown(mask: { readonly keepStart: number; readonly keepEnd: number }): number {
  return mask.keepStart + mask.keepEnd;
}

/** Keeps the first and the last bytes of a text, without the blanks at its end, which no mask counts. */
class CellEnds implements StreamedCell {
  readonly #render: Render;
  readonly #ends: Ends;
  readonly #head: Buffer;
  readonly #tail: Buffer;
  #headLength = 0;
  #tailLength = 0;
  #blanks = 0;

  constructor(render: Render, ends: Ends) {
    this.#render = render;
    this.#ends = ends;
    this.#head = Buffer.allocUnsafe(ends.head);
    this.#tail = Buffer.allocUnsafe(ends.tail);
  }

  get keptBytes(): number {
    return this.#headLength + this.#tailLength;
  }

  write(src: Buffer, start: number, end: number): void {
    const text = withoutPadding(src, start, end);
    if (text === start) {
      this.#blanks += end - start;
      return;
    }
    // More of them than both ends hold make no difference.
    let before = Math.min(this.#blanks, this.#ends.head + this.#ends.tail);
    for (; before > 0; before -= blanks.length) this.#add(blanks, 0, Math.min(before, blanks.length));
    this.#add(src, start, text);
    this.#blanks = end - text;
  }

  end(): Buffer | null {
    const kept = Buffer.concat([this.#head.subarray(0, this.#headLength), this.#tail.subarray(0, this.#tailLength)]);
    return this.#render(kept, 0, kept.length);
  }

  #add(src: Buffer, start: number, end: number): void {
    const first = start + Math.min(this.#head.length - this.#headLength, end - start);
    src.copy(this.#head, this.#headLength, start, first);
    this.#headLength += first - start;
    const from = Math.max(first, end - this.#tail.length);
    const kept = Math.min(this.#tailLength, this.#tail.length - (end - from));
    this.#tail.copyWithin(0, this.#tailLength - kept, this.#tailLength);
    src.copy(this.#tail, kept, from, end);
    this.#tailLength = kept + end - from;
  }
}

/** A numeric has up to 147,455 digits; of one with more than 1,000, no mask shows anything. */
const longestShort = 4096;

/** A date, a number, a UUID, an array: what is too long for one is withheld. */
class ShortCell implements StreamedCell {
  readonly #render: Render;
  readonly #mostBytes: number;
  readonly #tooLong: Buffer | null;
  #cell: Buffer = nothing;
  #length = 0;
  #isTooLong = false;

  constructor(render: Render, mostBytes: number, tooLong: Buffer | null) {
    this.#render = render;
    this.#mostBytes = mostBytes;
    this.#tooLong = tooLong;
  }

  get keptBytes(): number {
    return this.#length;
  }

  write(src: Buffer, start: number, end: number): void {
    this.#isTooLong ||= end - start > this.#mostBytes - this.#length;
    if (this.#isTooLong) return;
    if (this.#length + end - start > this.#cell.length) {
      const larger = Buffer.allocUnsafe(Math.min(this.#mostBytes, 2 * (this.#length + end - start)));
      this.#cell.copy(larger, 0, 0, this.#length);
      this.#cell = larger;
    }
    this.#length += src.copy(this.#cell, this.#length, start, end);
  }

  end(): Buffer | null {
    return this.#isTooLong ? this.#tooLong : this.#render(this.#cell, 0, this.#length);
  }
}

class HashedCell implements StreamedCell {
  readonly #action: MaskAction;
  readonly #hash: StreamedHash;
  /** The version byte of a binary jsonb value is left out. */
  #skip: number;
  /** Those at the end of a `char(n)` do not count; whether these are at the end is not known yet. */
  #blanks = 0;

  constructor(action: MaskAction) {
    this.#action = action;
    this.#hash = action.hash.begin();
    this.#skip = action.typeOid === typeOid.jsonb && action.format === 1 ? 1 : 0;
  }

  get keptBytes(): number {
    return 0;
  }

  write(src: Buffer, start: number, end: number): void {
    const skipped = Math.min(this.#skip, end - start);
    this.#skip -= skipped;
    const from = start + skipped;
    if (this.#action.typeOid !== typeOid.bpchar) {
      this.#hash.update(src.subarray(from, end));
      return;
    }
    const text = withoutPadding(src, from, end);
    if (text > from) {
      for (; this.#blanks > 0; this.#blanks -= blanks.length)
        this.#hash.update(blanks.subarray(0, Math.min(this.#blanks, blanks.length)));
      this.#blanks = 0;
      this.#hash.update(src.subarray(from, text));
    }
    this.#blanks += end - Math.max(text, from);
  }

  /** The digest in the form that the column's type has for it. */
  end(): Buffer | null {
    const digest = this.#hash.end();
    const mask = compileMask({ ...this.#action, hash: () => digest });
    return mask.kind === 'constant' ? mask.value : mask.render(nothing, 0, 0);
  }
}

/** bytea in text: what it stands for is digested, not how it is written. */
class HashedBytea extends HashedCell {
  readonly #text = new ByteaText();

  override write(src: Buffer, start: number, end: number): void {
    const value = this.#text.write(src.subarray(start, end));
    super.write(value, 0, value.length);
  }

  override end(): Buffer | null {
    return this.#text.end() ? super.end() : null;
  }
}
