/**
 * What a tree touches: relations (with the closure over views, partitions and inheritance), functions, operators, types,
 * parameters. It visits every node, whatever its kind, and names each that it does not know: nothing is skipped because
 * nobody thought of it.
 */
import type { Node, RangeVar, SelectStmt, TypeName } from 'libpg-query';
import { comparesRowAddress, isPagingSelect } from './bounds.ts';
import { DottedNames } from './dotted-names.ts';
import {
  functionReason,
  knownFields,
  operatorReason,
  sequenceFunctions,
  sessionFunctions,
  typeReason,
  type NameReading,
} from './functions.ts';
import { parseStatements } from './parse.ts';
import type { Catalogue, CatalogueRelation, RelationUse } from './statement.ts';
import { sequencePath } from './sequence-path.ts';
import { isHarmlessCatalogueRelation, isSystemSchema } from './system-relations.ts';
import { isKind, isTree, stringsOf, type Tree } from './tree.ts';

export interface Uses {
  readonly relations: readonly RelationUse[];
  readonly unknowns: readonly string[];
  /** Highest $n. */
  readonly parameters: number;
  /** INSERT, UPDATE, DELETE, MERGE, nextval or setval anywhere. */
  readonly modifies: boolean;
  /** `ADVISORY LOCK` or `NOTIFY`, where a function does that anywhere. */
  readonly signals: string | undefined;
  /** FOR UPDATE, FOR SHARE … anywhere. */
  readonly locks: boolean;
  /** The relation that SELECT INTO would make. */
  readonly into: RangeVar | undefined;
  readonly paging: boolean;
  /**
   * Names after a dot that call a function if there is no such column: `t.f` and `(x).f` are f(t) and f(x). Lineage
   * resolves each or fails; where it failed, these are unknown.
   */
  readonly callLike: readonly string[];
  /** More such names: of a function in FROM, so that they may be its columns. */
  readonly dotted: readonly string[];
}

export interface UsesOptions {
  readonly reading: NameReading;
  /** False for statements that only define something: what it calls will be looked at when it is used. */
  readonly checkNames: boolean;
}

/** Definitions of views are read once per catalogue. */
export const maxViewDefinitionBytes = 4 * 1024 * 1024;
const maxViewDepth = 64;

export const noUses: Uses = {
  relations: [],
  unknowns: [],
  parameters: 0,
  modifies: false,
  signals: undefined,
  locks: false,
  into: undefined,
  paging: false,
  callLike: [],
  dotted: [],
};

/** Kinds that may stand in a query. */
const queryKinds = new Set(
  `A_ArrayExpr A_Const A_Expr A_Indices A_Indirection A_Star Alias BitString BoolExpr Boolean BooleanTest CaseExpr
  CaseWhen CoalesceExpr CollateClause ColumnDef ColumnRef CommonTableExpr DeleteStmt Float FuncCall GroupingFunc
  GroupingSet IndexElem InsertStmt Integer JoinExpr JsonArgument JsonArrayAgg JsonArrayConstructor
  JsonArrayQueryConstructor JsonBehavior JsonFuncExpr JsonIsPredicate JsonKeyValue JsonObjectAgg JsonObjectConstructor
  JsonParseExpr JsonScalarExpr JsonSerializeExpr JsonTable JsonTableColumn JsonTablePathSpec JsonValueExpr List
  LockingClause MergeStmt MergeSupportFunc MergeWhenClause MinMaxExpr MultiAssignRef NamedArgExpr NullTest ParamRef
  RangeFunction RangeSubselect RangeTableFunc RangeTableFuncCol RangeTableSample RangeVar ResTarget ReturningOption
  RowExpr SQLValueFunction SelectStmt SetToDefault SortBy String SubLink TypeCast TypeName UpdateStmt WindowDef XmlExpr
  XmlSerialize`.split(/\s+/),
);

const newerSyntaxNames =
  /^(json|json_(exists|query|value|table|scalar|serialize|object|array|objectagg|arrayagg)|merge_action)$/;
const sampleMethods = new Set(['bernoulli', 'system']);

/** Names of WITH queries in scope, innermost first. */
interface CteNames {
  readonly names: ReadonlySet<string>;
  readonly outer: CteNames | undefined;
}

class Collector {
  readonly relations = new Map<string, RelationUse>();
  readonly unknowns = new Set<string>();
  parameters = 0;
  modifies = false;
  signals: string | undefined;
  locks = false;
  into: RangeVar | undefined;
  paging = false;
  readonly callLike = new Set<string>();
  readonly dotted = new DottedNames();
  readonly #catalogue: Catalogue;
  readonly #options: UsesOptions;
  readonly #depth: number;

