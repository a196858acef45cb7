/**
 * The planner: from a definition to the frozen plan that an approver sees and signs. It asks the target through a
 * `TargetReader` and changes nothing there.
 *
 * What it promises: the chunks together are the source's result, each row exactly once, whatever the statistics say; the
 * chunk texts are made here from quoted names and constants only; no bound, estimate or sample shows a masked value.
 */
import { CountersignError } from '../errors.ts';
import type { Catalogue, StatementFacts } from '../sql/statement.ts';
import { assertChunkCount, sourceRelation } from './bounds.ts';
import { assertSameReading, parseSource, sourceShape } from './chunkable.ts';
import { cutSource, type CutQuestion, type CutSource } from './cut.ts';
import type { JobDefinition } from './definition.ts';
import { explain, scansWhole } from './explain.ts';
import type { ExplainNode, JobPlan, PlannedChunk, PlanOutputColumn, PlanSample } from './job-plan.ts';
import { describe } from './key.ts';
import { checkParameterValues, renderSource, type ParameterValues } from './parameters.ts';
import type { ReaderColumn, TargetReader } from './target-reader.ts';

const sampleRows = 20;

export interface PlanOptions {
  readonly definition: JobDefinition;
  /** Values of the job's parameters; defaults fill in. */
  readonly parameters?: ParameterValues;
  readonly reader: TargetReader;
}

/**
 * Plans a job.
 * @throws CountersignError `job_invalid` (not one plain SELECT), `input_invalid` (parameters), `job_relation_missing`,
 *   `statement_unknown`, `lineage_unresolved`, `masked_predicate`, `chunk_key_invalid`, `chunk_key_masked`,
 *   `source_not_chunkable`, and what the target reader throws
 */
export async function planJob(options: PlanOptions): Promise<JobPlan> {
  try {
    return await planned(options);
  } catch (error) {
    throw withoutData(error);
  }
}

/** What the target says of a source that it cannot evaluate quotes values, so it goes nowhere, not even into a log. */
function withoutData(error: unknown): unknown {
  const code = error instanceof CountersignError ? undefined : sqlstateOf(error);
  // Lost connections and overload (classes 08, 53, 57) say nothing of data.
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code) || /^(08|53|57)/.test(code)) return error;
  return new CountersignError('job_invalid', `source: the target cannot evaluate it (SQLSTATE ${code})`, {
    hint: 'what the target says may quote values, so it is withheld; look for casts and functions that fail on some value',
  });
}

async function planned({ definition, parameters, reader: target }: PlanOptions): Promise<JobPlan> {
  const values = checkParameterValues(definition.parameters, parameters ?? {});
  assertSameReading(definition.source);
  const rendered = parseSource(renderSource(definition.source, definition.parameters, values));
  const source = rendered.text.trim();
  const catalogue = await target.catalogue();
  const facts = await factsOf(source, target, catalogue);
  const columns = (await target.query(`select * from ${sourceRelation(source)} limit 0`)).columns;
  assertDistinctNames(columns);
  const masks = target.outputMasks(facts, columns);
  const shape = sourceShape(rendered.tree, facts, catalogue);
  const touchesMasked = masks.some((mask) => mask !== undefined) || maskedRelation(facts, catalogue, target);

  const whole = await explain(target, `select * from ${sourceRelation(source)}`, !touchesMasked);
  const sample = await target.maskedSample(`select * from ${sourceRelation(source)}`, sampleRows);
  // How large masked values are can be made to say anything about them, so then only what is shown is measured.
  const bytesPerRow = touchesMasked ? shownBytes(sample) : await storedBytes(source, target, whole);
  const estimate = { rows: whole.rows, bytesPerRow };
  const question: CutQuestion = { definition, source, facts, columns, catalogue, target, shape, estimate };
  const cut = await cutSource(question);
  assertChunkCount(cut.chunks.length);

  const middle = cut.chunks[Math.floor((cut.chunks.length - 1) / 2)] ?? cut.first;
  const last = cut.chunks.findLast((chunk) => !chunk.nulls) ?? cut.first;
  const explained = async (chunk: PlannedChunk) => explain(target, chunk.sql, !touchesMasked);
  const plans = { first: await explained(cut.first), middle: await explained(middle), last: await explained(last) };
  const estimatedRows = cut.exactRows ?? estimate.rows;
  const estimatedBytes = Math.round(estimatedRows * estimate.bytesPerRow);
  return {
    job: definition.job,
    connection: definition.connection,
    strategy: cut.strategy,
    reason: cut.reason,
    source,
    parameters: values,
    key: cut.key,
    chunks: cut.chunks,
    notNullProved: cut.notNullProved,
    estimatedRows,
    estimatedBytes,
    explain: plans,
    outputs: outputsOf(columns, facts, masks, catalogue),
    sample: { columns: sample.columns, rows: sample.rows },
    output: definition.output,
    limits: definition.limits,
    warnings: warningsOf(definition, estimatedRows, estimatedBytes, cut, plans),
  };
}

