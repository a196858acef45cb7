/** From a stored request to what the duty rules and the workflows ask about it. */
import { CountersignError } from '../errors.ts';
import { sha256Hex } from '../lib/canonical-json.ts';
import type { HumanKeys, HumanSource } from '../identity/humans.ts';
import type { Principal } from '../identity/principal.ts';
import type { DutyRequest } from '../policy/duty.ts';
import type { PolicyConnection } from '../policy/entities.ts';
import type { AuthorRecord, StoreOrTransaction } from '../store/database.ts';
import { jobVersion } from '../store/jobs.ts';
import type { DecisionRecord, RequestRecord } from '../store/requests.ts';
import type { GrantInput } from './digest.ts';
import type { Refusal } from './refusal.ts';
import { workflowFor, type Workflow } from './workflow.ts';

/** The connection as configured now; undefined when there is none of this name. */
export type ConnectionLookup = (name: string) => PolicyConnection | undefined;

export interface RequestSubject {
  readonly input: GrantInput;
  readonly workflow: Workflow;
  readonly duty: DutyRequest;
}

export function connectionOf(lookup: ConnectionLookup, name: string): PolicyConnection {
  const connection = lookup(name);
  if (connection !== undefined) return connection;
  throw new CountersignError('connection_unknown', `there is no connection ${JSON.stringify(name)}`);
}

/**
 * What was asked for, from its digested form: the stored text is used only if it still has the stored digest.
 * @throws CountersignError `grant_void` when it has not.
 */
export function approvedInput(request: RequestRecord): GrantInput {
  if (sha256Hex(request.digestInputJson) !== request.digest) {
    throw new CountersignError('grant_void', `the stored input of request ${request.id} does not have its digest`, {
      hint: 'somebody changed the control store; make a new request and look into how this happened',
    });
  }
  return JSON.parse(request.digestInputJson) as GrantInput;
}

/**
 * Who is who for this request: everybody who wrote, asked for or decided it, and whoever asks now. In the deciding
 * transaction, so that nobody becomes somebody else between the decision and its commit. What two names were when the
 * work was stored, or since, they still are here.
 */
export async function keysOf(
  store: StoreOrTransaction,
  humans: HumanSource,
  request: RequestRecord,
  decisions: readonly DecisionRecord[],
  asker?: Principal,
): Promise<HumanKeys> {
  const authors = allAuthors(request.authors, approvedInput(request));
  const { job, jobVersion: number } = request;
  const version = job === undefined || number === undefined ? undefined : await jobVersion(store, job, number);
  return humans.keysFor(store, {
    names: [
      request.requesterHuman,
      ...authors.map(({ human }) => human),
      ...decisions.map(({ human }) => human),
      ...(asker === undefined ? [] : [asker.human]),
    ],
    accounts: [
      request.requesterId,
      ...authors.flatMap(({ principal }) => principal ?? []),
      ...decisions.map(({ principalId }) => principalId),
    ],
    since: version === undefined || version.pushedAt > request.createdAt ? request.createdAt : version.pushedAt,
  });
}

export function subjectOf(
  request: RequestRecord,
  decisions: readonly DecisionRecord[],
  workflows: readonly Workflow[],
  lookup: ConnectionLookup,
  keys: HumanKeys,
): RequestSubject {
  const input = approvedInput(request);
  const connection = connectionOf(lookup, request.connection);
  const workflow = workflowOf(input, connection, workflows);
  const duty: DutyRequest = {
    id: request.id,
    kind: request.kind,
    title: request.title,
    connection,
    requesterHuman: request.requesterHuman,
    authors: withOwners(request, allAuthors(request.authors, input), keys),
    approverHumans: decisions
      .filter((one) => one.verdict === 'approve')
      .flatMap((one) => [one.human, ...keys.ownersOf(one.principalId)]),
    strict: workflow.strict,
    keyOf: keys.keyOf,
  };
  return { input, workflow, duty };
}

export function workflowOf(input: GrantInput, connection: PolicyConnection, workflows: readonly Workflow[]): Workflow {
  const classes = input.kind === 'job' ? (['read'] as const) : (input.statement?.classes ?? []);
  return workflowFor(workflows, { kind: input.kind, labels: connection.labels, classes });
}

/** The request's authors and those in the digest: both lists count, whichever is longer. */
function allAuthors(stored: readonly AuthorRecord[], input: GrantInput): AuthorRecord[] {
  const seen = new Map<string, AuthorRecord>();
  for (const author of [...stored, ...(input.job?.authors ?? [])]) {
    const key = JSON.stringify([author.human, author.name, author.role]);
    if (!seen.has(key)) seen.set(key, author);
  }
  return [...seen.values()];
}

/** What a service account wrote or asked for counts for whoever has owned it since, too. */
function withOwners(request: RequestRecord, authors: readonly AuthorRecord[], keys: HumanKeys): AuthorRecord[] {
  const asked = { human: request.requesterHuman, name: request.requesterId, role: 'requester' as const };
  const owned = [...authors, { ...asked, principal: request.requesterId }].flatMap((author) =>
    keys
      .ownersOf(author.principal ?? '')
      .filter((human) => keys.keyOf(human) !== keys.keyOf(author.human))
      .map((human) => ({ ...author, human })),
  );
  return [...authors, ...owned];
}

/** Distinct humans who approved and are independent of the request. Counted anew whenever it matters. */
export function independentApprovers(subject: RequestSubject, decisions: readonly DecisionRecord[]): Set<string> {
  const { keyOf, requesterHuman, authors } = subject.duty;
  const involved = new Set(['', keyOf(requesterHuman), ...authors.map((author) => keyOf(author.human))]);
  const humans = new Set<string>();
  for (const decision of decisions) {
    const key = keyOf(decision.human);
    if (decision.verdict === 'approve' && !involved.has(key)) humans.add(key);
  }
  return humans;
}

/** One human, one decision, through whichever account. */
export function secondWord(
  principal: Principal,
  before: readonly DecisionRecord[],
  request: RequestRecord,
  { keyOf }: HumanKeys,
): Refusal | undefined {
  const own = keyOf(principal.human);
  const earlier = before.find((decision) => keyOf(decision.human) === own || decision.principalId === principal.id);
  if (earlier === undefined) return undefined;
  const as = earlier.principalId === principal.id ? '' : ` as ${earlier.principalId}`;
  return {
    code: 'duty_conflict',
    policies: ['countersign/one-decision-each'],
    reason: `${principal.human} already decided on ${request.title}${as}; several approvals mean several humans`,
  };
}

/** A workflow can name who decides. */
export function outsideGroups(principal: Principal, { workflow }: RequestSubject): Refusal | undefined {
  const { groups } = workflow.approvals;
  if (groups === undefined || principal.groups.some((group) => groups.includes(group))) return undefined;
  return {
    code: 'duty_missing',
    policies: ['countersign/workflow-groups'],
    reason: `this request is decided by members of ${groups.join(' or ')}`,
  };
}
