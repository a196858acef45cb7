/**
 * A loop that reads a relation in pieces, recognised at its second step: two statements of one session that differ only
 * in an OFFSET that grew, a bound that moved on, the next slice, the next row addresses or the next rows of a cursor.
 * What a single statement is (`StatementFacts.paging`) is not decided here. Not for looking things up: the same statement
 * again, other values after `=`, or a range that is narrowed are no steps.
 */
import {
  readStep,
  subjectOf,
  type Bound,
  type BoundValue,
  type RelationName,
  type SelectStep,
  type Step,
} from './paging-step.ts';
import { withoutPaging } from './paging-source.ts';
import { parseStatements, type ParsedStatement } from './parse.ts';
import { bodyIf } from './tree.ts';

export type PagingKind = 'offset' | 'keyset' | 'ctid' | 'modulo' | 'cursor';

export interface PagingLoop {
  readonly kind: PagingKind;
  /** As it is written; undefined where FROM names none, or only FETCH was seen. */
  readonly relation: RelationName | undefined;
  /** Only the same text came again: its parameters may have moved, or not. */
  readonly repeated: boolean;
  /** Columns that the loop goes along: of the moved bound, else of ORDER BY. */
  readonly keyColumns: readonly string[];
  /** Names of the outputs; `*` stands for itself. */
  readonly columns: readonly string[];
  /** Conditions that stay the same, as they are written; undefined where the text could not be cut. */
  readonly filters: readonly string[] | undefined;
  /** Rows of one step, where the text says. */
  readonly pageSize: number | undefined;
  /** The statement without its paging clause and ORDER BY; undefined where the text could not be cut. */
  readonly source: string | undefined;
  /** The later statement as it is. */
  readonly text: string;
}

export const pagingWords: Readonly<Record<PagingKind, string>> = {
  offset: 'an OFFSET loop',
  keyset: 'a keyset loop (each step begins where the last one ended)',
  ctid: 'a loop over row addresses (ctid)',
  modulo: 'a loop over slices (remainders of a division)',
  cursor: 'a cursor that is fetched piece by piece',
};

const maxBytes = 256 * 1024;

/** The loop whose next step the second statement is, or undefined. */
export function pagingLoop(previous: ParsedStatement, current: ParsedStatement): PagingLoop | undefined {
  const [before, now] = [readStep(previous), readStep(current)];
  return before === undefined || now === undefined ? undefined : nextStep(before, now);
}

function nextStep(before: Step, now: Step): PagingLoop | undefined {
  if (before.kind === 'select' && now.kind === 'select') {
    const moved = before.base === now.base ? movedPart(before, now) : undefined;
    return moved === undefined ? undefined : loopOf(moved, now);
  }
  if (now.kind !== 'fetch' || before.kind === 'select' || before.cursor !== now.cursor) return undefined;
  if (before.kind === 'declare') return cursorLoop(before.query, now.pageSize);
  return { ...unknownCursor, pageSize: now.pageSize };
}

const unknownCursor: PagingLoop = {
  kind: 'cursor',
  relation: undefined,
  repeated: false,
  keyColumns: [],
  columns: [],
  filters: undefined,
  pageSize: undefined,
  source: undefined,
  text: '',
};

function cursorLoop(query: SelectStep, pageSize: number | undefined): PagingLoop {
  return { ...loopOf({ kind: 'cursor', bound: undefined, repeated: false }, query), pageSize };
}

function loopOf({ kind, bound, repeated }: Moved, step: SelectStep): PagingLoop {
  const source = withoutPaging(step, bound, maxBytes);
  const { relations } = step;
  const relation = relations.find(({ alias, name }) => bound?.qualifier === (alias ?? name)) ?? relations[0];
  return {
    kind,
    relation: relation && { schema: relation.schema, name: relation.name },
    repeated,
    keyColumns: bound?.columns ?? step.orderColumns,
    columns: step.columns,
    filters: source?.filters,
    pageSize: step.pageSize,
    source: source?.text,
    text: step.statement.text,
  };
}

interface Moved {
  readonly kind: PagingKind;
  readonly bound: Bound | undefined;
  readonly repeated: boolean;
}

