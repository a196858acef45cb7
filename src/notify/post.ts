/**
 * One HTTP POST to a receiver, and no more than that: no redirect is followed, the answer's body is not read, and the
 * address is checked after the name was resolved, so that no name leads into this machine or a private network (server-side
 * request forgery).
 */
import { lookup, type LookupAddress } from 'node:dns';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { CountersignError } from '../errors.ts';
import { addressKind } from '../lib/addresses.ts';

export interface PostLimits {
  readonly timeoutMs: number;
  /** Receivers on this machine, also without TLS. */
  readonly allowLoopback: boolean;
  readonly allowPrivate: boolean;
}

export interface PostResult {
  /** The receiver took it (2xx). */
  readonly isTaken: boolean;
  /** It never wants anything again (410). */
  readonly isGone: boolean;
  readonly status: number;
}

/** @throws CountersignError `notification_failed`; it never names more of the address than its host */
export async function post(
  address: string,
  headers: Readonly<Record<string, string>>,
  body: string,
  limits: PostLimits,
): Promise<PostResult> {
  const url = checkedUrl(address, limits);
  const bytes = Buffer.from(body, 'utf8');
  const isPlain = url.protocol === 'http:';
  const signal = AbortSignal.timeout(limits.timeoutMs);
  try {
    return await new Promise<PostResult>((resolve, reject) => {
      const request = (isPlain ? http : https).request(
        url,
        {
          method: 'POST',
          agent: false,
          signal,
          headers: { ...headers, 'content-type': 'application/json', 'content-length': bytes.length },
          lookup: checkedLookup(limits, isPlain),
        },
        (response) => {
          const status = response.statusCode ?? 0;
          response.destroy();
          resolve({ isTaken: status >= 200 && status < 300, isGone: status === 410, status });
        },
      );
      request.on('error', reject);
      request.end(bytes);
    });
  } catch (cause) {
    if (cause instanceof CountersignError) throw cause;
    const reason = signal.aborted ? `did not answer within ${limits.timeoutMs} ms` : reasonOf(cause);
    throw failed(url.hostname, reason, cause);
  }
}

/** @throws CountersignError `notification_failed` */
function checkedUrl(address: string, limits: PostLimits): URL {
  const url = URL.parse(address);
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new CountersignError('notification_failed', 'the address of the receiver is no https address');
  }
  if (url.username !== '' || url.password !== '') throw failed(url.hostname, 'has a user in its address');
  if (url.protocol === 'http:' && !limits.allowLoopback) throw failed(url.hostname, 'has to be reached by https');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  // A name is checked when it is resolved; an address is never looked up.
  if (net.isIP(host) !== 0) checkAddress(url.hostname, host, limits, url.protocol === 'http:');
  return url;
}

function checkAddress(host: string, address: string, limits: PostLimits, isPlain: boolean): void {
  const kind = addressKind(address);
  if (kind === 'loopback' && limits.allowLoopback) return;
  if (isPlain) throw failed(host, 'has to be reached by https');
  if (kind === 'loopback') throw failed(host, 'is this machine itself', undefined, 'notificationLimits.allowLoopback');
  if (kind === 'special' && !limits.allowPrivate) {
    throw failed(host, 'is in a private network', undefined, 'notificationLimits.allowPrivate');
  }
}

/** Every address that the name has must be allowed: which one is taken is not for us to say. */
function checkedLookup(limits: PostLimits, isPlain: boolean): net.LookupFunction {
  return (host, options, callback) => {
    lookup(host, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
      if (error !== null) return callback(error, []);
      try {
        for (const { address } of addresses) checkAddress(host, address, limits, isPlain);
      } catch (refused) {
        return callback(refused as NodeJS.ErrnoException, []);
      }
      const [first] = addresses;
      if (options.all === true) return callback(null, addresses);
      return callback(null, first?.address ?? '', first?.family);
    });
  };
}

function failed(host: string, reason: string, cause?: unknown, setting?: string): CountersignError {
  const hint = setting === undefined ? undefined : `${setting} lets messages go there`;
  return new CountersignError('notification_failed', `the receiver ${host} ${reason}`, { cause, hint });
}

function reasonOf(cause: unknown): string {
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : 'unknown';
  return `cannot be reached (${code})`;
}
