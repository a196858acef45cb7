/** Several providers side by side: whose token is whose, what each is set to, and that no id is two principals. */
import assert from 'node:assert/strict';
import { createHmac, createPublicKey, type JsonWebKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { identityOf, misconfigured, refused } from '../../test/identity-fixtures.ts';
import { json, startLocalIssuer, type LocalIssuer } from '../../test/local-issuer.ts';
import type { IdentityConfiguration } from '../config/schema.ts';
import { presets, type PresetName } from './presets.ts';
import { IdentityProviders, oidcProvidersOf } from './providers.ts';

const clock = { now: () => Date.now() };
const groups = ['chunk-designers'];
const providersOf = (identity: IdentityConfiguration) => new IdentityProviders({ identity, clock });
const nowSeconds = () => Math.floor(Date.now() / 1_000);
const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');

void describe('two providers', () => {
  let first: LocalIssuer;
  let second: LocalIssuer;
  let stranger: LocalIssuer;
  let providers: IdentityProviders;
  const identity = (more: Record<string, unknown> = {}, ofSecond: Record<string, unknown> = {}) =>
    identityOf({
      issuer: first.issuer,
      providers: [{ kind: 'oidc', name: 'okta', issuer: second.issuer, audience: 'urn:countersign', ...ofSecond }],
      ...more,
    });
  const ofSecond = (claims: Record<string, unknown> = {}, header = {}) =>
    second.sign({ aud: 'urn:countersign', groups, ...claims }, header);

  before(async () => {
    [first, second, stranger] = await Promise.all([startLocalIssuer(), startLocalIssuer(), startLocalIssuer()]);
    providers = providersOf(identity());
  });
  after(() => Promise.all([first, second, stranger].map((one) => one.close())));

  void test('verify their own tokens, and give ids that cannot meet', async () => {
    const own = await providers.verify(await first.sign({ groups }));
    assert.deepEqual([own.id, own.human, own.provider], ['dora', 'dora', 'default']);
    const other = await providers.verify(await ofSecond());
    assert.deepEqual([other.id, other.human, other.provider], ['okta:dora', 'okta:dora', 'okta']);
    for (const sub of ['okta:dora', 'OKTA:dora', '\u200bokta:dora', 'ｏkta:dora']) {
      await refused(
        providers.verify(await first.sign({ groups, sub })),
        'token_invalid',
        /looks like one of the provider okta/,
      );
    }
    assert.equal((await providers.verify(await first.sign({ groups, sub: 'f:1:dora' }))).id, 'f:1:dora');
    assert.equal((await providers.verify(await ofSecond({ sub: 'okta:dora' }))).id, 'okta:okta:dora');
  });

  void test('do not take tokens that the other one signed, or nobody', async () => {
    // The other's issuer in the claims, one's own key under it.
    const posing = await ofSecond({ iss: first.issuer, aud: 'countersign' }, { kid: 'k1' });
    await refused(providers.verify(posing), 'token_invalid', /signature is wrong/);
    const otherKid = await ofSecond({ iss: first.issuer, aud: 'countersign' }, { kid: 'only-of-okta' });
    await refused(providers.verify(otherKid), 'token_invalid', /a key that .* does not have/);
    const asked = first.asked.get('/keys');
    const foreign = await stranger.sign({ groups });
    const error = await refused(providers.verify(foreign), 'token_invalid', /was issued by/);
    assert.ok(error.message.includes(first.issuer) && error.message.includes(second.issuer));
    assert.equal(stranger.asked.size, 0, 'a stranger is not asked for keys');
    assert.equal(first.asked.get('/keys'), asked);
    for (const iss of [`${first.issuer}/`, first.issuer.toUpperCase(), '', undefined, [first.issuer], { a: 1 }]) {
      await refused(providers.verify(await stranger.sign({ groups, iss })), 'token_invalid', /was issued by/);
    }
  });

  void test('each have their own audience', async () => {
    await refused(providers.verify(await first.sign({ groups, aud: 'urn:countersign' })), 'token_invalid', /audience/);
    await refused(providers.verify(await ofSecond({ aud: 'countersign' })), 'token_invalid', /audience/);
  });

  void test('forged tokens are refused at either', async () => {
    for (const [issuer, aud] of [
      [first, 'countersign'],
      [second, 'urn:countersign'],
    ] as const) {
      const payload = { iss: issuer.issuer, aud, sub: 'dora', groups, iat: nowSeconds(), exp: nowSeconds() + 60 };
      const kid = issuer.keys[0]?.kid;
      for (const alg of ['none', 'None', 'nOnE']) {
        const unsigned = `${encode({ alg, kid })}.${encode(payload)}.`;
        await refused(providers.verify(unsigned), 'token_invalid', /not signed in a way/);
      }
      const pem = createPublicKey({ key: issuer.keys[0] as JsonWebKey, format: 'jwk' }).export({
        type: 'spki',
        format: 'pem',
      });
      for (const secret of [pem, JSON.stringify(issuer.keys[0]), '']) {
        const content = `${encode({ alg: 'HS256', kid })}.${encode(payload)}`;
        const forged = `${content}.${createHmac('sha256', secret).update(content).digest('base64url')}`;
        await refused(providers.verify(forged), 'token_invalid', /not signed in a way/);
      }
      // A key that the token brings along is nobody's.
      const own = await stranger.sign({ ...payload }, { kid: kid ?? '', jwk: stranger.keys[0] as never });
      await refused(providers.verify(own), 'token_invalid', /signature is wrong/);
    }
    for (const [claims, header, message] of [
      [{ nbf: nowSeconds() + 90 }, {}, /not valid yet/],
      [{ iat: nowSeconds() + 90 }, {}, /issued in the future/],
      [{}, { typ: 'logout+jwt' }, /logout\+jwt/],
      [{ events: { 'http://schemas.openid.net/event/backchannel-logout': {} } }, {}, /about events/],
      [{ typ: 'Logout' }, {}, /"Logout"/],
    ] as const) {
      await refused(providers.verify(await ofSecond(claims, header)), 'token_invalid', message);
    }
    await refused(providers.verify(await ofSecond({ exp: nowSeconds() - 90 })), 'token_expired', /expired/);
  });

  void test('each have their own settings', async () => {
    const strict = providersOf(
      identity({}, { clockToleranceMs: 0, algorithms: ['RS256'], groupsClaim: 'realm_access.roles' }),
    );
    await refused(strict.verify(await ofSecond()), 'token_invalid', /allowed: RS256/);
    assert.equal((await strict.verify(await first.sign({ groups }))).id, 'dora');
    const roles = providersOf(
      identity({ clockToleranceMs: 0 }, { groupsClaim: 'realm_access.roles', clockToleranceMs: 60_000 }),
    );
    const nested = { realm_access: { roles: groups }, groups: ['chunk-executors'], nbf: nowSeconds() + 40 };
    assert.deepEqual((await roles.verify(await ofSecond(nested))).groups, groups);
    await refused(roles.verify(await first.sign({ groups, nbf: nowSeconds() + 5 })), 'token_invalid', /not valid yet/);
    await refused(roles.verify(await ofSecond()), 'groups_claim_missing', /realm_access\.roles/);
  });

  void test('a new key is found after the cooldown of its provider, and an old one is dropped with the cache', async () => {
    const rotating = await startLocalIssuer();
    try {
      const at = (more: object) => providersOf(identityOf({ issuer: rotating.issuer, ...more }));
      const quick = at({ jwksCooldownMs: 0 });
      const slow = at({ jwksCooldownMs: 600_000 });
      const forgetful = at({ jwksCacheMs: 1, jwksCooldownMs: 0 });
      const old = await rotating.sign({ groups });
      for (const one of [quick, slow, forgetful]) await one.verify(old);
      await rotating.rotate();
      const fresh = await rotating.sign({ groups });
      assert.equal((await quick.verify(fresh)).id, 'dora');
      await refused(quick.verify(old), 'token_invalid', /does not have/);
      await refused(slow.verify(fresh), 'token_invalid', /does not have/);
      assert.equal((await slow.verify(old)).id, 'dora');
      await refused(forgetful.verify(old), 'token_invalid', /does not have/);
    } finally {
      await rotating.close();
    }
  });

  void test('service accounts belong to the provider that issues their tokens', async () => {
    const accounts = [
      { name: 'etl', subject: 'etl-client', provider: 'okta', owner: 'okta:dora', groups },
      { name: 'nightly', subject: 'nightly-client', owner: 'emil' },
    ];
    const both = providersOf(identity({ serviceAccounts: accounts }));
    const own = { client_id: 'etl-client', sub: 'etl-client' };
    const etl = await both.verify(await ofSecond(own));
    assert.deepEqual([etl.id, etl.human, etl.kind, etl.provider], ['etl', 'okta:dora', 'service', 'service']);
    await refused(both.verify(await first.sign({ ...own, groups })), 'token_invalid', /not registered/);
    // A person must not have an account's name, whoever issues the account's tokens.
    await refused(both.verify(await first.sign({ sub: 'etl', groups })), 'token_invalid', /is a service account/);
    await refused(both.verify(await first.sign({ sub: 'nightly', groups })), 'token_invalid', /is a service account/);
    await refused(both.verify(await ofSecond({ sub: 'etl-client' })), 'token_invalid', /is a service account/);
    assert.equal((await both.verify(await ofSecond({ sub: 'nightly' }))).id, 'okta:nightly');
  });

  void test('groups that are kept here win, also where a token has none', async () => {
    const managed = new IdentityProviders({
      identity: identity(),
      clock,
      managedGroups: (id) => Promise.resolve(id === 'okta:dora' ? ['kept'] : undefined),
    });
    assert.deepEqual((await managed.verify(await ofSecond())).groups, ['kept']);
    assert.deepEqual((await managed.verify(await ofSecond({ groups: undefined }))).groups, ['kept']);
    assert.deepEqual((await managed.verify(await ofSecond({ groups: undefined, hasgroups: true }))).groups, ['kept']);
    await refused(managed.verify(await first.sign()), 'groups_claim_missing', /lacks/);
    const idToken = await ofSecond({ aud: 'countersign-cli', nonce: 'n', groups: undefined });
    const login = await managed.verifyLogin('okta', { idToken, accessToken: 'opaque', nonce: 'n' });
    assert.deepEqual(login.groups, ['kept']);
  });

  void test('a log-in is for the provider that it began at', async () => {
    const idToken = await ofSecond({ aud: 'countersign-cli', nonce: 'n' });
    const tokens = { idToken, accessToken: 'opaque', nonce: 'n' };
    assert.equal((await providers.verifyLogin('okta', tokens)).id, 'okta:dora');
    await refused(providers.verifyLogin('default', tokens), 'token_invalid', /was issued by/);
    await refused(providers.verifyLogin('other', tokens), 'token_invalid', /gave no ID token/);
    await refused(providers.verifyLogin('okta', { ...tokens, idToken: undefined }), 'token_invalid', /no ID token/);
    await refused(providers.verifyLogin('okta', { ...tokens, nonce: 'm' }), 'token_invalid', /another log-in/);
  });

  void test('introspection answers for the token that was shown, to a client that may ask', async () => {
    const introspection = { clientId: 'gate way', clientSecret: 's+e:cret' };
    const asking = providersOf(identity({}, { introspection }));
    const verifier = asking.get('okta');
    assert.ok(verifier);
    const token = await ofSecond();
    assert.equal(asking.providerOf(token)?.freshGroups, 'introspection');
    let asked = { authorization: '', body: '' };
    const answer = (value: object) => {
      second.answers['/introspect'] = (response, request, body) => {
        asked = { authorization: request.headers.authorization ?? '', body };
        json(value)(response, request, body);
      };
      return verifier.groupsNow(token, 'introspection');
    };
    assert.deepEqual(await answer({ active: true, sub: 'dora', groups: ['now'] }), ['now']);
    assert.equal(Buffer.from(asked.authorization.slice(6), 'base64').toString(), 'gate+way:s%2Be%3Acret');
    assert.equal(new URLSearchParams(asked.body).get('token'), token);
    for (const active of [false, undefined, 'true', 1]) {
      await refused(answer({ active, sub: 'dora', groups }), 'token_invalid', /not active any more/);
    }
    await refused(answer({ active: true, sub: 'emil', groups }), 'token_invalid', /another subject/);
    await refused(answer({ active: true, sub: 'dora' }), 'groups_claim_missing', /lacks/);
    await refused(
      answer({ active: true, sub: 'dora', _claim_names: { groups: 'x' } }),
      'groups_claim_missing',
      /overage/,
    );
    const forged = await stranger.sign({ iss: second.issuer, aud: 'urn:countersign', groups });
    await refused(verifier.groupsNow(forged, 'introspection'), 'token_invalid', /signature/);
  });
});

void test('the examples of docs/identity.md are configurations', () => {
  const page = readFileSync(new URL('../../docs/identity.md', import.meta.url), 'utf8');
  const blocks = [...page.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text = '']) => parse(text) as unknown);
  assert.ok(blocks.length >= 5);
  const issuer = 'https://id.example.test';
  const owned = { name: 'deployer', owner: 'alice', groups };
  for (const block of blocks) {
    const list = Array.isArray(block) ? (block as Record<string, unknown>[]) : undefined;
    const isWorkloads = list?.some((one) => 'claims' in one) === true;
    const identity = isWorkloads
      ? { issuer, serviceAccounts: [owned], workloads: list }
      : list === undefined
        ? { ...(block as object), ...(block as { identity?: object }).identity, identity: undefined }
        : { issuer, providers: list };
    const read = identityOf(JSON.parse(JSON.stringify(identity)) as Record<string, unknown>);
    const secrets = JSON.stringify(read).replaceAll(/\{"env":"\w+"\}/g, '"secret"');
    providersOf(JSON.parse(secrets) as IdentityConfiguration);
  }
});

