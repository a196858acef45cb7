/**
 * A client's socket before its session: whole packets in, bytes out, and TLS in the socket's place when it is asked for.
 * Every wait ends with the bytes, with the client, or with `abort`.
 */
import type net from 'node:net';
import tls from 'node:tls';
import { CountersignError } from '../errors.ts';
import { ByteSink } from '../lib/byte-sink.ts';
import { decodeStartup, maxStartupBytes, type Startup } from '../wire/postgres/frontend.ts';
import type { ClientTls } from './client-tls.ts';

const maxAuthenticationBytes = 32 * 1024;

/** The client went away during the handshake: nobody is left to tell. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}

export class Handshake {
  socket: net.Socket;
  /** It came through the Unix socket, which never leaves this machine. */
  readonly isLocal: boolean;
  /** The `tls-server-end-point` of the channel, where there is one. */
  binding: Buffer | undefined;
  /** Undefined once a client certificate has verified, else why there is none. */
  certificateProblem: string | undefined = 'none was shown';
  #received: Buffer = Buffer.alloc(0);
  #waiter: (() => void) | undefined;
  #ended = false;
  #failure: Error | undefined;
  #isMute = false;
  readonly #onData = (data: Buffer): void => {
    this.#received = this.#received.length === 0 ? data : Buffer.concat([this.#received, data]);
    // Nobody needs more than this before log-in; a client that floods is held by the socket's own back-pressure.
    if (this.#received.length > maxAuthenticationBytes) this.socket.pause();
    this.#waiter?.();
  };
  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#waiter?.();
  };

  constructor(socket: net.Socket, isLocal: boolean) {
    this.socket = socket;
    this.isLocal = isLocal;
    this.#listen();
  }

  #listen(): void {
    this.socket.on('data', this.#onData);
    this.socket.on('end', this.#onEnd);
    this.socket.on('close', this.#onEnd);
  }

  /** Wakes whoever waits for the client with this error: time-outs. */
  abort(error: Error): void {
    this.#failure ??= error;
    this.#waiter?.();
  }

  get secure(): boolean {
    return this.socket instanceof tls.TLSSocket;
  }

  /** Nobody on a network can read along. */
  get isPrivate(): boolean {
    return this.secure || this.isLocal;
  }

  /** The address for records; PostgreSQL's own logs name a Unix socket so. */
  get address(): string {
    return this.isLocal ? '[local]' : (this.socket.remoteAddress ?? '');
  }

  /** Nothing is written any more: the client could not read it, or is not owed an answer. */
  mute(): void {
    this.#isMute = true;
  }

  /** Gives the socket away, with the bytes that were read and not yet used. */
  release(): Buffer {
    this.socket.off('data', this.#onData);
    this.socket.off('end', this.#onEnd);
    this.socket.off('close', this.#onEnd);
    const rest = this.#received;
    this.#received = Buffer.alloc(0);
    return rest;
  }

  async #need(size: number): Promise<void> {
    while (this.#received.length < size) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#ended) throw new ClientGone();
      this.socket.resume();
      await new Promise<void>((resolve) => {
        this.#waiter = resolve;
      });
      this.#waiter = undefined;
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  #take(size: number): Buffer {
    const taken = this.#received.subarray(0, size);
    this.#received = this.#received.subarray(size);
    return taken;
  }

  /** The next byte, which stays where it is. */
  async nextByte(): Promise<number> {
    await this.#need(1);
    return this.#received[0] ?? 0;
  }

  /** @throws CountersignError `protocol_violation` */
  async startupPacket(): Promise<Startup> {
    await this.#need(4);
    const size = this.#received.readInt32BE(0);
    if (size < 8 || size > maxStartupBytes) {
      throw new CountersignError(
        'protocol_violation',
        `start-up packet: a length of ${size} bytes is not between 8 and ${maxStartupBytes}`,
        {
          hint: 'this port speaks the PostgreSQL protocol',
        },
      );
    }
    await this.#need(size);
    return decodeStartup(this.#take(size));
  }

  /** One framed message of the authentication exchange. */
  async message(): Promise<{ type: number; frame: Buffer }> {
    await this.#need(5);
    const size = this.#received.readInt32BE(1) + 1;
    if (size < 5 || size > maxAuthenticationBytes) {
      throw new CountersignError(
        'protocol_violation',
        `authentication message: a length of ${size - 1} bytes is not acceptable`,
      );
    }
    await this.#need(size);
    const frame = this.#take(size);
    return { type: frame[0] ?? 0, frame };
  }

  send(encode: (sink: ByteSink) => void): void {
    if (this.#isMute) return;
    const sink = new ByteSink(512);
    encode(sink);
    this.socket.write(sink.take());
  }

  /**
   * Answers a request for encryption with one letter. Bytes behind the request, in clear, would later pass for encrypted
   * ones (compare CVE-2021-23222).
   */
  answer(letter: 'S' | 'N'): void {
    if (this.#received.length > 0) {
      throw new CountersignError(
        'protocol_violation',
        'received unencrypted data after a request for encryption: bytes follow it before it was answered',
        { detail: 'this could be a fault of the client, or somebody in between' },
      );
    }
    this.socket.write(letter);
  }

  /** Puts TLS in the socket's place; what was read before is the beginning of it. */
  async startTls(clientTls: ClientTls): Promise<tls.TLSSocket> {
    const plain = this.socket;
    const begun = this.release();
    plain.pause();
    if (begun.length > 0) plain.unshift(begun);
    // What is written in clear from here on would be read as TLS.
    this.#isMute = true;
    const aborted = new Promise<never>((_resolve, reject) => {
      this.#waiter = () => {
        if (this.#failure !== undefined) reject(this.#failure);
      };
    });
    const secure = await Promise.race([clientTls.accept(plain), aborted]).finally(() => {
      this.#waiter = undefined;
    });
    this.#isMute = false;
    // A client that resets its connection later is an ordinary end, and must not be an unhandled error.
    secure.on('error', () => secure.destroy());
    this.socket = secure;
    this.binding = clientTls.binding;
    // Some versions of Node take a resumed session for verified where no certificate was ever shown.
    if (secure.getPeerX509Certificate() !== undefined) {
      this.certificateProblem = secure.authorized ? undefined : String(secure.authorizationError);
    }
    this.#listen();
    return secure;
  }
}
