/**
 * Seals segments of recordings in a thread of its own: compression costs as much as everything else that the gateway
 * does with a row, and its memory would keep the collector of the main thread busy. Buffers are handed over, not copied.
 */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

export interface SealRequest {
  readonly id: number;
  readonly key: Uint8Array;
  readonly sessionId: string;
  readonly number: number;
  readonly buffer: ArrayBuffer;
  readonly length: number;
}

export interface SealReply {
  readonly id: number;
  readonly stored: ArrayBuffer;
  readonly sha256: string;
  /** The request's buffer, to be used again. */
  readonly buffer: ArrayBuffer;
}

export interface Sealed {
  readonly stored: Buffer;
  readonly sha256: string;
  readonly buffer: Buffer;
}

interface Waiting {
  readonly resolve: (sealed: Sealed) => void;
  readonly reject: (error: Error) => void;
}

export class Sealer {
  /** The thread is there before the first recording needs it. */
  static start(): Sealer {
    const sealer = new Sealer();
    sealer.#start();
    return sealer;
  }

  #worker: Worker | undefined;
  #next = 0;
  readonly #waiting = new Map<number, Waiting>();

  /** @param buffer its memory is given away; it must have an ArrayBuffer of its own */
  seal(segment: { key: Buffer; sessionId: string; number: number; buffer: Buffer; length: number }): Promise<Sealed> {
    const worker = this.#start();
    const id = this.#next++;
    const memory = segment.buffer.buffer as ArrayBuffer;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      worker.ref();
      const request: SealRequest = { ...segment, id, key: new Uint8Array(segment.key), buffer: memory };
      worker.postMessage(request, [memory]);
    });
  }

  #start(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    // The published package has .js where the repository has .ts.
    const thread = `sealing-thread${path.extname(fileURLToPath(import.meta.url))}`;
    const worker = new Worker(new URL(thread, import.meta.url));
    worker.on('message', ({ id, stored, sha256, buffer }: SealReply) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (this.#waiting.size === 0) worker.unref();
      waiting?.resolve({ stored: Buffer.from(stored), sha256, buffer: Buffer.from(buffer) });
    });
    const fail = (error: Error) => {
      if (this.#worker === worker) this.#worker = undefined;
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    };
    worker.on('error', fail);
    worker.on('exit', () => fail(new Error('the thread that seals recordings has ended')));
    worker.unref();
    this.#worker = worker;
    return worker;
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }
}
