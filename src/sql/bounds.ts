/** How many rows a statement can return at most, as its text proves, and whether it is one step of a paging loop. */
import type { A_Expr, ColumnRef, Node, SelectStmt } from 'libpg-query';
import { aggregateFunctions, collectingAggregates, knownFunctions, setReturningFunctions } from './functions.ts';
import { bodyIf, integerOf, isTree, stringOf, stringsOf, type Tree } from './tree.ts';

/** undefined = no bound is proven. Nor is one where a row that is returned may hold the values of many others. */
export function rowsAtMost(statement: Node): number | undefined {
  const rows = rowsReturned(statement);
  if (rows === undefined || rows === 0) return rows;
  return collects(statement) ? undefined : rows * rowsHeld(statement);
}

/**
 * Rows whose values one returned row can hold: one for each time that a relation is joined with itself, for each
 * subquery, and for each aggregate or window function that picks a value.
 */
function rowsHeld(statement: Node): number {
  const joined = Math.max(1, ...occurrences(statement).values());
  return joined + subqueries(statement) + Math.max(0, picks(statement) - 1);
}

/** How often each relation stands in FROM; scalar subqueries count for themselves. */
function occurrences(value: unknown): Map<string, number> {
  const counts = new Map<string, number>();
  const addAll = (inner: unknown, merge: (a: number, b: number) => number) => {
    for (const [name, count] of occurrences(inner)) counts.set(name, merge(counts.get(name) ?? 0, count));
  };
  const sum = (a: number, b: number) => a + b;
  if (Array.isArray(value)) for (const item of value) addAll(item, sum);
  if (!isTree(value)) return counts;
  const { RangeVar: relation, larg, rarg, limitOption } = value;
  if (isTree(relation)) counts.set(String(relation['relname']), 1);
  for (const [field, inner] of Object.entries(value)) {
    if (field !== 'SubLink' && field !== 'larg' && field !== 'rarg') addAll(inner, sum);
  }
  // Only a SELECT has a limit option: its sides are those of a UNION, and a row comes from one of them.
  for (const side of [larg, rarg]) addAll(side, limitOption === undefined ? sum : Math.max);
  return counts;
}

const picking = new Set(
  'min max mode percentile_disc percentile_cont any_value first_value last_value nth_value lag lead'.split(' '),
);
const notPicking = new Set(['count', 'bool_and', 'bool_or', 'every']);

/** Calls that return the value of one row: by their nature, or because a condition leaves them one. */
function picks(value: unknown): number {
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + picks(item), 0);
  if (!isTree(value)) return 0;
  return Object.entries(value).reduce((sum, [field, inner]) => {
    const picked = field === 'FuncCall' && isTree(inner) && picksHere(inner);
    return sum + (picked ? 1 : 0) + picks(inner);
  }, 0);
}

function picksHere(call: Tree): boolean {
  const name = stringsOf(call['funcname'] as Node[] | undefined).at(-1) ?? '';
  if (picking.has(name)) return true;
  if (!aggregateFunctions.has(name) || notPicking.has(name)) return false;
  const args = (call['args'] as Node[] | undefined) ?? [];
  return call['agg_filter'] !== undefined || args.some((arg) => bodyIf(arg, 'ColumnRef') === undefined);
}

/** Scalar subqueries, anywhere in the statement. */
function subqueries(value: unknown): number {
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + subqueries(item), 0);
  if (!isTree(value)) return 0;
  return Object.entries(value).reduce((sum, [field, inner]) => {
    const scalar = field === 'SubLink' && isTree(inner) && inner['subLinkType'] === 'EXPR_SUBLINK';
    return sum + (scalar ? 1 : 0) + subqueries(inner);
  }, 0);
}

/** Anywhere in the statement, also in subqueries and WITH queries: what is collected there can be returned here. */
function collects(value: unknown): boolean {
  if (Array.isArray(value)) return value.some((item) => collects(item));
  if (!isTree(value)) return false;
  return Object.entries(value).some(
    ([field, inner]) => (isTree(inner) && collectsHere(field, inner)) || collects(inner),
  );
}

