/** The fields that messages are made of: a bounded reader over the bytes of one message, and the writers that mirror it. */
import { CountersignError } from '../../errors.ts';
import type { ByteSink } from '../../lib/byte-sink.ts';

/** Type byte and length word. */
export const headerBytes = 5;

/** BOM kept: the text is taken exactly as it was sent. */
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const lenientUtf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** Up to here a loop beats the calls into native code that find the end of a text and decode it. */
const shortTextBytes = 12;

/** Counts are 16 bits, and servers read them as unsigned: drivers do send more than 32,767 parameters. */
const maxCount = 0xffff;

/**
 * Reads the fields of one message in order. Every read is checked against the end of the message first; errors
 * (`protocol_violation`) name the message and the field, and never quote its value. Byte fields are views, not copies.
 */
export class FieldReader {
  readonly #buffer: Buffer;
  readonly #end: number;
  readonly #message: string;
  #position: number;

  /** The fields are in buffer[position, end). */
  constructor(message: string, buffer: Buffer, position: number, end: number) {
    this.#message = message;
    this.#buffer = buffer;
    this.#position = position;
    // An end beyond the buffer would turn a bounds check into a wrong promise.
    this.#end = Math.min(end, buffer.length);
  }

  get remaining(): number {
    return this.#end - this.#position;
  }

  violation(field: string, problem: string): CountersignError {
    return new CountersignError('protocol_violation', `${this.#message}: ${field}: ${problem}`);
  }

  /** Of a list of fields, `ordinal` says which one; the name is put together only for an error. */
  #need(size: number, field: string, ordinal?: number): void {
    if (this.remaining >= size) return;
    throw this.violation(numbered(field, ordinal), `the message ends ${size - this.remaining} bytes too early`);
  }

  uint8(field: string): number {
    this.#need(1, field);
    return this.#buffer[this.#position++] ?? 0;
  }

  int16(field: string): number {
    this.#need(2, field);
    const value = this.#buffer.readInt16BE(this.#position);
    this.#position += 2;
    return value;
  }

  int32(field: string, ordinal?: number): number {
    this.#need(4, field, ordinal);
    const value = this.#buffer.readInt32BE(this.#position);
    this.#position += 4;
    return value;
  }

  uint32(field: string): number {
    this.#need(4, field);
    const value = this.#buffer.readUInt32BE(this.#position);
    this.#position += 4;
    return value;
  }

  /** A 16-bit count of items that take at least `itemBytes` each: bounded by what is left before anything is allocated. */
  count(field: string, itemBytes: number): number {
    const value = this.int16(field) & maxCount;
    if (value * itemBytes > this.remaining) {
      throw this.violation(field, `${value} items do not fit in the ${this.remaining} bytes that are left`);
    }
    return value;
  }

  formats(size: number, field: string): (0 | 1)[] {
    const codes: (0 | 1)[] = [];
    for (let index = 0; index < size; index++) codes.push(this.format(field));
    return codes;
  }

  /** A format code. */
  format(field: string): 0 | 1 {
    const value = this.int16(field);
    if (value !== 0 && value !== 1) throw this.violation(field, `${value} is neither text (0) nor binary (1)`);
    return value;
  }

  bytes(size: number, field: string, ordinal?: number): Buffer {
    if (size < 0) throw this.violation(numbered(field, ordinal), `a length of ${size}`);
    this.#need(size, field, ordinal);
    const value = this.#buffer.subarray(this.#position, this.#position + size);
    this.#position += size;
    return value;
  }

  /** So many nullable values, as views. */
  values(size: number, field: string): (Buffer | null)[] {
    const items: (Buffer | null)[] = [];
    for (let ordinal = 1; ordinal <= size; ordinal++) items.push(this.nullableBytes(field, ordinal));
    return items;
  }

  /** A length of -1 and no bytes is NULL. */
  nullableBytes(field: string, ordinal?: number): Buffer | null {
    const size = this.int32(field, ordinal);
    return size === -1 ? null : this.bytes(size, field, ordinal);
  }

  /** All that is left. */
  rest(field: string): Buffer {
    return this.bytes(this.remaining, field);
  }

  /** The key of a session, for cancelling: 4 bytes in protocol 3.0, up to 256 in 3.2. */
  secretKey(): Buffer {
    const size = this.remaining;
    if (!isSecretKeySize(size)) throw this.violation('secret key', `${size} bytes instead of 4 to 256`);
    return this.bytes(size, 'secret key');
  }

  /** A NUL-terminated string of valid UTF-8. */
  cstring(field: string): string {
    const short = this.#shortText();
    if (short !== undefined) return short;
    const bytes = this.#terminated(field);
    try {
      return strictUtf8.decode(bytes);
    } catch {
      throw this.violation(field, 'not valid UTF-8');
    }
  }

  /** A NUL-terminated string; what is not UTF-8 becomes U+FFFD. For texts that are shown and never interpreted. */
  lenientCstring(field: string): string {
    return this.#shortText() ?? lenientUtf8.decode(this.#terminated(field));
  }

  /** The string at the present position if it is short and ASCII, as most names are. */
  #shortText(): string | undefined {
    const start = this.#position;
    const limit = Math.min(this.#end, start + shortTextBytes);
    let zero = start;
    for (; zero < limit; zero++) {
      const byte = this.#buffer[zero] ?? 0x80;
      if (byte === 0) break;
      if (byte > 0x7f) return undefined;
    }
    if (zero >= limit) return undefined;
    let text = '';
    for (let index = start; index < zero; index++) text += String.fromCharCode(this.#buffer[index] ?? 0);
    this.#position = zero + 1;
    return text;
  }

  #terminated(field: string): Buffer {
    // May look beyond the end, into the next message; only when this one is broken, which ends the session.
    const zero = this.#buffer.indexOf(0, this.#position);
    if (zero === -1 || zero >= this.#end) throw this.violation(field, 'no terminating zero byte');
    const bytes = this.#buffer.subarray(this.#position, zero);
    this.#position = zero + 1;
    return bytes;
  }

  /** Nothing may follow the last field. */
  end(): void {
    if (this.remaining !== 0) throw this.violation('end', `${this.remaining} bytes too many`);
  }
}

