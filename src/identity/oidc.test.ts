/** Tokens of a real provider, and of a hand-made one for what a real provider would not sign. */
import assert from 'node:assert/strict';
import { createHmac, createPublicKey, type JsonWebKey } from 'node:crypto';
import { createServer, type RequestListener, type Server } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWTHeaderParameters } from 'jose';
import { approveDeviceCode, startOidcProvider, type OidcProvider } from '../../demo/oidc-provider.ts';
import { clientCredentials, deviceLogin } from '../cli/login.ts';
import { CountersignError, type ErrorCode } from '../errors.ts';
import { TokenVerifier, type TokenVerifierOptions } from './oidc.ts';

const serviceAccounts = [
  { name: 'etl-runner', subject: 'etl-runner', owner: 'executor' },
  { name: 'nightly', subject: 'etl-nightly', owner: 'executor', groups: ['chunk-executors'] },
];
const clock = { now: () => Date.now() };

function verifierFor(issuer: string, more: Partial<TokenVerifierOptions> = {}): TokenVerifier {
  return new TokenVerifier({ issuer, audience: 'countersign', groupsClaim: 'groups', serviceAccounts, clock, ...more });
}

async function refused(work: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<CountersignError> {
  let caught: unknown;
  try {
    await work;
  } catch (error) {
    caught = error;
  }
  assert(caught instanceof CountersignError, `expected ${code}, got ${String(caught)}`);
  assert.equal(caught.code, code);
  assert.match([caught.message, caught.detail].join('\n'), message);
  return caught;
}

function partsOf(jwt: string): {
  header: Record<string, unknown>;
  payload: Record<string, unknown>;
  signature: string;
} {
  const [header = '', payload = '', signature = ''] = jwt.split('.');
  const decode = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>;
  return { header: decode(header), payload: decode(payload), signature };
}

const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');

async function listen(handler: RequestListener): Promise<{ server: Server; issuer: string }> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  assert(address !== null && typeof address === 'object');
  return { server, issuer: `http://127.0.0.1:${address.port}` };
}

