/** Whom an occurrence concerns, by the e-mail addresses of their log-ins. */
import { dutiesOnAll } from '../approvals/policy-input.ts';
import type { Asker } from '../approvals/standing.ts';
import { dutiesOf, type Binding } from '../identity/bindings.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import type { Occurrence } from './occurrences.ts';

export interface People {
  /** E-mail addresses, each once. */
  concerned(occurrence: Occurrence): Promise<readonly string[]>;
}

/** The duties of which one is needed to review a break-glass. */
const reviewing: readonly Duty[] = ['approver', 'auditor', 'admin'];

export interface PeopleOptions {
  readonly principals: () => Promise<readonly Principal[]>;
  /** Whether this principal was removed: whoever has left is told of that, and of nothing else. */
  readonly removed: () => Promise<(principal: Principal) => boolean>;
  readonly bindings: () => readonly Binding[];
  readonly labelsOf: (connection: string) => Readonly<Record<string, string>> | undefined;
  /** Groups whose members decide on this request; undefined = every approver. */
  readonly decidingGroups: (requestId: string) => Promise<readonly string[] | undefined>;
  /** Humans who decided on it already. */
  readonly decided: (requestId: string) => Promise<readonly string[]>;
  /** Whether they may review a break-glass. */
  readonly mayReview: (requestId: string, asker: Asker) => Promise<boolean>;
  readonly keyOf: (human: string) => string;
  /** The human who executes a run. */
  readonly executorOf: (runId: string) => Promise<string | undefined>;
}

export function peopleOf(options: PeopleOptions): People {
  const { principals, bindings, labelsOf, keyOf } = options;

  const addresses = (found: readonly Principal[]) => [
    ...new Set(
      found.filter(({ kind }) => kind === 'person').flatMap(({ email }) => (email === undefined ? [] : [email])),
    ),
  ];

  const here = async (found: readonly Principal[]) => {
    const hasLeft = await options.removed();
    return found.filter((one) => !hasLeft(one));
  };

  const dutiesOn = (principal: Principal, name: string) => {
    const labels = labelsOf(name);
    return labels === undefined ? [] : dutiesOf(principal, labels, bindings());
  };

  /** Who is here and none of these humans, with the duties that count: of a change of the rules those on all it touches. */
  const others = async ({ connection, connections }: Occurrence, but: readonly string[]): Promise<Asker[]> => {
    const there = connections ?? [connection ?? ''];
    const keys = new Set(but.map(keyOf));
    return (await here(await principals()))
      .filter((one) => !keys.has(keyOf(one.human)))
      .map((principal) => ({ principal, duties: dutiesOnAll(principal, there, dutiesOn) }));
  };

  /** Of `groups`; undefined = whoever holds one of the duties. */
  const holders = (
    askers: readonly Asker[],
    wanted: readonly Duty[] | undefined,
    groups: readonly string[] | undefined,
  ) =>
    askers
      .filter(({ duties }) => wanted === undefined || wanted.some((duty) => duties.includes(duty)))
      .map(({ principal }) => principal)
      .filter((one) => groups === undefined || one.groups.some((group) => groups.includes(group)));

  /** Who may decide now: nobody who wrote it, asked for it, or decided on it already. */
  const deciders = async (occurrence: Occurrence, groups: readonly string[] | undefined) => {
    const { human = '', authors = [], request = '' } = occurrence;
    const asked = await others(occurrence, [human, ...authors, ...(await options.decided(request))]);
    return holders(asked, ['approver'], groups);
  };

  const named = async (human: string | undefined) => {
    const key = keyOf(human ?? '');
    return key === '' ? [] : (await principals()).filter((one) => keyOf(one.human) === key);
  };

  return {
    concerned: async (occurrence) => {
      const { event, human = '', authors = [], run, request = '' } = occurrence;
      switch (event) {
        case 'request.created':
        case 'request.expiring':
          return addresses(await deciders(occurrence, await options.decidingGroups(request)));
        case 'request.escalated': {
          const { decide, groups } = occurrence;
          if (decide === true) return addresses(await deciders(occurrence, groups));
          // Who is only told needs no duty.
          return addresses(holders(await others(occurrence, [human, ...authors]), undefined, groups ?? []));
        }
        case 'break-glass':
          return addresses(holders(await others(occurrence, [human]), reviewing, undefined));
        case 'request.review-late': {
          const may: Principal[] = [];
          for (const asker of await others(occurrence, [human])) {
            const { principal, duties } = asker;
            if (principal.kind !== 'person' || !reviewing.some((duty) => duties.includes(duty))) continue;
            if (await options.mayReview(request, asker)) may.push(principal);
          }
          return addresses(may);
        }
        case 'request.decided':
          return addresses(await here(await named(human)));
        case 'access.revoked':
          return addresses(await named(human));
        case 'run.finished':
        case 'run.failed':
          return addresses(await here(await named(run === undefined ? undefined : await options.executorOf(run))));
        default:
          event satisfies never;
          return [];
      }
    },
  };
}