function collectsHere(field: string, body: Tree): boolean {
  switch (field) {
    case 'FuncCall': {
      const name = stringsOf(body['funcname'] as Node[] | undefined).at(-1) ?? '';
      // With an array of fractions they return an array of values.
      if (/^percentile_(cont|disc)$/.test(name)) return bodyIf((body['args'] as Node[])[0], 'A_Const') === undefined;
      return collectingAggregates.has(name);
    }
    case 'A_Indirection':
      return stringsOf(body['indirection'] as Node[] | undefined).some((name) => collectingAggregates.has(name));
    case 'JsonArrayAgg':
    case 'JsonObjectAgg':
    case 'JsonArrayQueryConstructor':
      return true;
    case 'SubLink':
      return body['subLinkType'] === 'ARRAY_SUBLINK';
    // Each round can add one more row to a value.
    case 'withClause':
      return body['recursive'] === true;
    default:
      return false;
  }
}

function rowsReturned(statement: Node): number | undefined {
  const select = bodyIf(statement, 'SelectStmt');
  if (select !== undefined) return select.intoClause === undefined ? selectRows(select) : 0;
  const insert = bodyIf(statement, 'InsertStmt');
  if (insert !== undefined) {
    if (insert.returningClause === undefined) return 0;
    return insert.selectStmt === undefined ? 1 : rowsReturned(insert.selectStmt);
  }
  const returning =
    bodyIf(statement, 'UpdateStmt') ?? bodyIf(statement, 'DeleteStmt') ?? bodyIf(statement, 'MergeStmt');
  return returning !== undefined && returning.returningClause === undefined ? 0 : undefined;
}

function selectRows(select: SelectStmt): number | undefined {
  const rows = rowsBeforeLimit(select);
  const limit = limitOf(select);
  if (rows === undefined || limit === undefined) return rows ?? limit;
  return Math.min(rows, limit);
}

function limitOf(select: SelectStmt): number | undefined {
  if (select.limitOption === 'LIMIT_OPTION_WITH_TIES') return undefined;
  const limit = integerOf(select.limitCount);
  return limit === undefined || limit < 0 ? undefined : limit;
}

function rowsBeforeLimit(select: SelectStmt): number | undefined {
  if (select.larg !== undefined && select.rarg !== undefined) {
    const left = selectRows(select.larg);
    const right = selectRows(select.rarg);
    if (select.op === 'SETOP_EXCEPT') return left;
    if (select.op === 'SETOP_INTERSECT')
      return left === undefined || right === undefined ? (left ?? right) : Math.min(left, right);
    return left === undefined || right === undefined ? undefined : left + right;
  }
  if (select.valuesLists !== undefined) return valuesCannotMultiply(select) ? select.valuesLists.length : undefined;
  if (select.groupClause !== undefined) return undefined;
  // A set-returning function multiplies rows from the select list, and from ORDER BY and DISTINCT ON too.
  const calls: Calls = { aggregate: false, multiplies: false };
  for (const part of [select.targetList, select.sortClause, select.distinctClause, select.havingClause])
    look(part, calls);
  if (calls.multiplies) return undefined;
  return select.fromClause === undefined || calls.aggregate || select.havingClause !== undefined ? 1 : undefined;
}

function valuesCannotMultiply(select: SelectStmt): boolean {
  const calls: Calls = { aggregate: false, multiplies: false };
  look(select.valuesLists, calls);
  look(select.sortClause, calls);
  return !calls.multiplies;
}

interface Calls {
  aggregate: boolean;
  multiplies: boolean;
}

