/**
 * The chunk key: the column or columns by whose order the rows are cut into pieces. It must be a plain column of one
 * base table, come out of the source under a name of its own, have a type that we can write bounds of, and not be masked
 * (bounds are raw values).
 */
import { CountersignError } from '../errors.ts';
import type { Catalogue, CatalogueRelation, ColumnRef, StatementFacts } from '../sql/statement.ts';
import { quoteIdentifier } from './sql-text.ts';
import type { ReaderColumn, TargetReader } from './target-reader.ts';

export interface KeyColumn {
  readonly column: string;
  readonly ref: ColumnRef;
  /** Type name for the casts of bounds. */
  readonly type: string;
  /** How the column's value becomes the text of a bound, independent of the session's settings. */
  readonly textExpression: (column: string) => string;
}

export interface ChunkKeyChoice {
  readonly columns: readonly KeyColumn[];
  readonly relation: CatalogueRelation;
}

const plain = (column: string) => `${column}::text`;
/** to_json writes dates in ISO 8601 whatever DateStyle says. */
const iso = (column: string) => `(to_json(${column}) #>> '{}')`;

/** By type OID (pg_type.dat): types with a total order and a text form that reads back as the same value. */
const keyTypes: ReadonlyMap<number, { readonly type: string; readonly text: (column: string) => string }> = new Map([
  [20, { type: 'bigint', text: plain }],
  [21, { type: 'smallint', text: plain }],
  [23, { type: 'integer', text: plain }],
  [25, { type: 'text', text: plain }],
  [26, { type: 'oid', text: plain }],
  [1042, { type: 'bpchar', text: plain }],
  [1043, { type: 'varchar', text: plain }],
  [1082, { type: 'date', text: iso }],
  [1114, { type: 'timestamp', text: iso }],
  [1184, { type: 'timestamptz', text: iso }],
  [1700, { type: 'numeric', text: plain }],
  [2950, { type: 'uuid', text: plain }],
  [869, { type: 'inet', text: plain }],
  [650, { type: 'cidr', text: plain }],
]);

/** Whether a column of this type can be a chunk key. */
export function hasBounds(typeOid: number): boolean {
  return keyTypes.has(typeOid);
}

interface KeyQuestion {
  readonly facts: StatementFacts;
  readonly columns: readonly ReaderColumn[];
  readonly catalogue: Catalogue;
  readonly reader: TargetReader;
}

/** The key that the definition names. @throws CountersignError `chunk_key_invalid`, `chunk_key_masked` */
export function namedKey(names: readonly string[], question: KeyQuestion): ChunkKeyChoice {
  const found = names.map((name) => {
    const column = keyColumn(name, question);
    if (typeof column === 'string') throw new CountersignError('chunk_key_invalid', `chunk.by: ${name}: ${column}`);
    const mask = question.reader.maskOf(column.ref) ?? maskOfOutput(name, question);
    if (mask !== undefined) {
      throw new CountersignError(
        'chunk_key_masked',
        `chunk.by: ${name} is masked (${mask}) and cannot be the chunk key`,
        {
          hint: 'chunk by a column that is not masked, or by: none',
          detail: `it is ${describe(column.ref)}; the bounds of chunks would be raw values of it`,
        },
      );
    }
    return column;
  });
  const relation = oneRelation(found, question.catalogue);
  if (relation === undefined) {
    throw new CountersignError('chunk_key_invalid', 'chunk.by: the columns of the key must be of one table');
  }
  return { columns: found, relation };
}

/** A usable unique key among the outputs (primary keys first), or undefined. */
export async function automaticKey(question: KeyQuestion): Promise<ChunkKeyChoice | undefined> {
  const tables = question.facts.relations.filter((use) => use.kind === 'table' || use.kind === 'partitioned-table');
  for (const use of tables) {
    const relation = question.catalogue.relationByOid(use.oid);
    if (relation === undefined) continue;
    for (const attnums of await uniqueKeys(question.reader, relation)) {
      const columns = attnums.map((attnum) => outputOf(relation, attnum, question));
      const usable = columns.filter((column) => column !== undefined);
      if (usable.length === attnums.length) return { columns: usable, relation };
    }
  }
  return undefined;
}

/** Whether the target has a unique index on exactly these columns. */
export async function isUniqueKey(reader: TargetReader, key: ChunkKeyChoice): Promise<boolean> {
  const wanted = new Set(key.columns.map((column) => column.ref.attnum));
  const keys = await uniqueKeys(reader, key.relation);
  return keys.some((one) => one.length === wanted.size && one.every((attnum) => wanted.has(attnum)));
}

