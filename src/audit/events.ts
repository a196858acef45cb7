/**
 * The entries of the log: their types and their text. An entry is one canonical JSON object (RFC 8785) with at least
 * `type`, `at` (RFC 3339, milliseconds, UTC) and `node`. Entries of a session may carry `chain`, which ties each to the
 * one before it in that session, so that a session can be shown whole without the rest of the log.
 *
 * No entry holds a raw value of a masked column: whoever makes one scrubs the text first (`gate/scrub.ts`).
 */
import { hash } from 'node:crypto';
import { canonicalJson, type Json } from '../lib/canonical-json.ts';

interface Common {
  readonly at: string;
  readonly node: string;
}

interface OfSession extends Common {
  readonly session: string;
  /** SHA-256 of the session's entry before, hex; of the session id for the first one. `SessionChain` fills it in. */
  readonly chain?: string | undefined;
}

export interface LogOpened extends Common {
  readonly type: 'log.opened';
  readonly origin?: string | undefined;
  readonly version?: string | undefined;
}

export interface LogClosed extends Common {
  readonly type: 'log.closed';
  readonly reason?: string | undefined;
}

export interface SessionOpened extends OfSession {
  readonly type: 'session.opened';
  readonly principal: string;
  readonly human: string;
  readonly duty: string;
  readonly connection: string;
  readonly run?: string | undefined;
  readonly address: string;
  readonly application: string;
  readonly tls?: boolean | undefined;
}

export interface SessionRefused extends Common {
  readonly type: 'session.refused';
  readonly code: string;
  readonly user?: string | undefined;
  readonly connection?: string | undefined;
  readonly address: string;
}

export interface SessionClosed extends OfSession {
  readonly type: 'session.closed';
  readonly statements: number;
  readonly rows: number;
  readonly maskedCells: number;
  readonly reason: string;
}

interface StatementText {
  /** Scrubbed, and cut if it is long; then `textDigest` is the SHA-256 of the whole scrubbed text. */
  readonly text: string;
  readonly textDigest?: string | undefined;
  readonly class: string;
  /** Ids of the policies that decided. */
  readonly policies: readonly string[];
}

/** Durable before the statement is forwarded. Without an outcome after it, nobody knows what the target did. */
export interface StatementIntent extends OfSession, StatementText {
  readonly type: 'statement.intent';
  readonly statement: number;
  readonly verdict: 'allow' | 'granted';
  readonly request?: string | undefined;
  readonly grant?: string | undefined;
  /** Of a grant that is used many times: which use this is, from 1. */
  readonly use?: number | undefined;
  readonly run?: string | undefined;
  readonly chunk?: number | undefined;
  readonly attempt?: number | undefined;
  readonly parametersDigest?: string | undefined;
}

/** A text that the target parses now and executes later, if at all. */
export interface StatementPrepared extends OfSession, StatementText {
  readonly type: 'statement.prepared';
}

export interface StatementOutcome extends OfSession {
  readonly type: 'statement.outcome';
  readonly statement: number;
  readonly status: 'complete' | 'error' | 'cancelled' | 'lost';
  readonly sqlstate?: string | undefined;
  readonly tag?: string | undefined;
  readonly rows: number;
  readonly bytes: number;
  readonly maskedCells: number;
}

export interface StatementDenied extends OfSession, StatementText {
  readonly type: 'statement.denied';
  readonly statement: number;
  readonly code: string;
  readonly request?: string | undefined;
}

export interface StatementHeld extends OfSession, StatementText {
  readonly type: 'statement.held';
  readonly statement: number;
  readonly request: string;
}

/** A piece of a session's recording was written: `sha256` and `bytes` are of the piece as it is stored. */
export interface RecordingSegment extends OfSession {
  readonly type: 'recording.segment';
  /** From 1, without gaps. */
  readonly segment: number;
  readonly sha256: string;
  readonly bytes: number;
  /** Inside the recordings directory. */
  readonly path: string;
}

export interface RecordingRead extends OfSession {
  readonly type: 'recording.read';
  readonly auditor: string;
}

