/**
 * "Every execution passed an approval": counted, judged, and with the places in the log that prove it.
 *
 * The log is read once, as it grows, into an index in the store (`log-rows.ts`). A question then costs: the entries that
 * are new, one grouped count over the executions of the period inside the store, one judgement for each grant among
 * them, and the page that is shown. The log itself is never read again; whoever doubts the index proves the
 * entries from the log's tiles by the indexes that stand beside each execution.
 */
import type { Transaction } from 'kysely';
import { LogFollower, type FollowedLog } from '../audit/follower.ts';
import type { LogEntry } from '../audit/verify.ts';
import { CountersignError } from '../errors.ts';
import type { Database, Store } from '../store/database.ts';
import { cursorsOf } from '../store/log-cursors.ts';
import {
  allowedStatements,
  chunksWithoutEntry,
  countAllowed,
  executionGroups,
  forgetLogSessions,
  grantEvidence,
  grantsWithoutEntry,
  insertLogRows,
  listExecutions,
  noteUses,
  openLogSessions,
  type AllowedRow,
  type ExecutionFilter,
  type ExecutionGroup,
  type ExecutionRow,
  type GrantEvidenceRows,
} from '../store/log-index.ts';
import { judge, type ExecutionProblem, type GrantEvidence, type KeyOfHuman, type LogPlace } from './judge.ts';
import { rowsOf, sessionsIn } from './log-rows.ts';

export interface ExecutionsOptions {
  readonly store: Store;
  readonly log: FollowedLog;
  readonly node: string;
  readonly keyOf: KeyOfHuman;
}

export interface ExecutionAsk extends ExecutionFilter {
  /** Of the page; default 100, at most 1000. */
  readonly limit?: number | undefined;
  /** `next` of the page before. */
  readonly before?: string | undefined;
}

/** Places in the log, for proofs of inclusion. */
export interface ExecutionProof {
  readonly intent: LogPlace;
  readonly session: LogPlace | undefined;
  readonly request: LogPlace | undefined;
  readonly decisions: readonly (LogPlace & { readonly human: string; readonly verdict: string })[];
  readonly grant: LogPlace | undefined;
  readonly consumption: LogPlace | undefined;
  readonly run: LogPlace | undefined;
}

export interface ShownExecution {
  readonly at: string;
  readonly sessionId: string;
  readonly principal: string | undefined;
  readonly human: string | undefined;
  readonly connection: string | undefined;
  readonly requestId: string | undefined;
  readonly grantId: string | undefined;
  readonly runId: string | undefined;
  readonly chunkNo: number | undefined;
  readonly attempt: number | undefined;
  readonly problems: readonly ExecutionProblem[];
  readonly proof: ExecutionProof;
}

export interface ExecutionException {
  /** The first entry that it is about, where there is one. */
  readonly entry: LogPlace | undefined;
  readonly executions: number;
  readonly human: string | undefined;
  readonly connection: string | undefined;
  readonly requestId: string | undefined;
  readonly grantId: string | undefined;
  readonly runId: string | undefined;
  readonly problems: readonly { readonly code: string; readonly message: string }[];
}

export interface ExecutionReport {
  /** False: more of the log is still to be read, so that the numbers are not the last word. */
  readonly complete: boolean;
  /** How far each node's log has been read. */
  readonly logs: readonly { readonly node: string; readonly entries: number }[];
  /** Statements that were sent under a grant. */
  readonly executions: number;
  readonly approved: number;
  /** What must be none; at most a hundred of them. */
  readonly exceptions: readonly ExecutionException[];
  readonly exceptionCount: number;
  /** Sent without a grant because a rule permits it; by whole days. */
  readonly allowedByRule: readonly AllowedRow[];
  readonly page: { readonly items: readonly ShownExecution[]; readonly next: string | undefined };
}

const consumer = 'executions';
const grantsAtOnce = 500;
const shownExceptions = 100;
const shownAllowed = 500;
const maxPage = 1_000;

export class Executions {
  readonly #options: ExecutionsOptions;
  readonly #follower: LogFollower;

