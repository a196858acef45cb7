/** What a request needs on each connection, by the workflows as they are. */
import { workflowFor, type Workflow } from '../approvals/workflow.ts';
import type { ApprovalNeed, ReviewedConnection } from './access.ts';

export function reviewedConnections(
  connections: readonly { readonly name: string; readonly labels: Readonly<Record<string, string>> }[],
  workflows: readonly Workflow[],
): ReviewedConnection[] {
  return connections.map(({ name, labels }) => {
    const need = (kind: 'job' | 'statement'): ApprovalNeed => {
      const { approvals, strict } = workflowFor(workflows, { kind, labels, classes: kind === 'job' ? ['read'] : [] });
      return { approvals: approvals.count, groups: approvals.groups, strict };
    };
    return { name, labels, needs: { job: need('job'), statement: need('statement') } };
  });
}
