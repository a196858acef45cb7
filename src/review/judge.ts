/**
 * Did an execution pass an approval? Pure: what the log says of a grant, held against the rules of duties (promises P3,
 * P4) and against the control store. The log decides; a store that says something else is a problem of its own.
 */
export interface LogPlace {
  readonly node: string;
  readonly index: number;
}

export interface GrantEvidence {
  readonly grantId: string;
  readonly created: LogPlace | undefined;
  /** Every time that the log says it; more than one is a problem. */
  readonly consumed: readonly (LogPlace & {
    readonly human: string;
    readonly principal: string;
    readonly digest: string;
  })[];
  readonly request:
    | (LogPlace & {
        readonly id: string;
        readonly kind: string;
        readonly connection: string;
        readonly digest: string;
        readonly requesterHuman: string;
        readonly authors: readonly string[];
      })
    | undefined;
  readonly decisions: readonly (LogPlace & {
    readonly human: string;
    readonly principal: string;
    readonly verdict: string;
    readonly digest: string;
  })[];
  readonly runs: readonly (LogPlace & { readonly id: string })[];
  /** What the control store says; undefined = it knows no such grant. */
  readonly stored:
    | {
        readonly grantState: string;
        readonly grantDigest: string;
        readonly requestId: string;
        readonly requestState: string;
        readonly requestDigest: string;
        readonly approvers: readonly string[];
        readonly runs: readonly string[];
        /** The grant is for one execution: a held statement that is no template. */
        readonly once: boolean;
      }
    | undefined;
}

/** Executions under one grant, by one human, in one node's log. */
export interface JudgedExecutions {
  readonly node: string;
  /** Of the first of them. */
  readonly index: number;
  readonly executions: number;
  readonly grantId: string | undefined;
  readonly requestId: string | undefined;
  readonly runId: string | undefined;
  /** Whose session it was; undefined = the log does not know the session. */
  readonly human: string | undefined;
  readonly connection: string | undefined;
}

export interface ExecutionProblem {
  readonly code:
    | 'no-grant'
    | 'grant-unknown'
    | 'not-consumed'
    | 'consumed-twice'
    | 'request-unknown'
    | 'not-approved'
    | 'rejected'
    | 'not-independent'
    | 'author-executes'
    | 'another-executor'
    | 'another-connection'
    | 'digest-differs'
    | 'run-unknown'
    | 'used-again'
    | 'store-differs';
  readonly message: string;
}

export type KeyOfHuman = (human: string) => string;

/** What speaks against these executions; empty = each passed an approval. */
export function judge(
  executed: JudgedExecutions,
  evidence: GrantEvidence | undefined,
  keyOf: KeyOfHuman,
): readonly ExecutionProblem[] {
  if (executed.grantId === undefined) return [{ code: 'no-grant', message: 'its intent names no grant' }];
  if (evidence?.created === undefined || evidence.grantId !== executed.grantId) {
    return [{ code: 'grant-unknown', message: `the log has no grant ${executed.grantId}` }];
  }
  return [
    ...consumption(executed, evidence, keyOf),
    ...approval(executed, evidence, keyOf),
    ...runOf(executed, evidence),
    ...store(executed, evidence, keyOf),
  ];
}

/** The grant of a loop stays open, and each step is a use of it: its first use is in the log as its consumption. */
function isLoop({ stored, request }: GrantEvidence): boolean {
  return request?.kind === 'statement' && stored?.once === false;
}

/** False where both are in one log and stand the other way round; logs of two nodes have no common order. */
function inOrder(first: LogPlace, second: LogPlace): boolean {
  return first.node !== second.node || first.index < second.index;
}

function* consumption(
  executed: JudgedExecutions,
  evidence: GrantEvidence,
  keyOf: KeyOfHuman,
): Generator<ExecutionProblem> {
  const { consumed, created, request, stored } = evidence;
  const [first, second] = consumed;
  if (first === undefined || !inOrder(first, executed)) {
    yield { code: 'not-consumed', message: 'the log does not say before it that its grant was consumed' };
    return;
  }
  if (created !== undefined && !inOrder(created, first)) {
    yield { code: 'not-consumed', message: 'its grant was consumed before it was made' };
  }
  // A gateway that died between the event and the first use says it once more.
  if (second !== undefined && !isLoop(evidence)) {
    yield { code: 'consumed-twice', message: `its grant was consumed ${consumed.length} times` };
  }
  const executor = keyOf(executed.human ?? '');
  if (executor === '' || executor !== keyOf(first.human)) {
    const who = executed.human ?? 'somebody in an unknown session';
    yield {
      code: 'another-executor',
      message: `the grant was consumed by ${first.human}, and ${who} executed under it`,
    };
  }
  if (request !== undefined && first.digest !== request.digest) {
    yield { code: 'digest-differs', message: 'what was consumed is not what was asked for' };
  }
  if (stored?.once === true && executed.executions > 1) {
    yield { code: 'used-again', message: `${executed.executions} statements ran under a grant for one` };
  }
}

