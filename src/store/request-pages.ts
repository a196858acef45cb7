/** Which requests stand on one page of a list: ids only, in order, after a cursor. What they are is read one by one. */
import type { Expression, SqlBool } from 'kysely';
import type { RequestKind, RequestState, StoreOrTransaction } from './database.ts';
import type { JobVersion } from './jobs.ts';
import { jobVersion } from './jobs.ts';
import type { RequestRecord } from './requests.ts';

export interface RequestPageFilter {
  readonly order: 'oldest' | 'newest';
  /** Only on these. */
  readonly connections: readonly string[];
  readonly state?: RequestState | undefined;
  readonly kind?: RequestKind | undefined;
  readonly requesterHuman?: string | undefined;
  /** The last id of the page before this one; one that is not there gives an empty page. */
  readonly after?: string | undefined;
  readonly limit: number;
}

export async function requestPage(store: StoreOrTransaction, filter: RequestPageFilter): Promise<string[]> {
  const { order, connections, state, kind, requesterHuman, after, limit } = filter;
  if (connections.length === 0) return [];
  const direction = order === 'oldest' ? 'asc' : 'desc';
  let query = store.selectFrom('requests').select('id').where('connection', 'in', connections);
  if (state !== undefined) query = query.where('state', '=', state);
  if (kind !== undefined) query = query.where('kind', '=', kind);
  if (requesterHuman !== undefined) query = query.where('requester_human', '=', requesterHuman);
  if (after !== undefined) {
    query = query.where((compare): Expression<SqlBool> => {
      const cursor = compare
        .selectFrom('requests')
        .select(['created_at', 'id'])
        .where('id', '=', after)
        .$asTuple('created_at', 'id');
      return compare(compare.refTuple('created_at', 'id'), order === 'oldest' ? '>' : '<', cursor);
    });
  }
  const rows = await query.orderBy('created_at', direction).orderBy('id', direction).limit(limit).execute();
  return rows.map(({ id }) => id);
}

export interface ApprovedVersion {
  readonly requestId: string;
  readonly approvedAt: Date;
  readonly version: JobVersion;
}

/** The version of the same job that was approved last before this request was made. */
export async function lastApprovedBefore(
  store: StoreOrTransaction,
  request: RequestRecord,
): Promise<ApprovedVersion | undefined> {
  if (request.job === undefined) return undefined;
  const row = await store
    .selectFrom('requests')
    .select(['id', 'job_version', 'closed_at'])
    .where('job', '=', request.job)
    .where('connection', '=', request.connection)
    .where('kind', '=', 'job')
    .where('state', '=', 'approved')
    .where('id', '!=', request.id)
    .where('created_at', '<=', request.createdAt)
    .orderBy('created_at', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (row?.job_version == null || row.closed_at === null) return undefined;
  const version = await jobVersion(store, request.job, row.job_version);
  return version && { requestId: row.id, approvedAt: row.closed_at, version };
}
