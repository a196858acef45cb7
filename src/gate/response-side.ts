/**
 * From the target to the client: mask, record, deliver. Every message of the server belongs to the operation at the
 * head of the pipeline; a message that does not fit there is a broken assumption and ends the session, because rows
 * without a known plan cannot be masked (promises P2 and P7).
 */
import { CountersignError } from '../errors.ts';
import {
  decodeBindComplete,
  decodeCloseComplete,
  decodeCommandComplete,
  decodeCopyDone,
  decodeCopyResponse,
  decodeEmptyQueryResponse,
  decodeErrorResponse,
  decodeNoData,
  decodeNotificationResponse,
  decodeParameterDescription,
  decodeParameterStatus,
  decodeParseComplete,
  decodePortalSuspended,
  decodeReadyForQuery,
  decodeRowDescription,
  encodeErrorResponse,
  encodeNoticeResponse,
  encodeNotificationResponse,
  encodeReadyForQuery,
  isCommandTag,
} from '../wire/postgres/backend.ts';
import { FrameSplitter, scanDataRowRun } from '../wire/postgres/frames.ts';
import { backend } from '../wire/postgres/messages.ts';
import { CopyAnswers } from './copy-answers.ts';
import { LargeMessages } from './large-messages.ts';
import { withinBudget, withinCaps, withinKeys } from './row-caps.ts';
import type { RowMasker } from '../masking/rows.ts';
import { executionOf, resultsOf, unexpected, type Execution, type Operation } from './pipeline.ts';
import { withFormats } from './result-plan.ts';
import { scrubDetected, scrubFields } from './scrub.ts';
import type { AdmittedStatement } from './admission.ts';
import { errorFields } from './error-fields.ts';
import type { GateSession } from './session.ts';

/** Messages that are passed on as they came: one that is longer than its fields would carry rows past the masks. */
const checks: ReadonlyMap<number, (buffer: Buffer, start: number, end: number) => unknown> = new Map([
  [backend.ParseComplete, decodeParseComplete],
  [backend.BindComplete, decodeBindComplete],
  [backend.CloseComplete, decodeCloseComplete],
  [backend.NoData, decodeNoData],
  [backend.PortalSuspended, decodePortalSuspended],
  [backend.EmptyQueryResponse, decodeEmptyQueryResponse],
  [backend.ParameterDescription, decodeParameterDescription],
  [backend.CopyInResponse, decodeCopyResponse],
  [backend.CopyDone, decodeCopyDone],
]);

export class ResponseSide {
  readonly #session: GateSession;
  readonly #splitter: FrameSplitter;
  readonly #copies: CopyAnswers;
  readonly #large: LargeMessages;
  #suspended = false;
  #backlog: Buffer[] = [];

