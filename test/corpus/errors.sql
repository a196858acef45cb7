-- Errors with their positions, details, hints and contexts; notices and warnings.
selec 1;

select 1 +;

select * from no_such_table;

select no_such_column from pg_class limit 1;

select "Relname" from pg_class limit 1;

select relnam from pg_class limit 1;

select no_such_function(1, 'x');

select 1::no_such_type;

select 'ü', 'ö', no_such_column;

select 1 / 0;

select 'x'::integer;

select
  1,
  'two',
  nope
from generate_series(1, 2);

select 300::smallint * 300::smallint;

select 9223372036854775807 + 1;

select date '2024-02-30';

select '{"a": }'::json;

select '{"a": 1'::jsonb;

select 'not a uuid'::uuid;

select array[1, 'x'];

select '{1,2'::int[];

select 1 where 'a';

select count(*) from pg_class group by relname having relkind;

select relname, count(*) from pg_class;

select sum(sum(1));

select * from (select 1);

select 1 union select 'x';

select 1, 2 union select 1;

select 'a' || 1 + 2;

select upper(1, 2);

select -('x'::text);

select (select 1 union select 2);

select substring('abc' from 1 for -1);

select chr(0);

select sqrt(-1);

select ln(0);

select '1 fortnight'::interval;

select to_date('2024-13-01', 'YYYY-MM-DD');

select to_number('abc', '999');

select 'abc' ~ '(';

select regexp_replace('a', '[', 'b');

select 'x' like 'y' escape 'zz';

select int4range(5, 1);

select json_object('{a,b,c}');

select jsonb_path_query('{}', '$.a +');

select (array[1, 2])[1, 2];

select generate_series(1, 3, 0);

create table errors (id integer primary key, label text not null unique check (label <> 'bad'), other integer references errors);

insert into errors values (1, 'one', null);

insert into errors values (1, 'again', null);

insert into errors values (2, null, null);

insert into errors values (2, 'bad', null);

insert into errors values (2, 'one', null);

insert into errors values (2, 'two', 99);

insert into errors values ('x', 'two', null);

insert into errors (id, nolabel) values (2, 'two');

insert into errors values (1, 'a', 2, 'too many');

insert into errors (id) values (1, 2);

update errors set id = 'x';

update errors set nope = 1;

delete from errors where nope = 1;

create table errors (id integer);

create table if not exists errors (id integer);

drop table no_such_table;

drop table if exists no_such_table, another;

drop function if exists no_such_function(integer);

create index on errors (nope);

alter table errors add column label text;

alter table errors drop column nope;

create view errors_view as select * from errors;

drop table errors;

drop table errors cascade;

do $$ begin raise notice 'a notice with % and %', 1, 'two'; end $$;

do $$ begin raise warning 'a warning' using detail = 'its detail', hint = 'its hint'; end $$;

do $$ begin raise info 'always shown'; raise log 'not shown'; raise debug 'not shown'; end $$;

do $$ begin raise exception 'failed: %', 42 using errcode = 'P0042', detail = 'why', hint = 'what to do', table = 't'; end $$;

do $$ begin perform 1 / 0; end $$;

do $$ declare x integer; begin x := 'text'; end $$;

do $$ begin select 1; end $$;

do $$ begin assert false, 'never'; end $$;

do $$ begin begin raise exception 'inner'; exception when others then raise notice 'caught %: %', sqlstate, sqlerrm; end; end $$;

do $$ begin raise notice 'unfinished; end $$;

do language nolanguage 'x';

\set VERBOSITY verbose

select no_such_column;

do $$ begin raise notice 'verbose'; end $$;

\set VERBOSITY terse

select 1 / 0;

do $$ begin raise warning 'terse' using detail = 'left out'; end $$;

\set VERBOSITY sqlstate

select 1 / 0;

\set VERBOSITY default

\set SHOW_CONTEXT always

do $$ begin raise notice 'with context'; end $$;

\set SHOW_CONTEXT errors

\errverbose

set client_min_messages to warning;

do $$ begin raise notice 'not shown'; raise warning 'shown'; end $$;

set client_min_messages to error;

do $$ begin raise warning 'not shown'; end $$;

reset client_min_messages;

set nosuch to 1;

set work_mem to 'lots';

set work_mem to 1;

show nosuch;

reset nosuch;

select current_setting('no.such');

select current_setting('no.such', true);

commit;

rollback;

savepoint outside;

begin;

begin;

select 1 / 0;

select 1;

commit;

insert;

create table;

select 'unterminated;
';

select 1 as "";

select $1;

select repeat('x', 3) as ok; select 'second on the line' as ok;
