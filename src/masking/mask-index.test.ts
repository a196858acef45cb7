import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Catalogue, CatalogueRelation, Lineage, OutputColumn, RelationKind } from '../sql/statement.ts';
import { buildMaskIndex, type MaskIndex } from './mask-index.ts';
import { compileMasking, type MaskSpec } from './policy.ts';

interface Sketch {
  readonly oid: number;
  readonly name: string;
  readonly columns: readonly (string | { name: string; from: readonly string[] })[];
  readonly kind?: RelationKind;
  readonly schema?: string;
  readonly children?: readonly number[];
  readonly parents?: readonly number[];
  readonly definition?: string;
}

function relation(sketch: Sketch): CatalogueRelation {
  return {
    oid: sketch.oid,
    schema: sketch.schema ?? 'crm',
    name: sketch.name,
    kind: sketch.kind ?? 'table',
    columns: sketch.columns.map((column, index) => ({
      attnum: index + 1,
      name: typeof column === 'string' ? column : column.name,
      typeOid: 25,
      typeName: 'text',
      notNull: false,
      generatedFrom: typeof column === 'string' ? undefined : column.from,
    })),
    definition: sketch.definition,
    children: sketch.children ?? [],
    parents: sketch.parents ?? [],
    rules: [],
  };
}

function catalogueOf(sketches: readonly Sketch[], userFunctions: readonly string[] = []): Catalogue {
  const relations = sketches.map(relation);
  return {
    version: 'v',
    searchPath: ['crm'],
    relations,
    relationByOid: (oid) => relations.find((one) => one.oid === oid),
    relationByName: (_, name) => relations.find((one) => one.name === name),
    userFunctions: new Set(userFunctions),
    userOperators: new Set(),
    userTypes: new Set(),
    amongBuiltIn: new Set(),
    convertedTypes: new Set(),
    callsUserCode: () => false,
  };
}

const source = (relationOid: number, attnum: number) => ({
  relationOid,
  attnum,
  schema: 'crm',
  relation: '',
  column: '',
});
const output = (sources: readonly (readonly [number, number])[], verbatim: boolean): OutputColumn => ({
  name: 'x',
  sources: sources.map(([oid, attnum]) => source(oid, attnum)),
  verbatim,
});
const unresolved: Lineage = { resolved: false, reason: 'too hard' };

function index(
  sketches: readonly Sketch[],
  rules: readonly (readonly [string, MaskSpec])[],
  lineages: Record<number, Lineage> = {},
  functions: readonly string[] = [],
): MaskIndex {
  const masking = compileMasking(
    [{ name: 't', appliesTo: {}, columns: rules.map(([match, mask]) => ({ match, mask })), detectors: [] }],
    {},
    { hashKey: Buffer.alloc(32) },
  );
  return buildMaskIndex(masking, catalogueOf(sketches, functions), (view) => lineages[view.oid] ?? unresolved);
}

const customers: Sketch = { oid: 20_001, name: 'customers', columns: ['id', 'email', 'ssn'] };
const orders: Sketch = { oid: 20_002, name: 'orders', columns: ['id', 'total'] };
const view = (definition: string, columns: readonly string[] = ['a', 'b'], oid = 20_010, name = 'v'): Sketch => ({
  oid,
  name,
  kind: 'view',
  columns,
  definition,
});

