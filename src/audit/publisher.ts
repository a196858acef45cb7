/**
 * Turns durable journal entries into what the world reads: entry bundles, hash tiles and a signed checkpoint (C2SP
 * tlog-tiles). The order is what makes a crash harmless: tiles are on disk before the checkpoint that needs them, and
 * the journal keeps the entries until that checkpoint is on disk.
 */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { CountersignError } from '../errors.ts';
import { ByteSink } from '../lib/byte-sink.ts';
import { logVerifier, type LogSigner } from './checkpoint.ts';
import { readOptional, type LogFiles, type PendingFile } from './files.ts';
import type { EntryRun } from './journal.ts';
import { readTile } from './proofs.ts';
import { leafHash, TileTree } from './tlog.ts';
import { bundleOffsets, hashBytes, partialTiles, tilePath, tileWidth } from './tree-shape.ts';

const maxPendingFiles = 500;

export interface PublisherOptions {
  readonly directory: string;
  readonly signer: LogSigner;
  readonly files: LogFiles;
}

export class Publisher {
  readonly #options: PublisherOptions;
  #tree: TileTree;
  /** The entries of the bundle that is being filled. */
  readonly #bundle = new ByteSink(64 * 1024);
  #checkpoint: string;
  #publishedSize: number;
  readonly #madeDirectories = new Set<string>();
  #dirtyDirectories = new Set<string>();
  /** Written and not synchronised yet. */
  readonly #pending: PendingFile[] = [];
  /** Directories of partial tiles that this process wrote or found, until their full tile is there. */
  readonly #partials = new Set<string>();
  /** Those whose full tile is there now. */
  #outdated: string[] = [];

  private constructor(options: PublisherOptions, tree: TileTree, checkpoint: string) {
    this.#options = options;
    this.#tree = tree;
    this.#checkpoint = checkpoint;
    this.#publishedSize = tree.size;
  }

  /**
   * Continues from the checkpoint on disk, which must be our own and fit the tiles. A new directory gets an empty one.
   * @throws CountersignError `log_broken`
   */
  static async open(options: PublisherOptions, isNew: boolean): Promise<Publisher> {
    const { directory, signer } = options;
    const note = await readOptional(path.join(directory, 'checkpoint'));
    if (note === undefined) {
      if (!isNew) throw new CountersignError('log_broken', `the log in ${directory} has entries but no checkpoint`);
      const publisher = new Publisher(options, new TileTree(), '');
      await publisher.#sign();
      return publisher;
    }
    const text = note.toString('utf8');
    const checkpoint = logVerifier(signer.verifierKey).verify(text);
    if (checkpoint.origin !== signer.origin)
      throw new CountersignError('log_broken', `the log in ${directory} is ${checkpoint.origin}, not ${signer.origin}`);
    const read = (name: string) => readOptional(path.join(directory, name));
    const tiles = await Promise.all(
      partialTiles(checkpoint.size).map(async (tile) => ({
        ...tile,
        hashes: (await readTile(read, tile.level, tile.index, tile.width)) ?? Buffer.alloc(0),
      })),
    );
    const tree = TileTree.load(checkpoint.size, tiles);
    if (!tree.root().equals(checkpoint.root)) {
      throw new CountersignError(
        'log_broken',
        `the tiles of the log in ${directory} do not lead to its checkpoint's root at size ${checkpoint.size}`,
        {
          hint: "'countersign audit verify' names the entry or tile that was changed",
        },
      );
    }
    const publisher = new Publisher(options, tree, text);
    for (const { level, index, width } of tiles) {
      publisher.#partials.add(path.dirname(tilePath(level, index, width)));
      if (level === 0) publisher.#partials.add(path.dirname(tilePath('entries', index, width)));
    }
    await publisher.#loadBundle(tiles.find((tile) => tile.level === 0)?.hashes);
    return publisher;
  }

  get publishedSize(): number {
    return this.#publishedSize;
  }

  get checkpoint(): string {
    return this.#checkpoint;
  }

