/**
 * The listener's end of TLS, one context for all clients: who may speak it, the certificate that a client shows, and the
 * channel binding of the certificate that we show.
 */
import { X509Certificate } from 'node:crypto';
import type net from 'node:net';
import tls from 'node:tls';
import { CountersignError } from '../errors.ts';
import { tlsServerEndPoint } from '../wire/postgres/channel-binding.ts';

export interface ListenerTls {
  readonly cert: string;
  readonly key: string;
  /** Every client has to show a certificate of this authority; undefined = none is asked for. */
  readonly clientCa?: string | undefined;
}

/** The protocol's name in ALPN, registered with IANA. */
export const alpnProtocol = 'postgresql';

interface Waiting {
  readonly resolve: (secure: tls.TLSSocket) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Takes plain sockets into TLS. The server inside never listens: it is given connections, because only a server tells
 * whether a client's certificate verified.
 */
export class ClientTls {
  /** What SCRAM binds to; undefined where the certificate's signature has no hash of its own. */
  readonly binding: Buffer | undefined;
  readonly requiresCertificate: boolean;
  readonly #server: tls.Server;
  readonly #waiting = new Map<string, Waiting>();

  constructor({ cert, key, clientCa }: ListenerTls) {
    this.binding = tlsServerEndPoint(new X509Certificate(cert).raw);
    this.requiresCertificate = clientCa !== undefined;
    this.#server = tls.createServer({
      cert,
      key,
      minVersion: 'TLSv1.2',
      ALPNProtocols: [alpnProtocol],
      // A client without a good certificate is told so in words, after TLS is there.
      ...(clientCa === undefined ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: false }),
    });
    this.#server.on('secureConnection', (secure) => this.#waiting.get(endsOf(secure))?.resolve(secure));
    this.#server.on('tlsClientError', (error, secure) => this.#waiting.get(endsOf(secure))?.reject(error));
  }

  /**
   * The socket's TLS, once it is there. Bytes that the socket was given back (`unshift`) are read first.
   * @throws CountersignError `protocol_violation` when the client does not manage it or goes away
   */
  async accept(plain: net.Socket): Promise<tls.TLSSocket> {
    // A socket that is closed already has no ends to be known by.
    if (plain.remoteAddress === undefined)
      throw new CountersignError('protocol_violation', 'TLS: the client went away');
    const ends = endsOf(plain);
    let onClose: () => void = () => undefined;
    try {
      return await new Promise<tls.TLSSocket>((resolve, reject) => {
        onClose = () => reject(new Error('the client went away'));
        plain.once('close', onClose);
        this.#waiting.set(ends, { resolve, reject });
        this.#server.emit('connection', plain);
      });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new CountersignError('protocol_violation', `TLS: ${reason}`, { cause });
    } finally {
      plain.off('close', onClose);
      this.#waiting.delete(ends);
    }
  }
}

/** A TCP connection is known by its two ends, and its TLS has the same ones. */
function endsOf(socket: net.Socket): string {
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  return `${localAddress} ${localPort} ${remoteAddress} ${remotePort}`;
}
