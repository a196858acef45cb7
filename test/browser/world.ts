/**
 * A gateway with people, a browser, and an eye on everything that a page does: whatever it logs, every violation of its
 * policy, every byte that it gets. A visit that ends with a problem fails its test.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { chromium, type BrowserContext, type Page } from 'playwright-core';
import { searchSecrets } from '../../demo/secrets.ts';
import { secretsOf, seedCustomers } from '../../demo/seed.ts';
import { startHarness, type Harness } from '../harness.ts';

export type Person = 'dana' | 'eli' | 'erin' | 'ana' | 'nora';
export type Scheme = 'light' | 'dark';

export const seed = { rows: 2_000, seed: 7 };
export const pictures = path.resolve(import.meta.dirname, '../../browser-out');

const browserFlags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
export const desktop = { width: 1280, height: 900 };
export const phone = { width: 390, height: 844 };

export interface VisitOptions {
  readonly scheme?: Scheme;
  readonly viewport?: { readonly width: number; readonly height: number };
}

export interface World {
  readonly harness: Harness;
  /** A page of somebody who is logged in, at this address. */
  visit(person: Person, address: string, options?: VisitOptions): Promise<Visit>;
  /** A browser in which nobody is logged in. */
  stranger(address: string, options?: VisitOptions): Promise<Visit>;
  close(): Promise<void>;
}

export interface WorldOptions {
  readonly configure?: (configuration: Record<string, unknown>) => void;
}

export async function startWorld(options: WorldOptions = {}): Promise<World> {
  mkdirSync(pictures, { recursive: true });
  const harness = await startHarness({
    schema: 'select 1',
    configure: (raw) => {
      // Everything that is in the seed of the demo, and hidden there, is masked.
      raw['masking'] = [
        {
          name: 'personal',
          appliesTo: {},
          columns: [
            { match: 'name', mask: 'redact' },
            { match: 'ssn', mask: 'last4' },
            { match: 'email', mask: 'email-domain' },
            { match: 'card_number', mask: 'hash' },
          ],
          detectors: [{ detect: 'card' }, { detect: 'ssn' }, { detect: 'email' }],
        },
      ];
      options.configure?.(raw);
    },
  });
  const userData = await mkdtemp(path.join(tmpdir(), 'countersign-browser-'));
  await seedCustomers(harness.postgres.url('crm'), seed);
  await harness.target('grant all on all tables in schema public to cs_gateway, cs_designer, cs_executor');
  const browser = await chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: browserFlags,
    env: { ...process.env, HOME: userData },
  });
  const states = new Map<Person, Awaited<ReturnType<BrowserContext['storageState']>>>();
  const open = async (
    address: string,
    { scheme = 'light', viewport = desktop }: VisitOptions = {},
    person?: Person,
  ) => {
    const state = person && states.get(person);
    const context = await browser.newContext({
      baseURL: harness.app.apiUrl,
      viewport,
      colorScheme: scheme,
      reducedMotion: 'reduce',
      ...(state === undefined ? {} : { storageState: state }),
    });
    const visit = await Visit.begin(context, new URL(harness.app.apiUrl).origin);
    await visit.page.goto(address);
    return visit;
  };
  return {
    harness,
    stranger: open,
    visit: async (person, address, more = {}) => {
      const visit = await open(address, more, person);
      if (states.has(person)) return visit;
      await visit.logIn(person);
      states.set(person, await visit.page.context().storageState());
      return visit;
    },
    close: async () => {
      await browser.close();
      await harness.close();
      await rm(userData, { recursive: true, force: true });
    },
  };
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

interface AxeFinding {
  readonly id: string;
  readonly impact: string | null;
  readonly help: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
}

/** One page in a browser of its own. */
export class Visit {
  readonly page: Page;
  readonly #problems: string[] = [];
  readonly #received: Promise<Buffer>[] = [];
  #isExpected: (problem: string) => boolean = () => false;

  private constructor(page: Page) {
    this.page = page;
  }

