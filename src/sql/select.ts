/** Output columns of a SELECT, VALUES or set operation, and what its clauses depend on. */
import type { Node, SelectStmt } from 'libpg-query';
import { outputName } from './column-name.ts';
import { finishCtes, withCtes } from './cte.ts';
import { useWhere } from './equality.ts';
import { addPredicates, sourcesOf, usePredicate, windowSources, type Run } from './expressions.ts';
import { fromClause } from './from.ts';
import {
  expandStar,
  localColumn,
  maxColumns,
  noSources,
  resolveColumn,
  rowSources,
  tooManyColumns,
  union,
  unionOf,
  Unresolved,
  type Field,
  type Scope,
  type Sources,
} from './scope.ts';
import { bodyIf, integerOf, stringOf, tagged } from './tree.ts';
import { answersGuesses, lengthOf, lengthOfField, type Length } from './value-length.ts';
import { commonTypeOf, typeOfValue } from './value-type.ts';
import { followsNulls, followsNullsField } from './value.ts';

/** @param parent the outer levels, as a scope of its own (for LATERAL with the siblings in it) */
export function selectFields(select: SelectStmt, parent: Scope, run: Run): readonly Field[] {
  const blank: Scope = { items: [], parent, ctes: parent.ctes };
  const scope = withCtes(select.withClause, blank);
  const fields =
    select.larg !== undefined && select.rarg !== undefined
      ? setOperation(select, select.larg, select.rarg, scope, run)
      : select.valuesLists !== undefined
        ? values(select, select.valuesLists, scope, run)
        : plainSelect(select, scope, run);
  // PostgreSQL allows no column of this level in LIMIT and OFFSET.
  usePredicate(select.limitCount, scope, run);
  usePredicate(select.limitOffset, scope, run);
  finishCtes(scope, blank, run);
  return fields;
}

function setOperation(
  select: SelectStmt,
  larg: SelectStmt,
  rarg: SelectStmt,
  scope: Scope,
  run: Run,
): readonly Field[] {
  const parent: Scope = { items: [], parent: scope.parent, ctes: scope.ctes };
  const left = selectFields(larg, parent, run);
  const right = selectFields(rarg, parent, run);
  if (left.length !== right.length)
    throw new Unresolved('the branches of a set operation have different numbers of columns');
  const fields = left.map((field, index): Field => {
    const other = right[index];
    return {
      name: field.name,
      sources: union(field.sources, other?.sources ?? noSources),
      verbatim: false,
      type: commonTypeOf(field, other),
      followsNulls: followsNullsField(field) && other !== undefined && followsNullsField(other),
      length: lengthOfField(field) | (other === undefined ? 0 : lengthOfField(other)),
    };
  });
  // All but UNION ALL compare whole rows.
  if (select.op !== 'SETOP_UNION' || select.all !== true) addPredicates(run, allSources(fields));
  orderBy(select.sortClause, fields, scope, run);
  return fields;
}

function values(select: SelectStmt, rows: readonly Node[], scope: Scope, run: Run): readonly Field[] {
  const columns: Sources[] = [];
  const lengths: Length[] = [];
  rows.forEach((row, index) => {
    const items = bodyIf(row, 'List')?.items ?? [];
    if (index > 0 && items.length !== columns.length)
      throw new Unresolved('the rows of VALUES have different numbers of columns');
    items.forEach((item, position) => {
      const sources = sourcesOf(item, scope, run);
      columns[position] = union(columns[position] ?? noSources, sources);
      lengths[position] = (lengths[position] ?? 0) | noteLength(item, sources, scope, run);
    });
  });
  const fields = columns.map((sources, index) => {
    return { name: `column${index + 1}`, sources, verbatim: false, length: lengths[index] };
  });
  orderBy(select.sortClause, fields, scope, run);
  return fields;
}

function plainSelect(select: SelectStmt, outer: Scope, run: Run): readonly Field[] {
  const items = fromClause(select.fromClause, outer, run);
  const unwindowed: Scope = { items, parent: outer.parent, ctes: outer.ctes };
  useWhere(select, unwindowed, run);
  const scope: Scope = { ...unwindowed, windows: windows(select, unwindowed, run) };
  const fields = targetFields(select.targetList, scope, run);
  for (const group of select.groupClause ?? []) groupBy(group, fields, scope, run);
  usePredicate(select.havingClause, scope, run);
  for (const distinct of select.distinctClause ?? []) {
    if (tagged(distinct) === undefined) addPredicates(run, allSources(fields));
    else sortKey(distinct, fields, scope, run);
  }
  orderBy(select.sortClause, fields, scope, run);
  return fields;
}

function windows(select: SelectStmt, scope: Scope, run: Run): ReadonlyMap<string, Sources> {
  const known = new Map<string, Sources>();
  for (const node of select.windowClause ?? []) {
    const window = bodyIf(node, 'WindowDef');
    if (window === undefined) throw new Unresolved('a WINDOW clause is not known');
    const sources = windowSources(window, scope, run, known);
    addPredicates(run, sources);
    known.set(window.name ?? '', sources);
  }
  return known;
}

