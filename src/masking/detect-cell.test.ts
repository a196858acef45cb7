import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { compileMasking } from './policy.ts';
import type { ColumnAction } from './plan.ts';
import { maskCell } from './rows.ts';
import { typeOid } from './type-oids.ts';

const { detectors } = compileMasking(
  [
    {
      name: 't',
      appliesTo: {},
      columns: [],
      detectors: (['card', 'email', 'ssn'] as const).map((detect) => ({ detect, mask: 'redact' })),
    },
  ],
  {},
  { hashKey: Buffer.alloc(32) },
);

function action(type: number, format: 0 | 1 = 0): ColumnAction {
  return { kind: 'detect', detectors, typeOid: type, format };
}

function asText(type: number, value: string): string | null {
  return maskCell(action(type), Buffer.from(value))?.toString() ?? null;
}

const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};

function binaryArray(elements: readonly (string | null)[], elementType: number = typeOid.text): Buffer {
  const header = [int32(1), int32(0), int32(elementType), int32(elements.length), int32(1)];
  const body = elements.flatMap((element) =>
    element === null ? [int32(-1)] : [int32(Buffer.byteLength(element)), Buffer.from(element)],
  );
  return Buffer.concat([...header, ...body]);
}

const card = '4111111111111111';

void describe('text forms', () => {
  for (const [type, value, expected] of [
    [typeOid.text, `a ${card}`, 'a [masked:card]'],
    [typeOid.bpchar, `${card}   `, '[masked:card]   '],
    [typeOid.xml, `<card>${card}</card>`, '<card>[masked:card]</card>'],
    [typeOid.json, `{"n":${card}}`, '{"n":"[masked:card]"}'],
    [typeOid.jsonb, `{"n": ${card}}`, '{"n": "[masked:card]"}'],
    [typeOid.textArray, `{a,"4111 1111 1111 1111",NULL}`, '{a,"[masked:card]",NULL}'],
    [typeOid.varcharArray, `{${card}}`, '{[masked:card]}'],
    [typeOid.jsonArray, `{"{\\"n\\":${card}}"}`, null],
    [typeOid.bytea, `\\x${Buffer.from(`..${card}..`).toString('hex')}`, null],
    [
      typeOid.bytea,
      `\\x${Buffer.from('nothing here').toString('hex')}`,
      `\\x${Buffer.from('nothing here').toString('hex')}`,
    ],
    [typeOid.bytea, `${card}\\000`, null],
    [typeOid.byteaArray, `{"\\\\x${Buffer.from(card).toString('hex')}"}`, null],
    [99_999, `"n"=>"${card}"`, '"n"=>"[masked:card]"'],
    [2249, `(1,${card},x)`, '(1,[masked:card],x)'],
    [typeOid.int8, card, card],
    [typeOid.numeric, card, card],
    [typeOid.uuid, card, card],
  ] as const) {
    void it(`type ${type}: ${value} becomes ${expected}`, () => {
      assert.equal(asText(type, value), expected);
    });
  }
});

void describe('binary forms', () => {
  void it('text is as in text; jsonb keeps its version byte', () => {
    assert.equal(maskCell(action(typeOid.varchar, 1), Buffer.from(card))?.toString(), '[masked:card]');
    assert.equal(maskCell(action(typeOid.jsonb, 1), Buffer.from(`\x01${card}`))?.toString(), '\x01"[masked:card]"');
    assert.deepEqual(maskCell(action(typeOid.jsonb, 1), Buffer.alloc(0)), Buffer.alloc(0));
  });
  void it('arrays become NULL, whatever stands before the element', () => {
    // A length of 48 to 57 is a digit's code: it must not glue itself to the number behind it.
    for (let padding = 0; padding < 60; padding++) {
      const cell = binaryArray(['x', `${card}${' '.repeat(padding)}`, null]);
      assert.equal(maskCell(action(typeOid.textArray, 1), cell), null);
      assert.equal(maskCell(action(99_999, 1), cell), null, 'also where the form is not known');
    }
    const clean = binaryArray(['x', null, 'order 17']);
    assert.deepEqual(maskCell(action(typeOid.textArray, 1), clean), clean);
    assert.equal(maskCell(action(typeOid.jsonbArray, 1), binaryArray([`\x01{"n":${card}}`], typeOid.jsonb)), null);
  });
  void it('an array that lies about itself is looked at as bytes', () => {
    for (const cell of [
      Buffer.from(card),
      Buffer.concat([int32(9), Buffer.from(` ${card}`)]),
      Buffer.concat([binaryArray(['x']), Buffer.from(' '), Buffer.from(card)]),
    ]) {
      assert.equal(maskCell(action(typeOid.textArray, 1), cell), null);
    }
  });
  void it('bytea becomes NULL, but not for what is too short to mean anything', () => {
    assert.equal(maskCell(action(typeOid.bytea, 1), Buffer.from(`\0\xff${card}\0`, 'latin1')), null);
    const chance = Buffer.from('\x01a@b.cd\x02', 'latin1');
    assert.deepEqual(maskCell(action(typeOid.bytea, 1), chance), chance);
  });
});

void it('never throws, and what holds nothing keeps its very bytes', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...Object.values(typeOid), 2249, 99_999),
      fc.constantFrom<0 | 1>(0, 1),
      fc.uint8Array({ maxLength: 80 }),
      (type, format, bytes) => {
        const cell = Buffer.from(bytes);
        const result = maskCell(action(type, format), cell);
        if (detectors.find(cell, 0, cell.length).length === 0 && type !== typeOid.bytea && type !== typeOid.byteaArray)
          assert.deepEqual(result, cell);
      },
    ),
    { numRuns: 1000 },
  );
});
