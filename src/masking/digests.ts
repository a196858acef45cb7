/** What the mask `hash` puts in the place of a value: equal values stay equal, whatever the wire format. */
import { ByteaText } from './bytea-text.ts';

/** Keyed digest (HMAC-SHA-256, 32 bytes) of a value. Equal values have equal digests under one key. */
export type HashValue = (value: Uint8Array) => Buffer;

export interface StreamedHash {
  update(piece: Uint8Array): void;
  end(): Buffer;
}

/** `begin` gives the same digest for a value that comes piece by piece. */
export type KeyedHash = HashValue & { readonly begin: () => StreamedHash };

/** `h:` and the first 16 hex digits of the digest. */
export function textDigest(hash: HashValue, value: Uint8Array): string {
  return `h:${hash(value).toString('hex', 0, 8)}`;
}

const uuidBytes = 16;

/** A UUID of version 8 (RFC 9562, 5.8) whose 122 free bits are those of the digest. null = this is no UUID. */
export function uuidDigest(hash: HashValue, src: Buffer, start: number, end: number, format: 0 | 1): Buffer | null {
  const value = format === 1 ? src.subarray(start, end) : hexBytes(src.toString('latin1', start, end), '-');
  if (value?.length !== uuidBytes) return null;
  const digest = Buffer.from(hash(value).subarray(0, uuidBytes));
  digest[6] = (digest.readUInt8(6) & 0x0f) | 0x80;
  digest[8] = (digest.readUInt8(8) & 0x3f) | 0x80;
  if (format === 1) return digest;
  const hex = digest.toString('hex');
  return Buffer.from(
    [
      [0, 8],
      [8, 12],
      [12, 16],
      [16, 20],
      [20, 32],
    ]
      .map(([a, b]) => hex.slice(a, b))
      .join('-'),
  );
}

/** The 32 bytes of the digest. null = this cannot be read as bytea. */
export function byteaDigest(hash: HashValue, src: Buffer, start: number, end: number, format: 0 | 1): Buffer | null {
  if (format === 1) return hash(src.subarray(start, end));
  const value = byteaValue(src, start, end);
  return value === undefined ? null : Buffer.from(`\\x${hash(value).toString('hex')}`);
}

/** The bytes that a bytea in text stands for. */
export function byteaValue(src: Buffer, start: number, end: number): Buffer | undefined {
  const text = new ByteaText();
  const value = text.write(src.subarray(start, end));
  return text.end() ? value : undefined;
}

function hexBytes(text: string, separator: string): Buffer | undefined {
  const hex = separator === '' ? text : text.replaceAll(separator, '');
  const value = Buffer.from(hex, 'hex');
  // The decoder stops without an error at what is no hexadecimal digit.
  return hex.length === 2 * value.length ? value : undefined;
}
