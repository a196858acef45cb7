/**
 * What a FROM item makes visible: its columns with their sources. Follows PostgreSQL's parse_clause.c: which names a
 * LATERAL item, an ON condition and an alias see, and how USING and NATURAL merge columns.
 */
import type {
  Alias,
  JoinExpr,
  JsonTable,
  JsonTableColumn,
  Node,
  RangeFunction,
  RangeTableFunc,
  RangeVar,
} from 'libpg-query';
import { outputName } from './column-name.ts';
import { cteFields } from './cte.ts';
import { addPredicates, sourcesOf, usePredicate, type Run } from './expressions.ts';
import { functionColumns, polymorphicFunctions } from './functions.ts';
import {
  findCte,
  noSources,
  resolveColumn,
  splitKey,
  union,
  unionOf,
  Unresolved,
  type Field,
  type NamespaceItem,
  type Scope,
  type Sources,
} from './scope.ts';
import type { CatalogueRelation } from './statement.ts';
import { bodyIf, kindSet, stringsOf, taggedAs } from './tree.ts';
import { rangeText, relationOf } from './uses.ts';

export interface FromResult {
  /** In the order in which a join above counts them. */
  readonly fields: readonly Field[];
  readonly items: readonly NamespaceItem[];
}

const maxItems = 300;

/** All items of a FROM clause. `scope` has what lies outside: its own items are not seen. */
export function fromClause(nodes: readonly Node[] | undefined, scope: Scope, run: Run): readonly NamespaceItem[] {
  const items: NamespaceItem[] = [];
  for (const node of nodes ?? []) {
    items.push(...fromItem(node, items, scope, run).items);
    // Each name is looked for in each of them.
    if (items.length > maxItems) throw new Unresolved(`a FROM clause has more than ${maxItems} items`);
  }
  return items;
}

const fromKinds = kindSet(
  'RangeVar',
  'RangeSubselect',
  'JoinExpr',
  'RangeFunction',
  'RangeTableFunc',
  'JsonTable',
  'RangeTableSample',
);

/** @param siblings what LATERAL sees besides the outer levels */
export function fromItem(node: Node, siblings: readonly NamespaceItem[], scope: Scope, run: Run): FromResult {
  const lateral: Scope = { items: siblings, parent: scope.parent, ctes: scope.ctes };
  const item = taggedAs(node, fromKinds);
  switch (item.kind) {
    case 'RangeVar':
      return rangeVar(item.body, scope, run);
    case 'RangeSubselect': {
      const blank: Scope = { items: [], parent: scope.parent, ctes: scope.ctes };
      const subquery = item.body.subquery;
      if (subquery === undefined) throw new Unresolved('a subquery without a query');
      return single(item.body.alias, undefined, run.query(subquery, item.body.lateral === true ? lateral : blank));
    }
    case 'JoinExpr':
      return join(item.body, siblings, scope, run);
    case 'RangeFunction':
      return functions(item.body, lateral, run);
    case 'RangeTableFunc':
      return xmlTable(item.body, lateral, run);
    case 'JsonTable':
      return jsonTable(item.body, lateral, run);
    case 'RangeTableSample': {
      if (item.body.relation === undefined) throw new Unresolved('TABLESAMPLE of nothing');
      for (const arg of [...(item.body.args ?? []), item.body.repeatable]) usePredicate(arg, lateral, run);
      return fromItem(item.body.relation, siblings, scope, run);
    }
    case 'other':
    default:
      throw new Unresolved(`the FROM item ${item.name} is not known`);
  }
}

function rangeVar(range: RangeVar, scope: Scope, run: Run): FromResult {
  const cte = range.schemaname === undefined ? findCte(scope, range.relname ?? '') : undefined;
  if (cte !== undefined) return single(range.alias, range.relname, cteFields(cte, run));
  const relation = relationOf(range, run.catalogue, run.reading);
  if (relation === undefined) throw new Unresolved(`relation ${rangeText(range)} is not in the catalogue`);
  return relationItem(relation, range, run);
}

/** A relation as FROM item, or as the target of a data-modifying statement. */
export function relationItem(relation: CatalogueRelation, range: RangeVar, run: Run): FromResult {
  const fields = renamed(run.relationFields(relation), range.alias);
  const item: NamespaceItem = {
    name: range.alias?.aliasname ?? range.relname,
    relation: range.alias === undefined ? relation : undefined,
    fields,
    nameVisible: true,
    columnsVisible: true,
    systemColumns: relation.kind !== 'view' && relation.kind !== 'composite-type',
    open: false,
  };
  return { fields, items: [item] };
}

function single(
  alias: Alias | undefined,
  ownName: string | undefined,
  columns: readonly Field[],
  open = false,
): FromResult {
  const fields = renamed(columns, alias);
  const name = alias?.aliasname ?? ownName;
  const nameVisible = name !== undefined;
  return {
    fields,
    items: [{ name, relation: undefined, fields, nameVisible, columnsVisible: true, systemColumns: false, open }],
  };
}

