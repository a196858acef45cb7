/**
 * Toxic combinations: who could do too much alone, and who together with one other. Pure.
 *
 * The gateway compares humans, so that today nobody approves or executes their own work whatever they hold. What is
 * listed here is how much depends on that comparison alone (two names of one person that nobody knows of, a service
 * account, an administrator who changes the rules), and how many people it takes to agree to deceive.
 *
 * Nothing here looks at pairs of people. Humans with equal duties on a connection are one class; there are at most 128
 * classes, whatever the number of people, and pairs are counted between classes.
 */
import type { Duty } from '../identity/principal.ts';
import {
  compare,
  sourcesByGroups,
  type AccessWorld,
  type ApprovalNeed,
  type ReviewedConnection,
  type ReviewedPrincipal,
} from './access.ts';

export type AloneReason =
  | 'author-approve-execute'
  | 'author-approve'
  | 'author-execute'
  | 'admin-and-more'
  | 'audits-own-work';

export const aloneWords: Readonly<Record<AloneReason, string>> = {
  'author-approve-execute': 'could write, approve and execute the same thing, if the gateway took them for two people',
  'author-approve': 'could write and approve the same thing, if the gateway took them for two people',
  'author-execute': 'could write and execute the same thing, if the gateway took them for two people',
  'admin-and-more': 'changes the rules as administrator and works under them',
  'audits-own-work': 'audits what they do themselves',
};

export interface AloneConflict {
  readonly reason: AloneReason;
  /** Every name by which this human, or these, are known. */
  readonly humans: readonly string[];
  /** True: different humans as far as anybody knows, who look like one (same e-mail address). */
  readonly suspectedAlias: boolean;
  readonly connections: readonly string[];
  readonly through: readonly { readonly principal: string; readonly duty: Duty; readonly groups: readonly string[] }[];
}

export interface PairConflict {
  readonly connection: string;
  /** What two humans together get through: a job, or a statement of their own. */
  readonly what: 'job' | 'statement';
  /** Duties of the one who writes or asks, and of the one who approves (and executes a job). */
  readonly first: readonly Duty[];
  readonly second: readonly Duty[];
  /** Pairs of two different humans. */
  readonly pairs: number;
  /** Some of the humans on either side. */
  readonly examples: { readonly first: readonly string[]; readonly second: readonly string[] };
  readonly remedy: string;
}

const bits: Readonly<Record<Duty, number>> = { designer: 1, approver: 2, executor: 4, auditor: 8, admin: 16 };
/** In the groups that the workflow of jobs (of statements) names. */
const approvesJobs = 32;
const approvesStatements = 64;
const work = bits.designer | bits.approver | bits.executor;
const examples = 5;

/** The reasons that a set of duties gives; of the three ways to do one's own work only the widest. */
export function aloneReasons(mask: number): AloneReason[] {
  const has = (duty: Duty) => (mask & bits[duty]) !== 0;
  const reasons: AloneReason[] = [];
  if (has('designer') && has('approver') && has('executor')) reasons.push('author-approve-execute');
  else if (has('designer') && has('approver')) reasons.push('author-approve');
  else if (has('designer') && has('executor')) reasons.push('author-execute');
  if (has('admin') && (mask & work) !== 0) reasons.push('admin-and-more');
  if (has('auditor') && (mask & (work | bits.admin)) !== 0) reasons.push('audits-own-work');
  return reasons;
}

interface Human {
  readonly key: string;
  readonly principals: ReviewedPrincipal[];
  readonly masks: Map<string, number>;
}

/** One for each human key. A service account is its owner. */
function humansOf(world: AccessWorld): Human[] {
  const sourcesOf = sourcesByGroups(world);
  const needs = new Map(world.connections.map((connection) => [connection.name, leastOf(connection)]));
  const humans = new Map<string, Human>();
  for (const principal of world.principals) {
    const key = world.keyOf(principal.human);
    const human = humans.get(key) ?? { key, principals: [], masks: new Map<string, number>() };
    humans.set(key, human);
    human.principals.push(principal);
    for (const { connection, duties } of sourcesOf(principal)) {
      let mask = human.masks.get(connection) ?? 0;
      for (const { duty } of duties) mask |= bits[duty];
      const need = needs.get(connection);
      const isApprover = duties.some(({ duty }) => duty === 'approver');
      // The account that decides is the one that has to be in the workflow's groups.
      if (isApprover && need !== undefined && isAmong(principal, need.job)) mask |= approvesJobs;
      if (isApprover && need !== undefined && isAmong(principal, need.statement)) mask |= approvesStatements;
      human.masks.set(connection, mask);
    }
  }
  return [...humans.values()].toSorted((a, b) => compare(a.key, b.key));
}

function leastOf(connection: ReviewedConnection): ReviewedConnection['needs'] {
  return connection.leastNeeds ?? connection.needs;
}

function isAmong({ groups }: ReviewedPrincipal, need: ApprovalNeed): boolean {
  return need.groups === undefined || groups.some((group) => need.groups?.includes(group) === true);
}

