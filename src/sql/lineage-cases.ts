/** Statements over the sample catalogue and their lineage: `lineage.test.ts` checks them here, `oracle.test.ts` against real servers. */
import { totalCases } from './total-cases.ts';

const all =
  'id=customers.id name=customers.name email=customers.email ssn=customers.ssn region=customers.region tags=customers.tags notes=customers.notes age=customers.age born=customers.born loud<customers.loud,customers.ssn';
const row =
  'customers.age,customers.born,customers.email,customers.id,customers.loud,customers.name,customers.notes,customers.region,customers.ssn,customers.tags';

/** Statement -> `name=column` (verbatim), `name<columns` (depends on), `| predicates`. */
export const resolved: readonly (readonly [string, string])[] = [
  // stars, aliases, qualification
  ['select * from customers', all],
  ['table customers', all],
  ['select c.* from crm.customers c', all],
  ['select crm.customers.ssn from crm.customers', 'ssn=customers.ssn'],
  ['select x.a, x.ssn from customers x(a)', 'a=customers.id ssn=customers.ssn'],
  ['select ssn as harmless from customers', 'harmless=customers.ssn'],
  ['select "ssn" from ONLY customers', 'ssn=customers.ssn'],
  ['select ctid, tableoid, xmin, id from customers', 'ctid< tableoid< xmin< id=customers.id'],
  ['select 1, null, $1::text, current_date', '?column?< ?column?< text< current_date<'],
  // expressions
  [
    'select upper(ssn), ssn || name, ssn::int, -age from customers',
    'upper<customers.ssn ?column?<customers.name,customers.ssn ssn<customers.ssn ?column?<customers.age | customers.age,customers.ssn',
  ],
  [
    "select case when ssn = '1' then 'a' else name end from customers",
    'name<customers.name,customers.ssn | customers.ssn',
  ],
  [
    'select coalesce(ssn, name), nullif(ssn, name), greatest(ssn, name) from customers',
    'coalesce<customers.name,customers.ssn nullif<customers.name,customers.ssn greatest<customers.name,customers.ssn | customers.name,customers.ssn',
  ],
  [
    'select ssn is null, ssn is distinct from name from customers',
    '?column?<customers.ssn ?column?<customers.name,customers.ssn | customers.name,customers.ssn',
  ],
  [
    'select substring(ssn from 1 for 3), position(name in ssn), trim(ssn), overlay(ssn placing name from 1) from customers',
    'substring<customers.ssn position<customers.name,customers.ssn btrim<customers.ssn overlay<customers.name,customers.ssn | customers.name,customers.ssn',
  ],
  [
    'select extract(year from born), born at time zone $1 from customers',
    'extract<customers.born timezone<customers.born | customers.born',
  ],
  [
    "select notes -> 'a' ->> 'b', notes #>> '{a}', tags[1], tags[age:2] from customers",
    '?column?<customers.notes ?column?<customers.notes tags<customers.tags tags<customers.age,customers.tags | customers.age,customers.tags',
  ],
  [
    'select array[ssn, name], row(ssn, id), (ssn, id) from customers',
    'array<customers.name,customers.ssn row<customers.id,customers.ssn row<customers.id,customers.ssn',
  ],
  [
    'select ssn collate "C", ssn like name, ssn in (name, email), age between id and 3 from customers',
    'ssn<customers.ssn ?column?<customers.name,customers.ssn ?column?<customers.email,customers.name,customers.ssn ?column?<customers.age,customers.id | customers.age,customers.email,customers.id,customers.name,customers.ssn',
  ],
  [
    "select json_build_object('s', ssn), jsonb_build_array(id), to_json(ssn), format('%s', ssn) from customers",
    'json_build_object<customers.ssn jsonb_build_array<customers.id to_json<customers.ssn format<customers.ssn | customers.ssn',
  ],
  [
    'select xmlelement(name x, xmlattributes(ssn), name), xmlforest(ssn), xmlserialize(content xmlelement(name y, email) as text) from customers',
    'xmlelement<customers.name,customers.ssn xmlforest<customers.ssn xmlserialize<customers.email | customers.email,customers.name,customers.ssn',
  ],
  [
    "select json_object('k' : ssn), json_array(ssn, id), json_value(notes, '$.a'), json_exists(notes, '$.a'), ssn is json from customers",
    'json_object<customers.ssn json_array<customers.id,customers.ssn json_value<customers.notes json_exists<customers.notes ?column?<customers.ssn | customers.notes,customers.ssn',
  ],
  ...totalCases,
  // inside a view it is its owner's
  ['select mail from people', 'mail<customers.email'],
  // whole rows
  ['select c from customers c', `c<${row}`],
  ['select c.*::text from customers c', `c<${row}`],
  [
    'select row_to_json(c), to_jsonb(c.*), md5(c::text), c::text from customers c',
    `row_to_json<${row} to_jsonb<${row} md5<${row} c<${row}`,
  ],
  ['select (c).ssn, (c).* from customers c', `ssn<customers.ssn ${all}`],
  ['select customers from customers', `customers<${row}`],
  ['select count(c), max(c.*::text) from customers c', `count<${row} max<${row}`],
  ['select json_agg(c) from customers c', `json_agg<${row}`],
  ['select q from (select ssn, id from customers) q', 'q<customers.id,customers.ssn'],
  ['select id from (select name, id from customers) id', 'id=customers.id'],
  ['select name from (select id from customers) name', 'name<customers.id'],
  // subqueries
  ['select s from (select ssn as s from customers) q', 's=customers.ssn'],
  ['select upper from (select upper(ssn) from customers) q', 'upper<customers.ssn'],
  ['select a from (values (1, 2), (3, 4)) v(a, b)', 'a<'],
  ['select column2 from (values (1, (select max(ssn) from customers))) v', 'column2<customers.ssn'],
  ['select (select ssn from customers limit 1)', 'ssn<customers.ssn'],
  ['select (select * from (select ssn as z from customers limit 1) q)', 'z<customers.ssn'],
  ['select array(select ssn from customers)', 'array<customers.ssn'],
  ["select exists(select 1 from customers where ssn = '1')", 'exists<customers.ssn | customers.ssn'],
  [
    'select o.id, (select c.ssn from customers c where c.id = o.customer_id) from orders o',
    'id=orders.id ssn<customers.id,customers.ssn,orders.customer_id | customers.id,orders.customer_id',
  ],
  [
    'select id in (select customer_id from orders) from customers',
    '?column?<customers.id,orders.customer_id | customers.id,orders.customer_id',
  ],
  [
    'select l.s from orders o, lateral (select ssn as s from customers where id = o.customer_id) l',
    's=customers.ssn | customers.id,orders.customer_id',
  ],
  // an outer column of the same name must not be taken for an inner one
  [
    'select (select max(x.txt) from notes x where x.id = c.id) from customers c',
    'max<customers.id,notes.id,notes.txt | customers.id,notes.id',
  ],
  ['select (select ssn from notes n limit 1) from customers', 'ssn<customers.ssn'],
  // joins
  [
    'select * from notes n join orders o using (id)',
    'id<notes.id,orders.id txt=notes.txt score=notes.score customer_id=orders.customer_id total=orders.total placed=orders.placed | notes.id,orders.id',
  ],
  [
    'select * from notes natural join (select id, ssn from customers) c',
    'id<customers.id,notes.id txt=notes.txt score=notes.score ssn=customers.ssn | customers.id,notes.id',
  ],
  [
    'select n.id, o.id, id from notes n full join orders o using (id)',
    'id=notes.id id=orders.id id<notes.id,orders.id | notes.id,orders.id',
  ],
  [
    'select j.a, j.txt from (notes n join orders o on n.id = o.id) as j(a)',
    'a=notes.id txt=notes.txt | notes.id,orders.id',
  ],
  ['select u.id from notes n join orders o using (id) as u', 'id<notes.id,orders.id | notes.id,orders.id'],
  [
    'select c.ssn from customers c left join orders o on c.id = o.customer_id and c.ssn is not null',
    'ssn=customers.ssn | customers.id,orders.customer_id',
  ],
  ['select c.name from customers c cross join orders', 'name=customers.name'],
  // WITH
  ['with c as (select ssn s from customers) select s from c', 's=customers.ssn'],
  ['with customers as (select 1 as ssn) select ssn from customers', 'ssn<'],
  ['with x as (select 1), customers as (select ssn from customers) select * from customers', 'ssn=customers.ssn'],
  [
    'with recursive w(a, b) as (select id, ssn from customers union all select a + 1, b from w where a < 9) select b from w',
    'b<customers.ssn | customers.id',
  ],
  [
    'with recursive w(a, b, c) as (select 1, ssn, 1::text from customers union all select a + 1, b, b from w where a < 3) select c from w',
    'c<customers.ssn',
  ],
  ['with recursive a as (select * from b), b as (select ssn from customers) select * from a', 'ssn=customers.ssn'],
  ["with unused as (select 1 from customers where ssn = '1') select 1", '?column?< | customers.ssn'],
  [
    'with recursive t(n, s) as (select id, ssn from customers union all select n, s from t) search depth first by s set o cycle n set c using p select o, c, p from t',
    'o<customers.id,customers.ssn c<customers.id,customers.ssn p<customers.id,customers.ssn | customers.id,customers.ssn',
  ],
  // set operations
  ['select name from customers union all select ssn from customers', 'name<customers.name,customers.ssn'],
  [
    'select name from customers union select ssn from customers',
    'name<customers.name,customers.ssn | customers.name,customers.ssn',
  ],
  [
    'select 1 as a, ssn from customers except all select 2, email from customers',
    'a< ssn<customers.email,customers.ssn | customers.email,customers.ssn',
  ],
  [
    '(select id from notes) intersect (select age from customers) order by 1',
    'id<customers.age,notes.id | customers.age,notes.id',
  ],
  // predicates
  ["select id from customers where ssn = '1'", 'id=customers.id | customers.ssn'],
  ['select id from customers where ssn is not null and name is null', 'id=customers.id'],
  ["select id from customers where nullif(ssn, '1') is null", 'id=customers.id | customers.ssn'],
  [
    "select id from (select id, nullif(ssn, '1') as x from customers) q where x is null",
    'id=customers.id | customers.ssn',
  ],
  ['select id from customers order by ssn', 'id=customers.id | customers.ssn'],
  ['select ssn as a from customers order by a', 'a=customers.ssn | customers.ssn'],
  ['select ssn, id from customers order by 1 desc', 'ssn=customers.ssn id=customers.id | customers.ssn'],
  ['select name as ssn from customers order by ssn', 'ssn=customers.name | customers.name'],
  ['select name as ssn from customers group by ssn, name', 'ssn=customers.name | customers.name,customers.ssn'],
  ['select upper(ssn) u, count(*) from customers group by u', 'u<customers.ssn count< | customers.ssn'],
  [
    'select count(*) from customers group by rollup (ssn, (name, age))',
    'count< | customers.age,customers.name,customers.ssn',
  ],
  ["select count(*) from customers having max(ssn) > '1'", 'count< | customers.ssn'],
  ['select distinct ssn, id from customers', 'ssn=customers.ssn id=customers.id | customers.id,customers.ssn'],
  ['select distinct on (ssn) id from customers', 'id=customers.id | customers.ssn'],
  ['select id from customers limit (select max(age) from customers)', 'id=customers.id | customers.age'],
  // The window counts as a predicate as well as for the value.
  [
    'select row_number() over (partition by region order by ssn) from customers',
    'row_number<customers.region,customers.ssn | customers.region,customers.ssn',
  ],
  ['select rank() over w from customers window w as (order by ssn)', 'rank<customers.ssn | customers.ssn'],
  [
    "select count(*) filter (where ssn = '1'), array_agg(id order by ssn) from customers",
    'count<customers.ssn array_agg<customers.id,customers.ssn | customers.ssn',
  ],
  [
    'select percentile_cont(0.5) within group (order by age) from customers',
    'percentile_cont<customers.age | customers.age',
  ],
  [
    'select id from customers where id in (select customer_id from orders where total > 5)',
    'id=customers.id | customers.id,orders.customer_id,orders.total',
  ],
  [
    'select id from customers c where exists (select 1 from orders o where o.customer_id = c.id)',
    'id=customers.id | customers.id,orders.customer_id',
  ],
  // functions in FROM: how many rows there are tells about the arguments
  ['select v from customers, jsonb_each_text(notes) as j(k, v)', 'v<customers.notes | customers.notes'],
  ['select value from customers c, jsonb_array_elements(c.notes) e', 'value<customers.notes | customers.notes'],
  ['select g from customers c, generate_series(1, c.age) g', 'g<customers.age | customers.age'],
  ['select tag from customers c, unnest(c.tags) tag', 'tag<customers.tags | customers.tags'],
  ['select * from unnest(array[1, 2]) with ordinality as u(a, n)', 'a< n<'],
  ['select generate_series(1, age) from customers', 'generate_series<customers.age | customers.age'],
  [
    'select x.* from customers, jsonb_to_record(notes) as x(a int, b text)',
    'a<customers.notes b<customers.notes | customers.notes',
  ],
  [
    "select jt.* from customers, json_table(notes, '$' columns (a int path '$.a', nested path '$.b' columns (b text))) jt",
    'a<customers.notes b<customers.notes | customers.notes',
  ],
  ['select id from customers tablesample system (10)', 'id=customers.id'],
  // views
  ['select * from people', 'id=customers.id tax_no=customers.ssn mail<customers.email'],
  ['select upper(tax_no) from people_orders', 'upper<customers.ssn'],
  ['select p from people p', 'p<customers.email,customers.id,customers.ssn'],
  // writes
  ['insert into notes (txt) values ($1)', ''],
  [
    'insert into notes (id, txt) select id, ssn from customers returning txt, id',
    'txt<customers.ssn,notes.txt id<customers.id,notes.id | customers.id,customers.ssn',
  ],
  ['update customers set email = lower(email) where id = 3', '| customers.email,customers.id'],
  // a stored value is free of predicates only as a verbatim copy of its own column
  ['update customers set ssn = right(ssn, 4) || left(ssn, 3)', '| customers.ssn'],
  ["update customers set ssn = case when ssn is null then 'x' else ssn end", '| customers.ssn'],
  ['update customers set ssn = (select ssn from customers where id = 3)', '| customers.id,customers.ssn'],
  [
    'update customers set ssn = ssn, (email, name) = row(email, upper(name)) where id = 3',
    '| customers.id,customers.name',
  ],
  ['update customers set tags[1] = ssn, tags[2:3] = tags', '| customers.ssn,customers.tags'],
  ['update customers set (ssn, email) = (email, ssn)', '| customers.email,customers.ssn'],
  ['update customers c set ssn = d.ssn from customers d where d.id = 3', '| customers.id'],
  ['update customers set ssn = lower(ssn) returning ssn', 'ssn<customers.ssn | customers.ssn'],
  ['update customers set ssn = $1 returning ssn', 'ssn=customers.ssn'],
  ['insert into customers (id, ssn) select 7, ssn from customers returning ssn', 'ssn=customers.ssn'],
  ['insert into customers (id, ssn) select 7, s from (select ssn as s from customers) q', ''],
  ['insert into customers (id, ssn) select 7, reverse(ssn) from customers', '| customers.ssn'],
  ['insert into customers (id, ssn) values (7, (select ssn from customers limit 1))', '| customers.ssn'],
  ['insert into customers (id, ssn) select 7, tax_no from people', ''],
  ['insert into customers (id, email) select 7, mail from people', '| customers.email'],
  ['update people set mail = c.email from customers c where c.id = 3', '| customers.email,customers.id'],
  [
    'insert into customers (id, ssn) values (1, $1) on conflict (id) do update set ssn = excluded.ssn',
    '| customers.id',
  ],
  [
    'insert into customers (id, ssn) values (1, $1) on conflict (id) do update set ssn = customers.ssn || excluded.ssn',
    '| customers.id,customers.ssn',
  ],
  [
    'merge into customers c using customers d on c.id = d.id when matched then update set ssn = d.ssn, name = lower(d.name) when not matched then insert (id, ssn, email) values (d.id, d.ssn, reverse(d.email))',
    '| customers.email,customers.id,customers.name',
  ],
  [
    'update notes set txt = c.ssn from customers c where c.id = notes.id returning notes.txt',
    'txt<customers.ssn,notes.txt | customers.id,customers.ssn,notes.id',
  ],
  [
    'update customers set ssn = name where id = 1 returning loud',
    'loud<customers.loud,customers.name,customers.ssn | customers.id,customers.name',
  ],
  ['update notes set (txt, id) = (select ssn, id from customers limit 1)', '| customers.id,customers.ssn'],
  ["delete from customers where ssn = '1' returning *", `${all} | customers.ssn`],
  [
    'delete from notes n using orders o where o.id = n.id returning n.txt, o.total',
    'txt=notes.txt total=orders.total | notes.id,orders.id',
  ],
  ['delete from notes returning old.txt, new.txt', 'txt=notes.txt txt=notes.txt'],
  [
    'insert into customers (id, ssn) values (1, $1) on conflict (ssn) do update set name = excluded.ssn where customers.age > 3',
    '| customers.age,customers.ssn',
  ],
  [
    "merge into notes n using customers c on n.id = c.id when matched and c.ssn = '1' then update set txt = c.email when not matched then insert (txt) values (c.name) returning n.txt, merge_action()",
    'txt<customers.email,customers.name,notes.txt merge_action< | customers.email,customers.id,customers.name,customers.ssn,notes.id',
  ],
  ['with d as (delete from customers returning ssn) select ssn from d', 'ssn=customers.ssn'],
  ['create table t as select ssn from customers', '| customers.ssn'],
  ['select ssn into t from customers', '| customers.ssn'],
  // others
  [
    'copy customers to stdout',
    'id=customers.id name=customers.name email=customers.email ssn=customers.ssn region=customers.region tags=customers.tags notes=customers.notes age=customers.age born=customers.born',
  ],
  ['copy customers (ssn, id) to stdout', 'ssn=customers.ssn id=customers.id'],
  ['copy (select upper(ssn) from customers) to stdout with (format binary)', 'upper<customers.ssn'],
  ["explain select id from customers where ssn = '1'", 'QUERY PLAN<customers.id,customers.ssn | customers.ssn'],
  ['show server_version', 'server_version<'],
];

