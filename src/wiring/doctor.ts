import { randomBytes } from 'node:crypto';
import { loadConfiguration, readSecret } from '../config/load.ts';
import { rulesInForce } from '../approvals/rule-service.ts';
import { rulesOf, withRules } from '../config/rules.ts';
import { LiveRules } from '../gateway/data-plane.ts';
import { examination } from '../gateway/examination.ts';
import { systemClock } from '../lib/clock.ts';
import { humanKey } from '../policy/entities.ts';
import { runDoctor, type DoctorReport } from '../review/doctor.ts';
import { loadParser } from '../sql/parse.ts';
import { openStore } from '../store/database.ts';

/** `countersign doctor --config FILE`: looks at the file, its targets and its control store with the connections
 * that were added there, and starts nothing. */
export async function doctor(configFile: string): Promise<DoctorReport> {
  const file = loadConfiguration(configFile);
  const fileRules = rulesOf(file);
  await loadParser();
  let rules: LiveRules | undefined;
  const { store } = openStore(readSecret(file.store.url), { maxConnections: 2 });
  try {
    const reached = await store
      .selectFrom('principals')
      .select('id')
      .limit(1)
      .execute()
      .then(
        () => store,
        (cause: unknown) => ({
          unreachable: `the control store cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`,
        }),
      );
    const { connections } = 'unreachable' in reached ? fileRules : (await rulesInForce(reached, fileRules)).rules;
    const configuration = withRules(file, { ...fileRules, connections });
    // Masks are worked out and none is made: any key will do.
    rules = new LiveRules(configuration, { hashKey: randomBytes(32), clock: systemClock });
    return await runDoctor(
      examination({
        configuration,
        configurationFile: configFile,
        connections: rules.connections,
        store: reached,
        now: Date.now,
        keyOf: humanKey,
        fileRules,
      }),
    );
  } finally {
    for (const { target } of rules?.connections.values() ?? []) await target.close();
    await store.destroy();
  }
}
