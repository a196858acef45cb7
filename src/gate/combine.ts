/** From the decisions on the statements of one text to one verdict, and what the gate refuses whatever the policies say. */
import type { CountersignError, ErrorCode } from '../errors.ts';
import type { Decision } from '../policy/statement.ts';
import type { PreparedUse, StatementFacts } from '../sql/statement.ts';
import type { AdmittedStatement, Admission, Verdict } from './admission.ts';
import type { CatalogueSnapshot } from './connection.ts';
import { sumByRule, type EqualityTests } from './masked-predicates.ts';

export interface OneDecision {
  readonly decision: Decision;
  readonly sampleRows: number;
  readonly beyondBudget: Decision | undefined;
  /** Comparisons of masked columns with constants. */
  readonly equalityTests?: readonly EqualityTests[];
}

/** A denial of what cannot be read, or is not there, says so as a server would. */
export function inWordsOfTheServer(decision: Decision, { fault }: StatementFacts): Decision {
  if (fault === undefined || decision.verdict !== 'deny' || decision.code !== 'statement_unknown') return decision;
  const { kind, message: reason } = fault;
  if (kind === 'syntax') return { ...decision, code: 'syntax_error', reason, hint: undefined };
  if (kind === 'prepared-statement') {
    const hint = 'PREPARE it in this session, in a text or batch before the one with EXECUTE';
    return { ...decision, code: 'prepared_statement_unknown', reason, hint };
  }
  const hint = 'what was made in the last seconds, or in a transaction that has not committed, is not known yet';
  return { ...decision, code: 'relation_unknown', reason, hint };
}

export function refused({ code, message, hint }: CountersignError, policy: string): OneDecision {
  return refusal(code, policy, message.replace('countersign: ', ''), hint);
}

/** What the gate cannot let through whatever the policies say. */
export function refusal(code: ErrorCode, policy: string, reason: string, hint: string | undefined): OneDecision {
  return {
    decision: { verdict: 'deny', policies: [policy], code, reason, hint },
    sampleRows: 0,
    beyondBudget: undefined,
  };
}

/** The target is asked about the columns of a COPY before the whole text is sent. */
export const copyAmongOthers = refusal(
  'copy_refused',
  'countersign/copy-out',
  'COPY TO cannot be masked among other statements',
  'send it as a text of its own',
);

/** What a FETCH returns is known when the target has answered the DECLARE. */
export const fetchAmongOthers = refusal(
  'feature_refused',
  'countersign/cursor',
  'FETCH cannot be masked among other statements',
  'send it as a text of its own',
);

/** What its name means is known when the target has answered the statement that changes it. */
export const temporaryAmongOthers = refusal(
  'feature_refused',
  'countersign/temporary',
  'a temporary table cannot be followed behind a statement of the same text that may drop it',
  'send it as a text of its own',
);

export function temporaryUnderRule(column: string): OneDecision {
  const reason = `column ${column} of a temporary table has the name of a masked column, and would not be masked`;
  return refusal('feature_refused', 'countersign/temporary', reason, 'give it another name');
}

/**
 * PREPARE is decided as its statement, and returns no rows. What would be held is refused, at PREPARE and at EXECUTE: an
 * approver decides on a text that says itself what it does.
 */
export function withoutHold(one: OneDecision, { action }: PreparedUse): OneDecision {
  if (action !== 'prepare' && action !== 'execute') return one;
  const { decision, beyondBudget } = one;
  return {
    decision: decision.verdict === 'hold' ? unheld(decision, action) : decision,
    sampleRows: action === 'prepare' ? 0 : one.sampleRows,
    equalityTests: action === 'prepare' ? [] : (one.equalityTests ?? []),
    beyondBudget: beyondBudget?.verdict === 'hold' ? unheld(beyondBudget, action) : beyondBudget,
  };
}

function unheld({ reason, policies }: Decision, action: 'prepare' | 'execute'): Decision {
  const hint = `send the statement itself, without ${action.toUpperCase()}: it then waits for an approver`;
  return { verdict: 'deny', policies, code: 'feature_refused', reason, hint };
}

/** By the time of an approval, something may be masked. */
const unapprovable: Decision = {
  verdict: 'deny',
  policies: ['countersign/unknown'],
  code: 'statement_unknown',
  reason: 'one statement needs an approval, and beside it stands one that the gateway does not understand',
  hint: 'send them one by one',
};

/** Several statements in one text stand or fall together: the strictest verdict counts for all. */
export function combine(
  all: readonly OneDecision[],
  statements: readonly AdmittedStatement[],
  snapshot: CatalogueSnapshot,
  isDesigner: boolean,
): Admission {
  const asUnknown = all.some(({ decision }) => decision.asUnknown === true && decision.verdict !== 'deny');
  const strict = strictest(all.map((one) => one.decision));
  const within = asUnknown && strict.verdict === 'hold' ? unapprovable : strict;
  const sampleRows = all.reduce((sum, one) => sum + one.sampleRows, 0);
  const equalityTests = sumByRule(all.flatMap((one) => one.equalityTests ?? []));
  const admission = (decision: Decision, rows: number, beyondBudget: Admission | undefined): Admission => ({
    verdict: decision.verdict,
    statements,
    policies: decision.policies,
    code: decision.code ?? 'statement_denied',
    reason: decision.reason,
    hint: decision.hint,
    sampleRows: rows,
    equalityTests,
    beyondBudget,
    snapshot,
    asUnknown,
    sessionState: undefined,
  });
  if (within.verdict !== 'allow' || sampleRows === 0) return admission(within, 0, undefined);
  const beyond = strictest(all.map((one) => one.beyondBudget ?? one.decision));
  const safeBeyond = asUnknown && beyond.verdict === 'hold' ? unapprovable : beyond;
  const said = isDesigner && safeBeyond.verdict === 'hold' ? `${safeBeyond.reason}; ${wayToAJob}` : safeBeyond.reason;
  return admission(within, sampleRows, admission({ ...safeBeyond, reason: said }, 0, undefined));
}

const wayToAJob = 'what is more than a sample is a chunk job: countersign jobs push';

const rank: Record<Verdict, number> = { allow: 0, hold: 1, deny: 2 };

function strictest(decisions: readonly Decision[]): Decision {
  let result = decisions[0];
  if (result === undefined) throw new Error('a text has at least one statement, if only an empty one');
  const policies = new Set<string>();
  for (const decision of decisions) {
    if (rank[decision.verdict] > rank[result.verdict]) result = decision;
    for (const policy of decision.policies) policies.add(policy);
  }
  return { ...result, policies: result.verdict === 'allow' ? [...policies] : result.policies };
}
