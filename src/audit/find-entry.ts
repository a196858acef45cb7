/** Looks for an entry among the newest ones of a log: for what a process left behind when it died. */
import { iterateEntries } from './verify.ts';
import type { LogReader } from './proofs.ts';
import { tileWidth } from './tree-shape.ts';

/**
 * Whether an entry that holds all of these texts was written since a moment. Reads backwards, bundle by bundle.
 * @param since entries of a bundle that begins earlier are the last that are looked at
 * @throws CountersignError `log_broken`
 */
export async function hasEntry(options: {
  readonly read: LogReader;
  readonly size: number;
  readonly since: Date;
  readonly texts: readonly string[];
}): Promise<boolean> {
  const { read, texts } = options;
  const since = options.since.toISOString();
  for (let end = options.size; end > 0; ) {
    const from = Math.floor((end - 1) / tileWidth) * tileWidth;
    let isOld = false;
    for await (const { index, text } of iterateEntries({ read, size: end, from })) {
      if (texts.every((one) => text.includes(one))) return true;
      if (index === from) isOld = ((JSON.parse(text) as { at?: string }).at ?? '') < since;
    }
    if (isOld) return false;
    end = from;
  }
  return false;
}
