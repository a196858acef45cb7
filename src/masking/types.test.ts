import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { civilFromDays, daysFromCivil } from './dates.ts';
import { compileMasking, type MaskSpec } from './policy.ts';
import type { ColumnAction } from './plan.ts';
import { textDigest } from './digests.ts';
import { isDecided } from './placeholders.ts';
import { maskCell } from './rows.ts';
import { typeOid } from './type-oids.ts';
import { compileMask } from './types.ts';

const { hash } = compileMasking([], {}, { hashKey: Buffer.from('a key of thirty-two bytes, say..') });

function action(mask: MaskSpec, type: number, format: 0 | 1 = 0): ColumnAction {
  return { kind: 'mask', mask, ruleId: 'r', hash, hidesNull: false, typeOid: type, format };
}

function asText(mask: MaskSpec, value: string, type: number = typeOid.text): string | null {
  return maskCell(action(mask, type), Buffer.from(value))?.toString() ?? null;
}

const partial: MaskSpec = { kind: 'partial', keepStart: 2, keepEnd: 3 };
const month: MaskSpec = { kind: 'truncate-date', to: 'month' };
const round = (to: number): MaskSpec => ({ kind: 'round', to });

void describe('text', () => {
  for (const [mask, value, expected] of [
    ['redact', 'secret', '[masked]'],
    ['redact', '', '[masked]'],
    ['null', 'secret', null],
    ['last4', '4111111111111111', '****1111'],
    ['last4', '12345678', '****5678'],
    ['last4', '1234567', '[masked]'],
    ['last4', '1234567 ', '[masked]'],
    ['last4', 'ééééàààà', '****àààà'],
    ['last4', '😀😀😀😀😀😀😀😀', '****😀😀😀😀'],
    ['last4', 'éééé', '[masked]'],
    [partial, '0123456789', '01****789'],
    [partial, '012345678', '[masked]'],
    [{ kind: 'partial', keepStart: 0, keepEnd: 0 }, 'x', '****'],
    [{ kind: 'partial', keepStart: 0, keepEnd: 0 }, '', '[masked]'],
    ['email-domain', 'ann@example.com', '***@example.com'],
    ['email-domain', 'ann@münchen.de', '***@münchen.de'],
    ['email-domain', 'a@b@example.com', '***@example.com'],
    ['email-domain', '@example.com', '[masked]'],
    ['email-domain', 'ann', '[masked]'],
    ['email-domain', 'ann@', '[masked]'],
    ['email-domain', 'ann@example.com, ssn 123-45-6789', '[masked]'],
    ['email-domain', 'ann@123-45-6789', '[masked]'],
    ['email-domain', 'ann@localhost', '[masked]'],
    ['year', '1984-07-12', '[masked]'],
    [round(10), '17', '[masked]'],
  ] as const) {
    void it(`${JSON.stringify(mask)} of ${JSON.stringify(value)} is ${JSON.stringify(expected)}`, () => {
      for (const type of [typeOid.text, typeOid.varchar, typeOid.bpchar, typeOid.name, typeOid.unknown]) {
        for (const format of [0, 1] as const) {
          assert.equal(maskCell(action(mask, type, format), Buffer.from(value))?.toString() ?? null, expected);
        }
      }
    });
  }

  void it('hash is keyed, stable, and blind to the padding of char(n)', () => {
    const other = compileMasking([], {}, { hashKey: Buffer.alloc(32) });
    assert.match(asText('hash', 'ann') ?? '', /^h:[0-9a-f]{16}$/);
    assert.equal(asText('hash', 'ann'), asText('hash', 'ann   ', typeOid.bpchar));
    assert.notEqual(asText('hash', 'ann'), asText('hash', 'ann   '));
    assert.notEqual(asText('hash', 'ann'), textDigest(other.hash, Buffer.from('ann')));
  });

  void it('no mask lets the hidden middle of a value through', () => {
    const masks = fc.constantFrom<MaskSpec>(
      'redact',
      'null',
      'last4',
      'hash',
      'email-domain',
      'year',
      partial,
      month,
      round(5),
    );
    const value = fc.string({ minLength: 3, maxLength: 30, unit: 'grapheme' });
    fc.assert(
      fc.property(masks, value, value, value, (mask, before, middle, after) => {
        const secret = `§${middle}§`;
        const shown = asText(mask, `${before}${secret}${after}`);
        assert.ok(shown === null || !shown.includes(secret));
      }),
    );
  });
});

