/**
 * Temporary tables. They belong to one session, and what is in them has no rule: so they take nothing that is masked, hide
 * nothing, and run no code that this file has not read. Temporary views, sequences and everything else in pg_temp are not
 * followed.
 */
import type { IntoClause, Node, RangeVar } from 'libpg-query';
import { noRows, rest, session, unknown, withUnknown, type Effects, type Shape } from './effect.ts';
import { isBuiltInType } from './functions.ts';
import type { Catalogue, CatalogueRelation, RelationUse, TemporaryUse } from './statement.ts';
import { bodyIf, stringsOf, type Tree } from './tree.ts';
import { collectUses, type Uses } from './uses.ts';

export const temporarySchema = 'pg_temp';

/** Of a table that only this session has: beyond every OID of a server. */
export const firstTemporaryOid = 2 ** 32;

export function isTemporary({ oid }: Pick<RelationUse, 'oid'>): boolean {
  return oid >= firstTemporaryOid;
}

/** What the session made lies in front of everything else. A table that may be there or not hides its name all the same. */
export function withTemporary(
  catalogue: Catalogue,
  tables: ReadonlyMap<string, CatalogueRelation | undefined>,
): Catalogue {
  const byOid = new Map([...tables.values()].flatMap((table) => (table === undefined ? [] : [[table.oid, table]])));
  return {
    ...catalogue,
    relationByOid: (oid) => byOid.get(oid) ?? catalogue.relationByOid(oid),
    relationByName: (schema, name) => {
      const hides = schema === temporarySchema || (schema === undefined && tables.has(name));
      return hides ? tables.get(name) : catalogue.relationByName(schema, name);
    },
  };
}

/** A table as statements see it. Of which types its columns are is not worked out: a dot says so. */
export function temporaryRelation(oid: number, name: string, columns: readonly string[]): CatalogueRelation {
  return {
    oid,
    schema: temporarySchema,
    name,
    kind: 'table',
    columns: columns.map((column, index) => {
      return { attnum: index + 1, name: column, typeOid: 0, typeName: '.', notNull: false };
    }),
    children: [],
    parents: [],
    rules: [],
  };
}

export function makesTemporary(relation: RangeVar | undefined): boolean {
  return relation?.relpersistence === 't' || relation?.schemaname?.startsWith('pg_temp') === true;
}

/** Of a table whose elements are spelt out. */
const plainParts = new Set(['relation', 'tableElts', 'oncommit', 'if_not_exists']);
const plainColumnParts = new Set(['colname', 'typeName', 'is_local', 'constraints', 'location']);
const plainIntoParts = new Set(['rel', 'colNames', 'onCommit', 'skipData']);
const plainConstraints = new Set(['NULL', 'NOTNULL', 'DEFAULT', 'CHECK', 'PRIMARY', 'UNIQUE']);

export function createTemporaryTable(body: Tree, catalogue: Catalogue): Effects {
  const columns: string[] = [];
  const expressions: unknown[] = [];
  let isPlain = Object.keys(body).every((part) => plainParts.has(part));
  for (const element of (body['tableElts'] as Node[] | undefined) ?? []) {
    const column = bodyIf(element, 'ColumnDef');
    const own = bodyIf(element, 'Constraint');
    if (column?.colname !== undefined) columns.push(column.colname);
    isPlain &&=
      own !== undefined || (column !== undefined && Object.keys(column).every((p) => plainColumnParts.has(p)));
    expressions.push(column?.typeName);
    for (const constraint of own === undefined ? (column?.constraints ?? []).map(constraintOf) : [own]) {
      isPlain &&= plainConstraints.has(String(constraint?.contype).replace('CONSTR_', ''));
      expressions.push(constraint?.raw_expr);
    }
  }
  const uses = collectUses(expressions, catalogue, session);
  const isInert = isPlain && !uses.modifies && uses.signals === undefined;
  const inert = withUnknown(
    { ...uses, relations: [] },
    isInert ? undefined : 'a temporary table with more than columns',
  );
  const into = { rel: body['relation'], onCommit: body['oncommit'] } as IntoClause;
  return created('CREATE TABLE', into, columns, body['if_not_exists'] === true, inert, noRows, catalogue);
}

