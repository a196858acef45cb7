/**
 * People who come by SAML, whom SCIM manages, and who leave: the whole way, with live sessions. TEST_WORKERS=2 runs it
 * with the sessions in worker processes.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type pg from 'pg';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness } from './harness.ts';
import { Browser, connectAs, connectWith, samlIssuer, samlLogIn } from './saml-browser.ts';
import { makeSamlKeys, readRequest, type SamlKeys } from './saml-provider.ts';

const scimToken = 'scim-token-of-the-tests-0123456789';

let harness: Harness;
let keys: SamlKeys;
let folder: string;
let target: HeldTarget;

before(async () => {
  keys = await makeSamlKeys();
  folder = await mkdtemp(path.join(tmpdir(), 'countersign-people-'));
  const certificate = path.join(folder, 'idp.crt');
  await writeFile(certificate, keys.certPem);
  target = await HeldTarget.start();
  harness = await startHarness({
    schema: customersSchema,
    configure: (raw) => {
      raw['identity'] = {
        ...(raw['identity'] as object),
        providers: [
          {
            kind: 'saml',
            name: 'corp',
            title: 'The company',
            entryPoint: 'https://corp.test/sso',
            idpIssuer: samlIssuer,
            idpCertFiles: [certificate],
            groupsAttribute: 'groups',
          },
        ],
        scim: { token: scimToken, provider: 'corp', subjectFrom: 'userName' },
      };
      const [connection] = raw['connections'] as { host: string; port: number }[];
      assert.ok(connection !== undefined);
      target.port = connection.port;
      raw['connections'] = [{ ...connection, host: '127.0.0.1', port: target.ownPort }];
      raw['bindings'] = [...(raw['bindings'] as object[]), { group: 'admins', duties: ['admin'] }];
    },
  });
});
after(async () => {
  await harness?.close();
  await target?.close();
  await rm(folder, { recursive: true, force: true });
});

/** The way to the target: new connections wait there while somebody wants it. */
class HeldTarget {
  port = 0;
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  #held: { readonly arrived: () => void; readonly released: Promise<void> } | undefined;

  private constructor() {
    this.#server = net.createServer({ pauseOnConnect: true }, (socket) => void this.#carry(socket));
  }

