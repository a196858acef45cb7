import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { analyse } from './analyse.ts';
import { loadParser } from './parse.ts';
import { sampleCatalogue as catalogue } from './sample-catalogue.ts';
import type { StatementClass, StatementFacts } from './statement.ts';

before(loadParser);

function one(sql: string): StatementFacts {
  const [facts, ...more] = analyse(sql, catalogue, { maxBytes: 100_000 });
  assert.ok(facts !== undefined && more.length === 0);
  return facts;
}

/** Statement, class, command, relations as `name` (read), `name!` (written); `(name)` = reached through another. */
const understood: readonly (readonly [string, StatementClass, string, string])[] = [
  ['select 1', 'read', 'SELECT', ''],
  ['values (1), (2)', 'read', 'SELECT', ''],
  ['table customers', 'read', 'SELECT', 'customers'],
  ['select * from people_orders', 'read', 'SELECT', 'people_orders (people) (customers) (orders)'],
  ['select * from visits', 'read', 'SELECT', 'visits (visits_2025)'],
  ['select * from only visits', 'read', 'SELECT', 'visits'],
  ['with customers as (select 1 as id) select * from customers', 'read', 'SELECT', ''],
  [
    'with x as (select * from customers), customers as (select 1) select * from x, customers',
    'read',
    'SELECT',
    'customers',
  ],
  [
    'with recursive customers as (select 1 union select * from customers) select * from customers',
    'read',
    'SELECT',
    '',
  ],
  ['with customers as (select 1) select * from crm.customers', 'read', 'SELECT', 'customers'],
  ['select (with customers as (select 1 as x) select x from customers) from customers', 'read', 'SELECT', 'customers'],
  ['select relname from pg_class', 'read', 'SELECT', 'pg_class'],
  ['select table_name from information_schema.tables', 'read', 'SELECT', 'tables'],
  ["select 'ok'::mood, cast($1 as crm.mood), 'pg_class'::regclass", 'read', 'SELECT', ''],
  ['select * from customers for update', 'write', 'SELECT', 'customers'],
  ['select * from (select * from customers for share) q', 'write', 'SELECT', 'customers'],
  ['with d as (delete from notes returning id) select * from d', 'write', 'SELECT', 'notes! notes'],
  ['insert into notes values (1)', 'write', 'INSERT', 'notes! notes'],
  ['update people set id = 1', 'write', 'UPDATE', 'people! (customers) (customers)! people'],
  ['delete from visits', 'write', 'DELETE', 'visits! (visits_2025)! visits (visits_2025)'],
  ['truncate notes, visits', 'write', 'TRUNCATE TABLE', 'notes! visits! (visits_2025)!'],
  ['select ssn into t2 from customers', 'ddl', 'SELECT INTO', 'customers'],
  ['create table t2 as select * from customers', 'ddl', 'CREATE TABLE AS', 'customers'],
  ['create table t2 (id int)', 'ddl', 'CREATE TABLE', ''],
  ['create table t2 (id int primary key, up int references t2)', 'ddl', 'CREATE TABLE', ''],
  ['alter index some_index rename to other_index', 'ddl', 'ALTER INDEX', ''],
  ['alter index customers rename to other_index', 'ddl', 'ALTER INDEX', 'customers!'],
  ['create view v2 as select * from customers', 'ddl', 'CREATE VIEW', 'customers'],
  ['create temp table fresh (id int)', 'ddl', 'CREATE TABLE', ''],
  ['alter table customers rename column ssn to x', 'ddl', 'ALTER COLUMN', 'customers!'],
  ['alter table customers add column y int', 'ddl', 'ALTER TABLE', 'customers!'],
  ['drop table if exists customers, gone', 'ddl', 'DROP TABLE', 'customers!'],
  ['create index on customers (ssn)', 'ddl', 'CREATE INDEX', 'customers!'],
  ['grant select on customers to x', 'ddl', 'GRANT', 'customers!'],
  ["comment on table customers is 'x'", 'ddl', 'COMMENT', ''],
  ["create function f() returns int language sql as 'select 1'", 'ddl', 'CREATE FUNCTION', ''],
  ['create extension hstore', 'ddl', 'CREATE EXTENSION', ''],
  ['copy customers to stdout', 'copy-out', 'COPY TO', 'customers'],
  ['copy (select 1) to stdout', 'copy-out', 'COPY TO', ''],
  ['declare c cursor for select * from customers', 'read', 'DECLARE CURSOR', 'customers'],
  ['fetch all from c', 'session', 'FETCH', ''],
  ['move 1 from c', 'session', 'MOVE', ''],
  ['copy notes from stdin with (format csv)', 'copy-in', 'COPY FROM', 'notes!'],
  ['begin', 'transaction', 'BEGIN', ''],
  ['start transaction read only', 'transaction', 'START TRANSACTION', ''],
  ['end', 'transaction', 'COMMIT', ''],
  ['abort', 'transaction', 'ROLLBACK', ''],
  ['savepoint a', 'transaction', 'SAVEPOINT', ''],
  ['rollback to a', 'transaction', 'ROLLBACK', ''],
  ['set transaction isolation level serializable', 'transaction', 'SET', ''],
  ['show all', 'show', 'SHOW', ''],
  ['explain select * from customers', 'explain', 'EXPLAIN', 'customers'],
  ['explain (costs off, analyze false) select * from customers', 'explain', 'EXPLAIN', 'customers'],
  ['explain delete from notes', 'explain', 'EXPLAIN', 'notes! notes'],
  ['explain analyze delete from notes', 'write', 'EXPLAIN ANALYZE DELETE', 'notes! notes'],
  ['explain (analyze) select * from customers', 'read', 'EXPLAIN ANALYZE SELECT', 'customers'],
  ['explain (analyze 1) select 1', 'read', 'EXPLAIN ANALYZE SELECT', ''],
  ['discard all', 'session', 'DISCARD ALL', ''],
  ['deallocate x', 'session', 'DEALLOCATE', ''],
  ['listen x', 'session', 'LISTEN', ''],
  ["notify x, 'payload'", 'session', 'NOTIFY', ''],
  ["select pg_notify('x', 'payload')", 'session', 'NOTIFY', ''],
  ["select pg_notify('x', name) from customers", 'write', 'SELECT', 'customers'],
  ['select pg_advisory_lock(1), pg_try_advisory_xact_lock(2, 3)', 'session', 'ADVISORY LOCK', ''],
  ['select pg_advisory_unlock(id) from customers', 'write', 'SELECT', 'customers'],
  ["select nextval('numbers')", 'write', 'SELECT', 'numbers!'],
  ["select setval('crm.\"numbers\"'::regclass, 5), currval('NUMBERS')", 'write', 'SELECT', 'numbers!'],
  ["select 1 from customers where id = (select nextval('numbers'))", 'write', 'SELECT', 'customers numbers!'],
  ["insert into notes values (nextval('numbers'))", 'write', 'INSERT', 'notes! notes numbers!'],
  ["select currval('numbers'), lastval()", 'read', 'SELECT', ''],
  ["explain select nextval('numbers')", 'explain', 'EXPLAIN', 'numbers!'],
  ["explain analyze select nextval('numbers')", 'write', 'EXPLAIN ANALYZE SELECT', 'numbers!'],
  ['close c', 'session', 'CLOSE CURSOR', ''],
  ['-- nothing', 'empty', '', ''],
  [' ; ; ', 'empty', '', ''],
];