function* approval(
  executed: JudgedExecutions,
  { request, decisions, consumed }: GrantEvidence,
  keyOf: KeyOfHuman,
): Generator<ExecutionProblem> {
  if (request === undefined || (executed.requestId !== undefined && executed.requestId !== request.id)) {
    yield { code: 'request-unknown', message: 'the log does not have the request of its grant' };
    return;
  }
  if (executed.connection !== undefined && executed.connection !== request.connection) {
    const where = `it ran on ${executed.connection}, the request was for ${request.connection}`;
    yield { code: 'another-connection', message: where };
  }
  const authors = [request.requesterHuman, ...request.authors].map(keyOf);
  const [claim] = consumed;
  const before = decisions.filter((one) => inOrder(request, one) && (claim === undefined || inOrder(one, claim)));
  if (before.some((one) => one.verdict === 'reject')) yield { code: 'rejected', message: 'its request was rejected' };
  const approvals = before.filter((one) => one.verdict === 'approve');
  if (approvals.some((one) => one.digest !== request.digest)) {
    yield { code: 'digest-differs', message: 'what was approved is not what was asked for' };
  }
  const independent = approvals.filter((one) => keyOf(one.human) !== '' && !authors.includes(keyOf(one.human)));
  const executor = keyOf(executed.human ?? '');
  if (approvals.length === 0) yield { code: 'not-approved', message: 'nobody approved its request' };
  else if (independent.length === 0) {
    yield { code: 'not-independent', message: 'only its authors or its requester approved it' };
  }
  if (request.kind === 'job' && request.authors.map(keyOf).includes(executor)) {
    yield { code: 'author-executes', message: `${executed.human} is an author of what ran` };
  }
  if (request.kind !== 'job' && independent.length > 0 && independent.every((one) => keyOf(one.human) === executor)) {
    yield { code: 'not-independent', message: `${executed.human} approved what they executed` };
  }
}

function* runOf({ runId }: JudgedExecutions, { runs, request }: GrantEvidence): Generator<ExecutionProblem> {
  if (runId !== undefined && !runs.some((run) => run.id === runId)) {
    yield { code: 'run-unknown', message: `the log does not tie run ${runId} to its grant` };
  }
  if (runId === undefined && request?.kind === 'job') {
    yield { code: 'run-unknown', message: 'a statement of no run ran under the grant of a job' };
  }
}

function* store({ runId }: JudgedExecutions, evidence: GrantEvidence, keyOf: KeyOfHuman): Generator<ExecutionProblem> {
  const { stored, request, decisions } = evidence;
  const differs = (message: string): ExecutionProblem => ({ code: 'store-differs', message });
  if (stored === undefined) {
    yield differs('the control store does not have its grant');
    return;
  }
  if (stored.grantState !== 'consumed' && !isLoop(evidence))
    yield differs(`its grant is ${stored.grantState} in the control store`);
  if (stored.requestState !== 'approved') yield differs(`its request is ${stored.requestState} in the control store`);
  if (request === undefined) return;
  if (stored.requestId !== request.id) yield differs('the control store ties its grant to another request');
  if (stored.grantDigest !== request.digest || stored.requestDigest !== request.digest) {
    yield differs('the control store has another digest of what was approved');
  }
  const logged = decisions.filter((one) => one.verdict === 'approve').map((one) => keyOf(one.human));
  const kept = stored.approvers.map(keyOf);
  if (logged.some((human) => !kept.includes(human)) || kept.some((human) => !logged.includes(human))) {
    yield differs('the control store has other approvals than the log');
  }
  if (runId !== undefined && !stored.runs.includes(runId)) yield differs('the control store does not have its run');
}
