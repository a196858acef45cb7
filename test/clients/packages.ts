/**
 * Installs what clients need into a cache under the system's temporary directory, with each ecosystem's own tool and
 * pinned versions. Whatever cannot be had is a `Missing`, which skips the client and says why.
 */
import { createHash } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { lastLines, runProgram } from './program.ts';

/** The client cannot run on this machine. Not a failure of the gateway. */
export class Missing extends Error {}

export const cacheDirectory = path.join(tmpdir(), 'countersign-clients');
const installTimeoutMs = 150_000;
/** Since the start of this process. Without a network every installation hangs; together they must leave time for the rest. */
const installUntilMs = 220_000;

async function install(command: readonly [string, ...string[]], cwd: string = tmpdir()): Promise<void> {
  const leftMs = installUntilMs - performance.now();
  if (leftMs <= 0) throw new Missing(`no time is left for ${command[0]}`);
  const { exitCode, failure, stdout, stderr } = await runProgram(command, {
    timeoutMs: Math.min(installTimeoutMs, leftMs),
    cwd,
    environment: { DEBIAN_FRONTEND: 'noninteractive', GOTOOLCHAIN: 'local' },
  });
  if (exitCode === 0) return;
  const what = command.slice(0, 3).join(' ');
  throw new Missing(`${what}: ${failure ?? `exit status ${exitCode}: ${lastLines(stderr || stdout)}`}`);
}

/** A program on the PATH. */
export function tool(name: string): string {
  const found = (process.env['PATH'] ?? '')
    .split(path.delimiter)
    .map((folder) => path.join(folder, name))
    .find((file) => existsSync(file));
  if (found === undefined) throw new Missing(`${name} is not installed`);
  return found;
}

/** Makes `name` in the cache once: in a folder beside it that takes its place when it is complete. */
async function cached(name: string, make: (folder: string) => Promise<void>): Promise<string> {
  const folder = path.join(cacheDirectory, name);
  if (existsSync(folder)) return folder;
  const beside = `${folder}.${process.pid}`;
  await rm(beside, { recursive: true, force: true });
  await mkdir(beside, { recursive: true, mode: 0o700 });
  try {
    await make(beside);
    await rename(beside, folder);
  } finally {
    await rm(beside, { recursive: true, force: true });
  }
  return folder;
}

/** Packages in a folder for PYTHONPATH; binary ones only, so that nothing is compiled. @returns the folder */
export async function pythonPackages(...packages: readonly string[]): Promise<string> {
  const python = tool('python3');
  return cached(`python-${digest(packages)}`, (folder) => {
    const options = ['--quiet', '--disable-pip-version-check', '--only-binary=:all:', '--no-compile'];
    return install([python, '-m', 'pip', 'install', ...options, '--target', folder, ...packages]);
  });
}

/** @returns the jar of a Maven artifact */
export async function jar(artifact: string): Promise<string> {
  const maven = tool('mvn');
  const folder = await cached(`jar-${digest([artifact])}`, (folder) =>
    install([maven, '-B', '-q', 'dependency:copy', `-Dartifact=${artifact}`, `-DoutputDirectory=${folder}`]),
  );
  const [name] = (await readdir(folder)).filter((one) => one.endsWith('.jar'));
  if (name === undefined) throw new Missing(`mvn brought no jar for ${artifact}`);
  return path.join(folder, name);
}

/** Builds the Go module in `source`. @returns the program */
export async function goProgram(source: string): Promise<string> {
  const go = tool('go');
  const folder = await cached(`go-${await sourceDigest(source)}`, (folder) =>
    install([go, 'build', '-mod=readonly', '-o', path.join(folder, 'program'), '.'], source),
  );
  return path.join(folder, 'program');
}

/** Builds the crate in `source`. @returns the program */
export async function cargoProgram(source: string): Promise<string> {
  const cargo = tool('cargo');
  // Built outside the repository, and the dependencies are kept when only the program has changed.
  const target = path.join(cacheDirectory, 'cargo-target');
  const folder = await cached(`cargo-${await sourceDigest(source)}`, async (folder) => {
    await cp(source, folder, { recursive: true });
    await install([cargo, 'build', '--quiet', '--target-dir', target], folder);
    await cp(path.join(target, 'debug', 'client'), path.join(folder, 'program'));
  });
  return path.join(folder, 'program');
}

/** Debian packages, as root, unless `file` is there already. COUNTERSIGN_NO_APT=1 prevents it. */
export async function debianPackages(file: string, ...packages: readonly string[]): Promise<string> {
  if (existsSync(file)) return file;
  const mayInstall = process.getuid?.() === 0 && existsSync('/usr/bin/apt-get') && !process.env['COUNTERSIGN_NO_APT'];
  if (!mayInstall) throw new Missing(`${packages.join(', ')} not installed, and apt-get may not be used here`);
  await install(['apt-get', '-q', 'update']);
  await install(['apt-get', '-q', '-y', 'install', '--no-install-recommends', ...packages]);
  if (!existsSync(file)) throw new Missing(`apt-get brought no ${file}`);
  return file;
}

function digest(words: readonly string[]): string {
  return createHash('sha256').update(words.join('\n')).digest('hex').slice(0, 16);
}

async function sourceDigest(source: string): Promise<string> {
  const files = (await readdir(source, { recursive: true, withFileTypes: true }))
    .filter((one) => one.isFile())
    .map((one) => path.join(one.parentPath, one.name))
    .toSorted();
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  return digest([...files, ...texts]);
}
