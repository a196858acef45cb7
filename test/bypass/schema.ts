/** The target of the bypass suite: masked columns of every kind, beside plain tables to launder them into. */
import { customersSchema, secretPatterns } from '../customers.ts';

export const bypassSchema = `${customersSchema}
  create table vault (
    id integer primary key,
    token text not null,
    pin integer,
    born date,
    tags text[],
    card_number text,
    email text,
    hashed text,
    constraint vault_token unique (token) deferrable initially deferred,
    constraint vault_pin check (pin > 0)
  );
  insert into vault
  select n, 'zq7k' || lpad(n::text, 4, '0'), 81930000 + n, date '1961-03-05' + n, array['zq7k' || lpad(n::text, 4, '0')],
         '40128888' || lpad(n::text, 8, '0'), 'person' || n || '@secret.example', 'zq7k' || lpad(n::text, 4, '0')
    from generate_series(1, 40) n;
  create view vault_tokens as select id, token as label from vault;
  create view vault_nested as select id as number, upper(label) as shout, label from vault_tokens;
  create view switching as select id, label as shown from plain;
  create materialized view vault_copy as select id, token as label, pin from vault;
  create table family (id integer, token text);
  create table family_child (extra integer) inherits (family);
  insert into family_child select id, token, 1 from vault;
  create table labels (id integer primary key, label text not null unique);
  insert into labels values (1, 'one');
  create sequence numbers;
  create table made (
    id integer primary key,
    token text,
    loud text generated always as (upper(token)) stored,
    twice text generated always as (token || token) stored
  );
  insert into made select id, token from vault;
  create domain short as text check (length(value) < 3);
  create table locker (id integer primary key, token text unique);
  insert into locker select id, token from vault;
  create table split_vault (id integer, token text) partition by range (id);
  create table split_low partition of split_vault for values from (0) to (20);
  create table split_high partition of split_vault default;
  insert into split_vault select id, token from vault;
  create table pairs (a integer, token text, primary key (a, token));
  insert into pairs select id, token from vault;
  create table pair_refs (
    id integer primary key,
    a integer,
    token text,
    foreign key (a, token) references pairs deferrable initially deferred
  );
  insert into pair_refs select id, id, token from vault;
  create table chained (id integer primary key, label text);
  create view deep as with q as (select id, token from vault) select id, (select token from q where q.id = p.id) as label from plain p;
  create view unioned as select id, label from plain union all select id, token from vault;
  create table coded (id integer primary key, code text, spare text, noted text);
  insert into coded select id, token, token, token from vault where id < 9;
  create view coded_view as select id, code as label from coded;
  create table grown (id integer);
  insert into grown values (1);
  alter table grown add column token text default reverse('1000k7qz');
  grant all on sequence numbers to public;
  analyze;
`;

/** Masks of the columns that `customers` does not have. */
export const bypassColumns = [
  { match: 'token', mask: 'redact' },
  { match: 'pin', mask: 'redact' },
  { match: 'born', mask: 'year' },
  { match: 'tags', mask: 'redact' },
  { match: 'hashed', mask: 'hash' },
  { match: 'code', mask: 'redact', predicates: { kind: 'equality', perHour: 1_000 } },
  { match: 'coded.spare', mask: 'redact', predicates: { kind: 'equality', perHour: 2 } },
  { match: 'noted', mask: 'redact', predicates: 'is-null' },
];

/** Raw values, and what they look like backwards, in capitals and as hexadecimal digits. */
export const canaries: readonly RegExp[] = [
  ...secretPatterns,
  /zq7k/i,
  /k7qz/i,
  /7a71376b/i,
  /8193\d{4}/,
  /1961-0[2-9]-/,
  /terces@\d+nosrep/i,
  /PERSON\d+@SECRET/i,
  /40736563726574/i,
  /\d{3}6-54-\d{3}/,
  /2d34352d36/i,
  /40128888\d{4}/,
];

export function leaked(text: string): string | undefined {
  return canaries.map((pattern) => pattern.exec(text)?.[0]).find((found) => found !== undefined);
}
