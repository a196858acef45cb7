/** A client that says each byte by itself, for talks that no driver would hold. Every wait is bounded. */
import net from 'node:net';
import { randomBytes } from 'node:crypto';
import tls from 'node:tls';
import { ByteSink } from '../src/lib/byte-sink.ts';
import {
  decodeAuthentication,
  decodeBackendKeyData,
  decodeErrorResponse,
  decodeNegotiateProtocolVersion,
} from '../src/wire/postgres/backend.ts';
import { encodeSASLInitialResponse, encodeSASLResponse, encodeStartup } from '../src/wire/postgres/frontend.ts';
import { ScramClient } from '../src/wire/postgres/scram.ts';

const waitMs = 10_000;

export const sslRequest = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
export const gssEncRequest = Buffer.from([0, 0, 0, 8, 4, 210, 22, 48]);

export function encoded(encode: (sink: ByteSink) => void): Buffer {
  const sink = new ByteSink(256);
  encode(sink);
  return sink.take();
}

export function startupPacket(parameters: Record<string, string>, minor = 0): Buffer {
  return encoded((sink) => encodeStartup(sink, { major: 3, minor, parameters }));
}

export interface Message {
  readonly type: string;
  readonly frame: Buffer;
}

export interface Credentials {
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

export class RawClient {
  #socket: net.Socket;
  #received: Buffer = Buffer.alloc(0);
  #ended = false;
  #wake: () => void = () => undefined;
  error: Error | undefined;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    this.#listen();
  }

  static async connect(where: net.NetConnectOpts | number): Promise<RawClient> {
    const socket = net.connect(typeof where === 'number' ? { host: '127.0.0.1', port: where } : where);
    const client = new RawClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return client;
  }

  #listen(): void {
    const socket = this.#socket;
    socket.on('data', (data: Buffer) => {
      this.#received = Buffer.concat([this.#received, data]);
      this.#wake();
    });
    socket.on('error', (error) => {
      this.error ??= error;
    });
    for (const event of ['end', 'close']) {
      socket.on(event, () => {
        if (socket !== this.#socket) return;
        this.#ended = true;
        this.#wake();
      });
    }
  }

  write(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  async #until(isThere: () => boolean): Promise<boolean> {
    const deadline = Date.now() + waitMs;
    while (!isThere() && !this.#ended) {
      if (Date.now() > deadline) throw new Error(`nothing came within ${waitMs} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return isThere();
  }

  /** The one-letter answer to a request for encryption; undefined = the other side hung up. */
  async letter(): Promise<string | undefined> {
    if (!(await this.#until(() => this.#received.length >= 1))) return undefined;
    const letter = String.fromCharCode(this.#received[0] ?? 0);
    this.#received = this.#received.subarray(1);
    return letter;
  }

  async startTls(options: tls.ConnectionOptions = {}): Promise<tls.TLSSocket> {
    const plain = this.#socket;
    plain.removeAllListeners('data');
    const secure = tls.connect({ socket: plain, rejectUnauthorized: false, ALPNProtocols: ['postgresql'], ...options });
    this.#socket = secure;
    this.#listen();
    await new Promise<void>((resolve, reject) => {
      secure.once('secureConnect', resolve);
      secure.once('error', reject);
      secure.once('close', () => reject(new Error('closed during TLS')));
    });
    return secure;
  }

  /** undefined = the other side hung up. */
  async message(): Promise<Message | undefined> {
    const size = () => (this.#received.length < 5 ? Number.POSITIVE_INFINITY : this.#received.readInt32BE(1) + 1);
    if (!(await this.#until(() => this.#received.length >= size()))) return undefined;
    const frame = this.#received.subarray(0, size());
    this.#received = this.#received.subarray(size());
    return { type: String.fromCharCode(frame[0] ?? 0), frame };
  }

  /** What comes up to the end of the connection. */
  async rest(): Promise<Buffer> {
    await this.#until(() => false);
    return this.#received;
  }

  /** The next message in words: version and options of a negotiation, mechanisms, SQLSTATE; or `closed`. */
  async next(): Promise<string> {
    const message = await this.message();
    if (message === undefined) return 'closed';
    return inWords(message);
  }

  /** Sends the start-up packet and logs in. @returns every message up to ReadyForQuery or the end, in words, and the key */
  async logIn(
    { user, password, database }: Credentials,
    more: {
      readonly minor?: number;
      readonly parameters?: Record<string, string>;
      readonly scram?: Partial<ScramClientOptions>;
      /** What the client believes to be offered. */
      readonly offer?: readonly string[];
    } = {},
  ): Promise<{ said: string[]; processId: number; key: Buffer }> {
    this.write(startupPacket({ user, database, ...more.parameters }, more.minor));
    const client = new ScramClient({ password, nonce: randomBytes(18).toString('base64'), ...more.scram });
    const said: string[] = [];
    let [processId, key] = [0, Buffer.alloc(0)];
    for (;;) {
      const message = await this.message();
      if (message === undefined) return { said: [...said, 'closed'], processId, key };
      const { type, frame } = message;
      if (type !== 'S') said.push(inWords(message));
      if (type === 'Z') return { said, processId, key };
      if (type === 'K') {
        const data = decodeBackendKeyData(frame, 0, frame.length);
        processId = data.processId;
        key = Buffer.from(data.secretKey);
      }
      if (type !== 'R') continue;
      const authentication = decodeAuthentication(frame, 0, frame.length);
      if (authentication.kind === 'sasl') {
        const mechanism = client.choose(more.offer ?? authentication.mechanisms) ?? '';
        this.write(encoded((sink) => encodeSASLInitialResponse(sink, mechanism, Buffer.from(client.first()))));
      } else if (authentication.kind === 'sasl-continue') {
        const final = client.final(authentication.data.toString());
        this.write(encoded((sink) => encodeSASLResponse(sink, Buffer.from(final))));
      } else if (authentication.kind === 'sasl-final') {
        client.verify(authentication.data.toString());
      }
    }
  }
}

type ScramClientOptions = ConstructorParameters<typeof ScramClient>[0];

function inWords({ type, frame }: Message): string {
  const end = frame.length;
  switch (type) {
    case 'v': {
      const { newestMinor, unsupported } = decodeNegotiateProtocolVersion(frame, 0, end);
      return `version 3.${newestMinor} without [${unsupported.join(' ')}]`;
    }
    case 'R': {
      const authentication = decodeAuthentication(frame, 0, end);
      return authentication.kind === 'sasl' ? `sasl ${authentication.mechanisms.join(' ')}` : authentication.kind;
    }
    case 'K':
      return `key of ${decodeBackendKeyData(frame, 0, end).secretKey.length} bytes`;
    case 'E': {
      const fields = decodeErrorResponse(frame, 0, end);
      return `${fields['S']} ${fields['C']} ${fields['M']}`;
    }
    default:
      return type;
  }
}