  static async start(): Promise<HeldTarget> {
    const one = new HeldTarget();
    await new Promise<void>((resolve) => one.#server.listen(0, '127.0.0.1', resolve));
    return one;
  }

  get ownPort(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  /** `arrived`: a connection waits. */
  hold(): { readonly arrived: Promise<void>; readonly release: () => void } {
    const arrival = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    this.#held = { arrived: arrival.resolve, released: release.promise };
    return {
      arrived: arrival.promise,
      release: () => {
        this.#held = undefined;
        release.resolve();
      },
    };
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #carry(client: net.Socket): Promise<void> {
    client.on('error', () => client.destroy());
    this.#held?.arrived();
    await this.#held?.released;
    const server = net.connect(this.port, '127.0.0.1');
    server.on('error', () => client.destroy());
    for (const socket of [client, server]) this.#sockets.add(socket);
    client.pipe(server).pipe(client);
    client.on('close', () => server.destroy());
    server.on('close', () => client.destroy());
  }
}

const browserOf = () => new Browser(harness.app.apiUrl);

async function loggedIn(nameId: string, ...groups: string[]): Promise<Browser> {
  const browser = browserOf();
  assert.equal(await samlLogIn(browser, keys, { nameId, groups }, '/inbox'), '/inbox');
  return browser;
}

async function scim(method: string, route: string, body?: unknown): Promise<{ status: number; id: string }> {
  const response = await fetch(`${harness.app.apiUrl}/scim/v2${route}`, {
    method,
    headers: { authorization: `Bearer ${scimToken}`, 'content-type': 'application/scim+json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  assert.ok(response.status < 300, text);
  return { status: response.status, id: text === '' ? '' : (JSON.parse(text) as { id: string }).id };
}

const patch = (...Operations: object[]) => ({
  schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
  Operations,
});

interface Failure {
  readonly code: string;
  readonly message: string;
}

const failure = (work: Promise<unknown>): Promise<Failure> =>
  work.then(
    () => assert.fail('this had to fail'),
    (cause: unknown) => cause as Failure,
  );

/** Resolves when the gateway has ended it; the runner's own limit of time is the only one. */
const over = (client: pg.Client): Promise<void> => new Promise((resolve) => client.once('end', () => resolve()));

const whoami = (browser: Browser) =>
  browser.api<{ id: string; groups: string[]; error: { code: string } }>('GET', '/whoami');

async function held(browser: Browser): Promise<string> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const { body } = await browser.api<{ requests: { id: string }[] }>('GET', '/requests?state=pending');
    const [found] = body.requests;
    if (found !== undefined) return found.id;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return assert.fail('no request appeared');
}

describe('a log-in of the page with SAML', () => {
  it('ends on the page, with a session', async () => {
    const browser = await loggedIn('sam', 'chunk-designers');
    const { status, body } = await whoami(browser);
    assert.deepEqual([status, body.id, body.groups], [200, 'corp:sam', ['chunk-designers']]);
    const { body: login } = await browser.api<{ providers: object[] }>('GET', '/login');
    assert.deepEqual(login.providers.at(-1), { name: 'corp', title: 'The company', kind: 'saml' });
    const metadata = await browser.ask('/auth/saml/corp/metadata');
    assert.match(metadata.text, /AssertionConsumerService/);
    const entries = await harness.entries();
    assert.ok(entries.some((entry) => entry['type'] === 'saml.login' && entry['principal'] === 'corp:sam'));
  });

  it('leads nowhere when it is refused, and says why', async () => {
    const browser = browserOf();
    const begun = await browser.ask('/auth/saml/corp/login?return=//evil.test');
    assert.equal(new URL(begun.location).host, 'corp.test');
    const form = { SAMLResponse: 'PGEvPg==', RelayState: readRequest(begun.location).relayState };
    const answer = await browser.ask('/auth/saml/corp/acs', { form, crossSite: true });
    assert.deepEqual([answer.status, answer.location], [303, '/login?failed']);
    assert.equal(browser.problem().code, 'saml_response_invalid');
    assert.equal((await whoami(browser)).status, 401);
    const unknown = await browser.ask('/auth/saml/nobody/login');
    assert.equal(unknown.location, '/login?failed');
    const away = browserOf();
    assert.equal(await samlLogIn(away, keys, { nameId: 'sam', groups: [] }, '//evil.test'), '/');
  });

  it('is finished in the browser that began', async () => {
    const victim = browserOf();
    await victim.ask('/auth/saml/corp/login');
    const attacker = browserOf();
    // The attacker's own log-in, up to its last step, which is then put before the victim.
    let last = '';
    const stopping = {
      ask: async (...args: Parameters<Browser['ask']>) => {
        if (!args[0].includes('/finish?')) return attacker.ask(...args);
        last = args[0];
        return { status: 0, location: '', text: '' };
      },
    } as Browser;
    await samlLogIn(stopping, keys, { nameId: 'mallory', groups: ['chunk-designers'] });
    assert.match(last, /finish\?code=/);
    assert.equal((await victim.ask(last)).location, '/login?failed');
    assert.equal((await whoami(victim)).status, 401);
  });
});

describe('a group that SCIM takes away', () => {
  it('counts at the next statement and the next decision', async () => {
    const { id: rita } = await scim('POST', '/Users', { userName: 'rita', active: true });
    const { id: readers } = await scim('POST', '/Groups', { displayName: 'readers', members: [{ value: rita }] });
    const approvers = { displayName: 'chunk-executors', members: [{ value: rita }] };
    const { id: executors } = await scim('POST', '/Groups', approvers);
    // What the assertion says does not count any more.
    const browser = await loggedIn('rita', 'chunk-designers');
    assert.deepEqual((await whoami(browser)).body.groups.toSorted(), ['chunk-executors', 'readers']);
    const client = await connectAs(harness, browser);
    await client.query('select 1');

    const issued = await browser.api<{ user: string; password: string }>('POST', '/credentials', { connection: 'crm' });

    const designer = await loggedIn('desi', 'chunk-designers');
    const asking = await connectAs(harness, designer);
    const waiting = failure(asking.query('select id from customers'));
    const request = await held(browser);

    await scim('PATCH', `/Groups/${executors}`, patch({ op: 'remove', path: `members[value eq "${rita}"]` }));
    await scim('PATCH', `/Groups/${readers}`, patch({ op: 'Remove', path: 'members', value: [{ value: rita }] }));
    const decided = await browser.api<{ error: { code: string } }>('POST', `/requests/${request}/approve`, {});
    assert.equal(decided.status, 403);
    const error = await failure(client.query('select 1'));
    assert.ok(error.code === '57P01' || /terminated|not queryable/i.test(error.message), error.message);
    assert.equal((await failure(connectWith(harness, issued.body))).code, '28000');
    const another = await browser.api<{ error: { code: string } }>('POST', '/credentials', { connection: 'crm' });
    assert.equal(another.body.error.code, 'connection_unknown');
    await asking.end();
    await waiting;
    const entries = await harness.entries();
    assert.ok(
      entries.some(
        (entry) => entry['type'] === 'person.groups-changed' && JSON.stringify(entry['principals']) === '["corp:rita"]',
      ),
    );
  });
});

describe('somebody who leaves', () => {
  it('by SCIM loses sessions, credentials, the held statement and the page within moments', {
    timeout: 10_000,
  }, async () => {
    const { id: user } = await scim('POST', '/Users', { userName: 'lea', active: true });
    await scim('POST', '/Groups', { displayName: 'chunk-designers', members: [{ value: user }] });
    const lea = await loggedIn('lea', 'others');
    const issued = await lea.api<{ user: string; password: string }>('POST', '/credentials', { connection: 'crm' });
    // With two workers each has one of them.
    const clients = [await connectWith(harness, issued.body), await connectWith(harness, issued.body)];
    const stays = await harness.connect('reader');
    const waiting = failure(clients[0]?.query('select id from customers') ?? Promise.resolve());
    const approver = await loggedIn('ari', 'chunk-executors');
    const request = await held(approver);
    const ends = clients.map(over);

    await scim('PATCH', `/Users/${user}`, patch({ op: 'Replace', path: 'active', value: 'False' }));
    await Promise.all(ends);
    assert.ok(['28000', 'ZC003'].includes((await waiting).code));
    const { body: shown } = await approver.api<{ state: string }>('GET', `/requests/${request}`);
    assert.equal(shown.state, 'withdrawn');
    assert.equal((await whoami(lea)).status, 401);
    assert.equal((await failure(connectWith(harness, issued.body))).code, '28P01');
    const again = browserOf();
    assert.equal(await samlLogIn(again, keys, { nameId: 'lea', groups: ['chunk-designers'] }), '/login?failed');
    assert.equal(again.problem().code, 'principal_disabled');
    assert.deepEqual((await stays.query('select 1 as one')).rows, [{ one: 1 }]);

    await scim('PUT', `/Users/${user}`, { userName: 'lea', active: true });
    assert.equal((await whoami(lea)).status, 401);
    assert.equal((await failure(connectWith(harness, issued.body))).code, '28P01');
    const back = await loggedIn('lea', 'others');
    assert.deepEqual((await whoami(back)).body.groups, ['chunk-designers']);
    const types = (await harness.entries())
      .filter((entry) => entry['principal'] === 'corp:lea')
      .map((entry) => entry['type']);
    for (const type of ['person.removed', 'person.removal-finished', 'person.reactivated', 'web-session.ended']) {
      assert.ok(types.includes(type), type);
    }
  });

  it('while a session opens does not get it', async () => {
    const admin = await loggedIn('adam', 'admins');
    const late = await loggedIn('lotte', 'chunk-designers');
    const { arrived, release } = target.hold();
    const opening = failure(connectAs(harness, late));
    await arrived;
    const removed = await admin.api('POST', '/people/corp%3Alotte/remove', { reason: 'too late' });
    assert.equal(removed.status, 204);
    release();
    assert.equal((await opening).code, '28000');
    const entries = await harness.entries();
    assert.ok(entries.some((entry) => entry['type'] === 'session.refused' && entry['code'] === 'principal_disabled'));
  });

  it('by hand of an administrator: tokens that are still valid, and accounts, are refused', {
    timeout: 10_000,
  }, async () => {
    const admin = await loggedIn('adam', 'admins');
    const other = await loggedIn('otto', 'chunk-designers');
    const reason = { reason: 'left on Friday' };
    assert.equal((await other.api('POST', '/people/dana/remove', reason)).status, 403);
    assert.equal((await admin.api('POST', '/people/dana/remove', {})).status, 400);
    const token = await harness.person('dana');
    const asPerson = async () => {
      const response = await fetch(`${harness.app.apiUrl}/api/v1/whoami`, {
        headers: { authorization: `Bearer ${token}` },
      });
      return { status: response.status, body: (await response.json()) as { error?: { code: string } } };
    };
    assert.equal((await asPerson()).status, 200);
    const client = await harness.connect('designer');
    const ended = over(client);
    assert.equal((await admin.api('POST', '/people/dana/remove', reason)).status, 204);
    await ended;
    const refused = await asPerson();
    assert.deepEqual([refused.status, refused.body.error?.code], [403, 'principal_disabled']);
    assert.equal((await failure(connectWith(harness, { user: 'dana', password: token }))).code, '28000');
    for (const who of ['designer', 'etl-designer'] as const) {
      assert.ok((await harness.api(who, 'GET', '/whoami')).status >= 401, who);
    }
    assert.equal((await harness.api('executor', 'GET', '/whoami')).status, 200);
    const { body: removed } = await admin.api<{ people: { principalId: string; reason: string }[] }>(
      'GET',
      '/people/removed',
    );
    assert.ok(removed.people.some((one) => one.principalId === 'dana' && one.reason === reason.reason));

    assert.equal((await admin.api('POST', '/people/dana/reactivate', reason)).status, 204);
    assert.equal((await admin.api('POST', '/people/dana/reactivate', reason)).status, 404);
    assert.equal((await asPerson()).status, 200);
    // Accounts stay disabled: nothing is given back.
    assert.equal((await harness.api('designer', 'GET', '/whoami')).status, 401);
    const entries = await harness.entries();
    assert.ok(entries.some((entry) => entry['type'] === 'person.removed' && entry['by'] === 'corp:adam'));
  });
});
