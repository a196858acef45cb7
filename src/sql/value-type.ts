/** Of which type a value is, as far as its text and the catalogue tell. What they do not tell is not guessed. */
import type { A_Expr, FuncCall, Node, TypeName } from 'libpg-query';
import type { Run } from './expressions.ts';
import { resolveColumn, type Field, type Scope } from './scope.ts';
import { bodyIf, kindSet, stringOf, stringsOf, tagged, taggedAs } from './tree.ts';

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

/** They pick a part out of a JSON value. */
export const pickOperators = words('-> ->> #> #>>');

/** They read what is json as jsonb, which takes fewer values. */
export const jsonbMakers = words(`to_jsonb jsonb_agg jsonb_agg_strict jsonb_object_agg jsonb_object_agg_strict
  jsonb_build_object jsonb_build_array`);

const resultTypes: ReadonlyMap<string, string> = new Map(
  Object.entries({
    text: `upper lower initcap left right reverse concat concat_ws md5 quote_ident quote_literal quote_nullable
      string_agg array_to_string json_typeof jsonb_typeof jsonb_pretty json_extract_path_text jsonb_extract_path_text
      trim btrim ltrim rtrim substr substring replace translate split_part to_char encode text name`,
    bytea: 'sha224 sha256 sha384 sha512 convert_to',
    boolean: 'bool_and bool_or every',
    numeric: `char_length character_length octet_length bit_length ascii length count row_number rank dense_rank
      percent_rank cume_dist array_length cardinality num_nulls num_nonnulls date_part extract sum avg`,
    timestamp: 'date_trunc now',
    json: 'json_agg json_agg_strict json_object_agg json_object_agg_strict to_json row_to_json array_to_json json_build_object json_build_array',
    jsonb: [...jsonbMakers].join(' '),
  }).flatMap(([type, names]) => [...words(names)].map((name) => [name, type] as const)),
);
const typeOfFirst = words('min max any_value first_value last_value lag lead nth_value');

const builtInTypes =
  words(`bool boolean bytea char bpchar varchar text name int2 int4 int8 smallint integer bigint float4
  float8 numeric money date time timetz timestamp timestamptz interval uuid inet cidr macaddr json jsonb bit varbit oid`);

/** A literal that could still be of any type. */
const untyped = 'unknown';

/** As the catalogue prints types; undefined = not known. */
export function typeOfValue(node: Node | undefined, scope: Scope, run: Run): string | undefined {
  const body = tagged(node)?.body;
  if (body === undefined) return undefined;
  if (run.types.has(body)) return run.types.get(body);
  const type = findType(node, scope, run);
  run.types.set(body, type);
  return type;
}

const typedKinds = kindSet(
  'A_Const',
  'ColumnRef',
  'A_Indirection',
  'RowExpr',
  'TypeCast',
  'CollateClause',
  'NamedArgExpr',
  'BoolExpr',
  'NullTest',
  'BooleanTest',
  'CoalesceExpr',
  'MinMaxExpr',
  'CaseExpr',
  'A_ArrayExpr',
  'A_Expr',
  'FuncCall',
  'SubLink',
);

function findType(node: Node | undefined, scope: Scope, run: Run): string | undefined {
  const expression = taggedAs(node, typedKinds);
  switch (expression.kind) {
    case 'A_Const':
      return expression.body.sval !== undefined || expression.body.isnull === true ? untyped : 'numeric';
    case 'ColumnRef':
      return resolveColumn(expression.body.fields ?? [], scope).kind === 'row' ? 'record' : fieldOf(node, scope)?.type;
    case 'A_Indirection':
      return fieldOf(node, scope)?.type;
    case 'RowExpr':
      return 'record';
    case 'TypeCast':
      return typeNamed(expression.body.typeName);
    case 'CollateClause':
    case 'NamedArgExpr':
      return typeOfValue(expression.body.arg, scope, run);
    case 'BoolExpr':
    case 'NullTest':
    case 'BooleanTest':
      return 'boolean';
    case 'CoalesceExpr':
    case 'MinMaxExpr':
      return commonType(expression.body.args, scope, run);
    case 'CaseExpr': {
      const results = (expression.body.args ?? []).map((when) => bodyIf(when, 'CaseWhen')?.result);
      return commonType([...results, expression.body.defresult], scope, run);
    }
    case 'A_ArrayExpr':
      return arrayOf(commonType(expression.body.elements, scope, run));
    case 'A_Expr':
      return typeOfOperator(expression.body, scope, run);
    case 'FuncCall': {
      const name = nameOf(expression.body);
      const first = expression.body.args?.[0];
      if (typeOfFirst.has(name)) return typeOfValue(first, scope, run);
      return name === 'array_agg' ? arrayOf(typeOfValue(first, scope, run)) : resultTypes.get(name);
    }
    case 'SubLink': {
      const type = run.subqueryFields.get(expression.body)?.type;
      if (expression.body.subLinkType === 'EXPR_SUBLINK') return type;
      return expression.body.subLinkType === 'ARRAY_SUBLINK' ? arrayOf(type) : 'boolean';
    }
    case 'other':
    default:
      return undefined;
  }
}