void describe('json, xml and "char"', () => {
  void it('json stays json, jsonb keeps its version byte', () => {
    for (const mask of ['redact', 'last4', 'email-domain', 'year', partial] as const) {
      assert.equal(asText(mask, '{"a":1}', typeOid.json), '"[masked]"');
      assert.equal(asText(mask, '{"a":1}', typeOid.jsonb), '"[masked]"');
      assert.deepEqual(
        maskCell(action(mask, typeOid.jsonb, 1), Buffer.from('\x01{"a":1}')),
        Buffer.from('\x01"[masked]"'),
      );
    }
    assert.deepEqual(
      maskCell(action('hash', typeOid.jsonb, 1), Buffer.from('\x01{"a":1}'))?.subarray(1),
      maskCell(action('hash', typeOid.jsonb), Buffer.from('{"a":1}')),
    );
    assert.equal(typeof JSON.parse(asText('hash', '[]', typeOid.json) ?? ''), 'string');
    assert.equal(asText('null', '[]', typeOid.json), null);
  });
  void it('xml is content, "char" is one byte', () => {
    assert.equal(asText('last4', '<a>12345678</a>', typeOid.xml), '[masked]');
    assert.equal(asText('redact', 'x', typeOid.char), '*');
    assert.equal(asText('hash', 'x', typeOid.char), '*');
  });
});

void describe('dates', () => {
  for (const [mask, type, value, expected] of [
    ['year', typeOid.date, '1984-07-12', '1984-01-01'],
    [month, typeOid.date, '1984-07-12', '1984-07-01'],
    ['year', typeOid.timestamp, '1984-07-12 23:59:59.123456', '1984-01-01 00:00:00'],
    [month, typeOid.timestamp, '1984-07-12 23:59:59', '1984-07-01 00:00:00'],
    ['year', typeOid.timestamptz, '1984-07-12 23:59:59+02', '1984-01-01 00:00:00+00'],
    [month, typeOid.timestamptz, '1984-08-01 01:30:00+05:30', '1984-07-01 00:00:00+00'],
    ['year', typeOid.timestamptz, '1984-01-01 01:00:00+02', '1983-01-01 00:00:00+00'],
    ['year', typeOid.timestamptz, '1984-12-31 23:00:00-02', '1985-01-01 00:00:00+00'],
    ['year', typeOid.date, '12/07/1984', null],
    ['year', typeOid.date, '0044-03-15 BC', null],
    ['year', typeOid.date, 'infinity', null],
    ['year', typeOid.timestamp, '-infinity', null],
    ['redact', typeOid.date, '1984-07-12', null],
    ['hash', typeOid.timestamp, '1984-07-12 00:00:00', null],
    ['year', typeOid.time, '12:00:00', null],
  ] as const) {
    void it(`${JSON.stringify(mask)} of ${value} (${type}) is ${expected}`, () => {
      assert.equal(asText(mask, value, type), expected);
    });
  }

  void it('binary agrees with text', () => {
    const day = fc.integer({ min: -730_119, max: 900_000 });
    fc.assert(
      fc.property(
        day,
        fc.integer({ min: 0, max: 86_399 }),
        fc.constantFrom<MaskSpec>('year', month),
        (days, seconds, mask) => {
          const { year, month: m, day: d } = civilFromDays(days + 10_957);
          const date = `${String(year).padStart(4, '0')}-${String(m).padStart(2, '0')}-${String(d).padStart(2, '0')}`;
          const time = new Date(seconds * 1000).toISOString().slice(11, 19);
          const dateCell = Buffer.alloc(4);
          dateCell.writeInt32BE(days);
          const stampCell = Buffer.alloc(8);
          stampCell.writeBigInt64BE(BigInt(days) * 86_400_000_000n + BigInt(seconds) * 1_000_000n + 7n);
          const text = asText(mask, date, typeOid.date);
          assert.equal(text, mask === 'year' ? `${date.slice(0, 4)}-01-01` : `${date.slice(0, 7)}-01`);
          const [truncatedYear = 0, truncatedMonth = 0] = (text ?? '').split('-').map(Number);
          const truncated = daysFromCivil(truncatedYear, truncatedMonth, 1) - 10_957;
          assert.equal(maskCell(action(mask, typeOid.date, 1), dateCell)?.readInt32BE(), truncated);
          for (const [type, suffix] of [
            [typeOid.timestamp, ''],
            [typeOid.timestamptz, '+00'],
          ] as const) {
            assert.equal(asText(mask, `${date} ${time}${suffix}`, type), `${text} 00:00:00${suffix}`);
            assert.equal(
              maskCell(action(mask, type, 1), stampCell)?.readBigInt64BE(),
              BigInt(truncated) * 86_400_000_000n,
            );
          }
        },
      ),
    );
  });

  void it('the calendar is that of the platform, as far as that reaches', () => {
    fc.assert(
      fc.property(fc.integer({ min: -719_162, max: 90_000_000 }), (days) => {
        const { year, month: m, day } = civilFromDays(days);
        const date = new Date(days * 86_400_000);
        assert.deepEqual([year, m, day], [date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate()]);
        assert.equal(daysFromCivil(year, m, day), days);
      }),
    );
  });

  void it('infinities, years before 1 and broken bytes become NULL in binary', () => {
    for (const [type, hex] of [
      [typeOid.date, '7fffffff'],
      [typeOid.date, '80000000'],
      [typeOid.date, 'fff00000'],
      [typeOid.date, '0000'],
      [typeOid.timestamp, '7fffffffffffffff'],
      [typeOid.timestamptz, '8000000000000000'],
      [typeOid.timestamptz, '00'],
    ] as const) {
      assert.equal(maskCell(action('year', type, 1), Buffer.from(hex, 'hex')), null);
    }
  });
});

