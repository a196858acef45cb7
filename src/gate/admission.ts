/**
 * Decide: from a statement's text to a verdict, with everything that the way back needs to mask its results.
 * A verdict is kept with the catalogue snapshot and the policies it was made from; a statement whose facts do not
 * depend on its integer constants shares the verdict of its template.
 */
import { CountersignError, type ErrorCode } from '../errors.ts';
import { decideStatement, type Decision, type StatementQuestion } from '../policy/statement.ts';
import type { PolicySet } from '../policy/engine.ts';
import { analyse } from '../sql/analyse.ts';
import { PagingWatch, pagingWords, type PagingLoop } from '../sql/paging.ts';
import type { Catalogue, StatementFacts } from '../sql/statement.ts';
import { isTemporary, temporarySchema } from '../sql/temporary.ts';
import { templateKey } from '../sql/template-key.ts';
import {
  combine,
  copyAmongOthers,
  fetchAmongOthers,
  inWordsOfTheServer,
  refusal,
  refused,
  temporaryAmongOthers,
  temporaryUnderRule,
  withoutHold,
  type OneDecision,
} from './combine.ts';
import type { CatalogueSnapshot, GateConnection } from './connection.ts';
import type { SessionIdentity } from './control-plane.ts';
import { maskedPredicatesOf, type EqualityTests } from './masked-predicates.ts';
import { ResultPlan } from './result-plan.ts';
import { shadowed, shadowedRelation, SqlStatements } from './sql-statements.ts';
import { changesTemporary, TemporaryTables } from './temporary-tables.ts';

export type Verdict = 'allow' | 'hold' | 'deny';

/** One statement of the text. */
export interface AdmittedStatement {
  readonly facts: StatementFacts;
  readonly touchesMasked: boolean;
  readonly results: ResultPlan;
}

export interface Admission {
  readonly verdict: Verdict;
  readonly statements: readonly AdmittedStatement[];
  /** Ids of the policies that decided. */
  readonly policies: readonly string[];
  readonly code: ErrorCode;
  readonly reason: string;
  readonly hint: string | undefined;
  /** Rows to take from the sampling budget before each execution; 0 = the verdict needs no budget. */
  readonly sampleRows: number;
  /** Comparisons of masked columns to take from their budget before each execution. */
  readonly equalityTests: readonly EqualityTests[];
  /** What holds when the budget is used up. */
  readonly beyondBudget: Admission | undefined;
  readonly snapshot: CatalogueSnapshot;
  /** A statement in it was admitted without being understood. */
  readonly asUnknown: boolean;
  /** What the session's own state was (`Admissions.sessionState`), where the verdict depends on it. */
  readonly sessionState: number | undefined;
}

const maxCachedAdmissions = 4_000;
/** Longer texts are hardly ever sent twice, and thousands of them would fill the memory. */
const maxCachedLength = 8 * 1024;

interface KeptCache {
  readonly snapshot: CatalogueSnapshot;
  readonly policies: PolicySet;
  readonly cache: Map<string, Admission>;
}

export interface AdmissionsOptions {
  readonly connection: GateConnection;
  readonly identity: SessionIdentity;
  readonly policies: () => PolicySet;
  readonly maxStatementBytes: number;
  readonly sampleRowsPerHour: number;
}

export class Admissions {
  readonly sqlStatements = new SqlStatements();
  readonly temporary = new TemporaryTables();
  readonly #options: AdmissionsOptions;
  readonly #cacheKey: string;
  #lastCache: KeptCache | undefined;
  #ownCache: (KeptCache & { readonly changes: number }) | undefined;
  /** Something that nobody understands may have run: names may mean what we do not think. */
  #ranUnknown = false;
  #onUncertain: (() => void) | undefined;
  #stopWaiting: (() => void) | undefined;
  readonly #watch = new PagingWatch();
  readonly #ofLoops = new WeakMap<Admission, Admission>();
  #seen: { readonly text: string; readonly loop: PagingLoop | undefined } | undefined;

  constructor(options: AdmissionsOptions) {
    this.#options = options;
    const { principal, duties, duty } = options.identity;
    this.#cacheKey = JSON.stringify([principal.id, principal.human, principal.kind, principal.groups, duties, duty]);
  }

  get connection(): GateConnection {
    return this.#options.connection;
  }

  /** Another number each time when what the session has made at the target changes. */
  get sessionState(): number {
    return this.sqlStatements.changes + this.temporary.changes;
  }

  /** Whether a verdict was made from what the session has made at the target, and that has changed. */
  isOutdated({ sessionState }: Admission): boolean {
    return sessionState !== undefined && sessionState !== this.sessionState;
  }

