/** Queries of system tests whose answers are searched for raw values. */
import assert from 'node:assert/strict';
import pg from 'pg';
import { leaked } from './bypass/schema.ts';

export async function rowsFrom(client: pg.Client, text: string): Promise<Record<string, unknown>[]> {
  const answer = await client.query<Record<string, unknown>>(text);
  assert.equal(leaked(JSON.stringify(answer.rows)), undefined, text);
  return answer.rows;
}

export async function refusalFrom(client: pg.Client, text: string): Promise<pg.DatabaseError> {
  const error: unknown = await client.query(text).then(
    () => undefined,
    (caught: unknown) => caught,
  );
  assert.ok(error instanceof pg.DatabaseError, `${text}: this had to be refused`);
  return error;
}
