/** Requests and the decisions on them: rows in, records out. The rules are in `approvals/requests.ts`. */
import type { Selectable, Transaction } from 'kysely';
import type {
  AuthorRecord,
  BreakGlassRecord,
  Database,
  DecisionsTable,
  RequestKind,
  RequestState,
  RequestsTable,
  StoreOrTransaction,
} from './database.ts';

export interface RequestRecord {
  readonly id: string;
  readonly kind: RequestKind;
  readonly state: RequestState;
  /** Empty for kind `policy`: that is about the gateway as a whole. */
  readonly connection: string;
  readonly title: string;
  readonly requesterId: string;
  readonly requesterHuman: string;
  readonly authors: readonly AuthorRecord[];
  readonly job: string | undefined;
  readonly jobVersion: number | undefined;
  readonly sessionId: string | undefined;
  /** SHA-256 of `digestInputJson`, hex. */
  readonly digest: string;
  /** Canonical JSON of a `GrantInput` or a `PolicyInput`. */
  readonly digestInputJson: string;
  /** What the approver sees beside the digest. Masked. */
  readonly evidence: object;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly closedAt: Date | undefined;
  /** When the step that is open has to be done, if its workflow says so. */
  readonly stepDueAt: Date | undefined;
  /** So many steps were given to further groups. */
  readonly escalatedSteps: number;
  readonly breakGlass: BreakGlassRecord | undefined;
  /** Approved by break-glass: until when it has to be confirmed. */
  readonly reviewDueAt: Date | undefined;
  readonly confirmedAt: Date | undefined;
}

/** When a pending request expires. */
export function dueAt({ expiresAt, stepDueAt }: RequestRecord): Date {
  return stepDueAt !== undefined && stepDueAt < expiresAt ? stepDueAt : expiresAt;
}

export interface DecisionRecord {
  readonly requestId: string;
  readonly human: string;
  readonly principalId: string;
  readonly verdict: 'approve' | 'reject';
  readonly comment: string;
  readonly decidedAt: Date;
  /** Of the principal, at that moment. */
  readonly groups: readonly string[];
}

export interface RequestFilter {
  readonly state?: RequestState | undefined;
  readonly kind?: RequestKind | undefined;
  readonly connection?: string | undefined;
  readonly job?: string | undefined;
  readonly requesterHuman?: string | undefined;
  /** Only requests made before this moment, for paging from new to old. */
  readonly createdBefore?: Date | undefined;
  /** Default 100, at most 1000. */
  readonly limit?: number | undefined;
}

export async function insertRequest(transaction: Transaction<Database>, request: RequestRecord): Promise<void> {
  await transaction
    .insertInto('requests')
    .values({
      id: request.id,
      kind: request.kind,
      state: request.state,
      connection: request.connection,
      title: request.title,
      requester_id: request.requesterId,
      requester_human: request.requesterHuman,
      authors: JSON.stringify(request.authors),
      job: request.job ?? null,
      job_version: request.jobVersion ?? null,
      session_id: request.sessionId ?? null,
      digest: request.digest,
      digest_input_json: request.digestInputJson,
      evidence: JSON.stringify(request.evidence),
      created_at: request.createdAt,
      expires_at: request.expiresAt,
      closed_at: request.closedAt ?? null,
      step_due_at: request.stepDueAt ?? null,
      break_glass: request.breakGlass === undefined ? null : JSON.stringify(request.breakGlass),
    })
    .execute();
}

export async function findRequest(store: StoreOrTransaction, id: string): Promise<RequestRecord | undefined> {
  const row = await store.selectFrom('requests').selectAll().where('id', '=', id).executeTakeFirst();
  return row === undefined ? undefined : requestOf(row);
}

/** Reads the request and keeps everybody else from changing it until the transaction ends. */
export async function lockRequest(transaction: Transaction<Database>, id: string): Promise<RequestRecord | undefined> {
  const row = await transaction.selectFrom('requests').selectAll().where('id', '=', id).forUpdate().executeTakeFirst();
  return row === undefined ? undefined : requestOf(row);
}

