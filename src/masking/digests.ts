/** What the mask `hash` puts in the place of a value: equal values stay equal, whatever the wire format. */

/** Keyed digest (HMAC-SHA-256, 32 bytes) of a value. Equal values have equal digests under one key. */
export type HashValue = (value: Uint8Array) => Buffer;

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

const backslash = 0x5c;

/** The bytes that a bytea in text stands for, under either setting of bytea_output. */
export function byteaValue(src: Buffer, start: number, end: number): Buffer | undefined {
  if (src[start] === backslash && start + 1 < end && src[start + 1] === 0x78) {
    return hexBytes(src.toString('latin1', start + 2, end), '');
  }
  const value = Buffer.alloc(end - start);
  let length = 0;
  for (let at = start; at < end; at++) {
    let byte = src.readUInt8(at);
    if (byte === backslash) {
      if (at + 1 < end && src[at + 1] === backslash) at++;
      else {
        const octal = src.toString('latin1', at + 1, Math.min(at + 4, end));
        if (!/^[0-3][0-7]{2}$/.test(octal)) return undefined;
        byte = Number.parseInt(octal, 8);
        at += 3;
      }
    }
    value[length++] = byte;
  }
  return value.subarray(0, length);
}

function hexBytes(text: string, separator: string): Buffer | undefined {
  const hex = separator === '' ? text : text.replaceAll(separator, '');
  const value = Buffer.from(hex, 'hex');
  // The decoder stops without an error at what is no hexadecimal digit.
  return hex.length === 2 * value.length ? value : undefined;
}
