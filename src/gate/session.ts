/**
 * One client session at the gate: what its two sides share. The request side (client to target) decides, records and
 * forwards; the response side (target to client) masks, records and delivers; this file holds the session's state,
 * its entries in the log and the ways in which it ends.
 */
import { createHash } from 'node:crypto';
import type { TemplateUse } from '../approvals/templates.ts';
import type { SessionChain, SessionEvent } from '../audit/events.ts';
import type { CountersignError } from '../errors.ts';
import { ByteSink } from '../lib/byte-sink.ts';
import { timestamp, type Clock } from '../lib/clock.ts';
import { encodeErrorResponse, encodeReadyForQuery } from '../wire/postgres/backend.ts';
import type { Admission, Admissions } from './admission.ts';
import type { ControlPlane, SessionIdentity } from './control-plane.ts';
import { Door, type DoorLog, type DoorRecording } from './door.ts';
import { executionOf, Pipeline, type Execution, type RunChunk, type StatementGrant } from './pipeline.ts';
import { errorFields } from './error-fields.ts';
import { RequestSide } from './request-side.ts';
import { ResponseSide } from './response-side.ts';
import { scrubDetected, scrubStatement, withoutLiterals } from './scrub.ts';

export interface SessionRecording extends DoorRecording {
  request(event: { readonly [member: string]: string | number | boolean | null | readonly (string | null)[] }): void;
}

export interface GateSessionOptions {
  readonly identity: SessionIdentity;
  readonly admissions: Admissions;
  readonly controlPlane: ControlPlane;
  readonly log: DoorLog;
  /** Ties the session's entries together; it has begun with `session.opened`. */
  readonly chain: SessionChain;
  readonly recording: SessionRecording;
  readonly clock: Clock;
  readonly node: string;
  readonly limits: {
    readonly maxMessageBytes: number;
    readonly maxRowBytes: number;
    readonly maxStatementBytes: number;
    readonly maxPreparedBytes: number;
    readonly holdTimeoutMs: number;
  };
  readonly forward: (bytes: Buffer) => void;
  readonly deliver: (bytes: Buffer) => void;
  /** Stop or go on reading from a peer: the gate cannot take more from it now. */
  readonly pause: (peer: 'client' | 'target', paused: boolean) => void;
  /** Turns anything thrown into an expected error; the unexpected goes to the server's own log. */
  readonly onError: (cause: unknown) => CountersignError;
  /** The session is over; what was delivered before still has to reach the client. */
  readonly onEnd: (reason: string, error: CountersignError | undefined) => void;
}

export interface SessionTotals {
  readonly statements: number;
  readonly rows: number;
  readonly maskedCells: number;
}

const runPolicies: readonly string[] = ['countersign/run'];

/** One scratch buffer serves all sessions: a turn fills it and hands it over before the next turn begins. */
const scratch = new ByteSink(320 * 1024);

/** Whether the memory of a delivered batch is wanted back. */
export function isPooled(batch: Buffer): boolean {
  return scratch.isOwn(batch);
}

/** A delivered batch was written out: its memory serves the next. */
export function recycle(batch: Buffer): void {
  scratch.recycle(batch);
}

export class GateSession {
  readonly options: GateSessionOptions;
  readonly pipeline = new Pipeline();
  readonly door: Door;
  readonly sink = scratch;
  /** Why the gateway has the target cancel what it is at; the client reads this in place of the target's own words. */
  cancellation: CountersignError | undefined;
  readonly #request: RequestSide;
  readonly #response: ResponseSide;
  #statements = 0;
  #rows = 0;
  #maskedCells = 0;
  #ended = false;
  #settled: Promise<void> = Promise.resolve();
  #waiters: { readonly condition: () => boolean; readonly callback: () => void }[] = [];

