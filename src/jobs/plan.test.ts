import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { jobOf, planOf, queryText, testReader, type TestReaderOptions } from '../../test/job-fixtures.ts';
import { startTestStore, type TestStore } from '../../test/control-store.ts';
import { CountersignError } from '../errors.ts';
import { loadParser } from '../sql/parse.ts';
import { planDigestView, type JobPlan } from './job-plan.ts';
import { planJob } from './plan.ts';

let target: TestStore;

before(async () => {
  await loadParser();
  target = await startTestStore();
});
after(() => target.stop());

const run = (sql: string) => target.pool.query(sql);

/** All rows of a statement as sorted texts: a multiset. */
async function rowsOf(sql: string): Promise<string[]> {
  return (await queryText(target.pool, sql)).rows.map((row) => JSON.stringify(row)).sort();
}

/** The chunks give exactly the rows of the source, each once. */
async function assertPartition(plan: JobPlan): Promise<void> {
  const pieces: string[] = [];
  for (const chunk of plan.chunks) pieces.push(...(await rowsOf(chunk.sql)));
  assert.deepEqual(pieces.sort(), await rowsOf(plan.source));
  assert.deepEqual(
    plan.chunks.map((chunk) => chunk.no),
    plan.chunks.map((_chunk, index) => index),
  );
}

async function refused(
  code: string,
  source: string,
  chunk: string,
  options: TestReaderOptions = {},
): Promise<CountersignError> {
  try {
    await planOf(target.pool, source, chunk, options);
  } catch (error) {
    assert.ok(error instanceof CountersignError, String(error));
    assert.equal(error.code, code, error.message);
    return error;
  }
  return assert.fail('the plan was accepted');
}