function movedPart(before: SelectStep, now: SelectStep): Moved | undefined {
  const changed = [...new Set([...before.bounds, ...now.bounds].map((bound) => subjectOf(bound)))].filter(
    (one) => !isDeepEqual(of(before, one), of(now, one)),
  );
  if (changed.length === 0) {
    return offsetGrew(before, now) ? { kind: 'offset', bound: undefined, repeated: false } : again(now);
  }
  const [only, ...others] = changed;
  if (only === undefined || others.length > 0) return undefined;
  const [earlier, later] = [of(before, only), of(now, only)];
  const [bound] = later;
  if (bound === undefined) return undefined;
  if (bound.side === 'slice') return earlier.length > 0 ? { kind: 'modulo', bound, repeated: false } : undefined;
  if (bound.side === 'set') return earlier.length > 0 ? { kind: 'ctid', bound, repeated: false } : undefined;
  const isAddress = bound.columns.join() === 'ctid';
  if (!isAddress && !rangeMoved(earlier, later, now)) return undefined;
  if (isAddress && earlier.length === 0 && !now.limited) return undefined;
  return { kind: isAddress ? 'ctid' : 'keyset', bound, repeated: false };
}

function of(step: SelectStep, wanted: string): readonly Bound[] {
  return step.bounds.filter((bound) => subjectOf(bound) === wanted);
}

function isDeepEqual(a: readonly Bound[], b: readonly Bound[]): boolean {
  const text = (bounds: readonly Bound[]) => JSON.stringify(bounds.map(({ side, values }) => [side, values]));
  return text(a) === text(b);
}

function offsetGrew({ offset: before }: SelectStep, { offset: now }: SelectStep): boolean {
  if (now === undefined) return false;
  if (before === undefined) return now.kind !== 'number' || now.value > 0;
  return compare(now, before) === 'more';
}

/** Where a parameter is what moves, the text stays the same, and running it once more is the next step. */
function again(now: SelectStep): Moved | undefined {
  if (isParameter(now.offset)) return { kind: 'offset', bound: undefined, repeated: true };
  const moving = now.bounds.filter(({ values }) => values.some(isParameter));
  const bound = moving.find((one) => isOrderedBy(now, one)) ?? moving[0];
  if (bound === undefined) return undefined;
  if (bound.side === 'slice') return { kind: 'modulo', bound, repeated: true };
  if (bound.columns.join() === 'ctid') return { kind: 'ctid', bound, repeated: true };
  const range = of(now, subjectOf(bound));
  const walks = isClosed(range) || (now.limited && isOrderedBy(now, bound));
  return walks ? { kind: 'keyset', bound, repeated: true } : undefined;
}

function isParameter(value: BoundValue | undefined): boolean {
  return value?.kind === 'unknown' && value.parameter;
}

function rangeMoved(before: readonly Bound[], now: readonly Bound[], step: SelectStep): boolean {
  const [bound] = now;
  if (bound === undefined) return false;
  const ordered = isOrderedBy(step, bound);
  // The first page of a loop has no bound yet.
  if (before.length === 0) return !isClosed(now) && ordered && step.limited;
  if (isClosed(before) || isClosed(now)) return isApart(before, now);
  if (!step.limited || !(ordered || bound.plain)) return false;
  const [earlier] = before;
  if (before.length > 1 || now.length > 1 || earlier?.side !== bound.side) return false;
  return compareAll(bound.values, earlier.values) === (bound.side === 'lower' ? 'more' : 'less');
}

function isOrderedBy(step: SelectStep, bound: Bound): boolean {
  const [first] = step.order;
  return first !== undefined && (bound.expression === first || bound.expression.startsWith(`${first},`));
}

function isClosed(range: readonly Bound[]): boolean {
  return range.some(({ side }) => side === 'lower') && range.some(({ side }) => side === 'upper');
}

/** Two pieces of one range that have no row, or no more than their edge, in common. */
function isApart(one: readonly Bound[], other: readonly Bound[]): boolean {
  const after = (a: readonly Bound[], b: readonly Bound[]) => {
    const lower = a.find(({ side }) => side === 'lower');
    const upper = b.find(({ side }) => side === 'upper');
    if (lower === undefined || upper === undefined) return false;
    const order = compareAll(lower.values, upper.values);
    return order === 'more' || order === 'same';
  };
  return after(one, other) || after(other, one) || bothUnknown(one, other);
}

