import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CountersignError } from '../errors.ts';
import { ByteSink } from '../lib/byte-sink.ts';
import { compileMasking, type MaskSpec } from './policy.ts';
import type { ColumnAction } from './plan.ts';
import { compileRowMasker, maskCell } from './rows.ts';
import { typeOid } from './type-oids.ts';

const masking = compileMasking(
  [
    {
      name: 't',
      appliesTo: {},
      columns: [],
      detectors: [
        { detect: 'card', mask: 'redact' },
        { detect: 'email', mask: 'redact' },
      ],
    },
  ],
  {},
  { hashKey: Buffer.alloc(32, 1) },
);

type Cell = Buffer | null;

const text = { typeOid: typeOid.text, format: 0 } as const;
const pass: ColumnAction = { kind: 'pass', ...text };
const detect: ColumnAction = { kind: 'detect', detectors: masking.detectors, ...text };

function mask(spec: MaskSpec, form: { typeOid: number; format: 0 | 1 } = text): ColumnAction {
  return { kind: 'mask', mask: spec, ruleId: 'r', hash: masking.hash, hidesNull: false, ...form };
}

function encode(cells: readonly Cell[]): Buffer {
  const body = cells.map((cell) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(cell?.length ?? -1);
    return Buffer.concat([length, cell ?? Buffer.alloc(0)]);
  });
  const header = Buffer.alloc(7);
  header.write('D');
  header.writeInt32BE(6 + body.reduce((sum, one) => sum + one.length, 0), 1);
  header.writeInt16BE(cells.length, 5);
  return Buffer.concat([header, ...body]);
}

function run(
  actions: readonly ColumnAction[],
  src: Buffer,
  from = 0,
  to = src.length,
): { bytes: Buffer; end: number; rows: number; maskedCells: number } {
  const sink = new ByteSink(16);
  sink.append(Buffer.from('before'));
  const { end, rows, maskedCells } = compileRowMasker(actions).maskRun(src, from, to, sink);
  const bytes = sink.take();
  assert.equal(bytes.toString('latin1', 0, 6), 'before');
  return { bytes: bytes.subarray(6), end, rows, maskedCells };
}

