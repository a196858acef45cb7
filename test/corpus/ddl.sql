-- Making, changing and dropping every kind of object.
create schema shop;

create schema if not exists shop;

create table shop.customer (
  id integer generated always as identity primary key,
  name text not null,
  mail varchar(80) unique,
  born date,
  balance numeric(12, 2) default 0 check (balance > -1000),
  tags text[] default '{}',
  full_name text generated always as (upper(name)) stored
);

create table shop.orders (
  id bigserial primary key,
  customer integer not null references shop.customer on delete cascade,
  placed timestamptz default '2024-01-01 00:00:00+00',
  state text default 'new',
  constraint orders_state check (state in ('new', 'paid', 'sent'))
);

comment on table shop.customer is 'who buys';

comment on column shop.customer.mail is 'where they read';

create index customer_name on shop.customer (name);

create unique index customer_lower on shop.customer (lower(name)) where born is not null;

create index concurrently customer_born on shop.customer using brin (born);

create index on shop.orders (customer, placed desc nulls last) include (state);

alter index shop.customer_name rename to customer_by_name;

reindex index shop.customer_by_name;

alter table shop.customer add column nick text, add column age integer default 7;

alter table shop.customer alter column nick set default 'none', alter column nick set not null;

alter table shop.customer rename column nick to alias;

alter table shop.customer alter column age type bigint using age * 2;

alter table shop.customer drop column age;

alter table shop.customer add constraint alias_short check (length(alias) < 20) not valid;

alter table shop.customer validate constraint alias_short;

alter table shop.customer drop constraint alias_short;

alter table only shop.customer set (fillfactor = 70);

create view shop.named as select id, name from shop.customer where name like 'A%' with check option;

create or replace view shop.named as select id, name, mail from shop.customer where name like 'A%';

create view shop.totals (customer, orders) as select customer, count(*) from shop.orders group by customer;

create materialized view shop.totals_kept as select * from shop.totals with no data;

select * from shop.totals_kept;

refresh materialized view shop.totals_kept;

select * from shop.totals_kept;

create recursive view shop.numbers (n) as select 1 union all select n + 1 from shop.numbers where n < 5;

select * from shop.numbers;

create sequence shop.counter start 10 increment 5 minvalue 10 maxvalue 100 cycle;

create sequence if not exists shop.counter;

alter sequence shop.counter restart with 20;

alter sequence shop.counter owned by shop.customer.id;

create type shop.mood as enum ('sad', 'ok', 'happy');

alter type shop.mood add value 'ecstatic' after 'happy';

alter type shop.mood rename value 'ok' to 'fine';

create type shop.pair as (left_one integer, right_one text);

create type shop.span as range (subtype = float8);

alter type shop.pair add attribute third boolean;

create domain shop.positive as integer default 1 check (value > 0);

alter domain shop.positive add constraint small check (value < 1000);

create table shop.typed (m shop.mood, p shop.pair, d shop.positive, s shop.span);

insert into shop.typed values ('happy', row(1, 'x', true), 5, '[1.5,2.5)') returning *;

insert into shop.typed values ('angry', null, 5, null);

insert into shop.typed (d) values (-1);

select (p).left_one, p, m < 'ecstatic' as less from shop.typed;

select 'sad'::shop.mood, 7::shop.positive, '(1,a,t)'::shop.pair, shop.span(1, 2);

select enum_range(null::shop.mood);

create function shop.add(a integer, b integer default 1) returns integer language sql immutable as 'select a + b';

select shop.add(1), shop.add(1, 2), shop.add(b => 5, a => 1);

create or replace function shop.greet(who text) returns text language plpgsql as $$ begin return 'hello ' || who; end $$;

select shop.greet('you');

create function shop.rows(n integer) returns table (i integer, sq integer) language sql as 'select g, g * g from generate_series(1, n) g';

select * from shop.rows(3);

create function shop.two(out a integer, out b text) language sql return row(1, 'b');

select shop.two(), (shop.two()).b;

create function shop.noisy() returns void language plpgsql as $$ begin raise notice 'noise'; raise warning 'more' using hint = 'less'; end $$;

