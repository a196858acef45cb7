/**
 * How the command line gets and keeps access tokens: the device flow (RFC 8628) for people, client credentials
 * (RFC 6749, section 4.4) for service accounts, and refresh. The provider is asked directly; the server never sees a
 * password, a client secret or a refresh token.
 */
import {
  allowInsecureRequests,
  clientCredentialsGrant,
  ClientSecretPost,
  type Configuration,
  discovery,
  initiateDeviceAuthorization,
  None,
  pollDeviceAuthorizationGrant,
  refreshTokenGrant,
  ResponseBodyError,
  type TokenEndpointResponse,
} from 'openid-client';
import { CountersignError } from '../errors.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { isLoopback } from '../lib/loopback.ts';
import { defaultHome, readLogin, removeLogin, tokenFile, withLock, writeLogin } from './token-file.ts';

export interface Tokens {
  readonly issuer: string;
  readonly clientId: string;
  readonly accessToken: string;
  readonly refreshToken?: string | undefined;
  readonly expiresAt: Date;
}

interface TokenTarget {
  /** Asked for as `audience`; providers that do not know the parameter ignore it. */
  readonly audience?: string | undefined;
  /** Asked for as `resource` (RFC 8707), an absolute URI. */
  readonly resource?: string | undefined;
  readonly scope?: string | undefined;
}

export interface DeviceLoginOptions extends TokenTarget {
  readonly issuer: string;
  readonly clientId: string;
  /** Called once: shows the person where to go and what to enter there. */
  readonly onPrompt: (prompt: DevicePrompt) => void | Promise<void>;
  /** Stops waiting. */
  readonly signal?: AbortSignal | undefined;
}

export interface DevicePrompt {
  readonly verificationUri: string;
  /** The same page with the code filled in, if the provider has that. */
  readonly verificationUriComplete: string | undefined;
  readonly userCode: string;
  readonly expiresAt: Date;
}

export interface ClientCredentialsOptions extends TokenTarget {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
}

export interface TokenStoreOptions {
  /** Default: COUNTERSIGN_HOME, else ~/.config/countersign */
  readonly home?: string | undefined;
  readonly clock?: Clock | undefined;
}

/** `offline_access` asks for a refresh token. */
const deviceScope = 'openid offline_access';
const requestTimeoutSeconds = 30;
/** A token that ends sooner is renewed: the call that it is for takes time too. */
const renewBeforeMs = 30_000;
/** For providers that do not say how long a token lives (RFC 6749 only recommends it). */
const assumedLifeSeconds = 300;

/** @throws CountersignError `authentication_failed`: refused, not done in time, or the provider cannot be used */
export async function deviceLogin(options: DeviceLoginOptions): Promise<Tokens> {
  const { issuer, clientId, onPrompt, signal } = options;
  return explained(issuer, async () => {
    const provider = await discover(issuer, clientId, undefined);
    const device = await initiateDeviceAuthorization(provider, targetOf(options, deviceScope));
    const expiresAt = new Date(Date.now() + device.expires_in * 1_000);
    await onPrompt({
      verificationUri: device.verification_uri,
      verificationUriComplete: device.verification_uri_complete,
      userCode: device.user_code,
      expiresAt,
    });
    try {
      const waiting = signal === undefined ? {} : { signal };
      const { audience, resource } = options;
      const target = targetOf({ audience, resource }, undefined);
      const response = await pollDeviceAuthorizationGrant(provider, device, target, waiting);
      return tokensOf(issuer, clientId, response);
    } catch (error) {
      if (signal?.aborted === true) throw refusedLogin('the log-in was cancelled', error);
      // The library stops by itself when the code's time is up, with an error that does not say so.
      const late = !(error instanceof ResponseBodyError) && Date.now() >= expiresAt.getTime();
      throw late ? refusedLogin('the code was not used in time', error) : error;
    }
  });
}

/** @throws CountersignError `authentication_failed` */
export async function clientCredentials(options: ClientCredentialsOptions): Promise<Tokens> {
  const { issuer, clientId, clientSecret } = options;
  return explained(issuer, async () => {
    const provider = await discover(issuer, clientId, clientSecret);
    return tokensOf(issuer, clientId, await clientCredentialsGrant(provider, targetOf(options, undefined)));
  });
}

/** Keeps a log-in for that server, in place of the one before. @returns the file */
export async function saveToken(server: string, tokens: Tokens, options: TokenStoreOptions = {}): Promise<string> {
  const file = tokenFile(options.home ?? defaultHome(), server);
  await writeLogin(file, { server, ...tokens, expiresAt: tokens.expiresAt.toISOString() });
  return file;
}

/**
 * The log-in for that server, renewed if its token has (nearly) ended, or is the one that the server finds too old;
 * undefined if there is none.
 * @throws CountersignError `token_expired` when it cannot be renewed; `authentication_failed` when the provider cannot be used
 */
