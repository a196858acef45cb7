/**
 * May a source be read in pieces? Only if the pieces put together are the result of the whole: the same rows must come
 * out of every evaluation, and each evaluation must cost no more than its piece. So: select, project, join, filter; no
 * LIMIT, DISTINCT, aggregate, window, set operation, lock, sample, volatile or clock-dependent function, at any depth of
 * the FROM clause, views included.
 */
import { CountersignError } from '../errors.ts';
import { parseStatements } from '../sql/parse.ts';
import type { Catalogue, StatementFacts } from '../sql/statement.ts';
import { findParameters, replaceParameters } from './parameters.ts';

const maxSourceBytes = 256 * 1024;

export type FunctionKind = 'plain' | 'volatile' | 'aggregate' | 'window';

export interface FunctionUse {
  readonly name: string;
  /** Only inside subqueries of expressions, where an aggregate is a value. */
  readonly inExpression: boolean;
}

/** What a source's texts say about themselves. */
export interface SourceShape {
  /** Why it cannot be read in pieces; empty = it can. */
  readonly reasons: readonly string[];
  /** Functions whose kind only the target knows. */
  readonly functions: readonly FunctionUse[];
  /** A LEFT, RIGHT or FULL join: a NOT NULL column may come out NULL. */
  readonly outerJoin: boolean;
}

type Tree = { readonly [field: string]: unknown };

/** @throws CountersignError `job_invalid` unless the text is exactly one SELECT without parameters of its own */
export function parseSource(text: string): { readonly tree: unknown; readonly text: string } {
  const parsed = parseStatements(text, { maxBytes: maxSourceBytes });
  if (!parsed.ok) throw new CountersignError('job_invalid', `source: ${parsed.reason}`);
  const [statement, ...more] = parsed.statements;
  if (statement === undefined || more.length > 0) {
    throw new CountersignError('job_invalid', `source: expected one statement, found ${parsed.statements.length}`);
  }
  const tree: unknown = statement.tree;
  if (!isTree(tree) || !isTree(tree['SelectStmt'])) {
    throw new CountersignError('job_invalid', 'source: expected a SELECT statement');
  }
  if (some(tree, (kind) => kind === 'ParamRef')) {
    throw new CountersignError('job_invalid', 'source: $1 is not a job parameter', {
      hint: 'write :name and declare it',
    });
  }
  return { tree, text: statement.text };
}

const parameterHint =
  'a parameter ($1, $2 … in the order of the text) must stand where a constant may stand; a slice a[1:n] needs spaces around its colon';

/**
 * Checks that PostgreSQL's parser sees a parameter exactly where our small lexer does, so that a constant is never put
 * into a string, comment or name.
 * @throws CountersignError `job_invalid`
 */
export function assertSameReading(source: string): void {
  const uses = findParameters(source);
  const numbered = replaceParameters(source, (_use, index) => ` $${index + 1} `);
  const parsed = parseStatements(numbered, { maxBytes: maxSourceBytes });
  if (!parsed.ok) {
    const hint = uses.length === 0 ? undefined : parameterHint;
    throw new CountersignError('job_invalid', `source: ${parsed.reason}`, { hint });
  }
  const seen = new Set<number>();
  let references = 0;
  for (const { tree } of parsed.statements) {
    some(tree, (kind, node) => {
      if (kind === 'ParamRef') {
        references++;
        seen.add(Number(node['number'] ?? 0));
      }
      return false;
    });
  }
  if (references !== uses.length || seen.size !== uses.length) {
    throw new CountersignError('job_invalid', 'source: its :name parameters cannot be told from other text', {
      hint: parameterHint,
    });
  }
}

/** The shape of the source and of every view under it. */
export function sourceShape(tree: unknown, facts: StatementFacts, catalogue: Catalogue): SourceShape {
  const reasons = new Set<string>();
  const functions = new Map<string, boolean>();
  let outerJoin = false;
  const texts: { tree: unknown; where: string }[] = [{ tree, where: 'the source' }];
  for (const use of facts.relations) {
    const relation = catalogue.relationByOid(use.oid);
    if (relation?.kind !== 'view' || relation.definition === undefined) continue;
    const where = `view ${relation.schema}.${relation.name}`;
    const parsed = parseStatements(relation.definition, { maxBytes: 4 * maxSourceBytes });
    if (parsed.ok && parsed.statements.length === 1) texts.push({ tree: parsed.statements[0]?.tree, where });
    else reasons.add(`${where} cannot be read`);
  }
  for (const text of texts) {
    some(text.tree, (kind, node, inExpression) => {
      const reason = reasonOf(kind, node, inExpression);
      if (reason !== undefined) reasons.add(`${text.where} ${reason}`);
      if (kind === 'FuncCall') {
        const name = functionName(node);
        functions.set(name, inExpression && functions.get(name) !== false);
      }
      if (kind === 'JoinExpr' && node['jointype'] !== undefined && node['jointype'] !== 'JOIN_INNER') outerJoin = true;
      return false;
    });
  }
  return {
    reasons: [...reasons],
    functions: [...functions].map(([name, inExpression]) => ({ name, inExpression })),
    outerJoin,
  };
}

