/** What an attack is, and what it may use. */
import assert from 'node:assert/strict';
import pg from 'pg';
import type { Harness, Who } from '../harness.ts';
import { leaked } from './schema.ts';
import { RawSession, streamOf } from './wire.ts';

/**
 * `masked`: it runs and tells no raw value. `refused`: an error, and where it is the gateway's own, nothing of it has
 * arrived at the target. `held`: it waits for an approval, which nobody gives here.
 */
export type Verdict = 'masked' | 'refused' | 'held';

/** A script asserts by itself that what it expects is what it got. */
export interface Script {
  readonly family: string;
  readonly title: string;
  readonly expected: Verdict;
  /** A leak that is known: why. It is not run, because what it gets would be in the recordings, too. */
  readonly known?: string;
  readonly run: (world: World) => Promise<void>;
}

interface ScriptOptions {
  readonly known?: string;
  readonly expected?: Verdict;
}

/** A list of scripts of one family, and how to add to it. */
export function scriptList(family: string, expected: Verdict) {
  const scripts: Script[] = [];
  const add = (title: string, run: Script['run'], options: ScriptOptions = {}) => {
    scripts.push({ family, title, expected, run, ...options });
  };
  return { scripts: scripts as readonly Script[], add };
}

export interface Tapped {
  readonly client: pg.Client;
  /** Bytes received since the last call, as latin1. */
  readonly taken: () => string;
}

/** One gateway under attack. Every byte that any of its clients receives is kept until it was searched. */
export class World {
  readonly harness: Harness;
  /** Markers of statements that the gateway refused: none may be in the target's log. */
  readonly refused: { readonly marker: string; readonly text: string }[] = [];
  /** Sessions that were opened and not ended by `endSessions`. */
  readonly #open: pg.Client[] = [];
  #received: Buffer[] = [];
  #receivedBytes = 0;

  constructor(harness: Harness) {
    this.harness = harness;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** The first raw value in what was received since the last call. */
  search(): string | undefined {
    const all = Buffer.concat(this.#received).toString('latin1');
    this.#received = [];
    return leaked(all);
  }

  get openSessions(): number {
    return this.#open.length;
  }

  /** Ends all but the first so many: a target has a limit, and there are more attacks than that. */
  endSessions(kept: number): void {
    for (const client of this.#open.splice(kept)) void client.end().catch(() => undefined);
  }

  async tapped(who: Who = 'reader'): Promise<Tapped> {
    const client = await this.harness.connect(who);
    let bytes = '';
    streamOf(client).on('data', (chunk: Buffer) => (bytes += chunk.toString('latin1')));
    this.#tap(client);
    return {
      client,
      taken: () => {
        const all = bytes;
        bytes = '';
        return all;
      },
    };
  }

  async raw(who: Who = 'reader'): Promise<RawSession> {
    const client = await this.harness.connect(who);
    const session = new RawSession(client);
    this.#tap(client);
    return session;
  }

  /** Rejects whatever is held while `work` goes on: nobody approves anything here. */
  async unapproved<T>(work: Promise<T>): Promise<T> {
    const over = { is: false };
    const rejecting = (async () => {
      while (!over.is) {
        for (const { id } of await this.#pending())
          await this.harness.api('executor', 'POST', `/requests/${id}/reject`, { comment: 'no' });
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    try {
      return await work;
    } finally {
      over.is = true;
      await rejecting;
    }
  }

  /** What the client can tell from an answer; a refusal by the gateway says nothing about values. */
  async told(client: pg.Client, text: string): Promise<string> {
    try {
      const { rows } = await client.query({ text, rowMode: 'array' });
      return JSON.stringify(rows);
    } catch (error) {
      return error instanceof pg.DatabaseError ? (error.code ?? 'error') : 'the session ended';
    }
  }

  async approveNext(): Promise<{ parameters: unknown; text: string }> {
    for (let attempt = 0; attempt < 200; attempt++) {
      const [found] = await this.#pending();
      if (found !== undefined) {
        const shown = await this.harness.api<{ digestInputJson: string }>('executor', 'GET', `/requests/${found.id}`);
        await this.harness.api('executor', 'POST', `/requests/${found.id}/approve`, { comment: 'fine' });
        return {
          parameters: /"parameters":(\[.*?\])/.exec(shown.body.digestInputJson)?.[1],
          text: shown.body.digestInputJson,
        };
      }
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error('no request appeared');
  }

  #tap(client: pg.Client): void {
    this.#open.push(client);
    client.on('error', () => undefined);
    streamOf(client).on('data', (chunk: Buffer) => {
      this.#received.push(chunk);
      this.#receivedBytes += chunk.length;
    });
  }

  async #pending(): Promise<{ id: string }[]> {
    const { body } = await this.harness.api<{ requests: { id: string }[] }>(
      'executor',
      'GET',
      '/requests?state=pending',
    );
    return body.requests;
  }
}

export function assertClean(text: string): void {
  assert.equal(leaked(text), undefined, 'a raw value was received');
}

export async function failure(work: Promise<unknown>): Promise<pg.DatabaseError> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof pg.DatabaseError, String(error));
    return error;
  }
  throw new Error('this had to fail');
}
