/**
 * The shape of the log's tree, without any hash: which ranges of entries a proof is made of (RFC 6962 section 2.1), and
 * which tile holds what (C2SP tlog-tiles). Nothing here needs Node, so that the page checks proofs by the same rules.
 */

export const hashBytes = 32;
/** Hashes in a full tile, entries in a full bundle. */
export const tileWidth = 256;

/** Entries [start, end). */
export interface EntryRange {
  readonly start: number;
  readonly end: number;
}

export function largestPowerBelow(size: number): number {
  let power = 1;
  while (power * 2 < size) power *= 2;
  return power;
}

/** RFC 6962 section 2.1.1: the ranges whose roots make the audit path of entry `index` in a tree of `size`. */
export function inclusionRanges(index: number, size: number): EntryRange[] {
  if (!(Number.isSafeInteger(index) && Number.isSafeInteger(size) && index >= 0 && index < size)) {
    throw new RangeError(`no inclusion proof for entry ${index} of ${size}`);
  }
  const ranges: EntryRange[] = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const middle = start + largestPowerBelow(end - start);
    if (index < middle) {
      ranges.push({ start: middle, end });
      end = middle;
    } else {
      ranges.push({ start, end: middle });
      start = middle;
    }
  }
  return ranges.reverse();
}

/** RFC 6962 section 2.1.2: the ranges whose roots prove that the tree of `first` entries is a prefix of that of `second`. */
export function consistencyRanges(first: number, second: number): EntryRange[] {
  if (!(Number.isSafeInteger(first) && Number.isSafeInteger(second) && first >= 1 && first <= second)) {
    throw new RangeError(`no consistency proof from ${first} to ${second}`);
  }
  const ranges: EntryRange[] = [];
  let start = 0;
  let end = second;
  let known = true;
  while (first !== end) {
    const middle = start + largestPowerBelow(end - start);
    if (first <= middle) {
      ranges.push({ start: middle, end });
      end = middle;
    } else {
      ranges.push({ start, end: middle });
      start = middle;
      known = false;
    }
  }
  if (!known) ranges.push({ start, end });
  return ranges.reverse();
}

/** The perfect subtree number `index` with 2^level entries. */
export interface Subtree {
  readonly level: number;
  readonly index: number;
}

/** A range as proofs have them, cut into perfect subtrees from left to right: its start is a multiple of the largest power of two that fits. */
export function subtreesOf(range: EntryRange): Subtree[] {
  const subtrees: Subtree[] = [];
  let { start } = range;
  while (start < range.end) {
    let level = 0;
    while (start + 2 ** (level + 1) <= range.end) level++;
    subtrees.push({ level, index: start / 2 ** level });
    start += 2 ** level;
  }
  return subtrees;
}

// ---- tiles ----

/** Where the hashes under a perfect subtree stand: `hashes` of them in tile `tile` of `tileLevel`, from hash `first` on. */
export function placeOfSubtree({ level, index }: Subtree) {
  const hashes = 2 ** (level % 8);
  const first = index * hashes;
  return {
    tileLevel: Math.floor(level / 8),
    tile: Math.floor(first / tileWidth),
    first: first % tileWidth,
    hashes,
  };
}

/** `index` as three-digit path elements, all but the last with an x: 1234067 is x001/x234/067. */
function pathOfIndex(index: number): string {
  let text = String(index % 1000).padStart(3, '0');
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    text = `x${String(rest % 1000).padStart(3, '0')}/${text}`;
  }
  return text;
}

/** `level` is a tile level or `entries`; a width below 256 names the partial tile. */
export function tilePath(level: number | 'entries', index: number, width: number = tileWidth): string {
  const path = `tile/${level}/${pathOfIndex(index)}`;
  return width === tileWidth ? path : `${path}.p/${width}`;
}

/** One tile as it stands in a tree of some size. */
export interface TileRef {
  readonly level: number;
  readonly index: number;
  readonly width: number;
}

/** The rightmost partial tile of each level in a tree of `size`, lowest level first; levels without one are left out. */
export function partialTiles(size: number): TileRef[] {
  const tiles: TileRef[] = [];
  for (let level = 0, hashes = size; hashes > 0; level++, hashes = Math.floor(hashes / tileWidth)) {
    const width = hashes % tileWidth;
    if (width > 0) tiles.push({ level, index: Math.floor(hashes / tileWidth), width });
  }
  return tiles;
}

/** The entries of a bundle as [start, end) offsets in pairs. `brokenAt` is the number of the entry at which its framing ends too early. */
export function bundleOffsets(bundle: Uint8Array): {
  readonly offsets: readonly number[];
  readonly brokenAt: number | undefined;
} {
  const offsets: number[] = [];
  let position = 0;
  while (position < bundle.length) {
    if (position + 2 > bundle.length) return { offsets, brokenAt: offsets.length / 2 };
    const start = position + 2;
    const end = start + (bundle[position] ?? 0) * 256 + (bundle[position + 1] ?? 0);
    if (end > bundle.length) return { offsets, brokenAt: offsets.length / 2 };
    offsets.push(start, end);
    position = end;
  }
  return { offsets, brokenAt: undefined };
}
