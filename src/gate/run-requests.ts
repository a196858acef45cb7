/**
 * Requests of a run session. The client's text picks a chunk and is never forwarded: the gateway sends its own frozen SQL,
 * under a transaction and snapshot of its own, so there is nothing to smuggle. Transaction commands and harmless settings
 * of the client are answered here.
 */
import { CountersignError } from '../errors.ts';
import type { ByteSink } from '../lib/byte-sink.ts';
import { analyse } from '../sql/analyse.ts';
import { matchChunkrun, type ChunkrunMatch } from '../sql/chunkrun.ts';
import { encodeCommandComplete, encodeParseComplete, encodeReadyForQuery } from '../wire/postgres/backend.ts';
import { encodeParse, encodeQuery } from '../wire/postgres/frontend.ts';
import type { ChunkTicket } from './control-plane.ts';
import type { Prepared, RunChunk } from './pipeline.ts';
import { ResultPlan } from './result-plan.ts';
import type { GateSession } from './session.ts';

/** What a run session needs of the request side. */
export interface RunRequestHost {
  suspend(work: Promise<() => void>): void;
  refuse(error: CountersignError, protocol: 'query' | 'extended'): void;
  answer(encode: (sink: ByteSink) => void): void;
  forwardEncoded(encode: (sink: ByteSink) => void): void;
}

export class RunRequests {
  readonly #session: GateSession;
  readonly #host: RunRequestHost;

  constructor(session: GateSession, host: RunRequestHost) {
    this.#session = session;
    this.#host = host;
  }

  query(text: string): void {
    const match = matchChunkrun(text);
    if (match.kind === 'session') {
      const tag = match.command;
      if (tag === 'SHOW') return this.#refuseInRun(text, 'SHOW is not answered here', 'query');
      return this.#host.answer((sink) => {
        encodeCommandComplete(sink, tag);
        encodeReadyForQuery(sink, 'I');
      });
    }
    if (match.kind === 'refused') return this.#refuseInRun(text, match.reason, 'query');
    this.#host.suspend(
      this.#beginChunk(match).then((ticket) => () => {
        if (ticket instanceof CountersignError) return this.#host.refuse(ticket, 'query');
        const session = this.#session;
        this.#chunkPreamble(ticket);
        const execution = session.newExecution([], ticket, false);
        session.options.recording.request({ kind: 'chunk', run: ticket.runId, chunk: ticket.chunkNo });
        session.intent(execution, ticket.sql, undefined, undefined);
        session.pipeline.push({ kind: 'query', execution, substitute: undefined });
        this.#host.forwardEncoded((sink) => encodeQuery(sink, ticket.sql));
      }),
    );
  }

  parse(name: string, text: string): void {
    const match = matchChunkrun(text);
    if (match.kind === 'refused') return this.#refuseInRun(text, match.reason, 'extended');
    if (match.kind === 'session' && match.command === 'SHOW')
      return this.#refuseInRun(text, 'SHOW is not answered here', 'extended');
    if (match.kind === 'session') {
      this.#session.pipeline.prepared.set(name, this.#runPrepared(name, undefined, match.command));
      return this.#host.answer(encodeParseComplete);
    }
    this.#host.suspend(
      this.#beginChunk(match).then((ticket) => () => {
        if (this.#session.pipeline.discarding) {
          if (!(ticket instanceof CountersignError)) this.#session.chunkFailed(ticket, 'its batch had failed before');
          return;
        }
        if (ticket instanceof CountersignError) return this.#host.refuse(ticket, 'extended');
        this.#chunkPreamble(ticket);
        const prepared = this.#runPrepared(name, ticket, undefined);
        this.#session.pipeline.prepared.set(name, prepared);
        this.#session.pipeline.push({ kind: 'parse', prepared, substitute: undefined });
        this.#session.pipeline.batchForwarded = true;
        this.#host.forwardEncoded((sink) => encodeParse(sink, { name, query: ticket.sql, parameterTypes: [] }));
      }),
    );
  }

  #runPrepared(name: string, ticket: RunChunk | undefined, localTag: string | undefined): Prepared {
    return {
      name,
      text: ticket?.sql ?? '',
      parameterTypes: [],
      recordable: ticket?.sql ?? '',
      admission: undefined,
      statement: undefined,
      relations: [],
      described: false,
      columns: undefined,
      maskers: new Map(),
      grant: undefined,
      reserved: false,
      chunk: ticket,
      localTag,
      recorded: true,
      batch: this.#session.pipeline.batch,
      confirmed: localTag !== undefined,
    };
  }

  #refuseInRun(text: string, reason: string, protocol: 'query' | 'extended'): void {
    const error = new CountersignError(
      'run_statement_refused',
      `countersign: a run session reads its chunks only: ${reason}`,
      {
        hint: 'select * from chunkrun."<job>" where chunk_no = <n>',
      },
    );
    this.#session.denied(text, undefined, error);
    this.#host.refuse(error, protocol);
  }

  async #beginChunk(match: ChunkrunMatch & { kind: 'chunk' | 'probe' }): Promise<RunChunk | CountersignError> {
    const { controlPlane, identity } = this.#session.options;
    try {
      const ticket =
        match.kind === 'probe'
          ? await controlPlane.probeRun(identity, match.job)
          : await controlPlane.beginChunk(identity, match.job, match.chunkNo, match.columns);
      return await this.#withResults(ticket);
    } catch (error) {
      if (error instanceof CountersignError) return error;
      throw error;
    }
  }

  /** What the control plane checked against the approval must be what the gate masks by. */
  async #withResults(ticket: ChunkTicket): Promise<RunChunk> {
    const { connection } = this.#session.options.admissions;
    const known = connection.fresh();
    const snapshot = known?.catalogue.version === ticket.catalogueVersion ? known : await connection.refresh();
    const { masking } = connection;
    if (snapshot.catalogue.version !== ticket.catalogueVersion || masking.digest !== ticket.maskingDigest) {
      await this.#session.options.controlPlane.chunkFailed(ticket, 'the catalogue or the masking rules were changing');
      throw new CountersignError(
        'chunk_not_available',
        `countersign: the catalogue or the masking rules changed while chunk ${ticket.chunkNo} was opened`,
        { hint: 'read the chunk again' },
      );
    }
    const [facts] = analyse(ticket.source, snapshot.catalogue, { maxBytes: Number.MAX_SAFE_INTEGER });
    if (facts === undefined) throw new Error('a plan has a source');
    const { maskIndex } = snapshot;
    const touchesMasked = facts.relations.some((relation) => maskIndex.touches(relation.oid));
    // Chunk texts wrap the source in `select * from (…)`: the same outputs, in the same order.
    return { ...ticket, results: new ResultPlan({ facts, touchesMasked, maskIndex, masking }) };
  }

  #chunkPreamble(ticket: RunChunk): void {
    this.#session.pipeline.push({ kind: 'internal', chunk: ticket });
    this.#host.forwardEncoded((sink) => encodeQuery(sink, ticket.preamble));
  }
}
