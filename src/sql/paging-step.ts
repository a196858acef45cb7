/**
 * One statement as a possible step of a paging loop: what stays the same from step to step (the base) and what moves
 * (OFFSET, bounds of ranges, remainders, row addresses, a cursor's position). Purely syntax.
 */
import type { A_Expr, BoolExpr, DeclareCursorStmt, Node, RangeVar, SelectStmt } from 'libpg-query';
import type { ParsedStatement } from './parse.ts';
import { bodyIf, constantText, integerOf, isTree, stringOf, stringsOf, tagged } from './tree.ts';

export interface RelationName {
  readonly schema: string | undefined;
  readonly name: string;
}

/** A constant of a bound. `unknown`: a parameter, or a constant that is not worked out; `text` tells it from others. */
export type BoundValue =
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'unknown'; readonly text: string; readonly parameter: boolean };

/** A part of WHERE that may move. */
export interface Bound {
  /** `lower` and `upper` are the sides of a range, `set` a list of row addresses, `slice` the remainder of a division. */
  readonly side: 'lower' | 'upper' | 'set' | 'slice';
  /** Tells what is bounded: the same expression has the same one. */
  readonly expression: string;
  /** Names of the columns in it. */
  readonly columns: readonly string[];
  /** Alias or table by which its first column is qualified. */
  readonly qualifier: string | undefined;
  /** It is nothing but columns. */
  readonly plain: boolean;
  readonly values: readonly BoundValue[];
}

export interface SelectStep {
  readonly kind: 'select';
  readonly statement: ParsedStatement;
  readonly top: SelectStmt;
  readonly paged: SelectStmt;
  /** Equal for two statements that differ in nothing but what may move. */
  readonly base: string;
  /** Subqueries in FROM that had to be entered to find what is paged. */
  readonly depth: number;
  readonly offset: BoundValue | undefined;
  readonly limited: boolean;
  /** Of LIMIT, where it is a number. */
  readonly pageSize: number | undefined;
  readonly bounds: readonly Bound[];
  /** Expressions of ORDER BY, as `Bound.expression` has them. */
  readonly order: readonly string[];
  /** The leading plain columns of ORDER BY. */
  readonly orderColumns: readonly string[];
  /** Names of the output columns as far as the text tells them; `*` stands for itself. */
  readonly columns: readonly string[];
  readonly relations: readonly (RelationName & { readonly alias: string | undefined })[];
  /** ORDER BY decides what DISTINCT ON keeps. */
  readonly keepsOrder: boolean;
}

export type Step =
  | SelectStep
  | { readonly kind: 'declare'; readonly cursor: string; readonly query: SelectStep }
  | { readonly kind: 'fetch'; readonly cursor: string; readonly pageSize: number | undefined };

/** undefined for what is no step of any loop. */
export function readStep(statement: ParsedStatement): Step | undefined {
  const { tree } = statement;
  const select = bodyIf(tree, 'SelectStmt');
  if (select !== undefined) return selectStep(statement, select);
  const declare = bodyIf(tree, 'DeclareCursorStmt');
  if (declare !== undefined) return declaration(statement, declare);
  const fetch = bodyIf(tree, 'FetchStmt');
  if (fetch?.portalname === undefined || fetch.ismove === true) return undefined;
  const howMany = Number(fetch.howMany ?? 0);
  const isPage = fetch.direction === 'FETCH_FORWARD' && howMany > 0 && howMany < everything;
  return { kind: 'fetch', cursor: fetch.portalname, pageSize: isPage ? howMany : undefined };
}

/** How the tree writes FETCH ALL. */
const everything = 2_147_483_647;

function declaration(statement: ParsedStatement, body: DeclareCursorStmt): Step | undefined {
  const select = bodyIf(body.query, 'SelectStmt');
  if (select === undefined || body.portalname === undefined) return undefined;
  return { kind: 'declare', cursor: body.portalname, query: selectStep(statement, select) };
}

