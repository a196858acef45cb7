/** How long the disk takes for one synchronised write as the log makes them: what no gateway can save a single client. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { systemFiles } from '../src/audit/files.ts';

/** An intent and the outcome before it, with their header. */
const writeBytes = 1_536;
const writes = 400;

/** Median in microseconds, through the same functions and to the same kind of file as the log's own. */
export async function measureFlush(): Promise<number> {
  const home = await mkdtemp(path.join(tmpdir(), 'countersign-bench-'));
  try {
    const descriptor = await systemFiles.createSegment(path.join(home, 'segment'), writes * writeBytes);
    const buffer = Buffer.alloc(writeBytes, 'x');
    const times: number[] = [];
    for (let index = 0; index < writes; index++) {
      const startedMs = performance.now();
      await new Promise<void>((resolve, reject) => {
        systemFiles.writeDurably(descriptor, buffer, 0, writeBytes, index * writeBytes, (error) => {
          if (error === null) resolve();
          else reject(error);
        });
      });
      times.push((performance.now() - startedMs) * 1_000);
    }
    await systemFiles.closeSegment(descriptor);
    return times.toSorted((a, b) => a - b)[writes / 2] ?? Number.NaN;
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}
