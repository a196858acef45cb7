/** What holds for every message of both directions. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { CountersignError } from '../../errors.ts';
import { ByteSink } from '../../lib/byte-sink.ts';
import * as server from './backend.ts';
import * as client from './frontend.ts';
import { backend, frontend } from './messages.ts';

type Decode = (buffer: Buffer, start: number, end: number) => unknown;

function encoded(encode: (sink: ByteSink) => void): Buffer {
  const sink = new ByteSink(16);
  encode(sink);
  return sink.take();
}

/** A frame with any body. */
function framed(type: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(5);
  header[0] = type;
  header.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

/** In the middle of other bytes, as frames lie in a chunk; what follows would let a reader that overreads succeed. */
function decodeWithin(decode: Decode, frame: Buffer): unknown {
  const chunk = Buffer.concat([Buffer.alloc(3, 0xff), frame, Buffer.alloc(600)]);
  return decode(chunk, 3, 3 + frame.length);
}

function violation(message: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof CountersignError, String(error));
    assert.equal(error.code, 'protocol_violation');
    assert.match(error.message, message);
    return true;
  };
}

function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true });
}

const text = fc.string({ unit: 'binary', maxLength: 40 }).map((each) => each.replaceAll('\0', ''));
const name = fc.oneof(fc.constant(''), fc.constantFrom('S_1', 'a_long_name_of_a_statement'), text);
const bytes = fc.uint8Array({ maxLength: 30 }).map((each) => Buffer.from(each));
const format = fc.constantFrom(0 as const, 1 as const);
const oid = fc.integer({ min: 0, max: 0xffffffff });
const int16 = fc.integer({ min: -0x8000, max: 0x7fff });
const int32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });
const kind = fc.constantFrom('S' as const, 'P' as const);
const formats = fc.oneof(
  fc.constant([]),
  format.map((each) => [each]),
);
const cells = fc.array(fc.option(bytes), { maxLength: 6 });
const copy = record({ format, columnFormats: fc.array(format, { maxLength: 5 }) });
const noticeFields = fc
  .dictionary(fc.stringMatching(/^[A-Za-z]$/), text, { noNullPrototype: true })
  .map((fields): Record<string, string> => fields);

const bind = record({
  portal: name,
  statement: name,
  parameters: fc.array(fc.option(bytes), { maxLength: 5 }),
  resultFormats: fc.array(format, { maxLength: 3 }),
}).chain((rest) =>
  fc
    .oneof(formats, fc.array(format, { minLength: rest.parameters.length, maxLength: rest.parameters.length }))
    .map((parameterFormats) => ({ ...rest, parameterFormats })),
);

interface Message {
  readonly message: string;
  readonly type: number;
  readonly decode: Decode;
  /** Value and the bytes that our encoder makes of it. */
  readonly example: fc.Arbitrary<readonly [unknown, Buffer]>;
  /** The last field takes all that is left, so hardly anything is too much or too little for it. */
  readonly openEnded: boolean;
}

function message<T>(
  called: string,
  type: number,
  decode: Decode,
  values: fc.Arbitrary<T>,
  encode: (sink: ByteSink, value: T) => void,
  openEnded = false,
): Message {
  const example = values.map((value) => [value, encoded((sink) => encode(sink, value))] as const);
  return { message: called, type, decode, example, openEnded };
}

const clientMessages: readonly Message[] = [
  message('Query', frontend.Query, client.decodeQuery, record({ text }), (sink, query) =>
    client.encodeQuery(sink, query.text),
  ),
  message(
    'Parse',
    frontend.Parse,
    client.decodeParse,
    record({ name, query: text, parameterTypes: fc.array(oid, { maxLength: 5 }) }),
    client.encodeParse,
  ),
  message('Bind', frontend.Bind, client.decodeBind, bind, client.encodeBind),
  message('Describe', frontend.Describe, client.decodeDescribe, record({ kind, name }), (sink, of) =>
    client.encodeDescribe(sink, of.kind, of.name),
  ),
  message('Close', frontend.Close, client.decodeClose, record({ kind, name }), (sink, of) =>
    client.encodeClose(sink, of.kind, of.name),
  ),
  message('Execute', frontend.Execute, client.decodeExecute, record({ portal: name, maxRows: int32 }), (sink, each) =>
    client.encodeExecute(sink, each.portal, each.maxRows),
  ),
  message('CopyFail', frontend.CopyFail, client.decodeCopyFail, record({ reason: text }), (sink, each) =>
    client.encodeCopyFail(sink, each.reason),
  ),
  message('PasswordMessage', frontend.Password, client.decodePassword, record({ password: text }), (sink, each) =>
    client.encodePassword(sink, each.password),
  ),
  message(
    'SASLInitialResponse',
    frontend.Password,
    client.decodeSASLInitialResponse,
    record({ mechanism: name, data: fc.option(bytes) }),
    (sink, each) => client.encodeSASLInitialResponse(sink, each.mechanism, each.data),
  ),
  message(
    'SASLResponse',
    frontend.Password,
    client.decodeSASLResponse,
    record({ data: bytes }),
    (sink, each) => client.encodeSASLResponse(sink, each.data),
    true,
  ),
  message('Sync', frontend.Sync, client.decodeSync, fc.constant(undefined), client.encodeSync),
  message('Flush', frontend.Flush, client.decodeFlush, fc.constant(undefined), client.encodeFlush),
  message('Terminate', frontend.Terminate, client.decodeTerminate, fc.constant(undefined), client.encodeTerminate),
];

