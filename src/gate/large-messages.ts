/**
 * Messages of the target that are longer than `maxRowBytes`. They are read as streams and only what is delivered of them
 * is kept, so that their fate depends on their masked size alone: the raw size of a masked value would answer guesses
 * about it.
 */
import { ByteSink } from '../lib/byte-sink.ts';
import { RowStream } from '../masking/row-stream.ts';
import type { RowMasker } from '../masking/rows.ts';
import { rowTooLarge, type StreamLimits } from '../masking/streamed-cells.ts';
import { encodeErrorResponse, encodeNoticeResponse } from '../wire/postgres/backend.ts';
import { FieldStream } from '../wire/postgres/field-stream.ts';
import type { FrameStream } from '../wire/postgres/frames.ts';
import { backend } from '../wire/postgres/messages.ts';
import { executionOf, unexpected, type Execution } from './pipeline.ts';
import { withoutKeys } from './row-caps.ts';
import type { GateSession } from './session.ts';

/** No piece of what a target sends is larger than that; rows in one piece are taken whole, whatever the limit. */
const largestPiece = 1024 * 1024;

export interface LargeMessagesHost {
  /** Of the execution that rows belong to now. */
  readonly execution: () => Execution;
  readonly masker: (execution: Execution) => RowMasker;
  /** Rows were appended to the sink. */
  readonly took: (execution: Execution, before: number) => void;
  readonly frame: (type: number, buffer: Buffer, start: number, end: number) => boolean;
}

export class LargeMessages {
  readonly #session: GateSession;
  readonly #host: LargeMessagesHost;

  constructor(session: GateSession, host: LargeMessagesHost) {
    this.#session = session;
    this.#host = host;
  }

  /** @returns undefined for a message that is never long */
  open(type: number, bodyBytes: number): FrameStream | undefined {
    switch (type) {
      case backend.DataRow:
        return this.#row(bodyBytes);
      case backend.CopyData:
        return this.#copy(bodyBytes);
      case backend.ErrorResponse:
      case backend.NoticeResponse:
        return this.#fields(type);
      default:
        return undefined;
    }
  }

  get #limits(): StreamLimits {
    const { maxRowBytes } = this.#session.options.limits;
    return { delivered: maxRowBytes, detected: Math.max(maxRowBytes, largestPiece) };
  }

  /**
   * Rows that were appended to the sink, and are each within the limit. Those before one that is not are delivered: how
   * many came in one piece with it depends on their raw sizes.
   * @throws CountersignError `message_too_large`
   */
  checkRows(before: number): void {
    const { sink, options } = this.#session;
    const { maxRowBytes } = options.limits;
    if (sink.length - before <= maxRowBytes) return;
    for (let at = before; at < sink.length; ) {
      const size = 1 + sink.buffer.readInt32BE(at + 1);
      if (size > maxRowBytes) {
        sink.length = at;
        throw this.#refused(rowTooLarge(maxRowBytes));
      }
      at += size;
    }
  }

  #refused(error: unknown): unknown {
    this.#session.door.deliver(this.#session.sink);
    return error;
  }

  #row(bodyBytes: number): FrameStream {
    const execution = this.#host.execution();
    withoutKeys(execution);
    const masker = this.#host.masker(execution);
    if (masker.passThrough) throw this.#refused(rowTooLarge(this.#limits.delivered));
    return this.#stream(new RowStream(masker.streamed(), bodyBytes, this.#limits), (row) => {
      const { sink } = this.#session;
      const before = sink.length;
      row.finish(backend.DataRow, sink);
      execution.rows++;
      execution.maskedCells += row.maskedCells;
      this.#host.took(execution, before);
    });
  }

  #copy(bodyBytes: number): FrameStream {
    const { head } = this.#session.pipeline;
    const execution = executionOf(head);
    if (execution?.copyOut === undefined) throw unexpected('CopyData', head);
    const { copyOut } = execution;
    const message = this.#guarded(() => copyOut.stream(bodyBytes, this.#limits));
    return this.#stream(message, () => {
      const { sink } = this.#session;
      const before = sink.length;
      message.finish(sink);
      execution.rows++;
      execution.maskedCells += message.maskedCells;
      execution.bytes += sink.length - before;
    });
  }

  #stream<T extends { write(src: Buffer, start: number, end: number): void }>(
    stream: T,
    finish: (stream: T) => void,
  ): FrameStream {
    return {
      write: (buffer, start, end) => this.#guarded(() => stream.write(buffer, start, end)),
      end: () => {
        finish(stream);
        // Rows behind it are taken in runs.
        return false;
      },
    };
  }

  #guarded<T>(step: () => T): T {
    try {
      return step();
    } catch (error) {
      throw this.#refused(error);
    }
  }

  /** Its texts are not kept. Where masked data was in reach, nobody sees that: they would have been withheld. */
  #fields(type: number): FrameStream {
    const stream = new FieldStream();
    return {
      write: (buffer, start, end) => stream.write(buffer, start, end),
      end: () => {
        stream.end();
        const message = new ByteSink(256);
        const encode = type === backend.ErrorResponse ? encodeErrorResponse : encodeNoticeResponse;
        encode(message, { ...stream.fields, M: 'countersign: the text of this message is too long, and is left out' });
        return this.#host.frame(type, message.buffer, 0, message.length);
      },
    };
  }
}
