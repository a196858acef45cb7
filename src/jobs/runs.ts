/**
 * Runs: a grant becomes a run, the run's chunks become statements of the gateway. Whoever reads a chunk gets the frozen
 * SQL of the approved plan under the run's own snapshot; the reader's text decides nothing but the chunk's number.
 */
import type { GrantInput } from '../approvals/digest.ts';
import { drift } from '../approvals/digest.ts';
import type { GrantService } from '../approvals/grants.ts';
import type { RequestService } from '../approvals/requests.ts';
import { approvedInput } from '../approvals/subject.ts';
import { CountersignError } from '../errors.ts';
import type { ChunkTicket, ResultCounts, SessionIdentity } from '../gate/control-plane.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import { newId } from '../lib/clock.ts';
import type { Store } from '../store/database.ts';
import { findGrant } from '../store/grants.ts';
import { jobVersion } from '../store/jobs.ts';
import type { RequestRecord } from '../store/requests.ts';
import { runById } from '../store/runs.ts';
import type { JobPlan } from './job-plan.ts';
import type { Ledger } from './ledger.ts';
import type { RunState } from './runner-api.ts';
import { planOf, type JobConnection, type JobSubmission } from './submission.ts';

/** A snapshot that is held open at the target for a run. */
export interface RunSnapshot {
  readonly id: string;
  onLost(callback: (error: Error) => void): void;
  release(): Promise<void>;
}

export interface RunServiceOptions {
  readonly store: Store;
  readonly requests: RequestService;
  readonly grants: GrantService;
  readonly submission: JobSubmission;
  readonly ledger: Ledger;
  readonly connection: (name: string) => JobConnection | undefined;
  readonly holdSnapshot: (connection: string) => Promise<RunSnapshot>;
  /** A credential that opens run sessions of this run and nothing else. */
  readonly issueCredential: (principal: Principal, connection: string, runId: string) => Promise<RunCredential>;
  readonly revokeCredentials: (runId: string) => Promise<void>;
  readonly boundsKey: Buffer;
  readonly snapshotMaxAgeMs: number;
  /** By the groups that are known now, not by those of the session's log-in. */
  readonly dutiesNow: (principal: Principal, connection: string) => Promise<readonly Duty[]>;
  readonly onError: (cause: unknown) => void;
}

export interface RunCredential {
  readonly user: string;
  readonly password: string;
  readonly expiresAt: Date;
}

export interface StartedRun {
  readonly runId: string;
  readonly job: string;
  readonly connection: string;
  readonly credential: RunCredential;
}

interface HeldRun {
  readonly snapshot: RunSnapshot;
  readonly timer: NodeJS.Timeout;
}

function unknownJob(job: string): CountersignError {
  return new CountersignError('job_unknown', `there is no job ${JSON.stringify(job)}`, {
    hint: 'countersign jobs push <file>',
  });
}

export class RunService {
  readonly #options: RunServiceOptions;
  /** Snapshots that this process holds, by run. */
  readonly #held = new Map<string, HeldRun>();

  constructor(options: RunServiceOptions) {
    this.#options = options;
  }

