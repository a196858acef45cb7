/**
 * A worker process: a data plane whose log, control plane and seats are in the main process. It ends with the main
 * process, because without the log nothing may happen (promise P5). Signals are the main process's business.
 */
import net from 'node:net';
import path from 'node:path';
import { openKeys } from '../config/keys.ts';
import type { Configuration } from '../config/schema.ts';
import { asCountersignError, CountersignError } from '../errors.ts';
import type { ControlPlane, HoldOutcome } from '../gate/control-plane.ts';
import { DataPlane, LiveRules } from '../gateway/data-plane.ts';
import type { SeatKeeper } from '../gateway/seats.ts';
import { systemClock } from '../lib/clock.ts';
import { loadParser } from '../sql/parse.ts';
import { errorOf, plainError, type CallName, type Calls, type FromWorker, type ToWorker } from './messages.ts';
import { RemoteLog } from './remote-log.ts';

/** Of the pipe for log entries. */
const logFd = 4;

interface Caller {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: CountersignError) => void;
}

const callers = new Map<number, Caller>();
let nextCall = 0;

function send(message: FromWorker): void {
  if (process.connected) process.send?.(message);
}

function call<N extends CallName>(name: N, ...args: Parameters<Calls[N]>): ReturnType<Calls[N]>;
function call(name: CallName, ...args: readonly unknown[]): Promise<unknown> {
  const id = nextCall++;
  return new Promise((resolve, reject) => {
    callers.set(id, { resolve, reject });
    const plain = args.filter((arg) => !(arg instanceof AbortSignal));
    send({ kind: 'call', id, name, args: plain });
    const signal = args.find((arg) => arg instanceof AbortSignal);
    const abort = () => send({ kind: 'abort', id, reason: String(signal?.reason) });
    if (signal?.aborted === true) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}

const controlPlane: ControlPlane = {
  sessionOpened: (session) => call('sessionOpened', session),
  sessionClosed: (sessionId, totals) => call('sessionClosed', sessionId, totals),
  openHold: (question) => call('openHold', question),
  // An error does not cross as a part of a value.
  awaitHold: (hold, question, signal) =>
    call('awaitHold', hold, question, signal).catch((error: unknown): HoldOutcome => {
      if (error instanceof CountersignError && error.code !== 'internal') return { kind: 'refused', error };
      throw error;
    }),
  useTemplate: (question) => call('useTemplate', question),
  settleTemplate: (use, rows, reached) => call('settleTemplate', use, rows, reached),
  reserveSample: (human, connection, rows) => call('reserveSample', human, connection, rows),
  reserveEqualities: (human, connection, tests) => call('reserveEqualities', human, connection, tests),
  beginChunk: (identity, job, chunkNo, columns) => call('beginChunk', identity, job, chunkNo, columns),
  probeRun: (identity, job) => call('probeRun', identity, job),
  chunkDelivered: (ticket, counts, rowDigest) => call('chunkDelivered', ticket, counts, rowDigest),
  chunkFailed: (ticket, reason) => call('chunkFailed', ticket, reason),
};

const seats: SeatKeeper = {
  check: () => call('checkSeats'),
  take: async (principalId) => {
    const seat = await call('takeSeat', principalId);
    let isTaken = true;
    return () => {
      if (isTaken) send({ kind: 'leave', seat });
      isTaken = false;
    };
  },
};

function onError(cause: unknown): CountersignError {
  const error = asCountersignError(cause);
  if (error.code === 'internal')
    send({ kind: 'fault', text: cause instanceof Error ? `${cause.stack}` : String(cause) });
  return error;
}

interface Running {
  readonly plane: DataPlane;
  readonly rules: LiveRules;
  readonly log: RemoteLog;
}

async function start(configuration: Configuration): Promise<Running> {
  await loadParser();
  const keys = openKeys(path.join(configuration.dataDirectory, 'keys'));
  const log = new RemoteLog(new net.Socket({ fd: logFd, readable: true, writable: true }));
  const rules = new LiveRules(configuration, {
    hashKey: keys.secret('masking-hash.key'),
    clock: systemClock,
    onChanged: (connection) => send({ kind: 'expire', connection }),
  });
  const plane = await DataPlane.start({
    configuration,
    keys,
    clock: systemClock,
    rules,
    authenticator: { credential: (user) => call('credential', user), token: (jwt) => call('token', jwt) },
    controlPlane,
    log,
    seats,
    cancelElsewhere: (processId, secretKey) => send({ kind: 'cancel', processId, secretKey }),
    onError,
  });
  return { plane, rules, log };
}

async function stop({ plane, rules, log }: Running): Promise<void> {
  await plane.close();
  await log.flush();
  for (const { target } of rules.connections.values()) await target.close();
}

let running: Running | undefined;

async function receive(message: ToWorker, socket: net.Socket | undefined): Promise<void> {
  switch (message.kind) {
    case 'start':
      running = await start(message.configuration);
      return send({ kind: 'ready' });
    case 'client':
      if (socket === undefined) return;
      if (running === undefined) socket.destroy();
      else running.plane.listener.accept(socket, message.isLocal);
      return;
    case 'answer':
      callers.get(message.id)?.resolve(message.value);
      callers.delete(message.id);
      return;
    case 'failure':
      callers.get(message.id)?.reject(errorOf(message.error));
      callers.delete(message.id);
      return;
    case 'cancel':
      running?.plane.listener.cancel(message.processId, Buffer.from(message.secretKey));
      return;
    case 'end-sessions':
      running?.plane.listener.endSessions(message.match, errorOf(message.error));
      return send({ kind: 'sessions-ended', id: message.id });
    case 'reload':
      try {
        running?.rules.replace(message.configuration);
        running?.plane.listener.endWithoutDuty();
      } catch (error) {
        // Under old rules nothing may run on: another worker begins with the new ones.
        onError(error);
        setImmediate(() => process.exit(1));
      }
      return;
    case 'expire':
      running?.rules.connections.get(message.connection)?.listener.gate.expire();
      return;
    case 'close':
      if (running !== undefined) await stop(running);
      process.disconnect();
      return;
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.on('disconnect', () => process.exit(running === undefined ? 1 : 0));
process.on('unhandledRejection', (error) => void onError(error));
process.on('message', (message: ToWorker, socket: net.Socket | undefined) => {
  receive(message, socket).catch((error: unknown) => {
    if (message.kind === 'start') send({ kind: 'failed', error: plainError(onError(error)) });
    else onError(error);
  });
});
