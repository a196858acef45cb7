import assert from 'node:assert/strict';
import { after, before, describe, mock, test } from 'node:test';
import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  calculatePKCECodeChallenge,
  discovery,
  initiateDeviceAuthorization,
  None,
  randomPKCECodeVerifier,
  type Configuration,
} from 'openid-client';
import { FormBrowser, wordsOf } from './form-browser.ts';
import { approveDeviceCode, startOidcProvider, type OidcProvider } from './oidc-provider.ts';

void describe('the demo provider', () => {
  let provider: OidcProvider;
  let client: Configuration;
  const printed = (['info', 'warn', 'error', 'log'] as const).map((name) =>
    mock.method(console, name, () => undefined),
  );
  before(async () => {
    provider = await startOidcProvider();
    client = await discovery(new URL(provider.issuer), 'countersign-cli', undefined, None(), {
      execute: [allowInsecureRequests],
    });
  });
  after(async () => {
    await provider.close();
    for (const { mock } of printed) mock.restore();
  });

  void test('the authorization code flow with PKCE gives a token, and without PKCE nothing', async () => {
    const codeVerifier = randomPKCECodeVerifier();
    const redirect = 'http://127.0.0.1:4711/callback';
    const parameters = {
      redirect_uri: redirect,
      scope: 'openid',
      code_challenge: await calculatePKCECodeChallenge(codeVerifier),
      code_challenge_method: 'S256',
    };
    const browser = new FormBrowser(provider.issuer);
    const loginPage = await browser.open(buildAuthorizationUrl(client, parameters));
    const back = await browser.submit(loginPage, undefined, { account: 'auditor', password: 'auditor-password' });
    assert.equal(back.url.origin, 'http://127.0.0.1:4711');
    const tokens = await authorizationCodeGrant(client, back.url, { pkceCodeVerifier: codeVerifier });
    const claims = JSON.parse(Buffer.from(tokens.access_token.split('.')[1] ?? '', 'base64url').toString()) as object;
    const { sub, aud, groups } = claims as Record<string, unknown>;
    assert.deepEqual({ sub, aud, groups }, { sub: 'auditor', aud: 'countersign', groups: ['auditors'] });
    assert.equal(tokens.claims()?.sub, 'auditor');
    const without = await new FormBrowser(provider.issuer).open(
      buildAuthorizationUrl(client, { redirect_uri: redirect, scope: 'openid' }),
    );
    assert.equal(without.url.searchParams.get('error'), 'invalid_request');
  });

  void test('a wrong code and a wrong password approve nothing, and the page says why', async () => {
    const { issuer } = provider;
    await assert.rejects(
      approveDeviceCode(issuer, 'AAAA-AAAA', 'designer', 'designer-password'),
      /not valid, was used/,
    );
    const { user_code: code } = await initiateDeviceAuthorization(client, { scope: 'openid' });
    await assert.rejects(approveDeviceCode(issuer, code, 'designer', 'wrong'), /password is wrong/);
    const { user_code: second } = await initiateDeviceAuthorization(client, { scope: 'openid' });
    await assert.rejects(approveDeviceCode(issuer, second, '<script>', 'x'), /password is wrong/);
  });

  void test('a code is used once', async () => {
    const { user_code: code } = await initiateDeviceAuthorization(client, { scope: 'openid' });
    await approveDeviceCode(provider.issuer, code, 'designer', 'designer-password');
    await assert.rejects(approveDeviceCode(provider.issuer, code, 'executor', 'executor-password'), /was used/);
  });

  void test('the pages load nothing from elsewhere and run nothing', async () => {
    const { verification_uri: address, user_code: code } = await initiateDeviceAuthorization(client, {
      scope: 'openid',
    });
    const browser = new FormBrowser(provider.issuer);
    const codePage = await browser.open(new URL(address));
    const confirmPage = await browser.submit(codePage, undefined, { user_code: code });
    assert(confirmPage.html.includes(code), wordsOf(confirmPage));
    const loginPage = await browser.submit(confirmPage, undefined, {});
    const donePage = await browser.submit(loginPage, undefined, { account: 'executor', password: 'executor-password' });
    assert.match(donePage.html, /You are logged in/);
    const lost = await browser.open(new URL('/nowhere', provider.issuer));
    for (const { html } of [codePage, confirmPage, loginPage, donePage, lost]) {
      assert.doesNotMatch(html, /<script|<link|<img|@import|url\(|https:/);
    }
  });

  void test('an odd address or an interaction that is not there does not end the provider', async () => {
    for (const address of ['/interaction/nothing', '//', '/%', '/interaction/../jwks']) {
      const response = await fetch(`${provider.issuer}${address}`, { redirect: 'manual' });
      await response.text();
      assert(response.status < 500, `${address}: ${response.status}`);
    }
    assert.equal((await fetch(`${provider.issuer}/jwks`)).status, 200);
  });

  void test('nothing was printed', () => {
    assert.deepEqual(
      printed.flatMap(({ mock }) => mock.calls.map((call) => call.arguments)),
      [],
    );
  });
});
