/** Debian's packages that tests need, where this process may install them. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** True when apt says that they are there now. Only root installs, and not where COUNTERSIGN_NO_APT is set. */
export function installed(packages: readonly string[], purpose: string): boolean {
  const mayInstall = process.getuid?.() === 0 && existsSync('/usr/bin/apt-get') && !process.env['COUNTERSIGN_NO_APT'];
  if (!mayInstall) return false;
  process.stdout.write(`installing ${packages.join(', ')} ${purpose} (COUNTERSIGN_NO_APT=1 prevents it)\n`);
  const apt = (...parameters: string[]): boolean =>
    spawnSync('apt-get', ['-q', '-y', ...parameters], {
      stdio: 'inherit',
      timeout: 180_000,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    }).status === 0;
  return apt('update') && apt('install', '--no-install-recommends', ...packages);
}
