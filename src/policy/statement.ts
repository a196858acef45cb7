/**
 * Principal + statement -> allow, hold or deny. A statement is allowed if the policies permit it without an approval,
 * held if they permit it only with one, denied otherwise (design §5: the default of every rule is hold).
 */
import type { ErrorCode } from '../errors.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import type { StatementFacts } from '../sql/statement.ts';
import { isCatalogueRead } from './catalogue-relations.ts';
import { connectionEntity, connectionUid, principalEntity, principalUid, type PolicyConnection } from './entities.ts';
import type { PolicySet } from './engine.ts';
import type { StatementAction } from './schema.ts';

export interface StatementQuestion {
  /** `setting`: a setting of the start-up packet, as if it were SET. `connect`, `run`: the session itself. */
  readonly kind: 'statement' | 'setting' | 'connect' | 'run';
  readonly identity: {
    readonly principal: Principal;
    /** Duties held on this connection. */
    readonly duties: readonly Duty[];
    /** The duty in which the session acts. */
    readonly duty: Duty;
  };
  readonly connection: PolicyConnection;
  /** Required for kind `statement`. */
  readonly facts?: StatementFacts | undefined;
  /** The relation closure touches a masked column. Not said counts as yes. */
  readonly touchesMasked?: boolean | undefined;
  /** No column of the connection is masked, and no detector is configured for it. Not said counts as no. */
  readonly nothingMasked?: boolean | undefined;
  /** Masked columns that the statement asks more of than their rules let it, as schema.relation.column. */
  readonly maskedPredicates?: readonly string[] | undefined;
  /** Masked columns that are compared with constants as their rules let it. */
  readonly maskedEqualities?: readonly string[] | undefined;
  /** The reader's sampling budget covers `facts.rowsAtMost` (the caller takes the rows from it before each execution). */
  readonly withinBudget?: boolean | undefined;
  /** Required for kind `setting`. */
  readonly setting?: { readonly name: string; readonly value: string | undefined } | undefined;
  /** The command word; `facts.command` when left out. */
  readonly command?: string | undefined;
}

export interface Decision {
  readonly verdict: 'allow' | 'hold' | 'deny';
  /** Ids of the policies that decided: permits of an allow or hold, forbids of a denial; empty where nothing permits. */
  readonly policies: readonly string[];
  /** For `deny`: the error that the client gets. */
  readonly code?: ErrorCode | undefined;
  /** One sentence for people. Names rules, relations and columns; holds no value. */
  readonly reason: string;
  readonly hint?: string | undefined;
  /** It was decided as something that is not understood: what the session is after it has run is not known. */
  readonly asUnknown?: boolean | undefined;
}

/**
 * The action that policies see. What is not understood is `unknown`, whatever its class says (P7).
 * @param withinBudget the sampling budget covers the statement's proven row bound
 */
export function actionOf(facts: StatementFacts, withinBudget: boolean): StatementAction {
  if (facts.unknowns.length > 0) return 'unknown';
  switch (facts.class) {
    case 'read':
      if (isCatalogueRead(facts.relations)) return 'catalogue';
      return withinBudget && facts.rowsAtMost !== undefined && !facts.paging ? 'sample' : 'read';
    case 'setting':
      return facts.setting === undefined ? 'unknown' : 'setting';
    case 'empty':
      return 'catalogue';
    case 'write':
    case 'ddl':
    case 'copy-out':
    case 'copy-in':
    case 'transaction':
    case 'show':
    case 'explain':
    case 'session':
    case 'unknown':
      return facts.class;
    default:
      // A class that is added later is dangerous until it has a line above.
      facts.class satisfies never;
      return 'unknown';
  }
}

/** Settings by which the gateway itself reads texts and results, whatever is masked. */
const settingsOfOurReading: ReadonlySet<string> = new Set(['client_encoding', 'standard_conforming_strings']);
const settingRules: ReadonlySet<string> = new Set(
  ['setting-unsafe', 'setting-value', 'setting-verbose'].map((id) => `countersign/${id}`),
);

/** Never throws: what cannot be decided is denied. */
export function decideStatement(policySet: PolicySet, question: StatementQuestion): Decision {
  const action = actionOfQuestion(question);
  const decision = decideAs(policySet, question, action);
  if (action !== 'setting' || question.nothingMasked !== true || decision.verdict !== 'deny') return decision;
  const isOurs = settingsOfOurReading.has(contextOf(question).setting.name);
  if (isOurs || decision.policies.length === 0 || !decision.policies.every((id) => settingRules.has(id))) {
    return decision;
  }
  // After it, names and values mean something else: no worse than anything else that is not understood.
  const asUnknown = decideAs(policySet, question, 'unknown');
  return asUnknown.verdict === 'allow' ? asUnknown : decision;
}

