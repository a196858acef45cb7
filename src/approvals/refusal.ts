/** Refusals of this folder: one shape for the log and for the person who is refused. */
import { CountersignError, type ErrorCode } from '../errors.ts';
import type { Json } from '../lib/canonical-json.ts';
import type { DutyVerdict } from '../policy/duty.ts';

export interface Refusal {
  readonly code: ErrorCode;
  /** Ids of the rules. */
  readonly policies: readonly string[];
  readonly reason: string;
  readonly hint?: string | undefined;
}

/** undefined = not refused. */
export function refusalOf(verdict: DutyVerdict): Refusal | undefined {
  if (verdict.allowed) return undefined;
  return { code: verdict.code ?? 'forbidden', policies: verdict.policies, reason: verdict.reason };
}

export function refusalError(refusal: Refusal): CountersignError {
  const detail = refusal.policies.length === 0 ? undefined : `rule: ${refusal.policies.join(', ')}`;
  return new CountersignError(refusal.code, refusal.reason, { hint: refusal.hint, detail });
}

/** What an event says about it. */
export function refusalMembers({ code, policies, reason }: Refusal): { [member: string]: Json } {
  return { code, policies, reason };
}

export function unknownRequest(requestId: string): CountersignError {
  return new CountersignError('request_unknown', `there is no request ${JSON.stringify(requestId)}`);
}
