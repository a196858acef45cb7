-- Requests for the template of a held statement: found by who may use them, and by the shape of the statement. What was
-- approved is in the request's digested input; these columns only find it.
create table statement_templates (
  request_id text primary key references requests (id),
  connection text not null,
  principal_id text not null,
  shape text not null
);
create index statement_templates_who on statement_templates (principal_id, connection, shape);

-- Each use of a template's grant, written before the statement is forwarded. `rows` is null until its end is known: until
-- then everything that it may deliver counts as delivered.
create table template_uses (
  grant_id text not null references grants (id),
  use_no integer not null,
  session_id text not null,
  low_key bigint not null,
  high_key bigint,
  rows_reserved bigint not null,
  rows bigint,
  reached_key bigint,
  used_at timestamptz not null,
  settled_at timestamptz,
  primary key (grant_id, use_no)
);

-- A use of a grant that has begun: it goes away with the transaction that takes effect. What a process leaves behind here
-- when it dies is looked up in its log when it starts again.
create table grant_claims (
  id text primary key,
  grant_id text not null,
  node text not null,
  principal_id text not null,
  begun_at timestamptz not null
);
