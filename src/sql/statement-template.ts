/**
 * One statement as a step of a loop whose range of keys moves: what stays the same (the shape) and which keys this step
 * reads. Stricter than `paging.ts`, which only recognises loops: here everything that is not certain is no step, because
 * what has the shape of an approved step runs without being asked for again. Purely syntax and catalogue; decides nothing.
 */
import type { ColumnRef as ColumnReference, Node, RangeVar, SelectStmt } from 'libpg-query';
import { digestOf } from '../lib/canonical-json.ts';
import { columnPath, conditionsOf, fingerprint } from './paging-step.ts';
import { parseStatements, scanTokens } from './parse.ts';
import type { Catalogue, CatalogueColumn, CatalogueRelation, StatementFacts } from './statement.ts';
import { isTemporary } from './temporary.ts';
import { bodyIf, isTree, stringsOf, tagged } from './tree.ts';

export interface StepQuestion {
  readonly text: string;
  readonly parameters: readonly (string | null)[] | undefined;
  readonly parameterKinds: readonly { readonly type: number; readonly format: 'text' | 'binary' }[] | undefined;
  readonly facts: readonly StatementFacts[];
  readonly catalogue: Catalogue;
  readonly isMasked: (relationOid: number, attnum: number) => boolean;
  readonly maxBytes: number;
}

export interface TemplateStep {
  readonly form: 'range' | 'keyset' | 'offset';
  /** `schema.relation.column`, or `position` for the position of a row. */
  readonly key: string;
  /** SHA-256 over the parse tree without what moves, and over every parameter that does not. */
  readonly shape: string;
  /** The keys that it reads, both included. A keyset step has no highest: its rows tell. */
  readonly low: bigint;
  readonly high: bigint | undefined;
  /** Of LIMIT. */
  readonly limit: number | undefined;
  /** Keyset: which output is the key. */
  readonly keyAt: number | undefined;
  /** The statement with `:lo` and `:hi` in place of what moves. */
  readonly text: string;
}

/** A constant or parameter that is an integer. */
interface Integer {
  readonly node: Node;
  readonly value: bigint;
  readonly parameter: number | undefined;
}

interface KeyColumn {
  readonly relation: CatalogueRelation;
  readonly column: CatalogueColumn;
  /** Which item of FROM. */
  readonly item: RangeVar;
}

interface Comparison {
  readonly key: KeyColumn;
  readonly side: 'lower' | 'upper';
  readonly bound: Integer;
  /** The key that it lets through next to the bound. */
  readonly edge: bigint;
}

type Found = Omit<TemplateStep, 'shape' | 'text'> & { readonly moving: readonly (readonly [Integer, 'lo' | 'hi'])[] };

const sizes: ReadonlyMap<number, number> = new Map([
  [21, 2],
  [23, 4],
  [20, 8],
]);
const offsetType = 20;
const integerText = /^(0|-?[1-9]\d{0,17})$/;

/** undefined = no step of any loop, or nobody can be sure. */
export function templateStep(question: StepQuestion): TemplateStep | undefined {
  const [facts, ...others] = question.facts;
  if (facts === undefined || others.length > 0 || facts.class !== 'read' || facts.unknowns.length > 0) return undefined;
  if (facts.prepared !== undefined || facts.cursor !== undefined || facts.relations.some(isTemporary)) return undefined;
  const parsed = parseStatements(question.text, { maxBytes: question.maxBytes });
  const [statement, ...more] = parsed.ok ? parsed.statements : [];
  const select = bodyIf(statement?.tree, 'SelectStmt');
  if (statement === undefined || more.length > 0 || select === undefined || !isPlain(select)) return undefined;
  const found = new Reading(question, facts, select).step();
  if (found === undefined) return undefined;
  const { moving, ...step } = found;
  const numbers = moving.flatMap(([{ parameter }]) => parameter ?? []);
  // A parameter that stands in a second place would move something else, too.
  if (numbers.some((number) => countParameter(statement.tree, number) !== 1)) return undefined;
  const text = withNames(question.text, moving, question.maxBytes);
  if (text === undefined) return undefined;
  const places = new Map<unknown, string>(moving.map(([{ node }, name]) => [node, name]));
  const tree = fingerprint(statement.tree, (value) => (places.has(value) ? { moves: places.get(value) } : value));
  const parameters = (question.parameters ?? []).map((value, index) => {
    const { type, format } = question.parameterKinds?.[index] ?? { type: 0, format: 'text' };
    return numbers.includes(index + 1) ? { moves: type === 0 ? 'untyped' : 'integer' } : { value, type, format };
  });
  return { ...step, text, shape: digestOf({ tree, form: step.form, key: step.key, parameters }) };
}

