/**
 * Content detection: what a value looks like, whatever column it stands in. The third and weakest of the three nets,
 * for what nobody knew to be there. A finding is replaced by a token that says what it was.
 */
import { RE2JS } from 're2js';
import { CountersignError } from '../errors.ts';
import { findCards, findIbans, findPhones, findSsns, type OnFinding } from './detect-digits.ts';
import { findCloudKeys, findEmails, findIps, findJwts } from './detect-tokens.ts';
import { replaceInJson } from './detect-json.ts';
import { textDigest, type HashValue } from './digests.ts';
import { candidate, candidatesIn, escapedBit } from './prefilter.ts';

export type BuiltInDetector = keyof typeof candidate;
export type DetectorMask = 'redact' | 'last4' | 'hash';

export interface DetectorRule {
  readonly detect: BuiltInDetector | { readonly name: string /** RE2 syntax. */; readonly pattern: string };
  readonly mask: DetectorMask;
}

/** A finding as bytes [start, end), and the token to put there. */
export interface Finding {
  readonly start: number;
  readonly end: number;
  readonly token: string;
}

export interface CompiledDetectors {
  /** False when there is nothing to detect. */
  readonly active: boolean;
  readonly names: readonly string[];
  /** Cheap: may src[start, end) hold anything? `false` is certain. */
  readonly suspects: (src: Uint8Array, start: number, end: number) => boolean;
  /** Findings in src[start, end) in order, without overlaps. */
  readonly find: (src: Buffer, start: number, end: number) => readonly Finding[];
  /**
   * The text src[start, end) with every finding replaced, or undefined if there is none. Text that is a JSON document
   * stays one. Never throws, whatever the bytes.
   */
  readonly replaceText: (src: Buffer, start: number, end: number) => Buffer | undefined;
  /** The same for what is known to be JSON: string escapes are read, and a replaced number becomes a string. */
  readonly replaceJson: (src: Buffer, start: number, end: number) => Buffer | undefined;
  /** `replaceText` for a whole buffer. */
  readonly detectText: (bytes: Buffer) => Buffer | undefined;
}

type Find = (src: Buffer, start: number, end: number, onFinding: OnFinding) => void;

/** In the order in which one wins over another that found the same bytes. */
const builtIn: Readonly<Record<BuiltInDetector, Find>> = {
  'cloud-key': onText(findCloudKeys),
  jwt: onText(findJwts),
  card: findCards,
  iban: findIbans,
  ssn: findSsns,
  email: findEmails,
  phone: findPhones,
  ip: onText(findIps),
};

function onText(find: (text: string, offset: number, onFinding: OnFinding) => void): Find {
  return (src, start, end, onFinding) => find(src.toString('latin1', start, end), start, onFinding);
}

interface Detector {
  readonly name: string;
  readonly mask: DetectorMask;
  /** Its bit in the pre-filter; 0 = always worth a try. */
  readonly bit: number;
  readonly find: Find;
}

const maskStrength: Readonly<Record<DetectorMask, number>> = { last4: 0, hash: 1, redact: 2 };

