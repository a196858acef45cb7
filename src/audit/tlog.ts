/**
 * What makes the log provable: the Merkle tree of RFC 6962 (section 2.1) and its layout as files after C2SP tlog-tiles.
 * Pure functions and plain data: no files, no keys, no decision about what is logged.
 *
 * Sizes and indexes are JavaScript numbers (exact up to 2^53), so everything here divides instead of shifting.
 * Which ranges and tiles a proof is made of is in `tree-shape.ts`, which the page uses as well.
 */
import { hash } from 'node:crypto';
import { CountersignError } from '../errors.ts';
import {
  consistencyRanges,
  hashBytes,
  inclusionRanges,
  largestPowerBelow,
  tilePath,
  subtreesOf,
  tileWidth,
  type EntryRange,
  type TileRef,
} from './tree-shape.ts';

/** Through a string: `crypto.hash` takes four times as long when it has to make a Buffer itself (Node 24). */
export function sha256(data: Uint8Array | string): Buffer {
  return Buffer.from(hash('sha256', data, 'binary'), 'binary');
}

/** MTH of no entries. */
export const emptyRoot: Buffer = sha256('');

/** SHA-256(0x00 || entry). */
export function leafHash(entry: Uint8Array): Buffer {
  const prefixed = Buffer.allocUnsafe(entry.length + 1);
  prefixed[0] = 0;
  prefixed.set(entry, 1);
  return sha256(prefixed);
}

/** SHA-256(0x01 || left || right). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  const node = Buffer.allocUnsafe(1 + 2 * hashBytes);
  node[0] = 1;
  node.set(left, 1);
  node.set(right, 1 + hashBytes);
  return sha256(node);
}

/** The root of `count` (a power of two) consecutive hashes that start at hash `first` of `hashes`. */
export function perfectRoot(hashes: Uint8Array, first: number, count: number): Buffer {
  const work = Buffer.from(hashes.subarray(first * hashBytes, (first + count) * hashBytes));
  const node = Buffer.allocUnsafe(1 + 2 * hashBytes);
  node[0] = 1;
  for (let width = count; width > 1; width /= 2) {
    for (let pair = 0; pair < width / 2; pair++) {
      work.copy(node, 1, pair * 2 * hashBytes, (pair * 2 + 2) * hashBytes);
      work.write(hash('sha256', node, 'binary'), pair * hashBytes, 'binary');
    }
  }
  return Buffer.from(work.subarray(0, hashBytes));
}

/** A tree's perfect subtrees from left to right, folded to its root. */
function foldPeaks(peaks: readonly Buffer[]): Buffer {
  let root = peaks.at(-1);
  if (root === undefined) return emptyRoot;
  for (let index = peaks.length - 2; index >= 0; index--) root = nodeHash(peaks[index] ?? root, root);
  return root;
}

// ---- proofs ----

/** The root of the perfect subtree number `index` with 2^level entries. */
export type SubtreeHash = (level: number, index: number) => Buffer;

/** MTH of a range as proofs have them: its start is a multiple of the largest power of two that fits. */
export function rangeRoot(range: EntryRange, subtree: SubtreeHash): Buffer {
  return foldPeaks(subtreesOf(range).map(({ level, index }) => subtree(level, index)));
}

export function inclusionProof(index: number, size: number, subtree: SubtreeHash): Buffer[] {
  return inclusionRanges(index, size).map((range) => rangeRoot(range, subtree));
}

export function consistencyProof(first: number, second: number, subtree: SubtreeHash): Buffer[] {
  return consistencyRanges(first, second).map((range) => rangeRoot(range, subtree));
}

// ---- proof verification: RFC 9162 sections 2.1.3.2 and 2.1.4.2 ----

const half = (value: number): number => Math.floor(value / 2);

export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  proof: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  if (!(Number.isSafeInteger(index) && Number.isSafeInteger(size) && index >= 0 && index < size)) return false;
  let node = index;
  let last = size - 1;
  let result: Buffer = Buffer.from(leaf);
  for (const sibling of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      result = nodeHash(sibling, result);
      while (node % 2 === 0 && node !== 0) {
        node = half(node);
        last = half(last);
      }
    } else {
      result = nodeHash(result, sibling);
    }
    node = half(node);
    last = half(last);
  }
  return last === 0 && result.equals(root);
}

