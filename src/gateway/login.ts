/**
 * Who is at the other end of a client connection: the start-up packet, TLS, and the proof of identity. Two proofs are
 * taken: a short-lived credential that the gateway issued (SCRAM-SHA-256, RFC 7677) and, over TLS only, a token of the
 * identity provider in place of a password.
 */
import { randomBytes } from 'node:crypto';
import type net from 'node:net';
import tls from 'node:tls';
import { CountersignError } from '../errors.ts';
import type { Principal } from '../identity/principal.ts';
import { ByteSink } from '../lib/byte-sink.ts';
import {
  encodeAuthenticationCleartextPassword,
  encodeAuthenticationSASL,
  encodeAuthenticationSASLContinue,
  encodeAuthenticationSASLFinal,
} from '../wire/postgres/backend.ts';
import {
  decodePassword,
  decodeSASLInitialResponse,
  decodeSASLResponse,
  decodeStartup,
  type Startup,
} from '../wire/postgres/frontend.ts';
import { frontend } from '../wire/postgres/messages.ts';
import { mockVerifier, ScramServer, type ScramVerifier } from '../wire/postgres/scram.ts';

/** PostgreSQL's own limit (MAX_STARTUP_PACKET_LENGTH). */
const maxStartupBytes = 10_000;
const maxAuthenticationBytes = 32 * 1024;

export interface CredentialForLogin {
  readonly verifier: ScramVerifier;
  readonly principal: Principal;
  /** The only connection that it opens; undefined = every one that the duties allow. */
  readonly connection: string | undefined;
  readonly runId: string | undefined;
}

export interface Authenticator {
  credential(user: string): Promise<CredentialForLogin | undefined>;
  /** @throws token_expired, token_invalid, groups_claim_missing */
  token(jwt: string): Promise<Principal>;
  /** Makes answers for unknown users look like those for known ones. */
  readonly mockSecret: Buffer;
}

export interface LoggedIn {
  readonly principal: Principal;
  readonly connection: string | undefined;
  readonly runId: string | undefined;
}

/** A client socket during the handshake: whole packets in, bytes out. TLS may take the socket's place. */
export class Handshake {
  socket: net.Socket;
  #received: Buffer = Buffer.alloc(0);
  #waiter: (() => void) | undefined;
  #ended = false;
  #failure: Error | undefined;
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

  constructor(socket: net.Socket) {
    this.socket = socket;
    this.#listen();
  }

  #listen(): void {
    this.socket.on('data', this.#onData);
    this.socket.on('end', this.#onEnd);
    this.socket.on('close', this.#onEnd);
  }

  /** Wakes whoever waits for bytes with this error: time-outs. */
  abort(error: Error): void {
    this.#failure ??= error;
    this.#waiter?.();
  }

  get secure(): boolean {
    return this.socket instanceof tls.TLSSocket;
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
    const sink = new ByteSink(512);
    encode(sink);
    this.socket.write(sink.take());
  }

  /** Answers an SSLRequest with yes and waits for TLS to be there. */
  async startTls(context: tls.SecureContext): Promise<void> {
    // Bytes behind the request, in clear, would later pass for encrypted ones (compare CVE-2021-23222).
    if (this.#received.length > 0) {
      throw new CountersignError('protocol_violation', 'SSLRequest: bytes follow it before TLS has started');
    }
    const plain = this.socket;
    this.release();
    plain.write('S');
    const secure = new tls.TLSSocket(plain, { isServer: true, secureContext: context, ALPNProtocols: ['postgresql'] });
    await new Promise<void>((resolve, reject) => {
      secure.once('secure', resolve);
      secure.once('error', (error) => reject(new CountersignError('protocol_violation', `TLS: ${error.message}`)));
      secure.once('close', () => reject(new ClientGone()));
      plain.once('close', () => reject(new ClientGone()));
    });
    secure.removeAllListeners('error');
    // A client that resets its connection later is an ordinary end, and must not be an unhandled error.
    secure.on('error', () => secure.destroy());
    secure.removeAllListeners('close');
    this.socket = secure;
    this.#listen();
  }
}

/** The client went away during the handshake: nobody is left to tell. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}

/**
 * Proves who the user is.
 * @throws CountersignError `authentication_failed` and the token errors; the message never says whether a user exists
 */
export async function authenticate(
  handshake: Handshake,
  user: string,
  authenticator: Authenticator,
): Promise<LoggedIn> {
  const credential = await authenticator.credential(user);
  // Issued user names have a dot and a suffix; what has none can only be a person or account with a token.
  if (credential === undefined && handshake.secure && !/\.[0-9a-hjkmnp-tv-z]{6}$/.test(user)) {
    return withToken(handshake, user, authenticator);
  }
  const server = new ScramServer({
    verifier: credential?.verifier ?? mockVerifier(user, authenticator.mockSecret),
    nonce: randomBytes(18).toString('base64'),
  });
  handshake.send((sink) => encodeAuthenticationSASL(sink, ['SCRAM-SHA-256']));
  const initial = await handshake.message();
  expectPassword(initial.type);
  const { mechanism, data } = decodeSASLInitialResponse(initial.frame, 0, initial.frame.length);
  if (mechanism !== 'SCRAM-SHA-256') {
    throw new CountersignError('protocol_violation', `SASL mechanism ${JSON.stringify(mechanism)} was not offered`);
  }
  const serverFirst = server.first((data ?? Buffer.alloc(0)).toString('utf8'));
  handshake.send((sink) => encodeAuthenticationSASLContinue(sink, Buffer.from(serverFirst, 'utf8')));
  const response = await handshake.message();
  expectPassword(response.type);
  const final = server.final(decodeSASLResponse(response.frame, 0, response.frame.length).data.toString('utf8'));
  if (credential === undefined) throw wrongPassword(user);
  handshake.send((sink) => encodeAuthenticationSASLFinal(sink, Buffer.from(final, 'utf8')));
  return { principal: credential.principal, connection: credential.connection, runId: credential.runId };
}

async function withToken(handshake: Handshake, user: string, authenticator: Authenticator): Promise<LoggedIn> {
  handshake.send(encodeAuthenticationCleartextPassword);
  const { type, frame } = await handshake.message();
  expectPassword(type);
  const { password } = decodePassword(frame, 0, frame.length);
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(password)) throw wrongPassword(user);
  const principal = await authenticator.token(password);
  if (principal.id !== user) {
    throw new CountersignError(
      'authentication_failed',
      `the token is ${principal.id}'s, but the user name is ${JSON.stringify(user)}`,
      {
        hint: `connect as user ${principal.id}`,
      },
    );
  }
  return { principal, connection: undefined, runId: undefined };
}

function expectPassword(type: number): void {
  if (type === frontend.Password) return;
  throw new CountersignError('protocol_violation', 'expected an authentication message');
}

function wrongPassword(user: string): CountersignError {
  return new CountersignError(
    'authentication_failed',
    `password authentication failed for user ${JSON.stringify(user)}`,
    {
      hint: "get a fresh credential with 'countersign token', or give a token of the identity provider as the password (over TLS)",
    },
  );
}
