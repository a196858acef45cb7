/** A gateway node in a process of its own, for the test that nodes race for grants: `claim-grants.ts URL NAME GRANT…`. */
import { CountersignError } from '../src/errors.ts';
import { openStore } from '../src/store/database.ts';
import { jobInput, person, startServices } from './approval-fixtures.ts';

const [url = '', name = '', ...grantIds] = process.argv.slice(2);
const { store, pool } = openStore(url);
const { grants } = startServices({ url, store, pool, stop: () => store.destroy() });
await pool.query('select 1');

process.once('message', () => {
  void claimAll().then(async (won) => {
    process.send?.({ won });
    await store.destroy();
    process.disconnect();
  });
});
process.send?.('ready');

async function claimAll(): Promise<string[]> {
  const principal = person(`executor-${name}`);
  const outcomes = await Promise.allSettled(
    grantIds.map((grantId) => grants.claim({ grantId, principal, duties: ['executor'], current: jobInput() })),
  );
  return outcomes.flatMap((outcome) => {
    if (outcome.status === 'fulfilled') return [outcome.value.grant.id];
    if (outcome.reason instanceof CountersignError && outcome.reason.code === 'grant_used') return [];
    return [String(outcome.reason)];
  });
}
