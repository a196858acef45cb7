/**
 * The worker processes as the main process sees them: it accepts clients and hands each to a worker, answers what the
 * workers ask, and replaces a worker that died. What such a worker had is over: its clients' sockets are closed by the
 * system, its seats are given back, its held statements withdrawn, and the log says which sessions were lost.
 *
 * States of a worker: starting -> ready -> gone.
 */
import { fork, type ChildProcess } from 'node:child_process';
import type net from 'node:net';
import path from 'node:path';
import { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { TransparencyLog } from '../audit/log.ts';
import type { Configuration } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import type { ControlPlane } from '../gate/control-plane.ts';
import type { Authenticator } from '../gateway/login.ts';
import type { SessionMatch } from '../gateway/postgres.ts';
import type { Seats } from '../gateway/seats.ts';
import {
  errorOf,
  plainError,
  type CallName,
  type Calls,
  type FromWorker,
  type PlainError,
  type ToWorker,
} from './messages.ts';
import { serveLog } from './remote-log.ts';

export interface WorkerPoolOptions {
  readonly workers: number;
  readonly configuration: Configuration;
  readonly controlPlane: ControlPlane;
  readonly authenticator: Omit<Authenticator, 'mockSecret'>;
  readonly seats: Seats;
  readonly log: TransparencyLog;
  /** A worker died; these sessions were open in it. */
  readonly onLost: (lost: LostWorker) => void;
  readonly onError: (cause: unknown) => CountersignError;
}

export interface LostWorker {
  readonly pid: number;
  /** The exit code or the signal. */
  readonly status: string;
  readonly sessions: readonly string[];
}

interface Client {
  readonly socket: net.Socket;
  readonly isLocal: boolean;
}

/** Doubled with each worker that dies before it was ready. */
const shortestPauseMs = 100;
const longestPauseMs = 5_000;
const closeMs = 10_000;

export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  #configuration: Configuration;
  readonly #workers = new Set<Worker>();
  /** Clients that came while no worker was ready. */
  #waiting: Client[] = [];
  #turn = 0;
  #pauseMs = shortestPauseMs;
  #closing = false;

  private constructor(options: WorkerPoolOptions) {
    this.#options = options;
    this.#configuration = options.configuration;
  }

  /** Resolves when every worker is ready. @throws (rejects) CountersignError of the first that cannot start */
  static async start(options: WorkerPoolOptions): Promise<WorkerPool> {
    const pool = new WorkerPool(options);
    try {
      await Promise.all(Array.from({ length: options.workers }, () => pool.#add().ready));
    } catch (error) {
      await pool.close();
      throw error;
    }
    return pool;
  }

  /** Of the workers that are there now. */
  get pids(): readonly number[] {
    return [...this.#workers].map((worker) => worker.pid);
  }

  /** Hands a client over; nothing was read from its socket. */
  accept(client: Client): void {
    const { maxHandshakes } = this.#options.configuration.gateway.limits;
    const worker = this.#next();
    if (worker !== undefined) worker.take(client);
    else if (this.#closing || this.#waiting.length >= maxHandshakes) client.socket.destroy();
    else this.#waiting.push(client);
  }

  /** Resolves when every worker has ended them; one that dies meanwhile has none any more. */
  async endSessions(match: SessionMatch, error: CountersignError): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => worker.endSessions(match, plainError(error))));
  }

  reload(configuration: Configuration): void {
    this.#configuration = configuration;
    this.#tell({ kind: 'reload', configuration });
  }

  /** Ends every session and every worker. */
  async close(): Promise<void> {
    this.#closing = true;
    for (const { socket } of this.#waiting.splice(0)) socket.destroy();
    await Promise.all([...this.#workers].map((worker) => worker.close()));
  }

  /** Of those with the fewest sessions, the one whose turn it is. */
  #next(): Worker | undefined {
    const ready = [...this.#workers].filter((worker) => worker.isReady);
    const fewest = Math.min(...ready.map((worker) => worker.sessions));
    const candidates = ready.filter((worker) => worker.sessions === fewest);
    return candidates[this.#turn++ % candidates.length];
  }

  #tell(message: ToWorker, except?: Worker): void {
    for (const worker of this.#workers) if (worker !== except && worker.isReady) worker.send(message);
  }

  #add(): Worker {
    const configuration = this.#configuration;
    const worker = new Worker(this.#options, configuration, {
      tellOthers: (message) => this.#tell(message, worker),
      onReady: () => {
        this.#pauseMs = shortestPauseMs;
        // The rules may have been replaced while it started.
        if (this.#configuration !== configuration) worker.send({ kind: 'reload', configuration: this.#configuration });
        for (const client of this.#waiting.splice(0)) this.accept(client);
      },
      onGone: (wasReady, lost) => {
        this.#workers.delete(worker);
        if (this.#closing) return;
        this.#options.onLost(lost);
        const pauseMs = wasReady ? 0 : this.#pauseMs;
        if (!wasReady) this.#pauseMs = Math.min(longestPauseMs, this.#pauseMs * 2);
        setTimeout(() => this.#replace(), pauseMs).unref();
      },
    });
    this.#workers.add(worker);
    return worker;
  }

  #replace(): void {
    if (this.#closing) return;
    // Its death is told by `onGone`, and it is tried again.
    this.#add().ready.catch(this.#options.onError);
  }
}

interface WorkerEvents {
  readonly tellOthers: (message: ToWorker) => void;
  readonly onReady: () => void;
  readonly onGone: (wasReady: boolean, lost: LostWorker) => void;
}

class Worker {
  /** @throws (rejects) CountersignError when it cannot start */
  readonly ready: Promise<void>;
  readonly #options: WorkerPoolOptions;
  readonly #events: WorkerEvents;
  readonly #process: ChildProcess;
  readonly #calls: Calls;
  /** What it waits for, by the number of the call. */
  readonly #waits = new Map<number, AbortController>();
  readonly #seats = new Map<number, () => void>();
  readonly #sessions = new Set<string>();
  readonly #gone: Promise<void>;
  #nextSeat = 0;
  /** Who waits for the end of sessions. */
  readonly #endings = new Map<number, () => void>();
  #nextEnding = 0;
  #isReady = false;
  #isGone = false;
  #settle: { readonly resolve: () => void; readonly reject: (error: CountersignError) => void } | undefined;

  constructor(options: WorkerPoolOptions, configuration: Configuration, events: WorkerEvents) {
    this.#options = options;
    this.#events = events;
    this.#calls = this.#callsOf(options);
    this.ready = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // The published package has .js where the repository has .ts.
    const own = fileURLToPath(import.meta.url);
    this.#process = fork(path.join(path.dirname(own), `worker${path.extname(own)}`), [], {
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'],
      execArgv: [],
    });
    const pipe = this.#process.stdio[4];
    if (!(pipe instanceof Duplex)) throw new Error('a worker has no pipe for its log entries');
    serveLog(pipe, options.log);
    this.#process.on('message', (message: FromWorker) => this.#receive(message));
    this.#process.on('error', options.onError);
    // What it wrote before it died is read first.
    const drained = new Promise<void>((resolve) => pipe.once('close', () => resolve()));
    this.#gone = new Promise((resolve) => {
      this.#process.once('exit', (code, signal) => {
        void drained.then(() => {
          this.#end(signal ?? `exit code ${code}`);
          resolve();
        });
      });
    });
    this.send({ kind: 'start', configuration });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  get isReady(): boolean {
    return this.#isReady && !this.#isGone;
  }

  get sessions(): number {
    return this.#seats.size;
  }

  async endSessions(match: SessionMatch, error: PlainError): Promise<void> {
    if (!this.isReady) return;
    const id = this.#nextEnding++;
    const ended = new Promise<void>((resolve) => this.#endings.set(id, resolve));
    this.send({ kind: 'end-sessions', id, match, error });
    await Promise.race([ended, this.#gone]);
    this.#endings.delete(id);
  }

  send(message: ToWorker): void {
    if (this.#process.connected) this.#process.send(message, (error) => this.#sent(error));
  }

  take({ socket, isLocal }: Client): void {
    if (socket.destroyed) return;
    const message: ToWorker = { kind: 'client', isLocal };
    this.#process.send(message, socket, { keepOpen: false }, (error) => {
      if (error !== null) socket.destroy();
    });
  }

  /** Ends its sessions and the process, by force if it takes too long. */
  async close(): Promise<void> {
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), closeMs);
    this.send({ kind: 'close' });
    await this.#gone;
    clearTimeout(timer);
  }

  /** A message to a process that is dying is lost; its end is told by `exit`. */
  #sent(error: Error | null): void {
    if (error !== null && this.#process.connected) this.#options.onError(error);
  }

  #receive(message: FromWorker): void {
    switch (message.kind) {
      case 'ready':
        this.#isReady = true;
        this.#settle?.resolve();
        this.#events.onReady();
        return;
      case 'failed':
        this.#settle?.reject(errorOf(message.error));
        this.#process.kill('SIGKILL');
        return;
      case 'call':
        this.#call(message.id, message.name, message.args).catch(this.#options.onError);
        return;
      case 'abort':
        this.#waits.get(message.id)?.abort(message.reason);
        return;
      case 'leave':
        this.#seats.get(message.seat)?.();
        this.#seats.delete(message.seat);
        return;
      case 'sessions-ended':
        this.#endings.get(message.id)?.();
        return;
      case 'cancel':
      case 'expire':
        this.#events.tellOthers(message);
        return;
      case 'fault':
        this.#options.onError(new Error(`in worker process ${this.pid}: ${message.text}`));
        return;
    }
  }

  async #call(id: number, name: CallName, args: readonly unknown[]): Promise<void> {
    const wait = new AbortController();
    this.#waits.set(id, wait);
    try {
      const ask = this.#calls[name] as (...args: readonly unknown[]) => Promise<unknown>;
      const value = await ask(...args, wait.signal);
      this.send({ kind: 'answer', id, value });
    } catch (cause) {
      this.send({ kind: 'failure', id, error: plainError(this.#options.onError(cause)) });
    } finally {
      this.#waits.delete(id);
    }
  }

  #callsOf({ controlPlane, authenticator, seats }: WorkerPoolOptions): Calls {
    return {
      sessionOpened: async (session) => {
        this.#sessions.add(session.identity.sessionId);
        await controlPlane.sessionOpened(session);
      },
      sessionClosed: async (sessionId, totals) => {
        await controlPlane.sessionClosed(sessionId, totals);
        this.#sessions.delete(sessionId);
      },
      openHold: (question) => controlPlane.openHold(question),
      awaitHold: async (hold, question, signal) => {
        const outcome = await controlPlane.awaitHold(hold, question, signal);
        if (outcome.kind === 'refused') throw outcome.error;
        return outcome;
      },
      useTemplate: (question) => controlPlane.useTemplate(question),
      settleTemplate: (use, rows, reached) => controlPlane.settleTemplate(use, rows, reached),
      reserveSample: (human, connection, rows) => controlPlane.reserveSample(human, connection, rows),
      reserveEqualities: (human, connection, tests) => controlPlane.reserveEqualities(human, connection, tests),
      beginChunk: (identity, job, chunkNo, columns) => controlPlane.beginChunk(identity, job, chunkNo, columns),
      probeRun: (identity, job) => controlPlane.probeRun(identity, job),
      chunkDelivered: (ticket, counts, rowDigest) => controlPlane.chunkDelivered(ticket, counts, rowDigest),
      chunkFailed: (ticket, reason) => controlPlane.chunkFailed(ticket, reason),
      credential: (user) => authenticator.credential(user),
      token: (jwt) => authenticator.token(jwt),
      checkSeats: async () => seats.check(),
      takeSeat: async (principalId) => {
        const leave = seats.take(principalId);
        if (this.#isGone) leave();
        this.#seats.set(this.#nextSeat, leave);
        return this.#nextSeat++;
      },
    };
  }

  #end(status: string): void {
    this.#isGone = true;
    for (const wait of this.#waits.values()) wait.abort('the process that had its session has died');
    for (const leave of this.#seats.values()) leave();
    this.#seats.clear();
    this.#settle?.reject(new CountersignError('internal', `a worker process ended with ${status} before it was ready`));
    this.#events.onGone(this.#isReady, { pid: this.pid, status, sessions: [...this.#sessions] });
  }
}
