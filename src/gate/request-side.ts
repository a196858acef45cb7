/**
 * From the client to the target: decide, record durably, forward. A statement that is denied, held or rejected never
 * gets further than this file (promise P1). Where the server must fail as it would have failed by itself (inside a
 * transaction, or in the middle of a pipelined batch), a text of our own that cannot parse is sent in place of the
 * statement and the server's error is replaced by ours: transactions abort and batches skip to Sync exactly as always.
 */
import { CountersignError } from '../errors.ts';
import {
  decodeBind,
  decodeClose,
  decodeDescribe,
  decodeExecute,
  decodeParse,
  decodeQuery,
  encodeDescribe,
  encodeParse,
  encodeQuery,
  type Bind,
} from '../wire/postgres/frontend.ts';
import {
  encodeBindComplete,
  encodeCommandComplete,
  encodeNoData,
  encodeReadyForQuery,
} from '../wire/postgres/backend.ts';
import { FrameSplitter } from '../wire/postgres/frames.ts';
import { frontend } from '../wire/postgres/messages.ts';
import { ByteSink } from '../lib/byte-sink.ts';
import { denial, type AdmittedStatement, type Admission } from './admission.ts';
import { HoldDesk } from './hold-desk.ts';
import type { CopyIn, Portal, Prepared, StatementGrant } from './pipeline.ts';
import { RunRequests } from './run-requests.ts';
import type { GateSession } from './session.ts';

/** Cannot parse in any version of PostgreSQL. Says in the target's own log what happened. */
const refusedText = 'countersign refused this statement';

/** What the client may send ahead while it waits for a decision. */
const maxBacklogBytes = 1024 * 1024;

interface HeldBatch {
  readonly text: string;
  readonly admission: Admission;
  /** The prepared statement, where only its next execution is held. */
  readonly prepared: Prepared | undefined;
  /** Of the prepared statement. */
  readonly name: string;
  readonly frames: Buffer[];
  bytes: number;
  bind: Bind | undefined;
  parses: number;
  binds: number;
  executes: number;
  /** Bind and Execute name the held statement and its portal, and nothing else. */
  coherent: boolean;
}

export class RequestSide {
  readonly #session: GateSession;
  readonly #splitter: FrameSplitter;
  readonly #desk: HoldDesk;
  readonly #run: RunRequests | undefined;
  #backlog: Buffer[] = [];
  #backlogBytes = 0;
  /** Forwarded to be parsed, and not in the log yet. */
  #unrecorded: Prepared[] = [];
  #suspended = false;
  #paused = false;
  /** After an error of our own: skip to the next Sync, as the server does. */
  #discarding = false;
  /** Something of the present batch is at the target. */
  #batchForwarded = false;
  #heldBatch: HeldBatch | undefined;
  #grant: StatementGrant | undefined;
  #chunk: Buffer | undefined;

  constructor(session: GateSession) {
    this.#session = session;
    this.#splitter = new FrameSplitter({ maxFrameBytes: session.options.limits.maxMessageBytes });
    this.#desk = new HoldDesk(session);
    this.#run =
      session.options.identity.runId === undefined
        ? undefined
        : new RunRequests(session, {
            suspend: (work) => this.#suspend(work),
            refuse: (error, protocol) => this.#refuse(error, protocol),
            answer: (encode) => this.#answerLocal(encode),
            forward: (encode, inBatch) => {
              if (inBatch) this.#batchForwarded = true;
              this.#forwardEncoded(encode);
            },
          });
  }

  receive(chunk: Buffer): void {
    if (this.#suspended) {
      this.#backlog.push(chunk);
      this.#backlogBytes += chunk.length;
      if (this.#backlogBytes > maxBacklogBytes && !this.#paused) {
        this.#paused = true;
        this.#session.options.pause('client', true);
      }
      return;
    }
    this.#scan(chunk);
    this.#endTurn();
  }

  cancelHold(): boolean {
    return this.#desk.abort('cancelled');
  }

