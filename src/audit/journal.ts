/**
 * The log's write-ahead journal: entries stand here, durable, from the moment they are acknowledged until they are
 * published as tiles. This file is its format and what can be read back after a crash.
 *
 * A segment is a file of zeros that is filled with batches, one per group commit. A batch is a header of 28 bytes (magic,
 * payload bytes, entries, index of the first entry, CRC-32 of the payload, CRC-32 of the header) and the payload, which
 * has the form of an entry bundle. A batch is written only after the one before it is durable; so a crash can tear the
 * last batch and no other. A torn batch lacks whole sectors (they are still zeros, or behind the end of the file).
 * Everything else that does not add up is damage, and opening the log fails.
 */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { CountersignError } from '../errors.ts';

export const batchHeaderBytes = 28;
const magic = 0xff43_534a; // the first byte cannot begin UTF-8 text
const sectorBytes = 512;

/** Fills the header in front of a payload that is in buffer[start + 28, end). */
export function sealBatch(buffer: Buffer, start: number, end: number, entries: number, firstIndex: number): void {
  buffer.writeUInt32BE(magic, start);
  buffer.writeUInt32BE(end - start - batchHeaderBytes, start + 4);
  buffer.writeUInt32BE(entries, start + 8);
  buffer.writeBigUInt64BE(BigInt(firstIndex), start + 12);
  buffer.writeUInt32BE(crc32(buffer.subarray(start + batchHeaderBytes, end)), start + 20);
  buffer.writeUInt32BE(crc32(buffer.subarray(start, start + 24)), start + 24);
}

/** Entries as they stand one after the other in memory: length-prefixed, in buffer[start, end). */
export interface EntryRun {
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
  readonly entries: number;
  readonly firstIndex: number;
}

interface BatchHeader {
  readonly payloadBytes: number;
  readonly entries: number;
  readonly firstIndex: number;
  readonly payloadCrc: number;
}

function readHeader(buffer: Buffer, start: number): BatchHeader | undefined {
  if (start + batchHeaderBytes > buffer.length || buffer.readUInt32BE(start) !== magic) return undefined;
  if (crc32(buffer.subarray(start, start + 24)) !== buffer.readUInt32BE(start + 24)) return undefined;
  return {
    payloadBytes: buffer.readUInt32BE(start + 4),
    entries: buffer.readUInt32BE(start + 8),
    firstIndex: Number(buffer.readBigUInt64BE(start + 12)),
    payloadCrc: buffer.readUInt32BE(start + 20),
  };
}

function readBatch(buffer: Buffer, start: number): EntryRun | undefined {
  const header = readHeader(buffer, start);
  if (header === undefined) return undefined;
  const payload = start + batchHeaderBytes;
  const end = payload + header.payloadBytes;
  if (end > buffer.length || crc32(buffer.subarray(payload, end)) !== header.payloadCrc) return undefined;
  return { buffer, start: payload, end, entries: header.entries, firstIndex: header.firstIndex };
}

/** True if there is a whole batch anywhere in buffer[from, end of buffer). */
function hasBatch(buffer: Buffer, from: number): boolean {
  const needle = Buffer.alloc(4);
  needle.writeUInt32BE(magic);
  for (let at = buffer.indexOf(needle, from); at >= 0; at = buffer.indexOf(needle, at + 1)) {
    if (readBatch(buffer, at) !== undefined) return true;
  }
  return false;
}

function allZero(buffer: Buffer, start: number, end: number): boolean {
  for (let index = start; index < end; index++) if (buffer[index] !== 0) return false;
  return true;
}

/** True if buffer[start, end) reaches behind the end of the file or a sector's share of it was never written. */
function lacksSectors(buffer: Buffer, start: number, end: number): boolean {
  if (end > buffer.length) return true;
  for (let from = start; from < end; ) {
    const to = Math.min(end, from - (from % sectorBytes) + sectorBytes);
    if (allZero(buffer, from, to)) return true;
    from = to;
  }
  return false;
}

export interface SegmentContent {
  readonly batches: readonly EntryRun[];
  /** Where the unfinished batch of a crash begins; undefined = the segment ends cleanly. */
  readonly tornAt: number | undefined;
}

