/**
 * What the runner and a client's program say to each other. The program gets its addresses and credentials from the
 * environment and prints one JSON line per check; everything else that it prints is kept, searched and shown on failure.
 */

/** Checks that every client has, in the order of the table. */
export const sharedChecks = [
  'connect',
  'masked',
  'types',
  'errors',
  'prepared',
  'cancel',
  'cancel-held',
  'approved',
  'rejected',
  'copy-out',
] as const;

export type SharedCheck = (typeof sharedChecks)[number];

/** One line of a client's program. Which members there are depends on the check; `verdicts.ts` reads them. */
export interface Line {
  /** One of `sharedChecks`, or a name of the client's own. */
  readonly check: string;
  /** What the program itself could judge; not said counts as yes. */
  readonly ok?: boolean;
  /** For people. */
  readonly detail?: string;
  /** Rows as text, NULL as null. */
  readonly rows?: readonly (readonly (string | null)[])[];
  /** `types`: each column of `kinds`, written in the one way that `verdicts.ts` expects. */
  readonly values?: Readonly<Record<string, unknown>>;
  /** Of the driver's ordinary database error. */
  readonly sqlstate?: string;
  readonly sqlstates?: readonly string[];
  /** `approved`: rows that the paging loop read. */
  readonly total?: number;
  /** `copy-out`: what came. */
  readonly data?: string;
}

/** A statement with this comment is rejected; one with `leaveWaiting` is not decided; every other is approved. */
export const pleaseReject = '/* please reject */';
export const leaveWaiting = '/* leave waiting */';

/** A line of JSON among the lines that a program printed. */
export function parseLine(text: string): Line | undefined {
  if (!text.startsWith('{"check":')) return undefined;
  try {
    return JSON.parse(text) as Line;
  } catch {
    return undefined;
  }
}