function constraintOf(node: Node) {
  return bodyIf(node, 'Constraint');
}

/** @param columns empty = as the query names them */
export function fillTemporaryTable(
  command: string,
  into: IntoClause,
  ifNotExists: boolean,
  uses: Uses,
  query: Node,
  catalogue: Catalogue,
): Effects {
  const isPlain = Object.keys(into).every((part) => plainIntoParts.has(part));
  const filled = withUnknown(uses, isPlain ? undefined : 'a temporary table with more than columns');
  return created(command, into, stringsOf(into.colNames), ifNotExists, filled, { kind: 'stored', query }, catalogue);
}

function created(
  command: string,
  { rel, onCommit }: IntoClause,
  columns: readonly string[],
  ifNotExists: boolean,
  uses: Uses,
  shape: Shape,
  catalogue: Catalogue,
): Effects {
  const name = rel?.relname ?? '';
  const reason = nameReason(name, rel?.schemaname, catalogue);
  if (reason !== undefined) return unknown(command, reason, uses);
  const dropsAtCommit = onCommit === 'ONCOMMIT_DROP';
  const temporary: TemporaryUse = { action: 'create', name, columns, dropsAtCommit, ifNotExists };
  return { ...rest, class: 'ddl', command, uses, shape, temporary };
}

/** Where a server cuts a name depends on its encoding. */
const plainName = /^[ -~]{1,62}$/;

/**
 * Tables and types of pg_temp are found before all others, also by code of the target that was written without the thought
 * of one: so what bears that name in any schema at all would be hidden.
 */
function nameReason(name: string, schema: string | undefined, catalogue: Catalogue): string | undefined {
  if (schema !== undefined && schema !== temporarySchema) return 'a temporary table in a schema that is not pg_temp';
  if (!plainName.test(name)) return 'the name of a temporary table has to be short and in ASCII';
  const isType = [name, name.replace(/^_/, ''), `_${name}`].some(
    (one) => isBuiltInType(one) || catalogue.userTypes.has(one) || catalogue.enumTypes?.has(one) === true,
  );
  if (isType) return `a temporary table ${name} would hide the type of that name`;
  if (!catalogue.relations.some((relation) => relation.name === name)) return undefined;
  return `a temporary relation ${name} would hide the relation of that name`;
}

/** What DROP and its like may do to temporary tables. */
export function temporaryDropped(kind: string, body: Tree): TemporaryUse | undefined {
  if (kind === 'DropOwnedStmt') return { action: 'doubt-all' };
  if (kind !== 'DropStmt') return undefined;
  if (body['removeType'] !== 'OBJECT_TABLE') {
    return body['behavior'] === 'DROP_CASCADE' ? { action: 'doubt-all' } : undefined;
  }
  const paths = ((body['objects'] as Node[] | undefined) ?? []).map((o) => stringsOf(bodyIf(o, 'List')?.items));
  // Under its own name, pg_temp_3 or so, the schema is that of this session or of another.
  const names = paths.filter((path) => path.length === 1 || path.at(-2)?.startsWith(temporarySchema));
  return { action: 'drop', names: names.map((path) => path.at(-1) ?? '') };
}

/** A search path that a role, a database or a function is given. */
function withoutSettings(field: string, value: unknown): unknown {
  return field === 'VariableSetStmt' || field === 'setstmt' ? undefined : value;
}

/** Why a definition that is no plain temporary table may not have to do with pg_temp; undefined = it has not. */
export function temporaryReason(kind: string, body: Tree, uses: Uses, catalogue: Catalogue): string | undefined {
  if (kind === 'DropStmt') return undefined;
  // Names stand in trees as strings of lists, or as the schema of a relation.
  if (/"(sval|schemaname)":"pg_temp/.test(JSON.stringify(body, withoutSettings)))
    return 'what it defines in pg_temp is not followed';
  if (!uses.relations.some(isTemporary)) return undefined;
  if (kind !== 'IndexStmt') return 'it would change a temporary table, or depend on one';
  const inside = collectUses([body['indexParams'], body['whereClause']], catalogue, session);
  return inside.unknowns[0] ?? (inside.modifies ? 'an index that changes something' : undefined);
}
