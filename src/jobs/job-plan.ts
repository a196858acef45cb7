/**
 * The plan of a job: what exactly will be read, piece by piece. It is made before approval, its digest view is part of
 * what the approver signs, and its chunk texts are what the gateway sends later. Plain data; nothing here does I/O.
 */
import { digestOf, type Json } from '../lib/canonical-json.ts';
import type { JobLimits, JobOutput } from './definition.ts';
import type { ParameterValues } from './parameters.ts';

export type ChunkStrategy = 'quantile' | 'keyset' | 'single';

export interface PlanKeyColumn {
  /** Name of the output column of the source. */
  readonly column: string;
  /** Type name as a cast takes it. */
  readonly type: string;
  /** `schema.table.column` behind it. */
  readonly source: string;
  readonly notNullProved: boolean;
}

export interface PlannedChunk {
  /** 0, 1, 2 … without gaps; the NULL chunk, if there is one, is the last. */
  readonly no: number;
  /** Inclusive lower and exclusive upper bound, one text per key column; undefined = open. */
  readonly lower: readonly string[] | undefined;
  readonly upper: readonly string[] | undefined;
  /** True for the chunk of rows in which a key column is NULL. */
  readonly nulls: boolean;
  /** The statement that the gateway sends for this chunk. */
  readonly sql: string;
}

export interface PlanOutputColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly typeName: string;
  /** `schema.table.column` of every base column on which the value depends. */
  readonly sources: readonly string[];
  /** Name of the mask, or undefined where no column rule applies (content detectors still do). */
  readonly mask: string | undefined;
}

/** One node of a query plan, without any constant unless the source touches nothing masked. */
export interface ExplainNode {
  readonly node: string;
  readonly relation: string | undefined;
  readonly index: string | undefined;
  readonly rows: number;
  readonly cost: number;
  readonly width: number;
  readonly condition: string | undefined;
  readonly children: readonly ExplainNode[];
}

export interface PlanSample {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | null)[])[];
}

export interface JobPlan {
  readonly job: string;
  readonly connection: string;
  readonly strategy: ChunkStrategy;
  /** Why this strategy, in one sentence for the approver. */
  readonly reason: string;
  /** The source with its parameters as constants. */
  readonly source: string;
  readonly parameters: ParameterValues;
  /** Empty for strategy `single`. */
  readonly key: readonly PlanKeyColumn[];
  readonly chunks: readonly PlannedChunk[];
  /** True if every key column is proved never to be NULL, so that no NULL chunk is needed. */
  readonly notNullProved: boolean;
  readonly estimatedRows: number;
  readonly estimatedBytes: number;
  readonly explain: {
    readonly first: ExplainNode;
    readonly middle: ExplainNode;
    readonly last: ExplainNode;
  };
  readonly outputs: readonly PlanOutputColumn[];
  /** Up to 20 rows as the executor would get them: masked. */
  readonly sample: PlanSample;
  readonly output: JobOutput;
  readonly limits: JobLimits;
  readonly warnings: readonly string[];
}

/**
 * The part of a plan that an approval is bound to: everything that decides what is read and where it goes, nothing that
 * is only an estimate or an illustration.
 */
export function planDigestView(plan: JobPlan): { readonly [member: string]: Json } {
  return {
    job: plan.job,
    connection: plan.connection,
    strategy: plan.strategy,
    source: plan.source,
    parameters: { ...plan.parameters },
    key: plan.key.map(({ column, type, source }) => ({ column, type, source })),
    chunkCount: plan.chunks.length,
    nullChunk: plan.chunks.some((chunk) => chunk.nulls),
    bounds: plan.chunks.flatMap((chunk) => (chunk.lower === undefined ? [] : [chunk.lower])),
    chunksDigest: digestOf(plan.chunks.map(({ no, nulls, sql }) => ({ no, nulls, sql }))),
    outputs: plan.outputs.map(({ name, typeOid, sources, mask }) => ({ name, typeOid, sources, mask: mask ?? null })),
    output: { format: plan.output.format, to: plan.output.to, escapeFormulas: plan.output.escapeFormulas },
    limits: {
      rows: plan.limits.rows ?? null,
      bytes: plan.limits.bytes ?? null,
      concurrency: plan.limits.concurrency,
      rowsPerSecond: plan.limits.rowsPerSecond ?? null,
      statementTimeoutMs: plan.limits.statementTimeoutMs,
    },
  };
}