/**
 * Reads one segment.
 * @param expected index of the first entry that is not in an earlier segment; undefined = not known yet
 * @throws CountersignError `log_broken` naming the entry at which the journal is damaged
 */
export function readSegment(name: string, buffer: Buffer, expected: number | undefined): SegmentContent {
  const batches: EntryRun[] = [];
  let next = expected;
  let position = 0;
  while (position < buffer.length) {
    const batch = readBatch(buffer, position);
    if (batch === undefined) {
      const header = readHeader(buffer, position);
      const headerEnd = position + batchHeaderBytes;
      const end = header === undefined ? headerEnd : headerEnd + header.payloadBytes;
      if (hasBatch(buffer, position + 1)) throw damaged(name, next, 'whole batches follow a damaged one');
      if (allZero(buffer, position, buffer.length)) return { batches, tornAt: undefined };
      if (!lacksSectors(buffer, position, end)) throw damaged(name, next, 'its bytes were changed');
      return { batches, tornAt: position };
    }
    if (next !== undefined && batch.firstIndex !== next) {
      throw damaged(name, next, `entry ${batch.firstIndex} stands in its place`);
    }
    batches.push(batch);
    next = batch.firstIndex + batch.entries;
    position = batch.end;
  }
  return { batches, tornAt: undefined };
}

function damaged(segment: string, entry: number | undefined, problem: string): CountersignError {
  const which = entry === undefined ? 'its first entry' : `entry ${entry}`;
  return new CountersignError('log_broken', `the log's journal ${segment} is damaged at ${which}: ${problem}`, {
    hint: 'acknowledged entries may be lost; keep a copy of the log directory before doing anything else',
  });
}

export const segmentName = (number: number): string => `${String(number).padStart(10, '0')}.journal`;

export interface JournalContent {
  /** Entries from `from` on, in order, without a gap. */
  readonly runs: readonly EntryRun[];
  /** Paths of all segments. */
  readonly segments: readonly string[];
  readonly nextSegment: number;
  /** The batch that a crash left unfinished: cut it off before anything else is written. */
  readonly torn: { readonly path: string; readonly at: number } | undefined;
}

/**
 * Reads what the journal holds from entry `from` on.
 * @throws CountersignError `log_broken`
 */
export async function readJournal(directory: string, from: number): Promise<JournalContent> {
  const names = (await readdir(directory)).filter((name) => /^\d{10}\.journal$/.test(name)).sort();
  const runs: EntryRun[] = [];
  let next: number | undefined;
  let torn: { readonly path: string; readonly at: number } | undefined;
  for (const name of names) {
    const buffer = await readFile(path.join(directory, name));
    const { batches, tornAt } = readSegment(name, buffer, next);
    if (torn !== undefined && batches.length > 0)
      throw damaged(path.basename(torn.path), next, 'whole batches follow a damaged one');
    if (tornAt !== undefined) torn = { path: path.join(directory, name), at: tornAt };
    for (const batch of batches) {
      if (next === undefined && batch.firstIndex > from)
        throw damaged(name, from, `it begins at entry ${batch.firstIndex}`);
      next = batch.firstIndex + batch.entries;
      const run = withoutBefore(name, batch, from);
      if (run !== undefined) runs.push(run);
    }
  }
  const last = names.at(-1);
  return {
    runs,
    segments: names.map((name) => path.join(directory, name)),
    torn,
    nextSegment: last === undefined ? 1 : Number.parseInt(last, 10) + 1,
  };
}

/** The run from entry `from` on; also proves that the payload holds as many entries as its header says. */
function withoutBefore(segment: string, run: EntryRun, from: number): EntryRun | undefined {
  let position = run.start;
  let start = run.start;
  let index = run.firstIndex;
  while (position + 2 <= run.end) {
    position += 2 + run.buffer.readUInt16BE(position);
    index++;
    if (index === from) start = position;
  }
  if (position !== run.end || index !== run.firstIndex + run.entries)
    throw damaged(segment, index, 'a batch does not hold what it says');
  if (index <= from) return undefined;
  const firstIndex = Math.max(from, run.firstIndex);
  return { buffer: run.buffer, start, end: run.end, entries: index - firstIndex, firstIndex };
}
