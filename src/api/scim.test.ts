import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import rateLimit from '@fastify/rate-limit';
import fastify, { type FastifyInstance } from 'fastify';
import { startTestStore, type TestStore } from '../../test/control-store.ts';
import { configurationSchema } from '../config/schema.ts';
import { asCountersignError, CountersignError } from '../errors.ts';
import { Leavers } from '../identity/leavers.ts';
import type { Principal } from '../identity/principal.ts';
import { ScimDirectory } from '../identity/scim.ts';
import { sha256Hex } from '../lib/canonical-json.ts';
import { humanKey } from '../policy/entities.ts';
import { findPrincipal, upsertPrincipal } from '../store/principals.ts';
import { scimRoutes } from './scim.ts';
import type { ApiServices } from './services.ts';

const token = 'scim-token-of-the-tests-0123456789';
const scimJson = 'application/scim+json';

let store: TestStore;
let app: FastifyInstance;
let directory: ScimDirectory;
let leavers: Leavers;
let events: Record<string, unknown>[] = [];
let ended: string[] = [];
let logFailure: Error | undefined;

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown> & {
    readonly id?: string;
    readonly Resources?: Record<string, unknown>[];
    readonly totalResults?: number;
  };
}

function serve(more: Record<string, unknown> = {}, made: FastifyInstance = fastify()): FastifyInstance {
  const { identity } = configurationSchema.shape;
  const written = { tokenHash: sha256Hex(token), subjectFrom: 'userName', provider: 'corp', ...more };
  const configuration = identity.shape.scim.parse(written);
  assert.ok(configuration !== undefined);
  const record = (event: Record<string, unknown>) => {
    if (logFailure !== undefined) return Promise.reject(logFailure);
    events.push(event);
    return Promise.resolve();
  };
  const endSessions = (principalId: string, error: CountersignError) => {
    ended.push(`${principalId}: ${error.code}`);
    return Promise.resolve();
  };
  const none = () => Promise.resolve(0);
  leavers = new Leavers({
    store: store.store,
    record,
    humanKey,
    steps: {
      endWebSessions: none,
      revokeCredentials: none,
      endSessions,
      withdrawRequest: none,
      voidGrant: none,
      disableServiceAccounts: none,
    },
    onError: () => undefined,
  });
  directory = new ScimDirectory({
    configuration,
    providerNames: ['corp', 'other'],
    store: store.store,
    record,
    clock: { now: () => Date.now() },
    fold: humanKey,
    leavers,
    endSessions,
    onError: () => undefined,
  });
  const services = {
    store: store.store,
    publicUrl: () => 'https://countersign.test',
    note: (event: Record<string, unknown>) => void events.push(event),
    node: 'test',
    clock: { now: () => Date.now() },
    onError: asCountersignError,
  } as unknown as ApiServices;
  void made.register(scimRoutes(services, { directory, tokenHash: sha256Hex(token), requestsPerMinute: 10 }), {
    prefix: '/scim/v2',
  });
  return made;
}

