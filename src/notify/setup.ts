/** A notifier for a configuration: receivers and limits as at the start, bindings and workflows as they are at each message. */
import type { Asker } from '../approvals/standing.ts';
import { decidersOf } from '../approvals/subject.ts';
import type { Configuration } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import { isLoopbackHost } from '../lib/addresses.ts';
import type { Store } from '../store/database.ts';
import { leaverHumans } from '../store/leavers.ts';
import { listPrincipals } from '../store/principals.ts';
import { decisionsOf, findRequest } from '../store/requests.ts';
import { runById } from '../store/runs.ts';
import { Notifier, type NotifierOptions } from './notifier.ts';
import { peopleOf } from './people.ts';

export interface NotifierParts extends Omit<NotifierOptions, 'receivers' | 'limits' | 'labelsOf' | 'people' | 'store'> {
  readonly store: Store;
  readonly configuration: () => Configuration;
  readonly keyOf: (human: string) => string;
  /** Whether they may review a break-glass. @throws CountersignError where nobody can */
  readonly mayReview: (requestId: string, asker: Asker) => Promise<boolean>;
}

/** @throws CountersignError `configuration_invalid` for mail without TLS to another machine */
export function notifierFor({ configuration, keyOf, mayReview, ...parts }: NotifierParts): Notifier {
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
      removed: async () => {
        const leavers = await leaverHumans(store);
        const ids = new Set(leavers.map(({ principalId }) => principalId));
        const keys = new Set(leavers.map(({ human }) => keyOf(human)));
        return ({ id, human }) => ids.has(id) || (keyOf(human) !== '' && keys.has(keyOf(human)));
      },
      bindings: () => configuration().bindings,
      labelsOf,
      decided: async (requestId) => (await decisionsOf(store, requestId)).map(({ human }) => human),
      mayReview: (requestId, asker) => mayReview(requestId, asker).catch(nobody),
      decidingGroups: async (requestId) => {
        const request = await findRequest(store, requestId);
        // Its entry is in the log a moment before its row is in the store: then every approver there.
        if (request === undefined) return undefined;
        const { connections, workflows } = configuration();
        const connection = connections.find(({ name }) => name === request.connection);
        try {
          return decidersOf(request, connection, workflows);
        } catch (error) {
          nobody(error);
          return [];
        }
      },
      keyOf,
      executorOf: async (runId) => (await runById(store, runId))?.executor_human,
    }),
  });
}

/** Somebody changed what was asked for: nobody can act on it, and others have to be told of other things. */
function nobody(error: unknown): false {
  if (error instanceof CountersignError) return false;
  throw error;
}