function selectStep(statement: ParsedStatement, top: SelectStmt): SelectStep {
  const { select, depth } = pagedLevel(top);
  const conditions = conditionsOf(select.whereClause);
  const read = conditions.map((condition) => boundsOf(condition));
  const kept = conditions.filter((_, index) => read[index] === undefined);
  const limited = select.limitCount !== undefined && bodyIf(select.limitCount, 'A_Const')?.isnull !== true;
  const pageSize = select.limitCount === undefined ? undefined : valueOf(select.limitCount);
  const sortNodes = (select.sortClause ?? []).map((sort) => resolveSort(bodyIf(sort, 'SortBy')?.node, select));
  const plainSorts = sortNodes.map((node) => columnPath(node)?.at(-1));
  const firstOther = plainSorts.indexOf(undefined);
  return {
    kind: 'select',
    statement,
    top,
    paged: select,
    base: baseOf(top, select, kept, false),
    depth,
    offset: select.limitOffset === undefined ? undefined : valueOf(select.limitOffset),
    limited,
    pageSize: pageSize?.kind === 'number' ? pageSize.value : undefined,
    bounds: read.flatMap((bounds) => bounds ?? []),
    order: sortNodes.map((node) => expressionKey(node)),
    orderColumns: plainSorts.slice(0, firstOther === -1 ? undefined : firstOther).flatMap((name) => name ?? []),
    columns: (select.targetList ?? []).map((target) => outputName(target)),
    relations: (select.fromClause ?? []).flatMap((item) => relationsOf(item)),
    keepsOrder: select.distinctClause !== undefined,
  };
}

/** A SELECT that only wraps another one is looked through. */
function pagedLevel(top: SelectStmt): { readonly select: SelectStmt; readonly depth: number } {
  let select = top;
  for (let depth = 0; ; depth++) {
    const [item, ...others] = select.fromClause ?? [];
    const inner = bodyIf(bodyIf(item, 'RangeSubselect')?.subquery, 'SelectStmt');
    const pages =
      select.limitCount !== undefined ||
      select.limitOffset !== undefined ||
      conditionsOf(select.whereClause).some((condition) => boundsOf(condition) !== undefined);
    if (inner === undefined || others.length > 0 || pages || depth === 8) return { select, depth };
    select = inner;
  }
}

export function conditionsOf(where: Node | undefined): readonly Node[] {
  if (where === undefined) return [];
  const all = bodyIf(where, 'BoolExpr');
  return all?.boolop === 'AND_EXPR' ? (all.args ?? []).flatMap((arg) => conditionsOf(arg)) : [where];
}

// ---- bounds ----

const sides: ReadonlyMap<string, 'lower' | 'upper'> = new Map([
  ['>', 'lower'],
  ['>=', 'lower'],
  ['<', 'upper'],
  ['<=', 'upper'],
]);

/** The bounds that one condition sets; undefined = none that could move. */
function boundsOf(condition: Node): readonly Bound[] | undefined {
  const expression = bodyIf(condition, 'A_Expr');
  if (expression !== undefined) return expressionBounds(expression);
  const either = bodyIf(condition, 'BoolExpr');
  return either?.boolop === 'OR_EXPR' ? one(spelledOutBound(either)) : undefined;
}

function expressionBounds(body: A_Expr): readonly Bound[] | undefined {
  const operator = stringsOf(body.name).at(-1) ?? '';
  const { lexpr, rexpr } = body;
  if (body.kind === 'AEXPR_BETWEEN' || body.kind === 'AEXPR_BETWEEN_SYM') {
    const [low, high] = (bodyIf(rexpr, 'List')?.items ?? []).map((item) => valuesOf(item));
    if (low === undefined || high === undefined) return undefined;
    const [lower, upper] = [bound('lower', lexpr, low), bound('upper', lexpr, high)];
    return lower === undefined || upper === undefined ? undefined : [lower, upper];
  }
  if (body.kind === 'AEXPR_IN' || body.kind === 'AEXPR_OP_ANY') return one(addresses(lexpr, rexpr));
  if (body.kind !== 'AEXPR_OP') return undefined;
  if (operator === '=') return one(slice(lexpr, rexpr) ?? slice(rexpr, lexpr) ?? addresses(lexpr, rexpr));
  const side = sides.get(operator);
  if (side === undefined) return undefined;
  const right = valuesOf(rexpr);
  if (right !== undefined) return one(bound(side, lexpr, right));
  const left = valuesOf(lexpr);
  return left === undefined ? undefined : one(bound(side === 'lower' ? 'upper' : 'lower', rexpr, left));
}