const authentication = (values: fc.Arbitrary<server.Authentication>, openEnded = false): Message =>
  message(
    'Authentication',
    backend.Authentication,
    server.decodeAuthentication,
    values,
    (sink, value) => {
      switch (value.kind) {
        case 'ok':
          return server.encodeAuthenticationOk(sink);
        case 'cleartext':
          return server.encodeAuthenticationCleartextPassword(sink);
        case 'md5':
          return server.encodeAuthenticationMD5Password(sink, value.salt);
        case 'sasl':
          return server.encodeAuthenticationSASL(sink, value.mechanisms);
        case 'sasl-continue':
          return server.encodeAuthenticationSASLContinue(sink, value.data);
        case 'sasl-final':
          return server.encodeAuthenticationSASLFinal(sink, value.data);
        case 'other':
          return assert.fail('the gateway does not send it');
        default:
          return value satisfies never;
      }
    },
    openEnded,
  );

const serverMessages: readonly Message[] = [
  authentication(
    fc.oneof(
      fc.constant({ kind: 'ok' as const }),
      fc.constant({ kind: 'cleartext' as const }),
      record({
        kind: fc.constant('md5' as const),
        salt: fc.uint8Array({ minLength: 4, maxLength: 4 }).map((each) => Buffer.from(each)),
      }),
      record({
        kind: fc.constant('sasl' as const),
        mechanisms: fc.array(
          text.filter((each) => each !== ''),
          { maxLength: 3 },
        ),
      }),
    ),
  ),
  authentication(
    fc.oneof(
      record({ kind: fc.constant('sasl-continue' as const), data: bytes }),
      record({ kind: fc.constant('sasl-final' as const), data: bytes }),
    ),
    true,
  ),
  message(
    'BackendKeyData',
    backend.BackendKeyData,
    server.decodeBackendKeyData,
    record({
      processId: int32,
      secretKey: fc.uint8Array({ minLength: 4, maxLength: 256, size: 'max' }).map((each) => Buffer.from(each)),
    }),
    (sink, each) => server.encodeBackendKeyData(sink, each.processId, each.secretKey),
    true,
  ),
  message(
    'ParameterStatus',
    backend.ParameterStatus,
    server.decodeParameterStatus,
    record({ name: text, value: text }),
    (sink, each) => server.encodeParameterStatus(sink, each.name, each.value),
  ),
  message(
    'ReadyForQuery',
    backend.ReadyForQuery,
    server.decodeReadyForQuery,
    record({ status: fc.constantFrom('I' as const, 'T' as const, 'E' as const) }),
    (sink, each) => server.encodeReadyForQuery(sink, each.status),
  ),
  message(
    'RowDescription',
    backend.RowDescription,
    server.decodeRowDescription,
    fc.array(
      record({
        name: text,
        tableOid: oid,
        attnum: int16,
        typeOid: oid,
        typeSize: int16,
        typeModifier: int32,
        format,
      }),
      { maxLength: 5 },
    ),
    server.encodeRowDescription,
  ),
  message(
    'ParameterDescription',
    backend.ParameterDescription,
    server.decodeParameterDescription,
    fc.array(oid, { maxLength: 6 }),
    server.encodeParameterDescription,
  ),
  message('DataRow', backend.DataRow, server.decodeDataRow, cells, server.encodeDataRow),
  message(
    'CommandComplete',
    backend.CommandComplete,
    server.decodeCommandComplete,
    record({ tag: text }),
    (sink, each) => server.encodeCommandComplete(sink, each.tag),
  ),
  message('ErrorResponse', backend.ErrorResponse, server.decodeErrorResponse, noticeFields, server.encodeErrorResponse),
  message(
    'NoticeResponse',
    backend.NoticeResponse,
    server.decodeNoticeResponse,
    noticeFields,
    server.encodeNoticeResponse,
  ),
  message(
    'NotificationResponse',
    backend.NotificationResponse,
    server.decodeNotificationResponse,
    record({ processId: int32, channel: text, payload: text }),
    server.encodeNotificationResponse,
  ),
  message(
    'NegotiateProtocolVersion',
    backend.NegotiateProtocolVersion,
    server.decodeNegotiateProtocolVersion,
    record({ newestMinor: fc.nat(0xffff), unsupported: fc.array(text, { maxLength: 3 }) }),
    (sink, each) => server.encodeNegotiateProtocolVersion(sink, each.newestMinor, each.unsupported),
  ),
  message('CopyResponse', backend.CopyInResponse, server.decodeCopyResponse, copy, server.encodeCopyInResponse),
  message('CopyResponse', backend.CopyOutResponse, server.decodeCopyResponse, copy, server.encodeCopyOutResponse),
  message('CopyResponse', backend.CopyBothResponse, server.decodeCopyResponse, copy, server.encodeCopyBothResponse),
  message(
    'FunctionCallResponse',
    backend.FunctionCallResponse,
    server.decodeFunctionCallResponse,
    record({ result: fc.option(bytes) }),
    (sink, each) => server.encodeFunctionCallResponse(sink, each.result),
  ),
  ...(
    [
      ['ParseComplete', backend.ParseComplete, server.decodeParseComplete, server.encodeParseComplete],
      ['BindComplete', backend.BindComplete, server.decodeBindComplete, server.encodeBindComplete],
      ['CloseComplete', backend.CloseComplete, server.decodeCloseComplete, server.encodeCloseComplete],
      ['NoData', backend.NoData, server.decodeNoData, server.encodeNoData],
      [
        'EmptyQueryResponse',
        backend.EmptyQueryResponse,
        server.decodeEmptyQueryResponse,
        server.encodeEmptyQueryResponse,
      ],
      ['PortalSuspended', backend.PortalSuspended, server.decodePortalSuspended, server.encodePortalSuspended],
    ] as const
  ).map(([called, type, decode, encode]) => message(called, type, decode, fc.constant(undefined), encode)),
];

