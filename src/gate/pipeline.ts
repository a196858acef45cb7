/**
 * What one PostgreSQL session has under way: prepared statements and portals by name, and the queue of operations that
 * were forwarded and not yet answered. The server answers strictly in order, so the head of the queue says what the
 * next message belongs to (PostgreSQL manual, "Message Flow").
 */
import type { Hash } from 'node:crypto';
import type { TemplateUse } from '../approvals/templates.ts';
import type { CountersignError } from '../errors.ts';
import type { CopyMasker } from '../masking/copy.ts';
import type { RowMasker } from '../masking/rows.ts';
import type { ResultColumn } from '../wire/postgres/backend.ts';
import type { StatementFacts } from '../sql/statement.ts';
import type { AdmittedStatement, Admission } from './admission.ts';
import type { ChunkTicket } from './control-plane.ts';
import { Cursors } from './cursors.ts';
import type { ResultPlan } from './result-plan.ts';
import { ByServerName, PreparedByName } from './server-names.ts';
import { changesTemporary } from './temporary-tables.ts';

/** The right to execute one held statement once. */
export interface StatementGrant {
  readonly text: string;
  readonly requestId: string;
  readonly grantId: string;
  /** The Bind message whose parameters were approved; undefined = none was sent, and the statement has no parameters. */
  readonly bind: Buffer | undefined;
  /** It is one of many: a step of a loop that was approved. */
  readonly use: TemplateUse | undefined;
  used: boolean;
}

export interface RunChunk extends ChunkTicket {
  /** How its rows are masked, whatever the target says of them. */
  readonly results: ResultPlan;
}

/** One forwarded execution, from its intent to its outcome. */
export interface Execution {
  readonly number: number;
  /** One per statement of a simple query; the extended protocol always has one. */
  readonly statements: readonly AdmittedStatement[];
  /** The statement that the server works on now. */
  index: number;
  rows: number;
  bytes: number;
  maskedCells: number;
  /** Rows that its text allows, where they are taken from a budget. */
  readonly rowsAtMost: number | undefined;
  masker: RowMasker | undefined;
  /** Of a COPY OUT: what the target says of its columns, and the masker that was made of it. */
  probe: CopyProbe | undefined;
  copyOut: CopyMasker | undefined;
  readonly chunk: RunChunk | undefined;
  readonly rowHash: Hash | undefined;
  readonly use: TemplateUse | undefined;
  /** Of a keyset step: the furthest key that was delivered. */
  reached: bigint | undefined;
  done: boolean;
}

/** The gateway's own question about the columns of a COPY OUT, asked right before it. */
export interface CopyProbe {
  readonly of: 'query' | 'execute';
  readonly execution: Execution;
  columns: readonly ResultColumn[] | undefined;
  /** The target's error, as the client may see it. */
  failure: Record<string, string> | undefined;
  done: boolean;
}

export interface Prepared {
  readonly name: string;
  readonly text: string;
  /** As its Parse declared them: OIDs, 0 = none. */
  readonly parameterTypes: readonly number[];
  /** Its text as it may be recorded. */
  readonly recordable: string;
  admission: Admission | undefined;
  statement: AdmittedStatement | undefined;
  /** What it named when it was parsed. */
  readonly relations: StatementFacts['relations'];
  /** A Describe of it was forwarded: its columns are known before any row of it comes. */
  described: boolean;
  columns: readonly ResultColumn[] | undefined;
  /** By the result formats that a Bind asked for. */
  readonly maskers: Map<string, RowMasker>;
  grant: StatementGrant | undefined;
  /** A sampling reservation made at Parse and not yet used by a Bind. */
  reserved: boolean;
  readonly chunk: RunChunk | undefined;
  /** Answered by the gateway itself with this command tag (BEGIN, SET … in a run session). */
  readonly localTag: string | undefined;
  /** Its text is in the log: through an execution, or as prepared. */
  recorded: boolean;
  /** The batch (counted by Sync) whose Parse makes it, and whether the server has said that it did. */
  readonly batch: number;
  confirmed: boolean;
}

export interface Portal {
  readonly name: string;
  readonly prepared: Prepared;
  readonly resultFormats: readonly number[];
  readonly parameters: readonly (string | null)[];
  described: boolean;
  /** Known from its own description. */
  masker: RowMasker | undefined;
  execution: Execution | undefined;
  /** The batch (counted by Sync) whose Bind makes it, and whether the server has said that it did. */
  readonly batch: number;
  confirmed: boolean;
}

