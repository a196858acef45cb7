/**
 * On which base columns the value of an expression depends. Every kind of expression has its line; one without a line is
 * unresolved, never "no columns".
 */
import type { A_Expr, FuncCall, JsonOutput, JsonValueExpr, Node, SubLink, WindowDef } from 'libpg-query';
import { askedIfNull, type Asked } from './asked.ts';
import type { SubqueryNames } from './column-name.ts';
import { knownFields, knownFunctions, setReturningFunctions, type NameReading } from './functions.ts';
import {
  noSources,
  resolveColumn,
  rowSources,
  union,
  unionOf,
  Unresolved,
  type Field,
  type Scope,
  type Sources,
} from './scope.ts';
import type { Catalogue, CatalogueRelation } from './statement.ts';
import { arrayType, hasType, isTotalCall, isTotalCast, isTotalField, isTotalOperator, isTotalOutput } from './total.ts';
import { bodyIf, kindSet, stringOf, stringsOf, tagged, taggedAs } from './tree.ts';
import { noteGrowth, type Sizes } from './value-length.ts';
import {
  areComparable,
  areHarmlessArguments,
  canBeJsonb,
  cannotFail,
  followsNulls,
  isElement,
  isElementType,
  isHarmlessCondition,
  isHarmlessJsonPair,
  isHarmlessPick,
  isPick,
  isPlainColumn,
} from './value.ts';

/** One lineage analysis. The functions of the other files come with it, because they call each other. */
export interface Run extends Asked {
  readonly catalogue: Catalogue;
  readonly reading: NameReading;
  /** Columns on which the choice or order of rows depends. Replaced while a subquery is looked at by itself. */
  predicates: Set<number>;
  /** Queries looked at so far. */
  queries: number;
  readonly subqueryNames: SubqueryNames;
  /** The first column of a subquery that was analysed before, by the body of its SubLink. */
  readonly subqueryFields: WeakMap<object, Field>;
  /** Types of values that were asked for before, by the body of their expression. */
  readonly types: WeakMap<object, string | undefined>;
  readonly sizes: Sizes;
  query(node: Node, parent: Scope): readonly Field[];
  relationFields(relation: CatalogueRelation): readonly Field[];
}

/** In a predicate a plain `column IS NULL` tells nothing that counts; in a value it does. */
export type Use = 'value' | 'predicate';

export function addPredicates(run: Run, sources: Sources): void {
  for (const key of sources) run.predicates.add(key);
}

export function usePredicate(node: Node | undefined, scope: Scope, run: Run): void {
  if (node !== undefined) addPredicates(run, sourcesOf(node, scope, run, 'predicate'));
}

/** What may fail or take another way for some values: errors and time tell about them. */
function told(run: Run, sources: Sources): Sources {
  addPredicates(run, sources);
  return sources;
}

/** Runs `look` and tells which predicates it met; they count for the statement as well. */
function withPredicates<T>(run: Run, look: () => T): { readonly value: T; readonly predicates: Sources } {
  const outer = run.predicates;
  const own = new Set<number>();
  run.predicates = own;
  try {
    return { value: look(), predicates: own };
  } finally {
    run.predicates = outer;
    addPredicates(run, own);
  }
}

const expressionKinds = kindSet(
  'A_Const',
  'ParamRef',
  'SQLValueFunction',
  'SetToDefault',
  'MergeSupportFunc',
  'GroupingFunc',
  'ColumnRef',
  'A_Expr',
  'List',
  'BoolExpr',
  'CoalesceExpr',
  'MinMaxExpr',
  'RowExpr',
  'A_ArrayExpr',
  'NullTest',
  'BooleanTest',
  'TypeCast',
  'CollateClause',
  'NamedArgExpr',
  'CaseExpr',
  'CaseWhen',
  'A_Indirection',
  'FuncCall',
  'SubLink',
  'ResTarget',
  'XmlExpr',
  'XmlSerialize',
  'JsonValueExpr',
  'JsonKeyValue',
  'JsonObjectConstructor',
  'JsonArrayConstructor',
  'JsonArrayQueryConstructor',
  'JsonArrayAgg',
  'JsonObjectAgg',
  'JsonFuncExpr',
  'JsonArgument',
  'JsonParseExpr',
  'JsonSerializeExpr',
  'JsonScalarExpr',
  'JsonIsPredicate',
  'JsonBehavior',
);

