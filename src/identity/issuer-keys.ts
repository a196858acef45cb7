/**
 * What an identity provider publishes about itself: its addresses, found by discovery (OpenID Connect Discovery 1.0), and
 * its public keys, cached, and fetched again when a token names a key that is not among them (rotation) or the cache is
 * too old (revocation).
 */
import {
  createRemoteJWKSet,
  customFetch,
  type FlattenedJWSInput,
  type JWSHeaderParameters,
  type RemoteJWKSet,
} from 'jose';
import { CountersignError } from '../errors.ts';
import { askProvider, isTrustworthy, objectIn, unusable } from './provider-http.ts';

export interface IssuerKeysOptions {
  /** The issuer exactly as it calls itself. https, or http on this machine. */
  readonly issuer: string;
  /** How long a key may be trusted without looking again. */
  readonly cacheMs: number;
  /** Unknown keys make us look again, but no more often than this, whoever sends them. */
  readonly cooldownMs: number;
}

interface Discovered {
  readonly keys: RemoteJWKSet;
  readonly document: Readonly<Record<string, unknown>>;
}

const keysTimeoutMs = 5_000;

export class IssuerKeys {
  readonly #options: IssuerKeysOptions;
  #discovered: Promise<Discovered> | undefined;

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
   * @throws CountersignError `identity_provider_unreachable`; jose's errors when it has no such key
   */
  readonly keyOf = async (header: JWSHeaderParameters, token: FlattenedJWSInput) => {
    this.#discovered ??= this.#discover();
    const discovered = this.#discovered;
    let keys: RemoteJWKSet | undefined;
    try {
      ({ keys } = await discovered);
      return await keys(header, token);
    } catch (error) {
      // The next token starts over with discovery: the address of the keys may have changed. Not while we hold good
      // keys: then a stranger's made-up key id would lock everybody out for as long as the provider is down.
      if (error instanceof CountersignError && keys?.fresh !== true && this.#discovered === discovered)
        this.#discovered = undefined;
      throw error;
    }
  };

  /**
   * An address that the provider names in its document; undefined when it names none.
   * @throws CountersignError `identity_provider_unreachable`, also for an address that anybody on the way could answer for
   */
  async endpoint(name: 'userinfo_endpoint' | 'introspection_endpoint'): Promise<string | undefined> {
    const { issuer } = this.#options;
    this.#discovered ??= this.#discover();
    const discovered = this.#discovered;
    const { document } = await discovered.catch((error: unknown) => {
      if (this.#discovered === discovered) this.#discovered = undefined;
      throw error;
    });
    const address = document[name];
    if (address === undefined) return undefined;
    if (typeof address === 'string' && isTrustworthy(address)) return address;
    throw unusable(issuer, `its ${name} is no https address`);
  }

  async #discover(): Promise<Discovered> {
    const { issuer, cacheMs, cooldownMs } = this.#options;
    const address = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const ask = { address, issuer };
    const document = objectIn(await askProvider(ask), ask);
    const { issuer: named, jwks_uri: keysAddress } = document;
    if (named !== issuer) {
      throw unusable(issuer, `${address} is the document of ${JSON.stringify(named)}`, {
        hint: 'identity.issuer must be what the provider calls itself, character for character',
      });
    }
    if (typeof keysAddress !== 'string' || !isTrustworthy(keysAddress)) {
      throw unusable(issuer, `${address} names no https address for its keys (jwks_uri)`);
    }
    const keys = createRemoteJWKSet(new URL(keysAddress), {
      timeoutDuration: keysTimeoutMs,
      cooldownDuration: cooldownMs,
      cacheMaxAge: cacheMs,
      [customFetch]: async (url, { signal }) => {
        const keysAsk = { address: url, issuer, signal };
        const answer = objectIn(await askProvider(keysAsk), keysAsk);
        return Response.json(answer);
      },
    });
    return { keys, document };
  }
}
