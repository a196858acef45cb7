-- Joins, windows, grouping sets, CTEs, LATERAL, set operations.
create table emp (id integer primary key, name text, boss integer, dept text, pay numeric, hired date);

insert into emp values
  (1, 'Ann', null, 'board', 100, '2010-01-01'), (2, 'Ben', 1, 'sales', 60, '2012-05-01'),
  (3, 'Cat', 1, 'tech', 70, '2013-03-01'), (4, 'Dan', 3, 'tech', 50, '2015-01-15'),
  (5, 'Eve', 3, 'tech', 50, '2016-07-01'), (6, 'Fay', 2, 'sales', 40, null);

select e.name, b.name as boss from emp e left join emp b on b.id = e.boss order by e.id;

select * from emp e join emp b using (dept) where e.id < b.id order by 1, 2, 3;

select count(*) from emp cross join emp b;

select e.name from emp e full join (values (7), (1)) v (id) using (id) order by v.id, e.id;

select name from emp natural join (values (1, 'Ann')) v (id, name);

select dept, count(*), sum(pay), avg(pay), min(hired), max(name) from emp group by dept order by dept;

select dept, hired is null as unknown, count(*) from emp group by grouping sets ((dept), (2), ()) order by 1, 2;

select dept, name, sum(pay), grouping(dept, name) from emp group by rollup (dept, name) order by 1, 2;

select dept, boss, count(*) from emp group by cube (dept, boss) order by 1, 2, 3;

select dept from emp group by dept having count(*) > 1 and sum(pay) > 100 order by dept;

select count(*) filter (where pay > 50), string_agg(name, ', ' order by name desc), array_agg(distinct dept order by dept) from emp;

select percentile_cont(0.5) within group (order by pay), mode() within group (order by dept), percentile_disc(array[0.25, 0.75]) within group (order by pay) from emp;

select bool_and(pay > 30), bool_or(pay > 90), every(id > 0), bit_or(id), stddev_pop(pay), corr(id, pay), variance(id) from emp;

select json_agg(name order by id), jsonb_object_agg(id, dept), xmlagg(xmlelement(name e, name) order by id) from emp;

select name, rank() over (order by pay desc), dense_rank() over (order by pay desc), row_number() over (order by pay desc, id), percent_rank() over w, cume_dist() over w, ntile(3) over (order by id) from emp window w as (order by pay) order by id;

select name, sum(pay) over (partition by dept order by id), lag(name) over (order by id), lead(name, 2, 'none') over (order by id), first_value(name) over (partition by dept order by pay), nth_value(name, 2) over (order by id) from emp order by id;

select id, sum(id) over (order by id rows between 1 preceding and 1 following), avg(pay) over (order by hired range between interval '2 years' preceding and current row), count(*) over (order by pay groups between 1 preceding and current row exclude ties) from emp order by id;

with recursive up (id, path) as (select id, name from emp where boss is null union all select e.id, path || '>' || name from emp e join up on e.boss = up.id) select * from up order by path;

with recursive n (i) as (values (1) union all select i + 1 from n where i < 10) select sum(i), array_agg(i) from n;

with recursive tree as (select id, boss from emp where id = 1 union all select e.id, e.boss from emp e join tree t on e.boss = t.id) search depth first by id set ord cycle id set looped using way select id, ord, looped from tree order by ord;

with x as materialized (select 1 as a), y as not materialized (select 2 as b) select * from x, y;

select d.dept, t.name, t.pay from (select distinct dept from emp) d, lateral (select name, pay from emp e where e.dept = d.dept order by pay desc, id limit 1) t order by 1;

select e.name, g from emp e left join lateral generate_series(1, e.id) g on g % 2 = 0 where e.id < 4 order by 1, 2;

select * from emp where pay > (select avg(pay) from emp) order by id;

select name from emp e where exists (select 1 from emp x where x.boss = e.id) order by 1;

select name from emp where pay >= all (select pay from emp) or dept = any (array['sales']) order by 1;

select name from emp where (dept, pay) in (select dept, max(pay) from emp group by dept) order by 1;

select dept from emp union select 'new' order by 1;

select dept from emp union all select dept from emp order by 1 limit 4;

select dept from emp intersect select 'tech' except select 'sales';

(select 1 order by 1) union all (select 2 limit 1);

select distinct on (dept) dept, name from emp order by dept, pay desc, id;

select case when pay > 60 then 'high' when pay > 40 then 'mid' else 'low' end as level, case dept when 'tech' then 1 end from emp order by id;

select coalesce(hired::text, 'unknown'), nullif(dept, 'tech'), greatest(id, 3), least(id, 3) from emp order by id;

select * from generate_series(1, 3) with ordinality as t (v, n);

select * from rows from (generate_series(1, 3), unnest(array['a', 'b'])) as t (n, s);

select * from unnest(array[1, 2], array['x', 'y', 'z']) as t (a, b);

select generate_series(1, 3), generate_series(10, 11);

select * from generate_series(timestamp '2024-01-01', timestamp '2024-01-03', interval '12 hours') d;

select * from generate_series(0.5, 2, 0.5);

select e, e.name, (e).dept from emp e where id = 1;

select emp from emp where id = 2;

select emp.* from emp where id between 2 and 3 order by id desc;

select * from (values (1, 'a'), (2, null)) v (n, s) where s is distinct from 'a';

select id from emp tablesample bernoulli (100) repeatable (1) order by id;

select name, pay from emp order by pay using >, name;

select count(*), count(hired), count(distinct pay) from emp;

select array(select name from emp order by id), row(1, 2) = row(1, 2), row(1, null) is null, (1, 2) < (1, 3);

select * from json_to_recordset('[{"a": 1, "b": "x"}, {"a": 2}]') as t (a integer, b text);

select * from jsonb_each('{"k": 1, "l": [2]}') order by key;

select * from xmltable('/r/i' passing '<r><i n="1">a</i><i n="2">b</i></r>'::xml columns n integer path '@n', v text path '.');

select x.* from (select * from emp where false) x;

select 1 as one from emp where name = 'nobody';

explain (costs off) select * from emp where id = 1;

explain (costs off) select dept, count(*) from emp where pay > 10 group by dept order by 2;

explain (costs off, verbose) select e.name from emp e join emp b on e.boss = b.id;

explain (costs off, format json) select 1;

explain (costs off, format yaml) values (1);

explain (analyze, costs off, timing off, summary off, buffers off) select count(*) from generate_series(1, 10);

explain (costs off) insert into emp (id) values (9);

explain (costs off) select * from no_such_table;

explain (nonsense) select 1;

explain (costs off) create table explained as select * from emp;

drop table emp;
