/**
 * Wakes whoever waits for a request when any node of the store changed it: it listens on
 * one connection. A wake-up is only a hint to look again; the waiter also looks every `pollMs`, so a lost notification
 * delays and never loses a decision.
 */
import type pg from 'pg';
import { ListeningConnection } from '../store/listening.ts';

export const requestChannel = 'countersign_requests';

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
  readonly #connection: ListeningConnection;
  readonly #waiters = new Map<string, Set<Waiter>>();

  constructor(config: pg.ClientConfig) {
    this.#connection = new ListeningConnection({
      config,
      channels: [requestChannel],
      notified: (_channel, requestId) => {
        for (const waiter of this.#waiters.get(requestId) ?? []) wake(waiter);
      },
      // What changed while nobody listened was not heard: look once more.
      gap: () => this.#wakeAll(),
      isNeeded: () => this.#waiters.size > 0,
    });
  }

  subscribe(requestId: string): Subscription {
    const waiter: Waiter = { changed: false, wake: undefined };
    let waiters = this.#waiters.get(requestId);
    if (waiters === undefined) this.#waiters.set(requestId, (waiters = new Set()));
    waiters.add(waiter);
    this.#connection.open();
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
    const closed = this.#connection.close();
    this.#wakeAll();
    await closed;
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