for (const [sql, expected, command, relations] of understood) {
  void test(`${expected}: ${sql}`, () => {
    const facts = one(sql);
    assert.deepEqual(facts.unknowns, []);
    assert.equal(facts.class, expected);
    assert.equal(facts.command, command);
    const shown = facts.relations.map(
      (use) => `${use.direct ? use.name : `(${use.name})`}${use.access === 'write' ? '!' : ''}`,
    );
    assert.equal(shown.join(' '), relations);
  });
}

/** Statement -> part of a reason why it is not understood. Hazards of design §3 and their relatives. */
const notUnderstood: readonly (readonly [string, string])[] = [
  ['selec 1', 'syntax error'],
  ['select 1\0; drop table customers', 'NUL'],
  ["select '\ud800'", 'Unicode'],
  [`select ${'1'.repeat(100_001)}`, 'bytes'],
  ['select * from nowhere', 'nowhere is not in the catalogue'],
  ['select * from other.customers', 'other.customers is not in the catalogue'],
  ['insert into nowhere values (1)', 'nowhere'],
  ['select leak(1)', 'leak'],
  ['select crm.leak(1)', 'not built in'],
  ["select translate('a', 'b', 'c')", 'translate is not the built-in one'],
  ['select unknown_function(1)', 'unknown_function is not known'],
  ["select query_to_xml('select ssn from crm.customers', true, true, '')", 'query_to_xml'],
  ["select table_to_xml('crm.customers', true, true, '')", 'table_to_xml'],
  ["select * from dblink('', 'select 1') as t(a int)", 'dblink'],
  ['select lo_get(1)', 'lo_get'],
  ["select pg_read_file('/etc/passwd')", 'pg_read_file'],
  ['select pg_sleep(10)', 'pg_sleep'],
  ["select set_config('search_path', 'x' || 'y', false)", 'set_config'],
  ["select set_config('jit', 'off', false), set_config('role', 'x', false)", 'set_config'],
  ["select set_config('jit', 'off', false) from customers", 'set_config'],
  ["select set_config('jit', 'off', false) where true", 'set_config'],
  ["select set_config('jit', ssn, false) from customers", 'set_config'],
  ["select set_config('jit', null, false)", 'set_config'],
  ['select set_config($1, $2, false)', 'set_config'],
  ["select set_config('jit', 'off', false) || 'x'", 'set_config'],
  ["select crm.set_config('jit', 'off', false)", 'set_config'],
  ["select set_config('jit', 'off', false), leak(1)", 'leak'],
  ["with s as (select set_config('jit', 'off', false)) select 1", 'set_config'],
  ["copy (select set_config('jit', 'off', false)) to stdout", 'set_config'],
  ["select nextval('s')", 'which sequence nextval changes is not known'],
  ["select nextval('customers')", 'which sequence nextval'],
  ["select nextval('other.numbers')", 'which sequence nextval'],
  ['select nextval(name::regclass) from customers', 'which sequence nextval'],
  ["select setval('num' || 'bers', 1)", 'which sequence setval'],
  ['select setval(16410, 1)', 'which sequence setval'],
  ['select (16410).nextval', 'nextval may be a function'],
  ["copy (select nextval('numbers')) to stdout", 'no plain SELECT'],
  ['copy (select pg_advisory_lock(1)) to stdout', 'no plain SELECT'],
  ['select * from pg_sequences', 'pg_sequences'],
  ['select pg_terminate_backend(1)', 'pg_terminate_backend'],
  ["select * from pg_logical_slot_get_changes('s', null, null)", 'pg_logical'],
  ['select txid_current()', 'txid_current'],
  ["select ts_stat('select ssn from crm.customers')", 'ts_stat'],
  ["select ts_rewrite('a'::tsquery, 'select ssn, ssn from crm.customers')", 'ts_rewrite'],
  // a function in the clothes of a column
  ['select (1).pg_sleep', 'pg_sleep may be a function'],
  ["select ('/etc/passwd'::text).pg_read_file", 'pg_read_file may be a function'],
  ['select (id).leak from customers', 'leak may be a function'],
  ['select c.leak from customers c', 'leak may be a function'],
  ['select (c).leak from customers c', 'leak may be a function'],
  ['select ssn(c) from customers c', 'ssn is not known'],
  ['select 1 ### 2', 'operator ###'],
  ['select 1 operator(crm.+) 2', 'operator crm.+'],
  ["select 'x'::ssn_type", 'ssn_type'],
  ["select 'x'::crm.customers", 'crm.customers'],
  ['select * from pg_stats', 'pg_stats'],
  ['select * from pg_statistic', 'pg_statistic'],
  ['select rolpassword from pg_catalog.pg_authid', 'pg_authid'],
  ['update pg_class set relname = relname', 'pg_class'],
  ['select * from leaky', 'view crm.leaky'],
  ['insert into ruled values (1)', 'rewrite rules'],
  ['select * from customers tablesample sneaky(1)', 'TABLESAMPLE'],
  ['update customers set ssn = 1 where current of c', 'CURRENT OF'],
  ["copy customers to program 'cat'", 'PROGRAM'],
  ['declare c cursor for select * from customers for update', 'no plain SELECT'],
  ["copy customers to stdout (encoding 'latin1')", 'encoding'],
  ["copy customers to stdout (delimiter 'ab')", 'ASCII'],
  ['copy customers to stdout (format json)', 'format'],
  ["copy customers to '/tmp/x'", 'file'],
  ["copy notes from '/etc/passwd'", 'file'],
  ['copy (delete from notes returning *) to stdout', 'no plain SELECT'],
  ['copy nowhere to stdout', 'nowhere'],
  ['create temp table customers (id int)', 'would hide'],
  ['create temp view customers as select 1', 'not followed'],
  ['create temp table audit_log (id serial)', 'type serial'],
  ['create temp table x (like customers)', 'more than columns'],
  ['create domain pg_temp.text as text', 'pg_temp'],
  ['explain (analyze) create temp table x as select 1 as a', 'EXPLAIN'],
  ['create table pg_temp.customers as select 1', 'would hide'],
  ['select 1 as ssn into temp customers', 'would hide'],
  ['create temp table pg_class (id int)', 'would hide'],
  ['alter table sneaky rename to customers', 'sneaky'],
  ['alter index sneaky rename to customers', 'sneaky'],
  ['alter table sneaky rename to fresh', 'sneaky'],
  ['create table t2 (id int references t3)', 't3'],
  ['create table other.t2 (id int references t2)', 't2'],
  ['do $$ begin perform 1; end $$', 'DO'],
  ['call p()', 'CALL'],
  ['prepare x as select 1 as a into y', 'PREPARE'],
  ['prepare x as execute y', 'syntax error'],
  ['execute x', 'EXECUTE'],
  ['explain execute x', 'EXECUTE'],
  ['create table t2 as execute x', 'EXECUTE'],
  ['lock table customers', 'LOCK'],
  ['vacuum customers', 'VACUUM'],
  ['analyze customers', 'ANALYZE'],
  ['cluster customers', 'CLUSTER'],
  ['reindex table customers', 'REINDEX'],
  ['checkpoint', 'CHECK POINT'],
  ["load 'x'", 'LOAD'],
  ["alter system set work_mem = '1MB'", 'ALTER SYSTEM'],
  ["prepare transaction 'x'", 'prepared transaction'],
  ["set transaction snapshot '1'", 'SET'],
  ["create subscription s connection '' publication p", 'SUBSCRIPTION'],
  ['import foreign schema a from server b into c', 'IMPORT'],
];