export async function loadToken(
  server: string,
  options: TokenStoreOptions & { readonly tooOld?: string | undefined } = {},
): Promise<Tokens | undefined> {
  const file = tokenFile(options.home ?? defaultHome(), server);
  const clock = options.clock ?? systemClock;
  const isGood = (tokens: Tokens) => isFresh(tokens, clock) && tokens.accessToken !== options.tooOld;
  const stored = await storedTokens(file, server);
  if (stored === undefined || isGood(stored)) return stored;
  return withLock(file, async () => {
    // Whoever held the lock before may have renewed it.
    const current = await storedTokens(file, server);
    if (current === undefined || isGood(current)) return current;
    const renewed = await renew(server, current);
    await saveToken(server, renewed, options);
    return renewed;
  });
}

/** Forgets the log-in for that server. */
export async function forgetToken(server: string, options: TokenStoreOptions = {}): Promise<void> {
  await removeLogin(tokenFile(options.home ?? defaultHome(), server));
}

async function renew(server: string, tokens: Tokens): Promise<Tokens> {
  const { issuer, clientId, refreshToken } = tokens;
  const ended = (cause?: unknown) =>
    new CountersignError('token_expired', `your log-in to ${server} has ended`, { hint: 'countersign login', cause });
  if (refreshToken === undefined) throw ended();
  return explained(issuer, async () => {
    const provider = await discover(issuer, clientId, undefined);
    try {
      // A provider that does not send a new refresh token lets the old one live on (RFC 6749, section 6).
      return { refreshToken, ...tokensOf(issuer, clientId, await refreshTokenGrant(provider, refreshToken)) };
    } catch (error) {
      if (error instanceof ResponseBodyError && error.error === 'invalid_grant') throw ended(error);
      throw error;
    }
  });
}

async function storedTokens(file: string, server: string): Promise<Tokens | undefined> {
  const login = await readLogin(file, server);
  if (login === undefined) return undefined;
  const { issuer, clientId, accessToken, refreshToken, expiresAt } = login;
  return { issuer, clientId, accessToken, refreshToken, expiresAt: new Date(expiresAt) };
}

function isFresh(tokens: Tokens, clock: Clock): boolean {
  return tokens.expiresAt.getTime() - renewBeforeMs > clock.now();
}

async function discover(issuer: string, clientId: string, secret: string | undefined): Promise<Configuration> {
  const url = URL.parse(issuer);
  if (url === null) throw new CountersignError('input_invalid', `${JSON.stringify(issuer)} is no issuer address`);
  const authentication = secret === undefined ? None() : ClientSecretPost(secret);
  const loopback = url.protocol === 'http:' && isLoopback(url.hostname);
  return discovery(url, clientId, undefined, authentication, {
    timeout: requestTimeoutSeconds,
    // Secrets travel unencrypted only inside this machine.
    ...(loopback ? { execute: [allowInsecureRequests] } : {}),
  });
}

function targetOf(
  { audience, resource, scope }: TokenTarget,
  defaultScope: string | undefined,
): Record<string, string> {
  const asked = Object.entries({ audience, resource, scope: scope ?? defaultScope });
  return Object.fromEntries(asked.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

function tokensOf(issuer: string, clientId: string, response: TokenEndpointResponse): Tokens {
  const lifeSeconds = response.expires_in ?? assumedLifeSeconds;
  const expiresAt = new Date(Date.now() + lifeSeconds * 1_000);
  const { access_token: accessToken, refresh_token: refreshToken } = response;
  return { issuer, clientId, accessToken, expiresAt, ...(refreshToken === undefined ? {} : { refreshToken }) };
}

async function explained<T>(issuer: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CountersignError) throw error;
    throw failure(issuer, error);
  }
}

function failure(issuer: string, error: unknown): CountersignError {
  if (error instanceof ResponseBodyError) {
    const reasons: Record<string, string> = {
      access_denied: 'the log-in was refused',
      expired_token: 'the code was not used in time',
      invalid_client: 'the identity provider does not accept the client id or secret',
    };
    const reason = reasons[error.error] ?? 'the identity provider refused the log-in';
    const detail = [error.error, error.error_description].filter(Boolean).join(': ');
    return new CountersignError('authentication_failed', reason, { detail, cause: error });
  }
  const detail = error instanceof Error ? error.message : undefined;
  return new CountersignError('identity_provider_unreachable', `the identity provider ${issuer} cannot be used`, {
    detail,
    hint: 'check that it can be reached from here',
    cause: error,
  });
}

function refusedLogin(message: string, cause: unknown): CountersignError {
  return new CountersignError('authentication_failed', message, { hint: 'countersign login', cause });
}