/** @throws CountersignError `configuration_invalid` for a pattern that is not RE2, too large, or badly named */
export function compileDetectors(
  rules: readonly (DetectorRule & { readonly template: string })[],
  hash: HashValue,
): CompiledDetectors {
  const detectors = mergeRules(rules);
  const mask = detectors.reduce((bits, detector) => bits | detector.bit, 0);
  const always = detectors.some((detector) => detector.bit === 0);
  const active = detectors.length > 0;

  const findAmong = (bits: number, src: Buffer, start: number, end: number): readonly Finding[] => {
    let found: Found[] | undefined;
    for (const detector of detectors) {
      if (detector.bit !== 0 && (bits & detector.bit) === 0) continue;
      detector.find(src, start, end, (from, to) => (found ??= []).push({ start: from, end: to, detector }));
    }
    if (found === undefined) return none;
    return withoutOverlaps(found).map((one) => ({ start: one.start, end: one.end, token: tokenFor(one, src, hash) }));
  };
  const find: CompiledDetectors['find'] = (src, start, end) =>
    findAmong(candidatesIn(src, start, end), src, start, end);

  /** Bits of a text that may hold something; 0 is certain that it does not. */
  const suspicion = (src: Uint8Array, start: number, end: number): number => {
    if (!active) return 0;
    const bits = candidatesIn(src, start, end) & (mask | escapedBit);
    return always ? bits | alwaysBit : bits;
  };

  const replaceJson: CompiledDetectors['replaceJson'] = (src, start, end) =>
    suspicion(src, start, end) === 0 ? undefined : replaceInJson(src.subarray(start, end), find);

  const replaceText: CompiledDetectors['replaceText'] = (src, start, end) => {
    const bits = suspicion(src, start, end);
    if (bits === 0) return undefined;
    const found = findAmong(bits, src, start, end);
    const escaped = (bits & escapedBit) !== 0;
    if (found.length === 0 && !escaped) return undefined;
    const text = src.subarray(start, end);
    if (isJsonDocument(text)) return replaceInJson(text, find);
    if (found.length > 0) return splice(src, start, end, found);
    return hidesInEscapes(text, find) ? Buffer.from('[masked]') : undefined;
  };

  return {
    active,
    names: detectors.map((detector) => detector.name),
    suspects: (src, start, end) => suspicion(src, start, end) !== 0,
    find,
    replaceText,
    replaceJson,
    detectText: (bytes) => replaceText(bytes, 0, bytes.length),
  };
}

const none: readonly Finding[] = [];

/** Beside the pre-filter's own bits: a detector that the pre-filter knows nothing of. */
const alwaysBit = 1 << 16;

/** One detector per name; if several rules ask for the same, the strongest mask wins. */
function mergeRules(rules: readonly (DetectorRule & { readonly template: string })[]): Detector[] {
  const byKey = new Map<string, Detector>();
  for (const rule of rules) {
    const { detect } = rule;
    const key = typeof detect === 'string' ? detect : `${detect.name} ${detect.pattern}`;
    const detector: Detector =
      typeof detect === 'string'
        ? { name: detect, mask: rule.mask, bit: candidate[detect], find: builtIn[detect] }
        : {
            name: detect.name,
            mask: rule.mask,
            bit: 0,
            find: compilePattern(rule.template, detect.name, detect.pattern),
          };
    const known = byKey.get(key);
    if (known === undefined || maskStrength[detector.mask] > maskStrength[known.mask]) byKey.set(key, detector);
  }
  const order = Object.keys(builtIn);
  return [...byKey.values()].sort((a, b) => rank(order, a) - rank(order, b));
}

/** What users wrote themselves is the most specific and comes first. */
function rank(order: readonly string[], detector: Detector): number {
  return detector.bit === 0 ? -1 : order.indexOf(detector.name);
}

/** Instructions of a compiled pattern; each costs time on every byte of every cell. */
const largestProgram = 5_000;

/** A name stands in the replacement token, which must not break JSON, arrays or XML. */
const nameForm = /^[A-Za-z0-9][\w-]{0,40}$/;

function compilePattern(template: string, name: string, pattern: string): Find {
  const where = `masking template ${template}, detector ${JSON.stringify(name)}`;
  if (!nameForm.test(name)) {
    throw new CountersignError('configuration_invalid', `${where}: a name is made of letters, digits, - and _`);
  }
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(pattern);
  } catch (error) {
    throw new CountersignError(
      'configuration_invalid',
      `${where}: ${error instanceof Error ? error.message : 'not a pattern'}`,
      {
        hint: 'patterns are in RE2 syntax: no look-around and no back-references',
        cause: error,
      },
    );
  }
  if (compiled.programSize() > largestProgram) {
    throw new CountersignError(
      'configuration_invalid',
      `${where}: the pattern is too large (${compiled.programSize()} instructions, at most ${largestProgram})`,
    );
  }
  return (src, start, end, onFinding) => {
    // Given bytes, re2js reads UTF-8 and counts in bytes.
    const matcher = compiled.matcher(src.subarray(start, end));
    while (matcher.find())
      if (matcher.end() > matcher.start()) onFinding(start + matcher.start(), start + matcher.end());
  };
}

