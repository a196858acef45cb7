/** Duties and workflows that do not add up: what nobody can ever approve, execute or audit. Pure. */
import type { Binding } from '../identity/bindings.ts';
import type { Duty } from '../identity/principal.ts';
import { dutySources } from '../identity/bindings.ts';
import { sourcesByGroups, type ApprovalNeed, type ReviewedConnection, type ReviewedPrincipal } from './access.ts';
import type { Finding } from './finding.ts';

export interface RuleFacts {
  readonly bindings: readonly Binding[];
  readonly connections: readonly ReviewedConnection[];
  /** Labels that workflows ask for, with where they stand. */
  readonly workflowLabels: readonly { readonly where: string; readonly labels: Readonly<Record<string, string>> }[];
  /** Everybody who was ever seen; undefined = not known (no control store in reach), or nobody was seen yet. */
  readonly principals: readonly ReviewedPrincipal[] | undefined;
  readonly keyOf: (human: string) => string;
}

export function ruleFindings(facts: RuleFacts): Finding[] {
  return [
    ...facts.connections.flatMap((connection) => [...duties(facts, connection), ...approvals(facts, connection)]),
    ...workflows(facts),
  ];
}

const consequence: Readonly<
  Record<Duty, { readonly severity: Finding['severity']; readonly why: string } | undefined>
> = {
  approver: { severity: 'high', why: 'nothing that is held can ever be approved' },
  executor: { severity: 'medium', why: 'no approved job can be run' },
  designer: { severity: 'low', why: 'nobody can write jobs or look at samples' },
  auditor: { severity: 'medium', why: 'nobody can look at sessions and the log' },
  admin: undefined,
};

function groupsOf({ bindings }: Pick<RuleFacts, 'bindings'>, { labels }: ReviewedConnection): Map<Duty, Set<string>> {
  const groups = bindings.map((binding) => binding.group);
  return dutySources({ groups }, labels, bindings);
}

function* duties(facts: RuleFacts, connection: ReviewedConnection): Generator<Finding> {
  const sources = groupsOf(facts, connection);
  const sourcesOf = sourcesByGroups({ bindings: facts.bindings, connections: [connection] });
  const held = new Set(
    facts.principals?.flatMap((principal) => sourcesOf(principal).flatMap((one) => one.duties.map(({ duty }) => duty))),
  );
  for (const [duty, said] of Object.entries(consequence) as [Duty, (typeof consequence)[Duty]][]) {
    if (said === undefined) continue;
    const groups = sources.get(duty);
    const where = `connection ${connection.name}: duty ${duty}`;
    if (groups === undefined) {
      yield {
        check: 'duty-unbound',
        ...said,
        where,
        what: 'no binding gives it here',
        remedy: `bind a group to ${duty} for the labels of ${connection.name}`,
      };
    } else if (facts.principals !== undefined && !held.has(duty)) {
      yield {
        check: 'duty-held-by-nobody',
        ...said,
        where,
        what: `nobody who ever logged in is in ${[...groups].join(' or ')}`,
        remedy: 'put somebody into the group at the identity provider, or correct its name in `bindings`',
      };
    }
  }
}

function* approvals(facts: RuleFacts, connection: ReviewedConnection): Generator<Finding> {
  const approverGroups = groupsOf(facts, connection).get('approver');
  if (approverGroups === undefined) return;
  for (const what of ['job', 'statement'] as const) {
    const need = connection.needs[what];
    const where = `connection ${connection.name}: approval of a ${what}`;
    const { groups } = need;
    // Somebody may be in two groups: one that makes them an approver, and one that the workflow asks for.
    if (groups !== undefined && facts.principals === undefined && !groups.some((group) => approverGroups.has(group))) {
      yield {
        check: 'workflow-groups',
        severity: 'medium',
        where,
        what: `its workflow wants members of ${groups.join(' or ')}, and none of these groups is bound to approver here`,
        why: 'unless somebody is in two groups, nothing of this kind can be approved',
        remedy: 'bind one of the groups to approver, or name another group in the workflow',
      };
    }
    if (facts.principals === undefined) continue;
    const humans = approvers(facts, connection, need);
    if (humans.approvers === 0 && need.groups === undefined) continue;
    if (humans.approvers >= need.approvals && humans.others) continue;
    yield {
      check: 'approval-impossible',
      severity: 'high',
      where,
      what:
        humans.approvers < need.approvals
          ? `it needs ${need.approvals} humans, and ${humans.approvers} of those who ever logged in may decide`
          : 'every human who may decide is the only one who could ask',
      why: 'it waits until its time is up, always',
      remedy: 'give the duty (and the workflow’s groups) to more people, or ask for fewer approvals',
    };
  }
}

/** Distinct humans who may decide, and whether somebody can ask whose request enough of them may decide. */
function approvers(
  facts: RuleFacts,
  connection: ReviewedConnection,
  need: ApprovalNeed,
): { approvers: number; others: boolean } {
  const sourcesOf = sourcesByGroups({ bindings: facts.bindings, connections: [connection] });
  const deciding = new Set<string>();
  const asking = new Set<string>();
  for (const principal of facts.principals ?? []) {
    const held = new Set(sourcesOf(principal).flatMap((one) => one.duties.map(({ duty }) => duty)));
    const key = facts.keyOf(principal.human);
    const inGroups =
      need.groups === undefined || principal.groups.some((group) => need.groups?.includes(group) === true);
    if (held.has('approver') && inGroups && key !== '') deciding.add(key);
    if (held.has('designer') || held.has('executor')) asking.add(key);
  }
  const others =
    asking.size === 0 || [...asking].some((key) => deciding.size - (deciding.has(key) ? 1 : 0) >= need.approvals);
  return { approvers: deciding.size, others };
}

function* workflows({ workflowLabels, connections }: RuleFacts): Generator<Finding> {
  for (const { where, labels } of workflowLabels) {
    const wanted = Object.entries(labels);
    const matches = connections.some((connection) =>
      wanted.every(([name, value]) => connection.labels[name] === value),
    );
    if (matches) continue;
    yield {
      check: 'workflow-idle',
      severity: 'low',
      where,
      what: `no connection has the labels ${JSON.stringify(labels)}`,
      why: 'a workflow that was meant to be stricter is not in force',
      remedy: 'correct the labels of the workflow or of the connection',
    };
  }
}
