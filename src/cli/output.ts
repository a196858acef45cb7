/** What a person reads on a terminal, or a program with --json. */
import Table from 'cli-table3';
import colors from 'picocolors';
import { CountersignError } from '../errors.ts';
import { codePoint, hiddenCharacter } from '../lib/hidden-characters.ts';

export interface Output {
  readonly json: boolean;
}

/** Stable exit codes: scripts may rely on them. */
export const exitCodes = { ok: 0, failed: 1, usage: 2, refused: 3, notFound: 4, unreachable: 5 } as const;

export function exitCodeOf(error: CountersignError): number {
  switch (error.httpStatus) {
    case 401:
    case 403:
    case 409:
    case 410:
      return exitCodes.refused;
    case 404:
      return exitCodes.notFound;
    case 400:
    case 422:
      return exitCodes.usage;
    case 502:
    case 503:
      return exitCodes.unreachable;
    default:
      return exitCodes.failed;
  }
}

/** Of the sequences that terminals obey, those that picocolors makes here. They show or hide nothing. */
const ownColors = String.raw`\u001b\[(?:1|2|22|3[1-36]|39)m`;
const oddOrOwn = new RegExp(`${ownColors}|${hiddenCharacter.source}`, 'gu');
const odd = new RegExp(hiddenCharacter.source, 'gu');

/**
 * For a terminal: much of what is printed was written by others, also by whoever asks for an approval. What a terminal
 * would obey, and what nobody would see, is shown by its code point.
 */
export function shownText(text: string, isColored = colors.isColorSupported): string {
  return text.replaceAll('\r\n', '\n').replaceAll(oddOrOwn, (found) => {
    const isPlain = found === '\n' || found === '\t' || (isColored && found.length > 2);
    // Of a sequence only its first character is odd.
    return isPlain ? found : `<${codePoint(found)}>${found.startsWith('\u001b') ? found.slice(1) : ''}`;
  });
}

/** The same value, with everything escaped that a terminal would obey or nobody would see. */
export function jsonText(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replaceAll(odd, (found) =>
    found === '\n' ? found : Array.from({ length: found.length }, (_, at) => unitEscape(found, at)).join(''),
  );
}

function unitEscape(text: string, at: number): string {
  return `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`;
}

export function print(text: string): void {
  process.stdout.write(`${shownText(text)}\n`);
}

/** The bytes as they are, for programs that read them. */
export function printExact(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function show(output: Output, value: unknown, human: () => string): void {
  if (output.json) printExact(jsonText(value, 2));
  else print(human());
}

export function printError(error: CountersignError, json: boolean): void {
  if (json) {
    const { code, message, hint, detail } = error;
    process.stderr.write(`${jsonText({ error: { code, message, hint, detail } })}\n`);
    return;
  }
  const lines = [`${colors.red('error')} ${error.message} ${colors.dim(`[${error.code}]`)}`];
  if (error.detail !== undefined) lines.push(`  ${error.detail}`);
  if (error.hint !== undefined) lines.push(`  ${colors.cyan('hint')} ${error.hint}`);
  process.stderr.write(`${shownText(lines.join('\n'))}\n`);
}

type Cell = string | number | boolean | null | undefined;

/** Columns of text; no borders, so that lines can be cut and grepped. */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  if (rows.length === 0) return colors.dim('(none)');
  const blank = Object.fromEntries(
    [
      'top',
      'top-mid',
      'top-left',
      'top-right',
      'bottom',
      'bottom-mid',
      'bottom-left',
      'bottom-right',
      'left',
      'left-mid',
      'mid',
      'mid-mid',
      'right',
      'right-mid',
    ].map((name) => [name, '']),
  );
  const made = new Table({
    head: head.map((text) => colors.bold(text)),
    chars: { ...blank, middle: '  ' },
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
  for (const row of rows)
    made.push(row.map((cell) => (cell === null || cell === undefined ? colors.dim('-') : String(cell))));
  return made.toString();
}

/** Name and value. The further lines of a value stand under its first, so that none looks like another name. */
export function facts(pairs: readonly (readonly [string, Cell])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  const indent = `\n${' '.repeat(width + 2)}`;
  return pairs
    .filter(([, value]) => value !== undefined && value !== null && value !== '')
    .map(([name, value]) => `${colors.dim(name.padEnd(width))}  ${String(value).replaceAll(/\r?\n/g, indent)}`)
    .join('\n');
}

/** `alice (pusher, author), bob (co-author)` */
export function authorsText(authors: readonly { readonly human: string; readonly role: string }[]): string {
  const roles = Map.groupBy(authors, (author) => author.human);
  return [...roles]
    .map(([human, all]) => `${human} (${[...new Set(all.map(({ role }) => role))].join(', ')})`)
    .join(', ');
}

export function bytes(count: number): string {
  for (const [size, unit] of [
    [2 ** 30, 'GiB'],
    [2 ** 20, 'MiB'],
    [2 ** 10, 'KiB'],
  ] as const) {
    if (count >= size) return `${(count / size).toFixed(1)} ${unit}`;
  }
  return `${count} B`;
}

export function count(number: number): string {
  return number.toLocaleString('en-US');
}