void describe('maskRun', () => {
  void it('hides NULL where whether it is NULL says something about the value', () => {
    const hidden: ColumnAction = {
      kind: 'mask',
      mask: 'redact',
      ruleId: 'r',
      hash: masking.hash,
      hidesNull: true,
      ...text,
    };
    const rows = Buffer.concat([encode([null, Buffer.from('a')]), encode([Buffer.from('x'), null])]);
    const result = run([hidden, pass], rows);
    const constant = Buffer.from('[masked]');
    assert.deepEqual(result.bytes, Buffer.concat([encode([constant, Buffer.from('a')]), encode([constant, null])]));
    assert.equal(result.maskedCells, 2);
    assert.deepEqual(maskCell(hidden, null), constant);
    const number: ColumnAction = { ...hidden, typeOid: typeOid.int4 };
    assert.deepEqual(
      run([number, pass], rows).bytes,
      Buffer.concat([encode([null, Buffer.from('a')]), encode([null, null])]),
    );
  });

  void it('replaces, keeps NULL and counts', () => {
    const rows = [
      encode([Buffer.from('a'), Buffer.from('secret'), null]),
      encode([null, null, Buffer.from('4111111111111111')]),
    ];
    const result = run([pass, mask('redact'), detect], Buffer.concat(rows));
    assert.deepEqual(
      result.bytes,
      Buffer.concat([
        encode([Buffer.from('a'), Buffer.from('[masked]'), null]),
        encode([null, null, Buffer.from('[masked:card]')]),
      ]),
    );
    assert.equal(result.rows, 2);
    assert.equal(result.maskedCells, 2);
  });

  void it('stops at another message and at an unfinished row', () => {
    const row = encode([Buffer.from('x')]);
    const complete = Buffer.concat([row, Buffer.from('C\0\0\0\x04'), row]);
    assert.equal(run([mask('redact')], complete).end, row.length);
    for (let cut = 0; cut < row.length; cut++) {
      const result = run([mask('redact')], Buffer.concat([row, row]), 0, row.length + cut);
      assert.equal(result.end, row.length);
      assert.equal(result.rows, 1);
      assert.deepEqual(result.bytes, encode([Buffer.from('[masked]')]));
    }
  });

  void it('knows when nothing can change', () => {
    assert.equal(compileRowMasker([pass, pass]).passThrough, true);
    assert.equal(compileRowMasker([pass, detect]).passThrough, false);
    assert.equal(compileRowMasker([{ ...detect, typeOid: typeOid.int4 }]).passThrough, true);
    assert.equal(compileRowMasker([mask('null')]).passThrough, false);
  });

  void it('allows rows without columns', () => {
    const row = encode([]);
    assert.deepEqual(run([], Buffer.concat([row, row])).bytes, Buffer.concat([row, row]));
  });

  const good = encode([Buffer.from('abc'), Buffer.from('defg')]);
  const spoiled = (change: (row: Buffer) => Buffer): Buffer => change(Buffer.from(good));
  for (const [what, row] of [
    ['too few columns', encode([Buffer.from('x')])],
    ['too many columns', encode([null, null, null])],
    ['a length below the header', spoiled((b) => (b.writeInt32BE(5, 1), b))],
    ['a negative length', spoiled((b) => (b.writeInt32BE(-7, 1), b))],
    ['a value beyond the row', spoiled((b) => (b.writeInt32BE(5, 14), b))],
    ['a huge value', spoiled((b) => (b.writeInt32BE(0x7fffffff, 7), b))],
    ['a value of -2 bytes', spoiled((b) => (b.writeInt32BE(-2, 7), b))],
    ['bytes after the last column', spoiled((b) => (b.writeInt32BE(3, 14), b))],
    ['a missing column', spoiled((b) => (b.writeInt32BE(8, 7), b))],
  ] as const) {
    void it(`refuses ${what} and leaves the sink as it was`, () => {
      for (const actions of [
        [mask('redact'), pass],
        [pass, mask('hash')],
        [pass, pass],
      ]) {
        const sink = new ByteSink(16);
        sink.utf8('before');
        assert.throws(
          () => compileRowMasker(actions).maskRun(Buffer.concat([good, row]), 0, good.length + row.length, sink),
          (error) => error instanceof CountersignError && error.code === 'protocol_violation',
        );
        assert.equal(sink.take().toString(), 'before');
      }
    });
  }
});

void describe('maskDataRow', () => {
  void it('takes exactly one row', () => {
    const row = encode([Buffer.from('secret')]);
    const sink = new ByteSink();
    const around = Buffer.concat([Buffer.from('xx'), row, row]);
    assert.equal(compileRowMasker([mask('redact')]).maskDataRow(around, 2, 2 + row.length, sink), 1);
    assert.deepEqual(sink.take(), encode([Buffer.from('[masked]')]));
    for (const end of [1 + row.length, around.length]) {
      assert.throws(() => compileRowMasker([mask('redact')]).maskDataRow(around, 2, end, sink), CountersignError);
      assert.equal(sink.length, 0);
    }
  });
});

