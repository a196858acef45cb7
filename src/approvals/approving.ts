/** What the last approval makes: a grant; for a change of rules one that is used, or void, in the same transaction. */
import type { Transaction } from 'kysely';
import { CountersignError } from '../errors.ts';
import { newId, type Clock } from '../lib/clock.ts';
import type { Database } from '../store/database.ts';
import { endGrant, insertGrant, type GrantEnd, type GrantRecord } from '../store/grants.ts';
import { setReviewDue, type RequestRecord } from '../store/requests.ts';
import type { RecordEvent } from './events.ts';
import type { PolicyInput } from './policy-input.ts';
import type { Opened } from './standing.ts';

export interface RuleChanger {
  /** Inside the transaction of the last approval. Returns why it is not applied, e.g. because other rules are in force now. */
  apply(
    transaction: Transaction<Database>,
    request: RequestRecord,
    input: PolicyInput,
    approvedBy: readonly string[],
  ): Promise<string | undefined>;
  /** After its commit: resolves when the new rules are in force on this node. */
  applied(): Promise<void>;
}

interface ApprovingOptions {
  readonly record: RecordEvent;
  readonly clock: Clock;
  readonly rules?: RuleChanger | undefined;
}

/** @param opened with every decision, the last approval too */
export async function grantFor(
  options: ApprovingOptions,
  transaction: Transaction<Database>,
  { request, subject, decisions }: Opened,
): Promise<GrantRecord> {
  const { record, clock, rules } = options;
  const { input, workflow } = subject;
  const createdAt = new Date(clock.now());
  if (request.breakGlass !== undefined) {
    const reviewDueAt = new Date(createdAt.getTime() + request.breakGlass.reviewWithinMs);
    await setReviewDue(transaction, request.id, reviewDueAt);
  }
  const usableMs = Math.min(
    workflow.grantExpiresMs,
    input.kind === 'policy' ? workflow.grantExpiresMs : input.expiry.durationMs,
  );
  const grant = await insertGrant(transaction, {
    id: newId('grant'),
    requestId: request.id,
    digest: request.digest,
    createdAt,
    expiresAt: new Date(createdAt.getTime() + usableMs),
  });
  const members = { grant: grant.id, request: request.id, digest: grant.digest };
  await record({ type: 'grant.created', ...members, expiresAt: grant.expiresAt.toISOString() });
  if (input.kind !== 'policy') return grant;
  const approvedBy = decisions.filter((one) => one.verdict === 'approve').map((one) => one.human);
  const reason =
    rules === undefined ? 'nothing applies rules here' : await rules.apply(transaction, request, input, approvedBy);
  const end: GrantEnd =
    reason === undefined ? { state: 'consumed', by: 'countersign', at: createdAt } : { state: 'void', reason };
  const ended = await endGrant(transaction, grant.id, end);
  if (ended === undefined) throw new CountersignError('grant_used', `grant ${grant.id} is not open any more`);
  await record({
    type: end.state === 'consumed' ? 'grant.consumed' : 'grant.void',
    ...members,
    state: end.state,
    reason,
  });
  return ended;
}
