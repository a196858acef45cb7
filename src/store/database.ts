/**
 * The control store: one PostgreSQL database, reached through kysely over `pg`. This file holds the shape of every
 * table (the SQL is in `migrations/`) and opens the pool. Queries live in one file per noun beside it; rules live elsewhere.
 */
import { Kysely, PostgresDialect, type Generated, type JSONColumnType, type Transaction } from 'kysely';
import pg from 'pg';

type Json<T extends object> = JSONColumnType<T, string, string>;

export interface AuthorRecord {
  /** The human behind the author, as the duty rules count humans. */
  readonly human: string;
  readonly name: string;
  readonly role: 'pusher' | 'author' | 'committer' | 'co-author' | 'requester';
}

export type RequestKind = 'job' | 'statement' | 'session';
export type RequestState = 'pending' | 'approved' | 'rejected' | 'withdrawn' | 'expired';
export type GrantState = 'open' | 'consumed' | 'void' | 'expired';
export type RunState = 'running' | 'paused' | 'completed' | 'failed' | 'killed';
export type ChunkState = 'planned' | 'leased' | 'streaming' | 'sealed' | 'failed' | 'blocked';

export interface PrincipalsTable {
  id: string;
  human: string;
  kind: 'person' | 'service';
  display_name: string;
  email: string | null;
  groups: Json<string[]>;
  last_seen_at: Date;
}

export interface CredentialsTable {
  user_name: string;
  principal_id: string;
  human: string;
  connection: string | null;
  run_id: string | null;
  scram_salt: Buffer;
  scram_iterations: number;
  scram_stored_key: Buffer;
  scram_server_key: Buffer;
  created_at: Date;
  expires_at: Date;
  revoked_at: Date | null;
}

export interface JobVersionsTable {
  job: string;
  version: number;
  path: string;
  commit_id: string;
  content_digest: string;
  content: string;
  connection: string;
  authors: Json<AuthorRecord[]>;
  pushed_by: string;
  pushed_at: Date;
}

export interface RequestsTable {
  id: string;
  kind: RequestKind;
  state: RequestState;
  connection: string;
  title: string;
  requester_id: string;
  requester_human: string;
  authors: Json<AuthorRecord[]>;
  job: string | null;
  job_version: number | null;
  session_id: string | null;
  digest: string;
  digest_input_json: string;
  evidence: Json<object>;
  created_at: Date;
  expires_at: Date;
  closed_at: Date | null;
}

export interface DecisionsTable {
  request_id: string;
  human: string;
  principal_id: string;
  verdict: 'approve' | 'reject';
  comment: string;
  decided_at: Date;
}

export interface GrantsTable {
  id: string;
  request_id: string;
  digest: string;
  state: GrantState;
  created_at: Date;
  expires_at: Date;
  consumed_by: string | null;
  consumed_at: Date | null;
  void_reason: string | null;
}

export interface RunsTable {
  id: string;
  grant_id: string;
  job: string;
  job_version: number;
  connection: string;
  executor_id: string;
  executor_human: string;
  state: RunState;
  plan_json: string;
  snapshot: 'shared' | 'mixed';
  created_at: Date;
  finished_at: Date | null;
  manifest_json: string | null;
  failure: string | null;
}

export interface ChunksTable {
  run_id: string;
  chunk_no: number;
  state: ChunkState;
  attempt: Generated<number>;
  lease_holder: string | null;
  lease_until: Date | null;
  delivered: Generated<boolean>;
  rows: number | null;
  bytes: number | null;
  masked_cells: number | null;
  row_digest: string | null;
  file_json: string | null;
  failure: string | null;
  updated_at: Date;
}

export interface SessionsTable {
  id: string;
  principal_id: string;
  human: string;
  duty: string;
  connection: string;
  run_id: string | null;
  client_address: string;
  application: string;
  node: string;
  started_at: Date;
  ended_at: Date | null;
  statements: Generated<number>;
  rows: Generated<number>;
  masked_cells: Generated<number>;
}

export interface SampleReadsTable {
  id: Generated<number>;
  human: string;
  connection: string;
  read_at: Date;
  rows: number;
  rule: Generated<string>;
}

export interface LogCursorsTable {
  node: string;
  consumer: string;
  next_index: number;
}

export interface LogSessionsTable {
  session_id: string;
  node: string;
  log_index: number;
  principal_id: string;
  human: string;
  duty: string;
  connection: string;
}