const anyAction: fc.Arbitrary<ColumnAction> = fc.oneof(
  fc.constant(pass),
  fc.constant(detect),
  fc
    .tuple(
      fc.constantFrom<MaskSpec>(
        'redact',
        'null',
        'last4',
        'hash',
        'email-domain',
        'year',
        { kind: 'partial', keepStart: 2, keepEnd: 1 },
        { kind: 'truncate-date', to: 'month' },
        { kind: 'round', to: 100 },
      ),
      fc.constantFrom(...Object.values(typeOid), 99_999),
      fc.constantFrom<0 | 1>(0, 1),
    )
    .map(([spec, type, format]) => mask(spec, { typeOid: type, format })),
);
const anyCell: fc.Arbitrary<Cell> = fc.oneof(
  fc.constant(null),
  fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes)),
  fc.uint8Array({ minLength: 150, maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
  fc
    .constantFrom('ann@example.com', 'card 4111111111111111', '1984-07-12', '12345', '', 'é'.repeat(9))
    .map((value) => Buffer.from(value)),
);
const table = fc
  .array(anyAction, { maxLength: 5 })
  .chain((actions) =>
    fc.tuple(fc.constant(actions), fc.array(fc.tuple(...actions.map(() => anyCell)), { maxLength: 6 })),
  );

void describe('properties', () => {
  void it('equals decoding, masking each cell and encoding again; the source stays as it is', () => {
    fc.assert(
      fc.property(table, ([actions, rows]) => {
        const src = Buffer.concat(rows.map((cells) => encode(cells)));
        const copy = Buffer.from(src);
        const masked = rows.map((cells) => cells.map((cell, column) => maskCell(actions[column] ?? pass, cell)));
        const result = run(actions, src);
        assert.deepEqual(result.bytes, Buffer.concat(masked.map((cells) => encode(cells))));
        assert.equal(result.end, src.length);
        assert.equal(result.rows, rows.length);
        assert.deepEqual(src, copy);
      }),
      { numRuns: 500 },
    );
  });

  void it('gives the same bytes however the rows are split into runs', () => {
    fc.assert(
      fc.property(table, fc.infiniteStream(fc.nat({ max: 300 })), ([actions, rows], sizes) => {
        const src = Buffer.concat(rows.map((cells) => encode(cells)));
        const whole = run(actions, src);
        const masker = compileRowMasker(actions);
        const sink = new ByteSink(8);
        let from = 0;
        let [counted, maskedCells] = [0, 0];
        for (let to = 0; from < src.length; to = Math.min(src.length, to + (sizes.next().value ?? 0) + 1)) {
          const part = masker.maskRun(src, from, to, sink);
          from = part.end;
          counted += part.rows;
          maskedCells += part.maskedCells;
        }
        assert.deepEqual(sink.take(), whole.bytes);
        assert.deepEqual([counted, maskedCells], [whole.rows, whole.maskedCells]);
      }),
      { numRuns: 300 },
    );
  });

  void it('throws nothing but CountersignError on any bytes', () => {
    const almostRow = table.chain(([actions, rows]) =>
      fc.tuple(
        fc.constant(actions),
        fc.constant(Buffer.concat(rows.map((cells) => encode(cells)))),
        fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 4 }),
      ),
    );
    const tryRun = (actions: readonly ColumnAction[], bytes: Buffer): void => {
      const sink = new ByteSink(16);
      try {
        compileRowMasker(actions).maskRun(bytes, 0, bytes.length, sink);
      } catch (error) {
        assert.ok(error instanceof CountersignError, String(error));
        assert.equal(sink.length, 0);
      }
    };
    fc.assert(
      fc.property(almostRow, ([actions, bytes, changes]) => {
        for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
        tryRun(actions, bytes);
      }),
      { numRuns: 1000 },
    );
    fc.assert(
      fc.property(fc.array(anyAction, { maxLength: 3 }), fc.uint8Array({ maxLength: 60 }), (actions, bytes) =>
        tryRun(actions, Buffer.concat([Buffer.from('D'), bytes])),
      ),
    );
  });

  void it('shows nothing of a redacted value, not even its length', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.values(typeOid), 99_999),
        fc.constantFrom<0 | 1>(0, 1),
        fc.constantFrom<MaskSpec>('redact', 'null'),
        anyCell,
        anyCell,
        (type, format, spec, a, b) => {
          if (a === null || b === null) return;
          const action = mask(spec, { typeOid: type, format });
          assert.deepEqual(maskCell(action, a), maskCell(action, b));
        },
      ),
    );
  });
});
