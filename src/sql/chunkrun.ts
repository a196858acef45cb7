/**
 * What a run session may send: `select … from chunkrun."<job>" where chunk_no = <n>` and the few commands that drivers
 * send around it. The text is never forwarded; it only chooses a chunk. So everything that would have to be obeyed (a
 * filter, an expression, an order) is refused, and every field of the tree that is not expected is too. Comparisons are
 * brought to one form and must pick exactly one chunk: Apache Spark asks for `chunk_no >= 7 and chunk_no < 8`, for the
 * first partition `chunk_no < 1 or chunk_no is null`, for the last `chunk_no >= 63`.
 */
import type { Node, RangeVar, SelectStmt, VariableSetStmt } from 'libpg-query';
import { parseStatements } from './parse.ts';
import { bodyIf, constantText, integerOf, kindSet, stringsOf, tagged, taggedAs } from './tree.ts';

export type ChunkrunMatch =
  | {
      readonly kind: 'chunk';
      readonly job: string;
      readonly chunkNo: number;
      /** Columns in the order asked for; empty for `select 1`, which counts rows. */
      readonly columns: '*' | readonly string[];
    }
  /** `where 1=0` or `where false`: only the columns are asked for. */
  | { readonly kind: 'probe'; readonly job: string }
  /** `command` is the tag to answer with. For SHOW, `setting` is what is asked for. */
  | {
      readonly kind: 'session';
      readonly command: 'BEGIN' | 'START TRANSACTION' | 'COMMIT' | 'ROLLBACK' | 'SET' | 'SHOW' | 'EMPTY';
      readonly setting?: string | undefined;
    }
  | { readonly kind: 'refused'; readonly reason: string };

export interface ChunkrunOptions {
  /** The highest chunk number of the run: only with it can `chunk_no >= n` be told to mean one chunk. */
  readonly lastChunkNo?: number | undefined;
}

const maxBytes = 64 * 1024;
const maxWrappers = 3;

/** Ends the match; becomes the `refused` value. */
class Refused extends Error {}

export function matchChunkrun(text: string, options: ChunkrunOptions = {}): ChunkrunMatch {
  const parsed = parseStatements(text, { maxBytes });
  if (!parsed.ok) return { kind: 'refused', reason: parsed.reason };
  const [statement, ...more] = parsed.statements;
  if (statement === undefined) return { kind: 'session', command: 'EMPTY' };
  if (more.length > 0) return { kind: 'refused', reason: 'several statements in one text' };
  try {
    return match(statement.tree, options);
  } catch (error) {
    if (error instanceof Refused) return { kind: 'refused', reason: error.message };
    if (error instanceof RangeError) return { kind: 'refused', reason: 'nested too deeply' };
    throw error;
  }
}

const answeredKinds = kindSet('SelectStmt', 'TransactionStmt', 'VariableSetStmt', 'VariableShowStmt');

function match(tree: Node, options: ChunkrunOptions): ChunkrunMatch {
  const statement = taggedAs(tree, answeredKinds);
  switch (statement.kind) {
    case 'SelectStmt':
      return matchSelect(statement.body, options);
    case 'TransactionStmt': {
      expectOnly(statement.body, ['kind', 'options', 'location'], 'the transaction command');
      const command = transactionTags[statement.body.kind ?? ''];
      if (command === undefined) throw new Refused('this transaction command has no meaning for a run');
      return { kind: 'session', command };
    }
    case 'VariableSetStmt':
      return setting(statement.body);
    case 'VariableShowStmt':
      return { kind: 'session', command: 'SHOW', setting: statement.body.name ?? '' };
    case 'other':
    default:
      throw new Refused('only SELECT from chunkrun is answered');
  }
}

const transactionTags: Readonly<Record<string, 'BEGIN' | 'START TRANSACTION' | 'COMMIT' | 'ROLLBACK'>> = {
  TRANS_STMT_BEGIN: 'BEGIN',
  TRANS_STMT_START: 'START TRANSACTION',
  TRANS_STMT_COMMIT: 'COMMIT',
  TRANS_STMT_ROLLBACK: 'ROLLBACK',
};

/**
 * Settings that may be answered with SET and then ignored, because they change nothing in the rows; some only with the
 * value that holds anyway.
 */
const ignoredSettings: ReadonlyMap<string, RegExp> = new Map([
  ['application_name', /.*/s],
  ['client_min_messages', /.*/s],
  ['extra_float_digits', /.*/s],
  ['statement_timeout', /.*/s],
  ['lock_timeout', /.*/s],
  ['idle_in_transaction_session_timeout', /.*/s],
  ['idle_session_timeout', /.*/s],
  ['default_transaction_read_only', /.*/s],
  ['client_encoding', /^(utf-?8|unicode)$/i],
  ['datestyle', /^iso\b/i],
  ['bytea_output', /^hex$/i],
  ['standard_conforming_strings', /^(on|true|1|yes)$/i],
]);

