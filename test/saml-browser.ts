/** People of the tests who log in to the page with SAML, as a browser does: over HTTP, with cookies and redirects. */
import pg from 'pg';
import type { Harness } from './harness.ts';
import { attributeXml, encoded, goodResponse, readRequest, type SamlKeys } from './saml-provider.ts';

export const samlIssuer = 'https://corp.test/saml';

/** One browser: it keeps cookies, and follows nothing by itself. */
export class Browser {
  readonly #base: string;
  readonly #cookies = new Map<string, string>();

  constructor(base: string) {
    this.#base = base;
  }

  get cookies(): ReadonlyMap<string, string> {
    return this.#cookies;
  }

  /** `crossSite`: as from a form of another site, without cookies. */
  async ask(
    path: string,
    more: { method?: string; form?: Record<string, string>; json?: unknown; crossSite?: boolean } = {},
  ): Promise<{ status: number; location: string; text: string }> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const method = more.method ?? (more.form === undefined && more.json === undefined ? 'GET' : 'POST');
    const body = more.form === undefined ? undefined : new URLSearchParams(more.form);
    const response = await fetch(new URL(path, this.#base), {
      method,
      redirect: 'manual',
      headers: {
        ...(more.crossSite === true ? {} : { cookie, 'x-countersign': '1' }),
        ...(more.json === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body }),
      ...(more.json === undefined ? {} : { body: JSON.stringify(more.json) }),
    });
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (value === '') this.#cookies.delete(name);
      else this.#cookies.set(name, value);
    }
    return { status: response.status, location: response.headers.get('location') ?? '', text: await response.text() };
  }

  async api<T>(method: string, route: string, json?: unknown): Promise<{ status: number; body: T }> {
    const { status, text } = await this.ask(`/api/v1${route}`, { method, ...(json === undefined ? {} : { json }) });
    return { status, body: (text === '' ? undefined : JSON.parse(text)) as T };
  }

  /** What the page says of a log-in that failed. */
  problem(): { code: string; message: string } {
    const cookie = this.#cookies.get('countersign-login-problem') ?? '';
    return JSON.parse(Buffer.from(cookie, 'base64url').toString('utf8')) as { code: string; message: string };
  }
}

export interface SamlPerson {
  readonly nameId: string;
  readonly groups: readonly string[];
}

/** From the first redirect to the page. @returns where the browser ends up */
export async function samlLogIn(browser: Browser, keys: SamlKeys, person: SamlPerson, path = '/'): Promise<string> {
  const started = await browser.ask(`/auth/login?provider=corp&return=${encodeURIComponent(path)}`);
  const begun = await browser.ask(started.location);
  const { id, acsUrl, issuer, relayState } = readRequest(begun.location);
  const options = {
    idpIssuer: samlIssuer,
    acsUrl,
    audience: issuer,
    inResponseTo: id,
    nameId: person.nameId,
    attributes: attributeXml('groups', ...person.groups),
  };
  const form = { SAMLResponse: encoded(goodResponse(options, keys)), RelayState: relayState };
  const answered = await browser.ask(acsUrl, { form, crossSite: true });
  if (!answered.location.includes('/finish?')) return answered.location;
  return (await browser.ask(answered.location)).location;
}

/** A client of the gateway with a credential that the page gave to whoever is logged in there. */
export async function connectAs(harness: Harness, browser: Browser): Promise<pg.Client> {
  const issued = await browser.api<{ user: string; password: string }>('POST', '/credentials', { connection: 'crm' });
  if (issued.status !== 200) throw new Error(JSON.stringify(issued.body));
  return connectWith(harness, issued.body);
}

export async function connectWith(
  harness: Harness,
  { user, password }: { readonly user: string; readonly password: string },
): Promise<pg.Client> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port: harness.app.postgresPort,
    user,
    password,
    database: 'crm',
    ssl: { ca: harness.caPem },
  });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}
