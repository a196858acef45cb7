import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CountersignError } from '../errors.ts';
import { ByteSink } from '../lib/byte-sink.ts';
import type { CopyLayout } from './copy-layout.ts';
import { compileCopyMasker } from './copy.ts';
import type { ColumnAction } from './plan.ts';
import { compileMasking, type MaskSpec } from './policy.ts';
import { RowStream } from './row-stream.ts';
import { compileRowMasker } from './rows.ts';
import { typeOid } from './type-oids.ts';

const masking = compileMasking(
  [{ name: 't', appliesTo: {}, columns: [], detectors: [{ detect: 'card', mask: 'redact' }] }],
  {},
  { hashKey: Buffer.alloc(32, 1) },
);
const roomy = { delivered: 1_000_000, detected: 1_000_000 };
const partial: MaskSpec = { kind: 'partial', keepStart: 2, keepEnd: 3 };

type Cell = Buffer | null;
type Form = { readonly typeOid: number; readonly format: 0 | 1 };

const text: Form = { typeOid: typeOid.text, format: 0 };
const pass: ColumnAction = { kind: 'pass', ...text };
const detect: ColumnAction = { kind: 'detect', detectors: masking.detectors, ...text };
const mask = (spec: MaskSpec, form: Form = text, hidesNull = false): ColumnAction => {
  return { kind: 'mask', mask: spec, ruleId: 'r', hash: masking.hash, hidesNull, ...form };
};

function bodyOf(cells: readonly Cell[]): Buffer {
  const sink = new ByteSink(64);
  sink.int16(cells.length);
  for (const cell of cells) {
    sink.int32(cell?.length ?? -1);
    if (cell !== null) sink.append(cell);
  }
  return sink.take();
}

function framed(type: string, body: Buffer): Buffer {
  const sink = new ByteSink(64);
  sink.byte(type.charCodeAt(0));
  sink.int32(body.length + 4);
  sink.append(body);
  return sink.take();
}

interface Streamed {
  write(src: Buffer, start: number, end: number): void;
}

/** Through one buffer that is overwritten each time, as a socket does. */
function feed(stream: Streamed, body: Buffer, cuts: readonly number[]): void {
  const places = [0, ...cuts.filter((at) => at > 0 && at < body.length).toSorted((a, b) => a - b), body.length];
  const socket = Buffer.alloc(body.length + 4);
  for (const [index, from] of places.entries()) {
    const to = places[index + 1];
    if (to === undefined || to === from) continue;
    socket.fill(0xee);
    body.copy(socket, 2, from, to);
    stream.write(socket, 2, 2 + to - from);
  }
}

function rowStreamed(actions: readonly ColumnAction[], body: Buffer, cuts: readonly number[]) {
  const stream = new RowStream(compileRowMasker(actions).streamed(), body.length, roomy);
  feed(stream, body, cuts);
  const sink = new ByteSink(8);
  stream.finish(0x44, sink);
  return { bytes: sink.take(), maskedCells: stream.maskedCells };
}

function rowWhole(actions: readonly ColumnAction[], body: Buffer) {
  const row = framed('D', body);
  const sink = new ByteSink(8);
  const maskedCells = compileRowMasker(actions).maskDataRow(row, 0, row.length, sink);
  return { bytes: sink.take(), maskedCells };
}

const everyCut = (size: number): number[] => Array.from({ length: size }, (_, at) => at);

const texts = fc
  .tuple(
    fc.string({ unit: fc.constantFrom('a', 'é', '漢', '😀', ' ', '@', '.', '1'), maxLength: 120 }),
    fc.constantFrom('', '   ', ' '.repeat(90), '@example.com', '@example.com  '),
  )
  .map((parts) => Buffer.from(parts.join('')));
const anyCell: fc.Arbitrary<Cell> = fc.oneof(
  fc.constant(null),
  texts,
  fc.constantFrom('', 'card 4111111111111111', '1984-07-12', '12345', '-7.25').map((value) => Buffer.from(value)),
  fc
    .constantFrom(
      String.raw`\x616200ff`,
      String.raw`\x6`,
      String.raw`\xzz`,
      '\\',
      String.raw`a\\b\001\377`,
      String.raw`a\9`,
      '{longer text,"b c\\" d",NULL}',
      '{{1984-07-12,NULL}}',
      '{4111111111111111',
      '3f2504e0-4f89-41d3-9a0c-0305e82c3301',
    )
    .map((value) => Buffer.from(value)),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes)),
);
const anyAction: fc.Arbitrary<ColumnAction> = fc.oneof(
  fc.constant(pass),
  fc.constant(detect),
  fc
    .tuple(
      fc.constantFrom<MaskSpec>('redact', 'null', 'last4', 'hash', 'email-domain', 'year', partial, {
        kind: 'round',
        to: 100,
      }),
      fc.constantFrom(...Object.values(typeOid), 99_999),
      fc.constantFrom<0 | 1>(0, 1),
      fc.boolean(),
    )
    .map(([spec, type, format, hidesNull]) => mask(spec, { typeOid: type, format }, hidesNull)),
);
const anyRow = fc
  .array(anyAction, { minLength: 1, maxLength: 5 })
  .chain((actions) => fc.tuple(fc.constant(actions), fc.tuple(...actions.map(() => anyCell))));

