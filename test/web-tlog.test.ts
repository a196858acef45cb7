/** The page's own verifier of the log against the gateway's: the same proofs, the same verdicts. Promise P6. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { generateLogKey, logSigner, logVerifier } from '../src/audit/checkpoint.ts';
import { consistencyProof, inclusionProof, leafHash, perfectRoot, sha256, TileTree } from '../src/audit/tlog.ts';
import { hashBytes, tilePath } from '../src/audit/tree-shape.ts';
import { parseVerifierKey, verifyCheckpoint } from '../web/src/lib/checkpoint.ts';
import * as web from '../web/src/lib/tlog.ts';

const entryOf = (index: number): Buffer => Buffer.from(`{"entry":${index}}`);

interface PublishedTree {
  readonly files: ReadonlyMap<string, web.Hash>;
  readonly root: web.Hash;
  readonly subtree: (level: number, index: number) => Buffer;
}

/** A published tree as a gateway has it: tiles and bundles of exactly this size. */
function published(size: number): PublishedTree {
  const files = new Map<string, web.Hash>();
  const tree = new TileTree();
  const leaves: Buffer[] = [];
  for (let index = 0; index < size; index++) {
    leaves.push(leafHash(entryOf(index)));
    tree.append(leafHash(entryOf(index)), (level, tile, hashes) => files.set(tilePath(level, tile), copy(hashes)));
  }
  for (const { level, index, width, hashes } of tree.partials()) files.set(tilePath(level, index, width), copy(hashes));
  for (let first = 0; first < size; first += 256) {
    const width = Math.min(256, size - first);
    const framed = Array.from({ length: width }, (_, at) => {
      const entry = entryOf(first + at);
      return Buffer.concat([Buffer.of(entry.length >> 8, entry.length & 255), entry]);
    });
    files.set(tilePath('entries', first / 256, width), copy(Buffer.concat(framed)));
  }
  const all = Buffer.concat(leaves);
  return {
    files,
    root: copy(tree.root()),
    subtree: (level, index) => perfectRoot(all, index * 2 ** level, 2 ** level),
  };
}

function copy(bytes: Uint8Array): web.Hash {
  return Uint8Array.from(bytes);
}

function treeOf({ files }: PublishedTree, size: number): web.LogTree {
  return new web.LogTree((path) => Promise.resolve(files.get(path)), size);
}

const sizes = [1, 2, 3, 255, 256, 257, 511, 512, 600, 1_024];
const trees = new Map(sizes.map((size) => [size, published(size)] as const));

const places = fc
  .constantFrom(...sizes)
  .chain((size) =>
    fc.record({ size: fc.constant(size), index: fc.nat(size - 1), first: fc.integer({ min: 0, max: size }) }),
  );

function need<T>(value: T | undefined): T {
  assert.ok(value !== undefined);
  return value;
}

void test('inclusion proofs are those of the gateway, and verify', async () => {
  await fc.assert(
    fc.asyncProperty(places, async ({ size, index }) => {
      const tree = need(trees.get(size));
      const proof = await treeOf(tree, size).inclusionProof(index);
      assert.deepEqual(
        proof.map((hash) => Buffer.from(hash)),
        inclusionProof(index, size, tree.subtree),
      );
      const entry = await treeOf(tree, size).entry(index);
      assert.equal(Buffer.from(entry).toString(), entryOf(index).toString());
      const leaf = await web.leafHash(entry);
      assert.equal(await web.verifyInclusion(leaf, index, size, proof, tree.root), true);
      for (const [position, hash] of proof.entries()) {
        const broken = proof.with(
          position,
          Uint8Array.from(hash, (byte, at) => (at === 0 ? byte ^ 1 : byte)),
        );
        assert.equal(await web.verifyInclusion(leaf, index, size, broken, tree.root), false);
      }
      assert.equal(await web.verifyInclusion(copy(sha256('x')), index, size, proof, tree.root), false);
      if (index + 1 < size) assert.equal(await web.verifyInclusion(leaf, index + 1, size, proof, tree.root), false);
    }),
    { numRuns: 60 },
  );
});

void test('consistency proofs are those of the gateway, and verify', async () => {
  await fc.assert(
    fc.asyncProperty(places, async ({ size, first }) => {
      const tree = need(trees.get(size));
      const before = first === 0 ? copy(sha256('')) : published(first).root;
      const proof = await treeOf(tree, size).consistencyProof(first);
      if (first > 0)
        assert.deepEqual(
          proof.map((hash) => Buffer.from(hash)),
          consistencyProof(first, size, tree.subtree),
        );
      assert.equal(await web.verifyConsistency(first, size, proof, before, tree.root), true);
      assert.equal(await web.verifyConsistency(first, size, proof, copy(sha256('y')), tree.root), false);
      if (first > 0 && first < size)
        assert.equal(await web.verifyConsistency(first, size, proof, before, copy(sha256('y'))), false);
    }),
    { numRuns: 40 },
  );
});

void test('a changed entry or tile is found, a missing one is named', async () => {
  const size = 600;
  const tree = need(trees.get(size));
  const files = new Map(tree.files);
  const bundle = need(files.get('tile/entries/000'));
  files.set(
    'tile/entries/000',
    Uint8Array.from(bundle, (byte, at) => (at === 4 ? byte ^ 1 : byte)),
  );
  const changed = treeOf({ ...tree, files }, size);
  const leaf = await web.leafHash(await changed.entry(0));
  assert.equal(await web.verifyInclusion(leaf, 0, size, await changed.inclusionProof(0), tree.root), false);
  files.delete('tile/1/000.p/2');
  await assert.rejects(treeOf({ ...tree, files }, size).inclusionProof(599), /tile\/1\/000\.p\/2 is missing/);
  files.set('tile/0/001', new Uint8Array(hashBytes));
  await assert.rejects(treeOf({ ...tree, files }, size).inclusionProof(300), /too short/);
});

void test('a full tile serves where the partial one is gone', async () => {
  const tree = need(trees.get(600));
  const size = 300;
  const smaller = new web.LogTree(
    (path) => Promise.resolve(path.includes('.p/') ? undefined : tree.files.get(path)),
    size,
  );
  // Tiles above the lowest hold hashes of full tiles only; one of them is full at 600 entries and at 300.
  assert.equal(Buffer.from(await smaller.entry(299)).toString(), entryOf(299).toString());
});

void test('checkpoints: signed, changed, of another key', async () => {
  const key = generateLogKey('test.example/log');
  const root = sha256('root');
  const note = logSigner('test.example/log', key.privateKeyPem).sign({ size: 1_234, root });
  const verifier = await parseVerifierKey(key.verifierKey);
  const checkpoint = await verifyCheckpoint(note, verifier);
  assert.deepEqual(
    { origin: checkpoint.origin, size: checkpoint.size, root: Buffer.from(checkpoint.root) },
    logVerifier(key.verifierKey).verify(note),
  );
  for (let index = 0; index < note.length; index++) {
    for (const replacement of ['A', '9', '\n', ' ', '']) {
      const changed = note.slice(0, index) + replacement + note.slice(index + 1);
      if (changed !== note) await assert.rejects(verifyCheckpoint(changed, verifier), `byte ${index}`);
    }
  }
  const other = await parseVerifierKey(generateLogKey('test.example/log').verifierKey);
  await assert.rejects(verifyCheckpoint(note, other), /not signed/);
  await assert.rejects(parseVerifierKey(key.verifierKey.replace('test', 'best')), /does not fit/);
  await assert.rejects(parseVerifierKey('nonsense'), /public key/);
});
