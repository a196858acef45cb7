/**
 * Workflows: which approvals a request needs, in which order, from whom and when. Pure: a workflow, the decisions so
 * far, who is involved, and a clock give the step that is open, who may decide it, and why somebody may not.
 *
 * Steps are done one after the other. A step has places, and each place takes one human; nobody fills two places,
 * in one step or over all of them, however many groups they are in. The first workflow that matches counts; where none
 * does, one approval by an approver who is neither author nor requester. Independence itself is not configurable: it is
 * in `policy/duty.ts`. Not for: who is which human (the caller gives keys), and storing anything.
 */
import { compileGlob, foldCase } from '../masking/glob.ts';
import type { StatementClass } from '../sql/statement.ts';
import type { RequestKind } from '../store/database.ts';
import { isQuiet, quietUntil, type QuietHours } from './quiet-hours.ts';

export interface WorkflowStep {
  /** Distinct humans; at least one for each group of `allOf`. Default: one, or as many as `allOf` has groups. */
  readonly count?: number | undefined;
  /** One human of each of these groups. */
  readonly allOf?: readonly string[] | undefined;
  /** Only members of these groups take the places that `allOf` leaves. */
  readonly groups?: readonly string[] | undefined;
  /** How long the step may be open; then the request expires. */
  readonly timeLimitMs?: number | undefined;
  /** After `afterMs` of waiting these groups may take any place of the step too, or are only told (`decide: false`). */
  readonly escalation?:
    | { readonly afterMs: number; readonly groups: readonly string[]; readonly decide: boolean }
    | undefined;
}

/** Fewer approvals before, and a review by others afterwards. */
export interface BreakGlass {
  /** Approvals by others that it takes all the same; at least one. */
  readonly approvals: number;
  /** Distinct humans who have to confirm it afterwards. */
  readonly reviewers: number;
  /** From the approval on. */
  readonly reviewWithinMs: number;
  readonly duringQuietHours: boolean;
}

export interface Workflow {
  readonly name?: string | undefined;
  readonly match: {
    /** All of these labels, with these values. Empty matches every connection. */
    readonly labels: Readonly<Record<string, string>>;
    readonly kinds?: readonly RequestKind[] | undefined;
    /**
     * Classes of a held statement; a request matches when any of its statements has one of them. Jobs are `read`; what
     * has no known class matches every list.
     */
    readonly classes?: readonly StatementClass[] | undefined;
    /** `table` or `schema.table`, with `*`; one relation is enough. */
    readonly relations?: readonly string[] | undefined;
    /** Whether masked columns are in reach. What is not known counts as yes. */
    readonly sensitive?: boolean | undefined;
    /** Estimates at least this large. What is not known counts as largest. */
    readonly minRows?: number | undefined;
    readonly minBytes?: number | undefined;
  };
  readonly approvals: {
    /** Distinct humans. Without meaning where there are `steps`. */
    readonly count: number;
    /** Only members of these groups decide. */
    readonly groups?: readonly string[] | undefined;
    readonly steps?: readonly WorkflowStep[] | undefined;
  };
  /** No approval counts inside them; the request waits. */
  readonly quietHours?: QuietHours | undefined;
  /** How long a request waits for its decision. */
  readonly expiresMs: number;
  /** The longest time for which an approved grant may be used. */
  readonly grantExpiresMs: number;
  /** Author, approver and executor are all distinct. */
  readonly strict: boolean;
  readonly breakGlass?: BreakGlass | undefined;
}

const dayMs = 24 * 60 * 60_000;

export const defaultWorkflow: Workflow = {
  match: { labels: {} },
  approvals: { count: 1 },
  expiresMs: dayMs,
  grantExpiresMs: dayMs,
  strict: false,
};

/** What a workflow is chosen by. */
export interface WorkflowSubject {
  readonly kind: RequestKind;
  readonly labels: Readonly<Record<string, string>>;
  readonly classes: readonly StatementClass[];
  /** Qualified names of everything touched; undefined = not known. */
  readonly relations?: readonly string[] | undefined;
  readonly traits?: RequestTraits | undefined;
}

/** Estimates that are no part of a digest. What is left out is not known. */
export interface RequestTraits {
  /** The relations touched hold masked columns. */
  readonly touchesMasked?: boolean | undefined;
  readonly rows?: number | undefined;
  readonly bytes?: number | undefined;
}