  /**
   * Consumes the job's grant and makes the run. Everything that the approval is bound to is worked out anew first.
   * @throws grant_missing, grant_used, grant_expired, grant_void (naming what drifted), duty_conflict, duty_missing
   */
  async start(ask: {
    readonly principal: Principal;
    readonly dutiesOn: (connection: string) => readonly Duty[];
    readonly job: string;
    readonly requestId: string | undefined;
  }): Promise<StartedRun> {
    const { grants, submission, ledger, holdSnapshot, issueCredential } = this.#options;
    const request = await this.#approvedRequest(ask.job, ask.requestId);
    // Whoever holds nothing there hears no more than that there is no such job, and the target is not asked for them.
    if (ask.dutiesOn(request.connection).length === 0) throw unknownJob(ask.job);
    const { principal } = ask;
    const plan = planOf(request);
    const current = await submission.currentInput(request);
    const snapshot = await holdSnapshot(request.connection);
    const runId = newId('run');
    try {
      await grants.claim({
        requestId: request.id,
        principal,
        duties: ask.dutiesOn(request.connection),
        current,
        extra: (transaction, grant) =>
          ledger.createRun(transaction, {
            id: runId,
            grantId: grant.id,
            job: ask.job,
            jobVersion: request.jobVersion ?? 0,
            connection: request.connection,
            executor: { id: principal.id, human: principal.human },
            plan,
            snapshot: 'shared',
          }),
      });
    } catch (error) {
      await snapshot.release().catch(this.#options.onError);
      throw error;
    }
    this.#hold(runId, snapshot);
    const credential = await issueCredential(principal, request.connection, runId);
    return { runId, job: ask.job, connection: request.connection, credential };
  }

  /** A fresh credential for a run that is still open: to go on with it after a crash of the runner. */
  async credential(runId: string, principal: Principal): Promise<RunCredential> {
    const run = await runById(this.#options.store, runId);
    if (run === undefined) throw new CountersignError('run_unknown', `there is no run ${runId}`);
    if (run.state !== 'running' && run.state !== 'paused')
      throw new CountersignError('run_not_open', `run ${runId} is ${run.state}`);
    if (run.executor_human !== principal.human) {
      throw new CountersignError('forbidden', `run ${runId} belongs to ${run.executor_id}`, {
        hint: 'only its executor goes on with a run',
      });
    }
    return this.#options.issueCredential(principal, run.connection, runId);
  }

  #hold(runId: string, snapshot: RunSnapshot): void {
    const { snapshotMaxAgeMs, onError } = this.#options;
    const drop = (reason: string) => {
      const held = this.#held.get(runId);
      if (held === undefined) return;
      clearTimeout(held.timer);
      this.#held.delete(runId);
      held.snapshot.release().catch(onError);
      this.#options.ledger.markSnapshotMixed(runId, reason).catch(onError);
    };
    const timer = setTimeout(() => drop(`the snapshot was older than ${snapshotMaxAgeMs} ms`), snapshotMaxAgeMs);
    timer.unref();
    snapshot.onLost((error) => drop(`the target let go of the snapshot: ${error.message}`));
    this.#held.set(runId, { snapshot, timer });
  }

  /** The request whose grant a run of this job would use: the one named, or the newest that was approved. */
  async #approvedRequest(job: string, requestId: string | undefined): Promise<RequestRecord> {
    const { requests } = this.#options;
    if (requestId !== undefined) {
      const { request } = await requests.get(requestId);
      if (request.job !== job)
        throw new CountersignError('request_unknown', `request ${requestId} is not for job ${job}`);
      return request;
    }
    const all = await requests.list({ kind: 'job', job, limit: 50 });
    if (all.length === 0) throw unknownJob(job);
    const approved = all.find((request) => request.state === 'approved') ?? all[0];
    if (approved === undefined) throw new Error('a list that is not empty has a first element');
    return approved;
  }

  // ---- chunks, for the gate ----

  /** @throws run_not_open, run_statement_refused, chunk_not_available, grant_void, limit_exceeded */
  async beginChunk(
    identity: SessionIdentity,
    job: string,
    chunkNo: number,
    columns: '*' | readonly string[],
  ): Promise<ChunkTicket> {
    const { run, plan, input } = await this.#run(identity, job);
    const all = plan.outputs.map((output) => output.name);
    if (columns !== '*' && (columns.length !== all.length || columns.some((name, index) => name !== all[index]))) {
      throw new CountersignError(
        'run_statement_refused',
        'countersign: a chunk is read whole, with all its columns in their order',
        {
          hint: `select * or select ${all.join(', ')}`.slice(0, 500),
        },
      );
    }
    const approved = await this.#stillApproved(run.connection, plan, input);
    const begun = await this.#options.ledger.begin(run.id, chunkNo, identity.sessionId);
    return {
      runId: run.id,
      grantId: begun.grantId,
      job,
      chunkNo,
      attempt: begun.attempt,
      sql: begun.sql,
      preamble: this.#preamble(run.id, begun.statementTimeoutMs),
      ...approved,
      rowsLeft: begun.rowsLeft,
      bytesLeft: begun.bytesLeft,
    };
  }

