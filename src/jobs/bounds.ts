/**
 * Where to cut: bounds of chunks, asked of the target once and then frozen. All comparing and sorting is the server's, in
 * the column's own type and collation; a bound is the text of a key that exists. Bounds need not be exact or even
 * distinct for chunks to be right: neighbours share one bound, and the ends are open.
 */
import { CountersignError } from '../errors.ts';
import type { PlannedChunk } from './job-plan.ts';
import { quotedRelation, type ChunkKeyChoice, type KeyColumn } from './key.ts';
import { quoteIdentifier, typedLiteral } from './sql-text.ts';
import type { TargetReader } from './target-reader.ts';

export type Bound = readonly string[];

export const maxChunks = 10_000;

/** The source as a relation. The line break keeps a comment at its end from taking the parenthesis with it. */
export function sourceRelation(source: string): string {
  return `(\n${source}\n) as chunk_source`;
}

function keyList(columns: readonly KeyColumn[]): string {
  return columns.map((column) => quoteIdentifier(column.column)).join(', ');
}

/** `("a", "b") < ('1'::bigint, 'x'::text)`: a row comparison, which an index on the key serves. */
function comparison(columns: readonly KeyColumn[], operator: '<' | '>=', bound: Bound): string {
  const literals = columns.map((column, index) => typedLiteral(bound[index] ?? '', column.type));
  if (columns.length === 1) return `${keyList(columns)} ${operator} ${literals[0]}`;
  return `(${keyList(columns)}) ${operator} (${literals.join(', ')})`;
}

function notNull(columns: readonly KeyColumn[]): string {
  return columns.map((column) => `${quoteIdentifier(column.column)} is not null`).join(' and ');
}

export interface KeyQuery {
  readonly reader: TargetReader;
  readonly source: string;
  readonly key: ChunkKeyChoice;
}

/** Either a number of rows per chunk or a number of chunks. */
export type Cut = { readonly rowsPerChunk: number } | { readonly chunks: number };

export interface Quantiles {
  /** First key of every chunk but the first. */
  readonly bounds: readonly Bound[];
  /** Rows with a key that is not NULL, among those looked at. */
  readonly rows: number;
}

/** Exact: numbers all keys of the source. For sources that are cheap to read once more. */
export async function exactQuantiles(query: KeyQuery, cut: Cut): Promise<Quantiles> {
  const { columns } = query.key;
  const input = `select ${keyList(columns)} from ${sourceRelation(query.source)} where ${notNull(columns)}`;
  return quantiles(query, input, cut);
}

/** From a sample of the table's pages, whatever the source filters. `percent` of its pages are read. */
export async function sampledQuantiles(query: KeyQuery, chunks: number, percent: number): Promise<Quantiles> {
  const { columns, relation } = query.key;
  const names = columns.map(({ ref, column }) => `${quoteIdentifier(ref.column)} as ${quoteIdentifier(column)}`);
  const present = columns.map(({ ref }) => `${quoteIdentifier(ref.column)} is not null`).join(' and ');
  const sample = `tablesample system (${percent.toFixed(6)}) repeatable (1)`;
  const input = `select ${names.join(', ')} from ${quotedRelation(relation)} ${sample} where ${present}`;
  return quantiles(query, input, { chunks });
}

/** The first row of each of the equal parts into which the sorted input falls. */
async function quantiles({ reader, key }: KeyQuery, input: string, cut: Cut): Promise<Quantiles> {
  const list = keyList(key.columns);
  const chunks = 'chunks' in cut ? `${cut.chunks}::bigint` : `((n + ${cut.rowsPerChunk - 1}) / ${cut.rowsPerChunk})`;
  const texts = key.columns.map((column) => column.textExpression(quoteIdentifier(column.column)));
  const { rows } = await reader.query(
    `select n::text, ${texts.join(', ')} from (` +
      `select ${list}, row_number() over (order by ${list}) - 1 as rn, count(*) over () as n from (${input}) as keys` +
      `) as numbered where rn = 0 or rn * ${chunks} / n <> (rn - 1) * ${chunks} / n order by rn limit ${maxChunks + 1}`,
  );
  const [first, ...others] = rows;
  return { bounds: distinct(others.map((row) => row.slice(1).map(asBoundText))), rows: Number(first?.[0] ?? 0) };
}

/** Steps through the key in its order: one index range per chunk. For unique, indexed keys. */
export async function keysetBounds({ reader, source, key }: KeyQuery, rowsPerChunk: number): Promise<Bound[]> {
  const { columns } = key;
  const texts = columns.map((column) => column.textExpression(quoteIdentifier(column.column)));
  const bounds: Bound[] = [];
  for (;;) {
    const last = bounds.at(-1);
    const from = last === undefined ? notNull(columns) : `${notNull(columns)} and ${comparison(columns, '>=', last)}`;
    const { rows } = await reader.query(
      `select ${texts.join(', ')} from (select ${keyList(columns)} from ${sourceRelation(source)} where ${from} ` +
        `order by ${keyList(columns)} offset ${rowsPerChunk} limit 1) as next_chunk`,
    );
    const [row] = rows;
    if (row === undefined) return bounds;
    bounds.push(row.map(asBoundText));
    assertChunkCount(bounds.length + 2);
  }
}

export function assertChunkCount(chunks: number): void {
  if (chunks <= maxChunks) return;
  throw new CountersignError('job_invalid', `chunk: more than ${maxChunks} chunks would be needed`, {
    hint: 'ask for larger chunks',
  });
}

function asBoundText(value: string | null): string {
  if (value === null) throw new Error('a bound is NULL although NULL keys were left out');
  return value;
}

/** Equal neighbours (many rows of one key) would make an empty chunk. */
function distinct(bounds: readonly Bound[]): Bound[] {
  return bounds.filter((bound, index) => JSON.stringify(bound) !== JSON.stringify(bounds[index - 1]));
}

/**
 * The chunks between the bounds. Together they are the source's result, each row once: the first and last are open, each
 * bound belongs to the upper neighbour, and rows with a NULL in the key are in a chunk of their own unless `notNullProved`.
 */
export function chunksBetween(
  source: string,
  columns: readonly KeyColumn[],
  bounds: readonly Bound[],
  notNullProved: boolean,
): PlannedChunk[] {
  const relation = sourceRelation(source);
  const chunks: PlannedChunk[] = [];
  for (let no = 0; no <= bounds.length; no++) {
    const lower = no === 0 ? undefined : bounds[no - 1];
    const upper = bounds[no];
    const conditions: string[] = [];
    // A composite comparison can be decided by its first column alone, so a NULL in a later one must be kept out here.
    if (!notNullProved && (columns.length > 1 || bounds.length === 0)) conditions.push(notNull(columns));
    if (lower !== undefined) conditions.push(comparison(columns, '>=', lower));
    if (upper !== undefined) conditions.push(comparison(columns, '<', upper));
    const where = conditions.length === 0 ? '' : ` where ${conditions.join(' and ')}`;
    chunks.push({ no, lower, upper, nulls: false, sql: `select * from ${relation}${where}` });
  }
  if (!notNullProved) {
    const where = columns.map((column) => `${quoteIdentifier(column.column)} is null`).join(' or ');
    const sql = `select * from ${relation} where ${where}`;
    chunks.push({ no: chunks.length, lower: undefined, upper: undefined, nulls: true, sql });
  }
  return chunks;
}

export function singleChunk(source: string): PlannedChunk[] {
  return [{ no: 0, lower: undefined, upper: undefined, nulls: false, sql: `select * from ${sourceRelation(source)}` }];
}
