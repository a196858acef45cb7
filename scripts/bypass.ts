/**
 * `npm run test:bypass`: the attacks of `test/bypass/` against a whole gateway on a real PostgreSQL. Prints how many ran
 * and what came of them, and each whose verdict is not the expected one; then the exit code is 1.
 *
 *   npm run test:bypass             all
 *   npm run test:bypass -- TEXT     those with TEXT in their family or title, also the known leaks, and every verdict
 */
import { allAttacks, observe, startWorld } from '../test/bypass/runner.ts';

const attackTimeoutMs = 60_000;

function patience<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no end within ${attackTimeoutMs} ms`)), attackTimeoutMs);
  });
  return Promise.race([work, limit]).finally(() => clearTimeout(timer));
}

async function main(wanted: string): Promise<number> {
  const startedMs = performance.now();
  const print = (text: string) => process.stdout.write(`${text}\n`);
  const chosen = allAttacks().filter(({ family, title }) => `${family}: ${title}`.includes(wanted));
  // By name also what is known to leak, to see whether it still does.
  const runnable = chosen.filter(({ known }) => known === undefined || wanted !== '');
  const counts = new Map<string, number>();
  const differences: string[] = [];
  const world = await startWorld();
  try {
    for (const attack of runnable) {
      const { verdict, detail } = await patience(observe(attack, world)).catch((error: unknown) => ({
        verdict: 'failed' as const,
        detail: error instanceof Error ? error.message : String(error),
      }));
      counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
      const line = `${verdict}: ${attack.family}: ${attack.title}${detail === '' ? '' : `\n    ${detail}`}`;
      if (wanted !== '') print(line);
      if (verdict !== attack.expected) differences.push(`expected ${attack.expected}, was ${line}`);
    }
  } finally {
    await world.harness.close();
  }
  const count = (verdict: string) => counts.get(verdict) ?? 0;
  for (const difference of differences) print(`DIFFERS: ${difference}`);
  for (const { title, known } of chosen)
    if (known !== undefined && wanted === '') print(`not run, known to leak: ${title}\n    ${known}`);
  print(
    `${runnable.length} attacks ran in ${Math.round((performance.now() - startedMs) / 1000)} s: ` +
      `${count('refused')} refused, ${count('masked')} masked, ${count('held')} held, ` +
      `${count('leaked')} leaked, ${count('failed')} failed; ${differences.length} differ from what is expected`,
  );
  print(
    `${world.receivedBytes} bytes received by clients were searched for raw values, and the log and every recording`,
  );
  return differences.length === 0 && runnable.length > 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2).join(' '));