void describe('tokens of a real provider', () => {
  const secret = 'a-client-secret';
  const lifeSeconds = 600;
  let provider: OidcProvider;
  let issuer: string;
  const tokens: Record<'designer' | 'nobody' | 'overage' | 'etl-runner', string> = {
    designer: '',
    nobody: '',
    overage: '',
    'etl-runner': '',
  };
  const ofClient = async (clientId: string, resource?: string): Promise<string> =>
    (await clientCredentials({ issuer, clientId, clientSecret: secret, resource })).accessToken;

  before(async () => {
    const password = 'a-password';
    provider = await startOidcProvider({
      accessTokenTtlSeconds: lifeSeconds,
      accounts: [
        {
          id: 'designer',
          password,
          groups: ['chunk-designers', 'staff'],
          displayName: 'Dora',
          email: 'd@example.test',
        },
        { id: 'nobody', password, groups: undefined },
        { id: 'overage', password, groups: undefined, claims: { _claim_names: { groups: 'src1' } } },
        { id: 'etl-runner', password, groups: ['chunk-executors'] },
      ],
      services: [
        { id: 'etl-runner', secret, groups: ['chunk-executors'] },
        { id: 'etl-nightly', secret, groups: undefined },
        { id: 'etl-rogue', secret, groups: ['chunk-executors'] },
        { id: 'etl-bare', secret, groups: undefined },
      ],
    });
    issuer = provider.issuer;
    const logIn = async (account: keyof typeof tokens): Promise<void> => {
      const { accessToken } = await deviceLogin({
        issuer,
        clientId: 'countersign-cli',
        audience: 'countersign',
        onPrompt: ({ userCode }) => approveDeviceCode(issuer, userCode, account, password),
      });
      tokens[account] = accessToken;
    };
    await Promise.all((Object.keys(tokens) as (keyof typeof tokens)[]).map(logIn));
  });
  after(() => provider.close());

  void test('a person who logged in by the device flow is their own human', async () => {
    const { expiresAt, groupsAt, ...principal } = await verifierFor(issuer).verify(tokens.designer);
    assert.deepEqual(principal, {
      provider: 'default',
      id: 'designer',
      human: 'designer',
      kind: 'person',
      displayName: 'Dora',
      email: 'd@example.test',
      groups: ['chunk-designers', 'staff'],
    });
    assert.equal(expiresAt.getTime(), Number(partsOf(tokens.designer).payload['exp']) * 1_000);
    assert.equal(groupsAt.getTime(), Number(partsOf(tokens.designer).payload['iat']) * 1_000);
  });

  void test('a service account counts as its owner, with the groups of its token', async () => {
    const found = await verifierFor(issuer).verify(await ofClient('etl-runner'));
    const { expiresAt: _expiresAt, groupsAt: _groupsAt, ...principal } = found;
    assert.deepEqual(principal, {
      provider: 'service',
      id: 'etl-runner',
      human: 'executor',
      kind: 'service',
      displayName: 'etl-runner',
      email: undefined,
      groups: ['chunk-executors'],
    });
  });

  void test('a service account goes by its registered name and takes its groups from the configuration', async () => {
    const principal = await verifierFor(issuer).verify(await ofClient('etl-nightly'));
    assert.equal(principal.id, 'nightly');
    assert.equal(principal.human, 'executor');
    assert.deepEqual(principal.groups, ['chunk-executors']);
  });

  void test('a service account that is not registered has no owner and is refused', async () => {
    const error = await refused(
      verifierFor(issuer).verify(await ofClient('etl-rogue')),
      'token_invalid',
      /service account "etl-rogue" is not registered; it has no owner/,
    );
    assert.match(error.hint ?? '', /identity\.serviceAccounts/);
  });

  void test('a person with the name of a service account is refused', async () => {
    await refused(verifierFor(issuer).verify(tokens['etl-runner']), 'token_invalid', /is a service account/);
    const byName = verifierFor(issuer, {
      serviceAccounts: [{ name: 'designer', subject: 'other', owner: 'executor' }],
    });
    await refused(byName.verify(tokens.designer), 'token_invalid', /is a service account/);
  });

  void test('a token without groups is refused, also of a service account', async () => {
    const registered = [{ name: 'bare', subject: 'etl-bare', owner: 'executor' }];
    await refused(verifierFor(issuer).verify(tokens.nobody), 'groups_claim_missing', /lacks the claim `groups`/);
    await refused(
      verifierFor(issuer, { serviceAccounts: registered }).verify(await ofClient('etl-bare')),
      'groups_claim_missing',
      /lacks/,
    );
  });

  void test('a token whose groups did not fit is refused', async () => {
    await refused(verifierFor(issuer).verify(tokens.overage), 'groups_claim_missing', /overage/);
  });

  void test('a token for another audience is refused, and the audience named', async () => {
    const token = await ofClient('etl-runner', 'urn:payroll');
    await refused(verifierFor(issuer).verify(token), 'token_invalid', /audience "payroll", not for countersign/);
    assert.equal((await verifierFor(issuer, { audience: 'payroll' }).verify(token)).id, 'etl-runner');
  });

  void test('a token of another issuer is refused without asking anybody', async () => {
    const token = partsOf(tokens.designer);
    const foreign = `${encode(token.header)}.${encode({ ...token.payload, iss: 'https://evil.test' })}.${token.signature}`;
    await refused(verifierFor(issuer).verify(foreign), 'token_invalid', /issued by "https:\/\/evil\.test"/);
  });

  void test('a token lives until its end and the tolerance, not longer', async () => {
    const endMs = Number(partsOf(tokens.designer).payload['exp']) * 1_000;
    const at = (nowMs: number) =>
      verifierFor(issuer, { clock: { now: () => nowMs }, clockToleranceMs: 10_000 }).verify(tokens.designer);
    assert.equal((await at(endMs + 9_000)).id, 'designer');
    await refused(at(endMs + 10_000), 'token_expired', new RegExp(new Date(endMs).toISOString()));
  });

  void test('no altered token passes', async () => {
    const verifier = verifierFor(issuer);
    const [header = '', payload = '', signature = ''] = tokens.designer.split('.');
    const claims = { ...partsOf(tokens.designer).payload, groups: ['chunk-executors'] };
    await refused(verifier.verify(`${header}.${encode(claims)}.${signature}`), 'token_invalid', /signature is wrong/);
    const bytes = Buffer.from(signature, 'base64url');
    bytes[7] = (bytes[7] ?? 0) ^ 1;
    await refused(verifier.verify(`${header}.${payload}.${bytes.toString('base64url')}`), 'token_invalid', /signature/);
    await refused(verifier.verify(`${header}.${payload}.`), 'token_invalid', /signature|malformed/);
    for (const text of ['', 'x', 'a.b.c', `${header}.${payload}`, `${tokens.designer}.x`, 'x'.repeat(40_000)]) {
      await refused(verifier.verify(text), 'token_invalid', /token/);
    }
  });

  void test('no signature and a signature with the public key as a secret are refused', async () => {
    const { payload } = partsOf(tokens.designer);
    const { kid } = partsOf(tokens.designer).header;
    for (const alg of ['none', 'None', 'NONE']) {
      const unsigned = `${encode({ alg, kid })}.${encode(payload)}.`;
      await refused(verifierFor(issuer).verify(unsigned), 'token_invalid', /not signed in a way that is allowed/);
    }
    const { keys } = (await (await fetch(`${issuer}/jwks`)).json()) as { keys: JsonWebKey[] };
    const [jwk] = keys;
    assert(jwk !== undefined);
    const publicKey = createPublicKey({ key: jwk, format: 'jwk' });
    for (const secretBytes of [publicKey.export({ type: 'spki', format: 'pem' }), JSON.stringify(jwk)]) {
      const content = `${encode({ alg: 'HS256', typ: 'at+jwt', kid })}.${encode(payload)}`;
      const forged = `${content}.${createHmac('sha256', secretBytes).update(content).digest('base64url')}`;
      await refused(verifierFor(issuer).verify(forged), 'token_invalid', /not signed in a way that is allowed/);
    }
  });

  void test('an algorithm that is not on the list is refused even with the right key', async () => {
    const verifier = verifierFor(issuer, { allowedAlgorithms: ['RS256'] });
    await refused(verifier.verify(tokens.designer), 'token_invalid', /allowed: RS256/);
  });
});

