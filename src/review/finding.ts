/** What `doctor` and the access review find: always what, where, why it matters and what to do. Holds no value of a table. */
export const severities = ['info', 'low', 'medium', 'high', 'critical'] as const;
export type Severity = (typeof severities)[number];

export interface Finding {
  /** Stable name of the check, e.g. `account-superuser`. */
  readonly check: string;
  readonly severity: Severity;
  /** A connection, a setting, a file: `connection crm: executor account cs_executor`. */
  readonly where: string;
  /** The connection that it is about alone; left out = of the gateway, or of several. */
  readonly connection?: string | undefined;
  readonly what: string;
  readonly why: string;
  readonly remedy: string;
}

export function worstOf(findings: readonly Finding[]): Severity | undefined {
  return findings.reduce<Severity | undefined>(
    (worst, { severity }) => (worst === undefined || rankOf(severity) > rankOf(worst) ? severity : worst),
    undefined,
  );
}

/** Worst first; of equals in the order in which they were found. */
export function bySeverity(findings: readonly Finding[]): Finding[] {
  return findings.toSorted((a, b) => rankOf(b.severity) - rankOf(a.severity));
}

function rankOf(severity: Severity): number {
  return severities.indexOf(severity);
}
