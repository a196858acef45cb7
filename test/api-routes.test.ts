/**
 * Every route of the server, called by everybody: nobody, somebody without a duty, somebody with each duty on the
 * connection, and somebody who holds all duties on another connection only. A route without a row fails.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { buildApi } from '../src/api/server.ts';
import type { ApiServices } from '../src/api/services.ts';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness } from './harness.ts';

type Caller = 'nobody' | 'nora' | 'designer' | 'approver' | 'executor' | 'auditor' | 'admin' | 'foreign';

const callers: readonly Caller[] = [
  'nobody',
  'nora',
  'designer',
  'approver',
  'executor',
  'auditor',
  'admin',
  'foreign',
];

interface Row {
  /** Who may; nobody else may. `any`: everybody who is somebody. `anyone`: also whoever is not. */
  readonly may: string;
  /** The codes of a refusal. */
  readonly refused?: readonly string[];
  readonly body?: () => unknown;
  readonly query?: string;
  /** In place of `:id` and the like. */
  readonly of?: Readonly<Record<string, () => string>>;
  /** Whether an answer to somebody who holds nothing on the connection may name what is there. */
  readonly tells?: true;
}

const everyDuty = 'designer approver executor auditor admin';
const marker = 'zebra';
let harness: Harness;
const tokens = new Map<Caller, string>();
/** Ids of what is on the connection crm. */
const made: Record<string, string> = {};
const duty = { refused: ['forbidden', 'duty_missing', 'duty_conflict'] } as const;
const id = (name: string) => ({ id: () => made[name] ?? '' });
const run = { of: id('run') };
const change = 'workflows: [{ match: { labels: { data: personal } }, approvals: { count: 2 } }]';
const chunk = () => ({ chunkNo: 0, attempt: 1 });
const account = { of: { name: () => 'etl' }, refused: ['forbidden', 'not_found'] };

