import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { CountersignError } from '../../errors.ts';
import { ByteSink } from '../../lib/byte-sink.ts';
import * as codec from './frontend.ts';
import { frontend } from './messages.ts';

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

const text = fc.string({ unit: 'binary', maxLength: 40 }).map((each) => each.replaceAll('\0', ''));

void describe('texts', () => {
  const query = (body: Uint8Array) => codec.decodeQuery(framed(frontend.Query, body), 0, body.length + 5).text;
  const withZero = (...parts: (string | number[])[]): Buffer =>
    Buffer.concat([
      ...parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))),
      Buffer.alloc(1),
    ]);

  void test('are exact, whether short or long: a byte order mark is part of them', () => {
    for (const each of [
      '',
      'select 1',
      '\u{feff}select 1',
      `select '${'ä😀'.repeat(99)}'`,
      'x'.repeat(100_000),
      'a'.repeat(11),
      'a'.repeat(12),
      'a'.repeat(13),
      'ä',
    ]) {
      assert.equal(query(withZero(each)), each);
    }
  });

  void test('that are not UTF-8 are refused, not repaired', () => {
    const invalid = [[0xff], [0xc3], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]];
    for (const broken of invalid) {
      for (const before of ['', 'select ', 'select something longer, ']) {
        assert.throws(() => query(withZero(before, broken)), violation(/^Query: query: not valid UTF-8$/));
      }
    }
  });

  void test('end at the first zero byte, and nothing hides behind it', () => {
    assert.throws(() => query(withZero('select 1', [0], 'drop table t')), violation(/^Query: end: 13 bytes too many$/));
    assert.throws(
      () => query(withZero('select 1 from a_longer_text', [0])),
      violation(/^Query: end: 1 bytes too many$/),
    );
  });

  void test('that cannot be sent as they are leave no half message behind', () => {
    const sink = new ByteSink(16);
    codec.encodeSync(sink);
    const before = Buffer.from(sink.buffer.subarray(0, sink.length));
    for (const bad of ['select 1\0; drop table t', 'select \ud800']) {
      assert.throws(() => codec.encodeQuery(sink, bad), violation(/^Query: query: .+ cannot be sent$/));
      assert.throws(
        () => codec.encodeParse(sink, { name: 'a', query: bad, parameterTypes: [] }),
        violation(/^Parse: query: .+ cannot be sent$/),
      );
      assert.throws(
        () => codec.encodeStartup(sink, { major: 3, minor: 0, parameters: { user: bad } }),
        violation(/^StartupMessage: parameter value: .+ cannot be sent$/),
      );
    }
    assert.deepEqual(sink.take(), before);
  });
});

void describe('Bind', () => {
  const decode = (body: string) => codec.decodeBind(framed(frontend.Bind, body), 0, body.length + 5);

  void test('gives parameter values as views of the message', () => {
    const frame = encoded((sink) =>
      codec.encodeBind(sink, {
        portal: '',
        statement: 's',
        parameterFormats: [],
        parameters: [Buffer.from('abc'), null, Buffer.alloc(0)],
        resultFormats: [],
      }),
    );
    const [first, second, third] = codec.decodeBind(frame, 0, frame.length).parameters;
    assert.equal(first?.buffer, frame.buffer);
    assert.equal(second, null);
    assert.equal(third?.length, 0);
    frame[frame.indexOf('abc')] = 0x7a;
    assert.equal(first?.toString(), 'zbc');
  });

  void test('takes as many parameters as drivers may send', () => {
    const parameters = Array.from({ length: 65_535 }, (): null => null);
    const message = { portal: '', statement: '', parameterFormats: [], parameters, resultFormats: [] };
    const frame = encoded((sink) => codec.encodeBind(sink, message));
    assert.equal(codec.decodeBind(frame, 0, frame.length).parameters.length, 65_535);
    assert.throws(
      () => encoded((sink) => codec.encodeBind(sink, { ...message, parameters: [...parameters, null] })),
      violation(/^Bind: parameters: 65536 items/),
    );
    const parameterTypes = parameters.map(() => 0xffff_ffff);
    const parse = encoded((sink) => codec.encodeParse(sink, { name: '', query: '', parameterTypes }));
    assert.deepEqual(codec.decodeParse(parse, 0, parse.length).parameterTypes, parameterTypes);
  });

  void test('bounds counts by what is left', () => {
    assert.throws(
      () => decode('\0\0\xff\xff\0\0'),
      violation(/^Bind: parameter formats: 65535 items do not fit in the 2 bytes/),
    );
    assert.throws(
      () => decode('\0\0\0\0\xff\xff\0\0'),
      violation(/^Bind: parameters: 65535 items do not fit in the 2 bytes/),
    );
    assert.throws(() => decode('\0\0\0\0\0\0\0\x02\0\0'), violation(/^Bind: result formats: 2 items do not fit/));
  });

  void test('refuses lengths and formats that mean nothing, and says where', () => {
    assert.throws(() => decode('\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0'), violation(/^Bind: parameter 1: a length of -2$/));
    assert.throws(
      () => decode('\0\0\0\0\0\x02\xff\xff\xff\xff\x7f\xff\xff\xff\0\0'),
      violation(/^Bind: parameter 2: the message ends 2147483645 bytes too early$/),
    );
    assert.throws(() => decode('\0\0\0\x01\0\x02\0\0\0\0'), violation(/^Bind: parameter formats: 2 is neither/));
    assert.throws(
      () => decode('\0\0\0\x02\0\0\0\0\0\x01\xff\xff\xff\xff\0\0'),
      violation(/^Bind: parameter formats: 2 for 1 parameters$/),
    );
  });
});

