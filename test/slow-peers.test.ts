/**
 * A peer that stops reading holds back its own session and nobody else's, and the gateway holds a bounded number of
 * bytes for it. Nothing here depends on time: a stop is a stop, and what is counted are the gateway's own sockets, which
 * live in this process. They are Unix sockets, because the kernel holds little for those.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { frame, streamOf } from './bypass/wire.ts';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness } from './harness.ts';

/** What may wait for a slow peer: a mebibyte, and what one turn brought beyond it. */
const mostBytes = 4 * 1024 * 1024;
/** A stream that is paused still takes what was read already. */
const onItsWayBytes = 128 * 1024;
const statementsOfOthers = 100;
const bigQuery = "select n, repeat('nothing of interest ', 50) from generate_series(1, 40000) n";

const proxyPort = 5432;

let home: string;
let harness: Harness;
let proxy: SlowProxy;
const opened: net.Socket[] = [];
/** The gateway's end of the newest connection of a client, and of that to a target, over a Unix socket. */
const newest: { ofClient?: net.Socket; toTarget?: net.Socket } = {};
const accepted = (message: unknown) => {
  const { socket } = message as { socket: net.Socket };
  if (socket.remotePort === undefined && !proxy.isOwn(socket)) newest.ofClient = socket;
};
const connected = (message: unknown) => {
  const { socket } = message as { socket: net.Socket };
  socket.once('connect', () => {
    if (socket.remotePort === undefined) newest.toTarget = socket;
  });
};

/** Before a target; it stops reading from sessions of users, and goes on, when it is told to. */
class SlowProxy {
  readonly #server: net.Server;
  readonly #ofUsers = new Set<net.Socket>();
  target = { host: '127.0.0.1', port: 0 };

  private constructor(server: net.Server) {
    this.#server = server;
  }

  /** Listens at the Unix socket of `port` in `folder`. */
  static async start(folder: string): Promise<SlowProxy> {
    const server = net.createServer();
    const proxy = new SlowProxy(server);
    server.on('connection', (socket) => {
      const upstream = net.connect(proxy.target.port, proxy.target.host);
      socket.once('data', (opening: Buffer) => {
        if (opening.includes('countersign ses_')) proxy.#ofUsers.add(socket);
        upstream.write(opening);
        socket.on('data', (data: Buffer) => {
          if (!upstream.write(data)) socket.pause();
        });
        upstream.on('drain', () => socket.resume());
        upstream.pipe(socket);
      });
      for (const [one, other] of [
        [socket, upstream],
        [upstream, socket],
      ] as const) {
        one.on('error', () => other.destroy());
        one.on('close', () => other.destroy());
      }
    });
    server.listen(path.join(folder, `.s.PGSQL.${proxyPort}`));
    await once(server, 'listening');
    return proxy;
  }

  isOwn(socket: net.Socket): boolean {
    return (socket as unknown as { server?: net.Server }).server === this.#server;
  }

  stopReading(): void {
    for (const socket of this.#ofUsers) socket.pause();
  }

  readOn(): void {
    for (const socket of this.#ofUsers) socket.resume();
  }

  close(): void {
    this.#server.close();
  }
}

before(async () => {
  subscribe('net.server.socket', accepted);
  subscribe('net.client.socket', connected);
  home = await mkdtemp(path.join(tmpdir(), 'countersign-test-'));
  for (const folder of ['target', 'gateway']) await mkdir(path.join(home, folder), { mode: 0o700 });
  proxy = await SlowProxy.start(path.join(home, 'target'));
  harness = await startHarness({
    schema: `${customersSchema} create table taken (id integer, label text);`,
    configure: (configuration) => {
      Object.assign((configuration['gateway'] as { postgres: object }).postgres, {
        socket: path.join(home, 'gateway'),
      });
      const connections = configuration['connections'] as { name: string; host: string; port: number }[];
      const [crm] = connections;
      assert.ok(crm !== undefined);
      proxy.target.port = crm.port;
      connections.push({ ...crm, name: 'slow', host: path.join(home, 'target'), port: proxyPort });
    },
  });
});

after(async () => {
  unsubscribe('net.server.socket', accepted);
  unsubscribe('net.client.socket', connected);
  // A client that does not read does not hear that it is to end.
  for (const socket of opened) socket.destroy();
  await harness?.close();
  proxy?.close();
  await rm(home, { recursive: true, force: true });
});

/** Until it is so; a stop that never comes fails here and not in a number. */
async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt++) {
    if (isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  assert.fail(`never: ${what}`);
}

/** A client whose answers come as bytes, with the gateway's ends of its session. */
async function rawClient(database: 'crm' | 'slow'): Promise<{
  readonly socket: net.Socket;
  readonly own: net.Socket;
  readonly upstream: net.Socket | undefined;
}> {
  const { body } = await harness.api<{ user: string; password: string }>('reader', 'POST', '/credentials', {});
  const where = { host: path.join(home, 'gateway'), port: harness.app.postgresPort, ssl: false };
  const socket = streamOf(await harness.connect('reader', { ...body, ...where, database }));
  socket.removeAllListeners('data');
  const own = newest.ofClient;
  assert.ok(own !== undefined);
  opened.push(socket);
  return { socket, own, upstream: newest.toTarget };
}

/** Everything up to ReadyForQuery: how many bytes, and their hash. */
async function answer(socket: net.Socket): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  let tail = Buffer.alloc(0);
  const ready = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);
  await new Promise<void>((resolve, reject) => {
    socket.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      bytes += chunk.length;
      tail = Buffer.concat([tail, chunk]).subarray(-ready.length);
      if (tail.equals(ready)) resolve();
    });
    socket.on('close', () => reject(new Error('the session ended')));
    socket.resume();
  });
  return { bytes, sha256: hash.digest('hex') };
}

