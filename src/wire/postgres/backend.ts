/**
 * Messages from the server: encoders for what the gateway answers itself, decoders for what it must understand. Decoders
 * take a frame as buffer[start, end), type byte included, and throw CountersignError `protocol_violation`, naming message
 * and field. Encoders append to a sink; one that throws leaves the sink as it was.
 */
import type { ByteSink } from '../../lib/byte-sink.ts';
import {
  count,
  cstring,
  fieldsOf,
  formats,
  frame,
  frameWithoutFields,
  oid,
  secretKey,
  unsendable,
  values,
  withoutFields,
} from './fields.ts';
import { backend } from './messages.ts';

/** The methods' numbers in an Authentication message. */
const method = { ok: 0, cleartext: 3, md5: 5, sasl: 10, saslContinue: 11, saslFinal: 12 } as const;

/** Byte fields are views. */
export type Authentication =
  | { readonly kind: 'ok' }
  | { readonly kind: 'cleartext' }
  | { readonly kind: 'md5'; readonly salt: Buffer }
  | { readonly kind: 'sasl'; readonly mechanisms: readonly string[] }
  | { readonly kind: 'sasl-continue'; readonly data: Buffer }
  | { readonly kind: 'sasl-final'; readonly data: Buffer }
  /** Kerberos, GSSAPI, SSPI and what later versions bring. */
  | { readonly kind: 'other'; readonly code: number };

export function decodeAuthentication(buffer: Buffer, start: number, end: number): Authentication {
  const reader = fieldsOf('Authentication', buffer, start, end);
  const code = reader.int32('method');
  switch (code) {
    case method.ok:
      reader.end();
      return { kind: 'ok' };
    case method.cleartext:
      reader.end();
      return { kind: 'cleartext' };
    case method.md5: {
      const salt = reader.bytes(4, 'salt');
      reader.end();
      return { kind: 'md5', salt };
    }
    case method.sasl: {
      const mechanisms: string[] = [];
      for (let name = reader.cstring('mechanism'); name !== ''; name = reader.cstring('mechanism')) {
        mechanisms.push(name);
      }
      reader.end();
      return { kind: 'sasl', mechanisms };
    }
    case method.saslContinue:
      return { kind: 'sasl-continue', data: reader.rest('data') };
    case method.saslFinal:
      return { kind: 'sasl-final', data: reader.rest('data') };
    default:
      return { kind: 'other', code };
  }
}

function authentication(sink: ByteSink, code: number, data?: Buffer): void {
  frame(sink, backend.Authentication, () => {
    sink.int32(code);
    if (data !== undefined) sink.append(data);
  });
}

export function encodeAuthenticationOk(sink: ByteSink): void {
  authentication(sink, method.ok);
}

export function encodeAuthenticationCleartextPassword(sink: ByteSink): void {
  authentication(sink, method.cleartext);
}

export function encodeAuthenticationMD5Password(sink: ByteSink, salt: Buffer): void {
  if (salt.length !== 4) throw unsendable('AuthenticationMD5Password: salt', `${salt.length} bytes instead of 4`);
  authentication(sink, method.md5, salt);
}

export function encodeAuthenticationSASL(sink: ByteSink, mechanisms: readonly string[]): void {
  frame(sink, backend.Authentication, () => {
    sink.int32(method.sasl);
    for (const mechanism of mechanisms) {
      if (mechanism === '') throw unsendable('AuthenticationSASL: mechanism', 'it is empty, which ends the list');
      cstring(sink, mechanism, 'AuthenticationSASL: mechanism');
    }
    sink.byte(0);
  });
}

export function encodeAuthenticationSASLContinue(sink: ByteSink, data: Buffer): void {
  authentication(sink, method.saslContinue, data);
}

export function encodeAuthenticationSASLFinal(sink: ByteSink, data: Buffer): void {
  authentication(sink, method.saslFinal, data);
}

export interface BackendKeyData {
  readonly processId: number;
  /** A view; 4 bytes in protocol 3.0, up to 256 in 3.2. */
  readonly secretKey: Buffer;
}

export function decodeBackendKeyData(buffer: Buffer, start: number, end: number): BackendKeyData {
  const reader = fieldsOf('BackendKeyData', buffer, start, end);
  return { processId: reader.int32('process id'), secretKey: reader.secretKey() };
}

