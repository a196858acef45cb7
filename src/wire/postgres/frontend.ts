/**
 * Messages from the client: decoders for what clients send to the gateway, encoders for what the gateway sends to a
 * target. Decoders take a frame as buffer[start, end), type byte included, and throw CountersignError
 * `protocol_violation`, naming message and field. Encoders append to a sink; one that throws leaves the sink as it was.
 */
import type { ByteSink } from '../../lib/byte-sink.ts';
import {
  count,
  cstring,
  FieldReader,
  fieldsOf,
  formats,
  frame,
  frameWithoutFields,
  oid,
  secretKey,
  unframed,
  unsendable,
  values,
  withoutFields,
} from './fields.ts';
import { frontend } from './messages.ts';

const sslRequestCode = 80_877_103;
const gssEncRequestCode = 80_877_104;
const cancelRequestCode = 80_877_102;

/** PostgreSQL's own limit for a start-up packet, its length word included. */
export const maxStartupBytes = 10_000;

export type Startup =
  | {
      readonly kind: 'startup';
      /** Always 3: what another version means by its bytes is not known. */
      readonly major: number;
      readonly minor: number;
      /** With a `user` that is not empty. */
      readonly parameters: ReadonlyMap<string, string>;
    }
  | { readonly kind: 'ssl' }
  | { readonly kind: 'gssenc' }
  | { readonly kind: 'cancel'; readonly processId: number; readonly secretKey: Buffer };

/** Decodes one start-up packet, its length word included. A cancel key is a view. */
export function decodeStartup(packet: Buffer): Startup {
  const reader = new FieldReader('StartupMessage', packet, 0, packet.length);
  const length = reader.int32('length');
  if (length > maxStartupBytes) throw reader.violation('length', `${length} bytes are more than ${maxStartupBytes}`);
  if (length !== packet.length || length < 8) {
    throw reader.violation('length', `${length} bytes in a packet of ${packet.length}`);
  }
  const code = reader.uint32('protocol version');
  switch (code) {
    case sslRequestCode:
      new FieldReader('SSLRequest', packet, 8, length).end();
      return { kind: 'ssl' };
    case gssEncRequestCode:
      new FieldReader('GSSENCRequest', packet, 8, length).end();
      return { kind: 'gssenc' };
    case cancelRequestCode: {
      const cancel = new FieldReader('CancelRequest', packet, 8, length);
      return { kind: 'cancel', processId: cancel.int32('process id'), secretKey: cancel.secretKey() };
    }
    default: {
      const major = code >>> 16;
      const minor = code & 0xffff;
      if (major !== 3) {
        throw reader.violation(
          'protocol version',
          `unsupported protocol version ${major}.${minor}; 3.0 is spoken here`,
        );
      }
      return { kind: 'startup', major, minor, parameters: startupParameters(reader) };
    }
  }
}

/** Pairs of name and value, ended by an empty name. */
function startupParameters(reader: FieldReader): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (;;) {
    if (reader.remaining === 0) throw reader.violation('parameters', 'the list has no final zero byte');
    const name = reader.cstring('parameter name');
    if (name === '') break;
    if (parameters.has(name)) throw reader.violation('parameter name', `${quoted(name)} comes twice`);
    if (reader.remaining === 0) throw reader.violation(`parameter ${quoted(name)}`, 'it has no value');
    parameters.set(name, reader.cstring(`parameter ${quoted(name)}`));
  }
  reader.end();
  if ((parameters.get('user') ?? '') === '') throw reader.violation('user', 'no user name is given');
  return parameters;
}

/** Names come from somebody who has not logged in yet: short and printable in an error. */
function quoted(name: string): string {
  return JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name);
}

export interface Query {
  readonly text: string;
}

export function decodeQuery(buffer: Buffer, start: number, end: number): Query {
  const reader = fieldsOf('Query', buffer, start, end);
  const text = reader.cstring('query');
  reader.end();
  return { text };
}

export interface Parse {
  readonly name: string;
  readonly query: string;
  readonly parameterTypes: readonly number[];
}

