/** Statements and their lineage as in `lineage-cases.ts`: what expressions tell about values by failing or deciding. */
export const totalCases: readonly (readonly [string, string])[] = [
  // what fails or decides by the value counts, wherever it stands
  [
    'select upper(ssn), md5(ssn), concat(ssn, name), ssn::varchar(3), to_jsonb(ssn) from customers',
    'upper<customers.ssn md5<customers.ssn concat<customers.name,customers.ssn ssn<customers.ssn to_jsonb<customers.ssn',
  ],
  [
    'select count(distinct ssn), min(ssn), sum(age), avg(age), array_agg(ssn), string_agg(ssn, name) from customers',
    'count<customers.ssn min<customers.ssn sum<customers.age avg<customers.age array_agg<customers.ssn string_agg<customers.name,customers.ssn',
  ],
  [
    "select notes -> ssn, notes #> '{a}' from customers",
    '?column?<customers.notes,customers.ssn ?column?<customers.notes | customers.notes,customers.ssn',
  ],
  ['select -age from customers', '?column?<customers.age | customers.age'],
  ['select 1 / (age - 3) from customers', '?column?<customers.age | customers.age'],
  ['select ssn::int from customers', 'ssn<customers.ssn | customers.ssn'],
  ['select ssn::text[] from customers', 'ssn<customers.ssn | customers.ssn'],
  ['select age::"char" from customers', 'age<customers.age | customers.age'],
  ["select nullif(ssn, '1') from customers", 'nullif<customers.ssn | customers.ssn'],
  ["select ssn = any (array['1']) from customers", '?column?<customers.ssn | customers.ssn'],
  ["select case ssn when '1' then name end from customers", 'case<customers.name,customers.ssn | customers.ssn'],
  ['select case when ssn is null then name end from customers', 'case<customers.name,customers.ssn'],
  [
    'select case when not (ssn is null and name is not null) then 1 end from customers',
    'case<customers.name,customers.ssn',
  ],
  [
    'select case when not (upper(ssn) is null or age is null) then 1 end from customers',
    'case<customers.age,customers.ssn | customers.ssn',
  ],
  [
    'select b and x from (select true as b, ssn is json as x from customers) q',
    '?column?<customers.ssn | customers.ssn',
  ],
  ["select ssn is null and name = '1' from customers", '?column?<customers.name,customers.ssn | customers.name'],
  ['select not exists (select 1 from customers)', '?column?<'],
  [
    'select age > all (select score from notes) from customers',
    '?column?<customers.age,notes.score | customers.age,notes.score',
  ],
  ['select x from (select ssn::int as x from customers) q', 'x<customers.ssn | customers.ssn'],
  ['select (select max(age + 1) from customers)', 'max<customers.age | customers.age'],
  ['select x from (values ((select max(age) + 1 from customers))) v(x)', 'x<customers.age | customers.age'],
  ['delete from customers returning 1 / age', '?column?<customers.age | customers.age'],
  ['select repeat(ssn, 2) from customers', 'repeat<customers.ssn | customers.ssn'],
  ['select chr(age) from customers', 'chr<customers.age | customers.age'],
  ['select stddev(age) from customers', 'stddev<customers.age | customers.age'],
  ['select (ssn).upper, (ssn).length from customers', 'upper<customers.ssn length<customers.ssn'],
  ['select (age).chr from customers', 'chr<customers.age | customers.age'],
  [
    'select case when x then 1 end from (select ssn is null as x from customers) q',
    'case<customers.ssn | customers.ssn',
  ],
  [
    'select case when not x then 1 end from (select ssn is null as x from customers) q',
    'case<customers.ssn | customers.ssn',
  ],
  ['select not x from (select ssn is null as x from customers) q', '?column?<customers.ssn'],
  [
    'select ssn || any (array[name]) from customers',
    '?column?<customers.name,customers.ssn | customers.name,customers.ssn',
  ],
  // total only with these arguments
  [
    "select substring(ssn, 2, 3), trim(ssn), ltrim(ssn, '0'), replace(ssn, '-', ''), pg_catalog.translate(ssn, '12', 'ab') from customers",
    'substring<customers.ssn btrim<customers.ssn ltrim<customers.ssn replace<customers.ssn translate<customers.ssn',
  ],
  [
    "select split_part(ssn, '-', 1), encode(sha256(convert_to(ssn, 'UTF8')), 'hex') from customers",
    'split_part<customers.ssn encode<customers.ssn',
  ],
  [
    "select to_char(total, '999D99'), date_trunc('month', placed), extract(year from placed) from orders",
    'to_char<orders.total date_trunc<orders.placed extract<orders.placed',
  ],
  ["select substring(ssn from '(1+)+$') from customers", 'substring<customers.ssn | customers.ssn'],
  ["select substr('x', 1, age) from customers", 'substr<customers.age | customers.age'],
  ["select replace(ssn, '1', '11') from customers", 'replace<customers.ssn | customers.ssn'],
  ["select replace(ssn, '1', repeat('x', 9)) from customers", 'replace<customers.ssn | customers.ssn'],
  [`select ltrim(ssn, '${'0'.repeat(101)}') from customers`, 'ltrim<customers.ssn | customers.ssn'],
  [
    "select split_part(ssn, '-', age) from customers",
    'split_part<customers.age,customers.ssn | customers.age,customers.ssn',
  ],
  ["select convert_to(ssn, 'LATIN1') from customers", 'convert_to<customers.ssn | customers.ssn'],
  ["select to_char(total, '9V999') from orders", 'to_char<orders.total | orders.total'],
  ["select to_char(total, 'RN') from orders", 'to_char<orders.total | orders.total'],
  [
    'select date_trunc(ssn, born) from customers',
    'date_trunc<customers.born,customers.ssn | customers.born,customers.ssn',
  ],
  [
    "select length(tags::text), length(convert_to(ssn, 'UTF8'), 'UTF8') from customers",
    'length<customers.tags length<customers.ssn | customers.ssn',
  ],
  ['select array_agg(tags) from customers', 'array_agg<customers.tags | customers.tags'],
  ["select tags || array[['a', 'b']] from customers", '?column?<customers.tags | customers.tags'],
  ["select array[tags, '{a,b}'] from customers", 'array<customers.tags | customers.tags'],
  ['select array(select tags from customers)', 'array<customers.tags | customers.tags'],
  [
    'select concat(variadic tags), json_build_object(variadic tags) from customers',
    'concat<customers.tags json_build_object<customers.tags | customers.tags',
  ],
  ['select json_object_agg(ssn, 1) from customers', 'json_object_agg<customers.ssn'],
  ["select json_object('k': ssn, ssn: 1 with unique keys) from customers", 'json_object<customers.ssn | customers.ssn'],
  ['select json_objectagg(ssn: 1) from customers', 'json_objectagg<customers.ssn'],
  ['select json_objectagg(ssn: 1 with unique keys) from customers', 'json_objectagg<customers.ssn | customers.ssn'],
  ['select json_array(ssn format json) from customers', 'json_array<customers.ssn | customers.ssn'],
  ['select json_array(ssn returning varchar(5)) from customers', 'json_array<customers.ssn | customers.ssn'],
  ['select json_arrayagg(ssn returning varchar(5)) from customers', 'json_arrayagg<customers.ssn | customers.ssn'],
  [
    "select json_object('k' : ssn), json_array(ssn), json_arrayagg(ssn) over () from customers",
    'json_object<customers.ssn json_array<customers.ssn json_arrayagg<customers.ssn',
  ],
  ['select ssn is json from customers', '?column?<customers.ssn | customers.ssn'],
  ["select json_value(notes, '$.a') from customers", 'json_value<customers.notes | customers.notes'],
  ['select json_scalar(ssn) from customers', 'json_scalar<customers.ssn'],
  ['select json_serialize(ssn) from customers', 'json_serialize<customers.ssn | customers.ssn'],
  ['select xmlforest(ssn) from customers', 'xmlforest<customers.ssn | customers.ssn'],
  ['select xmlserialize(content ssn as text) from customers', 'xmlserialize<customers.ssn | customers.ssn'],
  [
    "select x from customers, xmltable('/a' passing '<a/>' columns x text path ssn) t",
    'x<customers.ssn | customers.ssn',
  ],
  // made long, and cut or chosen by what is found in it
  [
    "select trim(name || ' ' || ssn), split_part(ssn, '-', 1) || '-' from customers",
    'btrim<customers.name,customers.ssn ?column?<customers.ssn',
  ],
  ["select split_part(ssn || $1, 'a', 1) from customers", 'split_part<customers.ssn | customers.ssn'],
  [
    "select split_part(ssn || p, 'a', 1) from customers, (select repeat('x', 9999) p) r",
    'split_part<customers.ssn | customers.ssn',
  ],
  [
    'select trim(x || x) from (select ssn || name x from customers) q',
    'btrim<customers.name,customers.ssn | customers.name,customers.ssn',
  ],
  [
    'select trim(t) from (with recursive r(t) as (select ssn from customers union all select t from r) select t from r) q',
    'btrim<customers.ssn | customers.ssn',
  ],
  ["select replace(string_agg(ssn, ''), 'a', '') from customers", 'replace<customers.ssn | customers.ssn'],
  ["select string_agg(trim(ssn), ',') from customers", 'string_agg<customers.ssn | customers.ssn'],
  [
    'select greatest(ssn, name), greatest(age, 3) from customers',
    'greatest<customers.name,customers.ssn greatest<customers.age',
  ],
  ['select greatest(ssn, $1) from customers', 'greatest<customers.ssn | customers.ssn'],
  ['select greatest(age, $1), greatest(born, $2) from customers', 'greatest<customers.age greatest<customers.born'],
  ["select max(x) from (select ssn x from customers union all select 'a') q", 'max<customers.ssn'],
  ['select max(x) from (select ssn x from customers union all select $1) q', 'max<customers.ssn | customers.ssn'],
  [
    "select string_agg(distinct ssn, ','), count(distinct ssn) from customers",
    'string_agg<customers.ssn count<customers.ssn',
  ],
  [
    "select count(distinct x), string_agg(distinct x, ',') from (select ssn x from customers union all select 'a') q",
    'count<customers.ssn string_agg<customers.ssn | customers.ssn',
  ],
  [
    "select jsonb_build_object(ssn, 1), jsonb_build_object('a', ssn, 'b', $1), jsonb_object_agg(id, ssn) from customers",
    'jsonb_build_object<customers.ssn jsonb_build_object<customers.ssn jsonb_object_agg<customers.id,customers.ssn',
  ],
  [
    "select jsonb_build_object(ssn, 1, 'a', $1::text) from customers",
    'jsonb_build_object<customers.ssn | customers.ssn',
  ],
  [
    "select jsonb_object_agg(k, 1) from (select ssn k from customers union all select 'a') q",
    'jsonb_object_agg<customers.ssn | customers.ssn',
  ],
  [
    "select json_build_object('name', trim(name), 'ssn', replace(ssn, '-', '')) from customers",
    'json_build_object<customers.name,customers.ssn',
  ],
  [
    "select to_char(born, 'FMMonth') || $1, quote_literal(ssn) || $2 from customers",
    '?column?<customers.born ?column?<customers.ssn | customers.born,customers.ssn',
  ],
  // or long in another place of the row
  ["select trim(ssn), repeat('x', 9999) from customers", 'btrim<customers.ssn repeat< | customers.ssn'],
  [
    "select trim(ssn), repeat('-', 10), name || $1, upper($2) from customers",
    'btrim<customers.ssn repeat< ?column?<customers.name upper<',
  ],
  ["select upper(ssn), repeat('x', 9999) from customers", 'upper<customers.ssn repeat<'],
  ["select trim(ssn) from customers order by repeat('x', 9999)", 'btrim<customers.ssn | customers.ssn'],
  ["select trim(ssn) from customers, repeat('x', 9999) p", 'btrim<customers.ssn | customers.ssn'],
  ['select trim(ssn), array(select 1) from customers', 'btrim<customers.ssn array< | customers.ssn'],
  [
    "select trim(ssn), (select string_agg(name, '') from customers) from customers",
    'btrim<customers.ssn string_agg<customers.name | customers.ssn',
  ],
  [
    'select trim(ssn), to_json(to_json(to_json(name)::text)::text) from customers',
    'btrim<customers.ssn to_json<customers.name | customers.ssn',
  ],
  [
    "select trim(ssn), replace(replace(replace(name, 'a', 'bb'), 'b', 'aa'), 'a', 'bb') from customers",
    'btrim<customers.ssn replace<customers.name | customers.name,customers.ssn',
  ],
  [
    "select trim(ssn), 'x'::char(9999) || name from customers",
    'btrim<customers.ssn ?column?<customers.name | customers.ssn',
  ],
  [
    `select trim(ssn)${', $1'.repeat(17)} from customers`,
    `btrim<customers.ssn ${'?column?< '.repeat(17).trim()} | customers.ssn`,
  ],
  [`select trim(ssn)${', $1'.repeat(16)} from customers`, `btrim<customers.ssn ${'?column?< '.repeat(16).trim()}`],
];
