import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { loadParser, parseStatements, type ParsedStatement } from './parse.ts';
import { pagingLoop, PagingWatch, type PagingKind, type PagingLoop } from './paging.ts';

before(() => loadParser());

function statement(text: string): ParsedStatement {
  const parsed = parseStatements(text, { maxBytes: 100_000 });
  assert.ok(parsed.ok, parsed.ok ? '' : parsed.reason);
  const [only] = parsed.statements;
  assert.ok(only !== undefined);
  return only;
}

function loop(first: string, second: string): PagingLoop | undefined {
  return pagingLoop(statement(first), statement(second));
}

interface Case {
  readonly first: string;
  readonly second: string;
  readonly kind: PagingKind;
  readonly key: readonly string[];
  readonly source: string;
  readonly size?: number;
}

const loops: readonly Case[] = [
  {
    first: 'select id, name from customers order by id limit 50',
    second: 'select id, name from customers order by id limit 50 offset 50',
    kind: 'offset',
    key: ['id'],
    source: 'select id, name from customers',
    size: 50,
  },
  {
    first: 'select * from customers limit 50 offset 50',
    second: 'select * from customers limit 50 offset 100;',
    kind: 'offset',
    key: [],
    source: 'select * from customers',
    size: 50,
  },
  {
    first: 'select * from customers offset 0 rows fetch first 50 rows only',
    second: 'select * from customers offset 50 rows fetch first 50 rows only',
    kind: 'offset',
    key: [],
    source: 'select * from customers',
    size: 50,
  },
  {
    first: "select * from customers where region = 'EU' limit 50",
    second: "SELECT * FROM customers -- next\n WHERE region = 'EU' LIMIT 20 OFFSET 10 * 5",
    kind: 'offset',
    key: [],
    source: "SELECT * FROM customers\n WHERE region = 'EU'",
    size: 20,
  },
  {
    first: 'select * from customers order by id limit $1 offset $2',
    second: 'select * from customers order by id limit $1 offset $2',
    kind: 'offset',
    key: ['id'],
    source: 'select * from customers',
  },
  {
    first: 'select * from (select id from customers order by id limit 5) q',
    second: 'select * from (select id from customers order by id limit 5 offset 5) q',
    kind: 'offset',
    key: ['id'],
    source: 'select * from (select id from customers   ) q',
    size: 5,
  },
  {
    first: 'select * from (select id from customers) q limit 5',
    second: 'select * from (select id from customers) q limit 5 offset 5',
    kind: 'offset',
    key: [],
    source: 'select * from (select id from customers) q',
    size: 5,
  },
  {
    first: 'with c as (select * from customers where id > 3) select * from c order by 1 limit 5',
    second: 'with c as (select * from customers where id > 3) select * from c order by 1 limit 5 offset 5',
    kind: 'offset',
    key: [],
    source: 'with c as (select * from customers where id > 3) select * from c',
    size: 5,
  },
  {
    first: 'select id from a union all select id from b order by id limit 5',
    second: 'select id from a union all select id from b order by id limit 5 offset 5',
    kind: 'offset',
    key: ['id'],
    source: 'select id from a union all select id from b',
    size: 5,
  },
  {
    first: 'select distinct on (region) region, id from customers order by region, id limit 5',
    second: 'select distinct on (region) region, id from customers order by region, id limit 5 offset 5',
    kind: 'offset',
    key: ['region', 'id'],
    source: 'select distinct on (region) region, id from customers order by region, id',
    size: 5,
  },
  {
    first: 'select * from customers order by id limit 50',
    second: 'select * from customers where id > 50 order by id limit 50',
    kind: 'keyset',
    key: ['id'],
    source: 'select * from customers',
    size: 50,
  },
  {
    first: 'select c.id from customers c where id > 50 and region = $1 order by c.id limit 50',
    second: 'select c.id from customers c where id > 100 and region = $1 order by c.id limit 50',
    kind: 'keyset',
    key: ['id'],
    source: 'select c.id from customers c where region = $1',
    size: 50,
  },
  {
    first: 'select * from customers where 50 < id order by id limit 50',
    second: 'select * from customers where 90 < id order by id limit 50',
    kind: 'keyset',
    key: ['id'],
    source: 'select * from customers',
    size: 50,
  },
  {
    first: 'select * from customers where id < 900 order by id desc limit 50',
    second: 'select * from customers where id < 850 order by id desc limit 50',
    kind: 'keyset',
    key: ['id'],
    source: 'select * from customers',
    size: 50,
  },
  {
    first: 'select id as k from customers where id > 5 order by k limit 10',
    second: 'select id as k from customers where id > 15 order by k limit 10',
    kind: 'keyset',
    key: ['id'],
    source: 'select id as k from customers',
    size: 10,
  },
  {
    first: "select * from customers where (region, id) > ('EU', 5) order by region, id limit 10",
    second: "select * from customers where (region, id) > ('EU', 15) order by region, id limit 10",
    kind: 'keyset',
    key: ['region', 'id'],
    source: 'select * from customers',
    size: 10,
  },
  {
    first: "select * from t where (a > 'x' or (a = 'x' and b > 5)) and c is null order by a, b limit 10",
    second: "select * from t where (a > 'y' or (a = 'y' and b > 9)) and c is null order by a, b limit 10",
    kind: 'keyset',
    key: ['a', 'b'],
    source: 'select * from t where c is null',
    size: 10,
  },
  {
    first: 'select * from customers where id between 1 and 100',
    second: 'select * from customers where id between 101 and 200',
    kind: 'keyset',
    key: ['id'],
    source: 'select * from customers',
  },
  {
    first: 'select * from customers where id between 101 and 200',
    second: 'select * from customers where id between 1 and 100',
    kind: 'keyset',
    key: ['id'],
    source: 'select * from customers',
  },
  {
    first: "select * from visits where at >= '2025-01-01' and at < '2025-02-01' and id > 3",
    second: "select * from visits where at >= date '2025-02-01' and at < date '2025-03-01' and id > 3",
    kind: 'keyset',
    key: ['at'],
    source: 'select * from visits where id > 3',
  },
  {
    first: 'select * from customers where id < 1000',
    second: 'select * from customers where id >= 1000 and id < 2000',
    kind: 'keyset',
    key: ['id'],
    source: 'select * from customers',
  },
  {
    first: 'select * from customers where id >= 1000 and id < 2000',
    second: 'select * from customers where id >= 2000',
    kind: 'keyset',
    key: ['id'],
    source: 'select * from customers',
  },
  {
    first: 'select * from customers where id between $1 and $2',
    second: 'select * from customers where id between $1 and $2',
    kind: 'keyset',
    key: ['id'],
    source: 'select * from customers',
  },
  {
    first: 'select * from customers where id > $1 order by id limit 10',
    second: 'select * from customers where id > $1 order by id limit 10',
    kind: 'keyset',
    key: ['id'],
    source: 'select * from customers',
    size: 10,
  },
  {
    first: 'select o.* from crm.orders o join customers c on c.id = o.customer_id where o.id > 5 order by o.id limit 9',
    second:
      'select o.* from crm.orders o join customers c on c.id = o.customer_id where o.id > 14 order by o.id limit 9',
    kind: 'keyset',
    key: ['id'],
    source: 'select o.* from crm.orders o join customers c on c.id = o.customer_id',
    size: 9,
  },
  {
    first: "select * from customers where ctid >= '(0,0)' and ctid < '(10,0)'",
    second: "select * from customers where ctid >= '(10,0)' and ctid < '(20,0)'",
    kind: 'ctid',
    key: ['ctid'],
    source: 'select * from customers',
  },
  {
    first: "select * from customers where ctid > '(0,1)'::tid limit 10",
    second: "select * from customers where ctid > '(0,11)'::tid limit 10",
    kind: 'ctid',
    key: ['ctid'],
    source: 'select * from customers',
    size: 10,
  },
  {
    first: "select * from customers where ctid = any (array['(0,1)', '(0,2)']::tid[])",
    second: "select * from customers where ctid = any (array['(0,3)', '(0,4)']::tid[])",
    kind: 'ctid',
    key: ['ctid'],
    source: 'select * from customers',
  },
  {
    first: 'select * from customers where id % 10 = 0',
    second: 'select * from customers where id % 10 = 1',
    kind: 'modulo',
    key: ['id'],
    source: 'select * from customers',
  },
  {
    first: "select * from customers where mod(id, 4) = 0 and region = 'EU' limit 10",
    second: "select * from customers where mod(id, 4) = 1 and region = 'EU' limit 10",
    kind: 'modulo',
    key: ['id'],
    source: "select * from customers where region = 'EU'",
    size: 10,
  },
  {
    first: 'select * from customers where abs(hashtext(name)) % 4 = 0 limit 5',
    second: 'select * from customers where abs(hashtext(name)) % 4 = 1 limit 5',
    kind: 'modulo',
    key: ['name'],
    source: 'select * from customers',
    size: 5,
  },
  {
    first: 'declare c cursor with hold for select id from customers order by id',
    second: 'fetch 100 from c',
    kind: 'cursor',
    key: ['id'],
    source: 'select id from customers',
    size: 100,
  },
];

