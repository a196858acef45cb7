/** What the command line does when the server does not take its token any more. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { CountersignError } from '../errors.ts';
import { ApiClient } from './client.ts';

void describe('a token that has become too old', () => {
  let server: Server;
  let address: string;
  let folder: string;
  let asked: string[] = [];
  let refusal = { status: 401, code: 'groups_stale' };
  const variables = ['COUNTERSIGN_TOKEN', 'COUNTERSIGN_TOKEN_FILE'] as const;
  const kept = variables.map((name) => process.env[name]);

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'countersign-client-'));
    server = createServer((request, response) => {
      asked.push(request.headers.authorization ?? '');
      const isTaken = request.headers.authorization === 'Bearer new';
      response.writeHead(isTaken ? 200 : refusal.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(isTaken ? { done: true } : { error: { code: refusal.code, message: 'no' } }));
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    const bound = server.address();
    assert(typeof bound === 'object' && bound !== null);
    address = `http://127.0.0.1:${bound.port}`;
  });
  after(async () => {
    server.closeAllConnections();
    server.close();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    asked = [];
    for (const name of variables) delete process.env[name];
  });
  afterEach(() => {
    for (const [at, name] of variables.entries()) {
      const value = kept[at];
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
  const fails = (work: Promise<unknown>, code: string) =>
    assert.rejects(work, (error: unknown) => error instanceof CountersignError && error.code === code);

  test('is read again from its file, and the call is made once more', async () => {
    const file = path.join(folder, 'token');
    await writeFile(file, 'old\n');
    process.env['COUNTERSIGN_TOKEN_FILE'] = file;
    for (const code of ['groups_stale', 'token_expired']) {
      refusal = { status: 401, code };
      asked = [];
      await writeFile(file, 'old\n');
      const client = new ApiClient({ server: address });
      await fails(client.post('/x'), code);
      assert.deepEqual(asked, ['Bearer old'], 'the file has nothing else');
      await writeFile(file, 'new\n');
      assert.deepEqual(await client.post('/x'), { done: true });
      assert.deepEqual(asked, ['Bearer old', 'Bearer old', 'Bearer new']);
    }
  });

  test('stays where it was refused for another reason, or was given in place', async () => {
    const file = path.join(folder, 'token');
    await writeFile(file, 'old');
    process.env['COUNTERSIGN_TOKEN_FILE'] = file;
    refusal = { status: 401, code: 'token_invalid' };
    const client = new ApiClient({ server: address });
    await fails(client.post('/x'), 'token_invalid');
    await writeFile(file, 'new');
    await fails(client.post('/x'), 'token_invalid');
    refusal = { status: 401, code: 'groups_stale' };
    process.env['COUNTERSIGN_TOKEN'] = 'old';
    await fails(new ApiClient({ server: address }).post('/x'), 'groups_stale');
  });
});