void describe('chunks are a partition of the source', () => {
  const tables: [string, string, string, string][] = [
    [
      'gappy integers',
      'k bigint primary key',
      "select case when i % 10 = 0 then i + 1000000000 else i * 7 end, 'r' || i from generate_series(1, 500) i",
      '{ by: k, rows: 60 }',
    ],
    [
      'text in a linguistic order',
      'k text collate "und-x-icu"',
      "select chr(65 + i % 50) || md5(i::text) || '''\\' , 'r' || i from generate_series(1, 300) i",
      '{ by: k, rows: 40 }',
    ],
    [
      'text with case and spaces',
      'k text',
      "select repeat(' ', i % 3) || (array['a','A','b','B','ä',''])[1 + i % 6], 'r' || i from generate_series(1, 200) i",
      '{ by: k, count: 5 }',
    ],
    [
      'padded text',
      'k char(5)',
      "select (array['a','b ','c'])[1 + i % 3], 'r' || i from generate_series(1, 50) i",
      '{ by: k, count: 3 }',
    ],
    [
      'uuid',
      'k uuid primary key',
      "select md5(i::text)::uuid, 'r' || i from generate_series(1, 300) i",
      '{ by: k, rows: 50 }',
    ],
    [
      'NULL keys',
      'k integer',
      "select case when i % 4 = 0 then null else i end, 'r' || i from generate_series(1, 200) i",
      '{ by: k, rows: 30 }',
    ],
    ['only NULL keys', 'k integer', "select null::int, 'r' || i from generate_series(1, 20) i", '{ by: k, rows: 5 }'],
    ['nothing', 'k integer primary key', 'select i, i::text from generate_series(1, 0) i', '{ by: k, rows: 5 }'],
    ['one row', 'k integer primary key', "select 1, 'r'", '{ by: k, rows: 5 }'],
    ['one key for all rows', 'k integer', "select 7, 'r' || i from generate_series(1, 50) i", '{ by: k, rows: 5 }'],
    [
      'timestamps with infinities',
      'k timestamptz',
      "select case when i = 1 then 'infinity' when i = 2 then '-infinity' else '2024-01-01'::timestamptz + i * interval '1 hour 1 microsecond' end, 'r' || i from generate_series(1, 100) i",
      '{ by: k, rows: 9 }',
    ],
    [
      'dates before year 1',
      'k date',
      "select '0002-01-01'::date - i * 30, 'r' || i from generate_series(1, 60) i",
      '{ by: k, rows: 9 }',
    ],
    [
      'numeric with NaN',
      'k numeric',
      "select case when i % 9 = 0 then 'NaN' else i / 7.0 end, 'r' || i from generate_series(1, 100) i",
      '{ by: k, rows: 9 }',
    ],
    [
      'addresses',
      'k inet',
      "select '10.0.0.0'::inet + i * 3, 'r' || i from generate_series(1, 100) i",
      '{ by: k, rows: 20 }',
    ],
    [
      'keyset steps',
      'k integer primary key',
      "select i * i, 'r' || i from generate_series(1, 100) i",
      '{ by: k, rows: 7, strategy: keyset }',
    ],
    [
      'sizes in bytes',
      'k integer primary key',
      "select i, repeat('x', 100) from generate_series(1, 100) i",
      '{ by: k, bytes: 2KB }',
    ],
    [
      'an automatic key',
      'k integer primary key',
      "select i, 'r' || i from generate_series(1, 100) i",
      '{ by: auto, rows: 30 }',
    ],
    ['no key at all', 'k integer', "select i % 3, 'r' || i from generate_series(1, 50) i", '{ by: auto, rows: 7 }'],
  ];
  for (const [index, [what, key, rows, chunk]] of tables.entries()) {
    void test(what, async () => {
      await run(`create table t${index} (${key}, v text)`);
      await run(`insert into t${index} ${rows}`);
      await assertPartition(await planOf(target.pool, `select v, k from t${index} -- a comment at the end`, chunk));
    });
  }

  void test('composite keys with NULL in any place', async () => {
    await run('create table pairs (a integer, b text, v integer)');
    await run(
      "insert into pairs select nullif(i % 5, 4), nullif(chr(97 + i % 7), 'c'), i from generate_series(1, 210) i",
    );
    const plan = await planOf(target.pool, 'select * from pairs', '{ by: [a, b], rows: 20 }');
    assert.ok(plan.chunks.length > 5);
    assert.equal(plan.notNullProved, false);
    await assertPartition(plan);
    // With few bounds the first column decides most comparisons, and a NULL in the second would slip through.
    await assertPartition(await planOf(target.pool, 'select * from pairs', '{ by: [a, b], count: 2 }'));
  });

  void test('composite primary keys in another order', async () => {
    await run('create table lines (o integer, l integer, v text, primary key (o, l))');
    await run('insert into lines select i / 7, i % 7, i::text from generate_series(1, 200) i');
    const plan = await planOf(target.pool, 'select l, v, o from lines', '{ by: auto, rows: 30 }');
    assert.deepEqual(
      plan.key.map((key) => key.column),
      ['o', 'l'],
    );
    assert.equal(plan.notNullProved, true);
    await assertPartition(plan);
  });

  void test('joins that repeat keys, filters and parameters', async () => {
    await run('create table customers (id integer primary key, region text not null, name text)');
    await run('create table orders (id integer primary key, customer integer, total numeric)');
    await run(
      "insert into customers select i * 3, case when i % 2 = 0 then 'EU' else 'it''s' end, 'n' || i from generate_series(1, 100) i",
    );
    await run('insert into orders select i, (i % 120) * 3, i from generate_series(1, 400) i');
    const source =
      'select c.id as customer, o.total from customers c join orders o on o.customer = c.id where c.region = :region';
    const definition = jobOf(source, '{ by: customer, rows: 25 }', 'parameters: { region: { type: text } }\n');
    const reader = await testReader(target.pool, source.replace(':region', "'x'"));
    const plan = await planJob({ definition, parameters: { region: "it's" }, reader });
    assert.ok((await rowsOf(plan.source)).length > 100);
    assert.ok(plan.chunks.length > 3);
    await assertPartition(plan);
  });

  void test('an outer join makes a NOT NULL key nullable', async () => {
    const source = 'select c.id, o.id as o from orders o left join customers c on c.id = o.customer';
    const plan = await planOf(target.pool, source, '{ by: id, rows: 50 }');
    assert.equal(plan.notNullProved, false);
    assert.equal(plan.chunks.filter((chunk) => chunk.nulls).length, 1);
    await assertPartition(plan);
  });

  void test('partitioned tables', async () => {
    await run('create table parted (id integer not null, v text) partition by range (id)');
    await run('create table parted_1 partition of parted for values from (0) to (100)');
    await run('create table parted_2 partition of parted for values from (100) to (1000)');
    await run("insert into parted select i, 'r' from generate_series(1, 300) i");
    const plan = await planOf(target.pool, 'select * from parted', '{ by: id, rows: 40 }');
    assert.equal(plan.notNullProved, true);
    await assertPartition(plan);
  });

  void test('a child table may hold NULL where its parent may not', async () => {
    await run('create table parent (id integer not null, v text)');
    await run('create table child () inherits (parent)');
    const { rows } = await target.pool.query<{ v: number }>("select current_setting('server_version_num')::int as v");
    // From PostgreSQL 18 on a child keeps its parent's NOT NULL, but it may be NOT VALID for the rows that are there.
    const loose = (rows[0]?.v ?? 0) >= 180_000;
    await run(loose ? 'drop table child, parent' : 'alter table child alter column id drop not null');
    if (loose) {
      await run('create table parent (id integer, v text)');
      await run('create table child () inherits (parent)');
    }
    await run("insert into parent select i, 'p' from generate_series(1, 20) i");
    await run("insert into child select nullif(i % 5, 0), 'c' from generate_series(1, 20) i");
    if (loose) await run('alter table parent add constraint parent_id not null id not valid');
    const plan = await planOf(target.pool, 'select * from parent', '{ by: id, rows: 7 }');
    assert.equal(plan.notNullProved, false);
    await assertPartition(plan);
  });

  void test('any set of integer keys, any size', async () => {
    await run('create table anyone (k integer, v integer)');
    const keys = fc.array(fc.option(fc.integer({ min: -5, max: 5 }), { nil: null }), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(
        keys,
        fc.integer({ min: 1, max: 8 }),
        fc.constantFrom('rows', 'count'),
        async (values, size, unit) => {
          await run('truncate anyone');
          await target.pool.query('insert into anyone select k, i from unnest($1::int[]) with ordinality as t(k, i)', [
            values,
          ]);
          await assertPartition(await planOf(target.pool, 'select * from anyone', `{ by: k, ${unit}: ${size} }`));
        },
      ),
      { numRuns: 15 },
    );
  });

  void test('frozen bounds hold rows that come later', async () => {
    await run('create table growing (id integer primary key)');
    await run('insert into growing select i * 10 from generate_series(1, 50) i');
    const plan = await planOf(target.pool, 'select id from growing', '{ by: id, rows: 10 }');
    await run('insert into growing values (-5), (15), (100000)');
    await assertPartition(plan);
  });
});

