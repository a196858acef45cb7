/**
 * A `TargetReader` over a plain database session for tests of the planner and what follows it. Its facts come from the
 * server's own RowDescription: a column with a source table is that column as it stands, any other depends on nothing.
 */
import type pg from 'pg';
import { parseJobDefinition, type JobDefinition } from '../src/jobs/definition.ts';
import { planJob } from '../src/jobs/plan.ts';
import type { JobPlan } from '../src/jobs/job-plan.ts';
import type { ReaderColumn, ReaderResult, TargetReader } from '../src/jobs/target-reader.ts';
import type { Catalogue, CatalogueRelation, ColumnRef, RelationKind, StatementFacts } from '../src/sql/statement.ts';

export interface TestReaderOptions {
  /** Names of masked columns, whatever their table. */
  readonly masked?: readonly string[];
  /** Base columns in conditions. */
  readonly predicates?: readonly string[];
  readonly facts?: Partial<StatementFacts>;
}

export async function queryText(pool: pg.Pool, sql: string): Promise<ReaderResult> {
  const types = { getTypeParser: () => (value: string) => value } as unknown as pg.CustomTypesConfig;
  const result = await pool.query<(string | null)[]>({ text: sql, rowMode: 'array', types });
  const columns = result.fields.map((field) => ({
    name: field.name,
    tableOid: field.tableID,
    attnum: field.columnID,
    typeOid: field.dataTypeID,
    typeModifier: field.dataTypeModifier,
  }));
  return { columns, rows: result.rows };
}

const kinds: Record<string, RelationKind> = { r: 'table', p: 'partitioned-table', v: 'view', m: 'materialized-view' };

export async function readCatalogue(pool: pg.Pool): Promise<Catalogue> {
  const { rows } = await pool.query<CatalogueRelation & { relkind: string }>(`
    select c.oid::int as oid, n.nspname as schema, c.relname as name, c.relkind as relkind,
      case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end as definition,
      array(select inhrelid::int from pg_inherits where inhparent = c.oid) as children,
      array(select inhparent::int from pg_inherits where inhrelid = c.oid) as parents, array[]::text[] as rules,
      (select coalesce(json_agg(json_build_object('attnum', a.attnum, 'name', a.attname, 'typeOid', a.atttypid::int,
        'typeName', format_type(a.atttypid, null), 'notNull', a.attnotnull) order by a.attnum), '[]')
        from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and c.relkind in ('r', 'p', 'v', 'm')`);
  const relations = rows.map((row): CatalogueRelation => ({ ...row, kind: kinds[row.relkind] ?? 'other' }));
  return {
    version: 'test',
    searchPath: ['public'],
    relations,
    relationByOid: (oid) => relations.find((relation) => relation.oid === oid),
    relationByName: (schema, name) =>
      relations.find((relation) => relation.name === name && relation.schema === (schema ?? 'public')),
    userFunctions: new Set(),
    userOperators: new Set(),
    userTypes: new Set(),
    amongBuiltIn: new Set(),
    convertedTypes: new Set(),
    callsUserCode: () => false,
  };
}

export async function testReader(
  pool: pg.Pool,
  source: string,
  options: TestReaderOptions = {},
): Promise<TargetReader> {
  const catalogue = await readCatalogue(pool);
  const described = await queryText(pool, `select * from (\n${source}\n) as s limit 0`).catch(() => undefined);
  const refOf = (column: ReaderColumn): ColumnRef | undefined => {
    const relation = catalogue.relationByOid(column.tableOid);
    const found = relation?.columns.find((one) => one.attnum === column.attnum);
    if (relation === undefined || found === undefined) return undefined;
    return {
      relationOid: relation.oid,
      attnum: found.attnum,
      schema: relation.schema,
      relation: relation.name,
      column: found.name,
    };
  };
  const maskOf = (ref: ColumnRef) => (options.masked?.includes(ref.column) === true ? 'redact' : undefined);
  const outputs = (described?.columns ?? []).map((column) => {
    const ref = refOf(column);
    return { name: column.name, sources: ref === undefined ? [] : [ref], verbatim: ref !== undefined };
  });
  const used = new Set((described?.columns ?? []).map((column) => column.tableOid));
  const relations = catalogue.relations.filter((relation) => used.has(relation.oid));
  const predicates = relations.flatMap((relation) =>
    relation.columns
      .filter((column) => options.predicates?.includes(column.name) === true)
      .map((column) => ({
        relationOid: relation.oid,
        attnum: column.attnum,
        schema: relation.schema,
        relation: relation.name,
        column: column.name,
      })),
  );
  const facts: StatementFacts = {
    class: described === undefined ? 'unknown' : 'read',
    command: 'SELECT',
    text: source,
    relations: relations.map(({ oid, schema, name, kind }) => ({
      oid,
      schema,
      name,
      kind,
      access: 'read',
      direct: true,
    })),
    unknowns: described === undefined ? ['a name is not known'] : [],
    rowsAtMost: undefined,
    paging: false,
    parameters: 0,
    lineage: { resolved: true, outputs, predicates, nullTests: [], equalities: [] },
    setting: undefined,
    transaction: undefined,
    copyOut: undefined,
    cursor: undefined,
    prepared: undefined,
    temporary: undefined,
    constantFree: false,
    ...options.facts,
  };
  return {
    query: (sql) => queryText(pool, sql),
    catalogue: () => Promise.resolve(catalogue),
    facts: () => facts,
    maskOf,
    letsTestNull: () => true,
    outputMasks: (_facts, columns) =>
      columns.map((column) => {
        const ref = refOf(column);
        return ref === undefined ? undefined : maskOf(ref);
      }),
    shownCells: () => (_column, value) => value,
    maskedSample: async (sql, limit) => {
      const result = await queryText(pool, `${sql} limit ${limit}`);
      const isMasked = result.columns.map((column) => options.masked?.includes(column.name) === true);
      return {
        columns: result.columns.map((column) => column.name),
        rows: result.rows.map((row) => row.map((value, index) => (isMasked[index] === true ? '***' : value))),
      };
    },
  };
}

/** A definition of a job `export` on connection `crm`; `chunk` and further lines as YAML. */
export function jobOf(source: string, chunk: string, more = ''): JobDefinition {
  const yaml = `job: export\nconnection: crm\nsource: ${JSON.stringify(source)}\nchunk: ${chunk}\n${
    more.includes('output:') ? '' : 'output: { format: csv, to: "file://out" }\n'
  }${more}`;
  return parseJobDefinition(yaml, 'export.yaml');
}

export async function planOf(
  pool: pg.Pool,
  source: string,
  chunk: string,
  options: TestReaderOptions & { more?: string } = {},
): Promise<JobPlan> {
  const reader = await testReader(pool, source, options);
  return planJob({ definition: jobOf(source, chunk, options.more), reader });
}