export function sourcesOf(node: Node | undefined, scope: Scope, run: Run, use: Use = 'value'): Sources {
  const of = (inner: Node | undefined): Sources =>
    inner === undefined ? noSources : sourcesOf(inner, scope, run, use);
  const all = (inner: readonly Node[] | undefined): Sources => {
    return inner === undefined ? noSources : unionOf(inner.map((item) => of(item)));
  };
  if (node === undefined || tagged(node) === undefined) return noSources;
  const expression = taggedAs(node, expressionKinds);
  switch (expression.kind) {
    case 'A_Const':
    case 'ParamRef':
    case 'SQLValueFunction':
    case 'SetToDefault':
    case 'MergeSupportFunc':
    case 'GroupingFunc':
      return noSources;
    case 'ColumnRef': {
      const found = resolveColumn(expression.body.fields ?? [], scope);
      if (found.kind === 'field') return found.field.sources;
      if (found.kind === 'system') return noSources;
      if (found.item.open)
        throw new Unresolved(`the row of ${found.item.name ?? 'a function'} may have columns that are not known`);
      return rowSources(found.item);
    }
    case 'A_Expr':
      return operator(expression.body, scope, run, use);
    case 'List':
      return all(expression.body.items);
    case 'BoolExpr':
      // AND and OR may leave the rest of their arguments alone.
      return expression.body.boolop === 'NOT_EXPR'
        ? all(expression.body.args)
        : unionOf((expression.body.args ?? []).map((arg) => condition(arg, scope, run, use)));
    case 'CoalesceExpr':
      return coalesce(expression.body.args ?? [], scope, run, use);
    case 'MinMaxExpr': {
      const sources = all(expression.body.args);
      return areComparable(expression.body.args ?? [], scope, run) ? sources : told(run, sources);
    }
    case 'RowExpr':
      return all(expression.body.args);
    case 'A_ArrayExpr': {
      const elements = expression.body.elements ?? [];
      const parts = elements.map((element) => of(element));
      const areElements = elements.every(
        (element, index) => parts[index]?.size === 0 || isElement(element, scope, run),
      );
      return toldOfArrays(run, unionOf(parts), areElements);
    }
    case 'NullTest':
      if (use === 'value' || !isPlainColumn(expression.body.arg, scope)) return of(expression.body.arg);
      return askedIfNull(run, of(expression.body.arg));
    case 'TypeCast': {
      const sources = of(expression.body.arg);
      return isTotalCast(expression.body.typeName) ? sources : told(run, sources);
    }
    case 'BooleanTest':
    case 'CollateClause':
    case 'NamedArgExpr':
      return of(expression.body.arg);
    case 'CaseExpr':
      return union(told(run, of(expression.body.arg)), all(expression.body.args), of(expression.body.defresult));
    case 'CaseWhen':
      return union(condition(expression.body.expr, scope, run, use), of(expression.body.result));
    case 'A_Indirection':
      return indirection(expression.body.arg, expression.body.indirection ?? [], scope, run, use);
    case 'FuncCall':
      return call(expression.body, scope, run, use);
    case 'SubLink':
      return subLink(expression.body, scope, run, use);
    case 'ResTarget':
      return of(expression.body.val);
    case 'XmlExpr':
      return told(run, union(all(expression.body.named_args), all(expression.body.args)));
    case 'XmlSerialize':
      return told(run, of(expression.body.expr));
    case 'JsonValueExpr':
      return jsonValue(expression.body, scope, run, use);
    case 'JsonKeyValue':
      return union(of(expression.body.key), jsonValue(expression.body.value, scope, run, use));
    case 'JsonObjectConstructor': {
      const pairs = (expression.body.exprs ?? []).map((pair) => bodyIf(pair, 'JsonKeyValue'));
      const sources = constructed(expression.body, pairs, all(expression.body.exprs), scope, run);
      const { absent_on_null } = expression.body;
      return pairs.every((pair) => isHarmlessJsonPair(pair, absent_on_null, scope, run)) ? sources : told(run, sources);
    }
    case 'JsonArrayConstructor': {
      const values = (expression.body.exprs ?? []).map((value) => ({ value: bodyIf(value, 'JsonValueExpr') }));
      return constructed(expression.body, values, all(expression.body.exprs), scope, run);
    }
    case 'JsonArrayQueryConstructor': {
      const { sources } = subquery(expression.body.query, scope, run);
      return constructed(expression.body, [undefined], sources, scope, run);
    }
    case 'JsonArrayAgg': {
      const { arg, constructor } = expression.body;
      const sources = jsonValue(arg, scope, run, use);
      const value = constructed({ output: constructor?.output }, [{ value: arg }], sources, scope, run);
      return union(value, aggregate(constructor, scope, run));
    }
    case 'JsonObjectAgg': {
      const { arg, constructor, unique, absent_on_null } = expression.body;
      const pair = union(of(arg?.key), jsonValue(arg?.value, scope, run, use));
      if (!isHarmlessJsonPair(arg, absent_on_null, scope, run)) addPredicates(run, pair);
      const object = constructed({ output: constructor?.output, unique }, [arg], pair, scope, run);
      return union(object, aggregate(constructor, scope, run));
    }
    case 'JsonFuncExpr':
      return told(
        run,
        union(
          of(expression.body.context_item?.raw_expr),
          of(expression.body.pathspec),
          all(expression.body.passing),
          of(expression.body.on_empty?.expr),
          of(expression.body.on_error?.expr),
        ),
      );
    case 'JsonArgument':
      return of(expression.body.val?.raw_expr);
    case 'JsonParseExpr':
    case 'JsonSerializeExpr':
      return told(run, of(expression.body.expr?.raw_expr));
    case 'JsonIsPredicate':
      return told(run, of(expression.body.expr));
    case 'JsonScalarExpr':
    case 'JsonBehavior':
      return of(expression.body.expr);
    case 'other':
    default:
      throw new Unresolved(`the expression ${expression.name} is not known`);
  }
}

