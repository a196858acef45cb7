/** Ways around the duties that lie between two parts: jobs of other connections, accounts of people whom SCIM manages. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import pg from 'pg';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness } from './harness.ts';

const scimToken = 'scim-token-of-the-tests-0123456789';
let harness: Harness;

before(async () => {
  harness = await startHarness({
    schema: customersSchema,
    accounts: [{ id: 'olga', password: 'olga-password', displayName: 'olga', groups: ['chunk-designers', 'admins'] }],
    configure: (raw) => {
      const bindings = raw['bindings'] as object[];
      raw['bindings'] = [
        ...bindings.map((one) => ({ ...one, labels: { data: 'personal' } })),
        { group: 'others', duties: ['designer'], labels: { data: 'internal' } },
        { group: 'admins', duties: ['admin'] },
      ];
      const [crm] = raw['connections'] as object[];
      raw['connections'] = [crm, { ...crm, name: 'erp', labels: { data: 'internal' } }];
      // The provider's userinfo takes no tokens that are for another audience.
      raw['identity'] = {
        ...(raw['identity'] as object),
        freshGroups: 'token',
        scim: { token: scimToken, subjectFrom: 'userName' },
        // Whom SCIM manages need not be seen: their groups are always those of now.
        accounts: { ownerUnseenMs: 1 },
      };
    },
  });
});
after(() => harness?.close());

async function call<T>(token: string, method: string, route: string, body?: unknown): Promise<T> {
  const response = await fetch(`${harness.app.apiUrl}${route}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${route}: ${text}`);
  return JSON.parse(text) as T;
}

function job(connection: string, marker: string): string {
  return `
job: payroll
connection: ${connection}
source: select id, name from customers where id < ${marker}
chunk: { by: id, rows: 100 }
output: { format: ndjson, to: "file://payroll" }
`;
}

it('who pushes a job with the name of another connection’s sees nothing of that one', async () => {
  const push = (who: 'designer' | 'nobody', content: string) =>
    harness.api<{ request: string }>(who, 'POST', '/jobs', { content });
  const first = await push('designer', job('crm', '424242'));
  assert.equal(first.status, 201, JSON.stringify(first.body));
  const { status } = await harness.api('executor', 'POST', `/requests/${first.body.request}/approve`, {});
  assert.equal(status, 200);
  assert.equal((await harness.api('nobody', 'GET', '/jobs/payroll')).status, 403);
  const second = await push('nobody', job('erp', '99'));
  assert.equal(second.status, 409, JSON.stringify(second.body));
  assert.doesNotMatch(JSON.stringify(second.body), /424242|crm/);

  // A store of before may have such a pair: each version is for the people of its own connection.
  const store = new pg.Client({ connectionString: harness.postgres.url('control') });
  await store.connect();
  await store.query(
    `insert into job_versions select job, 2, path, commit_id, content_digest, replace(content, '424242', '99'), 'erp', authors, pushed_by,
       pushed_at from job_versions where job = 'payroll'`,
  );
  await store.query(
    `insert into requests (id, kind, state, connection, title, requester_id, requester_human, authors, job, job_version, digest, digest_input_json,
       evidence, created_at, expires_at)
     select 'req_erp', kind, 'pending', 'erp', title, requester_id, requester_human, authors, job, 2, digest, digest_input_json, '{}',
       now(), now() + interval '1 hour' from requests where id = $1`,
    [first.body.request],
  );
  await store.end();
  const shown = await harness.api('nobody', 'GET', '/jobs/payroll');
  assert.match(JSON.stringify(shown.body), /id < 99/);
  assert.doesNotMatch(JSON.stringify(shown.body), /424242/);
  const request = await harness.api<{ lastApproved?: unknown }>('nobody', 'GET', '/requests/req_erp');
  assert.equal(request.status, 200, JSON.stringify(request.body));
  assert.equal(request.body.lastApproved, undefined);
});

it('a group that SCIM takes from an owner is taken from their service accounts, too', async () => {
  const scim = <T>(method: string, route: string, body: unknown) =>
    call<T>(scimToken, method, `/scim/v2${route}`, body);
  const { id } = await scim<{ id: string }>('POST', '/Users', { userName: 'olga', active: true });
  const members = [{ value: id }];
  await scim('POST', '/Groups', { displayName: 'admins', members });
  const designers = await scim<{ id: string }>('POST', '/Groups', { displayName: 'chunk-designers', members });
  const olga = await harness.person('olga');
  const account = { name: 'robot', owner: 'olga', groups: ['chunk-designers'] };
  await call(olga, 'POST', '/api/v1/service-accounts', account);
  const { key } = await call<{ key: string }>(olga, 'POST', '/api/v1/service-accounts/robot/keys', {});
  const groupsNow = async () => (await call<{ groups: string[] }>(key, 'GET', '/api/v1/whoami')).groups;
  assert.deepEqual(await groupsNow(), ['chunk-designers']);
  await scim('PUT', `/Groups/${designers.id}`, { displayName: 'chunk-designers', members: [] });
  assert.deepEqual(await groupsNow(), []);
});