export function decodeParse(buffer: Buffer, start: number, end: number): Parse {
  const reader = fieldsOf('Parse', buffer, start, end);
  const name = reader.cstring('name');
  const query = reader.cstring('query');
  const typeCount = reader.count('parameter types', 4);
  if (typeCount === 0) {
    reader.end();
    return { name, query, parameterTypes: none };
  }
  const parameterTypes: number[] = [];
  for (let index = 0; index < typeCount; index++) parameterTypes.push(reader.uint32('parameter type'));
  reader.end();
  return { name, query, parameterTypes };
}

const none: readonly never[] = Object.freeze([]);

export interface Bind {
  readonly portal: string;
  readonly statement: string;
  /** None = all text, one = for all, else one each; 0 text, 1 binary. */
  readonly parameterFormats: readonly number[];
  /** Views of the message; null is NULL. */
  readonly parameters: readonly (Buffer | null)[];
  /** None = all text, one = for all columns, else one each; 0 text, 1 binary. */
  readonly resultFormats: readonly number[];
}

export function decodeBind(buffer: Buffer, start: number, end: number): Bind {
  const reader = fieldsOf('Bind', buffer, start, end);
  const portal = reader.cstring('portal');
  const statement = reader.cstring('statement');
  const parameterFormats = formatCodes(reader, 'parameter formats');
  const parameterCount = reader.count('parameters', 4);
  if (parameterFormats.length > 1 && parameterFormats.length !== parameterCount) {
    throw reader.violation('parameter formats', `${parameterFormats.length} for ${parameterCount} parameters`);
  }
  const parameters = reader.values(parameterCount, 'parameter');
  const resultFormats = formatCodes(reader, 'result formats');
  reader.end();
  return { portal, statement, parameterFormats, parameters, resultFormats };
}

function formatCodes(reader: FieldReader, field: string): readonly number[] {
  const size = reader.count(field, 2);
  return size === 0 ? none : reader.formats(size, field);
}

export interface StatementOrPortal {
  /** S a prepared statement, P a portal. */
  readonly kind: 'S' | 'P';
  readonly name: string;
}

export function decodeDescribe(buffer: Buffer, start: number, end: number): StatementOrPortal {
  return statementOrPortal('Describe', buffer, start, end);
}

export function decodeClose(buffer: Buffer, start: number, end: number): StatementOrPortal {
  return statementOrPortal('Close', buffer, start, end);
}

function statementOrPortal(message: string, buffer: Buffer, start: number, end: number): StatementOrPortal {
  const reader = fieldsOf(message, buffer, start, end);
  const letter = String.fromCharCode(reader.uint8('kind'));
  if (letter !== 'S' && letter !== 'P') throw reader.violation('kind', `${JSON.stringify(letter)} is neither S nor P`);
  const name = reader.cstring('name');
  reader.end();
  return { kind: letter, name };
}

export interface Execute {
  readonly portal: string;
  /** 0 (and, as servers read it, anything below) = all. */
  readonly maxRows: number;
}

export function decodeExecute(buffer: Buffer, start: number, end: number): Execute {
  const reader = fieldsOf('Execute', buffer, start, end);
  const portal = reader.cstring('portal');
  const maxRows = reader.int32('row limit');
  reader.end();
  return { portal, maxRows };
}

export function decodeCopyFail(buffer: Buffer, start: number, end: number): { readonly reason: string } {
  const reader = fieldsOf('CopyFail', buffer, start, end);
  const reason = reader.cstring('reason');
  reader.end();
  return { reason };
}

export function decodePassword(buffer: Buffer, start: number, end: number): { readonly password: string } {
  const reader = fieldsOf('PasswordMessage', buffer, start, end);
  const password = reader.cstring('password');
  reader.end();
  return { password };
}

export function decodeSASLInitialResponse(
  buffer: Buffer,
  start: number,
  end: number,
): { readonly mechanism: string; readonly data: Buffer | null } {
  const reader = fieldsOf('SASLInitialResponse', buffer, start, end);
  const mechanism = reader.cstring('mechanism');
  const data = reader.nullableBytes('initial response');
  reader.end();
  return { mechanism, data };
}

export function decodeSASLResponse(buffer: Buffer, start: number, end: number): { readonly data: Buffer } {
  return { data: fieldsOf('SASLResponse', buffer, start, end).rest('data') };
}

