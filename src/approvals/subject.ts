/** From a stored request to what the duty rules and the workflows ask about it. */
import { CountersignError } from '../errors.ts';
import { sha256Hex } from '../lib/canonical-json.ts';
import type { Principal } from '../identity/principal.ts';
import type { DutyRequest } from '../policy/duty.ts';
import { humanKey, type PolicyConnection } from '../policy/entities.ts';
import type { AuthorRecord } from '../store/database.ts';
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

export function subjectOf(
  request: RequestRecord,
  decisions: readonly DecisionRecord[],
  workflows: readonly Workflow[],
  lookup: ConnectionLookup,
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
    authors: allAuthors(request.authors, input),
    approverHumans: decisions.filter((one) => one.verdict === 'approve').map((one) => one.human),
    strict: workflow.strict,
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
    seen.set(JSON.stringify([author.human, author.name, author.role]), author);
  }
  return [...seen.values()];
}

/** Distinct humans who approved and are independent of the request. Counted anew whenever it matters. */
export function independentApprovers(subject: RequestSubject, decisions: readonly DecisionRecord[]): Set<string> {
  const involved = new Set([
    '',
    humanKey(subject.duty.requesterHuman),
    ...subject.duty.authors.map((author) => humanKey(author.human)),
  ]);
  const humans = new Set<string>();
  for (const decision of decisions) {
    const key = humanKey(decision.human);
    if (decision.verdict === 'approve' && !involved.has(key)) humans.add(key);
  }
  return humans;
}

/** One human, one decision, through whichever account. */
export function secondWord(
  principal: Principal,
  before: readonly DecisionRecord[],
  request: RequestRecord,
): Refusal | undefined {
  const earlier = before.find((decision) => humanKey(decision.human) === humanKey(principal.human));
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
