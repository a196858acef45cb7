import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, beforeEach, describe, test } from 'node:test';
import { startTestStore, type TestStore } from '../../test/control-store.ts';
import { CountersignError } from '../errors.ts';
import { findCredential } from '../store/credentials.ts';
import { upsertPrincipal } from '../store/principals.ts';
import { ScramClient, ScramServer, type ScramVerifier } from '../wire/postgres/scram.ts';
import { CredentialService, type CredentialEvent, type CredentialServiceOptions } from './credentials.ts';
import { PrincipalDirectory } from './directory.ts';
import { Humans } from './humans.ts';
import type { Principal } from './principal.ts';

const hourMs = 3_600_000;
const dora: Principal = {
  id: 'dora',
  human: 'dora',
  kind: 'person',
  displayName: 'Dora',
  email: 'Dora@example.test',
  groups: ['chunk-designers'],
};
const etl: Principal = { id: 'etl', human: 'dora', kind: 'service', displayName: 'etl', email: undefined, groups: [] };

/** Both ends of a log-in. */
function logIn(verifier: ScramVerifier, password: string): void {
  const server = new ScramServer({ verifier, nonce: randomBytes(18).toString('base64') });
  const client = new ScramClient({ password, nonce: randomBytes(18).toString('base64') });
  client.verify(server.final(client.final(server.first(client.first()))));
}

