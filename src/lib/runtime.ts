import { CountersignError } from '../errors.ts';

/** The oldest Node.js that runs TypeScript unbuilt without a flag and has zstd; `engines` in package.json says the same. */
export const oldestNode = '22.18.0';

/**
 * Ends a start on a Node.js that is too old with one clear sentence, instead of a syntax error somewhere later.
 * To work there at all, this module and what it imports must stay plain: every entry imports it first.
 *
 * @param version as `process.version` says it: `v24.21.0`
 * @throws CountersignError `configuration_invalid`
 */
export function assertRuntime(version: string = process.version): void {
  if (isAtLeast(version, oldestNode)) return;
  throw new CountersignError(
    'configuration_invalid',
    `Countersign needs Node.js ${oldestNode} or newer, and this is ${version} (${process.execPath}).`,
    {
      hint:
        'Install a newer Node.js. In a clone of the repository, npm scripts use the Node.js that `npm ci` puts under ' +
        'node_modules; `npm ci --ignore-scripts` leaves it out, and `npm rebuild node` brings it back.',
    },
  );
}

function isAtLeast(version: string, oldest: string): boolean {
  const actual = numbers(version);
  for (const [place, wanted] of numbers(oldest).entries()) {
    const found = actual[place] ?? 0;
    if (found !== wanted) return found > wanted;
  }
  // A pre-release of the oldest version comes before it.
  return !version.includes('-');
}

function numbers(version: string): readonly number[] {
  return version
    .replace(/^v/, '')
    .split('-', 1)
    .flatMap((core) => core.split('.').map(Number));
}