for (const [sql, reason] of notUnderstood) {
  void test(`not understood: ${sql.slice(0, 80).replaceAll('\0', '\\0')}`, () => {
    const facts = one(sql);
    assert.ok(
      facts.unknowns.some((unknown) => unknown.includes(reason)),
      JSON.stringify(facts.unknowns),
    );
    assert.equal(facts.lineage.resolved, false);
    assert.equal(facts.constantFree, false);
  });
}

const settings: readonly (readonly [string, string, string | undefined])[] = [
  ['set search_path = a, "B"', 'search_path', 'a, B'],
  ['SET Search_Path TO public', 'search_path', 'public'],
  ['set local role x', 'role', 'x'],
  ['set role none', 'role', 'none'],
  ['set session authorization x', 'session_authorization', 'x'],
  ["set names 'latin1'", 'client_encoding', 'latin1'],
  ['set standard_conforming_strings = off', 'standard_conforming_strings', 'off'],
  ["set time zone 'UTC'", 'timezone', 'UTC'],
  ['set work_mem = 0', 'work_mem', '0'],
  ['set x.y to default', 'x.y', undefined],
  ['reset search_path', 'search_path', undefined],
  ['reset all', 'all', undefined],
  ['reset role', 'role', undefined],
  ["select set_config('search_path', 'x, y', false)", 'search_path', 'x, y'],
  ["select pg_catalog.set_config('ROLE', 'x', true)", 'role', 'x'],
  ["select set_config('datestyle', $1, false)", 'datestyle', undefined],
  ["select current_setting('jit') as cur, set_config('jit', 'off', false) as new", 'jit', 'off'],
];

