/** CPU time and memory of another process, as Linux counts them in /proc. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** User and system time of all threads since the process began, in microseconds; the grain is one tick (10 ms). */
export function cpuMicroseconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is the command in parentheses and may hold spaces; utime and stime are the 14th and 15th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1e6) / ticksPerSecond;
}

export function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (kilobytes === undefined) throw new Error(`process ${pid} has ended`);
  return Number(kilobytes) * 1024;
}

export interface Usage {
  readonly cpuMicroseconds: number;
  /** Largest resident size seen while it ran. */
  readonly peakResidentBytes: number;
}

const samplePeriodMs = 10;

/** Runs `work` and says what it cost process `pid`. */
export async function measureUsage<Result>(
  pid: number | undefined,
  work: () => Promise<Result>,
): Promise<{ readonly result: Result; readonly usage: Usage | undefined }> {
  if (pid === undefined) return { result: await work(), usage: undefined };
  const cpuBefore = cpuMicroseconds(pid);
  let peak = residentBytes(pid);
  const sampler = setInterval(() => {
    peak = Math.max(peak, residentBytes(pid));
  }, samplePeriodMs);
  try {
    const result = await work();
    peak = Math.max(peak, residentBytes(pid));
    return { result, usage: { cpuMicroseconds: cpuMicroseconds(pid) - cpuBefore, peakResidentBytes: peak } };
  } finally {
    clearInterval(sampler);
  }
}