select shop.noisy();

create function shop.fails(n integer) returns integer language plpgsql as $$ begin return 10 / n; end $$;

select shop.fails(0);

create procedure shop.pay(customer integer, inout amount numeric) language plpgsql as $$ begin amount := amount * 2; end $$;

call shop.pay(1, 2.5);

call shop.nothing();

create aggregate shop.product(integer) (sfunc = int4mul, stype = integer, initcond = '1');

select shop.product(n) from generate_series(1, 5) n;

create operator shop.=== (leftarg = integer, rightarg = integer, function = int4eq);

select 1 operator(shop.===) 1;

create cast (integer as shop.mood) with inout;

create function shop.stamp() returns trigger language plpgsql as $$ begin new.state := coalesce(new.state, 'new'); raise notice '% on %', tg_op, tg_table_name; return new; end $$;

create trigger stamp before insert or update on shop.orders for each row execute function shop.stamp();

insert into shop.customer (name, mail, alias) values ('Ada', 'ada@example.org', 'a'), ('Bob', null, 'b') returning id, name, full_name;

insert into shop.orders (customer, state) values (1, null), (2, 'paid') returning *;

update shop.orders set state = 'sent' where customer = 2;

alter table shop.orders disable trigger stamp;

update shop.orders set state = 'paid' where customer = 2;

drop trigger stamp on shop.orders;

create rule no_delete as on delete to shop.orders do instead nothing;

delete from shop.orders;

drop rule no_delete on shop.orders;

create table shop.parted (id integer, at date) partition by range (at);

create table shop.parted_2023 partition of shop.parted for values from ('2023-01-01') to ('2024-01-01');

create table shop.parted_rest partition of shop.parted default;

insert into shop.parted values (1, '2023-05-05'), (2, '2024-05-05') returning tableoid::regclass, *;

alter table shop.parted detach partition shop.parted_rest;

insert into shop.parted values (3, '2030-01-01');

create table shop.child (extra text) inherits (shop.customer);

create table shop.copied (like shop.orders including all);

create table shop.made as select id, name from shop.customer order by id;

select * from shop.made;

create table shop.empty as table shop.made with no data;

select id into shop.into from shop.made;

create unlogged table shop.fast (id integer);

create statistics shop.stats on id, name from shop.made;

analyze shop.made;

vacuum shop.made;

alter table shop.orders enable row level security;

create policy own on shop.orders using (customer = 1);

alter table shop.orders force row level security;

select id, customer from shop.orders;

alter table shop.orders no force row level security, disable row level security;

grant select on shop.made to public;

revoke select on shop.made from public;

grant usage on schema shop to no_such_role;

alter default privileges in schema shop grant select on tables to public;

alter table shop.made set schema public;

alter table made rename to made_public;

select * from made_public;

alter function shop.greet(text) rename to welcome;

alter view shop.named rename to called;

alter table shop.empty owner to current_user;

truncate shop.orders restart identity;

truncate shop.customer;

truncate shop.customer cascade;

create temp table scratch (id integer, note text);

insert into scratch values (1, 'temporary') returning *;

select * from scratch;

select * from pg_temp.scratch;

create temp table on_commit (id integer) on commit drop;

select * from on_commit;

create temp view scratch_view as select note from scratch;

select * from scratch_view;

create temp sequence scratch_numbers;

select nextval('scratch_numbers');

update scratch set note = upper(note) where id = 1 returning note;

create index on scratch (id);

drop table scratch cascade;

create or replace function shop.first(anyelement, anyelement) returns anyelement language sql as 'select $1';

create role corpus_role;

create extension no_such_extension;

create event trigger e on ddl_command_start execute function no_such();

create text search configuration shop.simple_copy (copy = simple);

create collation shop.c (locale = 'C');

drop owned by no_such_role;

drop type shop.mood;

drop function shop.add;

drop function shop.add(integer, integer), shop.nothing();

drop sequence shop.counter;

drop view shop.called, shop.totals;

drop schema shop;

set client_min_messages to warning;

drop schema shop cascade;

drop table made_public;

reset client_min_messages;