const rows: Readonly<Record<string, Row>> = {
  'GET /api/v1/health': { may: 'anyone' },
  'GET /api/v1/openapi.json': { may: 'anyone' },
  'GET /api/v1/login': { may: 'anyone' },
  'GET /api/v1/log/key': { may: 'anyone' },
  'GET /api/v1/whoami': { may: 'any', tells: true },
  'POST /api/v1/credentials': { may: 'any', body: () => ({}) },
  'GET /api/v1/credentials': { may: 'any' },
  'DELETE /api/v1/credentials/:user': {
    may: 'designer admin foreign',
    refused: ['not_found'],
    of: { user: () => made['credential'] ?? '' },
  },
  'GET /api/v1/people': { may: 'auditor admin foreign' },
  'POST /api/v1/people/link': { may: 'admin foreign', body: () => ({ a: 'x', b: 'y', reason: 'why' }) },
  'POST /api/v1/people/unlink': { may: 'admin foreign', body: () => ({ a: 'x', b: 'y', reason: 'why' }) },
  'GET /api/v1/people/removed': { may: 'auditor admin foreign' },
  'POST /api/v1/people/:id/remove': { may: 'admin foreign', of: { id: () => 'leaver' }, body: () => ({ reason: 'x' }) },
  'POST /api/v1/people/:id/reactivate': {
    may: 'admin foreign',
    of: { id: () => 'leaver' },
    body: () => ({ reason: 'x' }),
  },
  'GET /api/v1/service-accounts': { may: 'any' },
  'POST /api/v1/service-accounts': { may: 'admin foreign', body: () => ({ name: 'new', owner: 'dana' }) },
  'PATCH /api/v1/service-accounts/:name': { may: 'admin foreign', ...account, body: () => ({ groups: [] }) },
  'POST /api/v1/service-accounts/:name/keys': { may: 'designer', ...account, body: () => ({}) },
  'DELETE /api/v1/service-accounts/:name/keys/:id': {
    may: 'designer admin foreign',
    refused: ['forbidden', 'not_found'],
    of: { name: () => 'etl', id: () => made['key'] ?? '' },
  },
  'DELETE /api/v1/service-accounts/:name/keys': { may: 'designer admin foreign', ...account },
  'POST /api/v1/service-accounts/:name/disable': {
    may: 'designer admin foreign',
    ...account,
    body: () => ({ reason: 'x' }),
  },
  'POST /api/v1/service-accounts/:name/offer': { may: 'admin foreign', ...account, body: () => ({ to: 'dana' }) },
  'POST /api/v1/service-accounts/:name/accept': { may: 'designer', ...account },
  'POST /api/v1/service-accounts/:name/enable': { may: 'admin foreign', ...account },
  'GET /api/v1/connections': { may: 'any' },
  'GET /api/v1/connections/:name': { may: everyDuty, refused: ['connection_unknown'], of: { name: () => 'crm' } },
  'POST /api/v1/connections/inherits': { may: `${everyDuty} foreign`, body: () => ({ labels: {} }) },
  'POST /api/v1/connections/:name/test': {
    may: 'approver admin',
    refused: ['connection_unknown', 'forbidden'],
    of: { name: () => 'crm' },
  },
  'GET /api/v1/masking': { may: `${everyDuty} foreign` },
  'POST /api/v1/masking/test': { may: `${everyDuty} foreign`, body: () => ({ value: 'a', type: 'text' }) },
  'GET /api/v1/jobs': { may: 'any' },
  'GET /api/v1/jobs/:job': { may: 'designer approver executor auditor', of: { job: () => `${marker}-run` } },
  'POST /api/v1/jobs': { may: 'designer', ...duty, body: () => ({ content: definition('again') }) },
  'POST /api/v1/jobs/drafts': {
    may: 'designer auditor',
    refused: ['recording_unknown'],
    body: () => ({ session: made['session'] }),
  },
  'GET /api/v1/requests': { may: 'any' },
  'GET /api/v1/requests/:id': { may: everyDuty, of: id('shown') },
  'GET /api/v1/requests/:id/digest': { may: everyDuty, of: id('shown') },
  'POST /api/v1/requests/:id/approve': { may: 'approver', ...duty, of: id('approved'), body: () => ({}) },
  'POST /api/v1/requests/:id/reject': { may: 'approver', ...duty, of: id('rejected'), body: () => ({ comment: 'no' }) },
  'POST /api/v1/requests/:id/withdraw': { may: 'designer', of: id('withdrawn') },
  // The workflow has none, so nobody may.
  'POST /api/v1/requests/:id/break-glass': {
    may: '',
    refused: ['break_glass_refused'],
    of: id('glass'),
    body: () => ({ reason: 'now' }),
  },
  'POST /api/v1/requests/:id/review': {
    may: '',
    refused: ['break_glass_refused'],
    of: id('glass'),
    body: () => ({ verdict: 'ok' }),
  },
  'GET /api/v1/policies': { may: `${everyDuty} foreign` },
  'GET /api/v1/policies/versions': { may: `${everyDuty} foreign` },
  'GET /api/v1/policies/versions/:number': { may: `${everyDuty} foreign`, of: { number: () => '1' } },
  'GET /api/v1/policies/diff': { may: `${everyDuty} foreign`, query: 'from=1&to=1' },
  'GET /api/v1/runs': { may: 'any' },
  'POST /api/v1/runs': {
    may: 'executor',
    refused: ['job_unknown', 'duty_missing', 'duty_conflict'],
    body: () => ({ job: `${marker}-begun` }),
  },
  'GET /api/v1/runs/:id': { may: 'designer approver executor auditor', ...run },
  'GET /api/v1/runs/:id/progress': { may: 'designer approver executor auditor', ...run },
  'GET /api/v1/runs/:id/manifest': { may: 'designer approver executor auditor', ...run },
  'POST /api/v1/runs/:id/credential': { may: 'executor', ...run },
  'POST /api/v1/runs/:id/lease': { may: 'executor', ...run, body: () => ({ holder: 'h' }) },
  'POST /api/v1/runs/:id/heartbeat': { may: 'executor', ...run, body: () => ({ ...chunk(), holder: 'h' }) },
  'POST /api/v1/runs/:id/seal': { may: 'executor', ...run, body: () => ({ ...chunk(), rows: 1, file: null }) },
  'POST /api/v1/runs/:id/fail': {
    may: 'executor',
    ...run,
    body: () => ({ ...chunk(), reason: 'x', retryable: true }),
  },
  'POST /api/v1/runs/:id/retry': { may: 'executor', ...run, body: () => ({}) },
  'POST /api/v1/runs/:id/finish': { may: 'executor', ...run },
  'POST /api/v1/runs/:id/pause': { may: 'approver executor', ...run },
  'POST /api/v1/runs/:id/resume': { may: 'executor', ...run },
  'POST /api/v1/runs/:id/kill': { may: 'approver executor', ...run },
  'GET /api/v1/sessions': { may: 'auditor foreign' },
  'GET /api/v1/sessions/:id': { may: 'auditor', of: id('session') },
  'GET /api/v1/sessions/:id/statements': { may: 'auditor', of: id('session') },
  'GET /api/v1/sessions/:id/replay': { may: 'auditor', of: id('session') },
  'GET /api/v1/log/checkpoint': { may: 'auditor foreign' },
  'GET /api/v1/log/tile/*': { may: 'auditor foreign', of: { '*': () => '0/000' } },
  'GET /api/v1/audit/executions': { may: 'auditor foreign' },
  'GET /api/v1/access/holdings': { may: 'auditor admin foreign' },
  'GET /api/v1/access/facts': { may: 'auditor admin foreign' },
  'GET /api/v1/access/reviews': { may: 'auditor admin foreign' },
  'POST /api/v1/access/reviews': { may: 'auditor admin foreign' },
  'GET /api/v1/access/reviews/:id': { may: 'auditor admin', of: id('review') },
  'GET /api/v1/access/reviews/:id/lines': { may: 'auditor admin', of: id('review') },
  'GET /api/v1/access/reviews/:id/report': { may: 'auditor admin', of: id('review') },
  'POST /api/v1/access/reviews/:id/decisions': {
    may: 'auditor admin',
    of: id('review'),
    body: () => ({ decisions: [{ line: 'none', verdict: 'keep' }] }),
  },
  'POST /api/v1/access/reviews/:id/end': { may: 'auditor admin', of: id('review'), body: () => ({}) },
  'GET /api/v1/notifications': { may: 'admin foreign' },
  'POST /api/v1/notifications/:name/test': { may: 'admin foreign', of: { name: () => 'none' } },
  'POST /api/v1/doctor': { may: 'admin foreign' },
  // Of what it touches, which is the connection crm.
  'POST /api/v1/policies': {
    may: 'approver admin',
    ...duty,
    body: () => ({ files: [{ name: 'a.yaml', text: change }] }),
  },
  'GET /api/v1/events': { may: `${everyDuty} foreign` },
};