/** Attribute numbers of each whole, valid, immediate unique index, the primary key first. */
async function uniqueKeys(reader: TargetReader, relation: CatalogueRelation): Promise<number[][]> {
  const { rows } = await reader.query(
    `select indkey::text from pg_catalog.pg_index where indrelid = ${relation.oid} and indisunique and indisvalid ` +
      `and indpred is null and indexprs is null and indnatts = indnkeyatts ` +
      `order by indisprimary desc, indnkeyatts, indexrelid`,
  );
  return rows.map(([text]) => (text ?? '').split(' ').map(Number));
}

function outputOf(relation: CatalogueRelation, attnum: number, question: KeyQuestion): KeyColumn | undefined {
  const { facts, reader } = question;
  if (!facts.lineage.resolved) return undefined;
  const output = facts.lineage.outputs.find(
    ({ verbatim, sources }) => verbatim && sources[0]?.relationOid === relation.oid && sources[0].attnum === attnum,
  );
  if (output === undefined) return undefined;
  const column = keyColumn(output.name, question);
  if (typeof column === 'string' || reader.maskOf(column.ref) !== undefined) return undefined;
  return maskOfOutput(output.name, question) === undefined ? column : undefined;
}

function maskOfOutput(name: string, { facts, columns, reader }: KeyQuestion): string | undefined {
  return reader.outputMasks(facts, columns)[columns.findIndex((column) => column.name === name)];
}

/** The column, or why it cannot be a key. */
function keyColumn(name: string, { facts, columns }: KeyQuestion): KeyColumn | string {
  const outputs = columns.filter((column) => column.name === name);
  const [output] = outputs;
  if (output === undefined) {
    return `the source has no such output column; it has ${columns.map((column) => column.name).join(', ')}`;
  }
  if (outputs.length > 1) return 'the source has more than one output column of that name';
  const type = keyTypes.get(output.typeOid);
  if (type === undefined) {
    return 'its type has no bounds; integers, numeric, text, dates, timestamps, uuid and addresses do';
  }
  const lineage = facts.lineage.resolved ? facts.lineage.outputs[columns.indexOf(output)] : undefined;
  const [ref] = lineage?.sources ?? [];
  if (lineage === undefined || ref === undefined || !lineage.verbatim || lineage.sources.length !== 1) {
    return 'it is not a plain column of one table';
  }
  return { column: name, ref, type: type.type, textExpression: type.text };
}

function oneRelation(columns: readonly KeyColumn[], catalogue: Catalogue): CatalogueRelation | undefined {
  const oids = new Set(columns.map((column) => column.ref.relationOid));
  const [oid] = oids;
  return oids.size === 1 && oid !== undefined ? catalogue.relationByOid(oid) : undefined;
}

/**
 * Whether the key column can be proved never to be NULL in the source's result. A catalogue flag proves it only without
 * outer joins, for real tables, in every child, and if no constraint is still NOT VALID (PostgreSQL 18 sets the flag
 * before it has looked at old rows).
 */
export async function notNullProved(
  column: KeyColumn,
  outerJoin: boolean,
  catalogue: Catalogue,
  reader: TargetReader,
): Promise<boolean> {
  if (outerJoin) return false;
  const relations = withChildren(column.ref.relationOid, catalogue);
  const declared = relations.every((relation) => {
    if (relation === undefined || (relation.kind !== 'table' && relation.kind !== 'partitioned-table')) return false;
    return relation.columns.some((one) => one.name === column.ref.column && one.notNull);
  });
  if (!declared) return false;
  const oids = relations.map((relation) => relation?.oid ?? 0).join(', ');
  const { rows } = await reader.query(
    `select 1::text from pg_catalog.pg_constraint where conrelid in (${oids}) and contype = 'n' and not convalidated limit 1`,
  );
  return rows.length === 0;
}

function withChildren(oid: number, catalogue: Catalogue): (CatalogueRelation | undefined)[] {
  const relation = catalogue.relationByOid(oid);
  return [relation, ...(relation?.children ?? []).flatMap((child) => withChildren(child, catalogue))];
}

export function describe(ref: ColumnRef): string {
  return `${ref.schema}.${ref.relation}.${ref.column}`;
}

export function quotedRelation(relation: Pick<CatalogueRelation, 'schema' | 'name'>): string {
  return `${quoteIdentifier(relation.schema)}.${quoteIdentifier(relation.name)}`;
}