function operator(body: A_Expr, scope: Scope, run: Run, use: Use): Sources {
  const left = sourcesOf(body.lexpr, scope, run, use);
  const right = sourcesOf(body.rexpr, scope, run, use);
  const sources = union(left, right);
  if (isPick(body) && !isHarmlessPick(body.lexpr, body.rexpr, right, scope, run)) return told(run, sources);
  if (!isTotalOperator(body)) return told(run, sources);
  return toldOfArrays(run, sources, isPick(body) || isElement({ A_Expr: body }, scope, run));
}

/** What stands behind an argument is computed only where that is NULL: an error, or the time, tells which it was. */
function coalesce(args: readonly Node[], scope: Scope, run: Run, use: Use): Sources {
  const parts = args.map((arg) => sourcesOf(arg, scope, run, use));
  const lastThatMayFail = args.findLastIndex((arg) => !cannotFail(arg, scope, run));
  args.slice(0, Math.max(0, lastThatMayFail)).forEach((arg, index) => {
    (isPlainColumn(arg, scope) ? askedIfNull : addPredicates)(run, parts[index] ?? noSources);
  });
  return unionOf(parts);
}

/** Arrays go together only where their dimensions agree. */
function toldOfArrays(run: Run, sources: Sources, areElements: boolean): Sources {
  return !areElements || hasType(sources, arrayType, run.catalogue) ? told(run, sources) : sources;
}