function numbered(field: string, ordinal: number | undefined): string {
  return ordinal === undefined ? field : `${field} ${ordinal}`;
}

/** A reader of the fields in the frame buffer[start, end), which opens with type byte and length. */
export function fieldsOf(message: string, buffer: Buffer, start: number, end: number): FieldReader {
  return new FieldReader(message, buffer, start + headerBytes, end);
}

/** A decoder for a message that has no fields: it only makes sure of that. */
export function withoutFields(message: string): (buffer: Buffer, start: number, end: number) => void {
  return (buffer, start, end) => fieldsOf(message, buffer, start, end).end();
}

function isSecretKeySize(size: number): boolean {
  return size >= 4 && size <= 256;
}

// ---- writers ----

/** Writes one framed message: type, length, and what `fields` writes. If that throws, the sink is as it was. */
export function frame(sink: ByteSink, type: number, fields: () => void): void {
  const start = sink.length;
  sink.byte(type);
  lengthPrefixed(sink, start, fields);
}

/** Writes a message without a type byte, as connections open with. */
export function unframed(sink: ByteSink, fields: () => void): void {
  lengthPrefixed(sink, sink.length, fields);
}

function lengthPrefixed(sink: ByteSink, rollbackTo: number, fields: () => void): void {
  const lengthAt = sink.length;
  try {
    sink.int32(0);
    fields();
    sink.buffer.writeInt32BE(sink.length - lengthAt, lengthAt);
  } catch (error) {
    // Half a message in a stream would make the receiver read the next one as its rest.
    sink.length = rollbackTo;
    throw error;
  }
}

export function frameWithoutFields(sink: ByteSink, type: number): void {
  sink.byte(type);
  sink.int32(4);
}

/**
 * Writes a NUL-terminated string. `field` names it in errors.
 * @throws CountersignError `protocol_violation` for a text that the protocol cannot carry unchanged
 */
export function cstring(sink: ByteSink, text: string, field: string): void {
  if (text.includes('\0')) throw unsendable(field, 'a text with a zero byte cannot be sent');
  // The encoder would quietly put U+FFFD there, and what was approved would not be what runs.
  if (!text.isWellFormed()) throw unsendable(field, 'half of a surrogate pair cannot be sent');
  sink.utf8(text);
  sink.byte(0);
}

export function count(sink: ByteSink, items: number, field: string): void {
  if (items > maxCount) throw unsendable(field, `${items} items are more than ${maxCount}`);
  sink.int16((items << 16) >> 16);
}

export function formats(sink: ByteSink, codes: readonly number[], field: string): void {
  count(sink, codes.length, field);
  for (const code of codes) sink.int16(code);
}

/** Object identifiers are unsigned. */
export function oid(sink: ByteSink, value: number): void {
  sink.int32(value | 0);
}

/** A count and so many values, each with its length before it. */
export function values(sink: ByteSink, items: readonly (Uint8Array | null)[], field: string): void {
  count(sink, items.length, field);
  for (const item of items) {
    sink.int32(item === null ? -1 : item.length);
    if (item !== null) sink.append(item);
  }
}

export function secretKey(sink: ByteSink, key: Buffer, message: string): void {
  if (!isSecretKeySize(key.length))
    throw unsendable(`${message}: secret key`, `${key.length} bytes instead of 4 to 256`);
  sink.append(key);
}

export function unsendable(field: string, problem: string): CountersignError {
  return new CountersignError('protocol_violation', `${field}: ${problem}`);
}
