/**
 * Column lineage: for each output column of a statement the base columns on which it depends, and the base columns that
 * choose or order its rows. Names are resolved as PostgreSQL's parser resolves them, against the catalogue of the
 * session. It answers "unresolved" wherever it is not sure. What it does not do: types, permissions, what policies think
 * of the answer.
 */
import type { Node, SelectStmt } from 'libpg-query';
import { addPredicates, type Run } from './expressions.ts';
import type { NameReading } from './functions.ts';
import { deleteFields, insertFields, mergeFields, updateFields } from './modify.ts';
import {
  columnKey,
  noSources,
  splitKey,
  union,
  unionOf,
  maxColumns,
  tooManyColumns,
  Unresolved,
  type Field,
  type Scope,
  type Sources,
} from './scope.ts';
import { selectFields } from './select.ts';
import type { Catalogue, CatalogueRelation, ColumnRef, Equality, Lineage, OutputColumn } from './statement.ts';
import { isSystemSchema } from './system-relations.ts';
import { bodyIf, kindSet, taggedAs } from './tree.ts';
import type { Shape } from './effect.ts';
import { viewTree } from './uses.ts';
import { lengthOfStored, noteRow } from './value-length.ts';

const outermost: Scope = { items: [], parent: undefined, ctes: undefined };
const maxViewDepth = 64;

export function lineageOf(shape: Shape, catalogue: Catalogue): Lineage {
  const run = newRun(catalogue, 'session', 0, shape.kind === 'query' ? bodyIf(shape.query, 'SelectStmt') : undefined);
  try {
    const fields = fieldsOf(shape, run);
    if (run.sizes.grows) addPredicates(run, run.sizes.chosen);
    return {
      resolved: true,
      outputs: outputsOf(fields, catalogue),
      predicates: columnsOf(union(run.predicates, new Set(run.equalities.keys())), catalogue),
      nullTests: columnsOf(run.nullTests, catalogue),
      equalities: equalitiesOf(run, catalogue),
    };
  } catch (error) {
    if (error instanceof Unresolved) return { resolved: false, reason: error.message };
    throw error;
  }
}

/**
 * Output columns of a view in the order of its columns, mapped to base tables; for any other relation its own columns.
 * Predicates inside views are their owners' business and are not listed.
 */
export function viewLineage(catalogue: Catalogue, relation: CatalogueRelation): Lineage {
  try {
    const fields = relationFields(relation, catalogue, 0);
    return { resolved: true, outputs: outputsOf(fields, catalogue), predicates: [], nullTests: [], equalities: [] };
  } catch (error) {
    if (error instanceof Unresolved) return { resolved: false, reason: error.message };
    if (error instanceof RangeError)
      return { resolved: false, reason: `view ${relation.schema}.${relation.name} is nested too deeply` };
    throw error;
  }
}

/** A column that is looked at in any other way, too, is a predicate like any other. */
function equalitiesOf({ equalities, predicates }: Run, catalogue: Catalogue): readonly Equality[] {
  return [...equalities].flatMap(([key, values]) =>
    predicates.has(key) ? [] : columnsOf(new Set([key]), catalogue).map((column) => ({ column, values })),
  );
}

function newRun(catalogue: Catalogue, reading: NameReading, depth: number, outermost?: SelectStmt): Run {
  const run: Run = {
    catalogue,
    reading,
    predicates: new Set(),
    nullTests: new Set(),
    equalities: new Map(),
    outermost,
    queries: 0,
    subqueryNames: new WeakMap(),
    subqueryFields: new WeakMap(),
    types: new WeakMap(),
    sizes: { grows: false, chosen: new Set() },
    query: (node, parent) => queryFields(node, parent, run),
    relationFields: (relation) => relationFields(relation, catalogue, depth),
  };
  return run;
}

const queryKinds = kindSet('SelectStmt', 'InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt');

/** Nested recursive queries are looked at several times each, and stars over stars double their columns. */
const maxQueries = 5_000;

function queryFields(node: Node, parent: Scope, run: Run): readonly Field[] {
  run.queries++;
  if (run.queries > maxQueries) throw new Unresolved('the statement has too many subqueries');
  const fields = fieldsOfQuery(node, parent, run);
  noteRow(fields, run);
  if (fields.length > maxColumns) throw tooManyColumns();
  return fields;
}

function fieldsOfQuery(node: Node, parent: Scope, run: Run): readonly Field[] {
  const statement = taggedAs(node, queryKinds);
  switch (statement.kind) {
    case 'SelectStmt':
      return selectFields(statement.body, parent, run);
    case 'InsertStmt':
      return insertFields(statement.body, parent, run);
    case 'UpdateStmt':
      return updateFields(statement.body, parent, run);
    case 'DeleteStmt':
      return deleteFields(statement.body, parent, run);
    case 'MergeStmt':
      return mergeFields(statement.body, parent, run);
    case 'other':
    default:
      throw new Unresolved(`the statement ${statement.name} is not known as a query`);
  }
}

