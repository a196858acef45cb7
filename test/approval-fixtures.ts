/** People, a job and services that the tests of approvals share. */
import { after } from 'node:test';
import type { Transaction } from 'kysely';
import type { Duty, Principal } from '../src/identity/principal.ts';
import type { HumanSource } from '../src/identity/humans.ts';
import type { Json } from '../src/lib/canonical-json.ts';
import { compilePolicies } from '../src/policy/engine.ts';
import { humanKey } from '../src/policy/entities.ts';
import type { GrantInput } from '../src/approvals/digest.ts';
import type { ApprovalEvent, RecordEvent } from '../src/approvals/events.ts';
import { GrantService, type ClaimStep } from '../src/approvals/grants.ts';
import { RequestService } from '../src/approvals/requests.ts';
import type { Workflow } from '../src/approvals/workflow.ts';
import { encodeEntry, type LogEvent } from '../src/audit/events.ts';
import type { TransparencyLog } from '../src/audit/log.ts';
import type { AuthorRecord, Database } from '../src/store/database.ts';
import { startTestStore, type TestStore } from './control-store.ts';

export const policySet = compilePolicies({ files: [] });

export function person(id: string, groups: readonly string[] = []): Principal {
  return { id, human: id, kind: 'person', displayName: id, email: `${id}@example.test`, groups };
}

export function serviceOf(owner: string, id: string, groups: readonly string[] = []): Principal {
  return { id, human: owner, kind: 'service', displayName: id, email: undefined, groups };
}

export function author(human: string, role: AuthorRecord['role'] = 'author'): AuthorRecord {
  return { human, name: human, role };
}

export const hex = (digit: string): string => digit.repeat(64);

export function jobInput(more: Partial<GrantInput> = {}, authors = [author('dora', 'pusher')]): GrantInput {
  return {
    kind: 'job',
    job: { name: 'export', path: 'jobs/export.yaml', contentDigest: hex('1'), commit: '2'.repeat(40), authors },
    target: {
      host: 'db.test',
      port: 5432,
      database: 'crm',
      systemIdentifier: '7300',
      databaseOid: '16384',
      timeline: 1,
      engine: 'postgres',
    },
    searchPath: ['public'],
    definitions: [
      { name: 'public.customers', digest: hex('3') },
      { name: 'public.regions', digest: hex('4') },
    ],
    parameters: { region: { type: 'text', allowed: ['EU', 'US'], value: 'EU' } },
    plan: { strategy: 'quantile', key: ['id'], count: 3, bounds: [['10'], ['20']] },
    output: { format: 'parquet', to: 'file://out/export' },
    maskingDigest: hex('5'),
    caps: { rows: 5_000, bytes: null },
    executors: { duty: 'executor', groups: [] },
    expiry: { durationMs: 3_600_000 },
    ...more,
  };
}

export function statementInput(text = 'select * from customers'): GrantInput {
  const { job: _job, plan: _plan, output: _output, ...rest } = jobInput();
  return {
    ...rest,
    kind: 'statement',
    statement: { text, parameters: ['7', null], classes: ['read'] },
    parameters: {},
    executors: { duty: 'designer', groups: [] },
  };
}

export class TestClock {
  time = Date.parse('2026-01-02T03:04:05Z');
  now(): number {
    return this.time;
  }
}

/** Humans who have one name each and are all known. */
export const plainHumans: HumanSource = {
  keysFor: () => Promise.resolve({ keyOf: humanKey, ownersOf: () => [] }),
};

export interface Services {
  readonly requests: RequestService;
  readonly grants: GrantService;
  readonly clock: TestClock;
  readonly events: ApprovalEvent[];
  /** Set it to make the log fail. */
  logFailure: Error | undefined;
}

