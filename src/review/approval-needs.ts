/** What a request needs on each connection, by the workflows as they are. */
import { approvalsNeeded, decidingGroups, defaultWorkflow, type Workflow } from '../approvals/workflow.ts';
import type { ApprovalNeed, ReviewedConnection } from './access.ts';

export function reviewedConnections(
  connections: readonly { readonly name: string; readonly labels: Readonly<Record<string, string>> }[],
  workflows: readonly Workflow[],
): ReviewedConnection[] {
  return connections.map(({ name, labels }) => {
    const need = (kind: 'job' | 'statement'): ApprovalNeed => {
      const possible = workflowsThatMayCount(workflows, labels, kind);
      // What counts for a review is the least that some request needs, break-glass included.
      const least = (one: Workflow) => Math.min(approvalsNeeded(one), one.breakGlass?.approvals ?? Infinity);
      const weakest = possible.reduce((found, one) => (least(one) < least(found) ? one : found));
      return {
        approvals: Math.max(1, least(weakest)),
        groups: decidingGroups(weakest),
        strict: possible.every((one) => one.strict),
      };
    };
    return { name, labels, needs: { job: need('job'), statement: need('statement') } };
  });
}

/** Those that some request of this kind can fall under there: up to the first that asks for nothing else. */
function workflowsThatMayCount(
  workflows: readonly Workflow[],
  labels: Readonly<Record<string, string>>,
  kind: 'job' | 'statement',
): Workflow[] {
  const fitting = workflows.filter(
    ({ match }) =>
      (match.kinds?.includes(kind) ?? true) &&
      Object.entries(match.labels).every(([name, value]) => Object.hasOwn(labels, name) && labels[name] === value),
  );
  const asksForNothingElse = ({ match }: Workflow) => {
    const conditions = [match.relations, match.sensitive, match.minRows, match.minBytes];
    const classes = kind === 'job' && match.classes?.includes('read') === true ? undefined : match.classes;
    return [...conditions, classes].every((one) => one === undefined);
  };
  const last = fitting.findIndex(asksForNothingElse);
  return last < 0 ? [...fitting, defaultWorkflow] : fitting.slice(0, last + 1);
}