export interface LogRequestsTable {
  request_id: string;
  node: string;
  log_index: number;
  kind: string;
  connection: string;
  digest: string;
  requester_human: string;
  authors: Json<{ human: string }[]>;
  at: Date;
}

export interface LogDecisionsTable {
  node: string;
  log_index: number;
  request_id: string;
  verdict: string;
  principal_id: string;
  human: string;
  digest: string;
  at: Date;
}

export interface LogGrantsTable {
  node: string;
  log_index: number;
  grant_id: string;
  request_id: string;
  event: 'created' | 'consumed' | 'void';
  digest: string;
  principal_id: string | null;
  human: string | null;
  at: Date;
}

export interface LogRunsTable {
  run_id: string;
  grant_id: string;
  node: string;
  log_index: number;
}

export interface ExecutionsTable {
  node: string;
  log_index: number;
  at: Date;
  session_id: string;
  session_index: number | null;
  principal_id: string | null;
  human: string | null;
  connection: string | null;
  request_id: string | null;
  grant_id: string | null;
  run_id: string | null;
  chunk_no: number | null;
  attempt: number | null;
}

export interface AllowedStatementsTable {
  node: string;
  day: string;
  human: string;
  connection: string;
  duty: string;
  policies: string;
  statements: number;
}

export interface DutyUsesTable {
  principal_id: string;
  duty: string;
  connection: Generated<string>;
  used_at: Date;
}

export interface DutyHoldingsTable {
  line: string;
  since: Date;
}

export interface AccessReviewsTable {
  id: string;
  started_by: string;
  started_human: string;
  started_at: Date;
  ended_by: string | null;
  ended_at: Date | null;
  facts: Json<object>;
}

export interface AccessReviewLinesTable {
  review_id: string;
  line: string;
  principal_id: string;
  human: string;
  connection: string;
  duty: string;
  holding: Json<object>;
  verdict: 'keep' | 'revoke' | null;
  reviewer_id: string | null;
  reviewer_human: string | null;
  comment: string | null;
  decided_at: Date | null;
}

export interface NotificationsTable {
  id: string;
  receiver: string;
  event: string;
  dedupe: string;
  message: Json<object>;
  recipient: string | null;
  state: 'waiting' | 'sent' | 'failed';
  attempts: Generated<number>;
  next_at: Date;
  created_at: Date;
  ended_at: Date | null;
  failure: string | null;
}

export interface Database {
  log_cursors: LogCursorsTable;
  log_sessions: LogSessionsTable;
  log_requests: LogRequestsTable;
  log_decisions: LogDecisionsTable;
  log_grants: LogGrantsTable;
  log_runs: LogRunsTable;
  executions: ExecutionsTable;
  allowed_statements: AllowedStatementsTable;
  duty_uses: DutyUsesTable;
  duty_holdings: DutyHoldingsTable;
  access_reviews: AccessReviewsTable;
  access_review_lines: AccessReviewLinesTable;
  notifications: NotificationsTable;
  principals: PrincipalsTable;
  credentials: CredentialsTable;
  job_versions: JobVersionsTable;
  requests: RequestsTable;
  decisions: DecisionsTable;
  grants: GrantsTable;
  runs: RunsTable;
  chunks: ChunksTable;
  sessions: SessionsTable;
  sample_reads: SampleReadsTable;
}

export type Store = Kysely<Database>;
/** A store or an open transaction of it; query functions take either. */
export type StoreOrTransaction = Kysely<Database> | Transaction<Database>;

const int8Oid = 20;

/** Opens the pool. Counts (int8) come back as numbers: ours stay far below 2^53. The caller ends it with `destroy()`. */
export function openStore(url: string, options: { maxConnections?: number } = {}): { store: Store; pool: pg.Pool } {
  const types: pg.CustomTypesConfig = {
    getTypeParser: (oid: number, format?: 'text' | 'binary') =>
      oid === int8Oid ? Number : pg.types.getTypeParser(oid, format === 'binary' ? 'binary' : 'text'),
  };
  const pool = new pg.Pool({
    connectionString: url,
    max: options.maxConnections ?? 10,
    application_name: 'countersign',
    types,
  });
  // An idle connection that the server closes is replaced at the next query; without a listener it would end the process.
  pool.on('error', () => undefined);
  return { store: new Kysely<Database>({ dialect: new PostgresDialect({ pool }) }), pool };
}