  async probeRun(identity: SessionIdentity, job: string): Promise<ChunkTicket> {
    const { run, plan, input } = await this.#run(identity, job);
    return {
      runId: run.id,
      grantId: run.grant_id,
      job,
      chunkNo: -1,
      attempt: 0,
      sql: `select * from (${plan.source}\n) as chunk_source where false`,
      preamble: this.#preamble(run.id, plan.limits.statementTimeoutMs),
      ...(await this.#stillApproved(run.connection, plan, input)),
      rowsLeft: 0,
      bytesLeft: undefined,
    };
  }

  async delivered(ticket: ChunkTicket, counts: ResultCounts, rowDigest: string): Promise<void> {
    if (ticket.chunkNo < 0) return;
    await this.#options.ledger.delivered(ticket, counts, rowDigest);
  }

  async failed(ticket: ChunkTicket, reason: string): Promise<void> {
    if (ticket.chunkNo < 0) return;
    try {
      await this.#options.ledger.failAttempt(ticket, reason, true);
    } catch (error) {
      // The attempt is over already: delivered, killed, or its lease ran out.
      if (!(error instanceof CountersignError)) throw error;
    }
  }

  async #run(identity: SessionIdentity, job: string) {
    const { store, requests } = this.#options;
    const run = identity.runId === undefined ? undefined : await runById(store, identity.runId);
    if (run === undefined) throw new CountersignError('run_unknown', 'this session belongs to no run');
    if (run.job !== job) {
      throw new CountersignError(
        'run_statement_refused',
        `countersign: this session reads chunkrun."${run.job}", not chunkrun."${job}"`,
      );
    }
    const duties = await this.#options.dutiesNow(identity.principal, run.connection);
    if (!duties.includes('executor')) {
      throw new CountersignError('duty_missing', `countersign: ${identity.principal.id} is no executor any more`, {
        hint: 'duties come from groups of the identity provider',
      });
    }
    const grant = await findGrant(store, run.grant_id);
    if (grant === undefined) throw new Error(`run ${run.id} has no grant`);
    const { request } = await requests.get(grant.requestId);
    return { run, plan: JSON.parse(run.plan_json) as JobPlan, input: approvedInput(request) };
  }

  /** Definitions and masking rules must still be those that were signed: looked at again for every chunk. */
  async #stillApproved(connectionName: string, plan: JobPlan, approved: GrantInput) {
    const connection = this.#options.connection(connectionName);
    if (connection === undefined)
      throw new CountersignError('connection_unknown', `there is no connection ${connectionName}`);
    const { gate } = connection;
    const { catalogue } = await gate.refresh();
    const maskingDigest = gate.masking.digest;
    const now: GrantInput = {
      ...approved,
      maskingDigest,
      definitions: await this.#options.submission.definitions(connectionName, plan),
      target: await connection.target(),
    };
    const drifted = drift(approved, now);
    if (drifted.length > 0) {
      throw new CountersignError(
        'grant_void',
        `countersign: what was approved has changed during the run: ${drifted.join('; ')}`,
      );
    }
    return { source: plan.source, catalogueVersion: catalogue.version, maskingDigest };
  }

  #preamble(runId: string, statementTimeoutMs: number): string {
    const held = this.#held.get(runId);
    const enter = held === undefined ? '' : `set transaction snapshot '${held.snapshot.id.replaceAll("'", "''")}'; `;
    return `rollback; begin isolation level repeatable read read only; ${enter}set local statement_timeout = ${Math.trunc(statementTimeoutMs)}`;
  }

  // ---- ending ----

  async finish(runId: string): Promise<{ state: RunState; manifest: string | null }> {
    const { ledger, store, requests, boundsKey } = this.#options;
    const run = await runById(store, runId);
    if (run === undefined) throw new CountersignError('run_unknown', `there is no run ${runId}`);
    const version = await jobVersion(store, run.job, run.job_version);
    const grant = await findGrant(store, run.grant_id);
    if (version === undefined || grant === undefined) throw new Error(`run ${runId} has no job version or grant`);
    const { request } = await requests.get(grant.requestId);
    const finished = await ledger.finish(runId, {
      commit: version.commit,
      contentDigest: version.contentDigest,
      maskDigest: approvedInput(request).maskingDigest,
      boundsKey,
    });
    await this.#release(runId);
    return finished;
  }

  async kill(runId: string, by: string, reason: string): Promise<void> {
    await this.#options.ledger.kill(runId, by, reason);
    await this.#release(runId);
  }

  async #release(runId: string): Promise<void> {
    const held = this.#held.get(runId);
    this.#held.delete(runId);
    if (held !== undefined) {
      clearTimeout(held.timer);
      await held.snapshot.release().catch(this.#options.onError);
    }
    await this.#options.revokeCredentials(runId);
  }

  async close(): Promise<void> {
    for (const { snapshot, timer } of this.#held.values()) {
      clearTimeout(timer);
      await snapshot.release().catch(this.#options.onError);
    }
    this.#held.clear();
  }
}
