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

/** Those that there are now, by name. */
export class Connections {
  readonly #wired: ReadonlyMap<string, WiredConnection>;
  readonly #known = new WeakMap<WiredConnection, Wired>();

  /** @param wired follows every change by itself */
  constructor(wired: ReadonlyMap<string, WiredConnection>) {
    this.#wired = wired;
  }

  get names(): readonly string[] {
    return [...this.#wired.keys()];
  }

  get(name: string): Wired | undefined {
    const wired = this.#wired.get(name);
    if (wired === undefined) return undefined;
    const known = this.#known.get(wired) ?? withPlanning(wired);
    this.#known.set(wired, known);
    return known;
  }

  /** @throws CountersignError `connection_unknown` */
  need(name: string): Wired {
    const one = this.get(name);
    if (one !== undefined) return one;
    throw new CountersignError('connection_unknown', `there is no connection ${JSON.stringify(name)}`);
  }
}

/** What its own planning needs of a connection. */
function withPlanning({ configuration, target, listener }: WiredConnection): Wired {
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
export async function describeConnection({ listener, configuration }: Wired): Promise<Omit<ApiConnection, 'origin'>> {
  const { gate } = listener;
  const { name, engine, labels, host, port, database, tls } = configuration;
  const facts = { name, engine, labels, target: { host, port, database, tls: tls.mode } };
  const snapshot = await gate.refresh().catch(asCountersignError);
  if (snapshot instanceof CountersignError) {
    const { code, message, hint } = snapshot;
    return { ...facts, masks: [], problem: { code, message, hint } };
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
