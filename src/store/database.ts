/**
 * The control store: one PostgreSQL database, reached through kysely over `pg`. This file holds the shape of every
 * table (the SQL is in `migrations/`) and opens the pool. Queries live in one file per noun beside it; rules live elsewhere.
 */
import { Kysely, PostgresDialect, type Generated, type JSONColumnType, type Transaction } from 'kysely';
import pg from 'pg';
import type { ReviewDatabase } from './review-tables.ts';

type Json<T extends object> = JSONColumnType<T, string, string>;

export interface AuthorRecord {
  /** The human behind the author, as the duty rules count humans. */
  readonly human: string;
  readonly name: string;
  readonly role: 'pusher' | 'author' | 'committer' | 'co-author' | 'requester';
  /** The service account through which they did it: whoever owns it later counts for it too. */
  readonly principal?: string | undefined;
}

export type RequestKind = 'job' | 'statement' | 'session' | 'policy';
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
  groups_at: Date;
  provider: string;
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

/** How break-glass was asked for: what the workflow said at that moment. */
export interface BreakGlassRecord {
  readonly principal: string;
  readonly human: string;
  readonly reason: string;
  readonly at: string;
  readonly approvals: number;
  readonly reviewers: number;
  readonly reviewWithinMs: number;
  readonly duringQuietHours: boolean;
  /** When it was said that its review is late; ISO 8601. */
  readonly lateAt?: string | undefined;
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
  step_due_at: Date | null;
  escalated_steps: Generated<number>;
  break_glass: JSONColumnType<BreakGlassRecord, string, string> | null;
  review_due_at: Date | null;
  confirmed_at: Date | null;
}

export interface DecisionsTable {
  request_id: string;
  human: string;
  principal_id: string;
  verdict: 'approve' | 'reject';
  comment: string;
  decided_at: Date;
  groups: Json<string[]>;
}

export interface ReviewsTable {
  request_id: string;
  human: string;
  principal_id: string;
  verdict: 'ok' | 'object';
  comment: string;
  reviewed_at: Date;
}

export interface PolicyVersionsTable {
  number: number;
  digest: string;
  content_json: string;
  applied_by: string;
  applied_human: string;
  applied_at: Date;
  message: string;
  request_id: string | null;
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

export interface StatementTemplatesTable {
  request_id: string;
  connection: string;
  principal_id: string;
  shape: string;
}

/** Keys are decimal texts on our side: they go up to 2^63. */
export interface TemplateUsesTable {
  grant_id: string;
  use_no: number;
  session_id: string;
  low_key: string;
  high_key: string | null;
  rows_reserved: number;
  rows: number | null;
  reached_key: string | null;
  used_at: Date;
  settled_at: Date | null;
}

export interface GrantClaimsTable {
  id: string;
  grant_id: string;
  node: string;
  principal_id: string;
  begun_at: Date;
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
  retries: Generated<number>;
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

export interface SamlRequestsTable {
  id: string;
  provider: string;
  browser_hash: Buffer;
  return_to: string;
  expires_at: Date;
  code_hash: Buffer | null;
  principal_json: string | null;
  session_expires_at: Date | null;
}

export interface SamlAssertionsTable {
  provider: string;
  assertion_id: string;
  expires_at: Date;
}

export interface ScimUsersTable {
  id: string;
  user_name: string;
  user_name_key: string;
  external_id: string | null;
  principal_id: string;
  principal_key: string;
  active: boolean;
  resource: Json<object>;
  version: number;
  groups_changed_at: Date;
  created_at: Date;
  updated_at: Date;
}

export interface ScimGroupsTable {
  id: string;
  display_name: string;
  display_name_key: string;
  external_id: string | null;
  version: number;
  created_at: Date;
  updated_at: Date;
}

export interface ScimMembersTable {
  group_id: string;
  user_id: string;
}

export interface LeaversTable {
  principal_id: string;
  source: 'scim' | 'admin';
  human: string;
  reason: string;
  removed_by: string;
  removed_at: Date;
  finished_at: Date | null;
}

export interface WebSessionsTable {
  cookie_hash: Buffer;
  principal_id: string;
  human: string;
  provider: string;
  refresh_token: Buffer | null;
  created_at: Date;
  seen_at: Date;
  expires_at: Date;
}

export interface LoginFlowsTable {
  state_hash: Buffer;
  provider: string;
  nonce: string;
  code_verifier: string;
  return_to: string;
  expires_at: Date;
}

export interface HumansTable {
  name: string;
  first_seen_at: Date;
}

export interface HumanEmailsTable {
  email: string;
  human: string;
  first_seen_at: Date;
}

export interface HumanLinksTable {
  id: Generated<number>;
  a: string;
  b: string;
  source: 'configuration' | 'admin';
  reason: string;
  linked_by: string;
  linked_at: Date;
  unlinked_by: string | null;
  unlinked_at: Date | null;
  unlink_reason: string | null;
}

export interface HumanChangesTable {
  only_row: Generated<boolean>;
  version: number;
}

export interface AccountOwnersTable {
  id: Generated<number>;
  account: string;
  owner: string;
  since: Date;
  until: Date | null;
}

export interface ServiceAccountsTable {
  name: string;
  source: 'configuration' | 'store';
  owner: string | null;
  owner_id: string | null;
  groups: Json<string[]>;
  offered_to: string | null;
  offered_by: string | null;
  created_by: string;
  created_at: Date;
  expires_at: Date | null;
  disabled_at: Date | null;
  disabled_reason: string | null;
}

export interface ServiceAccountKeysTable {
  id: string;
  account: string;
  secret_hash: string;
  created_by: string;
  created_at: Date;
  expires_at: Date;
  last_used_at: Date | null;
  revoked_at: Date | null;
}

export interface Database extends ReviewDatabase {
  humans: HumansTable;
  human_emails: HumanEmailsTable;
  human_links: HumanLinksTable;
  human_changes: HumanChangesTable;
  account_owners: AccountOwnersTable;
  service_accounts: ServiceAccountsTable;
  service_account_keys: ServiceAccountKeysTable;
  principals: PrincipalsTable;
  credentials: CredentialsTable;
  job_versions: JobVersionsTable;
  requests: RequestsTable;
  decisions: DecisionsTable;
  reviews: ReviewsTable;
  policy_versions: PolicyVersionsTable;
  grants: GrantsTable;
  statement_templates: StatementTemplatesTable;
  template_uses: TemplateUsesTable;
  grant_claims: GrantClaimsTable;
  runs: RunsTable;
  chunks: ChunksTable;
  sessions: SessionsTable;
  sample_reads: SampleReadsTable;
  saml_requests: SamlRequestsTable;
  saml_assertions: SamlAssertionsTable;
  scim_users: ScimUsersTable;
  scim_groups: ScimGroupsTable;
  scim_members: ScimMembersTable;
  leavers: LeaversTable;
  web_sessions: WebSessionsTable;
  login_flows: LoginFlowsTable;
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
