import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CountersignError } from '../../errors.ts';
import { ByteSink } from '../../lib/byte-sink.ts';
import * as codec from './backend.ts';
import { backend } from './messages.ts';

function encoded(encode: (sink: ByteSink) => void): Buffer {
  const sink = new ByteSink(16);
  encode(sink);
  return sink.take();
}

/** A frame with any body. */
function framed(type: number, body: Uint8Array | string): Buffer {
  const bytes = typeof body === 'string' ? Buffer.from(body, 'latin1') : Buffer.from(body);
  const header = Buffer.alloc(5);
  header[0] = type;
  header.writeInt32BE(bytes.length + 4, 1);
  return Buffer.concat([header, bytes]);
}

function violation(message: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof CountersignError, String(error));
    assert.equal(error.code, 'protocol_violation');
    assert.match(error.message, message);
    return true;
  };
}

void describe('Authentication', () => {
  void test('of a kind that is not known keeps its number', () => {
    const gss = framed(backend.Authentication, '\0\0\0\x07');
    assert.deepEqual(codec.decodeAuthentication(gss, 0, gss.length), { kind: 'other', code: 7 });
  });

  void test('is not sent where the receiver would read something else', () => {
    assert.throws(
      () => encoded((sink) => codec.encodeAuthenticationMD5Password(sink, Buffer.alloc(5))),
      violation(/^AuthenticationMD5Password: salt: /),
    );
    assert.throws(
      () => encoded((sink) => codec.encodeAuthenticationSASL(sink, ['A', ''])),
      violation(/^AuthenticationSASL: mechanism: /),
    );
  });
});

void test('BackendKeyData has a key of 4 to 256 bytes', () => {
  for (const size of [0, 3, 257]) {
    const frame = framed(backend.BackendKeyData, Buffer.alloc(4 + size));
    const reason = violation(new RegExp(`^BackendKeyData: secret key: ${size} bytes`));
    assert.throws(() => codec.decodeBackendKeyData(frame, 0, frame.length), reason);
    assert.throws(() => encoded((sink) => codec.encodeBackendKeyData(sink, 1, Buffer.alloc(size))), reason);
  }
});

void test('ReadyForQuery knows three states', () => {
  const frame = framed(backend.ReadyForQuery, 'X');
  assert.throws(() => codec.decodeReadyForQuery(frame, 0, 6), violation(/^ReadyForQuery: status: "X" is none of/));
});

void describe('RowDescription', () => {
  void test('is read as a real server writes it', () => {
    // Of: select oid, relname, 1.5::numeric(6,2) as "ä" from pg_class; the first column in binary.
    const frame = Buffer.from(
      '540000004b00036f696400000004eb00010000001a0004ffffffff000172656c6e616d6500000004eb0002000000130040ffffffff0000' +
        'c3a400000000000000000006a4ffff000600060000',
      'hex',
    );
    assert.deepEqual(codec.decodeRowDescription(frame, 0, frame.length), [
      { name: 'oid', tableOid: 1259, attnum: 1, typeOid: 26, typeSize: 4, typeModifier: -1, format: 1 },
      { name: 'relname', tableOid: 1259, attnum: 2, typeOid: 19, typeSize: 64, typeModifier: -1, format: 0 },
      { name: 'ä', tableOid: 0, attnum: 0, typeOid: 1700, typeSize: -1, typeModifier: 393_222, format: 0 },
    ]);
  });

  void test('bounds its count by what is left', () => {
    const frame = framed(backend.RowDescription, '\xff\xff\0\0\0');
    assert.throws(
      () => codec.decodeRowDescription(frame, 0, frame.length),
      violation(/^RowDescription: columns: 65535 items do not fit in the 3 bytes/),
    );
  });

  void test('refuses formats that are neither text nor binary', () => {
    const frame = framed(backend.RowDescription, `\0\x01a\0${'\0'.repeat(16)}\0\x02`);
    assert.throws(() => codec.decodeRowDescription(frame, 0, frame.length), violation(/^RowDescription: format: 2 /));
  });
});

