/**
 * What can be told of a value before it is computed: whether anything but which columns are NULL makes it
 * NULL, and whether it can fail. A value that is NULL or not for what a column holds must not come to where NULL makes
 * a difference, and one of a type that is not known not to where the type does. Whoever asks takes "not known" for the
 * worst.
 */
import type { A_Expr, FuncCall, JsonKeyValue, Node } from 'libpg-query';
import type { Run } from './expressions.ts';
import { aggregateFunctions } from './functions.ts';
import { resolveColumn, type Field, type Scope, type Sources } from './scope.ts';
import { bodyIf, integerOf, kindSet, stringsOf, tagged, taggedAs } from './tree.ts';
import {
  fieldOf,
  isComparable,
  isHarmlessType,
  jsonbMakers,
  nameOf,
  pickOperators,
  rowOf,
  typeNamed,
  typeOfValue,
} from './value-type.ts';

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

/** They pick a part out of a JSON value, and are NULL where it has none. */
const pickFunctions = words('json_extract_path json_extract_path_text jsonb_extract_path jsonb_extract_path_text');

/** A key must not be NULL. */
const builtObjects = words('json_build_object jsonb_build_object');
const aggregatedObjects = words('json_object_agg jsonb_object_agg json_object_agg_strict jsonb_object_agg_strict');

/** With a collation, a format or a unit that is wrong they fail on everything but NULL. */
const failOnAnyValue = words('upper lower initcap replace split_part min max to_char date_trunc date_part extract');

const comparing = words('min max');

/** NULL exactly where an argument is. */
const nullWithArguments = words(`upper lower initcap left right reverse char_length character_length octet_length
  bit_length length ascii md5 sha224 sha256 sha384 sha512 quote_ident quote_literal text name btrim ltrim rtrim trim
  substr substring replace translate split_part encode convert_to date_trunc to_json to_jsonb row_to_json min max`);
const neverNull = words('count concat quote_nullable num_nulls num_nonnulls json_build_object json_build_array');

const nullKinds = kindSet(
  'A_Const',
  'ParamRef',
  'SQLValueFunction',
  'RowExpr',
  'NullTest',
  'BooleanTest',
  'ColumnRef',
  'A_Indirection',
  'TypeCast',
  'CollateClause',
  'NamedArgExpr',
  'CoalesceExpr',
  'MinMaxExpr',
  'CaseExpr',
  'A_Expr',
  'FuncCall',
  'SubLink',
);

/** Whether it is NULL follows from which columns are NULL, and not from what they hold. */
export function followsNulls(node: Node | undefined, scope: Scope, run: Run): boolean {
  const all = (nodes: readonly (Node | undefined)[] | undefined) =>
    (nodes ?? []).every((one) => followsNulls(one, scope, run));
  if (tagged(node) === undefined) return true;
  const expression = taggedAs(node, nullKinds);
  switch (expression.kind) {
    case 'A_Const':
    case 'ParamRef':
    case 'SQLValueFunction':
    case 'RowExpr':
    case 'NullTest':
    case 'BooleanTest':
      return true;
    case 'ColumnRef': {
      const found = resolveColumn(expression.body.fields ?? [], scope);
      return found.kind !== 'field' || followsNullsField(found.field);
    }
    case 'A_Indirection': {
      const field = fieldOf(node, scope);
      return field !== undefined && followsNullsField(field);
    }
    case 'TypeCast':
    case 'CollateClause':
    case 'NamedArgExpr':
      return followsNulls(expression.body.arg, scope, run);
    case 'CoalesceExpr':
    case 'MinMaxExpr':
      return all(expression.body.args);
    case 'CaseExpr':
      // What decides counts as a predicate, unless it is a column that is NULL.
      return all([
        ...(expression.body.args ?? []).map((when) => bodyIf(when, 'CaseWhen')?.result),
        expression.body.defresult,
      ]);
    case 'A_Expr':
      return (
        expression.body.kind === 'AEXPR_OP' &&
        stringsOf(expression.body.name).at(-1) === '||' &&
        all([expression.body.lexpr, expression.body.rexpr])
      );
    case 'FuncCall': {
      const name = nameOf(expression.body);
      return neverNull.has(name) || (nullWithArguments.has(name) && all(expression.body.args));
    }
    case 'SubLink': {
      const { subLinkType } = expression.body;
      if (subLinkType === 'EXISTS_SUBLINK' || subLinkType === 'ARRAY_SUBLINK') return true;
      return subLinkType === 'EXPR_SUBLINK' && run.subqueryFields.get(expression.body)?.followsNulls === true;
    }
    case 'other':
    default:
      return false;
  }
}

