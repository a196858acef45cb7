/**
 * From entries of the log to the rows of its index. Pure. An entry is read once; what a later question needs of it (who,
 * which digest, where it stands) becomes a row, everything else is left in the log.
 */
import type { Insertable } from 'kysely';
import type {
  DutyUsesTable,
  ExecutionsTable,
  LogDecisionsTable,
  LogGrantsTable,
  LogRequestsTable,
  LogRunsTable,
  LogSessionsTable,
} from '../store/review-tables.ts';

export interface LogRows {
  readonly sessions: Insertable<LogSessionsTable>[];
  readonly closedSessions: string[];
  readonly requests: Insertable<LogRequestsTable>[];
  readonly decisions: Insertable<LogDecisionsTable>[];
  readonly grants: Insertable<LogGrantsTable>[];
  readonly runs: Insertable<LogRunsTable>[];
  readonly executions: Insertable<ExecutionsTable>[];
  readonly uses: Insertable<DutyUsesTable>[];
  /** Sent without an approval, because a rule permits it; counted by day, human, connection, duty and rules. */
  readonly allowed: AllowedCount[];
}

export interface AllowedCount {
  /** UTC, e.g. 2026-11-25. */
  readonly day: string;
  readonly human: string;
  readonly connection: string;
  readonly duty: string;
  readonly policies: string;
  statements: number;
}

export type KnownSession = Pick<LogSessionsTable, 'log_index' | 'principal_id' | 'human' | 'duty' | 'connection'>;

type Entry = { readonly [member: string]: unknown };

/** Entries of which nothing is kept, and which are most of the log; JSON escapes quotes, so no text can contain this. */
const uninteresting = /"type":"(statement\.(outcome|denied|held|prepared)|recording\.segment)"/;

/** @param session a session that was opened before these entries; undefined = not known */
export function rowsOf(
  node: string,
  entries: readonly { readonly index: number; readonly text: string }[],
  session: (id: string) => KnownSession | undefined,
): LogRows {
  const reader = new Reader(node, session);
  for (const { index, text } of entries) {
    if (!uninteresting.test(text)) reader.take(index, JSON.parse(text) as Entry);
  }
  return { ...reader.rows, allowed: [...reader.allowed.values()] };
}

/** Sessions that these entries refer to. */
export function sessionsIn(entries: readonly { readonly text: string }[]): string[] {
  const ids = new Set<string>();
  for (const { text } of entries) {
    if (!text.includes('"type":"statement.intent"')) continue;
    const id = (JSON.parse(text) as Entry)['session'];
    if (typeof id === 'string') ids.add(id);
  }
  return [...ids];
}

class Reader {
  readonly #node: string;
  readonly #before: (id: string) => KnownSession | undefined;
  readonly #opened = new Map<string, KnownSession>();
  readonly allowed = new Map<string, AllowedCount>();
  readonly rows: Omit<LogRows, 'allowed'> = {
    sessions: [],
    closedSessions: [],
    requests: [],
    decisions: [],
    grants: [],
    runs: [],
    executions: [],
    uses: [],
  };

  constructor(node: string, before: (id: string) => KnownSession | undefined) {
    this.#node = node;
    this.#before = before;
  }

  take(index: number, entry: Entry): void {
    const place = { node: this.#node, log_index: index };
    const at = new Date(text(entry, 'at'));
    switch (entry['type']) {
      case 'session.opened':
        return this.#sessionOpened(index, entry);
      case 'session.closed':
        return void this.rows.closedSessions.push(text(entry, 'session'));
      case 'statement.intent':
        return this.#intent(index, at, entry);
      case 'request.created':
        return void this.rows.requests.push({
          ...place,
          request_id: text(entry, 'request'),
          kind: text(entry, 'kind'),
          connection: text(entry, 'connection'),
          digest: text(entry, 'digest'),
          requester_human: text(entry, 'human'),
          authors: JSON.stringify(humansOf(entry['authors'])),
          at,
        });
      case 'request.decided':
        return void this.rows.decisions.push({
          ...place,
          request_id: text(entry, 'request'),
          verdict: text(entry, 'verdict'),
          principal_id: text(entry, 'principal'),
          human: text(entry, 'human'),
          digest: text(entry, 'digest'),
          at,
        });
      case 'grant.created':
      case 'grant.consumed':
      case 'grant.void':
        return void this.rows.grants.push({
          ...place,
          grant_id: text(entry, 'grant'),
          request_id: text(entry, 'request'),
          event: entry['type'].slice('grant.'.length) as 'created',
          digest: text(entry, 'digest'),
          principal_id: optionalText(entry, 'principal'),
          human: optionalText(entry, 'human'),
          at,
        });
      case 'run.created':
        return void this.rows.runs.push({ ...place, run_id: text(entry, 'run'), grant_id: text(entry, 'grant') });
      case 'recording.read':
        return void this.rows.uses.push({ principal_id: text(entry, 'auditor'), duty: 'auditor', used_at: at });
      default:
        return undefined;
    }
  }

  #sessionOpened(index: number, entry: Entry): void {
    const id = text(entry, 'session');
    const known = {
      log_index: index,
      principal_id: text(entry, 'principal'),
      human: text(entry, 'human'),
      duty: text(entry, 'duty'),
      connection: text(entry, 'connection'),
    };
    this.#opened.set(id, known);
    this.rows.sessions.push({ ...known, session_id: id, node: this.#node });
  }

  #intent(index: number, at: Date, entry: Entry): void {
    const id = text(entry, 'session');
    const session = this.#opened.get(id) ?? this.#before(id);
    if (entry['verdict'] === 'allow') return this.#countAllowed(at, entry, session);
    this.rows.executions.push({
      node: this.#node,
      log_index: index,
      at,
      session_id: id,
      session_index: session?.log_index ?? null,
      principal_id: session?.principal_id ?? null,
      human: session?.human ?? null,
      connection: session?.connection ?? null,
      request_id: optionalText(entry, 'request'),
      grant_id: optionalText(entry, 'grant'),
      run_id: optionalText(entry, 'run'),
      chunk_no: optionalNumber(entry, 'chunk'),
      attempt: optionalNumber(entry, 'attempt'),
    });
  }

  #countAllowed(at: Date, entry: Entry, session: KnownSession | undefined): void {
    const { policies } = entry;
    const count = {
      day: at.toISOString().slice(0, 10),
      human: session?.human ?? '',
      connection: session?.connection ?? '',
      duty: session?.duty ?? '',
      policies: Array.isArray(policies) ? policies.map(String).toSorted().join(' ').slice(0, 1_000) : '',
    };
    const key = JSON.stringify(count);
    const known = this.allowed.get(key);
    if (known === undefined) this.allowed.set(key, { ...count, statements: 1 });
    else known.statements++;
  }
}

/** What an entry does not say is '', which is nobody and no digest: it never makes an execution look approved. */
function text(entry: Entry, member: string): string {
  return optionalText(entry, member) ?? '';
}

function optionalText(entry: Entry, member: string): string | null {
  const value = entry[member];
  return typeof value === 'string' ? value : null;
}

function optionalNumber(entry: Entry, member: string): number | null {
  const value = entry[member];
  return typeof value === 'number' ? value : null;
}

function humansOf(authors: unknown): { human: string }[] {
  if (!Array.isArray(authors)) return [];
  return authors.map((author: unknown) => ({
    human: typeof author === 'object' && author !== null ? text(author as Entry, 'human') : '',
  }));
}
