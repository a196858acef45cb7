/**
 * Names in scope, as PostgreSQL's parser finds them (its parse_relation.c, parse_expr.c: columns of the innermost level
 * first, at each level all visible FROM items; only when no level has such a column may the name mean a whole row).
 */
import type { CommonTableExpr, Node } from 'libpg-query';
import type { CatalogueRelation } from './statement.ts';
import { stringOf } from './tree.ts';

/** Base columns by key; see `columnKey`. */
export type Sources = ReadonlySet<number>;
export const noSources: Sources = new Set();

export function union(...all: readonly Sources[]): Sources {
  return unionOf(all);
}

/** For lists of any length: an IN list has more items than a call can have arguments. */
export function unionOf(all: readonly Sources[]): Sources {
  let result = noSources;
  let own: Set<number> | undefined;
  for (const sources of all) {
    if (sources.size === 0) continue;
    if (result.size === 0) result = sources;
    else {
      own ??= new Set(result);
      for (const key of sources) own.add(key);
      result = own;
    }
  }
  return result;
}

const keysPerRelation = 4_096;

/** PostgreSQL allows at most 1,600 columns. */
export function columnKey(relationOid: number, attnum: number): number {
  return relationOid * keysPerRelation + attnum;
}

export function splitKey(key: number): { readonly relationOid: number; readonly attnum: number } {
  return { relationOid: Math.floor(key / keysPerRelation), attnum: key % keysPerRelation };
}

export interface Field {
  readonly name: string;
  readonly sources: Sources;
  /** One base column as it stands. */
  readonly verbatim: boolean;
  /** As the catalogue prints types; undefined = not known. */
  readonly type?: string | undefined;
  /** Whether it is NULL follows from which columns are NULL, not from what they hold. Not said counts as no. */
  readonly followsNulls?: boolean | undefined;
  /** See `value-length.ts`. Not said counts as long, except for a base column. */
  readonly length?: number | undefined;
}

/** One thing that FROM made visible. */
export interface NamespaceItem {
  /** Under which its columns can be qualified; undefined for a join without alias. */
  readonly name: string | undefined;
  /** Only without an alias: then `schema.table.column` means it too. */
  readonly relation: CatalogueRelation | undefined;
  readonly fields: readonly Field[];
  readonly nameVisible: boolean;
  readonly columnsVisible: boolean;
  readonly systemColumns: boolean;
  /** It may have columns that we do not know (a composite type), so a name not found may be one of them. */
  readonly open: boolean;
}

export interface CteBinding {
  readonly query: CommonTableExpr;
  readonly recursive: boolean;
  /** Where the query itself looks up names. */
  readonly scope: Scope;
  state: 'pending' | 'active' | 'done';
  /** While active: what is known so far, for the recursive reference. */
  fields: readonly Field[] | undefined;
}

export interface CteScope {
  readonly bindings: ReadonlyMap<string, CteBinding>;
  readonly outer: CteScope | undefined;
}

export interface Scope {
  readonly items: readonly NamespaceItem[];
  readonly parent: Scope | undefined;
  readonly ctes: CteScope | undefined;
  /** Columns in the definitions of the named windows of this SELECT. */
  readonly windows?: ReadonlyMap<string, Sources> | undefined;
}

/** PostgreSQL's own limit of a select list. */
export const maxColumns = 1_664;

export function tooManyColumns(): Unresolved {
  return new Unresolved(`a query has more than ${maxColumns} columns`);
}

/** Thrown where lineage cannot be told; becomes `resolved: false`. It never leaves lineage.ts. */
export class Unresolved extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = 'Unresolved';
  }
}

export function findCte(scope: Scope, name: string): CteBinding | undefined {
  for (let ctes = scope.ctes; ctes !== undefined; ctes = ctes.outer) {
    const found = ctes.bindings.get(name);
    if (found !== undefined) return found;
  }
  return undefined;
}

export type Reference =
  | { readonly kind: 'field'; readonly field: Field }
  /** A system column: no data of the row. */
  | { readonly kind: 'system' }
  | { readonly kind: 'row'; readonly item: NamespaceItem };

const systemColumnNames = new Set(['tableoid', 'ctid', 'xmin', 'xmax', 'cmin', 'cmax']);

