/**
 * Reads one result as fast as bytes arrive and counts them: a process of its own, started by stream.ts.
 *
 *   node bench/stream-client.ts HOST PORT USER DATABASE SQL      (password in PGPASSWORD)
 *
 * Prints one line of JSON: {"rows","bytes","milliseconds"}. `pg` only logs in; then the raw socket is ours, because
 * turning a million rows into objects would measure the client.
 */
import { once } from 'node:events';
import { Socket } from 'node:net';
import pg from 'pg';

const dataRow = 0x44;
const errorResponse = 0x45;
const readyForQuery = 0x5a;
const headerBytes = 5;

/** Walks the frames of a server's answer without keeping them; the header may be cut anywhere. */
class FrameCounter {
  rows = 0;
  bytes = 0;
  isReady = false;
  hasFailed = false;
  readonly #header = Buffer.alloc(headerBytes);
  #headerLength = 0;
  #bodyLeft = 0;

  push(chunk: Buffer): void {
    this.bytes += chunk.length;
    let position = 0;
    while (position < chunk.length) {
      const skipped = Math.min(this.#bodyLeft, chunk.length - position);
      position += skipped;
      this.#bodyLeft -= skipped;
      if (position === chunk.length) return;
      if (this.#headerLength === 0 && chunk.length - position >= headerBytes) {
        this.#begin(chunk[position] ?? 0, chunk.readInt32BE(position + 1));
        position += headerBytes;
        continue;
      }
      this.#header[this.#headerLength++] = chunk[position++] ?? 0;
      if (this.#headerLength < headerBytes) continue;
      this.#headerLength = 0;
      this.#begin(this.#header[0] ?? 0, this.#header.readInt32BE(1));
    }
  }

  #begin(type: number, length: number): void {
    this.#bodyLeft = length - 4;
    if (type === dataRow) this.rows += 1;
    else if (type === errorResponse) this.hasFailed = true;
    else if (type === readyForQuery) this.isReady = true;
  }
}

function queryMessage(sql: string): Buffer {
  const text = Buffer.from(`${sql}\0`);
  const head = Buffer.alloc(headerBytes, 'Q');
  head.writeInt32BE(text.length + 4, 1);
  return Buffer.concat([head, text]);
}

async function main([host, port, user, database, sql]: readonly (string | undefined)[]): Promise<void> {
  const client = new pg.Client({ host, port: Number(port), user, database, password: process.env['PGPASSWORD'] });
  await client.connect();
  // A lost connection shows at the socket below.
  client.on('error', () => undefined);
  const { connection } = client as unknown as { connection: { stream: unknown } };
  const socket = connection.stream;
  if (!(socket instanceof Socket)) throw new Error('pg has no socket here');
  socket.removeAllListeners('data');

  const counter = new FrameCounter();
  const { promise: finished, resolve } = Promise.withResolvers<undefined>();
  let firstBytes = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    if (firstBytes.length < 4096) firstBytes = Buffer.concat([firstBytes, chunk.subarray(0, 4096)]);
    counter.push(chunk);
    if (counter.isReady) resolve(undefined);
  });
  const startedMs = performance.now();
  socket.write(queryMessage(sql ?? ''));
  await Promise.race([finished, once(socket, 'close').then(() => Promise.reject(new Error('connection lost')))]);
  const milliseconds = performance.now() - startedMs;
  socket.destroy();
  if (counter.hasFailed) throw new Error(`the server refused: ${firstBytes.toString('latin1').replaceAll('\0', ' ')}`);
  process.stdout.write(`${JSON.stringify({ rows: counter.rows, bytes: counter.bytes, milliseconds })}\n`);
}

await main(process.argv.slice(2));