export function startServices(
  { store, pool }: TestStore,
  more: {
    workflows?: readonly Workflow[];
    maxHoldsPerHuman?: number;
    pollMs?: number;
    humans?: HumanSource;
    node?: string;
    onStep?: (step: ClaimStep) => void | Promise<void>;
    record?: RecordEvent;
  } = {},
): Services {
  const clock = new TestClock();
  const events: ApprovalEvent[] = [];
  const record = (event: ApprovalEvent): Promise<void> => {
    if (services.logFailure !== undefined) return Promise.reject(services.logFailure);
    // What is not JSON would not survive the log.
    if (more.record !== undefined) return more.record(event);
    events.push(JSON.parse(JSON.stringify(event)) as { type: ApprovalEvent['type'] } & Record<string, Json>);
    return Promise.resolve();
  };
  const shared = {
    store,
    record,
    clock,
    policySet: () => policySet,
    workflows: () => more.workflows ?? [],
    humans: more.humans ?? plainHumans,
    connections: (name: string) => (name === 'crm' ? { name, labels: { env: 'prod' }, engine: 'postgres' } : undefined),
  };
  const services: Services = {
    requests: new RequestService({ ...shared, pool, maxHoldsPerHuman: more.maxHoldsPerHuman, pollMs: more.pollMs }),
    grants: new GrantService({ ...shared, node: more.node ?? 'test', onStep: more.onStep }),
    clock,
    events,
    logFailure: undefined,
  };
  return services;
}

/** Puts the events of approvals into a real log, as a node does. */
export function recordIn(log: TransparencyLog, node: string): RecordEvent {
  return (event) => {
    const entry = { ...event, at: new Date().toISOString(), node } as unknown as LogEvent;
    return log.durable(log.append(encodeEntry(entry)));
  };
}

/** What a run is to the store: one for a grant. */
export async function storeRun(transaction: Transaction<Database>, grantId: string): Promise<string> {
  const run = { id: `run_${grantId}`, grant_id: grantId, job: 'export', job_version: 1, connection: 'crm' };
  const who = { executor_id: 'eve', executor_human: 'eve' };
  const state = { state: 'running' as const, plan_json: '{}', snapshot: 'shared' as const, created_at: new Date() };
  const end = { finished_at: null, manifest_json: null, failure: null };
  await transaction
    .insertInto('runs')
    .values({ ...run, ...who, ...state, ...end })
    .execute();
  return run.id;
}

/** A stored job version for requests to point at; a second call changes nothing. */
export async function storeJobVersion({ store }: TestStore): Promise<void> {
  await store
    .insertInto('job_versions')
    .values({
      job: 'export',
      version: 1,
      path: 'jobs/export.yaml',
      commit_id: '2'.repeat(40),
      content_digest: hex('1'),
      content: 'job: export',
      connection: 'crm',
      authors: JSON.stringify([author('dora')]),
      pushed_by: 'dora',
      pushed_at: new Date(0),
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

export const designer: readonly Duty[] = ['designer'];
export const approver: readonly Duty[] = ['approver', 'executor'];
export const everyDuty: readonly Duty[] = ['designer', 'approver', 'executor', 'auditor', 'admin'];

export interface ApprovalBench {
  readonly database: TestStore;
  /** Services of a process of its own; they are closed with the file. */
  readonly start: (more?: Parameters<typeof startServices>[1]) => Services;
  /** Closes the services that were started so far. */
  readonly closeServices: () => Promise<void>;
}

/** A store with a job version in it, for one file of tests. */
export async function approvalBench(): Promise<ApprovalBench> {
  const database = await startTestStore({ maxConnections: 30 });
  await storeJobVersion(database);
  const started: Services[] = [];
  const closeServices = async () => {
    for (const { requests } of started.splice(0)) await requests.close();
  };
  after(async () => {
    await closeServices();
    await database.stop();
  });
  return {
    database,
    closeServices,
    start: (more = {}) => {
      const services = startServices(database, more);
      started.push(services);
      return services;
    },
  };
}
