/**
 * A target that thousands of sessions fit into: it speaks the start-up and answers every query with `1`. The gateway's own
 * questions, which come under another user, are passed through to a real PostgreSQL.
 */
import { once } from 'node:events';
import net from 'node:net';
import { ByteSink } from '../src/lib/byte-sink.ts';
import {
  encodeAuthenticationOk,
  encodeBackendKeyData,
  encodeCommandComplete,
  encodeDataRow,
  encodeParameterStatus,
  encodeReadyForQuery,
  encodeRowDescription,
} from '../src/wire/postgres/backend.ts';
import { FrameSplitter } from '../src/wire/postgres/frames.ts';
import { decodeStartup } from '../src/wire/postgres/frontend.ts';
import { frontend } from '../src/wire/postgres/messages.ts';

export const idleUser = 'idle';

export interface IdleTarget {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

/** As PostgreSQL 18 reports them. */
const parameterStatuses = {
  application_name: 'countersign ses_0123456789abcdef bench',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  default_transaction_read_only: 'off',
  in_hot_standby: 'off',
  integer_datetimes: 'on',
  IntervalStyle: 'postgres',
  is_superuser: 'off',
  scram_iterations: '4096',
  search_path: '"public"',
  server_encoding: 'UTF8',
  server_version: '18.4',
  session_authorization: 'cs_executor',
  standard_conforming_strings: 'on',
  TimeZone: 'Etc/UTC',
};

const answerToQuery = encoded((sink) => {
  encodeRowDescription(sink, [
    { name: '?column?', tableOid: 0, attnum: 0, typeOid: 23, typeSize: 4, typeModifier: -1, format: 0 },
  ]);
  encodeDataRow(sink, [Buffer.from('1')]);
  encodeCommandComplete(sink, 'SELECT 1');
  encodeReadyForQuery(sink, 'I');
});

export async function startIdleTarget(real: { readonly host: string; readonly port: number }): Promise<IdleTarget> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.once('data', (opening: Buffer) => {
      const startup = decodeStartup(opening);
      if (startup.kind === 'startup' && startup.parameters.get('user') === idleUser) serve(socket);
      else passOn(socket, opening, real);
    });
  });
  server.listen({ host: '127.0.0.1', port: 0, backlog: 1024 });
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  return {
    host: '127.0.0.1',
    port,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function serve(socket: net.Socket): void {
  socket.write(
    encoded((sink) => {
      encodeAuthenticationOk(sink);
      for (const [name, value] of Object.entries(parameterStatuses)) encodeParameterStatus(sink, name, value);
      encodeBackendKeyData(sink, 1, Buffer.alloc(4));
      encodeReadyForQuery(sink, 'I');
    }),
  );
  const splitter = new FrameSplitter({ maxFrameBytes: 1024 * 1024 });
  socket.on('data', (chunk: Buffer) => {
    splitter.push(chunk, 0, chunk.length, (type) => {
      if (type === frontend.Query) socket.write(answerToQuery);
      if (type === frontend.Terminate) socket.end();
    });
  });
}

function passOn(socket: net.Socket, opening: Buffer, real: { readonly host: string; readonly port: number }): void {
  const upstream = net.connect(real.port, real.host);
  upstream.on('error', () => socket.destroy());
  upstream.on('close', () => socket.destroy());
  socket.on('close', () => upstream.destroy());
  upstream.write(opening);
  socket.pipe(upstream).pipe(socket);
}

function encoded(encode: (sink: ByteSink) => void): Buffer {
  const sink = new ByteSink(1024);
  encode(sink);
  return Buffer.from(sink.take());
}
