-- Workflows with steps, break-glass with its reviews, and the versions of the rules (bindings, masking, workflows, policies).

alter table requests drop constraint requests_kind_check;
alter table requests add constraint requests_kind_check check (kind in ('job', 'statement', 'session', 'policy'));
alter table requests add column step_due_at timestamptz;
alter table requests add column escalated_steps integer not null default 0;
alter table requests add column break_glass jsonb;
alter table requests add column review_due_at timestamptz;  -- set when a break-glass request is approved
alter table requests add column confirmed_at timestamptz;
create index requests_unconfirmed on requests (review_due_at) where break_glass is not null and confirmed_at is null;

-- The groups of whoever decided, at that moment: which place of a step they can fill.
alter table decisions add column groups jsonb not null default '[]';

create table reviews (
  request_id text not null references requests (id),
  human text not null,
  principal_id text not null,
  verdict text not null check (verdict in ('ok', 'object')),
  comment text not null,
  reviewed_at timestamptz not null,
  primary key (request_id, human)
);

create table policy_versions (
  number integer primary key,
  digest text not null,
  content_json text not null,
  applied_by text not null,
  applied_human text not null,
  applied_at timestamptz not null,
  message text not null,
  request_id text references requests (id)
);