async function scim(
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<Answer> {
  const response = await app.inject({
    method,
    url: `/scim/v2${path}`,
    headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': scimJson }) },
    ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
  });
  if (response.statusCode !== 204) assert.match(String(response.headers['content-type']), /^application\/scim\+json/);
  return { status: response.statusCode, body: response.body === '' ? {} : response.json() };
}

const patch = (...Operations: object[]) => ({
  schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
  Operations,
});

async function user(userName: string, more: Record<string, unknown> = {}): Promise<string> {
  const { status, body } = await scim('POST', '/Users', {
    userName,
    externalId: `x-${userName}`,
    active: true,
    ...more,
  });
  assert.equal(status, 201, JSON.stringify(body));
  return body.id ?? '';
}

async function group(displayName: string, ...members: string[]): Promise<string> {
  const body = { displayName, members: members.map((value) => ({ value })) };
  const answer = await scim('POST', '/Groups', body);
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return answer.body.id ?? '';
}

const person = (id: string, groups: string[] = []): Principal => ({
  id,
  human: id,
  kind: 'person',
  displayName: id,
  email: undefined,
  groups,
});

async function refused(answer: Promise<Answer>, status: number, scimType?: string): Promise<void> {
  const { status: given, body } = await answer;
  assert.deepEqual([given, body['status'], body['scimType']], [status, String(status), scimType], JSON.stringify(body));
  assert.deepEqual(body['schemas'], ['urn:ietf:params:scim:api:messages:2.0:Error']);
}

before(async () => {
  store = await startTestStore();
});
after(() => store.stop());
beforeEach(async () => {
  for (const table of ['scim_members', 'scim_groups', 'scim_users', 'leavers', 'principals'] as const) {
    await store.store.deleteFrom(table).execute();
  }
  logFailure = undefined;
  app = serve();
  [events, ended] = [[], []];
});

describe('the SCIM server', () => {
  it('wants its token, and says what it can', async () => {
    for (const authorization of [undefined, 'Bearer wrong', `Basic ${token}`, `Bearer ${token}x`, 'Bearer ']) {
      const headers = authorization === undefined ? {} : { authorization };
      const response = await app.inject({ method: 'GET', url: '/scim/v2/Users', headers });
      assert.equal(response.statusCode, 401, authorization);
      assert.equal(response.headers['www-authenticate'], 'Bearer');
      assert.equal(response.json<{ status: string }>().status, '401');
    }
    assert.equal(events.filter((event) => event['type'] === 'scim.refused').length, 5);
    const config = await scim('GET', '/ServiceProviderConfig');
    assert.deepEqual(config.body['patch'], { supported: true });
    assert.equal((await scim('GET', '/ResourceTypes')).body.totalResults, 2);
    assert.equal((await scim('GET', '/Schemas')).body.totalResults, 2);
    await refused(scim('GET', '/Nothing'), 404);
  });

  it('answers so many requests in a minute', async () => {
    app = fastify();
    await app.register(rateLimit, {
      max: 1_000,
      errorResponseBuilder: () => new CountersignError('rate_limited', 'too many requests'),
    });
    serve({}, app);
    const wrong = { method: 'GET', url: '/scim/v2/Users', headers: { authorization: 'Bearer wrong' } } as const;
    for (let count = 0; count < 5; count++) {
      assert.equal((await app.inject(wrong)).statusCode, 401);
      assert.equal((await scim('GET', '/Users')).status, 200);
    }
    await refused(scim('GET', '/Users'), 429);
  });

  it('creates, shows, replaces and deletes users', async () => {
    const id = await user('dana@corp.test', {
      name: { givenName: 'Dana' },
      emails: [{ value: 'dana@corp.test', primary: true }],
      password: 'secret',
      'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User': { department: 'data' },
    });
    const shown = await scim('GET', `/Users/${id}`);
    assert.equal(shown.body['userName'], 'dana@corp.test');
    assert.equal(shown.body['active'], true);
    assert.ok(!JSON.stringify(shown.body).includes('secret'));
    assert.equal((shown.body['meta'] as { location: string }).location, `https://countersign.test/scim/v2/Users/${id}`);
    assert.equal((shown.body['schemas'] as string[]).length, 2);
    const replaced = await scim('PUT', `/Users/${id}`, { userName: 'dana@corp.test', active: true });
    assert.deepEqual(
      [replaced.status, replaced.body['name'], replaced.body['externalId']],
      [200, undefined, undefined],
    );
    await refused(scim('POST', '/Users', { userName: 'DANA@corp.test' }), 409, 'uniqueness');
    await refused(scim('POST', '/Users', { userName: '' }), 400, 'invalidValue');
    await refused(scim('POST', '/Users', ['x']), 400, 'invalidSyntax');
    assert.equal((await scim('DELETE', `/Users/${id}`)).status, 204);
    await refused(scim('GET', `/Users/${id}`), 404);
    await refused(scim('PUT', `/Users/${id}`, { userName: 'x' }), 404);
    await refused(scim('DELETE', `/Users/${id}`), 404);
  });

  it('does not let the subject of a person change', async () => {
    const id = await user('dana');
    await refused(scim('PUT', `/Users/${id}`, { userName: 'dana2', active: true }), 400, 'mutability');
    const rename = patch({ op: 'replace', path: 'userName', value: 'dana2' });
    await refused(scim('PATCH', `/Users/${id}`, rename), 400, 'mutability');
  });

  it('lists with filters, pages and chosen attributes', async () => {
    const ids: string[] = [];
    for (const name of ['a', 'b', 'c', 'D']) ids.push(await user(name, { emails: [{ value: `${name}@t` }] }));
    await scim('PATCH', `/Users/${ids[1]}`, patch({ op: 'replace', path: 'active', value: false }));
    const found = async (filter: string) => {
      const { body } = await scim('GET', `/Users?filter=${encodeURIComponent(filter)}`);
      return body.Resources?.map((one) => one['userName']);
    };
    assert.deepEqual(await found('userName eq "d"'), ['D']);
    assert.deepEqual(await found('userName eq "nobody"'), []);
    assert.deepEqual(await found('externalId eq "x-b"'), ['b']);
    assert.deepEqual(await found(`id eq "${ids[2]}"`), ['c']);
    assert.deepEqual(await found('active eq false'), ['b']);
    assert.deepEqual(await found('active eq true and userName eq "a" or USERNAME EQ "b"'), ['a', 'b']);
    assert.deepEqual(await found('emails.value eq "c@t"'), ['c']);
    assert.deepEqual(await found(`urn:ietf:params:scim:schemas:core:2.0:User:userName eq "a"`), ['a']);
    for (const filter of [
      'userName sw "a"',
      'userName eq',
      'userName eq "a" xor id eq "b"',
      '(userName eq "a")',
      'password eq "x"',
      `userName eq "a' or 1=1 --`,
      'userName eq "a" and',
      'not (userName eq "a")',
      '',
    ]) {
      await refused(scim('GET', `/Users?filter=${encodeURIComponent(filter)}`), 400, 'invalidFilter');
    }
    const page = await scim('GET', '/Users?startIndex=2&count=2&attributes=userName');
    assert.deepEqual(
      page.body.Resources?.map((one) => one['userName']),
      ['b', 'c'],
    );
    assert.deepEqual(Object.keys(page.body.Resources?.[0] ?? {}).sort(), ['id', 'meta', 'schemas', 'userName']);
    assert.deepEqual([page.body.totalResults, page.body['startIndex'], page.body['itemsPerPage']], [4, 2, 2]);
    assert.equal((await scim('GET', '/Users?count=0')).body.totalResults, 4);
    assert.equal((await scim('GET', '/Users?startIndex=-5&count=-1')).body['itemsPerPage'], 0);
    await refused(scim('GET', '/Users?count=many'), 400, 'invalidValue');
  });

  it('refuses names that would change every object', async () => {
    const id = await user('dana');
    for (const operation of [
      { op: 'add', path: '__proto__.polluted', value: 'yes' },
      { op: 'add', path: 'constructor.prototype.polluted', value: 'yes' },
      { op: 'replace', value: { '__proto__.polluted': 'yes' } },
      { op: 'replace', value: { name: { 'a.constructor.b': 'yes' } } },
      { op: 'add', path: 'name.prototype', value: 'yes' },
    ]) {
      const { status } = await scim('PATCH', `/Users/${id}`, patch(operation));
      assert.equal(status, 400, JSON.stringify(operation));
    }
    const raw = await app.inject({
      method: 'POST',
      url: '/scim/v2/Users',
      headers: { authorization: `Bearer ${token}`, 'content-type': scimJson },
      payload: '{"userName":"x","__proto__":{"polluted":"yes"}}',
    });
    assert.equal(raw.statusCode, 400);
    assert.equal(({} as { polluted?: string }).polluted, undefined);
  });
});

describe('PATCH of a user', () => {
  const dialects: [string, object[], boolean][] = [
    ['RFC 7644', [{ op: 'replace', path: 'active', value: false }], false],
    ['Okta: without a path', [{ op: 'replace', value: { active: false } }], false],
    ['Entra ID: a text', [{ op: 'Replace', path: 'active', value: 'False' }], false],
    ['Entra ID: a text that is true', [{ op: 'Replace', path: 'active', value: 'True' }], true],
    ['another case', [{ op: 'REPLACE', path: 'Active', value: false }], false],
    [
      'with the schema',
      [{ op: 'replace', path: 'urn:ietf:params:scim:schemas:core:2.0:User:active', value: false }],
      false,
    ],
    ['removed', [{ op: 'remove', path: 'active' }], false],
    ['add', [{ op: 'add', path: 'active', value: 'false' }], false],
  ];
  for (const [dialect, operations, active] of dialects) {
    it(`says who is active (${dialect})`, async () => {
      const id = await user('dana');
      const { status, body } = await scim('PATCH', `/Users/${id}`, patch(...operations));
      assert.deepEqual([status, body['active']], [200, active], JSON.stringify(body));
      const check = leavers.check(person('corp:dana'));
      await (active ? check : assert.rejects(check, { code: 'principal_disabled' }));
    });
  }

  it('changes the rest as it was written', async () => {
    const id = await user('dana', { emails: [{ type: 'work', value: 'a@t' }] });
    const { body } = await scim(
      'PATCH',
      `/Users/${id}`,
      patch(
        { op: 'Replace', path: 'emails[type eq "work"].value', value: 'b@t' },
        { op: 'Add', path: 'name.familyName', value: 'D.' },
        { op: 'replace', value: { displayName: 'Dana', externalId: 'x2' } },
      ),
    );
    assert.deepEqual(body['emails'], [{ type: 'work', value: 'b@t' }]);
    assert.deepEqual(body['name'], { familyName: 'D.' });
    assert.deepEqual([body['displayName'], body['externalId']], ['Dana', 'x2']);
    for (const [operation, type] of [
      [{ op: 'replace', path: 'active', value: 'maybe' }, 'invalidValue'],
      [{ op: 'replace', path: 'userName.x', value: '1' }, 'invalidPath'],
      [{ op: 'remove' }, 'noTarget'],
      [{ op: 'jump', path: 'active' }, 'invalidSyntax'],
      [{ op: 'remove', path: 'userName' }, 'invalidValue'],
    ] as const) {
      await refused(scim('PATCH', `/Users/${id}`, patch(operation)), 400, type);
    }
    await refused(
      scim('PATCH', `/Users/${id}`, { Operations: [{ op: 'remove', path: 'active' }] }),
      400,
      'invalidSyntax',
    );
  });
});

describe('groups', () => {
  const removals: [string, (member: string) => object[]][] = [
    ['Okta: a filter', (member) => [{ op: 'remove', path: `members[value eq "${member}"]` }]],
    ['Entra ID: a value', (member) => [{ op: 'Remove', path: 'members', value: [{ value: member, $ref: null }] }]],
    ['all', () => [{ op: 'remove', path: 'members' }]],
    ['replaced by nobody', () => [{ op: 'replace', path: 'members', value: [] }]],
    [
      'Okta: replaced without a path',
      () => [{ op: 'replace', value: { id: 'x', displayName: 'readers', members: [] } }],
    ],
  ];
  for (const [dialect, operations] of removals) {
    it(`lose members (${dialect}), and sessions that were decided by them end`, async () => {
      const member = await user('dana');
      const id = await group('readers', member);
      assert.deepEqual(await directory.groupsOf('corp:dana'), ['readers']);
      await directory.sweep();
      ended = [];
      const { status, body } = await scim('PATCH', `/Groups/${id}`, patch(...operations(member)));
      assert.equal(status, 200, JSON.stringify(body));
      assert.deepEqual(await directory.groupsOf('corp:dana'), []);
      assert.deepEqual(ended, ['corp:dana: groups_changed']);
      assert.ok(events.some((one) => one['type'] === 'person.groups-changed' && one['change'] === 'removed'));
    });
  }

  it('get members and names', async () => {
    const [dana, eli] = [await user('dana'), await user('eli')];
    const id = await group('readers', dana);
    await scim(
      'PATCH',
      `/Groups/${id}`,
      patch({ op: 'Add', path: 'members', value: [{ value: eli }, { value: dana }] }),
    );
    assert.deepEqual(await directory.groupsOf('corp:eli'), ['readers']);
    ended = [];
    await scim('PATCH', `/Groups/${id}`, patch({ op: 'replace', path: 'displayName', value: 'writers' }));
    assert.deepEqual(await directory.groupsOf('corp:eli'), ['writers']);
    assert.deepEqual(ended.sort(), ['corp:dana: groups_changed', 'corp:eli: groups_changed']);
    const shown = await scim('GET', `/Groups/${id}?excludedAttributes=members`);
    assert.equal(shown.body['members'], undefined);
    const filter = encodeURIComponent(`id eq "${id}" and members eq "${eli}"`);
    assert.equal((await scim('GET', `/Groups?filter=${filter}`)).body.totalResults, 1);
    const none = encodeURIComponent('members.value eq "nobody"');
    assert.equal((await scim('GET', `/Groups?filter=${none}`)).body.totalResults, 0);
    await scim('PUT', `/Groups/${id}`, { displayName: 'writers', members: [{ value: eli }] });
    assert.deepEqual(await directory.groupsOf('corp:dana'), []);
    const user1 = await scim('GET', `/Users/${eli}`);
    assert.deepEqual(user1.body['groups'], [{ value: id, display: 'writers', type: 'direct' }]);
    assert.equal((await scim('DELETE', `/Groups/${id}`)).status, 204);
    assert.deepEqual(await directory.groupsOf('corp:eli'), []);
  });

  it('count for the accounts of their members', async () => {
    await upsertPrincipal(store.store, person('corp:dana', ['readers', 'old']), new Date());
    const account = { ...person('etl'), kind: 'service' as const, human: 'corp:dana' };
    await upsertPrincipal(store.store, account, new Date());
    const dana = await user('dana');
    const groupsNow = async () => (await findPrincipal(store.store, 'corp:dana'))?.groups;
    assert.deepEqual(await groupsNow(), []);
    ended = [];
    const id = await group('readers', dana);
    assert.deepEqual(await groupsNow(), ['readers']);
    assert.deepEqual(ended.toSorted(), ['corp:dana: groups_changed', 'etl: groups_changed']);
    await scim('DELETE', `/Groups/${id}`);
    assert.deepEqual(await groupsNow(), []);
  });

  it('have names of their own and members that are users', async () => {
    const dana = await user('dana');
    const id = await group('readers', dana);
    await refused(scim('POST', '/Groups', { displayName: 'Readers' }), 409, 'uniqueness');
    await refused(scim('POST', '/Groups', {}), 400, 'invalidValue');
    await refused(scim('POST', '/Groups', { displayName: 'x', members: [{ value: 'nobody' }] }), 400, 'invalidValue');
    const nested = { displayName: 'x', members: [{ value: id, type: 'Group' }] };
    await refused(scim('POST', '/Groups', nested), 400, 'invalidValue');
    await refused(scim('PATCH', `/Groups/${id}`, patch({ op: 'remove', path: 'displayName' })), 400, 'invalidValue');
    await refused(scim('PATCH', `/Groups/${id}`, patch({ op: 'add', path: 'owner', value: 1 })), 400, 'invalidPath');
    assert.deepEqual(await directory.groupsOf('corp:dana'), ['readers']);
  });

  it('are limited', async () => {
    app = serve({ maxGroupMembers: 1, maxUsers: 2 });
    const members = [await user('dana'), await user('eli')].map((value) => ({ value }));
    await refused(scim('POST', '/Groups', { displayName: 'x', members }), 400, 'invalidValue');
    await refused(scim('POST', '/Users', { userName: 'third' }), 403);
  });
});

describe('whom SCIM manages', () => {
  it('has the groups that SCIM says, whatever a token says', async () => {
    await group('readers', await user('dana'));
    assert.deepEqual((await directory.admit(person('corp:dana', ['chunk-executors']))).groups, ['readers']);
    assert.deepEqual((await directory.admit(person('corp:DANA', ['chunk-executors']))).groups, ['readers']);
    assert.deepEqual((await directory.admit(person('corp:eli', ['a']))).groups, ['a']);
    assert.equal(await directory.groupsOf('corp:eli'), undefined);
    assert.deepEqual((await directory.admit(person('dana', ['a']))).groups, ['a']);
  });

  it('gives its groups to no other account whose name looks like theirs', async () => {
    await group('readers', await user('dana'));
    for (const id of ['corp:ｄana', 'corp:da\u200bna', 'corp:dana ']) {
      await assert.rejects(directory.admit(person(id)), { code: 'principal_not_provisioned' }, id);
      assert.deepEqual(await directory.groupsOf(id), [], id);
    }
    // What an external id is, is its case, too (RFC 7643, section 3.1).
    app = serve({ subjectFrom: 'externalId' });
    await group('writers', await user('eli'));
    assert.deepEqual((await directory.admit(person('corp:x-eli'))).groups, ['writers']);
    await assert.rejects(directory.admit(person('corp:X-ELI')), { code: 'principal_not_provisioned' });
    assert.deepEqual(await directory.groupsOf('corp:X-ELI'), []);
  });

  it('is let in alone where that is required', async () => {
    app = serve({ required: true });
    await user('dana');
    await directory.admit(person('corp:dana'));
    await directory.admit(person('other:eli'));
    await directory.admit(person('eli'));
    await assert.rejects(directory.admit(person('corp:eli')), { code: 'principal_not_provisioned' });
    const account = { ...person('etl'), kind: 'service' as const, human: 'corp:eli' };
    await assert.rejects(directory.admit(account), { code: 'principal_not_provisioned' });
    app = serve({ required: true, provider: undefined });
    await assert.rejects(directory.admit(person('eli')), { code: 'principal_not_provisioned' });
    await directory.admit(person('corp:eli'));
  });

  it('goes by the attribute that is the subject', async () => {
    app = serve({ subjectFrom: 'externalId' });
    await user('dana');
    assert.deepEqual(await directory.groupsOf('corp:x-dana'), []);
    await refused(scim('POST', '/Users', { userName: 'eli' }), 400, 'invalidValue');
    app = serve({ subjectFrom: 'emails' });
    await user('eli', { emails: [{ value: 'other@t' }, { value: 'eli@t', primary: true }] });
    assert.deepEqual(await directory.groupsOf('corp:eli@t'), []);
    await refused(
      scim('POST', '/Users', { userName: 'x', emails: [{ value: 'a@t' }, { value: 'b@t' }] }),
      400,
      'invalidValue',
    );
    app = serve({ groupsFrom: 'externalId' });
    const zoe = await user('zoe');
    await scim('POST', '/Groups', { displayName: 'x', externalId: 'object-id', members: [{ value: zoe }] });
    assert.deepEqual(await directory.groupsOf('corp:zoe'), ['object-id']);
  });

  it('leaves when deleted or not active, and comes back with the same word only', async () => {
    const id = await user('dana');
    await upsertPrincipal(store.store, person('corp:dana'), new Date());
    const checked = () => leavers.check(person('corp:dana'));
    await scim('PUT', `/Users/${id}`, { userName: 'dana', active: false });
    await assert.rejects(checked(), { code: 'principal_disabled' });
    await assert.rejects(directory.admit(person('corp:dana')), { code: 'principal_disabled' });
    // Without a word on `active` nobody comes back.
    await scim('PUT', `/Users/${id}`, { userName: 'dana' });
    await assert.rejects(checked(), { code: 'principal_disabled' });
    await scim('PUT', `/Users/${id}`, { userName: 'dana', active: true });
    await checked();
    await scim('DELETE', `/Users/${id}`);
    await assert.rejects(checked(), { code: 'principal_disabled' });
    assert.ok(ended.includes('corp:dana: principal_disabled'));
    const second = await user('dana');
    await checked();
    await leavers.remove({ principalId: 'corp:dana', reason: 'by hand', source: 'admin', by: 'root' });
    await scim('PUT', `/Users/${second}`, { userName: 'dana', active: true });
    await assert.rejects(checked(), { code: 'principal_disabled' });
    assert.equal(
      await leavers.reactivate({ principalId: 'corp:dana', reason: 'back', source: 'admin', by: 'root' }),
      true,
    );
    await checked();
  });

  it('does not change when the log cannot be written', async () => {
    const id = await user('dana');
    logFailure = new CountersignError('log_unavailable', 'no log');
    await refused(scim('POST', '/Users', { userName: 'eli' }), 503);
    await refused(scim('PATCH', `/Users/${id}`, patch({ op: 'replace', path: 'active', value: false })), 503);
    logFailure = undefined;
    assert.equal((await scim('GET', '/Users')).body.totalResults, 1);
    await leavers.check(person('corp:dana'));
  });
});
