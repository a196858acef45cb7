/**
 * The narrow interface between the data plane (this folder and `gateway/`) and the control plane (store, approvals,
 * jobs). One process holds both by default; nothing here assumes it. Whoever implements it is wired in `app.ts`.
 */
import type { CountersignError } from '../errors.ts';
import type { TemplateUse, UseAnswer } from '../approvals/templates.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import type { StatementFacts } from '../sql/statement.ts';
import type { EqualityTests } from './masked-predicates.ts';

/** Who a session is, as decided at log-in. */
export interface SessionIdentity {
  readonly sessionId: string;
  readonly principal: Principal;
  /** Duties held on this connection. */
  readonly duties: readonly Duty[];
  /** The duty in which the session acts; it picks the upstream credential. */
  readonly duty: 'designer' | 'executor';
  /** Set for a run session: it can read chunks of that run and nothing else. */
  readonly runId: string | undefined;
}

export interface ParameterKind {
  /** OID. */
  readonly type: number;
  readonly format: 'text' | 'binary';
}

export interface HoldQuestion {
  readonly identity: SessionIdentity;
  readonly connection: string;
  /** Exactly what will be forwarded if this is approved. */
  readonly text: string;
  /** Parameter values as the client sent them, rendered for people and for the digest; undefined = none bound. */
  readonly parameters: readonly (string | null)[] | undefined;
  /** Of each of them: the type that the client declared (0 = none), and how it was sent. */
  readonly parameterKinds: readonly ParameterKind[] | undefined;
  readonly facts: readonly StatementFacts[];
  readonly policies: readonly string[];
  readonly reason: string;
}

export interface OpenHold {
  readonly requestId: string;
  /** Where a person can see the request. */
  readonly address: string;
  readonly expiresAtMs: number;
}

export type HoldOutcome =
  | {
      readonly kind: 'approved';
      readonly grantId: string;
      readonly decidedBy: string;
      /** The approval was for the loop of which it is a step. */
      readonly use?: TemplateUse | undefined;
    }
  | { readonly kind: 'refused'; readonly error: CountersignError };

export interface SampleReservation {
  readonly allowed: boolean;
  readonly used: number;
  readonly limit: number;
}

/** The right to stream one chunk once. Plain data: it may come from another process. */
export interface ChunkTicket {
  readonly runId: string;
  readonly grantId: string;
  readonly job: string;
  readonly chunkNo: number;
  readonly attempt: number;
  /** The gateway's own frozen SQL for this chunk. */
  readonly sql: string;
  /** What the session runs first: the transaction and its snapshot. Several statements; their results are swallowed. */
  readonly preamble: string;
  /** The job's query, which is in reach of these definitions and rules; how its rows are masked follows from the three. */
  readonly source: string;
  readonly catalogueVersion: string;
  readonly maskingDigest: string;
  /** What the caps of the approval leave; undefined = no cap. Past it the stream is cut. */
  readonly rowsLeft: number | undefined;
  readonly bytesLeft: number | undefined;
}

export interface ResultCounts {
  readonly rows: number;
  readonly bytes: number;
  readonly maskedCells: number;
}

export interface SessionRecord {
  readonly identity: SessionIdentity;
  readonly connection: string;
  readonly clientAddress: string;
  readonly application: string;
}

export interface ControlPlane {
  /** The session is known to the store before it can send a statement, and is finished there when it ends. */
  sessionOpened(session: SessionRecord): Promise<void>;
  sessionClosed(sessionId: string, totals: { statements: number; rows: number; maskedCells: number }): Promise<void>;
  /** Makes the request of a held statement, durably. @throws too_many_holds */
  openHold(question: HoldQuestion): Promise<OpenHold>;
  /** Resolves when the request is decided, expires or `signal` aborts (then the request is withdrawn). An approval is consumed here, once, after its digest was computed again. */
  awaitHold(hold: OpenHold, question: HoldQuestion, signal: AbortSignal): Promise<HoldOutcome>;
  /** Takes a use of an approved template that covers the statement, before anything of it is forwarded. */
  useTemplate(question: HoldQuestion): Promise<UseAnswer>;
  /** How the use ended: rows that were delivered, and the furthest key among them where its rows tell keys. */
  settleTemplate(use: TemplateUse, rows: number, reached: string | undefined): Promise<void>;
  /** Takes `rows` from the reader's budget on this connection, or takes nothing. */
  reserveSample(human: string, connection: string, rows: number): Promise<SampleReservation>;
  /** Takes comparisons of a masked column with constants from the budget that a masking rule gives, or takes nothing. */
  reserveEqualities(human: string, connection: string, tests: EqualityTests): Promise<SampleReservation>;
  /** @throws run_not_open, chunk_not_available, run_statement_refused */
  beginChunk(
    identity: SessionIdentity,
    job: string,
    chunkNo: number,
    columns: '*' | readonly string[],
  ): Promise<ChunkTicket>;
  /** An empty result with the run's columns (clients probe the relation before they read it). */
  probeRun(identity: SessionIdentity, job: string): Promise<ChunkTicket>;
  chunkDelivered(ticket: ChunkTicket, counts: ResultCounts, rowDigest: string): Promise<void>;
  chunkFailed(ticket: ChunkTicket, reason: string): Promise<void>;
}
