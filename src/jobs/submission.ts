/**
 * From a definition that a designer pushes to a request that somebody else can sign: parse, commit, plan, ask. Also the
 * other way round: what an approved request would be bound to if it were asked for now, which is how drift is found.
 */
import type { GrantInput, GrantTarget } from '../approvals/digest.ts';
import { refusalError, refusalOf } from '../approvals/refusal.ts';
import type { RequestService } from '../approvals/requests.ts';
import type { ConnectionLookup } from '../approvals/subject.ts';
import { CountersignError } from '../errors.ts';
import type { GateConnection } from '../gate/connection.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import { sha256Hex, type Json } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { mayAct } from '../policy/duty.ts';
import type { PolicySet } from '../policy/engine.ts';
import { analyse } from '../sql/analyse.ts';
import { definitionDigests } from '../sql/catalogue.ts';
import type { Store } from '../store/database.ts';
import { insertJobVersion, jobVersion, jobVersions, latestJobVersion, type JobVersion } from '../store/jobs.ts';
import type { RequestRecord } from '../store/requests.ts';
import { parseJobDefinition, type JobDefinition } from './definition.ts';
import { planDigestView, type JobPlan } from './job-plan.ts';
import { planJob } from './plan.ts';
import type { JobRepository } from './repository.ts';
import type { TargetReader } from './target-reader.ts';

/** What jobs need to know of a connection. */
export interface JobConnection {
  readonly gate: GateConnection;
  readonly reader: TargetReader;
  readonly searchPath: readonly string[];
  readonly target: () => Promise<GrantTarget>;
}

export interface JobEvent {
  readonly type: 'job.pushed' | 'job.refused';
  readonly [member: string]: Json | undefined;
}

export interface SubmissionOptions {
  readonly store: Store;
  readonly repository: JobRepository;
  readonly requests: RequestService;
  readonly policies: () => PolicySet;
  readonly connection: (name: string) => JobConnection | undefined;
  readonly policyConnection: ConnectionLookup;
  readonly record: (event: JobEvent) => Promise<void>;
  readonly clock: Clock;
  readonly grantDurationMs: number;
  /** The groups that are bound to the duty executor on a connection now. */
  readonly executorGroups: (connection: string) => readonly string[];
}

export interface Push {
  readonly principal: Principal;
  readonly dutiesOn: (connection: string) => readonly Duty[];
  readonly content: string;
  /** `jobs/<name>.yaml`; undefined = from the job's name. */
  readonly path: string | undefined;
  readonly message: string;
}

export interface Pushed {
  readonly version: JobVersion;
  readonly plan: JobPlan;
  readonly request: RequestRecord;
}

export class JobSubmission {
  readonly #options: SubmissionOptions;

  constructor(options: SubmissionOptions) {
    this.#options = options;
  }