  constructor(catalogue: Catalogue, options: UsesOptions, depth: number) {
    this.#catalogue = catalogue;
    this.#options = options;
    this.#depth = depth;
  }

  visit(value: unknown, field: string, ctes: CteNames | undefined): void {
    if (Array.isArray(value)) {
      for (const item of value) this.visit(item, field, ctes);
      return;
    }
    if (!isTree(value)) return;
    for (const first in value) {
      if (isKind(first)) return this.#visitKind(first, value[first], ctes);
      break;
    }
    if ('relname' in value) this.#range(value, 'read', ctes);
    else if ('names' in value) this.#type(value, ctes);
    else if (field === 'larg' || field === 'rarg') this.#select(value, ctes);
    else this.#fields(value, ctes);
  }

  #fields(body: Tree, ctes: CteNames | undefined, skipped?: string): void {
    for (const field in body) {
      if (field !== skipped && field !== 'withClause') this.visit(body[field], field, ctes);
    }
  }

  #visitKind(kind: string, body: unknown, ctes: CteNames | undefined): void {
    if (this.#options.checkNames && !queryKinds.has(kind)) {
      this.unknowns.add(kind === 'CurrentOfExpr' ? 'WHERE CURRENT OF a cursor' : `the construct ${kind} is not known`);
    }
    if (!isTree(body)) return;
    switch (kind) {
      case 'RangeVar':
        return this.#range(body, 'read', ctes);
      case 'SelectStmt':
        return this.#select(body, ctes);
      case 'InsertStmt':
      case 'UpdateStmt':
      case 'DeleteStmt':
      case 'MergeStmt': {
        this.modifies = true;
        const inner = this.#with(body, ctes);
        this.#range(body['relation'] as RangeVar, 'write', undefined);
        // All but INSERT also read the rows that they change; so does INSERT … ON CONFLICT or RETURNING.
        this.#range(body['relation'] as RangeVar, 'read', undefined);
        return this.#fields(body, inner, 'relation');
      }
      case 'TypeName':
        return this.#type(body, ctes);
      case 'FuncCall':
        if (this.#options.checkNames) this.#call(body);
        break;
      case 'ParamRef':
        this.parameters = Math.max(this.parameters, Number(body['number'] ?? 0));
        break;
      case 'A_Expr':
        this.#operators(body);
        if (comparesRowAddress(body)) this.paging = true;
        break;
      case 'JsonFuncExpr':
      case 'JsonTable':
      case 'JsonParseExpr':
      case 'JsonScalarExpr':
      case 'JsonSerializeExpr':
      case 'JsonObjectConstructor':
      case 'JsonArrayConstructor':
      case 'JsonArrayQueryConstructor':
      case 'JsonObjectAgg':
      case 'JsonArrayAgg':
      case 'MergeSupportFunc':
        this.#newerSyntax();
        break;
      case 'ColumnRef':
        this.#mayCall((body['fields'] as Node[] | undefined)?.slice(1), false);
        this.dotted.reference(body['fields'] as Node[] | undefined);
        break;
      case 'RangeFunction':
        this.dotted.functionItem(body);
        break;
      case 'A_Indirection':
        this.#mayCall(body['indirection'] as Node[] | undefined, true);
        break;
      case 'SubLink':
        if (body['operName'] !== undefined) this.#operator(stringsOf(body['operName'] as Node[]));
        else if (body['subLinkType'] === 'ANY_SUBLINK') this.#operator(['=']);
        break;
      case 'SortBy':
        if (body['useOp'] !== undefined) this.#operator(stringsOf(body['useOp'] as Node[]));
        break;
      case 'CaseExpr':
        if (body['arg'] !== undefined) this.#operator(['=']);
        break;
      case 'JoinExpr':
        if (body['usingClause'] !== undefined || body['isNatural'] === true) this.#operator(['=']);
        break;
      case 'RangeTableSample':
        if (!sampleMethods.has(stringsOf(body['method'] as Node[]).join('.')))
          this.unknowns.add('a TABLESAMPLE method that is not built in');
        break;
      default:
    }
    this.#fields(body, ctes);
  }

  #select(body: Tree, ctes: CteNames | undefined): void {
    const select = body as SelectStmt;
    if (select.lockingClause !== undefined) this.locks = true;
    if (select.intoClause !== undefined) this.into = select.intoClause.rel;
    if (isPagingSelect(select)) this.paging = true;
    const inner = this.#with(body, ctes);
    for (const field in body) {
      // A locking clause names aliases, INTO a relation that does not exist yet.
      if (field !== 'lockingClause' && field !== 'intoClause' && field !== 'withClause')
        this.visit(body[field], field, inner);
    }
  }

  /** Visits the WITH queries and gives the names that the rest of the statement sees. */
  #with(body: Tree, outer: CteNames | undefined): CteNames | undefined {
    const clause = body['withClause'];
    if (!isTree(clause)) return outer;
    const queries = (clause['ctes'] as Tree[] | undefined) ?? [];
    const bodies = queries.map((query) => query['CommonTableExpr'] as Tree);
    const names = bodies.map((query) => String(query['ctename']));
    if (clause['recursive'] === true) {
      const inner = { names: new Set(names), outer };
      for (const query of bodies) this.#fields(query, inner);
      return inner;
    }
    // Each sees those before it: the set grows as they are visited.
    const before = new Set<string>();
    bodies.forEach((query, index) => {
      this.#fields(query, { names: before, outer });
      before.add(names[index] ?? '');
    });
    return { names: before, outer };
  }

  #range(range: RangeVar, access: 'read' | 'write', ctes: CteNames | undefined): void {
    const name = range.relname ?? '';
    if (range.schemaname === undefined) {
      for (let scope = ctes; scope !== undefined; scope = scope.outer) if (scope.names.has(name)) return;
    }
    const relation = relationOf(range, this.#catalogue, this.#options.reading);
    if (relation === undefined) {
      this.unknowns.add(notInCatalogue(range));
      return;
    }
    this.addRelation(relation, access, true, range.inh === true);
  }

  addRelation(relation: CatalogueRelation, access: 'read' | 'write', direct: boolean, withChildren: boolean): void {
    const key = `${relation.oid} ${access}`;
    const known = this.relations.get(key);
    const shown = `${relation.schema}.${relation.name}`;
    if (known === undefined || (direct && !known.direct)) {
      const { oid, schema, name, kind } = relation;
      const use: RelationUse = { oid, schema, name, kind, access, direct };
      this.relations.set(key, use);
      if (isSystemSchema(schema) && !isHarmlessCatalogueRelation(use)) {
        this.unknowns.add(`system relation ${shown} may hold data or secrets`);
      }
      if (this.#catalogue.callsUserCode(oid)) {
        this.unknowns.add(`${shown} has values that functions of the database's users convert, compare or compute`);
      }
      if (kind === 'composite-type' || kind === 'other') this.unknowns.add(`${shown} is not a table or view`);
      if (access === 'write' && relation.rules.some((rule) => rule.startsWith('CREATE RULE'))) {
        this.unknowns.add(`${shown} has rewrite rules`);
      }
      if (kind === 'view' || kind === 'materialized-view') this.#view(relation, access);
    }
    if (!withChildren) return;
    for (const oid of relation.children) {
      const child = this.#catalogue.relationByOid(oid);
      if (child === undefined) this.unknowns.add(`a child of ${shown} is not in the catalogue`);
      else if (!this.relations.has(`${oid} ${access}`)) this.addRelation(child, access, false, true);
    }
  }

  #view(relation: CatalogueRelation, access: 'read' | 'write'): void {
    if (isSystemSchema(relation.schema)) return;
    const inside = viewUses(relation, this.#catalogue, this.#depth + 1);
    for (const unknown of inside.unknowns) this.unknowns.add(unknown);
    for (const use of inside.relations) {
      for (const how of access === 'write' ? (['read', 'write'] as const) : (['read'] as const)) {
        const key = `${use.oid} ${how}`;
        if (!this.relations.has(key)) this.relations.set(key, { ...use, access: how, direct: false });
      }
    }
  }

  #call(call: Tree): void {
    const reason = functionReason(call, this.#catalogue, this.#options.reading);
    this.#note(reason);
    const name = stringsOf(call['funcname'] as Node[] | undefined).at(-1) ?? '';
    if (reason !== undefined || this.#options.reading !== 'session') return;
    this.signals ??= sessionFunctions.get(name);
    if (!sequenceFunctions.has(name)) return;
    this.modifies = true;
    const path = sequencePath((call['args'] as Node[] | undefined)?.[0]);
    const sequence = path === undefined ? undefined : this.#catalogue.relationByName(path.schema, path.name);
    if (sequence?.kind === 'sequence') this.addRelation(sequence, 'write', true, false);
    else this.unknowns.add(`which sequence ${name} changes is not known`);
  }

  #type(type: TypeName, ctes: CteNames | undefined): void {
    if (this.#options.checkNames) this.#note(typeReason(type, this.#catalogue, this.#options.reading));
    this.#fields(type as Tree, ctes);
  }

  #operators(body: Tree): void {
    const path = stringsOf(body['name'] as Node[] | undefined);
    if (/^(NOT )?BETWEEN/.test(path.at(-1) ?? '')) for (const name of ['<', '<=', '>', '>=']) this.#operator([name]);
    else this.#operator(path);
  }

  #operator(path: readonly string[]): void {
    if (this.#options.checkNames) this.#note(operatorReason(path, this.#catalogue, this.#options.reading));
  }

  /** What the parser of PostgreSQL 18 takes for SQL/JSON is a plain call for an older server. */
  #newerSyntax(): void {
    if (this.#options.reading !== 'session') return;
    for (const name of this.#catalogue.userFunctions) {
      if (newerSyntaxNames.test(name))
        this.unknowns.add(
          `function ${name} is not the built-in one for certain: the database defines one of that name`,
        );
    }
  }

  /** Behind a value of any type a function can stand, and behind a row one of users. */
  #mayCall(names: readonly Node[] | undefined, onAnyValue: boolean): void {
    for (const name of stringsOf(names)) {
      if (this.#catalogue.userFunctions.has(name) || (onAnyValue && !knownFields.has(name))) this.callLike.add(name);
    }
  }

  #note(reason: string | undefined): void {
    if (reason !== undefined) this.unknowns.add(reason);
  }
}

