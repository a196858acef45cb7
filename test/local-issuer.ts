/**
 * A hand-made issuer of tokens on this machine: discovery, keys, userinfo and introspection over http, and tokens that say
 * whatever a test wants, also what no sound provider would sign.
 */
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK, type JWTHeaderParameters } from 'jose';

export type Answer = (response: ServerResponse, request: IncomingMessage, body: string) => void;

export interface LocalIssuer {
  readonly issuer: string;
  /** What it publishes now. */
  readonly keys: JWK[];
  /** By path; set one to change what it answers, or to make it answer more. */
  readonly answers: Record<string, Answer>;
  /** How often each path was asked for. */
  readonly asked: Map<string, number>;
  /** Ours and the standard claims: iss, aud `countersign`, sub `dora`, iat now, exp in a minute. undefined leaves one out. */
  sign(claims?: Record<string, unknown>, header?: Partial<JWTHeaderParameters>): Promise<string>;
  /** A new key; the old one is published no more. */
  rotate(): Promise<void>;
  close(): Promise<void>;
}

export const json =
  (value: unknown, status = 200): Answer =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  };

export async function startLocalIssuer(algorithm = 'ES256'): Promise<LocalIssuer> {
  const answers: Record<string, Answer> = {};
  const asked = new Map<string, number>();
  const keys: JWK[] = [];
  let privateKey: CryptoKey | undefined;
  let generation = 0;
  const rotate = async () => {
    const pair = await generateKeyPair(algorithm, { extractable: true });
    privateKey = pair.privateKey;
    generation++;
    keys.splice(0, keys.length, { ...(await exportJWK(pair.publicKey)), kid: `k${generation}`, use: 'sig' });
  };
  await rotate();
  const { issuer, close } = await listenOnLoopback((request, response) => {
    const path = (request.url ?? '').replace(/[?#].*$/, '');
    asked.set(path, (asked.get(path) ?? 0) + 1);
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (part: string) => (body += part));
    request.on('end', () => {
      const answer = answers[path];
      if (answer === undefined) response.writeHead(404).end('nothing here');
      else answer(response, request, body);
    });
  });
  answers['/.well-known/openid-configuration'] = json({
    issuer,
    jwks_uri: `${issuer}/keys`,
    userinfo_endpoint: `${issuer}/userinfo`,
    introspection_endpoint: `${issuer}/introspect`,
  });
  answers['/keys'] = (response, request, body) => json({ keys })(response, request, body);
  const sign = (claims: Record<string, unknown> = {}, header: Partial<JWTHeaderParameters> = {}): Promise<string> => {
    if (privateKey === undefined) throw new Error('the issuer has no key');
    const now = Math.floor(Date.now() / 1_000);
    const standard = { iss: issuer, aud: 'countersign', sub: 'dora', iat: now, exp: now + 60, ...claims };
    const named = { alg: algorithm, kid: `k${generation}`, ...header };
    return new SignJWT(standard).setProtectedHeader(named).sign(privateKey);
  };
  return { issuer, keys, answers, asked, sign, rotate, close };
}

async function listenOnLoopback(handler: RequestListener): Promise<{ issuer: string; close: () => Promise<void> }> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the issuer has no port');
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { issuer: `http://127.0.0.1:${address.port}`, close };
}