/** Column aliases rename the first columns. */
export function renamed(fields: readonly Field[], alias: Alias | undefined): readonly Field[] {
  const names = stringsOf(alias?.colnames);
  if (names.length === 0) return fields;
  if (names.length > fields.length)
    throw new Unresolved(`${alias?.aliasname ?? ''} has more column aliases than columns`);
  return fields.map((field, index) => ({ ...field, name: names[index] ?? field.name }));
}

function join(body: JoinExpr, siblings: readonly NamespaceItem[], scope: Scope, run: Run): FromResult {
  if (body.larg === undefined || body.rarg === undefined) throw new Unresolved('a join of nothing');
  const left = fromItem(body.larg, siblings, scope, run);
  const right = fromItem(body.rarg, [...siblings, ...left.items], scope, run);
  const inside = [...left.items, ...right.items];
  const leftNames = body.isNatural === true ? naturalNames(left, right) : stringsOf(body.usingClause);
  if (inside.some((item) => item.open) && body.isNatural === true)
    throw new Unresolved('NATURAL JOIN with columns that are not known');
  const merged = leftNames.map((name): Field => {
    const sources = union(columnOf(left, name).sources, columnOf(right, name).sources);
    addPredicates(run, sources);
    return { name, sources, verbatim: false };
  });
  usePredicate(body.quals, { items: inside, parent: scope.parent, ctes: scope.ctes }, run);
  const names = new Set(leftNames);
  const others = [...left.fields, ...right.fields].filter((field) => !names.has(field.name));
  const fields = [...merged, ...others];
  const open = inside.some((item) => item.open && item.columnsVisible);
  if (body.alias !== undefined) {
    const all = renamed(fields, body.alias);
    const item = {
      name: body.alias.aliasname,
      relation: undefined,
      fields: all,
      nameVisible: true,
      columnsVisible: true,
      systemColumns: false,
      open,
    };
    return { fields: all, items: [item] };
  }
  // Tables inside keep their names; their columns are seen through the join, which knows the merged ones. System columns
  // and what a function in FROM may hide are no columns of a join.
  const named = inside.map((item) => ({ ...item, columnsVisible: false }));
  const whole: NamespaceItem = {
    name: undefined,
    relation: undefined,
    fields,
    nameVisible: false,
    columnsVisible: true,
    systemColumns: false,
    open,
  };
  const usingAlias = body.join_using_alias?.aliasname;
  const using =
    usingAlias === undefined
      ? []
      : [
          {
            ...whole,
            name: usingAlias,
            fields: merged,
            nameVisible: true,
            columnsVisible: false,
            systemColumns: false,
          },
        ];
  return { fields, items: [...named, whole, ...using] };
}

function naturalNames(left: FromResult, right: FromResult): string[] {
  const names = new Set(right.fields.map((field) => field.name));
  return left.fields.filter((field) => names.has(field.name)).map((field) => field.name);
}

function columnOf(side: FromResult, name: string): Field {
  const found = side.fields.filter((field) => field.name === name);
  if (found.length !== 1 || found[0] === undefined)
    throw new Unresolved(`USING column ${name} is not known or ambiguous`);
  return found[0];
}

function functions(body: RangeFunction, lateral: Scope, run: Run): FromResult {
  const calls = (body.functions ?? []).map((entry) => {
    const [expression, definitions] = bodyIf(entry, 'List')?.items ?? [];
    const columns = bodyIf(definitions, 'List')?.items;
    return { expression, columns };
  });
  const fields: Field[] = [];
  let open = false;
  for (const { expression, columns } of calls) {
    const sources = sourcesOf(expression, lateral, run);
    addPredicates(run, sources);
    const defined = columns ?? (calls.length === 1 ? body.coldeflist : undefined);
    const names = columnsOfFunction(
      expression,
      defined,
      calls.length === 1 && body.is_rowsfrom !== true ? body.alias : undefined,
      run,
    );
    fields.push(...names.map((name) => ({ name, sources, verbatim: false })));
    open ||= mayHaveMore(expression, sources, lateral, run);
  }
  if (body.ordinality === true) fields.push({ name: 'ordinality', sources: noSources, verbatim: false });
  const renaming = body.coldeflist === undefined ? body.alias : withoutColumns(body.alias);
  return single(renaming, outputName(calls[0]?.expression, run.subqueryNames), fields, open);
}

function withoutColumns(alias: Alias | undefined): Alias | undefined {
  return alias?.aliasname === undefined ? undefined : { aliasname: alias.aliasname };
}

