import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { analyse } from './analyse.ts';
import { loadParser } from './parse.ts';
import { sampleCatalogue } from './sample-catalogue.ts';

before(loadParser);

function asked(text: string): string {
  const [facts] = analyse(text, sampleCatalogue, { maxBytes: 10_000 });
  assert.ok(facts?.lineage.resolved === true, text);
  const { equalities, nullTests, predicates } = facts.lineage;
  const names = (columns: readonly { readonly column: string }[]) => columns.map(({ column }) => column).toSorted();
  assert.ok(
    equalities.every((one) => names(predicates).includes(one.column.column)),
    'an equality is a predicate, too, for whoever does not look',
  );
  return [
    ...equalities.map(({ column, values }) => `${column.column}=${values}`).toSorted(),
    ...names(nullTests).map((name) => `${name}?`),
  ].join(' ');
}

void test('an equality is a term of the WHERE of the outermost SELECT, between a column and constants', () => {
  for (const [text, expected] of [
    ["select id from customers where ssn = 'a'", 'ssn=1'],
    ["select id from customers where 'a' = ssn and id > 3", 'ssn=1'],
    ['select id from customers where ssn = $1', 'ssn=1'],
    ["select id from customers c where c.ssn in ('a', $1, 'c'::text)", 'ssn=3'],
    ["select id from customers where ssn = 'a' and (ssn in ('b', 'c') and email = 'd')", 'email=1 ssn=3'],
    ["select o.id from orders o join customers c on c.id = o.customer_id where c.ssn = 'a'", 'ssn=1'],
    ["copy (select id from customers where ssn = 'a') to stdout", 'ssn=1'],
    ["declare d cursor for select id from customers where ssn = 'a'", 'ssn=1'],
    ["with q as (select 1) select id from customers where ssn = 'a'", 'ssn=1'],
    // what tests more than it writes out, or in another place
    ["select id from customers where ssn = 'a' or ssn = 'b'", ''],
    ["select id from customers where not ssn = 'a'", ''],
    ["select id from customers where ssn <> 'a'", ''],
    ["select id from customers where ssn not in ('a')", ''],
    ["select id from customers where ssn = any ('{a,b}')", ''],
    ["select id from customers where ssn = all ('{a}')", ''],
    ['select id from customers where ssn = email', ''],
    ['select id from customers where ssn = null', ''],
    ["select id from customers where ssn = '{a}'::text[]", ''],
    ['select id from customers where ssn = (select min(ssn) from customers)', ''],
    ["select id from customers where lower(ssn) = 'a'", ''],
    ["select id from customers where ssn = lower('a')", ''],
    ["select id from customers where loud = 'A'", ''],
    ["select id from customers where ssn = 'a' and ssn > 'b'", ''],
    ["select id from customers where ssn = 'a' order by ssn", ''],
    ["select ssn = 'a' from customers", ''],
    ["select id from people where tax_no = 'a'", ''],
    ["select id from (select * from customers) q where ssn = 'a'", ''],
    ["select id from orders where customer_id in (select id from customers where ssn = 'a')", ''],
    ["select id from customers where ssn = 'a' union all select 1", ''],
    ["with q as (select id from customers where ssn = 'a') select * from q", ''],
    ["delete from customers where ssn = 'a'", ''],
    ["update customers set age = 1 where ssn = 'a'", ''],
    ["explain select id from customers where ssn = 'a'", ''],
    ["create table t as select id from customers where ssn = 'a'", ''],
    ['select id from customers join orders using (id) where id = 7', ''],
  ] as const)
    assert.equal(asked(text), expected, text);
});

void test('questions about NULL are told apart from what a value depends on', () => {
  for (const [text, expected] of [
    ['select id from customers where ssn is null', 'ssn?'],
    ['select id from customers where not (ssn is not null and email is null)', 'email? ssn?'],
    ['select case when ssn is null then 1 end from customers', 'ssn?'],
    ['select exists (select from customers where ssn is null)', 'ssn?'],
    ['select c.id from customers c join orders o on c.ssn is null', 'ssn?'],
    ['delete from customers where ssn is null', 'ssn?'],
    ['select count(*) filter (where ssn is null) from customers', 'ssn?'],
    ['select coalesce(ssn, (1 / (id - id))::text) from customers', 'ssn?'],
    ['select ssn is null from customers', ''],
    ['select coalesce(ssn, email) from customers', ''],
  ] as const)
    assert.equal(asked(text), expected, text);
});
