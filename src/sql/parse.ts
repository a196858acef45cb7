/**
 * SQL text -> PostgreSQL's own raw parse tree, one per statement. Purely syntax: what a tree means is analyse.ts.
 *
 * libpg_query runs as WebAssembly. A text that nests deeply enough overruns the stack and leaves the instance damaged:
 * later parses fail, or worse, are wrong. So an instance that threw anything is thrown away, short texts (which cannot
 * nest that deeply) have an instance of their own, and spares stand ready. Source: libpg_query (PostgreSQL 18 grammar).
 */
import createModule, { type PgQueryModule } from 'libpg-query/wasm/libpg-query.js';
import type { Node, ParseResult } from 'libpg-query';
import { tooCostly } from './parse-cost.ts';

export interface ParsedStatement {
  readonly tree: Node;
  /** The statement's own text, trimmed, without the semicolon. */
  readonly text: string;
}

export type Parsed =
  | { readonly ok: true; readonly statements: readonly ParsedStatement[] }
  /** `position` counts UTF-16 units from 0. `isSyntax`: PostgreSQL's own parser refuses the text, in its own words. */
  | {
      readonly ok: false;
      readonly reason: string;
      readonly position?: number | undefined;
      readonly isSyntax?: boolean | undefined;
    };

/** Measured: the densest nesting overruns the stack from about 11 kB on. */
const shortTextUnits = 4_096;
const spareInstances = 2;
/** WebAssembly memory never shrinks. */
const maxInstanceBytes = 128 * 1024 * 1024;
/** Errors that say nothing about the text. */
const limitsOfTheParser = /memory|stack depth|too (large|long|deep)/i;

let forShortTexts: PgQueryModule | undefined;
let forLongTexts: PgQueryModule | undefined;
const spares: PgQueryModule[] = [];
let pending = 0;

/** To be awaited once before the first `parseStatements`. */
export async function loadParser(): Promise<void> {
  if (forShortTexts !== undefined) return;
  const [short, long, ...rest] = await Promise.all(
    Array.from({ length: 2 + spareInstances }, async () => createModule()),
  );
  forShortTexts ??= short;
  forLongTexts ??= long;
  spares.push(...rest);
}

/** Never throws for any text; throws only when the parser was not loaded. */
export function parseStatements(text: string, options: { readonly maxBytes: number }): Parsed {
  if (forShortTexts === undefined) throw new Error('loadParser() was not awaited');
  if (text.includes('\0')) return { ok: false, reason: 'the text holds a NUL character', position: text.indexOf('\0') };
  if (!text.isWellFormed()) return { ok: false, reason: 'the text is not valid Unicode' };
  const sizeBytes = Buffer.byteLength(text);
  if (sizeBytes > options.maxBytes) {
    return {
      ok: false,
      reason: `the text has ${sizeBytes} bytes, more than the ${options.maxBytes} that are analysed`,
    };
  }
  const tooMuch = tooCostly(text, options.maxBytes);
  if (tooMuch !== undefined) return { ok: false, reason: tooMuch };
  const short = text.length <= shortTextUnits;
  const instance = short ? forShortTexts : forLongTexts;
  if (instance === undefined) {
    refill();
    return { ok: false, reason: 'the parser for long texts is starting again; try once more' };
  }
  let raw: RawParse;
  try {
    raw = rawParse(instance, text);
  } catch {
    discard(short);
    return { ok: false, reason: 'the text is nested too deeply for the parser' };
  }
  if (instance.HEAPU8.length > maxInstanceBytes) discard(short);
  if ('error' in raw) {
    const isSyntax = !limitsOfTheParser.test(raw.error);
    return { ok: false, reason: raw.error, position: unitsAt(text, raw.offsetCodePoints), isSyntax };
  }
  return split(text, sizeBytes, JSON.parse(raw.json) as ParseResult);
}

export interface Token {
  /** Offsets in the text (UTF-16 units). */
  readonly start: number;
  readonly end: number;
  /** As it stands in the text; a key word in lower case. */
  readonly text: string;
  readonly kind: 'keyword' | 'parameter' | 'comment' | 'other';
}

/** The tokens of a text that `parseStatements` reads; undefined where they cannot be told. */
export function scanTokens(text: string, options: { readonly maxBytes: number }): readonly Token[] | undefined {
  if (forShortTexts === undefined) throw new Error('loadParser() was not awaited');
  const instance = text.length <= shortTextUnits ? forShortTexts : forLongTexts;
  if (instance === undefined || text.includes('\0') || !text.isWellFormed()) return undefined;
  if (Buffer.byteLength(text) > options.maxBytes || tooCostly(text, options.maxBytes) !== undefined) return undefined;
  try {
    const tokens = JSON.parse(rawScan(instance, text)) as { readonly tokens?: readonly RawToken[] };
    const bytes = Buffer.from(text);
    const unitsAtByte = (at: number) => (bytes.length === text.length ? at : bytes.toString('utf8', 0, at).length);
    return (tokens.tokens ?? []).map((raw) => tokenOf(raw, unitsAtByte(raw.start), unitsAtByte(raw.end), text));
  } catch {
    return undefined;
  }
}

