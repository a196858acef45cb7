-- Log-ins by SAML, people and groups that an identity provider manages by SCIM, and people who have left.

-- Authentication requests that wait for their answer. Each is answered once; `code_hash` is set by the answer and taken
-- by the browser that began (a cookie, of which the hash is kept).
create table saml_requests (
  id text primary key,
  provider text not null,
  browser_hash bytea not null,
  return_to text not null,
  expires_at timestamptz not null,
  code_hash bytea unique,
  principal_json text,
  session_expires_at timestamptz
);

-- Assertions that were taken, so that none is taken twice by any node. Kept until they are too old to be taken.
create table saml_assertions (
  provider text not null,
  assertion_id text not null,
  expires_at timestamptz not null,
  primary key (provider, assertion_id)
);

create table scim_users (
  id text primary key,
  user_name text not null,
  user_name_key text not null unique,   -- as names are compared: lower case
  external_id text,
  principal_id text not null,
  principal_key text not null unique,   -- as humans are compared
  active boolean not null,
  resource jsonb not null,              -- the rest of the resource, as the client wrote it
  version integer not null,
  groups_changed_at timestamptz not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index scim_users_external on scim_users (external_id);
create index scim_users_changed on scim_users (groups_changed_at);

create table scim_groups (
  id text primary key,
  display_name text not null,
  display_name_key text not null unique,
  external_id text,
  version integer not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);

create table scim_members (
  group_id text not null references scim_groups on delete cascade,
  user_id text not null references scim_users on delete cascade,
  primary key (group_id, user_id)
);
create index scim_members_user on scim_members (user_id);

-- Who may not come in any more. `finished_at` is set when everything that the person had is taken away.
create table leavers (
  principal_id text not null,
  source text not null check (source in ('scim', 'admin')),
  human text not null,
  reason text not null,
  removed_by text not null,
  removed_at timestamptz not null,
  finished_at timestamptz,
  primary key (principal_id, source)
);
