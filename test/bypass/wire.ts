/** A client that sends whatever frames it is told to, over the TLS connection and log-in of node-postgres. */
import type { Socket } from 'node:net';
import type pg from 'pg';
import { ByteSink } from '../../src/lib/byte-sink.ts';
import {
  encodeBind,
  encodeClose,
  encodeCopyFail,
  encodeDescribe,
  encodeExecute,
  encodeFlush,
  encodeParse,
  encodeQuery,
  encodeSync,
} from '../../src/wire/postgres/frontend.ts';

export function streamOf(client: pg.Client): Socket {
  return (client as unknown as { connection: { stream: Socket } }).connection.stream;
}

function encoded(encode: (sink: ByteSink) => void): Buffer {
  const sink = new ByteSink(256);
  encode(sink);
  return Buffer.from(sink.buffer.subarray(0, sink.length));
}

export const frame = {
  query: (text: string) => encoded((sink) => encodeQuery(sink, text)),
  parse: (name: string, query: string, parameterTypes: readonly number[] = []) =>
    encoded((sink) => encodeParse(sink, { name, query, parameterTypes })),
  bind: (portal: string, statement: string, parameters: readonly (string | null)[] = [], format: 0 | 1 = 0) =>
    encoded((sink) =>
      encodeBind(sink, {
        portal,
        statement,
        parameterFormats: [],
        parameters: parameters.map((value) => (value === null ? null : Buffer.from(value))),
        resultFormats: format === 0 ? [] : [1],
      }),
    ),
  describe: (kind: 'S' | 'P', name: string) => encoded((sink) => encodeDescribe(sink, kind, name)),
  execute: (portal: string, maxRows = 0) => encoded((sink) => encodeExecute(sink, portal, maxRows)),
  close: (kind: 'S' | 'P', name: string) => encoded((sink) => encodeClose(sink, kind, name)),
  sync: () => encoded(encodeSync),
  flush: () => encoded(encodeFlush),
  copyFail: () => encoded((sink) => encodeCopyFail(sink, 'stop')),
  copyDone: () => message('c'),
  /** Any message type with any body. */
  raw: message,
};

function message(type: string, body: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 0, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

export interface Answer {
  readonly type: string;
  readonly body: string;
}

export class RawSession {
  readonly #stream: Socket;
  #received = Buffer.alloc(0);
  #all = '';
  #answers: Answer[] = [];
  #closed = false;
  #wake: () => void = () => undefined;

  /** Takes a connected client's socket away from it. */
  constructor(client: pg.Client) {
    this.#stream = streamOf(client);
    this.#stream.removeAllListeners('data');
    this.#stream.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#stream.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
  }

  /** Every byte so far. */
  get bytes(): string {
    return this.#all;
  }

  get closed(): boolean {
    return this.#closed;
  }

  send(...frames: Buffer[]): void {
    this.#stream.write(Buffer.concat(frames));
  }

  /** The answers up to the given number of messages of a type, or to the end of the session, or of our patience. */
  async until(type: string, count = 1, patienceMs = 2_000): Promise<readonly Answer[]> {
    const end = Date.now() + patienceMs;
    const seen = () => this.#answers.filter((answer) => answer.type === type).length;
    while (seen() < count && !this.#closed && Date.now() < end) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.#answers.splice(0);
  }

  /** Sends and waits for one ReadyForQuery per Sync or Query. */
  async run(ready: number, ...frames: Buffer[]): Promise<readonly Answer[]> {
    this.send(...frames);
    return this.until('Z', ready);
  }

  #take(chunk: Buffer): void {
    this.#all += chunk.toString('latin1');
    this.#received = Buffer.concat([this.#received, chunk]);
    while (this.#received.length >= 5) {
      const size = this.#received.readInt32BE(1) + 1;
      if (this.#received.length < size) break;
      const type = String.fromCharCode(this.#received[0] ?? 0);
      this.#answers.push({ type, body: this.#received.toString('latin1', 5, size) });
      this.#received = this.#received.subarray(size);
    }
    this.#wake();
  }
}

export function errorsOf(answers: readonly Answer[]): string[] {
  return answers.filter((answer) => answer.type === 'E').map((answer) => /\0C(\w{5})/.exec(answer.body)?.[1] ?? '?');
}

export function rowsOf(answers: readonly Answer[]): number {
  return answers.filter((answer) => answer.type === 'D').length;
}