export function collectUses(tree: unknown, catalogue: Catalogue, options: UsesOptions): Uses {
  return collect(tree, catalogue, options, 0);
}

/** The closure of one relation by itself, for statements that name it outside a query. */
export function usesOfRelations(
  named: readonly { readonly relation: CatalogueRelation; readonly access: 'read' | 'write' }[],
  catalogue: Catalogue,
): Uses {
  const collector = new Collector(catalogue, { reading: 'session', checkNames: true }, 0);
  for (const { relation, access } of named) collector.addRelation(relation, access, true, true);
  return finish(collector);
}

function collect(tree: unknown, catalogue: Catalogue, options: UsesOptions, depth: number): Uses {
  const collector = new Collector(catalogue, options, depth);
  if (options.checkNames && catalogue.callsUserCode(0)) {
    collector.unknowns.add('a cast between built-in types calls a function of users, and no text has to name it');
  }
  collector.visit(tree, '', undefined);
  return finish(collector);
}

function finish(collector: Collector): Uses {
  const { parameters, modifies, signals, locks, into, paging, callLike, dotted } = collector;
  return {
    relations: [...collector.relations.values()],
    unknowns: [...collector.unknowns],
    parameters,
    modifies,
    signals,
    locks,
    into,
    paging,
    callLike: [...callLike],
    dotted: dotted.ofFunctions(),
  };
}

