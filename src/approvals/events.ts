/** What approvals put into the log. Whoever records adds time and node, and resolves only when the entry is durable. */
import type { Json } from '../lib/canonical-json.ts';
import type { Principal } from '../identity/principal.ts';

export type ApprovalEventType =
  | 'request.created'
  | 'request.decided'
  | 'request.refused' // somebody may not ask for, decide on or withdraw a request
  | 'request.closed'
  | 'request.escalated' // a step waited too long: further groups may decide, or are told
  | 'request.break-glass'
  | 'request.reviewed'
  | 'request.review-late' // the time of a break-glass review is up, and reviews are missing
  | 'policy.applied'
  | 'policy.refused'
  | 'grant.created'
  | 'grant.consumed'
  | 'grant.void' // drift, revocation, or its time is up (state `expired`)
  | 'grant.reconciled' // a use was recorded by a process that died before it took effect
  | 'grant.refused';

export interface ApprovalEvent {
  readonly type: ApprovalEventType;
  readonly [member: string]: Json | undefined;
}

/** Rejects when the log cannot be written; then the change that the event tells of does not happen (P5). */
export type RecordEvent = (event: ApprovalEvent) => Promise<void>;

/** The members that name who did it. */
export function actor(principal: Pick<Principal, 'id' | 'human'>): { principal: string; human: string } {
  return { principal: principal.id, human: principal.human };
}
