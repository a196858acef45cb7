/** Database sessions in the control store: who was connected to what, when, and how much came back. */
import type { Selectable } from 'kysely';
import type { SessionsTable, StoreOrTransaction } from './database.ts';

export interface SessionTotals {
  readonly statements: number;
  readonly rows: number;
  readonly maskedCells: number;
}

export interface StoredSession extends SessionTotals {
  readonly id: string;
  readonly principalId: string;
  readonly human: string;
  /** The duty in which the session acts. */
  readonly duty: string;
  readonly connection: string;
  readonly runId: string | undefined;
  readonly clientAddress: string;
  /** What the client says of itself (application_name). */
  readonly application: string;
  /** The gateway node that serves it. */
  readonly node: string;
  readonly startedAt: Date;
  /** undefined: it is open, or its node died. */
  readonly endedAt: Date | undefined;
}

export type NewSession = Omit<StoredSession, 'endedAt' | keyof SessionTotals>;

/** Every filter that is given must hold. */
export interface SessionFilter {
  readonly principalId?: string | undefined;
  readonly human?: string | undefined;
  readonly connection?: string | undefined;
  /** Any of these. */
  readonly connections?: readonly string[] | undefined;
  readonly runId?: string | undefined;
  readonly openOnly?: boolean | undefined;
  /** Inclusive. */
  readonly startedFrom?: Date | undefined;
  /** Exclusive. */
  readonly startedBefore?: Date | undefined;
  /** Id of a session: only those that began before it. */
  readonly before?: string | undefined;
  /** Default 100. */
  readonly limit?: number | undefined;
}

const defaultLimit = 100;

export async function insertSession(store: StoreOrTransaction, session: NewSession): Promise<void> {
  await store
    .insertInto('sessions')
    .values({
      id: session.id,
      principal_id: session.principalId,
      human: session.human,
      duty: session.duty,
      connection: session.connection,
      run_id: session.runId ?? null,
      client_address: session.clientAddress,
      // PostgreSQL's text has no NUL; what a client calls itself must not keep its session out of the books.
      application: session.application.replaceAll('\0', '\u{fffd}'),
      node: session.node,
      started_at: session.startedAt,
      ended_at: null,
    })
    .execute();
}

/** @returns false when there is no such open session; a session is finished once */
export async function finishSession(
  store: StoreOrTransaction,
  id: string,
  totals: SessionTotals,
  endedAt: Date,
): Promise<boolean> {
  const row = await store
    .updateTable('sessions')
    .set({ ended_at: endedAt, statements: totals.statements, rows: totals.rows, masked_cells: totals.maskedCells })
    .where('id', '=', id)
    .where('ended_at', 'is', null)
    .returning('id')
    .executeTakeFirst();
  return row !== undefined;
}

/** Ends sessions of which nobody will say what they did: the process that had them is gone. */
export async function finishLostSessions(
  store: StoreOrTransaction,
  ids: readonly string[],
  endedAt: Date,
): Promise<void> {
  if (ids.length === 0) return;
  await store
    .updateTable('sessions')
    .set({ ended_at: endedAt })
    .where('id', 'in', ids)
    .where('ended_at', 'is', null)
    .execute();
}

/** Ends what a node left open when it died; for the start of that node, before it serves anybody. @returns how many */
export async function finishAbandonedSessions(store: StoreOrTransaction, node: string, endedAt: Date): Promise<number> {
  const result = await store
    .updateTable('sessions')
    .set({ ended_at: endedAt })
    .where('node', '=', node)
    .where('ended_at', 'is', null)
    .executeTakeFirst();
  return Number(result.numUpdatedRows);
}

export async function findSession(store: StoreOrTransaction, id: string): Promise<StoredSession | undefined> {
  const row = await store.selectFrom('sessions').selectAll().where('id', '=', id).executeTakeFirst();
  return row === undefined ? undefined : sessionOf(row);
}

/** Newest first. */
export async function listSessions(store: StoreOrTransaction, filter: SessionFilter = {}): Promise<StoredSession[]> {
  let query = store.selectFrom('sessions').selectAll();
  if (filter.principalId !== undefined) query = query.where('principal_id', '=', filter.principalId);
  if (filter.human !== undefined) query = query.where('human', '=', filter.human);
  if (filter.connection !== undefined) query = query.where('connection', '=', filter.connection);
  if (filter.connections !== undefined) {
    if (filter.connections.length === 0) return [];
    query = query.where('connection', 'in', [...filter.connections]);
  }
  if (filter.before !== undefined) {
    const { before } = filter;
    query = query.where((where) =>
      where(
        where.refTuple('started_at', 'id'),
        '<',
        where
          .selectFrom('sessions as cursor')
          .select(['cursor.started_at', 'cursor.id'])
          .where('cursor.id', '=', before)
          .$asTuple('started_at', 'id'),
      ),
    );
  }
  if (filter.runId !== undefined) query = query.where('run_id', '=', filter.runId);
  if (filter.openOnly === true) query = query.where('ended_at', 'is', null);
  if (filter.startedFrom !== undefined) query = query.where('started_at', '>=', filter.startedFrom);
  if (filter.startedBefore !== undefined) query = query.where('started_at', '<', filter.startedBefore);
  const rows = await query
    .orderBy('started_at', 'desc')
    .orderBy('id', 'desc')
    .limit(filter.limit ?? defaultLimit)
    .execute();
  return rows.map(sessionOf);
}

function sessionOf(row: Selectable<SessionsTable>): StoredSession {
  return {
    id: row.id,
    principalId: row.principal_id,
    human: row.human,
    duty: row.duty,
    connection: row.connection,
    runId: row.run_id ?? undefined,
    clientAddress: row.client_address,
    application: row.application,
    node: row.node,
    startedAt: row.started_at,
    endedAt: row.ended_at ?? undefined,
    statements: row.statements,
    rows: row.rows,
    maskedCells: row.masked_cells,
  };
}