/** Events whose members belong to the part that makes them (approvals, jobs, identity, api). */
export interface ControlEvent extends Common {
  readonly type:
    | 'request.created'
    | 'request.decided'
    | 'request.refused'
    | 'request.closed'
    | 'request.escalated'
    | 'request.break-glass'
    | 'request.reviewed'
    | 'request.review-late'
    | 'policy.applied'
    | 'policy.refused'
    | 'grant.created'
    | 'grant.consumed'
    | 'grant.void'
    | 'grant.refused'
    | 'grant.reconciled'
    | 'job.pushed'
    | 'job.refused'
    | 'run.started'
    | 'run.chunk'
    | 'run.finished'
    | `run.${'created' | 'paused' | 'resumed' | 'retried' | 'killed' | 'completed' | 'failed' | 'snapshot-mixed'}`
    | `chunk.${'leased' | 'streaming' | 'delivered' | 'sealed' | 'returned' | 'failed' | 'blocked'}`
    | 'credential.issued'
    | 'credential.revoked'
    | 'saml.login'
    | `person.${'removed' | 'removal-finished' | 'reactivated' | 'groups-changed'}`
    | `scim.${'user' | 'group'}-${'created' | 'changed' | 'deleted'}`
    | 'scim.refused'
    | 'web-session.opened'
    | 'web-session.ended'
    | 'login.refused'
    | 'people.linked'
    | 'people.unlinked'
    | 'people.same-email'
    | `service-account.${'created' | 'changed' | 'offered' | 'accepted' | 'disabled' | 'enabled' | 'key-created' | 'key-revoked'}`
    | 'api.refused'
    | 'policy.changed'
    | `review.${'started' | 'decided' | 'ended'}`
    | 'notification.failed'
    | 'worker.lost';
  readonly [member: string]: Json | undefined;
}

export type SessionEvent =
  | SessionOpened
  | SessionClosed
  | StatementIntent
  | StatementPrepared
  | StatementOutcome
  | StatementDenied
  | StatementHeld
  | RecordingSegment
  | RecordingRead;

export type LogEvent = LogOpened | LogClosed | SessionRefused | SessionEvent | ControlEvent;

/**
 * The event's text in the log.
 * @throws TypeError for what is no interoperable JSON: numbers that are not finite, lone surrogates
 */
export function encodeEntry(event: LogEvent): string {
  if (event.type === 'statement.intent') return encodeIntent(event, event.chain);
  if (event.type === 'statement.outcome') return encodeOutcome(event, event.chain);
  return canonicalJson({ ...event });
}

// The two hottest entries are written by hand: members in canonical order, nothing looked up or sorted.

function encodeIntent(event: StatementIntent, chain: string | undefined): string {
  let policies = '';
  for (const policy of event.policies) policies += policies === '' ? quote(policy) : `,${quote(policy)}`;
  return (
    `{"at":${quote(event.at)}${optionalNumber('attempt', event.attempt)}${optionalText('chain', chain)}` +
    `${optionalNumber('chunk', event.chunk)},"class":${quote(event.class)}${optionalText('grant', event.grant)},"node":${quote(event.node)}` +
    `${optionalText('parametersDigest', event.parametersDigest)},"policies":[${policies}]${optionalText('request', event.request)}` +
    `${optionalText('run', event.run)},"session":${quote(event.session)},"statement":${number(event.statement)},"text":${quote(event.text)}` +
    `${optionalText('textDigest', event.textDigest)},"type":"statement.intent"${optionalNumber('use', event.use)},"verdict":${quote(event.verdict)}}`
  );
}

function encodeOutcome(event: StatementOutcome, chain: string | undefined): string {
  return (
    `{"at":${quote(event.at)},"bytes":${number(event.bytes)}${optionalText('chain', chain)},"maskedCells":${number(event.maskedCells)}` +
    `,"node":${quote(event.node)},"rows":${number(event.rows)},"session":${quote(event.session)}${optionalText('sqlstate', event.sqlstate)}` +
    `,"statement":${number(event.statement)},"status":${quote(event.status)}${optionalText('tag', event.tag)},"type":"statement.outcome"}`
  );
}

function quote(text: string): string {
  if (!text.isWellFormed()) throw new TypeError('canonical JSON: a string has a lone surrogate');
  return JSON.stringify(text);
}

function number(value: number): string {
  if (!Number.isFinite(value)) throw new TypeError(`canonical JSON: ${value} is no JSON number`);
  return Object.is(value, -0) ? '0' : String(value);
}

function optionalText(member: string, value: string | undefined): string {
  return value === undefined ? '' : `,"${member}":${quote(value)}`;
}

function optionalNumber(member: string, value: number | undefined): string {
  return value === undefined ? '' : `,"${member}":${number(value)}`;
}

/** Ties the entries of one session together. Every event must be appended to the log in the order in which it was encoded. */
export class SessionChain {
  #previous: string;

  constructor(sessionId: string) {
    this.#previous = firstChain(sessionId);
  }

  /** The event's text with its `chain`. */
  encode(event: SessionEvent): string {
    const entry = chained(event, this.#previous);
    this.#previous = chainAfter(entry);
    return entry;
  }
}

function chained(event: SessionEvent, chain: string): string {
  if (event.type === 'statement.intent') return encodeIntent(event, chain);
  if (event.type === 'statement.outcome') return encodeOutcome(event, chain);
  return encodeEntry({ ...event, chain });
}

export function firstChain(sessionId: string): string {
  return hash('sha256', sessionId, 'hex');
}

export function chainAfter(entry: string): string {
  return hash('sha256', entry, 'hex');
}