void describe('DataRow', () => {
  void test('gives cells as views of the message', () => {
    const frame = encoded((sink) => codec.encodeDataRow(sink, [Buffer.from('abc'), null]));
    const [first] = codec.decodeDataRow(frame, 0, frame.length);
    assert.equal(first?.buffer, frame.buffer);
  });

  void test('says which column is broken', () => {
    const frame = framed(backend.DataRow, '\0\x02\xff\xff\xff\xff\0\0\0\x09abc');
    assert.throws(
      () => codec.decodeDataRow(frame, 0, frame.length),
      violation(/^DataRow: column 2: the message ends 6 bytes too early$/),
    );
  });
});

void describe('ErrorResponse', () => {
  void test('arrives in another encoding too', () => {
    const frame = framed(backend.ErrorResponse, 'SFATAL\0C28P01\0MPasswort f\xfcr Benutzer ist falsch\0\0');
    assert.deepEqual(codec.decodeErrorResponse(frame, 0, frame.length), {
      S: 'FATAL',
      C: '28P01',
      M: 'Passwort f\u{fffd}r Benutzer ist falsch',
    });
  });

  void test('is sent whatever its texts hold', () => {
    const frame = encoded((sink) => codec.encodeErrorResponse(sink, { M: 'a\0b\ud800c' }));
    assert.deepEqual(codec.decodeErrorResponse(frame, 0, frame.length), { M: 'a b\u{fffd}c' });
  });

  void test('cannot have a field that would end it early, and leaves no half message behind', () => {
    const sink = new ByteSink(16);
    for (const letter of ['', '\0', 'MM', 'Ā']) {
      assert.throws(() => codec.encodeErrorResponse(sink, { S: 'ERROR', [letter]: 'x' }), /no field type/);
    }
    assert.equal(sink.length, 0);
  });

  void test('is told from a NoticeResponse in errors', () => {
    const frame = framed(backend.NoticeResponse, 'M');
    assert.throws(() => codec.decodeErrorResponse(frame, 0, frame.length), violation(/^NoticeResponse: field M: /));
  });
});

void describe('NegotiateProtocolVersion', () => {
  void test('takes a bare minor version, and no other protocol', () => {
    const bare = framed(backend.NegotiateProtocolVersion, '\0\0\0\x02\0\0\0\0');
    assert.deepEqual(codec.decodeNegotiateProtocolVersion(bare, 0, bare.length), { newestMinor: 2, unsupported: [] });
    const four = framed(backend.NegotiateProtocolVersion, '\0\x04\0\x02\0\0\0\0');
    assert.throws(
      () => codec.decodeNegotiateProtocolVersion(four, 0, four.length),
      violation(/^NegotiateProtocolVersion: version: /),
    );
  });

  void test('bounds its count by what is left', () => {
    for (const count of ['\x7f\xff\xff\xff', '\xff\xff\xff\xff', '\0\0\0\x02']) {
      const frame = framed(backend.NegotiateProtocolVersion, `\0\x03\0\0${count}\0`);
      assert.throws(
        () => codec.decodeNegotiateProtocolVersion(frame, 0, frame.length),
        violation(/^NegotiateProtocolVersion: options: /),
      );
    }
  });
});

void test('CopyResponse is text or binary', () => {
  for (const body of ['\x02\0\0', '\0\0\x01\0\x02']) {
    const frame = framed(backend.CopyInResponse, body);
    assert.throws(
      () => codec.decodeCopyResponse(frame, 0, frame.length),
      violation(/^CopyResponse: (column )?format: 2 /),
    );
  }
});

void test('CopyDone has no fields', () => {
  const frame = framed(backend.CopyDone, 'x');
  assert.throws(() => codec.decodeCopyDone(frame, 0, frame.length), violation(/^CopyDone: end: /));
});