void describe('a plan', () => {
  before(async () => {
    await run('create table people (id integer primary key, name text, ssn text, region text)');
    await run("insert into people select i, 'n' || i, '123-45-' || i, 'EU' from generate_series(1, 1000) i");
    await run('analyze people');
  });

  void test('has even chunks of at most the size asked for', async () => {
    const plan = await planOf(target.pool, 'select id, name from people', '{ by: id, rows: 300 }');
    const sizes: number[] = [];
    for (const chunk of plan.chunks) sizes.push((await rowsOf(chunk.sql)).length);
    assert.deepEqual(sizes, [250, 250, 250, 250]);
    assert.equal(plan.estimatedRows, 1000);
    assert.equal(plan.strategy, 'quantile');
  });

  void test('shows masks and no masked value, and no constants of a masked table', async () => {
    const source = "select id, ssn from people where name <> 'n17'";
    const plan = await planOf(target.pool, source, '{ by: id, rows: 400 }', { masked: ['ssn'] });
    assert.deepEqual(
      plan.outputs.map((output) => [output.name, output.mask]),
      [
        ['id', undefined],
        ['ssn', 'redact'],
      ],
    );
    assert.deepEqual(plan.outputs[1]?.sources, ['public.people.ssn']);
    assert.ok(plan.sample.rows.every((row) => row[1] === '***'));
    assert.equal(JSON.stringify([plan.explain, plan.sample]).includes('n17'), false);
    assert.equal(JSON.stringify(plan).includes('123-45'), false);
  });

  void test('keeps conditions where nothing is masked', async () => {
    const plan = await planOf(target.pool, 'select id from people', '{ by: id, rows: 400 }');
    assert.match(JSON.stringify(plan.explain.middle), /Cond|Filter/);
  });

  void test('warns of limits below the estimate', async () => {
    const plan = await planOf(target.pool, 'select id from people', '{ by: id, rows: 400 }', {
      more: 'limits: { rows: 10 }\n',
    });
    assert.match(plan.warnings.join(), /limits\.rows is 10/);
  });

  void test('its digest view changes with what is read and not with estimates', async () => {
    const plan = await planOf(target.pool, 'select id from people', '{ by: id, rows: 400 }');
    const view = JSON.stringify(planDigestView(plan));
    const sample = { columns: ['id'], rows: [['7']] };
    assert.equal(JSON.stringify(planDigestView({ ...plan, estimatedRows: 5, sample, warnings: ['x'] })), view);
    const [first, ...rest] = plan.chunks;
    assert.ok(first !== undefined);
    const changed = { ...plan, chunks: [{ ...first, sql: `${first.sql} or true` }, ...rest] };
    assert.notEqual(JSON.stringify(planDigestView(changed)), view);
    assert.notEqual(JSON.stringify(planDigestView({ ...plan, limits: { ...plan.limits, rows: 1 } })), view);
  });

  void test('bounds of a large table come from a sample of its pages', async () => {
    await run('create table large (id integer primary key, v text)');
    await run("insert into large select i, 'r' from generate_series(1, 60000) i");
    await run('analyze large');
    // What makes it large is the estimate alone.
    await run("update pg_class set reltuples = 5000000 where relname = 'large'");
    const plan = await planOf(target.pool, 'select id, v from large', '{ by: id, count: 6 }');
    assert.match(plan.reason, /sample/);
    assert.equal(plan.chunks.length, 6);
    await assertPartition(plan);
  });
});

