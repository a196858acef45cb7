/**
 * The auditor's side of the log: everything here needs only the published files, a public key and, to find a rewritten
 * history, a checkpoint seen before. It trusts neither the gateway nor the disk.
 *
 * Every entry is hashed again and the tree is built from nothing. What the files say on the way (hash tiles) serves to
 * name what was changed; whether anything was changed is decided by the signed root alone.
 */
import path from 'node:path';
import { CountersignError } from '../errors.ts';
import { logVerifier, type Checkpoint, type LogVerifier } from './checkpoint.ts';
import { ContentCheck, type LogProblem, type LogProblemCode } from './content-check.ts';
import { readTile, type LogReader } from './proofs.ts';
import { readOptional } from './files.ts';
import { leafHash, TileTree } from './tlog.ts';
import { bundleOffsets, hashBytes, tilePath, tileWidth } from './tree-shape.ts';

export type LogVerdict =
  | {
      readonly ok: true;
      readonly size: number;
      /** Base64, as in the checkpoint. */
      readonly root: string;
      readonly origin: string;
      readonly entries: number;
      readonly sessions: number;
    }
  | { readonly ok: false; readonly problem: LogProblem };

export interface VerifyOptions {
  readonly read: LogReader;
  readonly verifierKey: string;
  /** Text of a checkpoint of this log that was seen before. */
  readonly known?: string | undefined;
}

/** @throws CountersignError `input_invalid` for a verifier key that is none; errors of `read` */
export async function verifyLog(options: VerifyOptions): Promise<LogVerdict> {
  const verifier = logVerifier(options.verifierKey);
  const note = await options.read('checkpoint');
  if (note === undefined) return problem('checkpoint_missing', 'the log has no checkpoint');
  const checkpoint = tryVerify(verifier, note);
  if (checkpoint instanceof CountersignError) return problem('checkpoint_invalid', checkpoint.message);
  if (checkpoint.origin !== verifier.name) {
    return problem('checkpoint_invalid', `the checkpoint is of ${checkpoint.origin}, the key is of ${verifier.name}`);
  }
  const known = options.known === undefined ? undefined : tryVerify(verifier, Buffer.from(options.known));
  if (known instanceof CountersignError) return problem('checkpoint_invalid', `the known checkpoint: ${known.message}`);
  if (known !== undefined && known.size > checkpoint.size) {
    return problem(
      'rolled_back',
      `the log has ${checkpoint.size} entries, but had ${known.size} when the known checkpoint was signed`,
      checkpoint.size,
    );
  }
  return new Walk(options.read, checkpoint, known).verdict();
}

function tryVerify(verifier: LogVerifier, note: Buffer): Checkpoint | CountersignError {
  try {
    return verifier.verify(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(note));
  } catch (error) {
    return error instanceof CountersignError
      ? error
      : new CountersignError('log_broken', 'the checkpoint is not UTF-8 text');
  }
}

function problem(code: LogProblemCode, message: string, entry?: number): LogVerdict & { ok: false } {
  return { ok: false, problem: { code, message, ...(entry === undefined ? {} : { entry }) } };
}

/** A place where a stored tile and the tree built from the entries disagree. */
interface Difference {
  readonly level: number;
  readonly index: number;
  /** Number of the first differing hash in the tile; undefined = the tile is missing or has another length. */
  readonly position: number | undefined;
  readonly missing: boolean;
}

class Walk {
  readonly #read: LogReader;
  readonly #checkpoint: Checkpoint;
  readonly #known: Checkpoint | undefined;
  readonly #tree = new TileTree();
  readonly #differences: Difference[] = [];
  readonly #content = new ContentCheck();
  #knownRoot: Buffer | undefined;

  constructor(read: LogReader, checkpoint: Checkpoint, known: Checkpoint | undefined) {
    this.#read = read;
    this.#checkpoint = checkpoint;
    this.#known = known;
  }

