/**
 * As much of a browser as a log-in needs, for the demo and the tests: cookies, redirects and HTML forms. It visits one
 * site only, and runs no script.
 */

interface Cookie {
  readonly name: string;
  readonly value: string;
  readonly path: string;
}

export interface Page {
  readonly url: URL;
  readonly status: number;
  readonly html: string;
}

const maxRedirects = 10;

export class FormBrowser {
  readonly #origin: string;
  #cookies: Cookie[] = [];

  constructor(site: string) {
    this.#origin = new URL(site).origin;
  }

  async open(url: URL, form?: URLSearchParams): Promise<Page> {
    let address = url;
    let body = form;
    for (let hop = 0; hop < maxRedirects; hop++) {
      // Passwords and cookies are this site's only: a visit ends where it leads away, and the other site is not asked.
      if (address.origin !== this.#origin) return { url: address, status: 0, html: '' };
      const response = await fetch(address, {
        method: body === undefined ? 'GET' : 'POST',
        redirect: 'manual',
        headers: { cookie: this.#cookiesFor(address) },
        ...(body === undefined ? {} : { body }),
      });
      this.#keep(response.headers.getSetCookie());
      const html = await response.text();
      const next = response.headers.get('location');
      if (next === null) return { url: address, status: response.status, html };
      address = new URL(next, address);
      body = undefined;
    }
    throw new Error(`more than ${maxRedirects} redirects`);
  }

  /** Sends a form of the page (the one with that id, else the first) with its hidden fields and these. */
  async submit(page: Page, formId: string | undefined, fields: Readonly<Record<string, string>>): Promise<Page> {
    const forms = [...page.html.matchAll(/<form\b([^>]*)>(.*?)<\/form>/gs)];
    const form = forms.find(([, attributes]) => formId === undefined || attributeOf(attributes, 'id') === formId);
    if (form === undefined) throw new Error(wordsOf(page));
    const [, attributes, inside = ''] = form;
    const body = new URLSearchParams();
    for (const [, input] of inside.matchAll(/<input\b([^>]*)>/gs)) {
      const name = attributeOf(input, 'name');
      if (name !== undefined && attributeOf(input, 'type') === 'hidden')
        body.set(name, attributeOf(input, 'value') ?? '');
    }
    for (const [name, value] of Object.entries(fields)) body.set(name, value);
    return this.open(new URL(attributeOf(attributes, 'action') ?? '', page.url), body);
  }

  #cookiesFor({ pathname }: URL): string {
    const sent = this.#cookies.filter(
      ({ path }) => pathname === path || pathname.startsWith(path.replace(/\/?$/, '/')),
    );
    return sent.map(({ name, value }) => `${name}=${value}`).join('; ');
  }

  #keep(lines: readonly string[]): void {
    for (const line of lines) {
      const [pair = '', ...attributes] = line.split(/; */);
      const [, name = '', value = ''] = /^([^=]*)=(.*)$/.exec(pair) ?? [];
      const path = /^path=(.*)$/i.exec(attributes.find((one) => /^path=/i.test(one)) ?? '')?.[1] ?? '/';
      this.#cookies = this.#cookies.filter((one) => one.name !== name || one.path !== path);
      if (value !== '') this.#cookies.push({ name, value, path });
    }
  }
}

function attributeOf(attributes: string | undefined, name: string): string | undefined {
  const value = new RegExp(`\\b${name}="([^"]*)"`).exec(attributes ?? '')?.[1];
  return value
    ?.replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&');
}

/** What the page says, for an error message. */
export function wordsOf({ status, html }: Page): string {
  const words = html
    .replace(/<(style|title)\b.*?<\/\1>/gs, ' ')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
  return `the page (status ${status}) says: ${words.slice(0, 300)}`;
}
