/**
 * The PostgreSQL listener: accepts, shakes hands, finds out who it is and where they may go, logs in upstream in the
 * session's duty, and then only carries bytes between two sockets and the gate. It decides nothing: verdicts are the
 * gate's, identities the authenticator's.
 *
 * Protocol: PostgreSQL manual, chapter "Frontend/Backend Protocol", versions 3.0 and 3.2.
 */
import { randomBytes } from 'node:crypto';
import type net from 'node:net';
import { encodeEntry, SessionChain } from '../audit/events.ts';
import type { EntryLog } from '../audit/log.ts';
import type { Recording, RecordingStore } from '../audit/recording.ts';
import type { GatewayLimits } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import { Admissions, uncertainty } from '../gate/admission.ts';
import type { GateConnection } from '../gate/connection.ts';
import type { ControlPlane, SessionIdentity } from '../gate/control-plane.ts';
import { errorFields } from '../gate/error-fields.ts';
import { GateSession, isPooled, recycle } from '../gate/session.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import { newId, timestamp, type Clock } from '../lib/clock.ts';
import { ByteSink } from '../lib/byte-sink.ts';
import type { PolicySet } from '../policy/engine.ts';
import {
  encodeAuthenticationOk,
  encodeBackendKeyData,
  encodeErrorResponse,
  encodeParameterStatus,
  encodeReadyForQuery,
} from '../wire/postgres/backend.ts';
import { ClientTls, type ListenerTls } from './client-tls.ts';
import { ClientGone, Handshake } from './handshake.ts';
import { authenticate, type Authenticator, type LoggedIn } from './login.ts';
import { agreeOnVersion, cancelKeyBytes, openingPacket, refuseReplication } from './negotiation.ts';
import { tooMany, type SeatKeeper } from './seats.ts';
import { startupSettings } from './startup-settings.ts';
import { StatementWatch, type WatchedSession } from './statement-watch.ts';
import { Upstream, type UpstreamAddress } from './upstream.ts';

/** One database behind the listener. */
export interface ListenerConnection {
  readonly gate: GateConnection;
  readonly address: UpstreamAddress;
  readonly credentials: Readonly<
    Record<'designer' | 'executor', { readonly user: string; readonly password: () => string }>
  >;
  readonly searchPath: readonly string[];
}

export interface ListenerOptions {
  readonly tls: ListenerTls | undefined;
  /** Of clients from the network; the Unix socket has none. */
  readonly requireTls: boolean;
  readonly limits: GatewayLimits;
  readonly node: string;
  readonly clock: Clock;
  /** As it is now. */
  readonly connection: (name: string) => ListenerConnection | undefined;
  readonly authenticator: Authenticator;
  readonly dutiesOf: (principal: Principal, connection: ListenerConnection) => readonly Duty[];
  /** The duty in which these duties act on a database; undefined = none. */
  readonly sessionDuty: (duties: readonly Duty[]) => 'designer' | 'executor' | undefined;
  readonly policies: () => PolicySet;
  readonly sampleRowsPerHour: number;
  readonly controlPlane: ControlPlane;
  readonly log: EntryLog;
  readonly recordings: RecordingStore;
  readonly seats: SeatKeeper;
  /** Passes a cancellation on to whoever may have the session, if this listener has not. */
  readonly cancelElsewhere: (processId: number, secretKey: Buffer) => void;
  readonly onError: (cause: unknown) => CountersignError;
}

/** Which sessions: those of one credential, or all of a principal. */
export type SessionMatch = { readonly credentialUser: string } | { readonly principalId: string };

interface SessionOwner {
  readonly principalId: string;
  /** What it was opened with: a credential's user, or the mark of a key or token. */
  readonly credentialUser: string;
}

interface LiveSession extends SessionOwner {
  readonly gate: GateSession;
  readonly upstream: Upstream;
  readonly socket: net.Socket;
  /** Set when its principal has not all the duties any more with which it was opened. */
  readonly lostDuty: () => CountersignError | undefined;
}

/** A session that is known by whose it is, and not open yet. */
interface PendingSession extends SessionOwner {
  /** Why it must not open any more. */
  refusal: CountersignError | undefined;
}

/** Above this many unsent bytes the other side is not read any more. */
const highWaterBytes = 1024 * 1024;
/** Above this many requests that the target has not answered yet, the client is not read any more. */
const maxUnanswered = 10_000;

