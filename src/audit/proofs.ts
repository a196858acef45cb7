/** Proofs from a log's published files; the mathematics is in `tlog.ts`. */
import { CountersignError } from '../errors.ts';
import { perfectRoot, rangeRoot } from './tlog.ts';
import {
  consistencyRanges,
  hashBytes,
  inclusionRanges,
  partialTiles,
  placeOfSubtree,
  subtreesOf,
  tilePath,
  tileWidth,
  type EntryRange,
} from './tree-shape.ts';

/** Reads a file of the log by its path (`checkpoint`, `tile/0/000` …); undefined = there is none. */
export type LogReader = (path: string) => Promise<Buffer | undefined>;

/** A partial tile, or as much of the full one that took its place. */
export async function readTile(
  read: LogReader,
  level: number,
  index: number,
  width: number,
): Promise<Buffer | undefined> {
  const partial = await read(tilePath(level, index, width));
  if (partial !== undefined || width === tileWidth) return partial;
  return (await read(tilePath(level, index)))?.subarray(0, width * hashBytes);
}

/** The audit path of entry `index` in the tree of `size`, from the log's tiles. @throws CountersignError `log_broken` for a missing tile */
export function readInclusionProof(read: LogReader, index: number, size: number): Promise<Buffer[]> {
  return readRangeRoots(read, inclusionRanges(index, size), size);
}

/** Proof that the tree of `first` entries is a prefix of the tree of `second`. @throws CountersignError `log_broken` for a missing tile */
export function readConsistencyProof(read: LogReader, first: number, second: number): Promise<Buffer[]> {
  return first === 0 ? Promise.resolve([]) : readRangeRoots(read, consistencyRanges(first, second), second);
}

async function readRangeRoots(read: LogReader, ranges: readonly EntryRange[], size: number): Promise<Buffer[]> {
  const tiles = new Map<string, Buffer>();
  const partial = new Map(partialTiles(size).map((tile) => [`${tile.level}/${tile.index}`, tile.width]));
  const needed = new Map<string, { level: number; index: number }>();
  for (const subtree of ranges.flatMap(subtreesOf)) {
    const { tileLevel, tile } = placeOfSubtree(subtree);
    needed.set(`${tileLevel}/${tile}`, { level: tileLevel, index: tile });
  }
  for (const [name, { level, index }] of needed) {
    const hashes = await readTile(read, level, index, partial.get(name) ?? tileWidth);
    if (hashes === undefined)
      throw new CountersignError('log_broken', `the log's hash tile ${tilePath(level, index)} is missing`);
    tiles.set(name, hashes);
  }
  return ranges.map((range) =>
    rangeRoot(range, (level, index) => {
      const { tileLevel, tile, first, hashes } = placeOfSubtree({ level, index });
      return perfectRoot(tiles.get(`${tileLevel}/${tile}`) ?? Buffer.alloc(0), first, hashes);
    }),
  );
}