  close(reason: string): void {
    this.#desk.abort(reason);
    this.#backlog = [];
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

  #endTurn(): void {
    if (this.#session.ended) return;
    // While a statement is held, what came before it in the same batch stays here too: waiting opens no transaction.
    if (!this.#suspended) this.#send();
    this.#session.door.deliver(this.#session.sink);
  }

  /** Sends on what was queued; a text that only goes to be parsed is in the log first, too. */
  #send(): void {
    this.#recordPrepared();
    this.#session.door.flush();
  }

  /** Stops reading until `work` gives the next step; the step runs as a turn of its own. */
  #suspend(work: Promise<() => void>): void {
    this.#suspended = true;
    work.then(
      (step) =>
        this.#session.resume(() => {
          this.#suspended = false;
          step();
          this.#drainBacklog();
          this.#endTurn();
        }),
      (error: unknown) => this.#session.fail(error),
    );
  }

  #drainBacklog(): void {
    while (!this.#suspended) {
      const chunk = this.#backlog.shift();
      if (chunk === undefined) break;
      this.#backlogBytes -= chunk.length;
      this.#scan(chunk);
    }
    if (this.#paused && this.#backlogBytes === 0) {
      this.#paused = false;
      this.#session.options.pause('client', false);
    }
  }

  readonly #onFrame = (type: number, buffer: Buffer, start: number, end: number): boolean => {
    if (this.#heldBatch === undefined) this.#frame(type, buffer, start, end);
    else this.#collect(this.#heldBatch, type, buffer, start, end);
    return !this.#suspended;
  };

  #frame(type: number, buffer: Buffer, start: number, end: number): void {
    if (type === frontend.Terminate) {
      this.#session.door.forward(buffer, start, end, false);
      this.#session.door.flush();
      this.#session.end('client closed the session');
      return;
    }
    if (this.#discarding && type !== frontend.Sync) return;
    const { copyIn } = this.#session.pipeline;
    if (copyIn !== undefined) return this.#copyFrame(copyIn, type, buffer, start, end);
    switch (type) {
      case frontend.Query:
        return this.#query(buffer, start, end);
      case frontend.Parse:
        return this.#parse(buffer, start, end);
      case frontend.Bind:
        return this.#bind(buffer, start, end);
      case frontend.Describe:
        return this.#describe(buffer, start, end);
      case frontend.Execute:
        return this.#execute(buffer, start, end);
      case frontend.Close:
        return this.#close(buffer, start, end);
      case frontend.Sync:
        return this.#sync(buffer, start, end);
      case frontend.Flush:
        return this.#flush(buffer, start, end);
      case frontend.CopyData:
      case frontend.CopyDone:
      case frontend.CopyFail:
        // Outside of COPY IN the server ignores these; we do not even pass them on.
        return;
      case frontend.FunctionCall:
        return this.#refuse(
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
    this.#forward(buffer, start, end);
    if (type === frontend.CopyData) return;
    const { pipeline } = this.#session;
    if (copyIn.of === 'execute') {
      pipeline.copyIn = undefined;
    } else {
      copyIn.phase = 'ended';
      this.#suspend(this.#settled(() => pipeline.copyIn === undefined || pipeline.copyIn.phase === 'active'));
      this.#send();
    }
  }

  /** A COPY FROM STDIN was forwarded: nothing more is read until the server takes its data, or does not. */
  #awaitCopy(statements: readonly AdmittedStatement[], of: CopyIn['of']): void {
    if (!statements.some((statement) => statement.facts.class === 'copy-in')) return;
    const { pipeline } = this.#session;
    pipeline.copyIn = { of, phase: 'expected' };
    this.#suspend(this.#settled(() => pipeline.copyIn?.phase !== 'expected'));
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
  #retryWhenSettled(buffer: Buffer, start: number, end: number): void {
    const frame = Buffer.from(buffer.subarray(start, end));
    const { pipeline } = this.#session;
    const { batch } = pipeline;
    this.#suspend(
      new Promise((resolve) => {
        this.#session.whenAnswered(
          () => pipeline.answeredBatch >= batch - 1,
          () => resolve(() => this.#frame(frame[0] ?? 0, frame, 0, frame.length)),
        );
      }),
    );
    this.#send();
  }

  #forward(buffer: Buffer, start: number, end: number): void {
    this.#session.door.forward(buffer, start, end, buffer === this.#chunk);
  }

  #forwardEncoded(encode: (sink: ByteSink) => void): void {
    const sink = new ByteSink(256);
    encode(sink);
    this.#session.door.forward(sink.buffer, 0, sink.length, true);
  }

  // ---- the simple protocol ----

  #query(buffer: Buffer, start: number, end: number): void {
    const { text } = decodeQuery(buffer, start, end);
    if (this.#run !== undefined) return this.#run.query(text);
    const admission = this.#session.options.admissions.cached(text);
    if (admission?.verdict === 'allow' && admission.sampleRows === 0) {
      this.#startQuery(text, admission, undefined, buffer, start, end);
      return;
    }
    this.#suspend(this.#decideQuery(text, Buffer.from(buffer.subarray(start, end))));
  }

  async #decideQuery(text: string, frame: Buffer): Promise<() => void> {
    const admission = await this.#decide(text);
    if (admission.verdict === 'allow')
      return () => this.#startQuery(text, admission, undefined, frame, 0, frame.length);
    if (admission.verdict === 'deny') return () => this.#deny(text, admission, denial(admission), 'query');
    const held = await this.#desk.ask(text, undefined, undefined, admission);
    if (held instanceof CountersignError) return () => this.#refuse(held, 'query');
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
    if (grant !== undefined) grant.used = true;
    const session = this.#session;
    const execution = session.newExecution(admission.statements, undefined);
    const recordable = session.recordable(text);
    session.options.recording.request({ kind: 'query', text: recordable });
    session.intent(execution, recordable, admission, grant);
    session.pipeline.push({ kind: 'query', execution, substitute: undefined });
    this.#forward(buffer, start, end);
    this.#awaitCopy(admission.statements, 'query');
  }

  // ---- the extended protocol ----

  #parse(buffer: Buffer, start: number, end: number): void {
    const { name, query: text } = decodeParse(buffer, start, end);
    const { pipeline, options } = this.#session;
    if (name !== '' && pipeline.prepared.has(name)) {
      return this.#refuse(
        new CountersignError('prepared_statement_duplicate', `prepared statement "${name}" already exists`),
        'extended',
      );
    }
    if (this.#run !== undefined) return this.#run.parse(name, text);
    const granted = this.#grant?.text === text ? this.#grant : undefined;
    const admission = options.admissions.cached(text);
    if (
      admission !== undefined &&
      (granted !== undefined || (admission.verdict === 'allow' && admission.sampleRows === 0))
    ) {
      this.#grant = undefined;
      this.#prepare(name, text, admission, granted, buffer, start, end);
      return;
    }
    this.#suspend(this.#decideParse(name, text, granted, Buffer.from(buffer.subarray(start, end))));
  }

  async #decideParse(
    name: string,
    text: string,
    granted: StatementGrant | undefined,
    frame: Buffer,
  ): Promise<() => void> {
    const admission =
      granted === undefined ? await this.#decide(text) : await this.#session.options.admissions.admit(text);
    if (admission.verdict === 'deny') return () => this.#deny(text, admission, denial(admission), 'extended');
    if (admission.verdict === 'allow' || granted !== undefined) {
      this.#grant = undefined;
      return () => this.#prepare(name, text, admission, granted, frame, 0, frame.length);
    }
    return () => this.#startHeldBatch(text, admission, undefined, frame);
  }

  #prepare(
    name: string,
    text: string,
    admission: Admission,
    grant: StatementGrant | undefined,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    const prepared: Prepared = {
      name,
      text,
      recordable: this.#session.recordable(text),
      admission,
      statement: admission.statements[0],
      described: false,
      columns: undefined,
      maskers: new Map(),
      grant,
      reserved: admission.sampleRows > 0,
      chunk: undefined,
      localTag: undefined,
      recorded: false,
      batch: this.#session.pipeline.batch,
      confirmed: false,
    };
    this.#session.pipeline.prepared.set(name, prepared);
    this.#unrecorded.push(prepared);
    this.#session.pipeline.push({ kind: 'parse', prepared, substitute: undefined });
    this.#batchForwarded = true;
    this.#forward(buffer, start, end);
  }

  #bind(buffer: Buffer, start: number, end: number): void {
    const bind = decodeBind(buffer, start, end);
    const prepared = this.#prepared(bind.statement);
    if (prepared === undefined) return;
    if (!this.#session.pipeline.isSettled(prepared)) return this.#retryWhenSettled(buffer, start, end);
    const { admission } = prepared;
    if (admission !== undefined) {
      const stale = this.#session.options.admissions.connection.fresh() !== admission.snapshot;
      const needsRows = admission.sampleRows > 0 && !prepared.reserved;
      const needsGrant = admission.verdict === 'hold' && !grants(prepared.grant, buffer, start, end);
      if (stale || needsRows || needsGrant) {
        this.#suspend(this.#decideBind(prepared, Buffer.from(buffer.subarray(start, end))));
        return;
      }
    }
    this.#bound(prepared, bind, buffer, start, end);
  }

  async #decideBind(prepared: Prepared, frame: Buffer): Promise<() => void> {
    const { text } = prepared;
    const admission = prepared.reserved ? await this.#session.options.admissions.admit(text) : await this.#decide(text);
    if (prepared.admission !== admission) {
      // The catalogue or the policies changed since Parse: what we knew of its columns is worth nothing now.
      prepared.admission = admission;
      prepared.statement = admission.statements[0];
      prepared.described = false;
      prepared.columns = undefined;
      prepared.maskers.clear();
    }
    if (admission.verdict === 'deny') return () => this.#deny(text, admission, denial(admission), 'extended');
    if (admission.verdict === 'hold' && !grants(prepared.grant, frame, 0, frame.length)) {
      return () => this.#startHeldBatch(text, admission, prepared, frame);
    }
    return () => this.#bound(prepared, decodeBind(frame, 0, frame.length), frame, 0, frame.length);
  }

  #bound(prepared: Prepared, bind: Bind, buffer: Buffer, start: number, end: number): void {
    const { pipeline } = this.#session;
    if (bind.portal !== '' && pipeline.portals.has(bind.portal)) {
      return this.#refuse(
        new CountersignError('protocol_violation', `portal "${bind.portal}" already exists`),
        'extended',
      );
    }
    prepared.reserved = false;
    const portal: Portal = {
      name: bind.portal,
      prepared,
      resultFormats: bind.resultFormats,
      parameters: renderParameters(bind),
      described: false,
      masker: undefined,
      execution: undefined,
      batch: pipeline.batch,
      confirmed: prepared.localTag !== undefined,
    };
    pipeline.portals.set(bind.portal, portal);
    if (prepared.localTag !== undefined) return this.#answerLocal(encodeBindComplete);
    pipeline.push({ kind: 'bind', portal });
    this.#batchForwarded = true;
    this.#forward(buffer, start, end);
  }

  #describe(buffer: Buffer, start: number, end: number): void {
    const { kind, name } = decodeDescribe(buffer, start, end);
    const of = kind === 'S' ? this.#prepared(name) : this.#portal(name);
    if (of === undefined) return;
    if (!this.#session.pipeline.isSettled(of)) return this.#retryWhenSettled(buffer, start, end);
    const localTag = 'prepared' in of ? of.prepared.localTag : of.localTag;
    if (localTag !== undefined) return this.#answerLocal(encodeNoData);
    of.described = true;
    this.#session.pipeline.push({ kind: 'describe', of, injected: false });
    this.#batchForwarded = true;
    this.#forward(buffer, start, end);
  }

  #execute(buffer: Buffer, start: number, end: number): void {
    const { portal: name } = decodeExecute(buffer, start, end);
    const portal = this.#portal(name);
    if (portal === undefined) return;
    if (!this.#session.pipeline.isSettled(portal)) return this.#retryWhenSettled(buffer, start, end);
    const { prepared } = portal;
    if (prepared.localTag !== undefined) {
      const tag = prepared.localTag;
      return this.#answerLocal((sink) => encodeCommandComplete(sink, tag));
    }
    const session = this.#session;
    if (portal.execution === undefined) {
      const { grant } = prepared;
      if (prepared.admission?.verdict === 'hold' && grant?.used !== false) {
        throw new CountersignError('grant_used', 'countersign: an execution without a grant got as far as Execute');
      }
      if (grant !== undefined) grant.used = true;
      const statements = prepared.statement === undefined ? [] : [prepared.statement];
      portal.execution = session.newExecution(statements, prepared.chunk);
      session.options.recording.request({
        kind: 'execute',
        text: prepared.recordable,
        parameters: portal.parameters.map((value) =>
          value === null ? null : this.#recordableParameter(prepared, value),
        ),
      });
      session.intent(portal.execution, prepared.recordable, prepared.admission, grant);
      prepared.recorded = true;
    }
    if (!portal.described && !prepared.described) {
      portal.described = true;
      session.pipeline.push({ kind: 'describe', of: portal, injected: true });
      this.#forwardEncoded((sink) => encodeDescribe(sink, 'P', name));
    }
    session.pipeline.push({ kind: 'execute', portal, execution: portal.execution });
    this.#batchForwarded = true;
    this.#forward(buffer, start, end);
    this.#awaitCopy(portal.execution.statements, 'execute');
  }

  #close(buffer: Buffer, start: number, end: number): void {
    const { kind, name } = decodeClose(buffer, start, end);
    const { pipeline } = this.#session;
    if (kind === 'S') pipeline.prepared.delete(name);
    else pipeline.portals.delete(name);
    pipeline.push({ kind: 'close' });
    this.#batchForwarded = true;
    this.#forward(buffer, start, end);
  }

  #sync(buffer: Buffer, start: number, end: number): void {
    const { pipeline } = this.#session;
    this.#discarding = false;
    if (!this.#batchForwarded && pipeline.idle) return this.#answerLocal((sink) => encodeReadyForQuery(sink, 'I'));
    this.#batchForwarded = false;
    // An approval of these parameters was for this batch: what it was not used for by now, it cannot be used for.
    for (const { grant } of pipeline.prepared.values()) if (grant?.bind !== undefined) grant.used = true;
    pipeline.push({ kind: 'sync', batch: pipeline.batch });
    pipeline.batch++;
    this.#forward(buffer, start, end);
  }

  #flush(buffer: Buffer, start: number, end: number): void {
    if (!this.#batchForwarded) return;
    this.#forward(buffer, start, end);
  }

  /** A statement that was sent to be parsed, and not executed in the same breath, gets its own entry. */
  #recordPrepared(): void {
    if (this.#unrecorded.length === 0) return;
    for (const prepared of this.#unrecorded) {
      if (prepared.recorded) continue;
      prepared.recorded = true;
      this.#session.prepared(prepared.recordable, prepared.admission);
    }
    this.#unrecorded = [];
  }

  #prepared(name: string): Prepared | undefined {
    const prepared = this.#session.pipeline.prepared.get(name);
    if (prepared === undefined) {
      const which = name === '' ? 'unnamed prepared statement' : `prepared statement "${name}"`;
      this.#refuse(new CountersignError('prepared_statement_unknown', `${which} does not exist`), 'extended');
    }
    return prepared;
  }

  #portal(name: string) {
    const portal = this.#session.pipeline.portals.get(name);
    if (portal === undefined) {
      this.#refuse(new CountersignError('portal_unknown', `portal "${name}" does not exist`), 'extended');
    }
    return portal;
  }

  // ---- refusing ----

  #deny(text: string, admission: Admission, error: CountersignError, protocol: 'query' | 'extended'): void {
    this.#session.options.recording.request({ kind: 'denied', text: this.#session.recordable(text), code: error.code });
    this.#session.denied(text, admission, error);
    this.#refuse(error, protocol);
  }

  #refuse(error: CountersignError, protocol: 'query' | 'extended'): void {
    const { pipeline } = this.#session;
    const local = pipeline.idle && !this.#batchForwarded;
    if (protocol === 'query') {
      if (local) return this.#session.answerError(error, true);
      pipeline.push({ kind: 'query', execution: undefined, substitute: error });
      this.#forwardEncoded((sink) => encodeQuery(sink, refusedText));
      return;
    }
    this.#discarding = true;
    if (local) return this.#session.answerError(error, false);
    pipeline.push({ kind: 'parse', prepared: undefined, substitute: error });
    this.#batchForwarded = true;
    this.#forwardEncoded((sink) => encodeParse(sink, { name: '', query: refusedText, parameterTypes: [] }));
  }

  #answerLocal(encode: (sink: ByteSink) => void): void {
    const sink = new ByteSink(64);
    encode(sink);
    this.#session.answer(sink.take());
  }

  // ---- deciding ----

  /** The verdict, after taking sampled rows from the budget. */
  async #decide(text: string): Promise<Admission> {
    const { admissions, controlPlane, identity } = this.#session.options;
    const admission = admissions.cached(text) ?? (await admissions.admit(text));
    if (admission.sampleRows === 0 || admission.beyondBudget === undefined) return admission;
    const { human } = identity.principal;
    const reservation = await controlPlane.reserveSample(human, admissions.connection.name, admission.sampleRows);
    if (reservation.allowed) return admission;
    const spent = `${reservation.used} of ${reservation.limit} sample rows of the last hour are used`;
    return { ...admission.beyondBudget, reason: `${admission.beyondBudget.reason} (${spent})` };
  }

  // ---- held statements of the extended protocol: the whole batch waits, so that parameters are part of what is asked ----

  #startHeldBatch(text: string, admission: Admission, prepared: Prepared | undefined, frame: Buffer): void {
    const name = prepared?.name ?? decodeParse(frame, 0, frame.length).name;
    const counts = { parses: 0, binds: 0, executes: 0, coherent: true };
    this.#heldBatch = { text, admission, prepared, name, frames: [], bytes: 0, bind: undefined, ...counts };
    const type = frame[0];
    if (type !== undefined) this.#collect(this.#heldBatch, type, frame, 0, frame.length);
  }

  #collect(held: HeldBatch, type: number, buffer: Buffer, start: number, end: number): void {
    if (type === frontend.Terminate) {
      this.#heldBatch = undefined;
      return this.#frame(type, buffer, start, end);
    }
    const frame = Buffer.from(buffer.subarray(start, end));
    held.frames.push(frame);
    held.bytes += frame.length;
    if (held.bytes > this.#session.options.limits.maxMessageBytes) {
      throw new CountersignError('message_too_large', 'a held batch is larger than the message limit');
    }
    this.#inspectHeld(held, type, frame);
    if (type !== frontend.Sync && type !== frontend.Flush) return;
    this.#heldBatch = undefined;
    this.#suspend(this.#decideBatch(held));
  }

  /** What is approved is one execution of one statement with these parameters; a batch that says anything else is refused. */
  #inspectHeld(held: HeldBatch, type: number, frame: Buffer): void {
    if (type === frontend.Parse) {
      held.parses++;
      held.coherent &&= held.prepared === undefined && decodeParse(frame, 0, frame.length).query === held.text;
    } else if (type === frontend.Bind) {
      held.binds++;
      held.bind ??= decodeBind(frame, 0, frame.length);
      held.coherent &&= held.bind.statement === held.name;
    } else if (type === frontend.Execute) {
      held.executes++;
      held.coherent &&= held.bind !== undefined && decodeExecute(frame, 0, frame.length).portal === held.bind.portal;
    } else if (type === frontend.Query || type === frontend.FunctionCall) {
      held.coherent = false;
    }
  }

  async #decideBatch(held: HeldBatch): Promise<() => void> {
    const needsParameters = held.admission.statements.some((statement) => statement.facts.parameters > 0);
    const { parses, binds, executes, coherent, bind } = held;
    if ((needsParameters && bind === undefined) || !coherent || parses > 1 || binds > 1 || executes > 1) {
      const error = new CountersignError(
        'feature_refused',
        'countersign: this statement needs an approval, and what is approved must be complete: one execution with its parameters',
        { hint: 'send Parse, Bind and one Execute before Sync, or use the simple protocol' },
      );
      return () => this.#replay(held, error);
    }
    const parameters = bind === undefined ? undefined : renderParameters(bind);
    const bindFrame = held.frames.find((frame) => frame[0] === frontend.Bind);
    const answer = await this.#desk.ask(held.text, parameters, bindFrame, held.admission);
    return () => this.#replay(held, answer);
  }

  /** Puts the batch back in front of what the client sent since, with the grant in hand or without its held part. */
  #replay(held: HeldBatch, answer: StatementGrant | CountersignError): void {
    if (answer instanceof CountersignError) {
      this.#refuse(answer, 'extended');
    } else if (held.prepared === undefined) {
      this.#grant = answer;
    } else {
      held.prepared.grant = answer;
    }
    this.#backlog.unshift(...held.frames);
    this.#backlogBytes += held.bytes;
  }

  // ---- what may be recorded ----

  #recordableParameter(prepared: Prepared, value: string): string {
    if (prepared.statement?.touchesMasked === true && prepared.statement.facts.class !== 'read') return '…';
    return this.#session.recordable(value);
  }
}

/** Whether this very Bind is what was approved, and was not executed yet. */
function grants(grant: StatementGrant | undefined, buffer: Buffer, start: number, end: number): boolean {
  if (grant === undefined || grant.used) return false;
  return grant.bind === undefined || buffer.compare(grant.bind, 0, grant.bind.length, start, end) === 0;
}

/** Parameter values for people and for the digest of a request: text as it is, binary as \x and hexadecimal digits. */
function renderParameters(bind: Bind): (string | null)[] {
  return bind.parameters.map((value, index) => {
    if (value === null) return null;
    const format = bind.parameterFormats.length === 1 ? bind.parameterFormats[0] : bind.parameterFormats[index];
    return format === 1 ? `\\x${value.toString('hex')}` : value.toString('utf8');
  });
}
