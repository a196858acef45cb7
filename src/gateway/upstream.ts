/**
 * The gateway's log-in to a PostgreSQL target: TLS with real verification, SCRAM-SHA-256 (bound to the channel where the
 * target offers it), md5 (and cleartext over TLS only), up to the first ReadyForQuery. Afterwards it is a pipe of bytes
 * with back-pressure for one session.
 *
 * Protocol 3.2 is asked for; servers answer what they speak instead, and where one (or what stands before it) refuses
 * outright, the log-in is tried again with 3.0.
 */
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { CountersignError } from '../errors.ts';
import { ByteSink } from '../lib/byte-sink.ts';
import {
  decodeAuthentication,
  decodeBackendKeyData,
  decodeErrorResponse,
  decodeNegotiateProtocolVersion,
  decodeParameterStatus,
} from '../wire/postgres/backend.ts';
import { FrameSplitter } from '../wire/postgres/frames.ts';
import {
  encodeCancelRequest,
  encodePassword,
  encodeSASLInitialResponse,
  encodeSASLResponse,
  encodeStartup,
} from '../wire/postgres/frontend.ts';
import { md5Password } from '../wire/postgres/md5.ts';
import { backend } from '../wire/postgres/messages.ts';
import { boundMechanism, ScramClient } from '../wire/postgres/scram.ts';
import { startUpstreamTls, type UpstreamTls } from './upstream-tls.ts';

export interface UpstreamAddress {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly tls: UpstreamTls;
}

export interface UpstreamOptions {
  readonly address: UpstreamAddress;
  readonly user: string;
  readonly password: string;
  /** Start-up settings besides user and database. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

type OnBytes = (buffer: Buffer, start: number, end: number) => void;

/**
 * All plain upstream sockets read into this one buffer: the bytes are consumed before the callback returns, and a fresh
 * buffer per read costs a tenth of the gateway's time.
 */
const readBuffer = Buffer.allocUnsafeSlow(256 * 1024);

const newestMinor = 2;
/** How servers and poolers answer a protocol version that they do not want to hear of. */
const refusalsOfVersions: ReadonlySet<string> = new Set(['0A000', '08P01']);

export class Upstream {
  readonly parameterStatuses = new Map<string, string>();
  processId = 0;
  secretKey: Buffer = Buffer.alloc(0);
  #socket: net.Socket;
  readonly #options: UpstreamOptions;
  #onBytes: OnBytes = () => undefined;
  #onClose: (error: Error | undefined) => void = () => undefined;
  #failure: Error | undefined;
  #binding: Buffer | undefined;
  /** The target ended the log-in before it asked for a proof, in a way that may be about the protocol version. */
  #isVersionRefused = false;

  private constructor(options: UpstreamOptions, socket: net.Socket) {
    this.#options = options;
    this.#socket = socket;
  }

  /** The log-in is bound to the target's certificate. */
  isChannelBound = false;

  /**
   * Connects and logs in.
   * @throws CountersignError `target_unreachable`, `target_certificate_untrusted`, `target_login_failed`
   */
  static async connect(options: UpstreamOptions): Promise<Upstream> {
    return within(options, async (keep) => {
      const upstream = await Upstream.#open(options, keep);
      try {
        await upstream.#logIn(newestMinor);
        return upstream;
      } catch (error) {
        if (!upstream.#isVersionRefused) throw error;
        upstream.destroy();
      }
      const older = await Upstream.#open(options, keep);
      await older.#logIn(0);
      return older;
    });
  }

  static async #open(options: UpstreamOptions, keep: KeepSocket): Promise<Upstream> {
    const { address } = options;
    const plain = address.tls.mode === 'disable';
    const holder: { upstream?: Upstream } = {};
    const socket = await new Promise<net.Socket>((resolve, reject) => {
      const target = address.host.startsWith('/')
        ? { path: `${address.host}/.s.PGSQL.${address.port}` }
        : { host: address.host, port: address.port };
      const onread = {
        buffer: readBuffer,
        callback: (size: number, buffer: Uint8Array) => {
          const { upstream } = holder;
          if (upstream !== undefined) upstream.#onBytes(buffer as Buffer, 0, size);
          return true;
        },
      };
      const connecting = net.connect(plain ? { ...target, onread } : target);
      keep(connecting);
      connecting.once('connect', () => resolve(connecting));
      connecting.once('error', (error) => reject(unreachable(address, error.message)));
    });
    socket.setNoDelay(true);
    const upstream = new Upstream(options, socket);
    holder.upstream = upstream;
    if (address.tls.mode === 'verify-full') await upstream.#startTls();
    else upstream.#listen();
    return upstream;
  }

