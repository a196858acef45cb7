/** Marks of claims that have begun: rows in, records out. The rules are in `approvals/grants.ts`. */
import type { Database, StoreOrTransaction } from './database.ts';
import type { Selectable } from 'kysely';

export interface ClaimMark {
  readonly id: string;
  readonly grantId: string;
  readonly node: string;
  /** Who claims. */
  readonly principalId: string;
  readonly begunAt: Date;
}

export async function insertClaimMark(store: StoreOrTransaction, mark: ClaimMark): Promise<void> {
  await store
    .insertInto('grant_claims')
    .values({
      id: mark.id,
      grant_id: mark.grantId,
      node: mark.node,
      principal_id: mark.principalId,
      begun_at: mark.begunAt,
    })
    .execute();
}

/** Returns false when it was gone already. */
export async function deleteClaimMark(store: StoreOrTransaction, id: string): Promise<boolean> {
  const result = await store.deleteFrom('grant_claims').where('id', '=', id).executeTakeFirst();
  return result.numDeletedRows === 1n;
}

/** Oldest first. */
export async function claimMarksOf(store: StoreOrTransaction, node: string, limit: number): Promise<ClaimMark[]> {
  const rows = await store
    .selectFrom('grant_claims')
    .selectAll()
    .where('node', '=', node)
    .orderBy('begun_at')
    .limit(limit)
    .execute();
  return rows.map(markOf);
}

function markOf(row: Selectable<Database['grant_claims']>): ClaimMark {
  return {
    id: row.id,
    grantId: row.grant_id,
    node: row.node,
    principalId: row.principal_id,
    begunAt: row.begun_at,
  };
}
