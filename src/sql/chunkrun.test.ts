import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { matchChunkrun } from './chunkrun.ts';
import { loadParser } from './parse.ts';

before(loadParser);

const chunks: readonly (readonly [string, string, number, '*' | readonly string[]])[] = [
  ['select * from chunkrun."customers-export" where chunk_no = 7', 'customers-export', 7, '*'],
  ['SELECT * FROM chunkrun.j WHERE chunk_no = 0;', 'j', 0, '*'],
  ['select * from chunkrun.j where 3 = chunk_no', 'j', 3, '*'],
  ['select id, "Name" from chunkrun.j where chunk_no=1', 'j', 1, ['id', 'Name']],
  ['select a.id, a.x from chunkrun.j as a where a.chunk_no = 1', 'j', 1, ['id', 'x']],
  ['select j.* from chunkrun.j where j.chunk_no = 1', 'j', 1, '*'],
  [
    'SELECT "c1","c2" FROM (SELECT * FROM chunkrun.j42_v7) AS chunk  WHERE "chunk_no" >= 7 AND "chunk_no" < 8     ',
    'j42_v7',
    7,
    ['c1', 'c2'],
  ],
  ['SELECT "c1" FROM (SELECT * FROM chunkrun.j) AS chunk WHERE "chunk_no" < 1 or "chunk_no" is null', 'j', 0, ['c1']],
  [
    'SELECT * FROM (SELECT * FROM (select * from chunkrun.j) a) SPARK_GEN_SUBQ_3 WHERE (chunk_no >= 2) AND (chunk_no < 3)',
    'j',
    2,
    '*',
  ],
  ['SELECT * FROM (SELECT * FROM chunkrun.j where chunk_no = 4) a', 'j', 4, '*'],
  ['SELECT 1 FROM (SELECT * FROM chunkrun.j) a WHERE "chunk_no" >= 0 AND "chunk_no" < 1', 'j', 0, []],
];

for (const [sql, job, chunkNo, columns] of chunks) {
  void test(`chunk: ${sql}`, () => assert.deepEqual(matchChunkrun(sql), { kind: 'chunk', job, chunkNo, columns }));
}

void test('probes', () => {
  for (const sql of [
    'SELECT * FROM (SELECT * FROM chunkrun.j) AS chunk WHERE 1=0',
    'select * from chunkrun.j where false',
    'SELECT * FROM (SELECT * FROM chunkrun.j where chunk_no = 4) a WHERE 1=0',
  ]) {
    assert.deepEqual(matchChunkrun(sql), { kind: 'probe', job: 'j' });
  }
});

void test('an open end is answered only where it means one chunk', () => {
  const sql = 'select * from (select * from chunkrun.j) a where "chunk_no" >= 63';
  assert.equal(matchChunkrun(sql).kind, 'refused');
  assert.equal(matchChunkrun(sql, { lastChunkNo: 64 }).kind, 'refused');
  assert.deepEqual(matchChunkrun(sql, { lastChunkNo: 63 }), { kind: 'chunk', job: 'j', chunkNo: 63, columns: '*' });
});

