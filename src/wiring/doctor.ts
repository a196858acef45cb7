import { randomBytes } from 'node:crypto';
import { loadConfiguration, readSecret } from '../config/load.ts';
import { rulesOf } from '../config/rules.ts';
import { LiveRules } from '../gateway/data-plane.ts';
import { examination } from '../gateway/examination.ts';
import { systemClock } from '../lib/clock.ts';
import { humanKey } from '../policy/entities.ts';
import { runDoctor, type DoctorReport } from '../review/doctor.ts';
import { loadParser } from '../sql/parse.ts';
import { openStore } from '../store/database.ts';

/** `countersign doctor --config FILE`: looks at the file, its targets and its control store, and starts nothing. */
export async function doctor(configFile: string): Promise<DoctorReport> {
  const configuration = loadConfiguration(configFile);
  await loadParser();
  // Masks are worked out and none is made: any key will do.
  const rules = new LiveRules(configuration, randomBytes(32));
  const connections = rules.wire(systemClock);
  const { store } = openStore(readSecret(configuration.store.url), { maxConnections: 2 });
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
    return await runDoctor(
      examination({
        configuration,
        configurationFile: configFile,
        connections,
        store: reached,
        now: Date.now,
        keyOf: humanKey,
        fileRules: rulesOf(configuration),
      }),
    );
  } finally {
    for (const { target } of connections.values()) await target.close();
    await store.destroy();
  }
}
