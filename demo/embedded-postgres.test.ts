import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { makeCertificate } from './certificate.ts';
import { type EmbeddedPostgres, hasDebianPostgres, startEmbeddedPostgres } from './embedded-postgres.ts';

async function ask(connectionString: string, sql: string, ssl?: pg.ClientConfig['ssl']): Promise<unknown> {
  const client = new pg.Client({ connectionString, ...(ssl === undefined ? {} : { ssl }) });
  await client.connect();
  try {
    const { rows } = await client.query<{ answer: unknown }>(sql);
    return rows[0]?.answer;
  } finally {
    await client.end();
  }
}

async function waitUntilGone(path: string): Promise<boolean> {
  for (let tries = 0; tries < 200 && existsSync(path); tries += 1) await sleep(50);
  return !existsSync(path);
}

void describe('embedded PostgreSQL', () => {
  let server: EmbeddedPostgres;
  before(async () => {
    server = await startEmbeddedPostgres({ databases: ['crm', 'two words'], settings: { log_statement: 'all' } });
  });
  after(() => server.stop());

  void test('is PostgreSQL 18 with UTF-8, the databases asked for, and SCRAM', async () => {
    assert.equal(
      await ask(server.url('two words'), "select current_setting('server_version_num')::int / 10000 as answer"),
      18,
    );
    assert.equal(await ask(server.url('crm'), "select upper('äö') as answer"), 'ÄÖ');
    await assert.rejects(ask(server.url('crm').replace(server.password, 'wrong'), 'select 1 as answer'), {
      code: '28P01',
    });
  });

  void test('writes the statements that reach it to its log', async () => {
    await ask(server.url('crm'), "select 'a mark in the log' as answer");
    assert.match(await readFile(server.logFile, 'utf8'), /statement: select 'a mark in the log'/);
  });

  void test('runs beside another one, with TLS, and leaves nothing', async () => {
    const certificate = await makeCertificate({ hosts: ['127.0.0.1'] });
    const other = await startEmbeddedPostgres({ tls: certificate, password: "it's" });
    const home = dirname(other.logFile);
    try {
      assert.notEqual(other.port, server.port);
      const tls = { ca: certificate.caPem };
      const sql = 'select ssl as answer from pg_stat_ssl where pid = pg_backend_pid()';
      assert.equal(await ask(other.url('postgres'), sql, tls), true);
    } finally {
      await other.stop();
    }
    assert.equal(existsSync(home), false);
    await other.stop();
  });

  void test('says what is wrong when it cannot start', async () => {
    await assert.rejects(startEmbeddedPostgres({ settings: { no_such_setting: '1' } }), /no_such_setting/);
    await assert.rejects(startEmbeddedPostgres({ port: server.port }), /could not bind/);
  });

  void test('goes away when its owner is killed', async () => {
    const module = JSON.stringify(new URL('embedded-postgres.ts', import.meta.url).href);
    const script = `import(${module}).then(async ({ startEmbeddedPostgres }) => {
      const server = await startEmbeddedPostgres();
      console.log(JSON.stringify({ logFile: server.logFile, url: server.url('postgres') }));
      setInterval(() => {}, 1000);
    });`;
    const owner = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = (await once(owner.stdout, 'data')) as [Buffer];
    const { logFile, url } = JSON.parse(line.toString()) as { logFile: string; url: string };
    assert.ok(existsSync(logFile));
    owner.kill('SIGKILL');
    assert.ok(await waitUntilGone(dirname(logFile)), 'the directory is still there');
    await assert.rejects(ask(url, 'select 1 as answer'), { code: 'ECONNREFUSED' });
  });

  void test("runs Debian's PostgreSQL 15", {
    skip: hasDebianPostgres() ? false : 'postgresql-15 is not installed',
  }, async () => {
    const debian = await startEmbeddedPostgres({ version: 'debian15', databases: ['crm'] });
    try {
      const sql = "select current_setting('server_version_num')::int / 10000 as answer";
      assert.equal(await ask(debian.url('crm'), sql), 15);
    } finally {
      await debian.stop();
    }
  });
});
