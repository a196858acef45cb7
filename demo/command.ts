/** Runs the real command line as one of the demo's people, and prints it the way it would be typed. */
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import colors from 'picocolors';
import { clientSecret, passwordOf, services, type Environment, type Person, type Service } from './environment.ts';
import { approveDeviceCode } from './oidc-provider.ts';

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandLine {
  /** Runs `countersign <words>`, prints the command and what came back. */
  (who: Person | Service, words: readonly string[], options?: { readonly quiet?: boolean }): Promise<CommandResult>;
}

const repository = path.resolve(import.meta.dirname, '..');

export interface CommandOptions {
  readonly environment: Environment;
  readonly print: (text: string) => void;
  /** Sees every byte that a command printed. */
  readonly capture: (text: string) => void;
}

export function commandLine({ environment, print, capture }: CommandOptions): CommandLine {
  return async (who, words, { quiet = false } = {}) => {
    if (!quiet) print(`${colors.bold(`${who}$`)} countersign ${words.map(quoted).join(' ')}`);
    const home = path.join(environment.home, 'homes', who);
    mkdirSync(home, { recursive: true });
    const interactive = !quiet && process.stderr.isTTY && words[0] === 'run';
    // On a terminal the bar is drawn while the command runs; what it draws is captured all the same.
    const more = interactive ? ['--progress', 'bar'] : [];
    const child = spawn(process.execPath, [path.join(repository, 'src/bin.ts'), ...words, ...more], {
      cwd: environment.home,
      env: {
        ...process.env,
        COUNTERSIGN_SERVER: environment.apiUrl,
        COUNTERSIGN_HOME: home,
        COUNTERSIGN_CLIENT_SECRET: clientSecret,
        COUNTERSIGN_CA: environment.caFile,
        ...(process.stdout.isTTY ? { FORCE_COLOR: '1' } : { NO_COLOR: '1' }),
        NODE_NO_WARNINGS: '1',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (data: Buffer) => {
      stdout += data.toString('utf8');
      // A person would now open the page and type the code; so do we, over the same HTTP.
      const prompt = /Open (\S+) and enter the code (\S+)/.exec(stdout);
      if (prompt !== null && !approved && !(who in services)) {
        approved = true;
        approving = approveDeviceCode(environment.issuer, prompt[2] ?? '', who, passwordOf(who as Person));
        approving.catch(() => child.kill());
      }
    });
    let approved = false;
    let approving: Promise<unknown> = Promise.resolve();
    child.stderr?.on('data', (data: Buffer) => {
      stderr += data.toString('utf8');
      if (interactive) process.stderr.write(data);
    });
    const exitCode = await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve(code ?? 1));
    });
    await approving;
    capture(stdout);
    capture(stderr);
    if (!quiet) {
      const shown = `${stdout}${interactive ? '' : stderr}`.trimEnd();
      if (shown !== '') print(shown.replaceAll(/^/gm, '  '));
      if (exitCode !== 0) print(colors.dim(`  (exit code ${exitCode})`));
    }
    return { exitCode, stdout, stderr };
  };
}

/** Logs everybody in: people by the device flow, service accounts by their client credentials. */
export async function logIn(run: CommandLine, who: Person | Service): Promise<void> {
  const words = who in services ? ['login', '--client-id', who] : ['login'];
  const result = await run(who, words);
  if (result.exitCode !== 0) throw new Error(`${who} could not log in: ${result.stderr}`);
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
