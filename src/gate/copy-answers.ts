/** From the target to the client, during a COPY OUT: the answers to our own question about its columns, and its data. */
import {
  decodeCopyResponse,
  decodeErrorResponse,
  decodeReadyForQuery,
  decodeRowDescription,
} from '../wire/postgres/backend.ts';
import { backend } from '../wire/postgres/messages.ts';
import { copyMaskerOf } from './copy-probe.ts';
import { unexpected, type Execution, type Operation } from './pipeline.ts';
import type { GateSession } from './session.ts';

type Fields = Record<string, string>;
type ProbeOperation = Operation & { readonly kind: 'probe' };

export interface CopyAnswersHost {
  readonly scrub: (fields: Fields, execution: Execution) => Fields;
  /** An error in the client's batch of the extended protocol. */
  readonly failed: (head: ProbeOperation, fields: Fields) => void;
  /** A message that was appended to the sink at this place is within its limit. */
  readonly check: (before: number) => void;
}

export class CopyAnswers {
  readonly #session: GateSession;
  readonly #host: CopyAnswersHost;

  constructor(session: GateSession, host: CopyAnswersHost) {
    this.#session = session;
    this.#host = host;
  }

  /** Returns false for a message that does not belong to the question. */
  probed(head: ProbeOperation, type: number, buffer: Buffer, start: number, end: number): boolean {
    const { pipeline } = this.#session;
    const { probe, step } = head;
    switch (type) {
      case backend.ParameterDescription:
        return true;
      case backend.ParseComplete:
      case backend.CloseComplete:
        if (step !== (type === backend.ParseComplete ? 'parse' : 'close')) throw unexpected('an answer', head);
        pipeline.shift();
        return true;
      case backend.RowDescription:
        if (step !== 'describe') throw unexpected('RowDescription', head);
        probe.columns = decodeRowDescription(buffer, start, end);
        pipeline.shift();
        return true;
      case backend.ReadyForQuery:
        if (step !== 'sync') throw unexpected('ReadyForQuery', head);
        pipeline.transactionStatus = decodeReadyForQuery(buffer, start, end).status;
        probe.done = true;
        pipeline.shift();
        return true;
      case backend.ErrorResponse: {
        const fields = decodeErrorResponse(buffer, start, end);
        // It counts characters in another text than the client's.
        delete fields['P'];
        if (probe.of === 'execute') this.#host.failed(head, fields);
        else {
          probe.failure = this.#host.scrub(fields, probe.execution);
          pipeline.dropUntilSync(() => undefined);
        }
        return true;
      }
      default:
        return false;
    }
  }

  begin(execution: Execution | undefined, buffer: Buffer, start: number, end: number): void {
    const statement = execution?.statements[execution.index];
    if (execution === undefined || statement === undefined) throw unexpected('CopyOutResponse', undefined);
    execution.copyOut = copyMaskerOf(statement, execution, decodeCopyResponse(buffer, start, end));
  }

  data(execution: Execution | undefined, buffer: Buffer, start: number, end: number): void {
    if (execution?.copyOut === undefined) throw unexpected('CopyData', undefined);
    const { sink } = this.#session;
    const before = sink.length;
    const { rows, maskedCells } = execution.copyOut.mask(buffer, start, end, sink);
    this.#host.check(before);
    execution.rows += rows;
    execution.maskedCells += maskedCells;
    execution.bytes += sink.length - before;
  }
}