/** Another session works as ever while `own` is looked at. Returns the most that waited there. */
async function othersGoOn(own: net.Socket): Promise<number> {
  const client = await harness.connect('reader');
  let most = 0;
  for (let index = 0; index < statementsOfOthers; index++) {
    const { rows: found } = await client.query<{ label: string }>(
      `select label from plain where id = ${1 + (index % 50)}`,
    );
    assert.equal(found[0]?.label, `label ${1 + (index % 50)}`);
    most = Math.max(most, own.writableLength);
  }
  await client.end();
  return most;
}

describe('a client that stops reading', () => {
  it('of a large result holds back its own target only, and gets everything when it reads on', async () => {
    const direct = new pg.Client({ connectionString: harness.postgres.url('crm') });
    direct.on('error', () => undefined);
    await direct.connect();
    const directSocket = streamOf(direct);
    directSocket.removeAllListeners('data');
    directSocket.write(frame.query(bigQuery));
    const expected = await answer(directSocket);
    directSocket.destroy();

    const { socket, own } = await rawClient('crm');
    socket.pause();
    socket.write(frame.query(bigQuery));
    await until('the client is slow', () => own.writableLength > 1024 * 1024);
    const most = await othersGoOn(own);
    assert.ok(most > 0 && most < mostBytes, `${most} bytes wait for the client`);
    // Whatever the kernel holds: most of the result is still at the target.
    assert.ok(own.bytesWritten < expected.bytes / 2, `${own.bytesWritten} of ${expected.bytes} bytes were taken`);
    assert.deepEqual(await answer(socket), expected);
  });

  for (const [name, text] of [
    ['of refusals is not read any more', 'select ssn = $$x$$ from customers'],
    ['of small answers is not read any more', "select repeat('x', 500)"],
  ] as const) {
    it(name, async () => {
      const { socket, own } = await rawClient('crm');
      socket.pause();
      const flood = Buffer.concat(Array.from({ length: 1_000 }, () => frame.query(text)));
      let most = 0;
      for (let sent = 0; sent < 200 && socket.writableLength < 1024 * 1024; sent++) {
        socket.write(flood);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await until('the gateway has stopped reading', () => {
        most = Math.max(most, own.writableLength);
        return own.isPaused() && own.writableLength > 1024 * 1024;
      });
      const taken = own.bytesRead;
      most = Math.max(most, await othersGoOn(own));
      assert.ok(own.bytesRead - taken <= onItsWayBytes, 'the gateway reads on');
      assert.ok(most < mostBytes, `${most} bytes wait for the client`);
    });
  }
});

describe('a target that stops reading', () => {
  it('because it works holds back a client that sends ever more small statements', async () => {
    const { socket, own } = await rawClient('crm');
    socket.resume();
    socket.write(frame.query('select count(*) from generate_series(1, 5000) a, generate_series(1, 99999) b'));
    const flood = Buffer.concat(Array.from({ length: 1_000 }, () => frame.query('select 1')));
    for (let sent = 0; sent < 400; sent++) socket.write(flood);
    await until('the gateway has stopped reading', () => own.isPaused());
    const taken = own.bytesRead;
    await othersGoOn(own);
    assert.ok(own.bytesRead - taken <= onItsWayBytes, 'the gateway reads on');
    // Each statement that waits costs the gateway many times its bytes.
    assert.ok(own.bytesRead < 1024 * 1024, `${own.bytesRead} bytes of statements wait in the gateway`);
  });

  it('holds back its own client only, and gets everything when it reads on', async () => {
    const { socket, upstream } = await rawClient('slow');
    assert.ok(upstream !== undefined);
    const lines = 100_000;
    socket.write(frame.query('copy taken from stdin'));
    const [said] = (await once(socket, 'data')) as [Buffer];
    assert.equal(String.fromCharCode(said[0] ?? 0), 'G');
    proxy.stopReading();
    let sent = 0;
    const send = () => {
      let goesOn = true;
      while (goesOn && sent < lines) {
        const block: Buffer[] = [];
        for (let index = 0; index < 1_000; index++, sent++) block.push(copyData(`${sent}\t${'label '.repeat(40)}\n`));
        goesOn = socket.write(Buffer.concat(block));
      }
      if (sent < lines) socket.once('drain', send);
    };
    send();
    await until('the target is slow', () => upstream.writableLength > 0 && upstream.writableNeedDrain);
    const most = await othersGoOn(upstream);
    assert.ok(most > 0 && most < mostBytes, `${most} bytes wait for the target`);
    assert.ok(sent < lines, 'everything was taken from the client');
    proxy.readOn();
    await until('all is sent', () => sent === lines && !socket.writableNeedDrain);
    const finished = answer(socket);
    socket.write(Buffer.from([0x63, 0, 0, 0, 4]));
    await finished;
    const [counted] = await harness.target<{ count: string; sum: string; bytes: string }>(
      'select count(*), sum(id), sum(length(label)) as bytes from taken',
    );
    assert.deepEqual(counted, {
      count: String(lines),
      sum: String((lines * (lines - 1)) / 2),
      bytes: String(lines * 'label '.length * 40),
    });
  });
});

function copyData(text: string): Buffer {
  const message = Buffer.alloc(5 + Buffer.byteLength(text));
  message.write('d');
  message.writeInt32BE(message.length - 1, 1);
  message.write(text, 5);
  return message;
}
