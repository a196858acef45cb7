/**
 * The one test of a column's values that a masking rule can allow: `column = constant`, or `column IN (constants)`, as a
 * term of its own in the WHERE of the outermost SELECT. One such term tells of the values that it writes out and of no
 * other. Whatever tests more than it writes out (a subquery, an array, a row of another relation, OR, NOT) is none.
 */
import type { A_Expr, Node, SelectStmt } from 'libpg-query';
import { usePredicate, type Run } from './expressions.ts';
import { resolveColumn, splitKey, type Scope } from './scope.ts';
import { bodyIf, stringsOf } from './tree.ts';
import { typeNamed } from './value-type.ts';

/** The WHERE of a SELECT, term by term where it is the outermost one. */
export function useWhere(select: SelectStmt, scope: Scope, run: Run): void {
  if (select !== run.outermost) return usePredicate(select.whereClause, scope, run);
  for (const term of terms(select.whereClause)) {
    const test = equalityOf(term, scope, run);
    if (test === undefined) usePredicate(term, scope, run);
    else run.equalities.set(test.key, (run.equalities.get(test.key) ?? 0) + test.values);
  }
}

function terms(node: Node | undefined): readonly Node[] {
  if (node === undefined) return [];
  const and = bodyIf(node, 'BoolExpr');
  return and?.boolop === 'AND_EXPR' ? (and.args ?? []).flatMap((arg) => terms(arg)) : [node];
}

function equalityOf(term: Node, scope: Scope, run: Run): { readonly key: number; readonly values: number } | undefined {
  const test = bodyIf(term, 'A_Expr');
  if (test === undefined || stringsOf(test.name).join('.') !== '=') return undefined;
  const [column, constants] = sides(test);
  const key = baseColumn(column, scope, run);
  if (key === undefined || constants.length === 0 || !constants.every((one) => isConstant(one))) return undefined;
  return { key, values: constants.length };
}

function sides({ kind, lexpr, rexpr }: A_Expr): readonly [Node | undefined, readonly Node[]] {
  if (kind === 'AEXPR_IN') return [lexpr, bodyIf(rexpr, 'List')?.items ?? []];
  if (kind !== 'AEXPR_OP' || lexpr === undefined || rexpr === undefined) return [undefined, []];
  return bodyIf(lexpr, 'ColumnRef') === undefined ? [rexpr, [lexpr]] : [lexpr, [rexpr]];
}

/** A column of a table that stands in FROM itself: not through a view, a subquery or a merged join. */
function baseColumn(node: Node | undefined, scope: Scope, run: Run): number | undefined {
  const reference = bodyIf(node, 'ColumnRef');
  if (reference === undefined) return undefined;
  const found = resolveColumn(reference.fields ?? [], scope);
  if (found.kind !== 'field' || !found.field.verbatim) return undefined;
  const { field } = found;
  if (!scope.items.some((item) => item.systemColumns && item.fields.includes(field))) return undefined;
  const [key, ...more] = field.sources;
  if (key === undefined || more.length > 0) return undefined;
  const kind = run.catalogue.relationByOid(splitKey(key).relationOid)?.kind;
  return kind === 'table' || kind === 'partitioned-table' ? key : undefined;
}

/** NULL is equal to nothing. A parameter is one value each time; one that is an array is equal to no element. */
function isConstant(node: Node): boolean {
  const cast = bodyIf(node, 'TypeCast');
  if (cast !== undefined) {
    const type = typeNamed(cast.typeName);
    return type !== undefined && !type.endsWith('[]') && cast.arg !== undefined && isPlainConstant(cast.arg);
  }
  return isPlainConstant(node);
}

function isPlainConstant(node: Node): boolean {
  const constant = bodyIf(node, 'A_Const');
  return constant === undefined ? bodyIf(node, 'ParamRef') !== undefined : constant.isnull !== true;
}
