/**
 * `countersign doctor`: looks for the pitfalls of a set-up before somebody falls into one. It asks and judges; it changes
 * nothing, and what it tells holds no value of any table. A check that could not be made is said, never left out.
 */
import type { Configuration } from '../config/schema.ts';
import { CountersignError } from '../errors.ts';
import type { MaskIndex } from '../masking/mask-index.ts';
import { compileGlob, foldCase } from '../masking/glob.ts';
import type { Catalogue } from '../sql/statement.ts';
import type { UnreviewedRow } from '../store/access.ts';
import { accountFacts, accountFindings, type AccountDuty, type TargetQuery } from './account-check.ts';
import type { ReviewedConnection, ReviewedPrincipal } from './access.ts';
import { clockFindings, type ClockReading } from './clock-check.ts';
import { bySeverity, worstOf, type Finding, type Severity } from './finding.ts';
import { idleRuleFindings, sensitiveFindings, type MaskedCatalogue } from './mask-check.ts';
import { reachFacts, reachFindings } from './reach-check.ts';
import { ruleFindings } from './rule-check.ts';
import { issuersOf, settingFacts, settingFindings } from './setting-check.ts';
import { twinFindings, type Twin } from './twin-check.ts';
import { certificateFacts, certificateFindings, plainTarget } from './tls-check.ts';

/** What doctor may ask of one target. */
export interface ExaminedTarget {
  readonly name: string;
  readonly query: TargetQuery;
  /** The same for two connections exactly if they are one database, whatever their addresses are. */
  readonly database: () => Promise<string>;
  readonly catalogue: () => Promise<{ readonly catalogue: Catalogue; readonly index: MaskIndex }>;
  /** What the target shows, DER; undefined where it is reached without TLS. */
  readonly certificate: () => Promise<Buffer | undefined>;
}

export interface DoctorOptions {
  readonly configuration: Configuration;
  /** Where the configuration was read from, if it is at hand. */
  readonly configurationFile: string | undefined;
  /** PEM texts of the gateway's own certificates, with where each is set. */
  readonly certificates: readonly { readonly where: string; readonly pem: string }[];
  readonly targets: readonly ExaminedTarget[];
  readonly connections: readonly ReviewedConnection[];
  readonly keyOf: (human: string) => string;
  readonly now: () => number;
  readonly processors: number;
  readonly storeUrl: string;
  /** What the control store knows; undefined = it cannot be reached, and why is found. */
  readonly store:
    | {
        readonly principals: () => Promise<readonly ReviewedPrincipal[]>;
        /** Relations that approved jobs read, as schema.name; undefined = there is no job yet. */
        readonly usedRelations: (connection: string) => Promise<ReadonlySet<string> | undefined>;
        readonly clock: () => Promise<number>;
        /** Digest of the policies in force, where they are kept in the store. */
        readonly appliedPolicy?:
          | (() => Promise<{ readonly matches: boolean; readonly what: string } | undefined>)
          | undefined;
        readonly breakGlass?: (() => Promise<readonly UnreviewedRow[]>) | undefined;
      }
    | { readonly unreachable: string };
  /** The time that the identity provider shows, by its HTTP Date. */
  readonly providerClock: (issuer: string) => Promise<number | undefined>;
}

export interface DoctorReport {
  readonly findings: readonly Finding[];
  readonly worst: Severity | undefined;
  /** Checks that could not be made. */
  readonly skipped: readonly {
    readonly check: string;
    readonly why: string;
    readonly connection?: string | undefined;
  }[];
  /** Set where the report is not the whole: only what is about these connections alone is in it. */
  readonly limitedTo?: readonly string[] | undefined;
}

type Skip = (check: string, cause: unknown, connection?: string) => void;

export async function runDoctor(options: DoctorOptions): Promise<DoctorReport> {
  const { configuration, configurationFile, processors, storeUrl } = options;
  const skipped: { check: string; why: string; connection?: string }[] = [];
  const skip: Skip = (check, cause, connection) =>
    void skipped.push({ check, why: reasonOf(cause), ...(connection === undefined ? {} : { connection }) });
  const found: Finding[] = [
    ...settingFindings(settingFacts(configuration, { configurationFile, processors, storeUrl })),
    ...ownCertificates(options, skip),
    ...(await storeFindings(options, skip)),
    ...(await clocks(options, skip)),
  ];
  found.push(...(await twins(options, skip)));
  const masked: MaskedCatalogue[] = [];
  for (const target of options.targets) {
    const { name: connection } = target;
    found.push(...(await examine(options, target, masked, skip)).map((finding) => ({ ...finding, connection })));
  }
  // A rule may match on a connection that could not be read.
  if (masked.length === options.targets.length) found.push(...idleRuleFindings(configuration.masking, masked));
  else skip('masking-idle-rule', new CountersignError('target_unreachable', 'not every target could be read'));
  const findings = bySeverity(found.filter((finding) => !isIgnored(finding, configuration.doctor.ignore)));
  return { findings, worst: worstOf(findings), skipped };
}