export function workflowFor(workflows: readonly Workflow[], subject: WorkflowSubject): Workflow {
  return workflows.find((workflow) => matches(workflow, subject)) ?? defaultWorkflow;
}

function matches({ match }: Workflow, subject: WorkflowSubject): boolean {
  const { labels, kinds, classes, relations, sensitive, minRows, minBytes } = match;
  const { traits = {} } = subject;
  if (kinds !== undefined && !kinds.includes(subject.kind)) return false;
  if (classes !== undefined && !isAnyOf(subject.classes, classes)) return false;
  if (relations !== undefined && !touchesAny(subject.relations, relations)) return false;
  if (sensitive !== undefined && (traits.touchesMasked ?? true) !== sensitive) return false;
  if (minRows !== undefined && sizeOf(traits.rows) < minRows) return false;
  if (minBytes !== undefined && sizeOf(traits.bytes) < minBytes) return false;
  return Object.entries(labels).every(
    ([name, value]) => Object.hasOwn(subject.labels, name) && subject.labels[name] === value,
  );
}

function isAnyOf(classes: readonly StatementClass[], wanted: readonly StatementClass[]): boolean {
  return classes.length === 0 || classes.some((one) => one === 'unknown' || wanted.includes(one));
}

function touchesAny(names: readonly string[] | undefined, patterns: readonly string[]): boolean {
  if (names === undefined) return true;
  return patterns.some((pattern) => {
    const isMatch = compileGlob(pattern.includes('.') ? pattern : `*.${pattern}`);
    return names.some((name) => isMatch(foldCase(name)));
  });
}

/** An estimate that is no number is not known, so it counts as the largest. */
function sizeOf(estimate: number | undefined): number {
  return estimate === undefined || !(estimate >= 0) ? Number.POSITIVE_INFINITY : estimate;
}

/** The steps in order; the simple form is one step. */
export function stepsOf({ approvals }: Workflow): readonly WorkflowStep[] {
  const { steps, count, groups } = approvals;
  return steps === undefined || steps.length === 0 ? [{ count, groups }] : steps;
}

/** How many humans a step takes. */
export function placesOf(step: WorkflowStep): number {
  return Math.max(step.count ?? 1, step.allOf?.length ?? 0, 1);
}

export function approvalsNeeded(workflow: Workflow): number {
  return stepsOf(workflow).reduce((sum, step) => sum + placesOf(step), 0);
}

/** Groups of which one is needed to decide any step, also after an escalation; undefined = no group is. */
export function decidingGroups(workflow: Workflow): readonly string[] | undefined {
  const named = stepsOf(workflow).map((step) => {
    const hasFreePlaces = placesOf(step) > (step.allOf?.length ?? 0);
    if (step.groups === undefined && hasFreePlaces) return undefined;
    const escalated = step.escalation?.decide === true ? step.escalation.groups : [];
    return [...(step.allOf ?? []), ...(step.groups ?? []), ...escalated];
  });
  return named.includes(undefined) ? undefined : [...new Set(named.flatMap((one) => one ?? []))];
}

/**
 * The workflow once break-glass was asked for: one step with fewer places, for whoever could decide any step. It never
 * takes less than one approval, and never more than the workflow itself.
 */
export function underBreakGlass(workflow: Workflow, { approvals, duringQuietHours }: BreakGlass): Workflow {
  const steps = stepsOf(workflow);
  const named = steps.map((step) => [...(step.allOf ?? []), ...(step.groups ?? [])]);
  const isOpen = steps.some((step) => step.groups === undefined && placesOf(step) > (step.allOf?.length ?? 0));
  const count = Math.min(Math.max(1, approvals), approvalsNeeded(workflow));
  const step = isOpen ? { count } : { count, groups: [...new Set(named.flat())] };
  return {
    ...workflow,
    approvals: { count, steps: [step] },
    quietHours: duringQuietHours ? undefined : workflow.quietHours,
  };
}

export interface StepDecision {
  /** Key of the human: equal exactly when it is one human. Empty = nobody knows. */
  readonly human: string;
  /** Groups at the time of the decision. */
  readonly groups: readonly string[];
  readonly verdict: 'approve' | 'reject';
  readonly atMs: number;
}