for (const [sql, name, value] of settings) {
  void test(`setting: ${sql}`, () => {
    const facts = one(sql);
    assert.equal(facts.class, 'setting');
    assert.deepEqual(facts.setting, { name, value });
  });
}

/** Statement, most rows that it can return, whether it is one step of a paging loop. */
const bounds: readonly (readonly [string, number | undefined, boolean])[] = [
  ['select * from customers', undefined, false],
  ['select * from customers limit 20', 20, false],
  ['select * from customers limit 0', 0, false],
  ['select * from customers fetch first 5 rows only', 5, false],
  ['select * from customers order by id fetch first 5 rows with ties', undefined, false],
  ['select * from customers limit null', undefined, false],
  ['select * from customers limit all offset 0', undefined, false],
  ['select * from customers limit $1', undefined, true],
  ['select * from customers limit 5 + 5', undefined, true],
  ['select * from customers limit 10 offset 20', 10, true],
  ['select * from customers limit 10 offset $1', 10, true],
  ['select * from (select * from customers offset 100) q limit 10', 10, true],
  ['select * from customers where id > 7 order by id limit 10', 10, true],
  ['select id as k from customers where id > $1 order by k limit 10', 10, true],
  ['select id from customers where id > 7 order by 1 limit 10', 10, true],
  ['select * from customers where (region, id) > ($1, $2) order by region, id limit 10', 10, true],
  ['select * from customers where age > 7 order by id limit 10', 10, false],
  ["select * from customers where ctid > '(0,1)' limit 10", 10, true],
  ['select * from customers where ctid = any ($1)', undefined, true],
  ['select count(*) from customers', 1, false],
  ['select max(age) + 1 from customers having count(*) > 3', 1, false],
  ['select count(*) over () from customers', undefined, false],
  ['select region, count(*) from customers group by region', undefined, false],
  ['select count(*), generate_series(1, 100) from customers', undefined, false],
  ['select count(*) from customers order by generate_series(1, 100)', undefined, false],
  ['select count(*), (array[1, 2]).unnest from customers', undefined, false],
  ['select (select count(c.id)) from customers c', undefined, false],
  ['select 1', 1, false],
  ['select 1 group by grouping sets ((), (), ())', undefined, false],
  ['select generate_series(1, 1000)', undefined, false],
  ['values (1), (2), (3)', 3, false],
  ['values (generate_series(1, 9))', undefined, false],
  ['select 1 union all values (1), (2)', 3, false],
  ['select 1 union all select id from customers', undefined, false],
  ['(select id from customers limit 5) union all (select id from notes limit 7)', 12, false],
  ['(select id from customers limit 5) except select id from notes', 5, false],
  ['insert into notes values (1), (2) returning id', 2, false],
  ['insert into notes values (1)', 0, false],
  ['insert into notes default values returning id', 1, false],
  ['delete from notes', 0, false],
  ['delete from notes returning id', undefined, false],
  // a row that holds the values of several counts as several
  ['select a.id, b.id, c.id from customers a, crm.customers b join customers c on true limit 5', 15, false],
  ['select a.id, b.id from customers a, orders b limit 5', 5, false],
  ['with w as (select * from customers limit 3) select * from w a, w b limit 5', 10, false],
  ['(select id from customers limit 5) union all (select id from customers limit 5)', 10, false],
  ['select *, (select total from orders o limit 1), (select txt from notes limit 1) from customers limit 5', 15, false],
  ['select min(age), max(age), count(*), sum(age) from customers', 2, false],
  ['select max(name) filter (where id = 1), max(name) filter (where id = 2), max(name) from customers', 3, false],
  ['select sum(age) filter (where id = 1), sum(case when id = 2 then age end) from customers', 2, false],
  ['select lag(name, 1) over (), lag(name, 2) over (), first_value(name) over () from customers limit 4', 12, false],
  // a row that holds the values of many is not one row
  [
    'select sum(age), avg(age), bool_and(age > 3), bit_or(age), stddev(age), mode() within group (order by age) from customers',
    1,
    false,
  ],
  ['select percentile_cont(0.5) within group (order by age) from customers', 1, false],
  ['select percentile_disc(array[0.1, 0.2]) within group (order by age) from customers', undefined, false],
  ['select percentile_cont($1) within group (order by age) from customers', undefined, false],
  ['select array_agg(name) from customers', undefined, false],
  ["select string_agg(name, ',') from customers", undefined, false],
  ['select xmlagg(name::xml) from customers', undefined, false],
  ['select range_agg(int4range(id, id)) from customers', undefined, false],
  ['select json_agg(c) from customers c', undefined, false],
  ['select jsonb_agg(c) from customers c', undefined, false],
  ['select json_agg_strict(c) from customers c', undefined, false],
  ['select json_object_agg(id, name) from customers', undefined, false],
  ['select jsonb_object_agg_unique_strict(id, name) from customers', undefined, false],
  ['select json_arrayagg(name) from customers', undefined, false],
  ['select json_objectagg(id: name) from customers', undefined, false],
  ['select json_array(select name from customers)', undefined, false],
  ['select array(select name from customers)', undefined, false],
  ['select (id).array_agg from customers limit 1', undefined, false],
  ['select id from notes where array(select name from customers) is null limit 3', undefined, false],
  ['select a from (select array_agg(name) as a from customers) q limit 1', undefined, false],
  ['with q as (select json_agg(name) as a from customers) select a from q limit 1', undefined, false],
  ['select (select string_agg(name, $1) from customers)', undefined, false],
  ['select array_agg(name) over () from customers limit 1', undefined, false],
  ['values ((select array_agg(name) from customers))', undefined, false],
  ['insert into notes (txt) values ((select string_agg(name, $1) from customers)) returning txt', undefined, false],
  ['insert into notes (txt) select string_agg(name, $1) from customers', 0, false],
  [
    "with recursive r(n, s) as (select 1, '' union all select n + 1, s || name from r, customers c where c.id = n) select s from r limit 1",
    undefined,
    false,
  ],
  ["select (c).name || (c).ssn, c::text, concat(c, 'x'), array[name, ssn] from customers c limit 4", 4, false],
];

