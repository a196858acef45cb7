/**
 * Every expected failure of Countersign, with the code that users, scripts and documents rely on.
 *
 * A code is stable: it may gain a better message, never another meaning. Each has a SQLSTATE (what a
 * database client sees) and an HTTP status (what an API client sees). SQLSTATEs of class `ZC` are ours;
 * the others are PostgreSQL's own (its manual, appendix A). `docs/errors.md` explains each code and
 * `test/errors.test.ts` keeps the two lists equal.
 */
export const errorTable = {
  // identity
  authentication_failed: { sqlstate: '28P01', httpStatus: 401 },
  token_expired: { sqlstate: '28P01', httpStatus: 401 },
  token_invalid: { sqlstate: '28P01', httpStatus: 401 },
  identity_provider_unreachable: { sqlstate: '08006', httpStatus: 503 },
  groups_claim_missing: { sqlstate: '28000', httpStatus: 403 },
  groups_stale: { sqlstate: '28000', httpStatus: 401 },
  saml_response_invalid: { sqlstate: '28P01', httpStatus: 401 },
  principal_disabled: { sqlstate: '28000', httpStatus: 403 },
  principal_not_provisioned: { sqlstate: '28000', httpStatus: 403 },
  groups_changed: { sqlstate: '57P01', httpStatus: 409 },
  access_ended: { sqlstate: '57P01', httpStatus: 401 },
  duty_missing: { sqlstate: '28000', httpStatus: 403 },
  // connections and sessions
  connection_unknown: { sqlstate: '3D000', httpStatus: 404 },
  connection_changed: { sqlstate: '57P01', httpStatus: 409 },
  connection_secret_missing: { sqlstate: '08001', httpStatus: 502 },
  target_unreachable: { sqlstate: '08001', httpStatus: 502 },
  target_certificate_untrusted: { sqlstate: '08001', httpStatus: 502 },
  target_login_failed: { sqlstate: '08004', httpStatus: 502 },
  target_lost: { sqlstate: '08006', httpStatus: 502 },
  tls_required: { sqlstate: '28000', httpStatus: 426 },
  client_certificate_refused: { sqlstate: '28000', httpStatus: 401 },
  handshake_timeout: { sqlstate: '08P01', httpStatus: 408 },
  idle_timeout: { sqlstate: '57P05', httpStatus: 408 },
  too_many_sessions: { sqlstate: '53300', httpStatus: 429 },
  protocol_violation: { sqlstate: '08P01', httpStatus: 400 },
  message_too_large: { sqlstate: '54000', httpStatus: 413 },
  startup_setting_refused: { sqlstate: '42501', httpStatus: 403 },
  shutting_down: { sqlstate: '57P01', httpStatus: 503 },
  // statements
  statement_timeout: { sqlstate: '57014', httpStatus: 408 },
  statement_denied: { sqlstate: '42501', httpStatus: 403 },
  statement_unknown: { sqlstate: '42501', httpStatus: 403 },
  syntax_error: { sqlstate: '42601', httpStatus: 400 },
  relation_unknown: { sqlstate: '42P01', httpStatus: 404 },
  masked_predicate: { sqlstate: '42501', httpStatus: 403 },
  equality_budget_spent: { sqlstate: '42501', httpStatus: 429 },
  lineage_unresolved: { sqlstate: '42501', httpStatus: 403 },
  copy_refused: { sqlstate: '0A000', httpStatus: 403 },
  feature_refused: { sqlstate: '0A000', httpStatus: 403 },
  prepared_statement_unknown: { sqlstate: '26000', httpStatus: 400 },
  prepared_statement_duplicate: { sqlstate: '42P05', httpStatus: 400 },
  cursor_unknown: { sqlstate: '34000', httpStatus: 400 },
  portal_unknown: { sqlstate: '34000', httpStatus: 400 },
  // requests, decisions, grants
  request_rejected: { sqlstate: 'ZC001', httpStatus: 403 },
  request_timed_out: { sqlstate: 'ZC002', httpStatus: 408 },
  request_withdrawn: { sqlstate: 'ZC003', httpStatus: 409 },
  request_not_pending: { sqlstate: 'ZC004', httpStatus: 409 },
  request_unknown: { sqlstate: 'ZC004', httpStatus: 404 },
  duty_conflict: { sqlstate: 'ZC005', httpStatus: 403 },
  grant_missing: { sqlstate: 'ZC006', httpStatus: 403 },
  grant_used: { sqlstate: 'ZC006', httpStatus: 409 },
  grant_expired: { sqlstate: 'ZC006', httpStatus: 410 },
  grant_void: { sqlstate: 'ZC007', httpStatus: 409 },
  template_not_offered: { sqlstate: 'ZC011', httpStatus: 422 },
  quiet_hours: { sqlstate: 'ZC009', httpStatus: 409 },
  break_glass_refused: { sqlstate: 'ZC010', httpStatus: 403 },
  too_many_holds: { sqlstate: 'ZC008', httpStatus: 429 },
  // rules
  policy_conflict: { sqlstate: '40001', httpStatus: 409 },
  policy_invalid: { sqlstate: 'F0000', httpStatus: 422 },
  policy_version_unknown: { sqlstate: '42704', httpStatus: 404 },
  // jobs and runs
  job_invalid: { sqlstate: '22023', httpStatus: 422 },
  job_unknown: { sqlstate: '42704', httpStatus: 404 },
  loop_not_found: { sqlstate: '42704', httpStatus: 404 },
  job_conflict: { sqlstate: '40001', httpStatus: 409 },
  job_relation_missing: { sqlstate: '42P01', httpStatus: 422 },
  chunk_key_invalid: { sqlstate: '22023', httpStatus: 422 },
  chunk_key_masked: { sqlstate: '42501', httpStatus: 422 },
  source_not_chunkable: { sqlstate: '0A000', httpStatus: 422 },
  run_unknown: { sqlstate: '42704', httpStatus: 404 },
  run_not_open: { sqlstate: '55000', httpStatus: 409 },
  run_statement_refused: { sqlstate: '42501', httpStatus: 403 },
  chunk_not_available: { sqlstate: '55000', httpStatus: 409 },
  limit_exceeded: { sqlstate: '53400', httpStatus: 409 },
  // evidence
  log_unavailable: { sqlstate: '58030', httpStatus: 503 },
  log_broken: { sqlstate: 'XX001', httpStatus: 500 },
  recording_unknown: { sqlstate: '42704', httpStatus: 404 },
  recording_broken: { sqlstate: 'XX001', httpStatus: 500 },
  // access reviews
  review_unknown: { sqlstate: '42704', httpStatus: 404 },
  review_closed: { sqlstate: '55000', httpStatus: 409 },
  notification_failed: { sqlstate: '08006', httpStatus: 502 },
  // the rest
  configuration_invalid: { sqlstate: 'F0000', httpStatus: 500 },
  input_invalid: { sqlstate: '22023', httpStatus: 400 },
  not_found: { sqlstate: '42704', httpStatus: 404 },
  forbidden: { sqlstate: '42501', httpStatus: 403 },
  rate_limited: { sqlstate: '53400', httpStatus: 429 },
  store_unavailable: { sqlstate: '58000', httpStatus: 503 },
  internal: { sqlstate: 'XX000', httpStatus: 500 },
} as const satisfies Record<string, { sqlstate: string; httpStatus: number }>;

export type ErrorCode = keyof typeof errorTable;

export interface ErrorDetail {
  /** What the reader can do next. */
  readonly hint?: string | undefined;
  /** More facts: the rule, the request id, the field. Never a value of a masked column. */
  readonly detail?: string | undefined;
  /** Where in the statement's text, in characters from 1. */
  readonly position?: number | undefined;
  readonly cause?: unknown;
}

/** An expected failure. Everything else that is thrown is a broken assumption and ends the session or request. */
export class CountersignError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly detail: string | undefined;
  readonly position: number | undefined;

  constructor(code: ErrorCode, message: string, more: ErrorDetail = {}) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = 'CountersignError';
    this.code = code;
    this.hint = more.hint;
    this.detail = more.detail;
    this.position = more.position;
  }

  get sqlstate(): string {
    return errorTable[this.code].sqlstate;
  }

  get httpStatus(): number {
    return errorTable[this.code].httpStatus;
  }
}

/** The error as it is: a CountersignError stays itself, anything else becomes `internal` without its text. */
export function asCountersignError(error: unknown): CountersignError {
  if (error instanceof CountersignError) return error;
  return new CountersignError('internal', 'an internal error ended this operation; the server log has the details', {
    cause: error,
  });
}
