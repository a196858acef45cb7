/** Prints what came out: the table, then every reason, then what was skipped. */
import Table from 'cli-table3';
import type { Client } from './clients.ts';
import { sharedChecks } from './protocol.ts';
import type { Verdict } from './verdicts.ts';

export interface ClientResult {
  readonly client: Client;
  readonly verdicts: readonly Verdict[];
  /** Why it did not run. */
  readonly skipped: string | undefined;
  readonly seconds: number;
}

const marks: Record<Verdict['outcome'], string> = { passed: 'ok', failed: 'FAIL', known: 'known', 'not-there': '-' };
/** The worst first. */
const ranks: readonly Verdict['outcome'][] = ['failed', 'known', 'passed', 'not-there'];

/** @returns whether everything is as it has to be */
export function printReport(results: readonly ClientResult[], seconds: number): boolean {
  const print = (text: string): void => void process.stdout.write(`${text}\n`);
  const shared: ReadonlySet<string> = new Set(sharedChecks);
  const table = new Table({
    head: ['client', ...sharedChecks, 'its own', 's'],
    style: { head: [], border: [], compact: true },
  });
  for (const { client, verdicts, skipped, seconds: took } of results) {
    const cell = (check: string): string => {
      const outcomes = verdicts.filter((one) => one.check === check).map(({ outcome }) => outcome);
      const worst = ranks.find((rank) => outcomes.includes(rank));
      return worst === undefined ? '' : marks[worst];
    };
    const own = verdicts.filter(({ check }) => !shared.has(check));
    const ownOk = own.filter(({ outcome }) => outcome === 'passed').length;
    const ownCell = own.length === 0 ? '-' : `${ownOk} of ${own.length}`;
    if (skipped !== undefined) table.push([client.name, { content: 'SKIPPED', colSpan: sharedChecks.length + 2 }]);
    else table.push([client.name, ...sharedChecks.map(cell), ownCell, String(took)]);
  }
  print(`\n${table.toString()}`);
  const all = results.flatMap(({ client, verdicts }) => verdicts.map((verdict) => ({ name: client.name, ...verdict })));
  const list = (outcome: Verdict['outcome'], title: string): number => {
    const some = all.filter((one) => one.outcome === outcome);
    for (const { name, check, reason } of some) print(`*** ${title}: ${name}, ${check}: ${short(reason)}`);
    return some.length;
  };
  const known = list('known', 'KNOWN TO FAIL');
  const skipped = results.filter((result) => result.skipped !== undefined);
  for (const { client, skipped: why } of skipped) print(`*** SKIPPED: ${client.name}: ${why}`);
  const failed = list('failed', 'FAILED');
  const passed = all.filter(({ outcome }) => outcome === 'passed').length;
  print(
    `\ntest:clients: ${passed} checks passed, ${failed} failed, ${known} known to fail; ` +
      `${results.length - skipped.length} clients ran, ${skipped.length} skipped (${seconds} s)`,
  );
  return failed === 0 && passed > 0;
}

function short(reason: string): string {
  const line = reason.replaceAll(/\s+/g, ' ');
  return line.length > 320 ? `${line.slice(0, 320)} …` : line;
}