async function factsOf(source: string, target: TargetReader, catalogue: Catalogue): Promise<StatementFacts> {
  const facts = target.facts(source, catalogue);
  if (facts.unknowns.length > 0 || facts.class !== 'read') await explainUnknown(source, facts, target);
  const { lineage } = facts;
  if (!lineage.resolved) {
    throw new CountersignError('lineage_unresolved', `source: ${lineage.reason}`, {
      hint: 'name the columns and tables so that each output can be followed to where it comes from',
    });
  }
  const masked = [
    ...lineage.predicates.filter((column) => target.maskOf(column) !== undefined),
    ...lineage.nullTests.filter((column) => !target.letsTestNull(column)),
  ];
  if (masked.length > 0) {
    throw new CountersignError(
      'masked_predicate',
      `source: a condition, join or order uses masked columns: ${masked.map(describe).join(', ')}`,
      {
        hint: 'which rows come back would tell what the mask hides; filter by other columns',
      },
    );
  }
  return facts;
}

/** A missing table is the commonest reason for not understanding a source; the target says it best. */
async function explainUnknown(source: string, facts: StatementFacts, target: TargetReader): Promise<never> {
  if (facts.class === 'read' || facts.class === 'unknown') {
    try {
      await target.query(`explain ${source}`);
    } catch (error) {
      const code = sqlstateOf(error);
      if (code === '42P01' || code === '3F000') {
        throw new CountersignError('job_relation_missing', `source: ${messageOf(error)}`, {
          hint: 'the connection, its search path and the spelling decide which table is meant',
        });
      }
      if (code?.startsWith('42') === true && code !== '42501') {
        throw new CountersignError('job_invalid', `source: ${messageOf(error)}`);
      }
    }
  }
  throw new CountersignError(
    'statement_unknown',
    `source: ${facts.unknowns.join('; ') || `expected a read, found ${facts.command}`}`,
  );
}

function sqlstateOf(error: unknown): string | undefined {
  if (error instanceof CountersignError) return error.sqlstate;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Files name their columns, so each needs a name of its own. */
function assertDistinctNames(columns: readonly ReaderColumn[]): void {
  if (columns.length === 0) throw new CountersignError('job_invalid', 'source: it has no output columns');
  const seen = new Set<string>();
  for (const { name } of columns) {
    if (seen.has(name)) {
      throw new CountersignError('job_invalid', `source: two output columns are called ${name}`, {
        hint: 'give one of them an alias with AS',
      });
    }
    seen.add(name);
  }
}

function maskedRelation(facts: StatementFacts, catalogue: Catalogue, target: TargetReader): boolean {
  return facts.relations.some((use) => {
    const relation = catalogue.relationByOid(use.oid);
    return (relation?.columns ?? []).some((column) => {
      const ref = {
        relationOid: use.oid,
        attnum: column.attnum,
        schema: use.schema,
        relation: use.name,
        column: column.name,
      };
      return target.maskOf(ref) !== undefined;
    });
  });
}

/** Bytes of a row as the target keeps it, on average. */
async function storedBytes(source: string, target: TargetReader, whole: ExplainNode): Promise<number> {
  const measured = await target.query(
    `select avg(pg_column_size(few))::float8::text from (select * from ${sourceRelation(source)} limit 1000) as few`,
  );
  return Math.max(1, Number(measured.rows[0]?.[0] ?? whole.width));
}

const rowHeaderBytes = 24;

function shownBytes({ rows }: PlanSample): number {
  const sizes = rows.map((row) =>
    row.reduce((sum, cell) => sum + (cell === null ? 0 : Buffer.byteLength(cell) + 1), rowHeaderBytes),
  );
  return sizes.length === 0 ? rowHeaderBytes : sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
}

function outputsOf(
  columns: readonly ReaderColumn[],
  facts: StatementFacts,
  masks: readonly (string | undefined)[],
  catalogue: Catalogue,
): PlanOutputColumn[] {
  const outputs = facts.lineage.resolved ? facts.lineage.outputs : [];
  return columns.map((column, index) => {
    const origin = catalogue.relationByOid(column.tableOid)?.columns.find((one) => one.attnum === column.attnum);
    return {
      name: column.name,
      typeOid: column.typeOid,
      typeName: origin?.typeName ?? builtInTypeNames.get(column.typeOid) ?? `type ${column.typeOid}`,
      sources: (outputs[index]?.sources ?? []).map(describe),
      mask: masks[index],
    };
  });
}

const builtInTypeNames: ReadonlyMap<number, string> = new Map([
  [16, 'boolean'],
  [20, 'bigint'],
  [21, 'smallint'],
  [23, 'integer'],
  [25, 'text'],
  [114, 'json'],
  [700, 'real'],
  [701, 'double precision'],
  [1043, 'character varying'],
  [1082, 'date'],
  [1114, 'timestamp without time zone'],
  [1184, 'timestamp with time zone'],
  [1700, 'numeric'],
  [2950, 'uuid'],
  [3802, 'jsonb'],
]);

function warningsOf(
  definition: JobDefinition,
  rows: number,
  bytes: number,
  cut: CutSource,
  plans: JobPlan['explain'],
): string[] {
  const { limits } = definition;
  const warnings: string[] = [];
  if (limits.rows !== undefined && rows > limits.rows) {
    warnings.push(
      `about ${rows} rows are expected, but limits.rows is ${limits.rows}: the run would stop at the limit`,
    );
  }
  if (limits.bytes !== undefined && bytes > limits.bytes) {
    warnings.push(
      `about ${bytes} bytes are expected, but limits.bytes is ${limits.bytes}: the run would stop at the limit`,
    );
  }
  if (cut.chunks.length > 2 && scansWhole(plans.middle)) {
    warnings.push('each chunk reads a whole table: an index on the chunk key would help');
  }
  return warnings;
}
