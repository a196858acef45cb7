/** What one session asked for, read back from the log: scrubbed texts, in order. For drafts, not for evidence (`replay.ts`). */
import type { LogEvent } from './events.ts';
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
}

/** The clock of a node may be set back a little. */
const marginMs = 60_000;

/** One for each execution that was asked for, whatever came of it. */
export async function* sessionStatements(options: SessionStatementsOptions): AsyncGenerator<SessionStatement> {
  const { read, size, sessionId, startedAt, endedAt } = options;
  const from = await firstSince(read, size, startedAt.getTime() - marginMs);
  const until = endedAt === undefined ? undefined : endedAt.getTime() + marginMs;
  // What was held and then ran or was rejected is asked for once.
  const requests = new Set<string>();
  for await (const { text } of iterateEntries({ read, size, from })) {
    if (!text.includes(sessionId)) {
      if (until !== undefined && timeOf(text) > until) return;
      continue;
    }
    const event = JSON.parse(text) as LogEvent;
    if (event.type === 'session.closed' && event.session === sessionId) return;
    if (event.type !== 'statement.intent' && event.type !== 'statement.held' && event.type !== 'statement.denied')
      continue;
    if (event.session !== sessionId) continue;
    if (event.request !== undefined) {
      if (requests.has(event.request)) continue;
      requests.add(event.request);
    }
    yield { text: event.text, whole: event.textDigest === undefined };
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