/**
 * COPY FROM STDIN under way. While the server reads data it ignores or rejects other messages, so they must not be
 * queued as if it would answer them.
 */
export interface CopyIn {
  /** A simple query may hold several COPYs; its end is ReadyForQuery. */
  readonly of: 'query' | 'execute';
  /** expected: forwarded, not answered; active: the server takes data; ended: the client sent its last piece. */
  phase: 'expected' | 'active' | 'ended';
}

export type Operation =
  | {
      readonly kind: 'query';
      readonly execution: Execution | undefined;
      readonly substitute: CountersignError | undefined;
    }
  | {
      readonly kind: 'parse';
      readonly prepared: Prepared | undefined;
      readonly substitute: CountersignError | undefined;
    }
  | { readonly kind: 'bind'; readonly portal: Portal }
  /** `of` undefined: a cursor, whose rows come by FETCH with a description of their own. */
  | { readonly kind: 'describe'; readonly of: Prepared | Portal | undefined; readonly injected: boolean }
  | { readonly kind: 'execute'; readonly portal: Portal; readonly execution: Execution }
  | { readonly kind: 'close' }
  | { readonly kind: 'sync'; readonly batch: number }
  /** The gateway's own statements; their answers end here. */
  | { readonly kind: 'internal'; readonly chunk: RunChunk }
  | { readonly kind: 'probe'; readonly probe: CopyProbe; readonly step: 'parse' | 'describe' | 'close' | 'sync' }
  /** The gateway's own answer, in its place among the server's. */
  | { readonly kind: 'local'; readonly bytes: Buffer };

export function executionOf(operation: Operation | undefined): Execution | undefined {
  if (operation?.kind === 'probe') return operation.probe.execution;
  return operation?.kind === 'query' || operation?.kind === 'execute' ? operation.execution : undefined;
}

/** How its rows are masked. */
export function resultsOf(prepared: Prepared): ResultPlan | undefined {
  return prepared.chunk === undefined ? prepared.statement?.results : prepared.chunk.results;
}

/** The target sent what no server sends there. */
export function unexpected(message: string, head: Operation | undefined): Error {
  return new Error(
    `the target sent ${message} while ${head === undefined ? 'nothing' : `a ${head.kind}`} was under way`,
  );
}

function mayDrop(operation: Operation): boolean {
  if (operation.kind !== 'query' && operation.kind !== 'execute') return false;
  // A text of the gateway's own makes the server fail, which may undo something.
  if (operation.execution === undefined) return true;
  return operation.execution.statements.some(({ facts }) => changesTemporary(facts));
}

export type Unanswered = 'none' | 'earlier' | 'now';

export class Pipeline {
  readonly prepared = new PreparedByName<Prepared>();
  readonly portals = new ByServerName<Portal>();
  readonly cursors = new Cursors();
  /** 'I' idle, 'T' in a transaction, 'E' in a failed transaction: as of the last ReadyForQuery. */
  transactionStatus: 'I' | 'T' | 'E' = 'I';
  copyIn: CopyIn | undefined;
  /** After an error in the present batch: the client's messages are skipped up to its Sync, as the server does. */
  discarding = false;
  /** Something of the client's present batch is at the target. */
  batchForwarded = false;
  /** Something in the present transaction has touched a masked relation. */
  touchedMasked = false;
  /** Counts Syncs sent; portals of an implicit transaction end with it. */
  batch = 0;
  /** The newest batch whose Sync the server has answered. */
  answeredBatch = -1;
  #queue: Operation[] = [];
  /** Operations in the queue that may drop temporary tables. */
  #drops = 0;
  #head = 0;
  /** Operations since the session began: queued, on their way to the target, and dealt with. */
  #pushed = 0;
  #sent = 0;
  #shifted = 0;

  get length(): number {
    return this.#queue.length - this.#head;
  }

  get head(): Operation | undefined {
    return this.#queue[this.#head];
  }

  push(operation: Operation): void {
    this.#pushed++;
    if (mayDrop(operation)) this.#drops++;
    this.#queue.push(operation);
  }

