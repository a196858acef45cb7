/**
 * Replay: a session's recording as readable events. Shows only what the log vouches for: every stored segment must have
 * the digest that the log holds for it, none may be missing and none may be more, or nothing of that segment is shown.
 */
import { hash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { CountersignError } from '../errors.ts';
import type { Json } from '../lib/canonical-json.ts';
import {
  decodeCommandComplete,
  decodeCopyResponse,
  decodeDataRow,
  decodeErrorResponse,
  decodeNotificationResponse,
  decodeParameterStatus,
  decodeReadyForQuery,
  decodeRowDescription,
  type ResultColumn,
} from '../wire/postgres/backend.ts';
import { FrameSplitter } from '../wire/postgres/frames.ts';
import { backend } from '../wire/postgres/messages.ts';
import { cellText } from './cell-text.ts';
import { logVerifier } from './checkpoint.ts';
import type { RecordingSegment } from './events.ts';
import {
  eventHeadBytes,
  eventKinds,
  fileHeadBytes,
  isRecordingHead,
  openSegment,
  readSegmentHead,
  segmentHeadBytes,
} from './segment.ts';
import { leafHash, verifyInclusion } from './tlog.ts';
import { readInclusionProof, type LogReader } from './proofs.ts';
import { iterateEntries, readerFor } from './verify.ts';

/** `offsetMs` counts from the start of the session's recording. */
export type ReplayEvent = { readonly offsetMs: number } & ReplayContent;

export type ReplayContent =
  /** What the client asked, as the gate noted it: `{kind: 'query' | 'execute' | 'denied' | 'chunk', text, …}`. */
  | { readonly type: 'request'; readonly request: Json }
  | {
      readonly type: 'columns';
      readonly columns: readonly { readonly name: string; readonly typeOid: number; readonly binary: boolean }[];
    }
  /** Cells as text; null is NULL. A binary value of a type that we do not read is shown as \x and hex. */
  | { readonly type: 'row'; readonly values: readonly (string | null)[] }
  | { readonly type: 'complete'; readonly tag: string }
  /** Fields by their names in the protocol: severity, code, message, detail, hint … */
  | { readonly type: 'error' | 'notice'; readonly fields: Readonly<Record<string, string>> }
  | { readonly type: 'notification'; readonly channel: string; readonly payload: string }
  | { readonly type: 'parameter'; readonly name: string; readonly value: string }
  | { readonly type: 'copy'; readonly direction: 'in' | 'out' | 'both'; readonly binary: boolean }
  | { readonly type: 'copy-data'; readonly data: string }
  | { readonly type: 'ready'; readonly status: 'I' | 'T' | 'E' }
  /** A message without content of its own (ParseComplete, PortalSuspended …), or one that we do not read. */
  | { readonly type: 'message'; readonly message: string; readonly bytes: number }
  /** The session's last event; a recording without it was cut off by a crash. */
  | { readonly type: 'end' };

/** What the log says of one stored segment. */
export type SegmentRecord = Pick<RecordingSegment, 'segment' | 'sha256' | 'bytes' | 'path'>;

/** What replay needs of a RecordingStore. */
export interface ReplayStore {
  readonly directory: string;
  fileKey(head: Buffer, sessionId: string): Buffer;
}

/**
 * @param options.segments the log's `recording.segment` entries of this session, in the log's order
 * @throws CountersignError `recording_unknown` when the log has none, `recording_broken` naming the segment
 */
export async function* replay(options: {
  readonly store: ReplayStore;
  readonly sessionId: string;
  readonly segments: readonly SegmentRecord[];
}): AsyncGenerator<ReplayEvent> {
  const { store, sessionId, segments } = options;
  const [first] = segments;
  if (first === undefined)
    throw new CountersignError('recording_unknown', `the log knows no recording of session ${sessionId}`);
  const file = path.join(store.directory, first.path);
  if (path.relative(store.directory, file).startsWith('..'))
    throw new CountersignError('recording_broken', `the recording of session ${sessionId} has an impossible path`);
  const handle = await open(file, 'r').catch((cause: unknown) => {
    throw new CountersignError(
      'recording_broken',
      `the recording of session ${sessionId} cannot be read: ${first.path}`,
      { cause },
    );
  });
  try {
    const walker = new ResponseWalker();
    for await (const plain of plainSegments(handle, options)) yield* eventsOf(plain, walker);
  } finally {
    await handle.close();
  }
}

/** A session's replay from the gateway's own log: the digests are proven under its newest checkpoint first. */
export async function* replaySession(options: {
  readonly recordings: ReplayStore;
  readonly sessionId: string;
  readonly log: { readonly directory: string; readonly verifierKey: string; checkpoint(): Promise<string> };
}): AsyncGenerator<ReplayEvent> {
  const { recordings, sessionId, log } = options;
  const segments = await readSegmentRecords({
    read: readerFor(log.directory),
    checkpoint: await log.checkpoint(),
    verifierKey: log.verifierKey,
    sessionId,
  });
  yield* replay({ store: recordings, sessionId, segments });
}

/**
 * The `recording.segment` entries of a session, each proven to be under the signed checkpoint.
 * @throws CountersignError `log_broken`
 */
export async function readSegmentRecords(options: {
  readonly read: LogReader;
  readonly checkpoint: string;
  readonly verifierKey: string;
  readonly sessionId: string;
}): Promise<SegmentRecord[]> {
  const { read, sessionId } = options;
  const { size, root } = logVerifier(options.verifierKey).verify(options.checkpoint);
  const records: SegmentRecord[] = [];
  for await (const { index, text } of iterateEntries({ read, size })) {
    if (!text.includes('"recording.segment"') || !text.includes(sessionId)) continue;
    const entry = JSON.parse(text) as RecordingSegment;
    if (entry.type !== 'recording.segment' || entry.session !== sessionId) continue;
    const proof = await readInclusionProof(read, index, size);
    if (!verifyInclusion(leafHash(Buffer.from(text)), index, size, proof, root)) {
      throw new CountersignError('log_broken', `entry ${index} of the log is not the one that was signed`);
    }
    records.push(entry);
  }
  return records;
}

async function* plainSegments(
  handle: FileHandle,
  { store, sessionId, segments }: { store: ReplayStore; sessionId: string; segments: readonly SegmentRecord[] },
): AsyncGenerator<Buffer> {
  const broken = (segment: number, reason: string, cause?: unknown) =>
    new CountersignError(
      'recording_broken',
      `segment ${segment} of the recording of session ${sessionId} is not genuine: ${reason}`,
      { cause },
    );
  const head = await readAt(handle, 0, fileHeadBytes);
  if (!isRecordingHead(head)) throw broken(1, 'the file has no head');
  const key = store.fileKey(head, sessionId);
  let position = fileHeadBytes;
  for (const [at, record] of segments.entries()) {
    const number = at + 1;
    if (record.segment !== number) throw broken(number, `the log has segment ${record.segment} in its place`);
    const stored = await readAt(handle, position, record.bytes);
    position += record.bytes;
    if (stored.length !== record.bytes) throw broken(number, stored.length === 0 ? 'it is missing' : 'it is cut off');
    if (hash('sha256', stored, 'hex') !== record.sha256) throw broken(number, "its digest is not the log's");
    if (readSegmentHead(stored.subarray(0, segmentHeadBytes))?.number !== number)
      throw broken(number, 'it has another number');
    let plain: Buffer;
    try {
      plain = await openSegment(key, sessionId, stored);
    } catch (cause) {
      throw broken(number, 'it cannot be decrypted with this key', cause);
    }
    yield plain;
  }
  if ((await readAt(handle, position, 1)).length > 0) throw broken(segments.length + 1, 'the log does not know it');
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let read = 0;
  while (read < length) {
    const { bytesRead } = await handle.read(buffer, read, length - read, position + read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return buffer.subarray(0, read);
}

function* eventsOf(plain: Buffer, walker: ResponseWalker): Generator<ReplayEvent> {
  let position = 0;
  while (position < plain.length) {
    const kind = plain[position];
    const offsetMs = plain.readUInt32BE(position + 1);
    const start = position + eventHeadBytes;
    const end = start + plain.readUInt32BE(position + 5);
    position = end;
    if (kind === eventKinds.request)
      yield { offsetMs, type: 'request', request: JSON.parse(plain.toString('utf8', start, end)) as Json };
    else if (kind === eventKinds.response)
      for (const content of walker.walk(plain, start, end)) yield { offsetMs, ...content };
    else if (kind === eventKinds.end) yield { offsetMs, type: 'end' };
  }
}

const messageNames = new Map<number, string>(Object.entries(backend).map(([name, code]) => [code, name]));
const fieldNames: Readonly<Record<string, string>> = {
  S: 'severity',
  V: 'severityUntranslated',
  C: 'code',
  M: 'message',
  D: 'detail',
  H: 'hint',
  P: 'position',
  W: 'where',
};
const maxFrameBytes = 1024 * 1024 * 1024;

/** Delivered PostgreSQL bytes to events; messages may go across deliveries and segments. */
class ResponseWalker {
  readonly #splitter = new FrameSplitter({ maxFrameBytes });
  #columns: readonly ResultColumn[] | undefined;

  walk(bytes: Buffer, start: number, end: number): ReplayContent[] {
    const contents: ReplayContent[] = [];
    this.#splitter.push(bytes, start, end, (type, buffer, from, to) => {
      contents.push(this.#content(type, buffer, from, to));
    });
    return contents;
  }

  #content(type: number, buffer: Buffer, start: number, end: number): ReplayContent {
    switch (type) {
      case backend.RowDescription: {
        this.#columns = decodeRowDescription(buffer, start, end);
        return {
          type: 'columns',
          columns: this.#columns.map(({ name, typeOid, format }) => ({ name, typeOid, binary: format === 1 })),
        };
      }
      case backend.DataRow: {
        const cells = decodeDataRow(buffer, start, end);
        return { type: 'row', values: cells.map((cell, index) => cellText(cell, this.#columns?.[index])) };
      }
      case backend.CommandComplete:
        return { type: 'complete', tag: decodeCommandComplete(buffer, start, end).tag };
      case backend.ErrorResponse:
      case backend.NoticeResponse: {
        const fields = Object.entries(decodeErrorResponse(buffer, start, end)).map(([letter, value]) => [
          fieldNames[letter] ?? letter,
          value,
        ]);
        return {
          type: type === backend.ErrorResponse ? 'error' : 'notice',
          fields: Object.fromEntries(fields) as Record<string, string>,
        };
      }
      case backend.NotificationResponse: {
        const { channel, payload } = decodeNotificationResponse(buffer, start, end);
        return { type: 'notification', channel, payload };
      }
      case backend.ParameterStatus:
        return { type: 'parameter', ...decodeParameterStatus(buffer, start, end) };
      case backend.CopyInResponse:
      case backend.CopyOutResponse:
      case backend.CopyBothResponse: {
        const direction = type === backend.CopyInResponse ? 'in' : type === backend.CopyOutResponse ? 'out' : 'both';
        return { type: 'copy', direction, binary: decodeCopyResponse(buffer, start, end).format === 1 };
      }
      case backend.CopyData:
        return { type: 'copy-data', data: cellText(buffer.subarray(start + 5, end), undefined) ?? '' };
      case backend.ReadyForQuery:
        return { type: 'ready', status: decodeReadyForQuery(buffer, start, end).status };
      default:
        return { type: 'message', message: messageNames.get(type) ?? `type ${type}`, bytes: end - start };
    }
  }
}
