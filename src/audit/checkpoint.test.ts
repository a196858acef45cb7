import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { CountersignError } from '../errors.ts';
import { generateLogKey, logSigner, logVerifier } from './checkpoint.ts';
import { emptyRoot } from './tlog.ts';

const origin = 'gateway.example.com/log/node-1';

/** The key and the note of the package golang.org/x/mod/sumdb/note, made by another implementation. */
const peterKey = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const peterNote =
  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n" +
  '— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n';

const brokenLog = (error: unknown) => error instanceof CountersignError && error.code === 'log_broken';

void test('a note signed by another implementation verifies; its text is no checkpoint', () => {
  assert.throws(() => logVerifier(peterKey).verify(peterNote), /origin or size is malformed/);
  assert.throws(
    () => logVerifier(peterKey).verify(peterNote.replace('problem', 'Problem')),
    /signature by PeterNeumann\+c74f20a3 is wrong/,
  );
});

void test('what is signed is read back', () => {
  const { privateKeyPem, verifierKey } = generateLogKey(origin);
  const root = Buffer.alloc(32, 7);
  const note = logSigner(origin, privateKeyPem).sign({ size: 20_852_163, root });
  assert.match(
    note,
    /^gateway\.example\.com\/log\/node-1\n20852163\nBwcHBw[^\n]+\n\n— gateway\.example\.com\/log\/node-1 [^\n]+\n$/,
  );
  assert.deepEqual(logVerifier(verifierKey).verify(note), { origin, size: 20_852_163, root });
});

void test('a witness may add its signature; an unknown one alone is worth nothing', () => {
  const ours = generateLogKey(origin);
  const other = generateLogKey('witness.example.com');
  const checkpoint = { size: 0, root: emptyRoot };
  const note = logSigner(origin, ours.privateKeyPem).sign(checkpoint);
  const foreign = logSigner('witness.example.com', other.privateKeyPem).sign(checkpoint).split('\n').at(-2) ?? '';
  assert.equal(logVerifier(ours.verifierKey).verify(`${note}${foreign}\n`).size, 0);
  const sameName = logSigner(origin, generateLogKey(origin).privateKeyPem).sign(checkpoint);
  assert.throws(() => logVerifier(ours.verifierKey).verify(sameName), /not signed by the key/);
});

void test('every changed byte of a note is found', () => {
  const { privateKeyPem, verifierKey } = generateLogKey(origin);
  const note = logSigner(origin, privateKeyPem).sign({ size: 1_234, root: Buffer.alloc(32, 9) });
  const verifier = logVerifier(verifierKey);
  for (let index = 0; index < note.length; index++) {
    for (const replacement of ['A', '9', '\n', ' ', '']) {
      const changed = note.slice(0, index) + replacement + note.slice(index + 1);
      if (changed === note) continue;
      assert.throws(() => verifier.verify(changed), brokenLog, `byte ${index} as ${JSON.stringify(replacement)}`);
    }
  }
});

void test('keys that are none are refused', () => {
  const { verifierKey } = generateLogKey(origin);
  const invalid = (error: unknown) => error instanceof CountersignError && error.code === 'input_invalid';
  assert.throws(() => logVerifier(verifierKey.replace('node-1', 'node-2')), invalid);
  assert.throws(() => logVerifier('nonsense'), invalid);
  assert.throws(() => logVerifier(`${verifierKey}A`), invalid);
  const rsa = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString();
  assert.throws(() => logSigner(origin, rsa), /not an Ed25519 key/);
  assert.throws(() => logSigner('has space', rsa), /no white space/);
});