void describe('credentials in a real store', () => {
  let database: TestStore;
  let nowMs = Date.parse('2026-01-02T03:04:05Z');
  let events: CredentialEvent[] = [];
  const clock = { now: () => nowMs };
  const service = (more: Partial<CredentialServiceOptions> = {}): CredentialService =>
    new CredentialService({
      store: database.store,
      record: (event) => {
        events.push(event);
        return Promise.resolve();
      },
      clock,
      random: randomBytes,
      current: (principal) => Promise.resolve(principal),
      ...more,
    });

  before(async () => {
    database = await startTestStore();
  });
  after(() => database.stop());
  beforeEach(async () => {
    events = [];
    await database.store.deleteFrom('credentials').execute();
    await upsertPrincipal(database.store, dora, new Date(nowMs));
    await upsertPrincipal(database.store, etl, new Date(nowMs));
  });

  void test('a credential opens with its password and no other, and only its verifier is stored', async () => {
    const credentials = service();
    const issued = await credentials.issue({ principal: dora, connection: 'crm', ttlMs: hourMs });
    assert.match(issued.user, /^dora\.[0-9a-z]{6}$/);
    assert.equal(Buffer.from(issued.password, 'base64url').length, 32);
    assert.equal(issued.expiresAt.getTime(), nowMs + hourMs);
    const found = await credentials.lookup(issued.user);
    assert(found !== undefined);
    assert.deepEqual(found.principal, dora);
    assert.deepEqual([found.connection, found.runId, found.expiresAt], ['crm', undefined, issued.expiresAt]);
    logIn(found.verifier, issued.password);
    assert.throws(() => logIn(found.verifier, `${issued.password}x`), CountersignError);
    const rows = await database.pool.query('select * from credentials');
    const dump = JSON.stringify(rows.rows, (_, value: unknown) =>
      value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value,
    );
    assert(!dump.includes(issued.password));
  });

  void test('two credentials share nothing', async () => {
    const credentials = service();
    const ask = { principal: dora, ttlMs: hourMs };
    const [one, two] = [await credentials.issue(ask), await credentials.issue(ask)];
    assert.notEqual(one.user, two.user);
    assert.notEqual(one.password, two.password);
    const [first, second] = [await credentials.lookup(one.user), await credentials.lookup(two.user)];
    assert.notDeepEqual(first?.verifier.salt, second?.verifier.salt);
    assert.notDeepEqual(first?.verifier.storedKey, second?.verifier.storedKey);
  });

  void test('a run credential is named after its run and bound to it', async () => {
    const issued = await service().issue({ principal: etl, connection: 'crm', runId: 'run_0abc', ttlMs: hourMs });
    assert.match(issued.user, /^run-0abc\.[0-9a-z]{6}$/);
    const found = await service().lookup(issued.user);
    assert.deepEqual([found?.runId, found?.connection, found?.principal.human], ['run_0abc', 'crm', 'dora']);
  });

  void test('a user name that is taken is not taken over: another is tried, and in the end none is issued', async () => {
    const always = (sizeBytes: number) => Buffer.alloc(sizeBytes, 1);
    const first = await service({ random: always }).issue({ principal: dora, ttlMs: hourMs });
    await assert.rejects(service({ random: always }).issue({ principal: dora, ttlMs: hourMs }), /no free user name/);
    let suffixes = 0;
    const changing = (sizeBytes: number) => Buffer.alloc(sizeBytes, sizeBytes === 6 ? ++suffixes : 1);
    const second = await service({ random: changing }).issue({ principal: dora, ttlMs: hourMs });
    assert.deepEqual([first.user, second.user, suffixes], ['dora.111111', 'dora.222222', 2]);
    assert.equal(events.length, 2);
  });

  void test('groups are those that the directory knows now', async () => {
    const credentials = service();
    const { user } = await credentials.issue({ principal: dora, ttlMs: 24 * hourMs });
    await credentials.lookup(user);
    await upsertPrincipal(database.store, { ...dora, groups: ['nothing'] }, new Date(nowMs));
    nowMs += 2_000;
    assert.deepEqual((await credentials.lookup(user))?.principal.groups, ['nothing']);
  });

  void test('a service account that got another owner loses its credentials', async () => {
    const { user } = await service().issue({ principal: etl, ttlMs: hourMs });
    assert.notEqual(await service().lookup(user), undefined);
    await upsertPrincipal(database.store, { ...etl, human: 'emil' }, new Date(nowMs));
    assert.equal(await service().lookup(user), undefined);
  });

  void test('an expired credential is refused at once, also from the cache', async () => {
    const credentials = service();
    const { user } = await credentials.issue({ principal: dora, ttlMs: 1_000 });
    nowMs += 999;
    assert.notEqual(await credentials.lookup(user), undefined);
    nowMs += 1;
    assert.equal(await credentials.lookup(user), undefined);
  });

  void test('a revoked credential is refused: here at once, on another node within two seconds', async () => {
    const [here, there] = [service(), service()];
    const { user } = await here.issue({ principal: dora, ttlMs: hourMs });
    assert.notEqual(await here.lookup(user), undefined);
    assert.notEqual(await there.lookup(user), undefined);
    assert.equal(await here.revoke(user, 'dora'), true);
    assert.equal(await here.lookup(user), undefined);
    assert.equal(await here.revoke(user, 'dora'), false);
    nowMs += 2_000;
    assert.equal(await there.lookup(user), undefined);
    assert.notEqual((await here.find(user))?.revokedAt, undefined);
  });

  void test('an answer that was read before a revocation is not kept after it', async () => {
    const credentials = service();
    const { user } = await credentials.issue({ principal: dora, ttlMs: hourMs });
    // The lookup has read the credential and stands before the table of principals when the revocation comes.
    const blocker = await database.pool.connect();
    try {
      await blocker.query('begin; lock table principals in access exclusive mode');
      const reading = credentials.lookup(user);
      const waiting = "select from pg_locks where relation = 'principals'::regclass and not granted";
      while ((await database.pool.query(waiting)).rowCount === 0);
      await credentials.revoke(user, 'dora');
      await blocker.query('commit');
      await reading;
    } finally {
      blocker.release();
    }
    assert.equal(await credentials.lookup(user), undefined);
  });

  void test('all credentials of a principal, or of a run, are revoked together', async () => {
    const credentials = service();
    const issue = (principal: Principal, runId?: string) => credentials.issue({ principal, runId, ttlMs: hourMs });
    const mine = [await issue(dora), await issue(dora)];
    const ofRun = await issue(etl, 'run_1');
    const other = await issue(etl, 'run_2');
    assert.equal(await credentials.revokeAllOf('dora', 'admin'), 2);
    for (const { user } of mine) assert.equal(await credentials.lookup(user), undefined);
    assert.equal(await credentials.revokeAllOfRun('run_1', 'countersign'), 1);
    assert.equal(await credentials.lookup(ofRun.user), undefined);
    assert.notEqual(await credentials.lookup(other.user), undefined);
  });

  void test('the log tells who got what and who took it away, without the password', async () => {
    const credentials = service();
    const issued = await credentials.issue({ principal: etl, connection: 'crm', runId: 'run_1', ttlMs: hourMs });
    await credentials.revoke(issued.user, 'auditor');
    const common = { user: issued.user, principal: 'etl', human: 'dora', connection: 'crm', run: 'run_1' };
    assert.deepEqual(events, [
      { type: 'credential.issued', ...common, expiresAt: issued.expiresAt.toISOString() },
      { type: 'credential.revoked', ...common, by: 'auditor' },
    ]);
  });

  void test('without the log nothing is issued, and a revocation holds all the same', async () => {
    const broken = service({ record: () => Promise.reject(new CountersignError('log_unavailable', 'no log')) });
    await assert.rejects(broken.issue({ principal: dora, ttlMs: hourMs }), /no log/);
    assert.deepEqual((await database.pool.query('select * from credentials')).rows, []);
    const { user } = await service().issue({ principal: dora, ttlMs: hourMs });
    await assert.rejects(broken.revoke(user, 'dora'), /no log/);
    assert.equal(await service().lookup(user), undefined);
  });

  void test('a life that is too long, or none, is refused', async () => {
    for (const ttlMs of [0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, hourMs + 1]) {
      await assert.rejects(service({ maxTtlMs: hourMs }).issue({ principal: dora, ttlMs }), /between 1 and 3600000 ms/);
    }
  });

  void test('an unknown, unstorable or stranger user name is nobody', async () => {
    for (const user of ['', 'dora', 'dora.aaaaaa', 'a\0b', '\ud800', "'; drop table credentials; --"]) {
      assert.equal(await service().lookup(user), undefined);
    }
    const { user } = await service().issue({ principal: { ...dora, id: 'stranger' }, ttlMs: hourMs });
    assert.equal(await service().lookup(user), undefined);
  });

  void test('expired credentials are forgotten after a day', async () => {
    const { user } = await service().issue({ principal: dora, ttlMs: 1_000 });
    nowMs += 24 * hourMs;
    assert.equal(await service().sweep(), 0);
    nowMs += 1_001;
    assert.equal(await service().sweep(), 1);
    assert.equal(await findCredential(database.store, user), undefined);
  });

  void test('the directory knows who was seen, and writes only what changed', async () => {
    const humans = new Humans({ store: database.store, clock, record: () => Promise.resolve() });
    const directory = new PrincipalDirectory({ store: database.store, clock, humans });
    const seenAt = async () =>
      (await database.pool.query<{ last_seen_at: Date }>("select last_seen_at from principals where id = 'emil'"))
        .rows[0]?.last_seen_at;
    const emil: Principal = { ...dora, id: 'emil', human: 'emil', email: 'Emil@Example.test' };
    const firstMs = nowMs;
    await directory.seen(emil);
    nowMs += 1_000;
    await directory.seen(emil);
    assert.deepEqual(await seenAt(), new Date(firstMs));
    await directory.seen({ ...emil, groups: ['other'] });
    assert.deepEqual(await seenAt(), new Date(nowMs));
    assert.deepEqual((await directory.get('emil'))?.groups, ['other']);
    nowMs += 60_000;
    await directory.seen({ ...emil, groups: ['other'] });
    assert.deepEqual(await seenAt(), new Date(nowMs));
    assert.equal(await directory.get('unknown'), undefined);
    assert.deepEqual(humans.humansByEmail('emil@example.TEST'), ['emil']);
  });
});
