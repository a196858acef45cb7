/**
 * From a paging loop to a job file: the rows of all its steps as one source, a chunk key in the place of the paging
 * clause, and comments on what to look at before it is pushed. What comes out is always a definition that
 * `definition.ts` accepts; whether it can be planned is for the planner to say.
 */
import { Document, isMap, isScalar } from 'yaml';
import { analyse } from '../sql/analyse.ts';
import { aggregateFunctions } from '../sql/functions.ts';
import { pagingWords, type PagingKind, type PagingLoop } from '../sql/paging.ts';
import type { Catalogue, CatalogueRelation, ColumnRef, OutputColumn, StatementFacts } from '../sql/statement.ts';
import { parseSource, sourceShape } from './chunkable.ts';
import { parseJobDefinition } from './definition.ts';
import { withNamedParameters, type NamedParameter } from './draft-parameters.ts';
import { hasBounds } from './key.ts';

export interface TableFacts {
  /** Empty: it has none. */
  readonly primaryKey: readonly string[];
  readonly estimatedRows: number | undefined;
}

export interface DraftQuestion {
  readonly loop: PagingLoop;
  readonly connection: string;
  readonly sessionId: string;
  readonly catalogue: Catalogue;
  /** Name of the mask of a base column; undefined = none. */
  readonly maskOf: (column: ColumnRef) => string | undefined;
  readonly table: (relation: CatalogueRelation) => Promise<TableFacts>;
}

export interface JobDraft {
  readonly job: string;
  /** Where the job repository has it. */
  readonly path: string;
  readonly kind: PagingKind;
  /** YAML with comments. */
  readonly content: string;
  /** What to look at before it is pushed; the comments say the same. */
  readonly checks: readonly string[];
}

const defaultRows = 1_000_000;
const chunkRows = 50_000;
const maxBytes = 256 * 1024;

interface Source {
  readonly text: string;
  readonly parameters: readonly NamedParameter[];
  readonly facts: StatementFacts | undefined;
  readonly outputs: readonly OutputColumn[];
}

export async function draftJob(question: DraftQuestion): Promise<JobDraft> {
  const { loop, connection, catalogue, sessionId } = question;
  const source = sourceOf(loop, catalogue);
  const relation = pagedRelation(loop, source, catalogue);
  const table = relation === undefined ? undefined : await question.table(relation);
  const key = keyOf(question, source, relation, table);
  const job = jobName(loop.relation?.name ?? relation?.name);
  const rows = table?.estimatedRows;
  const limit = rows === undefined ? defaultRows : Math.max(1_000, Math.ceil(rows * 1.25));
  const comments = {
    source: sourceChecks(loop, source),
    parameters: source.parameters.length === 0 ? [] : ['give each parameter a default, or its allowed values'],
    chunk: key.checks,
    output: ['where the files go, as the runner sees it; csv and ndjson are possible, too'],
    limits: [
      rows === undefined
        ? `the number of rows is not known: the run stops at ${limit}`
        : `the table has about ${rows} rows: the run stops at ${limit}`,
    ],
  };
  const document = new Document({
    job,
    connection,
    source: source.text,
    ...(source.parameters.length === 0 ? {} : { parameters: parametersOf(source.parameters) }),
    chunk: key.chunk,
    output: { format: 'parquet', to: `file://out/${job}` },
    limits: { rows: limit, concurrency: 4, statementTimeout: '60s' },
  });
  document.commentBefore = commentOf([
    `Draft made from session ${sessionId}, which ran ${pagingWords[loop.kind]}.`,
    `Check what the comments say, then: countersign jobs push ${job}.yaml`,
  ]);
  if (isMap(document.contents)) {
    for (const { key: field } of document.contents.items) {
      const lines = isScalar(field) ? (comments[field.value as keyof typeof comments] ?? []) : [];
      if (isScalar(field) && lines.length > 0) field.commentBefore = commentOf(lines);
    }
  }
  const content = document.toString({ lineWidth: 0 });
  const path = `jobs/${job}.yaml`;
  const read = parseJobDefinition(content, path);
  if (read.source !== source.text.trim()) throw new Error('a draft reads back with another source');
  return { job, path, kind: loop.kind, content, checks: Object.values(comments).flat() };
}

function sourceOf(loop: PagingLoop, catalogue: Catalogue): Source {
  const { text, parameters } = withNamedParameters(loop.source ?? loop.text, catalogue);
  const [facts] = analyse(loop.source ?? loop.text, catalogue, { maxBytes });
  const outputs = facts?.lineage.resolved === true ? facts.lineage.outputs : [];
  return { text, parameters, facts, outputs };
}

/** The table that the loop goes along, if it is one that we know. */
function pagedRelation(loop: PagingLoop, { facts }: Source, catalogue: Catalogue): CatalogueRelation | undefined {
  const named = loop.relation && catalogue.relationByName(loop.relation.schema, loop.relation.name);
  const used = facts?.relations ?? [];
  if (named !== undefined && named.kind !== 'view' && used.some(({ oid }) => oid === named.oid)) return named;
  const table = used.find(({ kind }) => kind === 'table' || kind === 'partitioned-table');
  return table && catalogue.relationByOid(table.oid);
}

interface Key {
  readonly chunk: Readonly<Record<string, unknown>>;
  readonly checks: readonly string[];
}

