/**
 * What the approval of a change of rules is bound to: from which rules, to which, and the difference in words. The
 * counterpart of `GrantInput` for requests of kind `policy`.
 */
import type { RuleSet } from '../config/rules-schema.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import { canonicalJson, type Json } from '../lib/canonical-json.ts';
import type { RequestRecord } from '../store/requests.ts';
import { storedInput } from './subject.ts';

export interface PolicyChange {
  readonly part: 'connections' | 'bindings' | 'masking' | 'workflows' | 'policies';
  /** `wider` is also everything of which it cannot be shown that it is not. */
  readonly effect: 'wider' | 'narrower' | 'same';
  /** For people: what is added, removed or changed. */
  readonly what: string;
  /** Why it counts as wider, where that is not obvious. */
  readonly why?: string | undefined;
}

export interface PolicyInput {
  readonly kind: 'policy';
  /** Digests (SHA-256 of the canonical JSON, hex) of the rules that were in force, and of `content`. */
  readonly from: string;
  readonly to: string;
  /** The whole new set of rules. */
  readonly content: RuleSet;
  readonly changes: readonly PolicyChange[];
  /** Names of the connections for which something changes. Who decides has to hold a fitting duty on each. */
  readonly connections: readonly string[];
}

export function policyInputJson(input: PolicyInput): string {
  return canonicalJson(input as unknown as Json);
}

/** The duties that count for a request: those on its connection, or those held on every connection that a change touches. */
export function dutiesFor(
  request: RequestRecord,
  principal: Principal,
  dutiesOn: (principal: Principal, connection: string) => readonly Duty[],
): readonly Duty[] {
  if (request.kind !== 'policy') return dutiesOn(principal, request.connection);
  const input = storedInput(request);
  return input.kind === 'policy' ? dutiesOnAll(principal, input.connections, dutiesOn) : [];
}

export function dutiesOnAll(
  principal: Principal,
  connections: readonly string[],
  dutiesOn: (principal: Principal, connection: string) => readonly Duty[],
): readonly Duty[] {
  const [first, ...others] = connections.map((name) => dutiesOn(principal, name));
  return (first ?? []).filter((duty) => others.every((duties) => duties.includes(duty)));
}
