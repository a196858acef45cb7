/** The connections, with everything that works on each. */
import type { ApiConnection } from '../api/services.ts';
import { asCountersignError, CountersignError } from '../errors.ts';
import { GateReader } from '../gate/reader.ts';
import type { WiredConnection } from '../gateway/data-plane.ts';
import type { TargetIdentity } from '../gateway/target.ts';
import type { JobConnection } from '../jobs/submission.ts';
import type { PolicyConnection } from '../policy/entities.ts';

/** One connection with everything that works on it. */
export interface Wired extends WiredConnection {
  readonly job: JobConnection;
  readonly policy: PolicyConnection;
}

/** What its own planning needs of a connection. */
export function withPlanning({ configuration, target, listener }: WiredConnection): Wired {
  const { name, labels, engine, searchPath } = configuration;
  const { gate } = listener;
  return {
    configuration,
    target,
    listener,
    job: {
      gate,
      reader: new GateReader({ connection: gate, query: (sql) => target.query(sql) }),
      searchPath,
      target: async () => {
        const { serverVersion: _version, ...identity }: TargetIdentity = await target.identity();
        return { ...identity, engine };
      },
    },
    policy: { name, labels, engine },
  };
}

/** A target that cannot be asked hides its columns, not its connection. */
export async function describeConnection({ listener, configuration }: Wired): Promise<ApiConnection> {
  const { gate } = listener;
  const { name, engine, labels, host, port, database, tls } = configuration;
  const facts = { name, engine, labels, target: { host, port, database, tls: tls.mode } };
  const snapshot = await gate.refresh().catch(asCountersignError);
  if (snapshot instanceof CountersignError) {
    return { ...facts, masks: [], problem: { code: snapshot.code, message: snapshot.message } };
  }
  const masks = snapshot.catalogue.relations.flatMap((relation) =>
    relation.columns.flatMap((column) => {
      const rule = gate.masking.columnRule(relation.schema, relation.name, column.name);
      if (rule === undefined) return [];
      const mask = typeof rule.mask === 'string' ? rule.mask : rule.mask.kind;
      return [{ column: `${relation.schema}.${relation.name}.${column.name}`, mask, rule: rule.id }];
    }),
  );
  return { ...facts, masks, problem: null };
}

/** @throws CountersignError `connection_unknown` */
export function need(wired: ReadonlyMap<string, Wired>, name: string): Wired {
  const one = wired.get(name);
  if (one === undefined)
    throw new CountersignError('connection_unknown', `there is no connection ${JSON.stringify(name)}`);
  return one;
}
