/**
 * How somebody stands towards a request: what they may do with it now, and for everything else the reason in words; and
 * how the request itself stands, step by step. The rules that decide are the ones that explain, so what is offered works.
 */
import type { CountersignError, ErrorCode } from '../errors.ts';
import type { HumanKeys } from '../identity/humans.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import { mayDecide, mayWithdraw } from '../policy/duty.ts';
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
  readonly keys: HumanKeys;
}

export type StandingAction = 'approve' | 'reject' | 'withdraw' | 'break-glass' | 'review';

export interface StandingReason {
  readonly action: StandingAction;
  readonly code: ErrorCode;
  readonly reason: string;
}

export interface Standing {
  /** What may be done now. */
  readonly may: readonly StandingAction[];
  /** Why everything else may not; one for each action. */
  readonly reasons: readonly StandingReason[];
}

export interface StepView {
  /** From 1. */
  readonly no: number;
  readonly state: 'done' | 'open' | 'waiting' | 'overdue' | 'skipped';
  readonly needed: number;
  readonly allOf: readonly string[];
  readonly groups: readonly string[] | undefined;
  readonly approvals: readonly { readonly human: string; readonly at: string }[];
  /** Groups that may decide it now, besides holding the duty; undefined = whoever holds it, or it is not open. */
  readonly deciders: readonly string[] | undefined;
  readonly openedAt: string | undefined;
  readonly dueAt: string | undefined;
  readonly escalatesAt: string | undefined;
}

/** Why this decision is not taken; undefined = it is. The asker is one of those whom `keys` knows. */
export function refuseDecision(
  policySet: PolicySet,
  asker: Asker,
  verdict: 'approve' | 'reject',
  { request, subject, decisions, keys }: Opened,
  nowMs: number,
): Refusal | undefined {
  return (
    secondWord(asker.principal, decisions, request, keys) ??
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
  const { request, decisions, keys } = opened;
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
      const decision = decisions.find((one) => keys.keyOf(one.human) === key);
      return decision === undefined ? [] : [{ human: decision.human, at: decision.decidedAt.toISOString() }];
    }),
    deciders: step.state === 'open' && isPending ? decidersOf(step, nowMs) : undefined,
    openedAt: iso(step.openedAtMs),
    dueAt: iso(step.dueAtMs),
    escalatesAt: iso(step.escalatesAtMs),
  }));
}

/** @param more what `BreakGlassService` says: of an approval under break-glass, and of the two actions that are its own */
export function standingOf(
  policySet: PolicySet,
  asker: Asker,
  opened: Opened,
  more: { readonly [action in 'approve' | 'break-glass' | 'review']: CountersignError | undefined },
  nowMs: number,
): Standing {
  const { request, subject } = opened;
  const over =
    request.state === 'pending' ? (nowMs >= dueAt(request).getTime() ? 'expired' : undefined) : request.state;
  const closed: Refusal | undefined =
    over === undefined ? undefined : { code: 'request_not_pending', policies: [], reason: `this request is ${over}` };
  const said = (error: CountersignError | undefined): Refusal | undefined =>
    error && { code: error.code, policies: [], reason: error.message };
  const refusals: Record<StandingAction, Refusal | undefined> = {
    approve: closed ?? refuseDecision(policySet, asker, 'approve', opened, nowMs) ?? said(more.approve),
    reject: closed ?? refuseDecision(policySet, asker, 'reject', opened, nowMs),
    withdraw: closed ?? refusalOf(mayWithdraw(policySet, asker, subject.duty)),
    'break-glass': said(more['break-glass']),
    review: said(more.review),
  };
  const actions = Object.entries(refusals) as [StandingAction, Refusal | undefined][];
  return {
    may: actions.flatMap(([action, refusal]) => (refusal === undefined ? [action] : [])),
    reasons: actions.flatMap(([action, refusal]) =>
      refusal === undefined ? [] : [{ action, code: refusal.code, reason: refusal.reason }],
    ),
  };
}
