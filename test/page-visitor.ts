/** A person at the page, as far as HTTP goes: cookies of the gateway, and the log-in at the identity provider. */
import assert from 'node:assert/strict';
import { FormBrowser, wordsOf } from '../demo/form-browser.ts';

export interface Visit {
  readonly status: number;
  readonly location: string | undefined;
  readonly text: string;
}

export class PageVisitor {
  readonly #site: string;
  readonly cookies = new Map<string, string>();

  constructor(site: string) {
    this.#site = site;
  }

  async visit(path: string, init: RequestInit = {}): Promise<Visit> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { ...(cookie === '' ? {} : { cookie }), ...(init.headers as Record<string, string>) };
    const response = await fetch(new URL(path, this.#site), { redirect: 'manual', ...init, headers });
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]*)=([^;]*)/.exec(line) ?? [];
      if (value === '') this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    return {
      status: response.status,
      location: response.headers.get('location') ?? undefined,
      text: await response.text(),
    };
  }

  /** Goes to the provider and logs in there. @returns the address that the provider sends the browser back to */
  async authenticate(account: string, returnTo = '/'): Promise<URL> {
    const left = await this.visit(`/auth/login?return=${encodeURIComponent(returnTo)}`);
    assert.equal(left.status, 302, left.text);
    const address = new URL(left.location ?? '');
    const browser = new FormBrowser(address.origin);
    const page = await browser.open(address);
    assert.equal(page.status, 200, page.url.href);
    const back = await browser.submit(page, undefined, { account, password: `${account}-password` });
    assert.equal(back.status, 0, wordsOf(back));
    return back.url;
  }

  /** The whole log-in. @returns where the page goes on */
  async logIn(account: string, returnTo = '/'): Promise<string> {
    const back = await this.authenticate(account, returnTo);
    const done = await this.visit(`${back.pathname}${back.search}`);
    assert.equal(done.status, 303, done.text);
    return done.location ?? '';
  }

  async api<T>(method: string, route: string, body?: unknown): Promise<{ status: number; body: T }> {
    const { status, text } = await this.visit(`/api/v1${route}`, {
      method,
      headers: { 'x-countersign': '1', ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status, body: (text === '' ? undefined : JSON.parse(text)) as T };
  }

  /** Why the last log-in failed, as the page reads it. */
  get problem(): { readonly code: string; readonly message: string } | undefined {
    const text = this.cookies.get('countersign-login-problem');
    return text === undefined
      ? undefined
      : (JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as { code: string; message: string });
  }
}