for (const signingAlgorithm of ['RS256', 'PS256', 'EdDSA'] as const) {
  void test(`a provider that signs with ${signingAlgorithm} is understood`, async () => {
    const provider = await startOidcProvider({ signingAlgorithm });
    try {
      const { issuer } = provider;
      const client = { issuer, clientId: 'etl-runner', clientSecret: 'etl-runner-secret' };
      const { accessToken } = await clientCredentials(client);
      assert.equal(partsOf(accessToken).header['alg'], signingAlgorithm);
      assert.equal((await verifierFor(issuer).verify(accessToken)).id, 'etl-runner');
    } finally {
      await provider.close();
    }
  });
}

void test('new keys of the provider are found, and its old ones are no longer taken', async (context) => {
  const first = await startOidcProvider();
  context.after(() => first.close());
  const { issuer } = first;
  const port = Number(new URL(issuer).port);
  const client = { issuer, clientId: 'etl-runner', clientSecret: 'etl-runner-secret' };
  const verifier = verifierFor(issuer, { jwksCooldownMs: 0 });
  const old = (await clientCredentials(client)).accessToken;
  await verifier.verify(old);
  await first.close();
  const second = await startOidcProvider({ port });
  try {
    const fresh = (await clientCredentials(client)).accessToken;
    assert.equal((await verifier.verify(fresh)).id, 'etl-runner');
    await refused(verifier.verify(old), 'token_invalid', /a key that .* does not have/);
  } finally {
    await second.close();
  }
});