function fieldsOf(shape: Shape, run: Run): readonly Field[] {
  switch (shape.kind) {
    case 'query':
      return queryFields(shape.query, outermost, run);
    case 'stored':
      addPredicates(run, allSources(queryFields(shape.query, outermost, run)));
      return [];
    case 'explain': {
      // Estimates and (with ANALYZE) row counts tell about every column inside.
      const inner = allSources(fieldsOf(shape.inner, run));
      return [{ name: 'QUERY PLAN', sources: union(inner, run.predicates), verbatim: false }];
    }
    case 'copy-table':
      return copyFields(shape.relation, shape.columns, run);
    case 'columns':
      return shape.names.map((name) => ({ name, sources: noSources, verbatim: false }));
    case 'unresolved':
      throw new Unresolved(shape.reason);
    default:
      shape satisfies never;
      throw new Unresolved('the statement is not known');
  }
}

/** COPY without a column list leaves out generated columns. */
function copyFields(relation: CatalogueRelation, names: readonly string[], run: Run): readonly Field[] {
  const fields = run.relationFields(relation);
  if (names.length === 0) {
    const plain = new Set(
      relation.columns.filter((column) => column.generatedFrom === undefined).map((column) => column.name),
    );
    return fields.filter((field) => plain.has(field.name));
  }
  return names.map((name) => {
    const field = fields.find((one) => one.name === name);
    if (field === undefined) throw new Unresolved(`column ${name} is not known`);
    return field;
  });
}

const fieldsByCatalogue = new WeakMap<Catalogue, Map<number, readonly Field[] | Unresolved>>();

function relationFields(relation: CatalogueRelation, catalogue: Catalogue, depth: number): readonly Field[] {
  let known = fieldsByCatalogue.get(catalogue);
  if (known === undefined) fieldsByCatalogue.set(catalogue, (known = new Map()));
  let fields = known.get(relation.oid);
  if (fields === undefined) {
    const isView = relation.kind === 'view' || relation.kind === 'materialized-view';
    // While a view is read, it is answered as one that reads itself.
    if (isView) known.set(relation.oid, new Unresolved(`view ${relation.schema}.${relation.name} reads itself`));
    fields =
      isView && !isSystemSchema(relation.schema) ? viewFields(relation, catalogue, depth + 1) : baseFields(relation);
    known.set(relation.oid, fields);
  }
  if (fields instanceof Unresolved) throw fields;
  return fields;
}

function viewFields(view: CatalogueRelation, catalogue: Catalogue, depth: number): readonly Field[] | Unresolved {
  const shown = `view ${view.schema}.${view.name}`;
  const tree = depth > maxViewDepth ? 'views are nested too deeply' : viewTree(view);
  if (typeof tree === 'string') return new Unresolved(`${shown}: ${tree}`);
  try {
    const fields = queryFields(tree, outermost, newRun(catalogue, 'deparsed', depth));
    if (fields.length !== view.columns.length)
      return new Unresolved(`${shown}: its definition has other columns than the catalogue says`);
    return view.columns.map((column, index) => {
      return {
        name: column.name,
        sources: fields[index]?.sources ?? noSources,
        verbatim: fields[index]?.verbatim ?? false,
        type: column.typeName,
        followsNulls: fields[index]?.followsNulls,
        length: fields[index]?.length,
      };
    });
  } catch (error) {
    if (error instanceof Unresolved) return new Unresolved(`${shown}: ${error.message}`);
    throw error;
  }
}

function baseFields(relation: CatalogueRelation): readonly Field[] {
  const attnums = new Map(relation.columns.map((column) => [column.name, column.attnum]));
  return relation.columns.map((column): Field => {
    const sources = new Set([columnKey(relation.oid, column.attnum)]);
    for (const name of column.generatedFrom ?? []) {
      const attnum = attnums.get(name);
      if (attnum !== undefined) sources.add(columnKey(relation.oid, attnum));
    }
    return {
      name: column.name,
      sources,
      verbatim: sources.size === 1,
      type: column.typeName,
      followsNulls: column.generatedFrom === undefined,
      length: lengthOfStored,
    };
  });
}

function allSources(fields: readonly Field[]): Sources {
  return unionOf(fields.map((field) => field.sources));
}

function outputsOf(fields: readonly Field[], catalogue: Catalogue): readonly OutputColumn[] {
  return fields.map((field) => ({
    name: field.name,
    sources: columnsOf(field.sources, catalogue),
    verbatim: field.verbatim,
  }));
}

function columnsOf(sources: Sources, catalogue: Catalogue): readonly ColumnRef[] {
  return [...sources].map((key) => {
    const { relationOid, attnum } = splitKey(key);
    const relation = catalogue.relationByOid(relationOid);
    const column = relation?.columns.find((one) => one.attnum === attnum);
    if (relation === undefined || column === undefined)
      throw new Error(`column ${attnum} of relation ${relationOid} vanished`);
    return { relationOid, attnum, schema: relation.schema, relation: relation.name, column: column.name };
  });
}
