/**
 * From the client to the target: decide, record durably, forward. A statement that is denied, held or rejected never
 * gets further than this file (promise P1). Where the server must fail as it would have failed by itself (inside a
 * transaction, or in the middle of a pipelined batch), a text of our own that cannot parse is sent in place of the
 * statement and the server's error is replaced by ours: transactions abort and batches skip to Sync exactly as always.
 */
import { CountersignError } from '../errors.ts';
import { decodeQuery, encodeParse, encodeQuery } from '../wire/postgres/frontend.ts';
import { encodeErrorResponse, encodeReadyForQuery } from '../wire/postgres/backend.ts';
import { frontend } from '../wire/postgres/messages.ts';
import { ByteSink } from '../lib/byte-sink.ts';
import type { StatementFacts } from '../sql/statement.ts';
import { isTemporary } from '../sql/temporary.ts';
import { beyondEqualities, denial, needsBudget, type AdmittedStatement, type Admission } from './admission.ts';
import { copyProbeOf, encodeCopyProbe } from './copy-probe.ts';
import { ExtendedRequests } from './extended-requests.ts';
import { HoldDesk } from './hold-desk.ts';
import { Inbox } from './inbox.ts';
import type { CopyIn, CopyProbe, StatementGrant, Unanswered } from './pipeline.ts';
import { RunRequests } from './run-requests.ts';
import type { GateSession } from './session.ts';

/** Cannot parse in any version of PostgreSQL. Says in the target's own log what happened. */
const refusedText = 'countersign refused this statement';

/** A message, and by which protocol a refusal of it is answered. */
type Message = readonly [protocol: 'query' | 'extended', buffer: Buffer, start: number, end: number];

export class RequestSide {
  readonly desk: HoldDesk;
  /** In a run session: its requests mean chunks. */
  readonly run: RunRequests | undefined;
  readonly #session: GateSession;
  readonly #inbox: Inbox;
  readonly #extended: ExtendedRequests;