export class PostgresListener {
  readonly #options: ListenerOptions;
  readonly #clientTls: ClientTls | undefined;
  readonly #sessions = new Map<string, LiveSession>();
  readonly #pending = new Set<PendingSession>();
  readonly #sockets = new Set<net.Socket>();
  readonly #handshakes = new Set<net.Socket>();
  readonly #closing = new Set<Promise<void>>();
  readonly #watch: StatementWatch;
  #stopping = false;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#clientTls = options.tls === undefined ? undefined : new ClientTls(options.tls);
    this.#watch = new StatementWatch(options.limits.statementTimeoutMs, options.clock);
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** Ends the sessions that `match` picks, those too that are about to open: credentials revoked, a leaver. */
  endSessions(match: SessionMatch, error: CountersignError): number {
    const isPicked = (one: SessionOwner): boolean =>
      'principalId' in match ? one.principalId === match.principalId : one.credentialUser === match.credentialUser;
    for (const pending of this.#pending) if (isPicked(pending)) pending.refusal = error;
    let ended = 0;
    for (const session of this.#sessions.values()) {
      if (!isPicked(session)) continue;
      session.gate.fail(error);
      ended++;
    }
    return ended;
  }

  /** Ends sessions whose connection or duties are not those any more with which they were opened. Call it when the rules have changed. */
  endWithoutDuty(): void {
    for (const { gate, lostDuty } of this.#sessions.values()) {
      const error = lostDuty();
      if (error !== undefined) gate.fail(error);
    }
  }

  /** Ends every session with 57P01 and waits until their records are written. */
  async close(): Promise<void> {
    this.#stopping = true;
    const sockets = [...this.#sockets];
    const closed = Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
    const error = new CountersignError('shutting_down', 'countersign: the gateway is shutting down');
    for (const session of this.#sessions.values()) session.gate.fail(error);
    const timer = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, 2_000);
    for (const socket of this.#handshakes) socket.destroy();
    await closed;
    clearTimeout(timer);
    await Promise.allSettled(this.#closing);
    this.#watch.close();
  }

  /** @param isLocal it came by the Unix socket */
  accept(socket: net.Socket, isLocal: boolean): void {
    const { limits, onError } = this.#options;
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    const handshake = new Handshake(socket, isLocal);
    if (this.#stopping || this.#handshakes.size >= limits.maxHandshakes) {
      this.#refuse(handshake, tooMany('too many clients are logging in', 'maxHandshakes'), {});
      return;
    }
    this.#handshakes.add(socket);
    const timer = setTimeout(
      () =>
        handshake.abort(
          new CountersignError('handshake_timeout', `countersign: no log-in within ${limits.handshakeTimeoutMs} ms`),
        ),
      limits.handshakeTimeoutMs,
    );
    const about: RefusalFacts = {};
    this.#open(handshake, about)
      .catch((cause: unknown) => {
        if (cause instanceof ClientGone) handshake.socket.destroy();
        else this.#refuse(handshake, onError(cause), about);
      })
      .finally(() => {
        clearTimeout(timer);
        this.#handshakes.delete(socket);
      })
      .catch(onError);
  }

  /** One log entry, one error to the client, and the end. */
  #refuse(handshake: Handshake, error: CountersignError, about: RefusalFacts): void {
    const { log, clock, node, onError } = this.#options;
    try {
      log.append(
        encodeEntry({
          type: 'session.refused',
          at: timestamp(clock.now()),
          node,
          code: error.code,
          address: handshake.address,
          user: about.user?.slice(0, 200),
          connection: about.connection?.slice(0, 200),
        }),
      );
    } catch (cause) {
      onError(cause);
    }
    handshake.send((sink) => encodeErrorResponse(sink, errorFields(error, 'FATAL')));
    handshake.socket.end();
    const timer = setTimeout(() => handshake.socket.destroy(), 1_000);
    handshake.socket.once('close', () => clearTimeout(timer));
  }

  async #open(handshake: Handshake, about: RefusalFacts): Promise<void> {
    const { limits, authenticator } = this.#options;
    const opening = await openingPacket(handshake, this.#clientTls);
    if (opening.kind === 'cancel') {
      if (!this.cancel(opening.processId, opening.secretKey)) {
        this.#options.cancelElsewhere(opening.processId, opening.secretKey);
      }
      handshake.socket.end();
      return;
    }
    const user = opening.parameters.get('user') ?? '';
    const database = opening.parameters.get('database') ?? user;
    about.user = user;
    about.connection = database;
    this.#checkChannel(handshake);
    const minor = agreeOnVersion(handshake, opening);
    refuseReplication(opening);
    await this.#options.seats.check();
    const who = await authenticate(handshake, user, authenticator);
    const connection = this.#options.connection(database);
    if (connection === undefined || (who.connection !== undefined && who.connection !== database)) {
      throw new CountersignError(
        'connection_unknown',
        `countersign: there is no connection ${JSON.stringify(database)} for ${user}`,
        {
          hint: "the database name picks the connection; 'countersign connections' lists yours",
        },
      );
    }
    const duties = this.#options.dutiesOf(who.principal, connection);
    const duty =
      who.runId === undefined
        ? this.#options.sessionDuty(duties)
        : duties.includes('executor')
          ? 'executor'
          : undefined;
    if (duty === undefined) {
      const held = duties.length === 0 ? 'no duty' : `only ${duties.join(' and ')}`;
      throw new CountersignError(
        'duty_missing',
        `countersign: ${who.principal.id} holds ${held} on connection ${database}`,
        {
          hint: 'a database session needs the duty designer or executor; duties come from groups of the identity provider',
        },
      );
    }
    const identity: SessionIdentity = {
      sessionId: newId('ses'),
      principal: who.principal,
      duties,
      duty,
      runId: who.runId,
    };
    const admissions = new Admissions({
      connection: connection.gate,
      identity,
      policies: this.#options.policies,
      maxStatementBytes: limits.maxStatementBytes,
      sampleRowsPerHour: this.#options.sampleRowsPerHour,
    });
    const settings = startupSettings(opening.parameters, admissions, limits.statementTimeoutMs);
    const leave = await this.#options.seats.take(who.principal.id);
    const pending: PendingSession = {
      principalId: who.principal.id,
      credentialUser: who.openedWith,
      refusal: undefined,
    };
    this.#pending.add(pending);
    try {
      await connection.gate.refresh();
      const upstream = await this.#logIn(connection, identity, settings.upstream);
      try {
        const { application } = settings;
        await this.#start(handshake, upstream, {
          identity,
          admissions,
          who,
          connection,
          database,
          application,
          minor,
          leave,
          pending,
        });
      } catch (error) {
        upstream.destroy();
        throw error;
      }
    } catch (error) {
      leave();
      throw error;
    } finally {
      this.#pending.delete(pending);
    }
  }

  #logIn(
    connection: ListenerConnection,
    identity: SessionIdentity,
    settings: Readonly<Record<string, string>>,
  ): Promise<Upstream> {
    const { limits } = this.#options;
    const { user, password } = connection.credentials[identity.duty];
    // A run reads what was planned under the settings of every run; its clients choose how long they wait, and no more.
    const chosen = Object.entries(settings).filter(
      ([name]) => identity.runId === undefined || name.endsWith('timeout'),
    );
    return Upstream.connect({
      address: connection.address,
      user,
      password: password(),
      parameters: {
        // Dates are masked as ISO texts, whatever the target's default is; a client may choose another ISO order.
        datestyle: 'ISO, MDY',
        ...Object.fromEntries(chosen),
        application_name: `countersign ${identity.sessionId} ${identity.principal.id}`.slice(0, 63),
        search_path: connection.searchPath.map((schema) => `"${schema.replaceAll('"', '""')}"`).join(', '),
        client_encoding: 'UTF8',
        standard_conforming_strings: 'on',
      },
      timeoutMs: limits.connectTimeoutMs,
    });
  }