void describe('a row that comes in pieces', () => {
  void it('is masked as it is whole, cut at every single byte and anywhere', () => {
    fc.assert(
      fc.property(anyRow, fc.array(fc.nat(900), { maxLength: 8 }), ([actions, cells], cuts) => {
        const body = bodyOf(cells);
        const expected = rowWhole(actions, body);
        assert.deepEqual(rowStreamed(actions, body, []), expected);
        assert.deepEqual(rowStreamed(actions, body, cuts), expected);
        assert.deepEqual(rowStreamed(actions, body, everyCut(body.length)), expected);
      }),
      { numRuns: 400 },
    );
    const actions = [pass, mask('last4'), mask(partial), mask('hash', { typeOid: typeOid.bpchar, format: 1 }), detect];
    const long = Buffer.from(`start ${'x'.repeat(60)}   ${'漢'.repeat(40)} end  `);
    const body = bodyOf([Buffer.from('a'), long, long, long, Buffer.from('card 4111111111111111')]);
    const expected = rowWhole(actions, body);
    for (let at = 0; at <= body.length; at++) assert.deepEqual(rowStreamed(actions, body, [at]), expected);
  });

  void it('shows nothing of a long array, whole or in pieces', () => {
    const actions = [mask('last4', { typeOid: typeOid.textArray, format: 0 })];
    for (const [elements, isShown] of [
      [5_000, true],
      [9_000, false],
    ] as const) {
      const body = bodyOf([Buffer.from(`{${Array.from({ length: elements }, () => '12345678').join(',')}}`)]);
      const expected = rowWhole(actions, body);
      assert.deepEqual(rowStreamed(actions, body, [1_000, 30_000]), expected);
      assert.equal(expected.bytes.toString('latin1').includes('"****5678"'), isShown);
      if (!isShown) assert.equal(expected.bytes.toString('latin1').slice(-2), '{}');
    }
  });

  void it('keeps a small part of a masked cell of 200 MB, under every mask', () => {
    const piece = Buffer.alloc(64 * 1024, 'masked text ');
    const pieces = 3_200;
    for (const spec of ['redact', 'null', 'last4', 'hash', 'email-domain', 'year', partial] as const) {
      const size = pieces * piece.length;
      const columns = compileRowMasker([
        pass,
        mask(spec),
        mask(spec, { typeOid: typeOid.bpchar, format: 1 }),
      ]).streamed();
      const stream = new RowStream(columns, 2 + 4 + 1 + 4 + size + 4, { delivered: 1_000, detected: 1_000 });
      const head = Buffer.from([0, 3, 0, 0, 0, 1, 0x61, 0, 0, 0, 0]);
      head.writeInt32BE(size, 7);
      stream.write(head, 0, head.length);
      let most = 0;
      for (let at = 0; at < pieces; at++) {
        stream.write(piece, 0, piece.length);
        most = Math.max(most, stream.keptBytes);
      }
      stream.write(Buffer.from([0xff, 0xff, 0xff, 0xff]), 0, 4);
      const sink = new ByteSink(8);
      stream.finish(0x44, sink);
      assert.ok(most < 1_000, `${JSON.stringify(spec)} kept ${most} bytes`);
      assert.ok(sink.length < 100);
    }
  });

  void it('is refused for what is delivered of it, and for nothing else', () => {
    const limits = { delivered: 100, detected: 200 };
    const attempt = (actions: readonly ColumnAction[], cells: readonly Cell[]) => {
      const body = bodyOf(cells);
      const stream = new RowStream(compileRowMasker(actions).streamed(), body.length, limits);
      feed(stream, body, [10, 50]);
      const sink = new ByteSink(8);
      stream.finish(0x44, sink);
      return sink.length;
    };
    const tooLarge = (error: unknown): boolean => {
      assert.ok(error instanceof CountersignError);
      assert.equal(error.code, 'message_too_large');
      assert.equal(error.message, 'a row is larger than the limit of 100 bytes after masking');
      return true;
    };
    const x = (size: number) => Buffer.alloc(size, 'x');
    // 5 + 2 + 4 + 4 bytes around the cells, and 8 of the placeholder.
    assert.equal(attempt([pass, mask('redact')], [x(77), x(5_000)]), 100);
    assert.equal(attempt([mask('redact'), pass], [x(5_000), x(77)]), 100);
    assert.throws(() => attempt([pass, mask('redact')], [x(78), x(1)]), tooLarge);
    assert.throws(() => attempt([mask('redact'), pass], [x(5_000), x(78)]), tooLarge);
    assert.equal(attempt([detect], [x(89)]), 100);
    assert.throws(() => attempt([detect], [x(90)]), tooLarge);
    // A finding makes it NULL, and still the detectors had to have all of it.
    const bytes: ColumnAction = { ...detect, typeOid: typeOid.bytea, format: 1 };
    const card = (size: number) => Buffer.from('card 4111111111111111'.padEnd(size));
    assert.equal(attempt([mask('redact'), bytes], [x(1), card(200)]), 5 + 2 + 4 + 8 + 4);
    assert.throws(() => attempt([mask('redact'), bytes], [x(1), card(201)]), tooLarge);
  });

  void it('is an error where it is no row', () => {
    const good = bodyOf([Buffer.from('abc'), null]);
    const bad: Buffer[] = [
      good.subarray(0, 4),
      good.subarray(0, good.length - 1),
      good.subarray(0, good.length - 4),
      Buffer.concat([good, Buffer.from('x')]),
      Buffer.concat([good, Buffer.from([0, 0, 0, 0])]),
      bodyOf([Buffer.from('abc')]),
      bodyOf([null, null, null]),
      Buffer.concat([Buffer.from([0, 2, 0xff, 0xff, 0xff, 0xfe]), Buffer.alloc(8)]),
      Buffer.concat([Buffer.from([0, 2, 0, 0, 0, 9]), Buffer.alloc(8)]),
    ];
    for (const body of bad) {
      for (const cuts of [[], everyCut(body.length)]) {
        assert.throws(
          () => rowStreamed([mask('redact'), pass], body, cuts),
          (error) => error instanceof CountersignError && error.code === 'protocol_violation',
          body.toString('hex'),
        );
      }
    }
  });
});

