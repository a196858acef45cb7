/**
 * Reads this node's log once, in order, for a consumer that keeps what it makes of it in the store. Its place in the log
 * moves in the transaction in which the consumer writes, so that each entry counts exactly once, whatever crashes.
 * A call costs what was appended since the last one, never the whole log.
 */
import { CountersignError } from '../errors.ts';
import type { Database, Store } from '../store/database.ts';
import { lockCursor, moveCursor } from '../store/log-cursors.ts';
import type { Transaction } from 'kysely';
import type { LogReader } from './proofs.ts';
import { iterateEntries, type LogEntry } from './verify.ts';

export interface FollowedLog {
  /** Publishes what was appended. */
  checkpoint(): Promise<string>;
  readonly publishedSize: number;
  /** Of the published files. */
  readonly read: LogReader;
}

export interface LogFollowerOptions {
  readonly store: Store;
  readonly log: FollowedLog;
  readonly node: string;
  readonly consumer: string;
  readonly handle: (transaction: Transaction<Database>, entries: readonly LogEntry[]) => Promise<void>;
  /** A consumer that never read begins at the end of the log instead of at its beginning. */
  readonly startsAtEnd?: boolean | undefined;
}

export interface Followed {
  /** Entries of the log that were read, by this call or before. */
  readonly read: number;
  /** Entries that the log had when the call began. */
  readonly size: number;
}

const entriesPerTransaction = 2_000;
/** In one call, so that a long backlog does not keep its caller waiting. */
const entriesPerCall = 200_000;

export class LogFollower {
  readonly #options: LogFollowerOptions;
  #running: Promise<Followed> | undefined;

  constructor(options: LogFollowerOptions) {
    this.#options = options;
  }

  /**
   * Reads what was appended since. `read` below `size` means that there is more; then call again. Concurrent calls of one
   * process share one reading that began after the first of them.
   * @throws CountersignError `log_broken` when the log is shorter than what was read of it before; `log_unavailable`
   */
  async catchUp(): Promise<Followed> {
    // A reading that is under way may have looked at the log's size before the caller's own entry was in it.
    await this.#running?.catch(() => undefined);
    this.#running ??= this.#catchUp().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #catchUp(): Promise<Followed> {
    const { log } = this.#options;
    await log.checkpoint();
    const size = log.publishedSize;
    let read = 0;
    for (let taken = 0; taken < entriesPerCall; taken += entriesPerTransaction) {
      read = await this.#step(size);
      if (read >= size) break;
    }
    return { read: Math.min(read, size), size };
  }

  async #step(size: number): Promise<number> {
    const { store, log, node, consumer, handle, startsAtEnd } = this.#options;
    return store.transaction().execute(async (transaction) => {
      const known = await lockCursor(transaction, node, consumer);
      if (known === undefined && startsAtEnd === true) {
        await moveCursor(transaction, node, consumer, size);
        return size;
      }
      const from = known ?? 0;
      if (from > log.publishedSize) {
        throw new CountersignError(
          'log_broken',
          `the log of ${node} has ${log.publishedSize} entries, but ${from} of it were read before`,
          { hint: 'the log was cut or replaced; verify it against a checkpoint that you kept' },
        );
      }
      const end = Math.min(size, from + entriesPerTransaction);
      if (end <= from) return from;
      const entries: LogEntry[] = [];
      for await (const entry of iterateEntries({ read: log.read, size: end, from })) entries.push(entry);
      await handle(transaction, entries);
      await moveCursor(transaction, node, consumer, end);
      return end;
    });
  }
}
