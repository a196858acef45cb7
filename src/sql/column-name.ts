/**
 * The name that PostgreSQL gives an output column without AS (FigureColname in its parse_target.c). It has to be exact:
 * an outer query refers to the column by it, and a name that we got wrong could be found further out as another column.
 */
import type { Node } from 'libpg-query';
import { kindSet, stringsOf, taggedAs } from './tree.ts';

/** Name of the first column of a subquery that was analysed before, by the body of its SubLink. */
export type SubqueryNames = WeakMap<object, string>;

export function outputName(expression: Node | undefined, subqueries: SubqueryNames): string {
  return figure(expression, subqueries).name ?? '?column?';
}

/** Strength 0 = none, 1 = a weak guess (type of a cast), 2 = sure. */
interface Guess {
  readonly name: string | undefined;
  readonly strength: 0 | 1 | 2;
}

const none: Guess = { name: undefined, strength: 0 };
const sure = (name: string): Guess => ({ name, strength: 2 });

const sqlValueNames: Readonly<Record<string, string>> = {
  SVFOP_CURRENT_DATE: 'current_date',
  SVFOP_CURRENT_TIME: 'current_time',
  SVFOP_CURRENT_TIME_N: 'current_time',
  SVFOP_CURRENT_TIMESTAMP: 'current_timestamp',
  SVFOP_CURRENT_TIMESTAMP_N: 'current_timestamp',
  SVFOP_LOCALTIME: 'localtime',
  SVFOP_LOCALTIME_N: 'localtime',
  SVFOP_LOCALTIMESTAMP: 'localtimestamp',
  SVFOP_LOCALTIMESTAMP_N: 'localtimestamp',
  SVFOP_CURRENT_ROLE: 'current_role',
  SVFOP_CURRENT_USER: 'current_user',
  SVFOP_USER: 'user',
  SVFOP_SESSION_USER: 'session_user',
  SVFOP_CURRENT_CATALOG: 'current_catalog',
  SVFOP_CURRENT_SCHEMA: 'current_schema',
};

const xmlNames: Readonly<Record<string, string>> = {
  IS_XMLCONCAT: 'xmlconcat',
  IS_XMLELEMENT: 'xmlelement',
  IS_XMLFOREST: 'xmlforest',
  IS_XMLPARSE: 'xmlparse',
  IS_XMLPI: 'xmlpi',
  IS_XMLROOT: 'xmlroot',
};

const jsonFunctionNames: Readonly<Record<string, string>> = {
  JSON_EXISTS_OP: 'json_exists',
  JSON_QUERY_OP: 'json_query',
  JSON_VALUE_OP: 'json_value',
};

const namingKinds = kindSet(
  'ColumnRef',
  'A_Indirection',
  'FuncCall',
  'A_Expr',
  'TypeCast',
  'CollateClause',
  'GroupingFunc',
  'MergeSupportFunc',
  'SubLink',
  'CaseExpr',
  'A_ArrayExpr',
  'RowExpr',
  'CoalesceExpr',
  'MinMaxExpr',
  'SQLValueFunction',
  'XmlExpr',
  'XmlSerialize',
  'JsonParseExpr',
  'JsonScalarExpr',
  'JsonSerializeExpr',
  'JsonObjectConstructor',
  'JsonArrayConstructor',
  'JsonArrayQueryConstructor',
  'JsonObjectAgg',
  'JsonArrayAgg',
  'JsonFuncExpr',
);

function figure(node: Node | undefined, subqueries: SubqueryNames): Guess {
  const expression = taggedAs(node, namingKinds);
  switch (expression.kind) {
    case 'ColumnRef': {
      const name = stringsOf(expression.body.fields).at(-1);
      return name === undefined ? none : sure(name);
    }
    case 'A_Indirection': {
      const name = stringsOf(expression.body.indirection).at(-1);
      return name === undefined ? figure(expression.body.arg, subqueries) : sure(name);
    }
    case 'FuncCall':
      return sure(stringsOf(expression.body.funcname).at(-1) ?? '');
    case 'A_Expr':
      return expression.body.kind === 'AEXPR_NULLIF' ? sure('nullif') : none;
    case 'TypeCast': {
      const inner = figure(expression.body.arg, subqueries);
      if (inner.strength > 1) return inner;
      const type = stringsOf(expression.body.typeName?.names).at(-1);
      return type === undefined ? inner : { name: type, strength: 1 };
    }
    case 'CollateClause':
      return figure(expression.body.arg, subqueries);
    case 'GroupingFunc':
      return sure('grouping');
    case 'MergeSupportFunc':
      return sure('merge_action');
    case 'SubLink':
      if (expression.body.subLinkType === 'EXISTS_SUBLINK') return sure('exists');
      if (expression.body.subLinkType === 'ARRAY_SUBLINK') return sure('array');
      return expression.body.subLinkType === 'EXPR_SUBLINK' ? named(subqueries.get(expression.body)) : none;
    case 'CaseExpr': {
      const other = figure(expression.body.defresult, subqueries);
      return other.strength > 1 ? other : { name: 'case', strength: 1 };
    }
    case 'A_ArrayExpr':
      return sure('array');
    case 'RowExpr':
      return sure('row');
    case 'CoalesceExpr':
      return sure('coalesce');
    case 'MinMaxExpr':
      return sure(expression.body.op === 'IS_LEAST' ? 'least' : 'greatest');
    case 'SQLValueFunction':
      return named(sqlValueNames[expression.body.op ?? '']);
    case 'XmlExpr':
      return named(xmlNames[expression.body.op ?? '']);
    case 'XmlSerialize':
      return sure('xmlserialize');
    case 'JsonParseExpr':
      return sure('json');
    case 'JsonScalarExpr':
      return sure('json_scalar');
    case 'JsonSerializeExpr':
      return sure('json_serialize');
    case 'JsonObjectConstructor':
      return sure('json_object');
    case 'JsonArrayConstructor':
    case 'JsonArrayQueryConstructor':
      return sure('json_array');
    case 'JsonObjectAgg':
      return sure('json_objectagg');
    case 'JsonArrayAgg':
      return sure('json_arrayagg');
    case 'JsonFuncExpr':
      return named(jsonFunctionNames[expression.body.op ?? '']);
    case 'other':
    default:
      return none;
  }
}

function named(name: string | undefined): Guess {
  return name === undefined ? none : sure(name);
}
