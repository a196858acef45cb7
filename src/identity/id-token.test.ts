/** ID tokens: what a log-in to the page proves, and where its groups come from. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, beforeEach, describe, test } from 'node:test';
import { json, startLocalIssuer, type LocalIssuer } from '../../test/local-issuer.ts';
import { CountersignError, type ErrorCode } from '../errors.ts';
import { TokenVerifier, type IdTokenAsk, type TokenVerifierOptions } from './oidc.ts';

const clock = { now: () => Date.now() };
const ask: IdTokenAsk = { nonce: 'n1', clientId: 'countersign-web' };
const id = { aud: 'countersign-web', nonce: 'n1' };
const groups = ['chunk-designers'];
const overage = { _claim_names: { groups: 'src1' }, _claim_sources: { src1: { endpoint: 'https://graph.example' } } };

async function refused(work: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(work, (error: unknown) => {
    assert(error instanceof CountersignError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

void describe('an ID token', () => {
  let local: LocalIssuer;
  let verifier: TokenVerifier;
  const make = (more: Partial<TokenVerifierOptions> = {}) =>
    new TokenVerifier({
      issuer: local.issuer,
      audience: 'countersign',
      groupsClaim: 'groups',
      serviceAccounts: [{ name: 'etl', subject: 'etl-client', owner: 'emil' }],
      clock,
      ...more,
    });
  before(async () => {
    local = await startLocalIssuer();
    verifier = make();
  });
  after(() => local.close());
  beforeEach(() => {
    delete local.answers['/userinfo'];
    local.asked.clear();
  });

  void test('is a person with the groups that it lists', async () => {
    const claims = { ...id, groups, name: 'Dora', email: 'd@example.test', email_verified: true, iat: 1_700_000_000 };
    const { expiresAt: _, ...person } = await verifier.verifyIdToken(await local.sign(claims), ask);
    assert.deepEqual(person, {
      id: 'dora',
      human: 'dora',
      kind: 'person',
      displayName: 'Dora',
      email: 'd@example.test',
      groups,
      provider: 'default',
      groupsAt: new Date(1_700_000_000_000),
    });
    assert.equal(local.asked.get('/userinfo'), undefined);
  });

  void test('is for the client that asked and answers its question', async () => {
    const verify = async (claims: object, header = {}) =>
      verifier.verifyIdToken(await local.sign({ ...id, groups, ...claims }, header), ask);
    await refused(verify({ aud: 'countersign' }), 'token_invalid', /audience "countersign", not for countersign-web/);
    await refused(verify({ nonce: 'n2' }), 'token_invalid', /another log-in/);
    await refused(verify({ nonce: undefined }), 'token_invalid', /another log-in/);
    await refused(verify({ iat: undefined }), 'token_invalid', /`iat` is missing/);
    await refused(verify({ iat: Date.now() / 1_000 + 90 }), 'token_invalid', /issued in the future/);
    await refused(verify({ nbf: Date.now() / 1_000 + 90 }), 'token_invalid', /not valid yet/);
    await refused(verify({ exp: Date.now() / 1_000 - 90 }), 'token_expired', /expired at/);
    await refused(verify({ azp: 'other' }), 'token_invalid', /issued to "other"/);
    const both = ['countersign-web', 'other'];
    await refused(verify({ aud: both }), 'token_invalid', /issued to nobody/);
    await refused(verify({ aud: both, azp: 'other' }), 'token_invalid', /issued to "other"/);
    assert.equal((await verify({ aud: both, azp: 'countersign-web' })).id, 'dora');
    await refused(verify({}, { typ: 'at+jwt' }), 'token_invalid', /no ID token/);
    await refused(verify({}, { typ: 'logout+jwt' }), 'token_invalid', /no ID token/);
    await refused(verify({ events: {} }), 'token_invalid', /events/);
    await refused(verify({ typ: 'Bearer' }), 'token_invalid', /"Bearer" is no ID token/);
    assert.equal((await verify({ typ: 'ID' })).id, 'dora');
    await refused(verify({ sub: 'etl-client', client_id: 'etl-client' }), 'token_invalid', /does not log in/);
    await refused(verify({ sub: 'etl' }), 'token_invalid', /is a service account/);
    const unasked = verifier.verifyIdToken(await local.sign({ ...id, nonce: '', groups }), { ...ask, nonce: '' });
    await refused(unasked, 'token_invalid', /another log-in/);
  });

  void test('belongs to the access token that came with it', async () => {
    for (const [algorithm, hash] of [
      ['ES256', 'sha256'],
      ['ES512', 'sha512'],
      ['EdDSA', 'sha512'],
    ] as const) {
      const other = await startLocalIssuer(algorithm);
      try {
        const accessToken = 'opaque-token';
        const digest = createHash(hash).update(accessToken).digest();
        const at_hash = digest.subarray(0, digest.length / 2).toString('base64url');
        const jwt = await other.sign({ ...id, groups, at_hash });
        const own = make({ issuer: other.issuer, allowedAlgorithms: [algorithm] });
        assert.equal((await own.verifyIdToken(jwt, { ...ask, accessToken })).id, 'dora');
        await refused(own.verifyIdToken(jwt, { ...ask, accessToken: 'other' }), 'token_invalid', /at_hash/);
        assert.equal((await own.verifyIdToken(jwt, ask)).id, 'dora');
      } finally {
        await other.close();
      }
    }
  });

  void test('takes the groups of the access token, of the same subject only', async () => {
    const jwt = await local.sign(id);
    const verify = async (claims: Record<string, unknown>) =>
      verifier.verifyIdToken(jwt, { ...ask, accessToken: await local.sign(claims) });
    const dora = await verify({ groups, name: 'Dora', email: 'd@example.test' });
    assert.deepEqual([dora.groups, dora.displayName, dora.email], [groups, 'Dora', 'd@example.test']);
    assert.equal(local.asked.get('/userinfo'), undefined);
    await refused(verify({ groups, sub: 'emil' }), 'token_invalid', /another subject/);
    await refused(verify({ groups: 7 }), 'groups_claim_missing', /not a list/);
  });

  void test('takes the groups of userinfo, of the same subject only', async () => {
    const jwt = await local.sign(id);
    const foreign = await local.sign({ aud: 'somebody-else', groups: ['chunk-executors'] });
    for (const accessToken of ['opaque', foreign, await local.sign({})]) {
      const verify = (answer: unknown, status = 200) => {
        local.answers['/userinfo'] = (response, request, body) => {
          const isAsked = request.headers.authorization === `Bearer ${accessToken}`;
          json(isAsked ? answer : {}, isAsked ? status : 401)(response, request, body);
        };
        return verifier.verifyIdToken(jwt, { ...ask, accessToken });
      };
      assert.deepEqual((await verify({ sub: 'dora', groups })).groups, groups);
      await refused(verify({ sub: 'emil', groups }), 'token_invalid', /another subject/);
      await refused(verify({ groups }), 'token_invalid', /another subject/);
      await refused(verify({ sub: 'dora' }), 'groups_claim_missing', /neither the ID token/);
      await refused(verify({ sub: 'dora', ...overage }), 'groups_claim_missing', /overage/);
      await refused(verify({}, 401), 'token_invalid', /does not take this token any more/);
      await refused(verify({}, 500), 'identity_provider_unreachable', /cannot be used/);
      await refused(verify([]), 'identity_provider_unreachable', /cannot be used/);
    }
  });

  void test('has name and address from where they are, and only an address that nobody calls unverified', async () => {
    const verify = async (own: object, told: object | undefined, status = 200) => {
      if (told === undefined) delete local.answers['/userinfo'];
      else local.answers['/userinfo'] = json(told, status);
      const jwt = await local.sign({ ...id, groups, ...own });
      const { displayName, email } = await verifier.verifyIdToken(jwt, { ...ask, accessToken: 'opaque' });
      return [displayName, email];
    };
    const told = { sub: 'dora', name: 'Dora', email: 'd@example.test' };
    assert.deepEqual(await verify({}, told), ['Dora', 'd@example.test']);
    assert.deepEqual(await verify({ name: 'D.' }, told), ['D.', 'd@example.test']);
    assert.deepEqual(await verify({}, { ...told, email_verified: false }), ['Dora', undefined]);
    const unverified = { email: 'd@example.test', email_verified: false };
    assert.deepEqual(await verify(unverified, { ...told, email: 'other@example.test' }), ['Dora', undefined]);
    assert.deepEqual(await verify({}, { ...told, sub: 'emil' }), ['dora', undefined], 'of another subject');
    assert.deepEqual(await verify({}, told, 500), ['dora', undefined]);
    assert.deepEqual(await verify({}, undefined), ['dora', undefined]);
  });

  void test('without groups anywhere, or with too many to list, is refused', async () => {
    await refused(verifier.verifyIdToken(await local.sign(id), ask), 'groups_claim_missing', /neither the ID token/);
    const tooMany = { ...id, ...overage };
    local.answers['/userinfo'] = json({ sub: 'dora', groups });
    const withToken = { ...ask, accessToken: await local.sign({ groups }) };
    await refused(verifier.verifyIdToken(await local.sign(tooMany), withToken), 'groups_claim_missing', /overage/);
    const flagged = await local.sign({ ...id, hasgroups: true });
    await refused(verifier.verifyIdToken(flagged, withToken), 'groups_claim_missing', /overage/);
    const accessOverage = { ...ask, accessToken: await local.sign(overage) };
    await refused(verifier.verifyIdToken(await local.sign(id), accessOverage), 'groups_claim_missing', /overage/);
  });

  void test('is no access token, even where both are for the same audience', async () => {
    const same = make({ audience: 'countersign-web' });
    await refused(same.verify(await local.sign({ ...id, groups, at_hash: 'x' })), 'token_invalid', /ID token/);
    for (const typ of ['ID', 'Refresh', 'Offline', 'Logout']) {
      await refused(same.verify(await local.sign({ ...id, groups, typ })), 'token_invalid', /no access token/);
    }
    await refused(same.verify(await local.sign({ ...id, groups, token_use: 'id' })), 'token_invalid', /access token/);
    assert.equal((await same.verify(await local.sign({ ...id, groups, typ: 'Bearer' }))).id, 'dora');
  });
});