  /** The verdict if it is known and everything that it was made from still holds. */
  cached(text: string): Admission | undefined {
    const snapshot = this.#options.connection.fresh();
    if (snapshot === undefined) return undefined;
    if (this.#isUncertain(snapshot)) return undefined;
    const cache = this.#cacheOf(snapshot);
    const admission = cache.get(templateKey(text)) ?? cache.get(text);
    if (admission?.asUnknown === true) this.#runsUnknown();
    return admission && this.#approvable(this.#watched(text, admission));
  }

  async admit(text: string): Promise<Admission> {
    const { connection } = this.#options;
    let snapshot = connection.fresh() ?? (await connection.refresh());
    let admission = this.#decide(text, snapshot);
    // A name that we do not know may be younger than our picture: look once more before refusing. Nor may something that
    // is masked be younger, where a rule waits for it.
    const { hasColumnRules } = connection.masking;
    const unknown = admission.statements.some((statement) => statement.facts.unknowns.length > 0);
    if ((unknown && admission.verdict === 'deny') || (admission.asUnknown && hasColumnRules)) {
      const newer = await connection.refresh();
      if (newer !== snapshot) {
        snapshot = newer;
        admission = this.#decide(text, snapshot);
      }
    }
    // Others share what is kept, and this verdict is about this session.
    if (this.#isUncertain(snapshot)) return admission;
    if (admission.asUnknown) this.#runsUnknown();
    if (admission.asUnknown && hasColumnRules) return admission;
    const certain = () => this.#approvable(this.#watched(text, admission));
    if (dependsOnPrepared(admission) || text.length > maxCachedLength) return certain();
    const cache = this.#cacheOf(snapshot);
    if (cache.size >= maxCachedAdmissions) cache.clear();
    const shared = admission.statements.every((statement) => statement.facts.constantFree);
    cache.set(shared ? templateKey(text) : text, admission);
    return certain();
  }

  /** An approver sees what names mean on the connection. What they mean where something unknown ran, nobody knows. */
  #approvable(admission: Admission): Admission {
    if (!this.#ranUnknown) return admission;
    const strict = admission.verdict === 'hold' ? { ...admission, ...unheldHere } : admission;
    const { beyondBudget } = strict;
    return beyondBudget?.verdict === 'hold' ? { ...strict, beyondBudget: { ...beyondBudget, ...unheldHere } } : strict;
  }

  /** The verdict on one setting in a start-up packet, as if it were `SET name = value`. */
  settingDecision(name: string, value: string): Decision {
    return this.#ask('setting', { setting: { name, value }, command: 'SET' });
  }

  /** Calls back when the session is uncertain, also while one of its statements runs. */
  whenUncertain(callback: () => void): void {
    this.#onUncertain = callback;
  }

  close(): void {
    this.#stopWaiting?.();
  }

  #runsUnknown(): void {
    if (this.#ranUnknown) return;
    this.#ranUnknown = true;
    if (this.#onUncertain !== undefined) this.#stopWaiting = this.connection.whenMasked(this.#onUncertain);
  }

  /** What ran without being understood was harmless while nothing was masked; what it left behind is not any more. */
  #isUncertain(snapshot: CatalogueSnapshot): boolean {
    return this.#ranUnknown && !snapshot.nothingMasked;
  }

  /**
   * At the second step of a paging loop a designer's small read is no sample any more, however much of the budget is
   * left, and whatever is held or denied there says how to make a job of it.
   */
  #watched(text: string, admission: Admission): Admission {
    const { identity } = this.#options;
    if (identity.duty !== 'designer' || identity.runId !== undefined) return admission;
    if (admission.verdict === 'allow' && admission.sampleRows === 0) return admission;
    const declares = admission.statements.some(({ facts }) => facts.command === 'DECLARE CURSOR');
    const loop = this.#loopAt(text, admission) ?? (declares ? this.#watch.declared() : undefined);
    if (loop === undefined || (loop.repeated && admission.verdict === 'allow')) return admission;
    const known = this.#ofLoops.get(admission);
    if (known !== undefined) return known;
    const strict = admission.verdict === 'allow' ? (admission.beyondBudget ?? admission) : admission;
    const command = `countersign jobs draft --from-session ${identity.sessionId}`;
    const said = `this is a step of ${pagingWords[loop.kind]}; make a chunk job of it: ${command}`;
    const made = { ...strict, reason: `${strict.reason}; ${said}`, hint: strict.hint ?? command };
    this.#ofLoops.set(admission, made);
    return made;
  }

  /** A statement is asked for several times on its way through one turn; it is one step all the same. */
  #loopAt(text: string, { statements }: Admission): PagingLoop | undefined {
    if (this.#seen?.text !== text) {
      const prepared = statements[0]?.facts.prepared;
      const executed = prepared?.action === 'execute' ? this.sqlStatements.get(prepared.name)?.text : undefined;
      this.#seen = { text, loop: executed === undefined ? this.#watch.see(text) : this.#watch.executes(executed) };
      queueMicrotask(() => {
        this.#seen = undefined;
      });
    }
    return this.#seen.loop;
  }

