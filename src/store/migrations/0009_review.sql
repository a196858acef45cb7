-- How far each reader of a node's log has read it.
create table log_cursors (
  node text not null,
  consumer text not null,
  next_index bigint not null,
  primary key (node, consumer)
);

-- An index of the log: where everything stands that an execution depends on. It is made from the log alone, and can be
-- emptied (with its cursor) and made again. Times and digests are those of the entries.
create table log_sessions (
  session_id text primary key,
  node text not null,
  log_index bigint not null,
  principal_id text not null,
  human text not null,
  duty text not null,
  connection text not null
);

create table log_requests (
  request_id text primary key,
  node text not null,
  log_index bigint not null,
  kind text not null,
  connection text not null,
  digest text not null,
  requester_human text not null,
  authors jsonb not null,
  at timestamptz not null
);

create table log_decisions (
  node text not null,
  log_index bigint not null,
  request_id text not null,
  verdict text not null,
  principal_id text not null,
  human text not null,
  digest text not null,
  at timestamptz not null,
  primary key (node, log_index)
);
create index log_decisions_request on log_decisions (request_id);

create table log_grants (
  node text not null,
  log_index bigint not null,
  grant_id text not null,
  request_id text not null,
  event text not null check (event in ('created', 'consumed', 'void')),
  digest text not null,
  principal_id text,
  human text,
  at timestamptz not null,
  primary key (node, log_index)
);
create index log_grants_grant on log_grants (grant_id);

create table log_runs (
  run_id text primary key,
  grant_id text not null,
  node text not null,
  log_index bigint not null
);

-- Statements that were sent to a target under a grant: their intents.
create table executions (
  node text not null,
  log_index bigint not null,
  at timestamptz not null,
  session_id text not null,
  session_index bigint,
  principal_id text,
  human text,
  connection text,
  request_id text,
  grant_id text,
  run_id text,
  chunk_no integer,
  attempt integer,
  primary key (node, log_index)
);
create index executions_at on executions (at, node, log_index);
create index executions_run on executions (run_id, chunk_no) where run_id is not null;

-- Statements that a rule let through without an approval (samples of designers, and what policies permit), counted.
create table allowed_statements (
  node text not null,
  day date not null,
  human text not null,
  connection text not null,
  duty text not null,
  policies text not null,
  statements bigint not null,
  primary key (node, day, human, connection, duty, policies)
);

-- Newest use of a duty that leaves no other row in the store: replays and reviews.
create table duty_uses (
  principal_id text not null,
  duty text not null,
  connection text not null default '',
  used_at timestamptz not null,
  primary key (principal_id, duty, connection)
);

-- Since when a duty is held, as far as anybody looked.
create table duty_holdings (
  line text primary key,
  since timestamptz not null
);

create table access_reviews (
  id text primary key,
  started_by text not null,
  started_human text not null,
  started_at timestamptz not null,
  ended_by text,
  ended_at timestamptz,
  facts jsonb not null           -- conflicts, accounts, executions as they were at the start
);
create index access_reviews_started on access_reviews (started_at);

create table access_review_lines (
  review_id text not null references access_reviews (id),
  line text not null,
  principal_id text not null,
  human text not null,
  connection text not null,
  duty text not null,
  holding jsonb not null,
  verdict text check (verdict in ('keep', 'revoke')),
  reviewer_id text,
  reviewer_human text,
  comment text,
  decided_at timestamptz,
  primary key (review_id, line)
);
create index access_review_lines_revoked on access_review_lines (line, decided_at) where verdict = 'revoke';

-- Messages on their way to the receivers of `notifications`. A row is made in the transaction that moves the cursor over
-- the log entry which it tells of, so none is lost; it is sent at least once.
create table notifications (
  id text primary key,
  position bigint generated always as identity,   -- in this order they are sent
  receiver text not null,
  event text not null,
  dedupe text not null,
  message jsonb not null,
  recipient text,
  state text not null check (state in ('waiting', 'sent', 'failed')),
  attempts integer not null default 0,
  next_at timestamptz not null,
  created_at timestamptz not null,
  ended_at timestamptz,
  failure text,
  unique (receiver, dedupe)
);
create index notifications_due on notifications (receiver, position) where state = 'waiting';
create index notifications_ended on notifications (ended_at) where state <> 'waiting';
