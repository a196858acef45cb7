/**
 * The extended protocol from the client: prepared statements and portals, in batches that a Sync ends. A statement is
 * decided when it is parsed, and again when it is bound if something has changed since; its intent is recorded when a
 * portal of it is executed.
 */
import { CountersignError } from '../errors.ts';
import {
  decodeBind,
  decodeClose,
  decodeDescribe,
  decodeExecute,
  decodeParse,
  encodeDescribe,
  type Bind,
} from '../wire/postgres/frontend.ts';
import {
  encodeBindComplete,
  encodeCommandComplete,
  encodeNoData,
  encodeReadyForQuery,
} from '../wire/postgres/backend.ts';
import { frontend } from '../wire/postgres/messages.ts';
import { denial, needsBudget, type Admission } from './admission.ts';
import { copyProbeOf, encodeCopyProbe } from './copy-probe.ts';
import { HeldBatch, renderParameters } from './held-batch.ts';
import type { Portal, Prepared, StatementGrant } from './pipeline.ts';
import { shadowed, shadowedRelation } from './sql-statements.ts';
import type { RequestSide } from './request-side.ts';
import type { GateSession } from './session.ts';

export class ExtendedRequests {
  readonly #session: GateSession;
  readonly #side: RequestSide;
  /** Forwarded to be parsed, and not in the log yet. */
  #unrecorded: Prepared[] = [];
  #heldBatch: HeldBatch | undefined;
  /** For the Parse that comes next out of a batch that was held. */
  #grant: StatementGrant | undefined;
  /** The text of a held statement that is only prepared: its Parse comes next, and passes. */
  #toPrepare: string | undefined;

  constructor(session: GateSession, side: RequestSide) {
    this.#session = session;
    this.#side = side;
  }

  /** While a statement is held, the rest of its batch belongs to it. Returns whether the message was taken for that. */
  collect(type: number, buffer: Buffer, start: number, end: number): boolean {
    const held = this.#heldBatch;
    if (held === undefined) return false;
    if (type === frontend.Terminate) {
      this.#heldBatch = undefined;
      return false;
    }
    this.#collect(held, type, buffer.subarray(start, end));
    return true;
  }

