-- Cursors, prepared statements in SQL, DO, CALL, dynamic SQL.
begin;

declare numbers cursor for select n, n * n as square from generate_series(1, 10) n;

fetch numbers;

fetch next from numbers;

fetch 3 from numbers;

fetch forward 2 in numbers;

move 1 from numbers;

fetch relative 1 from numbers;

move forward all in numbers;

fetch numbers;

close numbers;

close numbers;

rollback;

begin;

declare back scroll cursor for values (1, 'a'), (2, 'b'), (3, 'c');

fetch last from back;

fetch prior from back;

fetch absolute 1 from back;

fetch backward all from back;

fetch all from back;

fetch first from back;

fetch 0 from back;

move backward 1 in back;

close all;

commit;

declare outside cursor for select 1;

declare held cursor with hold for select n from generate_series(1, 5) n;

fetch 2 from held;

select name, is_holdable, is_scrollable from pg_cursors order by name;

fetch all from held;

close held;

fetch from held;

create table walked (id integer primary key, note text);

insert into walked select n, 'row ' || n from generate_series(1, 3) n;

begin;

declare w cursor for select * from walked order by id for update;

fetch 2 from w;

update walked set note = 'here' where current of w returning *;

delete from walked where current of w;

fetch w;

commit;

select * from walked order by id;

begin;

declare no_back no scroll cursor for select 1;

fetch prior from no_back;

rollback;

\set FETCH_COUNT 2

select n, 'in pieces' from generate_series(1, 5) n;

select 1 / (3 - n) from generate_series(1, 5) n;

\set FETCH_COUNT 0

prepare plain as select 1 as one;

execute plain;

prepare adding (integer, integer) as select $1 + $2 as sum;

execute adding (1, 2);

execute adding (1);

execute adding ('x', 2);

prepare plain as select 2;

prepare untyped as select $1 || 'x', $2::integer;

execute untyped ('a', 5);

prepare changing (text) as insert into walked values (10, $1) returning *;

execute changing ('prepared');

explain (costs off) execute adding (1, 2);

select name, statement, parameter_types from pg_prepared_statements order by name;

create table from_prepared as execute adding (20, 22);

select * from from_prepared;

deallocate plain;

execute plain;

deallocate no_such;

deallocate all;

execute adding (1, 2);

do $$ declare n integer; begin select count(*) into n from walked; raise notice 'there are % rows', n; end $$;

do $$ begin for i in 1..3 loop raise notice 'round %', i; end loop; end $$;

do $$ begin execute 'create table dynamic (id integer)'; execute format('insert into %I values ($1)', 'dynamic') using 7; end $$;

select * from dynamic;

create procedure fill(n integer) language plpgsql as $$ begin for i in 1..n loop insert into dynamic values (i); commit; end loop; end $$;

call fill(3);

select count(*) from dynamic;

begin; call fill(1); rollback;

create procedure answer(in question text, out answer integer, inout note text default 'none') language plpgsql as $$ begin answer := 42; note := question || ' ' || note; end $$;

call answer('why', null);

call answer('why', null, 'because');

call no_such_procedure();

create function rows_of(refcursor) returns refcursor language plpgsql as $$ begin open $1 for select * from dynamic order by id; return $1; end $$;

begin;

select rows_of('mine');

fetch 2 from mine;

commit;

create function dynamic_count(name text) returns bigint language plpgsql as $$ declare n bigint; begin execute 'select count(*) from ' || quote_ident(name) into n; return n; end $$;

select dynamic_count('dynamic');

select dynamic_count('no such table');

select query_to_xml('select 1 as a', false, false, '');

select * from pg_get_function_arguments('dynamic_count'::regproc);

select lo_create(424242);

select lo_from_bytea(424243, 'large object');

select convert_from(lo_get(424243), 'UTF8'), lo_put(424243, 0, 'LARGE');

begin; select lo_open(424243, 262144); select loread(0, 5); rollback;

select lo_unlink(424242), lo_unlink(424243);

select lo_get(424242);

-- differs, `the function call message is refused`: psql uses the function call message for large objects
\lo_unlink 424244

drop table walked, dynamic, from_prepared;

drop procedure fill, answer;

drop function rows_of, dynamic_count;
