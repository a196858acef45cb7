/**
 * Logging in to the page, from the first redirect to the session: which provider, the flow that is under way, and the
 * principal at its end. Not for: HTTP (`api/auth.ts`), the exchange itself (`code-flow.ts`).
 */
import { createHash } from 'node:crypto';
import { CountersignError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { Store } from '../store/database.ts';
import { insertLoginFlow, takeLoginFlow } from '../store/web-sessions.ts';
import type { CodeFlow, FlowTokens } from './code-flow.ts';
import type { Principal } from './principal.ts';
import type { WebSessions } from './web-sessions.ts';

export interface PageProvider {
  readonly name: string;
  /** For the log-in page. */
  readonly title: string;
  readonly kind: 'oidc' | 'saml';
}

export interface PageLoginOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly webSessions: WebSessions;
  /** By the provider's name. */
  readonly flows: ReadonlyMap<string, { readonly flow: CodeFlow; readonly title: string }>;
  /** Whose tokens that provider gave; the principal is in the directory afterwards. */
  readonly verifyLogin: (provider: string, tokens: FlowTokens, nonce: string) => Promise<Principal>;
  /** The address that people use, without a slash at its end. */
  readonly publicUrl: () => string;
}

export interface StartedLogin {
  readonly url: URL;
  /** Binds the flow to this browser: comes back in a cookie and as the `state` of the answer. */
  readonly state: string;
}

export interface FinishedLogin {
  readonly principal: Principal;
  readonly cookie: string;
  readonly expiresAt: Date;
  readonly returnTo: string;
}

/** A person types a password, and perhaps fetches a second factor. */
export const loginFlowMs = 15 * 60_000;
const maxReturnLength = 2_000;

export class PageLogin {
  readonly #options: PageLoginOptions;

  constructor(options: PageLoginOptions) {
    this.#options = options;
  }

  get providers(): PageProvider[] {
    return [...this.#options.flows].map(([name, { title }]) => ({ name, title, kind: 'oidc' }));
  }

  /** @throws CountersignError `not_found`, `identity_provider_unreachable` */
  async start(provider: string | undefined, returnTo: string | undefined): Promise<StartedLogin> {
    const { store, clock, flows } = this.#options;
    const name = provider ?? [...flows.keys()][0] ?? '';
    const started = await this.#flow(name).start(this.#redirectUri(name));
    const { url, state, nonce, codeVerifier } = started;
    await insertLoginFlow(store, {
      stateHash: hashOf(state),
      provider: name,
      nonce,
      codeVerifier,
      returnTo: localPath(returnTo),
      expiresAt: new Date(clock.now() + loginFlowMs),
    });
    return { url, state };
  }

  /**
   * @param query what the provider added to the address of the callback
   * @param browserState the `state` that this browser was given when it left
   * @throws CountersignError `authentication_failed`, `token_invalid`, `groups_claim_missing`, `identity_provider_unreachable`
   */
  async finish(provider: string, query: string, browserState: string | undefined): Promise<FinishedLogin> {
    const { store, clock, webSessions, verifyLogin } = this.#options;
    const state = new URLSearchParams(query).get('state');
    // Somebody else's answer in this browser would log a person in as somebody else (RFC 6749, section 10.12).
    if (state === null || browserState === undefined || state !== browserState) throw strangeAnswer();
    const flow = await takeLoginFlow(store, hashOf(state));
    if (flow?.provider !== provider || flow.expiresAt.getTime() <= clock.now()) throw strangeAnswer();
    const returned = new URL(this.#redirectUri(provider));
    returned.search = query;
    const tokens = await this.#flow(provider).finish(returned, { ...flow, state });
    const principal = await verifyLogin(provider, tokens, flow.nonce);
    if (principal.kind !== 'person') {
      throw new CountersignError('authentication_failed', 'a service account has no business on the page');
    }
    const opened = await webSessions.open({ principal, provider, refreshToken: tokens.refreshToken });
    return { principal, ...opened, returnTo: flow.returnTo };
  }

  #flow(name: string): CodeFlow {
    const found = this.#options.flows.get(name);
    if (found !== undefined) return found.flow;
    throw new CountersignError('not_found', `there is no identity provider ${JSON.stringify(name)} to log in with`);
  }

  #redirectUri(provider: string): string {
    return `${this.#options.publicUrl()}/auth/callback/${encodeURIComponent(provider)}`;
  }
}

/** A path of this site, or `/`. Whatever a browser could read as another site is none: `//host`, `/\host`, schemes. */
export function localPath(path: string | undefined): string {
  if (path === undefined || path.length > maxReturnLength || !/^\/(?![/\\])[^\\\s\p{Cc}]*$/u.test(path)) return '/';
  const base = 'http://countersign.invalid';
  const url = URL.parse(path, base);
  return url?.origin === base ? `${url.pathname}${url.search}${url.hash}` : '/';
}

function strangeAnswer(): CountersignError {
  return new CountersignError('authentication_failed', 'this is no answer to a log-in that began in this browser', {
    hint: 'log in again; a log-in has 15 minutes',
  });
}

function hashOf(state: string): Buffer {
  return createHash('sha256').update(state).digest();
}