interface Found {
  readonly start: number;
  readonly end: number;
  readonly detector: Detector;
}

/** Overlapping findings become one over all their bytes, named after the longest, under the strongest of their masks. */
function withoutOverlaps(found: Found[]): readonly Found[] {
  found.sort((a, b) => a.start - b.start || b.end - a.end);
  const kept: Found[] = [];
  for (const one of found) {
    const last = kept.at(-1);
    if (last === undefined || one.start >= last.end) {
      kept.push(one);
      continue;
    }
    const longest = one.end - one.start > last.end - last.start ? one : last;
    const stronger = maskStrength[one.detector.mask] > maskStrength[last.detector.mask] ? one : last;
    const detector = { ...longest.detector, mask: stronger.detector.mask };
    kept[kept.length - 1] = { start: last.start, end: Math.max(last.end, one.end), detector };
  }
  return kept;
}

/** `[masked:card]`, `[masked:card:1111]`, `[masked:card:h:…]`: only characters that no format needs to escape. */
function tokenFor(found: Found, src: Buffer, hash: HashValue): string {
  const { name, mask } = found.detector;
  if (mask === 'redact') return `[masked:${name}]`;
  const value = normalised(name, src.subarray(found.start, found.end));
  if (mask === 'hash') return `[masked:${name}:${textDigest(hash, value)}]`;
  const tail = value.subarray(-4).toString('latin1');
  return value.length >= 8 && /^[A-Za-z0-9.]{4}$/.test(tail) ? `[masked:${name}:${tail}]` : `[masked:${name}]`;
}

/** The same number in two notations is the same value: separators go, and case where it does not count. */
function normalised(name: string, bytes: Buffer): Buffer {
  if (name === 'card' || name === 'ssn' || name === 'phone')
    return bytes.filter((byte) => byte >= 0x30 && byte <= 0x39) as Buffer;
  const text = bytes.toString('utf8');
  if (name === 'iban') return Buffer.from(text.replace(/[^A-Za-z0-9]/g, '').toUpperCase());
  return name === 'email' || name === 'ip' ? Buffer.from(text.toLowerCase()) : bytes;
}

/** src[start, end) with each finding replaced by its token; all other bytes stay as they are. */
export function splice(src: Buffer, start: number, end: number, findings: readonly Finding[]): Buffer {
  const pieces: Buffer[] = [];
  let at = start;
  for (const finding of findings) {
    pieces.push(src.subarray(at, finding.start), Buffer.from(finding.token));
    at = finding.end;
  }
  pieces.push(src.subarray(at, end));
  return Buffer.concat(pieces);
}

/** Larger text is not tried as JSON. */
const largestDocument = 1024 * 1024;

/** Is this text an object or array in JSON? Then it must still be one afterwards. */
export function isJsonDocument(bytes: Buffer): boolean {
  if (bytes.length > largestDocument) return false;
  let at = 0;
  while (bytes[at] === 0x20 || bytes[at] === 0x0a || bytes[at] === 0x0d || bytes[at] === 0x09) at++;
  if (bytes[at] !== 0x7b && bytes[at] !== 0x5b) return false;
  try {
    JSON.parse(bytes.toString('utf8'));
    return true;
  } catch {
    return false;
  }
}

/** Text outside JSON in which `\u0034` and the like stand for ASCII characters. */
function hidesInEscapes(bytes: Buffer, find: CompiledDetectors['find']): boolean {
  const text = bytes.toString('latin1');
  const plain = text.replace(/\\u00([2-7][0-9A-Fa-f])/g, (_: string, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return plain !== text && find(Buffer.from(plain, 'latin1'), 0, plain.length).length > 0;
}
