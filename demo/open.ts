/** Shows an address in the person's browser, where there is one. */
import { spawn } from 'node:child_process';

const openers: Readonly<Partial<Record<NodeJS.Platform, readonly [string, ...string[]]>>> = {
  darwin: ['open'],
  win32: ['rundll32', 'url.dll,FileProtocolHandler'],
  linux: ['xdg-open'],
};

/** Nothing happens without a screen, or where COUNTERSIGN_NO_OPEN is set; a missing program is no fault. */
export function openInBrowser(address: string): void {
  const { env, platform } = process;
  const hasScreen = platform !== 'linux' || env['DISPLAY'] !== undefined || env['WAYLAND_DISPLAY'] !== undefined;
  const opener = openers[platform];
  if (opener === undefined || !hasScreen || env['COUNTERSIGN_NO_OPEN'] !== undefined) return;
  const [program, ...parameters] = opener;
  const child = spawn(program, [...parameters, address], { stdio: 'ignore', detached: true });
  child.on('error', () => undefined);
  child.unref();
}