  constructor(session: GateSession) {
    this.#session = session;
    this.#large = new LargeMessages(session, {
      execution: () => this.#rowExecution(),
      masker: (execution) => this.#masker(execution),
      took: (execution, before) => this.#took(execution, before),
      frame: (type, buffer, start, end) => this.#onFrame(type, buffer, start, end),
    });
    this.#splitter = new FrameSplitter({
      maxFrameBytes: session.options.limits.maxRowBytes,
      openStream: (type, bodyBytes) => this.#large.open(type, bodyBytes),
    });
    this.#copies = new CopyAnswers(session, {
      scrub: (fields, execution) => this.#scrubFields(fields, execution),
      failed: (probe, fields) => this.#error(probe, fields),
      check: (before) => this.#large.checkRows(before),
    });
  }

  receive(chunk: Buffer, start: number, end: number): void {
    if (this.#suspended) {
      this.#backlog.push(Buffer.from(chunk.subarray(start, end)));
      return;
    }
    this.#scan(chunk, start, end);
    this.#endTurn();
  }

  #endTurn(): void {
    if (this.#session.ended) return;
    this.#session.door.deliver(this.#session.sink);
    this.#session.answered();
  }

  #scan(chunk: Buffer, start: number, end: number): void {
    let position = start;
    // A frame that began in the last chunk is completed first; rows wholly inside this one are then taken in runs.
    while (position < end && !this.#suspended && !this.#session.ended) {
      if (this.#splitter.isBetweenFrames && chunk[position] === backend.DataRow) {
        const taken = this.#rows(chunk, position, end);
        if (taken > position) {
          position = taken;
          continue;
        }
      }
      position = this.#splitter.push(chunk, position, end, this.#onFrame);
    }
    if (position < end && this.#suspended) this.#backlog.push(Buffer.from(chunk.subarray(position, end)));
  }

  #suspend(work: Promise<void>, proceed: () => void): void {
    this.#suspended = true;
    this.#session.options.pause('target', true);
    work.then(
      () =>
        this.#session.resume(() => {
          this.#suspended = false;
          proceed();
          while (!this.#suspended) {
            const chunk = this.#backlog.shift();
            if (chunk === undefined) break;
            this.#scan(chunk, 0, chunk.length);
          }
          this.#endTurn();
          if (!this.#suspended) this.#session.options.pause('target', false);
        }),
      (error: unknown) => this.#session.fail(error),
    );
  }

  /** Masks the complete rows in chunk[position, end) straight into the sink. Returns where they end. */
  #rows(chunk: Buffer, position: number, end: number): number {
    const execution = this.#rowExecution();
    const { sink } = this.#session;
    const before = sink.length;
    const masker = this.#masker(execution);
    let taken: number;
    if (masker.passThrough && execution.chunk === undefined) {
      const run = scanDataRowRun(chunk, position, end);
      taken = run.end;
      execution.rows += run.rows;
      if (taken > position) sink.copy(chunk, position, taken);
    } else {
      const run = masker.maskRun(chunk, position, end, sink);
      taken = run.end;
      execution.rows += run.rows;
      execution.maskedCells += run.maskedCells;
    }
    withinKeys(execution, this.#session.pipeline.head, chunk, position, taken);
    this.#large.checkRows(before);
    this.#took(execution, before);
    return taken;
  }

  /** Rows of this execution were appended to the sink. */
  #took(execution: Execution, before: number): void {
    const { sink } = this.#session;
    execution.bytes += sink.length - before;
    withinCaps(execution);
    withinBudget(execution);
    if (execution.rowHash !== undefined && sink.length > before) {
      execution.rowHash.update(sink.buffer.subarray(before, sink.length));
    }
  }

  /** Returns false to stop the scan: after a row description (its rows are taken in runs) and while suspended. */
  readonly #onFrame = (type: number, buffer: Buffer, start: number, end: number): boolean => {
    this.#frame(type, buffer, start, end);
    if (this.#session.ended) return false;
    this.#session.pumpLocal();
    return type !== backend.RowDescription && type !== backend.DataRow && !this.#suspended;
  };

  #frame(type: number, buffer: Buffer, start: number, end: number): void {
    const { pipeline } = this.#session;
    const head = pipeline.head;
    if (head?.kind === 'internal') return this.#internal(head, type, buffer, start, end);
    if (head?.kind === 'probe' && this.#copies.probed(head, type, buffer, start, end)) return;
    checks.get(type)?.(buffer, start, end);
    switch (type) {
      case backend.DataRow:
        return void this.#rows(buffer, start, end);
      case backend.RowDescription:
        return this.#rowDescription(head, buffer, start, end);
      case backend.NoData:
        if (head?.kind !== 'describe') throw unexpected('NoData', head);
        if (head.of !== undefined && !('prepared' in head.of)) head.of.columns = [];
        pipeline.shift();
        if (!head.injected) this.#pass(buffer, start, end);
        return;
      case backend.ParameterDescription:
        if (head?.kind !== 'describe') throw unexpected('ParameterDescription', head);
        return this.#pass(buffer, start, end);
      case backend.CommandComplete:
        return this.#complete(head, decodeCommandComplete(buffer, start, end).tag, buffer, start, end);
      case backend.EmptyQueryResponse:
        return this.#complete(head, '', buffer, start, end);
      case backend.PortalSuspended:
        if (head?.kind !== 'execute') throw unexpected('PortalSuspended', head);
        pipeline.shift();
        return this.#pass(buffer, start, end);
      case backend.ParseComplete:
        return this.#answered('parse', 'ParseComplete', head, buffer, start, end);
      case backend.BindComplete:
        return this.#answered('bind', 'BindComplete', head, buffer, start, end);
      case backend.CloseComplete:
        return this.#answered('close', 'CloseComplete', head, buffer, start, end);
      case backend.ReadyForQuery:
        return this.#ready(head, decodeReadyForQuery(buffer, start, end).status);
      case backend.ErrorResponse:
        return this.#error(head, decodeErrorResponse(buffer, start, end));
      case backend.NoticeResponse:
        encodeNoticeResponse(
          this.#session.sink,
          this.#scrubFields(decodeErrorResponse(buffer, start, end), executionOf(head)),
        );
        return;
      case backend.NotificationResponse:
        return this.#notification(buffer, start, end);
      case backend.ParameterStatus:
        return this.#parameterStatus(buffer, start, end);
      case backend.CopyInResponse:
        return this.#copyIn(head, buffer, start, end);
      case backend.CopyOutResponse:
        this.#copies.begin(executionOf(head), buffer, start, end);
        return this.#pass(buffer, start, end);
      case backend.CopyData:
        return this.#copies.data(executionOf(head), buffer, start, end);
      case backend.CopyDone:
        if (executionOf(head)?.copyOut === undefined) throw unexpected('CopyDone', head);
        return this.#pass(buffer, start, end);
      default:
        throw unexpected(`message type ${JSON.stringify(String.fromCharCode(type))}`, head);
    }
  }

  #pass(buffer: Buffer, start: number, end: number): void {
    this.#session.sink.copy(buffer, start, end);
  }

  #answered(
    kind: Operation['kind'],
    name: string,
    head: Operation | undefined,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    if (head?.kind !== kind) throw unexpected(name, head);
    if (head.kind === 'parse') {
      if (head.substitute !== undefined) throw new Error('the target parsed the text that stands for a refusal');
      if (head.prepared !== undefined) {
        head.prepared.confirmed = true;
        this.#session.options.admissions.sqlStatements.forget(head.prepared.name);
      }
    } else if (head.kind === 'bind') {
      head.portal.confirmed = true;
    }
    this.#session.pipeline.shift();
    this.#pass(buffer, start, end);
  }

  #rowDescription(head: Operation | undefined, buffer: Buffer, start: number, end: number): void {
    if (head?.kind === 'describe') {
      const { of } = head;
      if (of === undefined) decodeRowDescription(buffer, start, end);
      else if ('prepared' in of) of.masker = resultsOf(of.prepared)?.forDescription(buffer, start, end);
      else of.columns = decodeRowDescription(buffer, start, end);
      this.#session.pipeline.shift();
      if (!head.injected) this.#pass(buffer, start, end);
      return;
    }
    if (head?.kind !== 'query' || head.execution === undefined) throw unexpected('RowDescription', head);
    const { execution } = head;
    const { chunk } = execution;
    const results = chunk === undefined ? execution.statements[execution.index]?.results : chunk.results;
    if (results === undefined) throw unexpected('RowDescription', head);
    execution.masker = results.forDescription(buffer, start, end);
    this.#pass(buffer, start, end);
  }

  #rowExecution(): Execution {
    const head = this.#session.pipeline.head;
    const execution = head?.kind === 'query' || head?.kind === 'execute' ? head.execution : undefined;
    if (execution === undefined) throw unexpected('DataRow', head);
    return execution;
  }

  #masker(execution: Execution): RowMasker {
    if (execution.masker !== undefined) return execution.masker;
    const head = this.#session.pipeline.head;
    if (head?.kind !== 'execute') throw unexpected('DataRow without a RowDescription', head);
    const { prepared, masker, resultFormats } = head.portal;
    if (masker !== undefined) return (execution.masker = masker);
    const results = resultsOf(prepared);
    if (prepared.columns === undefined || results === undefined) {
      throw unexpected('DataRow without a RowDescription', head);
    }
    const key = resultFormats.join();
    let known = prepared.maskers.get(key);
    if (known === undefined) {
      known = results.compile(withFormats(prepared.columns, resultFormats));
      prepared.maskers.set(key, known);
    }
    execution.masker = known;
    return known;
  }

  #complete(head: Operation | undefined, tag: string, buffer: Buffer, start: number, end: number): void {
    const execution = head?.kind === 'query' || head?.kind === 'execute' ? head.execution : undefined;
    if (execution === undefined) throw unexpected('CommandComplete', head);
    if (!isCommandTag(tag)) throw unexpected('a CommandComplete that is no command tag', head);
    const { pipeline } = this.#session;
    // Nothing is sent behind a COPY: it is the last that is under way, and this is the end of another if it is not.
    if (pipeline.copyIn?.of === 'execute' && pipeline.length === 1) pipeline.copyIn = undefined;
    const frame = execution.chunk === undefined ? undefined : Buffer.from(buffer.subarray(start, end));
    const finish = (from: Buffer, first: number, last: number) => {
      const statement = execution.statements[execution.index];
      if (statement?.facts.class === 'ddl') this.#session.options.admissions.connection.changed();
      if (statement !== undefined) this.#completedInSession(statement, tag);
      execution.index++;
      execution.masker = head?.kind === 'execute' ? execution.masker : undefined;
      if (head?.kind === 'execute') {
        this.#session.outcome(execution, 'complete', tag, undefined);
        pipeline.shift();
      } else if (execution.index >= execution.statements.length) {
        this.#session.outcome(execution, 'complete', tag, undefined);
      }
      this.#pass(from, first, last);
    };
    if (frame === undefined || execution.chunk === undefined) return finish(buffer, start, end);
    const { rows, bytes, maskedCells, rowHash, chunk } = execution;
    const digest = rowHash?.digest('hex') ?? '';
    this.#suspend(this.#session.options.controlPlane.chunkDelivered(chunk, { rows, bytes, maskedCells }, digest), () =>
      finish(frame, 0, frame.length),
    );
  }

  /** What a session has at the target, besides the objects of the protocol. */
  #completedInSession(statement: AdmittedStatement, tag: string): void {
    const { pipeline, options, maskingDigest } = this.#session;
    pipeline.completed(statement.facts);
    pipeline.cursors.completed(statement, tag, maskingDigest);
    options.admissions.sqlStatements.completed(statement.facts, tag);
    options.admissions.temporary.completed(statement.facts, tag, maskingDigest);
  }

  #ready(head: Operation | undefined, status: 'I' | 'T' | 'E'): void {
    const { pipeline, options, sink } = this.#session;
    if (head?.kind !== 'query' && head?.kind !== 'sync') throw unexpected('ReadyForQuery', head);
    pipeline.shift();
    pipeline.transactionStatus = status;
    this.#session.cancellation = undefined;
    if (pipeline.length === 0) pipeline.copyIn = undefined;
    if (head.kind === 'sync') pipeline.answeredBatch = head.batch;
    if (status === 'I') {
      pipeline.endTransaction(head.kind === 'sync' ? head.batch : pipeline.batch - 1);
      pipeline.cursors.endTransaction();
      options.admissions.temporary.transactionEnded();
      // What was sent behind it has set this already, and its errors are still to come.
      if (pipeline.length === 0) pipeline.touchedMasked = false;
    }
    // The transaction of a run session is the gateway's: to its client there is none.
    encodeReadyForQuery(sink, options.identity.runId === undefined ? status : 'I');
    this.#session.pumpLocal();
  }

  #error(head: Operation | undefined, fields: Record<string, string>): void {
    const { pipeline, sink, options } = this.#session;
    options.admissions.temporary.failed();
    const substitute = head?.kind === 'query' || head?.kind === 'parse' ? head.substitute : undefined;
    const execution = executionOf(head);
    const status = fields['C'] === '57014' ? 'cancelled' : 'error';
    const own = substitute ?? (status === 'cancelled' ? this.#session.cancellation : undefined);
    if (own === undefined) encodeErrorResponse(sink, this.#scrubFields(fields, execution));
    else encodeErrorResponse(sink, errorFields(own, 'ERROR'));
    this.#failed(execution, status, fields['C']);
    if (head === undefined || head.kind === 'query') return;
    pipeline.dropUntilSync((operation) => this.#failed(executionOf(operation), status, fields['C']));
    // The rest of its batch is still to come, and the server is going to skip it.
    if (pipeline.length === 0) pipeline.discarding = true;
    if (pipeline.copyIn?.of === 'execute' && pipeline.length === 0) pipeline.copyIn = undefined;
  }

  #failed(execution: Execution | undefined, status: 'error' | 'cancelled', sqlstate: string | undefined): void {
    if (execution === undefined || execution.done) return;
    this.#session.outcome(execution, status, undefined, sqlstate);
    if (execution.chunk !== undefined) this.#session.chunkFailed(execution.chunk, `SQLSTATE ${sqlstate}`);
  }

  #scrubFields(fields: Record<string, string>, execution: Execution | undefined): Record<string, string> {
    const { masking } = this.#session.options.admissions.connection;
    // Also later in its transaction: constraints that are checked at its end quote rows that were written before.
    const touchesMasked =
      this.#session.pipeline.touchedMasked ||
      (execution?.statements.some((statement) => statement.touchesMasked) ?? false);
    return scrubFields(fields, touchesMasked, masking);
  }

  #notification(buffer: Buffer, start: number, end: number): void {
    const { masking } = this.#session.options.admissions.connection;
    const { processId, channel, payload } = decodeNotificationResponse(buffer, start, end);
    encodeNotificationResponse(this.#session.sink, { processId, channel, payload: scrubDetected(payload, masking) });
  }

  #parameterStatus(buffer: Buffer, start: number, end: number): void {
    const { name, value } = decodeParameterStatus(buffer, start, end);
    // Our reading of texts and values rests on these two; if they change under us, nothing is certain any more.
    if (
      (name === 'client_encoding' && value !== 'UTF8') ||
      (name === 'standard_conforming_strings' && value !== 'on')
    ) {
      throw new CountersignError(
        'protocol_violation',
        `the target changed ${name} to ${value}; the session cannot go on safely`,
      );
    }
    this.#pass(buffer, start, end);
  }

  #copyIn(head: Operation | undefined, buffer: Buffer, start: number, end: number): void {
    const execution = executionOf(head);
    if (execution?.statements[execution.index]?.facts.class !== 'copy-in') throw unexpected('CopyInResponse', head);
    const { copyIn } = this.#session.pipeline;
    if (copyIn === undefined) throw unexpected('CopyInResponse', head);
    copyIn.phase = 'active';
    this.#pass(buffer, start, end);
  }

  /** Answers to the gateway's own statements end here. A failing one ends the session: the client's next needs it. */
  #internal(head: Operation & { kind: 'internal' }, type: number, buffer: Buffer, start: number, end: number): void {
    if (type === backend.ReadyForQuery) {
      this.#session.pipeline.transactionStatus = decodeReadyForQuery(buffer, start, end).status;
      this.#session.pipeline.shift();
      return;
    }
    if (type !== backend.ErrorResponse) return;
    const fields = decodeErrorResponse(buffer, start, end);
    throw new CountersignError(
      'run_not_open',
      `countersign: chunk ${head.chunk.chunkNo} cannot be read: SQLSTATE ${fields['C'] ?? '?'}`,
      {
        detail: "the run's snapshot could not be entered at the target",
        hint: 'see the run: its snapshot may have been lost or aged out',
      },
    );
  }
}
