/** A notifier for a configuration: receivers and limits as at the start, bindings and workflows as they are at each message. */
import { decidersOf } from '../approvals/subject.ts';
import type { Configuration } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import { isLoopbackHost } from '../lib/addresses.ts';
import type { Store } from '../store/database.ts';
import { listPrincipals } from '../store/principals.ts';
import { findRequest } from '../store/requests.ts';
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
      decidingGroups: async (requestId) => {
        const request = await findRequest(store, requestId);
        if (request === undefined) return [];
        const { connections, workflows } = configuration();
        try {
          return decidersOf(
            request,
            connections.find(({ name }) => name === request.connection),
            workflows,
          );
        } catch (error) {
          // Somebody changed what was asked for: nobody can decide on it, and others have to be told of other things.
          if (error instanceof CountersignError) return [];
          throw error;
        }
      },
      keyOf,
      executorOf: async (runId) => (await runById(store, runId))?.executor_human,
    }),
  });
}