  /** While a session has temporary tables, names mean in it what they mean in no other: it shares no verdicts. */
  #cacheOf(snapshot: CatalogueSnapshot): Map<string, Admission> {
    if (this.temporary.isEmpty) return this.#cache(snapshot);
    const policies = this.#options.policies();
    const { changes } = this.temporary;
    const own = this.#ownCache;
    if (own?.snapshot === snapshot && own.policies === policies && own.changes === changes) return own.cache;
    this.#ownCache = { snapshot, policies, changes, cache: new Map() };
    return this.#ownCache.cache;
  }

  #cache(snapshot: CatalogueSnapshot): Map<string, Admission> {
    const policies = this.#options.policies();
    const last = this.#lastCache;
    if (last !== undefined && last.snapshot === snapshot && last.policies === policies) return last.cache;
    const key = `${policies.digest} ${this.#cacheKey}`;
    let cache = snapshot.caches.get(key) as Map<string, Admission> | undefined;
    if (cache === undefined) snapshot.caches.set(key, (cache = new Map()));
    this.#lastCache = { snapshot, policies, cache };
    return cache;
  }

  #decide(text: string, snapshot: CatalogueSnapshot): Admission {
    const catalogue = this.temporary.in(snapshot.catalogue, this.#options.connection.masking.digest);
    const all = analyse(text, catalogue, { maxBytes: this.#options.maxStatementBytes });
    const executed = this.#executed(all, catalogue);
    const statements = (executed?.facts ?? all).map((facts) => this.#statement(facts, snapshot));
    let isMoved = false;
    const decided = statements.map((statement) => {
      const { cursor, relations } = statement.facts;
      if (isMoved && relations.some(isTemporary) && statement.results.canMask) return temporaryAmongOthers;
      isMoved ||= changesTemporary(statement.facts);
      if (cursor?.action === 'fetch' && statements.length > 1 && statement.results.canMask) return fetchAmongOthers;
      if (statement.facts.class === 'copy-out' && statements.length > 1 && statement.results.canMask)
        return copyAmongOthers;
      const decision = executed?.refusal ?? this.#decideOne(statement, snapshot);
      return statement.facts.prepared === undefined ? decision : withoutHold(decision, statement.facts.prepared);
    });
    const admission = combine(decided, statements, snapshot, this.#options.identity.duty === 'designer');
    const isShared = executed === undefined && this.temporary.isEmpty;
    return isShared ? admission : { ...admission, sessionState: this.sessionState };
  }

  #statement(facts: StatementFacts, snapshot: CatalogueSnapshot): AdmittedStatement {
    // Where something is not understood, what it reaches is not known either.
    const touchesMasked =
      !snapshot.nothingMasked &&
      (facts.unknowns.length > 0 || facts.relations.some((relation) => snapshot.maskIndex.touches(relation.oid)));
    const { masking } = this.#options.connection;
    const plan = { facts, touchesMasked, maskIndex: snapshot.maskIndex, masking, temporary: this.temporary };
    return { facts, touchesMasked, results: new ResultPlan(plan) };
  }

  /** An EXECUTE has the facts of what it runs, read as of now; undefined for every other text. */
  #executed(
    all: readonly StatementFacts[],
    catalogue: Catalogue,
  ): { readonly facts: readonly StatementFacts[]; readonly refusal: OneDecision | undefined } | undefined {
    const [only, ...others] = all;
    if (only?.prepared?.action !== 'execute' || others.length > 0) return undefined;
    const { prepared, text } = only;
    const known = this.sqlStatements.get(prepared.name);
    if (known === undefined) return { facts: all, refusal: undefined };
    const [inner = only] = analyse(known.text, catalogue, { maxBytes: this.#options.maxStatementBytes });
    const hidden = shadowedRelation(known.relations, inner.relations, catalogue);
    const refusal = hidden === undefined ? undefined : refused(shadowed(hidden), 'countersign/prepared');
    return { facts: [{ ...inner, text, prepared }], refusal };
  }

  #decideOne(statement: AdmittedStatement, snapshot: CatalogueSnapshot): OneDecision {
    const { facts, touchesMasked } = statement;
    const lineage = facts.lineage;
    if (this.#isUncertain(snapshot)) return { decision: uncertain, sampleRows: 0, beyondBudget: undefined };
    if (touchesMasked && facts.unknowns.length === 0 && !lineage.resolved && facts.class !== 'explain') {
      const reason = `cannot tell which masked columns the result depends on: ${lineage.reason}`;
      return refusal('lineage_unresolved', 'countersign/lineage', reason, 'name the columns plainly');
    }
    const { refused: asked, compared, tests } = maskedPredicatesOf(lineage, snapshot);
    const ruled = this.#ruledColumn(facts);
    if (ruled !== undefined && asked.length === 0) return temporaryUnderRule(ruled);
    const common = {
      facts,
      touchesMasked,
      nothingMasked: snapshot.nothingMasked,
      maskedPredicates: asked,
      maskedEqualities: compared,
    };
    const full = inWordsOfTheServer(this.#ask('statement', { ...common, withinBudget: false }), facts);
    const { rowsAtMost } = facts;
    if (full.verdict === 'allow' || rowsAtMost === undefined || rowsAtMost > this.#options.sampleRowsPerHour) {
      return { decision: full, sampleRows: 0, beyondBudget: undefined, equalityTests: tests };
    }
    const sample = this.#ask('statement', { ...common, withinBudget: true });
    if (sample.verdict !== 'allow')
      return { decision: full, sampleRows: 0, beyondBudget: undefined, equalityTests: tests };
    return { decision: sample, sampleRows: rowsAtMost, beyondBudget: full, equalityTests: tests };
  }

  /** The first column of a temporary table that a rule would mask in any other table. */
  #ruledColumn({ temporary }: StatementFacts): string | undefined {
    if (temporary?.action !== 'create') return undefined;
    const { masking } = this.#options.connection;
    return temporary.columns?.find((column) => masking.columnRule(temporarySchema, temporary.name, column));
  }

  #ask(
    kind: StatementQuestion['kind'],
    question: Omit<StatementQuestion, 'kind' | 'identity' | 'connection'>,
  ): Decision {
    const { connection, identity, policies } = this.#options;
    return decideStatement(policies(), {
      kind,
      identity: { principal: identity.principal, duties: identity.duties, duty: identity.duty },
      connection: { name: connection.name, labels: connection.labels, engine: connection.engine },
      ...question,
    });
  }
}

const uncertain: Decision = {
  verdict: 'deny',
  policies: ['countersign/uncertain-session'],
  code: 'statement_denied',
  reason:
    'this session ran statements that the gateway does not understand, and since then something is masked on this connection',
  hint: 'connect again',
};

const unheldHere = {
  verdict: 'deny',
  policies: ['countersign/uncertain-session'],
  code: 'statement_denied',
  reason:
    'this needs an approval, and the session ran statements that the gateway does not understand: what names mean in it is not certain',
  hint: 'connect again, and send it before anything that is not understood',
} as const;

/** What ends a session in which something ran that nobody understands, once something is masked. */
export function uncertainty(): CountersignError {
  const { reason, policies, hint } = uncertain;
  return new CountersignError('statement_denied', `countersign: ${reason}`, {
    detail: `rule: ${policies.join(', ')}`,
    hint,
  });
}

/** An EXECUTE is decided each time. */
function dependsOnPrepared({ statements }: Admission): boolean {
  return statements[0]?.facts.prepared?.action === 'execute';
}

/** Each execution takes something from a budget first. */
export function needsBudget(admission: Admission): boolean {
  return admission.sampleRows > 0 || admission.equalityTests.length > 0;
}

/** The comparisons of this statement do not fit into what is left of their budget. */
export function beyondEqualities(admission: Admission, tests: EqualityTests, used: number): Admission {
  return {
    ...admission,
    verdict: 'deny',
    policies: ['countersign/equality-budget'],
    code: 'equality_budget_spent',
    reason:
      `the columns of masking rule ${tests.rule} may be compared with ${tests.limit} constants an hour, of which ` +
      `${used} are used; this statement compares with ${tests.values}`,
    hint: 'wait until the hour has slid on, or leave the comparison out',
    sampleRows: 0,
    beyondBudget: undefined,
  };
}

/** The error that a client sees for a statement that may not run. */
export function denial(admission: Admission): CountersignError {
  return new CountersignError(admission.code, `countersign: ${admission.reason}`, {
    detail: `rule: ${admission.policies.join(', ') || 'no rule permits it'}`,
    hint: admission.hint,
    position: admission.code === 'syntax_error' ? admission.statements[0]?.facts.fault?.position : undefined,
  });
}