/** By human. Costs principals x connections. */
export function aloneConflicts(world: AccessWorld): AloneConflict[] {
  const humans = humansOf(world);
  const found = humans.flatMap((human) => conflictsOf([human], world, false));
  return [...found, ...suspectedAliases(humans).flatMap((suspects) => conflictsOf(suspects, world, true))];
}

/** Humans that nobody knows to be one, who have an e-mail address in common. */
function suspectedAliases(humans: readonly Human[]): Human[][] {
  const byAddress = new Map<string, Human[]>();
  for (const human of humans) {
    const addresses = human.principals.map(({ email }) => email?.normalize('NFKC').trim().toLowerCase() ?? '');
    for (const address of new Set(addresses)) {
      if (address !== '') byAddress.set(address, [...(byAddress.get(address) ?? []), human]);
    }
  }
  return [...byAddress.values()].filter((suspects) => suspects.length > 1);
}

function conflictsOf(humans: readonly Human[], world: AccessWorld, suspectedAlias: boolean): AloneConflict[] {
  const connections = new Map<AloneReason, string[]>();
  for (const { name } of world.connections) {
    const masks = humans.map((human) => human.masks.get(name) ?? 0);
    const known = new Set(masks.flatMap(aloneReasons));
    for (const reason of aloneReasons(masks.reduce((all, mask) => all | mask, 0))) {
      // What one of them has by themselves is listed with them.
      if (suspectedAlias && known.has(reason)) continue;
      connections.set(reason, [...(connections.get(reason) ?? []), name]);
    }
  }
  if (connections.size === 0) return [];
  const sourcesOf = sourcesByGroups(world);
  const principals = humans.flatMap((human) => human.principals);
  return [...connections].map(([reason, names]) => ({
    reason,
    humans: [...new Set(principals.map((principal) => principal.human))].toSorted(),
    suspectedAlias,
    connections: names,
    through: principals.flatMap((principal) => {
      const there = sourcesOf(principal).filter(({ connection }) => names.includes(connection));
      const groups = new Map<Duty, Set<string>>();
      for (const { duties } of there) {
        for (const one of duties) {
          const known = groups.get(one.duty) ?? new Set<string>();
          for (const group of one.groups) known.add(group);
          groups.set(one.duty, known);
        }
      }
      return [...groups].map(([duty, from]) => ({ principal: principal.id, duty, groups: [...from].toSorted() }));
    }),
  }));
}

/** Whether `first` (who writes or asks) and `second`, two humans with these duties, need nobody else. */
function isEnough(first: number, second: number, what: PairConflict['what'], need: ApprovalNeed): boolean {
  if (need.approvals > 1) return false;
  if (what === 'job') {
    return (
      (first & bits.designer) !== 0 && (second & approvesJobs) !== 0 && (second & bits.executor) !== 0 && !need.strict
    );
  }
  return (first & (bits.designer | bits.executor)) !== 0 && (second & approvesStatements) !== 0;
}

/** By connection. Costs principals x connections, and 128 x 128 for each connection. */
export function pairConflicts(world: AccessWorld): PairConflict[] {
  const humans = humansOf(world);
  return world.connections.flatMap((connection) => {
    const classes = new Map<number, string[]>();
    for (const { key, masks, principals } of humans) {
      const mask = masks.get(connection.name);
      // Who is nobody known is no second human.
      if (mask === undefined || key === '') continue;
      const names = classes.get(mask) ?? [];
      names.push(principals[0]?.human ?? key);
      classes.set(mask, names);
    }
    return (['job', 'statement'] as const).flatMap((what) =>
      pairsBetween(connection.name, what, leastOf(connection)[what], classes),
    );
  });
}

function pairsBetween(
  connection: string,
  what: PairConflict['what'],
  need: ApprovalNeed,
  classes: ReadonlyMap<number, readonly string[]>,
): PairConflict[] {
  const found = new Map<string, PairConflict>();
  const masks = [...classes.keys()].toSorted((a, b) => a - b);
  for (const [at, one] of masks.entries()) {
    for (const other of masks.slice(at)) {
      const forth = isEnough(one, other, what, need);
      if (!forth && !isEnough(other, one, what, need)) continue;
      const [first, second] = forth ? [one, other] : [other, one];
      const [writers, approvers] = [classes.get(first) ?? [], classes.get(second) ?? []];
      const pairs = first === second ? (writers.length * (writers.length - 1)) / 2 : writers.length * approvers.length;
      if (pairs === 0) continue;
      const duties = { first: dutiesIn(first), second: dutiesIn(second) };
      const key = JSON.stringify(duties);
      const before = found.get(key);
      found.set(key, {
        connection,
        what,
        ...duties,
        pairs: pairs + (before?.pairs ?? 0),
        examples: {
          first: [...(before?.examples.first ?? []), ...writers].slice(0, examples),
          second: [...(before?.examples.second ?? []), ...approvers].slice(0, examples),
        },
        remedy:
          what === 'job'
            ? 'a workflow with `strict: true` or two approvals makes it three'
            : 'a workflow with two approvals makes it three',
      });
    }
  }
  return [...found.values()].toSorted((a, b) => b.pairs - a.pairs);
}

function dutiesIn(mask: number): Duty[] {
  return (Object.keys(bits) as Duty[]).filter((duty) => (mask & bits[duty]) !== 0);
}
