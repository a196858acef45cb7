/** What a request needs on each connection, by the workflows as they are. */
import {
  approvalsNeeded,
  defaultWorkflow,
  stepsOf,
  underBreakGlass,
  workflowFor,
  type Workflow,
} from '../approvals/workflow.ts';
import type { ApprovalNeed, ReviewedConnection } from './access.ts';

type Labels = Readonly<Record<string, string>>;

export function reviewedConnections(
  connections: readonly { readonly name: string; readonly labels: Labels }[],
  workflows: readonly Workflow[],
): ReviewedConnection[] {
  return connections.map(({ name, labels }) => {
    const need = (kind: 'job' | 'statement') =>
      needOf(workflowFor(workflows, { kind, labels, classes: kind === 'job' ? ['read'] : [] }));
    const least = (kind: 'job' | 'statement') => leastNeed(workflows, labels, kind);
    return {
      name,
      labels,
      needs: { job: need('job'), statement: need('statement') },
      leastNeeds: { job: least('job'), statement: least('statement') },
    };
  });
}

function needOf(workflow: Workflow): ApprovalNeed {
  const steps = stepsOf(workflow);
  const named = steps.map((step) => [...(step.groups ?? []), ...(step.allOf ?? [])]);
  const isOpen = steps.some((step) => step.groups === undefined && (step.count ?? 1) > (step.allOf?.length ?? 0));
  return {
    approvals: approvalsNeeded(workflow),
    groups: isOpen ? undefined : [...new Set(named.flat())],
    strict: workflow.strict,
  };
}

/**
 * The least that any request of this kind can come through with: of every workflow that can match some request here, and
 * under break-glass where there is one.
 */
function leastNeed(workflows: readonly Workflow[], labels: Labels, kind: 'job' | 'statement'): ApprovalNeed {
  const needs: ApprovalNeed[] = [];
  for (const workflow of [...workflows, defaultWorkflow]) {
    const { kinds, labels: wanted, classes, relations, sensitive, minRows, minBytes } = workflow.match;
    if (kinds !== undefined && !kinds.includes(kind)) continue;
    if (!Object.entries(wanted).every(([name, value]) => labels[name] === value)) continue;
    const { breakGlass } = workflow;
    needs.push(needOf(breakGlass === undefined ? workflow : underBreakGlass(workflow, breakGlass)));
    const hasConditions = [classes, relations, sensitive, minRows, minBytes].some((one) => one !== undefined);
    // What comes behind one that takes everything is never reached.
    if (!hasConditions) break;
  }
  return needs.reduce((least, one) => (isLess(one, least) ? one : least));
}

function isLess(one: ApprovalNeed, other: ApprovalNeed): boolean {
  if (one.approvals !== other.approvals) return one.approvals < other.approvals;
  if (one.strict !== other.strict) return other.strict;
  return one.groups === undefined && other.groups !== undefined;
}
