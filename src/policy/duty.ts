/**
 * Segregation of duties: who may decide, execute, ask for and withdraw a request (promise P3). Pure. Each rule stands
 * here as code and in `builtin.ts` as a Cedar prohibition; something is allowed only if both say so, and a user's
 * policies can only narrow it further.
 *
 * Humans are compared, never principals: a service account is its owner, a second group or duty changes nothing, and no
 * duty (admin least of all) is an exemption. Not for: how many approvals a request needs (`approvals/workflow.ts`).
 */
import type { EntityJson } from '@cedar-policy/cedar-wasm/nodejs';
import type { ErrorCode } from '../errors.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import type { PolicySet } from './engine.ts';
import {
  connectionEntity,
  connectionUid,
  humanKey,
  principalEntity,
  principalUid,
  type PolicyConnection,
} from './entities.ts';
import type { DutyAction, RequestAction } from './schema.ts';

export interface DutyAuthor {
  readonly human: string;
  readonly name: string;
  readonly role: string;
}

/** What the rules need to know of a request. */
export interface DutyRequest {
  readonly id: string;
  readonly kind: 'job' | 'statement' | 'session' | 'policy';
  /** What is asked for, in words, e.g. `customers-export version 1`. */
  readonly title: string;
  /** None for kind `policy`; duties are then those held on every connection that the change touches. */
  readonly connection: PolicyConnection | undefined;
  /** The human behind the requester. */
  readonly requesterHuman: string;
  /** Everybody who contributed. Never empty: for a statement, its requester. */
  readonly authors: readonly DutyAuthor[];
  /** Humans who approved so far. */
  readonly approverHumans: readonly string[];
  readonly strict: boolean;
  /** Equal exactly when two names are one human; empty = not known. Holds for everybody named here, and for who asks. */
  readonly keyOf: (human: string) => string;
}

export interface DutyVerdict {
  readonly allowed: boolean;
  readonly code: ErrorCode | undefined;
  /** Ids of the policies that decided. */
  readonly policies: readonly string[];
  /** Which rule, and who: `executor authored customers-export version 1 as co-author`. */
  readonly reason: string;
}

interface Asker {
  readonly principal: Principal;
  /** Duties held on the request's connection, as read now. */
  readonly duties: readonly Duty[];
}

interface Conflict {
  readonly code: ErrorCode;
  readonly policy: string;
  readonly reason: string;
}

/** May this principal approve or reject the request? */
export function mayDecide(
  policySet: PolicySet,
  asker: Asker,
  request: DutyRequest,
  verdict: 'approve' | 'reject',
): DutyVerdict {
  return both(policySet, asker, request, verdict, decideConflicts(asker, request, verdict));
}

/** May this principal consume the request's grant? */
export function mayExecute(policySet: PolicySet, asker: Asker, request: DutyRequest): DutyVerdict {
  return both(policySet, asker, request, 'execute', executeConflicts(asker, request));
}

/** May this principal take the request back? */
export function mayWithdraw(policySet: PolicySet, asker: Asker, request: DutyRequest): DutyVerdict {
  const conflicts = [...nobody(asker, request)];
  if (request.keyOf(asker.principal.human) !== request.keyOf(request.requesterHuman)) {
    const reason = `${asker.principal.displayName} did not make this request; only its requester may withdraw it`;
    conflicts.push({ code: 'forbidden', policy: 'countersign/withdraw-needs-requester', reason });
  }
  return both(policySet, asker, request, 'withdraw', conflicts);
}

/** May this principal ask for something of this kind on the connection? */
export function mayRequest(
  policySet: PolicySet,
  asker: Asker,
  kind: DutyRequest['kind'],
  connection: PolicyConnection | undefined,
): DutyVerdict {
  const action = kind === 'job' ? 'request-run' : kind === 'policy' ? 'change-policy' : 'request-statement';
  return mayAct(policySet, asker, action, connection);
}