function one(found: Bound | undefined): readonly Bound[] | undefined {
  return found === undefined ? undefined : [found];
}

function bound(side: Bound['side'], node: Node | undefined, values: readonly BoundValue[]): Bound | undefined {
  if (node === undefined) return undefined;
  const paths = columnPaths(node);
  const [first] = paths;
  if (first === undefined || hasSubquery(node)) return undefined;
  const parts = bodyIf(node, 'RowExpr')?.args ?? [node];
  return {
    side,
    expression: parts.map((part) => expressionKey(part)).join(),
    columns: [...new Set(paths.map((path) => path.at(-1) ?? ''))],
    qualifier: first.at(-2),
    plain: parts.every((part) => columnPath(part) !== undefined),
    values,
  };
}

/** `id % 10 = 3`, `mod(id, 10) = 3`, `id & 7 = 3`. */
function slice(division: Node | undefined, remainder: Node | undefined): Bound | undefined {
  const values = valuesOf(remainder);
  if (values === undefined) return undefined;
  const operation = bodyIf(division, 'A_Expr');
  const call = bodyIf(division, 'FuncCall');
  const [dividend, divisor] =
    operation?.kind === 'AEXPR_OP' && /^[%&]$/.test(stringsOf(operation.name).at(-1) ?? '')
      ? [operation.lexpr, operation.rexpr]
      : stringsOf(call?.funcname).at(-1) === 'mod'
        ? (call?.args ?? [])
        : [];
  if (dividend === undefined || valuesOf(divisor) === undefined) return undefined;
  const found = bound('slice', dividend, values);
  return found && { ...found, expression: expressionKey(division), plain: false };
}

/** `ctid = …`, `ctid in (…)`, `ctid = any (…)` */
function addresses(column: Node | undefined, list: Node | undefined): Bound | undefined {
  if (columnPath(column)?.at(-1) !== 'ctid' || list === undefined || columnPaths(list).length > 0) return undefined;
  const text = fingerprint(list);
  return bound('set', column, [{ kind: 'unknown', text, parameter: text.includes('ParamRef') }]);
}

/** `a > 1 or (a = 1 and b > 5)`, which is `(a, b) > (1, 5)` spelled out. */
function spelledOutBound(either: BoolExpr): Bound | undefined {
  const compared: { readonly name: string; readonly operator: string; readonly value: BoundValue }[] = [];
  const paths: (readonly string[])[] = [];
  for (const branch of either.args ?? []) {
    for (const condition of conditionsOf(branch)) {
      const body = bodyIf(condition, 'A_Expr');
      const path = columnPath(body?.lexpr);
      const values = valuesOf(body?.rexpr);
      const [value] = values ?? [];
      if (body?.kind !== 'AEXPR_OP' || path === undefined || value === undefined || values?.length !== 1)
        return undefined;
      compared.push({ name: path.at(-1) ?? '', operator: stringsOf(body.name).at(-1) ?? '', value });
      paths.push(path);
    }
  }
  const ranges = compared.filter(({ operator }) => sides.has(operator));
  const side = sides.get(ranges[0]?.operator ?? '');
  const columns = [...new Set(ranges.map(({ name }) => name))];
  const known = compared.every(
    ({ operator, name }) => sides.get(operator) === side || (operator === '=' && columns.includes(name)),
  );
  if (side === undefined || columns.length < 2 || !known) return undefined;
  const values = columns
    .map((column) => ranges.find(({ name }) => name === column)?.value)
    .filter((value) => value !== undefined);
  return { side, expression: columns.join(), columns, qualifier: paths[0]?.at(-2), plain: true, values };
}

