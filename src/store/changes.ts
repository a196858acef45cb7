/**
 * What changed in the control store, on whichever node: a topic and an id, heard when the change is committed. Nothing
 * but a hint to ask again; it holds no data.
 */
import { sql } from 'kysely';
import type pg from 'pg';
import type { StoreOrTransaction } from './database.ts';
import { ListeningConnection } from './listening.ts';

export type ChangeTopic = 'requests' | 'runs' | 'sessions';

export interface Change {
  readonly topic: ChangeTopic;
  readonly id: string;
}

const changeChannel = 'countersign_changes';
const changeForm = /^(requests|runs|sessions) ([\w-]{1,100})$/;

/** Within a transaction it is heard when that commits, and never if it does not. */
export async function notifyChange(store: StoreOrTransaction, topic: ChangeTopic, id: string): Promise<void> {
  await sql`select pg_notify(${changeChannel}, ${`${topic} ${id}`})`.execute(store);
}

export interface ChangeListener {
  changed(change: Change): void;
  /** Something may have been missed. */
  gap(): void;
}

export class ChangeFeed {
  readonly #listeners = new Set<ChangeListener>();
  readonly #connection: ListeningConnection;

  constructor(config: pg.ClientConfig) {
    const each = (tell: (listener: ChangeListener) => void) => {
      for (const listener of this.#listeners) tell(listener);
    };
    this.#connection = new ListeningConnection({
      config,
      channels: [changeChannel],
      notified: (_channel, payload) => {
        const [, topic, id] = changeForm.exec(payload) ?? [];
        if (topic !== undefined && id !== undefined) {
          each((listener) => listener.changed({ topic: topic as ChangeTopic, id }));
        }
      },
      gap: () => each((listener) => listener.gap()),
      isNeeded: () => this.#listeners.size > 0,
    });
  }

  /** @returns ends the subscription */
  subscribe(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    this.#connection.open();
    return () => void this.#listeners.delete(listener);
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}
