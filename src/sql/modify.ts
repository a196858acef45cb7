/**
 * INSERT, UPDATE, DELETE and MERGE: what RETURNING gives back and what the changes depend on.
 *
 * A stored value can be read without the mask of what it was made of: elsewhere, or in its own column with its parts in
 * another order. So the columns that it depends on count as predicates, unless it is a verbatim copy of the column that it
 * is stored in.
 */
import type { DeleteStmt, InsertStmt, MergeStmt, Node, RangeVar, ReturningClause, UpdateStmt } from 'libpg-query';
import { finishCtes, withCtes } from './cte.ts';
import { addPredicates, sourcesOf, usePredicate, type Run } from './expressions.ts';
import { fromClause, fromItem, relationItem } from './from.ts';
import {
  resolveColumn,
  rowSources,
  union,
  Unresolved,
  type Field,
  type NamespaceItem,
  type Scope,
  type Sources,
} from './scope.ts';
import { targetFields } from './select.ts';
import { bodyIf, stringOf, tagged } from './tree.ts';
import { rangeText, relationOf } from './uses.ts';

interface Stored {
  readonly sources: Sources;
  /** One base column as it stands. */
  readonly verbatim: boolean;
}

/** What may be stored in a column, by the column's name. */
type Assigned = Map<string, Stored[]>;

export function insertFields(insert: InsertStmt, parent: Scope, run: Run): readonly Field[] {
  const blank: Scope = { items: [], parent, ctes: parent.ctes };
  const scope = withCtes(insert.withClause, blank);
  const target = targetItem(insert.relation, run);
  const columns = targetColumns(insert.cols, target);
  const stored = insert.selectStmt === undefined ? [] : run.query(insert.selectStmt, scope);
  if (stored.length > columns.length) throw new Unresolved('INSERT has more values than columns');
  const assigned: Assigned = new Map();
  stored.forEach((field, index) => assign(assigned, columns[index], field));
  const conflict = insert.onConflictClause;
  if (conflict !== undefined) {
    const on: Scope = { ...scope, items: [target] };
    // Of which columns a constraint is made, and which ones there are, is not known; that a value is there already tells.
    if (conflict.infer?.indexElems === undefined) addPredicates(run, rowSources(target));
    for (const node of conflict.infer?.indexElems ?? []) {
      const element = bodyIf(node, 'IndexElem');
      if (element?.name !== undefined) addPredicates(run, fieldNamed(target, element.name).sources);
      usePredicate(element?.expr, on, run);
    }
    usePredicate(conflict.infer?.whereClause, on, run);
    const excluded = { ...returned(target, assigned), name: 'excluded', relation: undefined, columnsVisible: false };
    const both: Scope = { ...scope, items: [target, excluded] };
    assignments(conflict.targetList, both, assigned, run);
    usePredicate(conflict.whereClause, both, run);
  }
  store(target, assigned, run);
  const fields = returning(insert.returningClause, target, [], assigned, scope, run);
  finishCtes(scope, blank, run);
  return fields;
}

export function updateFields(update: UpdateStmt, parent: Scope, run: Run): readonly Field[] {
  const blank: Scope = { items: [], parent, ctes: parent.ctes };
  const scope = withCtes(update.withClause, blank);
  const target = targetItem(update.relation, run);
  const others = fromClause(update.fromClause, scope, run);
  const inside: Scope = { ...scope, items: [target, ...others] };
  const assigned: Assigned = new Map();
  assignments(update.targetList, inside, assigned, run);
  usePredicate(update.whereClause, inside, run);
  store(target, assigned, run);
  const fields = returning(update.returningClause, target, others, assigned, scope, run);
  finishCtes(scope, blank, run);
  return fields;
}

export function deleteFields(remove: DeleteStmt, parent: Scope, run: Run): readonly Field[] {
  const blank: Scope = { items: [], parent, ctes: parent.ctes };
  const scope = withCtes(remove.withClause, blank);
  const target = targetItem(remove.relation, run);
  const others = fromClause(remove.usingClause, scope, run);
  usePredicate(remove.whereClause, { ...scope, items: [target, ...others] }, run);
  const fields = returning(remove.returningClause, target, others, new Map(), scope, run);
  finishCtes(scope, blank, run);
  return fields;
}

export function mergeFields(merge: MergeStmt, parent: Scope, run: Run): readonly Field[] {
  const blank: Scope = { items: [], parent, ctes: parent.ctes };
  const scope = withCtes(merge.withClause, blank);
  const target = targetItem(merge.relation, run);
  if (merge.sourceRelation === undefined) throw new Unresolved('MERGE without a source');
  const others = fromItem(merge.sourceRelation, [], scope, run).items;
  const inside: Scope = { ...scope, items: [target, ...others] };
  usePredicate(merge.joinCondition, inside, run);
  const assigned: Assigned = new Map();
  for (const node of merge.mergeWhenClauses ?? []) {
    const when = bodyIf(node, 'MergeWhenClause');
    if (when === undefined) throw new Unresolved('a WHEN clause of MERGE is not known');
    usePredicate(when.condition, inside, run);
    if (when.commandType !== 'CMD_INSERT') {
      assignments(when.targetList, inside, assigned, run);
      continue;
    }
    const columns = targetColumns(when.targetList, target);
    (when.values ?? []).forEach((value, index) => assign(assigned, columns[index], storedValue(value, inside, run)));
  }
  store(target, assigned, run);
  const star = merge.returningClause?.exprs?.some((node) => {
    const fields = bodyIf(bodyIf(node, 'ResTarget')?.val, 'ColumnRef')?.fields;
    return fields?.length === 1 && stringOf(fields[0]) === undefined;
  });
  // Source and target stand in another order than they are written.
  if (star === true) throw new Unresolved('RETURNING * of MERGE');
  const fields = returning(merge.returningClause, target, others, assigned, scope, run);
  finishCtes(scope, blank, run);
  return fields;
}