export function encodeBackendKeyData(sink: ByteSink, processId: number, key: Buffer): void {
  frame(sink, backend.BackendKeyData, () => {
    sink.int32(processId);
    secretKey(sink, key, 'BackendKeyData');
  });
}

export interface ParameterStatus {
  readonly name: string;
  readonly value: string;
}

export function decodeParameterStatus(buffer: Buffer, start: number, end: number): ParameterStatus {
  const reader = fieldsOf('ParameterStatus', buffer, start, end);
  const name = reader.cstring('name');
  const value = reader.cstring('value');
  reader.end();
  return { name, value };
}

export function encodeParameterStatus(sink: ByteSink, name: string, value: string): void {
  frame(sink, backend.ParameterStatus, () => {
    cstring(sink, name, 'ParameterStatus: name');
    cstring(sink, value, 'ParameterStatus: value');
  });
}

/** I idle, T in a transaction, E in a failed transaction. */
export type TransactionStatus = 'I' | 'T' | 'E';

export function decodeReadyForQuery(
  buffer: Buffer,
  start: number,
  end: number,
): { readonly status: TransactionStatus } {
  const reader = fieldsOf('ReadyForQuery', buffer, start, end);
  const status = String.fromCharCode(reader.uint8('status'));
  if (status !== 'I' && status !== 'T' && status !== 'E') {
    throw reader.violation('status', `${JSON.stringify(status)} is none of I, T, E`);
  }
  reader.end();
  return { status };
}

export function encodeReadyForQuery(sink: ByteSink, status: TransactionStatus): void {
  frame(sink, backend.ReadyForQuery, () => sink.byte(status.charCodeAt(0)));
}

/** One column of a result. */
export interface ResultColumn {
  readonly name: string;
  /** The table and column that the value is taken from as it stands, or 0 for anything computed. */
  readonly tableOid: number;
  readonly attnum: number;
  readonly typeOid: number;
  readonly typeSize: number;
  readonly typeModifier: number;
  /** 0 text, 1 binary. Always 0 in the description of a statement. */
  readonly format: 0 | 1;
}

/** What a column takes at least: an empty name and the fixed fields. */
const smallestColumnBytes = 19;

export function decodeRowDescription(buffer: Buffer, start: number, end: number): ResultColumn[] {
  const reader = fieldsOf('RowDescription', buffer, start, end);
  const size = reader.count('columns', smallestColumnBytes);
  const columns: ResultColumn[] = [];
  for (let index = 0; index < size; index++) {
    columns.push({
      name: reader.cstring('name'),
      tableOid: reader.uint32('table'),
      attnum: reader.int16('column number'),
      typeOid: reader.uint32('type'),
      typeSize: reader.int16('type size'),
      typeModifier: reader.int32('type modifier'),
      format: reader.format('format'),
    });
  }
  reader.end();
  return columns;
}

export function encodeRowDescription(sink: ByteSink, columns: readonly ResultColumn[]): void {
  frame(sink, backend.RowDescription, () => {
    count(sink, columns.length, 'RowDescription: columns');
    for (const column of columns) {
      cstring(sink, column.name, 'RowDescription: name');
      oid(sink, column.tableOid);
      sink.int16(column.attnum);
      oid(sink, column.typeOid);
      sink.int16(column.typeSize);
      sink.int32(column.typeModifier);
      sink.int16(column.format);
    }
  });
}

/** The type of each parameter. */
export function decodeParameterDescription(buffer: Buffer, start: number, end: number): number[] {
  const reader = fieldsOf('ParameterDescription', buffer, start, end);
  const size = reader.count('parameters', 4);
  const types: number[] = [];
  for (let index = 0; index < size; index++) types.push(reader.uint32('type'));
  reader.end();
  return types;
}

export function encodeParameterDescription(sink: ByteSink, types: readonly number[]): void {
  frame(sink, backend.ParameterDescription, () => {
    count(sink, types.length, 'ParameterDescription: parameters');
    for (const type of types) oid(sink, type);
  });
}

/** The cells are views of the message; null is NULL. */
export function decodeDataRow(buffer: Buffer, start: number, end: number): (Buffer | null)[] {
  const reader = fieldsOf('DataRow', buffer, start, end);
  const cells = reader.values(reader.count('columns', 4), 'column');
  reader.end();
  return cells;
}

