-- Who is the same human, who owns which service account, and the keys of service accounts. Names of humans are in the
-- form in which they are compared (`humanKey`), addresses in theirs (`emailKey`).

-- Every human who was ever seen.
create table humans (
  name text primary key,
  first_seen_at timestamptz not null
);

-- Verified e-mail addresses that a human has, or had earlier: an address stays theirs.
create table human_emails (
  email text not null,
  human text not null,
  first_seen_at timestamptz not null,
  primary key (email, human)
);
create index human_emails_human on human_emails (human);

-- Two names (or a name and an address) that are one human because somebody said so. Rows are ended, never removed.
create table human_links (
  id bigint generated always as identity primary key,
  a text not null,
  b text not null,
  source text not null check (source in ('configuration', 'admin')),
  reason text not null,
  linked_by text not null,
  linked_at timestamptz not null,
  unlinked_by text,
  unlinked_at timestamptz,
  unlink_reason text,
  check (a < b)
);
create unique index human_links_open on human_links (a, b, source) where unlinked_at is null;
create index human_links_b on human_links (b);

-- Counts every change of the tables above and of owners, so that nodes see that there was one.
create table human_changes (
  only_row boolean primary key default true check (only_row),
  version bigint not null
);
insert into human_changes (version) values (0);

-- Whose a service account was, and when: those of the configuration and those of the store.
create table account_owners (
  id bigint generated always as identity primary key,
  account text not null,
  owner text not null,
  since timestamptz not null,
  until timestamptz
);
create unique index account_owners_open on account_owners (account) where until is null;
create index account_owners_account on account_owners (account);

-- Those of the configuration stand here too, for who owns them and whether they are disabled.
create table service_accounts (
  name text primary key,
  source text not null check (source in ('configuration', 'store')),
  -- The owner as a human, and the principal whose groups bound those of the account; null until somebody accepts it.
  owner text,
  owner_id text,
  groups jsonb not null,
  -- To whom it goes when they accept.
  offered_to text,
  offered_by text,
  created_by text not null,
  created_at timestamptz not null,
  expires_at timestamptz,
  disabled_at timestamptz,
  disabled_reason text
);

-- Only a hash is kept: SHA-256 of 256 random bits.
create table service_account_keys (
  id text primary key,
  account text not null references service_accounts (name),
  secret_hash text not null unique,
  created_by text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  last_used_at timestamptz,
  revoked_at timestamptz
);
create index service_account_keys_account on service_account_keys (account);