  /**
   * Commits a definition, plans it and asks for its approval. What cannot be planned is not committed.
   * @throws job_invalid, connection_unknown, duty_missing, job_conflict, and everything that planning throws
   */
  async push(push: Push): Promise<Pushed> {
    const { store, repository, requests, record, clock } = this.#options;
    const { principal, content, message } = push;
    const path = push.path ?? `jobs/${/^job:\s*["']?([a-z0-9_-]+)/m.exec(content)?.[1] ?? 'unnamed'}.yaml`;
    try {
      const definition = parseJobDefinition(content, path);
      const duties = push.dutiesOn(definition.connection);
      const connection = this.#connection(definition.connection);
      const lookup = this.#options.policyConnection(definition.connection);
      if (lookup === undefined) throw unknownConnection(definition.connection);
      const refused = refusalOf(mayAct(this.#options.policies(), { principal, duties }, 'push-job', lookup));
      if (refused !== undefined) throw refusalError(refused);
      const [newest] = await jobVersions(store, definition.job);
      if (newest !== undefined && newest.connection !== definition.connection) {
        throw new CountersignError('job_conflict', `a job named ${definition.job} belongs to another connection`, {
          hint: 'a job stays on its connection; give this one another name',
        });
      }
      const plan = await planJob({ definition, reader: connection.reader });
      const { commit, digest } = await repository.push({ path, content, message, pusher: principal });
      const version = await insertJobVersion(store, {
        job: definition.job,
        path,
        commit,
        contentDigest: digest,
        content,
        connection: definition.connection,
        authors: await repository.authorsOf(path, commit),
        pushedBy: principal.id,
        pushedAt: new Date(clock.now()),
      });
      await record({
        type: 'job.pushed',
        job: version.job,
        version: version.version,
        commit,
        contentDigest: digest,
        principal: principal.id,
        human: principal.human,
        connection: version.connection,
      });
      const request = await requests.create({
        requester: principal,
        duties,
        connection: version.connection,
        title: `${version.job} version ${version.version}`,
        input: await this.#input(version, definition, plan),
        jobVersion: version.version,
        evidence: { plan, source: content },
        traits: {
          touchesMasked: await this.#touchesMasked(version.connection, plan),
          rows: plan.estimatedRows,
          bytes: plan.estimatedBytes,
        },
      });
      return { version, plan, request };
    } catch (error) {
      if (error instanceof CountersignError) {
        await record({ type: 'job.refused', path, code: error.code, principal: principal.id, human: principal.human });
      }
      throw error;
    }
  }

  /** What a request's grant would be bound to now: the newest content in the repository, today's definitions and rules. */
  async currentInput(request: RequestRecord): Promise<GrantInput> {
    const { store, repository } = this.#options;
    const { job, jobVersion: number } = request;
    if (job === undefined || number === undefined) throw new Error(`request ${request.id} is no job request`);
    const approved = await jobVersion(store, job, number);
    const latest = await latestJobVersion(store, job);
    if (approved === undefined || latest === undefined)
      throw new CountersignError('job_unknown', `job ${job} is not in the store`);
    const content = (await repository.read(latest.path)) ?? '';
    const plan = planOf(request);
    const definition = parseJobDefinition(approved.content, approved.path);
    const input = await this.#input({ ...latest, content, contentDigest: sha256Hex(content) }, definition, plan);
    return input;
  }

  /** The definitions of everything that a plan reads, as the target has them now. */
  async definitions(connectionName: string, plan: JobPlan): Promise<readonly { name: string; digest: string }[]> {
    const { gate } = this.#connection(connectionName);
    const { catalogue } = await gate.refresh();
    const facts = analyse(plan.source, catalogue, { maxBytes: Number.MAX_SAFE_INTEGER });
    const oids = new Set(facts.flatMap((one) => one.relations.map((relation) => relation.oid)));
    return definitionDigests(catalogue, [...oids]);
  }

  async #touchesMasked(connectionName: string, plan: JobPlan): Promise<boolean> {
    const { catalogue, maskIndex } = await this.#connection(connectionName).gate.refresh();
    const facts = analyse(plan.source, catalogue, { maxBytes: Number.MAX_SAFE_INTEGER });
    return facts.some(
      (one) => one.unknowns.length > 0 || one.relations.some((relation) => maskIndex.touches(relation.oid)),
    );
  }

  async #input(version: JobVersion, definition: JobDefinition, plan: JobPlan): Promise<GrantInput> {
    const { gate, searchPath, target } = this.#connection(version.connection);
    const { output, limits } = plan;
    return {
      kind: 'job',
      job: {
        name: version.job,
        path: version.path,
        contentDigest: version.contentDigest,
        commit: version.commit,
        authors: version.authors,
      },
      target: await target(),
      searchPath,
      definitions: await this.definitions(version.connection, plan),
      parameters: Object.fromEntries(
        Object.entries(definition.parameters).map(([name, parameter]) => [
          name,
          { ...(parameter as unknown as { readonly [member: string]: Json }), value: plan.parameters[name] ?? null },
        ]),
      ),
      plan: {
        strategy: plan.strategy,
        key: plan.key.map((column) => column.source),
        count: plan.chunks.length,
        bounds: planDigestView(plan),
      },
      output: { format: output.format, to: output.to, escapeFormulas: output.escapeFormulas },
      maskingDigest: gate.masking.digest,
      caps: { rows: limits.rows ?? null, bytes: limits.bytes ?? null },
      executors: { duty: 'executor', groups: this.#options.executorGroups(version.connection) },
      expiry: { durationMs: this.#options.grantDurationMs },
    };
  }

  #connection(name: string): JobConnection {
    const connection = this.#options.connection(name);
    if (connection === undefined) throw unknownConnection(name);
    return connection;
  }
}

/** The plan that a job request shows; its digest view is part of what was signed. */
export function planOf(request: RequestRecord): JobPlan {
  const { plan } = request.evidence as { plan?: JobPlan };
  if (plan === undefined) throw new Error(`request ${request.id} has no plan`);
  return plan;
}

function unknownConnection(name: string): CountersignError {
  return new CountersignError('connection_unknown', `there is no connection ${JSON.stringify(name)}`, {
    hint: "'countersign connections' lists them",
  });
}
