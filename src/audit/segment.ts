/**
 * The stored form of recordings: pure functions over bytes, and compression.
 *
 * One file per session, `<date>/<session>.rec`: a head (8 bytes of magic, 32 random bytes of salt), then segments. A
 * segment is 2 MiB of events, or what a second brought, or what was left at the end: compressed, then encrypted with
 * AES-256-GCM. The file's key comes from the store's key and the salt (HKDF-SHA256), so that the segment's number can be
 * the nonce.
 *
 * Segment: head of 16 bytes (number, codec, three zeros, bytes before compression, bytes of ciphertext), the 16 bytes of
 * the GCM tag, ciphertext. Event: kind (1 byte), milliseconds since the start of the recording (uint32), length
 * (uint32), payload: JSON for a request, wire bytes for a response.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import * as zlib from 'node:zlib';

export const segmentHeadBytes = 32;
export const fileHeadBytes = 40;
export const eventHeadBytes = 9;
export const eventKinds = { request: 1, response: 2, end: 3 } as const;
const magic = Buffer.from('CSREC001', 'latin1');
const saltBytes = 32;

export function newFileHead(): Buffer {
  return Buffer.concat([magic, randomBytes(saltBytes)]);
}

/** The key of one file, from the store's key and the file's head. */
export function fileKey(key: Buffer, head: Buffer, sessionId: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, head.subarray(magic.length), `countersign recording ${sessionId}`, 32));
}

// ---- compression ----

export interface CompressedPiece {
  readonly codec: number;
  readonly bytes: Buffer;
}

const codecs = { zstd: 1, brotli: 2 } as const;
const smallestChunkBytes = 4 * 1024;
type ZlibCallback = (error: Error | null, result: Buffer) => void;

/** Blocks while it works: for a thread of its own. */
export function compressPiece(bytes: Buffer): CompressedPiece {
  const { constants } = zlib;
  // Mostly the whole result, and nothing large for a small piece.
  const chunkSize = Math.max(smallestChunkBytes, bytes.length >> 1);
  // Node before 22.15 has no zstd.
  if (typeof zlib.zstdCompressSync === 'function') {
    // A fast level: half the CPU of level 1 for twice the size, and CPU is what a stream runs out of.
    const params = { [constants.ZSTD_c_compressionLevel]: -3 };
    return {
      codec: codecs.zstd,
      bytes: zlib.zstdCompressSync(bytes, { chunkSize, pledgedSrcSize: bytes.length, params }),
    };
  }
  const params = { [constants.BROTLI_PARAM_QUALITY]: 0 };
  return { codec: codecs.brotli, bytes: zlib.brotliCompressSync(bytes, { chunkSize, params }) };
}

function decompressPiece(codec: number, bytes: Buffer, plainBytes: number): Promise<Buffer> {
  const options = { maxOutputLength: Math.max(plainBytes, 1) };
  return new Promise((resolve, reject) => {
    const done: ZlibCallback = (error, result) => {
      if (error === null) resolve(result);
      else reject(error);
    };
    if (codec === codecs.zstd) zlib.zstdDecompress(bytes, options, done);
    else zlib.brotliDecompress(bytes, options, done);
  });
}

// ---- the stored form ----

function nonceOf(number: number): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32BE(number, 8);
  return nonce;
}

function segmentHead(number: number, codec: number, plainBytes: number, cipherBytes: number): Buffer {
  const head = Buffer.alloc(16);
  head.writeUInt32BE(number, 0);
  head[4] = codec;
  head.writeUInt32BE(plainBytes, 8);
  head.writeUInt32BE(cipherBytes, 12);
  return head;
}

/** Returns the segment in parts, to be stored one behind the other. */
export function sealSegment(
  key: Uint8Array,
  sessionId: string,
  number: number,
  piece: CompressedPiece,
  plainBytes: number,
): Buffer[] {
  const head = segmentHead(number, piece.codec, plainBytes, piece.bytes.length);
  const cipher = createCipheriv('aes-256-gcm', key, nonceOf(number));
  cipher.setAAD(Buffer.concat([Buffer.from(`${sessionId}\n`), head]));
  const body = cipher.update(piece.bytes);
  // A stream cipher has nothing left over; what ends here is the tag.
  cipher.final();
  return [Buffer.concat([head, cipher.getAuthTag()]), body];
}

export interface StoredSegment {
  readonly number: number;
  readonly codec: number;
  readonly plainBytes: number;
  /** Head, tag and ciphertext. */
  readonly storedBytes: number;
}

/** Reads the head of a stored segment; undefined when it is not whole. */
export function readSegmentHead(head: Buffer): StoredSegment | undefined {
  if (head.length < segmentHeadBytes) return undefined;
  return {
    number: head.readUInt32BE(0),
    codec: head[4] ?? 0,
    plainBytes: head.readUInt32BE(8),
    storedBytes: segmentHeadBytes + head.readUInt32BE(12),
  };
}

export function isRecordingHead(head: Buffer): boolean {
  return head.length === fileHeadBytes && head.subarray(0, magic.length).equals(magic);
}

/** Decrypts and decompresses a stored segment. @throws whatever the libraries throw for bytes that are not genuine */
export async function openSegment(key: Buffer, sessionId: string, stored: Buffer): Promise<Buffer> {
  const head = readSegmentHead(stored);
  if (head === undefined || head.storedBytes !== stored.length) throw new Error('the segment is not whole');
  const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(head.number), { authTagLength: 16 });
  decipher.setAAD(Buffer.concat([Buffer.from(`${sessionId}\n`), stored.subarray(0, 16)]));
  decipher.setAuthTag(stored.subarray(16, segmentHeadBytes));
  const compressed = Buffer.concat([decipher.update(stored.subarray(segmentHeadBytes)), decipher.final()]);
  const plain = await decompressPiece(head.codec, compressed, head.plainBytes);
  if (plain.length !== head.plainBytes) throw new Error('the segment has another size than it says');
  return plain;
}