/** Compare-and-set: returns false when the request was not pending any more. */
export async function closeRequest(
  transaction: Transaction<Database>,
  id: string,
  state: Exclude<RequestState, 'pending'>,
  closedAt: Date,
): Promise<boolean> {
  const result = await transaction
    .updateTable('requests')
    .set({ state, closed_at: closedAt })
    .where('id', '=', id)
    .where('state', '=', 'pending')
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

/** The step that is open now has to be done by then. */
export async function setStepDue(transaction: Transaction<Database>, id: string, at: Date | undefined): Promise<void> {
  await transaction
    .updateTable('requests')
    .set({ step_due_at: at ?? null })
    .where('id', '=', id)
    .execute();
}

export async function setReviewDue(transaction: Transaction<Database>, id: string, at: Date): Promise<void> {
  await transaction.updateTable('requests').set({ review_due_at: at }).where('id', '=', id).execute();
}

export async function setEscalated(transaction: Transaction<Database>, id: string, steps: number): Promise<void> {
  await transaction.updateTable('requests').set({ escalated_steps: steps }).where('id', '=', id).execute();
}

/** Pending requests in the order in which they were made, after the one with this time and id. */
export async function pendingAfter(
  store: StoreOrTransaction,
  after: Pick<RequestRecord, 'createdAt' | 'id'> | undefined,
  limit: number,
): Promise<RequestRecord[]> {
  let query = store.selectFrom('requests').selectAll().where('state', '=', 'pending');
  if (after !== undefined) {
    const { createdAt, id } = after;
    query = query.where((row) =>
      row.or([row('created_at', '>', createdAt), row.and([row('created_at', '=', createdAt), row('id', '>', id)])]),
    );
  }
  const rows = await query.orderBy('created_at').orderBy('id').limit(limit).execute();
  return rows.map(requestOf);
}

/** Newest first. */
export async function listRequests(store: StoreOrTransaction, filter: RequestFilter): Promise<RequestRecord[]> {
  let query = store.selectFrom('requests').selectAll();
  if (filter.state !== undefined) query = query.where('state', '=', filter.state);
  if (filter.kind !== undefined) query = query.where('kind', '=', filter.kind);
  if (filter.connection !== undefined) query = query.where('connection', '=', filter.connection);
  if (filter.job !== undefined) query = query.where('job', '=', filter.job);
  if (filter.requesterHuman !== undefined) query = query.where('requester_human', '=', filter.requesterHuman);
  if (filter.createdBefore !== undefined) query = query.where('created_at', '<', filter.createdBefore);
  const limit = Math.min(Math.max(Math.trunc(filter.limit ?? 100), 1), 1000);
  const rows = await query.orderBy('created_at', 'desc').orderBy('id').limit(limit).execute();
  return rows.map(requestOf);
}

/** Ids of pending requests whose time is up, oldest first. */
export async function duePendingRequests(store: StoreOrTransaction, now: Date, limit: number): Promise<string[]> {
  const rows = await store
    .selectFrom('requests')
    .select('id')
    .where('state', '=', 'pending')
    .where((row) => row.or([row('expires_at', '<=', now), row('step_due_at', '<=', now)]))
    .orderBy('created_at')
    .limit(limit)
    .execute();
  return rows.map((row) => row.id);
}

/** Ids of pending requests that a session waited for which is over, oldest first. */
export async function orphanedRequests(store: StoreOrTransaction, limit: number): Promise<string[]> {
  const rows = await store
    .selectFrom('requests')
    .innerJoin('sessions', 'sessions.id', 'requests.session_id')
    .select('requests.id')
    .where('requests.state', '=', 'pending')
    .where('sessions.ended_at', 'is not', null)
    .orderBy('requests.created_at')
    .limit(limit)
    .execute();
  return rows.map((row) => row.id);
}

/** Pending requests of this kind, all connections, whose time is not up. */
export async function countPending(
  store: StoreOrTransaction,
  requesterHuman: string,
  kind: RequestKind,
  now: Date,
): Promise<number> {
  const row = await store
    .selectFrom('requests')
    .select((expression) => expression.fn.countAll<number>().as('count'))
    .where('state', '=', 'pending')
    .where('kind', '=', kind)
    .where('requester_human', '=', requesterHuman)
    .where('expires_at', '>', now)
    .executeTakeFirstOrThrow();
  return row.count;
}

export async function insertDecision(transaction: Transaction<Database>, decision: DecisionRecord): Promise<void> {
  await transaction
    .insertInto('decisions')
    .values({
      request_id: decision.requestId,
      human: decision.human,
      principal_id: decision.principalId,
      verdict: decision.verdict,
      comment: decision.comment,
      decided_at: decision.decidedAt,
      groups: JSON.stringify(decision.groups),
    })
    .execute();
}

/** Oldest first. */
export async function decisionsOf(store: StoreOrTransaction, requestId: string): Promise<DecisionRecord[]> {
  const rows = await store
    .selectFrom('decisions')
    .selectAll()
    .where('request_id', '=', requestId)
    .orderBy('decided_at')
    .orderBy('human')
    .execute();
  return rows.map(decisionOf);
}

/** Of several requests, oldest first. */
export async function decisionsOfAll(
  store: StoreOrTransaction,
  requestIds: readonly string[],
): Promise<ReadonlyMap<string, DecisionRecord[]>> {
  if (requestIds.length === 0) return new Map();
  const rows = await store
    .selectFrom('decisions')
    .selectAll()
    .where('request_id', 'in', [...requestIds])
    .orderBy('decided_at')
    .orderBy('human')
    .execute();
  return Map.groupBy(rows.map(decisionOf), (decision) => decision.requestId);
}

function requestOf(row: Selectable<RequestsTable>): RequestRecord {
  return {
    id: row.id,
    kind: row.kind,
    state: row.state,
    connection: row.connection,
    title: row.title,
    requesterId: row.requester_id,
    requesterHuman: row.requester_human,
    authors: row.authors,
    job: row.job ?? undefined,
    jobVersion: row.job_version ?? undefined,
    sessionId: row.session_id ?? undefined,
    digest: row.digest,
    digestInputJson: row.digest_input_json,
    evidence: row.evidence,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    closedAt: row.closed_at ?? undefined,
    stepDueAt: row.step_due_at ?? undefined,
    escalatedSteps: row.escalated_steps,
    breakGlass: row.break_glass ?? undefined,
    reviewDueAt: row.review_due_at ?? undefined,
    confirmedAt: row.confirmed_at ?? undefined,
  };
}

function decisionOf(row: Selectable<DecisionsTable>): DecisionRecord {
  return {
    requestId: row.request_id,
    human: row.human,
    principalId: row.principal_id,
    verdict: row.verdict,
    comment: row.comment,
    decidedAt: row.decided_at,
    groups: row.groups,
  };
}