/** May this principal do this on the connection, or (without one) on the gateway as a whole? */
export function mayAct(
  policySet: PolicySet,
  asker: Asker,
  action: DutyAction,
  connection: PolicyConnection | undefined,
): DutyVerdict {
  const entities = [principalEntity(asker.principal, asker.duties)];
  if (connection !== undefined) entities.push(connectionEntity(connection));
  const answer = policySet.evaluate({
    principal: principalUid(asker.principal),
    action,
    resource: connection === undefined ? { type: 'Gateway', id: 'this' } : connectionUid(connection.name),
    context: {},
    entities,
  });
  if (answer.allowed) return { allowed: true, code: undefined, policies: answer.policies, reason: 'permitted' };
  return {
    allowed: false,
    code: answer.code ?? 'forbidden',
    policies: answer.policies,
    reason: answer.reason ?? `a rule forbids ${action}`,
  };
}

function* nobody({ principal }: Asker, request: DutyRequest): Generator<Conflict> {
  if (request.keyOf(principal.human) !== '') return;
  const reason = `it is not known which human ${principal.displayName} is`;
  yield { code: 'forbidden', policy: 'countersign/nobody', reason };
}

function* unknownAuthor(request: DutyRequest): Generator<Conflict> {
  const unknown = request.authors.find((author) => request.keyOf(author.human) === '');
  const policy = 'countersign/author-unknown';
  if (unknown !== undefined) {
    const reason = `${unknown.name || 'an author'} (${unknown.role}) is not known as a human, so nobody is shown to be independent; let them log in once, or an admin links the name (countersign people link)`;
    yield { code: 'duty_conflict', policy, reason };
  } else if (request.authors.length === 0 || request.keyOf(request.requesterHuman) === '') {
    yield { code: 'duty_conflict', policy, reason: 'it is not known who wrote or asked for this' };
  }
}

function authorshipOf({ principal }: Asker, request: DutyRequest): string | undefined {
  const key = request.keyOf(principal.human);
  const roles = request.authors.filter((author) => request.keyOf(author.human) === key).map((author) => author.role);
  if (roles.length === 0) return undefined;
  return `${who(principal)} authored ${request.title} as ${[...new Set(roles)].join(', ')}`;
}

/** The principal, and its human where that is somebody else: conflicts of service accounts are surprising otherwise. */
function who(principal: Principal): string {
  return principal.kind === 'service' ? `${principal.id} (owned by ${principal.human})` : principal.displayName;
}

function* decideConflicts(asker: Asker, request: DutyRequest, verdict: 'approve' | 'reject'): Generator<Conflict> {
  const { principal, duties } = asker;
  yield* nobody(asker, request);
  const authorship = authorshipOf(asker, request);
  if (authorship !== undefined) {
    const reason = `${authorship}; an author may not ${verdict} it`;
    yield { code: 'duty_conflict', policy: 'countersign/approver-is-author', reason };
  }
  if (request.keyOf(principal.human) === request.keyOf(request.requesterHuman)) {
    const reason = `${who(principal)} asked for ${request.title}; a requester may not ${verdict} it`;
    yield { code: 'duty_conflict', policy: 'countersign/approver-is-requester', reason };
  }
  if (verdict === 'approve') yield* unknownAuthor(request);
  const isGovernor = request.kind === 'policy' && duties.includes('admin');
  if (!duties.includes('approver') && !isGovernor) {
    const needed = request.kind === 'policy' ? 'admin or approver' : 'approver';
    const reason = `deciding a request needs the duty ${needed}, which ${who(principal)} does not hold on ${placeOf(request)}`;
    yield { code: 'duty_missing', policy: 'countersign/approve-needs-approver', reason };
  }
}