  constructor(session: GateSession) {
    this.#session = session;
    this.#inbox = new Inbox({
      session,
      onFrame: (type, buffer, start, end) => {
        if (!this.#extended.collect(type, buffer, start, end)) this.#frame(type, buffer, start, end);
      },
      onTurn: () => this.#endTurn(),
    });
    this.desk = new HoldDesk(session);
    this.#extended = new ExtendedRequests(session, this);
    this.run = session.options.identity.runId === undefined ? undefined : new RunRequests(session, this);
  }

  receive(chunk: Buffer): void {
    this.#inbox.receive(chunk);
  }

  cancelHold(): boolean {
    return this.desk.abort('cancelled');
  }

  close(reason: string): void {
    this.desk.abort(reason);
    this.#inbox.clear();
  }

  /** Stops taking messages until `work` gives the next step. */
  suspend(work: Promise<() => void>): void {
    this.#inbox.suspend(work);
  }

  /** The same for a message of a batch; the step is left out if the batch has failed meanwhile. */
  suspendBatch(work: Promise<() => void>): void {
    this.#inbox.suspend(
      work.then((step) => () => {
        if (!this.#session.pipeline.discarding) step();
      }),
    );
  }

  putBack(frames: readonly Buffer[]): void {
    this.#inbox.putBack(frames);
  }

  #endTurn(): void {
    if (this.#session.ended) return;
    // While a statement is held, what came before it in the same batch stays here too: waiting opens no transaction.
    if (!this.#inbox.suspended) this.#send();
    this.#session.door.deliver(this.#session.sink);
  }

  /** Sends on what was queued; a text that only goes to be parsed is in the log first, too. */
  #send(): void {
    this.#extended.recordPrepared();
    this.#session.door.flush();
    this.#session.pipeline.markSent();
  }

  #frame(type: number, buffer: Buffer, start: number, end: number): void {
    if (type === frontend.Terminate) {
      this.#session.door.forward(buffer, start, end, false);
      this.#session.door.flush();
      this.#session.end('client closed the session');
      return;
    }
    if (this.#session.pipeline.discarding && type !== frontend.Sync) return;
    const { copyIn } = this.#session.pipeline;
    if (copyIn !== undefined) return this.#copyFrame(copyIn, type, buffer, start, end);
    switch (type) {
      case frontend.Query:
        return this.#query(buffer, start, end);
      case frontend.Parse:
        return this.#extended.parse(buffer, start, end);
      case frontend.Bind:
        return this.#extended.bind(buffer, start, end);
      case frontend.Describe:
        return this.#extended.describe(buffer, start, end);
      case frontend.Execute:
        return this.#extended.execute(buffer, start, end);
      case frontend.Close:
        return this.#extended.close(buffer, start, end);
      case frontend.Sync:
        return this.#extended.sync(buffer, start, end);
      case frontend.Flush:
        return this.#extended.flush(buffer, start, end);
      case frontend.CopyData:
      case frontend.CopyDone:
      case frontend.CopyFail:
        // Outside of COPY IN the server ignores these; we do not even pass them on.
        return;
      case frontend.FunctionCall:
        return this.refuse(
          new CountersignError('feature_refused', 'countersign: the function call message is refused', {
            hint: 'call the function in a SELECT statement',
          }),
          'query',
        );
      default:
        throw new CountersignError(
          'protocol_violation',
          `unexpected message type ${JSON.stringify(String.fromCharCode(type))} from the client`,
        );
    }
  }

  // ---- forwarding ----

  forward(buffer: Buffer, start: number, end: number): void {
    this.#session.door.forward(buffer, start, end, this.#inbox.isOwned(buffer));
  }

  forwardEncoded(encode: (sink: ByteSink) => void): void {
    const sink = new ByteSink(256);
    encode(sink);
    this.#session.door.forward(sink.buffer, 0, sink.length, true);
  }

  /** During COPY FROM STDIN only its data may come: what the server would ignore or reject is not sent to it. */
  #copyFrame(copyIn: CopyIn, type: number, buffer: Buffer, start: number, end: number): void {
    if (copyIn.phase !== 'active') throw new Error('a message was read while COPY was waited for');
    // The server reads and ignores these two, and drivers send a Sync right behind Execute.
    if (type === frontend.Flush || type === frontend.Sync) return;
    if (type !== frontend.CopyData && type !== frontend.CopyDone && type !== frontend.CopyFail) {
      throw new CountersignError(
        'protocol_violation',
        `message type ${JSON.stringify(String.fromCharCode(type))} during COPY FROM STDIN`,
      );
    }
    this.forward(buffer, start, end);
    if (type === frontend.CopyData) return;
    const { pipeline } = this.#session;
    if (copyIn.of === 'execute') {
      pipeline.copyIn = undefined;
    } else {
      copyIn.phase = 'ended';
      this.suspend(this.#settled(() => pipeline.copyIn === undefined || pipeline.copyIn.phase === 'active'));
      this.#send();
    }
  }

  /** A COPY FROM STDIN was forwarded: nothing more is read until the server takes its data, or does not. */
  awaitCopy(statements: readonly AdmittedStatement[], of: CopyIn['of']): void {
    if (!statements.some((statement) => statement.facts.class === 'copy-in')) return;
    const { pipeline } = this.#session;
    pipeline.copyIn = { of, phase: 'expected' };
    this.suspend(this.#settled(() => pipeline.copyIn?.phase !== 'expected'));
    // What it waits for is the answer to what was just queued.
    this.#send();
  }

  /** Resolves when the server's answers have made `condition` true. */
  #settled(condition: () => boolean): Promise<() => void> {
    return new Promise((resolve) => {
      this.#session.whenAnswered(condition, () => resolve(() => undefined));
    });
  }

  /** Waits until the server has answered the earlier batch that makes this name, then takes the message again. */
  retryWhenSettled(buffer: Buffer, start: number, end: number): void {
    const { pipeline } = this.#session;
    const { batch } = pipeline;
    this.#retryWhen(() => pipeline.answeredBatch >= batch - 1, buffer, start, end);
  }

  #retryWhen(condition: () => boolean, buffer: Buffer, start: number, end: number): void {
    const frame = Buffer.from(buffer.subarray(start, end));
    this.suspend(this.#settled(condition).then(() => () => this.#frame(frame[0] ?? 0, frame, 0, frame.length)));
    this.#send();
  }

  /**
   * A FETCH as it will be masked; undefined when its message was dealt with: taken again once everything before it is
   * answered, or refused. Any other statement as it is.
   */
  resolveFetch(
    statement: AdmittedStatement,
    protocol: 'query' | 'extended',
    buffer: Buffer,
    start: number,
    end: number,
  ): AdmittedStatement | undefined {
    if (statement.facts.cursor?.action !== 'fetch' || !statement.results.canMask) return statement;
    if (!this.#knowsState(statement.facts, protocol, buffer, start, end)) return undefined;
    const resolved = this.#session.pipeline.cursors.resolve(statement, this.#session.maskingDigest);
    if (!(resolved instanceof CountersignError)) return resolved;
    this.#refuseStatement(statement.facts.text, resolved, protocol);
    return undefined;
  }

  /**
   * Whether everything that may change what a FETCH or an EXECUTE means has been answered. If not, its message was dealt
   * with: taken again when it is, or refused.
   */
  #knowsState(facts: StatementFacts, ...message: Message): boolean {
    const { pipeline } = this.#session;
    return this.#isAnswered(
      facts.text,
      facts.prepared === undefined ? 'FETCH' : 'EXECUTE',
      () => pipeline.unanswered,
      ...message,
    );
  }

  /** The same for a statement that names a temporary table: for that, what may drop it. */
  #knowsTables({ text, relations }: StatementFacts, ...message: Message): boolean {
    if (!relations.some(isTemporary)) return true;
    const { pipeline, options } = this.#session;
    // An error would undo it, where no transaction is open that the error would end for what comes behind, too.
    const isOpen = pipeline.transactionStatus === 'I' && options.admissions.temporary.isOpen(relations);
    const unanswered = () => (isOpen ? pipeline.unansweredBatch : pipeline.unansweredDrops);
    return this.#isAnswered(text, 'a temporary table', unanswered, ...message);
  }

  #isAnswered(
    text: string,
    what: string,
    unanswered: () => Unanswered,
    ...[protocol, buffer, start, end]: Message
  ): boolean {
    const now = unanswered();
    if (now === 'none') return true;
    if (now === 'earlier') this.#retryWhen(() => unanswered() === 'none', buffer, start, end);
    else this.#refuseStatement(text, inOpenBatch(what), protocol);
    return false;
  }

  /** Whether the session may prepare one more statement; if not, that is said. */
  hasRoom(protocol: 'query' | 'extended'): boolean {
    const { pipeline, options } = this.#session;
    const { maxPreparedBytes } = options.limits;
    if (pipeline.prepared.bytes + options.admissions.sqlStatements.bytes < maxPreparedBytes) return true;
    const text = `countersign: the session has prepared statements of about ${maxPreparedBytes} bytes, and may have no more`;
    const hint = 'end some (Close, DEALLOCATE), or raise gateway.limits.maxPreparedBytes';
    this.refuse(new CountersignError('limit_exceeded', text, { hint }), protocol);
    return false;
  }

  /** A message about a statement that depends on the session's state: false when the message was dealt with. */
  executable(admission: Admission, ...message: Message): boolean {
    const [protocol] = message;
    for (const { facts } of admission.statements) {
      if (facts.prepared?.action === 'prepare' && !this.hasRoom(protocol)) return false;
    }
    if (admission.sessionState === undefined || admission.asUnknown) return true;
    for (const { facts, results } of admission.statements) {
      if (facts.prepared?.action === 'execute' && !this.#knowsState(facts, ...message)) return false;
      if (results.canMask && !this.#knowsTables(facts, ...message)) return false;
    }
    return true;
  }

  /**
   * What an EXECUTE runs, or whether a temporary table is there, is known when everything before it is answered. Returns
   * true when the message waits for that.
   */
  awaitsState(text: string, buffer: Buffer, start: number, end: number): boolean {
    const { pipeline } = this.#session;
    const unanswered = () => (/execute/i.test(text) ? pipeline.unanswered : pipeline.unansweredDrops);
    if (unanswered() !== 'earlier') return false;
    this.#retryWhen(() => unanswered() !== 'earlier', buffer, start, end);
    return true;
  }

  #refuseStatement(text: string, error: CountersignError, protocol: 'query' | 'extended'): void {
    this.#session.denied(text, undefined, error);
    this.refuse(error, protocol);
  }

  // ---- the simple protocol ----

  #query(buffer: Buffer, start: number, end: number): void {
    const { text } = decodeQuery(buffer, start, end);
    if (this.run !== undefined) return this.run.query(text);
    const admission = this.#session.options.admissions.cached(text);
    if (admission?.verdict === 'allow' && !needsBudget(admission)) {
      this.#startQuery(text, admission, undefined, buffer, start, end);
      return;
    }
    if (this.awaitsState(text, buffer, start, end)) return;
    this.suspend(this.#decideQuery(text, Buffer.from(buffer.subarray(start, end))));
  }

  async #decideQuery(text: string, frame: Buffer): Promise<() => void> {
    const admission = await this.decide(text);
    if (admission.verdict === 'allow')
      return () => this.#startQuery(text, admission, undefined, frame, 0, frame.length);
    if (admission.verdict === 'deny') return () => this.deny(text, admission, denial(admission), 'query');
    const held = await this.desk.ask(text, admission, undefined);
    if (held instanceof CountersignError) return () => this.refuse(held, 'query');
    return () => this.#startQuery(text, admission, held, frame, 0, frame.length);
  }

  #startQuery(
    text: string,
    admission: Admission,
    grant: StatementGrant | undefined,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    const session = this.#session;
    if (!this.executable(admission, 'query', buffer, start, end)) return;
    let { statements } = admission;
    const [only] = statements;
    if (only !== undefined && statements.length === 1) {
      const resolved = this.resolveFetch(only, 'query', buffer, start, end);
      if (resolved === undefined) return;
      if (resolved !== only) statements = [resolved];
    }
    if (grant !== undefined) grant.used = true;
    const execution = session.newExecution(statements, undefined, admission.sampleRows > 0, grant?.use);
    const recordable = session.recordable(text, admission);
    session.options.recording.request({ kind: 'query', text: recordable });
    session.intent(execution, recordable, admission, grant);
    const probe = copyProbeOf(execution, 'query');
    if (probe !== undefined) return this.#probeCopy(probe, Buffer.from(buffer.subarray(start, end)));
    session.pipeline.push({ kind: 'query', execution, substitute: undefined });
    this.forward(buffer, start, end);
    this.awaitCopy(admission.statements, 'query');
  }

  /** A COPY OUT is sent when its columns are known; what the target has against them, it has against the COPY. */
  #probeCopy(probe: CopyProbe, frame: Buffer): void {
    const { pipeline } = this.#session;
    this.forwardEncoded((sink) => encodeCopyProbe(probe, pipeline, sink));
    this.suspend(
      this.#settled(() => probe.done).then(() => () => {
        const { execution, failure } = probe;
        if (failure === undefined) {
          pipeline.push({ kind: 'query', execution, substitute: undefined });
          this.forward(frame, 0, frame.length);
          return;
        }
        this.#session.outcome(execution, failure['C'] === '57014' ? 'cancelled' : 'error', undefined, failure['C']);
        this.answer((sink) => {
          encodeErrorResponse(sink, failure);
          encodeReadyForQuery(sink, pipeline.transactionStatus);
        });
      }),
    );
    this.#send();
  }

  // ---- refusing ----

  deny(text: string, admission: Admission, error: CountersignError, protocol: 'query' | 'extended'): void {
    this.#session.options.recording.request({
      kind: 'denied',
      text: this.#session.recordable(text, admission),
      code: error.code,
    });
    this.#session.denied(text, admission, error);
    this.refuse(error, protocol);
  }

  refuse(error: CountersignError, protocol: 'query' | 'extended'): void {
    const { pipeline } = this.#session;
    const local = pipeline.idle && !this.#session.pipeline.batchForwarded;
    if (protocol === 'query') {
      if (local) return this.#session.answerError(error, true);
      pipeline.push({ kind: 'query', execution: undefined, substitute: error });
      this.forwardEncoded((sink) => encodeQuery(sink, refusedText));
      return;
    }
    this.#session.pipeline.discarding = true;
    if (local) return this.#session.answerError(error, false);
    pipeline.push({ kind: 'parse', prepared: undefined, substitute: error });
    this.#session.pipeline.batchForwarded = true;
    this.forwardEncoded((sink) => encodeParse(sink, { name: '', query: refusedText, parameterTypes: [] }));
  }

  /** An answer of the gateway itself, in its place among the server's. */
  answer(encode: (sink: ByteSink) => void): void {
    const sink = new ByteSink(64);
    encode(sink);
    this.#session.answer(sink.take());
  }

  // ---- deciding ----

  /** The verdict, after taking sampled rows and comparisons of masked columns from their budgets. */
  async decide(text: string): Promise<Admission> {
    const { admissions, controlPlane, identity } = this.#session.options;
    const { human } = identity.principal;
    const { name } = admissions.connection;
    let admission = admissions.cached(text) ?? (await admissions.admit(text));
    if (admission.sampleRows > 0 && admission.beyondBudget !== undefined) {
      const reservation = await controlPlane.reserveSample(human, name, admission.sampleRows);
      if (!reservation.allowed) {
        const spent = `${reservation.used} of ${reservation.limit} sample rows of the last hour are used`;
        admission = { ...admission.beyondBudget, reason: `${admission.beyondBudget.reason} (${spent})` };
      }
    }
    if (admission.verdict === 'deny') return admission;
    for (const tests of admission.equalityTests) {
      const { allowed, used } = await controlPlane.reserveEqualities(human, name, tests);
      if (!allowed) return beyondEqualities(admission, tests, used);
    }
    return admission;
  }
}

function inOpenBatch(what: string): CountersignError {
  const reason = `countersign: ${what} cannot be followed in the batch of another statement`;
  return new CountersignError('feature_refused', reason, { hint: 'send Sync, and this when that was answered' });
}
