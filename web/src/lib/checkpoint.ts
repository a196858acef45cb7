/** Checkpoints in the browser: C2SP signed notes with Ed25519, verified by WebCrypto. The same rules as `src/audit/checkpoint.ts`. */
import { isSameHash, sha256, type Hash } from './tlog.ts';

const ed25519Type = 1;
const keyHashBytes = 4;
const signatureBytes = 64;
const rootBytes = 32;

export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Hash;
  /** The whole signed note. */
  readonly note: string;
}

export interface VerifierKey {
  readonly name: string;
  readonly keyHash: Hash;
  readonly publicKey: Awaited<ReturnType<typeof crypto.subtle.importKey>>;
}

/** @throws Error for a text that is no Ed25519 verifier key (`name+hash+base64`) */
export async function parseVerifierKey(text: string): Promise<VerifierKey> {
  // A name may not hold a plus, base64 may: so the first two separate.
  const [, name = '', hashText = '', keyText = ''] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(text.trim()) ?? [];
  const typed = fromBase64(keyText);
  if (typed === undefined || typed.length !== 1 + 32 || typed[0] !== ed25519Type)
    throw new Error("this is not a log's public key (name+hash+base64 of an Ed25519 key)");
  const named = new TextEncoder().encode(`${name}\n`);
  const keyHash = (await sha256(concat(named, typed))).slice(0, keyHashBytes);
  if (toHex(keyHash) !== hashText) throw new Error("the hash in the log's public key does not fit it");
  const publicKey = await crypto.subtle.importKey('raw', typed.slice(1), { name: 'Ed25519' }, false, ['verify']);
  return { name, keyHash, publicKey };
}

/** @throws Error for a note that is malformed, of another log, or not signed by this key */
export async function verifyCheckpoint(note: string, key: VerifierKey): Promise<Checkpoint> {
  const split = note.lastIndexOf('\n\n');
  // oxlint-disable-next-line no-control-regex -- the specification forbids every one of them but the line feed
  if (split < 0 || !note.endsWith('\n') || note.length > 1_000_000 || /[\0-\x09\x0b-\x1f]/.test(note))
    throw new Error('the checkpoint is no signed note');
  const text = note.slice(0, split + 1);
  const signatures = note
    .slice(split + 2, -1)
    .split('\n')
    .map((line) => {
      const [, name = '', base64 = ''] = /^— ([^\s+]+) (\S+)$/u.exec(line) ?? [];
      const bytes = fromBase64(base64);
      if (name === '' || bytes === undefined || bytes.length <= keyHashBytes)
        throw new Error('a signature line of the checkpoint is malformed');
      return { name, keyHash: bytes.slice(0, keyHashBytes), signature: bytes.slice(keyHashBytes) };
    });
  const ours = signatures.filter((one) => one.name === key.name && isSameHash(one.keyHash, key.keyHash));
  if (ours.length === 0) throw new Error(`the checkpoint is not signed by ${key.name}`);
  for (const { signature } of ours) {
    const signed = new TextEncoder().encode(text);
    const isGood =
      signature.length === signatureBytes &&
      (await crypto.subtle.verify({ name: 'Ed25519' }, key.publicKey, signature, signed));
    if (!isGood) throw new Error(`the signature of the checkpoint by ${key.name} is wrong`);
  }
  return { ...parseText(text, key.name), note };
}

function parseText(text: string, name: string): Omit<Checkpoint, 'note'> {
  const [origin = '', sizeText = '', rootText = '', ...rest] = text.slice(0, -1).split('\n');
  const size = Number(sizeText);
  const root = fromBase64(rootText);
  if (!/^(?:0|[1-9]\d*)$/.test(sizeText) || !Number.isSafeInteger(size))
    throw new Error('the size in the checkpoint is malformed');
  if (root?.length !== rootBytes || rest.includes('')) throw new Error('the root in the checkpoint is malformed');
  if (origin !== name) throw new Error(`the checkpoint is of the log ${origin}, the key is of ${name}`);
  return { origin, size, root };
}

/** Only the one canonical form: every changed byte of a note must be found. */
function fromBase64(text: string): Hash | undefined {
  if (text === '' || !/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) return undefined;
  const binary = atob(text);
  if (btoa(binary) !== text) return undefined;
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

function concat(one: Uint8Array, other: Uint8Array): Hash {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