const layouts: readonly CopyLayout[] = [
  { format: 'text', delimiter: '\t', quote: '"', escape: '"', nullText: '\\N', header: false },
  { format: 'text', delimiter: '|', quote: '"', escape: '"', nullText: '', header: false },
  { format: 'csv', delimiter: ',', quote: '"', escape: '"', nullText: '', header: false },
  { format: 'csv', delimiter: ';', quote: "'", escape: '\\', nullText: 'nil', header: false },
  { format: 'binary', delimiter: ',', quote: '"', escape: '"', nullText: '', header: false },
];

/** One row as the server writes it. */
function copied(layout: CopyLayout, cells: readonly Cell[], plain: boolean): Buffer {
  if (layout.format === 'binary') return bodyOf(cells);
  const values = cells.map((cell) => {
    if (cell === null) return layout.nullText;
    const value = cell.toString('latin1');
    if (layout.format === 'text') {
      return value
        .replace(/[\\\n]/g, (c) => (c === '\n' ? '\\n' : '\\\\'))
        .replaceAll(layout.delimiter, `\\${layout.delimiter}`);
    }
    const { quote, escape } = layout;
    if (
      plain &&
      value !== '' &&
      value !== layout.nullText &&
      ![layout.delimiter, quote, escape, '\n'].some((c) => value.includes(c))
    )
      return value;
    return quote + Array.from(value, (c) => (c === quote || c === escape ? escape + c : c)).join('') + quote;
  });
  return Buffer.from(`${values.join(layout.delimiter)}\n`, 'latin1');
}

const copyCell: fc.Arbitrary<Cell> = fc.oneof(
  anyCell,
  fc
    .string({ unit: fc.constantFrom('a', '\\', '"', "'", ',', ';', '\t', '|', '\n', ' ', 'N', 'nil'), maxLength: 60 })
    .map((value) => Buffer.from(value)),
);
const copyRow = fc
  .array(anyAction, { minLength: 1, maxLength: 4 })
  .chain((actions) => fc.tuple(fc.constant(actions), fc.tuple(...actions.map(() => copyCell))));

