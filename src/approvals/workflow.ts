/**
 * How many approvals a request needs, from whom, and how long it waits. The first workflow that matches counts; where
 * none does, one approval by an approver who is neither author nor requester. Independence itself is not configurable:
 * it is in `policy/duty.ts`.
 */
import type { StatementClass } from '../sql/statement.ts';
import type { RequestKind } from '../store/database.ts';

export interface Workflow {
  readonly match: {
    /** All of these labels, with these values. Empty matches every connection. */
    readonly labels: Readonly<Record<string, string>>;
    readonly kinds?: readonly RequestKind[] | undefined;
    /**
     * Classes of a held statement; a request matches when any of its statements has one of them. Jobs are `read`; what
     * has no known class matches every list.
     */
    readonly classes?: readonly StatementClass[] | undefined;
  };
  readonly approvals: {
    /** Distinct humans. */
    readonly count: number;
    /** Only members of these groups decide. */
    readonly groups?: readonly string[] | undefined;
  };
  /** How long a request waits for its decision. */
  readonly expiresMs: number;
  /** The longest time for which an approved grant may be used. */
  readonly grantExpiresMs: number;
  /** Author, approver and executor are all distinct. */
  readonly strict: boolean;
}

const dayMs = 24 * 60 * 60_000;

export const defaultWorkflow: Workflow = {
  match: { labels: {} },
  approvals: { count: 1 },
  expiresMs: dayMs,
  grantExpiresMs: dayMs,
  strict: false,
};

export interface WorkflowSubject {
  readonly kind: RequestKind;
  readonly labels: Readonly<Record<string, string>>;
  readonly classes: readonly StatementClass[];
}

function isAnyOf(classes: readonly StatementClass[], wanted: readonly StatementClass[]): boolean {
  return classes.length === 0 || classes.some((one) => one === 'unknown' || wanted.includes(one));
}

export function workflowFor(workflows: readonly Workflow[], subject: WorkflowSubject): Workflow {
  return workflows.find((workflow) => matches(workflow, subject)) ?? defaultWorkflow;
}

function matches({ match }: Workflow, subject: WorkflowSubject): boolean {
  const { labels, kinds, classes } = match;
  if (kinds !== undefined && !kinds.includes(subject.kind)) return false;
  if (classes !== undefined && !isAnyOf(subject.classes, classes)) return false;
  return Object.entries(labels).every(
    ([name, value]) => Object.hasOwn(subject.labels, name) && subject.labels[name] === value,
  );
}