void describe('numbers', () => {
  for (const [to, type, value, expected] of [
    [100, typeOid.int4, '149', '100'],
    [100, typeOid.int4, '150', '200'],
    [100, typeOid.int4, '-150', '-200'],
    [100, typeOid.int4, '49', '0'],
    [100, typeOid.int4, '-49', '0'],
    [1000, typeOid.int8, '9223372036854775807', null],
    [1000, typeOid.int8, '9007199254740993', '9007199254741000'],
    [10_000, typeOid.int2, '32767', '30000'],
    [20_000, typeOid.int2, '32767', null],
    [1, typeOid.int4, '17', null],
    [0.01, typeOid.int4, '17', null],
    [2.5, typeOid.int4, '17', '18'],
    [100, typeOid.int4, 'x', null],
    [0.1, typeOid.float8, '0.26', '0.3'],
    [5, typeOid.float8, '1.23e+20', '123000000000000000000'],
    [5, typeOid.float8, '-2', '0'],
    [5, typeOid.float8, 'NaN', null],
    [5, typeOid.float8, 'Infinity', null],
    [100, typeOid.numeric, '1234.56', '1200.00'],
    [0.5, typeOid.numeric, '1.24', '1.00'],
    [0.25, typeOid.numeric, '-1.13', '-1.25'],
    [1e21, typeOid.numeric, '1500000000000000000000', '2000000000000000000000'],
    [100, typeOid.numeric, 'NaN', null],
  ] as const) {
    void it(`round ${value} (${type}) to ${to} is ${expected}`, () => {
      assert.equal(asText(round(to), value, type), expected);
    });
  }

  void it('a float that is too small to be written without an exponent stays readable', () => {
    assert.equal(Number(asText(round(1e-9), '3.4e-9', typeOid.float8)), 3e-9);
  });

  void it('binary agrees with text', () => {
    const step = fc.integer({ min: 2, max: 5000 });
    const write = {
      [typeOid.int2]: (cell: Buffer, value: bigint) => cell.writeInt16BE(Number(BigInt.asIntN(16, value))),
      [typeOid.int4]: (cell: Buffer, value: bigint) => cell.writeInt32BE(Number(BigInt.asIntN(32, value))),
      [typeOid.int8]: (cell: Buffer, value: bigint) => cell.writeBigInt64BE(value),
    };
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), step, (value, to) => {
        for (const [type, size] of [
          [typeOid.int2, 2],
          [typeOid.int4, 4],
          [typeOid.int8, 8],
        ] as const) {
          const cell = Buffer.alloc(size);
          write[type](cell, value);
          const text = asText(round(to), BigInt.asIntN(size * 8, value).toString(), type);
          const binary = maskCell(action(round(to), type, 1), cell);
          const shown =
            binary === null
              ? null
              : (size === 8 ? binary.readBigInt64BE() : BigInt(binary.readIntBE(0, size))).toString();
          assert.equal(shown, text);
          if (text !== null) assert.equal(BigInt(text) % BigInt(to), 0n);
        }
      }),
    );
    fc.assert(
      fc.property(fc.double({ min: -1e9, max: 1e9, noNaN: true }), step, (value, to) => {
        const cell = Buffer.alloc(8);
        cell.writeDoubleBE(value);
        assert.equal(
          maskCell(action(round(to), typeOid.float8, 1), cell)?.readDoubleBE(),
          Number(asText(round(to), String(value), typeOid.float8)),
        );
      }),
    );
  });

  for (const [to, hex, expected] of [
    // 1234.56: digits 1234 5600, weight 0, two decimals
    [100, '000200000000000204d215e0', '000100000000000204b0'],
    // 12345678.9 to 12346000.0
    [1000, '000300010000000104d2162e2328', '000200010000000104d21770'],
    [1000, '000300014000000104d2162e2328', '000200014000000104d21770'],
    // 0.00001234 to 0.00001000
    [0.00001, '0001fffe0000000804d2', '0001fffe0000000803e8'],
    // 49 to 0
    [100, '00010000000000000031', '0000000000000000'],
  ] as const) {
    void it(`round of a binary numeric ${hex} to ${to}`, () => {
      assert.equal(maskCell(action(round(to), typeOid.numeric, 1), Buffer.from(hex, 'hex'))?.toString('hex'), expected);
    });
  }

  void it('everything else of a number is NULL', () => {
    for (const mask of ['redact', 'last4', 'hash', 'email-domain', 'year', partial, month] as const) {
      for (const type of [typeOid.int4, typeOid.float8, typeOid.numeric])
        assert.equal(asText(mask, '123456789012', type), null);
    }
    assert.equal(maskCell(action(round(5), typeOid.numeric, 1), Buffer.alloc(10)), null);
    for (const hex of ['0000', '0001000000000002', '00000000c0000000', '000100000000000027ff', '7fff000000000000'])
      assert.equal(maskCell(action(round(5), typeOid.numeric, 1), Buffer.from(hex, 'hex')), null);
    assert.equal(maskCell(action(round(5), typeOid.int4, 1), Buffer.alloc(3)), null);
    assert.equal(maskCell(action(round(5), typeOid.float4, 1), Buffer.from('7fc00000', 'hex')), null);
  });
});

