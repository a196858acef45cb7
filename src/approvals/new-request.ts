/** The ask: what a new request says, and what it must say. */
import { sql, type Transaction } from 'kysely';
import { CountersignError } from '../errors.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import type { AuthorRecord, Database } from '../store/database.ts';
import { countPending, type RequestRecord } from '../store/requests.ts';
import type { GrantInput } from './digest.ts';
import { actor, type ApprovalEvent } from './events.ts';
import type { PolicyInput } from './policy-input.ts';
import { touchedBy } from './subject.ts';
import type { RequestTraits } from './workflow.ts';

export interface NewRequest {
  readonly requester: Principal;
  /** Duties that the requester holds on the connection now. */
  readonly duties: readonly Duty[];
  readonly connection: string;
  /** For people, e.g. `customers-export version 1`. Holds no masked value. */
  readonly title: string;
  /** What will run; its kind is the request's kind. For a job its authors are the request's authors. */
  readonly input: GrantInput | PolicyInput;
  /** For kind `job`: the stored version that `input.job` describes. */
  readonly jobVersion?: number | undefined;
  /** For kind `statement` and `session`: the session that waits, the only one that can use the grant. */
  readonly sessionId?: string | undefined;
  /** Plan, masked sample, lineage: what the approver sees beside the digest. Masked. */
  readonly evidence?: object | undefined;
  /** By which a workflow may be chosen; what is not known counts as the most dangerous. */
  readonly traits?: RequestTraits | undefined;
  /** Shortens the workflow's waiting time, never lengthens it. */
  readonly expiresMs?: number | undefined;
}

/** An entry of the log has an end; of more connections the request itself tells. */
const maxLoggedConnections = 500;

/** Whose work it is. @throws input_invalid when the ask does not fit its kind */
export function authorsOf({ input, requester, jobVersion, sessionId }: NewRequest): readonly AuthorRecord[] {
  const { id, human, displayName, kind: as } = requester;
  const asRequester: AuthorRecord = {
    human,
    name: displayName,
    role: 'requester',
    ...(as === 'service' ? { principal: id } : {}),
  };
  if (input.kind === 'policy') return [asRequester];
  const { job, statement, kind } = input;
  if (kind === 'job') {
    if (job === undefined || jobVersion === undefined) {
      throw new CountersignError('input_invalid', 'a job request names a job and its version');
    }
    if (job.authors.length === 0) throw new CountersignError('input_invalid', 'a job version has at least one author');
    return job.authors;
  }
  if (job !== undefined || jobVersion !== undefined || (kind === 'statement') !== (statement !== undefined)) {
    throw new CountersignError('input_invalid', `a ${kind} request holds what its kind says, and nothing else`);
  }
  if (sessionId === undefined) {
    throw new CountersignError('input_invalid', `a ${kind} request names the session that waits for it`);
  }
  return [asRequester];
}

/** Counts under a lock of this human, so that parallel sessions cannot each see the last free place. */
export async function limitHolds(
  transaction: Transaction<Database>,
  human: string,
  now: Date,
  limit: number,
): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`countersign holds ${human}`}, 0))`.execute(transaction);
  if ((await countPending(transaction, human, 'statement', now)) < limit) return;
  throw new CountersignError('too_many_holds', `${limit} of your statements already wait for a decision`, {
    hint: 'wait for a decision, or withdraw one of them',
  });
}

export function createdEvent(request: RequestRecord, requester: Pick<Principal, 'id' | 'human'>): ApprovalEvent {
  const touched = touchedBy(request);
  return {
    type: 'request.created',
    request: request.id,
    kind: request.kind,
    connection: request.connection,
    connections: touched === undefined || touched.length > maxLoggedConnections ? undefined : touched,
    digest: request.digest,
    job: request.job,
    jobVersion: request.jobVersion,
    session: request.sessionId,
    authors: request.authors.map(({ human, name, role }) => ({ human, name, role })),
    expiresAt: request.expiresAt.toISOString(),
    ...actor(requester),
  };
}