/** Calls of this query level: what stands in a subquery counts there. */
function look(value: unknown, calls: Calls): void {
  if (Array.isArray(value)) {
    for (const item of value) look(item, calls);
    return;
  }
  if (!isTree(value)) return;
  for (const [field, inner] of Object.entries(value)) {
    if (field === 'SubLink') {
      if (isTree(inner)) look(inner['testexpr'], calls);
      continue;
    }
    if (field === 'FuncCall' && isTree(inner)) lookAtCall(inner, calls);
    // `(x).f` may be f(x).
    if (field === 'A_Indirection' && isTree(inner)) {
      const names = stringsOf(inner['indirection'] as Node[] | undefined);
      if (names.some((name) => setReturningFunctions.has(name) || !knownFunctions.has(name))) calls.multiplies = true;
    }
    if (/^Json(Object|Array)Agg$/.test(field) && isTree(inner)) {
      const constructor = inner['constructor'];
      if (!isTree(constructor) || constructor['over'] === undefined) calls.aggregate = true;
    }
    look(inner, calls);
  }
}

function lookAtCall(call: Tree, calls: Calls): void {
  const name = stringsOf(call['funcname'] as Node[] | undefined).at(-1) ?? '';
  if (setReturningFunctions.has(name) || !knownFunctions.has(name)) calls.multiplies = true;
  if (aggregateFunctions.has(name) && call['over'] === undefined) calls.aggregate = true;
}

/** OFFSET, a LIMIT that is no constant, or "the next n after this key". For one SELECT; the caller asks for each. */
export function isPagingSelect(select: SelectStmt): boolean {
  const offset = bodyIf(select.limitOffset, 'A_Const');
  if (select.limitOffset !== undefined && offset?.isnull !== true && integerOf(select.limitOffset) !== 0) return true;
  const limit = bodyIf(select.limitCount, 'A_Const');
  if (select.limitCount === undefined || limit?.isnull === true) return false;
  if (integerOf(select.limitCount) === undefined) return true;
  return isKeysetStep(select);
}

/** `ctid` compared with anything walks the table by its pages. */
export function comparesRowAddress(expression: A_Expr): boolean {
  return [expression.lexpr, expression.rexpr].some((side) => columnName(bodyIf(side, 'ColumnRef')) === 'ctid');
}

const rangeOperators = new Set(['<', '<=', '>', '>=', 'BETWEEN', 'BETWEEN SYMMETRIC']);

function isKeysetStep(select: SelectStmt): boolean {
  const keys = new Set<string>();
  for (const sort of select.sortClause ?? []) {
    const node = bodyIf(sort, 'SortBy')?.node;
    const name = columnName(bodyIf(node, 'ColumnRef'));
    if (name !== undefined) keys.add(name);
    const target = bodyIf(select.targetList?.[(integerOf(node) ?? 0) - 1], 'ResTarget');
    const ordinal = columnName(bodyIf(target?.val, 'ColumnRef'));
    if (ordinal !== undefined) keys.add(ordinal);
  }
  // ORDER BY may name an alias of the select list.
  for (const target of select.targetList ?? []) {
    const { name, val } = bodyIf(target, 'ResTarget') ?? {};
    const column = columnName(bodyIf(val, 'ColumnRef'));
    if (name !== undefined && column !== undefined && keys.has(name)) keys.add(column);
  }
  return keys.size > 0 && comparesKey(select.whereClause, keys);
}

function comparesKey(node: Node | undefined, keys: ReadonlySet<string>): boolean {
  const bool = bodyIf(node, 'BoolExpr');
  if (bool !== undefined) return (bool.args ?? []).some((arg) => comparesKey(arg, keys));
  const expression = bodyIf(node, 'A_Expr');
  if (expression === undefined || !rangeOperators.has(stringsOf(expression.name).at(-1) ?? '')) return false;
  return [expression.lexpr, expression.rexpr].some((side) => {
    const columns = bodyIf(side, 'RowExpr')?.args ?? [side];
    return columns.some((column) => keys.has(columnName(bodyIf(column, 'ColumnRef')) ?? ''));
  });
}

function columnName(reference: ColumnRef | undefined): string | undefined {
  return stringOf(reference?.fields?.at(-1));
}