void describe('tables', () => {
  void it('has the rule of each column, and says who is touched', () => {
    const masks = index([customers, orders], [['ssn', 'last4']]);
    assert.deepEqual(masks.rule(20_001, 3), { id: 't/columns[0]', mask: 'last4' });
    assert.equal(masks.rule(20_001, 1), undefined);
    assert.equal(masks.rule(20_001, -1), undefined);
    assert.deepEqual([masks.touches(20_001), masks.touches(20_002)], [true, false]);
    assert.deepEqual([masks.relationHasMasks(20_001), masks.relationHasMasks(20_002)], [true, false]);
    assert.deepEqual(masks.wholeRowRule(20_001), { id: 't/columns[0]', mask: 'redact' });
    assert.equal(masks.wholeRowRule(20_002), undefined);
  });
  void it('knows what the catalogue has, and the system', () => {
    const masks = index([customers], [['ssn', 'last4']]);
    assert.deepEqual([masks.knows(20_001), masks.knows(1259), masks.knows(29_999)], [true, true, false]);
    assert.equal(index([customers], []).knows(29_999), true, 'without column rules there is nothing to know');
  });
  void it('a generated column hides what it is made of', () => {
    const table: Sketch = {
      oid: 20_003,
      name: 'g',
      columns: [
        'ssn',
        { name: 'upper', from: ['ssn'] },
        { name: 'twice', from: ['upper'] },
        { name: 'other', from: ['id'] },
      ],
    };
    const masks = index([table], [['ssn', 'last4']]);
    assert.equal(masks.rule(20_003, 2)?.mask, 'redact');
    assert.equal(masks.rule(20_003, 3)?.mask, 'redact');
    assert.equal(masks.rule(20_003, 4), undefined);
  });
});

void describe('inheritance', () => {
  const family: readonly Sketch[] = [
    { oid: 20_100, name: 'root', columns: ['id', 'ssn'], children: [20_101, 20_102] },
    { oid: 20_101, name: 'left', columns: ['ssn', 'id', 'own'], parents: [20_100], children: [20_103] },
    { oid: 20_102, name: 'right', columns: ['id', 'ssn'], parents: [20_100] },
    { oid: 20_103, name: 'leaf', columns: ['extra', 'own', 'id', 'ssn'], parents: [20_101] },
  ];
  void it('a rule on one member is a rule on all, by name', () => {
    for (const member of ['root', 'left', 'right', 'leaf']) {
      const masks = index(family, [[`${member}.ssn`, 'hash']]);
      assert.deepEqual(
        [
          masks.rule(20_100, 2)?.mask,
          masks.rule(20_101, 1)?.mask,
          masks.rule(20_102, 2)?.mask,
          masks.rule(20_103, 4)?.mask,
        ],
        ['hash', 'hash', 'hash', 'hash'],
        member,
      );
      assert.equal(masks.rule(20_103, 1), undefined);
    }
  });
  void it('a parent is touched by a child even where it shows nothing of it', () => {
    const masks = index(family, [['leaf.extra', 'redact']]);
    assert.deepEqual(
      [20_100, 20_101, 20_102, 20_103].map((oid) => masks.touches(oid)),
      [true, true, false, true],
    );
    assert.equal(masks.relationHasMasks(20_100), false);
  });
});

