/** Whom an occurrence concerns, by the e-mail addresses of their log-ins. */
import { dutiesOf, type Binding } from '../identity/bindings.ts';
import type { Principal } from '../identity/principal.ts';
import type { Occurrence } from './occurrences.ts';

export interface People {
  /** E-mail addresses, each once. */
  concerned(occurrence: Occurrence): Promise<readonly string[]>;
}

export interface PeopleOptions {
  readonly principals: () => Promise<readonly Principal[]>;
  readonly bindings: () => readonly Binding[];
  readonly labelsOf: (connection: string) => Readonly<Record<string, string>> | undefined;
  readonly connectionNames: () => readonly string[];
  /** Groups whose members decide on this request; undefined = every approver. */
  readonly decidingGroups: (requestId: string) => Promise<readonly string[] | undefined>;
  readonly keyOf: (human: string) => string;
  /** The human who executes a run. */
  readonly executorOf: (runId: string) => Promise<string | undefined>;
}

export function peopleOf(options: PeopleOptions): People {
  const { principals, bindings, labelsOf, keyOf, connectionNames } = options;

  const addresses = (found: readonly Principal[]) => [
    ...new Set(
      found.filter(({ kind }) => kind === 'person').flatMap(({ email }) => (email === undefined ? [] : [email])),
    ),
  ];

  /** Who holds one of these duties there, and is none of these humans. */
  const holders = async (connection: string | undefined, duties: readonly string[], but: readonly string[]) => {
    // A change of the rules is of no connection: whoever holds the duty anywhere may have a say in it.
    const there = connection === '' ? connectionNames() : [connection ?? ''];
    const labels = there.map(labelsOf).filter((one) => one !== undefined);
    const keys = new Set(but.map(keyOf));
    return (await principals()).filter(
      (one) =>
        !keys.has(keyOf(one.human)) &&
        labels.some((some) => dutiesOf(one, some, bindings()).some((duty) => duties.includes(duty))),
    );
  };

  const named = async (human: string | undefined) => {
    const key = keyOf(human ?? '');
    return key === '' ? [] : (await principals()).filter((one) => keyOf(one.human) === key);
  };

  return {
    concerned: async (occurrence) => {
      const { event, connection, human, authors = [], run, request } = occurrence;
      switch (event) {
        case 'request.created':
        case 'request.expiring': {
          const groups = request === undefined ? [] : await options.decidingGroups(request);
          const deciding = await holders(connection, ['approver'], [human ?? '', ...authors]);
          return addresses(
            deciding.filter((one) => groups === undefined || one.groups.some((group) => groups.includes(group))),
          );
        }
        case 'break-glass':
          return addresses(await holders(connection, ['approver', 'auditor', 'admin'], [human ?? '']));
        case 'request.decided':
        case 'access.revoked':
          return addresses(await named(human));
        case 'run.finished':
        case 'run.failed':
          return addresses(await named(run === undefined ? undefined : await options.executorOf(run)));
        default:
          event satisfies never;
          return [];
      }
    },
  };
}