/** Everything that the state of a workflow follows from. */
export interface WorkflowCase {
  /** When the first step opened. */
  readonly openedAtMs: number;
  /** Oldest first. */
  readonly decisions: readonly StepDecision[];
  /** Keys of humans whose approval never counts: authors and the requester. */
  readonly involved: ReadonlySet<string>;
}

export interface StepState {
  readonly step: WorkflowStep;
  readonly state: 'done' | 'open' | 'waiting' | 'overdue';
  /** Humans that fill its places so far, in the order of their approvals. */
  readonly approvers: readonly string[];
  readonly openedAtMs: number | undefined;
  readonly doneAtMs: number | undefined;
  readonly dueAtMs: number | undefined;
  readonly escalatesAtMs: number | undefined;
}

export interface Progress {
  readonly state: 'open' | 'complete' | 'rejected' | 'overdue';
  readonly steps: readonly StepState[];
}

interface OpenStep {
  readonly step: WorkflowStep;
  readonly openedAtMs: number;
  /** For each approver the places that they could fill when they approved. */
  readonly filled: { readonly human: string; readonly fits: readonly number[] }[];
  doneAtMs: number | undefined;
}

/** Where the workflow stands at `nowMs`. An approval that could not count when it was given never counts. */
export function progressOf(
  workflow: Workflow,
  { openedAtMs, decisions, involved }: WorkflowCase,
  nowMs: number,
): Progress {
  const steps = stepsOf(workflow);
  const done: OpenStep[] = [];
  let open: OpenStep | undefined = openStep(steps[0], openedAtMs);
  const counted = new Set<string>(['', ...involved]);
  let isRejected = false;
  let isOverdue = false;
  for (const { human, groups, verdict, atMs } of decisions) {
    if (isRejected || isOverdue) break;
    if (verdict === 'reject') {
      isRejected = true;
      break;
    }
    if (open === undefined || counted.has(human)) continue;
    if (isOverdueAt(open, atMs)) {
      isOverdue = true;
      break;
    }
    if (workflow.quietHours !== undefined && isQuiet(workflow.quietHours, atMs)) continue;
    const fits = fittingPlaces(open, groups, atMs);
    if (!hasRoom(open, fits)) continue;
    open.filled.push({ human, fits });
    counted.add(human);
    if (open.filled.length < placesOf(open.step)) continue;
    open.doneAtMs = atMs;
    done.push(open);
    open = openStep(steps[done.length], atMs);
  }
  isOverdue ||= !isRejected && open !== undefined && isOverdueAt(open, nowMs);
  const state = isRejected ? 'rejected' : isOverdue ? 'overdue' : open === undefined ? 'complete' : 'open';
  return {
    state,
    steps: steps.map((step, index) => {
      const begun = done[index] ?? (index === done.length ? open : undefined);
      if (begun === undefined) return stateOf(openStep(step, undefined), 'waiting');
      return stateOf(begun, index < done.length ? 'done' : state === 'overdue' ? 'overdue' : 'open');
    }),
  };
}

function openStep(step: WorkflowStep, openedAtMs: number | undefined): OpenStep;
function openStep(step: WorkflowStep | undefined, openedAtMs: number): OpenStep | undefined;
function openStep(step: WorkflowStep | undefined, openedAtMs: number | undefined): OpenStep | undefined {
  if (step === undefined) return undefined;
  return { step, openedAtMs: openedAtMs ?? Number.NaN, filled: [], doneAtMs: undefined };
}

function isOverdueAt({ step, openedAtMs }: OpenStep, atMs: number): boolean {
  return step.timeLimitMs !== undefined && atMs >= openedAtMs + step.timeLimitMs;
}

function stateOf({ step, openedAtMs, filled, doneAtMs }: OpenStep, state: StepState['state']): StepState {
  const opened = Number.isNaN(openedAtMs) ? undefined : openedAtMs;
  const after = (ms: number | undefined) => (opened === undefined || ms === undefined ? undefined : opened + ms);
  return {
    step,
    state,
    approvers: filled.map(({ human }) => human),
    openedAtMs: opened,
    doneAtMs,
    dueAtMs: after(step.timeLimitMs),
    escalatesAtMs: after(step.escalation?.afterMs),
  };
}

