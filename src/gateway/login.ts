/**
 * Who is at the other end of a client connection. Two proofs are taken: a short-lived credential that the gateway issued
 * (SCRAM-SHA-256, RFC 7677; bound to the channel where the client can) and, where nobody can read along, a token of the
 * identity provider, or a key of a service account, in place of a password.
 */
import { randomBytes } from 'node:crypto';
import { CountersignError } from '../errors.ts';
import { isKey } from '../identity/account-access.ts';
import type { Principal } from '../identity/principal.ts';
import { sessionMarkOf } from '../identity/revocations.ts';
import {
  encodeAuthenticationCleartextPassword,
  encodeAuthenticationSASL,
  encodeAuthenticationSASLContinue,
  encodeAuthenticationSASLFinal,
} from '../wire/postgres/backend.ts';
import { decodePassword, decodeSASLInitialResponse, decodeSASLResponse } from '../wire/postgres/frontend.ts';
import { frontend } from '../wire/postgres/messages.ts';
import { mockVerifier, ScramServer, type ScramVerifier } from '../wire/postgres/scram.ts';
import type { Handshake } from './handshake.ts';

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
  /** What the session was opened with: it ends when that ends. */
  readonly openedWith: string;
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
  if (credential === undefined && handshake.isPrivate && !/\.[0-9a-hjkmnp-tv-z]{6}$/.test(user)) {
    return withToken(handshake, user, authenticator);
  }
  const server = new ScramServer({
    verifier: credential?.verifier ?? mockVerifier(user, authenticator.mockSecret),
    nonce: randomBytes(18).toString('base64'),
    binding: handshake.binding,
  });
  handshake.send((sink) => encodeAuthenticationSASL(sink, server.mechanisms));
  const initial = await handshake.message();
  expectPassword(initial.type);
  const { mechanism, data } = decodeSASLInitialResponse(initial.frame, 0, initial.frame.length);
  const serverFirst = server.first((data ?? Buffer.alloc(0)).toString('utf8'), mechanism);
  handshake.send((sink) => encodeAuthenticationSASLContinue(sink, Buffer.from(serverFirst, 'utf8')));
  const response = await handshake.message();
  expectPassword(response.type);
  const final = server.final(decodeSASLResponse(response.frame, 0, response.frame.length).data.toString('utf8'));
  if (credential === undefined) throw wrongPassword(user);
  handshake.send((sink) => encodeAuthenticationSASLFinal(sink, Buffer.from(final, 'utf8')));
  const { principal, connection, runId } = credential;
  return { principal, connection, runId, openedWith: user };
}

async function withToken(handshake: Handshake, user: string, authenticator: Authenticator): Promise<LoggedIn> {
  handshake.send(encodeAuthenticationCleartextPassword);
  const { type, frame } = await handshake.message();
  expectPassword(type);
  const { password } = decodePassword(frame, 0, frame.length);
  if (!isKey(password) && !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(password)) throw wrongPassword(user);
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
  return { principal, connection: undefined, runId: undefined, openedWith: sessionMarkOf(password) };
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
      hint: "get a fresh credential with 'countersign token', or give a token of the identity provider, or a service account's key, as the password (over TLS)",
    },
  );
}