function* executeConflicts(asker: Asker, request: DutyRequest): Generator<Conflict> {
  const { principal, duties } = asker;
  const key = request.keyOf(principal.human);
  const isJob = request.kind === 'job';
  if (request.kind === 'policy') {
    const reason = 'a change of rules is applied by the gateway when it is approved; nobody executes it';
    yield { code: 'forbidden', policy: 'countersign/policy-is-applied', reason };
  }
  yield* nobody(asker, request);
  const authorship = authorshipOf(asker, request);
  if (isJob && authorship !== undefined) {
    const reason = `${authorship}; an author may not execute it`;
    yield { code: 'duty_conflict', policy: 'countersign/executor-is-author', reason };
  }
  if (!isJob && key !== request.keyOf(request.requesterHuman)) {
    const reason = `${who(principal)} did not ask for this ${request.kind}; it belongs to whoever did`;
    yield { code: 'duty_conflict', policy: 'countersign/executor-is-not-requester', reason };
  }
  if ((request.strict || !isJob) && request.approverHumans.some((human) => request.keyOf(human) === key)) {
    const reason = `${who(principal)} approved ${request.title}; an approver may not execute it here`;
    yield { code: 'duty_conflict', policy: 'countersign/executor-is-approver', reason };
  }
  yield* unknownAuthor(request);
  const fitting = duties.includes('executor') || (!isJob && duties.includes('designer'));
  if (!fitting) {
    const needed = isJob ? 'executor' : 'designer or executor';
    const reason = `executing ${request.title} needs the duty ${needed}, which ${who(principal)} does not hold on ${placeOf(request)}`;
    const policy = isJob ? 'countersign/execute-needs-executor' : 'countersign/execute-needs-session-duty';
    yield { code: 'duty_missing', policy, reason };
  }
}

function placeOf({ connection }: DutyRequest): string {
  return connection?.name ?? 'every connection that it touches';
}

/** Allowed only if our own rules find no conflict and the policies permit it. */
function both(
  policySet: PolicySet,
  { principal, duties }: Asker,
  request: DutyRequest,
  action: RequestAction,
  found: Iterable<Conflict>,
): DutyVerdict {
  const conflicts = [...found];
  const answer = policySet.evaluate({
    principal: principalUid(principal),
    action,
    resource: { type: 'Request', id: request.id },
    context: {},
    entities: [
      principalEntity(principal, duties),
      ...(request.connection === undefined ? [] : [connectionEntity(request.connection)]),
      requestEntity(request, principal),
    ],
  });
  const first = conflicts[0];
  if (first === undefined) {
    if (answer.allowed) return { allowed: true, code: undefined, policies: answer.policies, reason: 'permitted' };
    const reason = answer.reason ?? `a rule forbids to ${action} ${request.title}`;
    return { allowed: false, code: answer.code ?? 'forbidden', policies: answer.policies, reason };
  }
  const policies = new Set([
    ...conflicts.map((conflict) => conflict.policy),
    ...(answer.allowed ? [] : answer.policies),
  ]);
  return { allowed: false, code: first.code, policies: [...policies], reason: first.reason };
}

/**
 * Policies compare texts, so whoever asks stands under their own name wherever they stand under another one; the other
 * names stay, for policies that name them.
 */
function requestEntity(request: DutyRequest, principal: Principal): EntityJson {
  const own = humanKey(principal.human);
  const key = request.keyOf(principal.human);
  const named = (human: string): string => (request.keyOf(human) === '' ? '' : humanKey(human));
  const humans = (names: readonly string[]): string[] => {
    const isAmong = names.some((human) => request.keyOf(human) === key);
    return [...new Set([...names.map(named), ...(isAmong ? [own] : [])])].toSorted();
  };
  return {
    uid: { type: 'Request', id: request.id },
    attrs: {
      kind: request.kind,
      requester: request.keyOf(request.requesterHuman) === key ? own : named(request.requesterHuman),
      authors: humans(request.authors.map((author) => author.human)),
      approvers: humans(request.approverHumans),
      strict: request.strict,
    },
    parents: request.connection === undefined ? [] : [connectionUid(request.connection.name)],
  };
}
