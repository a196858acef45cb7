/**
 * How values are written in the text and csv layouts of COPY (PostgreSQL documentation, COPY): as bytes between
 * delimiters, with escapes.
 */
import { CountersignError } from '../errors.ts';
import type { ByteSink } from '../lib/byte-sink.ts';

export interface CopyLayout {
  readonly format: 'text' | 'csv' | 'binary';
  /** One ASCII character each. */
  readonly delimiter: string;
  readonly quote: string;
  readonly escape: string;
  readonly nullText: string;
  readonly header: boolean;
}

export const copyData = 0x64;
export const backslash = 0x5c;
export const lineFeed = 0x0a;

/** Letters behind a backslash in the text layout, and what they stand for. */
export const escapes: ReadonlyMap<number, number> = new Map(
  Object.entries({ b: 8, f: 12, n: 10, r: 13, t: 9, v: 11 }).map(([letter, code]) => [letter.charCodeAt(0), code]),
);
const letters: ReadonlyMap<number, number> = new Map([...escapes].map(([letter, code]) => [code, letter]));

/** A text or csv layout in bytes. */
export class TextLayout {
  readonly isCsv: boolean;
  readonly delimiter: number;
  readonly quote: number;
  readonly escape: number;
  readonly nullText: Buffer;

  constructor(layout: CopyLayout) {
    this.isCsv = layout.format === 'csv';
    this.delimiter = layout.delimiter.charCodeAt(0);
    this.quote = layout.quote.charCodeAt(0);
    this.escape = layout.escape.charCodeAt(0);
    this.nullText = Buffer.from(layout.nullText);
  }

  /** Appends the value in cell[at, end). */
  writeValue(cell: Buffer, at: number, end: number, sink: ByteSink): void {
    if (this.isCsv) this.#writeCsv(cell, at, end, sink);
    else this.#writeText(cell, at, end, sink);
  }

  #writeText(cell: Buffer, at: number, end: number, sink: ByteSink): void {
    for (; at < end; at++) {
      const code = cell[at] as number;
      const letter = letters.get(code);
      if (letter !== undefined || code === backslash || code === this.delimiter) sink.byte(backslash);
      sink.byte(letter ?? code);
    }
  }

  /** Always in quotes: then it is no NULL and needs no second look. */
  #writeCsv(cell: Buffer, at: number, end: number, sink: ByteSink): void {
    sink.byte(this.quote);
    for (; at < end; at++) {
      const code = cell[at] as number;
      if (code === this.quote || code === this.escape) sink.byte(this.escape);
      sink.byte(code);
    }
    sink.byte(this.quote);
  }
}

export function malformedCopy(what: string): CountersignError {
  return new CountersignError('protocol_violation', `COPY data from the target: ${what}`);
}