const viewUsesOf = new WeakMap<Catalogue, Map<number, Uses>>();

function viewUses(view: CatalogueRelation, catalogue: Catalogue, depth: number): Uses {
  let known = viewUsesOf.get(catalogue);
  if (known === undefined) viewUsesOf.set(catalogue, (known = new Map()));
  const found = known.get(view.oid);
  if (found !== undefined) return found;
  const shown = `view ${view.schema}.${view.name}`;
  const unknown = (reason: string): Uses => ({ ...noUses, unknowns: [`${shown}: ${reason}`] });
  if (depth > maxViewDepth) return unknown('views are nested too deeply');
  // A view that reaches itself is answered with this while it is being read.
  known.set(view.oid, unknown('it reads itself'));
  let uses: Uses;
  try {
    const tree = viewTree(view);
    uses =
      typeof tree === 'string'
        ? unknown(tree)
        : collect(tree, catalogue, { reading: 'deparsed', checkNames: true }, depth);
  } catch (error) {
    // No room left on the stack of a deep statement says nothing about the view.
    known.delete(view.oid);
    throw error;
  }
  const named = {
    ...uses,
    unknowns: uses.unknowns.map((reason) => (reason.startsWith('view ') ? reason : `${shown}: ${reason}`)),
  };
  known.set(view.oid, named);
  return named;
}

/** The tree of a view's SELECT, or why there is none. */
export function viewTree(view: CatalogueRelation): Node | string {
  if (view.definition === undefined) return 'its definition is not known';
  const parsed = parseStatements(view.definition, { maxBytes: maxViewDefinitionBytes });
  const [statement, ...more] = parsed.ok ? parsed.statements : [];
  if (statement === undefined || more.length > 0 || !('SelectStmt' in statement.tree))
    return 'its definition cannot be read';
  return statement.tree;
}

/** The relation that a name means; deparsed texts qualify everything outside pg_catalog. */
export function relationOf(range: RangeVar, catalogue: Catalogue, reading: NameReading): CatalogueRelation | undefined {
  const schema = range.schemaname ?? (reading === 'deparsed' ? 'pg_catalog' : undefined);
  return catalogue.relationByName(schema, range.relname ?? '');
}

export function notInCatalogue(range: RangeVar): string {
  return `relation ${rangeText(range)} is not in the catalogue`;
}

export function rangeText(range: RangeVar): string {
  return [range.catalogname, range.schemaname, range.relname].filter((part) => part !== undefined).join('.');
}
