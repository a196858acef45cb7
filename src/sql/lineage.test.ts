import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { analyse } from './analyse.ts';
import { lineageLine } from './facts-line.ts';
import { resolved, unresolved } from './lineage-cases.ts';
import { viewLineage } from './lineage.ts';
import { loadParser } from './parse.ts';
import { makeCatalogue } from './catalogue.ts';
import { sampleCatalogue as catalogue, sampleRaw } from './sample-catalogue.ts';

before(loadParser);

for (const [sql, expected] of resolved) {
  void test(sql, () => {
    const [facts] = analyse(sql, catalogue, { maxBytes: 100_000 });
    assert.ok(facts !== undefined);
    assert.deepEqual(facts.unknowns, []);
    assert.equal(lineageLine(facts), expected);
  });
}

for (const [sql, reason] of unresolved) {
  void test(`unresolved: ${sql}`, () => {
    const [facts] = analyse(sql, catalogue, { maxBytes: 100_000 });
    assert.ok(facts !== undefined && !facts.lineage.resolved, facts === undefined ? '' : lineageLine(facts));
    assert.ok(facts.lineage.reason.includes(reason), facts.lineage.reason);
  });
}

void test('viewLineage maps columns to base tables and reports no predicates', () => {
  const view = catalogue.relationByName('crm', 'people_orders');
  assert.ok(view !== undefined);
  const lineage = viewLineage(catalogue, view);
  assert.ok(lineage.resolved);
  assert.deepEqual(lineage.predicates, []);
  assert.deepEqual(
    lineage.outputs.map(
      (output) => `${output.name} ${output.sources.map((source) => source.column).join()} ${output.verbatim}`,
    ),
    ['id id true', 'tax_no ssn true', 'mail email false', 'total total true'],
  );
});

void test('a view that calls a function of the users is readable as lineage only through its unknowns', () => {
  const [facts] = analyse('select x from leaky', catalogue, { maxBytes: 1_000 });
  assert.deepEqual(facts?.unknowns, ['view crm.leaky: function crm.leak is not built in']);
  assert.equal(facts?.lineage.resolved, false);
});

void test('what fails for some types only is a predicate where a value of such a type is in it', () => {
  const columns = ['money', 'interval', 'json', 'crm.mood', 'numeric'].map(
    (type, index) => [index + 1, `c${index + 1}`, 0, type, false, ''] as const,
  );
  const rare = { oid: 16_499, schema: 'crm', name: 'rare', kind: 'r', row_security: false, columns };
  const withRare = makeCatalogue({ ...sampleRaw, relations: [...sampleRaw.relations, rare] });
  const predicates = (expression: string): string => {
    const [facts] = analyse(`select ${expression} from rare`, withRare, { maxBytes: 1_000 });
    assert.ok(facts?.lineage.resolved === true);
    return facts.lineage.predicates.map((column) => column.column).join();
  };
  assert.equal(predicates('sum(c1), avg(c2), max(c1), max(c2)'), 'c1,c2');
  assert.equal(predicates('to_jsonb(c3), jsonb_agg(c3), to_json(c3)'), 'c3');
  assert.equal(predicates('array_agg(c4), to_json(c4)'), 'c4');
  assert.equal(predicates('sum(c5), to_jsonb(c5), array_agg(c5)'), '');
});