  static async begin(context: BrowserContext, origin: string): Promise<Visit> {
    const page = await context.newPage();
    page.setDefaultTimeout(15_000);
    const visit = new Visit(page);
    // The log-in page asks who it is, and hears that it is nobody: that one 401 is as it has to be.
    let isLoggedIn = false;
    page.on('console', (message) => {
      const { url } = message.location();
      const isNobody = !isLoggedIn && url.endsWith('/api/v1/whoami') && message.text().includes('401');
      // The identity provider's own pages are not ours to judge.
      const isElsewhere = url !== '' && new URL(url).origin !== origin;
      if ((message.type() === 'error' || message.type() === 'warning') && !isNobody && !isElsewhere) {
        visit.#problems.push(`${message.type()}: ${message.text()} (${url})`);
      }
    });
    page.on('pageerror', (error) => visit.#problems.push(`exception: ${error.message}`));
    page.on('response', (response) => {
      if (response.url().endsWith('/api/v1/whoami') && response.ok()) isLoggedIn = true;
      const isStream = (response.headers()['content-type'] ?? '').includes('event-stream');
      if (!isStream) visit.#received.push(response.body().catch(() => Buffer.alloc(0)));
    });
    await page.addInitScript(`
      document.addEventListener('securitypolicyviolation', (event) =>
        console.error('policy violation: ' + event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sourceFile));`);
    return visit;
  }

  /** From the page's log-in to where this person wanted to go. */
  async logIn(person: Person): Promise<void> {
    const wanted = new URL(this.page.url());
    await this.page.getByRole('link', { name: /^Log in with/ }).click();
    await this.page.getByLabel('Account').fill(person);
    await this.page.getByLabel('Password').fill(`${person}-password`);
    await this.page.getByRole('button', { name: 'Log in' }).click();
    await this.page.getByRole('button', { name: /^Account of/ }).waitFor();
    const now = new URL(this.page.url());
    assert.equal(now.pathname + now.search, wanted.pathname + wanted.search, 'back where they were');
  }

  /** Problems that this story brings about on purpose. */
  expect(isExpected: (problem: string) => boolean): void {
    this.#isExpected = isExpected;
  }

  async picture(name: string): Promise<void> {
    await this.page.screenshot({ path: path.join(pictures, `${name}.png`), fullPage: true });
  }

  /** What is seen without scrolling. */
  async view(name: string): Promise<void> {
    await this.page.screenshot({ path: path.join(pictures, `${name}.png`) });
  }

  /** The page has its heading, and nothing of it is on its way any more. */
  async settled(): Promise<void> {
    await this.page.getByRole('heading', { level: 1 }).first().waitFor();
    const waiting = 'main [aria-label="Loading"], main [aria-label="Verifying"], main :text("is being computed")';
    await this.page.locator(waiting).first().waitFor({ state: 'hidden' });
  }

  /** In these colours, from now on. */
  async paint(scheme: Scheme): Promise<void> {
    await this.page.emulateMedia({ colorScheme: scheme });
    await this.page.locator(`html[data-mantine-color-scheme="${scheme}"]`).waitFor({ state: 'attached' });
  }

  /** Nothing has to be scrolled sideways, as soon as the page has taken its width. */
  async notWider(): Promise<void> {
    const { width } = this.page.viewportSize() ?? desktop;
    let found = 0;
    for (let look = 0; look < 20; look++) {
      found = Number(await this.page.evaluate('document.documentElement.scrollWidth'));
      if (found <= width) return;
      await this.page.waitForTimeout(50);
    }
    assert.fail(`${this.page.url()} is ${found} wide on a screen of ${width}`);
  }

  /** No words end in an ellipsis that the browser made. */
  async notCut(): Promise<void> {
    const cut = await this.page.evaluate<string[]>(`[...document.querySelectorAll('main *:not(input)')]
      .filter((one) => getComputedStyle(one).textOverflow === 'ellipsis' && one.scrollWidth > one.clientWidth)
      .map((one) => one.textContent)`);
    assert.deepEqual(cut, [], `cut off at ${this.page.url()}`);
  }

  /** No finding of axe that is serious or critical; by all its rules, or by these alone. */
  async accessible(rules?: readonly string[]): Promise<void> {
    if (!(await this.page.evaluate<boolean>("'axe' in window"))) await this.page.evaluate(axeSource);
    const { violations } = await this.page.evaluate<{ violations: AxeFinding[] }>(
      `axe.run(document, ${JSON.stringify({ resultTypes: ['violations'], ...(rules && { runOnly: rules }) })})`,
    );
    const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    const said = bad.map(
      ({ id, help, nodes }) =>
        `${id}: ${help}\n${nodes.map((one) => `  ${one.html}\n  ${one.failureSummary ?? ''}`).join('\n')}`,
    );
    assert.deepEqual(said, [], this.page.url());
  }

  /** Nothing went wrong, and no raw value of a masked column came. */
  async end(): Promise<void> {
    const received = await Promise.all(this.#received);
    const dom = Buffer.from(await this.page.content());
    await this.page.context().close();
    assert.deepEqual(
      this.#problems.filter((problem) => !this.#isExpected(problem)),
      [],
    );
    const found = await searchSecrets([...received, dom], secretsOf(seed));
    assert.deepEqual(found, [], 'raw secrets in the browser');
  }
}
