/** PREPARE, EXECUTE and temporary tables: what their texts alone say. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { analyse } from './analyse.ts';
import { loadParser } from './parse.ts';
import { sampleCatalogue } from './sample-catalogue.ts';
import type { Catalogue, StatementFacts } from './statement.ts';
import { firstTemporaryOid, temporaryRelation, withTemporary } from './temporary.ts';

before(loadParser);

function one(sql: string, catalogue: Catalogue = sampleCatalogue): StatementFacts {
  const [facts, ...more] = analyse(sql, catalogue, { maxBytes: 100_000 });
  assert.ok(facts !== undefined && more.length === 0);
  return facts;
}

describe('PREPARE', () => {
  for (const [text, expected] of [
    ['select id, upper(email) as e from customers where id = $1 limit 5', 'read'],
    ['insert into orders (id) values ($1) returning id', 'write'],
    ["select pg_notify('c', 'x')", 'session'],
    ["select set_config('search_path', 'evil', false)", 'setting'],
    ['select * from customers for update', 'write'],
  ] as const) {
    it(`has the facts of its statement: ${text}`, () => {
      const [prepared, itself] = [one(`prepare p(int) as ${text}`), one(text)];
      assert.deepEqual([prepared.class, prepared.prepared], [expected, { action: 'prepare', name: 'p' }]);
      const { command, relations, lineage, rowsAtMost, paging, setting, unknowns } = itself;
      assert.deepEqual(
        { command, relations, lineage, rowsAtMost, paging, setting, unknowns },
        {
          command: prepared.command,
          relations: prepared.relations,
          lineage: prepared.lineage,
          rowsAtMost: prepared.rowsAtMost,
          paging: prepared.paging,
          setting: prepared.setting,
          unknowns: prepared.unknowns,
        },
      );
      // Its own text has no parameters, and no other text has its verdict: the text is what is remembered.
      assert.deepEqual([prepared.parameters, prepared.constantFree], [0, false]);
    });
  }
});

describe('EXECUTE', () => {
  it('is nothing that its text tells', () => {
    const { class: statementClass, unknowns, fault, prepared } = one("execute p(1, 'x'::text, null)");
    assert.deepEqual([statementClass, unknowns.length, fault?.kind], ['unknown', 1, 'prepared-statement']);
    assert.deepEqual(prepared, { action: 'execute', name: 'p' });
  });

  for (const text of [
    'execute p($1)',
    'execute p(1 + 1)',
    'execute p((select 1))',
    "execute p('x'::mine)",
    'execute "é"',
  ]) {
    it(`is not resolved: ${text}`, () => {
      assert.deepEqual([one(text).prepared, one(text).class], [undefined, 'unknown']);
    });
  }
});

describe('temporary tables', () => {
  const columnsOf = (text: string) => {
    const { temporary, unknowns } = one(text);
    assert.deepEqual(unknowns, []);
    return temporary?.action === 'create' ? temporary.columns : undefined;
  };

  it('columns by their names, or by those of a query', () => {
    assert.deepEqual(columnsOf('create temp table t (a int, "B c" text[], check (a > 1), unique (a))'), ['a', 'B c']);
    assert.deepEqual(columnsOf('create temp table t as select id, id + 1, count(*) from customers group by id'), [
      'id',
      '?column?',
      'count',
    ]);
    assert.deepEqual(columnsOf('create temp table t (x) as select id, id as y from customers'), ['x', 'y']);
    assert.deepEqual(columnsOf('select id as z into temporary t from customers'), ['z']);
    assert.deepEqual(columnsOf('create table pg_temp.t as values (1, 2)'), ['column1', 'column2']);
  });

  it('what is stored counts as used', () => {
    const { lineage } = one('create temp table t as select id, upper(email) as e from customers');
    assert.ok(lineage.resolved && lineage.predicates.some(({ column }) => column === 'email'));
  });

  it('lie in front of what has their name, and beside everything else', () => {
    const own = temporaryRelation(firstTemporaryOid + 1, 'mine', ['a']);
    const catalogue = withTemporary(
      sampleCatalogue,
      new Map([
        ['mine', own],
        ['orders', undefined],
      ]),
    );
    assert.equal(catalogue.relationByName(undefined, 'mine'), own);
    assert.equal(catalogue.relationByName('pg_temp', 'mine'), own);
    assert.equal(catalogue.relationByName('crm', 'mine'), undefined);
    // May be there, or not.
    assert.equal(catalogue.relationByName(undefined, 'orders'), undefined);
    assert.notEqual(catalogue.relationByName('crm', 'orders'), undefined);
    assert.equal(catalogue.relationByName('pg_temp', 'customers'), undefined);
    assert.notEqual(catalogue.relationByName(undefined, 'customers'), undefined);
    assert.deepEqual(
      one('select a from mine', catalogue).relations.map(({ schema }) => schema),
      ['pg_temp'],
    );
    assert.equal(one('alter table mine add b int', catalogue).unknowns.length, 1);
    assert.deepEqual(one('create index on mine (a)', catalogue).unknowns, []);
  });

  it('DROP and its like', () => {
    assert.deepEqual(one('drop table a, pg_temp.b, crm.c').temporary, { action: 'drop', names: ['a', 'b'] });
    assert.deepEqual(one('drop schema x cascade').temporary, { action: 'doubt-all' });
    assert.equal(one('drop view x').temporary, undefined);
    for (const text of ['discard all', 'discard temp']) assert.deepEqual(one(text).temporary, { action: 'drop-all' });
    assert.equal(one('discard plans').temporary, undefined);
  });
});
