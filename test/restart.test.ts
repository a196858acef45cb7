/** A gateway that is killed in the middle of things, and started again on what it left behind. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { iterateEntries, readerFor } from '../src/audit/verify.ts';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness } from './harness.ts';

let harness: Harness;
let gateway: ChildProcess | undefined;
const dataDirectory = () => path.join(harness.home, 'second');

interface Up {
  readonly process: ChildProcess;
  readonly port: number;
  readonly api: string;
}

before(async () => {
  // Its own app serves the identity provider and the target; what is killed is a second node on the same store.
  harness = await startHarness({ schema: customersSchema });
  const { configuration } = harness;
  const second = { ...configuration, node: 'second', dataDirectory: dataDirectory() };
  await writeFile(path.join(harness.home, 'second.yaml'), JSON.stringify(second));
});

after(async () => {
  gateway?.kill('SIGKILL');
  await harness?.close();
});

async function start(): Promise<Up> {
  const program = fileURLToPath(new URL('../src/bin.ts', import.meta.url));
  const args = [program, 'serve', '--config', path.join(harness.home, 'second.yaml')];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  gateway = child;
  for await (const line of createInterface({ input: child.stdout })) {
    const { postgres, api } = JSON.parse(line) as { postgres?: number; api?: string };
    if (postgres !== undefined && api !== undefined) return { process: child, port: postgres, api };
  }
  throw new Error('the gateway did not start');
}

async function ask<T>(api: string, who: 'designer' | 'executor', method: string, route: string, body?: object) {
  const response = await fetch(`${api}/api/v1${route}`, {
    method,
    headers: { authorization: `Bearer ${await harness.token(who)}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as T };
}

it('a statement that was held when the gateway died is withdrawn, cannot be approved, and the log says why', async () => {
  const first = await start();
  const { body: issued } = await ask<{ user: string; password: string }>(
    first.api,
    'designer',
    'POST',
    '/credentials',
    {},
  );
  const client = new pg.Client({
    ...issued,
    host: '127.0.0.1',
    port: first.port,
    database: 'crm',
    ssl: { ca: harness.caPem },
  });
  client.on('error', () => undefined);
  await client.connect();
  const answer = client.query('select id, ssn from customers where id > 100').then(
    () => 'rows',
    () => 'refused',
  );
  let requests: { id: string; state: string }[] = [];
  for (let tries = 0; requests.length === 0 && tries < 200; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const found = await ask<{ requests: typeof requests }>(first.api, 'executor', 'GET', '/requests?state=pending');
    ({ requests } = found.body);
  }
  const [request] = requests;
  assert.ok(request !== undefined);
  const exited = new Promise((resolve) => first.process.once('exit', resolve));
  first.process.kill('SIGKILL');
  await exited;
  assert.equal(await answer, 'refused');

  const second = await start();
  const now = await ask<{ state: string }>(second.api, 'executor', 'GET', `/requests/${request.id}`);
  assert.equal(now.body.state, 'withdrawn');
  const approval = await ask<{ error: { code: string; message: string } }>(
    second.api,
    'executor',
    'POST',
    `/requests/${request.id}/approve`,
    {},
  );
  assert.equal(approval.body.error.code, 'request_not_pending');
  assert.match(approval.body.error.message, /withdrawn/);
  const ended = new Promise((resolve) => second.process.once('exit', resolve));
  second.process.kill('SIGTERM');
  await ended;
  const reader = readerFor(path.join(dataDirectory(), 'log'));
  const size = Number(String(await reader('checkpoint')).split('\n')[1]);
  const closed: Record<string, unknown>[] = [];
  for await (const { text } of iterateEntries({ read: reader, size })) {
    const entry = JSON.parse(text) as Record<string, unknown>;
    if (entry['type'] === 'request.closed' && entry['request'] === request.id) closed.push(entry);
  }
  assert.equal(closed.length, 1);
  assert.equal(closed[0]?.['state'], 'withdrawn');
  assert.match(String(closed[0]?.['reason']), /went away/);
  assert.doesNotMatch(await harness.targetLog(), /id > 100/, 'nothing of it reached the target');
});
