import type { ApiClient } from './client.ts';

/** What every command works with. */
export interface CommandContext {
  readonly client: () => ApiClient;
  readonly json: () => boolean;
}