function keyOf(
  question: DraftQuestion,
  source: Source,
  relation: CatalogueRelation | undefined,
  table: TableFacts | undefined,
): Key {
  const { loop, catalogue } = question;
  const whole = reasonsAgainstChunks(loop, source, catalogue);
  if (whole.length > 0) {
    return { chunk: { by: 'none' }, checks: [`read in one piece, because ${whole.join('; ')}`] };
  }
  const usable = (names: readonly string[]) => outputsFor(names, question, source, relation);
  const primary = usable(table?.primaryKey ?? []);
  const own = loop.kind === 'ctid' ? undefined : usable(loop.keyColumns.slice(0, 8));
  const isPrimary = own !== undefined && sameNames(own, primary);
  if (own !== undefined && loop.kind === 'keyset' && !isPrimary) {
    const check = 'the column that the loop went along; it may come out NULL (then there is one more chunk)';
    return { chunk: chunkBy(own, 'quantile'), checks: [check] };
  }
  if (primary !== undefined) {
    const strategy = loop.kind === 'keyset' ? 'keyset' : 'quantile';
    return { chunk: chunkBy(primary, strategy), checks: ['the primary key'] };
  }
  if (own !== undefined) return { chunk: chunkBy(own, 'quantile'), checks: ['the column that the loop went along'] };
  const missing = table !== undefined && table.primaryKey.length > 0 ? ` (${table.primaryKey.join(', ')})` : '';
  return {
    chunk: { by: 'auto', rows: chunkRows },
    checks: [
      `no key was found among the outputs: select the primary key${missing}, and no masked column, to cut by it`,
    ],
  };
}

function chunkBy(names: readonly string[], strategy: 'quantile' | 'keyset') {
  const [name] = names;
  const isWord = names.length === 1 && (name === 'auto' || name === 'none');
  return { by: isWord ? { column: name } : names.length === 1 ? name : names, rows: chunkRows, strategy };
}

/** The output names of those columns, if each comes out as it is, is not masked, and has an order. */
function outputsFor(
  names: readonly string[],
  { catalogue, maskOf }: DraftQuestion,
  { outputs }: Source,
  relation: CatalogueRelation | undefined,
): readonly string[] | undefined {
  const found = names.map((name) => {
    const candidates = outputs.filter(({ verbatim, sources }) => {
      const [column] = sources;
      return verbatim && column?.column === name && (relation === undefined || column.relationOid === relation.oid);
    });
    const [output] = candidates;
    const column = output?.sources[0];
    if (output === undefined || column === undefined || maskOf(column) !== undefined) return undefined;
    if (outputs.filter((other) => other.name === output.name).length > 1) return undefined;
    const of = catalogue.relationByOid(column.relationOid)?.columns.find(({ attnum }) => attnum === column.attnum);
    return of !== undefined && hasBounds(of.typeOid) ? output.name : undefined;
  });
  const usable = found.filter((name) => name !== undefined && name !== '');
  return usable.length === names.length && new Set(usable).size === names.length && names.length > 0
    ? (usable as string[])
    : undefined;
}

function sameNames(a: readonly string[], b: readonly string[] | undefined): boolean {
  return b?.length === a.length && a.every((name) => b.includes(name));
}

function reasonsAgainstChunks(loop: PagingLoop, { facts }: Source, catalogue: Catalogue): readonly string[] {
  if (loop.source === undefined) return ['its paging clause could not be taken out'];
  if (facts === undefined || facts.unknowns.length > 0) return facts?.unknowns ?? ['it is not understood'];
  try {
    const { reasons, functions } = sourceShape(parseSource(withConstants(loop.source)).tree, facts, catalogue);
    const aggregates = functions.filter(({ name, inExpression }) => !inExpression && aggregateFunctions.has(name));
    return [...reasons, ...aggregates.map(({ name }) => `the source calls the aggregate ${name}`)];
  } catch {
    return ['it is no plain SELECT'];
  }
}

/** Parameters do not matter for a source's shape. */
function withConstants(source: string): string {
  return withNamedParameters(source, undefined, () => 'null').text;
}

function sourceChecks(loop: PagingLoop, source: Source): string[] {
  const { facts } = source;
  const checks: string[] = [];
  if (loop.source === undefined) {
    checks.push('the paging clause could not be taken out of this statement: take it out, and ORDER BY with it');
  } else if ((loop.filters ?? []).length > 0) {
    checks.push('conditions that all steps had in common stay; the paging clause and ORDER BY are gone');
  } else {
    checks.push('the paging clause and ORDER BY are gone, so this reads everything');
  }
  if (/…|\[masked|\[[a-z0-9_-]+\]/i.test(source.text)) {
    checks.push('a literal is not in the log as it was typed (… or a name in brackets): write it again');
  }
  for (const unknown of facts?.unknowns ?? []) checks.push(`not understood: ${unknown}`);
  const names = source.outputs.map(({ name }) => name);
  const twice = [...new Set(names.filter((name, index) => names.indexOf(name) !== index))];
  if (twice.length > 0) checks.push(`give each output a name of its own (AS): ${twice.join(', ')}`);
  return checks;
}

function parametersOf(parameters: readonly NamedParameter[]) {
  return Object.fromEntries(parameters.map(({ name, type }) => [name, { type }]));
}

function jobName(relation: string | undefined): string {
  const plain = (relation ?? 'rows').toLowerCase().replace(/[^a-z0-9_-]+/g, '-');
  const beginning = plain.replace(/^[-_]+/, '').slice(0, 50);
  return `${beginning === '' ? 'rows' : beginning}-export`;
}

/** A comment ends with its line, and a name can hold anything. */
function commentOf(lines: readonly string[]): string {
  return lines.map((line) => ` ${line.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')}`).join('\n');
}