describe('loops', () => {
  for (const { first, second, kind, key, source, size } of loops) {
    test(`${kind}: ${second}`, () => {
      const found = loop(first, second);
      assert.ok(found !== undefined, 'it is not recognised');
      assert.deepEqual([found.kind, found.keyColumns, found.source?.trim()], [kind, key, source]);
      assert.equal(found.pageSize, size);
    });
  }

  test('say what is paged, which columns come out and which filters stay', () => {
    const from = "select o.id, total t from crm.orders o where o.region = 'EU' and o.id > ";
    const found = loop(`${from}5 and not done order by id limit 7`, `${from}12 and not done order by id limit 7`);
    assert.deepEqual(found?.relation, { schema: 'crm', name: 'orders' });
    assert.deepEqual(found.columns, ['id', 't']);
    assert.deepEqual(found.filters, ["o.region = 'EU'", 'not done']);
  });

  test('name the relation of the key in a join', () => {
    const from = 'select * from a join b on a.id = b.id where b.id > ';
    assert.equal(loop(`${from}5 order by b.id limit 7`, `${from}12 order by b.id limit 7`)?.relation?.name, 'b');
  });
});

const others: readonly (readonly [string, string, string])[] = [
  ['another table', 'select id from a order by id limit 5', 'select id from b order by id limit 5 offset 5'],
  ['another select list', 'select id from a limit 5', 'select name from a limit 5 offset 5'],
  ['another filter', "select id from a where r = 'EU' limit 5", "select id from a where r = 'US' limit 5 offset 5"],
  ['another order', 'select id from a order by id limit 5', 'select id from a order by name limit 5 offset 5'],
  ['look-ups by key', 'select * from a where id = 5', 'select * from a where id = 6'],
  ['look-ups by key and a limit', 'select * from a where id = 5 limit 1', 'select * from a where id = 6 limit 1'],
  ['look-ups with a parameter', 'select * from a where id = $1', 'select * from a where id = $1'],
  ['look-ups by lists', 'select * from a where id in (1, 2)', 'select * from a where id in (3, 4)'],
  ['the same again', 'select * from a limit 5', 'select * from a limit 5'],
  ['the same page again', 'select * from a limit 5 offset 5', 'select * from a limit 5 offset 5'],
  [
    'the same key again',
    'select * from a where id > 5 order by id limit 5',
    'select * from a where id > 5 order by id limit 5',
  ],
  ['back to the first page', 'select * from a limit 5 offset 5', 'select * from a limit 5'],
  ['a smaller offset', 'select * from a limit 5 offset 50', 'select * from a limit 5 offset 5'],
  ['an offset of nothing', 'select * from a limit 5', 'select * from a limit 5 offset 0'],
  ['only more rows', 'select * from a limit 5', 'select * from a limit 50'],
  [
    'a range that is narrowed',
    'select * from a where id between 1 and 100',
    'select * from a where id between 1 and 50',
  ],
  [
    'a range that is widened',
    'select * from a where id between 10 and 20',
    'select * from a where id between 5 and 40',
  ],
  ['a first filter', 'select * from a limit 5', 'select * from a where age > 30 limit 5'],
  ['a first range', 'select * from a', 'select * from a where id between 5 and 40'],
  ['a filter without a limit', 'select count(*) from a where age > 30', 'select count(*) from a where age > 40'],
  ['a bound that goes back', 'select * from a where age > 30 limit 5', 'select * from a where age > 20 limit 5'],
  [
    'two bounds at once',
    'select * from a where x > 1 and y > 1 limit 5',
    'select * from a where x > 2 and y > 2 limit 5',
  ],
  ['the same slice', 'select * from a where id % 10 = 1', 'select * from a where id % 10 = 1'],
  ['another divisor', 'select * from a where id % 10 = 1', 'select * from a where id % 20 = 1'],
  ['a first slice', 'select * from a', 'select * from a where id % 10 = 1'],
  ['another cursor', 'declare a cursor for select 1', 'fetch 10 from b'],
  ['a moved cursor', 'declare a cursor for select 1', 'move 10 from a'],
  ['a write', 'update a set x = 1 where id > 5', 'update a set x = 1 where id > 50'],
  [
    'a subquery as bound',
    'select * from a where id > (select 1) limit 5',
    'select * from a where id > (select 2) limit 5',
  ],
  ['columns compared', 'select * from a where x > y limit 5', 'select * from a where x > y limit 5'],
  ['a text in other letters', "select * from a where name > 'b' limit 5", "select * from a where name > 'a' limit 5"],
];