  constructor(options: ExecutionsOptions) {
    this.#options = options;
    const { store, log, node } = options;
    this.#follower = new LogFollower({
      store,
      log,
      node,
      consumer,
      handle: (transaction, entries) => this.#index(transaction, entries),
    });
  }

  /** Reads what the log has gained. Call it now and then, so that a question finds little to read. */
  async catchUp(): Promise<{ readonly read: number; readonly size: number }> {
    return this.#follower.catchUp();
  }

  /** @throws CountersignError `log_broken`, `log_unavailable` */
  async report(ask: ExecutionAsk): Promise<ExecutionReport> {
    const { store } = this.#options;
    const followed = await this.catchUp();
    const groups = await executionGroups(store, ask);
    const evidence = await this.#evidence(groups.map((group) => group.grant_id));
    const exceptions: ExecutionException[] = [];
    let approved = 0;
    for (const group of groups) {
      const problems = this.#judge(group, group.first_index, group.executions, evidence);
      if (problems.length === 0) approved += group.executions;
      else exceptions.push(exceptionOf(group, problems));
    }
    const missing = ask.connections === undefined ? await this.#missing(ask) : [];
    const executions = groups.reduce((sum, group) => sum + group.executions, 0);
    const logs = await cursorsOf(store, consumer);
    return {
      complete: followed.read >= followed.size,
      logs: logs.map(({ node, next_index }) => ({ node, entries: next_index })),
      executions,
      approved,
      exceptions: [...exceptions, ...missing].slice(0, shownExceptions),
      exceptionCount: exceptions.length + missing.length,
      allowedByRule: await allowedStatements(store, ask, shownAllowed),
      page: await this.#page(ask),
    };
  }

  #judge(
    row: Pick<ExecutionGroup, 'node' | 'grant_id' | 'request_id' | 'run_id' | 'human' | 'connection'>,
    index: number,
    executions: number,
    evidence: ReadonlyMap<string, GrantEvidence>,
  ): readonly ExecutionProblem[] {
    const executed = {
      node: row.node,
      index,
      executions,
      grantId: row.grant_id ?? undefined,
      requestId: row.request_id ?? undefined,
      runId: row.run_id ?? undefined,
      human: row.human ?? undefined,
      connection: row.connection ?? undefined,
    };
    return judge(executed, evidence.get(row.grant_id ?? ''), this.#options.keyOf);
  }

  async #page(ask: ExecutionAsk): Promise<ExecutionReport['page']> {
    const limit = Math.min(Math.max(Math.trunc(ask.limit ?? 100), 1), maxPage);
    const before = ask.before === undefined ? undefined : parseCursor(ask.before);
    const rows = await listExecutions(this.#options.store, ask, {
      limit: limit + 1,
      ...(before === undefined ? {} : { before }),
    });
    const evidence = await this.#evidence(rows.map((row) => row.grant_id));
    const items = rows.slice(0, limit).map((row) => this.#shown(row, evidence));
    const last = rows[limit - 1];
    return { items, next: rows.length > limit && last !== undefined ? cursorOf(last) : undefined };
  }

  #shown(row: ExecutionRow, evidence: ReadonlyMap<string, GrantEvidence>): ShownExecution {
    const found = evidence.get(row.grant_id ?? '');
    const place = (at: LogPlace | undefined) => at && { node: at.node, index: at.index };
    return {
      at: row.at.toISOString(),
      sessionId: row.session_id,
      principal: row.principal_id ?? undefined,
      human: row.human ?? undefined,
      connection: row.connection ?? undefined,
      requestId: row.request_id ?? found?.request?.id,
      grantId: row.grant_id ?? undefined,
      runId: row.run_id ?? undefined,
      chunkNo: row.chunk_no ?? undefined,
      attempt: row.attempt ?? undefined,
      problems: this.#judge(row, row.log_index, 1, evidence),
      proof: {
        intent: { node: row.node, index: row.log_index },
        session: row.session_index === null ? undefined : { node: row.node, index: row.session_index },
        request: place(found?.request),
        decisions: (found?.decisions ?? []).map(({ node, index, human, verdict }) => ({ node, index, human, verdict })),
        grant: place(found?.created),
        consumption: place(found?.consumed[0]),
        run: place(found?.runs.find((run) => run.id === row.run_id)),
      },
    };
  }

  async #evidence(grantIds: readonly (string | null)[]): Promise<Map<string, GrantEvidence>> {
    const wanted = [...new Set(grantIds)].filter((id) => id !== null);
    const found = new Map<string, GrantEvidence>();
    for (let from = 0; from < wanted.length; from += grantsAtOnce) {
      const ids = wanted.slice(from, from + grantsAtOnce);
      const rows = await grantEvidence(this.#options.store, ids);
      for (const [id, evidence] of evidenceOf(ids, rows)) found.set(id, evidence);
    }
    return found;
  }

  /** What the store says was executed, and the log does not know. */
  async #missing(ask: ExecutionFilter): Promise<ExecutionException[]> {
    const { store } = this.#options;
    const look = async () => ({
      grants: await grantsWithoutEntry(store, ask, shownExceptions),
      chunks: await chunksWithoutEntry(store, ask, shownExceptions),
    });
    const suspects = await look();
    if (suspects.grants.length + suspects.chunks.length === 0) return [];
    // What happened since the log was read is in it by now: its entry is durable before the store changes.
    await this.catchUp();
    const { grants, chunks } = await look();
    const nothing = { entry: undefined, executions: 0, human: undefined, connection: undefined, requestId: undefined };
    return [
      ...grants.map((grantId) => ({
        ...nothing,
        grantId,
        runId: undefined,
        problems: [
          {
            code: 'store-differs',
            message: `the control store says that grant ${grantId} was consumed, the log does not`,
          },
        ],
      })),
      ...chunks.map(({ run_id, chunk_no }) => ({
        ...nothing,
        grantId: undefined,
        runId: run_id,
        problems: [
          {
            code: 'store-differs',
            message: `the control store says that chunk ${chunk_no} of run ${run_id} was delivered, the log does not`,
          },
        ],
      })),
    ];
  }

  async #index(transaction: Transaction<Database>, entries: readonly LogEntry[]): Promise<void> {
    const { node } = this.#options;
    const sessions = await openLogSessions(transaction, sessionsIn(entries));
    const rows = rowsOf(node, entries, (id) => sessions.get(id));
    await insertLogRows(transaction, rows);
    await countAllowed(transaction, node, rows.allowed);
    await noteUses(transaction, rows.uses);
    await forgetLogSessions(transaction, rows.closedSessions);
  }
}