function targetItem(range: RangeVar | undefined, run: Run): NamespaceItem {
  const relation = range === undefined ? undefined : relationOf(range, run.catalogue, run.reading);
  if (range === undefined || relation === undefined) {
    throw new Unresolved(`relation ${range === undefined ? '' : rangeText(range)} is not in the catalogue`);
  }
  const [item] = relationItem(relation, range, run).items;
  if (item === undefined) throw new Unresolved('the statement has no target');
  return item;
}

interface TargetColumn {
  readonly name: string;
  /** `column[1]` or `column.part`: what is stored becomes a part of the value. */
  readonly partly: boolean;
}

/** The columns that INSERT names, or all. */
function targetColumns(nodes: readonly Node[] | undefined, target: NamespaceItem): readonly TargetColumn[] {
  if (nodes === undefined || nodes.length === 0)
    return target.fields.map((field) => ({ name: field.name, partly: false }));
  return nodes.map((node) => {
    const column = bodyIf(node, 'ResTarget');
    return { name: column?.name ?? '', partly: column?.indirection !== undefined };
  });
}

function assign(assigned: Assigned, column: TargetColumn | undefined, { sources, verbatim }: Stored): void {
  const { name, partly } = column ?? { name: '', partly: true };
  const stored = { sources, verbatim: verbatim && !partly };
  const before = assigned.get(name);
  if (before === undefined) assigned.set(name, [stored]);
  else before.push(stored);
}

function assignments(targets: readonly Node[] | undefined, scope: Scope, assigned: Assigned, run: Run): void {
  for (const node of targets ?? []) {
    const target = bodyIf(node, 'ResTarget');
    if (target?.name === undefined) throw new Unresolved('an assignment is not known');
    for (const step of target.indirection ?? []) {
      const index = bodyIf(step, 'A_Indices');
      for (const part of [index?.lidx, index?.uidx]) usePredicate(part, scope, run);
    }
    const column = { name: target.name, partly: target.indirection !== undefined };
    assign(assigned, column, assignedValue(target.val, scope, run));
  }
}

/** `(a, b) = (…)`: the part for this column where the right side is written out, else all of it. */
function assignedValue(value: Node | undefined, scope: Scope, run: Run): Stored {
  const several = bodyIf(value, 'MultiAssignRef');
  if (several === undefined) return storedValue(value, scope, run);
  const row = tagged(several.source);
  if (row?.kind !== 'RowExpr') return { sources: sourcesOf(several.source, scope, run), verbatim: false };
  return storedValue(row.body.args?.[(several.colno ?? 1) - 1], scope, run);
}

function storedValue(value: Node | undefined, scope: Scope, run: Run): Stored {
  const reference = bodyIf(value, 'ColumnRef');
  const found = reference === undefined ? undefined : resolveColumn(reference.fields ?? [], scope);
  return found?.kind === 'field' ? found.field : { sources: sourcesOf(value, scope, run), verbatim: false };
}

/** A verbatim copy of the column that it is stored in. */
function staysItself(own: Field, stored: Stored): boolean {
  return own.verbatim && stored.verbatim && [...stored.sources].every((key) => own.sources.has(key));
}

function store(target: NamespaceItem, assigned: Assigned, run: Run): void {
  for (const [name, values] of assigned) {
    const own = fieldNamed(target, name);
    for (const stored of values) if (!staysItself(own, stored)) addPredicates(run, stored.sources);
  }
}

function fieldNamed(item: NamespaceItem, name: string): Field {
  const field = item.fields.find((one) => one.name === name);
  if (field === undefined) throw new Unresolved(`column ${name} is not known`);
  return field;
}

/**
 * The target's row after the change: a column holds what was stored in it, or what was there before; a generated column
 * is computed from those.
 */
function returned(target: NamespaceItem, assigned: Assigned): NamespaceItem {
  const all = [...assigned].map(([name, values]) => ({ own: fieldNamed(target, name), values }));
  const fields = target.fields.map((field): Field => {
    const into = all.filter(({ own }) => [...own.sources].some((key) => field.sources.has(key)));
    const sources = union(field.sources, ...into.flatMap(({ values }) => values.map((stored) => stored.sources)));
    // A constant is nobody's value.
    const itself = into.every(({ own, values }) =>
      values.every((stored) => stored.sources.size === 0 || staysItself(own, stored)),
    );
    return { ...field, sources, verbatim: field.verbatim && itself, followsNulls: itself && field.followsNulls };
  });
  return { ...target, fields };
}

function returning(
  clause: ReturningClause | undefined,
  target: NamespaceItem,
  others: readonly NamespaceItem[],
  assigned: Assigned,
  scope: Scope,
  run: Run,
): readonly Field[] {
  if (clause === undefined) return [];
  const row = returned(target, assigned);
  const items: NamespaceItem[] = [row, ...others];
  const given = new Map(
    (clause.options ?? []).flatMap((node) => {
      const option = bodyIf(node, 'ReturningOption');
      return option?.option === undefined || option.value === undefined ? [] : [[option.option, option.value] as const];
    }),
  );
  for (const [option, standard] of [
    ['RETURNING_OPTION_OLD', 'old'],
    ['RETURNING_OPTION_NEW', 'new'],
  ] as const) {
    const name = given.get(option) ?? standard;
    // A relation of that name hides the standard one.
    if (given.has(option) || !items.some((item) => item.nameVisible && item.name === name)) {
      items.push({ ...row, name, relation: undefined, columnsVisible: false });
    }
  }
  return targetFields(clause.exprs, { ...scope, items }, run);
}
