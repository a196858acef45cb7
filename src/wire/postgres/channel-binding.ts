/**
 * The channel binding `tls-server-end-point` (RFC 5929, section 4) of SCRAM-SHA-256-PLUS: a hash of the server's
 * certificate, by the hash of the certificate's own signature. Both ends mix it into the proof, so that a proof made for
 * one server is worth nothing at another.
 */
import { createHash } from 'node:crypto';

/** Signature algorithms by object identifier, in hexadecimal, with the hash that RFC 5929 takes for them. */
const hashOfSignature: ReadonlyMap<string, string> = new Map([
  // MD5 and SHA-1 are replaced by SHA-256.
  ['2a864886f70d010104', 'sha256'],
  ['2a864886f70d010105', 'sha256'],
  ['2a864886f70d01010e', 'sha224'],
  ['2a864886f70d01010b', 'sha256'],
  ['2a864886f70d01010c', 'sha384'],
  ['2a864886f70d01010d', 'sha512'],
  ['2a8648ce3d0401', 'sha256'],
  ['2a8648ce3d040301', 'sha224'],
  ['2a8648ce3d040302', 'sha256'],
  ['2a8648ce3d040303', 'sha384'],
  ['2a8648ce3d040304', 'sha512'],
]);
const rsaPss = '2a864886f70d01010a';
/** Hash functions by object identifier, as RSASSA-PSS names them (RFC 4055). */
const hashByName: ReadonlyMap<string, string> = new Map([
  ['2b0e03021a', 'sha256'],
  ['608648016503040204', 'sha224'],
  ['608648016503040201', 'sha256'],
  ['608648016503040202', 'sha384'],
  ['608648016503040203', 'sha512'],
]);

const tag = { objectIdentifier: 0x06, sequence: 0x30, hashParameter: 0xa0 } as const;

/**
 * The binding for a certificate in DER. Undefined where RFC 5929 defines none: a signature without one single hash, such
 * as Ed25519, or what cannot be read.
 */
export function tlsServerEndPoint(certificate: Buffer): Buffer | undefined {
  const [, signatureAlgorithm] = membersOf(membersOf(certificate)[0]?.content ?? empty);
  if (signatureAlgorithm?.tag !== tag.sequence) return undefined;
  const [name, parameters] = membersOf(signatureAlgorithm.content);
  if (name?.tag !== tag.objectIdentifier) return undefined;
  const oid = name.content.toString('hex');
  const hash = oid === rsaPss ? pssHash(parameters?.content ?? empty) : hashOfSignature.get(oid);
  return hash === undefined ? undefined : createHash(hash).update(certificate).digest();
}

/** RSASSA-PSS-params: the hash is an explicit first member, or SHA-1 by default. */
function pssHash(parameters: Buffer): string | undefined {
  const [first] = membersOf(parameters);
  if (first?.tag !== tag.hashParameter) return 'sha256';
  const [algorithm] = membersOf(first.content);
  const [name] = membersOf(algorithm?.content ?? empty);
  return hashByName.get(name?.content.toString('hex') ?? '');
}

interface Element {
  readonly tag: number;
  readonly content: Buffer;
}

const empty = Buffer.alloc(0);

/** The elements of DER (X.690) that stand in a row; what is cut short or longer than it says ends the row. */
function membersOf(der: Buffer): Element[] {
  const members: Element[] = [];
  let position = 0;
  while (position + 2 <= der.length) {
    const first = der[position + 1] ?? 0;
    const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
    const start = position + 2 + lengthBytes;
    if (lengthBytes > 4 || start > der.length) break;
    const size = lengthBytes === 0 ? first : der.readUIntBE(position + 2, lengthBytes);
    if (first === 0x80 || start + size > der.length) break;
    members.push({ tag: der[position] ?? 0, content: der.subarray(start, start + size) });
    position = start + size;
  }
  return members;
}
