/** Whether a URL's `hostname` is this machine itself: the only place where secrets may travel unencrypted. */
export function isLoopback(hostname: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname);
}
