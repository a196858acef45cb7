/**
 * Logging in to the page: the authorization code flow against a real OpenID provider, the session's cookie, and who
 * could make use of either.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startHarness, type Harness } from './harness.ts';
import { PageVisitor } from './page-visitor.ts';

let harness: Harness;
before(async () => {
  harness = await startHarness({ schema: 'create table t (id integer primary key)' });
});
after(() => harness?.close());

const visitor = () => new PageVisitor(harness.app.apiUrl);
const events = async (type: string) => (await harness.entries()).filter((entry) => entry['type'] === type);

void describe('a log-in to the page', () => {
  void it('ends where it began, with a session that the log knows', async () => {
    const dana = visitor();
    assert.equal(await dana.logIn('dana', '/requests/req_1?tab=sql#plan'), '/requests/req_1?tab=sql#plan');
    const { status, body } = await dana.api<{ id: string; groups: string[] }>('GET', '/whoami');
    assert.equal(status, 200);
    assert.equal(body.id, 'dana');
    assert.deepEqual(body.groups, ['chunk-designers']);
    const [opened] = await events('web-session.opened');
    assert.equal(opened?.['principal'], 'dana');
    assert.deepEqual([...dana.cookies.keys()], ['countersign']);
    const log = JSON.stringify(await harness.entries());
    assert.ok(!log.includes(dana.cookies.get('countersign') ?? 'none'));
  });

  void it('lists the providers to whoever asks', async () => {
    const { body } = await visitor().api<{ providers: unknown[] }>('GET', '/login');
    assert.deepEqual(body.providers, [
      { name: 'default', title: new URL(harness.configuration.identity.issuer ?? '').host, kind: 'oidc' },
    ]);
  });

  for (const away of [
    '//evil.example',
    '/\\evil.example',
    'https://evil.example/',
    '/%09/evil\t.example',
    'javascript:1',
  ]) {
    void it(`does not lead to ${JSON.stringify(away)}`, async () => {
      assert.equal(await visitor().logIn('eli', away), '/');
    });
  }

  void it('gives no duty to whoever has none', async () => {
    const nora = visitor();
    await nora.logIn('nora');
    const { body } = await nora.api<{ duties: Record<string, string[]> }>('GET', '/whoami');
    assert.deepEqual(body.duties, { crm: [] });
  });

  void it('cannot be finished in another browser, nor twice, nor at another provider', async () => {
    const back = await visitor().authenticate('eli');
    const victim = visitor();
    assert.equal((await victim.visit(`${back.pathname}${back.search}`)).location, '/login?failed');
    assert.equal(victim.problem?.code, 'authentication_failed');
    assert.equal((await victim.api('GET', '/whoami')).status, 401);

    // The victim has a flow of their own under way; the attacker's answer still does not fit it.
    await victim.authenticate('erin');
    assert.equal((await victim.visit(`${back.pathname}${back.search}`)).location, '/login?failed');
    assert.equal((await victim.api('GET', '/whoami')).status, 401);

    const eli = visitor();
    const own = await eli.authenticate('eli');
    const kept = eli.cookies.get('countersign-login') ?? '';
    assert.equal((await eli.visit(`/auth/callback/other${own.search}`)).location, '/login?failed');
    eli.cookies.set('countersign-login', kept);
    assert.equal((await eli.visit(`${own.pathname}${own.search}`)).location, '/login?failed', 'a state is used once');
    assert.ok((await events('login.refused')).length >= 3);
  });

  void it('needs the code, the state and the issuer that belong together', async () => {
    for (const change of [
      (query: URLSearchParams) => query.set('code', 'x'.repeat(43)),
      (query: URLSearchParams) => query.set('iss', 'https://evil.example'),
      (query: URLSearchParams) => query.set('error', 'access_denied'),
    ]) {
      const one = visitor();
      const back = await one.authenticate('eli');
      change(back.searchParams);
      assert.equal((await one.visit(`${back.pathname}${back.search}`)).location, '/login?failed', back.search);
      assert.equal((await one.api('GET', '/whoami')).status, 401);
    }
  });
});

void describe('the cookie of the page', () => {
  void it('is of no use to another site', async () => {
    const dana = visitor();
    await dana.logIn('dana');
    const ask = (headers: Record<string, string>, method = 'POST') =>
      dana.visit('/api/v1/credentials', {
        method,
        headers: { 'content-type': 'application/json', ...headers },
        body: '{}',
      });
    assert.equal((await ask({})).status, 403, 'without the header');
    assert.equal((await ask({ 'x-countersign': '1', origin: 'https://evil.example' })).status, 403);
    assert.equal((await ask({ 'x-countersign': '1', origin: 'null' })).status, 403);
    assert.equal((await ask({ 'x-countersign': '1', 'sec-fetch-site': 'cross-site' })).status, 403);
    assert.equal((await ask({ 'x-countersign': '1', 'sec-fetch-site': 'same-site' })).status, 403);
    assert.equal((await ask({ 'x-countersign': '1', 'sec-fetch-site': 'none' })).status, 403);
    assert.equal((await ask({ 'x-countersign': '1', 'sec-fetch-site': 'same-origin' })).status, 200);
    const read = await dana.visit('/api/v1/whoami', { headers: { 'sec-fetch-site': 'cross-site' } });
    assert.equal(read.status, 403);
  });

  void it('does not help out where an access token is wrong', async () => {
    const dana = visitor();
    await dana.logIn('dana');
    const both = await dana.visit('/api/v1/whoami', { headers: { authorization: 'Bearer nonsense' } });
    assert.equal(both.status, 401);
    const basic = await dana.visit('/api/v1/whoami', { headers: { authorization: 'Basic ZGFuYTpkYW5h' } });
    assert.equal(basic.status, 401);
  });

  void it('ends with the next log-in of its browser', async () => {
    const shared = visitor();
    await shared.logIn('dana');
    const copy = visitor();
    copy.cookies.set('countersign', shared.cookies.get('countersign') ?? '');
    await shared.logIn('eli');
    assert.equal((await copy.api('GET', '/whoami')).status, 401);
    assert.equal((await shared.api<{ id: string }>('GET', '/whoami')).body.id, 'eli');
  });

  void it('ends with the log-out, and a copy of it too', async () => {
    const dana = visitor();
    await dana.logIn('dana');
    const copy = visitor();
    copy.cookies.set('countersign', dana.cookies.get('countersign') ?? '');
    assert.equal((await dana.visit('/auth/logout', { method: 'POST' })).status, 204);
    assert.equal((await copy.api('GET', '/whoami')).status, 200, 'another site cannot log a person out');
    assert.equal((await dana.visit('/auth/logout', { method: 'POST', headers: { 'x-countersign': '1' } })).status, 204);
    assert.equal((await copy.api('GET', '/whoami')).status, 401);
    assert.ok((await events('web-session.ended')).length > 0);
  });
});
