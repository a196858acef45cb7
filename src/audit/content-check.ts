import { canonicalJson, type Json } from '../lib/canonical-json.ts';
import { chainAfter, firstChain } from './events.ts';

export type LogProblemCode =
  | 'checkpoint_missing'
  | 'checkpoint_invalid' // malformed, or not signed by this key
  | 'rolled_back' // shorter than the known checkpoint
  | 'history_rewritten' // does not continue the known checkpoint
  | 'bundle_missing'
  | 'entry_changed' // an entry does not hash to what the tree holds: edited, moved, removed or put in
  | 'entries_rewritten' // entries and their hash tile were changed together
  | 'root_mismatch' // everything fits together, but not under the signed root
  | 'tile_missing'
  | 'tile_changed' // the entries are genuine, the hash tile is not
  | 'entry_malformed' // signed, but not canonical JSON
  | 'chain_broken'; // signed, but does not follow its session's entry before

export interface LogProblem {
  readonly code: LogProblemCode;
  /** The first entry that does not fit, where one can be named. */
  readonly entry?: number;
  readonly message: string;
}

/** What entries say about themselves: canonical JSON, and each chained to its session's entry before. */
export class ContentCheck {
  sessions = 0;
  problem: LogProblem | undefined;
  /** Entries that a break of form or chain points at; a few are enough. */
  readonly #suspects: number[] = [];
  readonly #chains = new Map<string, { chain: string; entry: number }>();

  check(index: number, bytes: Buffer): void {
    const text = bytes.toString('utf8');
    const entry = parseObject(text);
    if (entry === undefined || canonicalOrUndefined(entry) !== text || typeof entry['type'] !== 'string') {
      this.#note(index, {
        code: 'entry_malformed',
        entry: index,
        message: `entry ${index} is not a canonical JSON event`,
      });
      return;
    }
    const { type, session, chain } = entry as { type: string; session?: Json; chain?: Json };
    if (type === 'session.opened') this.sessions++;
    if (typeof session !== 'string') return;
    const before = this.#chains.get(session);
    if (chain === undefined) {
      if (before === undefined || !/^(?:session|statement)\./.test(type)) return;
      this.#note(index, {
        code: 'chain_broken',
        entry: index,
        message: `entry ${index} of session ${session} carries no chain, but the session's entry ${before.entry} does`,
      });
      return;
    }
    if (chain !== (before?.chain ?? firstChain(session))) {
      const follows =
        before === undefined ? 'is not the first of its session' : `does not follow entry ${before.entry}`;
      this.#note(before?.entry ?? index, {
        code: 'chain_broken',
        entry: index,
        message: `entry ${index} of session ${session} ${follows}: an entry between was changed or removed`,
      });
    }
    if (type === 'session.closed') this.#chains.delete(session);
    else this.#chains.set(session, { chain: chainAfter(text), entry: index });
  }

  suspectIn(first: number, last: number): number | undefined {
    return this.#suspects.find((entry) => entry >= first && entry <= last);
  }

  #note(suspect: number, found: LogProblem): void {
    this.problem ??= found;
    if (this.#suspects.length < 1_000) this.#suspects.push(suspect);
  }
}

function parseObject(text: string): { readonly [member: string]: Json } | undefined {
  try {
    const value = JSON.parse(text) as Json;
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as { readonly [member: string]: Json })
      : undefined;
  } catch {
    return undefined;
  }
}

function canonicalOrUndefined(value: Json): string | undefined {
  try {
    return canonicalJson(value);
  } catch {
    return undefined;
  }
}