  #listen(): void {
    this.#socket.on('error', (error) => {
      this.#failure ??= error;
    });
    this.#socket.on('close', () => this.#onClose(this.#failure));
    // A target that ends its side has ended the session; half-open sockets serve nobody.
    this.#socket.on('end', () => this.#socket.destroy());
  }

  async #startTls(): Promise<void> {
    const { address } = this.#options;
    if (address.tls.mode === 'disable') return;
    try {
      const { socket, binding } = await startUpstreamTls(this.#socket, address, address.tls);
      this.#socket = socket;
      this.#binding = binding;
    } catch (error) {
      if (error instanceof CountersignError) throw error;
      throw unreachable(address, error instanceof Error ? error.message : String(error));
    }
    this.#socket.on('data', (data) => this.#onBytes(data, 0, data.length));
    this.#listen();
  }

  async #logIn(minor: number): Promise<void> {
    const { address, user, password, parameters } = this.#options;
    const messages = new MessageQueue(this.#options.address);
    this.#onBytes = (buffer, start, end) => messages.push(buffer, start, end);
    let hasAnswered = false;
    this.#onClose = (error) => {
      this.#isVersionRefused = minor > 0 && !hasAnswered;
      messages.fail(unreachable(address, error?.message ?? 'the target closed the connection'));
    };
    this.#send((sink) =>
      encodeStartup(sink, { major: 3, minor, parameters: { user, database: address.database, ...parameters } }),
    );
    let scram: ScramClient | undefined;
    for (;;) {
      const { type, frame } = await messages.next();
      const isFirst = !hasAnswered;
      hasAnswered = true;
      switch (type) {
        case backend.Authentication: {
          const message = decodeAuthentication(frame, 0, frame.length);
          switch (message.kind) {
            case 'ok':
              if (scram !== undefined && !scram.finished) throw loginFailed(address, 'the target skipped its proof');
              break;
            case 'cleartext':
              if (address.tls.mode === 'disable')
                throw loginFailed(address, 'the target asks for a cleartext password without TLS');
              this.#send((sink) => encodePassword(sink, password));
              break;
            case 'md5':
              this.#send((sink) => encodePassword(sink, md5Password(user, password, message.salt)));
              break;
            case 'sasl': {
              const nonce = randomBytes(18).toString('base64');
              scram = new ScramClient({ password, nonce, binding: this.#binding });
              const mechanism = scram.choose(message.mechanisms);
              if (mechanism === undefined) {
                throw loginFailed(address, `the target offers only ${message.mechanisms.join(', ')}`);
              }
              this.isChannelBound = mechanism === boundMechanism;
              const first = scram.first();
              this.#send((sink) => encodeSASLInitialResponse(sink, mechanism, Buffer.from(first, 'utf8')));
              break;
            }
            case 'sasl-continue': {
              if (scram === undefined) throw loginFailed(address, 'an answer to no SCRAM exchange');
              const final = scram.final(message.data.toString('utf8'));
              this.#send((sink) => encodeSASLResponse(sink, Buffer.from(final, 'utf8')));
              break;
            }
            case 'sasl-final':
              if (scram === undefined) throw loginFailed(address, 'an answer to no SCRAM exchange');
              scram.verify(message.data.toString('utf8'));
              break;
            case 'other':
              throw loginFailed(
                address,
                `the target asks for authentication method ${message.code}, which is not supported`,
              );
            default:
              message satisfies never;
          }
          break;
        }
        case backend.ParameterStatus: {
          const { name, value } = decodeParameterStatus(frame, 0, frame.length);
          this.parameterStatuses.set(name, value);
          break;
        }
        case backend.BackendKeyData: {
          const key = decodeBackendKeyData(frame, 0, frame.length);
          this.processId = key.processId;
          this.secretKey = Buffer.from(key.secretKey);
          break;
        }
        case backend.ErrorResponse: {
          const fields = decodeErrorResponse(frame, 0, frame.length);
          this.#isVersionRefused = minor > 0 && isFirst && refusalsOfVersions.has(fields['C'] ?? '');
          throw loginFailed(address, `${fields['M'] ?? 'unknown error'} (SQLSTATE ${fields['C'] ?? '?'})`);
        }
        case backend.NegotiateProtocolVersion: {
          const { newestMinor: spoken } = decodeNegotiateProtocolVersion(frame, 0, frame.length);
          if (spoken > minor) throw loginFailed(address, `the target answers with protocol 3.${spoken}`);
          break;
        }
        case backend.NoticeResponse:
          break;
        case backend.ReadyForQuery:
          this.#onClose = () => undefined;
          return;
        default:
          throw loginFailed(address, `unexpected message type ${JSON.stringify(String.fromCharCode(type))}`);
      }
    }
  }

  #send(encode: (sink: ByteSink) => void): void {
    const sink = new ByteSink(512);
    encode(sink);
    this.#socket.write(sink.take());
  }

  /** From now on bytes go to the session. */
  attach(onBytes: OnBytes, onDrain: () => void, onClose: (error: Error | undefined) => void): void {
    this.#onBytes = onBytes;
    this.#onClose = onClose;
    this.#socket.on('drain', onDrain);
    if (this.#socket.destroyed) onClose(this.#failure);
  }

  /** Returns false when the target is slower than what is written to it. */
  write(bytes: Buffer): boolean {
    return this.#socket.write(bytes);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#socket.end();
    // A target that does not close its side in time is not waited for.
    const timer = setTimeout(() => this.#socket.destroy(), 2_000);
    this.#socket.once('close', () => clearTimeout(timer));
  }

  destroy(error?: Error): void {
    this.#failure ??= error;
    this.#socket.destroy();
  }

  /** Asks the target to cancel what this session runs; over TLS where the session uses it. Best effort, as the protocol is. */
  async cancel(): Promise<void> {
    await within(this.#options, async (keep) => {
      const canceller = await Upstream.#open(this.#options, keep);
      const done = new Promise<void>((resolve) => {
        canceller.#onClose = () => resolve();
      });
      canceller.#send((sink) => encodeCancelRequest(sink, this.processId, this.secretKey));
      await done;
    });
  }
}