async function twins({ targets, configuration }: DoctorOptions, skip: Skip): Promise<Finding[]> {
  const seen: Twin[] = [];
  for (const { name, database } of targets) {
    try {
      const labels = configuration.connections.find((one) => one.name === name)?.labels ?? {};
      seen.push({ name, labels, database: await database() });
    } catch (cause) {
      skip(`masking-twin (connection ${name})`, cause, name);
    }
  }
  return twinFindings(seen, configuration.masking);
}

/** What an administrator of these connections alone may read: what belongs to no connection, or to several, is left out. */
export function reportAbout(report: DoctorReport, connections: readonly string[]): DoctorReport {
  const isAbout = ({ connection }: { readonly connection?: string | undefined }) =>
    connection !== undefined && connections.includes(connection);
  const findings = report.findings.filter(isAbout);
  return { findings, worst: worstOf(findings), skipped: report.skipped.filter(isAbout), limitedTo: connections };
}

/** Accounts alone, for the access review. */
export async function examineAccounts(
  options: Pick<DoctorOptions, 'configuration' | 'targets' | 'store'>,
  connections: readonly string[],
): Promise<Finding[]> {
  const found: Finding[] = [];
  for (const target of options.targets.filter(({ name }) => connections.includes(name))) {
    try {
      found.push(...(await accounts(options, target)));
    } catch (cause) {
      found.push({
        check: 'account-unknown',
        severity: 'medium',
        where: `connection ${target.name}`,
        what: `its accounts could not be looked at: ${reasonOf(cause)}`,
        why: 'what they can do is not known',
        remedy: 'countersign doctor, when the target is up',
      });
    }
  }
  return found;
}

async function examine(
  options: DoctorOptions,
  target: ExaminedTarget,
  masked: MaskedCatalogue[],
  skip: Skip,
): Promise<Finding[]> {
  const { configuration, now } = options;
  const { doctor, connections } = configuration;
  const connection = connections.find(({ name }) => name === target.name);
  if (connection === undefined) return [];
  const found: Finding[] = [];
  const attempt = async (check: string, work: () => Promise<readonly Finding[]>) => {
    try {
      found.push(...(await work()));
    } catch (cause) {
      skip(`${check} (connection ${target.name})`, cause, target.name);
    }
  };
  if (connection.tls.mode === 'disable') found.push(plainTarget(connection.name, connection.host));
  try {
    await target.query('select 1');
  } catch (cause) {
    return [...found, unreachable(target.name, cause)];
  }
  await attempt('certificate', async () => {
    const der = await target.certificate();
    if (der === undefined && connection.tls.mode === 'disable') return [];
    if (der === undefined) throw new Error('the target showed no certificate');
    const facts = certificateFacts(`connection ${target.name}: the target's certificate`, der);
    return certificateFindings(facts, now(), doctor.certificateWarningMs);
  });
  await attempt('account', () => accounts(options, target));
  const names = Object.values(connection.credentials).map(({ user }) => user);
  await attempt('reach', async () =>
    reachFindings(await reachFacts(target.query, target.name, connection.database, names)),
  );
  await attempt('masking', async () => {
    const seen = { connection: target.name, labels: connection.labels, ...(await target.catalogue()) };
    masked.push(seen);
    return sensitiveFindings(seen, {
      query: doctor.sampleRows === 0 ? undefined : target.query,
      limits: { rows: doctor.sampleRows, tables: doctor.sampleTables, share: doctor.sampleShare },
    });
  });
  return found;
}

async function accounts(
  { configuration, store }: Pick<DoctorOptions, 'configuration' | 'store'>,
  { name, query }: ExaminedTarget,
): Promise<Finding[]> {
  const connection = configuration.connections.find((one) => one.name === name);
  if (connection === undefined) return [];
  const users = Object.entries(connection.credentials).map(([duty, { user }]) => ({ duty: duty as AccountDuty, user }));
  const usedRelations = 'unreachable' in store ? undefined : await store.usedRelations(name);
  const found: Finding[] = [];
  const seen = new Set<string>();
  for (const { duty, user } of users) {
    const sharing = users.filter((other) => other.user === user && other.duty !== duty).map((other) => other.duty);
    found.push(
      ...accountFindings(await accountFacts(query, name, duty, user), {
        usedRelations,
        sharedWith: seen.has(user) ? [] : sharing,
      }),
    );
    seen.add(user);
  }
  return found;
}