/** It decides what else is computed. As in WHERE, a plain `column IS NULL` is no predicate; the value depends on it. */
function condition(node: Node | undefined, scope: Scope, run: Run, use: Use): Sources {
  const sources = sourcesOf(node, scope, run, use);
  (isHarmlessCondition(node, scope) ? askedIfNull : addPredicates)(run, sources);
  return sources;
}

/** FORMAT JSON reads a text as JSON. */
function jsonValue(body: JsonValueExpr | undefined, scope: Scope, run: Run, use: Use): Sources {
  const sources = sourcesOf(body?.raw_expr, scope, run, use);
  const format = body?.format?.format_type ?? 'JS_FORMAT_DEFAULT';
  return format === 'JS_FORMAT_DEFAULT' ? sources : told(run, sources);
}

interface JsonConstruction {
  readonly output?: JsonOutput | undefined;
  /** It fails on a key that it has already. */
  readonly unique?: boolean | undefined;
}

type JsonPart = { readonly value?: JsonValueExpr | undefined } | undefined;

function constructed(
  body: JsonConstruction,
  parts: readonly JsonPart[],
  sources: Sources,
  scope: Scope,
  run: Run,
): Sources {
  if (body.unique === true || !isTotalOutput(body.output)) return told(run, sources);
  const isJsonb = body.output?.typeName !== undefined && stringsOf(body.output.typeName.names).at(-1) === 'jsonb';
  const isHarmless = !isJsonb || parts.every((part) => canBeJsonb(part?.value?.raw_expr, scope, run));
  return isHarmless ? sources : told(run, sources);
}

/** `(t).column` of a row in FROM is that column; a field of any other composite value depends on all of the value. */
function indirection(arg: Node | undefined, steps: readonly Node[], scope: Scope, run: Run, use: Use): Sources {
  const indexes: Sources[] = [];
  let picksByKey = false;
  for (const step of steps) {
    const part = bodyIf(step, 'A_Indices');
    for (const index of [part?.lidx, part?.uidx]) {
      if (index === undefined) continue;
      const sources = sourcesOf(index, scope, run, use);
      indexes.push(sources);
      picksByKey ||= !isHarmlessPick(arg, index, sources, scope, run);
    }
  }
  const sources = indirectionBase(arg, steps, scope, run, use);
  const whole = union(sources, ...indexes);
  return picksByKey ? told(run, whole) : whole;
}

function indirectionBase(arg: Node | undefined, steps: readonly Node[], scope: Scope, run: Run, use: Use): Sources {
  const names = stringsOf(steps);
  const base = tagged(arg);
  if (base?.kind === 'ColumnRef') {
    const found = resolveColumn(base.body.fields ?? [], scope);
    const first = stringOf(steps[0]);
    if (found.kind === 'row' && first !== undefined) {
      const fields = found.item.fields.filter((field) => field.name === first);
      if (fields.length !== 1) throw new Unresolved(`${first} is no column of ${found.item.name ?? 'the row'}`);
      return checkFields(names.slice(1), fields[0]?.sources ?? noSources, false, run);
    }
  }
  const isPlain = names.length === 1 && steps.length === 1 && followsNulls(arg, scope, run);
  return checkFields(names, sourcesOf(arg, scope, run, use), isPlain, run);
}

/**
 * What is no field may be a function: `(x).f` is f(x).
 * @param isPlain what stands before the first name is NULL only where a column is
 */
function checkFields(names: readonly string[], sources: Sources, isPlain: boolean, run: Run): Sources {
  for (const name of names) {
    if (!knownFields.has(name) || (run.reading === 'session' && run.catalogue.userFunctions.has(name))) {
      throw new Unresolved(`${name} may be a field or a function`);
    }
    if (knownFunctions.has(name) && !(isPlain && isTotalField(name))) addPredicates(run, sources);
  }
  return sources;
}