function isPlain({ op, larg, withClause, intoClause, lockingClause, valuesLists, limitOption }: SelectStmt): boolean {
  const parts = [larg, withClause, intoClause, lockingClause, valuesLists];
  return (
    (op === undefined || op === 'SETOP_NONE') &&
    parts.every((part) => part === undefined) &&
    limitOption !== 'LIMIT_OPTION_WITH_TIES'
  );
}

function countParameter(value: unknown, number: number): number {
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + countParameter(item, number), 0);
  if (!isTree(value)) return 0;
  const here = isTree(value['ParamRef']) && value['ParamRef']['number'] === number ? 1 : 0;
  return Object.values(value).reduce((sum: number, inner) => sum + countParameter(inner, number), here);
}

/** The text with names in place of what moves, for people. */
function withNames(text: string, moving: Found['moving'], maxBytes: number): string | undefined {
  const tokens = scanTokens(text, { maxBytes });
  if (tokens === undefined) return undefined;
  const bytes = Buffer.from(text);
  const edits = moving.map(([{ node }, name]) => {
    const at = bodyIf(node, 'A_Const')?.location ?? bodyIf(node, 'ParamRef')?.location ?? -1;
    const start = at < 0 ? -1 : bytes.toString('utf8', 0, at).length;
    const index = tokens.findIndex((token) => token.start === start);
    const token = tokens[tokens[index]?.text === '-' ? index + 1 : index];
    return token && { start, end: token.end, name };
  });
  let named = text;
  for (const edit of edits.toSorted((a, b) => (b?.start ?? 0) - (a?.start ?? 0))) {
    if (edit === undefined) return undefined;
    named = `${named.slice(0, edit.start)}:${edit.name}${named.slice(edit.end)}`;
  }
  return named;
}

class Reading {
  readonly #question: StepQuestion;
  readonly #facts: StatementFacts;
  readonly #select: SelectStmt;
  readonly #items: readonly RangeVar[] | undefined;

  constructor(question: StepQuestion, facts: StatementFacts, select: SelectStmt) {
    this.#question = question;
    this.#facts = facts;
    this.#select = select;
    this.#items = itemsOf(select.fromClause ?? []);
  }

