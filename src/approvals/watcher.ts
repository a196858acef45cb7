/**
 * Wakes whoever waits for a request when any node of the store changed it: LISTEN on one dedicated connection that is
 * opened when somebody waits and opened again when it is lost. A wake-up is only a hint to look again; the waiter also
 * looks every `pollMs`, so a lost notification delays and never loses a decision.
 */
import pg from 'pg';

export const requestChannel = 'countersign_requests';

/** How long to wait before a lost connection is opened again. */
const reconnectMs = 1_000;

export interface Subscription {
  /** Resolves at the next change, after `timeoutMs`, or when the signal aborts, whichever is first; at once if there was a change since the last call. */
  next(timeoutMs: number, signal: AbortSignal): Promise<void>;
  close(): void;
}

interface Waiter {
  changed: boolean;
  wake: (() => void) | undefined;
}

export class RequestWatcher {
  readonly #config: pg.ClientConfig;
  readonly #waiters = new Map<string, Set<Waiter>>();
  #client: pg.Client | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(config: pg.ClientConfig) {
    this.#config = config;
  }

  subscribe(requestId: string): Subscription {
    const waiter: Waiter = { changed: false, wake: undefined };
    let waiters = this.#waiters.get(requestId);
    if (waiters === undefined) this.#waiters.set(requestId, (waiters = new Set()));
    waiters.add(waiter);
    this.#connect();
    return {
      next: (timeoutMs, signal) => nextChange(waiter, timeoutMs, signal),
      close: () => {
        waiters.delete(waiter);
        if (waiters.size === 0 && this.#waiters.get(requestId) === waiters) this.#waiters.delete(requestId);
      },
    };
  }

  /** Everybody who waits looks once more; the connection ends. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    const client = this.#client;
    this.#client = undefined;
    this.#wakeAll();
    await client?.end().catch(() => undefined);
  }

  #connect(): void {
    if (this.#closed || this.#client !== undefined || this.#retry !== undefined) return;
    const client = new pg.Client(this.#config);
    this.#client = client;
    // Both are reported for one lost connection, in either order; the first one counts.
    client.on('error', () => this.#lost(client));
    client.on('end', () => this.#lost(client));
    client.on('notification', (message) => this.#wake(message.payload ?? ''));
    client
      .connect()
      .then(() => client.query(`listen ${requestChannel}`))
      // What changed while nobody listened was not heard: look once more.
      .then(() => this.#wakeAll())
      .catch(() => this.#lost(client));
  }

  #lost(client: pg.Client): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    client.end().catch(() => undefined);
    if (this.#closed) return;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      if (this.#waiters.size > 0) this.#connect();
    }, reconnectMs);
    this.#retry.unref();
  }

  #wake(requestId: string): void {
    for (const waiter of this.#waiters.get(requestId) ?? []) wake(waiter);
  }

  #wakeAll(): void {
    for (const waiters of this.#waiters.values()) for (const waiter of waiters) wake(waiter);
  }
}

function wake(waiter: Waiter): void {
  waiter.changed = true;
  waiter.wake?.();
}

async function nextChange(waiter: Waiter, timeoutMs: number, signal: AbortSignal): Promise<void> {
  if (!waiter.changed && !signal.aborted) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeoutMs);
    waiter.wake = resolve;
    const aborted = (): void => resolve();
    signal.addEventListener('abort', aborted);
    await promise;
    clearTimeout(timer);
    signal.removeEventListener('abort', aborted);
    waiter.wake = undefined;
  }
  waiter.changed = false;
}