// ---- constants ----

/** The constants of one side; undefined where it is no constant. */
function valuesOf(node: Node | undefined): readonly BoundValue[] | undefined {
  const parts = bodyIf(node, 'RowExpr')?.args;
  if (parts !== undefined) {
    const values = parts.map((part) => valueOf(part)).filter((value) => value !== undefined);
    return values.length === parts.length ? values : undefined;
  }
  const value = valueOf(node);
  return value === undefined ? undefined : [value];
}

function valueOf(node: Node | undefined): BoundValue | undefined {
  if (node === undefined) return undefined;
  const constant = bodyIf(node, 'A_Const');
  if (constant !== undefined) {
    const text = constantText(constant);
    if (text === undefined) return undefined;
    if (constant.sval === undefined || /^-?\d{1,15}$/.test(text)) return { kind: 'number', value: Number(text) };
    return { kind: 'text', value: text };
  }
  const cast = bodyIf(node, 'TypeCast');
  if (cast !== undefined) return valueOf(cast.arg);
  if (!isConstant(node)) return undefined;
  return arithmetic(node) ?? { kind: 'unknown', text: fingerprint(node), parameter: some(node, 'ParamRef') };
}

/** Nothing in it depends on a row or on anything that is called. */
function isConstant(node: Node): boolean {
  const expression = tagged(node);
  if (expression?.kind === 'A_Const' || expression?.kind === 'ParamRef') return true;
  if (expression?.kind === 'TypeCast') return expression.body.arg !== undefined && isConstant(expression.body.arg);
  if (expression?.kind !== 'A_Expr' || expression.body.rexpr === undefined) return false;
  const { lexpr, rexpr } = expression.body;
  return (lexpr === undefined || isConstant(lexpr)) && isConstant(rexpr);
}

function arithmetic(node: Node): BoundValue | undefined {
  const body = bodyIf(node, 'A_Expr');
  const [left, right] = [valueOf(body?.lexpr), valueOf(body?.rexpr)];
  if (left?.kind !== 'number' || right?.kind !== 'number') return undefined;
  const results: Readonly<Record<string, number>> = {
    '+': left.value + right.value,
    '-': left.value - right.value,
    '*': left.value * right.value,
  };
  const value = results[stringsOf(body?.name).at(-1) ?? ''];
  return value === undefined ? undefined : { kind: 'number', value };
}

// ---- names ----

export function columnPath(node: Node | undefined): readonly string[] | undefined {
  const fields = bodyIf(node, 'ColumnRef')?.fields;
  if (fields === undefined) return undefined;
  const path = stringsOf(fields);
  return path.length === fields.length ? path : undefined;
}

/** A column by its last name: `t.id` and `id` are the same; anything else by its tree. */
function expressionKey(node: Node | undefined): string {
  if (node === undefined) return '';
  return columnPath(node)?.at(-1) ?? fingerprint(node);
}

function columnPaths(value: unknown): (readonly string[])[] {
  if (Array.isArray(value)) return value.flatMap((item) => columnPaths(item));
  if (!isTree(value)) return [];
  const path = columnPath(value as unknown as Node);
  return path === undefined ? Object.values(value).flatMap((inner) => columnPaths(inner)) : [path];
}

function hasSubquery(node: Node): boolean {
  return some(node, 'SubLink');
}

function some(value: unknown, kind: string): boolean {
  if (Array.isArray(value)) return value.some((item) => some(item, kind));
  return isTree(value) && (kind in value || Object.values(value).some((inner) => some(inner, kind)));
}

