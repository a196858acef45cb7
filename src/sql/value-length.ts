/**
 * How long a value can become. The output of a masked value is masked, but a value or a row beyond PostgreSQL's limit of
 * 1 GiB fails: where a value is made long and is also cut or chosen by what a column holds, that answers a guess
 * (`split_part(token || padding, guess, 1)`). So the two do not go together: not in one value, and not in one statement
 * where the padding may be anywhere in the row.
 */
import type { A_Expr, FuncCall, Node, TypeCast } from 'libpg-query';
import type { Run } from './expressions.ts';
import { aggregateFunctions, collectingAggregates } from './functions.ts';
import { resolveColumn, type Field, type Scope } from './scope.ts';
import { bodyIf, constantText, integerOf, kindSet, stringsOf, taggedAs } from './tree.ts';
import { nameOf, typeOfValue } from './value-type.ts';

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

/** Flags. */
export type Length = number;
/** It may be as long as somebody wants: several values, a parameter, a long constant are in it. */
export const isLong = 1;
/** It depends on what a column holds, beyond the length of that. */
export const isChosen = 2;
/** A column is in it. */
const hasColumn = 4;
/** What is stored is as long as it is, whatever is guessed. */
export const lengthOfStored: Length = hasColumn;
/** Something was put around it, or beside it, once. Each time more may double it. */
const isWrapped = 8;

/** In one expression, or over all of a statement. */
export function answersGuesses(length: Length): boolean {
  return (length & isLong) !== 0 && (length & isChosen) !== 0;
}

/** What of a statement's sizes is gathered while its expressions are looked at. */
export interface Sizes {
  /** Something in it can make a value of any length. */
  grows: boolean;
  /** Columns of which a value has a length that depends on what they hold. */
  readonly chosen: Set<number>;
}

/** Characters of a constant that makes nothing long, and of a padding. */
const maxShort = 100;
const maxPadding = 1_000;
/** So many values, and so many long ones in a row, are within the limit together where a client's message brings them. */
const maxTogether = 16;
/** A number may have 147,455 digits. */
const maxNumbers = 1_000;

/** Numbers, times and digests. */
const small = words(`char_length character_length octet_length bit_length length ascii count row_number rank dense_rank
  percent_rank cume_dist array_length cardinality num_nulls num_nonnulls date_part date_trunc extract now age md5 sha224
  sha256 sha384 sha512 bool_and bool_or every sum avg pg_typeof json_typeof jsonb_typeof floor ceil ceiling abs sign
  gen_random_uuid random current_database clock_timestamp statement_timestamp transaction_timestamp make_date to_date
  strpos position`);

/** About as long as the longest of their arguments. */
const keeping = words(`upper lower initcap left right reverse substr any_value first_value last_value lag lead nth_value
  text name varchar bpchar json_extract_path json_extract_path_text jsonb_extract_path jsonb_extract_path_text
  round trunc substring unnest`);

/** They cut what they find, or put something before it. */
const cutting = words(`split_part translate trim btrim ltrim rtrim replace regexp_replace regexp_substr
  regexp_match regexp_split_to_array overlay to_char quote_ident quote_literal quote_nullable`);

/** Of several values with one key, an object in jsonb has one. */
const builtObject = 'jsonb_build_object';
const aggregatedObjects = /^jsonb_object_agg/;
const comparing = words('min max');

/** As long as a number says. */
const padding = words('repeat lpad rpad');
const growing = words('array_fill format');