export function followsNullsField(field: Field): boolean {
  return field.verbatim || field.sources.size === 0 || field.followsNulls === true;
}

export function isPlainColumn(node: Node | undefined, scope: Scope): boolean {
  const expression = tagged(node);
  if (expression?.kind !== 'ColumnRef') return false;
  const found = resolveColumn(expression.body.fields ?? [], scope);
  return found.kind === 'system' || (found.kind === 'field' && found.field.verbatim);
}

export function isHarmlessCondition(node: Node | undefined, scope: Scope): boolean {
  const test = tagged(node);
  if (test?.kind === 'NullTest') return isPlainColumn(test.body.arg, scope);
  // AND and OR have told of their arguments themselves.
  return (
    test?.kind === 'BoolExpr' && (test.body.boolop !== 'NOT_EXPR' || isHarmlessCondition(test.body.args?.[0], scope))
  );
}

const lazyKinds = kindSet(
  'A_Const',
  'ParamRef',
  'ColumnRef',
  'SQLValueFunction',
  'CollateClause',
  'CoalesceExpr',
  'TypeCast',
  'FuncCall',
);

/** Where it is left alone or computed only for some rows, nobody can tell. */
export function cannotFail(node: Node | undefined, scope: Scope, run: Run): boolean {
  if (tagged(node) === undefined) return true;
  const expression = taggedAs(node, lazyKinds);
  switch (expression.kind) {
    case 'A_Const':
    case 'ParamRef':
    case 'ColumnRef':
    case 'SQLValueFunction':
      return true;
    case 'CollateClause':
      return cannotFail(expression.body.arg, scope, run);
    case 'CoalesceExpr':
      return (expression.body.args ?? []).every((arg) => cannotFail(arg, scope, run));
    case 'TypeCast': {
      const { arg, typeName } = expression.body;
      const type = typeNamed(typeName);
      if (type === undefined) return false;
      // PostgreSQL itself turns constants into their type before anything runs.
      if (isConstant(arg)) return !type.startsWith('money');
      return (type === 'text' || type === 'varchar') && cannotFail(arg, scope, run);
    }
    case 'FuncCall': {
      const name = nameOf(expression.body);
      // Aggregates are computed before everything else.
      if (aggregateFunctions.has(name)) return true;
      return lazilyTotal.has(name) && (expression.body.args ?? []).every((arg) => cannotFail(arg, scope, run));
    }
    case 'other':
    default:
      return false;
  }
}

const lazilyTotal =
  words(`now statement_timestamp transaction_timestamp concat char_length character_length octet_length
  md5 quote_literal`);

function isConstant(node: Node | undefined): boolean {
  return (
    bodyIf(node, 'A_Const') !== undefined ||
    (bodyIf(node, 'A_ArrayExpr')?.elements ?? [node]).every((element) => bodyIf(element, 'A_Const') !== undefined)
  );
}

/**
 * It is no array: those go together only where their sizes agree, and DISTINCT makes a size depend on values. The size
 * of an array that is written out does not.
 */
export function isElement(node: Node | undefined, scope: Scope, run: Run): boolean {
  return bodyIf(node, 'A_ArrayExpr') !== undefined || isElementType(typeOfValue(node, scope, run));
}

export function isElementType(type: string | undefined): boolean {
  return type !== undefined && !/\[\]$|^any/.test(type);
}

const storedKinds = kindSet('A_Const', 'ParamRef', 'ColumnRef', 'A_Indirection', 'TypeCast', 'A_Expr', 'FuncCall');

/** No object whose keys somebody computed: a column as it is stored, a row with its names, a part of such a thing. */
function isStored(node: Node | undefined, scope: Scope, run: Run): boolean {
  if (tagged(node) === undefined) return true;
  const expression = taggedAs(node, storedKinds);
  switch (expression.kind) {
    case 'A_Const':
    case 'ParamRef':
      return true;
    case 'ColumnRef':
      return rowOf(node, scope)?.every((field) => isStoredField(field)) ?? isStoredField(fieldOf(node, scope));
    case 'A_Indirection':
      return isStoredField(fieldOf(node, scope)) || isStored(expression.body.arg, scope, run);
    case 'TypeCast':
      return isStored(expression.body.arg, scope, run);
    case 'A_Expr':
      // A pick that is told of needs no more of it.
      return isPick(expression.body)
        ? isStored(expression.body.lexpr, scope, run)
        : isScalar(typeOfValue(node, scope, run));
    case 'FuncCall': {
      const name = nameOf(expression.body);
      const args = expression.body.args ?? [];
      if (pickFunctions.has(name) || /^(row_to_json|to_jsonb?)$/.test(name)) return isStored(args[0], scope, run);
      if (builtObjects.has(name)) {
        return args.every((arg, index) =>
          index % 2 === 0 ? bodyIf(arg, 'A_Const') !== undefined : isStored(arg, scope, run),
        );
      }
      return isScalar(typeOfValue(node, scope, run));
    }
    case 'other':
    default:
      return isScalar(typeOfValue(node, scope, run));
  }
}