function decideAs(policySet: PolicySet, question: StatementQuestion, action: StatementAction): Decision {
  const { identity, connection } = question;
  const context = contextOf(question);
  const ask = (approved: boolean) =>
    policySet.evaluate({
      principal: principalUid(identity.principal),
      action,
      resource: connectionUid(connection.name),
      context: { ...context, approved },
      entities: [principalEntity(identity.principal, identity.duties), connectionEntity(connection)],
    });
  const plain = ask(false);
  const what = `${actionWords[action]} on ${connection.name} in the duty of ${identity.duty}`;
  const asUnknown = action === 'unknown';
  if (plain.allowed) return { verdict: 'allow', policies: plain.policies, reason: `${what} is permitted`, asUnknown };
  // Nobody can approve what nobody understands: what it reaches may be something else by then.
  const approved = asUnknown ? plain : ask(true);
  if (approved.allowed) {
    return { verdict: 'hold', policies: approved.policies, reason: `${what} needs an approval` };
  }
  return {
    verdict: 'deny',
    policies: approved.policies,
    code: approved.code ?? 'statement_denied',
    reason: `${approved.reason ?? noPermit(what, approved.policies)}${specifics(action, question)}`,
    hint: approved.hint ?? hints[action],
    asUnknown,
  };
}

function noPermit(what: string, forbids: readonly string[]): string {
  return forbids.length === 0 ? `no rule permits ${what}` : `a rule forbids ${what}`;
}

function actionOfQuestion(question: StatementQuestion): StatementAction {
  switch (question.kind) {
    case 'statement':
      return question.facts === undefined ? 'unknown' : actionOf(question.facts, question.withinBudget ?? false);
    case 'setting':
    case 'connect':
    case 'run':
      return question.kind;
    default:
      question.kind satisfies never;
      return 'unknown';
  }
}

function contextOf(question: StatementQuestion) {
  const { facts, identity } = question;
  const setting = question.setting ?? facts?.setting;
  const relations = new Set((facts?.relations ?? []).map((relation) => `${relation.schema}.${relation.name}`));
  return {
    duty: identity.duty,
    command: (question.command ?? facts?.command ?? question.kind).toUpperCase(),
    rows: boundedRows(facts?.rowsAtMost),
    paging: facts?.paging ?? false,
    relations: [...relations].toSorted(),
    touchesMasked: question.touchesMasked ?? question.kind === 'statement',
    nothingMasked: question.nothingMasked ?? false,
    maskedPredicates: [...new Set(question.maskedPredicates ?? [])].toSorted(),
    maskedEqualities: [...new Set(question.maskedEqualities ?? [])].toSorted(),
    setting: { name: setting?.name.trim().toLowerCase() ?? '', value: settingValue(setting?.value) },
  };
}

/** -1 = no bound is proven. */
function boundedRows(rows: number | undefined): number {
  if (rows === undefined || !Number.isFinite(rows) || rows < 0) return -1;
  return Math.min(Math.ceil(rows), Number.MAX_SAFE_INTEGER);
}

/** Values of settings are compared without case, outer quotes and differences in white space; '' = not one constant. */
function settingValue(value: string | undefined): string {
  const bare = (value ?? '').trim().replace(/^'(.*)'$/s, '$1');
  return bare
    .trim()
    .toLowerCase()
    .replace(/\s*,\s*/g, ', ');
}

function specifics(action: StatementAction, question: StatementQuestion): string {
  const masked = question.maskedPredicates ?? [];
  if (action === 'unknown') {
    const unknowns = question.facts?.unknowns ?? [];
    return unknowns.length === 0 ? '' : `: ${shorten(unknowns)}`;
  }
  if (masked.length > 0) return `: ${shorten(masked)}`;
  if (action === 'setting') return `: ${(question.setting ?? question.facts?.setting)?.name ?? 'no setting named'}`;
  return '';
}

const maxNamed = 5;

function shorten(names: readonly string[]): string {
  const rest = names.length - maxNamed;
  return names.slice(0, maxNamed).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

const actionWords: Record<StatementAction, string> = {
  connect: 'connecting',
  catalogue: 'reading the catalogue',
  sample: 'reading a sample',
  read: 'reading rows',
  write: 'writing rows',
  ddl: 'changing definitions',
  'copy-out': 'COPY TO',
  'copy-in': 'COPY FROM',
  setting: 'changing a setting',
  transaction: 'a transaction command',
  show: 'SHOW',
  explain: 'EXPLAIN',
  session: 'a session command',
  run: 'running a job',
  unknown: 'a statement that is not understood',
};

const hints: Partial<Record<StatementAction, string>> = {
  connect: 'ask an administrator which of your groups is bound to a duty on this connection',
  unknown: 'it runs only where nothing is masked, and for whom a policy names Action::"unknown"; see docs/policies.md',
  setting: 'leave the setting out; docs/connect.md lists the settings that a session may change',
};