describe('no loops', () => {
  for (const [what, first, second] of others) {
    test(`${what}: ${second}`, () => {
      assert.equal(loop(first, second), undefined);
    });
  }
});

describe('one session', () => {
  test('other statements may stand between two steps', () => {
    const watch = new PagingWatch();
    assert.equal(watch.see('select * from a limit 5'), undefined);
    assert.equal(watch.see('select 1'), undefined);
    assert.equal(watch.see('select * from b where id = 7'), undefined);
    assert.equal(watch.see('select * from a limit 5 offset 5')?.kind, 'offset');
  });

  test('a step that is sent again is still that step, and the way back is none', () => {
    const watch = new PagingWatch();
    watch.see('select * from a where id > 1 limit 5');
    for (let round = 0; round < 3; round++) {
      assert.equal(watch.see('select * from a where id > 6 limit 5')?.kind, 'keyset');
    }
    assert.equal(watch.see('select * from a where id > 1 limit 5'), undefined);
    assert.equal(watch.see('select * from a where id > 6 limit 5')?.kind, 'keyset');
  });

  test('two steps in one text', () => {
    assert.equal(new PagingWatch().see('select 1; table a limit 5; table a limit 5 offset 5')?.kind, 'offset');
  });

  test('a cursor that was declared, and its pieces', () => {
    const watch = new PagingWatch();
    assert.equal(watch.declared(), undefined);
    assert.equal(watch.see('declare c cursor for select id from a'), undefined);
    assert.equal(watch.declared()?.source, 'select id from a');
    for (let round = 0; round < 3; round++) {
      assert.deepEqual(
        [watch.see('fetch 10 from c')].map((found) => [found?.kind, found?.source, found?.pageSize]),
        [['cursor', 'select id from a', 10]],
      );
    }
  });

  test('an EXECUTE is a step of what was prepared, PREPARE is none', () => {
    const watch = new PagingWatch();
    const text = 'prepare p(int) as select id from a where id > $1 order by id limit 5';
    assert.equal(watch.see(text), undefined);
    assert.equal(watch.executes(text), undefined);
    assert.deepEqual([watch.executes(text)?.kind, watch.executes(text)?.repeated], ['keyset', true]);
    assert.equal(watch.executes('prepare p as delete from a'), undefined);
  });

  test('what cannot be read is no step, and much of it is forgotten', () => {
    const watch = new PagingWatch();
    assert.equal(watch.see('selec 1'), undefined);
    watch.see('select * from a limit 5');
    for (let n = 0; n < 100; n++) watch.see(`select * from t${n} limit 5`);
    assert.equal(watch.see('select * from a limit 5 offset 5'), undefined);
  });
});

test('a source that cannot be cut is left out, not guessed', () => {
  const strange = 'select 1 as limit, "order" from (values (1)) v("order") where (("order" > 1) and true) limit 5';
  const found = loop(strange, strange.replace('> 1', '> 2'));
  assert.ok(found === undefined || found.source === undefined || !found.source.includes('> 2'));
  const multiline = "select * from a where x = 'one\n\n two' limit 5";
  assert.equal(loop(multiline, `${multiline} offset 5`)?.source, undefined);
});