/** Who may take each place; undefined = whoever holds the duty. */
function placeGroups(step: WorkflowStep, openedAtMs: number, atMs: number): (readonly string[] | undefined)[] {
  const { escalation, allOf = [], groups } = step;
  const isEscalated = escalation?.decide === true && atMs >= openedAtMs + escalation.afterMs;
  const more = isEscalated ? escalation.groups : [];
  const free = Math.max(0, placesOf(step) - allOf.length);
  return [
    ...allOf.map((group) => [group, ...more]),
    ...Array.from({ length: free }, () => (groups === undefined ? undefined : [...groups, ...more])),
  ];
}

function fittingPlaces({ step, openedAtMs }: OpenStep, groups: readonly string[], atMs: number): number[] {
  return placeGroups(step, openedAtMs, atMs).flatMap((wanted, place) =>
    wanted === undefined || wanted.some((group) => groups.includes(group)) ? [place] : [],
  );
}

/** Whether everybody who approved and one more can sit in different places: a bipartite matching. */
function hasRoom(open: OpenStep, fits: readonly number[]): boolean {
  const seats = [...open.filled.map((one) => one.fits), fits];
  const sitter = new Map<number, number>();
  const seat = (who: number, tried: Set<number>): boolean => {
    for (const place of seats[who] ?? []) {
      if (tried.has(place)) continue;
      tried.add(place);
      const other = sitter.get(place);
      if (other !== undefined && !seat(other, tried)) continue;
      sitter.set(place, who);
      return true;
    }
    return false;
  };
  return seats.every((_, who) => seat(who, new Set()));
}

export interface Candidate {
  readonly human: string;
  readonly groups: readonly string[];
}

/** Why an approval of this human would not count now; undefined = it would. */
export function whyNot(
  workflow: Workflow,
  approvalCase: WorkflowCase,
  candidate: Candidate,
  nowMs: number,
): { readonly rule: 'closed' | 'human' | 'quiet-hours' | 'groups'; readonly reason: string } | undefined {
  const progress = progressOf(workflow, approvalCase, nowMs);
  if (progress.state !== 'open') return { rule: 'closed', reason: `the approvals are ${progress.state}` };
  if (candidate.human === '' || approvalCase.involved.has(candidate.human)) {
    return { rule: 'human', reason: 'authors and requesters do not count as approvers' };
  }
  if (progress.steps.some((step) => step.approvers.includes(candidate.human))) {
    return { rule: 'human', reason: 'one human counts once, over all steps' };
  }
  const { quietHours } = workflow;
  if (quietHours !== undefined && isQuiet(quietHours, nowMs)) {
    const until = quietUntil(quietHours, nowMs);
    const when = until === undefined ? '' : ` until ${new Date(until).toISOString()}`;
    const reason = `no approval counts in quiet hours (${quietHours.from} to ${quietHours.to}, ${quietHours.timeZone})${when}`;
    return { rule: 'quiet-hours', reason };
  }
  const next: StepDecision = { ...candidate, verdict: 'approve', atMs: nowMs };
  const after = progressOf(workflow, { ...approvalCase, decisions: [...approvalCase.decisions, next] }, nowMs);
  if (after.steps.some((step) => step.approvers.includes(candidate.human))) return undefined;
  const at = progress.steps.findIndex((step) => step.state === 'open');
  const open = progress.steps[at];
  const which = progress.steps.length > 1 ? `step ${at + 1} of ${progress.steps.length}` : 'this request';
  return {
    rule: 'groups',
    reason: `${which} is decided by ${open === undefined ? 'others' : decidersText(open, nowMs)}`,
  };
}

/** Groups that may decide an open step now; undefined = whoever holds the duty. */
export function decidersOf({ step, openedAtMs }: StepState, nowMs: number): readonly string[] | undefined {
  const places = placeGroups(step, openedAtMs ?? nowMs, nowMs);
  if (places.includes(undefined)) return undefined;
  return [...new Set(places.flatMap((groups) => groups ?? []))];
}

function decidersText(state: StepState, nowMs: number): string {
  const { allOf = [] } = state.step;
  const deciders = decidersOf(state, nowMs) ?? [];
  if (allOf.length === 0) return `members of ${deciders.join(' or ')}`;
  const each = `one of each of ${allOf.join(', ')}`;
  const taken =
    state.approvers.length === 0 ? '' : `; ${state.approvers.length} of ${placesOf(state.step)} places are taken`;
  const more = deciders.filter((group) => !allOf.includes(group));
  return `${each}${more.length > 0 ? ` (also ${more.join(' or ')})` : ''}${taken}`;
}