/** The reasons that the target's word on functions adds. */
export function functionReasons(kinds: ReadonlyMap<string, FunctionKind>, functions: readonly FunctionUse[]): string[] {
  return functions.flatMap(({ name, inExpression }) => {
    const kind = kinds.get(name);
    if (kind === undefined) return [`the source calls ${name}, which the target does not know`];
    if (clockFunctions.has(name)) return [`the source calls ${name}, ${clockReason}`];
    if (kind === 'plain' || (inExpression && kind !== 'volatile')) return [];
    return [`the source calls ${kind === 'volatile' ? 'the volatile function' : `the ${kind} function`} ${name}`];
  });
}

/** Stable in one transaction, but every chunk is a transaction of its own. */
const clockFunctions = new Set(['now', 'transaction_timestamp', 'statement_timestamp']);
const clockConstant = /^\s*(now|today|tomorrow|yesterday)\b/i;
const clockReason = 'whose value differs from chunk to chunk (a parameter of type timestamp or date does not)';

/** Inside an expression (a subquery in WHERE) what is deterministic may stay; only an arbitrary choice of rows is refused. */
function reasonOf(kind: string, node: Tree, inExpression: boolean): string | undefined {
  if (kind === 'SQLValueFunction') return sqlValueReason(String(node['op']));
  if (kind === 'RangeTableSample') return 'has TABLESAMPLE';
  if (kind === 'A_Const') {
    const string = isTree(node['sval']) ? String(node['sval']['sval']) : '';
    return clockConstant.test(string) ? `has the constant '${string}', ${clockReason}` : undefined;
  }
  if (kind === 'FuncCall') {
    const args = Array.isArray(node['args']) ? node['args'].length : 0;
    if (functionName(node) === 'age' && args === 1) return `calls age with one argument, ${clockReason}`;
    return !inExpression && 'over' in node ? 'has a window function' : undefined;
  }
  if (kind !== 'SelectStmt') return undefined;
  if ('limitCount' in node || 'limitOffset' in node) return 'has LIMIT or OFFSET';
  if ('lockingClause' in node) return 'locks rows (FOR UPDATE or FOR SHARE)';
  if ('intoClause' in node) return 'has INTO';
  if (inExpression) return undefined;
  if ('distinctClause' in node) return 'has DISTINCT';
  if ('groupClause' in node || 'havingClause' in node) return 'has GROUP BY or HAVING';
  if ('windowClause' in node) return 'has a window';
  if (node['op'] !== undefined && node['op'] !== 'SETOP_NONE') return 'has UNION, INTERSECT or EXCEPT';
  return undefined;
}

function sqlValueReason(op: string): string | undefined {
  if (!/DATE|TIME/.test(op)) return undefined;
  return `uses ${op.replace(/^SVFOP_/, '').toLowerCase()}, ${clockReason}`;
}

function functionName(node: Tree): string {
  const parts = Array.isArray(node['funcname']) ? (node['funcname'] as unknown[]) : [];
  const last = parts.at(-1);
  const string = isTree(last) ? last['String'] : undefined;
  return isTree(string) && typeof string['sval'] === 'string' ? string['sval'] : '';
}

/**
 * Visits every node, parents first, until `visit` returns true. `inExpression` is true below a SubLink: there a SELECT
 * is a value or a test, not a source of rows.
 */
function some(
  node: unknown,
  visit: (kind: string, node: Tree, inExpression: boolean) => boolean,
  inExpression = false,
): boolean {
  if (Array.isArray(node)) return node.some((item) => some(item, visit, inExpression));
  if (!isTree(node)) return false;
  for (const [field, value] of Object.entries(node)) {
    if (isTree(value) && /^[A-Z]/.test(field) && visit(field, value, inExpression)) return true;
    // These hold a SelectStmt without naming its kind.
    if (isTree(value) && (field === 'larg' || field === 'rarg') && !('jointype' in node) && 'targetList' in value) {
      if (visit('SelectStmt', value, inExpression)) return true;
    }
    if (some(value, visit, inExpression || field === 'SubLink')) return true;
  }
  return false;
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