for (const [sql, rows, paging] of bounds) {
  void test(`bounds: ${sql}`, () => {
    const facts = one(sql);
    assert.equal(facts.rowsAtMost, rows);
    assert.equal(facts.paging, paging);
  });
}

void describe('facts', () => {
  void test('each statement of a text has its own text, also behind characters of several bytes', () => {
    const facts = analyse("select 'é' ; /* ü */ select 2;; select\n3 -- end", catalogue, { maxBytes: 1_000 });
    assert.deepEqual(
      facts.map((fact) => fact.text),
      ["select 'é'", 'select 2', 'select\n3 -- end'],
    );
  });

  void test('parameters are counted wherever they stand', () => {
    assert.equal(one('select $2 from customers where id = $7 limit $3').parameters, 7);
    assert.equal(one('select 1').parameters, 0);
  });

  void test('only plain reads and writes may share facts with other constants', () => {
    assert.equal(one('select * from customers where id = 5').constantFree, true);
    assert.equal(one('delete from notes where id = 5').constantFree, true);
    assert.equal(one('explain select * from customers where id = 5').constantFree, false);
    assert.equal(one('set work_mem = 5').constantFree, false);
    assert.equal(one('select leak(1)').constantFree, false);
  });

  void test('transaction steps', () => {
    const step = (sql: string) => one(sql).transaction;
    assert.deepEqual(
      ['begin', 'commit', 'rollback', 'release a', 'rollback to a', 'set constraints all deferred'].map(step),
      ['begin', 'commit', 'rollback', 'savepoint', 'savepoint', 'other'],
    );
  });

  void test('what nests too deeply for us is not understood, and the next statement is', () => {
    const deep = analyse(`select ${'1+'.repeat(45_000)}1`, catalogue, { maxBytes: 1_000_000 });
    assert.equal(deep[0]?.class, 'unknown');
    const nested = analyse(`select ${'f('.repeat(1_500)}1${')'.repeat(1_500)}`, catalogue, { maxBytes: 1_000_000 });
    assert.ok((nested[0]?.unknowns.length ?? 0) > 0);
    assert.equal(one('select 1').class, 'read');
  });
});

