/**
 * What a request looks like to somebody: its steps, who may decide now, and why this principal may or may not do each
 * thing. The same rules that decide (`refuseDecision` is used by both), so a button that is enabled works.
 */
import type { CountersignError } from '../errors.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import { mayDecide, mayWithdraw } from '../policy/duty.ts';
import { humanKey } from '../policy/entities.ts';
import type { PolicySet } from '../policy/engine.ts';
import { dueAt, type DecisionRecord, type RequestRecord } from '../store/requests.ts';
import { refusalOf, type Refusal } from './refusal.ts';
import { caseOf, outsideGroups, outsideWorkflow, secondWord, type RequestSubject } from './subject.ts';
import { decidersOf, placesOf, progressOf, type Progress } from './workflow.ts';

export interface Asker {
  readonly principal: Principal;
  /** Duties that count for the request, as read now. */
  readonly duties: readonly Duty[];
}

/** A request with everything that a decision on it depends on. */
export interface Opened {
  readonly request: RequestRecord;
  readonly subject: RequestSubject;
  readonly decisions: readonly DecisionRecord[];
}

export interface StepView {
  /** From 1. */
  readonly no: number;
  readonly state: 'done' | 'open' | 'waiting' | 'overdue' | 'skipped';
  readonly needed: number;
  readonly allOf: readonly string[];
  readonly groups: readonly string[] | undefined;
  readonly approvals: readonly { readonly human: string; readonly at: string }[];
  /** Groups that may decide it now, besides holding the duty; undefined = whoever holds it, or not open. */
  readonly deciders: readonly string[] | undefined;
  readonly openedAt: string | undefined;
  readonly dueAt: string | undefined;
  readonly escalatesAt: string | undefined;
}

export type RequestDeed = 'approve' | 'reject' | 'withdraw' | 'breakGlass' | 'review';

/** What one principal may do, and where they may not, why. */
export interface You {
  readonly mayApprove: boolean;
  readonly mayReject: boolean;
  readonly mayWithdraw: boolean;
  readonly mayBreakGlass: boolean;
  readonly mayReview: boolean;
  readonly reasons: { readonly [deed in RequestDeed]?: string };
}

/** Why this decision is not taken; undefined = it is. */
export function refuseDecision(
  policySet: PolicySet,
  asker: Asker,
  verdict: 'approve' | 'reject',
  { request, subject, decisions }: Opened,
  nowMs: number,
): Refusal | undefined {
  return (
    secondWord(asker.principal, decisions, request) ??
    refusalOf(mayDecide(policySet, asker, subject.duty, verdict)) ??
    (verdict === 'approve'
      ? outsideWorkflow(asker.principal, request, subject, decisions, nowMs)
      : outsideGroups(asker.principal, subject))
  );
}

export function progressAt({ request, subject, decisions }: Opened, nowMs: number): Progress {
  return progressOf(subject.workflow, caseOf(request, subject, decisions), nowMs);
}

export function stepViews(opened: Opened, nowMs: number): StepView[] {
  const { request, decisions } = opened;
  const isPending = request.state === 'pending';
  const atMs = isPending ? nowMs : (request.closedAt?.getTime() ?? nowMs);
  const iso = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString());
  return progressAt(opened, atMs).steps.map((step, index) => ({
    no: index + 1,
    state: step.state === 'done' || isPending ? step.state : 'skipped',
    needed: placesOf(step.step),
    allOf: step.step.allOf ?? [],
    groups: step.step.groups,
    approvals: step.approvers.flatMap((key) => {
      const decision = decisions.find((one) => humanKey(one.human) === key);
      return decision === undefined ? [] : [{ human: decision.human, at: decision.decidedAt.toISOString() }];
    }),
    deciders: step.state === 'open' && isPending ? decidersOf(step, nowMs) : undefined,
    openedAt: iso(step.openedAtMs),
    dueAt: iso(step.dueAtMs),
    escalatesAt: iso(step.escalatesAtMs),
  }));
}

/** Why nothing is decided any more. */
function closed({ state, ...request }: RequestRecord, nowMs: number): string | undefined {
  if (state !== 'pending') return `this request is ${state}`;
  return nowMs >= dueAt({ ...request, state }).getTime() ? 'the time of this request is up' : undefined;
}

/**
 * @param more what `BreakGlassService` says about these deeds: a reason, or undefined = allowed
 */
export function explain(
  policySet: PolicySet,
  asker: Asker,
  opened: Opened,
  more: { readonly [deed in 'approve' | 'breakGlass' | 'review']: CountersignError | undefined },
  nowMs: number,
): You {
  const over = closed(opened.request, nowMs);
  const decide = (verdict: 'approve' | 'reject') =>
    over ?? refuseDecision(policySet, asker, verdict, opened, nowMs)?.reason;
  const withdraw = over ?? refusalOf(mayWithdraw(policySet, asker, opened.subject.duty))?.reason;
  const reasons = {
    approve: decide('approve') ?? more.approve?.message,
    reject: decide('reject'),
    withdraw,
    breakGlass: more.breakGlass?.message,
    review: more.review?.message,
  };
  const given = Object.entries(reasons).filter(([, reason]) => reason !== undefined);
  return {
    mayApprove: reasons.approve === undefined,
    mayReject: reasons.reject === undefined,
    mayWithdraw: reasons.withdraw === undefined,
    mayBreakGlass: reasons.breakGlass === undefined,
    mayReview: reasons.review === undefined,
    reasons: Object.fromEntries(given) as You['reasons'],
  };
}