  /** Publishes the runs, which follow what is published without a gap. Yields to the event loop every few hundred entries. */
  async publish(runs: readonly EntryRun[]): Promise<void> {
    try {
      await this.#publish(runs);
    } catch (error) {
      // The log is poisoned by this; only the files that are open must not be forgotten.
      for (const file of this.#pending.splice(0)) await file.sync().catch(() => undefined);
      throw error;
    }
  }

  async #publish(runs: readonly EntryRun[]): Promise<void> {
    for (const run of runs) await this.#add(run);
    if (this.#tree.size === this.#publishedSize) return;
    for (const { level, index, width, hashes } of this.#tree.partials()) {
      await this.#writePartial(tilePath(level, index, width), hashes);
      if (level === 0)
        await this.#writePartial(
          tilePath('entries', index, width),
          this.#bundle.buffer.subarray(0, this.#bundle.length),
        );
    }
    const { files } = this.#options;
    for (const file of this.#pending.splice(0)) await file.sync();
    for (const directory of this.#dirtyDirectories) await files.syncDirectory(directory);
    this.#dirtyDirectories = new Set();
    await this.#sign();
    for (const directory of this.#outdated) await files.remove(directory);
    this.#outdated = [];
  }

  async #add(run: EntryRun): Promise<void> {
    const { buffer } = run;
    if (run.firstIndex !== this.#tree.size)
      throw new Error(`entry ${run.firstIndex} cannot follow ${this.#tree.size} entries`);
    const full: { path: string; hashes: Buffer }[] = [];
    const onFull = (level: number, index: number, hashes: Buffer) => {
      full.push({ path: tilePath(level, index), hashes: Buffer.from(hashes) });
    };
    let copied = run.start;
    for (let position = run.start; position < run.end; ) {
      const start = position + 2;
      const end = start + buffer.readUInt16BE(position);
      // RFC 6962 hashes 0x00 and the entry: the low byte of the length stands just in front of it and lends its place.
      const borrowed = buffer[start - 1] ?? 0;
      buffer[start - 1] = 0;
      this.#tree.appendPrefixed(buffer.subarray(start - 1, end), onFull);
      buffer[start - 1] = borrowed;
      position = end;
      if (full.length === 0) continue;
      this.#bundle.copy(buffer, copied, position);
      copied = position;
      const bundleIndex = this.#tree.size / tileWidth - 1;
      await this.#writeFull(tilePath('entries', bundleIndex), this.#bundle.buffer.subarray(0, this.#bundle.length));
      this.#bundle.reset();
      for (const tile of full.splice(0)) await this.#writeFull(tile.path, tile.hashes);
    }
    this.#bundle.copy(buffer, copied, run.end);
  }

  async #writeFull(name: string, data: Uint8Array): Promise<void> {
    await this.#write(name, data);
    if (this.#partials.delete(`${name}.p`)) this.#outdated.push(path.join(this.#options.directory, `${name}.p`));
  }

  async #writePartial(name: string, data: Uint8Array): Promise<void> {
    await this.#write(name, data);
    this.#partials.add(path.dirname(name));
  }

  async #write(name: string, data: Uint8Array): Promise<void> {
    const { directory, files } = this.#options;
    const file = path.join(directory, name);
    const parent = path.dirname(file);
    if (!this.#madeDirectories.has(parent)) {
      await mkdir(parent, { recursive: true });
      if (this.#madeDirectories.size > 1_000) this.#madeDirectories.clear();
      this.#madeDirectories.add(parent);
      for (let at = parent; at.length >= directory.length; at = path.dirname(at)) this.#dirtyDirectories.add(at);
    }
    this.#pending.push(await files.writeFile(file, data));
    // Not too many open files, whatever the backlog.
    if (this.#pending.length > maxPendingFiles) for (const written of this.#pending.splice(0)) await written.sync();
    this.#dirtyDirectories.add(parent);
  }

  async #sign(): Promise<void> {
    const { directory, signer, files } = this.#options;
    const note = signer.sign({ size: this.#tree.size, root: this.#tree.root() });
    await files.replaceFile(path.join(directory, 'checkpoint'), Buffer.from(note));
    this.#checkpoint = note;
    this.#publishedSize = this.#tree.size;
  }

  async #loadBundle(leaves: Buffer | undefined): Promise<void> {
    const width = this.#tree.size % tileWidth;
    if (width === 0 || leaves === undefined) return;
    const { directory } = this.#options;
    const index = Math.floor(this.#tree.size / tileWidth);
    const bundle =
      (await readOptional(path.join(directory, tilePath('entries', index, width)))) ??
      (await readOptional(path.join(directory, tilePath('entries', index))));
    const { offsets } = bundleOffsets(bundle ?? Buffer.alloc(0));
    for (let entry = 0; entry < width; entry++) {
      const [start, end] = [offsets[entry * 2], offsets[entry * 2 + 1]];
      const stored = leaves.subarray(entry * hashBytes, (entry + 1) * hashBytes);
      if (
        bundle === undefined ||
        start === undefined ||
        end === undefined ||
        !leafHash(bundle.subarray(start, end)).equals(stored)
      ) {
        throw new CountersignError(
          'log_broken',
          `entry ${index * tileWidth + entry} of the log in ${directory} is missing or was changed`,
        );
      }
      this.#bundle.copy(bundle, start - 2, end);
    }
  }
}