export const decodeSync = withoutFields('Sync');
export const decodeFlush = withoutFields('Flush');
export const decodeTerminate = withoutFields('Terminate');
export const decodeCopyDone = withoutFields('CopyDone');

// ---- encoders ----

export function encodeStartup(
  sink: ByteSink,
  startup: { readonly major: number; readonly minor: number; readonly parameters: Readonly<Record<string, string>> },
): void {
  unframed(sink, () => {
    sink.int32((startup.major << 16) | startup.minor);
    for (const [name, value] of Object.entries(startup.parameters)) {
      // It would end the list for the server, and the rest of ours would be read as something else.
      if (name === '') throw unsendable('StartupMessage: parameter name', 'it is empty');
      cstring(sink, name, 'StartupMessage: parameter name');
      cstring(sink, value, 'StartupMessage: parameter value');
    }
    sink.byte(0);
  });
}

export function encodeSSLRequest(sink: ByteSink): void {
  unframed(sink, () => sink.int32(sslRequestCode));
}

export function encodeGSSENCRequest(sink: ByteSink): void {
  unframed(sink, () => sink.int32(gssEncRequestCode));
}

export function encodeCancelRequest(sink: ByteSink, processId: number, key: Buffer): void {
  unframed(sink, () => {
    sink.int32(cancelRequestCode);
    sink.int32(processId);
    secretKey(sink, key, 'CancelRequest');
  });
}

export function encodeQuery(sink: ByteSink, text: string): void {
  frame(sink, frontend.Query, () => cstring(sink, text, 'Query: query'));
}

export function encodeParse(sink: ByteSink, parse: Parse): void {
  frame(sink, frontend.Parse, () => {
    cstring(sink, parse.name, 'Parse: name');
    cstring(sink, parse.query, 'Parse: query');
    count(sink, parse.parameterTypes.length, 'Parse: parameter types');
    for (const type of parse.parameterTypes) oid(sink, type);
  });
}

export function encodeBind(sink: ByteSink, bind: Bind): void {
  frame(sink, frontend.Bind, () => {
    cstring(sink, bind.portal, 'Bind: portal');
    cstring(sink, bind.statement, 'Bind: statement');
    formats(sink, bind.parameterFormats, 'Bind: parameter formats');
    values(sink, bind.parameters, 'Bind: parameters');
    formats(sink, bind.resultFormats, 'Bind: result formats');
  });
}

export function encodeDescribe(sink: ByteSink, kind: 'S' | 'P', name: string): void {
  frame(sink, frontend.Describe, () => {
    sink.byte(kind.charCodeAt(0));
    cstring(sink, name, 'Describe: name');
  });
}

export function encodeClose(sink: ByteSink, kind: 'S' | 'P', name: string): void {
  frame(sink, frontend.Close, () => {
    sink.byte(kind.charCodeAt(0));
    cstring(sink, name, 'Close: name');
  });
}

export function encodeExecute(sink: ByteSink, portal: string, maxRows: number): void {
  frame(sink, frontend.Execute, () => {
    cstring(sink, portal, 'Execute: portal');
    sink.int32(maxRows);
  });
}

export function encodeSync(sink: ByteSink): void {
  frameWithoutFields(sink, frontend.Sync);
}

export function encodeFlush(sink: ByteSink): void {
  frameWithoutFields(sink, frontend.Flush);
}

export function encodeTerminate(sink: ByteSink): void {
  frameWithoutFields(sink, frontend.Terminate);
}

export function encodeCopyFail(sink: ByteSink, reason: string): void {
  frame(sink, frontend.CopyFail, () => cstring(sink, reason, 'CopyFail: reason'));
}

export function encodePassword(sink: ByteSink, password: string): void {
  frame(sink, frontend.Password, () => cstring(sink, password, 'PasswordMessage: password'));
}

/** `data` null: no initial response. */
export function encodeSASLInitialResponse(sink: ByteSink, mechanism: string, data: Buffer | null): void {
  frame(sink, frontend.Password, () => {
    cstring(sink, mechanism, 'SASLInitialResponse: mechanism');
    sink.int32(data === null ? -1 : data.length);
    if (data !== null) sink.append(data);
  });
}

export function encodeSASLResponse(sink: ByteSink, data: Buffer): void {
  frame(sink, frontend.Password, () => sink.append(data));
}
