/** Keycloak as an OpenID provider of a whole gateway: every way to log in, and what the gateway learns when groups change. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { FormBrowser, wordsOf, type Page } from '../../../demo/form-browser.ts';
import { clientCredentials, deviceLogin, type Tokens } from '../../../src/cli/login.ts';
import { IdentityProviders } from '../../../src/identity/providers.ts';
import { startHarness, type Harness } from '../../harness.ts';
import { identityOf, refused } from '../../identity-fixtures.ts';
import { PageVisitor } from '../../page-visitor.ts';
import { password, serviceSecret, serviceSubject, webSecret } from './realm.ts';
import type { Keycloak } from './server.ts';

interface Answer {
  readonly id?: string;
  readonly human?: string;
  readonly kind?: string;
  readonly groups?: string[];
  readonly request?: string;
  readonly state?: string;
  readonly error?: { readonly code: string; readonly message: string };
}

/** Fills in Keycloak's log-in form. */
export async function keycloakLogin(browser: FormBrowser, page: Page, username: string): Promise<Page> {
  assert.match(page.html, /kc-form-login/, wordsOf(page));
  return browser.submit(page, 'kc-form-login', { username, password });
}

export function suite(keycloak: Keycloak): void {
  describe('Keycloak as an OpenID provider', { timeout: 120_000 }, () => {
    let harness: Harness;
    const { issuer } = keycloak;
    const provider = { kind: 'oidc', name: 'keycloak', preset: 'keycloak', issuer, jwksCooldownMs: 0 };

    before(async () => {
      harness = await startHarness({
        schema: 'create table customers (id integer primary key, name text)',
        configure: (raw) => {
          const identity = raw['identity'] as { providers?: unknown[]; serviceAccounts: unknown[] };
          identity.providers = [{ ...provider, web: { clientId: 'countersign-web', clientSecret: webSecret } }];
          const account = { name: 'kc-etl', subject: serviceSubject, provider: 'keycloak', owner: 'keycloak:emil' };
          identity.serviceAccounts.push(account);
        },
      });
    });
    after(() => harness?.close());

    const call = async (token: string, method: string, route: string, body?: unknown) => {
      const response = await fetch(`${harness.app.apiUrl}/api/v1${route}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return { status: response.status, body: (await response.json()) as Answer };
    };
    const userOf = async (username: string) => {
      const [user] = await keycloak.admin<{ id: string }[]>('GET', `/users?exact=true&username=${username}`);
      assert.ok(user);
      return user.id;
    };
    const groupOf = async (name: string) => {
      const [group] = await keycloak.admin<{ id: string }[]>('GET', `/groups?exact=true&search=${name}`);
      assert.ok(group);
      return group.id;
    };
    const member = async (username: string, group: string, is: boolean) =>
      keycloak.admin(is ? 'PUT' : 'DELETE', `/users/${await userOf(username)}/groups/${await groupOf(group)}`);
    const deviceTokens = (username: string): Promise<Tokens> =>
      deviceLogin({
        issuer,
        clientId: 'countersign-cli',
        audience: 'countersign',
        scope: 'openid',
        onPrompt: async ({ verificationUriComplete }) => {
          const browser = new FormBrowser(issuer);
          const login = await browser.open(new URL(verificationUriComplete ?? ''));
          const consent = await keycloakLogin(browser, login, username);
          const done = await browser.submit(consent, undefined, { accept: 'Yes' });
          assert.match(done.html, /Device Login Successful/i, wordsOf(done));
        },
      });
    const pushed = async (job: string): Promise<string> => {
      const content = `
job: ${job}
connection: crm
source: select id, name from customers
chunk: { by: id, rows: 100 }
output: { format: ndjson, to: "file://${job}" }
`;
      const { status, body } = await harness.api<Answer>('designer', 'POST', '/jobs', { content });
      assert.equal(status, 201, JSON.stringify(body));
      return body.request ?? '';
    };

    it('gives service accounts their tokens (client credentials)', async () => {
      const client = { issuer, clientId: 'etl', clientSecret: serviceSecret };
      const { accessToken } = await clientCredentials(client);
      const { status, body } = await call(accessToken, 'GET', '/whoami');
      assert.equal(status, 200, JSON.stringify(body));
      assert.deepEqual([body.id, body.human, body.kind], ['kc-etl', 'keycloak:emil', 'service']);
      assert.deepEqual(body.groups, ['chunk-executors']);
    });

    it('logs people in at a terminal (device flow), and says at a decision who lost a group', async () => {
      const { accessToken } = await deviceTokens('emil');
      const who = await call(accessToken, 'GET', '/whoami');
      assert.equal(who.body.id, `keycloak:${await userOf('emil')}`);
      assert.deepEqual(who.body.groups?.toSorted(), ['chunk-executors', 'staff']);
      const request = await pushed('device');
      await member('emil', 'chunk-executors', false);
      const lost = await call(accessToken, 'POST', `/requests/${request}/approve`, {});
      assert.deepEqual([lost.status, lost.body.error?.code], [403, 'duty_missing'], JSON.stringify(lost.body));
      await member('emil', 'chunk-executors', true);
      const approved = await call(accessToken, 'POST', `/requests/${request}/approve`, {});
      assert.equal(approved.status, 200, JSON.stringify(approved.body));
    });

    it('ends what a token is worth when the session ends there', async () => {
      const { accessToken } = await deviceTokens('emil');
      const request = await pushed('ended');
      await keycloak.admin('POST', `/users/${await userOf('emil')}/logout`);
      const over = await call(accessToken, 'POST', `/requests/${request}/approve`, {});
      assert.deepEqual([over.status, over.body.error?.code], [401, 'token_invalid'], JSON.stringify(over.body));
    });

    it('logs people in to the page (code flow), and refreshes their groups at a decision', async () => {
      const visitor = new PageVisitor(harness.app.apiUrl);
      const left = await visitor.visit('/auth/login?provider=keycloak&return=/requests');
      const browser = new FormBrowser(issuer);
      const back = await keycloakLogin(browser, await browser.open(new URL(left.location ?? '')), 'emil');
      const done = await visitor.visit(`${back.url.pathname}${back.url.search}`);
      assert.deepEqual([done.status, done.location], [303, '/requests'], JSON.stringify(visitor.problem));
      const who = await visitor.api<Answer>('GET', '/whoami');
      assert.equal(who.body.id, `keycloak:${await userOf('emil')}`);
      assert.deepEqual(who.body.groups?.toSorted(), ['chunk-executors', 'staff']);
      const request = await pushed('page');
      await member('emil', 'chunk-executors', false);
      const lost = await visitor.api<Answer>('POST', `/requests/${request}/approve`, {});
      assert.deepEqual([lost.status, lost.body.error?.code], [403, 'duty_missing'], JSON.stringify(lost.body));
      await member('emil', 'chunk-executors', true);
      assert.equal((await visitor.api<Answer>('POST', `/requests/${request}/approve`, {})).status, 200);
      const other = await pushed('page-ended');
      await keycloak.admin('POST', `/users/${await userOf('emil')}/logout`);
      const over = await visitor.api<Answer>('POST', `/requests/${other}/approve`, {});
      assert.deepEqual([over.status, over.body.error?.code], [401, 'token_invalid'], JSON.stringify(over.body));
      assert.equal((await visitor.api('GET', '/whoami')).status, 401, 'the session of the page is over, too');
    });

    it('does not get its other tokens taken for access tokens', async () => {
      const form = new URLSearchParams({ grant_type: 'password', client_id: 'admin-cli', username: 'emil', password });
      form.set('scope', 'openid');
      const response = await fetch(`${issuer}/protocol/openid-connect/token`, { method: 'POST', body: form });
      const tokens = (await response.json()) as Record<'access_token' | 'id_token' | 'refresh_token', string>;
      for (const kind of ['access_token', 'id_token', 'refresh_token'] as const) {
        const { status, body } = await call(tokens[kind], 'GET', '/whoami');
        assert.deepEqual([status, body.error?.code], [401, 'token_invalid'], `${kind}: ${JSON.stringify(body)}`);
      }
    });

    it('changes its keys, and new tokens are taken at once', async () => {
      const client = { issuer, clientId: 'etl', clientSecret: serviceSecret };
      const kidOf = (jwt: string) => Buffer.from(jwt.split('.')[0] ?? '', 'base64url').toString();
      const old = (await clientCredentials(client)).accessToken;
      await keycloak.admin('POST', '/components', {
        name: 'newer-key',
        providerId: 'rsa-generated',
        providerType: 'org.keycloak.keys.KeyProvider',
        config: { priority: ['200'], algorithm: ['PS256'] },
      });
      await keycloak.admin('PUT', '', { defaultSignatureAlgorithm: 'PS256' });
      const fresh = (await clientCredentials(client)).accessToken;
      assert.notEqual(kidOf(fresh), kidOf(old));
      assert.equal((await call(fresh, 'GET', '/whoami')).status, 200);
      assert.equal((await call(old, 'GET', '/whoami')).status, 200, 'the old key is still published');
    });

    it('answers introspection with the groups of now', async () => {
      const introspection = { clientId: 'countersign-web', clientSecret: webSecret };
      const identity = identityOf({ providers: [{ ...provider, introspection }] });
      const verifier = new IdentityProviders({ identity, clock: { now: () => Date.now() } }).get('keycloak');
      assert.ok(verifier);
      const { accessToken } = await deviceTokens('dora');
      assert.deepEqual(await verifier.groupsNow(accessToken, 'introspection'), ['chunk-designers']);
      await member('dora', 'auditors', true);
      assert.deepEqual((await verifier.groupsNow(accessToken, 'introspection')).toSorted(), [
        'auditors',
        'chunk-designers',
      ]);
      await member('dora', 'auditors', false);
      await keycloak.admin('PUT', `/users/${await userOf('dora')}`, { enabled: false });
      await refused(verifier.groupsNow(accessToken, 'introspection'), 'token_invalid', /not active any more/);
      await refused(verifier.groupsNow(accessToken, 'userinfo'), 'token_invalid', /does not take this token/);
      // Other suites have this person too.
      await keycloak.admin('PUT', `/users/${await userOf('dora')}`, { enabled: true });
    });
  });
}
