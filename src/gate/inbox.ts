/**
 * What the client sent and the gate has not taken yet. Messages are taken one after the other; while a decision is
 * waited for none is, and a client that sends on is held back by its own connection.
 */
import { FrameSplitter } from '../wire/postgres/frames.ts';
import type { GateSession } from './session.ts';

/** What the client may send ahead while it waits for a decision. */
const maxBacklogBytes = 1024 * 1024;

export interface InboxOptions {
  readonly session: GateSession;
  readonly onFrame: (type: number, buffer: Buffer, start: number, end: number) => void;
  /** Everything that could be taken has been. */
  readonly onTurn: () => void;
}

export class Inbox {
  readonly #options: InboxOptions;
  readonly #splitter: FrameSplitter;
  #backlog: Buffer[] = [];
  #backlogBytes = 0;
  #suspended = false;
  #paused = false;
  /** The chunk that is being taken: its bytes stay as they are, so pieces of it need no copy. */
  #chunk: Buffer | undefined;

  constructor(options: InboxOptions) {
    this.#options = options;
    this.#splitter = new FrameSplitter({ maxFrameBytes: options.session.options.limits.maxMessageBytes });
  }

  get suspended(): boolean {
    return this.#suspended;
  }

  /** Whether a buffer that `onFrame` was given stays as it is. */
  isOwned(buffer: Buffer): boolean {
    return buffer === this.#chunk;
  }

  receive(chunk: Buffer): void {
    if (this.#suspended) {
      this.#backlog.push(chunk);
      this.#backlogBytes += chunk.length;
      if (this.#backlogBytes > maxBacklogBytes && !this.#paused) {
        this.#paused = true;
        this.#options.session.options.pause('client', true);
      }
      return;
    }
    this.#scan(chunk);
    this.#options.onTurn();
  }

  /** Takes nothing more until `work` gives the next step; the step runs as a turn of its own. */
  suspend(work: Promise<() => void>): void {
    const { session, onTurn } = this.#options;
    this.#suspended = true;
    work.then(
      (step) =>
        session.resume(() => {
          this.#suspended = false;
          step();
          this.#drain();
          onTurn();
        }),
      (error: unknown) => session.fail(error),
    );
  }

  /** Puts whole messages in front of what the client sent since. */
  putBack(frames: readonly Buffer[]): void {
    this.#backlog.unshift(...frames);
    for (const frame of frames) this.#backlogBytes += frame.length;
  }

  clear(): void {
    this.#backlog = [];
  }

  #drain(): void {
    while (!this.#suspended) {
      const chunk = this.#backlog.shift();
      if (chunk === undefined) break;
      this.#backlogBytes -= chunk.length;
      this.#scan(chunk);
    }
    if (this.#paused && this.#backlogBytes === 0) {
      this.#paused = false;
      this.#options.session.options.pause('client', false);
    }
  }

  #scan(chunk: Buffer): void {
    this.#chunk = chunk;
    const consumed = this.#splitter.push(chunk, 0, chunk.length, this.#onFrame);
    this.#chunk = undefined;
    if (consumed < chunk.length) {
      this.#backlog.unshift(chunk.subarray(consumed));
      this.#backlogBytes += chunk.length - consumed;
    }
  }

  readonly #onFrame = (type: number, buffer: Buffer, start: number, end: number): boolean => {
    this.#options.onFrame(type, buffer, start, end);
    return !this.#suspended;
  };
}
