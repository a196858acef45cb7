/**
 * The `:name` parameters of a job's source: their types, the check of their values, and their way into the SQL text.
 * A value becomes text only here, as a quoted constant with a cast; a parameter is never pasted as SQL.
 */
import { CountersignError } from '../errors.ts';
import { typedLiteral } from './sql-text.ts';

export const parameterTypes = ['text', 'int', 'numeric', 'boolean', 'date', 'timestamp'] as const;
export type ParameterType = (typeof parameterTypes)[number];

export interface JobParameter {
  readonly type: ParameterType;
  /** The only values that may be given. */
  readonly allowed: readonly string[] | undefined;
  /** Inclusive. Not for text and boolean. */
  readonly min: string | undefined;
  readonly max: string | undefined;
  /** Used where no value is given; a parameter without one is required. */
  readonly default: string | undefined;
}

export type ParameterValues = Readonly<Record<string, string>>;

const sqlTypes: Record<ParameterType, string> = {
  text: 'text',
  int: 'bigint',
  numeric: 'numeric',
  boolean: 'boolean',
  date: 'date',
  timestamp: 'timestamp',
};

const maxTextLength = 4_096;
const timestampPattern = /^(\d{4}-\d\d-\d\d)[ T]([01]\d|2[0-3]):([0-5]\d)(:([0-5]\d)(\.\d{1,6})?)?$/;

const canonical: Record<ParameterType, (value: string) => string | undefined> = {
  text: (value) => (value.length <= maxTextLength && !value.includes('\0') && value.isWellFormed() ? value : undefined),
  int: (value) => {
    if (!/^[+-]?\d{1,19}$/.test(value)) return undefined;
    const number = BigInt(value);
    return number >= -(2n ** 63n) && number < 2n ** 63n ? String(number) : undefined;
  },
  numeric: (value) => (/^-?\d{1,100}(\.\d{1,100})?$/.test(value) ? value : undefined),
  boolean: (value) => (value === 'true' || value === 'false' ? value : undefined),
  date: (value) => (isDate(value) ? value : undefined),
  timestamp: (value) => {
    const parts = timestampPattern.exec(value);
    if (parts === null || !isDate(parts[1] ?? '')) return undefined;
    return `${parts[1]} ${parts[2]}:${parts[3]}:${parts[5] ?? '00'}${parts[6] ?? ''}`;
  },
};

/** The value in its one canonical spelling, or undefined if it is none of that type. */
export function canonicalValue(type: ParameterType, value: string): string | undefined {
  return canonical[type](value);
}

