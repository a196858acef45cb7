/** People, service accounts, keys and credentials over the command line and the wire, with a second node on the store. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { pino } from 'pino';
import { startApp, type App } from '../src/app.ts';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness } from './harness.ts';

const bin = fileURLToPath(new URL('../src/bin.ts', import.meta.url));
const psql = '/usr/lib/postgresql/15/bin/psql';

function accountOf(id: string, groups: string[], email = `${id}@example.test`) {
  return { id, password: `${id}-password`, displayName: id, groups, email };
}

interface Ran {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

void describe('service accounts and credentials', () => {
  let harness: Harness;
  let second: App;
  const tokens = new Map<string, string>();

  before(async () => {
    harness = await startHarness({
      schema: customersSchema,
      accounts: [
        accountOf('root', ['admins', 'chunk-executors']),
        accountOf('olga', ['readers', 'chunk-designers']),
        accountOf('otto', ['readers']),
        accountOf('olga2', ['chunk-executors'], 'OLGA@example.test'),
      ],
      configure: (raw) => {
        (raw['bindings'] as object[]).push({ group: 'admins', duties: ['admin'] });
        // The provider's userinfo takes no tokens that are for another audience.
        (raw['identity'] as Record<string, unknown>)['freshGroups'] = 'token';
      },
    });
    const { configuration, home } = harness;
    second = await startApp({
      configuration: {
        ...configuration,
        node: 'second',
        dataDirectory: path.join(home, 'second'),
        credentials: { ...configuration.credentials, endSessions: true },
      },
      version: '0.0.0-test',
      logger: pino({ level: 'silent' }),
    });
    for (const who of ['root', 'olga', 'otto', 'olga2']) {
      const token = await harness.person(who);
      tokens.set(who, token);
      const headers = { authorization: `Bearer ${token}` };
      assert.equal((await fetch(`${harness.app.apiUrl}/api/v1/whoami`, { headers })).status, 200);
    }
  });
  after(async () => {
    await second?.close();
    await harness?.close();
  });

  function environment(token: string): NodeJS.ProcessEnv {
    return {
      PATH: process.env['PATH'],
      HOME: '/nonexistent',
      COUNTERSIGN_TOKEN: tokens.get(token) ?? token,
      COUNTERSIGN_SERVER: harness.app.apiUrl,
      COUNTERSIGN_PSQL: psql,
      PGPASSFILE: '/nonexistent',
    };
  }

  function startCli(token: string, args: readonly string[]) {
    return spawn(process.execPath, [bin, ...args], { stdio: 'pipe', env: environment(token), timeout: 60_000 });
  }

  async function cli(token: string, ...args: string[]): Promise<Ran> {
    const child = startCli(token, args);
    let [out, err] = ['', ''];
    child.stdout.on('data', (data: Buffer) => (out += data.toString()));
    child.stderr.on('data', (data: Buffer) => (err += data.toString()));
    child.stdin.end();
    const [status] = (await once(child, 'close')) as [number | null];
    return { status, out: out.trim(), err: err.trim() };
  }

  async function json<T>(token: string, ...args: string[]): Promise<T> {
    const { status, out, err } = await cli(token, '--json', ...args);
    assert.equal(status, 0, err);
    return JSON.parse(out) as T;
  }

  async function connect(app: App, user: string, password: string): Promise<pg.Client> {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: app.postgresPort,
      user,
      password,
      database: 'crm',
      ssl: { ca: harness.caPem },
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** The error that ends an idle session. */
  async function ended(client: pg.Client): Promise<string> {
    const [error] = (await once(client, 'error', { signal: AbortSignal.timeout(20_000) })) as [Error];
    return error.message;
  }

  void test('an account from its making to its end', async () => {
    const made = await json<{ offeredTo: string }>(
      'root',
      'service-accounts',
      'create',
      'etl-db',
      '--owner',
      'olga',
      '--groups',
      'readers',
      'admins',
    );
    assert.equal(made.offeredTo, 'olga');
    assert.equal((await cli('root', 'service-accounts', 'keys', 'create', 'etl-db')).status, 3);
    assert.equal((await cli('otto', 'service-accounts', 'accept', 'etl-db')).status, 4);
    await json('olga', 'service-accounts', 'accept', 'etl-db');
    const { key, id } = await json<{ key: string; id: string }>(
      'olga',
      'service-accounts',
      'keys',
      'create',
      'etl-db',
      '--expires',
      '1d',
    );
    const who = await json<{ id: string; human: string; groups: string[]; duties: { crm: string[] } }>(key, 'whoami');
    assert.deepEqual([who.id, who.human, who.groups, who.duties.crm], ['etl-db', 'olga', ['readers'], ['executor']]);
    // As a database password, and with a credential of its own, on both nodes.
    const sessions = [await connect(harness.app, 'etl-db', key), await connect(second, 'etl-db', key)];
    for (const one of sessions) assert.equal((await one.query<{ n: number }>('select 1 as n')).rows[0]?.n, 1);
    await assert.rejects(connect(harness.app, 'olga', key), /etl-db's, but the user name is/);
    const ends = sessions.map(ended);
    await json('olga', 'service-accounts', 'keys', 'revoke', 'etl-db', id);
    for (const message of await Promise.all(ends)) assert.match(message, /key of this session was revoked/);
    await assert.rejects(connect(harness.app, 'etl-db', key), /no valid key/);
    const refused = await cli(key, 'whoami');
    assert.deepEqual([refused.status, refused.err.includes('token_invalid')], [3, true]);
    const types = (await harness.entries()).filter((one) => one['account'] === 'etl-db').map((one) => one['type']);
    assert.deepEqual(
      types,
      ['created', 'accepted', 'key-created', 'key-revoked'].map((what) => `service-account.${what}`),
    );
    assert(!JSON.stringify(await harness.entries()).includes(key) && !harness.serverLog().includes(key));
  });

  void test('rotate gives a new key and ends the others; a new owner ends them all', async () => {
    await json('root', 'service-accounts', 'create', 'etl-rotate', '--owner', 'olga', '--groups', 'readers');
    await json('olga', 'service-accounts', 'accept', 'etl-rotate');
    const first = await json<{ key: string }>('olga', 'service-accounts', 'keys', 'create', 'etl-rotate');
    const next = await json<{ key: string }>('olga', 'service-accounts', 'rotate', 'etl-rotate');
    assert.equal((await cli(first.key, 'whoami')).status, 3);
    assert.equal((await json<{ id: string }>(next.key, 'whoami')).id, 'etl-rotate');
    await json('olga', 'service-accounts', 'offer', 'etl-rotate', '--to', 'otto');
    await json('otto', 'service-accounts', 'accept', 'etl-rotate');
    assert.equal((await cli(next.key, 'whoami')).status, 3);
    const listed = await cli('otto', 'service-accounts', 'list');
    assert.match(listed.out, /etl-rotate.*otto.*active/);
    await json('otto', 'service-accounts', 'disable', 'etl-rotate', '-m', 'not needed');
    assert.match((await cli('root', 'service-accounts', 'list')).out, /etl-rotate.*disabled: not needed/);
  });

  void test('people are linked by an admin, with a reason; one address is one human', async () => {
    const { people } = await json<{ people: { key: string; names: string[] }[] }>('root', 'people', 'list');
    assert(people.some(({ names }) => names.includes('olga') && names.includes('olga2')));
    assert.equal((await cli('olga', 'people', 'list')).status, 3);
    assert.equal((await cli('olga', 'people', 'link', 'otto', 'root', '-m', 'x')).status, 3);
    assert.equal((await cli('root', 'people', 'link', 'otto', 'root', '-m', ' ')).status, 2);
    assert.equal((await cli('root', 'people', 'link', 'otto', 'etl@example.org', '-m', 'signs commits so')).status, 0);
    assert.match((await cli('root', 'people', 'list')).out, /etl@example\.org\s+otto\s+root\s+signs commits so/);
    assert.equal((await cli('root', 'people', 'unlink', 'otto', 'etl@example.org', '-m', 'a mistake')).status, 0);
    await cli('root', 'people', 'link', 'root', 'otto', '-m', 'one person');
    assert.equal((await cli('root', 'people', 'unlink', 'root', 'otto', '-m', 'I say so')).status, 3);
  });

  void test('credentials are listed, and a revocation ends the sessions of every node', async () => {
    const { user, password } = await json<{ user: string; password: string }>('olga', 'token', 'crm');
    const sessions = [await connect(harness.app, user, password), await connect(second, user, password)];
    const list = await cli('olga', 'token', 'list');
    assert(list.out.includes(user) && !list.out.includes(password));
    assert(!(await cli('otto', 'token', 'list', '--all')).out.includes(user));
    assert((await cli('root', 'token', 'list', '--all')).out.includes(user));
    assert.equal((await cli('otto', 'token', '--revoke', user)).status, 4);
    const ends = sessions.map(ended);
    assert.equal((await cli('olga', 'token', '--revoke', user)).out, `${user}: revoked`);
    for (const message of await Promise.all(ends)) assert.match(message, /credential of this session was revoked/);
    await assert.rejects(connect(second, user, password), /password authentication failed/);
    assert.equal((await cli('olga', 'token')).status, 2);
  });

  void describe('a session ends when what it was opened with runs out:', () => {
    /** What is stored is made older, so that nobody has to wait. */
    const control = async (sql: string, ...values: unknown[]) => {
      const client = new pg.Client({ connectionString: harness.postgres.url('control') });
      await client.connect();
      const { rowCount } = await client.query(sql, values);
      await client.end();
      assert(rowCount !== null && rowCount > 0, `nothing was changed: ${sql}`);
    };
    const account = async (name: string) => {
      await json('root', 'service-accounts', 'create', name, '--owner', 'olga', '--groups', 'readers');
      await json('olga', 'service-accounts', 'accept', name);
      return json<{ key: string; id: string }>('olga', 'service-accounts', 'keys', 'create', name);
    };
    const secondsAgo = "now() - interval '1 second'";

    void test('a key, on every node, and no other key', async () => {
      const { key, id } = await account('etl-key');
      const other = await json<{ key: string }>('olga', 'service-accounts', 'keys', 'create', 'etl-key');
      const sessions = [await connect(harness.app, 'etl-key', key), await connect(second, 'etl-key', key)];
      const stays = await connect(harness.app, 'etl-key', other.key);
      const ends = sessions.map(ended);
      await control(`update service_account_keys set expires_at = ${secondsAgo} where id = $1`, id);
      for (const message of await Promise.all(ends))
        assert.match(message, new RegExp(`the key ${id} of etl-key.* expired at`));
      assert.equal((await stays.query<{ n: number }>('select 1 as n')).rows[0]?.n, 1);
      await stays.end();
    });

    void test('an account, or the time in which its owner is seen; whatever the session was opened with', async () => {
      const { key } = await account('etl-owned');
      for (const [change, message] of [
        [
          `update service_accounts set expires_at = ${secondsAgo} where name = 'etl-owned'`,
          /the service account etl-owned expired at/,
        ],
        [
          "update principals set last_seen_at = now() - interval '31 days' where id = 'olga'",
          /etl-owned rests because its owner olga/,
        ],
      ] as const) {
        const { user, password } = await json<{ user: string; password: string }>(key, 'token', 'crm');
        const sessions = [await connect(harness.app, 'etl-owned', key), await connect(harness.app, user, password)];
        const ends = sessions.map(ended);
        await control(change);
        for (const text of await Promise.all(ends)) assert.match(text, message);
        await assert.rejects(connect(harness.app, 'etl-owned', key), message);
        await control("update service_accounts set expires_at = null where name = 'etl-owned'");
        await control("update principals set last_seen_at = now() where id = 'olga'");
      }
    });

    void test('a credential, where credentials.endSessions says so', async () => {
      const { user, password } = await json<{ user: string; password: string }>('olga', 'token', 'crm');
      const [stays, goes] = [await connect(harness.app, user, password), await connect(second, user, password)];
      const end = ended(goes);
      await control(`update credentials set expires_at = ${secondsAgo} where user_name = $1`, user);
      assert.match(await end, /the credential of this session expired at .*, and sessions end with it/);
      assert.equal((await stays.query<{ n: number }>('select 1 as n')).rows[0]?.n, 1);
      await json('olga', 'token', '--revoke', user);
      await stays.end().catch(() => undefined);
    });
  });

  void describe('countersign psql', { skip: !existsSync(psql) }, () => {
    const credentialsOf = async (who: string) =>
      (await json<{ credentials: { userName: string }[] }>(who, 'token', 'list')).credentials.map(
        (one) => one.userName,
      );

    void test('runs psql with a credential that nobody else sees, and that ends with it', async () => {
      const before = new Set(await credentialsOf('olga'));
      const shell = String.raw`\! tr '\0' ' ' < /proc/$PPID/cmdline; echo; echo "password $PGPASSWORD user $PGUSER"`;
      const { status, out, err } = await cli('olga', 'psql', 'crm', '-XAt', '-c', "select 'one' || 'two'", '-c', shell);
      assert.deepEqual([status, err], [0, '']);
      const [answer, commandLine = '', last = ''] = out.split('\n');
      assert.equal(answer, 'onetwo');
      const [, password = '', user = ''] = /^password (\S+) user (\S+)$/.exec(last) ?? [];
      assert(password.length >= 40 && commandLine.includes('psql') && !commandLine.includes(password));
      assert.match(user, /^olga\./);
      assert.deepEqual(
        (await credentialsOf('olga')).filter((one) => !before.has(one)),
        [],
      );
      await assert.rejects(connect(harness.app, user, password), /password authentication failed/);
    });

    void test("ends with psql's own status, and revokes then, too", async () => {
      const before = await credentialsOf('olga');
      const failed = await cli(
        'olga',
        'psql',
        'crm',
        '-X',
        '-v',
        'ON_ERROR_STOP=1',
        '-c',
        'select nothing from nowhere',
      );
      assert.deepEqual([failed.status, failed.err.includes('nowhere')], [1, true]);
      assert.equal((await cli('olga', 'psql', 'crm', '--no-such-option')).status, 1);
      assert.match((await cli('olga', 'psql', 'crm', '--version')).out, /^psql \(PostgreSQL\)/);
      assert.equal((await cli('olga', 'psql', 'nowhere', '-X')).status === 0, false);
      assert.deepEqual(await credentialsOf('olga'), before);
    });

    void test('loses its session when its credential is revoked, or when it is ended from outside', async () => {
      const before = new Set(await credentialsOf('olga'));
      const child = startCli('olga', ['psql', 'crm', '-XAt']);
      let [out, err] = ['', ''];
      child.stdout.on('data', (data: Buffer) => (out += data.toString()));
      child.stderr.on('data', (data: Buffer) => (err += data.toString()));
      child.stdin.write('select 41 + 1;\n');
      while (!out.includes('42')) await once(child.stdout, 'data');
      const [user = ''] = (await credentialsOf('olga')).filter((one) => !before.has(one));
      await json('olga', 'token', '--revoke', user);
      child.stdin.write('select 43;\n\\q\n');
      await once(child, 'close');
      assert(!out.includes('43'));
      assert.match(err, /credential of this session was revoked|server closed the connection/);

      const killed = startCli('olga', ['psql', 'crm', '-XAt']);
      killed.stdin.write('select 41 + 1;\n');
      await once(killed.stdout, 'data');
      killed.kill('SIGTERM');
      await once(killed, 'close');
      assert.deepEqual(
        (await credentialsOf('olga')).filter((one) => !before.has(one)),
        [],
      );
    });
  });

  void test('somebody whom an admin removes loses the sessions of every node, under every name', async () => {
    const { user, password } = await json<{ user: string; password: string }>('olga', 'token', 'crm');
    const sessions = [await connect(harness.app, user, password), await connect(second, user, password)];
    const ends = sessions.map(ended);
    assert.equal((await cli('root', 'people', 'remove', 'olga', '-m', 'left on Friday')).out, 'olga: removed');
    for (const message of await Promise.all(ends)) assert.match(message, /may not come in any more|revoked/);
    assert.match((await cli('olga2', 'whoami')).err, /may not come in any more/);
    assert.match((await cli('root', 'people', 'removed')).out, /olga .* root .* left on Friday/);
    assert.equal((await cli('root', 'people', 'reactivate', 'olga', '-m', 'is back')).out, 'olga: may come in again');
    await assert.rejects(connect(second, user, password), /password authentication failed/);
  });
});
