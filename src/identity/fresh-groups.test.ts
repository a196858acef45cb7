/** Groups at a decision: who is asked, what counts, and what is too old. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { startTestStore, type TestStore } from '../../test/control-store.ts';
import { identityOf, refused } from '../../test/identity-fixtures.ts';
import { json, startLocalIssuer, type LocalIssuer } from '../../test/local-issuer.ts';
import { CountersignError } from '../errors.ts';
import type { SeenPrincipal } from '../store/principals.ts';
import { PrincipalDirectory } from './directory.ts';
import { FreshGroups, type FreshGroupsOptions } from './fresh-groups.ts';
import { Humans } from './humans.ts';
import { IdentityProviders } from './providers.ts';
import { SessionRefresh, type SessionRefreshOptions } from './session-refresh.ts';

const minuteMs = 60_000;
const groups = ['chunk-designers', 'staff'];
const person = (id: string, more: Partial<SeenPrincipal> = {}): SeenPrincipal => ({
  id,
  human: id,
  kind: 'person',
  displayName: id,
  email: undefined,
  groups,
  ...more,
});

void describe('groups at a decision', () => {
  let database: TestStore;
  let local: LocalIssuer;
  let aheadMs = 0;
  const clock = { now: () => Date.now() + aheadMs };
  let directory: PrincipalDirectory;
  const directoryOf = () => {
    const { store } = database;
    const humans = new Humans({ store, clock, record: () => Promise.resolve() });
    return new PrincipalDirectory({ store, clock, humans });
  };
  const make = (more: Partial<FreshGroupsOptions> = {}, identity: object = {}) => {
    const providers = new IdentityProviders({ identity: identityOf({ issuer: local.issuer, ...identity }), clock });
    return new FreshGroups({
      providers,
      directory,
      refresh: () => Promise.resolve(undefined),
      groupsMaxAgeMs: 15 * minuteMs,
      clock,
      ...more,
    });
  };
  const bearer = (token: string) => ({ kind: 'bearer', token }) as const;
  const cookie = { kind: 'web-session', cookie: 'c' } as const;
  const known = async (id: string) => (await directory.get(id))?.groups;

  before(async () => {
    [database, local] = await Promise.all([startTestStore(), startLocalIssuer()]);
    directory = directoryOf();
  });
  after(() => Promise.all([database?.stop(), local?.close()]));
  afterEach(() => {
    aheadMs = 0;
    delete local.answers['/userinfo'];
  });

  void test("of a person are what the provider's userinfo says now, and everybody learns of it", async () => {
    const token = await local.sign({ groups });
    const dora = await directory.seen(person('dora'));
    local.answers['/userinfo'] = json({ sub: 'dora', groups: ['staff'] });
    const now = await make().freshPrincipal(dora, bearer(token));
    assert.deepEqual(now, { ...dora, groups: ['staff'] });
    assert.deepEqual(await known('dora'), ['staff']);
    // The old token still lists the group. It does not bring it back.
    const again = await directory.seen(person('dora', { groupsAt: new Date(Date.now() - minuteMs) }));
    assert.deepEqual(again.groups, ['staff']);
    assert.deepEqual(await known('dora'), ['staff']);
    local.answers['/userinfo'] = json({ sub: 'dora', groups: ['staff', 'chunk-designers'] });
    assert.deepEqual((await make().freshPrincipal(again, bearer(token))).groups, ['staff', 'chunk-designers']);
  });

  void test('are refused where the provider does not say them', async () => {
    const token = await local.sign({ groups });
    const dora = await directory.seen(person('dora'));
    const ask = () => make().freshPrincipal(dora, bearer(token));
    for (const status of [400, 401, 403]) {
      local.answers['/userinfo'] = json({}, status);
      await refused(ask(), 'token_invalid', /does not take this token any more/);
    }
    local.answers['/userinfo'] = json({ sub: 'dora' });
    await refused(ask(), 'groups_claim_missing', /lacks the claim/);
    local.answers['/userinfo'] = json({ sub: 'dora', groups, _claim_names: { groups: 'src1' } });
    await refused(ask(), 'groups_claim_missing', /overage/);
    local.answers['/userinfo'] = json({ sub: 'emil', groups });
    await refused(ask(), 'token_invalid', /another subject/);
    for (const status of [302, 404, 500]) {
      local.answers['/userinfo'] = json({ sub: 'dora', groups }, status);
      await refused(ask(), 'identity_provider_unreachable', new RegExp(`status ${status}`));
    }
  });

  void test('are those of the token where the provider is set so, as long as it is young', async () => {
    const byToken = make({}, { freshGroups: 'token' });
    local.answers['/userinfo'] = json({ sub: 'tom', groups: ['never asked'] });
    const issuedAt = Math.floor(Date.now() / 1_000);
    const token = await local.sign({ sub: 'tom', groups, iat: issuedAt, exp: issuedAt + 7_200 });
    const tom = await directory.seen(person('tom', { groupsAt: new Date(issuedAt * 1_000) }));
    assert.deepEqual((await byToken.freshPrincipal(tom, bearer(token))).groups, groups);
    aheadMs = 14 * minuteMs;
    assert.deepEqual((await byToken.freshPrincipal(tom, bearer(token))).groups, groups);
    aheadMs = 15 * minuteMs + 1_000;
    // Showing the old token once more does not make it younger.
    await directory.seen(person('tom', { groupsAt: new Date(issuedAt * 1_000) }));
    const error = await refused(byToken.freshPrincipal(tom, bearer(token)), 'groups_stale', /too long ago/);
    assert.match(error.message, new RegExp(new Date(issuedAt * 1_000).toISOString()));
    assert.match(error.hint ?? '', /countersign login/);
  });

  void test('of a service account are those of its token, as long as it is young', async () => {
    const etl = person('etl', { kind: 'service', human: 'dora', groupsAt: new Date() });
    const account = await directory.seen(etl);
    const token = await local.sign({ sub: 'etl', groups });
    assert.deepEqual((await make().freshPrincipal(account, bearer(token))).groups, groups);
    assert.deepEqual((await make().freshPrincipal(account, bearer('a-key-of-another-kind'))).groups, groups);
    aheadMs = 16 * minuteMs;
    await refused(make().freshPrincipal(account, bearer(token)), 'groups_stale', /too long ago/);
    await refused(make().freshPrincipal({ ...account, id: 'unseen' }, bearer(token)), 'groups_stale', /not known/);
    aheadMs = 0;
    await refused(
      make().freshPrincipal({ ...account, human: 'emil' }, bearer(token)),
      'token_invalid',
      /somebody else/,
    );
  });

  void test('of a log-in to the page are what its refresh says, or must be young', async () => {
    const pia = await directory.seen(person('pia'));
    assert.deepEqual((await make().freshPrincipal(pia, cookie)).groups, groups);
    const refresh = (principal: SeenPrincipal) => make({ refresh: () => Promise.resolve(principal) });
    const less = person('pia', { groups: ['staff'] });
    assert.deepEqual((await refresh(less).freshPrincipal(pia, cookie)).groups, ['staff']);
    assert.deepEqual(await known('pia'), ['staff']);
    await refused(refresh(person('emil')).freshPrincipal(pia, cookie), 'token_invalid', /somebody else/);
    aheadMs = 16 * minuteMs;
    await refused(make().freshPrincipal(pia, cookie), 'groups_stale', /log in|too long/);
    assert.deepEqual((await refresh(person('pia')).freshPrincipal(pia, cookie)).groups, groups);
  });

  void test('that are kept here win over everything, and are never old', async () => {
    const managedGroups = (id: string) => Promise.resolve(id === 'sam' ? ['kept'] : undefined);
    const sam = await directory.seen(person('sam'));
    aheadMs = 60 * minuteMs;
    const kept = make({ managedGroups });
    for (const now of [
      kept.freshPrincipal(sam, cookie),
      kept.freshPrincipal(sam, bearer('x')),
      kept.recentPrincipal(sam),
      kept.knownPrincipal(sam),
    ]) {
      assert.deepEqual((await now).groups, ['kept']);
    }
  });

  void test('of a database session are read in the directory', async () => {
    const wanda = await directory.seen(person('wanda'));
    assert.deepEqual((await make().recentPrincipal(wanda)).groups, groups);
    await directory.seen(person('wanda', { groups: ['staff'] }));
    assert.deepEqual((await make().recentPrincipal(wanda)).groups, ['staff']);
    assert.deepEqual((await make().knownPrincipal(wanda)).groups, ['staff']);
    aheadMs = 16 * minuteMs;
    const error = await refused(make().recentPrincipal(wanda), 'groups_stale', /too long ago/);
    assert.match(error.hint ?? '', /whoami/);
    // What waits for its release was recent when it was held.
    assert.deepEqual((await make().knownPrincipal(wanda)).groups, ['staff']);
    assert.deepEqual((await make().knownPrincipal({ ...wanda, human: 'emil' })).groups, []);
    assert.deepEqual((await make().knownPrincipal({ ...wanda, id: 'unseen' })).groups, []);
  });

  void test('an id that is known as one provider’s is not another’s', async () => {
    await directory.seen(person('x:1', { provider: 'default' }));
    const other = directoryOf();
    await refused(other.seen(person('x:1', { provider: 'x' })), 'token_invalid', /another provider's/);
    await refused(directory.seen(person('x:1', { provider: 'x' })), 'token_invalid', /another provider's/);
    await refused(directory.seen(person('x:1', { kind: 'service', human: 'dora' })), 'token_invalid', /another/);
    assert.equal((await directory.get('x:1'))?.provider, 'default');
  });
});

void describe('the refresh of a log-in', () => {
  const principal = person('dora');
  const clientId = 'countersign-cli';
  let local: LocalIssuer;
  before(async () => {
    local = await startLocalIssuer();
  });
  after(() => local.close());

  const world = (
    refresh: (token: string) => Promise<{ idToken?: string; accessToken: string; refreshToken?: string }>,
  ) => {
    const state = { refreshToken: 'r0' as string | undefined, ended: 0, used: [] as string[] };
    const webSessions: SessionRefreshOptions['webSessions'] = {
      find: () =>
        Promise.resolve(state.ended > 0 ? undefined : { principal, provider: 'default', expiresAt: new Date() }),
      refreshTokenOf: () => Promise.resolve(state.refreshToken),
      keepRefreshToken: (_cookie, token) => {
        state.refreshToken = token;
        return Promise.resolve();
      },
      end: () => {
        state.ended++;
        return Promise.resolve();
      },
    };
    const providers = new IdentityProviders({
      identity: identityOf({ issuer: local.issuer }),
      clock: { now: () => Date.now() },
    });
    const sessionRefresh = new SessionRefresh({
      webSessions,
      providers,
      flowOf: (name) =>
        name !== 'default'
          ? undefined
          : {
              refresh: async (token) => {
                state.used.push(token);
                return { idToken: undefined, refreshToken: undefined, ...(await refresh(token)) };
              },
            },
    });
    return { state, sessionRefresh };
  };

  void test('gives the groups of the new ID token, or of the new access token, and keeps the new refresh token', async () => {
    const idToken = await local.sign({ aud: clientId, groups: ['now'] });
    const byId = world(() => Promise.resolve({ idToken, accessToken: 'opaque', refreshToken: 'r1' }));
    assert.deepEqual((await byId.sessionRefresh.refresh('c'))?.groups, ['now']);
    assert.equal(byId.state.refreshToken, 'r1');
    const accessToken = await local.sign({ groups: ['then'] });
    const byAccess = world(() => Promise.resolve({ accessToken }));
    assert.deepEqual((await byAccess.sessionRefresh.refresh('c'))?.groups, ['then']);
    assert.equal(byAccess.state.refreshToken, 'r0');
  });

  void test('uses each refresh token once, however many decide at one moment', async () => {
    const idToken = await local.sign({ aud: clientId, groups: ['now'] });
    let turn = 0;
    const { state, sessionRefresh } = world(async () => {
      await new Promise((resolve) => setImmediate(resolve));
      return { idToken, accessToken: 'opaque', refreshToken: `r${++turn}` };
    });
    await Promise.all([1, 2, 3].map(() => sessionRefresh.refresh('c')));
    assert.deepEqual(state.used, ['r0', 'r1', 'r2']);
  });

  void test('that the provider refuses, or that proves nothing, ends the session', async () => {
    const over = new CountersignError('token_invalid', 'the identity provider has ended this log-in');
    const ended = world(() => Promise.reject(over));
    await refused(ended.sessionRefresh.refresh('c'), 'token_invalid', /has ended this log-in/);
    assert.equal(ended.state.ended, 1);
    await refused(ended.sessionRefresh.refresh('c'), 'token_invalid', /this log-in has ended/);
    const forOther = await local.sign({ aud: 'somebody-else', groups });
    const strange = world(() => Promise.resolve({ idToken: forOther, accessToken: 'opaque' }));
    await refused(strange.sessionRefresh.refresh('c'), 'token_invalid', /audience/);
    assert.equal(strange.state.ended, 1);
    const away = world(() => Promise.reject(new CountersignError('identity_provider_unreachable', 'no answer')));
    await refused(away.sessionRefresh.refresh('c'), 'identity_provider_unreachable', /no answer/);
    assert.equal(away.state.ended, 0, 'a provider that is away says nothing about the person');
  });

  void test('is not possible without a refresh token', async () => {
    const { state, sessionRefresh } = world(() => Promise.reject(new Error('never asked')));
    state.refreshToken = undefined;
    assert.equal(await sessionRefresh.refresh('c'), undefined);
  });
});
