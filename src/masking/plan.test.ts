import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CountersignError } from '../errors.ts';
import type { ColumnRef, Lineage, OutputColumn } from '../sql/statement.ts';
import type { ResultColumn } from '../wire/postgres/backend.ts';
import type { MaskIndex } from './mask-index.ts';
import { planColumns, type ColumnAction } from './plan.ts';
import { compileMasking, type ColumnRule, type MaskingTemplate } from './policy.ts';
import { typeOid } from './type-oids.ts';

const customers = 20_001;
const orders = 20_002;
const customersView = 20_003;

const rules: Record<string, ColumnRule> = {
  [`${customers}/2`]: { id: 'email', mask: 'email-domain' },
  [`${customers}/3`]: { id: 'ssn', mask: 'last4' },
  [`${customersView}/1`]: { id: 'ssn', mask: 'last4' },
};

const index: MaskIndex = {
  rule: (oid, attnum) => rules[`${oid}/${attnum}`],
  wholeRowRule: (oid) => (oid === customers ? { id: 'ssn', mask: 'redact' } : undefined),
  touches: (oid) => oid === customers || oid === customersView,
  relationHasMasks: (oid) => oid === customers || oid === customersView,
  knows: (oid) => oid < 16_384 || (oid >= customers && oid <= customersView),
  derivesFrom: (oid, attnum, source) =>
    oid === customersView && attnum === 1 && source.relationOid === customers && source.attnum === 3,
};

const template: MaskingTemplate = {
  name: 't',
  appliesTo: {},
  columns: [],
  detectors: [
    { detect: 'card', mask: 'redact' },
    { detect: 'ip', mask: 'redact' },
  ],
};
const withDetectors = compileMasking([template], {}, { hashKey: Buffer.alloc(32) });
const without = compileMasking([], {}, { hashKey: Buffer.alloc(32) });

function column(tableOid: number, attnum: number, type: number = typeOid.text, format: 0 | 1 = 0): ResultColumn {
  return { name: 'c', tableOid, attnum, typeOid: type, typeSize: -1, typeModifier: -1, format };
}
const ref = (relationOid: number, attnum: number): ColumnRef => ({
  relationOid,
  attnum,
  schema: '',
  relation: '',
  column: '',
});
const output = (verbatim: boolean, ...sources: ColumnRef[]): OutputColumn => ({ name: 'c', sources, verbatim });
const lineage = (...outputs: OutputColumn[]): Lineage => ({
  resolved: true,
  outputs,
  predicates: [],
  nullTests: [],
  equalities: [],
});

function plan(
  columns: readonly ResultColumn[],
  how: Lineage | undefined,
  touching = true,
  masking = without,
): ColumnAction[] {
  return planColumns({ columns, lineage: how, relationsTouchMasked: touching, index, masking });
}

function shown(action: ColumnAction | undefined): unknown {
  return action?.kind === 'mask' ? [action.ruleId, action.mask] : action?.kind;
}

function refuses(columns: readonly ResultColumn[], how: Lineage | undefined, touching = true): void {
  assert.throws(
    () => plan(columns, how, touching),
    (error) => error instanceof CountersignError && error.code === 'lineage_unresolved',
  );
}

void describe('a default that the catalogue stores', () => {
  const stored: ColumnRef = {
    ...ref(1_249, 25),
    schema: 'pg_catalog',
    relation: 'pg_attribute',
    column: 'attmissingval',
  };
  const anyarray = column(1_249, 25, 2_277);

  void it('is NULL, as it stands and in an expression, also where the statement touches nothing masked', () => {
    for (const verbatim of [true, false]) {
      const how = lineage(output(verbatim, stored), output(true, ref(1_249, 2)));
      const actions = plan([anyarray, column(1_249, 2)], how, false, withDetectors);
      assert.deepEqual(actions.map(shown), [['countersign/stored-default', 'null'], 'detect']);
    }
  });

  void it('is shown where nothing is masked, and not where the columns do not fit', () => {
    assert.deepEqual(plan([anyarray], lineage(output(true, stored)), false).map(shown), ['pass']);
    assert.throws(
      () => plan([anyarray, anyarray], lineage(output(true, stored)), false, withDetectors),
      /cannot tell which columns/,
    );
  });
});