void test('without its provider a verifier uses the keys that it has, for as long as they are fresh', async (context) => {
  const provider = await startOidcProvider();
  context.after(() => provider.close());
  const { issuer } = provider;
  const client = { issuer, clientId: 'etl-runner', clientSecret: 'etl-runner-secret' };
  const { accessToken } = await clientCredentials(client);
  const patient = verifierFor(issuer, { jwksCooldownMs: 0 });
  const strict = verifierFor(issuer, { jwksCacheMs: 0 });
  const late = verifierFor(issuer);
  await patient.verify(accessToken);
  await strict.verify(accessToken);
  await provider.close();
  await refused(strict.verify(accessToken), 'identity_provider_unreachable', /does not answer/);
  const error = await refused(
    late.verify(accessToken),
    'identity_provider_unreachable',
    /identity provider .* cannot be used/,
  );
  assert.match(error.detail ?? '', /openid-configuration/);
  // A made-up key makes it ask the provider in vain; the good key must survive that.
  const { header, payload, signature } = partsOf(accessToken);
  const unknownKey = `${encode({ ...header, kid: 'made-up' })}.${encode(payload)}.${signature}`;
  await refused(patient.verify(unknownKey), 'identity_provider_unreachable', /does not answer/);
  assert.equal((await patient.verify(accessToken)).id, 'etl-runner');
  // And when the provider is back, so is everybody (with new keys here).
  const again = await startOidcProvider({ port: Number(new URL(issuer).port) });
  try {
    assert.equal((await late.verify((await clientCredentials(client)).accessToken)).id, 'etl-runner');
  } finally {
    await again.close();
  }
});