for (const [direction, messages] of [
  ['client', clientMessages],
  ['server', serverMessages],
] as const) {
  void describe(`every message of a ${direction}`, () => {
    for (const each of messages) properties(each);
  });
}

function properties({ message, type, decode, example, openEnded }: Message): void {
  const title = `${message} ${String.fromCharCode(type)}${openEnded ? ' (open-ended)' : ''}`;
  void test(`${title}: comes out of its bytes as it went in`, () => {
    fc.assert(
      fc.property(example, ([value, frame]) => {
        assert.equal(frame[0], type);
        assert.equal(frame.readInt32BE(1), frame.length - 1);
        assert.deepEqual(decodeWithin(decode, frame), value);
      }),
    );
  });

  if (!openEnded) {
    void test(`${title}: refuses every byte too few and too many, by name`, () => {
      fc.assert(
        fc.property(example, fc.uint8Array({ minLength: 1, maxLength: 9 }), ([, frame], garbage) => {
          const body = frame.subarray(5);
          for (let size = 0; size < body.length; size++) {
            assert.throws(
              () => decodeWithin(decode, framed(type, body.subarray(0, size))),
              // Not by `end`: that would be after it has read on into the next message.
              violation(new RegExp(`^${message}: (?!end: ).+: `)),
            );
          }
          assert.throws(
            () => decodeWithin(decode, framed(type, Buffer.concat([body, garbage]))),
            violation(new RegExp(`^${message}: end: ${garbage.length} bytes too many`)),
          );
        }),
        { numRuns: 30 },
      );
    });
  }

  void test(`${title}: throws nothing but CountersignError on random bytes`, () => {
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      // Small numbers and zero bytes get further into a message than noise does.
      fc
        .array(fc.constantFrom(0, 0, 0, 1, 2, 3, 5, 10, 12, 83, 255), { maxLength: 40 })
        .map((each) => Uint8Array.from(each)),
    );
    fc.assert(
      fc.property(body, (random) => {
        try {
          decodeWithin(decode, framed(type, random));
        } catch (error) {
          violation(new RegExp(`^${message}: `))(error);
        }
      }),
      { numRuns: 300 },
    );
  });
}

void test('no two messages of one direction share a type byte', () => {
  for (const types of [Object.values(frontend), Object.values(backend)])
    assert.equal(new Set(types).size, types.length);
});
