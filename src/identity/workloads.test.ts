/** Jobs of CI systems: the claims of their tokens decide, all of them, and a binding that says too little is refused. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { identityOf, misconfigured, refused } from '../../test/identity-fixtures.ts';
import { startLocalIssuer, type LocalIssuer } from '../../test/local-issuer.ts';
import { IdentityProviders } from './providers.ts';

const clock = { now: () => Date.now() };
const groups = ['chunk-executors'];
const main = { repository: 'org/repo', ref: 'refs/heads/main' };
const deployer = { name: 'deployer', owner: 'emil', groups };

void describe('a job of a CI system', () => {
  let ci: LocalIssuer;
  let people: LocalIssuer;
  const providersOf = (workloads: object[], more: object = {}) =>
    new IdentityProviders({
      identity: identityOf({
        issuer: people.issuer,
        serviceAccounts: [deployer, { ...deployer, name: 'tester', owner: 'dora', groups: ['chunk-designers'] }],
        workloads: workloads.map((one) => ({
          name: 'main',
          issuer: ci.issuer,
          audience: 'countersign-ci',
          claims: main,
          serviceAccount: 'deployer',
          ...one,
        })),
        ...more,
      }),
      clock,
    });
  const job = (claims: Record<string, unknown> = {}, header = {}) =>
    ci.sign({ aud: 'countersign-ci', sub: 'repo:org/repo:ref:refs/heads/main', ...main, ...claims }, header);

  before(async () => {
    [ci, people] = await Promise.all([startLocalIssuer('RS256'), startLocalIssuer()]);
  });
  after(() => Promise.all([ci, people].map((one) => one.close())));

  void test('is the service account, with its owner and its configured groups', async () => {
    const iat = Math.floor(Date.now() / 1_000);
    const { expiresAt, ...principal } = await providersOf([{}]).verify(await job({ iat, groups: ['auditors'] }));
    assert.deepEqual(principal, {
      id: 'deployer',
      human: 'emil',
      kind: 'service',
      displayName: 'deployer',
      email: undefined,
      groups,
      provider: 'service',
      groupsAt: new Date(iat * 1_000),
    });
    assert.equal(expiresAt.getTime(), (iat + 60) * 1_000);
  });

  for (const [what, claims] of [
    ['another repository', { repository: 'org/repo2' }],
    ['a repository whose name begins like it', { repository: 'org/repo-of-mine' }],
    ['another spelling', { repository: 'Org/repo' }],
    ['another branch', { ref: 'refs/heads/other' }],
    ['no branch', { ref: undefined }],
    ['a list', { ref: ['refs/heads/main'] }],
    ['something that prints like it', { ref: { toString: 'refs/heads/main' } }],
    ['null', { ref: null }],
  ] as const) {
    void test(`of ${what} is nobody`, async () => {
      const error = await refused(providersOf([{}]).verify(await job(claims)), 'token_invalid', /does not fit/);
      assert.match(error.detail ?? '', /^main: `(repository|ref)` is /);
    });
  }

  void test('fits one of several texts, or the start that is bound', async () => {
    const listed = providersOf([{ claims: { ...main, ref: ['refs/heads/main', 'refs/heads/next'] } }]);
    assert.equal((await listed.verify(await job({ ref: 'refs/heads/next' }))).id, 'deployer');
    await refused(listed.verify(await job({ ref: 'refs/heads/nex' })), 'token_invalid', /`ref`/);
    const started = providersOf([{ claims: { sub: { startsWith: 'repo:org/repo:' } } }]);
    assert.equal((await started.verify(await job())).id, 'deployer');
    await refused(started.verify(await job({ sub: 'repo:org/repo2:ref:refs/heads/main' })), 'token_invalid', /`sub`/);
    await refused(started.verify(await job({ sub: 'x repo:org/repo:' })), 'token_invalid', /`sub`/);
    const placed = providersOf([{ claims: { repository: 'org/repo', environment: { startsWith: 'prod' } } }]);
    assert.equal((await placed.verify(await job({ environment: 'production' }))).id, 'deployer');
    for (const environment of [['production'], 7, true, null, { startsWith: 'prod' }]) {
      await refused(placed.verify(await job({ environment })), 'token_invalid', /`environment`/);
    }
    const nested = providersOf([{ claims: { sub: 'system:serviceaccount:etl:job', 'pod.namespace': 'etl' } }]);
    const pod = { sub: 'system:serviceaccount:etl:job', pod: { namespace: 'etl' } };
    assert.equal((await nested.verify(await job(pod))).id, 'deployer');
    await refused(nested.verify(await job({ ...pod, pod: { namespace: 'x' } })), 'token_invalid', /pod\.namespace/);
  });

  void test('is looked for among all workloads of its issuer', async () => {
    const two = providersOf([
      {},
      { name: 'next', claims: { ...main, ref: 'refs/heads/next' }, serviceAccount: 'tester' },
    ]);
    assert.equal((await two.verify(await job())).id, 'deployer');
    assert.equal((await two.verify(await job({ ref: 'refs/heads/next' }))).id, 'tester');
    await refused(two.verify(await job({ ref: 'refs/heads/x' })), 'token_invalid', /`ref`/);
  });

  void test('has to be signed, current, and for this audience', async () => {
    const providers = providersOf([{}]);
    const seconds = Math.floor(Date.now() / 1_000);
    await refused(providers.verify(await job({ aud: 'other' })), 'token_invalid', /was issued by/);
    await refused(providers.verify(await job({ exp: seconds - 90 })), 'token_expired', /expired/);
    await refused(providers.verify(await job({ exp: undefined })), 'token_invalid', /`exp` is missing/);
    await refused(providers.verify(await job({ iat: undefined })), 'token_invalid', /`iat` is missing/);
    await refused(providers.verify(await job({ iat: seconds + 90 })), 'token_invalid', /in the future/);
    await refused(providers.verify(await job({ nbf: seconds + 90 })), 'token_invalid', /not valid yet/);
    await refused(providers.verify(await job({}, { typ: 'at+jwt' })), 'token_invalid', /no workload's/);
    await refused(providers.verify(await job({ events: {} })), 'token_invalid', /events/);
    await refused(providers.verify(await job({ cnf: {} })), 'token_invalid', /bound to a key/);
    const forged = await people.sign({ ...main, iss: ci.issuer, aud: 'countersign-ci' });
    await refused(providers.verify(forged), 'token_invalid', /not signed in a way|signature|does not have/);
    const narrow = providersOf([{ algorithms: ['ES256'] }]);
    await refused(narrow.verify(await job()), 'token_invalid', /allowed: ES256/);
    const strict = providersOf([{ clockToleranceMs: 0 }]);
    await refused(strict.verify(await job({ nbf: seconds + 10 })), 'token_invalid', /not valid yet/);
    const [header = '', , signature = ''] = (await job()).split('.');
    const payload = { iss: ci.issuer, aud: 'countersign-ci', iat: seconds, exp: seconds + 60, ...main };
    const changed = `${header}.${Buffer.from(JSON.stringify(payload)).toString('base64url')}.${signature}`;
    await refused(providers.verify(changed), 'token_invalid', /signature is wrong/);
  });

  void test('and a person of one issuer are told apart by the audience', async () => {
    const shared = { issuer: ci.issuer };
    const both = providersOf([{}], shared);
    assert.equal((await both.verify(await job())).id, 'deployer');
    const person = await ci.sign({ groups: ['auditors'], ...main });
    assert.deepEqual((await both.verify(person)).id, 'dora');
    // For both audiences it is a job's, and no job's claims make it a person.
    const mixed = await job({ aud: ['countersign', 'countersign-ci'], ref: 'x', groups: ['auditors'] });
    await refused(both.verify(mixed), 'token_invalid', /does not fit/);
    misconfigured(() => providersOf([{ audience: 'countersign' }], shared), /same issuer and audience/);
    misconfigured(() => providersOf([{ audience: 'countersign-cli' }], shared), /same issuer and audience/);
  });

  void test('a binding that would let in too many is refused at start', () => {
    const refuse = (workload: object, message: RegExp) => misconfigured(() => providersOf([workload]), message);
    refuse({ claims: {} }, /at least one claim besides iss and aud/);
    refuse({ claims: { aud: 'countersign-ci', iss: 'x', jti: 'y' } }, /at least one claim besides iss and aud/);
    refuse({ claims: { ref: 'refs/heads/main' } }, /not whose repository/);
    refuse({ claims: { ref: 'refs/heads/main', event_name: 'push', environment: 'prod' } }, /not whose repository/);
    refuse({ claims: { repository: 'org/repo' } }, /neither sub nor ref is bound/);
    refuse({ claims: { repository: 'org/*', ref: 'refs/heads/main' } }, /startsWith/);
    refuse({ claims: { repository: ['org/a', '*'], ref: 'refs/heads/main' } }, /startsWith/);
    refuse({ claims: { sub: { startsWith: 'repo:org/*' } } }, /stands for nothing/);
    refuse({ claims: { sub: { startsWith: 'repo:org' } } }, /must end with/);
    refuse({ claims: { repository: { startsWith: 'org' }, ref: 'refs/heads/main' } }, /must end with/);
    refuse({ claims: { sub: { startsWith: '' } } }, /claims/);
    refuse({ claims: { sub: '' } }, /claims/);
    refuse({ claims: { sub: [] } }, /claims/);
    refuse({ serviceAccount: 'nobody' }, /there is no service account/);
    refuse({ issuer: 'http://ci.example.test' }, /https/);
    misconfigured(
      () => providersOf([{ serviceAccount: 'bare' }], { serviceAccounts: [{ name: 'bare', owner: 'emil' }] }),
      /needs `groups`/,
    );
    providersOf([{ claims: { repository: 'org/repo', ref: { startsWith: 'refs/' } } }]);
    providersOf([{ claims: { repository: { startsWith: 'org/' }, environment: 'production' } }]);
  });
});