  constructor(options: GateSessionOptions) {
    this.options = options;
    this.door = new Door({
      log: options.log,
      recording: options.recording,
      forward: options.forward,
      deliver: options.deliver,
      onFailure: (error) => this.fail(error),
    });
    this.#request = new RequestSide(this);
    this.#response = new ResponseSide(this);
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Of the rules that are in force now. */
  get maskingDigest(): string {
    return this.options.admissions.connection.masking.digest;
  }

  get totals(): SessionTotals {
    return { statements: this.#statements, rows: this.#rows, maskedCells: this.#maskedCells };
  }

  /** Bytes from the client; they stay as they are (the gate may keep them). */
  fromClient(chunk: Buffer): void {
    this.#guard(() => this.#request.receive(chunk));
  }

  /** Bytes from the target; they are consumed before the call returns. */
  fromTarget(chunk: Buffer, start: number, end: number): void {
    this.#guard(() => this.#response.receive(chunk, start, end));
  }

  /** CancelRequest: ends a hold. Returns false when there is none, then the request is the target's. */
  cancelHold(): boolean {
    return this.#request.cancelHold();
  }

  /** Runs one turn; an error in it, expected or not, ends the session and never the process. */
  #guard(turn: () => void): void {
    if (this.#ended) return;
    try {
      turn();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Continues after something asynchronous, as a turn of its own. */
  resume(turn: () => void): void {
    this.#guard(turn);
  }

  /** Ends the session: the client gets a FATAL error, the target nothing more. */
  fail(cause: unknown): void {
    if (this.#ended) return;
    const error = this.options.onError(cause);
    scratch.reset();
    encodeErrorResponse(scratch, errorFields(error, 'FATAL'));
    try {
      this.door.deliver(scratch);
    } catch {
      // The recording failed too: the client sees the connection end.
      scratch.reset();
    }
    this.end(error.code, error);
  }

  /** The session is over. Open executions have no outcome that we know: the log says so. */
  end(reason: string, error?: CountersignError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.door.close();
    this.#request.close(reason);
    for (const operation of this.pipeline.pending()) {
      const execution = executionOf(operation);
      if (execution !== undefined && !execution.done) this.tryOutcome(execution, 'lost', undefined, undefined);
      const chunk = operation.kind === 'internal' ? operation.chunk : execution?.chunk;
      if (chunk !== undefined) this.chunkFailed(chunk, reason);
    }
    this.options.onEnd(reason, error);
  }

  /** The ends of earlier steps of a loop are known to the store. */
  get settled(): Promise<void> {
    return this.#settled;
  }

  /** Calls back once, when the server's answers have made `condition` true. */
  whenAnswered(condition: () => boolean, callback: () => void): void {
    if (condition()) callback();
    else this.#waiters.push({ condition, callback });
  }

  /** A turn of answers is over. */
  answered(): void {
    if (this.#waiters.length === 0) return;
    const ready = this.#waiters.filter(({ condition }) => condition());
    this.#waiters = this.#waiters.filter((waiter) => !ready.includes(waiter));
    for (const { callback } of ready) callback();
  }

  chunkFailed(chunk: RunChunk, reason: string): void {
    this.options.controlPlane.chunkFailed(chunk, reason).catch((error: unknown) => this.options.onError(error));
  }

  /** Appends the answer of the gateway itself, in its place; it goes out at the end of the turn. */
  answer(bytes: Buffer): void {
    this.pipeline.push({ kind: 'local', bytes });
    this.pumpLocal();
  }

  answerError(error: CountersignError, ready: boolean): void {
    const sink = new ByteSink(512);
    encodeErrorResponse(sink, errorFields(error, 'ERROR'));
    if (ready) encodeReadyForQuery(sink, 'I');
    this.answer(Buffer.from(sink.buffer.subarray(0, sink.length)));
  }

  /** Moves our own answers at the head of the queue to the client. */
  pumpLocal(): void {
    for (let head = this.pipeline.head; head?.kind === 'local'; head = this.pipeline.head) {
      this.sink.append(head.bytes);
      this.pipeline.shift();
    }
  }

  // ---- the log ----

  event(): { at: string; node: string; session: string } {
    const { clock, node, identity } = this.options;
    return { at: timestamp(clock.now()), node, session: identity.sessionId };
  }

  /** @param budgeted its rows were taken from the sampling budget */
  newExecution(
    statements: Execution['statements'],
    chunk: RunChunk | undefined,
    budgeted: boolean,
    use?: TemplateUse,
  ): Execution {
    this.#statements++;
    for (const { facts } of statements) this.pipeline.sent(facts);
    const bounds = statements.map(({ facts }) => facts.rowsAtMost ?? Number.POSITIVE_INFINITY);
    return {
      number: this.#statements,
      statements,
      index: 0,
      rows: 0,
      bytes: 0,
      maskedCells: 0,
      rowsAtMost: budgeted ? bounds.reduce((sum, bound) => sum + bound, 0) : undefined,
      masker: undefined,
      probe: undefined,
      copyOut: undefined,
      chunk,
      rowHash: chunk === undefined ? undefined : createHash('sha256'),
      use,
      reached: undefined,
      done: false,
    };
  }

  /** Records that a statement is about to be forwarded. `recordable` is its text after `recordable()`. */
  intent(
    execution: Execution,
    recordable: string,
    admission: Admission | undefined,
    grant: StatementGrant | undefined,
  ): void {
    const facts = admission?.statements[0]?.facts ?? execution.statements[0]?.facts;
    const touchesMasked = execution.statements.some((statement) => statement.touchesMasked);
    const { chunk } = execution;
    if (touchesMasked || chunk !== undefined) this.pipeline.touchedMasked = true;
    const { clock, node, identity, chain } = this.options;
    const { text, textDigest } = scrubStatement(recordable, touchesMasked, facts?.class);
    this.door.record(
      chain.encode({
        type: 'statement.intent',
        at: timestamp(clock.now()),
        node,
        session: identity.sessionId,
        statement: execution.number,
        text,
        textDigest,
        class: facts?.class ?? 'read',
        verdict: grant !== undefined || chunk !== undefined ? 'granted' : 'allow',
        policies: admission?.policies ?? runPolicies,
        request: grant?.requestId,
        grant: grant?.grantId ?? chunk?.grantId,
        use: grant?.use?.useNo,
        run: chunk?.runId,
        chunk: chunk?.chunkNo,
        attempt: chunk?.attempt,
      }),
    );
  }

  outcome(
    execution: Execution,
    status: 'complete' | 'error' | 'cancelled' | 'lost',
    tag: string | undefined,
    sqlstate: string | undefined,
  ): void {
    execution.done = true;
    this.#rows += execution.rows;
    this.#maskedCells += execution.maskedCells;
    if (execution.use !== undefined && status !== 'lost') this.#settle(execution.use, execution);
    const { clock, node, identity, chain } = this.options;
    this.door.note(
      chain.encode({
        type: 'statement.outcome',
        at: timestamp(clock.now()),
        node,
        session: identity.sessionId,
        statement: execution.number,
        status,
        tag,
        sqlstate,
        rows: execution.rows,
        bytes: execution.bytes,
        maskedCells: execution.maskedCells,
      }),
    );
  }

  #settle(use: TemplateUse, { rows, reached }: Execution): void {
    const { controlPlane, onError } = this.options;
    const told = this.#settled.then(() =>
      controlPlane.settleTemplate(use, rows, reached === undefined ? undefined : String(reached)),
    );
    this.#settled = told.catch((error: unknown) => void onError(error));
  }

  tryOutcome(...args: Parameters<GateSession['outcome']>): void {
    try {
      this.outcome(...args);
    } catch (error) {
      // The log is closed to us; "intent without outcome" is what it then truthfully says.
      this.options.onError(error);
    }
  }

  /** A text as it may stand in a recording. One that compares a masked column with constants says what its values are. */
  recordable(text: string, admission?: Admission): string {
    const scrubbed = scrubDetected(text, this.options.admissions.connection.masking);
    return (admission?.equalityTests ?? []).length === 0 ? scrubbed : withoutLiterals(scrubbed);
  }

  held(text: string, admission: Admission, request: string): void {
    const facts = admission.statements[0]?.facts;
    this.note({
      type: 'statement.held',
      ...this.event(),
      statement: this.#statements + 1,
      ...scrubStatement(this.recordable(text, admission), true, facts?.class),
      class: facts?.class ?? 'unknown',
      policies: [...admission.policies],
      request,
    });
  }

  denied(text: string, admission: Admission | undefined, error: CountersignError, request?: string): void {
    const facts = admission?.statements[0]?.facts;
    this.#statements++;
    this.note({
      type: 'statement.denied',
      ...this.event(),
      statement: this.#statements,
      ...scrubStatement(this.recordable(text, admission), true, facts?.class),
      class: facts?.class ?? 'unknown',
      code: error.code,
      policies: [...(admission?.policies ?? [])],
      request,
    });
  }

  /** A text that the target parses now and executes later, if at all. */
  prepared(recordable: string, admission: Admission | undefined): void {
    const facts = admission?.statements[0]?.facts;
    const touchesMasked = admission?.statements.some((statement) => statement.touchesMasked) ?? true;
    this.door.record(
      this.options.chain.encode({
        type: 'statement.prepared',
        ...this.event(),
        ...scrubStatement(recordable, touchesMasked, facts?.class),
        class: facts?.class ?? 'unknown',
        policies: [...(admission?.policies ?? [])],
      }),
    );
  }

  note(event: SessionEvent): void {
    this.door.note(this.options.chain.encode(event));
  }
}
