/**
 * The vocabulary of all policies, as a Cedar schema. Every policy, ours and the user's, is validated against it before
 * it is used, so that a misspelt action, duty or attribute is an error at start and never a prohibition that silently
 * matches nothing. Labels of a connection are Cedar tags: `resource.hasTag("env") && resource.getTag("env") == "prod"`.
 */

/** What a statement (or a session) wants to do. Held or allowed, so each question carries `context.approved`. */
export const statementActions = [
  'connect',
  'catalogue',
  'sample',
  'read',
  'write',
  'ddl',
  'copy-out',
  'copy-in',
  'setting',
  'transaction',
  'show',
  'explain',
  'session',
  'run',
  'unknown',
] as const;
export type StatementAction = (typeof statementActions)[number];

/** What a person does to a request. */
export const requestActions = ['approve', 'reject', 'execute', 'withdraw'] as const;
export type RequestAction = (typeof requestActions)[number];

/** What a person does through the API on one connection, or on the gateway as a whole. */
export const dutyActions = [
  'push-job',
  'request-run',
  'request-statement',
  'replay',
  'read-log',
  'review-access',
  'change-policy',
] as const;
export type DutyAction = (typeof dutyActions)[number];

export type PolicyAction = StatementAction | RequestAction | DutyAction;

const quoted = (names: readonly string[]): string => names.map((name) => JSON.stringify(name)).join(', ');

export const policySchema = `
entity Group;
entity Duty enum ["designer", "approver", "executor", "auditor", "admin"];
entity Principal in [Group, Duty] = { human: String, kind: String };
entity Connection = { name: String, engine: String } tags String;
entity Gateway;
entity Request in [Connection] = {
  kind: String,
  requester: String,
  authors: Set<String>,
  approvers: Set<String>,
  strict: Bool,
};

type Setting = { name: String, value: String };
type StatementContext = {
  approved: Bool,
  duty: String,
  command: String,
  rows: Long,
  paging: Bool,
  relations: Set<String>,
  touchesMasked: Bool,
  nothingMasked: Bool,
  maskedPredicates: Set<String>,
  maskedEqualities: Set<String>,
  setting: Setting,
};

action "statement";
action ${quoted(statementActions)} in [Action::"statement"] appliesTo {
  principal: Principal, resource: Connection, context: StatementContext,
};
action ${quoted(requestActions)} appliesTo { principal: Principal, resource: Request, context: {} };
action ${quoted(dutyActions)} appliesTo { principal: Principal, resource: [Connection, Gateway], context: {} };
`;