  async verdict(): Promise<LogVerdict> {
    const { size, root, origin } = this.#checkpoint;
    if (this.#known?.size === 0) this.#knownRoot = this.#tree.root();
    for (let index = 0; index * tileWidth < size; index++) {
      const stop = await this.#bundle(index, Math.min(tileWidth, size - index * tileWidth));
      if (stop !== undefined) return stop;
    }
    for (const { level, index, width, hashes } of this.#tree.partials())
      await this.#compare(level, index, hashes, width);
    const broken = this.#tree.root().equals(root) ? this.#onlyTiles() : this.#blame();
    if (broken !== undefined) return broken;
    if (this.#known !== undefined && this.#knownRoot?.equals(this.#known.root) !== true) {
      return problem(
        'history_rewritten',
        `the log's first ${this.#known.size} entries are not those of the known checkpoint: its history was rewritten and signed again`,
      );
    }
    if (this.#content.problem !== undefined) return { ok: false, problem: this.#content.problem };
    return { ok: true, size, root: root.toString('base64'), origin, entries: size, sessions: this.#content.sessions };
  }

  async #bundle(index: number, width: number): Promise<(LogVerdict & { ok: false }) | undefined> {
    const first = index * tileWidth;
    const bundle =
      (await this.#read(tilePath('entries', index, width))) ??
      (width < tileWidth ? await this.#read(tilePath('entries', index)) : undefined);
    if (bundle === undefined) {
      return problem(
        'bundle_missing',
        `the entries ${first} to ${first + width - 1} are missing: there is no ${tilePath('entries', index, width)}`,
        first,
      );
    }
    const { offsets, brokenAt } = bundleOffsets(bundle);
    const count = offsets.length / 2;
    const leaves: Buffer[] = [];
    for (let entry = 0; entry < Math.min(count, width); entry++) {
      leaves.push(leafHash(bundle.subarray(offsets[entry * 2], offsets[entry * 2 + 1])));
    }
    const wrongCount =
      count < width || (count > width && count !== tileWidth) || (brokenAt !== undefined && brokenAt < width);
    if (wrongCount || brokenAt !== undefined) return this.#wrongBundle(index, width, leaves, brokenAt ?? count);
    const filled: { level: number; index: number; hashes: Buffer }[] = [];
    for (const [entry, leaf] of leaves.entries()) {
      this.#tree.append(leaf, (level, tile, hashes) =>
        filled.push({ level, index: tile, hashes: Buffer.from(hashes) }),
      );
      if (this.#known?.size === this.#tree.size) this.#knownRoot = this.#tree.root();
      this.#content.check(first + entry, bundle.subarray(offsets[entry * 2], offsets[entry * 2 + 1]));
    }
    for (const tile of filled) await this.#compare(tile.level, tile.index, tile.hashes, tileWidth);
    return undefined;
  }

  /** A bundle whose framing or number of entries is wrong: the stored leaf hashes say where it begins to be. */
  async #wrongBundle(
    index: number,
    width: number,
    leaves: readonly Buffer[],
    broken: number,
  ): Promise<LogVerdict & { ok: false }> {
    const stored = await this.#tile(0, index, width);
    const differs = leaves.findIndex(
      (leaf, entry) =>
        stored !== undefined && !leaf.equals(stored.subarray(entry * hashBytes, (entry + 1) * hashBytes)),
    );
    const entry = index * tileWidth + Math.min(differs < 0 ? broken : differs, width - 1);
    return problem(
      'entry_changed',
      `entry ${entry} was changed or removed: its bundle ${tilePath('entries', index, width)} does not hold ${width} whole entries`,
      entry,
    );
  }

  #tile(level: number, index: number, width: number): Promise<Buffer | undefined> {
    return readTile(this.#read, level, index, width);
  }

  async #compare(level: number, index: number, hashes: Buffer, width: number): Promise<void> {
    // One difference a level is enough to name the first of each.
    if (this.#differences.some((difference) => difference.level === level)) return;
    const stored = await this.#tile(level, index, width);
    if (stored?.equals(hashes) === true) return;
    let position: number | undefined;
    for (let at = 0; stored?.length === hashes.length && at < width && position === undefined; at++) {
      if (
        !stored
          .subarray(at * hashBytes, (at + 1) * hashBytes)
          .equals(hashes.subarray(at * hashBytes, (at + 1) * hashBytes))
      )
        position = at;
    }
    this.#differences.push({ level, index, position, missing: stored === undefined });
  }

  /** The signed root holds, so the entries are genuine; tiles that differ are not. */
  #onlyTiles(): (LogVerdict & { ok: false }) | undefined {
    const [first] = this.#differences.sort((a, b) => a.level - b.level);
    if (first === undefined) return undefined;
    const name = tilePath(first.level, first.index);
    if (first.missing) return problem('tile_missing', `the hash tile ${name} is missing; the entries are genuine`);
    return problem('tile_changed', `the hash tile ${name} was changed; the entries are genuine`);
  }

  /** The signed root does not hold: names the first entry that is not what was signed. */
  #blame(): LogVerdict & { ok: false } {
    const [lowest] = this.#differences
      .filter(({ position }) => position !== undefined)
      .sort((a, b) => a.level - b.level);
    if (lowest?.position === undefined) {
      const { size } = this.#checkpoint;
      const suspect = this.#content.suspectIn(0, size - 1);
      return problem(
        'root_mismatch',
        `the log's ${size} entries and its hash tiles fit together, but were never signed: they were rewritten${hintOf(suspect)}`,
        suspect,
      );
    }
    const span = tileWidth ** lowest.level;
    const first = (lowest.index * tileWidth + lowest.position) * span;
    if (lowest.level === 0)
      return problem(
        'entry_changed',
        `entry ${first} is not the one that was signed: it was edited, moved, removed or put in`,
        first,
      );
    const last = first + span - 1;
    const suspect = this.#content.suspectIn(first, last);
    return problem(
      'entries_rewritten',
      `among the entries ${first} to ${last} some were rewritten together with their hash tile${hintOf(suspect)}`,
      suspect ?? first,
    );
  }
}

function hintOf(suspect: number | undefined): string {
  return suspect === undefined ? '' : `; entry ${suspect} is the first that does not fit its session`;
}

// ---- reading a log ----

export interface LogEntry {
  readonly index: number;
  readonly text: string;
}

/**
 * The entries [from, size) in order, as they stand in the files; `verifyLog` says whether they can be trusted.
 * @throws CountersignError `log_broken` for a missing or malformed bundle
 */
export async function* iterateEntries(options: {
  readonly read: LogReader;
  readonly size: number;
  readonly from?: number | undefined;
}): AsyncGenerator<LogEntry> {
  const { read, size } = options;
  for (let index = options.from ?? 0; index < size; ) {
    const bundleIndex = Math.floor(index / tileWidth);
    const width = Math.min(tileWidth, size - bundleIndex * tileWidth);
    const bundle =
      (await read(tilePath('entries', bundleIndex, width))) ?? (await read(tilePath('entries', bundleIndex)));
    const { offsets } = bundleOffsets(bundle ?? Buffer.alloc(0));
    const end = bundleIndex * tileWidth + width;
    for (; index < end; index++) {
      const at = (index - bundleIndex * tileWidth) * 2;
      const [start, stop] = [offsets[at], offsets[at + 1]];
      if (bundle === undefined || start === undefined || stop === undefined)
        throw new CountersignError('log_broken', `entry ${index} of the log is missing`);
      yield { index, text: bundle.toString('utf8', start, stop) };
    }
  }
}

/**
 * The checkpoint of a log, verified.
 * @throws CountersignError `log_broken`
 */
export async function readCheckpoint(
  read: LogReader,
  verifierKey: string,
): Promise<Checkpoint & { readonly note: string }> {
  const note = (await read('checkpoint'))?.toString('utf8');
  if (note === undefined) throw new CountersignError('log_broken', 'the log has no checkpoint');
  return { ...logVerifier(verifierKey).verify(note), note };
}

/** Reads a log from a directory, or over HTTP from its URL prefix. */
export function readerFor(location: string | URL): LogReader {
  if (location instanceof URL || /^https?:\/\//.test(location)) {
    const base = String(location).replace(/\/*$/, '/');
    return async (name) => {
      const response = await fetch(new URL(name, base), { redirect: 'error' });
      if (response.status === 404 || response.status === 410) return undefined;
      if (!response.ok)
        throw new CountersignError('log_unavailable', `the log at ${base} answers ${response.status} for ${name}`);
      return Buffer.from(await response.arrayBuffer());
    };
  }
  return (name) => readOptional(path.join(location, name));
}
