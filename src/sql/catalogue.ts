/** The catalogue of one target, made from the rows of `catalogueQueries`. Immutable; its version covers all of it. */
import { createHash } from 'node:crypto';
import type { Catalogue, CatalogueColumn, CatalogueRelation, RelationKind } from './statement.ts';

export { catalogueQueries } from './catalogue-queries.ts';

type Oid = number | string;
/** attnum, name, type OID, type name, not null, generated ('' or a letter). */
export type RawColumn = readonly [number, string, number, string, boolean, string];

/** Rows by the names of `catalogueQueries`; OIDs as numbers or as their decimal text. */
export interface RawCatalogue {
  /** Schemas in the order of search_path, without quotes; pg_catalog only where it is listed explicitly. */
  readonly searchPath: readonly string[];
  readonly relations: readonly {
    readonly oid: Oid;
    readonly schema: string;
    readonly name: string;
    readonly kind: string;
    readonly row_security: boolean;
    readonly columns: readonly RawColumn[];
  }[];
  readonly definitions: readonly { readonly oid: Oid; readonly definition: string | null }[];
  readonly inheritance: readonly { readonly parent: Oid; readonly child: Oid }[];
  readonly rules: readonly { readonly oid: Oid; readonly rule: string }[];
  readonly attached: readonly { readonly oid: Oid; readonly text: string }[];
  readonly called: readonly { readonly oid: Oid; readonly name: string; readonly digest: string }[];
  readonly generated: readonly { readonly oid: Oid; readonly attnum: number; readonly sources: readonly string[] }[];
  readonly functions: readonly { readonly name: string; readonly among_built_in: boolean }[];
  readonly operators: readonly { readonly name: string; readonly among_built_in: boolean }[];
  readonly types: readonly { readonly name: string; readonly is_enum: boolean }[];
  readonly convertedTypes: readonly { readonly oid: Oid }[];
  readonly userCode: readonly { readonly oid: Oid }[];
}

const kinds: Readonly<Record<string, RelationKind>> = {
  r: 'table',
  p: 'partitioned-table',
  v: 'view',
  m: 'materialized-view',
  f: 'foreign-table',
  S: 'sequence',
  c: 'composite-type',
};

export function makeCatalogue(raw: RawCatalogue): Catalogue {
  const definitions = new Map(raw.definitions.map((row) => [Number(row.oid), row.definition ?? undefined]));
  const children = grouped(
    raw.inheritance,
    (row) => row.parent,
    (row) => Number(row.child),
  );
  const parents = grouped(
    raw.inheritance,
    (row) => row.child,
    (row) => Number(row.parent),
  );
  const rules = grouped(
    raw.rules,
    (row) => row.oid,
    (row) => row.rule,
  );
  const attached = grouped(
    raw.attached,
    (row) => row.oid,
    (row) => row.text,
  );
  const called = grouped(
    raw.called,
    (row) => row.oid,
    ({ name, digest }) => ({ name, digest }),
  );
  const generated = new Map(raw.generated.map((row) => [`${row.oid} ${row.attnum}`, row.sources]));
  const relations = raw.relations.map((row): CatalogueRelation => {
    const oid = Number(row.oid);
    return {
      oid,
      schema: row.schema,
      name: row.name,
      kind: kinds[row.kind] ?? 'other',
      columns: row.columns.map((column) => columnOf(column, generated.get(`${row.oid} ${column[0]}`))),
      definition: definitions.get(oid),
      children: children.get(oid) ?? [],
      parents: parents.get(oid) ?? [],
      rules: [...(row.row_security ? ['ROW LEVEL SECURITY'] : []), ...(rules.get(oid) ?? [])],
      attached: attached.get(oid),
      called: called.get(oid),
    };
  });
  const byOid = new Map(relations.map((relation) => [relation.oid, relation]));
  const bySchema = new Map<string, Map<string, CatalogueRelation>>();
  for (const relation of relations) {
    let names = bySchema.get(relation.schema);
    if (names === undefined) bySchema.set(relation.schema, (names = new Map()));
    names.set(relation.name, relation);
  }
  const userCode = new Set(raw.userCode.map((row) => Number(row.oid)));
  const lookup = raw.searchPath.includes('pg_catalog') ? raw.searchPath : ['pg_catalog', ...raw.searchPath];
  return {
    version: createHash('sha256').update(JSON.stringify(raw)).digest('hex'),
    searchPath: raw.searchPath,
    relations,
    relationByOid: (oid) => byOid.get(oid),
    relationByName: (schema, name) => {
      if (schema !== undefined) return bySchema.get(schema)?.get(name);
      for (const candidate of lookup) {
        const found = bySchema.get(candidate)?.get(name);
        if (found !== undefined) return found;
      }
      return undefined;
    },
    userFunctions: new Set(raw.functions.map((row) => row.name)),
    userOperators: new Set(raw.operators.map((row) => row.name)),
    amongBuiltIn: new Set(
      [...raw.functions, ...raw.operators].filter((row) => row.among_built_in).map((row) => row.name),
    ),
    userTypes: new Set(raw.types.map((row) => row.name)),
    enumTypes: new Set(raw.types.filter((row) => row.is_enum).map((row) => row.name)),
    convertedTypes: new Set(raw.convertedTypes.map((row) => Number(row.oid))),
    callsUserCode: (oid) => userCode.has(oid),
  };
}

