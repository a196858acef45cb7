/**
 * How the page logs a person in at an OpenID provider: the authorization code flow (OpenID Connect Core 1.0, section
 * 3.1) with PKCE (RFC 7636), `state`, `nonce` and, where the provider sends it, `iss` (RFC 9207). The tokens stay on the
 * server. Whose they are is said by whoever verifies them (`oidc.ts`); here only the exchange is told.
 */
import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  calculatePKCECodeChallenge,
  ClientSecretPost,
  discovery,
  None,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
  refreshTokenGrant,
  ResponseBodyError,
  type Configuration,
} from 'openid-client';
import { CountersignError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { isLoopback } from '../lib/loopback.ts';

export interface CodeFlowOptions {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string | undefined;
  readonly scopes: readonly string[];
  /** Asked for as `audience`; providers that do not know the parameter ignore it. */
  readonly audience: string;
  /** More parameters of the authorization request, e.g. `prompt`, or what a provider has of its own. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly clock: Clock;
}

export interface StartedFlow {
  /** Where the browser goes. */
  readonly url: URL;
  readonly state: string;
  readonly nonce: string;
  readonly codeVerifier: string;
}

export interface FlowTokens {
  readonly accessToken: string;
  /** Its signature is verified by `oidc.ts`, although it came from the provider itself. */
  readonly idToken: string | undefined;
  readonly refreshToken: string | undefined;
}

const requestTimeoutSeconds = 30;
/** The provider's endpoints are looked up again after this. */
const discoveryMs = 10 * 60_000;

export class CodeFlow {
  readonly #options: CodeFlowOptions;
  #provider: { readonly found: Promise<Configuration>; readonly atMs: number } | undefined;

  constructor(options: CodeFlowOptions) {
    this.#options = options;
  }

  /** @throws CountersignError `identity_provider_unreachable` */
  async start(redirectUri: string): Promise<StartedFlow> {
    const provider = await this.#discovered();
    const { scopes, audience } = this.#options;
    const codeVerifier = randomPKCECodeVerifier();
    const state = randomState();
    const nonce = randomNonce();
    const parameters: Record<string, string> = {
      ...this.#options.parameters,
      redirect_uri: redirectUri,
      scope: scopes.join(' '),
      audience,
      code_challenge: await calculatePKCECodeChallenge(codeVerifier),
      code_challenge_method: 'S256',
      state,
      nonce,
    };
    return { url: buildAuthorizationUrl(provider, parameters), state, nonce, codeVerifier };
  }

  /**
   * Exchanges the code in the address that the browser came back to.
   * @throws CountersignError `authentication_failed`: the provider says no, or the answer is not one to this flow;
   *   `identity_provider_unreachable`
   */
  async finish(returned: URL, flow: Pick<StartedFlow, 'state' | 'nonce' | 'codeVerifier'>): Promise<FlowTokens> {
    const provider = await this.#discovered();
    try {
      const answer = await authorizationCodeGrant(provider, returned, {
        expectedState: flow.state,
        expectedNonce: flow.nonce,
        pkceCodeVerifier: flow.codeVerifier,
        idTokenExpected: this.#options.scopes.includes('openid'),
      });
      return {
        accessToken: answer.access_token,
        idToken: answer.id_token,
        refreshToken: answer.refresh_token,
      };
    } catch (cause) {
      throw new CountersignError('authentication_failed', `the log-in at ${this.#options.issuer} failed`, {
        detail: reasonOf(cause),
        hint: 'log in again',
        cause,
      });
    }
  }

  /**
   * New tokens for a refresh token (RFC 6749, section 6): what the provider knows of the person now.
   * @throws CountersignError `token_invalid` when the provider does not take it any more; `identity_provider_unreachable`
   */
  async refresh(refreshToken: string): Promise<FlowTokens> {
    const { issuer } = this.#options;
    const provider = await this.#discovered();
    try {
      const answer = await refreshTokenGrant(provider, refreshToken);
      return {
        accessToken: answer.access_token,
        idToken: answer.id_token,
        refreshToken: answer.refresh_token,
      };
    } catch (cause) {
      const detail = reasonOf(cause);
      if (cause instanceof ResponseBodyError && cause.error === 'invalid_grant') {
        const message = `the identity provider ${issuer} has ended this log-in`;
        throw new CountersignError('token_invalid', message, { detail, hint: 'log in again', cause });
      }
      const message = `the identity provider ${issuer} did not say which groups you have now`;
      throw new CountersignError('identity_provider_unreachable', message, { detail, cause });
    }
  }

  async #discovered(): Promise<Configuration> {
    const nowMs = this.#options.clock.now();
    if (this.#provider === undefined || nowMs - this.#provider.atMs > discoveryMs) {
      this.#provider = { found: this.#discover(), atMs: nowMs };
    }
    try {
      return await this.#provider.found;
    } catch (cause) {
      this.#provider = undefined;
      throw new CountersignError(
        'identity_provider_unreachable',
        `the identity provider ${this.#options.issuer} cannot be reached`,
        { detail: reasonOf(cause), cause },
      );
    }
  }

  #discover(): Promise<Configuration> {
    const { issuer, clientId, clientSecret } = this.#options;
    const url = new URL(issuer);
    return discovery(url, clientId, undefined, clientSecret === undefined ? None() : ClientSecretPost(clientSecret), {
      timeout: requestTimeoutSeconds,
      ...(url.protocol === 'http:' && isLoopback(url.hostname) ? { execute: [allowInsecureRequests] } : {}),
    });
  }
}

/** The library's and the provider's own words; they hold no token. */
function reasonOf(cause: unknown): string | undefined {
  if (!(cause instanceof Error)) return undefined;
  const described = 'error_description' in cause ? String(cause.error_description) : undefined;
  const code = 'error' in cause ? String(cause.error) : undefined;
  return [code, described ?? cause.message]
    .filter((one) => one !== undefined)
    .join(': ')
    .slice(0, 500);
}