const refused = [
  'select * from chunkrun.j',
  'select * from chunkrun.j where 1=1',
  'select * from chunkrun.j where 0=0',
  'select * from chunkrun.j where true',
  'select * from chunkrun.j where chunk_no = 1 or chunk_no = 2',
  'select * from chunkrun.j where chunk_no >= 1 or chunk_no < 5',
  'select * from chunkrun.j where chunk_no >= 1 and chunk_no < 5',
  'select * from chunkrun.j where chunk_no < 2 or chunk_no is null',
  'select * from chunkrun.j where chunk_no >= 5 or chunk_no is null',
  'select * from chunkrun.j where chunk_no is null',
  'select * from chunkrun.j where chunk_no <= 1',
  'select * from chunkrun.j where chunk_no <> 1',
  'select * from chunkrun.j where chunk_no = -1',
  "select * from chunkrun.j where chunk_no = '1'",
  'select * from chunkrun.j where chunk_no = 1.0',
  'select * from chunkrun.j where chunk_no = 9999999999',
  'select * from chunkrun.j where chunk_no = $1',
  'select * from chunkrun.j where chunk_no in (1)',
  'select * from chunkrun.j where chunk_no = any (array[1])',
  'select * from chunkrun.j where not chunk_no = 1',
  'select * from chunkrun.j where other = 1',
  'select * from chunkrun.j where b.chunk_no = 1',
  'select * from chunkrun.j where chunk_no operator(x.=) 1',
  "select * from chunkrun.j where chunk_no = 1 and name like 'a%'",
  'select * from chunkrun.j where chunk_no = 1 order by id',
  'select * from chunkrun.j where chunk_no = 1 limit 5',
  'select * from chunkrun.j where chunk_no = 1 offset 5',
  'select distinct * from chunkrun.j where chunk_no = 1',
  'select * from chunkrun.j where chunk_no = 1 for update',
  'select * from chunkrun.j where chunk_no = 1 union all select * from chunkrun.j where chunk_no = 2',
  'select * from chunkrun.j where chunk_no = 1; select 1',
  'select * from chunkrun.j, customers where chunk_no = 1',
  'select * from chunkrun.j join customers on true where chunk_no = 1',
  'select * from only chunkrun.j where chunk_no = 1',
  'select * from j where chunk_no = 1',
  'select * from customers where chunk_no = 1',
  'select * from other.chunkrun.j where chunk_no = 1',
  'select * from chunkrun.j tablesample system (1) where chunk_no = 1',
  'select * from chunkrun.j as a(chunk_no) where chunk_no = 1',
  'select * from lateral (select * from chunkrun.j) a where chunk_no = 1',
  'select * from (select id from chunkrun.j) a where chunk_no = 1',
  'select * from (select * from chunkrun.j where chunk_no = 1) a where chunk_no = 2',
  'select upper(name) from chunkrun.j where chunk_no = 1',
  'select id + 1 from chunkrun.j where chunk_no = 1',
  'select id as x from chunkrun.j where chunk_no = 1',
  'select *, id from chunkrun.j where chunk_no = 1',
  'select 2 from chunkrun.j where chunk_no = 1',
  'select (select ssn from customers) from chunkrun.j where chunk_no = 1',
  'select count(*) from chunkrun.j where chunk_no = 1',
  'with x as (select 1) select * from chunkrun.j where chunk_no = 1',
  'select * into t from chunkrun.j where chunk_no = 1',
  'select from chunkrun.j where chunk_no = 1',
  'table chunkrun.j',
  'delete from chunkrun.j where chunk_no = 1',
  'copy (select * from chunkrun.j where chunk_no = 1) to stdout',
  'explain select * from chunkrun.j where chunk_no = 1',
  'select 1',
  'savepoint a',
  'commit and chain',
  "set client_encoding = 'latin1'",
  "set time zone 'UTC'",
  'set role x',
  'set search_path = x',
  'reset all',
  'nonsense',
];

for (const sql of refused) {
  void test(`refused: ${sql}`, () => assert.equal(matchChunkrun(sql).kind, 'refused'));
}

void test('what drivers send around it', () => {
  const command = (sql: string) => {
    const match = matchChunkrun(sql);
    return match.kind === 'session' ? match.command : match.kind;
  };
  assert.equal(command('BEGIN'), 'BEGIN');
  assert.equal(command('start transaction isolation level repeatable read, read only'), 'START TRANSACTION');
  assert.equal(command('commit'), 'COMMIT');
  assert.equal(command('rollback'), 'ROLLBACK');
  assert.equal(command('SET extra_float_digits = 3'), 'SET');
  assert.equal(command("SET application_name = 'PostgreSQL JDBC Driver'"), 'SET');
  assert.equal(command("set client_encoding to 'UTF8'"), 'SET');
  assert.equal(command('set session characteristics as transaction read only'), 'SET');
  assert.equal(command('show transaction isolation level'), 'SHOW');
  assert.equal(command(' -- nothing'), 'EMPTY');
});
