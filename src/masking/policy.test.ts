import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CountersignError } from '../errors.ts';
import { compileGlob, foldCase } from './glob.ts';
import {
  compareMasks,
  compileMasking,
  predicatesOf,
  type MaskingTemplate,
  type MaskSpec,
  type PredicateRule,
} from './policy.ts';

const hashKey = Buffer.alloc(32, 3);

function template(
  name: string,
  columns: readonly (readonly [string, MaskSpec])[],
  appliesTo: Record<string, string> = {},
): MaskingTemplate {
  return { name, appliesTo, columns: columns.map(([match, mask]) => ({ match, mask })), detectors: [] };
}

function compile(templates: MaskingTemplate[], labels: Record<string, string> = {}): ReturnType<typeof compileMasking> {
  return compileMasking(templates, labels, { hashKey });
}

void describe('columnRule', () => {
  for (const [pattern, column, matches] of [
    ['ssn', ['public', 'customers', 'ssn'], true],
    ['SSN', ['public', 'customers', 'Ssn'], true],
    ['ssn', ['public', 'customers', 'ssn2'], false],
    ['*ssn*', ['public', 'customers', 'user_ssn_hash'], true],
    ['customers.ssn', ['crm', 'customers', 'ssn'], true],
    ['customers.ssn', ['crm', 'orders', 'ssn'], false],
    ['crm.customers.*', ['crm', 'customers', 'anything'], true],
    ['crm.customers.*', ['public', 'customers', 'anything'], false],
    ['crm.*.e*mail', ['crm', 'people', 'email'], true],
    ['*.*.*', ['crm', 'people', 'a.b'], true],
    ['*', ['pg_catalog', 'pg_class', 'relname'], false],
    ['*.*.name', ['information_schema', 'x', 'name'], false],
    ['pg_catalog.pg_stats.*', ['pg_catalog', 'pg_stats', 'most_common_vals'], true],
    ['straße', ['a', 'b', 'STRASSE'], false],
    ['größe', ['a', 'b', 'GRÖSSE'.replace('SS', 'ß')], true],
    ['cafe\u0301', ['a', 'b', 'caf\u00e9'], true],
  ] as const) {
    void it(`${pattern} ${matches ? 'takes' : 'leaves'} ${column.join('.')}`, () => {
      const rule = compile([template('t', [[pattern, 'redact']])]).columnRule(column[0], column[1], column[2]);
      assert.equal(rule?.id, matches ? 't/columns[0]' : undefined);
    });
  }

  void it('takes the strongest of several rules, of equals the first', () => {
    const masking = compile([
      template('a', [
        ['email', 'email-domain'],
        ['email', 'hash'],
        ['email', 'last4'],
      ]),
      template('b', [['email', 'hash']]),
    ]);
    assert.deepEqual(masking.columnRule('s', 't', 'email'), { id: 'a/columns[1]', mask: 'hash' });
  });

  void it('lets predicates do what every rule of a column lets them, whatever masks', () => {
    const equality = (perHour: number): PredicateRule => ({ kind: 'equality', perHour });
    for (const [given, expected] of [
      [['deny'], 'deny'],
      [[undefined], 'deny'],
      [['is-null'], 'is-null'],
      [[equality(5)], equality(5)],
      [[equality(5), equality(3)], equality(3)],
      [[equality(5), 'is-null'], 'is-null'],
      [['is-null', equality(5), undefined], 'deny'],
      [[equality(5), 'deny'], 'deny'],
    ] as const) {
      for (const masks of [
        ['redact', 'last4', 'hash'],
        ['last4', 'hash', 'redact'],
      ] as const) {
        const columns = given.map((predicates, index) => ({
          match: 'ssn',
          mask: masks[index] ?? ('null' as const),
          predicates,
        }));
        const rule = compile([{ name: 't', appliesTo: {}, columns, detectors: [] }]).columnRule('s', 't', 'ssn');
        assert.deepEqual(predicatesOf(rule), expected);
      }
    }
    for (const perHour of [0, -1, 1.5, Number.NaN]) {
      const columns = [{ match: 'ssn', mask: 'redact' as const, predicates: equality(perHour) }];
      assert.throws(() => compile([{ name: 't', appliesTo: {}, columns, detectors: [] }]), CountersignError);
    }
  });

  void it('follows labels: all must match, none means every connection', () => {
    const templates = [
      template('pci', [['pan', 'null']], { env: 'prod', data: 'pci' }),
      template('all', [['ssn', 'redact']]),
    ];
    assert.equal(compile(templates, { env: 'prod' }).columnRule('s', 't', 'pan'), undefined);
    assert.equal(compile(templates, { env: 'prod', data: 'pci', more: '1' }).columnRule('s', 't', 'pan')?.mask, 'null');
    assert.equal(compile(templates).columnRule('s', 't', 'ssn')?.mask, 'redact');
    assert.equal(compile([template('odd', [['a', 'null']], { constructor: 'x' })], {}).hasColumnRules, false);
  });

  for (const match of ['a.b.c.d', '', 'a..b', '.a', 'a.']) {
    void it(`refuses the pattern ${JSON.stringify(match)}`, () => {
      assert.throws(
        () => compile([template('t', [[match, 'redact']])]),
        (error) => error instanceof CountersignError && error.code === 'configuration_invalid',
      );
    });
  }
  for (const mask of [
    { kind: 'round', to: 0 },
    { kind: 'round', to: Number.NaN },
    { kind: 'partial', keepStart: -1, keepEnd: 0 },
  ] as const) {
    void it(`refuses ${JSON.stringify(mask)}`, () => {
      assert.throws(() => compile([template('t', [['a', mask]])]), CountersignError);
    });
  }
});