function unreachable(name: string, cause: unknown): Finding {
  return {
    check: 'target-unreachable',
    severity: 'high',
    where: `connection ${name}`,
    what: reasonOf(cause),
    why: 'no session opens, and nothing of this target could be checked',
    remedy: 'see the message; then run doctor again',
  };
}

function ownCertificates({ certificates, now, configuration }: DoctorOptions, skip: Skip): Finding[] {
  return certificates.flatMap(({ where, pem }) => {
    try {
      return certificateFindings(certificateFacts(where, pem), now(), configuration.doctor.certificateWarningMs);
    } catch (cause) {
      skip(`certificate (${where})`, cause);
      return [];
    }
  });
}

async function storeFindings(options: DoctorOptions, skip: Skip): Promise<Finding[]> {
  const { store, configuration, connections, keyOf } = options;
  const workflowLabels = configuration.workflows.map(({ match }, at) => ({
    where: `workflows[${at}]`,
    labels: match.labels,
  }));
  const rules = { bindings: configuration.bindings, connections, workflowLabels, keyOf };
  if ('unreachable' in store) {
    skip('duties held by nobody, accounts that read more than jobs use', new Error(store.unreachable));
    const finding: Finding = {
      check: 'store-unreachable',
      severity: 'high',
      where: 'store.url',
      what: store.unreachable,
      why: 'without its control store the gateway does not start',
      remedy: 'check the address and the account',
    };
    return [finding, ...ruleFindings({ ...rules, principals: undefined })];
  }
  const principals = await store.principals();
  const found = ruleFindings({ ...rules, principals: principals.length === 0 ? undefined : principals });
  const applied = await store.appliedPolicy?.();
  if (applied !== undefined && !applied.matches) {
    found.push({
      check: 'policy-differs',
      severity: 'medium',
      where: 'bindings, policies, workflows',
      what: applied.what,
      why: 'what people read in the file is not what is in force',
      remedy: 'countersign apply, or take the applied version into the file',
    });
  }
  for (const use of (await store.breakGlass?.()) ?? []) {
    found.push({
      check: 'break-glass-unreviewed',
      severity: 'medium',
      where: `request ${use.request} on ${use.connection}`,
      connection: use.connection,
      what: `${use.human} broke the glass at ${use.at}; ${use.reviewsGiven} of ${use.reviewsNeeded} reviews are given`,
      why: 'an emergency that nobody looks at is a way around',
      remedy: 'have it reviewed',
    });
  }
  return found;
}

async function clocks(
  { targets, store, configuration, providerClock, now }: DoctorOptions,
  skip: Skip,
): Promise<Finding[]> {
  const readings: ClockReading[] = [];
  const read = async (where: string, resolutionMs: number, ask: () => Promise<number | undefined>) => {
    try {
      const beforeMs = now();
      const shownMs = await ask();
      if (shownMs !== undefined && Number.isFinite(shownMs))
        readings.push({ where, beforeMs, afterMs: now(), shownMs, resolutionMs });
      else skip(`clock (${where})`, new Error('it shows no time'));
    } catch (cause) {
      skip(`clock (${where})`, cause);
    }
  };
  for (const { name, query } of targets) {
    await read(`connection ${name}`, 1, async () => {
      const { rows } = await query('select (extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint::text');
      return Number(rows[0]?.[0] ?? Number.NaN);
    });
  }
  if (!('unreachable' in store)) await read('the control store', 1, store.clock);
  for (const issuer of new Set(issuersOf(configuration.identity).map((one) => one.issuer))) {
    await read(`identity provider ${issuer}`, 1_000, () => providerClock(issuer));
  }
  return clockFindings(readings, configuration.doctor.maxClockSkewMs);
}

function isIgnored(finding: Finding, ignore: Configuration['doctor']['ignore']): boolean {
  return ignore.some(
    ({ check, where }) => compileGlob(check)(foldCase(finding.check)) && compileGlob(where)(foldCase(finding.where)),
  );
}

/** Errors of a target can quote what it read; SQLSTATE, and our own words, do not. */
function reasonOf(cause: unknown): string {
  if (cause instanceof CountersignError) return cause.message;
  if (typeof cause !== 'object' || cause === null) return 'unknown';
  if ('severity' in cause && 'code' in cause) return `the target answered SQLSTATE ${String(cause.code)}`;
  return cause instanceof Error ? cause.message : 'unknown';
}
