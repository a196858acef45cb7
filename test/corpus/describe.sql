-- psql's own questions about the catalogue.
create schema cat;

create type cat.colour as enum ('red', 'green');

create domain cat.code as text check (value ~ '^[a-z]+$');

create table cat.parent (id integer primary key, name varchar(20) not null default 'x', colour cat.colour, code cat.code unique);

create table cat.child (id integer references cat.parent (id) on delete cascade, at timestamptz, amount numeric(10, 2) check (amount > 0), total numeric generated always as (amount * 2) stored);

comment on table cat.parent is 'the parent';

comment on column cat.parent.name is 'its name';

create index child_at on cat.child (at desc) where amount > 5;

create view cat.pairs as select p.id, p.name, c.amount from cat.parent p join cat.child c using (id);

create materialized view cat.kept as select id from cat.parent;

create sequence cat.seq increment 2;

create function cat.twice(n integer) returns integer language sql as 'select n * 2';

create procedure cat.proc(n integer) language sql as 'select n';

create table cat.parts (id integer, k text) partition by list (k);

create table cat.parts_a partition of cat.parts for values in ('a');

create trigger noop before update on cat.parent for each row execute function suppress_redundant_updates_trigger();

create policy only_own on cat.child using (id = 1);

create statistics cat.st on id, amount from cat.child;

grant select on cat.parent to public;

\d cat.parent

\d+ cat.parent

\d cat.child

\d cat.pairs

\d+ cat.pairs

\d cat.kept

\d cat.seq

\d cat.parts

\d+ cat.parts

\d cat.parts_a

\d cat.child_at

\d cat.no_such

\d cat.*

\dt cat.*

\di cat.*

\dv cat.*

\dm cat.*

\ds cat.*

\dT cat.*

\dT+ cat.colour

\dD cat.*

\df cat.*

\da sum

\do ||

\dn

\dn cat

\dp cat.parent

\ddp

\dC cat.*

\dc cat.*

\dO "C"

\dd cat.*

\des

\dew

\det

\dF english

\dFd english_stem

\dFp default

\dL plpgsql

\dl

\dP cat.*

\dRp

\dRs

\dX cat.*

\dy

\dx plpgsql

\dA heap

\dAc btree integer

\drds

\sf cat.twice

\sv cat.pairs

\df+ cat.twice

\dS pg_am

\z cat.child

\h commit

\encoding

select 1 as a, 'x'::text as b, now() as c \gdesc

select 'select 1 as generated' union all select 'select 2' \gexec

select 5 as five, 'text' as word \gset

select :five + 1 as six, :'word' as quoted, :"word" from (select 1 as text) t;

select n % 2 as odd, n as value, n * n as square from generate_series(1, 4) n \crosstabview odd value square

select 1 \g

select 'expanded' as once \gx

\if true
select 'taken';
\else
select 'not taken';
\endif

\set name 'va''lue'

select :'name' as quoted;

\unset name

\echo :ROW_COUNT :ERROR :SQLSTATE

select 1 / 0;

\echo :ERROR :SQLSTATE :LAST_ERROR_MESSAGE

\p

\timing off

\conninfo_nonsense

select table_name, column_name, data_type, is_nullable from information_schema.columns where table_schema = 'cat' order by 1, 2;

select constraint_name, constraint_type from information_schema.table_constraints where table_schema = 'cat' and constraint_name !~ '^\d' order by 1;

select schemaname, viewname, definition from pg_views where schemaname = 'cat';

select relname, relkind, relnatts from pg_class where relnamespace = 'cat'::regnamespace order by relname;

select pg_get_viewdef('cat.pairs'), pg_get_constraintdef(c.oid) from pg_constraint c where conname = 'child_amount_check';

select attname, atttypid::regtype, attnotnull from pg_attribute where attrelid = 'cat.parent'::regclass and attnum > 0 order by attnum;

select rolname = current_user as me, rolsuper from pg_roles where rolname = current_user;

set client_min_messages to warning;

drop schema cat cascade;

reset client_min_messages;
