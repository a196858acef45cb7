/**
 * A statement's text without its paging clause, in the words of whoever wrote it. The text is cut along PostgreSQL's own
 * tokens, and the result counts only if it parses to exactly the tree that was meant.
 */
import { fingerprint, stayingPart, type Bound, type SelectStep } from './paging-step.ts';
import { parseStatements, scanTokens, type Token } from './parse.ts';
import { bodyIf } from './tree.ts';

export interface PagingSource {
  readonly text: string;
  /** The AND-ed conditions that stay, as they are written. */
  readonly filters: readonly string[];
}

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

const clauses = new Set(
  'select from where group having window order limit offset fetch for union intersect except'.split(' '),
);
const dropped = new Set(['order', 'limit', 'offset', 'fetch']);

/** undefined where the text does not let itself be cut. */
export function withoutPaging(step: SelectStep, moved: Bound | undefined, maxBytes: number): PagingSource | undefined {
  const text = withoutComments(step.statement.text, maxBytes);
  const tokens = text === undefined ? undefined : scanTokens(text, { maxBytes });
  if (text === undefined || tokens === undefined) return undefined;
  const range = pagedTokens(tokens, step.depth);
  if (range === undefined) return undefined;
  const heads = topLevel(range).filter(({ index }) => isClause(range, index));
  const staying = stayingPart(step, moved);
  const edits: Edit[] = [];
  let filters: readonly string[] = [];
  for (const [at, { token, index }] of heads.entries()) {
    const last = range[(heads[at + 1]?.index ?? range.length) - 1];
    if (last === undefined) return undefined;
    if (dropped.has(token.text) && !(token.text === 'order' && step.keepsOrder)) {
      edits.push({ start: token.start, end: last.end, text: '' });
    } else if (token.text === 'where') {
      const conditions = splitAnd(range.slice(index + 1, heads[at + 1]?.index));
      if (conditions.length !== staying.conditions.length) return undefined;
      filters = conditions.filter((_, place) => staying.conditions[place]).map((piece) => textOf(piece, text));
      const where = filters.length === 0 ? '' : `where ${filters.join(' and ')}`;
      if (filters.length < conditions.length) edits.push({ start: token.start, end: last.end, text: where });
    }
  }
  const source = tidy(applied(text.slice(0, tokens.at(-1)?.end), edits, queryStart(tokens)));
  const parsed = parseStatements(source, { maxBytes });
  const [statement, ...more] = parsed.ok ? parsed.statements : [];
  if (statement === undefined || more.length > 0) return undefined;
  if (fingerprint(bodyIf(statement.tree, 'SelectStmt')) !== staying.tree) return undefined;
  return { text: source, filters };
}

function withoutComments(text: string, maxBytes: number): string | undefined {
  const comments = scanTokens(text, { maxBytes })?.filter((token) => token.kind === 'comment');
  return comments === undefined
    ? undefined
    : applied(
        text,
        comments.map(({ start, end }) => ({ start, end, text: ' ' })),
      );
}

/** Where the query of DECLARE … CURSOR FOR begins; 0 for a statement that is one. */
function queryStart(tokens: readonly Token[]): number {
  if (tokens[0]?.text !== 'declare') return 0;
  return tokens[tokens.findIndex((token) => token.text === 'for') + 1]?.start ?? 0;
}

/** The tokens of the SELECT that pages, found by entering the subquery of FROM. */
function pagedTokens(all: readonly Token[], depth: number): readonly Token[] | undefined {
  const start = queryStart(all);
  let range: readonly Token[] = all.filter((token) => token.start >= start && token.text !== ';');
  for (let level = 0; level < depth; level++) {
    const from = topLevel(range).find(({ token, index }) => token.text === 'from' && isClause(range, index));
    const open = range.findIndex((token, index) => index > (from?.index ?? range.length) && token.text === '(');
    if (open === -1) return undefined;
    const close = closing(range, open);
    if (close === undefined) return undefined;
    range = range.slice(open + 1, close);
  }
  return range;
}

function closing(range: readonly Token[], open: number): number | undefined {
  let depth = 0;
  for (let index = open; index < range.length; index++) {
    depth += nesting(range[index]);
    if (depth === 0) return index;
  }
  return undefined;
}

function nesting(token: Token | undefined): number {
  const { text, kind } = token ?? { text: '', kind: 'other' };
  if (text === '(' || text === '[' || (text === 'case' && kind === 'keyword')) return 1;
  return text === ')' || text === ']' || (text === 'end' && kind === 'keyword') ? -1 : 0;
}

/** Tokens outside of parentheses, brackets and CASE. */
function topLevel(range: readonly Token[]): { readonly token: Token; readonly index: number }[] {
  const found: { token: Token; index: number }[] = [];
  let depth = 0;
  for (const [index, token] of range.entries()) {
    const change = nesting(token);
    if (depth === 0 && change === 0) found.push({ token, index });
    depth += change;
  }
  return found;
}

function isClause(range: readonly Token[], index: number): boolean {
  const token = range[index];
  if (token?.kind !== 'keyword' || !clauses.has(token.text)) return false;
  const before = range[index - 1]?.text;
  // `is distinct from`, `t.order`, `as limit`
  return before !== '.' && before !== 'as' && !(token.text === 'from' && before === 'distinct');
}

/** The AND-ed conditions, also those that parentheses hold together. */
function splitAnd(range: readonly Token[]): readonly (readonly Token[])[] {
  const pieces: (readonly Token[])[] = [];
  let from = 0;
  let between = 0;
  for (const { token, index } of topLevel(range)) {
    if (token.kind !== 'keyword') continue;
    if (token.text === 'or') return [range];
    if (token.text === 'between') between++;
    if (token.text !== 'and') continue;
    if (between > 0) {
      between--;
    } else {
      pieces.push(range.slice(from, index));
      from = index + 1;
    }
  }
  pieces.push(range.slice(from));
  return pieces.flatMap((piece) => {
    const inside = piece[0]?.text === '(' && closing(piece, 0) === piece.length - 1 ? piece.slice(1, -1) : undefined;
    const inner = inside === undefined ? [] : splitAnd(inside);
    return inner.length > 1 ? inner : [piece];
  });
}

function textOf(piece: readonly Token[], text: string): string {
  return text.slice(piece[0]?.start, piece.at(-1)?.end);
}

function applied(text: string, edits: readonly Edit[], from = 0): string {
  let result = '';
  let at = from;
  for (const edit of edits) {
    result += text.slice(at, edit.start) + edit.text;
    at = edit.end;
  }
  return result + text.slice(at);
}

/** No spaces at the ends of lines, no empty lines, no semicolon: a string constant over several lines may not survive this, which the parser then says. */
function tidy(text: string): string {
  return text
    .replace(/[ \t]+$/gm, '')
    .replace(/\n{2,}/g, '\n')
    .replace(/^\s+|[\s;]+$/g, '');
}
