/**
 * A gateway node in a process of its own that dies in the middle of a claim: `claim-and-die.ts URL LOG KEY NODE GRANT STEP`.
 * Its log is a real one, in the directory LOG; KEY is the log's private key (PEM).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { TransparencyLog } from '../src/audit/log.ts';
import { systemClock } from '../src/lib/clock.ts';
import { openStore } from '../src/store/database.ts';
import { jobInput, person, recordIn, startServices, storeRun } from './approval-fixtures.ts';

const [url = '', directory = '', privateKeyPem = '', node = '', grantId = '', dieAt = ''] = process.argv.slice(2);
const { store, pool } = openStore(url);
const log = await TransparencyLog.open({ directory, origin: `countersign/${node}`, privateKeyPem, clock: systemClock });
const { grants } = startServices(
  { url, store, pool, stop: () => store.destroy() },
  {
    node,
    record: recordIn(log, node),
    onStep: async (step) => {
      if (step !== dieAt) return;
      process.kill(process.pid, 'SIGKILL');
      await sleep(60_000);
    },
  },
);
const claimed = await grants.claim({
  grantId,
  principal: person('eve'),
  duties: ['executor'],
  current: jobInput(),
  extra: (transaction, grant) => storeRun(transaction, grant.id),
});
process.stdout.write(`claimed ${claimed.grant.id}\n`);
await log.close();
await store.destroy();
