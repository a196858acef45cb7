/**
 * Cutting a source into chunks: whether it may be cut, by which key, with which bounds. Strategies in order: frozen
 * quantile bounds, keyset stepping, one chunk. (Ranges of ctid would need the designer's text to be rewritten.)
 */
import { CountersignError } from '../errors.ts';
import type { Catalogue, StatementFacts } from '../sql/statement.ts';
import {
  assertChunkCount,
  chunksBetween,
  exactQuantiles,
  keysetBounds,
  maxChunks,
  sampledQuantiles,
  singleChunk,
  type Bound,
  type Cut,
} from './bounds.ts';
import { functionReasons, type FunctionKind, type FunctionUse, type SourceShape } from './chunkable.ts';
import type { JobDefinition } from './definition.ts';
import type { ChunkStrategy, JobPlan, PlannedChunk } from './job-plan.ts';
import { automaticKey, describe, isUniqueKey, namedKey, notNullProved, type ChunkKeyChoice } from './key.ts';
import { quoteLiteral } from './sql-text.ts';
import type { ReaderColumn, TargetReader } from './target-reader.ts';

/** Up to so many estimated rows all keys are read for exact bounds; beyond, pages are sampled. */
const exactUpToRows = 1_000_000;
const sampleTarget = 30_000;

export interface Estimate {
  readonly rows: number;
  readonly bytesPerRow: number;
}

export interface CutQuestion {
  readonly definition: JobDefinition;
  readonly source: string;
  readonly facts: StatementFacts;
  readonly columns: readonly ReaderColumn[];
  readonly catalogue: Catalogue;
  readonly target: TargetReader;
  readonly shape: SourceShape;
  readonly estimate: Estimate;
}

export interface CutSource {
  readonly strategy: ChunkStrategy;
  readonly reason: string;
  readonly key: JobPlan['key'];
  readonly chunks: readonly PlannedChunk[];
  readonly first: PlannedChunk;
  readonly notNullProved: boolean;
  /** Known when all keys were counted. */
  readonly exactRows: number | undefined;
}

/** @throws CountersignError `source_not_chunkable`, `chunk_key_invalid`, `chunk_key_masked`, `job_invalid` (too many chunks) */
export async function cutSource(question: CutQuestion): Promise<CutSource> {
  const { definition, source, target, shape } = question;
  const { by } = definition.chunk;
  if (by.kind === 'none') return oneChunk(source, 'the job asks for one chunk');
  const kinds = await functionKinds(target, shape.functions);
  const reasons = [...shape.reasons, ...functionReasons(kinds, shape.functions)];
  if (reasons.length > 0) {
    throw new CountersignError('source_not_chunkable', `the source cannot be read in chunks: ${reasons.join('; ')}`, {
      hint: 'change the source, or read it as one chunk: chunk: { by: none }',
    });
  }
  const asked = { ...question, reader: target };
  const key = by.kind === 'auto' ? await automaticKey(asked) : namedKey(by.columns, asked);
  if (key === undefined) return oneChunk(source, 'no output is an unmasked unique key of one table');
  const proofs: boolean[] = [];
  for (const column of key.columns) {
    proofs.push(await notNullProved(column, shape.outerJoin, question.catalogue, target));
  }
  const allProved = proofs.every(Boolean);
  const { bounds, strategy, reason, exactRows } = await boundsOf(question, key);
  refuseMaskedBounds(question, key, bounds);
  const chunks = chunksBetween(source, key.columns, bounds, allProved);
  return {
    strategy,
    reason,
    key: key.columns.map((column, index) => ({
      column: column.column,
      type: column.type,
      source: describe(column.ref),
      notNullProved: proofs[index] ?? false,
    })),
    chunks,
    first: chunks[0] ?? unreachable(),
    notNullProved: allProved,
    exactRows: allProved ? exactRows : undefined,
  };
}

function unreachable(): never {
  throw new Error('a plan has at least one chunk');
}

function oneChunk(source: string, reason: string): CutSource {
  const chunks = singleChunk(source);
  return {
    strategy: 'single',
    reason,
    key: [],
    chunks,
    first: chunks[0] ?? unreachable(),
    notNullProved: false,
    exactRows: undefined,
  };
}

/**
 * Bounds are signed and shown, so they hold nothing that a result would not: a key without a mask of its own can still
 * hold e-mail addresses or card numbers.
 */
function refuseMaskedBounds(
  { facts, columns, target }: CutQuestion,
  key: ChunkKeyChoice,
  bounds: readonly Bound[],
): void {
  const shown = target.shownCells(facts, columns);
  for (const [part, { column }] of key.columns.entries()) {
    const index = columns.findIndex(({ name }) => name === column);
    const hidden = bounds.filter((bound) => shown(index, bound[part] ?? '') !== bound[part]).length;
    if (hidden === 0) continue;
    throw new CountersignError(
      'chunk_key_masked',
      `chunk.by: ${column} cannot be the chunk key: its values are masked`,
      {
        detail: `${hidden} of ${bounds.length} bounds hold what a detector of the connection masks`,
        hint: 'chunk by another column, or by: none',
      },
    );
  }
}

