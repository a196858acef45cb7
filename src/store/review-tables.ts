/** The tables of migration 0009: the index of the log, access reviews, and messages to receivers. */
import type { Generated, JSONColumnType } from 'kysely';

type Json<T extends object> = JSONColumnType<T, string, string>;

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
  position: Generated<number>;
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

export interface ReviewDatabase {
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
}
