import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { rewriteArray, type RewriteElement } from './arrays.ts';
import type { ColumnAction } from './plan.ts';
import { compileMasking, type MaskSpec } from './policy.ts';
import { maskCell } from './rows.ts';
import { typeOid } from './type-oids.ts';

const { hash } = compileMasking([], {}, { hashKey: Buffer.alloc(32) });

function action(mask: MaskSpec, type: number, format: 0 | 1 = 0): ColumnAction {
  return { kind: 'mask', mask, ruleId: 'r', hash, hidesNull: false, typeOid: type, format };
}

function asText(mask: MaskSpec, value: string, type: number): string | null {
  return maskCell(action(mask, type), Buffer.from(value))?.toString() ?? null;
}

const round = (to: number): MaskSpec => ({ kind: 'round', to });

const binaryArray = (elementType: number, ...elements: (string | null)[]): Buffer => {
  const numbers = [1, elements.includes(null) ? 1 : 0, elementType, elements.length, 1];
  const head = Buffer.alloc(20);
  for (const [index, number] of numbers.entries()) head.writeInt32BE(number, 4 * index);
  const body = elements.flatMap((element) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(element === null ? -1 : element.length);
    return [length, Buffer.from(element ?? '')];
  });
  return Buffer.concat([head, ...body]);
};

void describe('elements of arrays', () => {
  for (const [mask, type, value, expected] of [
    ['last4', typeOid.textArray, '{4111111111111111,NULL,short}', '{"****1111",NULL,"[masked]"}'],
    ['last4', typeOid.textArray, String.raw`{"12345678\"\\6"}`, String.raw`{"****8\"\\6"}`],
    ['email-domain', typeOid.varcharArray, '{ann@example.com,"x"}', '{"***@example.com","[masked]"}'],
    ['year', 1182, '[0:1]={1984-07-12,1999-12-31}', '[0:1]={"1984-01-01","1999-01-01"}'],
    [round(100), 1007, '{{149,150},{NULL,7}}', '{{"100","200"},{NULL,"0"}}'],
    [round(100), 1231, '{NaN,1250.5}', '{NULL,"1300.0"}'],
    ['last4', typeOid.textArray, '{}', '{}'],
    ['year', typeOid.textArray, '{1984-07-12}', '{}'],
    ['last4', 1007, '{12345678}', '{}'],
    ['hash', typeOid.inetArray, '{10.0.0.1}', '{}'],
    ['last4', typeOid.textArray, 'secret', null],
    ['last4', typeOid.textArray, '{secretsecret', null],
    ['last4', typeOid.textArray, '{secretsecret}}', null],
    ['last4', typeOid.textArray, '{secretsecret,}', null],
    ['last4', typeOid.textArray, '{secret"secret"}', null],
    ['last4', typeOid.textArray, '{"secret"secret}', null],
    ['last4', typeOid.textArray, '{{{{{{{secretsecret}}}}}}}', null],
  ] as const) {
    void it(`${JSON.stringify(mask)} of ${value} (${type}) is ${expected}`, () => {
      assert.equal(asText(mask, value, type), expected);
    });
  }

  void it('binary: the same elements, and NULL for what is no such array', () => {
    const last4 = action('last4', typeOid.textArray, 1);
    const cell = binaryArray(typeOid.text, '4111111111111111', null, 'short');
    assert.deepEqual(maskCell(last4, cell), binaryArray(typeOid.text, '****1111', null, '[masked]'));
    assert.deepEqual(
      maskCell(last4, Buffer.alloc(12, 0).fill(typeOid.text, 11)),
      Buffer.alloc(12, 0).fill(typeOid.text, 11),
    );
    const tooLarge = binaryArray(typeOid.int2, '\x7f\x7f');
    assert.deepEqual(maskCell(action(round(20_000), 1005, 1), tooLarge), binaryArray(typeOid.int2, null));
    for (const broken of [
      binaryArray(typeOid.varchar, '4111111111111111'),
      cell.subarray(0, -1),
      Buffer.concat([cell, Buffer.alloc(1)]),
      cell.subarray(0, 16),
      Buffer.concat([binaryArray(typeOid.text, null).subarray(0, -1), Buffer.from([0xfe])]),
      Buffer.from('4111111111111111'),
    ]) {
      assert.equal(maskCell(last4, broken), null);
    }
  });
});

void describe('whatever the elements are', () => {
  const textArray = (elements: readonly (string | null)[]): string =>
    `{${elements.map((one) => (one === null ? 'NULL' : `"${one.replaceAll(/["\\]/g, String.raw`\$&`)}"`)).join(',')}}`;
  const shouted = (element: string): string => `<${element}>"\\`;
  const shout: RewriteElement = (src, start, end) => Buffer.from(shouted(src.toString('latin1', start, end)));
  const elements = fc.array(fc.option(fc.string({ unit: fc.constantFrom('"', '\\', ',', '{', '}', ' ', 'N', '=') })), {
    minLength: 1,
    maxLength: 5,
  });

  void it('each is rewritten, and only they are', () => {
    fc.assert(
      fc.property(elements, (values) => {
        const changed = values.map((value) => (value === null ? null : shouted(value)));
        const text = Buffer.from(`..${textArray(values)}..`);
        const inText = rewriteArray(text, 2, text.length - 2, { format: 0, elementType: 25 }, shout);
        const binary = binaryArray(25, ...values);
        const inBinary = rewriteArray(binary, 0, binary.length, { format: 1, elementType: 25 }, shout);
        if (values.every((value) => value === null)) assert.deepEqual([inText, inBinary], [undefined, undefined]);
        else assert.deepEqual([inText?.toString(), inBinary], [textArray(changed), binaryArray(25, ...changed)]);
      }),
    );
  });

  void it('nothing throws on broken arrays, and what was not rewritten is no array', () => {
    const text = fc.string({ unit: fc.constantFrom('"', '\\', ',', '{', '}', '[', ']', ':', '=', '0', 'x') });
    fc.assert(
      fc.property(text, fc.nat({ max: 60 }), fc.nat({ max: 255 }), elements, (value, position, byte, values) => {
        const cell = Buffer.from(`{${value}`);
        const inText = rewriteArray(cell, 0, cell.length, { format: 0, elementType: 25 }, shout);
        if (inText === undefined) assert.doesNotMatch(cell.toString(), /[x"]/);
        const binary = binaryArray(25, ...values);
        binary[position % binary.length] = byte;
        rewriteArray(binary, 0, binary.length, { format: 1, elementType: 25 }, shout);
      }),
      { numRuns: 2000 },
    );
  });
});