void describe('what a sound provider would not say', () => {
  let server: Server;
  let issuer: string;
  let answers: Record<string, (response: Parameters<RequestListener>[1]) => void> = {};
  let privateKey: CryptoKey;
  let publicJwk: object;
  const json = (value: unknown) => (response: Parameters<RequestListener>[1]) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  };
  const discovery = '/.well-known/openid-configuration';
  const sign = (claims: Record<string, unknown>, header: Partial<JWTHeaderParameters> = {}): Promise<string> => {
    const nowSeconds = Math.floor(Date.now() / 1_000);
    const standard = { iss: issuer, aud: 'countersign', sub: 'dora', exp: nowSeconds + 60, groups: [], ...claims };
    return new SignJWT(standard).setProtectedHeader({ alg: 'ES256', kid: 'k', ...header }).sign(privateKey);
  };

  before(async () => {
    const pair = await generateKeyPair('ES256');
    privateKey = pair.privateKey;
    publicJwk = { ...(await exportJWK(pair.publicKey)), kid: 'k', use: 'sig' };
    ({ server, issuer } = await listen((request, response) => {
      const answer = answers[request.url ?? ''];
      if (answer === undefined) response.writeHead(404).end('nothing here');
      else answer(response);
    }));
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  const sound = () => ({
    [discovery]: json({ issuer, jwks_uri: `${issuer}/keys` }),
    '/keys': json({ keys: [publicJwk] }),
  });

  for (const [what, answer, message] of [
    ['nothing', undefined, /status 404/],
    [
      'a document of somebody else',
      json({ issuer: 'https://other.test', jwks_uri: 'x' }),
      /document of "https:\/\/other\.test"/,
    ],
    ['no address of keys', 'no keys', /names no https address/],
    ['an address of keys that anybody could answer for', 'plain keys', /names no https address/],
    ['no JSON', (response: Parameters<RequestListener>[1]) => response.end('<html>'), /JSON/],
    ['null', json(null), /JSON object/],
    [
      'a redirect',
      (response: Parameters<RequestListener>[1]) => response.writeHead(302, { location: '/elsewhere' }).end(),
      /status 302/,
    ],
    ['too much', (response: Parameters<RequestListener>[1]) => response.end('x'.repeat(1024 * 1024 + 1)), /more than/],
  ] as const) {
    void test(`discovery that answers with ${what} is refused`, async () => {
      const documents = { 'no keys': { issuer }, 'plain keys': { issuer, jwks_uri: 'http://keys.example.test/' } };
      const given = typeof answer === 'string' ? json(documents[answer]) : answer;
      answers = {
        ...sound(),
        ...(given === undefined ? { [discovery]: (r) => r.writeHead(404).end() } : { [discovery]: given }),
      };
      const verifier = verifierFor(issuer);
      await refused(verifier.verify(await sign({})), 'identity_provider_unreachable', message);
      answers = sound();
      assert.equal((await verifier.verify(await sign({}))).id, 'dora');
    });
  }

  void test('keys that cannot be had, or are none, are refused', async () => {
    answers = { ...sound(), '/keys': (response) => response.writeHead(500).end() };
    await refused(verifierFor(issuer).verify(await sign({})), 'identity_provider_unreachable', /status 500/);
    answers = { ...sound(), '/keys': json({ keys: 'none' }) };
    await refused(verifierFor(issuer).verify(await sign({})), 'identity_provider_unreachable', /malformed/);
  });

  for (const [what, claims, header, code, message] of [
    ['no end', { exp: undefined }, {}, 'token_invalid', /`exp` is missing/],
    ['no subject', { sub: undefined }, {}, 'token_invalid', /`sub` is missing/],
    ['a start in the future', { nbf: 4_000_000_000 }, {}, 'token_invalid', /not valid yet/],
    ['no audience', { aud: undefined }, {}, 'token_invalid', /audience/],
    ['the type of a log-out token', {}, { typ: 'logout+jwt' }, 'token_invalid', /logout\+jwt/],
    ['a binding to a key of its client', { cnf: { jkt: 'x' } }, {}, 'token_invalid', /bound to a key/],
    ['a subject with a NUL', { sub: 'a\0' }, {}, 'token_invalid', /control characters/],
    [
      'a Keycloak service account that is not registered',
      { sub: '7f4c', azp: 'etl', preferred_username: 'service-account-etl' },
      {},
      'token_invalid',
      /"etl" is not registered/,
    ],
  ] as const) {
    void test(`a signed token with ${what} is refused`, async () => {
      answers = sound();
      await refused(verifierFor(issuer).verify(await sign(claims, header)), code, message);
    });
  }

  void test('a Keycloak service account is registered by the subject that its tokens carry', async () => {
    answers = sound();
    const accounts = [{ name: 'etl', subject: '7f4c', owner: 'executor' }];
    const verifier = verifierFor(issuer, { serviceAccounts: accounts, groupsClaim: 'realm_access.roles' });
    const claims = { azp: 'etl-client', realm_access: { roles: ['chunk-executors'] } };
    const own = await sign({ ...claims, sub: '7f4c', preferred_username: 'service-account-etl-client' });
    const principal = await verifier.verify(own);
    assert.deepEqual([principal.id, principal.human, principal.groups], ['etl', 'executor', ['chunk-executors']]);
    // A person can choose such a user name, but not the subject.
    const posing = await sign({ ...claims, sub: '99', preferred_username: 'service-account-etl-client' });
    await refused(verifier.verify(posing), 'token_invalid', /not registered/);
  });
});

void test('a configuration that would let anybody in is refused at start', () => {
  const misconfigured = (more: Partial<TokenVerifierOptions>, message: RegExp, issuer = 'https://id.example.test') =>
    assert.throws(
      () => verifierFor(issuer, more),
      (error: unknown) =>
        error instanceof CountersignError && error.code === 'configuration_invalid' && message.test(error.message),
    );
  const account = (name: string, subject: string, owner: string) => ({ name, subject, owner });
  misconfigured({}, /https/, 'http://id.example.test');
  misconfigured({}, /https/, 'http://127.0.0.1.example.test');
  misconfigured({ allowedAlgorithms: ['RS256', 'HS256'] }, /HS256/);
  misconfigured({ allowedAlgorithms: ['none'] }, /none/);
  misconfigured({ serviceAccounts: [account('a', 'b', 'c'), account('a', 'd', 'e')] }, /name a is used twice/);
  misconfigured({ serviceAccounts: [account('a', 'b', 'c'), account('d', 'b', 'e')] }, /subject b is used twice/);
  misconfigured({ serviceAccounts: [account('a', 'b', 'c'), account('d', 'e', 'a')] }, /service account itself/);
  misconfigured({ serviceAccounts: [account('a', 'b', 'b')] }, /service account itself/);
});
