/**
 * The public keys of the identity provider: found by discovery (OpenID Connect Discovery 1.0), fetched, cached, and
 * fetched again when a token names a key that is not among them (rotation) or the cache is too old (revocation).
 */
import {
  createRemoteJWKSet,
  customFetch,
  type FlattenedJWSInput,
  type JWSHeaderParameters,
  type RemoteJWKSet,
} from 'jose';
import { CountersignError } from '../errors.ts';

export interface IssuerKeysOptions {
  /** The issuer exactly as it calls itself. https, or http on this machine. */
  readonly issuer: string;
  /** How long a key may be trusted without looking again. */
  readonly cacheMs: number;
  /** Unknown keys make us look again, but no more often than this, whoever sends them. */
  readonly cooldownMs: number;
}

const fetchTimeoutMs = 5_000;
const maxDocumentBytes = 1024 * 1024;

export class IssuerKeys {
  readonly #options: IssuerKeysOptions;
  #keys: Promise<RemoteJWKSet> | undefined;

  /** @throws CountersignError `configuration_invalid` for an address that anybody on the way could answer for */
  constructor(options: IssuerKeysOptions) {
    this.#options = options;
    if (!isTrustworthy(options.issuer)) {
      throw new CountersignError(
        'configuration_invalid',
        `identity.issuer: ${options.issuer} must begin with https:// (http:// only for an issuer on this machine)`,
      );
    }
  }

  /**
   * The key that signed the token; for `jwtVerify`.
   * @throws CountersignError `authentication_failed` when the provider does not answer; jose's errors when it has no such key
   */
  readonly keyOf = async (header: JWSHeaderParameters, token: FlattenedJWSInput) => {
    this.#keys ??= this.#discover();
    const discovered = this.#keys;
    let keys: RemoteJWKSet | undefined;
    try {
      keys = await discovered;
      return await keys(header, token);
    } catch (error) {
      // The next token starts over with discovery: the address of the keys may have changed. Not while we hold good
      // keys: then a stranger's made-up key id would lock everybody out for as long as the provider is down.
      if (error instanceof CountersignError && keys?.fresh !== true && this.#keys === discovered)
        this.#keys = undefined;
      throw error;
    }
  };

  async #discover(): Promise<RemoteJWKSet> {
    const { issuer, cacheMs, cooldownMs } = this.#options;
    const address = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const response = await this.#fetch(address, AbortSignal.timeout(fetchTimeoutMs));
    const document: unknown = await response.json();
    const { issuer: named, jwks_uri: keysAddress } =
      typeof document === 'object' && document !== null
        ? (document as { issuer?: unknown; jwks_uri?: unknown })
        : { issuer: undefined, jwks_uri: undefined };
    if (named !== issuer) {
      throw this.#unusable(`${address} is the document of ${JSON.stringify(named)}`, {
        hint: 'identity.issuer must be what the provider calls itself, character for character',
      });
    }
    if (typeof keysAddress !== 'string' || !isTrustworthy(keysAddress)) {
      throw this.#unusable(`${address} names no https address for its keys (jwks_uri)`);
    }
    return createRemoteJWKSet(new URL(keysAddress), {
      timeoutDuration: fetchTimeoutMs,
      cooldownDuration: cooldownMs,
      cacheMaxAge: cacheMs,
      [customFetch]: (url, options) => this.#fetch(url, options.signal),
    });
  }

  /** A JSON document with status 200, whole and of bounded size; redirects are not followed. */
  async #fetch(address: string, signal: AbortSignal): Promise<Response> {
    const ask = () => fetch(address, { redirect: 'manual', signal, headers: { accept: 'application/json' } });
    try {
      // Once more, for a kept connection that the provider closed in the meantime.
      const response = await ask().catch((error: unknown) => {
        if (signal.aborted) throw error;
        return ask();
      });
      if (response.status !== 200) {
        await response.body?.cancel();
        throw this.#unusable(`${address} answered with status ${response.status}`);
      }
      const text = await boundedText(response, maxDocumentBytes);
      if (text === undefined) throw this.#unusable(`${address} answered with more than ${maxDocumentBytes} bytes`);
      // What is no JSON fails here, where the error can name the address.
      JSON.parse(text);
      return new Response(text, { headers: { 'content-type': 'application/json' } });
    } catch (error) {
      if (error instanceof CountersignError) throw error;
      const what = error instanceof SyntaxError ? 'does not answer with JSON' : 'does not answer';
      throw this.#unusable(`${address} ${what}`, { cause: error });
    }
  }

  #unusable(detail: string, more: { hint?: string; cause?: unknown } = {}): CountersignError {
    return new CountersignError(
      'identity_provider_unreachable',
      `tokens cannot be checked: the identity provider ${this.#options.issuer} cannot be used`,
      { detail, hint: more.hint ?? 'the token may be good; try again when the provider answers', cause: more.cause },
    );
  }
}

function isTrustworthy(address: string): boolean {
  const url = URL.parse(address);
  if (url === null) return false;
  if (url.protocol === 'https:') return true;
  return url.protocol === 'http:' && /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
}

async function boundedText(response: Response, maxBytes: number): Promise<string | undefined> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body ?? []) {
    size += part.length;
    if (size > maxBytes) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}