void describe('views', () => {
  const text = 'SELECT customers.ssn AS a, upper(customers.email) AS b FROM crm.customers';
  const lineage: Lineage = {
    resolved: true,
    outputs: [output([[20_001, 3]], true), output([[20_001, 2]], false)],
    predicates: [],
    nullTests: [],
    equalities: [],
  };

  void it('a column as it stands keeps its mask, an expression is redacted', () => {
    const masks = index(
      [customers, view(text)],
      [
        ['customers.ssn', 'last4'],
        ['customers.email', 'email-domain'],
      ],
      { 20_010: lineage },
    );
    assert.deepEqual(masks.rule(20_010, 1), { id: 't/columns[0]', mask: 'last4' });
    assert.deepEqual(masks.rule(20_010, 2), { id: 't/columns[1]', mask: 'redact' });
    assert.equal(masks.touches(20_010), true);
    assert.equal(masks.derivesFrom(20_010, 1, source(20_001, 3)), true);
    assert.equal(masks.derivesFrom(20_010, 1, source(20_001, 2)), false);
    assert.equal(masks.derivesFrom(20_001, 3, source(20_001, 3)), false);
  });
  void it('takes the strongest rule of several sources', () => {
    const both: Lineage = {
      resolved: true,
      outputs: [
        output(
          [
            [20_001, 2],
            [20_001, 3],
          ],
          false,
        ),
        output([], false),
      ],
      predicates: [],
      nullTests: [],
      equalities: [],
    };
    const masks = index(
      [customers, view(text)],
      [
        ['customers.ssn', 'last4'],
        ['customers.email', 'null'],
      ],
      { 20_010: both },
    );
    assert.deepEqual(masks.rule(20_010, 1), { id: 't/columns[1]', mask: 'null' });
    assert.equal(masks.rule(20_010, 2), undefined);
  });
  void it("a rule on a view's column closes the way around the view", () => {
    const masks = index(
      [customers, view(text)],
      [
        ['v.a', 'hash'],
        ['v.b', 'last4'],
      ],
      { 20_010: lineage },
    );
    assert.equal(masks.rule(20_001, 3)?.mask, 'hash');
    assert.equal(masks.rule(20_001, 2)?.mask, 'redact');
  });
  void it('is touched by what it filters by or only counts', () => {
    const count: Lineage = {
      resolved: true,
      outputs: [output([], false), output([], false)],
      predicates: [],
      nullTests: [],
      equalities: [],
    };
    const filtered: Lineage = { ...count, predicates: [source(20_001, 3)] };
    const touched = (definition: string, how: Lineage): boolean =>
      index([customers, orders, view(definition)], [['ssn', 'redact']], { 20_010: how }).touches(20_010);
    assert.equal(touched('SELECT 1, count(*) FROM crm.customers', count), true);
    assert.equal(touched('SELECT 1, 2', filtered), true);
    assert.equal(touched('SELECT 1, count(*) FROM crm.orders', count), false);
    assert.equal(touched('SELECT 1, count(*) FROM crm.customers_old', count), false);
  });
  void it('that cannot be read is masked whole if it mentions anything masked, also by another view', () => {
    const masks = index(
      [
        customers,
        orders,
        view('SELECT x FROM crm.customers'),
        view('SELECT y FROM crm.v', ['c'], 20_011, 'w'),
        view('SELECT z FROM crm.orders', ['d'], 20_012, 'u'),
      ],
      [['ssn', 'last4']],
    );
    assert.deepEqual(masks.rule(20_010, 1), { id: 't/columns[0]', mask: 'redact' });
    assert.equal(masks.rule(20_010, 2)?.mask, 'redact');
    assert.equal(masks.rule(20_011, 1)?.mask, 'redact');
    assert.equal(masks.rule(20_012, 1), undefined);
    assert.equal(masks.touches(20_012), false);
  });
  void it("that cannot be read and calls users' code may read anything", () => {
    for (const definition of ['SELECT a, b FROM crm.lookup(1)', 'SELECT a OPERATOR(crm.###) b']) {
      assert.equal(
        index([customers, view(definition)], [['ssn', 'last4']], {}, ['lookup']).rule(20_010, 1)?.mask,
        'redact',
        definition,
      );
    }
    const odd: Sketch = { ...view('x'), definition: undefined } as unknown as Sketch;
    assert.equal(index([customers, odd], [['ssn', 'last4']]).rule(20_010, 1)?.mask, 'redact');
  });
  void it('with another number of outputs than columns counts as unreadable', () => {
    const short: Lineage = {
      resolved: true,
      outputs: [output([], false)],
      predicates: [],
      nullTests: [],
      equalities: [],
    };
    assert.equal(index([customers, view(text)], [['ssn', 'last4']], { 20_010: short }).rule(20_010, 2)?.mask, 'redact');
  });
  void it('finds names that need quotes', () => {
    const odd: Sketch = { oid: 20_020, name: 'the "big" one', columns: ['ssn'] };
    assert.equal(
      index([odd, view('SELECT a, b FROM crm."the ""big"" one"')], [['ssn', 'last4']]).touches(20_010),
      true,
    );
  });
  void it('of a view, over a partition, over a generated column: everything spreads', () => {
    const masks = index(
      [
        { oid: 20_200, name: 'p', columns: ['ssn'], children: [20_201] },
        { oid: 20_201, name: 'c', columns: ['ssn', { name: 'g', from: ['ssn'] }], parents: [20_200] },
        view('SELECT c.g FROM crm.c', ['g'], 20_202, 'cv'),
      ],
      [['p.ssn', 'last4']],
      {
        20_202: {
          resolved: true,
          outputs: [output([[20_201, 2]], true)],
          predicates: [],
          nullTests: [],
          equalities: [],
        },
      },
    );
    assert.equal(masks.rule(20_202, 1)?.mask, 'redact');
  });
});
