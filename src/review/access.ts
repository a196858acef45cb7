/**
 * The access review: who holds what, from which group, when it was last used, and (`conflicts.ts`) who could do too much
 * alone or with one other. Functions over data: principals and their groups, bindings, connections, uses. `reviews.ts`
 * keeps what reviewers decide; `executions.ts` answers whether every execution passed an approval; `doctor.ts` looks for
 * the pitfalls of a set-up. This folder changes nothing of what it looks at.
 */
import { dutySources, type Binding } from '../identity/bindings.ts';
import { duties as allDuties, type Duty, type Principal } from '../identity/principal.ts';
import { digestOf } from '../lib/canonical-json.ts';

export interface ReviewedPrincipal extends Principal {
  /** undefined: no token of it was ever seen; it is known from the configuration. */
  readonly lastSeenAt: Date | undefined;
}

/** What one kind of request needs on a connection. */
export interface ApprovalNeed {
  /** Distinct humans. */
  readonly approvals: number;
  /** Only members of these groups decide; undefined = every approver. */
  readonly groups: readonly string[] | undefined;
  /** Author, approver and executor are all distinct. */
  readonly strict: boolean;
}

export interface ReviewedConnection {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly needs: { readonly job: ApprovalNeed; readonly statement: ApprovalNeed };
  /** The least that a request can come through with, break-glass included; left out = `needs`. */
  readonly leastNeeds?: ReviewedConnection['needs'] | undefined;
}

/** One use of a duty, the newest of its kind. */
export interface DutyUse {
  readonly principal: string;
  readonly connection: string;
  readonly duty: Duty;
  readonly kind: 'session' | 'decision' | 'run' | 'push' | 'replay' | 'review';
  readonly at: Date;
}

export interface AccessWorld {
  readonly principals: readonly ReviewedPrincipal[];
  readonly bindings: readonly Binding[];
  readonly connections: readonly ReviewedConnection[];
  readonly uses: readonly DutyUse[];
  /** Equal exactly when two names are one human. */
  readonly keyOf: (human: string) => string;
}

/** A line of the review: one principal holds one duty on one connection. */
export interface Holding {
  /** Stable over reviews. */
  readonly line: string;
  readonly principal: string;
  readonly kind: Principal['kind'];
  readonly displayName: string;
  readonly human: string;
  readonly connection: string;
  readonly duty: Duty;
  /** The groups that give it; whoever wants to take it away takes the principal out of all of them. */
  readonly groups: readonly string[];
  readonly lastSeenAt: string | undefined;
  readonly lastUse: { readonly kind: DutyUse['kind']; readonly at: string } | undefined;
}

export function lineOf(holding: Pick<Holding, 'principal' | 'connection' | 'duty'>): string {
  const { principal, connection, duty } = holding;
  return digestOf({ principal, connection, duty }).slice(0, 20);
}

/** By principal, connection and duty. Costs principals x connections; group sets are worked out once each. */
export function holdingsOf(world: AccessWorld): Holding[] {
  const lastUses = newestUses(world.uses);
  const sourcesOf = sourcesByGroups(world);
  return world.principals
    .toSorted((a, b) => compare(a.id, b.id))
    .flatMap((principal) =>
      sourcesOf(principal).flatMap(({ connection, duties }) =>
        duties.map(({ duty, groups }): Holding => {
          const use =
            lastUses.get(useKey(principal.id, connection, duty)) ?? lastUses.get(useKey(principal.id, '', duty));
          return {
            line: lineOf({ principal: principal.id, connection, duty }),
            principal: principal.id,
            kind: principal.kind,
            displayName: principal.displayName,
            human: principal.human,
            connection,
            duty,
            groups,
            lastSeenAt: principal.lastSeenAt?.toISOString(),
            lastUse: use && { kind: use.kind, at: use.at.toISOString() },
          };
        }),
      ),
    );
}

interface HeldThere {
  readonly connection: string;
  readonly duties: readonly { readonly duty: Duty; readonly groups: readonly string[] }[];
}

/** Many principals share few sets of groups. */
export function sourcesByGroups(
  world: Pick<AccessWorld, 'bindings' | 'connections'>,
): (principal: Pick<Principal, 'groups'>) => readonly HeldThere[] {
  const bound = new Set(world.bindings.map((binding) => binding.group));
  const known = new Map<string, readonly HeldThere[]>();
  return (principal) => {
    const groups = principal.groups.filter((group) => bound.has(group)).toSorted();
    const key = JSON.stringify(groups);
    const before = known.get(key);
    if (before !== undefined) return before;
    const found = world.connections
      .toSorted((a, b) => compare(a.name, b.name))
      .map(({ name, labels }) => {
        const sources = dutySources({ groups }, labels, world.bindings);
        const duties = allDuties.flatMap((duty) => {
          const from = sources.get(duty);
          return from === undefined ? [] : [{ duty, groups: [...from].toSorted() }];
        });
        return { connection: name, duties };
      })
      .filter(({ duties }) => duties.length > 0);
    known.set(key, found);
    return found;
  };
}

function newestUses(uses: readonly DutyUse[]): Map<string, DutyUse> {
  const newest = new Map<string, DutyUse>();
  for (const use of uses) {
    const key = useKey(use.principal, use.connection, use.duty);
    const before = newest.get(key);
    if (before === undefined || before.at < use.at) newest.set(key, use);
  }
  return newest;
}

function useKey(principal: string, connection: string, duty: Duty): string {
  return JSON.stringify([principal, connection, duty]);
}

/** Neither used, nor held for a shorter time than this. */
export function isUnused(holding: Holding, since: Date | undefined, now: number, unusedAfterMs: number): boolean {
  const last = Math.max(
    holding.lastUse === undefined ? Number.NEGATIVE_INFINITY : Date.parse(holding.lastUse.at),
    since?.getTime() ?? now,
  );
  return now - last >= unusedAfterMs;
}

export interface Membership {
  readonly group: string;
  readonly duties: readonly Duty[];
}

/** What to do at the identity provider so that the holding ends, and what else that takes away. */
export function revocationOf(holding: Holding, bindings: readonly Binding[]): string {
  const also = new Set(
    bindings.filter((binding) => holding.groups.includes(binding.group)).flatMap((binding) => binding.duties),
  );
  also.delete(holding.duty);
  const groups = holding.groups.map((group) => JSON.stringify(group)).join(' and ');
  const word = holding.groups.length === 1 ? 'group' : 'groups';
  const rest = also.size === 0 ? '' : `; that takes away ${[...also].toSorted().join(', ')} as well`;
  return `take ${holding.principal} out of ${word} ${groups} at the identity provider${rest}`;
}

export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
