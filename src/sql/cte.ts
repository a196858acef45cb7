/** WITH queries: looked at when first referred to, once; a recursive one until nothing is added any more. */
import type { CommonTableExpr, Node, SelectStmt, WithClause } from 'libpg-query';
import { addPredicates, type Run } from './expressions.ts';
import { union, unionOf, Unresolved, type CteBinding, type CteScope, type Field, type Scope } from './scope.ts';
import { bodyIf, stringsOf } from './tree.ts';
import { isLong, lengthOfField } from './value-length.ts';

/** Each round adds at least one source to one column; real queries need two or three. */
const maxRounds = 50;
/** A name is looked for from the last to the first. */
const maxCtes = 300;

/** The scope that the statement with this WITH clause sees. `scope.items` must be empty: CTEs see outer levels only. */
export function withCtes(clause: WithClause | undefined, scope: Scope): Scope {
  if (clause === undefined) return scope;
  const queries = (clause.ctes ?? []).flatMap(
    (node): CommonTableExpr | CommonTableExpr[] => bodyIf(node, 'CommonTableExpr') ?? [],
  );
  if (queries.length > maxCtes) throw new Unresolved(`a WITH clause has more than ${maxCtes} queries`);
  if (clause.recursive === true) {
    const bindings = new Map<string, CteBinding>();
    const inner: Scope = { ...scope, ctes: { bindings, outer: scope.ctes } };
    for (const query of queries) bindings.set(query.ctename ?? '', binding(query, true, inner));
    return inner;
  }
  let ctes: CteScope | undefined = scope.ctes;
  for (const query of queries) {
    ctes = { bindings: new Map([[query.ctename ?? '', binding(query, false, { ...scope, ctes })]]), outer: ctes };
  }
  return { ...scope, ctes };
}

/** Also those that nothing refers to: a data-modifying one runs, and predicates count anywhere. */
export function finishCtes(inner: Scope, outer: Scope, run: Run): void {
  for (let ctes = inner.ctes; ctes !== undefined && ctes !== outer.ctes; ctes = ctes.outer) {
    for (const one of ctes.bindings.values()) cteFields(one, run);
  }
}

function binding(query: CommonTableExpr, recursive: boolean, scope: Scope): CteBinding {
  return { query, recursive, scope, state: 'pending', fields: undefined };
}

export function cteFields(cte: CteBinding, run: Run): readonly Field[] {
  const name = cte.query.ctename ?? '';
  if (cte.state === 'active') {
    if (cte.fields === undefined)
      throw new Unresolved(`the WITH query ${name} refers to itself in a way that is not known`);
    return cte.fields;
  }
  if (cte.state === 'done' && cte.fields !== undefined) return cte.fields;
  cte.state = 'active';
  const { ctequery } = cte.query;
  if (ctequery === undefined) throw new Unresolved(`the WITH query ${name} is empty`);
  const select = bodyIf(ctequery, 'SelectStmt');
  const fields =
    cte.recursive && select?.larg !== undefined && select.op === 'SETOP_UNION'
      ? fixpoint(cte, ctequery, select, run)
      : named(run.query(ctequery, cte.scope), cte.query);
  cte.fields = [...fields, ...searchAndCycle(cte.query, fields, run)];
  cte.state = 'done';
  return cte.fields;
}

/** The recursive reference starts with the columns of the first branch and takes on what the second adds. */
function fixpoint(cte: CteBinding, query: Node, select: SelectStmt, run: Run): readonly Field[] {
  const scope = withCtes(select.withClause, cte.scope);
  let fields = named(run.query({ SelectStmt: select.larg ?? {} }, scope), cte.query);
  for (let round = 0; round < maxRounds; round++) {
    cte.fields = fields.map((field) => recursive(field));
    const next = named(run.query(query, cte.scope), cte.query);
    const grown = next.map((field, index) => ({
      ...field,
      sources: union(field.sources, fields[index]?.sources ?? new Set()),
      length: recursive(field).length,
    }));
    const isSettled = (field: Field, before: Field | undefined) =>
      before !== undefined && field.sources.size === before.sources.size && field.length === recursive(before).length;
    if (grown.every((field, index) => isSettled(field, fields[index]))) return grown;
    fields = grown;
  }
  throw new Unresolved(`the recursive query ${cte.query.ctename ?? ''} is too deep`);
}

/** A round may make a value longer, and there are as many as somebody wants. */
function recursive(field: Field): Field {
  return { ...field, verbatim: false, followsNulls: false, length: lengthOfField(field) | isLong };
}

function named(fields: readonly Field[], query: CommonTableExpr): readonly Field[] {
  const names = stringsOf(query.aliascolnames);
  if (names.length > fields.length) throw new Unresolved(`${query.ctename ?? ''} has more column names than columns`);
  return names.length === 0 ? fields : fields.map((field, index) => ({ ...field, name: names[index] ?? field.name }));
}

function searchAndCycle(query: CommonTableExpr, fields: readonly Field[], run: Run): Field[] {
  const sources = unionOf(fields.map((field) => field.sources));
  const added: (string | undefined)[] = [];
  if (query.search_clause !== undefined) added.push(query.search_clause.search_seq_column);
  if (query.cycle_clause !== undefined)
    added.push(query.cycle_clause.cycle_mark_column, query.cycle_clause.cycle_path_column);
  if (added.length > 0) addPredicates(run, sources);
  return added.map((name) => ({ name: name ?? '', sources, verbatim: false }));
}