void describe('digest', () => {
  void it('changes with every rule that applies and with the key, and with nothing else', () => {
    const base = template('t', [['ssn', 'redact']]);
    const { digest } = compile([base]);
    assert.match(digest, /^[0-9a-f]{64}$/);
    assert.equal(compile([base, template('other', [['x', 'null']], { env: 'prod' })], { env: 'test' }).digest, digest);
    assert.notEqual(compile([template('t', [['ssn', 'last4']])]).digest, digest);
    assert.notEqual(compile([{ ...base, detectors: [{ detect: 'card', mask: 'redact' }] }]).digest, digest);
    assert.notEqual(compileMasking([base], {}, { hashKey: Buffer.alloc(32, 4) }).digest, digest);
  });
});

const anyMask: fc.Arbitrary<MaskSpec> = fc.oneof(
  fc.constantFrom<MaskSpec>('redact', 'null', 'last4', 'hash', 'email-domain', 'year'),
  fc.record({ kind: fc.constant('partial' as const), keepStart: fc.nat(9), keepEnd: fc.nat(9) }),
  fc.record({ kind: fc.constant('truncate-date' as const), to: fc.constantFrom('year' as const, 'month' as const) }),
  fc.record({ kind: fc.constant('round' as const), to: fc.integer({ min: 1, max: 99 }) }),
);

void describe('the order of masks', () => {
  void it('is total: antisymmetric and transitive', () => {
    fc.assert(
      fc.property(anyMask, anyMask, anyMask, (a, b, c) => {
        assert.equal(Math.sign(compareMasks(a, b)), 0 - Math.sign(compareMasks(b, a)) || 0);
        if (compareMasks(a, b) >= 0 && compareMasks(b, c) >= 0) assert.ok(compareMasks(a, c) >= 0);
      }),
    );
  });
  void it('has null and redact on top, and less kept before more', () => {
    fc.assert(
      fc.property(anyMask, (mask) => {
        assert.ok(compareMasks('null', mask) >= 0);
        if (mask !== 'null') assert.ok(compareMasks('redact', mask) >= 0);
      }),
    );
    assert.ok(compareMasks('year', { kind: 'truncate-date', to: 'month' }) > 0);
    assert.equal(compareMasks('year', { kind: 'truncate-date', to: 'year' }), 0);
    assert.ok(compareMasks({ kind: 'round', to: 100 }, { kind: 'round', to: 10 }) > 0);
    assert.ok(compareMasks({ kind: 'partial', keepStart: 1, keepEnd: 1 }, 'last4') > 0);
    assert.ok(compareMasks('last4', { kind: 'partial', keepStart: 3, keepEnd: 4 }) > 0);
  });
});

void it('a glob matches as the regular expression it stands for', () => {
  const piece = fc.stringMatching(/^[ab*]{0,6}$/);
  fc.assert(
    fc.property(piece, fc.stringMatching(/^[ab]{0,8}$/), (pattern, name) => {
      const expression = new RegExp(`^${pattern.replaceAll('*', '.*')}$`);
      assert.equal(compileGlob(pattern)(foldCase(name)), expression.test(name));
    }),
    { numRuns: 1000 },
  );
});
