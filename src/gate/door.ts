/**
 * The ONE door between a client and a target. Towards the target: what was decided is recorded durably, then forwarded.
 * Towards the client: what was masked is recorded, then delivered. Nobody else touches the two wires, so no other order
 * is possible. The door knows no socket: `forward` and `deliver` are whoever owns them.
 *
 * Bytes for the target wait in batches behind the log: a batch leaves when the newest intent recorded before it is on
 * disk. If the log cannot be written, nothing leaves (promise P5).
 */
import type { CountersignError } from '../errors.ts';
import type { ByteSink } from '../lib/byte-sink.ts';

export interface DoorLog {
  append(entry: string): number;
  whenDurable(index: number, callback: (error?: CountersignError) => void): void;
}

export interface DoorRecording {
  response(bytes: Buffer, start: number, end: number): void;
}

export interface DoorOptions {
  readonly log: DoorLog;
  readonly recording: DoorRecording;
  /** Takes ownership of the bytes. */
  readonly forward: (bytes: Buffer) => void;
  /** Takes ownership of the bytes. */
  readonly deliver: (bytes: Buffer) => void;
  /** The log failed: the session must end. */
  readonly onFailure: (error: CountersignError) => void;
}

interface Piece {
  readonly buffer: Buffer;
  readonly start: number;
  end: number;
}

/** Below this, a batch is copied and the scratch buffer used again; above, the buffer itself is handed over. */
const copyBelowBytes = 16 * 1024;

export class Door {
  readonly #options: DoorOptions;
  #outbox: Piece[] = [];
  /** Index of the newest intent that the outbox stands behind; -1 = none. */
  #intent = -1;
  /** Batches that wait for the log, oldest first. */
  #waiting = 0;
  #closed = false;

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  /** Puts an entry into the log. What is forwarded after this call leaves only when the entry is durable. @throws log_unavailable */
  record(entry: string): void {
    this.#intent = this.#options.log.append(entry);
  }

  /** Puts an entry into the log that nothing waits for: outcomes, refusals. @throws log_unavailable */
  note(entry: string): void {
    this.#options.log.append(entry);
  }

  /** Queues bytes for the target. `owned` says that buffer[start, end) stays as it is until it was written. */
  forward(buffer: Buffer, start: number, end: number, owned: boolean): void {
    const last = this.#outbox.at(-1);
    if (owned && last !== undefined && last.buffer === buffer && last.end === start) {
      last.end = end;
      return;
    }
    if (owned) this.#outbox.push({ buffer, start, end });
    else {
      const copy = Buffer.from(buffer.subarray(start, end));
      this.#outbox.push({ buffer: copy, start: 0, end: copy.length });
    }
  }

  /** Sends the queued bytes on, once everything recorded so far is durable. */
  flush(): void {
    if (this.#outbox.length === 0) return;
    const bytes = join(this.#outbox);
    this.#outbox = [];
    if (this.#intent < 0 && this.#waiting === 0) {
      this.#options.forward(bytes);
      return;
    }
    const intent = this.#intent;
    this.#intent = -1;
    this.#waiting++;
    this.#newest = intent < 0 ? this.#newest : intent;
    this.#options.log.whenDurable(this.#newest, (error) => {
      this.#waiting--;
      if (this.#closed) return;
      if (error === undefined) this.#options.forward(bytes);
      else this.#options.onFailure(error);
    });
  }
  #newest = -1;

  /** Records the batch, then delivers it. @throws when the recording failed: then nothing was delivered. */
  deliver(sink: ByteSink): void {
    if (sink.length === 0) return;
    this.#options.recording.response(sink.buffer, 0, sink.length);
    if (sink.length < copyBelowBytes) {
      const bytes = Buffer.from(sink.buffer.subarray(0, sink.length));
      sink.reset();
      this.#options.deliver(bytes);
    } else {
      this.#options.deliver(sink.take());
    }
  }

  /** Nothing leaves any more, also nothing that waits for the log. */
  close(): void {
    this.#closed = true;
    this.#outbox = [];
  }
}

function join(pieces: readonly Piece[]): Buffer {
  const first = pieces[0];
  if (first !== undefined && pieces.length === 1) return first.buffer.subarray(first.start, first.end);
  return Buffer.concat(pieces.map((piece) => piece.buffer.subarray(piece.start, piece.end)));
}