export function verifyConsistency(
  first: number,
  second: number,
  proof: readonly Uint8Array[],
  firstRoot: Uint8Array,
  secondRoot: Uint8Array,
): boolean {
  if (!(Number.isSafeInteger(first) && Number.isSafeInteger(second) && first >= 0 && first <= second)) return false;
  if (first === second) return proof.length === 0 && Buffer.from(firstRoot).equals(secondRoot);
  if (first === 0) return proof.length === 0 && emptyRoot.equals(firstRoot);
  // A complete subtree is its own first step.
  const path = 2 * largestPowerBelow(first) === first || first === 1 ? [firstRoot, ...proof] : proof;
  const seed = path[0];
  if (seed === undefined) return false;
  let node = first - 1;
  let last = second - 1;
  while (node % 2 === 1) {
    node = half(node);
    last = half(last);
  }
  let old: Buffer = Buffer.from(seed);
  let current: Buffer = Buffer.from(seed);
  for (const sibling of path.slice(1)) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      old = nodeHash(sibling, old);
      current = nodeHash(sibling, current);
      while (node % 2 === 0 && node !== 0) {
        node = half(node);
        last = half(last);
      }
    } else {
      current = nodeHash(current, sibling);
    }
    node = half(node);
    last = half(last);
  }
  return last === 0 && old.equals(firstRoot) && current.equals(secondRoot);
}

// ---- tiles ----

/** A tile that the tree just filled; `hashes` is only valid during the call. */
export type OnFullTile = (level: number, index: number, hashes: Buffer) => void;

interface Level {
  readonly hashes: Buffer;
  width: number;
  /** Index of the tile that is being filled. */
  index: number;
}

/** The growing edge of a tree: the rightmost, unfinished tile of each level. Memory is 8 KiB a level, whatever the size. */
export class TileTree {
  #size = 0;
  readonly #levels: Level[] = [];

  get size(): number {
    return this.#size;
  }

  /**
   * A tree of `size` from its stored partial tiles.
   * @throws CountersignError `log_broken` for a tile of the wrong length
   */
  static load(size: number, tiles: readonly (TileRef & { readonly hashes: Uint8Array })[]): TileTree {
    const tree = new TileTree();
    tree.#size = size;
    for (let level = 0, hashes = size; hashes > 0; level++, hashes = Math.floor(hashes / tileWidth)) {
      const at = tree.#level(level);
      at.width = hashes % tileWidth;
      at.index = Math.floor(hashes / tileWidth);
      if (at.width === 0) continue;
      const tile = tiles.find((candidate) => candidate.level === level);
      if (tile === undefined || tile.hashes.length < at.width * hashBytes) {
        throw new CountersignError(
          'log_broken',
          `the log's tile ${tilePath(level, at.index, at.width)} is missing or too short`,
        );
      }
      at.hashes.set(tile.hashes.subarray(0, at.width * hashBytes));
    }
    return tree;
  }

  append(leaf: Uint8Array, onFull: OnFullTile): void {
    const { hashes, width } = this.#level(0);
    hashes.set(leaf, width * hashBytes);
    this.#carry(onFull);
  }

  /** Appends an entry that stands behind a zero byte (what RFC 6962 hashes) without making anything on the way. */
  appendPrefixed(zeroAndEntry: Uint8Array, onFull: OnFullTile): void {
    const { hashes, width } = this.#level(0);
    hashes.write(hash('sha256', zeroAndEntry, 'binary'), width * hashBytes, 'binary');
    this.#carry(onFull);
  }

  /** Counts the hash that was put at the end of level 0, and moves the roots of full tiles up. */
  #carry(onFull: OnFullTile): void {
    this.#size++;
    for (let level = 0; ; level++) {
      const at = this.#level(level);
      at.width++;
      if (at.width < tileWidth) return;
      onFull(level, at.index, at.hashes);
      const above = this.#level(level + 1);
      above.hashes.set(perfectRoot(at.hashes, 0, tileWidth), above.width * hashBytes);
      at.width = 0;
      at.index++;
    }
  }

  /** MTH of everything appended so far. */
  root(): Buffer {
    const peaks: Buffer[] = [];
    for (const { hashes, width } of this.#levels.toReversed()) {
      let first = 0;
      for (let count = tileWidth / 2; count >= 1; count /= 2) {
        if (width - first < count) continue;
        peaks.push(perfectRoot(hashes, first, count));
        first += count;
      }
    }
    return foldPeaks(peaks);
  }

  /** The unfinished tiles, lowest level first. The hashes are copies. */
  partials(): (TileRef & { readonly hashes: Buffer })[] {
    const tiles: (TileRef & { readonly hashes: Buffer })[] = [];
    for (const [level, { hashes, width, index }] of this.#levels.entries()) {
      if (width > 0) tiles.push({ level, index, width, hashes: Buffer.from(hashes.subarray(0, width * hashBytes)) });
    }
    return tiles;
  }

  #level(level: number): Level {
    let at = this.#levels[level];
    if (at === undefined) {
      at = { hashes: Buffer.alloc(tileWidth * hashBytes), width: 0, index: 0 };
      this.#levels[level] = at;
    }
    return at;
  }
}