void describe('the planner refuses', () => {
  before(async () => {
    await run('create table src (id integer primary key, secret text, other text, at timestamp)');
    await run('create view limited as select id, other from src order by id limit 5');
    await run("create function changing() returns int language sql volatile as 'select 1'");
  });

  const unchunkable: [string, RegExp][] = [
    ['select id from src limit 5', /LIMIT/],
    ['select id from src offset 5', /LIMIT or OFFSET/],
    ['select id from src fetch first 5 rows only', /LIMIT/],
    ['select distinct id from src', /DISTINCT/],
    ['select distinct on (id) id from src', /DISTINCT/],
    ['select id, count(*) from src group by id', /GROUP BY/],
    ['select id from src group by id having count(*) > 1', /GROUP BY or HAVING/],
    ['select max(id) as id from src', /aggregate function max/],
    ['select id, row_number() over (order by id) as n from src', /window/],
    ['select id from src union all select id from src', /UNION/],
    ['select id from (select id from src union select 5) s', /UNION/],
    ['with c as (select id from src limit 3) select id from c', /LIMIT/],
    ['select id from src where id in (select id from src limit 3)', /LIMIT/],
    ['select id from src tablesample system (10)', /TABLESAMPLE/],
    ['select id, random() as r from src', /volatile function random/],
    ['select id, changing() as r from src', /volatile function changing/],
    ['select id from src where at < now()', /now, whose value differs/],
    ['select id from src where at < current_timestamp', /current_timestamp/],
    ["select id from src where at < 'now'::timestamp", /constant 'now'/],
    ["select id from src where age(at) > interval '1 day'", /age/],
    ['select id from src for update', /locks rows/],
  ];
  for (const [source, reason] of unchunkable) {
    void test(source, async () => {
      assert.match((await refused('source_not_chunkable', source, '{ by: id, rows: 5 }')).message, reason);
    });
  }

  void test('the same sources in chunks, not as one', async () => {
    const plan = await planOf(target.pool, 'select distinct id from src limit 5', '{ by: none }');
    assert.deepEqual([plan.strategy, plan.chunks.length], ['single', 1]);
  });

  void test('a view with LIMIT in it', async () => {
    const { relations } = (await testReader(target.pool, 'select * from limited')).facts(
      '',
      await (await testReader(target.pool, 'select 1')).catalogue(),
    );
    assert.equal(relations.length, 1);
    const error = await refused('source_not_chunkable', 'select id from limited', '{ by: id, rows: 5 }');
    assert.match(error.message, /view public\.limited has LIMIT/);
  });

  void test('aggregates in a condition are values and may stay', async () => {
    await run("insert into src values (1, 's', 'o', '2024-01-01')");
    await assertPartition(
      await planOf(target.pool, 'select id from src where id = (select max(id) from src)', '{ by: id, rows: 5 }'),
    );
  });

  const keys: [string, string, string, string, TestReaderOptions][] = [
    ['a masked key', 'chunk_key_masked', 'select secret from src', 'secret', { masked: ['secret'] }],
    ['a masked key behind an alias', 'chunk_key_masked', 'select secret as id from src', 'id', { masked: ['secret'] }],
    [
      'a masked part of a composite key',
      'chunk_key_masked',
      'select id, secret from src',
      '[id, secret]',
      { masked: ['secret'] },
    ],
    ['a key that is not in the output', 'chunk_key_invalid', 'select other from src', 'id', {}],
    ['a computed key', 'chunk_key_invalid', 'select id + 1 as id from src', 'id', {}],
    ['columns of two tables', 'chunk_key_invalid', 'select a.id, b.id as b from src a, large b', '[id, b]', {}],
    [
      'a masked condition',
      'masked_predicate',
      "select id from src where secret = 'x'",
      'id',
      { masked: ['secret'], predicates: ['secret'] },
    ],
    ['two outputs of one name', 'job_invalid', 'select id, other as id from src', 'id', {}],
    ['a missing table', 'job_relation_missing', 'select id from nowhere', 'id', {}],
    ['a missing schema', 'job_relation_missing', 'select id from nowhere.src', 'id', {}],
    ['a missing column', 'job_invalid', 'select nothing from src', 'id', {}],
    ['a syntax error', 'job_invalid', 'select id frm src where', 'id', {}],
    ['two statements', 'job_invalid', 'select id from src; drop table src', 'id', {}],
    [
      'an attempt to leave the parenthesis',
      'job_invalid',
      'select id from src) as x; delete from src; select (1',
      'id',
      {},
    ],
    ['a write', 'job_invalid', 'delete from src', 'id', {}],
    ['numbered parameters', 'job_invalid', 'select id from src where id = $1', 'id', {}],
  ];
  for (const [what, code, source, by, options] of keys) {
    void test(what, async () => {
      await refused(code, source, `{ by: ${by}, rows: 5 }`, options);
    });
  }

  void test('an automatic key that is masked is not taken', async () => {
    const plan = await planOf(target.pool, 'select id, other from src', '{ by: auto, rows: 5 }', { masked: ['id'] });
    assert.equal(plan.strategy, 'single');
  });

  void test('lineage that is not resolved', async () => {
    const facts = { lineage: { resolved: false as const, reason: 'too deep' } };
    await refused('lineage_unresolved', 'select id from src', '{ by: id, rows: 5 }', { facts });
  });

  void test('more chunks than anyone can follow', async () => {
    await refused('job_invalid', 'select id from src', '{ by: id, count: 10001 }');
  });

  void test('keyset without a unique index', async () => {
    await refused('chunk_key_invalid', 'select other from src', '{ by: other, rows: 5, strategy: keyset }');
  });

  void test('a parameter that PostgreSQL reads as part of something else', async () => {
    const definition = jobOf(
      'select id, (array[1,2,3])[1:n] as s from src',
      '{ by: id, rows: 5 }',
      'parameters: { n: { type: int } }\n',
    );
    const reader = await testReader(target.pool, 'select id from src');
    await assert.rejects(planJob({ definition, parameters: { n: '2' }, reader }), (error) => {
      assert.ok(error instanceof CountersignError);
      assert.equal(error.code, 'job_invalid');
      assert.match(error.hint ?? '', /slice/);
      return true;
    });
  });
});
