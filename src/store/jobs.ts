/** Job versions in the control store: what was pushed, by whom, with which content. Versions are only ever added. */
import { sql, type Selectable } from 'kysely';
import type {
  AuthorRecord,
  GrantState,
  JobVersionsTable,
  RequestState,
  RunState,
  Store,
  StoreOrTransaction,
} from './database.ts';

export interface JobVersion {
  readonly job: string;
  /** 1, 2, 3 … per job. */
  readonly version: number;
  readonly path: string;
  readonly commit: string;
  /** SHA-256 of the content, hex. */
  readonly contentDigest: string;
  readonly content: string;
  readonly connection: string;
  readonly authors: readonly AuthorRecord[];
  /** Principal id. */
  readonly pushedBy: string;
  readonly pushedAt: Date;
}

export type NewJobVersion = Omit<JobVersion, 'version'>;

/** Adds the next version of a job. A commit that is already there gives its existing version (a push that is repeated). */
export async function insertJobVersion(store: Store, version: NewJobVersion): Promise<JobVersion> {
  return store.transaction().execute(async (transaction) => {
    // Numbers have no gaps and no doubles: pushes of one job wait for each other here.
    await sql`select pg_advisory_xact_lock(hashtextextended(${`job ${version.job}`}, 0))`.execute(transaction);
    const latest = await latestJobVersion(transaction, version.job);
    if (latest?.commit === version.commit) return latest;
    const row = await transaction
      .insertInto('job_versions')
      .values({
        job: version.job,
        version: (latest?.version ?? 0) + 1,
        path: version.path,
        commit_id: version.commit,
        content_digest: version.contentDigest,
        content: version.content,
        connection: version.connection,
        authors: JSON.stringify(version.authors),
        pushed_by: version.pushedBy,
        pushed_at: version.pushedAt,
      })
      .returningAll()
      .executeTakeFirstOrThrow();
    return versionOf(row);
  });
}

export async function latestJobVersion(store: StoreOrTransaction, job: string): Promise<JobVersion | undefined> {
  const row = await store
    .selectFrom('job_versions')
    .selectAll()
    .where('job', '=', job)
    .orderBy('version', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row === undefined ? undefined : versionOf(row);
}

export async function jobVersion(
  store: StoreOrTransaction,
  job: string,
  version: number,
): Promise<JobVersion | undefined> {
  const row = await store
    .selectFrom('job_versions')
    .selectAll()
    .where('job', '=', job)
    .where('version', '=', version)
    .executeTakeFirst();
  return row === undefined ? undefined : versionOf(row);
}

/** Newest first. */
export async function jobVersions(store: StoreOrTransaction, job: string): Promise<JobVersion[]> {
  const rows = await store
    .selectFrom('job_versions')
    .selectAll()
    .where('job', '=', job)
    .orderBy('version', 'desc')
    .execute();
  return rows.map(versionOf);
}

/** The newest version of each job, by name. */
export async function latestJobVersions(store: StoreOrTransaction): Promise<JobVersion[]> {
  const rows = await store
    .selectFrom('job_versions')
    .distinctOn('job')
    .selectAll()
    .orderBy('job')
    .orderBy('version', 'desc')
    .execute();
  return rows.map(versionOf);
}

/** What became of a version: its newest request, and the run that came of it. */
export interface VersionStanding {
  readonly job: string;
  readonly version: number;
  readonly request: string;
  readonly state: RequestState;
  readonly grant: GrantState | undefined;
  readonly run: string | undefined;
  readonly runState: RunState | undefined;
}

/** At most one for each version of these jobs. */
export async function versionStandings(store: StoreOrTransaction, jobs: readonly string[]): Promise<VersionStanding[]> {
  if (jobs.length === 0) return [];
  const rows = await store
    .selectFrom('requests')
    .leftJoin('grants', 'grants.request_id', 'requests.id')
    .leftJoin('runs', 'runs.grant_id', 'grants.id')
    .distinctOn(['requests.job', 'requests.job_version'])
    .select([
      'requests.id as request',
      'requests.state as state',
      'requests.job as job',
      'requests.job_version as version',
      'grants.state as grant',
      'runs.id as run',
      'runs.state as runState',
    ])
    .where('requests.kind', '=', 'job')
    .where('requests.job', 'in', [...jobs])
    .orderBy('requests.job')
    .orderBy('requests.job_version')
    .orderBy('requests.created_at', 'desc')
    .execute();
  return rows.flatMap(({ job, version, grant, run, runState, ...rest }) =>
    job === null || version === null
      ? []
      : [{ ...rest, job, version, grant: grant ?? undefined, run: run ?? undefined, runState: runState ?? undefined }],
  );
}

function versionOf(row: Selectable<JobVersionsTable>): JobVersion {
  return {
    job: row.job,
    version: row.version,
    path: row.path,
    commit: row.commit_id,
    contentDigest: row.content_digest,
    content: row.content,
    connection: row.connection,
    authors: row.authors,
    pushedBy: row.pushed_by,
    pushedAt: row.pushed_at,
  };
}