void describe('a configuration of providers', () => {
  const issuer = 'https://id.example.test';
  const okta = { kind: 'oidc', name: 'okta', issuer: 'https://okta.example.test' };
  const account = (more: object) => ({ name: 'etl', subject: 'etl', owner: 'emil', ...more });

  void test('has the flat settings as the provider default, and one setting for each thing', () => {
    const [first, second] = oidcProvidersOf(identityOf({ issuer, title: 'Example', providers: [okta] }));
    assert.deepEqual(
      [first?.name, first?.title, first?.audience, first?.clientId, first?.groupsClaim, first?.freshGroups],
      ['default', 'Example', 'countersign', 'countersign-cli', 'groups', 'userinfo'],
    );
    assert.deepEqual(first?.web.scopes, ['openid', 'profile', 'email', 'offline_access']);
    assert.deepEqual(
      [second?.name, second?.title, second?.web.clientId],
      ['okta', 'okta.example.test', 'countersign-cli'],
    );
    assert.deepEqual(
      oidcProvidersOf(identityOf({ providers: [{ ...okta, name: 'default' }] })).map((one) => one.name),
      ['default'],
    );
  });

  void test('takes what a preset knows, and what is written wins', () => {
    for (const preset of Object.keys(presets) as PresetName[]) {
      const [one] = oidcProvidersOf(identityOf({ issuer, preset }));
      const { groupsClaim, algorithms, scopes, parameters, freshGroups } = presets[preset];
      assert.deepEqual(
        [one?.groupsClaim, one?.algorithms, one?.web.scopes, one?.web.parameters, one?.freshGroups],
        [groupsClaim, algorithms, scopes, parameters, freshGroups],
      );
      assert.ok(scopes.includes('openid'));
    }
    const written = {
      groupsClaim: 'g',
      algorithms: ['ES256'],
      freshGroups: 'userinfo',
      web: { scopes: ['openid'], parameters: {} },
    };
    const [own] = oidcProvidersOf(identityOf({ issuer, preset: 'entra', ...written }));
    assert.deepEqual(
      [own?.groupsClaim, own?.algorithms, own?.freshGroups, own?.web.scopes, own?.web.parameters],
      ['g', ['ES256'], 'userinfo', ['openid'], {}],
    );
    const introspection = { clientId: 'c', clientSecret: 's' };
    assert.equal(
      oidcProvidersOf(identityOf({ issuer, preset: 'keycloak', introspection }))[0]?.freshGroups,
      'introspection',
    );
  });

  void test('that would let one be taken for another is refused', () => {
    const refuse = (identity: Record<string, unknown>, message: RegExp) =>
      misconfigured(() => providersOf(identityOf(identity)), message);
    refuse({}, /issuer/);
    refuse({ issuer, providers: [{ ...okta, issuer }] }, /default and okta have the same issuer/);
    refuse({ issuer, providers: [{ ...okta, issuer: `${issuer}/` }] }, /the same issuer/);
    refuse({ issuer, providers: [okta, { ...okta, issuer: 'https://x.test' }] }, /the name okta is used twice/);
    refuse({ issuer, providers: [{ ...okta, name: 'default' }] }, /the name default is used twice/);
    refuse({ issuer, providers: [{ ...okta, name: 'service' }] }, /can have the name service/);
    for (const name of ['Okta', 'a:b', '', 'a b']) refuse({ issuer, providers: [{ ...okta, name }] }, /providers/);
    refuse({ issuer, algorithms: ['HS256'] }, /algorithms/);
    refuse({ issuer, algorithms: ['none'] }, /algorithms/);
    refuse({ issuer, algorithms: [] }, /algorithms/);
    refuse({ issuer: 'http://id.example.test' }, /https/);
    refuse({ issuer, web: { scopes: ['profile'] } }, /openid/);
    refuse({ issuer, freshGroups: 'introspection' }, /needs a client/);
    refuse({ issuer, providers: [okta], serviceAccounts: [account({ name: 'okta:dora' })] }, /looks like a person/);
    refuse({ issuer, providers: [okta], serviceAccounts: [account({ name: 'OKTA:dora' })] }, /looks like a person/);
    refuse({ issuer, serviceAccounts: [account({ provider: 'okta' })] }, /no OpenID provider okta/);
    refuse({ issuer, serviceAccounts: [account({}), account({ subject: 'b' })] }, /name etl is used twice/);
    const chain = [account({}), account({ name: 'b', subject: 'b', owner: 'etl', provider: 'okta' })];
    refuse({ issuer, providers: [okta], serviceAccounts: chain }, /service account itself/);
  });
});
