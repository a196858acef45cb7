/**
 * Findings inside JSON text. The text is cut into tokens, not parsed: what is not replaced keeps its very bytes (numbers
 * their digits, members their order), and valid JSON stays valid. Never throws, also not on what is no JSON.
 */
import type { Finding } from './detectors.ts';

export type FindIn = (src: Buffer, start: number, end: number) => readonly Finding[];

const quote = 0x22;
const backslash = 0x5c;

/** How much of the text before an escaped string is shown to detectors that look for a word before a number. */
const context = 48;

/** @returns the text with every finding replaced, or undefined if there is none */
export function replaceInJson(bytes: Buffer, find: FindIn): Buffer | undefined {
  const raw = find(bytes, 0, bytes.length);
  if (raw.length === 0 && !bytes.includes(backslash)) return undefined;
  const rewriter = new Rewriter(bytes, raw);
  let at = 0;
  while (at < bytes.length) {
    const byte = bytes[at] as number;
    if (byte === quote) {
      const token = stringToken(bytes, at);
      if (token.escaped) rewriter.escapedString(at, token.end, find);
      else rewriter.plainString(at, token.end);
      at = token.end;
    } else if (isNumberByte(byte)) {
      const start = at;
      while (at < bytes.length && isNumberByte(bytes[at] as number)) at++;
      rewriter.number(start, at);
    } else at++;
  }
  return rewriter.finish();
}

/** Digits, signs, point and exponent. The `e` of `true` and `false` stands alone and holds no finding. */
function isNumberByte(byte: number): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === 0x2b || byte === 0x2e || byte === 0x45 || byte === 0x65
  );
}

/** The string token at the quote `start`: its end behind the closing quote, or the end of the text. */
function stringToken(bytes: Buffer, start: number): { readonly end: number; readonly escaped: boolean } {
  let escaped = false;
  for (let at = start + 1; at < bytes.length; at++) {
    if (bytes[at] === quote) return { end: at + 1, escaped };
    if (bytes[at] === backslash) {
      escaped = true;
      at++;
    }
  }
  return { end: bytes.length, escaped };
}

class Rewriter {
  readonly #bytes: Buffer;
  readonly #raw: readonly Finding[];
  readonly #pieces: Buffer[] = [];
  #next = 0;
  #copied = 0;
  /** A finding that is not inside one token (a user's own pattern can match anything): the whole text goes. */
  #crossing = false;

  constructor(bytes: Buffer, raw: readonly Finding[]) {
    this.#bytes = bytes;
    this.#raw = raw;
  }

  plainString(start: number, end: number): void {
    for (const finding of this.#inside(start, end)) {
      // The quotes belong to the token, not to the value.
      if (finding.start <= start || finding.end >= end) this.#crossing = true;
      else this.#replace(finding.start, finding.end, finding.token);
    }
  }

  /** Escapes make offsets and neighbours in the raw text meaningless: only what is found in the decoded value counts. */
  escapedString(start: number, end: number, find: FindIn): void {
    const raw = this.#inside(start, end);
    const text = decodeString(this.#bytes.subarray(start, end));
    if (text === undefined) {
      if (raw.length > 0) this.#crossing = true;
      return;
    }
    const before = this.#bytes.subarray(Math.max(0, start - context), start + 1);
    const value = Buffer.concat([before, Buffer.from(text)]);
    const findings = find(value, 0, value.length).filter((finding) => finding.end > before.length);
    if (findings.length === 0) return;
    const pieces: string[] = [];
    let at = before.length;
    for (const finding of findings) {
      pieces.push(value.toString('utf8', at, Math.max(at, finding.start)), finding.token);
      at = finding.end;
    }
    pieces.push(value.toString('utf8', at));
    this.#replace(start, end, JSON.stringify(pieces.join('')));
  }

  number(start: number, end: number): void {
    const findings = this.#inside(start, end);
    const [first] = findings;
    if (first === undefined) return;
    if (findings.some((finding) => finding.start < start || finding.end > end)) this.#crossing = true;
    else this.#replace(start, end, `"${first.token}"`);
  }

  finish(): Buffer | undefined {
    // What is left lies between tokens.
    if (this.#crossing || this.#next < this.#raw.length) return Buffer.from('"[masked]"');
    if (this.#pieces.length === 0) return undefined;
    this.#pieces.push(this.#bytes.subarray(this.#copied));
    return Buffer.concat(this.#pieces);
  }

  /** The raw findings that touch bytes [start, end). One that also touches bytes before is crossing. */
  #inside(start: number, end: number): readonly Finding[] {
    const inside: Finding[] = [];
    for (
      let finding = this.#raw[this.#next];
      finding !== undefined && finding.start < end;
      finding = this.#raw[this.#next]
    ) {
      if (finding.start < start || finding.end > end) this.#crossing = true;
      inside.push(finding);
      this.#next++;
    }
    return inside;
  }

  #replace(start: number, end: number, text: string): void {
    this.#pieces.push(this.#bytes.subarray(this.#copied, start), Buffer.from(text));
    this.#copied = end;
  }
}

function decodeString(token: Buffer): string | undefined {
  try {
    const value: unknown = JSON.parse(token.toString('utf8'));
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}
