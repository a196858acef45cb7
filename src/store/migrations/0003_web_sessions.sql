-- Log-ins of the page. Cookies are random; only their SHA-256 is kept, so that a reader of the store has no session.
create table web_sessions (
  cookie_hash bytea primary key,
  principal_id text not null,
  human text not null,
  provider text not null,
  refresh_token bytea,            -- sealed with a key of the gateway
  created_at timestamptz not null,
  seen_at timestamptz not null,
  expires_at timestamptz not null
);
create index web_sessions_principal on web_sessions (principal_id);

-- A log-in between its start and its return, used once.
create table login_flows (
  state_hash bytea primary key,
  provider text not null,
  nonce text not null,
  code_verifier text not null,
  return_to text not null,
  expires_at timestamptz not null
);