function copyMaskerFor(layout: CopyLayout, actions: readonly ColumnAction[]) {
  const format = layout.format === 'binary' ? 1 : 0;
  const masker = compileRowMasker(actions.map((action) => ({ ...action, format })));
  return { masker, copy: compileCopyMasker(layout, actions.length, masker) };
}

const signature = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)]);

void describe('a row of COPY that comes in pieces', () => {
  void it('is masked as it is whole, in every layout, cut at every byte', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...layouts),
        copyRow,
        fc.boolean(),
        fc.nat(900),
        (layout, [actions, cells], flag, at) => {
          const { masker, copy } = copyMaskerFor(layout, actions);
          if (masker.passThrough) return;
          const isBinary = layout.format === 'binary';
          const body = Buffer.concat([isBinary ? signature : Buffer.alloc(0), copied(layout, cells, flag)]);
          const src = framed('d', body);
          const whole = new ByteSink(8);
          const { maskedCells } = copy.mask(src, 0, src.length, whole);
          const expected = whole.take();
          for (const cuts of [[], [at], everyCut(body.length)]) {
            const stream = copyMaskerFor(layout, actions).copy.stream(body.length, roomy);
            feed(stream, body, cuts);
            const sink = new ByteSink(8);
            stream.finish(sink);
            assert.equal(sink.take().toString('latin1'), expected.toString('latin1'));
            assert.equal(stream.maskedCells, maskedCells);
          }
        },
      ),
      { numRuns: 600 },
    );
  });

  void it('keeps a small part of a masked value of 30 MB, and is refused for what is delivered', () => {
    const piece = Buffer.alloc(64 * 1024, 'masked text ');
    const pieces = 480;
    for (const layout of layouts) {
      const isBinary = layout.format === 'binary';
      const { copy } = copyMaskerFor(layout, [mask('last4'), pass]);
      const size = pieces * piece.length;
      const before = isBinary ? Buffer.concat([signature, Buffer.from([0, 2, 0, 0, 0, 0])]) : Buffer.alloc(0);
      if (isBinary) before.writeInt32BE(size, signature.length + 2);
      const after = isBinary ? Buffer.from([0, 0, 0, 1, 0x61]) : Buffer.from(`${layout.delimiter}a\n`);
      const stream = copy.stream(before.length + size + after.length, { delivered: 60, detected: 60 });
      if (isBinary) stream.write(before, 0, before.length);
      let most = 0;
      for (let at = 0; at < pieces; at++) {
        stream.write(piece, 0, piece.length);
        most = Math.max(most, stream.keptBytes);
      }
      stream.write(after, 0, after.length);
      const sink = new ByteSink(8);
      stream.finish(sink);
      assert.ok(most < 200, `${layout.format} kept ${most} bytes`);
      assert.match(sink.take().toString('latin1'), /\*\*\*\*mask/);
    }
    for (const layout of layouts.filter(({ format }) => format !== 'binary')) {
      const { copy } = copyMaskerFor(layout, [mask('null'), pass]);
      const row = (size: number) => Buffer.from(`masked${layout.delimiter}${'x'.repeat(size)}\n`);
      const fits = 60 - 5 - layout.nullText.length - 2;
      const attempt = (body: Buffer) => feed(copy.stream(body.length, { delivered: 60, detected: 60 }), body, [9]);
      attempt(row(fits));
      assert.throws(
        () => attempt(row(fits + 1)),
        (error) => error instanceof CountersignError && error.code === 'message_too_large',
      );
    }
  });

  void it('is an error where it is no row of the layout', () => {
    const [tabs, , csv, , binary] = layouts as [CopyLayout, CopyLayout, CopyLayout, CopyLayout, CopyLayout];
    for (const [layout, body] of [
      [tabs, 'a\tb'],
      [tabs, 'a\n'],
      [tabs, 'a\tb\tc\n'],
      [tabs, 'a\tb\\\n'],
      [csv, 'a,"b\n'],
      [csv, 'a,"b"c\n'],
      [csv, 'a\n'],
      [csv, 'a,b,c\n'],
      [binary, 'a\tb\n'],
      [binary, Buffer.concat([signature, bodyOf([null])])],
      [binary, Buffer.concat([signature, bodyOf([null, null]), Buffer.from('x')])],
    ] as const) {
      const bytes = Buffer.from(body);
      for (const cuts of [[], everyCut(bytes.length)]) {
        const stream = copyMaskerFor(layout, [pass, mask('redact')]).copy.stream(bytes.length, roomy);
        assert.throws(
          () => {
            feed(stream, bytes, cuts);
            stream.finish(new ByteSink(8));
          },
          (error) => error instanceof CountersignError && error.code === 'protocol_violation',
          String(body),
        );
      }
    }
  });
});