export function resolveColumn(fields: readonly Node[], scope: Scope): Reference {
  const path = fields.map((field) => stringOf(field));
  const shown = path.map((part) => part ?? '*').join('.');
  if (path.at(-1) === undefined) return { kind: 'row', item: itemOfPath(path.slice(0, -1), scope, shown) };
  const name = path.at(-1) ?? '';
  if (path.length === 1) return bareName(name, scope);
  const item = itemOfPath(path.slice(0, -1), scope, shown);
  const found = fieldOf(item, name, shown);
  if (found === undefined) throw new Unresolved(`column ${shown} is not known`);
  return found;
}

/** The columns that `t.*` or `*` stands for in a select list; undefined when `fields` is no star. */
export function expandStar(fields: readonly Node[], scope: Scope): readonly Field[] | undefined {
  if (stringOf(fields.at(-1)) !== undefined) return undefined;
  if (fields.length > 1) {
    const path = fields.slice(0, -1).map((field) => stringOf(field));
    const item = itemOfPath(path, scope, path.join('.'));
    if (item.open) throw new Unresolved(`the columns of ${item.name ?? 'a function'} are not known`);
    return item.fields;
  }
  const visible = scope.items.filter((item) => item.columnsVisible);
  if (visible.length === 0) throw new Unresolved('* without FROM');
  if (visible.some((item) => item.open)) throw new Unresolved('the columns of a function in FROM are not known');
  return visible.flatMap((item) => item.fields);
}

/** A column of this level only, for GROUP BY. */
export function localColumn(name: string, scope: Scope): Reference | undefined {
  return columnAt(scope, name);
}

export function rowSources(item: NamespaceItem): Sources {
  return unionOf(item.fields.map((field) => field.sources));
}

function bareName(name: string, scope: Scope): Reference {
  for (let level: Scope | undefined = scope; level !== undefined; level = level.parent) {
    const found = columnAt(level, name);
    if (found !== undefined) return found;
  }
  for (let level: Scope | undefined = scope; level !== undefined; level = level.parent) {
    const item = itemAt(level, undefined, name, name);
    if (item !== undefined) return { kind: 'row', item };
  }
  throw new Unresolved(`column ${name} is not known`);
}

function columnAt(level: Scope, name: string): Reference | undefined {
  let found: Reference | undefined;
  let system = false;
  let open = false;
  for (const item of level.items) {
    if (!item.columnsVisible) continue;
    const here = fieldOf(item, name, name);
    if (here?.kind === 'system') system = true;
    else if (here !== undefined) {
      if (found !== undefined) throw new Unresolved(`column ${name} is ambiguous`);
      found = here;
    }
    open ||= item.open;
  }
  if (found !== undefined) return found;
  if (system) return { kind: 'system' };
  // The name of the function itself is its whole row; anything else may be a column that we cannot see.
  if (open && itemAt(level, undefined, name, name) === undefined)
    throw new Unresolved(`column ${name} may belong to a function in FROM`);
  return undefined;
}

function fieldOf(item: NamespaceItem, name: string, shown: string): Reference | undefined {
  let found: Field | undefined;
  for (const field of item.fields) {
    if (field.name !== name) continue;
    if (found !== undefined) throw new Unresolved(`column ${shown} is ambiguous`);
    found = field;
  }
  if (found !== undefined) return { kind: 'field', field: found };
  return item.systemColumns && systemColumnNames.has(name) ? { kind: 'system' } : undefined;
}

/** `t`, `schema.t` or `database.schema.t`. The server itself refuses a database other than its own. */
function itemOfPath(path: readonly (string | undefined)[], scope: Scope, shown: string): NamespaceItem {
  const name = path.at(-1);
  const schema = path.at(-2);
  if (name === undefined || path.length > 3) throw new Unresolved(`${shown} is not known`);
  for (let level: Scope | undefined = scope; level !== undefined; level = level.parent) {
    const item = itemAt(level, schema, name, shown);
    if (item !== undefined) return item;
  }
  throw new Unresolved(`${shown}: there is no ${name} in FROM`);
}

function itemAt(level: Scope, schema: string | undefined, name: string, shown: string): NamespaceItem | undefined {
  let found: NamespaceItem | undefined;
  for (const item of level.items) {
    if (!item.nameVisible || item.name !== name) continue;
    if (schema !== undefined && (item.relation === undefined || item.relation.schema !== schema)) continue;
    if (found !== undefined) throw new Unresolved(`${shown} is ambiguous`);
    found = item;
  }
  return found;
}