void test('Describe and Close are of a statement or a portal', () => {
  for (const [decode, type] of [
    [codec.decodeDescribe, frontend.Describe],
    [codec.decodeClose, frontend.Close],
  ] as const) {
    assert.throws(() => decode(framed(type, 'X\0'), 0, 7), violation(/: kind: "X" is neither S nor P$/));
  }
});

void test('CopyDone has no fields', () => {
  assert.equal(codec.decodeCopyDone(framed(frontend.CopyDone, ''), 0, 5), undefined);
  assert.throws(() => codec.decodeCopyDone(framed(frontend.CopyDone, 'x'), 0, 6), violation(/^CopyDone: end: /));
});

void describe('the first packet', () => {
  const packet = (code: number, rest: Uint8Array | string = ''): Buffer => {
    const tail = typeof rest === 'string' ? Buffer.from(rest, 'latin1') : Buffer.from(rest);
    const head = Buffer.alloc(8);
    head.writeInt32BE(8 + tail.length);
    head.writeUInt32BE(code, 4);
    return Buffer.concat([head, tail]);
  };
  const version3 = 0x0003_0000;
  const refused = (rest: string, reason: RegExp) =>
    assert.throws(() => codec.decodeStartup(packet(version3, rest)), violation(reason));

  void test('StartupMessage comes out as it went in', () => {
    const key = text.filter((each) => each !== '' && each !== 'user' && !/^\d+$/.test(each) && each !== '__proto__');
    fc.assert(
      fc.property(
        fc.dictionary(key, text),
        text.filter((each) => each !== ''),
        fc.nat(0xffff),
        (others, user, minor) => {
          const parameters = { user, ...others };
          const bytes = encoded((sink) => codec.encodeStartup(sink, { major: 3, minor, parameters }));
          assert.deepEqual(codec.decodeStartup(bytes), {
            kind: 'startup',
            major: 3,
            minor,
            parameters: new Map(Object.entries(parameters)),
          });
        },
      ),
    );
  });

  void test('names like those of an object are names like any other', () => {
    const decoded = codec.decodeStartup(packet(version3, '__proto__\0x\0user\0eve\0constructor\0y\0\0'));
    assert.ok(decoded.kind === 'startup');
    assert.deepEqual(
      [...decoded.parameters],
      [
        ['__proto__', 'x'],
        ['user', 'eve'],
        ['constructor', 'y'],
      ],
    );
  });

  void test('SSLRequest and GSSENCRequest are just their code', () => {
    const ssl = encoded(codec.encodeSSLRequest);
    assert.equal(ssl.toString('hex'), '0000000804d2162f');
    assert.deepEqual(codec.decodeStartup(ssl), { kind: 'ssl' });
    const gssenc = encoded(codec.encodeGSSENCRequest);
    assert.equal(gssenc.toString('hex'), '0000000804d21630');
    assert.deepEqual(codec.decodeStartup(gssenc), { kind: 'gssenc' });
    assert.throws(() => codec.decodeStartup(packet(80_877_103, 'x')), violation(/^SSLRequest: end: 1 bytes too many$/));
    assert.throws(() => codec.decodeStartup(packet(80_877_104, 'x')), violation(/^GSSENCRequest: end: /));
  });

  void test('CancelRequest has a key of 4 to 256 bytes', () => {
    for (const size of [4, 32, 256]) {
      const key = Buffer.alloc(size, 7);
      const bytes = encoded((sink) => codec.encodeCancelRequest(sink, -5, key));
      assert.deepEqual(codec.decodeStartup(bytes), { kind: 'cancel', processId: -5, secretKey: key });
    }
    for (const size of [0, 3, 257]) {
      const key = Buffer.alloc(size);
      const reason = violation(new RegExp(`^CancelRequest: secret key: ${size} bytes`));
      assert.throws(() => codec.decodeStartup(packet(80_877_102, Buffer.concat([Buffer.alloc(4), key]))), reason);
      assert.throws(() => encoded((sink) => codec.encodeCancelRequest(sink, 1, key)), reason);
    }
    assert.throws(() => codec.decodeStartup(packet(80_877_102, 'abc')), violation(/^CancelRequest: process id: /));
  });

  void test('is refused with a reason wherever the list of parameters breaks off', () => {
    refused('', /^StartupMessage: parameters: the list has no final zero byte$/);
    refused('user\0', /^StartupMessage: parameter "user": it has no value$/);
    refused('user\0\0', /^StartupMessage: parameters: the list has no final zero byte$/);
    refused('user\0eve', /^StartupMessage: parameter "user": no terminating zero byte$/);
    refused('user\0eve\0', /^StartupMessage: parameters: the list has no final zero byte$/);
    refused('user\0eve\0database', /^StartupMessage: parameter name: no terminating zero byte$/);
    refused('user\0eve\0database\0', /^StartupMessage: parameter "database": it has no value$/);
  });

  void test('is refused without a user, with a parameter twice, and with bytes behind the list', () => {
    refused('\0', /^StartupMessage: user: no user name is given$/);
    refused('user\0\0\0', /^StartupMessage: user: no user name is given$/);
    refused('database\0crm\0\0', /^StartupMessage: user: no user name is given$/);
    refused('user\0eve\0user\0bob\0\0', /^StartupMessage: parameter name: "user" comes twice$/);
    refused('user\0eve\0\0\0', /^StartupMessage: end: 1 bytes too many$/);
    refused('user\0e\xff\0\0', /^StartupMessage: parameter "user": not valid UTF-8$/);
  });

  void test('does not quote long names at length', () => {
    const long = 'x'.repeat(3_000);
    assert.throws(
      () => codec.decodeStartup(packet(version3, `${long}\x001\0${long}\x002\0\0`)),
      (error) =>
        error instanceof CountersignError && error.message.length < 200 && error.message.includes('comes twice'),
    );
  });

  void test('is refused in another protocol version, before its bytes are read as parameters', () => {
    for (const [version, said] of [
      [0x0002_0000, '2.0'],
      [0x0004_0001, '4.1'],
      [0xffff_0000, '65535.0'],
      [80_877_101, '1234.5677'],
    ] as const) {
      assert.throws(
        () => codec.decodeStartup(packet(version, '\xff\xff')),
        violation(new RegExp(`^StartupMessage: protocol version: unsupported protocol version ${said};`)),
      );
    }
  });

  void test('is at most 10,000 bytes, and as long as it says', () => {
    const fits = packet(version3, `user\0${'x'.repeat(10_000 - 8 - 5 - 2)}\0\0`);
    assert.equal(fits.length, 10_000);
    assert.equal(codec.decodeStartup(fits).kind, 'startup');
    const tooLong = packet(version3, `user\0${'x'.repeat(10_000 - 8 - 5 - 1)}\0\0`);
    assert.throws(
      () => codec.decodeStartup(tooLong),
      violation(/^StartupMessage: length: 10001 bytes are more than 10000$/),
    );
    const honest = packet(version3, 'user\0eve\0\0');
    assert.throws(() => codec.decodeStartup(honest.subarray(0, -1)), violation(/^StartupMessage: length: /));
    assert.throws(() => codec.decodeStartup(Buffer.concat([honest, honest])), violation(/^StartupMessage: length: /));
    for (const size of [0, 1, 3]) {
      assert.throws(() => codec.decodeStartup(Buffer.alloc(size)), violation(/^StartupMessage: length: /));
    }
    assert.throws(() => codec.decodeStartup(Buffer.from([0, 0, 0, 4])), violation(/^StartupMessage: length: /));
  });

  void test('throws nothing but CountersignError on random bytes', () => {
    const code = fc.constantFrom(version3, 0x0003_0002, 80_877_102, 80_877_103, 80_877_104, 0);
    const rest = fc.array(fc.constantFrom(0, 0, 117, 115, 101, 114, 255), { maxLength: 40 });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 40 }),
          fc.tuple(code, rest).map(([first, more]) => packet(first, Buffer.from(more))),
        ),
        (random) => {
          try {
            codec.decodeStartup(Buffer.from(random));
          } catch (error) {
            violation(/./)(error);
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });

  void test('that we send cannot end its list early', () => {
    assert.throws(
      () => encoded((sink) => codec.encodeStartup(sink, { major: 3, minor: 0, parameters: { user: 'a', '': 'b' } })),
      violation(/^StartupMessage: parameter name: it is empty$/),
    );
  });
});
