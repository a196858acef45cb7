/** TLS to a target: asked for with SSLRequest or from the first byte on, always with real verification. */
import net from 'node:net';
import tls from 'node:tls';
import { CountersignError } from '../errors.ts';
import { ByteSink } from '../lib/byte-sink.ts';
import { tlsServerEndPoint } from '../wire/postgres/channel-binding.ts';
import { encodeSSLRequest } from '../wire/postgres/frontend.ts';
import { alpnProtocol } from './client-tls.ts';

export type UpstreamTls =
  | { readonly mode: 'disable' }
  | {
      readonly mode: 'verify-full';
      readonly ca: string | undefined;
      readonly serverName: string | undefined;
      /** What the gateway shows to the target. */
      readonly client?: { readonly cert: string; readonly key: string } | undefined;
      /** TLS from the first byte on. */
      readonly isDirect?: boolean | undefined;
    };

export type VerifiedTls = Extract<UpstreamTls, { mode: 'verify-full' }>;

interface TlsTarget {
  readonly name: string;
  readonly host: string;
}

/** The options of Node's TLS for this target, the same for sessions and for the gateway's own questions. */
export function tlsOptions(target: TlsTarget, options: VerifiedTls): tls.ConnectionOptions {
  const host = options.serverName ?? target.host;
  return {
    ...(net.isIP(host) === 0 ? { servername: host } : { host }),
    ...(options.ca === undefined ? {} : { ca: options.ca }),
    ...options.client,
    minVersion: 'TLSv1.2',
    ALPNProtocols: [alpnProtocol],
    rejectUnauthorized: true,
    checkServerIdentity: (_name, certificate) => tls.checkServerIdentity(host, certificate),
  };
}

/**
 * Takes a plain socket to the target into TLS.
 * @returns TLS, its `tls-server-end-point` where there is one, and the target's certificate (DER), which Node gives once
 * @throws CountersignError `target_certificate_untrusted`; what the socket throws
 */
export async function startUpstreamTls(
  plain: net.Socket,
  target: TlsTarget,
  options: VerifiedTls,
): Promise<{ socket: tls.TLSSocket; binding: Buffer | undefined; certificate: Buffer | undefined }> {
  // TLS reports what happens to the socket below it; this one only must not be unheard.
  plain.on('error', () => undefined);
  if (options.isDirect !== true) await requestTls(plain, target);
  const socket = await new Promise<tls.TLSSocket>((resolve, reject) => {
    const secure = tls.connect({ ...tlsOptions(target, options), socket: plain });
    secure.once('secureConnect', () => resolve(secure));
    secure.once('error', (error) =>
      reject(
        new CountersignError(
          'target_certificate_untrusted',
          `connection ${target.name}: the target's certificate is not trusted: ${error.message}`,
          {
            hint: 'give the certificate authority as tls.caFile, and the name in the certificate as tls.serverName',
            cause: error,
          },
        ),
      ),
    );
  });
  socket.removeAllListeners('error');
  if (options.isDirect === true && socket.alpnProtocol !== alpnProtocol) {
    socket.destroy();
    throw notOffered(target, 'the target speaks TLS from the first byte on, but not for PostgreSQL (no ALPN)');
  }
  const certificate = socket.getPeerX509Certificate()?.raw;
  return { socket, certificate, binding: certificate === undefined ? undefined : tlsServerEndPoint(certificate) };
}

async function requestTls(plain: net.Socket, target: TlsTarget): Promise<void> {
  const request = new ByteSink(16);
  encodeSSLRequest(request);
  const answer = await new Promise<Buffer>((resolve, reject) => {
    plain.once('data', resolve);
    plain.once('error', reject);
    plain.once('close', () => reject(new Error('the target closed the connection')));
    plain.write(request.take());
  });
  plain.removeAllListeners('data');
  plain.removeAllListeners('close');
  // More than the one byte before TLS starts would be bytes that nobody authenticated.
  if (answer.length === 1 && answer[0] === 0x53) return;
  plain.destroy();
  throw notOffered(target, 'the target does not offer TLS');
}

function notOffered(target: TlsTarget, what: string): CountersignError {
  return new CountersignError('target_certificate_untrusted', `connection ${target.name}: ${what}`, {
    hint: "turn TLS on at the target; 'tls: { mode: disable }' is for targets on this machine only",
  });
}
