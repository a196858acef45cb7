import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { freePort } from '../../demo/embedded-postgres.ts';
import { listen, type Addresses, type OpenServers } from './addresses.ts';

const home = mkdtempSync(path.join(tmpdir(), 'countersign-listen-'));
after(() => rmSync(home, { recursive: true, force: true }));

/** Runs `work` with open addresses whose server says `tcp` or `local` and hangs up. */
async function open(addresses: Partial<Addresses>, work: (servers: OpenServers) => Promise<void>): Promise<void> {
  const all = { hosts: ['127.0.0.1'], port: 0, socketDirectory: undefined, ...addresses };
  const servers = await listen(all, (socket, isLocal) => socket.end(isLocal ? 'local' : 'tcp'), assert.fail);
  try {
    await work(servers);
  } finally {
    await servers.close();
  }
}

async function greeting(where: net.NetConnectOpts): Promise<string> {
  const socket = net.connect(where);
  const [data] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return data.toString();
}

function hasIPv6(): boolean {
  return existsSync('/proc/net/if_inet6') && statSync('/proc/net/if_inet6').isFile();
}

describe('addresses', () => {
  it('are several, of both families, on one port', async (t) => {
    if (!hasIPv6()) return t.skip('this machine has no IPv6');
    await open({ hosts: ['127.0.0.1', '::1', '127.0.0.2'] }, async ({ port }) => {
      for (const host of ['127.0.0.1', '::1', '127.0.0.2']) assert.equal(await greeting({ host, port }), 'tcp', host);
      await assert.rejects(greeting({ host: '127.0.0.3', port }), /ECONNREFUSED/);
    });
    await open({ hosts: ['0.0.0.0', '::'] }, async ({ port }) => {
      for (const host of ['127.0.0.1', '::1']) assert.equal(await greeting({ host, port }), 'tcp', host);
    });
  });

  it('are all open or none', async () => {
    const blocker = net.createServer();
    blocker.listen(0, '127.0.0.2');
    await once(blocker, 'listening');
    const { port } = blocker.address() as net.AddressInfo;
    const socketDirectory = path.join(home, 'none');
    await assert.rejects(
      open({ hosts: ['127.0.0.1', '127.0.0.2'], port, socketDirectory }, () => assert.fail()),
      /EADDRINUSE/,
    );
    await assert.rejects(greeting({ host: '127.0.0.1', port }), /ECONNREFUSED/);
    blocker.close();
  });
});

describe('the Unix socket', () => {
  it("has the name of PostgreSQL's, in a directory that only we may enter, and goes with the listener", async () => {
    const socketDirectory = path.join(home, 'fresh');
    let file = '';
    await open({ socketDirectory }, async ({ port }) => {
      file = path.join(socketDirectory, `.s.PGSQL.${port}`);
      assert.equal(await greeting({ path: file }), 'local');
      assert.equal(await greeting({ host: '127.0.0.1', port }), 'tcp');
      assert.equal(statSync(socketDirectory).mode & 0o777, 0o700);
      assert.equal(statSync(file).mode & 0o666, 0o666);
    });
    assert.ok(!existsSync(file));
  });

  it('replaces one that a killed process left behind', async () => {
    const port = await freePort();
    const file = path.join(home, `.s.PGSQL.${port}`);
    const script = `require('node:net').createServer().listen(${JSON.stringify(file)}, () => console.log('up'))`;
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    assert.ok(existsSync(file));
    await open({ port, socketDirectory: home }, async () => {
      assert.equal(await greeting({ path: file }), 'local');
    });
  });

  it('is not taken from a process that listens there, nor is a file that is no socket', async () => {
    const port = await freePort();
    const file = path.join(home, `.s.PGSQL.${port}`);
    const other = net.createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end('other');
    });
    other.listen(file);
    await once(other, 'listening');
    await assert.rejects(
      open({ port, socketDirectory: home }, () => assert.fail()),
      /another process listens there/,
    );
    assert.equal(await greeting({ path: file }), 'other');
    await new Promise((resolve) => other.close(resolve));
    writeFileSync(file, 'precious');
    await assert.rejects(
      open({ port, socketDirectory: home }, () => assert.fail()),
      /is no socket/,
    );
    assert.ok(existsSync(file));
    await assert.rejects(greeting({ host: '127.0.0.1', port }), /ECONNREFUSED/);
  });

  it('is refused where its name is longer than the kernel takes', async () => {
    const socketDirectory = path.join(home, 'x'.repeat(120));
    await assert.rejects(
      open({ socketDirectory }, () => assert.fail()),
      /longer than the 107 bytes/,
    );
  });
});
