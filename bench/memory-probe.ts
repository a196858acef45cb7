/**
 * Loaded into a gateway under measurement (`node --import`): on a message of its parent it collects garbage and says
 * what memory is left, which cannot be seen from outside.
 */
import { setFlagsFromString, writeHeapSnapshot } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes. */
export interface ProbedMemory {
  readonly resident: number;
  /** Objects of the program. */
  readonly heap: number;
  /** Buffers and what belongs to objects outside of the heap. */
  readonly external: number;
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

process.on('message', ({ snapshotFile }: { readonly snapshotFile?: string }) => {
  // The second finds what the callbacks of the first let go.
  collectGarbage();
  setImmediate(() => {
    collectGarbage();
    if (snapshotFile !== undefined) writeHeapSnapshot(snapshotFile);
    const { rss, heapUsed, external } = process.memoryUsage();
    process.send?.({ resident: rss, heap: heapUsed, external } satisfies ProbedMemory);
  });
});
process.channel?.unref();
