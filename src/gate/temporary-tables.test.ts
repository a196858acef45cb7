/** What a session believes of its temporary tables. */
import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import type { MaskIndex } from '../masking/mask-index.ts';
import { analyse } from '../sql/analyse.ts';
import { loadParser } from '../sql/parse.ts';
import { sampleCatalogue } from '../sql/sample-catalogue.ts';
import type { StatementFacts } from '../sql/statement.ts';
import type { ResultColumn } from '../wire/postgres/backend.ts';
import { TemporaryTables } from './temporary-tables.ts';

before(loadParser);

function factsOf(text: string, tables: TemporaryTables): StatementFacts {
  const [facts] = analyse(text, tables.in(sampleCatalogue, 'rules'), { maxBytes: 10_000 });
  assert.ok(facts !== undefined);
  return facts;
}

function tablesWith(...texts: string[]): TemporaryTables {
  const tables = new TemporaryTables();
  for (const text of texts) tables.completed(factsOf(text, tables), '', 'rules');
  return tables;
}

it('under other masking rules, what is in one is not certain any more', () => {
  const tables = tablesWith('create temp table s (a text)');
  assert.notEqual(tables.in(sampleCatalogue, 'rules').relationByName(undefined, 's'), undefined);
  assert.equal(tables.in(sampleCatalogue, 'other rules').relationByName(undefined, 's'), undefined);
});

it("the target's OID of one stays the same, and is no other's", () => {
  const tables = tablesWith('create temp table s (a text)', 'create temp table t (a text)');
  const index: Pick<MaskIndex, 'knows'> = { knows: (oid) => oid < 50_000 };
  const originOf = (text: string, tableOid: number, attnum = 1) => {
    const column: ResultColumn = {
      name: 'a',
      tableOid,
      attnum,
      typeOid: 25,
      typeSize: -1,
      typeModifier: -1,
      format: 0,
    };
    return tables.withoutOrigin([column], factsOf(text, tables), index as MaskIndex)[0]?.tableOid;
  };
  assert.equal(originOf('select a from s', 60_000, 2), 60_000);
  assert.equal(originOf('select a from s', 60_000), 0);
  assert.equal(originOf('select a from s', 60_001), 60_001);
  assert.equal(originOf('select a from t', 60_000), 60_000);
  assert.equal(originOf('select a from t', 60_002), 0);
  // What the catalogue has is no temporary table.
  assert.equal(originOf('select a from s', 16_400), 16_400);
});
