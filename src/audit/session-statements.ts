/** What one session asked for, read back from the log: scrubbed texts, in order. For drafts, not for evidence (`replay.ts`). */
import type { LogEvent, SessionEvent } from './events.ts';
import type { LogReader } from './proofs.ts';
import { iterateEntries } from './verify.ts';

export interface SessionStatement {
  /** Scrubbed; only the beginning of a long one, then `whole` is false. */
  readonly text: string;
  readonly whole: boolean;
}

export interface SessionStatementsOptions {
  readonly read: LogReader;
  /** Entries of the log. */
  readonly size: number;
  readonly sessionId: string;
  readonly startedAt: Date;
  /** undefined: it is open. */
  readonly endedAt: Date | undefined;
  /** Entries before this one are left out. */
  readonly from?: number | undefined;
}

/** The clock of a node may be set back a little. */
const marginMs = 60_000;

/** One for each execution that was asked for, whatever came of it. */
export async function* sessionStatements(options: SessionStatementsOptions): AsyncGenerator<SessionStatement> {
  // What was held and then ran or was rejected is asked for once.
  const requests = new Set<string>();
  for await (const { event } of sessionEntries(options)) {
    if (event.type !== 'statement.intent' && event.type !== 'statement.held' && event.type !== 'statement.denied')
      continue;
    if (event.request !== undefined) {
      if (requests.has(event.request)) continue;
      requests.add(event.request);
    }
    yield { text: event.text, whole: event.textDigest === undefined };
  }
}

/** Every entry of one session, without reading all of the log. */
export async function* sessionEntries(
  options: SessionStatementsOptions,
): AsyncGenerator<{ readonly index: number; readonly event: SessionEvent }> {
  const { read, size, sessionId, startedAt, endedAt } = options;
  const from = Math.max(options.from ?? 0, await firstSince(read, size, startedAt.getTime() - marginMs));
  const until = endedAt === undefined ? undefined : endedAt.getTime() + marginMs;
  for await (const { index, text } of iterateEntries({ read, size, from })) {
    if (!text.includes(sessionId)) {
      if (until !== undefined && timeOf(text) > until) return;
      continue;
    }
    const event = JSON.parse(text) as LogEvent;
    if (!('session' in event) || event.session !== sessionId) continue;
    yield { index, event: event as SessionEvent };
    if (event.type === 'session.closed') return;
  }
}

/** The first entry of that time or later: entries are in the order of their node's clock. */
async function firstSince(read: LogReader, size: number, sinceMs: number): Promise<number> {
  let low = 0;
  let high = size;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const entry = await iterateEntries({ read, size, from: middle }).next();
    if (entry.done === true || timeOf(entry.value.text) >= sinceMs) high = middle;
    else low = middle + 1;
  }
  return low;
}

function timeOf(entry: string): number {
  const { at } = JSON.parse(entry) as { readonly at?: string };
  return Date.parse(at ?? '');
}