const fixed =
  /^(bool|boolean|"?char"?|int[248]?|smallint|integer|bigint|float[48]|real|double precision|date|time|timetz|timestamp|timestamptz|interval|uuid|money|oid)$|^(time|timestamp|interval)\b[^[]*$/;

function isFixed(type: string | undefined): boolean {
  return type !== undefined && fixed.test(type) && type !== 'char';
}

/** Called for every function, wherever it stands. */
export function noteGrowth(body: FuncCall, run: Run): void {
  const name = nameOf(body);
  if (padding.has(name)) run.sizes.grows ||= !isShortPadding(name, body.args ?? []);
  else run.sizes.grows ||= growing.has(name) || collectingAggregates.has(name);
}

function isShortPadding(name: string, [value, count]: readonly Node[]): boolean {
  const size = integerOf(count) ?? Infinity;
  return size <= maxPadding && (name !== 'repeat' || isShort(value));
}

/** A constant that is short, also after a cast. */
function isShort(node: Node | undefined): boolean {
  const cast = bodyIf(node, 'TypeCast');
  if (cast !== undefined) return !padsToLength(cast) && isShort(cast.arg);
  const constant = bodyIf(node, 'A_Const');
  return constant !== undefined && (constantText(constant) ?? '').length <= maxShort;
}

/** `char(n)` and `bit(n)`. */
function padsToLength(cast: TypeCast): boolean {
  return (
    cast.typeName?.typmods !== undefined && /^(bpchar|char|bit)$/.test(stringsOf(cast.typeName.names).at(-1) ?? '')
  );
}

export function lengthOfField(field: Field): Length {
  const column = field.sources.size > 0 ? hasColumn : 0;
  if (field.verbatim || isFixed(field.type)) return column;
  return field.length ?? column | isLong;
}

/** Of the columns of a query: many long ones make a long row. */
export function noteRow(fields: readonly Field[], run: Run): void {
  let long = 0;
  for (const field of fields) {
    const length = lengthOfField(field);
    if ((length & isLong) !== 0) long++;
    if ((length & isChosen) !== 0) for (const key of field.sources) run.sizes.chosen.add(key);
  }
  if (long > maxTogether) run.sizes.grows = true;
}

export function lengthOf(node: Node | undefined, scope: Scope, run: Run): Length {
  if (node === undefined) return 0;
  const length = findLength(node, scope, run);
  return isFixed(typeOfValue(node, scope, run)) ? length & hasColumn : length;
}

const lengthKinds = kindSet(
  'A_Const',
  'ParamRef',
  'SQLValueFunction',
  'GroupingFunc',
  'BoolExpr',
  'NullTest',
  'BooleanTest',
  'ColumnRef',
  'TypeCast',
  'CollateClause',
  'NamedArgExpr',
  'A_Indirection',
  'CoalesceExpr',
  'CaseExpr',
  'MinMaxExpr',
  'RowExpr',
  'A_ArrayExpr',
  'SubLink',
  'A_Expr',
  'FuncCall',
  'JsonValueExpr',
  'JsonScalarExpr',
  'JsonObjectConstructor',
  'JsonArrayConstructor',
  'JsonObjectAgg',
  'JsonArrayAgg',
  'JsonArrayQueryConstructor',
  'XmlExpr',
);

function findLength(node: Node, scope: Scope, run: Run): Length {
  const of = (inner: Node | undefined) => lengthOf(inner, scope, run);
  const expression = taggedAs(node, lengthKinds);
  switch (expression.kind) {
    case 'A_Const':
      return isShort(node) ? 0 : isLong;
    case 'ParamRef':
      return isLong;
    case 'SQLValueFunction':
    case 'GroupingFunc':
      return 0;
    case 'BoolExpr':
    case 'NullTest':
    case 'BooleanTest':
      return hasColumn;
    case 'ColumnRef': {
      const found = resolveColumn(expression.body.fields ?? [], scope);
      if (found.kind === 'system') return 0;
      return found.kind === 'field' ? lengthOfField(found.field) : either(found.item.fields.map(lengthOfField));
    }
    case 'TypeCast':
      return of(expression.body.arg) | (padsToLength(expression.body) ? isLong : 0);
    case 'CollateClause':
    case 'NamedArgExpr':
    case 'A_Indirection':
      return of(expression.body.arg);
    case 'CoalesceExpr':
      return either((expression.body.args ?? []).map(of));
    case 'CaseExpr': {
      const results = (expression.body.args ?? []).map((when) => bodyIf(when, 'CaseWhen')?.result);
      return either([...results, expression.body.defresult].map(of));
    }
    case 'MinMaxExpr':
      return chosen(either((expression.body.args ?? []).map(of)));
    case 'RowExpr':
      return joined(expression.body.args ?? [], scope, run);
    case 'A_ArrayExpr':
      return joined(expression.body.elements ?? [], scope, run);
    case 'SubLink': {
      const field = run.subqueryFields.get(expression.body);
      if (expression.body.subLinkType === 'EXPR_SUBLINK') return field === undefined ? isLong : lengthOfField(field);
      if (expression.body.subLinkType !== 'ARRAY_SUBLINK') return hasColumn;
      run.sizes.grows = true;
      return isLong | (field === undefined ? 0 : lengthOfField(field));
    }
    case 'A_Expr':
      return isConcatenation(expression.body)
        ? joined(concatenated(node), scope, run)
        : of(expression.body.lexpr) | of(expression.body.rexpr);
    case 'FuncCall':
      return ofCall(expression.body, scope, run);
    case 'JsonValueExpr':
      return of(expression.body.raw_expr);
    case 'JsonScalarExpr':
      return joined([expression.body.expr], scope, run);
    case 'JsonArrayConstructor':
      return joined(expression.body.exprs ?? [], scope, run);
    case 'JsonObjectConstructor': {
      const pairs = (expression.body.exprs ?? []).map((pair) => bodyIf(pair, 'JsonKeyValue'));
      const keys = pairs.map((pair) => pair?.key);
      const length = joined([...keys, ...pairs.map((pair) => pair?.value?.raw_expr)], scope, run);
      return keys.length > 1 && !keys.every((key) => isShort(key)) ? chosen(length) : length;
    }
    case 'JsonObjectAgg': {
      const { key, value } = expression.body.arg ?? {};
      return collected(of(key) | of(value?.raw_expr), isShort(key) || isStoredColumn(key, scope), run);
    }
    case 'JsonArrayAgg':
      return collected(of(expression.body.arg?.raw_expr), true, run);
    case 'XmlExpr':
    case 'JsonArrayQueryConstructor':
      run.sizes.grows = true;
      return isLong | hasColumn;
    case 'other':
    default:
      // The other functions of SQL/JSON pick something out.
      return isLong | hasColumn;
  }
}

function either(lengths: readonly Length[]): Length {
  return lengths.reduce((all, length) => all | length, 0);
}

/** A value without a column in it has nothing to tell. */
function chosen(length: Length): Length {
  return (length & hasColumn) === 0 ? length : length | isChosen;
}

/** Several values in one, or something around one. */
function joined(parts: readonly (Node | undefined)[], scope: Scope, run: Run): Length {
  const values = parts.filter((part) => !isShort(part));
  const lengths = values.map((value) => lengthOf(value, scope, run));
  // What was put together is put together again, and so doubled as often as somebody wants.
  if (values.some((value, index) => ((lengths[index] ?? 0) & isLong) !== 0 && !isGiven(value))) run.sizes.grows = true;
  const length = either(lengths);
  if (values.length > maxTogether) {
    run.sizes.grows ||= (length & isLong) !== 0 || values.length > maxNumbers;
    return length | isLong;
  }
  if (parts.length < 2 && values.length === 0) return length;
  return length | ((length & isWrapped) !== 0 ? isLong : isWrapped);
}

/** It comes with the client's message, which has a limit. */
function isGiven(node: Node | undefined): boolean {
  const cast = bodyIf(node, 'TypeCast');
  if (cast !== undefined && padsToLength(cast)) return false;
  const arg = cast?.arg ?? node;
  return bodyIf(arg, 'ParamRef') !== undefined || bodyIf(arg, 'A_Const') !== undefined;
}

function collected(length: Length, keepsAll: boolean, run: Run): Length {
  run.sizes.grows = true;
  return (keepsAll ? length : chosen(length)) | isLong;
}

function isConcatenation(body: A_Expr): boolean {
  return body.kind === 'AEXPR_OP' && stringsOf(body.name).at(-1) === '||';
}

/** `a || b || c` is one list. */
function concatenated(node: Node | undefined): Node[] {
  const parts: Node[] = [];
  let left = node;
  for (let body = bodyIf(left, 'A_Expr'); body !== undefined && isConcatenation(body); body = bodyIf(left, 'A_Expr')) {
    if (body.rexpr !== undefined) parts.push(body.rexpr);
    left = body.lexpr;
  }
  if (left !== undefined) parts.push(left);
  return parts;
}

function ofCall(body: FuncCall, scope: Scope, run: Run): Length {
  const name = nameOf(body);
  const args = body.args ?? [];
  const length = either(args.map((arg) => lengthOf(arg, scope, run)));
  if (small.has(name)) return length & hasColumn;
  if (keeping.has(name)) return length;
  if (cutting.has(name)) return chosen(keepsOrCuts(name, args) ? length : joined(args, scope, run));
  if (comparing.has(name)) return isStoredColumn(args[0], scope) ? length : chosen(length);
  if (padding.has(name)) return isShortPadding(name, args) ? length & ~isLong : length | isLong;
  if (collectingAggregates.has(name)) {
    const keepsAll = aggregatedObjects.test(name) ? isShort(args[0]) : body.agg_distinct !== true;
    return collected(length, keepsAll || isStoredColumn(args[0], scope), run);
  }
  if (aggregateFunctions.has(name)) return length;
  const value = joined(args, scope, run);
  const hasKeys = name === builtObject && args.length > 2;
  return hasKeys && !args.every((arg, index) => index % 2 === 1 || isShort(arg)) ? chosen(value) : value;
}

/** What is put in the place of something, or before it, may be longer. */
function keepsOrCuts(name: string, [, from, to]: readonly Node[]): boolean {
  if (!/replace|overlay|quote/.test(name)) return true;
  const sizeOf = (node: Node | undefined) => constantText(bodyIf(node, 'A_Const') ?? {})?.length;
  return name === 'replace' && (sizeOf(to) ?? Infinity) <= (sizeOf(from) ?? 0);
}

/** Which of the stored values it is says nothing about a guess. */
function isStoredColumn(node: Node | undefined, scope: Scope): boolean {
  const reference = bodyIf(node, 'ColumnRef');
  if (reference === undefined) return false;
  const found = resolveColumn(reference.fields ?? [], scope);
  return found.kind === 'field' && found.field.verbatim;
}
