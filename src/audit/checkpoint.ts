/**
 * Checkpoints: a tree head signed as a C2SP signed note with Ed25519 (tlog-checkpoint, signed-note), so that other
 * people's tools verify it and witnesses can add their signatures. Unknown signatures are ignored, as the specification says.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify, type KeyObject } from 'node:crypto';
import { CountersignError } from '../errors.ts';
import { sha256 } from './tlog.ts';
import { hashBytes } from './tree-shape.ts';

const ed25519Type = 1;
const keyHashBytes = 4;
const signatureBytes = 64;

export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
}

export interface LogSigner {
  readonly origin: string;
  /** `name+hash+base64(0x01 || public key)`. */
  readonly verifierKey: string;
  /** The whole signed note. */
  sign(checkpoint: { readonly size: number; readonly root: Buffer }): string;
}

export interface LogVerifier {
  readonly name: string;
  /** @throws CountersignError `log_broken` for a note that is malformed or not signed by this key */
  verify(note: string): Checkpoint;
}

export function generateLogKey(origin: string): { readonly privateKeyPem: string; readonly verifierKey: string } {
  const { privateKey } = generateKeyPairSync('ed25519');
  const privateKeyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { privateKeyPem, verifierKey: logSigner(origin, privateKeyPem).verifierKey };
}

/** @throws CountersignError `configuration_invalid` for a key that is not Ed25519 and an origin that cannot be a key name */
export function logSigner(origin: string, privateKeyPem: string): LogSigner {
  if (origin === '' || /[\s+\p{Cc}]/u.test(origin) || !origin.isWellFormed()) {
    throw new CountersignError(
      'configuration_invalid',
      `the log's origin ${JSON.stringify(origin)} must have no white space and no plus`,
    );
  }
  const privateKey = ed25519Key(() => createPrivateKey(privateKeyPem), 'private key');
  const publicKey = rawPublicKey(createPublicKey(privateKey));
  const keyHash = keyHashOf(origin, publicKey);
  const typed = Buffer.concat([Buffer.of(ed25519Type), publicKey]);
  return {
    origin,
    verifierKey: `${origin}+${keyHash.toString('hex')}+${typed.toString('base64')}`,
    sign({ size, root }) {
      const text = `${origin}\n${size}\n${root.toString('base64')}\n`;
      const signature = Buffer.concat([keyHash, sign(null, Buffer.from(text), privateKey)]);
      return `${text}\n— ${origin} ${signature.toString('base64')}\n`;
    },
  };
}

/** @throws CountersignError `input_invalid` for a text that is no verifier key */
export function logVerifier(verifierKey: string): LogVerifier {
  const invalid = (problem: string) =>
    new CountersignError('input_invalid', `this is not a log's public key: ${problem}`, {
      hint: 'its form is name+hash+base64; the log keeps it in log.vkey',
    });
  const [name, hashText, keyText, ...rest] = splitVerifierKey(verifierKey.trim());
  if (name === undefined || name === '' || hashText === undefined || keyText === undefined || rest.length > 0)
    throw invalid('parts are missing');
  const typed = strictBase64(keyText);
  if (typed === undefined || typed.length !== 1 + 32 || typed[0] !== ed25519Type)
    throw invalid('it is not an Ed25519 key');
  const raw = typed.subarray(1);
  const keyHash = keyHashOf(name, raw);
  if (keyHash.toString('hex') !== hashText) throw invalid('its hash does not fit the key and the name');
  const publicKey = createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') },
    format: 'jwk',
  });
  return {
    name,
    verify(note) {
      const { text, signatures } = parseNote(note);
      const ours = signatures.filter((signature) => signature.name === name && signature.keyHash.equals(keyHash));
      if (ours.length === 0) throw broken(`it is not signed by the key ${name}+${hashText}`);
      for (const { signature } of ours) {
        if (signature.length !== signatureBytes || !verify(null, Buffer.from(text), publicKey, signature)) {
          throw broken(`its signature by ${name}+${hashText} is wrong`);
        }
      }
      return parseCheckpointText(text);
    },
  };
}

interface NoteSignature {
  readonly name: string;
  readonly keyHash: Buffer;
  readonly signature: Buffer;
}

function parseNote(note: string): { text: string; signatures: NoteSignature[] } {
  const split = note.lastIndexOf('\n\n');
  if (split < 0 || !note.endsWith('\n') || note.length > 1_000_000) throw broken('it is no signed note');
  for (let index = 0; index < note.length; index++) {
    const unit = note.charCodeAt(index);
    if (unit < 32 && unit !== 10) throw broken('it has a control character');
  }
  const signatures = note
    .slice(split + 2, -1)
    .split('\n')
    .map((line): NoteSignature => {
      const match = /^— (?<name>[^\s+]+) (?<signature>\S+)$/u.exec(line);
      const bytes = strictBase64(match?.groups?.['signature'] ?? '');
      if (match === null || bytes === undefined || bytes.length <= keyHashBytes)
        throw broken('a signature line is malformed');
      return {
        name: match.groups?.['name'] ?? '',
        keyHash: bytes.subarray(0, keyHashBytes),
        signature: bytes.subarray(keyHashBytes),
      };
    });
  return { text: note.slice(0, split + 1), signatures };
}

function parseCheckpointText(text: string): Checkpoint {
  const [origin, sizeText, rootText, ...rest] = text.slice(0, -1).split('\n');
  const root = strictBase64(rootText ?? '');
  const size = Number(sizeText);
  if (
    origin === undefined ||
    origin === '' ||
    sizeText === undefined ||
    !/^(?:0|[1-9]\d*)$/.test(sizeText) ||
    !Number.isSafeInteger(size)
  ) {
    throw broken('its origin or size is malformed');
  }
  if (root === undefined || root.length !== hashBytes) throw broken('its root hash is malformed');
  if (rest.includes('')) throw broken('it has an empty extension line');
  return { origin, size, root };
}

function broken(problem: string): CountersignError {
  return new CountersignError('log_broken', `the log's checkpoint cannot be trusted: ${problem}`);
}

/** A name may not hold a plus, base64 may: so the first two separate. */
function splitVerifierKey(text: string): string[] {
  const first = text.indexOf('+');
  const second = text.indexOf('+', first + 1);
  return first < 0 || second < 0 ? [] : [text.slice(0, first), text.slice(first + 1, second), text.slice(second + 1)];
}

function keyHashOf(name: string, publicKey: Uint8Array): Buffer {
  const input = Buffer.concat([Buffer.from(`${name}\n`), Buffer.of(ed25519Type), publicKey]);
  return sha256(input).subarray(0, keyHashBytes);
}

function rawPublicKey(key: KeyObject): Buffer {
  return Buffer.from(key.export({ format: 'jwk' }).x ?? '', 'base64url');
}

function ed25519Key(load: () => KeyObject, what: string): KeyObject {
  let key: KeyObject;
  try {
    key = load();
  } catch (cause) {
    throw new CountersignError('configuration_invalid', `the log's ${what} cannot be read: it must be PKCS #8 PEM`, {
      cause,
    });
  }
  if (key.asymmetricKeyType !== 'ed25519')
    throw new CountersignError('configuration_invalid', `the log's ${what} is not an Ed25519 key`);
  return key;
}

/** Only the one canonical form: every changed byte of a note must be found. */
function strictBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return text !== '' && bytes.toString('base64') === text ? bytes : undefined;
}