  step(): Found | undefined {
    // Where a range stands beside an OFFSET, the OFFSET is what moves.
    if (this.#select.limitOffset !== undefined) return this.#offset();
    return this.#range() ?? this.#keyset();
  }

  /** `order by … limit n offset k`: rows k to k + n - 1. */
  #offset(): Found | undefined {
    const offset = this.#integer(this.#select.limitOffset, offsetType);
    const limit = this.#limit();
    if (offset === undefined || limit === undefined || offset.value < 0n) return undefined;
    if ((this.#select.sortClause ?? []).length === 0) return undefined;
    const high = offset.value + BigInt(limit) - 1n;
    return {
      form: 'offset',
      key: 'position',
      low: offset.value,
      high,
      limit,
      keyAt: undefined,
      moving: [[offset, 'lo']],
    };
  }

  /** `key > a and key <= b`, `key between a and b`. */
  #range(): Found | undefined {
    const groups = [...this.#comparisons().values()].filter(
      (group) => group.length === 2 && group[0]?.side !== group[1]?.side,
    );
    const first = this.#firstSortKey();
    const group = groups.length === 1 ? groups[0] : groups.find(([one]) => isSameKey(one?.key, first));
    const [lower, upper] = group?.toSorted((a, b) => (a.side < b.side ? -1 : 1)) ?? [];
    if (lower === undefined || upper === undefined || upper.edge < lower.edge) return undefined;
    return {
      form: 'range',
      key: nameOf(lower.key),
      low: lower.edge,
      high: upper.edge,
      limit: this.#limit(),
      keyAt: undefined,
      moving: [
        [lower.bound, 'lo'],
        [upper.bound, 'hi'],
      ],
    };
  }

  /** `key > a order by key limit n`, where the key is among the outputs, so that every row tells how far it went. */
  #keyset(): Found | undefined {
    const key = this.#firstSortKey();
    const limit = this.#limit();
    const { lineage } = this.#facts;
    if (key === undefined || limit === undefined || !lineage.resolved) return undefined;
    const { oid, kind } = key.relation;
    if (kind !== 'table' && kind !== 'partitioned-table') return undefined;
    if ((this.#items ?? []).filter((item) => this.#relation(item)?.oid === oid).length !== 1) return undefined;
    const [lower, ...others] = [...this.#comparisons().values()].find(([one]) => isSameKey(one?.key, key)) ?? [];
    if (lower?.side !== 'lower' || others.length > 0) return undefined;
    const keyAt = lineage.outputs.findIndex(
      ({ verbatim, sources: [source, ...more] }) =>
        verbatim && more.length === 0 && source?.relationOid === oid && source.attnum === key.column.attnum,
    );
    if (keyAt === -1) return undefined;
    return {
      form: 'keyset',
      key: nameOf(key),
      low: lower.edge,
      high: undefined,
      limit,
      keyAt,
      moving: [[lower.bound, 'lo']],
    };
  }

  /** Those of WHERE, by key. */
  #comparisons(): Map<string, readonly Comparison[]> {
    const all = conditionsOf(this.#select.whereClause).flatMap((condition) => this.#compared(condition));
    const items = this.#items ?? [];
    return Map.groupBy(all, ({ key }) => `${items.indexOf(key.item)} ${key.column.attnum}`);
  }

  #compared(condition: Node): readonly Comparison[] {
    const body = bodyIf(condition, 'A_Expr');
    if (body === undefined) return [];
    const { kind, lexpr, rexpr } = body;
    const [operator, ...schemas] = stringsOf(body.name).toReversed();
    if (schemas.length > 0 || operator === undefined) return [];
    if (kind === 'AEXPR_BETWEEN') {
      const [low, high] = bodyIf(rexpr, 'List')?.items ?? [];
      return [...this.#compare(lexpr, '>=', low), ...this.#compare(lexpr, '<=', high)];
    }
    if (kind !== 'AEXPR_OP') return [];
    const isFlipped = bodyIf(lexpr, 'ColumnRef') === undefined;
    return isFlipped ? this.#compare(rexpr, mirrored[operator] ?? '', lexpr) : this.#compare(lexpr, operator, rexpr);
  }

  #compare(column: Node | undefined, operator: string, constant: Node | undefined): readonly Comparison[] {
    const key = this.#key(bodyIf(column, 'ColumnRef'), column);
    const bound = key && this.#integer(constant, key.column.typeOid);
    if (key === undefined || bound === undefined) return [];
    const { value } = bound;
    switch (operator) {
      case '>':
        return [{ key, side: 'lower', bound, edge: value + 1n }];
      case '>=':
        return [{ key, side: 'lower', bound, edge: value }];
      case '<':
        return [{ key, side: 'upper', bound, edge: value - 1n }];
      case '<=':
        return [{ key, side: 'upper', bound, edge: value }];
      default:
        return [];
    }
  }

  /** An integer column of a relation that stands in FROM itself, and is not masked. */
  #key(reference: ColumnReference | undefined, node: Node | undefined): KeyColumn | undefined {
    const path = columnPath(node);
    if (reference === undefined || path === undefined || path.length > 2) return undefined;
    const [name, qualifier] = path.toReversed();
    const found = (this.#items ?? []).flatMap((item): KeyColumn[] => {
      if (qualifier !== undefined && (item.alias?.aliasname ?? item.relname) !== qualifier) return [];
      const relation = this.#relation(item);
      const column = relation?.columns.find((one) => one.name === name);
      return relation === undefined || column === undefined ? [] : [{ relation, column, item }];
    });
    const [key, ...others] = found;
    if (key === undefined || others.length > 0 || !sizes.has(key.column.typeOid)) return undefined;
    const { oid } = key.relation;
    if (!this.#facts.relations.some((relation) => relation.oid === oid && relation.direct)) return undefined;
    return this.#question.isMasked(oid, key.column.attnum) ? undefined : key;
  }

  #relation({ schemaname, relname = '', catalogname }: RangeVar): CatalogueRelation | undefined {
    return catalogname === undefined ? this.#question.catalogue.relationByName(schemaname, relname) : undefined;
  }