void describe('three nets', () => {
  void it('origin: the rule of the column that the server names', () => {
    const [action] = plan([column(customers, 3, typeOid.varchar, 1)], lineage(output(true, ref(customers, 3))));
    assert.deepEqual(shown(action), ['ssn', 'last4']);
    assert.deepEqual([action?.typeOid, action?.format], [typeOid.varchar, 1]);
  });
  void it('origin: a whole row of a masked relation', () => {
    const [action] = plan(
      [column(customers, 0, 99_999)],
      lineage(output(false, ref(customers, 1), ref(customers, 2), ref(customers, 3))),
    );
    assert.deepEqual(shown(action), ['ssn', 'redact']);
  });
  void it('origin: system columns are free', () => {
    assert.deepEqual(plan([column(customers, -1)], lineage(output(false))).map(shown), ['pass']);
  });
  void it('lineage: the mask for a column as it stands, all of it for an expression', () => {
    assert.deepEqual(plan([column(0, 0)], lineage(output(true, ref(customers, 2)))).map(shown), [
      ['email', 'email-domain'],
    ]);
    assert.deepEqual(plan([column(0, 0)], lineage(output(false, ref(customers, 2)))).map(shown), [['email', 'redact']]);
    assert.deepEqual(plan([column(0, 0)], lineage(output(false, ref(customers, 1), ref(customers, 3)))).map(shown), [
      ['ssn', 'redact'],
    ]);
    assert.deepEqual(plan([column(0, 0)], lineage(output(false, ref(customers, 1)))).map(shown), ['pass']);
  });
  void it('the widest of origin and lineage wins', () => {
    const expression = lineage(output(false, ref(customers, 2)));
    assert.deepEqual(plan([column(customers, 2)], expression).map(shown), [['email', 'redact']]);
  });
  void it('content: text that no rule names is looked at, numbers are not', () => {
    const columns = [
      column(orders, 1),
      column(orders, 2, typeOid.int4),
      column(0, 0, typeOid.jsonb),
      column(0, 0, typeOid.inet),
      column(0, 0, 99_999),
    ];
    assert.deepEqual(plan(columns, undefined, false, withDetectors).map(shown), [
      'detect',
      'pass',
      'detect',
      ['detectors/ip', 'null'],
      'detect',
    ]);
    assert.deepEqual(plan(columns, undefined, false).map(shown), ['pass', 'pass', 'pass', 'pass', 'pass']);
  });
});

void describe('what cannot be told', () => {
  void it('is refused while masked relations are in reach', () => {
    refuses([column(0, 0)], undefined);
    refuses([column(0, 0)], { resolved: false, reason: 'dynamic' });
    refuses([column(0, 0), column(0, 0)], lineage(output(false)));
    refuses([], lineage(output(false)));
  });
  void it('does not matter otherwise', () => {
    assert.deepEqual(plan([column(orders, 1)], { resolved: false, reason: 'dynamic' }, false).map(shown), ['pass']);
  });
  void it('is refused when server and text name different places', () => {
    refuses([column(customers, 1)], lineage(output(true, ref(customers, 3))));
    refuses([column(orders, 3)], lineage(output(true, ref(customers, 3))));
    refuses([column(orders, 1)], lineage(output(false, ref(customers, 3))));
    refuses([column(customersView, 2)], lineage(output(true, ref(customers, 3))));
  });
  void it('is refused when the server names a relation that nobody knows or nobody saw', () => {
    refuses([column(29_999, 1)], undefined, false);
    refuses([column(customers, 1)], undefined, false);
  });
  void it('agrees through a view', () => {
    assert.deepEqual(plan([column(customersView, 1)], lineage(output(true, ref(customers, 3)))).map(shown), [
      ['ssn', 'last4'],
    ]);
  });
  void it('leaves system relations alone', () => {
    assert.deepEqual(plan([column(1259, 2)], lineage(output(true, ref(1259, 2)))).map(shown), ['pass']);
  });
});
