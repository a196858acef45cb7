import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { approveDeviceCode, startOidcProvider, type OidcProvider } from '../../demo/oidc-provider.ts';
import { CountersignError, type ErrorCode } from '../errors.ts';
import {
  clientCredentials,
  deviceLogin,
  forgetToken,
  loadToken,
  saveToken,
  type DevicePrompt,
  type Tokens,
} from './login.ts';
import { defaultHome, tokenFile } from './token-file.ts';

async function refused(work: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(work, (error: unknown) => {
    assert(error instanceof CountersignError, String(error));
    assert.equal(error.code, code);
    assert.match([error.message, error.detail].join('\n'), message);
    return true;
  });
}

void describe('log-in at a real provider', () => {
  const server = 'https://countersign.example.test:6480';
  let provider: OidcProvider;
  let home: string;
  let prompts: DevicePrompt[] = [];
  const logIn = (more: { password?: string; resource?: string; signal?: AbortSignal } = {}): Promise<Tokens> =>
    deviceLogin({
      issuer: provider.issuer,
      clientId: 'countersign-cli',
      audience: 'countersign',
      resource: more.resource,
      signal: more.signal,
      onPrompt: async (prompt) => {
        prompts.push(prompt);
        await approveDeviceCode(provider.issuer, prompt.userCode, 'designer', more.password ?? 'designer-password');
      },
    });
  const claimsOf = ({ accessToken }: Tokens) =>
    JSON.parse(Buffer.from(accessToken.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>;

  before(async () => {
    provider = await startOidcProvider({ accessTokenTtlSeconds: 600 });
  });
  after(() => provider.close());
  beforeEach(async (context) => {
    prompts = [];
    home = await mkdtemp(path.join(tmpdir(), 'countersign-cli-'));
    const mine = home;
    if ('after' in context) context.after(() => rm(mine, { recursive: true, force: true }));
  });

  void test('the device flow shows where to go, and gives a token for Countersign', async () => {
    const tokens = await logIn();
    const [prompt] = prompts;
    assert.equal(prompts.length, 1);
    assert.equal(prompt?.verificationUri, `${provider.issuer}/device`);
    assert.match(prompt.userCode, /^[A-Z]{4}-[A-Z]{4}$/);
    assert.equal(claimsOf(tokens)['aud'], 'countersign');
    assert.equal(claimsOf(tokens)['sub'], 'designer');
    assert(Math.abs(tokens.expiresAt.getTime() - Number(claimsOf(tokens)['exp']) * 1_000) < 5_000);
    assert.equal(claimsOf(await logIn({ resource: 'urn:payroll' }))['aud'], 'payroll');
  });

  void test('a stored log-in is private, found again, and renewed when its token ends', async () => {
    const tokens = await logIn();
    const file = await saveToken(server, tokens, { home });
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.deepEqual(await loadToken(server, { home }), tokens);
    assert.equal(await loadToken('https://elsewhere.example.test', { home }), undefined);
    const late = { now: () => tokens.expiresAt.getTime() - 29_000 };
    // Two at once: the refresh token can be used only once.
    const [one, two] = await Promise.all([
      loadToken(server, { home, clock: late }),
      loadToken(server, { home, clock: late }),
    ]);
    assert(one !== undefined && two !== undefined);
    assert.notEqual(one.accessToken, tokens.accessToken);
    assert.equal(claimsOf(one)['sub'], 'designer');
    assert.equal(claimsOf(one)['aud'], 'countersign');
    assert.notEqual(one.refreshToken, tokens.refreshToken);
    const last = await loadToken(server, { home });
    assert(last !== undefined);
    assert([one.accessToken, two.accessToken].includes(last.accessToken));
    assert.deepEqual(await readdir(home), [path.basename(file)]);
    await forgetToken(server, { home });
    assert.equal(await loadToken(server, { home }), undefined);
  });

  void test('a stored log-in that the server finds too old is renewed once, whoever finds out', async () => {
    const tokens = await logIn();
    await saveToken(server, tokens, { home });
    const tooOld = tokens.accessToken;
    const [one, two] = await Promise.all([loadToken(server, { home, tooOld }), loadToken(server, { home, tooOld })]);
    assert.notEqual(one?.accessToken, tooOld);
    assert.deepEqual(one, two);
    assert.deepEqual(await loadToken(server, { home, tooOld }), one);
  });

  void test('a log-in that cannot be renewed says so', async () => {
    const { issuer } = provider;
    const tokens = { issuer, clientId: 'countersign-cli', accessToken: 'x', expiresAt: new Date(0) };
    await saveToken(server, tokens, { home });
    await refused(loadToken(server, { home }), 'token_expired', /your log-in to .* has ended/);
    await saveToken(server, { ...tokens, refreshToken: 'made-up' }, { home });
    await refused(loadToken(server, { home }), 'token_expired', /has ended/);
    await saveToken(server, { ...tokens, refreshToken: 'x', issuer: 'http://127.0.0.1:1' }, { home });
    await refused(loadToken(server, { home }), 'identity_provider_unreachable', /cannot be used/);
  });

  void test('client credentials give a token, and a wrong secret a clear error', async () => {
    const { issuer } = provider;
    const client = { issuer, clientId: 'etl-runner', clientSecret: 'etl-runner-secret', audience: 'countersign' };
    const tokens = await clientCredentials(client);
    assert.deepEqual([claimsOf(tokens)['sub'], claimsOf(tokens)['aud']], ['etl-runner', 'countersign']);
    assert.equal(tokens.refreshToken, undefined);
    await refused(
      clientCredentials({ ...client, clientSecret: 'wrong' }),
      'authentication_failed',
      /client id or secret/,
    );
    await refused(clientCredentials({ ...client, clientId: 'nobody' }), 'authentication_failed', /client id or secret/);
  });

  void test('a log-in that is cancelled, or refused on the page, ends with a clear error', async () => {
    const controller = new AbortController();
    const waiting = deviceLogin({
      issuer: provider.issuer,
      clientId: 'countersign-cli',
      signal: controller.signal,
      onPrompt: () => controller.abort(),
    });
    await refused(waiting, 'authentication_failed', /cancelled/);
    const aborted = deviceLogin({
      issuer: provider.issuer,
      clientId: 'countersign-cli',
      onPrompt: ({ userCode }) => pressNo(provider.issuer, userCode),
    });
    await refused(aborted, 'authentication_failed', /the log-in was refused/);
  });

  void test('a provider that is not there, and one that would be asked without encryption, are errors', async () => {
    const client = { clientId: 'a', clientSecret: 'b' };
    await refused(
      clientCredentials({ ...client, issuer: 'http://127.0.0.1:1' }),
      'identity_provider_unreachable',
      /cannot be used/,
    );
    const open = clientCredentials({ ...client, issuer: 'http://id.example.test' });
    await refused(open, 'identity_provider_unreachable', /only requests to HTTPS are allowed/);
    await refused(clientCredentials({ ...client, issuer: 'nonsense' }), 'input_invalid', /no issuer address/);
  });

  void test('a file that is damaged or for another server is no log-in', async () => {
    const file = tokenFile(home, server);
    await writeFile(file, '{"server"');
    assert.equal(await loadToken(server, { home }), undefined);
    const tokens = { issuer: 'i', clientId: 'c', accessToken: 'x', expiresAt: new Date(4_000_000_000_000) };
    await saveToken(server, tokens, { home });
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replace('example.test', 'example.com'));
    assert.equal(await loadToken(server, { home }), undefined);
    await writeFile(file, text, { mode: 0o644 });
    await saveToken(server, tokens, { home });
    assert.equal((await stat(file)).mode & 0o777, 0o600);
  });

  void test('a lock that a dead process left does not last', async () => {
    await saveToken(
      server,
      { issuer: provider.issuer, clientId: 'c', accessToken: 'x', expiresAt: new Date(0) },
      { home },
    );
    const lock = `${tokenFile(home, server)}.lock`;
    await writeFile(lock, '');
    await utimes(lock, new Date(0), new Date(0));
    await refused(loadToken(server, { home }), 'token_expired', /has ended/);
  });
});

async function pressNo(issuer: string, userCode: string): Promise<void> {
  const { FormBrowser } = await import('../../demo/form-browser.ts');
  const browser = new FormBrowser(issuer);
  const confirm = await browser.submit(await browser.open(new URL('/device', issuer)), undefined, {
    user_code: userCode,
  });
  await browser.submit(confirm, undefined, { abort: 'yes' });
}

void test('the name of the file tells the server, and different servers have different files', () => {
  assert.equal(tokenFile('/h', 'https://cs.example.test'), '/h/cs.example.test.json');
  assert.equal(tokenFile('/h', 'http://127.0.0.1:6480/'), '/h/http_127.0.0.1_6480.json');
  assert.equal(tokenFile('/h', 'https://[::1]:6480/a/../../b'), '/h/___1__6480_b.json');
  assert.throws(() => tokenFile('/h', 'nonsense'), CountersignError);
  assert.equal(defaultHome({ COUNTERSIGN_HOME: '/elsewhere' }), '/elsewhere');
  assert.match(defaultHome({}), /\.config.countersign$/);
});