interface RawToken {
  readonly start: number;
  readonly end: number;
  readonly keywordName: string;
}

function tokenOf(raw: RawToken, start: number, end: number, text: string): Token {
  const own = text.slice(start, end);
  if (raw.keywordName !== 'NO_KEYWORD') return { start, end, text: own.toLowerCase(), kind: 'keyword' };
  if (own.startsWith('--') || own.startsWith('/*')) return { start, end, text: own, kind: 'comment' };
  return { start, end, text: own, kind: /^\$\d+$/.test(own) ? 'parameter' : 'other' };
}

function rawScan(instance: PgQueryModule, text: string): string {
  const capacity = instance.lengthBytesUTF8(text) + 1;
  const pointer = instance._malloc(capacity);
  if (pointer === 0) throw new Error('out of memory');
  instance.stringToUTF8(text, pointer, capacity);
  const result = instance._wasm_scan(pointer);
  instance._free(pointer);
  if (result === 0) throw new Error('out of memory');
  const scanned = instance.UTF8ToString(result);
  instance._wasm_free_string(result);
  return scanned;
}

type RawParse = { readonly json: string } | { readonly error: string; readonly offsetCodePoints: number };

/** Layouts of PgQueryParseResult and PgQueryError: pg_query.h, all fields 4 bytes here. */
function rawParse(instance: PgQueryModule, text: string): RawParse {
  const capacity = instance.lengthBytesUTF8(text) + 1;
  const pointer = instance._malloc(capacity);
  if (pointer === 0) throw new Error('out of memory');
  instance.stringToUTF8(text, pointer, capacity);
  const result = instance._wasm_parse_query_raw(pointer);
  if (result === 0) throw new Error('out of memory');
  const tree = instance.getValue(result, 'i32');
  const error = instance.getValue(result + 8, 'i32');
  let parsed: RawParse;
  if (error !== 0) {
    const message = instance.getValue(error, 'i32');
    const cursor = instance.getValue(error + 16, 'i32');
    parsed = {
      error: message === 0 ? 'syntax error' : instance.UTF8ToString(message),
      offsetCodePoints: Math.max(0, cursor - 1),
    };
  } else {
    if (tree === 0) throw new Error('no tree');
    parsed = { json: instance.UTF8ToString(tree) };
  }
  instance._free(pointer);
  instance._wasm_free_parse_result(result);
  return parsed;
}

function discard(short: boolean): void {
  const next = spares.pop();
  if (short) {
    forShortTexts = next ?? forLongTexts ?? forShortTexts;
    if (next === undefined) forLongTexts = undefined;
  } else {
    forLongTexts = next;
  }
  refill();
}

function refill(): void {
  while (spares.length + pending < spareInstances) {
    pending++;
    createModule()
      .then((instance) => {
        if (forLongTexts === undefined) forLongTexts = instance;
        else spares.push(instance);
      })
      // Without memory for an instance, long texts stay refused; the next of them tries again.
      .catch(() => undefined)
      .finally(() => {
        pending--;
        if (spares.length + pending < spareInstances && forLongTexts !== undefined) refill();
      });
  }
}

/** Statement positions are byte offsets of the UTF-8 text; a length of 0 means "to the end". */
function split(text: string, sizeBytes: number, result: ParseResult): Parsed {
  const ascii = sizeBytes === text.length;
  const bytes = ascii ? undefined : Buffer.from(text);
  const statements: ParsedStatement[] = [];
  for (const raw of result.stmts ?? []) {
    if (raw.stmt === undefined) continue;
    const start = raw.stmt_location ?? 0;
    const end = raw.stmt_len === undefined || raw.stmt_len === 0 ? sizeBytes : start + raw.stmt_len;
    const own = bytes === undefined ? text.slice(start, end) : bytes.toString('utf8', start, end);
    statements.push({ tree: raw.stmt, text: withoutSemicolon(own) });
  }
  return { ok: true, statements };
}

/** The last statement reaches to the end of the text, where a comment may stand after the semicolon: that stays. */
function withoutSemicolon(text: string): string {
  const trimmed = text.trim();
  return trimmed.endsWith(';') ? trimmed.slice(0, -1).trimEnd() : trimmed;
}

function unitsAt(text: string, codePoints: number): number {
  let units = 0;
  for (let seen = 0; seen < codePoints && units < text.length; seen++) {
    units += (text.codePointAt(units) ?? 0) > 0xffff ? 2 : 1;
  }
  return units;
}
