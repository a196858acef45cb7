/**
 * Everything before the log-in: encryption is asked for (SSLRequest, GSSENCRequest, or TLS from the first byte on), the
 * protocol version is agreed upon, or the connection only brings a cancel request.
 *
 * Specification: PostgreSQL manual, "Message Flow", sections "SSL Session Encryption" and "Protocol versions".
 */
import { CountersignError } from '../errors.ts';
import { encodeNegotiateProtocolVersion } from '../wire/postgres/backend.ts';
import type { Startup } from '../wire/postgres/frontend.ts';
import { alpnProtocol, type ClientTls } from './client-tls.ts';
import type { Handshake } from './handshake.ts';

/** The newest minor version that is spoken here. All that it brings over 3.0 is longer cancel keys. */
const newestMinor = 2;

/** The first byte of TLS; as a start-up packet's length it would be hundreds of megabytes. */
const tlsHandshakeByte = 0x16;

type Opening = Extract<Startup, { kind: 'startup' | 'cancel' }>;

/** @throws CountersignError `protocol_violation`; ClientGone */
export async function openingPacket(handshake: Handshake, clientTls: ClientTls | undefined): Promise<Opening> {
  // On one machine there is nobody in between, and PostgreSQL offers no TLS there either.
  const offered = handshake.isLocal ? undefined : clientTls;
  if ((await handshake.nextByte()) === tlsHandshakeByte) await startDirectTls(handshake, offered);
  const asked = new Set<'ssl' | 'gssenc'>();
  for (;;) {
    const packet = await handshake.startupPacket();
    if (packet.kind === 'startup' || packet.kind === 'cancel') return packet;
    const name = packet.kind === 'ssl' ? 'SSLRequest' : 'GSSENCRequest';
    if (handshake.secure) throw new CountersignError('protocol_violation', `${name} inside TLS`);
    if (asked.has(packet.kind)) throw new CountersignError('protocol_violation', `${name} comes a second time`);
    asked.add(packet.kind);
    if (packet.kind === 'ssl' && offered !== undefined) {
      handshake.answer('S');
      await handshake.startTls(offered);
    } else {
      handshake.answer('N');
    }
  }
}

/** `sslnegotiation=direct`. As with PostgreSQL, a client that does not name the protocol gets no answer. */
async function startDirectTls(handshake: Handshake, offered: ClientTls | undefined): Promise<void> {
  if (offered === undefined) {
    handshake.mute();
    throw new CountersignError('protocol_violation', 'TLS from the first byte on, where none is offered');
  }
  const secure = await handshake.startTls(offered);
  if (secure.alpnProtocol === alpnProtocol) return;
  handshake.mute();
  throw new CountersignError(
    'protocol_violation',
    `TLS from the first byte on, without the protocol ${alpnProtocol} in ALPN`,
  );
}

/**
 * Tells a client that wants more than we speak what it gets, as PostgreSQL 18 does.
 * @returns the minor version of the session
 */
export function agreeOnVersion(handshake: Handshake, startup: Opening & { kind: 'startup' }): number {
  const minor = Math.min(startup.minor, newestMinor);
  const unsupported = [...startup.parameters.keys()].filter((name) => name.startsWith('_pq_.'));
  if (startup.minor > newestMinor || unsupported.length > 0) {
    handshake.send((sink) => encodeNegotiateProtocolVersion(sink, minor, unsupported));
  }
  return minor;
}

/** How long the key of a session for cancelling is. */
export function cancelKeyBytes(minor: number): number {
  return minor >= 2 ? 32 : 4;
}

/**
 * A replication connection reads everything past every rule.
 * @throws CountersignError `feature_refused`
 */
export function refuseReplication(startup: Opening & { kind: 'startup' }): void {
  const value = startup.parameters.get('replication');
  if (value === undefined || isFalse(value)) return;
  throw new CountersignError(
    'feature_refused',
    `countersign: replication connections (replication=${JSON.stringify(value.slice(0, 64))}) are not offered`,
    { hint: 'connect without the start-up parameter replication' },
  );
}

/** The texts that PostgreSQL reads as false. */
function isFalse(value: string): boolean {
  return /^(f|fa|fal|fals|false|n|no|of|off|0)$/i.test(value);
}