/** ORDER BY may name an output by its position or its alias. */
function resolveSort(node: Node | undefined, select: SelectStmt): Node | undefined {
  const position = integerOf(node);
  const targets = (select.targetList ?? []).map((target) => bodyIf(target, 'ResTarget'));
  if (position !== undefined) return targets[position - 1]?.val ?? node;
  const path = columnPath(node);
  if (path?.length !== 1) return node;
  return targets.find((target) => target?.name === path[0])?.val ?? node;
}

function outputName(target: Node): string {
  const body = bodyIf(target, 'ResTarget');
  if (body?.name !== undefined) return body.name;
  const fields = bodyIf(body?.val, 'ColumnRef')?.fields ?? [];
  if (bodyIf(fields.at(-1), 'A_Star') !== undefined) return '*';
  return stringOf(fields.at(-1)) ?? stringsOf(bodyIf(body?.val, 'FuncCall')?.funcname).at(-1) ?? '?column?';
}

function relationsOf(item: Node): SelectStep['relations'] {
  const found = tagged(item);
  if (found?.kind === 'RangeVar') return [nameOf(found.body)];
  if (found?.kind === 'JoinExpr')
    return [found.body.larg, found.body.rarg].flatMap((side) => (side ? relationsOf(side) : []));
  const inner = found?.kind === 'RangeSubselect' ? bodyIf(found.body.subquery, 'SelectStmt') : undefined;
  return (inner?.fromClause ?? []).flatMap((from) => relationsOf(from));
}

function nameOf({ schemaname, relname = '', alias }: RangeVar) {
  return { schema: schemaname, name: relname, alias: alias?.aliasname };
}

// ---- what stays ----

/** The statement's tree without its paging parts, as the parser would give it. */
function baseOf(top: SelectStmt, paged: SelectStmt, kept: readonly Node[], withoutOrder: boolean): string {
  const { limitCount: _count, limitOffset: _offset, whereClause: _where, sortClause, ...rest } = paged;
  const where = kept.length > 1 ? { BoolExpr: { boolop: 'AND_EXPR', args: kept } } : kept[0];
  const order = withoutOrder ? undefined : sortClause;
  const base = { ...rest, limitOption: 'LIMIT_OPTION_DEFAULT', whereClause: where, sortClause: order };
  return fingerprint(top, (value) => (value === paged ? base : value));
}

export interface StayingPart {
  /** What the text without its paging parts must parse to. */
  readonly tree: string;
  /** One flag for each AND-ed condition of the paged WHERE: does it stay? */
  readonly conditions: readonly boolean[];
}

/** The statement without LIMIT, OFFSET, ORDER BY and the bounds that moved: the rows of all steps together. */
export function stayingPart({ top, paged, keepsOrder }: SelectStep, moved: Bound | undefined): StayingPart {
  const all = conditionsOf(paged.whereClause);
  const subject = moved && subjectOf(moved);
  const conditions = all.map((one) => !(boundsOf(one) ?? []).some((bound) => subjectOf(bound) === subject));
  const kept = all.filter((_, index) => conditions[index]);
  return { tree: baseOf(top, paged, kept, !keepsOrder), conditions };
}

/** What a bound is about: both sides of a range are about the same. */
export function subjectOf({ side, expression }: Bound): string {
  return `${side === 'slice' || side === 'set' ? side : 'range'} ${expression}`;
}

/** Where things stand in a text. */
const places = new Set([
  'location',
  'list_start',
  'list_end',
  'rexpr_list_start',
  'rexpr_list_end',
  'stmt_location',
  'stmt_len',
]);

/** The tree as a text, without places; `change` may put another node in the place of one. */
export function fingerprint(tree: unknown, change: (value: unknown) => unknown = (value) => value): string {
  const strip = (raw: unknown): unknown => {
    const value = change(raw);
    if (Array.isArray(value)) return value.map(strip);
    if (!isTree(value)) return value;
    const fields = Object.keys(value).filter((field) => !places.has(field) && value[field] !== undefined);
    return fields.toSorted().map((field) => [field, strip(value[field])]);
  };
  return JSON.stringify(strip(tree)) ?? '';
}