function typeOfOperator(body: A_Expr, scope: Scope, run: Run): string | undefined {
  if (body.kind !== 'AEXPR_OP') return body.kind === 'AEXPR_NULLIF' ? typeOfValue(body.lexpr, scope, run) : 'boolean';
  const name = stringsOf(body.name).at(-1) ?? '';
  if (name === '->>' || name === '#>>') return 'text';
  if (name === '||') return commonType([body.lexpr, body.rexpr], scope, run);
  return pickOperators.has(name) ? typeOfValue(body.lexpr, scope, run) : undefined;
}

/** What PostgreSQL puts together has one type, or types of one kind: one that is known speaks for the rest. */
function commonType(nodes: readonly (Node | undefined)[] | undefined, scope: Scope, run: Run): string | undefined {
  return common((nodes ?? []).map((node) => (node === undefined ? untyped : typeOfValue(node, scope, run))));
}

/** Of the columns of two queries that are put together. */
export function commonTypeOf(one: Field, other: Field | undefined): string | undefined {
  return common([one.type, other?.type]);
}

function common(types: readonly (string | undefined)[]): string | undefined {
  const known = types.filter((type) => type !== undefined && type !== untyped);
  if (known.length > 0) return known.find((type) => type !== undefined && !isHarmlessType(type)) ?? known[0];
  return types.includes(undefined) ? undefined : untyped;
}

function arrayOf(type: string | undefined): string | undefined {
  return type === undefined || type.endsWith('[]') ? type : `${type}[]`;
}

export function typeNamed(type: TypeName | undefined): string | undefined {
  const names = stringsOf(type?.names);
  const name = names.at(-1) ?? '';
  if (!builtInTypes.has(name) || names.length > 2 || (names.length === 2 && names[0] !== 'pg_catalog'))
    return undefined;
  return type?.arrayBounds === undefined ? name : `${name}[]`;
}

/** A type of the users has a dot in its name; of what it is made is not known. */
export function isHarmlessType(type: string | undefined): boolean {
  return type !== undefined && !/\.|^(json|record|any)/.test(type.replace(/^jsonb/, ''));
}

/** Comparing two of them cannot fail. */
export function isComparable(type: string | undefined): boolean {
  return type !== untyped && isHarmlessType(type);
}

export function fieldOf(node: Node | undefined, scope: Scope): Field | undefined {
  const reference = bodyIf(node, 'ColumnRef');
  if (reference !== undefined) {
    const found = resolveColumn(reference.fields ?? [], scope);
    return found.kind === 'field' ? found.field : undefined;
  }
  const { arg, indirection } = bodyIf(node, 'A_Indirection') ?? {};
  const name = indirection?.length === 1 ? stringOf(indirection[0]) : undefined;
  return name === undefined ? undefined : rowOf(arg, scope)?.find((field) => field.name === name);
}

/** The columns, where it is a whole row of something in FROM. */
export function rowOf(node: Node | undefined, scope: Scope): readonly Field[] | undefined {
  const reference = bodyIf(node, 'ColumnRef');
  if (reference === undefined) return undefined;
  const found = resolveColumn(reference.fields ?? [], scope);
  return found.kind === 'row' && !found.item.open ? found.item.fields : undefined;
}

export function nameOf(body: FuncCall): string {
  return stringsOf(body.funcname).at(-1) ?? '';
}