function columnOf(raw: RawColumn, sources: readonly string[] | undefined): CatalogueColumn {
  const [attnum, name, typeOid, typeName, notNull, generated] = raw;
  const column = { attnum, name, typeOid, typeName, notNull };
  return generated === '' ? column : { ...column, generatedFrom: sources ?? [] };
}

function grouped<Row, Value>(
  rows: readonly Row[],
  keyOf: (row: Row) => Oid,
  valueOf: (row: Row) => Value,
): Map<number, Value[]> {
  const groups = new Map<number, Value[]>();
  for (const row of rows) {
    const key = Number(keyOf(row));
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [valueOf(row)]);
    else group.push(valueOf(row));
  }
  return groups;
}

/**
 * SHA-256 of each relation's definition, by qualified name, sorted by name: columns with number, name, type and NOT NULL,
 * the text of a view, parents and children by name, rules and policies, triggers, defaults, constraints, options and owner;
 * and of each function of users that reading or writing it calls. A relation that is gone has the digest `missing`.
 */
export function definitionDigests(
  catalogue: Catalogue,
  oids: readonly number[],
): readonly { readonly name: string; readonly digest: string }[] {
  const relations = [...new Set(oids)].map((oid) => ({
    name: nameOf(catalogue, oid),
    digest: relationDigest(catalogue, oid),
  }));
  const called = oids.flatMap((oid) => catalogue.relationByOid(oid)?.called ?? []);
  const functions = new Map(called.map(({ name, digest }) => [`function ${name}`, digest]));
  return [...relations, ...[...functions].map(([name, digest]) => ({ name, digest }))].sort((a, b) =>
    a.name < b.name ? -1 : a.name > b.name ? 1 : 0,
  );
}

function nameOf(catalogue: Catalogue, oid: number): string {
  const relation = catalogue.relationByOid(oid);
  return relation === undefined ? `oid:${oid}` : `${relation.schema}.${relation.name}`;
}

function relationDigest(catalogue: Catalogue, oid: number): string {
  const relation = catalogue.relationByOid(oid);
  if (relation === undefined) return 'missing';
  const content = JSON.stringify([
    relation.kind,
    relation.columns.map((column) => [
      column.attnum,
      column.name,
      column.typeName,
      column.notNull,
      column.generatedFrom ?? null,
    ]),
    relation.definition ?? null,
    relation.children.map((child) => nameOf(catalogue, child)).sort(),
    relation.parents.map((parent) => nameOf(catalogue, parent)).sort(),
    relation.rules,
    relation.attached ?? [],
  ]);
  return createHash('sha256').update(content).digest('hex');
}
