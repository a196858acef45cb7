-- COPY FROM STDIN in its formats, and \copy.
create table copied (id integer primary key, name text, at date, ok boolean default true);

copy copied from stdin;
1	one	2024-01-01	t
2	\N	2024-02-29	f
3	tab\there	\N	t
\.

copy copied (id, name) from stdin with (format csv, header true);
id,name
4,"quoted, with comma"
5,"say ""hi"""
6,
\.

copy copied from stdin (delimiter '|', null 'nil');
7|seven|2024-07-07|t
8|nil|nil|f
\.

select * from copied order by id;

copy copied from stdin;
1	again	2024-01-01	t
\.

copy copied from stdin;
9	nine	not a date	t
\.

copy copied from stdin;
10	too	few
\.

copy copied from stdin;
11	too	2024-01-01	t	many
\.

copy copied (id, nope) from stdin;
\.

copy no_such_table from stdin;
\.

copy copied (id, name) from stdin with (format csv, force_null (name), quote '''');
12,'single, quoted'
13,''
\.

copy copied (id) from stdin where id > 15;
14
15
16
\.

copy copied (id, name) from stdin csv;
17,"multi
line"
\.

copy copied from stdin with (format nonsense);
\.

copy copied from '/no/such/file';

copy copied from program 'true';

\copy copied (id, name) from 'no_such_file.csv' csv

\copy copied (id, name) from program 'printf "20,twenty\n21,twenty-one\n"' csv

select * from copied where id > 11 order by id;

begin;

copy copied (id) from stdin;
30
31
\.

rollback;

begin;

copy copied (id) from stdin;
x
\.

select 1;

rollback;

create temp table copied_temp (n integer, t text);

copy copied_temp from stdin;
1	a
2	b
\.

select * from copied_temp;

copy copied (id) from stdin \; select count(*) from copied;
40
\.

select count(*) from copied;

create table frozen (n integer);

begin; truncate frozen; copy frozen from stdin (freeze);
1
\.

commit;

select * from frozen;

copy frozen from stdin with (format csv, header match);
n
2
\.

copy frozen from stdin with (format csv, header match);
m
3
\.

create view copied_view as select id, name from copied;

copy copied_view from stdin;
1	x
\.

drop view copied_view;

copy frozen to stdout;

copy (select 1 as a, 'x' as b) to stdout (format csv, header);

\copy frozen to stdout

drop table copied, frozen;
copy (select 1 as a, null::text as b, E'tab\there' as c, 'quo"te' as d) to stdout (format csv, header);
copy (select n, 'row ' || n from generate_series(1, 5) n) to stdout (delimiter '|', null 'nil');
copy (select 1 / (n - 3) from generate_series(1, 5) n) to stdout;
copy no_such_table to stdout;
