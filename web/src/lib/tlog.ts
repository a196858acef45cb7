/**
 * The log's proofs in the browser: hashes by WebCrypto, the shape of the tree shared with the gateway
 * (`src/audit/tree-shape.ts`), the rules of RFC 6962 and RFC 9162. What the gateway sends is believed only as far as it
 * leads to the root that was signed.
 */
import {
  bundleOffsets,
  consistencyRanges,
  hashBytes,
  inclusionRanges,
  largestPowerBelow,
  partialTiles,
  placeOfSubtree,
  subtreesOf,
  tilePath,
  tileWidth,
  type EntryRange,
  type Subtree,
} from '../../../src/audit/tree-shape.ts';

export type Hash = Uint8Array<ArrayBuffer>;

/** Reads a file of the log by its path (`checkpoint`, `tile/0/000` …); undefined = there is none. */
export type ReadLogFile = (path: string) => Promise<Hash | undefined>;

export async function sha256(data: Hash): Promise<Hash> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', data));
}

/** SHA-256(0x00 || entry). */
export function leafHash(entry: Uint8Array): Promise<Hash> {
  const prefixed = new Uint8Array(entry.length + 1);
  prefixed.set(entry, 1);
  return sha256(prefixed);
}

/** SHA-256(0x01 || left || right). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Promise<Hash> {
  const node = new Uint8Array(1 + 2 * hashBytes);
  node[0] = 1;
  node.set(left, 1);
  node.set(right, 1 + hashBytes);
  return sha256(node);
}

export function isSameHash(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}

const half = (value: number): number => Math.floor(value / 2);

/** RFC 9162 section 2.1.3.2. */
export async function verifyInclusion(
  leaf: Hash,
  index: number,
  size: number,
  proof: readonly Hash[],
  root: Hash,
): Promise<boolean> {
  if (!(Number.isSafeInteger(index) && Number.isSafeInteger(size) && index >= 0 && index < size)) return false;
  let node = index;
  let last = size - 1;
  let result = leaf;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      result = await nodeHash(sibling, result);
      while (node % 2 === 0 && node !== 0) {
        node = half(node);
        last = half(last);
      }
    } else {
      result = await nodeHash(result, sibling);
    }
    node = half(node);
    last = half(last);
  }
  return last === 0 && isSameHash(result, root);
}

/** RFC 9162 section 2.1.4.2: is the tree of `first` entries a prefix of the tree of `second`? */
export async function verifyConsistency(
  first: number,
  second: number,
  proof: readonly Hash[],
  firstRoot: Hash,
  secondRoot: Hash,
): Promise<boolean> {
  if (!(Number.isSafeInteger(first) && Number.isSafeInteger(second) && first >= 0 && first <= second)) return false;
  if (first === second) return proof.length === 0 && isSameHash(firstRoot, secondRoot);
  if (first === 0) return proof.length === 0 && isSameHash(await sha256(new Uint8Array(0)), firstRoot);
  // A complete subtree is its own first step.
  const path = first === 1 || 2 * largestPowerBelow(first) === first ? [firstRoot, ...proof] : proof;
  const [seed] = path;
  if (seed === undefined) return false;
  let node = first - 1;
  let last = second - 1;
  while (node % 2 === 1) {
    node = half(node);
    last = half(last);
  }
  let old = seed;
  let current = seed;
  for (const sibling of path.slice(1)) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      old = await nodeHash(sibling, old);
      current = await nodeHash(sibling, current);
      while (node % 2 === 0 && node !== 0) {
        node = half(node);
        last = half(last);
      }
    } else {
      current = await nodeHash(current, sibling);
    }
    node = half(node);
    last = half(last);
  }
  return last === 0 && isSameHash(old, firstRoot) && isSameHash(current, secondRoot);
}

/** One tree of the log, read tile by tile. Tiles and what was computed from them are kept, so that many proofs cost little more than one. */
export class LogTree {
  readonly size: number;
  readonly #read: ReadLogFile;
  readonly #partial: ReadonlyMap<string, number>;
  readonly #files = new Map<string, Promise<Hash>>();
  readonly #roots = new Map<string, Promise<Hash>>();

  constructor(read: ReadLogFile, size: number) {
    this.size = size;
    this.#read = read;
    this.#partial = new Map(partialTiles(size).map(({ level, index, width }) => [`${level}/${index}`, width]));
  }

  /** The audit path of entry `index`. @throws Error when a tile is missing or too short */
  inclusionProof(index: number): Promise<Hash[]> {
    return Promise.all(inclusionRanges(index, this.size).map((range) => this.#rangeRoot(range)));
  }

  /** Proof that the tree of `first` entries is a prefix of this one. */
  consistencyProof(first: number): Promise<Hash[]> {
    if (first === 0) return Promise.resolve([]);
    return Promise.all(consistencyRanges(first, this.size).map((range) => this.#rangeRoot(range)));
  }

  /** The bytes of entry `index`. @throws Error when its bundle is missing or malformed */
  async entry(index: number): Promise<Uint8Array> {
    const tile = Math.floor(index / tileWidth);
    const width = this.#partial.get(`0/${tile}`) ?? tileWidth;
    const bundle = await this.#file(tilePath('entries', tile, width), tilePath('entries', tile));
    const at = (index % tileWidth) * 2;
    const { offsets } = bundleOffsets(bundle);
    const [start, end] = [offsets[at], offsets[at + 1]];
    if (index >= this.size || start === undefined || end === undefined) throw new Error(`entry ${index} is missing`);
    return bundle.subarray(start, end);
  }

  async #rangeRoot(range: EntryRange): Promise<Hash> {
    const peaks = await Promise.all(subtreesOf(range).map((subtree) => this.#subtreeRoot(subtree)));
    let root = peaks.at(-1);
    if (root === undefined) throw new Error('a range of a proof is not empty');
    for (const peak of peaks.slice(0, -1).reverse()) root = await nodeHash(peak, root);
    return root;
  }

  #subtreeRoot(subtree: Subtree): Promise<Hash> {
    const key = `${subtree.level}/${subtree.index}`;
    let root = this.#roots.get(key);
    if (root === undefined) {
      root = this.#computeRoot(subtree);
      this.#roots.set(key, root);
    }
    return root;
  }

  async #computeRoot({ level, index }: Subtree): Promise<Hash> {
    const { tileLevel, tile, first, hashes } = placeOfSubtree({ level, index });
    if (hashes > 1) {
      const [left, right] = await Promise.all([
        this.#subtreeRoot({ level: level - 1, index: index * 2 }),
        this.#subtreeRoot({ level: level - 1, index: index * 2 + 1 }),
      ]);
      return nodeHash(left, right);
    }
    const width = this.#partial.get(`${tileLevel}/${tile}`) ?? tileWidth;
    const stored = await this.#file(tilePath(tileLevel, tile, width), tilePath(tileLevel, tile));
    const hash = stored.slice(first * hashBytes, (first + 1) * hashBytes);
    if (hash.length < hashBytes) throw new Error(`the hash tile ${tilePath(tileLevel, tile, width)} is too short`);
    return hash;
  }

  /** A partial file, or the full one that took its place. */
  #file(path: string, full: string): Promise<Hash> {
    let file = this.#files.get(path);
    if (file === undefined) {
      file = (async () => {
        const found = (await this.#read(path)) ?? (path === full ? undefined : await this.#read(full));
        if (found === undefined) throw new Error(`the log's file ${path} is missing`);
        return found;
      })();
      this.#files.set(path, file);
    }
    return file;
  }
}