function isDate(value: string): boolean {
  if (!/^\d{4}-\d\d-\d\d$/.test(value)) return false;
  const date = new Date(`${value}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(value) && value > '0001';
}

/** Negative, zero or positive; both values are canonical and of the type. */
export function compareValues(type: ParameterType, a: string, b: string): number {
  if (type === 'int') return compare(BigInt(a), BigInt(b));
  if (type === 'numeric') return compareDecimals(a, b);
  return compare(a, b);
}

function compare<T extends bigint | string>(a: T, b: T): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Exact: both are brought to the same number of decimals and compared as integers. */
function compareDecimals(a: string, b: string): number {
  const [aFraction, bFraction] = [a.split('.')[1] ?? '', b.split('.')[1] ?? ''];
  const places = Math.max(aFraction.length, bFraction.length);
  const scaled = (text: string, fraction: string) =>
    BigInt(text.replace('.', '') + '0'.repeat(places - fraction.length));
  return compare(scaled(a, aFraction), scaled(b, bFraction));
}

/**
 * The value of every declared parameter: given, or its default.
 * @throws CountersignError `input_invalid` listing everything that is unknown, missing, of another type or out of range.
 */
export function checkParameterValues(
  parameters: Readonly<Record<string, JobParameter>>,
  given: ParameterValues,
): ParameterValues {
  const problems: string[] = [];
  const values: Record<string, string> = {};
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(parameters, name)) problems.push(`${name}: the job has no such parameter`);
  }
  for (const [name, parameter] of Object.entries(parameters)) {
    const value = Object.hasOwn(given, name) ? given[name] : parameter.default;
    if (value === undefined) {
      problems.push(`${name}: a value is required`);
      continue;
    }
    const problem = valueProblem(parameter, value);
    if (problem === undefined) values[name] = canonicalValue(parameter.type, value) ?? value;
    else problems.push(`${name}: ${problem}`);
  }
  if (problems.length > 0) {
    throw new CountersignError('input_invalid', `job parameters: ${problems.join('; ')}`, {
      hint: 'the job definition lists each parameter with its type and its allowed values',
    });
  }
  return values;
}

export function valueProblem(parameter: JobParameter, value: string): string | undefined {
  const { type, allowed, min, max } = parameter;
  const known = canonicalValue(type, value);
  if (known === undefined) return `expected a value of type ${type}`;
  if (allowed !== undefined && !allowed.some((one) => compareValues(type, one, known) === 0)) {
    return `expected one of ${allowed.join(', ')}`;
  }
  if (min !== undefined && compareValues(type, known, min) < 0) return `expected at least ${min}`;
  if (max !== undefined && compareValues(type, known, max) > 0) return `expected at most ${max}`;
  return undefined;
}

export interface ParameterUse {
  readonly name: string;
  /** Offsets of `:name` in the text. */
  readonly start: number;
  readonly end: number;
}

/**
 * Where `:name` stands outside strings, quoted names, comments and dollar quotes; `::` is a cast.
 * The planner checks this reading against PostgreSQL's own parser (`assertSameReading` in chunkable.ts).
 */
export function findParameters(text: string): readonly ParameterUse[] {
  const uses: ParameterUse[] = [];
  let at = 0;
  while (at < text.length) {
    const next = skipToken(text, at);
    if (text[at] === ':' && text[at + 1] !== ':' && next > at + 1) {
      uses.push({ name: text.slice(at + 1, next), start: at, end: next });
    }
    at = next;
  }
  return uses;
}

const identifier = /[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y;
const dollarTag = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y;
const parameterName = /[a-z_][a-z0-9_]*/iy;
/** What PostgreSQL allows between two pieces of one string: it must hold a line break. */
const continuation = /(?:[ \t\f\v]|--[^\n\r]*)*[\n\r](?:\s|--[^\n\r]*[\n\r])*'/y;

/** The offset after the token that begins at `at`. An unterminated one ends the text. */
function skipToken(text: string, at: number): number {
  const two = text.slice(at, at + 2);
  if (two === '--') return indexOrEnd(text.indexOf('\n', at), text);
  if (two === '/*') return skipComment(text, at);
  if (two === '::') return at + 2;
  const first = text[at];
  if (first === ':') return matchEnd(parameterName, text, at + 1) ?? at + 1;
  if (first === "'") return skipString(text, at, false);
  if (first === '"') return indexOrEnd(text.indexOf('"', at + 1), text) + 1;
  if (first === '$') {
    const bodyStart = matchEnd(dollarTag, text, at);
    if (bodyStart === undefined) return at + 1;
    const tag = text.slice(at, bodyStart);
    const close = text.indexOf(tag, bodyStart);
    return close < 0 ? text.length : close + tag.length;
  }
  const wordEnd = matchEnd(identifier, text, at);
  if (wordEnd === undefined) return at + 1;
  const isEscapePrefix = wordEnd === at + 1 && (first === 'e' || first === 'E') && text[wordEnd] === "'";
  return isEscapePrefix ? skipString(text, wordEnd, true) : wordEnd;
}

function matchEnd(pattern: RegExp, text: string, at: number): number | undefined {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : undefined;
}

function indexOrEnd(index: number, text: string): number {
  return index < 0 ? text.length : index;
}

function skipComment(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const two = text.slice(at, at + 2);
    if (two === '/*') {
      depth++;
      at++;
    } else if (two === '*/') {
      depth--;
      at++;
      if (depth === 0) return at + 1;
    }
  }
  return text.length;
}

function skipString(text: string, openQuote: number, escapes: boolean): number {
  let at = openQuote + 1;
  while (at < text.length) {
    const character = text[at];
    if (escapes && character === '\\') at += 2;
    else if (character !== "'") at++;
    else if (text[at + 1] === "'") at += 2;
    else {
      // 'a' <line break> 'b' is one string, and keeps the kind of its first piece.
      const more = matchEnd(continuation, text, at + 1);
      if (more === undefined) return at + 1;
      at = more;
    }
  }
  return text.length;
}

/** The text with each `:name` replaced by what `replace` gives for it. */
export function replaceParameters(text: string, replace: (use: ParameterUse, index: number) => string): string {
  let result = '';
  let at = 0;
  for (const [index, use] of findParameters(text).entries()) {
    result += text.slice(at, use.start) + replace(use, index);
    at = use.end;
  }
  return result + text.slice(at);
}

/** The source with every parameter as a typed constant. @throws CountersignError `input_invalid` as `checkParameterValues` */
export function renderSource(
  source: string,
  parameters: Readonly<Record<string, JobParameter>>,
  given: ParameterValues,
): string {
  const values = checkParameterValues(parameters, given);
  return replaceParameters(source, ({ name }) => {
    const parameter = parameters[name];
    const value = values[name];
    if (parameter === undefined || value === undefined) {
      throw new CountersignError('job_invalid', `the source uses :${name}, which the job does not declare`);
    }
    // The parentheses keep `-:x` and `:x[1]`-like neighbours from joining with the constant.
    return `(${typedLiteral(value, sqlTypes[parameter.type])})`;
  });
}
