/**
 * What the provider says now about somebody who has logged in to the page: the refresh token of the log-in is used, and
 * kept anew. Providers that rotate refresh tokens take a second use for theft, so that two decisions at one moment
 * must not both use it: they come one after the other.
 */
import { CountersignError } from '../errors.ts';
import type { SeenPrincipal } from '../store/principals.ts';
import type { CodeFlow } from './code-flow.ts';
import type { IdentityProviders } from './providers.ts';
import type { WebSessions } from './web-sessions.ts';

export interface SessionRefreshOptions {
  readonly webSessions: Pick<WebSessions, 'find' | 'refreshTokenOf' | 'keepRefreshToken' | 'end'>;
  readonly flowOf: (provider: string) => Pick<CodeFlow, 'refresh'> | undefined;
  readonly providers: Pick<IdentityProviders, 'get' | 'oidc'>;
}

export class SessionRefresh {
  readonly #options: SessionRefreshOptions;
  /** The last of those who wait for their turn, by cookie. */
  readonly #queues = new Map<string, Promise<unknown>>();

  constructor(options: SessionRefreshOptions) {
    this.#options = options;
  }

  /**
   * @returns undefined where the log-in has no refresh token (SAML; a provider that gives none)
   * @throws CountersignError `token_invalid` when the provider has ended the log-in: then the session here is ended too;
   *   `groups_claim_missing`; `identity_provider_unreachable`
   */
  async refresh(cookie: string): Promise<SeenPrincipal | undefined> {
    const before = this.#queues.get(cookie) ?? Promise.resolve();
    const turn = before.then(
      () => this.#refresh(cookie),
      () => this.#refresh(cookie),
    );
    this.#queues.set(cookie, turn);
    try {
      return await turn;
    } finally {
      if (this.#queues.get(cookie) === turn) this.#queues.delete(cookie);
    }
  }

  async #refresh(cookie: string): Promise<SeenPrincipal | undefined> {
    const { webSessions, flowOf, providers } = this.#options;
    const session = await webSessions.find(cookie);
    if (session === undefined)
      throw new CountersignError('token_invalid', 'this log-in has ended', { hint: 'log in again' });
    const refreshToken = await webSessions.refreshTokenOf(cookie);
    const verifier = providers.get(session.provider);
    const settings = providers.oidc.find((one) => one.name === session.provider);
    const flow = flowOf(session.provider);
    if (refreshToken === undefined || verifier === undefined || settings === undefined || flow === undefined) {
      return undefined;
    }
    try {
      const { idToken, accessToken, refreshToken: next } = await flow.refresh(refreshToken);
      if (next !== undefined) await webSessions.keepRefreshToken(cookie, next);
      return await verifier.verifyRefreshed({ idToken, accessToken, clientId: settings.web.clientId });
    } catch (error) {
      if (error instanceof CountersignError && error.code === 'token_invalid') await webSessions.end(cookie);
      throw error;
    }
  }
}