/** Takes a socket into the care of a bounded piece of work. */
type KeepSocket = (socket: net.Socket) => void;

/** Does the work within the time that a connection may take, or destroys the sockets that it opened and opens. */
async function within<T>(options: UpstreamOptions, work: (keep: KeepSocket) => Promise<T>): Promise<T> {
  const sockets: net.Socket[] = [];
  let isOver = false;
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_resolve, reject) => {
    const error = unreachable(options.address, `no answer within ${options.timeoutMs} ms`);
    timer = setTimeout(() => reject(error), options.timeoutMs);
  });
  const keep: KeepSocket = (socket) => {
    sockets.push(socket);
    if (isOver) socket.destroy();
  };
  try {
    return await Promise.race([work(keep), expired]);
  } catch (error) {
    isOver = true;
    for (const socket of sockets) socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** The log-in's messages, one at a time. */
class MessageQueue {
  readonly #splitter = new FrameSplitter({ maxFrameBytes: 64 * 1024 });
  readonly #address: UpstreamAddress;
  #frames: { type: number; frame: Buffer }[] = [];
  #waiter: { resolve: (value: { type: number; frame: Buffer }) => void; reject: (error: Error) => void } | undefined;
  #error: Error | undefined;

  constructor(address: UpstreamAddress) {
    this.#address = address;
  }

  push(buffer: Buffer, start: number, end: number): void {
    try {
      this.#splitter.push(buffer, start, end, (type, source, from, to) => {
        this.#frames.push({ type, frame: Buffer.from(source.subarray(from, to)) });
      });
    } catch (error) {
      this.fail(loginFailed(this.#address, error instanceof Error ? error.message : String(error)));
    }
    this.#pump();
  }

  fail(error: Error): void {
    this.#error ??= error;
    this.#pump();
  }

  #pump(): void {
    if (this.#waiter === undefined) return;
    const { resolve, reject } = this.#waiter;
    const next = this.#frames.shift();
    if (next === undefined && this.#error === undefined) return;
    this.#waiter = undefined;
    if (next !== undefined) resolve(next);
    else reject(this.#error ?? new Error('closed'));
  }

  next(): Promise<{ type: number; frame: Buffer }> {
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      this.#pump();
    });
  }
}

function unreachable(address: UpstreamAddress, reason: string): CountersignError {
  return new CountersignError(
    'target_unreachable',
    `connection ${address.name}: cannot reach the target at ${address.host}:${address.port}: ${reason}`,
    { hint: 'check that the database is up and that host and port of the connection are right' },
  );
}

function loginFailed(address: UpstreamAddress, reason: string): CountersignError {
  return new CountersignError(
    'target_login_failed',
    `connection ${address.name}: the gateway cannot log in to the target: ${reason}`,
    {
      hint: "check the connection's credentials in the configuration",
    },
  );
}