/** Both ends are other than before, and what they are is not worked out. */
function bothUnknown(one: readonly Bound[], other: readonly Bound[]): boolean {
  return (['lower', 'upper'] as const).every((side) => {
    const [a, b] = [one, other].map((range) => range.find((bound) => bound.side === side)?.values ?? []);
    return a?.[0]?.kind === 'unknown' && b?.[0]?.kind === 'unknown' && JSON.stringify(a) !== JSON.stringify(b);
  });
}

type Order = 'less' | 'same' | 'more';

function compareAll(a: readonly BoundValue[], b: readonly BoundValue[]): Order {
  for (const [index, value] of a.entries()) {
    const other = b[index];
    if (other === undefined) return 'more';
    const order = compare(value, other);
    if (order !== 'same') return order;
  }
  return 'same';
}

/** Of what is not worked out, anything else counts as further on. */
function compare(a: BoundValue, b: BoundValue): Order {
  if (a.kind === 'unknown' || b.kind === 'unknown') return JSON.stringify(a) === JSON.stringify(b) ? 'same' : 'more';
  const [left, right] = a.kind === b.kind ? [a.value, b.value] : [String(a.value), String(b.value)];
  if (left === right) return 'same';
  return left < right ? 'less' : 'more';
}

/** What one session did lately: other statements may stand between the steps of a loop. */
export class PagingWatch {
  readonly #steps = new Map<string, { readonly step: Step; readonly loop: PagingLoop | undefined }>();

  /** The loop of which this text is at least the second step. The same step again is still that step. */
  see(text: string): PagingLoop | undefined {
    const parsed = parseStatements(text, { maxBytes: maxWatchedBytes });
    if (!parsed.ok) return undefined;
    let found: PagingLoop | undefined;
    for (const statement of parsed.statements) {
      const step = readStep(statement);
      if (step !== undefined) found = this.#see(step) ?? found;
    }
    return found;
  }

  /** The same for an EXECUTE of what this text prepared. */
  executes(text: string): PagingLoop | undefined {
    const parsed = parseStatements(text, { maxBytes: maxWatchedBytes });
    const [only] = parsed.ok ? parsed.statements : [];
    const query = bodyIf(only?.tree, 'PrepareStmt')?.query;
    const step = query === undefined ? undefined : readStep({ tree: query, text });
    return step === undefined ? undefined : this.#see(step);
  }

  /** The cursor that was declared last, fetched from or not: a gateway that refuses cursors sees no FETCH. */
  declared(): PagingLoop | undefined {
    const declaration = [...this.#steps.values()].findLast(({ step }) => step.kind === 'declare')?.step;
    return declaration?.kind === 'declare' ? cursorLoop(declaration.query, undefined) : undefined;
  }

  #see(step: Step): PagingLoop | undefined {
    const key = step.kind === 'select' ? `select ${step.base}` : `${step.kind} ${step.cursor}`;
    const last = this.#steps.get(key);
    const declaration = step.kind === 'fetch' ? this.#steps.get(`declare ${step.cursor}`) : undefined;
    const before = declaration?.step ?? last?.step;
    let loop = before === undefined ? undefined : nextStep(before, step);
    if (loop === undefined && last?.loop !== undefined && isSameStep(last.step, step)) loop = last.loop;
    this.#steps.delete(key);
    this.#steps.set(key, { step, loop });
    if (this.#steps.size > maxRemembered) this.#forgetOldest();
    return loop;
  }

  #forgetOldest(): void {
    for (const key of this.#steps.keys()) {
      this.#steps.delete(key);
      return;
    }
  }
}

/** Of each of them its text and tree are kept. */
const maxRemembered = 64;
const maxWatchedBytes = 32 * 1024;

function isSameStep(a: Step, b: Step): boolean {
  if (a.kind !== 'select' || b.kind !== 'select') return false;
  return isDeepEqual(a.bounds, b.bounds) && JSON.stringify(a.offset) === JSON.stringify(b.offset);
}
