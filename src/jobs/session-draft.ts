/** A job draft from what a session did: its statements as the log has them, searched for a paging loop. */
import { sessionStatements } from '../audit/session-statements.ts';
import type { LogReader } from '../audit/proofs.ts';
import { CountersignError } from '../errors.ts';
import type { CatalogueRelation } from '../sql/statement.ts';
import { PagingWatch, type PagingLoop } from '../sql/paging.ts';
import type { StoredSession } from '../store/sessions.ts';
import { draftJob, type JobDraft, type TableFacts } from './draft.ts';
import type { JobConnection } from './submission.ts';
import type { TargetReader } from './target-reader.ts';

export interface SessionDraftOptions {
  readonly node: string;
  readonly log: { readonly read: LogReader; readonly checkpoint: () => Promise<string> };
  readonly connection: (name: string) => JobConnection | undefined;
}

/**
 * The draft of the loop that a session ran last. Who may ask is the caller's business.
 * @throws CountersignError `recording_unknown` (another node has its log), `loop_not_found`, `connection_unknown`
 */
export async function draftFromSession(options: SessionDraftOptions, session: StoredSession): Promise<JobDraft> {
  if (session.node !== options.node) {
    throw new CountersignError(
      'recording_unknown',
      `session ${session.id} was on node ${session.node}, which has its log`,
      {
        hint: `ask that node's API (--server)`,
      },
    );
  }
  const connection = options.connection(session.connection);
  if (connection === undefined) {
    throw new CountersignError(
      'connection_unknown',
      `there is no connection ${JSON.stringify(session.connection)} any more`,
    );
  }
  const loop = await lastLoop(options, session);
  const { reader } = connection;
  return draftJob({
    loop,
    connection: session.connection,
    sessionId: session.id,
    catalogue: await reader.catalogue(),
    maskOf: (column) => reader.maskOf(column),
    table: (relation) => tableFacts(reader, relation),
  });
}

async function lastLoop({ log }: SessionDraftOptions, session: StoredSession): Promise<PagingLoop> {
  const size = Number((await log.checkpoint()).split('\n')[1]);
  const watch = new PagingWatch();
  let statements = 0;
  let cut = 0;
  let found: PagingLoop | undefined;
  const { id: sessionId, startedAt, endedAt } = session;
  for await (const { text, whole } of sessionStatements({ read: log.read, size, sessionId, startedAt, endedAt })) {
    statements++;
    if (!whole) cut++;
    else found = watch.see(text) ?? found;
  }
  found ??= watch.declared();
  // Pieces of a cursor whose declaration is not known say nothing about what they read.
  if (found !== undefined && found.text !== '') return found;
  const long = cut === 0 ? '' : `; ${cut} were too long to stand in the log whole`;
  throw new CountersignError(
    'loop_not_found',
    `session ${sessionId} shows no paging loop in its ${statements} statements${long}`,
    {
      detail:
        'looked for two SELECTs that differ only in an OFFSET that grew, a bound that moved on (col > …, BETWEEN, rows of columns), ' +
        'the next ctid range or the next remainder (id % 10 = …), and for DECLARE CURSOR',
      hint: 'write the job yourself (docs/jobs.md), or run the second step of the loop once and try again',
    },
  );
}

async function tableFacts(reader: TargetReader, relation: CatalogueRelation): Promise<TableFacts> {
  const keys = await reader.query(
    'select a.attname::text from pg_catalog.pg_index i, unnest(i.indkey::int2[]) with ordinality k(attnum, place) ' +
      'join pg_catalog.pg_attribute a on a.attnum = k.attnum ' +
      `where i.indrelid = ${relation.oid} and a.attrelid = i.indrelid and i.indisprimary and k.place <= i.indnkeyatts order by k.place`,
  );
  const estimate = await reader.query(
    'select sum(greatest(c.reltuples, 0))::float8::text, bool_or(c.reltuples >= 0)::text from pg_catalog.pg_class c ' +
      `where c.oid = ${relation.oid} or c.oid in (select t.relid from pg_catalog.pg_partition_tree(${relation.oid}) t where t.isleaf)`,
  );
  const [rows, known] = estimate.rows[0] ?? [];
  return {
    primaryKey: keys.rows.flatMap(([name]) => name ?? []),
    estimatedRows: known === 'true' && rows !== null && rows !== undefined ? Math.round(Number(rows)) : undefined,
  };
}
