/** Runs one program, bounded in time and output. */
import { spawn } from 'node:child_process';

export interface ProgramResult {
  readonly stdout: string;
  readonly stderr: string;
  /** undefined = it did not start, or was ended because its time was up; `failure` says which. */
  readonly exitCode: number | undefined;
  readonly failure: string | undefined;
}

export interface ProgramOptions {
  readonly timeoutMs: number;
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

const maxOutputBytes = 8 * 1024 * 1024;

/** Ends the group of each program that still runs; called when this process ends, for whatever reason it can see. */
const running = new Set<() => void>();
process.on('exit', () => {
  for (const end of running) end();
});

export async function runProgram(
  [program, ...parameters]: readonly [string, ...string[]],
  { timeoutMs, cwd, environment }: ProgramOptions,
): Promise<ProgramResult> {
  // A group of its own: what the program started ends with it.
  const child = spawn(program, parameters, {
    cwd,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let failure: string | undefined;
  const endGroup = (why: string): void => {
    failure ??= why;
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended already.
    }
  };
  const output = { stdout: '', stderr: '' };
  const collect = (name: 'stdout' | 'stderr'): void => {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
      if (output[name].length > maxOutputBytes) endGroup('it printed too much');
    });
  };
  collect('stdout');
  collect('stderr');
  const abandon = (): void => endGroup('the runner ended');
  running.add(abandon);
  const timer = setTimeout(() => endGroup(`not done after ${Math.round(timeoutMs / 1000)} s`), timeoutMs);
  const exitCode = await new Promise<number | undefined>((resolve) => {
    child.once('error', (error) => {
      failure ??= error.message;
      resolve(undefined);
    });
    child.once('close', (code) => resolve(failure === undefined ? (code ?? undefined) : undefined));
  });
  clearTimeout(timer);
  running.delete(abandon);
  return { ...output, exitCode, failure };
}

/** The last lines of what a program printed, for a message. */
export function lastLines(text: string, count = 4): string {
  return text.trim().split('\n').slice(-count).join(' | ').slice(-500);
}