function isStoredField(field: Field | undefined): boolean {
  return field !== undefined && (field.verbatim || field.sources.size === 0 || isScalar(field.type));
}

function isScalar(type: string | undefined): boolean {
  return isHarmlessType(type) && type?.startsWith('jsonb') === false && !type.endsWith('[]');
}

export function isPick(body: A_Expr): boolean {
  return body.kind === 'AEXPR_OP' && pickOperators.has(stringsOf(body.name).at(-1) ?? '');
}

/** Whether there is such a part says nothing about what was put together here. */
export function isHarmlessPick(
  base: Node | undefined,
  key: Node | undefined,
  keySources: Sources,
  scope: Scope,
  run: Run,
): boolean {
  // A place in a list, as opposed to a key, is there or not for its length.
  if (integerOf(key) !== undefined) return true;
  return keySources.size === 0 && isStored(base, scope, run);
}

/** @param parts the sources of each argument; one without any has nothing to tell */
export function areHarmlessArguments(body: FuncCall, parts: readonly Sources[], scope: Scope, run: Run): boolean {
  const name = nameOf(body);
  const args = body.args ?? [];
  const every = (accept: (arg: Node) => boolean) => args.every((arg, index) => parts[index]?.size === 0 || accept(arg));
  if (pickFunctions.has(name)) {
    return parts.slice(1).every((sources) => sources.size === 0) && isStored(args[0], scope, run);
  }
  // Only the rows that are asked for are computed.
  if (name === 'lag' || name === 'lead') return (parts[1]?.size ?? 0) === 0;
  if (name === 'array_agg' && !every((arg) => isElement(arg, scope, run))) return false;
  if (failOnAnyValue.has(name) && !every((arg) => followsNulls(arg, scope, run))) return false;
  if (comparing.has(name) || body.agg_distinct === true) {
    if (!every((arg) => isComparable(typeOfValue(arg, scope, run)) && followsNulls(arg, scope, run))) return false;
  }
  if (jsonbMakers.has(name) && !every((arg) => canBeJsonb(arg, scope, run))) return false;
  if (builtObjects.has(name)) return args.every((arg, index) => index % 2 === 1 || followsNulls(arg, scope, run));
  if (aggregatedObjects.has(name)) return isHarmlessPair(args[0], args[1], name.endsWith('_strict'), scope, run);
  return true;
}

/** A key that is NULL makes an object fail, except where a value that is NULL leaves the pair out. */
function isHarmlessPair(
  key: Node | undefined,
  value: Node | undefined,
  leavesOut: boolean,
  scope: Scope,
  run: Run,
): boolean {
  if (leavesOut && bodyIf(key, 'A_Const')?.sval === undefined && !followsNulls(value, scope, run)) return false;
  return followsNulls(key, scope, run);
}

export function isHarmlessJsonPair(
  pair: JsonKeyValue | undefined,
  leavesOut: boolean | undefined,
  scope: Scope,
  run: Run,
): boolean {
  return isHarmlessPair(pair?.key, pair?.value?.raw_expr, leavesOut === true, scope, run);
}

/** A number in json may be too large for jsonb, and a text in it may hold \u0000. */
export function canBeJsonb(node: Node | undefined, scope: Scope, run: Run): boolean {
  const row = rowOf(node, scope);
  if (row !== undefined) return row.every((field) => isHarmlessType(field.type));
  const parts = bodyIf(node, 'RowExpr')?.args;
  if (parts !== undefined) return parts.every((part) => canBeJsonb(part, scope, run));
  return isHarmlessType(typeOfValue(node, scope, run));
}

/** GREATEST and LEAST. */
export function areComparable(args: readonly Node[], scope: Scope, run: Run): boolean {
  return (
    args.some((arg) => isComparable(typeOfValue(arg, scope, run))) && args.every((arg) => followsNulls(arg, scope, run))
  );
}