interface Bounds {
  readonly bounds: readonly Bound[];
  readonly strategy: ChunkStrategy;
  readonly reason: string;
  readonly exactRows: number | undefined;
}

async function boundsOf(question: CutQuestion, key: ChunkKeyChoice): Promise<Bounds> {
  const { definition, source, target, estimate } = question;
  const { size, strategy } = definition.chunk;
  const query = { reader: target, source, key };
  const rowsPerChunk = rowsOf(size, estimate);
  const { pages, rows: tableRows } = await tableSize(target, key);
  const unique = await isUniqueKey(target, key);
  if (strategy === 'keyset') {
    if (!unique)
      throw new CountersignError('chunk_key_invalid', 'chunk.strategy: keyset needs a unique index on exactly the key');
    const bounds = await keysetBounds(query, rowsPerChunk);
    return { bounds, strategy, reason: 'the job asks for keyset steps', exactRows: undefined };
  }
  const small = Math.max(estimate.rows, tableRows) <= exactUpToRows;
  if (small) {
    const cut: Cut = size.unit === 'count' ? { chunks: size.value } : { rowsPerChunk };
    if (size.unit === 'count') assertChunkCount(size.value);
    const { bounds, rows } = await exactQuantiles(query, cut);
    return { bounds, strategy: 'quantile', reason: 'bounds are exact quantiles of the key', exactRows: rows };
  }
  if (pages > 0) {
    const chunks = Math.max(1, Math.ceil(estimate.rows / rowsPerChunk));
    assertChunkCount(chunks);
    const wanted = Math.max(sampleTarget, chunks * 100);
    const percent = Math.min(100, Math.max((100 * wanted) / Math.max(tableRows, 1), 100 / pages));
    const { bounds, rows } = await sampledQuantiles(query, chunks, percent);
    if (rows >= Math.min(chunks, maxChunks)) {
      return {
        bounds,
        strategy: 'quantile',
        reason: `bounds are quantiles of a sample of ${rows} keys`,
        exactRows: undefined,
      };
    }
  }
  if (unique) {
    const bounds = await keysetBounds(query, rowsPerChunk);
    return {
      bounds,
      strategy: 'keyset',
      reason: 'the table cannot be sampled; its unique key was stepped through',
      exactRows: undefined,
    };
  }
  const { bounds, rows } = await exactQuantiles(query, { rowsPerChunk });
  return {
    bounds,
    strategy: 'quantile',
    reason: 'the table cannot be sampled; bounds are exact quantiles',
    exactRows: rows,
  };
}

function rowsOf({ unit, value }: JobDefinition['chunk']['size'], estimate: Estimate): number {
  if (unit === 'rows') return value;
  return Math.max(1, unit === 'bytes' ? Math.floor(value / estimate.bytesPerRow) : Math.ceil(estimate.rows / value));
}

/** Estimates of the key's table with its partitions; no pages when it cannot be sampled (foreign tables). */
async function tableSize(target: TargetReader, key: ChunkKeyChoice): Promise<{ pages: number; rows: number }> {
  if (
    key.relation.kind !== 'table' &&
    key.relation.kind !== 'partitioned-table' &&
    key.relation.kind !== 'materialized-view'
  ) {
    return { pages: 0, rows: 0 };
  }
  const { rows } = await target.query(
    `with recursive tree as (select ${key.relation.oid}::oid as relid union ` +
      `select i.inhrelid from pg_catalog.pg_inherits i join tree on i.inhparent = tree.relid) ` +
      `select coalesce(sum(pg_catalog.pg_relation_size(c.oid) / 8192), 0)::text, coalesce(sum(greatest(c.reltuples, 0)), 0)::float8::text ` +
      `from tree join pg_catalog.pg_class c on c.oid = tree.relid where c.relkind in ('r', 'm')`,
  );
  return { pages: Number(rows[0]?.[0] ?? 0), rows: Number(rows[0]?.[1] ?? 0) };
}

/** The most dangerous kind among all functions of each name: overloads are not told apart. */
async function functionKinds(
  target: TargetReader,
  functions: readonly FunctionUse[],
): Promise<Map<string, FunctionKind>> {
  if (functions.length === 0) return new Map();
  const names = functions.map(({ name }) => quoteLiteral(name)).join(', ');
  const { rows } = await target.query(
    `select proname::text, bool_or(provolatile = 'v')::text, bool_or(prokind = 'a')::text, bool_or(prokind = 'w')::text ` +
      `from pg_catalog.pg_proc where proname in (${names}) group by proname`,
  );
  return new Map(
    rows.map(([name, isVolatile, isAggregate, isWindow]): [string, FunctionKind] => {
      const kind = isAggregate === 'true' ? 'aggregate' : isWindow === 'true' ? 'window' : 'plain';
      return [name ?? '', isVolatile === 'true' ? 'volatile' : kind];
    }),
  );
}
