/**
 * Seals segments of recordings and writes them, in a thread of its own: compression costs as much as everything else
 * that the gateway does with a row. Segments lie in shared memory that is used again and again: neither copied nor
 * handed over, because memory that changes its owner keeps the collector of the main thread busy.
 */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

export interface Segment {
  /** Open for writing; segments of one file are sealed one after the other. */
  readonly fd: number;
  /** 32 bytes. */
  readonly key: Uint8Array;
  readonly sessionId: string;
  readonly number: number;
  /** Nobody writes to it until it is sealed. */
  readonly memory: SharedArrayBuffer;
  /** Bytes of it that count. */
  readonly length: number;
}

export interface SealRequest extends Segment {
  readonly id: number;
}

export type SealReply = { readonly id: number } & (Sealed | { readonly failure: string });

/** Of the segment as it is in the file. */
export interface Sealed {
  readonly sha256: string;
  readonly bytes: number;
}

interface Waiting {
  readonly resolve: (sealed: Sealed) => void;
  readonly reject: (error: Error) => void;
}

/** A small heap has its garbage collected often, and with it what libraries allocated for each segment; a smaller one too often. */
const threadMemory = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 2 };

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

  /** Resolves when the segment is in its file (not durable yet). @throws (rejects) Error when it cannot be written */
  seal(segment: Segment): Promise<Sealed> {
    const worker = this.#start();
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      worker.ref();
      worker.postMessage({ ...segment, id } satisfies SealRequest);
    });
  }

  #start(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    // The published package has .js where the repository has .ts.
    const thread = `sealing-thread${path.extname(fileURLToPath(import.meta.url))}`;
    const worker = new Worker(new URL(thread, import.meta.url), { resourceLimits: threadMemory });
    worker.on('message', (reply: SealReply) => {
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      if (this.#waiting.size === 0) worker.unref();
      if ('failure' in reply) waiting?.reject(new Error(reply.failure));
      else waiting?.resolve(reply);
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
