import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { analyse } from './analyse.ts';
import { loadParser } from './parse.ts';
import { sampleCatalogue as catalogue } from './sample-catalogue.ts';
import { templateStep, type StepQuestion } from './statement-template.ts';

before(loadParser);

const maxBytes = 10_000;

function step(text: string, more: Partial<StepQuestion> = {}) {
  const facts = analyse(text, catalogue, { maxBytes });
  const none = { parameters: undefined, parameterKinds: undefined };
  return templateStep({ text, facts, catalogue, isMasked: () => false, maxBytes, ...none, ...more });
}

const int8 = (value: bigint) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return `\\x${bytes.toString('hex')}`;
};

void test('a closed range, in each way to write it', () => {
  for (const [text, low, high] of [
    ['select id from orders where id > 10 and id <= 20', 11n, 20n],
    ['select id from orders where id >= 10 and id < 20', 10n, 19n],
    ['select id from orders o where o.id between 10 and 20', 10n, 20n],
    ['select id from orders where 10 < id and 20 >= id', 11n, 20n],
    ['select id from orders where id > -5 and id <= -1', -4n, -1n],
    ['select total from orders where total > 3 and (id > 10 and id <= 20)', 11n, 20n],
    ['select o.id from orders o join customers c on c.id = o.customer_id where o.id > 10 and o.id <= 20', 11n, 20n],
    ['select id from orders where id > 3000000000 and id <= 3000000001', 3_000_000_001n, 3_000_000_001n],
    ['select id from orders where id > 1 and id <= 5 and customer_id > 1 and customer_id < 9 order by id', 2n, 5n],
  ] as const) {
    const found = step(text);
    assert.deepEqual([found?.form, found?.low, found?.high, found?.key], ['range', low, high, 'crm.orders.id'], text);
  }
});

void test('the text for people has names in place of what moves, also behind letters of several bytes', () => {
  const found = step("select id, 'äöü' as x /* ✓ */ from orders where id > -10 and id <= 20 -- end");
  assert.equal(found?.text, "select id, 'äöü' as x /* ✓ */ from orders where id > :lo and id <= :hi -- end");
});

void test('a parameter counts by its declared type and its format; of one that is not certain there is no step', () => {
  const text = 'select id from orders where id > $1 and id <= $2';
  const kinds = (type: number, format: 'text' | 'binary') => [
    { type, format },
    { type, format },
  ];
  const bound = (parameters: (string | null)[], parameterKinds: StepQuestion['parameterKinds']) =>
    step(text, { parameters, parameterKinds });
  const ends = (found: ReturnType<typeof step>) => [found?.low, found?.high];
  assert.deepEqual(ends(bound(['10', '20'], kinds(0, 'text'))), [11n, 20n]);
  assert.deepEqual(ends(bound(['-10', '20'], kinds(23, 'text'))), [-9n, 20n]);
  assert.deepEqual(ends(bound([int8(-10n), int8(20n)], kinds(20, 'binary'))), [-9n, 20n]);
  // The server takes an untyped one as the type of the key: bigint.
  assert.deepEqual(ends(bound([int8(10n), int8(20n)], kinds(0, 'binary'))), [11n, 20n]);
  assert.deepEqual(ends(bound(['\\x0000000a', '\\x00000014'], kinds(23, 'binary'))), [11n, 20n]);
  assert.deepEqual(ends(bound(['\\x000a', '\\x0014'], kinds(21, 'binary'))), [11n, 20n]);
  for (const [parameters, parameterKinds] of [
    [['10', '20'], kinds(25, 'text')],
    [['10', '20'], kinds(1700, 'text')],
    [['10', '20'], kinds(701, 'text')],
    [['10', '20'], undefined],
    [['\\x0000000a', '\\x00000014'], kinds(20, 'binary')],
    [['\\x0000000a', '\\x00000014'], kinds(0, 'binary')],
    [['\\x', '\\x'], kinds(23, 'binary')],
    [[int8(2n ** 62n), int8(2n ** 62n + 1n)], kinds(20, 'binary')],
    [[null, '20'], kinds(0, 'text')],
    [['10'], kinds(0, 'text')],
    [[' 10', '20'], kinds(0, 'text')],
    [['1e1', '20'], kinds(0, 'text')],
    [['10', '1234567890123456789'], kinds(0, 'text')],
  ] as const) {
    assert.equal(bound([...parameters], parameterKinds), undefined, JSON.stringify(parameters));
  }
  // A driver picks the integer type by the size of the value: that is no other statement.
  const shapes = [kinds(21, 'text'), kinds(23, 'text'), kinds(20, 'text')].map(
    (one) => bound(['10', '20'], one)?.shape,
  );
  assert.equal(new Set(shapes).size, 1);
  assert.notEqual(bound(['10', '20'], kinds(0, 'text'))?.shape, shapes[0]);
});

void test('what stands in a second place does not move, nor what is masked, shadowed or renamed', () => {
  const twice = 'select id, $1::int from orders where id > $1 and id <= $2';
  const untyped = [
    { type: 23, format: 'text' as const },
    { type: 23, format: 'text' as const },
  ];
  assert.equal(step(twice, { parameters: ['1', '2'], parameterKinds: untyped }), undefined);
  const text = 'select id from orders where id > 10 and id <= 20';
  assert.equal(step(text, { isMasked: () => true }), undefined);
  const hidden = { ...catalogue, relationByName: () => catalogue.relationByName('crm', 'notes') };
  assert.equal(step(text, { catalogue: hidden }), undefined);
  for (const other of [
    'select id from (select id from orders) orders where id > 10 and id <= 20',
    'select id from orders o join notes n using (id) where id > 10 and id <= 20',
    'select x from (orders o join notes n on true) as j(x) where x > 10 and x <= 20',
    'select total from orders where total > 10 and total <= 20',
    'select id from orders where id > 10 and id <= 20 and id <> 15 and id < 30',
    'select id from orders where id > 10 and customer_id > 10 and id <= 20 and customer_id <= 20',
    'select id from orders where (id, total) > (10, 1) and id <= 20',
    'select id from orders tablesample bernoulli (10) where id > 10 and id <= 20',
  ]) {
    assert.equal(step(other), undefined, other);
  }
});

void test('a keyset step knows which output is its key; an OFFSET counts positions', () => {
  const keyset = step('select total, id from orders where id > 10 order by id limit 5');
  assert.deepEqual(
    [keyset?.form, keyset?.low, keyset?.high, keyset?.keyAt, keyset?.limit],
    ['keyset', 11n, undefined, 1, 5],
  );
  const offset = step('select total from orders where id > 10 order by id limit 5 offset 20');
  assert.deepEqual([offset?.form, offset?.key, offset?.low, offset?.high], ['offset', 'position', 20n, 24n]);
  for (const text of [
    'select id + 0 as id from orders where id > 10 order by id limit 5',
    'select a.id from orders a, orders b where b.id > 10 order by b.id limit 5',
    'select id from orders where id > 10 order by total limit 5',
    'select id from orders where id > 10 order by id using > limit 5',
    'select id from orders where id > 10 order by id',
    'select id from orders where id > 10 order by id limit 0',
    'select id from orders where id > 10 order by id limit all',
    'select id from orders order by id limit 5 offset -1',
    'select id from orders order by id offset 5',
  ]) {
    assert.equal(step(text), undefined, text);
  }
});
