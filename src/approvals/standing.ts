/** How somebody stands towards a request: what they may do with it now, and for everything else the reason in words. */
import type { ErrorCode } from '../errors.ts';
import type { HumanKeys } from '../identity/humans.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import { mayDecide, mayWithdraw } from '../policy/duty.ts';
import type { PolicySet } from '../policy/engine.ts';
import type { DecisionRecord, RequestRecord } from '../store/requests.ts';
import { refusalOf, type Refusal } from './refusal.ts';
import { outsideGroups, secondWord, type RequestSubject } from './subject.ts';

export interface Asker {
  readonly principal: Principal;
  /** Duties on the request's connection, as read now. */
  readonly duties: readonly Duty[];
}

export type StandingAction = 'approve' | 'reject' | 'withdraw';

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

interface Parts {
  readonly policySet: PolicySet;
  readonly request: RequestRecord;
  readonly decisions: readonly DecisionRecord[];
  readonly subject: RequestSubject;
  readonly keys: HumanKeys;
  readonly asker: Asker;
}

export function standingOf(parts: Parts): Standing {
  const { policySet, request, decisions, subject, keys, asker } = parts;
  const closed: Refusal | undefined =
    request.state === 'pending'
      ? undefined
      : { code: 'request_not_pending', policies: [], reason: `this request is ${request.state}` };
  const deciding = (verdict: 'approve' | 'reject') =>
    closed ??
    secondWord(asker.principal, decisions, request, keys) ??
    refusalOf(mayDecide(policySet, asker, subject.duty, verdict)) ??
    outsideGroups(asker.principal, subject);
  const refusals: Record<StandingAction, Refusal | undefined> = {
    approve: deciding('approve'),
    reject: deciding('reject'),
    withdraw: closed ?? refusalOf(mayWithdraw(policySet, asker, subject.duty)),
  };
  const actions = Object.entries(refusals) as [StandingAction, Refusal | undefined][];
  return {
    may: actions.flatMap(([action, refusal]) => (refusal === undefined ? [action] : [])),
    reasons: actions.flatMap(([action, refusal]) =>
      refusal === undefined ? [] : [{ action, code: refusal.code, reason: refusal.reason }],
    ),
  };
}