  /** A client from the network comes as the configuration wants it. @throws tls_required, client_certificate_refused */
  #checkChannel(handshake: Handshake): void {
    if (handshake.isLocal) return;
    if (this.#options.requireTls && !handshake.secure) {
      throw new CountersignError('tls_required', 'countersign: this gateway accepts TLS connections only', {
        hint: 'use sslmode=verify-full',
      });
    }
    if (this.#clientTls?.requiresCertificate === true && handshake.certificateProblem !== undefined) {
      throw new CountersignError(
        'client_certificate_refused',
        `countersign: this gateway requires a valid client certificate: ${handshake.certificateProblem}`,
        { hint: 'use sslcert and sslkey with a certificate that the authority of this gateway issued' },
      );
    }
  }

  /** CancelRequest. A wrong key is ignored without a word, as PostgreSQL does. Returns whether it is a session of ours. */
  cancel(processId: number, secretKey: Buffer): boolean {
    const session = this.#sessions.get(cancelKey(processId, secretKey));
    if (session === undefined) return false;
    if (!session.gate.cancelHold()) session.upstream.cancel().catch(this.#options.onError);
    return true;
  }

  async #start(handshake: Handshake, upstream: Upstream, opening: Opening): Promise<void> {
    const { log, clock, node, controlPlane, recordings } = this.#options;
    const { identity, database, application, minor } = opening;
    const clientAddress = handshake.address;
    await controlPlane.sessionOpened({ identity, connection: database, clientAddress, application });
    const chain = new SessionChain(identity.sessionId);
    const index = log.append(
      chain.encode({
        type: 'session.opened',
        at: timestamp(clock.now()),
        node,
        session: identity.sessionId,
        principal: identity.principal.id,
        human: identity.principal.human,
        duty: identity.duty,
        connection: database,
        run: identity.runId,
        address: clientAddress,
        application: application.slice(0, 200),
        tls: handshake.secure,
      }),
    );
    await log.durable(index);
    // What happened while it opened is seen here: from now on it is among the sessions.
    const refusal = opening.pending.refusal ?? this.#lostDuty(opening);
    if (refusal !== undefined) {
      await this.#neverOpened(identity.sessionId, chain, refusal);
      throw refusal;
    }
    const processId = randomBytes(4).readInt32BE(0) & 0x7fffffff;
    const key = { processId, secretKey: randomBytes(cancelKeyBytes(minor)) };
    const rest = handshake.release();
    const recording = recordings.start(identity.sessionId);
    this.#relay(handshake.socket, upstream, { ...opening, key, rest, recording, chain });
  }

  /** Somebody ended the session while it opened: nothing was forwarded. */
  async #neverOpened(session: string, chain: SessionChain, refusal: CountersignError): Promise<void> {
    const { log, clock, node, controlPlane } = this.#options;
    const totals = { statements: 0, rows: 0, maskedCells: 0 };
    const at = timestamp(clock.now());
    log.append(chain.encode({ type: 'session.closed', at, node, session, ...totals, reason: refusal.message }));
    await controlPlane.sessionClosed(session, totals);
  }

  #relay(socket: net.Socket, upstream: Upstream, session: OpenSession): void {
    const { identity, admissions, who, key, rest, recording, chain } = session;
    const { limits, controlPlane, log, clock, node, onError } = this.#options;
    const mapKey = cancelKey(key.processId, key.secretKey);
    const clientBlocks = new Set<string>();
    const targetBlocks = new Set<string>();
    const block = (peer: 'client' | 'target', reason: string, blocked: boolean) => {
      const blocks = peer === 'client' ? clientBlocks : targetBlocks;
      const stream = peer === 'client' ? socket : upstream;
      const before = blocks.size;
      if (blocked) blocks.add(reason);
      else blocks.delete(reason);
      if (before === 0 && blocks.size > 0) stream.pause();
      if (before > 0 && blocks.size === 0) stream.resume();
    };
    let idle: NodeJS.Timeout | undefined;
    const gate = new GateSession({
      identity,
      admissions,
      controlPlane,
      log,
      chain,
      recording,
      clock,
      node,
      limits,
      forward: (bytes) => {
        if (!upstream.write(bytes)) block('client', 'target is slow', true);
      },
      deliver: (bytes) => {
        if (isPooled(bytes)) socket.write(bytes, () => recycle(bytes));
        else socket.write(bytes);
        if (socket.writableLength > highWaterBytes) {
          block('target', 'client is slow', true);
          // What it asks for is answered by the gateway itself, too: refusals, BEGIN and SET of a run.
          block('client', 'client is slow', true);
        }
      },
      pause: (peer, paused) => block(peer, 'gate', paused),
      onError,
      onEnd: (reason) => {
        clearTimeout(idle);
        admissions.close();
        this.#sessions.delete(mapKey);
        this.#watch.left(watched);
        socket.end();
        const timer = setTimeout(() => socket.destroy(), 2_000);
        socket.once('close', () => clearTimeout(timer));
        upstream.end();
        const finished = this.#finish(session, gate, reason).catch((cause: unknown) => {
          onError(cause);
        });
        this.#closing.add(finished);
        void finished.finally(() => this.#closing.delete(finished));
      },
    });
    const tooLong = () =>
      new CountersignError(
        'statement_timeout',
        `countersign: the statement took longer than ${limits.statementTimeoutMs} ms`,
        { hint: 'gateway.limits.statementTimeoutMs is the limit, whatever statement_timeout is set to' },
      );
    const watched: WatchedSession = {
      working: () => gate.pipeline.working,
      cancel: () => {
        gate.cancellation = tooLong();
        upstream.cancel().catch(onError);
      },
      end: () => gate.fail(tooLong()),
    };
    this.#watch.add(watched);
    admissions.whenUncertain(() => gate.fail(uncertainty()));
    this.#sessions.set(mapKey, {
      gate,
      upstream,
      socket,
      principalId: identity.principal.id,
      credentialUser: who.openedWith,
      lostDuty: () => this.#lostDuty(session),
    });
    const greeting = new ByteSink(1024);
    encodeAuthenticationOk(greeting);
    for (const [name, value] of upstream.parameterStatuses) encodeParameterStatus(greeting, name, value);
    encodeBackendKeyData(greeting, key.processId, key.secretKey);
    encodeReadyForQuery(greeting, 'I');
    socket.write(greeting.take());
    // The rules may have changed while it was opened.
    const lost = this.#lostDuty(session);
    if (lost !== undefined) gate.fail(lost);
    if (limits.idleTimeoutMs > 0) {
      const text = `countersign: the session sent nothing for ${limits.idleTimeoutMs} ms`;
      idle = setTimeout(() => gate.fail(new CountersignError('idle_timeout', text)), limits.idleTimeoutMs);
    }
    upstream.attach(
      (buffer, start, end) => {
        gate.fromTarget(buffer, start, end);
        if (gate.pipeline.length <= maxUnanswered) block('client', 'target is behind', false);
        if (recording.pendingBytes > limits.recordingBacklogBytes && !gate.ended) {
          block('target', 'recording is behind', true);
          recording.onDrain(() => block('target', 'recording is behind', false));
        }
      },
      () => block('client', 'target is slow', false),
      (error) =>
        gate.fail(new CountersignError('target_lost', 'countersign: the target closed the session', { cause: error })),
    );
    socket.on('drain', () => {
      block('target', 'client is slow', false);
      block('client', 'client is slow', false);
    });
    socket.on('data', (data) => {
      idle?.refresh();
      gate.fromClient(data);
      if (gate.pipeline.length > maxUnanswered) block('client', 'target is behind', true);
    });
    socket.on('end', () => gate.end('client disconnected'));
    socket.on('close', () => gate.end('client disconnected'));
    if (rest.length > 0) gate.fromClient(rest);
    socket.resume();
  }

  #lostDuty({ identity, database, connection }: Opening): CountersignError | undefined {
    const { dutiesOf } = this.#options;
    if (this.#options.connection(database) !== connection) {
      return new CountersignError(
        'connection_changed',
        `countersign: the connection ${database} is not the same any more`,
        {
          hint: 'it was changed or removed; connect again',
        },
      );
    }
    const held = dutiesOf(identity.principal, connection);
    const lost = identity.duties.filter((duty) => !held.includes(duty));
    if (lost.length === 0) return undefined;
    const message = `countersign: the rules have changed, and you do not hold the duty ${lost.join(', ')} on ${database} any more`;
    return new CountersignError('duty_missing', message, { hint: 'connect again to go on with what you still hold' });
  }

  async #finish({ identity, recording, chain, leave }: OpenSession, gate: GateSession, reason: string): Promise<void> {
    const { log, clock, node, controlPlane } = this.#options;
    leave();
    const session = identity.sessionId;
    try {
      await recording.close();
    } finally {
      const { totals } = gate;
      log.append(
        chain.encode({ type: 'session.closed', at: timestamp(clock.now()), node, session, ...totals, reason }),
      );
      await controlPlane.sessionClosed(session, totals);
    }
  }
}

interface RefusalFacts {
  user?: string;
  connection?: string;
}

interface Opening {
  readonly identity: SessionIdentity;
  readonly admissions: Admissions;
  readonly who: LoggedIn;
  readonly connection: ListenerConnection;
  readonly database: string;
  readonly application: string;
  /** The minor version of the protocol. */
  readonly minor: number;
  /** Gives the session's seat back. */
  readonly leave: () => void;
  readonly pending: PendingSession;
}

interface OpenSession extends Opening {
  readonly key: { readonly processId: number; readonly secretKey: Buffer };
  /** Bytes that came behind the log-in. */
  readonly rest: Buffer;
  readonly recording: Recording;
  readonly chain: SessionChain;
}

function cancelKey(processId: number, secretKey: Buffer): string {
  return `${processId}.${secretKey.toString('hex')}`;
}
