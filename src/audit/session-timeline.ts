/** What one session did, statement by statement, as the log tells it: verdict, outcome, time. Texts are scrubbed; no row is here. */
import type { SessionEvent, StatementOutcome } from './events.ts';
import { sessionEntries, type SessionStatementsOptions } from './session-statements.ts';

export interface TimelineStatement {
  /** Entry of the log that tells of it first. */
  readonly logIndex: number;
  readonly at: string;
  /** When its intent was durable, which is right before it was forwarded; undefined: it never was. */
  readonly forwardedAt?: string | undefined;
  /** Of the session; a held statement has the number under which it ran. */
  readonly statement: number;
  readonly text: string;
  /** False: `text` is only its beginning. */
  readonly whole: boolean;
  readonly class: string;
  readonly verdict: 'allow' | 'granted' | 'denied' | 'held';
  readonly policies: readonly string[];
  readonly code?: string | undefined;
  readonly request?: string | undefined;
  readonly grant?: string | undefined;
  readonly run?: string | undefined;
  readonly chunk?: number | undefined;
  /** undefined: nothing was forwarded, or nobody knows how it ended. */
  readonly outcome?:
    | {
        readonly status: StatementOutcome['status'];
        readonly at: string;
        readonly durationMs: number;
        readonly rows: number;
        readonly bytes: number;
        readonly maskedCells: number;
        readonly sqlstate?: string | undefined;
      }
    | undefined;
}

export interface Timeline {
  readonly statements: readonly TimelineStatement[];
  /** Where to go on reading (`from`); null = that was all so far. */
  readonly next: number | null;
}

/** Entries of a session that are read beyond the last statement shown, for the outcomes of those that are. */
const mostPast = 1_000;

/** At most `limit` statements from entry `from` on, in the order in which they were asked. */
export async function sessionTimeline(
  options: SessionStatementsOptions & { readonly limit: number },
): Promise<Timeline> {
  const statements: TimelineStatement[] = [];
  const running = new Map<number, number>();
  const held = new Map<string, number>();
  let next: number | null = null;
  let past = 0;
  for await (const { index, event } of sessionEntries(options)) {
    if (event.type === 'statement.outcome') {
      const position = running.get(event.statement);
      const one = position === undefined ? undefined : statements[position];
      if (one !== undefined && position !== undefined)
        statements[position] = { ...one, outcome: outcomeOf(one, event) };
      running.delete(event.statement);
      continue;
    }
    if (next !== null && (running.size === 0 || ++past > mostPast)) break;
    const told = statementOf(index, event);
    if (told === undefined) continue;
    const before = told.request === undefined ? undefined : held.get(told.request);
    const waiting = before === undefined ? undefined : statements[before];
    if (waiting !== undefined && before !== undefined) {
      // What was held is shown once: from when it was asked to what became of it.
      statements[before] = { ...told, logIndex: waiting.logIndex, at: waiting.at };
      if (told.forwardedAt !== undefined) running.set(told.statement, before);
      continue;
    }
    if (statements.length >= options.limit) {
      // What is shown may still be running: a little further on stands how it ended.
      next ??= index;
      continue;
    }
    if (told.request !== undefined && told.verdict === 'held') held.set(told.request, statements.length);
    if (told.forwardedAt !== undefined) running.set(told.statement, statements.length);
    statements.push(told);
  }
  return { statements, next };
}

function statementOf(logIndex: number, event: SessionEvent): TimelineStatement | undefined {
  if (event.type !== 'statement.intent' && event.type !== 'statement.held' && event.type !== 'statement.denied')
    return undefined;
  const { at, statement, text, textDigest, policies, request } = event;
  const common = {
    logIndex,
    at,
    statement,
    text,
    whole: textDigest === undefined,
    class: event.class,
    policies,
    request,
  };
  if (event.type === 'statement.held') return { ...common, verdict: 'held' };
  if (event.type === 'statement.denied') return { ...common, verdict: 'denied', code: event.code };
  const { verdict, grant, run, chunk } = event;
  return { ...common, verdict, forwardedAt: at, grant, run, chunk };
}

function outcomeOf(statement: TimelineStatement, event: StatementOutcome): NonNullable<TimelineStatement['outcome']> {
  const { status, at, rows, bytes, maskedCells, sqlstate } = event;
  return {
    status,
    at,
    durationMs: Date.parse(at) - Date.parse(statement.forwardedAt ?? statement.at),
    rows,
    bytes,
    maskedCells,
    sqlstate,
  };
}
