/**
 * One dedicated connection that LISTENs to channels of the control store: opened when somebody needs it, and opened
 * again when it is lost. A notification is only a hint to look; what is missed while nobody listens is told as a gap.
 */
import pg from 'pg';

/** How long to wait before a lost connection is opened again. */
const reconnectMs = 1_000;

export interface ListeningOptions {
  readonly config: pg.ClientConfig;
  /** Names of channels, as SQL identifiers. */
  readonly channels: readonly string[];
  readonly notified: (channel: string, payload: string) => void;
  /** The connection is up, first or again: changes before this moment were not heard. */
  readonly gap: () => void;
  /** Whether a lost connection is worth opening again. */
  readonly isNeeded: () => boolean;
}

export class ListeningConnection {
  readonly #options: ListeningOptions;
  #client: pg.Client | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: ListeningOptions) {
    this.#options = options;
  }

  /** Opens it where it is not open yet. */
  open(): void {
    if (this.#closed || this.#client !== undefined || this.#retry !== undefined) return;
    const { config, channels, notified, gap } = this.#options;
    const client = new pg.Client(config);
    this.#client = client;
    // Both are reported for one lost connection, in either order; the first one counts.
    client.on('error', () => this.#lost(client));
    client.on('end', () => this.#lost(client));
    client.on('notification', (message) => notified(message.channel, message.payload ?? ''));
    client
      .connect()
      .then(() => client.query(channels.map((channel) => `listen ${channel}`).join('; ')))
      .then(() => gap())
      .catch(() => this.#lost(client));
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => undefined);
  }

  #lost(client: pg.Client): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    client.end().catch(() => undefined);
    if (this.#closed) return;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      if (this.#options.isNeeded()) this.open();
    }, reconnectMs);
    this.#retry.unref();
  }
}