/** Statement -> part of the reason. */
export const unresolved: readonly (readonly [string, string])[] = [
  ['select nope from customers', 'column nope is not known'],
  ['select id from customers, orders', 'column id is ambiguous'],
  ['select customers.ssn from customers c', 'there is no customers'],
  ['select c.nope from customers c', 'c.nope is not known'],
  ['select (c).nope from customers c', 'nope is no column'],
  ['select a from (select 1 as a, 2 as a) q', 'ambiguous'],
  ['select a from (select ssn from customers) q(a, b)', 'more column aliases'],
  ['select id from notes union select id, txt from notes', 'different numbers of columns'],
  ['select 1 from notes order by 2', 'no output column 2'],
  // A composite array in FROM has columns that the text does not show.
  ['select u.* from (select array_agg(c) as a from customers c) s, unnest(s.a) u', 'not known'],
  [
    'select (select ssn from unnest(o.a) u limit 1) from (select array_agg(c) as a, 1 as ssn from customers c) o',
    'may belong to a function',
  ],
  ['select j.* from customers c, jsonb_populate_record(c, notes) j', 'not known'],
  ['select x.* from customers t, lateral coalesce(t, t) x', 'not known'],
  ['merge into notes n using customers c on n.id = c.id when matched then delete returning *', 'RETURNING * of MERGE'],
  ['with recursive w as (select * from w) select * from w', 'refers to itself'],
  ['select s from (select ctid as s from people) q', 'ctid is not known'],
];
