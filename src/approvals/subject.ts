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
import type { PolicyInput } from './policy-input.ts';
import type { Refusal } from './refusal.ts';
import {
  decidingGroups,
  underBreakGlass,
  whyNot,
  workflowFor,
  type RequestTraits,
  type StepDecision,
  type Workflow,
  type WorkflowCase,
} from './workflow.ts';

/** The connection as configured now; undefined when there is none of this name. */
export type ConnectionLookup = (name: string) => PolicyConnection | undefined;

export interface RequestSubject {
  readonly input: GrantInput | PolicyInput;
  /** As it counts for this request: under break-glass it asks for less before, and for a review afterwards. */
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
export function storedInput(request: RequestRecord): GrantInput | PolicyInput {
  if (sha256Hex(request.digestInputJson) !== request.digest) {
    throw new CountersignError('grant_void', `the stored input of request ${request.id} does not have its digest`, {
      hint: 'somebody changed the control store; make a new request and look into how this happened',
    });
  }
  return JSON.parse(request.digestInputJson) as GrantInput | PolicyInput;
}

/** Names of the connections that a change of the rules touches; undefined for every other kind. @throws as `storedInput` */
export function touchedBy(request: RequestRecord): string[] | undefined {
  if (request.kind !== 'policy') return undefined;
  const input = storedInput(request);
  return input.kind === 'policy' ? [...input.connections] : [];
}

/** The same for what runs. @throws CountersignError `grant_missing` for kind `policy`, which nobody executes */
export function approvedInput(request: RequestRecord): GrantInput {
  const input = storedInput(request);
  if (input.kind !== 'policy') return input;
  throw new CountersignError('grant_missing', `request ${request.id} changes rules; there is nothing to execute`);
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
  others: readonly string[] = [],
): Promise<HumanKeys> {
  const authors = allAuthors(request.authors, storedInput(request));
  const { job, jobVersion: number } = request;
  const version = job === undefined || number === undefined ? undefined : await jobVersion(store, job, number);
  return humans.keysFor(store, {
    names: [
      request.requesterHuman,
      ...authors.map(({ human }) => human),
      ...decisions.map(({ human }) => human),
      ...(asker === undefined ? [] : [asker.human]),
      ...others,
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
  const input = storedInput(request);
  const connection = input.kind === 'policy' ? undefined : connectionOf(lookup, request.connection);
  const matching = workflowOf(input, connection, workflows, traitsOf(request));
  const workflow = request.breakGlass === undefined ? matching : underBreakGlass(matching, request.breakGlass);
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

/** The groups that decide on a request somewhere in its workflow; undefined = every approver may. */
export function decidersOf(
  request: RequestRecord,
  connection: PolicyConnection | undefined,
  workflows: readonly Workflow[],
): readonly string[] | undefined {
  return decidingGroups(workflowOf(storedInput(request), connection, workflows, traitsOf(request)));
}

/** @param connection undefined for kind `policy`: a workflow that asks for labels does not match it */
export function workflowOf(
  input: GrantInput | PolicyInput,
  connection: PolicyConnection | undefined,
  workflows: readonly Workflow[],
  traits: RequestTraits | undefined,
): Workflow {
  const labels = connection?.labels ?? {};
  if (input.kind === 'policy') return workflowFor(workflows, { kind: 'policy', labels, classes: [], traits });
  const classes = input.kind === 'job' ? (['read'] as const) : (input.statement?.classes ?? []);
  const relations =
    classes.length === 0 || classes.includes('unknown') ? undefined : input.definitions.map(({ name }) => name);
  return workflowFor(workflows, { kind: input.kind, labels, classes, relations, traits });
}

/** What was known of the size and the sensitivity when it was asked for. */
function traitsOf({ evidence }: RequestRecord): RequestTraits | undefined {
  return (evidence as { readonly traits?: RequestTraits }).traits;
}

/** The request's authors and those in the digest: both lists count, whichever is longer. */
function allAuthors(stored: readonly AuthorRecord[], input: GrantInput | PolicyInput): AuthorRecord[] {
  const seen = new Map<string, AuthorRecord>();
  for (const author of [...stored, ...(input.kind === 'policy' ? [] : (input.job?.authors ?? []))]) {
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

/** What the workflow is told: humans as keys, and only what counts for it. */
export function caseOf(
  request: RequestRecord,
  subject: RequestSubject,
  decisions: readonly DecisionRecord[],
): WorkflowCase {
  const { keyOf, requesterHuman, authors } = subject.duty;
  // Who approved before break-glass was asked for did not know that fewer others would look.
  const openedAtMs = request.breakGlass === undefined ? request.createdAt.getTime() : Date.parse(request.breakGlass.at);
  const said = decisions.map(
    ({ human, groups, verdict, decidedAt }): StepDecision => ({
      human: keyOf(human),
      groups,
      verdict,
      atMs: decidedAt.getTime(),
    }),
  );
  return {
    openedAtMs,
    decisions: said.filter(({ verdict, atMs }) => verdict === 'reject' || atMs >= openedAtMs),
    involved: new Set(['', keyOf(requesterHuman), ...authors.map((author) => keyOf(author.human))]),
  };
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

/** Why the workflow does not let this principal's approval count now. */
export function outsideWorkflow(
  principal: Principal,
  request: RequestRecord,
  subject: RequestSubject,
  decisions: readonly DecisionRecord[],
  nowMs: number,
): Refusal | undefined {
  const candidate = { human: subject.duty.keyOf(principal.human), groups: principal.groups };
  const found = whyNot(subject.workflow, caseOf(request, subject, decisions), candidate, nowMs);
  if (found === undefined) return undefined;
  const { rule, reason } = found;
  const codes = {
    closed: 'request_not_pending',
    human: 'duty_conflict',
    'quiet-hours': 'quiet_hours',
    groups: 'duty_missing',
  } as const;
  return { code: codes[rule], policies: [`countersign/workflow-${rule}`], reason };
}

/** A rejection needs somebody who may decide some step, now or later. */
export function outsideGroups(principal: Principal, { workflow }: RequestSubject): Refusal | undefined {
  const groups = decidingGroups(workflow);
  if (groups === undefined) return undefined;
  if (principal.groups.some((group) => groups.includes(group))) return undefined;
  return {
    code: 'duty_missing',
    policies: ['countersign/workflow-groups'],
    reason: `this request is decided by members of ${groups.join(' or ')}`,
  };
}
