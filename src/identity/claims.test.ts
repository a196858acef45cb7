import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CountersignError, type ErrorCode } from '../errors.ts';
import { emailOf, groupsOf, isClientsOwn, subjectOf, type Claims } from './claims.ts';

function refused(work: () => unknown, code: ErrorCode, message: RegExp): void {
  assert.throws(work, (error: unknown) => {
    assert(error instanceof CountersignError);
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

void test('groups are found by name, by path, and by a name that looks like a path', () => {
  const claims = { groups: ['a', 'b', 'a'], realm_access: { roles: ['c'] }, 'https://example.test/groups': ['d'] };
  assert.deepEqual(groupsOf(claims, 'groups'), ['a', 'b']);
  assert.deepEqual(groupsOf(claims, 'realm_access.roles'), ['c']);
  assert.deepEqual(groupsOf(claims, 'https://example.test/groups'), ['d']);
  assert.deepEqual(groupsOf({ groups: 'only' }, 'groups'), ['only']);
  assert.deepEqual(groupsOf({ groups: [] }, 'groups'), []);
});

for (const [what, claims, path] of [
  ['no claim', {}, 'groups'],
  ['no member on the path', { realm_access: {} }, 'realm_access.roles'],
  ['a text on the path', { realm_access: 'roles' }, 'realm_access.roles'],
  ['an inherited member', {}, 'constructor.name'],
  ['a number', { groups: 7 }, 'groups'],
  ['an object', { groups: { a: true } }, 'groups'],
  ['null', { groups: null }, 'groups'],
  ['a list with something else in it', { groups: ['a', 1] }, 'groups'],
] satisfies [string, Claims, string][]) {
  void test(`groups fail closed: ${what}`, () => {
    refused(() => groupsOf(claims, path), 'groups_claim_missing', new RegExp(path.replace('.', '\\.')));
  });
}

for (const [what, claims, path] of [
  ['Entra ID, _claim_names', { _claim_names: { groups: 'src1' }, _claim_sources: {} }, 'groups'],
  ['Entra ID, implicit flow', { hasgroups: true }, 'groups'],
  ['a part of the list is there', { groups: ['a'], _claim_names: { groups: 'src1' } }, 'groups'],
  ['a nested claim', { _claim_names: { realm_access: 'src1' } }, 'realm_access.roles'],
] satisfies [string, Claims, string][]) {
  void test(`group overage is refused and named: ${what}`, () => {
    refused(() => groupsOf(claims, path), 'groups_claim_missing', /overage/);
  });
}

void test('overage of a claim that is not asked for is no obstacle', () => {
  assert.deepEqual(groupsOf({ roles: ['a'], hasgroups: true, _claim_names: { groups: 'src1' } }, 'roles'), ['a']);
});

for (const [what, claims, own] of [
  ['RFC 9068', { sub: 'etl', client_id: 'etl' }, true],
  ['Okta', { sub: 'etl', cid: 'etl' }, true],
  ['Auth0', { sub: 'etl@clients', azp: 'etl', gty: 'client-credentials' }, true],
  ['Keycloak', { sub: '7f4c', azp: 'etl', preferred_username: 'service-account-etl' }, true],
  ['Entra ID with idtyp', { sub: '7f4c', azp: 'etl', idtyp: 'app' }, true],
  ['Entra ID without idtyp', { sub: '7f4c', oid: '7f4c', tid: 't', appid: 'etl' }, true],
  ['a person at Entra ID', { sub: 'pairwise', oid: '7f4c', tid: 't', azp: 'cli' }, false],
  ['a person', { sub: 'dora', client_id: 'cli', preferred_username: 'dora' }, false],
] satisfies [string, Claims & { sub: string }, boolean][]) {
  void test(`whether a client got the token for itself: ${what}`, () => {
    assert.equal(isClientsOwn(claims, claims.sub), own);
  });
}

void test('a subject is a text of bounded length without control characters', () => {
  assert.equal(subjectOf({ sub: 'auth0|Dörte@example.test' }), 'auth0|Dörte@example.test');
  for (const sub of [undefined, '', 7, 'a\0b', 'a\nb', 'x'.repeat(256), '\ud800']) {
    refused(() => subjectOf({ sub }), 'token_invalid', /subject/);
  }
});

void test('an address that the provider calls unverified is not taken', () => {
  assert.equal(emailOf({ email: 'dora@example.test' }), 'dora@example.test');
  assert.equal(emailOf({ email: 'dora@example.test', email_verified: true }), 'dora@example.test');
  assert.equal(emailOf({ email: 'dora@example.test', email_verified: false }), undefined);
  assert.equal(emailOf({ email: ['dora@example.test'] }), undefined);
});
