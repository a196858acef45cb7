/** A notifier for a configuration: receivers and limits as at the start, bindings and workflows as they are at each message. */
import { stepsOf, workflowFor, type Workflow } from '../approvals/workflow.ts';
import type { Configuration } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import { isLoopbackHost } from '../lib/addresses.ts';
import type { Store } from '../store/database.ts';
import { listPrincipals } from '../store/principals.ts';
import { runById } from '../store/runs.ts';
import { Notifier, type NotifierOptions } from './notifier.ts';
import { peopleOf } from './people.ts';

export interface NotifierParts extends Omit<NotifierOptions, 'receivers' | 'limits' | 'labelsOf' | 'people' | 'store'> {
  readonly store: Store;
  readonly configuration: () => Configuration;
  readonly keyOf: (human: string) => string;
}

/** @throws CountersignError `configuration_invalid` for mail without TLS to another machine */
export function notifierFor({ configuration, keyOf, ...parts }: NotifierParts): Notifier {
  const { store } = parts;
  const { notifications, notificationLimits } = configuration();
  for (const one of notifications) {
    if (one.kind !== 'email' || one.smtp.tls !== 'none' || isLoopbackHost(one.smtp.host)) continue;
    throw new CountersignError(
      'configuration_invalid',
      `notifications: ${one.name}: mail leaves this machine without TLS`,
      {
        hint: 'smtp.tls: none is for a mail server on this machine, in tests',
      },
    );
  }
  const labelsOf = (name: string) => configuration().connections.find((one) => one.name === name)?.labels;
  return new Notifier({
    ...parts,
    receivers: notifications,
    limits: notificationLimits,
    labelsOf,
    people: peopleOf({
      principals: () => listPrincipals(store),
      bindings: () => configuration().bindings,
      labelsOf,
      connectionNames: () => configuration().connections.map(({ name }) => name),
      decidingGroups: (connection, kind) => {
        const subject = { kind, labels: labelsOf(connection) ?? {}, classes: [] };
        return decidingGroups(workflowFor(configuration().workflows, subject));
      },
      keyOf,
      executorOf: async (runId) => (await runById(store, runId))?.executor_human,
    }),
  });
}

/** Groups named in any step; undefined where some step is open to every approver. */
function decidingGroups(workflow: Workflow): readonly string[] | undefined {
  const steps = stepsOf(workflow);
  if (steps.some(({ groups, allOf }) => groups === undefined && allOf === undefined)) return undefined;
  return steps.flatMap(({ groups, allOf, escalation }) => [
    ...(groups ?? []),
    ...(allOf ?? []),
    ...(escalation?.groups ?? []),
  ]);
}
