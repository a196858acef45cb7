import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CountersignError } from '../errors.ts';
import { ByteSink } from '../lib/byte-sink.ts';
import type { CopyLayout } from './copy-layout.ts';
import { compileCopyMasker } from './copy.ts';
import type { ColumnAction } from './plan.ts';
import { compileRowMasker } from './rows.ts';

const text: CopyLayout = { format: 'text', delimiter: '\t', quote: '"', escape: '"', nullText: '\\N', header: false };
const csv: CopyLayout = { ...text, format: 'csv', delimiter: ',', nullText: '' };
const binary: CopyLayout = { ...text, format: 'binary' };
const hash = { digest: () => '' } as never;
const pass = (format: 0 | 1): ColumnAction => ({ kind: 'pass', typeOid: 25, format });
const last4 = (format: 0 | 1): ColumnAction => ({
  kind: 'mask',
  mask: 'last4',
  ruleId: 'r',
  hash,
  hidesNull: false,
  typeOid: 25,
  format,
});

function message(body: string | Buffer): Buffer {
  const bytes = Buffer.from(body as string);
  const head = Buffer.alloc(5);
  head.write('d');
  head.writeInt32BE(bytes.length + 4, 1);
  return Buffer.concat([head, bytes]);
}

/** Messages through one masker whose second column shows its last four characters. */
function through(layout: CopyLayout, ...bodies: (string | Buffer)[]): Buffer[] {
  const format = layout.format === 'binary' ? 1 : 0;
  const masker = compileCopyMasker(layout, 2, compileRowMasker([pass(format), last4(format)]));
  return bodies.map((body) => {
    const sink = new ByteSink(8);
    // Somewhere inside a larger buffer, as messages are.
    const src = Buffer.concat([Buffer.from('xyz'), message(body), Buffer.from('more')]);
    masker.mask(src, 3, src.length - 4, sink);
    const out = sink.take();
    assert.equal(out.readInt32BE(1), out.length - 1);
    assert.equal(out[0], 0x64);
    return out.subarray(5);
  });
}

const one = (layout: CopyLayout, body: string) => through(layout, body)[0]?.toString('utf8');

void test('the text layout', () => {
  assert.equal(one(text, 'a\tsecret-1234\n'), 'a\t****1234\n');
  assert.equal(one(text, 'a\\tb\\\\\tx\\nyyyyyyyyabcd\n'), 'a\\tb\\\\\t****abcd\n');
  assert.equal(one(text, '\\N\t\\N\n'), '\\N\t\\N\n');
  assert.equal(one(text, '\\\\N\t1234567\\t\\\\\\n\\b\n'), '\\\\N\t****\\t\\\\\\n\\b\n');
  assert.equal(one({ ...text, delimiter: '|', nullText: 'nil' }, 'nil|abcdefghi\\|\\|ef\n'), 'nil|****\\|\\|ef\n');
});

void test('csv', () => {
  assert.equal(one(csv, 'a,secret-1234\n'), 'a,"****1234"\n');
  assert.equal(one(csv, '"a,""b""\n c","123456789,""x"\n'), '"a,""b""\n c","****9,""x"\n');
  assert.equal(one(csv, ',\n'), ',\n');
  const marks = { ...csv, escape: '\\', quote: "'" };
  assert.equal(one(marks, `'it\\'s \\\\',12345678'678\n`), `'it\\'s \\\\','****\\'678'\n`);
  assert.deepEqual(through({ ...csv, header: true }, 'name,secret-1234\n', 'a,secret-1234\n').map(String), [
    'name,secret-1234\n',
    'a,"****1234"\n',
  ]);
});

void test('a masked value that was the mask already is written like every other', () => {
  const redact: ColumnAction = { ...(last4(0) as ColumnAction & { kind: 'mask' }), mask: 'redact' };
  const masker = compileCopyMasker(csv, 2, compileRowMasker([pass(0), redact]));
  const [same, other] = ['a,[masked]\n', 'a,"something else"\n'].map((body) => {
    const sink = new ByteSink(8);
    masker.mask(message(body), 0, 5 + body.length, sink);
    return sink.take().toString();
  });
  assert.equal(same, other);
});

const signature = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)]);
const cells = (...values: string[]) =>
  Buffer.concat([
    Buffer.from([0, values.length]),
    ...values.flatMap((value) => [Buffer.from([0, 0, 0, value.length]), Buffer.from(value)]),
  ]);
const trailer = Buffer.from([0xff, 0xff]);

void test('binary: the header with the first row, alone, with an extension; the trailer', () => {
  const row = cells('a', 'secret-1234');
  const masked = cells('a', '****1234');
  assert.deepEqual(through(binary, Buffer.concat([signature, row]), row, trailer), [
    Buffer.concat([signature, masked]),
    masked,
    trailer,
  ]);
  const extended = Buffer.concat([signature, Buffer.from('ext')]);
  extended.writeUInt32BE(3, 15);
  assert.deepEqual(through(binary, extended, row), [extended, masked]);
  assert.deepEqual(through(binary, Buffer.concat([signature, trailer])), [Buffer.concat([signature, trailer])]);
});

void test('what is no whole row of the layout is an error', () => {
  const flags = Buffer.concat([signature, cells('a', 'b')]);
  flags.writeUInt32BE(0x10000, 11);
  const bad: [CopyLayout, ...(string | Buffer)[]][] = [
    [text, 'a\tb'],
    [text, ''],
    [text, 'a\n'],
    [text, 'a\tb\tc\n'],
    [text, 'a\tb\\\n'],
    [csv, 'a,"b\n'],
    [csv, 'a,"b"c\n'],
    [csv, 'a\n'],
    [csv, 'a,b,c\n'],
    [binary, 'a\tb\n'],
    [binary, flags],
    [binary, Buffer.concat([signature, cells('a')])],
    [binary, Buffer.concat([signature, cells('a', 'b'), Buffer.from('x')])],
    [binary, Buffer.concat([signature, cells('a', 'b').subarray(0, 8)])],
    [binary, Buffer.concat([signature, trailer]), cells('a', 'b')],
  ];
  for (const [layout, ...bodies] of bad) {
    assert.throws(
      () => through(layout, ...bodies),
      (error) => error instanceof CountersignError && error.code === 'protocol_violation',
      JSON.stringify(bodies),
    );
  }
});