  #firstSortKey(): KeyColumn | undefined {
    const sort = bodyIf(this.#select.sortClause?.[0], 'SortBy');
    if (sort?.sortby_dir === 'SORTBY_DESC' || sort?.sortby_dir === 'SORTBY_USING') return undefined;
    return this.#key(bodyIf(sort?.node, 'ColumnRef'), sort?.node);
  }

  #limit(): number | undefined {
    const limit = this.#integer(this.#select.limitCount, offsetType);
    return limit === undefined || limit.value < 1n || limit.value > 1_000_000_000n ? undefined : Number(limit.value);
  }

  /** @param type of what it is compared with, which an untyped parameter takes */
  #integer(node: Node | undefined, type: number): Integer | undefined {
    const constant = bodyIf(node, 'A_Const');
    if (node !== undefined && constant !== undefined) {
      const text = constant.ival === undefined ? constant.fval?.fval : String(constant.ival.ival ?? 0);
      return text === undefined || !integerText.test(text)
        ? undefined
        : { node, value: BigInt(text), parameter: undefined };
    }
    const parameter = bodyIf(node, 'ParamRef')?.number;
    if (node === undefined || parameter === undefined) return undefined;
    const value = this.#parameter(parameter, type);
    return value === undefined ? undefined : { node, value, parameter };
  }

  #parameter(number: number, type: number): bigint | undefined {
    const value = this.#question.parameters?.[number - 1];
    const kind = this.#question.parameterKinds?.[number - 1];
    if (value === undefined || value === null || kind === undefined) return undefined;
    if (kind.type !== 0 && !sizes.has(kind.type)) return undefined;
    if (kind.format === 'text') return integerText.test(value) ? BigInt(value) : undefined;
    const bytes = Buffer.from(value.slice(2), 'hex');
    if (bytes.length !== sizes.get(kind.type === 0 ? type : kind.type)) return undefined;
    const number64 = BigInt.asIntN(bytes.length * 8, BigInt(`0x${bytes.toString('hex')}`));
    return integerText.test(String(number64)) ? number64 : undefined;
  }
}

const mirrored: Readonly<Record<string, string>> = { '<': '>', '<=': '>=', '>': '<', '>=': '<=' };

function isSameKey(one: KeyColumn | undefined, other: KeyColumn | undefined): boolean {
  return one !== undefined && one.item === other?.item && one.column.attnum === other.column.attnum;
}

function nameOf({ relation, column }: KeyColumn): string {
  return `${relation.schema}.${relation.name}.${column.name}`;
}

/** Relations that stand in FROM, also in joins; undefined where an alias gives columns other names. */
function itemsOf(from: readonly Node[]): readonly RangeVar[] | undefined {
  const items: RangeVar[] = [];
  const add = (node: Node | undefined): boolean => {
    const item = tagged(node);
    if (item?.kind === 'RangeVar') {
      items.push(item.body);
      return item.body.alias?.colnames === undefined;
    }
    if (item?.kind !== 'JoinExpr') return true;
    const { alias, join_using_alias, larg, rarg } = item.body;
    return alias === undefined && join_using_alias === undefined && add(larg) && add(rarg);
  };
  return from.every((node) => add(node)) ? items : undefined;
}
