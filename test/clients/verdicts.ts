/** Judges what a client's program reported. Pure: lines in, one verdict per check out. */
import { isDeepStrictEqual } from 'node:util';
import { customerCount, expectedKinds, secretIn, secretInBytes } from './data.ts';
import { sharedChecks, type Line } from './protocol.ts';

export interface Verdict {
  readonly check: string;
  readonly outcome: 'passed' | 'failed' | 'known' | 'not-there';
  /** Of a failure, or why it is known. */
  readonly reason: string;
}

export interface Evidence {
  readonly lines: readonly Line[];
  /** Everything that the program printed. */
  readonly printed: string;
  /** Everything that it received. */
  readonly received: Buffer;
  readonly decisions: { readonly approved: number; readonly rejected: number };
  /** Set when the program did not end by itself with status 0. */
  readonly ending: string | undefined;
}

export interface Expectations {
  /** Shared checks that this client has no way to do. */
  readonly without?: readonly string[];
  /** Checks of its own, beside the shared ones. */
  readonly own?: readonly string[];
  /** Checks that fail because of something that is known: check -> why. When one passes, the suite says so and fails. */
  readonly known?: Readonly<Record<string, string>>;
  /** Columns that the driver gives in a form of its own, as `types` reports them. */
  readonly kinds?: Readonly<Record<string, unknown>>;
}

export function judge(evidence: Evidence, { without = [], own = [], known = {}, kinds }: Expectations): Verdict[] {
  const verdicts = [...sharedChecks.filter((check) => !without.includes(check)), ...own].map((check): Verdict => {
    const reason = reasonOfFailure(check, evidence, { ...expectedKinds, ...kinds });
    const why = known[check];
    if (why === undefined) return { check, outcome: reason === undefined ? 'passed' : 'failed', reason: reason ?? '' };
    if (reason !== undefined) return { check, outcome: 'known', reason: `${why} (seen: ${reason})` };
    return { check, outcome: 'failed', reason: `passes now; take it off the list of known failures (${why})` };
  });
  const absent = without.map((check): Verdict => ({ check, outcome: 'not-there', reason: '' }));
  const planned = new Set([...verdicts, ...absent].map(({ check }) => check));
  const unplanned = evidence.lines
    .filter(({ check }) => !planned.has(check))
    .map(({ check }): Verdict => ({ check, outcome: 'failed', reason: 'reported, but not in the list of checks' }));
  return [...verdicts, ...absent, ...unplanned, ...leak(evidence), ...ending(evidence)];
}

/** No list of known failures reaches these two. */
function leak({ printed, received }: Evidence): Verdict[] {
  const secret = secretIn(printed) ?? secretInBytes(received);
  return secret === undefined ? [] : [{ check: 'masked', outcome: 'failed', reason: `RAW SECRET received: ${secret}` }];
}

function ending({ ending }: Evidence): Verdict[] {
  return ending === undefined ? [] : [{ check: 'ending', outcome: 'failed', reason: ending }];
}

/** undefined = passed. */
function reasonOfFailure(check: string, evidence: Evidence, kinds: Readonly<Record<string, unknown>>) {
  const lines = evidence.lines.filter((line) => line.check === check);
  if (lines.length === 0) return 'not reported';
  for (const line of lines) {
    if (line.ok === false) return line.detail ?? 'the program says no';
    const reason = reasonOfLine(line, evidence, kinds);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

function reasonOfLine(line: Line, { decisions }: Evidence, kinds: Readonly<Record<string, unknown>>) {
  switch (line.check) {
    case 'masked':
      return maskedRows(line, 20);
    case 'types':
      return sameValues(line.values ?? {}, kinds);
    case 'errors':
      // A division by zero at the target, a refusal of the gateway, and a syntax error.
      return wrong('SQLSTATEs', line.sqlstates, ['22012', '42501', '42601']);
    case 'prepared':
      return maskedRows(line, 12);
    case 'cancel':
      return wrong('SQLSTATE', line.sqlstate, '57014');
    case 'cancel-held':
      return wrong('SQLSTATE', line.sqlstate, 'ZC003');
    case 'approved':
      if (decisions.approved < 3) return `only ${decisions.approved} approvals were needed for the whole loop`;
      return wrong('rows', line.total, customerCount);
    case 'rejected':
      if (decisions.rejected === 0) return 'nothing was there to reject';
      return wrong('SQLSTATE', line.sqlstate, 'ZC001');
    case 'copy-out':
      return copyOut(line);
    default:
      return undefined;
  }
}

/** Rows of customers: id, ssn, email, and more. */
function maskedRows({ rows = [] }: Line, count: number) {
  const ids = rows.map(([id]) => id);
  const expected = Array.from({ length: count }, (_, index) => String(index + 1));
  if (!isDeepStrictEqual(ids, expected)) return `the ids are ${ids.join(',')}`;
  const odd = rows.find(
    ([, ssn, email]) => ssn == null || /\d/.test(ssn) || !/^\W*@secret\.example$/.test(email ?? ''),
  );
  return odd === undefined ? undefined : `not as masked: ${JSON.stringify(odd)}`;
}

/** A clear refusal or masked rows. */
function copyOut({ sqlstate, data, detail }: Line) {
  if (sqlstate !== undefined) return wrong('SQLSTATE', sqlstate, '0A000');
  if (data === undefined) return `neither refused nor there: ${detail ?? ''}`;
  if (!data.includes('@secret.example')) return `no rows: ${data.slice(0, 200)}`;
  return secretInBytes(Buffer.from(data));
}

function sameValues(values: Readonly<Record<string, unknown>>, expected: Readonly<Record<string, unknown>>) {
  const different = Object.entries(expected).filter(([name, value]) => !isDeepStrictEqual(values[name], value));
  if (different.length === 0) return undefined;
  return different
    .map(([name, value]) => `${name} is ${JSON.stringify(values[name])}, not ${JSON.stringify(value)}`)
    .join('; ');
}

function wrong(what: string, found: unknown, expected: unknown) {
  return isDeepStrictEqual(found, expected)
    ? undefined
    : `${what}: ${JSON.stringify(found)}, expected ${JSON.stringify(expected)}`;
}