  /** Everything queued so far goes to the target now. */
  markSent(): void {
    this.#sent = this.#pushed;
  }

  /** What the target is at, as a number that each answer raises; undefined = it has nothing to do. */
  get working(): number | undefined {
    return this.#shifted < this.#sent ? this.#shifted : undefined;
  }

  shift(): void {
    this.#shifted++;
    const { head } = this;
    if (head !== undefined && mayDrop(head)) this.#drops--;
    this.#head++;
    if (this.#head === this.#queue.length) {
      this.#queue.length = 0;
      this.#head = 0;
    } else if (this.#head > 1_000) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Everything under way, oldest first. */
  pending(): readonly Operation[] {
    return this.#queue.slice(this.#head);
  }

  /** Whether something that is executed is not answered yet: of the client's present batch, or only of earlier ones. */
  get unanswered(): Unanswered {
    return this.#unansweredOf(() => true);
  }

  /** The same, and whether the end of an earlier batch is not answered, whatever is in it: its error undoes the batch. */
  get unansweredBatch(): Unanswered {
    const { unanswered } = this;
    const ends = unanswered !== 'earlier' && this.#queue.some(({ kind }, at) => at >= this.#head && kind === 'sync');
    return ends ? 'earlier' : unanswered;
  }

  /** The same of what may drop temporary tables. */
  get unansweredDrops(): Unanswered {
    return this.#drops === 0 ? 'none' : this.#unansweredOf(mayDrop);
  }

  #unansweredOf(isMeant: (operation: Operation) => boolean): Unanswered {
    let batch: Unanswered = 'now';
    for (let at = this.#queue.length - 1; at >= this.#head; at--) {
      const operation = this.#queue[at];
      if (operation?.kind === 'sync') batch = 'earlier';
      if (operation?.kind !== 'query' && operation?.kind !== 'execute') continue;
      if (isMeant(operation)) return operation.kind === 'query' ? 'earlier' : batch;
    }
    return 'none';
  }

  /** The server skips everything up to the next Sync after an error; so do we. A statement whose Parse fell is gone. */
  dropUntilSync(onDropped: (operation: Operation) => void): void {
    for (let operation = this.head; operation !== undefined; operation = this.head) {
      if (operation.kind === 'sync' || (operation.kind === 'probe' && operation.step === 'sync')) return;
      if (operation.kind === 'parse' && operation.prepared !== undefined) {
        const { prepared } = operation;
        if (this.prepared.get(prepared.name) === prepared) this.prepared.delete(prepared.name);
      }
      if (operation.kind === 'describe' && operation.of !== undefined) operation.of.described = false;
      if (operation.kind === 'bind' && this.portals.get(operation.portal.name) === operation.portal) {
        this.portals.delete(operation.portal.name);
      }
      onDropped(operation);
      this.shift();
    }
  }

  /**
   * PREPARE in SQL may give a name to another statement, from the moment it is sent. What is forgotten here and still
   * there at the server is refused; the other way round would be a hole.
   */
  sent({ prepared }: StatementFacts): void {
    if (prepared?.action === 'prepare') this.prepared.delete(prepared.name);
  }

  /** DEALLOCATE and DISCARD in SQL end prepared statements of the protocol, too. */
  completed({ command, prepared }: StatementFacts): void {
    const discards = command.startsWith('DISCARD');
    if (prepared?.action === 'deallocate') this.prepared.delete(prepared.name);
    else if (prepared?.action === 'deallocate-all' || discards) this.prepared.clear();
    if (discards) this.cursors.clear();
  }

  /** Nothing is under way and no transaction is open: an answer of our own cannot change what the server does. */
  get idle(): boolean {
    return this.length === 0 && this.transactionStatus === 'I';
  }

  /**
   * Whether a name of an earlier batch may be used now. Until the server has confirmed it, that batch may have failed
   * before it, and the name may still stand for something else there: then the answer has to be waited for.
   */
  isSettled(named: { readonly batch: number; readonly confirmed: boolean }): boolean {
    return named.confirmed || named.batch === this.batch;
  }

  /** ReadyForQuery with status idle ends the transaction, and with it the portals made up to that Sync. */
  endTransaction(batch: number): void {
    for (const [name, portal] of this.portals) if (portal.batch <= batch) this.portals.delete(name);
  }
}