function call(body: FuncCall, scope: Scope, run: Run, use: Use): Sources {
  const parts = (body.args ?? []).map((arg) => sourcesOf(arg, scope, run, use));
  const args = unionOf(parts);
  const name = stringsOf(body.funcname).at(-1) ?? '';
  // How many rows it makes, whether it fails and how long it takes tell about its arguments.
  const isTotal =
    !setReturningFunctions.has(name) &&
    isTotalCall(body, parts, run.catalogue) &&
    areHarmlessArguments(body, parts, scope, run);
  if (!isTotal) addPredicates(run, args);
  noteGrowth(body, run);
  return union(args, aggregate(body, scope, run));
}

interface AggregateParts {
  readonly agg_filter?: Node;
  readonly agg_order?: Node[];
  readonly over?: WindowDef;
}

/** FILTER, ORDER BY and OVER choose and order rows, and the value depends on that. */
function aggregate(parts: AggregateParts | undefined, scope: Scope, run: Run): Sources {
  if (parts === undefined) return noSources;
  const chosen: Sources[] = [];
  if (parts.agg_filter !== undefined) chosen.push(sourcesOf(parts.agg_filter, scope, run, 'predicate'));
  if (parts.agg_order !== undefined) chosen.push(sortSources(parts.agg_order, scope, run));
  if (parts.over !== undefined) chosen.push(windowSources(parts.over, scope, run));
  const sources = unionOf(chosen);
  addPredicates(run, sources);
  return sources;
}

export function windowSources(window: WindowDef, scope: Scope, run: Run, known = scope.windows): Sources {
  const parts: Sources[] = [];
  // In a WINDOW clause `name` is its own name and `refname` another's; in OVER either refers to one.
  for (const name of known === scope.windows ? [window.name, window.refname] : [window.refname]) {
    if (name === undefined) continue;
    const named = known?.get(name);
    if (named === undefined) throw new Unresolved(`window ${name} is not known`);
    parts.push(named);
  }
  for (const expression of window.partitionClause ?? []) parts.push(sourcesOf(expression, scope, run));
  parts.push(sortSources(window.orderClause, scope, run));
  for (const offset of [window.startOffset, window.endOffset])
    if (offset !== undefined) parts.push(sourcesOf(offset, scope, run));
  return unionOf(parts);
}

function sortSources(sorts: readonly Node[] | undefined, scope: Scope, run: Run): Sources {
  return unionOf(
    (sorts ?? []).map((sort) => {
      const by = tagged(sort);
      if (by?.kind !== 'SortBy') throw new Unresolved('an ORDER BY item is not known');
      return sourcesOf(by.body.node, scope, run);
    }),
  );
}

function subLink(body: SubLink, scope: Scope, run: Run, use: Use): Sources {
  const test = body.testexpr === undefined ? noSources : sourcesOf(body.testexpr, scope, run, use);
  const { fields, predicates } = subquery(body.subselect, scope, run);
  if (fields[0] !== undefined) {
    run.subqueryNames.set(body, fields[0].name);
    run.subqueryFields.set(body, fields[0]);
  }
  // Which rows there are decides the value; what EXISTS selects does not.
  if (body.subLinkType === 'EXISTS_SUBLINK') return union(test, predicates);
  const selected = unionOf(fields.map((field) => field.sources));
  if (body.subLinkType === 'EXPR_SUBLINK') return union(test, predicates, selected);
  if (body.subLinkType === 'ARRAY_SUBLINK')
    return union(predicates, toldOfArrays(run, selected, isElementType(fields[0]?.type)));
  // All others compare.
  return union(told(run, union(test, selected)), predicates);
}

function subquery(select: Node | undefined, scope: Scope, run: Run) {
  if (select === undefined) throw new Unresolved('a subquery without a query');
  const { value: fields, predicates } = withPredicates(run, () =>
    run.query(select, { items: [], parent: scope, ctes: scope.ctes }),
  );
  return { fields, predicates, sources: union(predicates, ...fields.map((field) => field.sources)) };
}
