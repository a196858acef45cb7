import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  consistencyProof,
  emptyRoot,
  inclusionProof,
  leafHash,
  nodeHash,
  rangeRoot,
  TileTree,
  verifyConsistency,
  verifyInclusion,
} from './tlog.ts';
import { bundleOffsets, partialTiles, tilePath } from './tree-shape.ts';

/** The reference entries that certificate-transparency-go and others test with, and their roots by tree size. */
const entries = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
].map((hex) => Buffer.from(hex, 'hex'));
const roots = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

/** RFC 6962 section 2.1, word by word: the oracle for everything cleverer. */
function rootByDefinition(leaves: readonly Buffer[]): Buffer {
  const [only] = leaves;
  if (only === undefined) return emptyRoot;
  if (leaves.length === 1) return only;
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return nodeHash(rootByDefinition(leaves.slice(0, split)), rootByDefinition(leaves.slice(split)));
}

const leavesOf = (count: number): Buffer[] =>
  Array.from({ length: count }, (_, index) => leafHash(Buffer.from(`entry ${index}`)));
const subtreeOf = (leaves: readonly Buffer[]) => (level: number, index: number) =>
  rootByDefinition(leaves.slice(index * 2 ** level, (index + 1) * 2 ** level));

function treeOf(leaves: readonly Buffer[]): TileTree {
  const tree = new TileTree();
  for (const leaf of leaves) tree.append(leaf, () => undefined);
  return tree;
}

void test('the roots of the reference tree', () => {
  assert.equal(emptyRoot.toString('hex'), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  const leaves = entries.map(leafHash);
  for (const [index, root] of roots.entries()) {
    assert.equal(
      treeOf(leaves.slice(0, index + 1))
        .root()
        .toString('hex'),
      root,
      `size ${index + 1}`,
    );
  }
});

void test('reference audit paths (RFC 6962 section 2.1.3 has the tree of 7)', () => {
  const leaves = entries.map(leafHash);
  const proof = inclusionProof(0, 8, subtreeOf(leaves)).map((hash) => hash.toString('hex'));
  assert.deepEqual(proof, [
    '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
    '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
    '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
  ]);
  const seven = leavesOf(7);
  const h = (start: number, end: number) => rootByDefinition(seven.slice(start, end));
  assert.deepEqual(inclusionProof(3, 7, subtreeOf(seven)), [h(2, 3), h(0, 2), h(4, 7)]);
  assert.deepEqual(inclusionProof(6, 7, subtreeOf(seven)), [h(4, 6), h(0, 4)]);
  assert.deepEqual(consistencyProof(3, 7, subtreeOf(seven)), [h(2, 3), h(3, 4), h(0, 2), h(4, 7)]);
  assert.deepEqual(consistencyProof(4, 7, subtreeOf(seven)), [h(4, 7)]);
  assert.deepEqual(consistencyProof(6, 7, subtreeOf(seven)), [h(4, 6), h(6, 7), h(0, 4)]);
});

void test('incremental roots equal the definition around tile borders', () => {
  const leaves = leavesOf(600);
  const tree = new TileTree();
  for (const [index, leaf] of leaves.entries()) {
    tree.append(leaf, () => undefined);
    if (index < 20 || Math.abs(index - 255) < 4 || Math.abs(index - 511) < 4 || index === 599) {
      assert.deepEqual(tree.root(), rootByDefinition(leaves.slice(0, index + 1)), `size ${index + 1}`);
    }
  }
});

void test('a tree loaded from its partial tiles goes on as if it had never stopped', () => {
  const leaves = leavesOf(70_000);
  const whole = treeOf(leaves);
  const early = treeOf(leaves.slice(0, 66_000));
  const loaded = TileTree.load(66_000, early.partials());
  for (const leaf of leaves.slice(66_000)) loaded.append(leaf, () => undefined);
  assert.deepEqual(loaded.root(), whole.root());
  assert.deepEqual(loaded.partials(), whole.partials());
  // The example of C2SP tlog-tiles.
  assert.deepEqual(
    partialTiles(70_000).map(({ level, index, width }) => [level, index, width]),
    [
      [0, 273, 112],
      [1, 1, 17],
      [2, 0, 1],
    ],
  );
});

void test('proofs hold for what they prove and for nothing else', () => {
  const leaves = leavesOf(70);
  const subtree = subtreeOf(leaves);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 70 }), fc.nat(), fc.nat(), (size, pickIndex, pickOld) => {
      const index = pickIndex % size;
      const old = 1 + (pickOld % size);
      const root = rangeRoot({ start: 0, end: size }, subtree);
      const oldRoot = rangeRoot({ start: 0, end: old }, subtree);
      const leaf = leaves[index] ?? emptyRoot;
      const path = inclusionProof(index, size, subtree);
      assert.ok(verifyInclusion(leaf, index, size, path, root));
      assert.ok(!verifyInclusion(emptyRoot, index, size, path, root));
      assert.ok(!verifyInclusion(leaf, index, size, [...path, root], root));
      if (size > 1) assert.ok(!verifyInclusion(leaf, (index + 1) % size, size, path, root));
      if (path.length > 0) assert.ok(!verifyInclusion(leaf, index, size, path.slice(1), root));
      const proof = consistencyProof(old, size, subtree);
      assert.ok(verifyConsistency(old, size, proof, oldRoot, root));
      assert.ok(!verifyConsistency(old, size, proof, emptyRoot, root));
      assert.ok(!verifyConsistency(old, size, proof, oldRoot, emptyRoot));
      assert.ok(!verifyConsistency(old, size, [...proof, root], oldRoot, root));
      if (proof.length > 0) assert.ok(!verifyConsistency(old, size, proof.slice(0, -1), oldRoot, root));
    }),
  );
});

void test('a proof that stops below the root proves nothing, even against the hash that it reaches', () => {
  const leaves = leavesOf(4);
  const [first = emptyRoot, second = emptyRoot] = leaves;
  assert.ok(!verifyInclusion(first, 0, 4, [second], nodeHash(first, second)));
  assert.ok(verifyInclusion(first, 0, 2, [second], nodeHash(first, second)));
});

void test('paths and bundles', () => {
  assert.equal(tilePath(0, 0), 'tile/0/000');
  assert.equal(tilePath(1, 1_234_067), 'tile/1/x001/x234/067');
  assert.equal(tilePath('entries', 1_000, 8), 'tile/entries/x001/000.p/8');
  const bundle = Buffer.from('\0\x02ab\0\0\0\x01c', 'latin1');
  assert.deepEqual(bundleOffsets(bundle), { offsets: [2, 4, 6, 6, 8, 9], brokenAt: undefined });
  assert.deepEqual(bundleOffsets(bundle.subarray(0, 8)), { offsets: [2, 4, 6, 6], brokenAt: 2 });
  assert.deepEqual(bundleOffsets(bundle.subarray(0, 7)), { offsets: [2, 4, 6, 6], brokenAt: 2 });
});