function exceptionOf(group: ExecutionGroup, problems: readonly ExecutionProblem[]): ExecutionException {
  return {
    entry: { node: group.node, index: group.first_index },
    executions: group.executions,
    human: group.human ?? undefined,
    connection: group.connection ?? undefined,
    requestId: group.request_id ?? undefined,
    grantId: group.grant_id ?? undefined,
    runId: group.run_id ?? undefined,
    problems,
  };
}

function evidenceOf(ids: readonly string[], rows: GrantEvidenceRows): [string, GrantEvidence][] {
  const grants = Map.groupBy(rows.grants, (row) => row.grant_id);
  const requests = new Map(rows.requests.map((row) => [row.request_id, row]));
  const decisions = Map.groupBy(rows.decisions, (row) => row.request_id);
  const runs = Map.groupBy(rows.runs, (row) => row.grant_id);
  const stored = new Map(rows.stored.map((row) => [row.grant_id, row]));
  const storedDecisions = Map.groupBy(rows.storedDecisions, (row) => row.request_id);
  const storedRuns = Map.groupBy(rows.storedRuns, (row) => row.grant_id);
  const place = (row: { readonly node: string; readonly log_index: number }) => ({
    node: row.node,
    index: row.log_index,
  });
  return ids.map((grantId) => {
    const events = grants.get(grantId) ?? [];
    const created = events.find((row) => row.event === 'created');
    const request = requests.get(created?.request_id ?? '');
    const kept = stored.get(grantId);
    return [
      grantId,
      {
        grantId,
        created: created && place(created),
        consumed: events
          .filter((row) => row.event === 'consumed')
          .map((row) => ({
            ...place(row),
            human: row.human ?? '',
            principal: row.principal_id ?? '',
            digest: row.digest,
          })),
        request: request && {
          ...place(request),
          id: request.request_id,
          kind: request.kind,
          connection: request.connection,
          digest: request.digest,
          requesterHuman: request.requester_human,
          authors: request.authors.map((author) => author.human),
        },
        decisions: (decisions.get(request?.request_id ?? '') ?? []).map((row) => ({
          ...place(row),
          human: row.human,
          principal: row.principal_id,
          verdict: row.verdict,
          digest: row.digest,
        })),
        runs: (runs.get(grantId) ?? []).map((row) => ({ ...place(row), id: row.run_id })),
        stored: kept && {
          grantState: kept.grant_state,
          grantDigest: kept.grant_digest,
          requestId: kept.request_id,
          requestState: kept.request_state,
          requestDigest: kept.request_digest,
          approvers: (storedDecisions.get(kept.request_id) ?? [])
            .filter((row) => row.verdict === 'approve')
            .map((row) => row.human),
          runs: (storedRuns.get(grantId) ?? []).map((row) => row.id),
          once: kept.once,
        },
      },
    ];
  });
}

const cursorForm = /^(\d{1,16})\.(\d{1,16})\.(.{1,100})$/;

function cursorOf(row: ExecutionRow): string {
  return `${row.at.getTime()}.${row.log_index}.${row.node}`;
}

function parseCursor(text: string): { at: Date; node: string; index: number } {
  const [, at, index, node] = cursorForm.exec(text) ?? [];
  if (at === undefined || node === undefined) {
    throw new CountersignError('input_invalid', `before: ${JSON.stringify(text)} is no place in this list`, {
      hint: 'take it from `next` of the page before',
    });
  }
  return { at: new Date(Number(at)), index: Number(index), node };
}