/** Outside of /api/v1: the page, its log-in, and SCIM, which has a token of its own (src/api/scim.test.ts). */
const elsewhere =
  /^(GET|POST|PUT|PATCH|DELETE) (\/(auth|scim\/v2|assets)\/|\/(login|jobs|runs|sessions|audit|access|connections|masking|policies|requests)?(\/|$))/;

const definition = (name: string) => `
job: ${marker}-${name}
connection: crm
source: select id, name from customers
chunk: { by: id, rows: 100 }
output: { format: ndjson, to: "file://${marker}-${name}" }
`;

interface Answer {
  readonly status: number;
  readonly code: string | undefined;
  readonly text: string;
}

async function call(caller: Caller, method: string, path: string, body?: unknown): Promise<Answer> {
  const token = tokens.get(caller);
  const controller = new AbortController();
  const response = await fetch(`${harness.app.apiUrl}${path}`, {
    method,
    signal: controller.signal,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true;
  const text = isStream ? '' : await response.text();
  if (isStream) controller.abort();
  assert.equal(response.headers.get('cache-control'), 'no-store', path);
  let code: string | undefined;
  if (!response.ok) code = (JSON.parse(text) as { error: { code: string } }).error.code;
  return { status: response.status, code, text };
}

async function json<T>(caller: Caller, method: string, path: string, body?: unknown): Promise<T> {
  const { status, text } = await call(caller, method, `/api/v1${path}`, body);
  assert.ok(status < 300, `${method} ${path}: ${status} ${text}`);
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

/** Every route that the server has, `METHOD /path`. */
async function routes(): Promise<string[]> {
  const found: string[] = [];
  const nothing = (): unknown => new Proxy(() => undefined, { get: nothing });
  const known = { cliLogins: [], samlLogin: { entryPoints: [] }, maxEventStreams: 1 };
  const services = new Proxy(known, {
    get: (target, name) => (Object.hasOwn(target, name) ? target[name as keyof typeof known] : nothing()),
  });
  const server = await buildApi({
    services: services as unknown as ApiServices,
    tls: undefined,
    trustedProxies: [],
    requestsPerMinute: 1,
    loginsPerMinute: 1,
    maxConnections: 1,
    requestTimeoutMs: 1,
    onRoute: ({ method, url }) => found.push(...[method].flat().map((one) => `${one} ${url}`)),
  });
  await server.ready();
  await server.close();
  return [...new Set(found)].filter((one) => !/^(HEAD|OPTIONS) /.test(one));
}

before(async () => {
  const person = (name: string, group: string) => {
    const address = `${name}@example.test`;
    return { id: name, password: `${name}-password`, displayName: name, email: address, groups: [group] };
  };
  harness = await startHarness({
    schema: customersSchema,
    accounts: [person('alec', 'approvers'), person('ed', 'executors'), person('adam', 'admins'), person('olga', 'ops')],
    configure: (configuration) => {
      const connections = configuration['connections'] as Record<string, unknown>[];
      connections.push({ ...connections[0], name: 'ops', labels: { team: 'ops' } });
      (configuration['identity'] as Record<string, unknown>)['freshGroups'] = 'token';
      const labels = { data: 'personal' };
      configuration['bindings'] = [
        { group: 'chunk-designers', duties: ['designer'], labels },
        { group: 'approvers', duties: ['approver'], labels },
        { group: 'executors', duties: ['executor'], labels },
        { group: 'auditors', duties: ['auditor'], labels },
        { group: 'admins', duties: ['admin'], labels },
        { group: 'ops', duties: ['designer', 'approver', 'executor', 'auditor', 'admin'], labels: { team: 'ops' } },
      ];
    },
  });
  const people = {
    nora: 'nora',
    designer: 'dana',
    approver: 'alec',
    executor: 'ed',
    auditor: 'ana',
    admin: 'adam',
    foreign: 'olga',
  };
  await Promise.all(
    Object.entries(people).map(async ([caller, name]) => tokens.set(caller as Caller, await harness.person(name))),
  );
  await makeObjects();
});

after(() => harness?.close());

/** Something of each kind on the connection crm. */
async function makeObjects(): Promise<void> {
  for (const name of ['run', 'begun', 'shown', 'approved', 'rejected', 'withdrawn', 'glass']) {
    made[name] = (await json<{ request: string }>('designer', 'POST', '/jobs', { content: definition(name) })).request;
  }
  for (const name of ['run', 'begun']) await json('approver', 'POST', `/requests/${made[name]}/approve`, {});
  made['run'] = (await json<{ runId: string }>('executor', 'POST', '/runs', { job: `${marker}-run` })).runId;
  const credential = await json<{ user: string; password: string }>('designer', 'POST', '/credentials', {});
  made['credential'] = credential.user;
  await harness.connect('reader', { ...credential, database: 'crm' }).then((client) => client.query('select 1'));
  const { sessions } = await json<{ sessions: { id: string }[] }>('auditor', 'GET', '/sessions?principal=dana');
  made['session'] = sessions[0]?.id ?? '';
  made['review'] = (await json<{ id: string }>('auditor', 'POST', '/access/reviews')).id;
  await json('admin', 'POST', '/service-accounts', { name: 'etl', owner: 'dana', groups: [] });
  await json('designer', 'POST', '/service-accounts/etl/accept');
  made['key'] = (await json<{ id: string }>('designer', 'POST', '/service-accounts/etl/keys', {})).id;
  for (const [name, value] of Object.entries(made)) assert.ok(value, name);
}

describe('every route', () => {
  it('has a row, and every row a route', async () => {
    const found = (await routes()).filter((one) => !elsewhere.test(one));
    assert.deepEqual(found.toSorted(), Object.keys(rows).toSorted());
  });

  for (const [route, row] of Object.entries(rows)) {
    const may = row.may === 'anyone' ? callers : row.may === 'any' ? callers.slice(1) : row.may.split(' ');
    it(`${route}: ${row.may || 'nobody'}`, async () => {
      const [method = '', pattern = ''] = route.split(' ');
      const path = pattern.replaceAll(/:(\w+)|(\*)/g, (_, name?: string) => {
        const value = row.of?.[name ?? '*']?.() ?? '';
        return name === undefined ? value : encodeURIComponent(value);
      });
      const query = row.query === undefined ? '' : `?${row.query}`;
      const refusals = new Set(row.refused ?? ['forbidden']);
      // Whoever may not goes first: what somebody else has done is no reason to refuse them.
      const inOrder = callers.toSorted((a, b) => Number(may.includes(a)) - Number(may.includes(b)));
      let isFirst = true;
      for (const caller of inOrder) {
        const { status, code, text } = await call(caller, method, `${path}${query}`, row.body?.());
        const seen = `${caller}: ${status} ${text.slice(0, 300)}`;
        assert.ok(status < 500, seen);
        if (!may.includes(caller)) {
          assert.ok(caller === 'nobody' ? code === 'token_invalid' : refusals.has(code ?? ''), seen);
        } else {
          assert.ok(status !== 401 && status !== 403 && !(isFirst && refusals.has(code ?? '')), seen);
          isFirst = false;
        }
        if ((caller === 'nora' || caller === 'foreign') && method === 'GET' && row.tells !== true) {
          for (const told of [marker, made['session'], made['run'], made['shown']]) {
            assert.ok(!text.includes(told ?? marker), `${caller} hears of ${told}: ${text.slice(0, 300)}`);
          }
        }
      }
    });
  }
});