function setting(body: VariableSetStmt): ChunkrunMatch {
  const name = (body.name ?? '').toLowerCase();
  if (body.kind === 'VAR_SET_MULTI' && (name === 'transaction' || name === 'session characteristics')) {
    return { kind: 'session', command: 'SET' };
  }
  const [first] = body.args ?? [];
  const constant = bodyIf(first, 'A_Const');
  const value = constant === undefined ? undefined : constantText(constant);
  const pattern = ignoredSettings.get(name);
  if (body.kind !== 'VAR_SET_VALUE' || value === undefined || pattern?.test(value) !== true) {
    throw new Refused(`setting ${name} does not apply to a run`);
  }
  return { kind: 'session', command: 'SET' };
}

interface Level {
  readonly where: Node | undefined;
  /** Names by which this level's columns may be qualified. */
  readonly names: readonly string[];
}

function matchSelect(select: SelectStmt, options: ChunkrunOptions): ChunkrunMatch {
  const levels: Level[] = [];
  let current = select;
  let columns: '*' | readonly string[] | undefined;
  for (let depth = 0; depth <= maxWrappers; depth++) {
    expectOnly(current, ['targetList', 'fromClause', 'whereClause', 'limitOption', 'op'], 'the SELECT');
    if (current.op !== 'SETOP_NONE' || current.limitOption !== 'LIMIT_OPTION_DEFAULT')
      throw new Refused('the SELECT has a clause that is not answered');
    const [from, ...others] = current.fromClause ?? [];
    if (from === undefined || others.length > 0) throw new Refused('exactly one item of FROM is answered');
    const item = tagged(from);
    const names = namesOf(item);
    const own = projection(current.targetList, names);
    columns ??= own;
    if (depth > 0 && own !== '*') throw new Refused('an inner SELECT must be select *');
    levels.push({ where: current.whereClause, names });
    if (item?.kind === 'RangeVar') return decide(jobOf(item.body), levels, columns, options);
    const inner = item?.kind === 'RangeSubselect' ? bodyIf(item.body.subquery, 'SelectStmt') : undefined;
    if (inner === undefined) throw new Refused('FROM must be chunkrun."<job>"');
    current = inner;
  }
  throw new Refused('too many subqueries');
}

function namesOf(item: ReturnType<typeof tagged>): readonly string[] {
  if (item?.kind === 'RangeVar') {
    expectOnly(item.body, ['schemaname', 'relname', 'inh', 'relpersistence', 'alias', 'location'], 'the relation');
    if (item.body.alias !== undefined) expectOnly(item.body.alias, ['aliasname'], 'the alias');
    return [item.body.alias?.aliasname ?? item.body.relname ?? ''];
  }
  if (item?.kind === 'RangeSubselect') {
    expectOnly(item.body, ['subquery', 'alias'], 'the subquery');
    if (item.body.alias !== undefined) expectOnly(item.body.alias, ['aliasname'], 'the alias');
    return item.body.alias?.aliasname === undefined ? [] : [item.body.alias.aliasname];
  }
  throw new Refused('FROM must be chunkrun."<job>"');
}

function jobOf(range: RangeVar): string {
  if (range.schemaname !== 'chunkrun' || range.inh !== true || range.relpersistence !== 'p')
    throw new Refused('FROM must be chunkrun."<job>"');
  return range.relname ?? '';
}

function projection(targets: readonly Node[] | undefined, names: readonly string[]): '*' | readonly string[] {
  const columns: string[] = [];
  for (const node of targets ?? []) {
    const target = bodyIf(node, 'ResTarget');
    if (target === undefined) throw new Refused('the select list is not answered');
    expectOnly(target, ['val', 'location'], 'the select list');
    const fields = bodyIf(target.val, 'ColumnRef')?.fields;
    if (fields === undefined) {
      if (targets?.length === 1 && integerOf(target.val) === 1) return [];
      throw new Refused('only columns, * or 1 can be selected');
    }
    const star = bodyIf(fields.at(-1), 'A_Star') !== undefined;
    const path = stringsOf(fields);
    const qualifiers = star ? path : path.slice(0, -1);
    if (qualifiers.length > 1 || (qualifiers[0] !== undefined && !names.includes(qualifiers[0])))
      throw new Refused(`${path.join('.')} is not a column of FROM`);
    if (star) {
      if (targets?.length !== 1) throw new Refused('* must stand alone');
      return '*';
    }
    columns.push(path.at(-1) ?? '');
  }
  if (columns.length === 0) throw new Refused('nothing is selected');
  return columns;
}