export function encodeDataRow(sink: ByteSink, cells: readonly (Uint8Array | null)[]): void {
  frame(sink, backend.DataRow, () => values(sink, cells, 'DataRow: columns'));
}

/** Such as `SELECT 20`, `INSERT 0 1`. */
export function decodeCommandComplete(buffer: Buffer, start: number, end: number): { readonly tag: string } {
  const reader = fieldsOf('CommandComplete', buffer, start, end);
  const tag = reader.cstring('tag');
  reader.end();
  return { tag };
}

/** Upper-case words and counts: it is passed on as it came, and nothing else may be in it. */
export function isCommandTag(tag: string): boolean {
  return /^[A-Z_ ]*( \d+)*$/.test(tag);
}

export function encodeCommandComplete(sink: ByteSink, tag: string): void {
  frame(sink, backend.CommandComplete, () => cstring(sink, tag, 'CommandComplete: tag'));
}

/** Fields of an error or notice by their letter: S severity, V severity untranslated, C SQLSTATE, M message, D detail, H hint, P position … */
export type NoticeFields = Record<string, string>;

/**
 * Decodes an ErrorResponse, and a NoticeResponse, which is built alike. Before the encoding of the session is agreed, a
 * server writes errors in its own; such a text must not hide the error, so what is not UTF-8 becomes U+FFFD.
 */
export function decodeErrorResponse(buffer: Buffer, start: number, end: number): NoticeFields {
  const message = buffer[start] === backend.NoticeResponse ? 'NoticeResponse' : 'ErrorResponse';
  const reader = fieldsOf(message, buffer, start, end);
  const fields: NoticeFields = {};
  for (let type = reader.uint8('field type'); type !== 0; type = reader.uint8('field type')) {
    const letter = String.fromCharCode(type);
    fields[letter] = reader.lenientCstring(`field ${letter}`);
  }
  reader.end();
  return fields;
}

export const decodeNoticeResponse = decodeErrorResponse;

export function encodeErrorResponse(sink: ByteSink, fields: Readonly<NoticeFields>): void {
  noticeFields(sink, backend.ErrorResponse, fields);
}

export function encodeNoticeResponse(sink: ByteSink, fields: Readonly<NoticeFields>): void {
  noticeFields(sink, backend.NoticeResponse, fields);
}

/** A text that cannot be sent as it is must not stop an error from arriving: it is sent without what cannot be. */
function noticeFields(sink: ByteSink, type: number, fields: Readonly<NoticeFields>): void {
  frame(sink, type, () => {
    for (const [letter, value] of Object.entries(fields)) {
      const code = letter.length === 1 ? letter.charCodeAt(0) : 0;
      if (code < 1 || code > 255) throw new Error(`${JSON.stringify(letter)} is no field type of an error or notice`);
      sink.byte(code);
      cstring(sink, value.replaceAll('\0', ' ').toWellFormed(), 'field');
    }
    sink.byte(0);
  });
}

export interface Notification {
  readonly processId: number;
  readonly channel: string;
  readonly payload: string;
}

export function decodeNotificationResponse(buffer: Buffer, start: number, end: number): Notification {
  const reader = fieldsOf('NotificationResponse', buffer, start, end);
  const processId = reader.int32('process id');
  const channel = reader.cstring('channel');
  const payload = reader.cstring('payload');
  reader.end();
  return { processId, channel, payload };
}

export function encodeNotificationResponse(sink: ByteSink, notification: Notification): void {
  frame(sink, backend.NotificationResponse, () => {
    sink.int32(notification.processId);
    cstring(sink, notification.channel, 'NotificationResponse: channel');
    cstring(sink, notification.payload, 'NotificationResponse: payload');
  });
}

export interface NegotiatedVersion {
  readonly newestMinor: number;
  /** Names of the `_pq_.` parameters that the server does not know. */
  readonly unsupported: readonly string[];
}