  /** A statement that was sent to be parsed, and not executed in the same breath, gets its own entry. */
  recordPrepared(): void {
    if (this.#unrecorded.length === 0) return;
    for (const prepared of this.#unrecorded) {
      if (prepared.recorded) continue;
      prepared.recorded = true;
      this.#session.prepared(prepared.recordable, prepared.admission);
    }
    this.#unrecorded = [];
  }

  parse(buffer: Buffer, start: number, end: number): void {
    const { name, query: text } = decodeParse(buffer, start, end);
    const { pipeline, options } = this.#session;
    if (name !== '' && pipeline.prepared.has(name)) {
      return this.#side.refuse(
        new CountersignError('prepared_statement_duplicate', `prepared statement "${name}" already exists`),
        'extended',
      );
    }
    if (name !== '' && !this.#side.hasRoom('extended')) return;
    if (this.#side.run !== undefined) return this.#side.run.parse(name, text);
    const granted = this.#grant?.text === text ? this.#grant : undefined;
    const onlyPrepares = this.#toPrepare === text;
    const admission = options.admissions.cached(text);
    if (
      admission !== undefined &&
      (granted !== undefined || (admission.verdict === 'allow' && !needsBudget(admission)))
    ) {
      this.#grant = this.#toPrepare = undefined;
      this.#prepare(name, text, admission, granted, buffer, start, end);
      return;
    }
    if (this.#side.awaitsState(text, buffer, start, end)) return;
    this.#toPrepare = undefined;
    const frame = Buffer.from(buffer.subarray(start, end));
    this.#side.suspendBatch(this.#decideParse(name, text, granted, onlyPrepares, frame));
  }

  async #decideParse(
    name: string,
    text: string,
    granted: StatementGrant | undefined,
    onlyPrepares: boolean,
    frame: Buffer,
  ): Promise<() => void> {
    const admission =
      granted === undefined ? await this.#side.decide(text) : await this.#session.options.admissions.admit(text);
    if (admission.verdict === 'deny') return () => this.#side.deny(text, admission, denial(admission), 'extended');
    if (admission.verdict === 'allow' || granted !== undefined || onlyPrepares) {
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
    const { catalogue, nothingMasked } = admission.snapshot;
    const { convertedTypes } = catalogue;
    const { parameterTypes } = decodeParse(buffer, start, end);
    if (convertedTypes.size > 0 && !nothingMasked) {
      const converted = parameterTypes.find((type) => convertedTypes.has(type));
      if (converted !== undefined) return this.#side.refuse(convertedParameter(converted), 'extended');
    }
    const prepared: Prepared = {
      name,
      text,
      parameterTypes,
      recordable: this.#session.recordable(text, admission),
      admission,
      statement: admission.statements[0],
      relations: admission.sessionState === undefined ? (admission.statements[0]?.facts.relations ?? []) : [],
      described: false,
      columns: undefined,
      maskers: new Map(),
      grant,
      reserved: needsBudget(admission),
      chunk: undefined,
      localTag: undefined,
      recorded: false,
      batch: this.#session.pipeline.batch,
      confirmed: false,
    };
    this.#session.pipeline.prepared.set(name, prepared);
    this.#unrecorded.push(prepared);
    this.#session.pipeline.push({ kind: 'parse', prepared, substitute: undefined });
    this.#session.pipeline.batchForwarded = true;
    this.#side.forward(buffer, start, end);
  }

  bind(buffer: Buffer, start: number, end: number): void {
    const bind = decodeBind(buffer, start, end);
    const prepared = this.#prepared(bind.statement);
    if (prepared === undefined) return;
    if (!this.#session.pipeline.isSettled(prepared)) return this.#side.retryWhenSettled(buffer, start, end);
    const { admission } = prepared;
    if (admission !== undefined) {
      if (!this.#side.executable(admission, 'extended', buffer, start, end)) return;
      const { admissions } = this.#session.options;
      const stale = admissions.connection.fresh() !== admission.snapshot || admissions.isOutdated(admission);
      const needsRows = needsBudget(admission) && !prepared.reserved;
      const needsGrant = admission.verdict === 'hold' && !grants(prepared.grant, buffer, start, end);
      if (stale || needsRows || needsGrant || admission.verdict === 'deny') {
        this.#side.suspendBatch(this.#decideBind(prepared, Buffer.from(buffer.subarray(start, end))));
        return;
      }
    }
    this.#bound(prepared, bind, buffer, start, end);
  }

  async #decideBind(prepared: Prepared, frame: Buffer): Promise<() => void> {
    const { text } = prepared;
    const { admissions } = this.#session.options;
    const before = prepared.admission;
    // What was taken from the budget at Parse was for what it meant then.
    const isPaid = prepared.reserved && before !== undefined && !admissions.isOutdated(before);
    const admission = isPaid ? await admissions.admit(text) : await this.#side.decide(text);
    // What was taken for it is there for its one execution, also while it is held.
    prepared.reserved = admission.verdict !== 'deny' && needsBudget(admission);
    if (prepared.admission !== admission) {
      // The catalogue or the policies changed since Parse: what we knew of its columns is worth nothing now.
      prepared.admission = admission;
      prepared.statement = admission.statements[0];
      prepared.described = false;
      prepared.columns = undefined;
      prepared.maskers.clear();
    }
    if (admission.verdict === 'deny') return () => this.#side.deny(text, admission, denial(admission), 'extended');
    const relations = admission.statements[0]?.facts.relations ?? [];
    const hidden = shadowedRelation(prepared.relations, relations, admission.snapshot.catalogue);
    if (hidden !== undefined) return () => this.#side.deny(text, admission, shadowed(hidden), 'extended');
    if (admission.verdict === 'hold' && !grants(prepared.grant, frame, 0, frame.length)) {
      return () => this.#startHeldBatch(text, admission, prepared, frame);
    }
    return () => this.#bound(prepared, decodeBind(frame, 0, frame.length), frame, 0, frame.length);
  }

  #bound(prepared: Prepared, bind: Bind, buffer: Buffer, start: number, end: number): void {
    const { pipeline } = this.#session;
    if (bind.portal !== '' && pipeline.portals.has(bind.portal)) {
      return this.#side.refuse(
        new CountersignError('protocol_violation', `portal "${bind.portal}" already exists`),
        'extended',
      );
    }
    prepared.reserved = false;
    if (bind.portal !== '') pipeline.cursors.forget(bind.portal);
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
    if (prepared.localTag !== undefined) return this.#side.answer(encodeBindComplete);
    pipeline.push({ kind: 'bind', portal });
    this.#session.pipeline.batchForwarded = true;
    this.#side.forward(buffer, start, end);
  }

  describe(buffer: Buffer, start: number, end: number): void {
    const { kind, name } = decodeDescribe(buffer, start, end);
    const { pipeline } = this.#session;
    if (kind === 'P' && !pipeline.portals.has(name) && pipeline.cursors.has(name)) {
      // To the protocol a cursor is a portal. Drivers ask for its columns, and then FETCH.
      pipeline.push({ kind: 'describe', of: undefined, injected: false });
      pipeline.batchForwarded = true;
      this.#side.forward(buffer, start, end);
      return;
    }
    const of = kind === 'S' ? this.#prepared(name) : this.#portal(name);
    if (of === undefined) return;
    if (!this.#session.pipeline.isSettled(of)) return this.#side.retryWhenSettled(buffer, start, end);
    const prepared = 'prepared' in of ? of.prepared : of;
    if (prepared.localTag !== undefined) return this.#side.answer(encodeNoData);
    if (!this.#resolveFetch(prepared, buffer, start, end)) return;
    of.described = true;
    this.#session.pipeline.push({ kind: 'describe', of, injected: false });
    this.#session.pipeline.batchForwarded = true;
    this.#side.forward(buffer, start, end);
  }

  execute(buffer: Buffer, start: number, end: number): void {
    const { portal: name } = decodeExecute(buffer, start, end);
    const portal = this.#portal(name);
    if (portal === undefined) return;
    if (!this.#session.pipeline.isSettled(portal)) return this.#side.retryWhenSettled(buffer, start, end);
    const { prepared } = portal;
    if (prepared.localTag !== undefined) {
      const tag = prepared.localTag;
      return this.#side.answer((sink) => encodeCommandComplete(sink, tag));
    }
    const session = this.#session;
    const begins = portal.execution === undefined;
    if (portal.execution === undefined) {
      if (!this.#resolveFetch(prepared, buffer, start, end)) return;
      if (!this.#isExecutable(prepared, buffer, start, end)) return;
      // Each time, another cursor may have the name.
      const isFetch = prepared.statement?.facts.cursor?.action === 'fetch';
      if (isFetch) portal.described = prepared.described = false;
      const { grant } = prepared;
      const verdict = prepared.admission?.verdict;
      if (verdict === 'deny' || (verdict === 'hold' && grant?.used !== false)) {
        throw new CountersignError('grant_used', 'countersign: an execution without a grant got as far as Execute');
      }
      if (grant !== undefined) grant.used = true;
      const statements = prepared.statement === undefined ? [] : [prepared.statement];
      const budgeted = (prepared.admission?.sampleRows ?? 0) > 0;
      portal.execution = session.newExecution(statements, prepared.chunk, budgeted, grant?.use);
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
      this.#side.forwardEncoded((sink) => encodeDescribe(sink, 'P', name));
    }
    const probe = begins ? copyProbeOf(portal.execution, 'execute') : undefined;
    if (probe !== undefined) this.#side.forwardEncoded((sink) => encodeCopyProbe(probe, session.pipeline, sink));
    session.pipeline.push({ kind: 'execute', portal, execution: portal.execution });
    this.#session.pipeline.batchForwarded = true;
    this.#side.forward(buffer, start, end);
    this.#side.awaitCopy(portal.execution.statements, 'execute');
  }

  /** What an EXECUTE runs is looked up by the target now, and not when it was bound. False: the message was dealt with. */
  #isExecutable({ admission, text }: Prepared, buffer: Buffer, start: number, end: number): boolean {
    if (admission?.statements[0]?.facts.prepared?.action !== 'execute' || admission.asUnknown) return true;
    if (!this.#side.executable(admission, 'extended', buffer, start, end)) return false;
    if (!this.#session.options.admissions.isOutdated(admission)) return true;
    const reason = 'countersign: the session has prepared or deallocated statements since this EXECUTE was bound';
    const error = new CountersignError('prepared_statement_unknown', reason, { hint: 'bind it again' });
    this.#side.deny(text, admission, error, 'extended');
    return false;
  }

  /** A FETCH is masked by what its cursor returns now. Returns false when the message was dealt with. */
  #resolveFetch(prepared: Prepared, buffer: Buffer, start: number, end: number): boolean {
    const admitted = prepared.admission?.statements[0];
    if (admitted?.facts.cursor?.action !== 'fetch') return true;
    const resolved = this.#side.resolveFetch(admitted, 'extended', buffer, start, end);
    if (resolved === undefined) return false;
    if (resolved.results !== prepared.statement?.results) {
      prepared.statement = resolved;
      prepared.columns = undefined;
      prepared.maskers.clear();
    }
    return true;
  }

  close(buffer: Buffer, start: number, end: number): void {
    const { kind, name } = decodeClose(buffer, start, end);
    const { pipeline } = this.#session;
    if (kind === 'S') {
      pipeline.prepared.delete(name);
      this.#session.options.admissions.sqlStatements.forget(name);
    } else {
      pipeline.portals.delete(name);
      pipeline.cursors.forget(name);
    }
    pipeline.push({ kind: 'close' });
    this.#session.pipeline.batchForwarded = true;
    this.#side.forward(buffer, start, end);
  }

  sync(buffer: Buffer, start: number, end: number): void {
    const { pipeline } = this.#session;
    this.#session.pipeline.discarding = false;
    // Of a held statement in this batch, whose Parse was skipped.
    this.#grant = this.#toPrepare = undefined;
    if (!this.#session.pipeline.batchForwarded && pipeline.idle)
      return this.#side.answer((sink) => encodeReadyForQuery(sink, 'I'));
    this.#session.pipeline.batchForwarded = false;
    // An approval of these parameters was for this batch: what it was not used for by now, it cannot be used for.
    for (const { grant } of pipeline.prepared.values()) if (grant?.bind !== undefined) grant.used = true;
    pipeline.push({ kind: 'sync', batch: pipeline.batch });
    pipeline.batch++;
    this.#side.forward(buffer, start, end);
  }

  flush(buffer: Buffer, start: number, end: number): void {
    if (!this.#session.pipeline.batchForwarded) return;
    this.#side.forward(buffer, start, end);
  }

  #prepared(name: string): Prepared | undefined {
    const prepared = this.#session.pipeline.prepared.get(name);
    if (prepared === undefined) {
      const which = name === '' ? 'unnamed prepared statement' : `prepared statement "${name}"`;
      this.#side.refuse(new CountersignError('prepared_statement_unknown', `${which} does not exist`), 'extended');
    }
    return prepared;
  }

  #portal(name: string) {
    const portal = this.#session.pipeline.portals.get(name);
    if (portal === undefined) {
      this.#side.refuse(new CountersignError('portal_unknown', `portal "${name}" does not exist`), 'extended');
    }
    return portal;
  }

  // ---- held statements: the whole batch waits ----

  #startHeldBatch(text: string, admission: Admission, prepared: Prepared | undefined, frame: Buffer): void {
    const name = prepared?.name ?? decodeParse(frame, 0, frame.length).name;
    const { maxMessageBytes } = this.#session.options.limits;
    this.#heldBatch = new HeldBatch(text, name, admission, prepared, maxMessageBytes);
    const type = frame[0];
    if (type !== undefined) this.#collect(this.#heldBatch, type, frame);
  }

  #collect(held: HeldBatch, type: number, message: Buffer): void {
    if (!held.take(type, message)) return;
    this.#heldBatch = undefined;
    this.#side.suspend(this.#decideBatch(held));
  }

  async #decideBatch(held: HeldBatch): Promise<() => void> {
    if (held.onlyPrepares) {
      return () => {
        this.#toPrepare = held.text;
        this.#side.putBack(held.frames);
      };
    }
    if (!held.isComplete) {
      const error = new CountersignError(
        'feature_refused',
        'countersign: this statement needs an approval, and what is approved must be complete: one execution with its parameters',
        { hint: 'send Parse, Bind and one Execute before Sync, or use the simple protocol' },
      );
      return () => this.#replay(held, error);
    }
    const answer = await this.#side.desk.ask(held.text, held.admission, held);
    return () => this.#replay(held, answer);
  }

  /** Puts the batch back in front of what the client sent since, with the grant in hand or without its held part. */
  #replay(held: HeldBatch, answer: StatementGrant | CountersignError): void {
    if (answer instanceof CountersignError) {
      this.#side.refuse(answer, 'extended');
    } else if (held.prepared === undefined) {
      this.#grant = answer;
    } else {
      held.prepared.grant = answer;
    }
    this.#side.putBack(held.frames);
  }

  #recordableParameter(prepared: Prepared, value: string): string {
    const { statement, admission } = prepared;
    if (statement?.touchesMasked === true && statement.facts.class !== 'read') return '…';
    if ((admission?.equalityTests ?? []).length > 0) return '…';
    return this.#session.recordable(value);
  }
}

/** With such a parameter every call, operator and cast may be one of the users' functions, and no text names it. */
function convertedParameter(typeOid: number): CountersignError {
  return new CountersignError(
    'statement_unknown',
    `countersign: a parameter has the type with OID ${typeOid}, whose values functions of the database's users convert`,
    { hint: 'send the parameter without a type, or as text' },
  );
}

/** Whether this very Bind is what was approved, and was not executed yet. */
function grants(grant: StatementGrant | undefined, buffer: Buffer, start: number, end: number): boolean {
  if (grant === undefined || grant.used) return false;
  return grant.bind === undefined || buffer.compare(grant.bind, 0, grant.bind.length, start, end) === 0;
}
