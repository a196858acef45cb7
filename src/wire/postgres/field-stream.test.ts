import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CountersignError } from '../../errors.ts';
import { FieldStream } from './field-stream.ts';

const long = 'x'.repeat(100);
const body = Buffer.from(`SERROR\0VERROR\0C22P02\0M${long}\0D\0P12\0H${long}\0\0`);

function read(bytes: Buffer, at: number): FieldStream {
  const stream = new FieldStream();
  stream.write(bytes, 0, at);
  stream.write(bytes, at, bytes.length);
  return stream;
}

void test('short fields are kept and texts are not, wherever the message is cut', () => {
  for (let at = 0; at <= body.length; at++) {
    const stream = read(body, at);
    stream.end();
    assert.deepEqual(stream.fields, { S: 'ERROR', V: 'ERROR', C: '22P02', P: '12' });
  }
});

void test('a field that is short elsewhere is cut where it is not', () => {
  const stream = read(Buffer.from(`C${long}\0\0`), 3);
  stream.end();
  assert.equal(stream.fields['C'], 'x'.repeat(32));
});

void test('what ends too early, or goes on behind its end, is an error', () => {
  for (const bytes of [body.subarray(0, -1), Buffer.concat([body, Buffer.from('S')])]) {
    assert.throws(
      () => read(bytes, 9).end(),
      (error) => error instanceof CountersignError && error.code === 'protocol_violation',
    );
  }
});
