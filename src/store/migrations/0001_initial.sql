-- The control store: who may log in, what was asked, decided and granted, which job versions exist, how runs stand.
-- Times are UTC. Text columns that end in _json hold canonical JSON (RFC 8785) whose exact bytes are digested.

create table principals (
  id text primary key,
  human text not null,
  kind text not null check (kind in ('person', 'service')),
  display_name text not null,
  email text,
  groups jsonb not null,
  last_seen_at timestamptz not null
);

-- Short-lived database credentials, issued by the gateway. Only SCRAM verifiers are kept.
create table credentials (
  user_name text primary key,
  principal_id text not null,
  human text not null,
  connection text,
  run_id text,
  scram_salt bytea not null,
  scram_iterations integer not null,
  scram_stored_key bytea not null,
  scram_server_key bytea not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  revoked_at timestamptz
);
create index credentials_principal on credentials (principal_id);

create table job_versions (
  job text not null,
  version integer not null,
  path text not null,
  commit_id text not null,
  content_digest text not null,
  content text not null,
  connection text not null,
  authors jsonb not null,        -- [{ "human": …, "name": …, "role": "pusher" | "author" | "committer" | "co-author" }]
  pushed_by text not null,
  pushed_at timestamptz not null,
  primary key (job, version)
);

create table requests (
  id text primary key,
  kind text not null check (kind in ('job', 'statement', 'session')),
  state text not null check (state in ('pending', 'approved', 'rejected', 'withdrawn', 'expired')),
  connection text not null,
  title text not null,
  requester_id text not null,
  requester_human text not null,
  authors jsonb not null,        -- as in job_versions; for a statement, its requester
  job text,
  job_version integer,
  session_id text,
  digest text not null,
  digest_input_json text not null,
  evidence jsonb not null,       -- what the approver sees beside the digest: plan, masked sample, lineage
  created_at timestamptz not null,
  expires_at timestamptz not null,
  closed_at timestamptz,
  foreign key (job, job_version) references job_versions (job, version)
);
create index requests_pending on requests (created_at) where state = 'pending';

create table decisions (
  request_id text not null references requests (id),
  human text not null,
  principal_id text not null,
  verdict text not null check (verdict in ('approve', 'reject')),
  comment text not null,
  decided_at timestamptz not null,
  primary key (request_id, human)
);

create table grants (
  id text primary key,
  request_id text not null unique references requests (id),
  digest text not null,
  state text not null check (state in ('open', 'consumed', 'void', 'expired')),
  created_at timestamptz not null,
  expires_at timestamptz not null,
  consumed_by text,
  consumed_at timestamptz,
  void_reason text
);

create table runs (
  id text primary key,
  grant_id text not null unique references grants (id),
  job text not null,
  job_version integer not null,
  connection text not null,
  executor_id text not null,
  executor_human text not null,
  state text not null check (state in ('running', 'paused', 'completed', 'failed', 'killed')),
  plan_json text not null,
  snapshot text not null check (snapshot in ('shared', 'mixed')),
  created_at timestamptz not null,
  finished_at timestamptz,
  manifest_json text,
  failure text
);

create table chunks (
  run_id text not null references runs (id),
  chunk_no integer not null,
  state text not null check (state in ('planned', 'leased', 'streaming', 'sealed', 'failed', 'blocked')),
  attempt integer not null default 0,
  lease_holder text,
  lease_until timestamptz,
  delivered boolean not null default false,
  rows bigint,
  bytes bigint,
  masked_cells bigint,
  row_digest text,
  file_json text,
  failure text,
  updated_at timestamptz not null,
  primary key (run_id, chunk_no)
);

create table sessions (
  id text primary key,
  principal_id text not null,
  human text not null,
  duty text not null,
  connection text not null,
  run_id text,
  client_address text not null,
  application text not null,
  node text not null,
  started_at timestamptz not null,
  ended_at timestamptz,
  statements bigint not null default 0,
  rows bigint not null default 0,
  masked_cells bigint not null default 0
);
create index sessions_started on sessions (started_at);

-- Exploratory rows of designers: one line per read, summed over the last hour.
create table sample_reads (
  id bigint generated always as identity primary key,
  human text not null,
  connection text not null,
  read_at timestamptz not null,
  rows integer not null
);
create index sample_reads_who on sample_reads (human, connection, read_at);
