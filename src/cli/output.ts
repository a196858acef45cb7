/** What a person reads on a terminal, or a program with --json. */
import Table from 'cli-table3';
import colors from 'picocolors';
import { CountersignError } from '../errors.ts';

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

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function show(output: Output, value: unknown, human: () => string): void {
  print(output.json ? JSON.stringify(value, undefined, 2) : human());
}

export function printError(error: CountersignError, json: boolean): void {
  if (json) {
    const { code, message, hint, detail } = error;
    process.stderr.write(`${JSON.stringify({ error: { code, message, hint, detail } })}\n`);
    return;
  }
  process.stderr.write(`${colors.red('error')} ${error.message} ${colors.dim(`[${error.code}]`)}\n`);
  if (error.detail !== undefined) process.stderr.write(`  ${error.detail}\n`);
  if (error.hint !== undefined) process.stderr.write(`  ${colors.cyan('hint')} ${error.hint}\n`);
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

/** Name and value, one per line. */
export function facts(pairs: readonly (readonly [string, Cell])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs
    .filter(([, value]) => value !== undefined && value !== null && value !== '')
    .map(([name, value]) => `${colors.dim(name.padEnd(width))}  ${String(value)}`)
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