/** A select list or RETURNING list. */
export function targetFields(targets: readonly Node[] | undefined, scope: Scope, run: Run): readonly Field[] {
  const fields: Field[] = [];
  for (const node of targets ?? []) {
    const target = bodyIf(node, 'ResTarget');
    if (target?.val === undefined) throw new Unresolved('an item of the select list is not known');
    const expanded = starFields(target.val, scope);
    if (expanded === undefined) fields.push(fieldOf(target.val, target.name, scope, run));
    else for (const field of expanded) fields.push(field);
    // Here and not when all are there: each star may be as wide as the whole FROM clause.
    if (fields.length > maxColumns) throw tooManyColumns();
  }
  return fields;
}

function starFields(value: Node, scope: Scope): readonly Field[] | undefined {
  const reference = bodyIf(value, 'ColumnRef');
  if (reference !== undefined) return expandStar(reference.fields ?? [], scope);
  const indirection = bodyIf(value, 'A_Indirection');
  const last = indirection?.indirection?.at(-1);
  if (last === undefined || bodyIf(last, 'A_Star') === undefined) return undefined;
  const base = bodyIf(indirection?.arg, 'ColumnRef');
  if (base !== undefined && indirection?.indirection?.length === 1) {
    const found = resolveColumn(base.fields ?? [], scope);
    if (found.kind === 'row' && !found.item.open) return found.item.fields;
  }
  throw new Unresolved('the columns of a composite value are not known');
}

function fieldOf(value: Node, alias: string | undefined, scope: Scope, run: Run): Field {
  const reference = bodyIf(value, 'ColumnRef');
  if (reference !== undefined) {
    const found = resolveColumn(reference.fields ?? [], scope);
    if (found.kind === 'field') return alias === undefined ? found.field : { ...found.field, name: alias };
    if (found.kind === 'row' && found.item.open)
      throw new Unresolved('the columns of a function in FROM are not known');
    const sources = found.kind === 'row' ? rowSources(found.item) : noSources;
    const row = { name: alias ?? outputName(value, run.subqueryNames), sources, verbatim: false };
    return { ...row, length: lengthOf(value, scope, run) };
  }
  const sources = sourcesOf(value, scope, run);
  return {
    name: alias ?? outputName(value, run.subqueryNames),
    sources,
    verbatim: false,
    type: typeOfValue(value, scope, run),
    followsNulls: followsNulls(value, scope, run),
    length: noteLength(value, sources, scope, run),
  };
}

/** Where the length of a value answers guesses, what it is made of counts as compared. */
function noteLength(value: Node, sources: Sources, scope: Scope, run: Run): Length {
  const length = lengthOf(value, scope, run);
  if (answersGuesses(length)) addPredicates(run, sources);
  return length;
}

function groupBy(node: Node, fields: readonly Field[], scope: Scope, run: Run): void {
  const set = bodyIf(node, 'GroupingSet');
  if (set !== undefined) {
    for (const inner of set.content ?? []) groupBy(inner, fields, scope, run);
    return;
  }
  const row = bodyIf(node, 'RowExpr');
  if (row !== undefined) {
    for (const inner of row.args ?? []) groupBy(inner, fields, scope, run);
    return;
  }
  // GROUP BY prefers a column of FROM to a name of the select list; ORDER BY does the opposite.
  const name = bareName(node);
  const local = name === undefined ? undefined : localColumn(name, scope);
  if (local?.kind === 'field') addPredicates(run, local.field.sources);
  else if (local === undefined) sortKey(node, fields, scope, run);
}

function orderBy(sorts: readonly Node[] | undefined, fields: readonly Field[], scope: Scope, run: Run): void {
  for (const node of sorts ?? []) {
    const sort = bodyIf(node, 'SortBy');
    if (sort?.node === undefined) throw new Unresolved('an ORDER BY item is not known');
    sortKey(sort.node, fields, scope, run);
  }
}

/** An ordinal, the name of an output, or an expression over FROM. */
function sortKey(node: Node, fields: readonly Field[], scope: Scope, run: Run): void {
  const ordinal = integerOf(node);
  if (ordinal !== undefined) {
    const field = fields[ordinal - 1];
    if (field === undefined) throw new Unresolved(`there is no output column ${ordinal}`);
    addPredicates(run, field.sources);
    return;
  }
  const name = bareName(node);
  const outputs = name === undefined ? [] : fields.filter((field) => field.name === name);
  if (outputs.length > 0) addPredicates(run, allSources(outputs));
  else addPredicates(run, sourcesOf(node, scope, run));
}

function bareName(node: Node): string | undefined {
  const reference = bodyIf(node, 'ColumnRef');
  return reference?.fields?.length === 1 ? stringOf(reference.fields[0]) : undefined;
}

function allSources(fields: readonly Field[]): Sources {
  return unionOf(fields.map((field) => field.sources));
}