export function decodeNegotiateProtocolVersion(buffer: Buffer, start: number, end: number): NegotiatedVersion {
  const reader = fieldsOf('NegotiateProtocolVersion', buffer, start, end);
  // The manual calls it the minor version; servers and libpq exchange the full version word.
  const version = reader.uint32('version');
  if (version >>> 16 !== 3 && version >>> 16 !== 0)
    throw reader.violation('version', `${version} is not of protocol 3`);
  const size = reader.int32('options');
  if (size < 0 || size > reader.remaining) throw reader.violation('options', `${size} do not fit in the message`);
  const unsupported: string[] = [];
  for (let index = 0; index < size; index++) unsupported.push(reader.cstring('option'));
  reader.end();
  return { newestMinor: version & 0xffff, unsupported };
}

export function encodeNegotiateProtocolVersion(
  sink: ByteSink,
  newestMinor: number,
  unsupported: readonly string[],
): void {
  frame(sink, backend.NegotiateProtocolVersion, () => {
    sink.int32((3 << 16) | newestMinor);
    sink.int32(unsupported.length);
    for (const name of unsupported) cstring(sink, name, 'NegotiateProtocolVersion: option');
  });
}

export const decodeParseComplete = withoutFields('ParseComplete');
export const decodeBindComplete = withoutFields('BindComplete');
export const decodeCloseComplete = withoutFields('CloseComplete');
export const decodeNoData = withoutFields('NoData');
export const decodeEmptyQueryResponse = withoutFields('EmptyQueryResponse');
export const decodePortalSuspended = withoutFields('PortalSuspended');
export const decodeCopyDone = withoutFields('CopyDone');

export function encodeParseComplete(sink: ByteSink): void {
  frameWithoutFields(sink, backend.ParseComplete);
}

export function encodeBindComplete(sink: ByteSink): void {
  frameWithoutFields(sink, backend.BindComplete);
}

export function encodeCloseComplete(sink: ByteSink): void {
  frameWithoutFields(sink, backend.CloseComplete);
}

export function encodeNoData(sink: ByteSink): void {
  frameWithoutFields(sink, backend.NoData);
}

export function encodeEmptyQueryResponse(sink: ByteSink): void {
  frameWithoutFields(sink, backend.EmptyQueryResponse);
}

export function encodePortalSuspended(sink: ByteSink): void {
  frameWithoutFields(sink, backend.PortalSuspended);
}

/** How the data of a COPY is laid out: 0 text, 1 binary; as a whole and by column. */
export interface CopyResponse {
  readonly format: 0 | 1;
  readonly columnFormats: readonly (0 | 1)[];
}

/** CopyInResponse, CopyOutResponse and CopyBothResponse have the same fields. */
export function decodeCopyResponse(buffer: Buffer, start: number, end: number): CopyResponse {
  const reader = fieldsOf('CopyResponse', buffer, start, end);
  const format = reader.uint8('format');
  if (format !== 0 && format !== 1) throw reader.violation('format', `${format} is neither text (0) nor binary (1)`);
  const columnFormats = reader.formats(reader.count('columns', 2), 'column format');
  reader.end();
  return { format, columnFormats };
}

export function encodeCopyInResponse(sink: ByteSink, copy: CopyResponse): void {
  copyResponse(sink, backend.CopyInResponse, copy);
}

export function encodeCopyOutResponse(sink: ByteSink, copy: CopyResponse): void {
  copyResponse(sink, backend.CopyOutResponse, copy);
}

export function encodeCopyBothResponse(sink: ByteSink, copy: CopyResponse): void {
  copyResponse(sink, backend.CopyBothResponse, copy);
}

function copyResponse(sink: ByteSink, type: number, copy: CopyResponse): void {
  frame(sink, type, () => {
    sink.byte(copy.format);
    formats(sink, copy.columnFormats, 'CopyResponse: columns');
  });
}

/** A view; null is NULL. */
export function decodeFunctionCallResponse(
  buffer: Buffer,
  start: number,
  end: number,
): { readonly result: Buffer | null } {
  const reader = fieldsOf('FunctionCallResponse', buffer, start, end);
  const result = reader.nullableBytes('result');
  reader.end();
  return { result };
}

export function encodeFunctionCallResponse(sink: ByteSink, result: Buffer | null): void {
  frame(sink, backend.FunctionCallResponse, () => {
    sink.int32(result === null ? -1 : result.length);
    if (result !== null) sink.append(result);
  });
}
