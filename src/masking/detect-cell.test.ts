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
    [typeOid.textArray, `[0:1]={{a,NULL},{"x \\"${card}\\"",b}}`, '[0:1]={{a,NULL},{"x \\"[masked:card]\\"",b}}'],
    [typeOid.textArray, `{"{\\"n\\":${card}}"}`, '{"{\\"n\\":\\"[masked:card]\\"}"}'],
    [typeOid.textArray, `{ssn,123456789}`, null],
    [typeOid.textArray, `{"${card}`, null],
    [typeOid.varcharArray, `{${card}}`, '{"[masked:card]"}'],
    [typeOid.jsonArray, `{"{\\"n\\":${card}}"}`, '{"{\\"n\\":\\"[masked:card]\\"}"}'],
    [typeOid.jsonArray, `{"{\\"n\\":\\"\\\\u0034111111111111111\\"}"}`, '{"{\\"n\\":\\"[masked:card]\\"}"}'],
    [typeOid.xmlArray, `{<a>&#52;111111111111111</a>}`, null],
    [typeOid.xml, '<a>&#x34;111111111111111</a>', null],
    [typeOid.xml, '<a>ann&#64;example.com</a>', null],
    [typeOid.xml, '<a>&#228;</a>', '<a>&#228;</a>'],
    [typeOid.tsvector, `'${card}':2 'a':1`, null],
    [typeOid.tsquery, `'${card}' & 'a'`, null],
    [typeOid.jsonpath, `$."n" == "${card}"`, null],
    [typeOid.refcursor, card, '[masked:card]'],
    [typeOid.cstring, card, '[masked:card]'],
    [typeOid.bytea, `\\x${Buffer.from(`..${card}..`).toString('hex')}`, null],
    [
      typeOid.bytea,
      `\\x${Buffer.from('nothing here').toString('hex')}`,
      `\\x${Buffer.from('nothing here').toString('hex')}`,
    ],
    [typeOid.bytea, `${card}\\000`, null],
    [typeOid.byteaArray, `{"\\\\x${Buffer.from(card).toString('hex')}"}`, null],
    [99_999, `"n"=>"${card}"`, '"n"=>"[masked:card]"'],
    [99_999, `"n"=>"\\"${card}\\""`, '"n"=>"\\"[masked:card]\\""'],
    [99_999, card, '[masked:card]'],
    [99_999, `{"n": ${card}}`, '{"n": "[masked:card]"}'],
    [99_999, `[${card},)`, null],
    [99_999, `{"(1,\\"\\\\\\\\x${Buffer.from(card).toString('hex')}\\")"}`, null],
    // Without quotes it may be a number.
    [typeOid.record, `(1,${card},x)`, null],
    [typeOid.record, `(1,"card ${card}",x)`, '(1,"card [masked:card]",x)'],
    [typeOid.record, '(1,<a>ann&#64;example.com</a>)', null],
    [typeOid.record, '(1,ann@example.com,x)', '(1,[masked:email],x)'],
    [typeOid.record, `(1,"{""n"":""\\\\u0034111111111111111""}")`, null],
    [typeOid.record, '(1,"no ""secret"" here")', '(1,"no ""secret"" here")'],
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
  void it('arrays are rewritten, whatever stands before the element', () => {
    // A length of 48 to 57 is a digit's code: it must not glue itself to the number behind it.
    for (let padding = 0; padding < 60; padding++) {
      const padded = ' '.repeat(padding);
      const cell = binaryArray(['x', `${card}${padded}`, null]);
      assert.deepEqual(
        maskCell(action(typeOid.textArray, 1), cell),
        binaryArray(['x', `[masked:card]${padded}`, null]),
      );
      assert.equal(maskCell(action(99_999, 1), cell), null, 'NULL where the form is not known');
    }
    const clean = binaryArray(['x', null, 'order 17']);
    assert.deepEqual(maskCell(action(typeOid.textArray, 1), clean), clean);
    assert.deepEqual(
      maskCell(action(typeOid.jsonbArray, 1), binaryArray([`\x01{"n":${card}}`], typeOid.jsonb)),
      binaryArray(['\x01{"n":"[masked:card]"}'], typeOid.jsonb),
    );
    assert.equal(maskCell(action(typeOid.byteaArray, 1), binaryArray([`..${card}..`], typeOid.bytea)), null);
    assert.equal(
      maskCell(action(typeOid.textArray, 1), binaryArray(['ssn', '123456789'])),
      null,
      'told by another element',
    );
  });
  void it('what is not known becomes NULL, whatever length stands before the text', () => {
    for (const size of [48, 0x0134, 0x3434, 0x010034]) {
      const text = card.padEnd(size, ' ');
      const record = Buffer.concat([
        int32(2),
        int32(23),
        int32(4),
        int32(1),
        int32(25),
        int32(size),
        Buffer.from(text),
      ]);
      for (const type of [typeOid.record, 99_999]) assert.equal(maskCell(action(type, 1), record), null, `${size}`);
    }
    const xml = '<a>ann&#x40;example.com</a>';
    const withXml = Buffer.concat([int32(1), int32(142), int32(xml.length), Buffer.from(xml)]);
    assert.equal(maskCell(action(typeOid.record, 1), withXml), null);
    const clean = Buffer.concat([int32(1), int32(25), int32(5), Buffer.from('order')]);
    assert.deepEqual(maskCell(action(typeOid.record, 1), clean), clean);
  });
  void it('addresses inside of what is not known', () => {
    const { detectors: ip } = compileMasking(
      [{ name: 't', appliesTo: {}, columns: [], detectors: [{ detect: 'ip', mask: 'redact' }] }],
      {},
      { hashKey: Buffer.alloc(32) },
    );
    const field = Buffer.from('022000040a000001', 'hex');
    const wide = Buffer.from(`03800010${'20'.repeat(16)}`, 'hex');
    for (const value of [field, wide]) {
      const record = Buffer.concat([int32(1), int32(869), int32(value.length), value]);
      for (const type of [typeOid.record, 2287, 99_999])
        assert.equal(maskCell({ kind: 'detect', detectors: ip, typeOid: type, format: 1 }, record), null);
      assert.deepEqual(maskCell(action(typeOid.record, 1), record), record);
    }
    const row = Buffer.from('(1,10.0.0.1)');
    assert.equal(maskCell({ kind: 'detect', detectors: ip, typeOid: typeOid.record, format: 0 }, row), null);
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

void it('a finding in XML that reaches over its marks takes the whole value', () => {
  const { detectors: keys } = compileMasking(
    [
      {
        name: 't',
        appliesTo: {},
        columns: [],
        detectors: [
          { detect: 'cloud-key', mask: 'redact' },
          { detect: 'email', mask: 'redact' },
        ],
      },
    ],
    {},
    { hashKey: Buffer.alloc(32) },
  );
  const xml: ColumnAction = { kind: 'detect', detectors: keys, typeOid: typeOid.xml, format: 0 };
  assert.equal(maskCell(xml, Buffer.from('<k>-----BEGIN PRIVATE KEY-----abc</k>')), null);
  const whole = '<k a="ann@example.com">-----BEGIN PRIVATE KEY-----abc-----END PRIVATE KEY-----</k>';
  assert.equal(maskCell(xml, Buffer.from(whole))?.toString(), '<k a="[masked:email]">[masked:cloud-key]</k>');
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
