/**
 * A real OpenID provider on this machine for the demo and the tests: `oidc-provider` with demo accounts, in memory,
 * with keys that live as long as it does. Tokens come only through its real flows (device flow, authorization code with
 * PKCE, client credentials). It is not for production: http, no rate limits, passwords in the program's memory.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import Provider, { errors as providerErrors } from 'oidc-provider';
import { FormBrowser, wordsOf } from './form-browser.ts';
import {
  configurationOf,
  demoAccounts,
  fastPolling,
  type OidcAccount,
  type OidcProviderOptions,
} from './oidc-configuration.ts';
import { loginPage, problemPage } from './oidc-pages.ts';

const maxFormBytes = 16 * 1024;

export interface OidcProvider {
  readonly issuer: string;
  close(): Promise<void>;
}

export async function startOidcProvider(options: OidcProviderOptions = {}): Promise<OidcProvider> {
  let handle: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  const server = createServer((request, response) => {
    // A client in this process would otherwise keep connections that are dead after a restart on the same port.
    response.setHeader('connection', 'close');
    if (handle === undefined) response.writeHead(503).end();
    else handle(request, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the provider has no port');
  const issuer = `http://127.0.0.1:${address.port}`;
  const accounts = options.accounts ?? demoAccounts;
  const provider = new Provider(issuer, configurationOf(options, accounts));
  fastPolling(provider);
  const callback = provider.callback();
  handle = (request, response) => {
    if (!/^\/interaction\/[\w-]+$/.test(pathOf(request))) {
      void callback(request, response);
      return;
    }
    login(provider, accounts, request, response).catch((error: unknown) => {
      const expired = error instanceof providerErrors.SessionNotFound;
      const problem = expired ? 'This log-in has expired. Start again.' : 'The provider failed.';
      sendPage(response, expired ? 400 : 500, problemPage(problem));
    });
  };
  return {
    issuer,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/**
 * Approves a device-flow log-in as a person does in a browser, over plain HTTP: open the page, enter the code, confirm
 * it, log in.
 * @throws Error with the page's own words when the provider refuses: wrong code, wrong password
 */
export async function approveDeviceCode(
  issuer: string,
  userCode: string,
  account: string,
  password: string,
): Promise<void> {
  const browser = new FormBrowser(issuer);
  const codePage = await browser.open(new URL('/device', issuer));
  const confirmPage = await browser.submit(codePage, 'op.deviceInputForm', { user_code: userCode });
  const loginPage = await browser.submit(confirmPage, 'op.deviceConfirmForm', {});
  const done = await browser.submit(loginPage, undefined, { account, password });
  if (done.status !== 200 || !done.html.includes('You are logged in')) throw new Error(wordsOf(done));
}

/** The log-in page: GET shows it, POST checks account and password and goes on with the flow. */
async function login(
  provider: Provider,
  accounts: readonly OidcAccount[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  await provider.interactionDetails(request, response);
  const names = accounts.map((one) => one.id);
  if (request.method !== 'POST') {
    sendPage(response, 200, loginPage(pathOf(request), names, undefined));
    return;
  }
  const form = await formOf(request);
  const found = accounts.find((one) => one.id === form.get('account'));
  if (found === undefined || !sameText(form.get('password') ?? '', found.password)) {
    sendPage(response, 401, loginPage(pathOf(request), names, 'The account or the password is wrong.'));
    return;
  }
  await provider.interactionFinished(request, response, { login: { accountId: found.id } });
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '/').replace(/[?#].*$/, '');
}

async function formOf(request: IncomingMessage): Promise<URLSearchParams> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request) {
    const bytes = Buffer.from(part as Uint8Array);
    size += bytes.length;
    if (size > maxFormBytes) throw new Error('the form is too large');
    parts.push(bytes);
  }
  return new URLSearchParams(Buffer.concat(parts).toString('utf8'));
}

function sendPage(response: ServerResponse, status: number, html: string): void {
  if (response.headersSent) return void response.destroy();
  response.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' }).end(html);
}

function sameText(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