function decide(
  job: string,
  levels: readonly Level[],
  columns: '*' | readonly string[],
  options: ChunkrunOptions,
): ChunkrunMatch {
  const conditions = levels.filter((level) => level.where !== undefined);
  if (conditions.some((level) => isNever(level.where))) return { kind: 'probe', job };
  const [only, ...more] = conditions;
  if (only === undefined) throw new Refused('where chunk_no = <n> is missing');
  if (more.length > 0) throw new Refused('only one WHERE is answered');
  return { kind: 'chunk', job, chunkNo: chunkOf(only, options), columns };
}

function isNever(where: Node | undefined): boolean {
  const constant = bodyIf(where, 'A_Const');
  if (constant?.boolval !== undefined) return constant.boolval.boolval !== true;
  const expression = bodyIf(where, 'A_Expr');
  if (expression?.kind !== 'AEXPR_OP' || stringsOf(expression.name).join('.') !== '=') return false;
  return integerOf(expression.lexpr) === 1 && integerOf(expression.rexpr) === 0;
}

interface Bounds {
  /** First chunk that is meant; -1 = from the beginning. */
  readonly from: number;
  /** First chunk that is not meant any more; Infinity = to the end. */
  readonly to: number;
  readonly nulls: boolean;
}

function chunkOf(level: Level, options: ChunkrunOptions): number {
  const { from, to, nulls } = boundsOf(level.where, level.names);
  // Numbers start at 0 and chunk_no is never null, so asking for nulls too changes nothing below 1.
  const first = Math.max(from, 0);
  if (nulls && from >= 0) throw new Refused('chunk_no is never null');
  if (to === Number.POSITIVE_INFINITY) {
    if (options.lastChunkNo === first) return first;
    throw new Refused(`chunk_no >= ${first} is answered only where ${first} is the last chunk`);
  }
  if (to !== first + 1) throw new Refused('one chunk at a time: chunk_no = <n>');
  return first;
}

function boundsOf(node: Node | undefined, names: readonly string[]): Bounds {
  const logic = bodyIf(node, 'BoolExpr');
  if (logic !== undefined) {
    const [one, two, ...others] = logic.args ?? [];
    if (one === undefined || two === undefined || others.length > 0) throw new Refused('the condition is not answered');
    if (logic.boolop === 'AND_EXPR') {
      const left = comparison(one, names);
      const right = comparison(two, names);
      return { from: Math.max(left.from, right.from), to: Math.min(left.to, right.to), nulls: false };
    }
    if (logic.boolop === 'OR_EXPR' && isNullTest(two, names)) return { ...comparison(one, names), nulls: true };
    throw new Refused('the condition is not answered');
  }
  return comparison(node, names);
}

function comparison(node: Node | undefined, names: readonly string[]): Bounds {
  const expression = bodyIf(node, 'A_Expr');
  const operator = stringsOf(expression?.name).join('.');
  if (expression?.kind !== 'AEXPR_OP') throw new Refused('only chunk_no = <n> is answered');
  const turned = !isChunkNo(expression.lexpr, names);
  const column = turned ? expression.rexpr : expression.lexpr;
  const value = integerOf(turned ? expression.lexpr : expression.rexpr);
  if (!isChunkNo(column, names) || value === undefined || value < 0)
    throw new Refused('only chunk_no = <n> with a whole number is answered');
  if (operator === '=') return { from: value, to: value + 1, nulls: false };
  if (!turned && operator === '>=') return { from: value, to: Number.POSITIVE_INFINITY, nulls: false };
  if (!turned && operator === '<') return { from: -1, to: value, nulls: false };
  throw new Refused(`chunk_no ${operator} is not answered`);
}

function isNullTest(node: Node, names: readonly string[]): boolean {
  const test = bodyIf(node, 'NullTest');
  return test?.nulltesttype === 'IS_NULL' && isChunkNo(test.arg, names);
}

function isChunkNo(node: Node | undefined, names: readonly string[]): boolean {
  const fields = bodyIf(node, 'ColumnRef')?.fields ?? [];
  const path = stringsOf(fields);
  if (path.length !== fields.length || path.at(-1) !== 'chunk_no' || path.length > 2) return false;
  return path.length === 1 || names.includes(path[0] ?? '');
}

/** Refuses a body that has any field besides those that are understood. */
function expectOnly(body: object, fields: readonly string[], what: string): void {
  for (const field in body)
    if (!fields.includes(field)) throw new Refused(`${what} has ${fieldWords[field] ?? field}, which is not answered`);
}

const fieldWords: Readonly<Record<string, string>> = {
  sortClause: 'ORDER BY',
  limitCount: 'LIMIT',
  limitOffset: 'OFFSET',
  groupClause: 'GROUP BY',
  distinctClause: 'DISTINCT',
  lockingClause: 'FOR UPDATE',
  withClause: 'WITH',
  valuesLists: 'VALUES',
  intoClause: 'INTO',
  colnames: 'column aliases',
  name: 'an alias',
};