function columnsOfFunction(
  expression: Node | undefined,
  defined: readonly Node[] | undefined,
  alias: Alias | undefined,
  run: Run,
): readonly string[] {
  if (defined !== undefined) return defined.map((definition) => bodyIf(definition, 'ColumnDef')?.colname ?? '');
  const name = stringsOf(bodyIf(expression, 'FuncCall')?.funcname).at(-1) ?? '';
  return functionColumns.get(name) ?? [alias?.aliasname ?? outputName(expression, run.subqueryNames)];
}

/** A function that gives back what it was given may give back rows of a table. Constants and arrays of base types cannot be. */
function mayHaveMore(expression: Node | undefined, sources: Sources, lateral: Scope, run: Run): boolean {
  const body = bodyIf(expression, 'FuncCall');
  const name = stringsOf(body?.funcname).at(-1) ?? '';
  if (body !== undefined && !polymorphicFunctions.has(name)) return false;
  if (name === 'unnest') return !(body?.args ?? []).every((arg) => isPlainArray(arg, lateral, run));
  return name !== '' || sources.size > 0;
}

/** A column type as format_type prints it under an empty search_path: a type outside pg_catalog has a dot in it. */
const builtInArray = /^[a-z ]+(\([0-9,]+\))?( with(out)? time zone)?\[\]$/;
const arrayMakers = new Set(['string_to_array', 'regexp_split_to_array', 'regexp_match']);

const arrayKinds = kindSet('TypeCast', 'A_ArrayExpr', 'FuncCall', 'ColumnRef');

function isPlainArray(node: Node, lateral: Scope, run: Run): boolean {
  const arg = taggedAs(node, arrayKinds);
  switch (arg.kind) {
    case 'TypeCast': {
      const type = arg.body.typeName;
      return type?.arrayBounds !== undefined && (type.names?.length === 1 || stringsOf(type.names)[0] === 'pg_catalog');
    }
    case 'A_ArrayExpr':
      return (arg.body.elements ?? []).every((element) => 'A_Const' in element || isPlainArray(element, lateral, run));
    case 'FuncCall':
      return arrayMakers.has(stringsOf(arg.body.funcname).at(-1) ?? '');
    case 'ColumnRef': {
      const found = resolveColumn(arg.body.fields ?? [], lateral);
      const [key] = found.kind === 'field' && found.field.verbatim ? found.field.sources : [];
      if (key === undefined) return false;
      const { relationOid, attnum } = splitKey(key);
      const column = run.catalogue.relationByOid(relationOid)?.columns.find((one) => one.attnum === attnum);
      return column !== undefined && builtInArray.test(column.typeName);
    }
    case 'other':
    default:
      return false;
  }
}

function xmlTable(body: RangeTableFunc, lateral: Scope, run: Run): FromResult {
  const namespaces = (body.namespaces ?? []).map((node) => bodyIf(node, 'ResTarget')?.val);
  const whole = unionOf([body.docexpr, body.rowexpr, ...namespaces].map((part) => sourcesOf(part, lateral, run)));
  addPredicates(run, whole);
  const fields = (body.columns ?? []).map((node): Field => {
    const column = bodyIf(node, 'RangeTableFuncCol');
    const own = [column?.colexpr, column?.coldefexpr].map((part) => sourcesOf(part, lateral, run));
    // A path may be none.
    for (const sources of own) addPredicates(run, sources);
    return { name: column?.colname ?? '', sources: union(whole, ...own), verbatim: false };
  });
  return single(body.alias, 'xmltable', fields);
}

function jsonTable(body: JsonTable, lateral: Scope, run: Run): FromResult {
  const passing = (body.passing ?? []).map((arg) => sourcesOf(arg, lateral, run));
  const sources = union(
    sourcesOf(body.context_item?.raw_expr, lateral, run),
    sourcesOf(body.pathspec?.string, lateral, run),
    sourcesOf(body.on_error?.expr, lateral, run),
    ...passing,
  );
  addPredicates(run, sources);
  return single(body.alias, 'json_table', jsonColumns(body.columns, sources, lateral, run));
}

/** Columns of nested paths come after those of their own level. */
function jsonColumns(columns: readonly Node[] | undefined, sources: Sources, lateral: Scope, run: Run): Field[] {
  const bodies = (columns ?? []).flatMap(
    (node): JsonTableColumn | JsonTableColumn[] => bodyIf(node, 'JsonTableColumn') ?? [],
  );
  const own = bodies.filter((column) => column.coltype !== 'JTC_NESTED');
  return [
    ...own.map((column): Field => {
      const parts = [column.pathspec?.string, column.on_empty?.expr, column.on_error?.expr];
      return {
        name: column.name ?? '',
        sources: union(sources, ...parts.map((part) => sourcesOf(part, lateral, run))),
        verbatim: false,
      };
    }),
    ...bodies
      .filter((column) => column.coltype === 'JTC_NESTED')
      .flatMap((column) => jsonColumns(column.columns, sources, lateral, run)),
  ];
}