void describe('cost', () => {
  const resolvedOf = (sql: string) => one(sql).lineage;

  void test('a list of any length is read', () => {
    const sql = `select id from customers where ssn in (${Array.from({ length: 150_000 }, (_, index) => index).join(',')})`;
    const [facts] = analyse(sql, catalogue, { maxBytes: 2_000_000 });
    assert.deepEqual(facts?.unknowns, []);
    assert.ok(facts.lineage.resolved);
    assert.deepEqual(
      facts.lineage.predicates.map((column) => column.column),
      ['ssn'],
    );
  });

  void test('stars over stars and nested recursion end early', () => {
    const doubling = Array.from(
      { length: 30 },
      (_, index) => `t${index + 1} as (select a.*, b.* from t${index} a, t${index} b)`,
    );
    const stars = resolvedOf(`with t0 as (select * from customers), ${doubling.join(', ')} select * from t30`);
    assert.ok(!stars.resolved && stars.reason.includes('1664'));
    let nested = 'select 1 as a';
    for (let depth = 0; depth < 25; depth++)
      nested = `with recursive r as (select 1 as a union all (${nested}) union all select a from r) select a from r`;
    assert.equal(resolvedOf(nested).resolved, false);
  });

  void test('a deep statement over a view leaves the view readable', () => {
    one(`select ${'coalesce(tax_no, '.repeat(700)}mail${')'.repeat(700)} from people`);
    assert.equal(resolvedOf('select tax_no from people').resolved, true);
  });
});