const everyMask: readonly MaskSpec[] = ['redact', 'last4', 'hash', 'email-domain', 'year', partial, month, round(5)];

void describe('placeholders', () => {
  for (const [type, text, hex] of [
    [typeOid.uuid, '00000000-0000-0000-0000-000000000000', '00000000000000000000000000000000'],
    [typeOid.bytea, '\\x', ''],
    [typeOid.inet, '0.0.0.0', '0220000400000000'],
    [typeOid.cidr, '0.0.0.0/32', '0220010400000000'],
    [typeOid.macaddr, '00:00:00:00:00:00', '000000000000'],
    [typeOid.macaddr8, '00:00:00:00:00:00:00:00', '0000000000000000'],
    [typeOid.varbit, '', '00000000'],
    [typeOid.tsvector, '', '00000000'],
    [typeOid.tsquery, null, null],
    [typeOid.jsonpath, '"[masked]"', '01225b6d61736b65645d22'],
    [typeOid.int4range, 'empty', '01'],
    [typeOid.datemultirange, '{}', '00000000'],
    [typeOid.textArray, '{}', '000000000000000000000019'],
    [1007, '{}', '000000000000000000000017'],
    [3913, '{}', '000000000000000000000f48'],
    [typeOid.bool, null, null],
    [typeOid.int4, null, null],
    [typeOid.money, null, null],
    [typeOid.date, null, null],
    [typeOid.interval, null, null],
    [typeOid.bit, null, null],
    [typeOid.point, null, null],
    [typeOid.regclass, null, null],
    [typeOid.record, null, null],
    [99_999, null, null],
  ] as const) {
    void it(`redact of type ${type} is ${text}, in binary ${hex}`, () => {
      const asHex = (format: 0 | 1): string | undefined =>
        maskCell(action('redact', type, format), Buffer.from('0123456789'))?.toString('hex');
      assert.equal(asHex(0), text === null ? undefined : Buffer.from(text).toString('hex'));
      assert.equal(asHex(1), hex ?? undefined);
    });
  }

  void it('redact is the same for every value, and every other mask that is a constant is redact', () => {
    for (const type of [...Object.values(typeOid), 1007, 1231, 99_999]) {
      for (const format of [0, 1] as const) {
        const redaction = compileMask({ mask: 'redact', typeOid: type, format, hash });
        assert.equal(redaction.kind, 'constant');
        for (const mask of everyMask) {
          const compiled = compileMask({ mask, typeOid: type, format, hash });
          if (compiled.kind === 'constant') assert.deepEqual(compiled, redaction);
        }
        assert.deepEqual(compileMask({ mask: 'null', typeOid: type, format, hash }), { kind: 'constant', value: null });
        assert.ok(isDecided(type) || type === 99_999, `type ${type}`);
      }
    }
  });

  void it('no mask throws, and no mask but those on text shows eight bytes of what it gets', () => {
    const type = fc.constantFrom(...Object.values(typeOid), 1007, 1182, 1231, 2951, 99_999);
    const bytes = fc.uint8Array({ minLength: 8, maxLength: 60 });
    fc.assert(
      fc.property(
        fc.constantFrom(...everyMask),
        type,
        fc.constantFrom<0 | 1>(0, 1),
        bytes,
        (mask, oid, format, value) => {
          const cell = Buffer.from(value);
          const shown = maskCell(action(mask, oid, format), cell);
          if (mask === 'redact' || mask === 'hash') {
            assert.ok(shown === null || shown.length < 8 || !shown.includes(cell) || cell.every((byte) => byte === 0));
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});

void describe('hash of uuid and bytea', () => {
  const uuid = '6ba7b810-9dad-11d1-80b4-00c04fd430c8';
  const raw = Buffer.from(uuid.replaceAll('-', ''), 'hex');

  void it('a uuid becomes one of version 8, the same in text and binary', () => {
    const text = asText('hash', uuid, typeOid.uuid) ?? '';
    assert.match(text, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.equal(maskCell(action('hash', typeOid.uuid, 1), raw)?.toString('hex'), text.replaceAll('-', ''));
    assert.equal(asText('hash', uuid.toUpperCase(), typeOid.uuid), text);
    assert.notEqual(asText('hash', uuid.replace('6', '7'), typeOid.uuid), text);
    for (const broken of ['', uuid.slice(1), `${uuid}00`, uuid.replace('6', 'x')])
      assert.equal(asText('hash', broken, typeOid.uuid), null);
    assert.equal(maskCell(action('hash', typeOid.uuid, 1), raw.subarray(1)), null);
  });

  void it('bytea has one digest in both formats and under both settings of bytea_output', () => {
    const value = Buffer.from([0, 0x5c, 0x41, 0xff, 0x27]);
    const digest = maskCell(action('hash', typeOid.bytea, 1), value);
    assert.equal(digest?.length, 32);
    for (const text of [`\\x${value.toString('hex')}`, "\\000\\\\A\\377'"])
      assert.equal(asText('hash', text, typeOid.bytea), `\\x${digest?.toString('hex')}`);
    for (const broken of ['\\x1', '\\xzz', '\\9', '\\400', '\\'])
      assert.equal(asText('hash', broken, typeOid.bytea), null);
  });
});

void it('NULL stays NULL', () => {
  assert.equal(maskCell(action('redact', typeOid.text), null), null);
});
