/** Attacks on a loop that was approved as a template: whatever is not a further step of it waits for an approval of its own. */
import assert from 'node:assert/strict';
import type pg from 'pg';
import { scriptList, type World } from './attack.ts';
import { frame, rowsOf } from './wire.ts';

const { scripts, add } = scriptList('approved loops', 'held');
export const templateScripts = scripts;

const step = (low: number | string, high: number | string) =>
  `select id, label from plain where id > ${low} and id <= ${high}`;
const bound = 'select id, label from plain where id > $1 and id <= $2';

/** Approves what waits as a loop over the first 40 keys, 30 rows at most. */
async function approveLoop(world: World): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const { body } = await world.harness.api<{ requests: { id: string }[] }>(
      'executor',
      'GET',
      '/requests?state=pending',
    );
    const [found] = body.requests;
    if (found !== undefined) {
      const template = { untilKey: 40, rows: 30 };
      const answer = await world.harness.api('executor', 'POST', `/requests/${found.id}/approve`, { template });
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('no request appeared');
}

async function looping(world: World): Promise<pg.Client> {
  const { client } = await world.tapped('designer');
  const first = client.query(step(0, 10));
  await approveLoop(world);
  assert.equal((await first).rows.length, 10);
  return client;
}

async function rowsWithoutApproval(world: World, client: pg.Client, query: string | pg.QueryConfig): Promise<number> {
  return world.unapproved(
    client.query(query as string).then(
      (result: pg.QueryResult | pg.QueryResult[]) => [result].flat().reduce((sum, one) => sum + one.rows.length, 0),
      () => 0,
    ),
  );
}

for (const [what, text] of [
  ['bounds that are swapped', step(20, 10)],
  ['a bound that is NULL', step(10, 'null')],
  ['a range below the first key', step(-1_000_000, 20)],
  ['a huge range', step(10, 2_000_000_000)],
  ['a bound as text', step("'10'", 20)],
  ['a bound as text that is cast', step("'10'::text::int", 20)],
  ['a bound in scientific notation', step(10, '1e9')],
  ['a bound that is cast', step('10::bigint', 20)],
  ['a bound that is computed', step(10, '10 + 10')],
  ['a bound that is a subquery', step(10, '(select 20)')],
  ['OR true', `${step(10, 20)} or true`],
  ['OR another range', `${step(10, 20)} or id > 0`],
  ['another operator', 'select id, label from plain where id >= 11 and id <= 20'],
  ['another column in the list', 'select id, label, ctid from plain where id > 10 and id <= 20'],
  ['a UNION', `${step(10, 20)} union all select id, label from plain`],
  ['a second statement', `${step(10, 20)}; select id, label from plain`],
  ['a comment that ends early', `${step(10, 20)} /* */ or true -- */`],
  ['a range that was read', step(0, 10)],
  ['a range that overlaps', step(9, 20)],
  ['a range beyond the last key', step(30, 41)],
  ['a cursor', `declare c cursor with hold for ${step(10, 20)}`],
  ['EXPLAIN ANALYZE', `explain analyze ${step(10, 20)}`],
  ['COPY', `copy (${step(10, 20)}) to stdout`],
  ['CREATE TABLE AS', `create temporary table stolen as ${step(10, 20)}`],
] as const) {
  add(`a step with ${what} is none`, async (world) => {
    const client = await looping(world);
    const marker = `/* no step: ${what} */`;
    assert.equal(await rowsWithoutApproval(world, client, `${marker} ${text}`), 0);
    assert.ok(!(await world.harness.targetLog()).includes(marker));
  });
}

add('more rows than the cap: the stream ends, and what the cap leaves is not given twice', async (world) => {
  const client = await looping(world);
  assert.equal(await rowsWithoutApproval(world, client, step(10, 25)), 15);
  assert.equal(await rowsWithoutApproval(world, client, step(25, 40)), 0);
});

add('a table, a schema or a setting of the session does not put another relation behind the name', async (world) => {
  const client = await looping(world);
  for (const text of [
    'create temporary table plain as select id, name as label from customers',
    'create temporary view plain as select 11 as id, ssn as label from customers',
    'set search_path to pg_temp, public',
    "select set_config('search_path', 'pg_temp, public', false)",
  ]) {
    assert.equal(await rowsWithoutApproval(world, client, text), 0, text);
  }
  assert.equal(await rowsWithoutApproval(world, client, step(10, 20)), 10);
});

add('two sessions at once: neither has what belongs to the other', async (world) => {
  const client = await looping(world);
  const { client: other } = await world.tapped('designer');
  const rows = await Promise.all([
    rowsWithoutApproval(world, other, step(10, 20)),
    rowsWithoutApproval(world, client, step(10, 20)),
  ]);
  assert.deepEqual(rows, [0, 10]);
});

for (const [what, frames] of [
  [
    'bound twice in one batch',
    [frame.bind('', 'p', ['10', '20']), frame.execute(''), frame.bind('', 'p', ['0', '1000']), frame.execute('')],
  ],
  [
    'bound to two portals',
    [frame.bind('a', 'p', ['10', '20']), frame.bind('b', 'p', ['0', '1000']), frame.execute('b')],
  ],
  [
    'bound otherwise behind what was looked at',
    [frame.bind('', 'p', ['10', '20']), frame.bind('', 'p', ['0', '1000']), frame.execute('')],
  ],
  ['bound to NULL', [frame.bind('', 'p', ['10', null]), frame.execute('')]],
  ['bound to everything', [frame.bind('', 'p', ['0', '1000']), frame.execute('')]],
] as const) {
  add(`a prepared statement of an approved loop, ${what}, reads no key that was not approved`, async (world) => {
    const session = await world.raw('designer');
    session.send(frame.parse('p', bound), frame.bind('', 'p', ['0', '10']), frame.execute(''), frame.sync());
    await approveLoop(world);
    assert.equal(rowsOf(await session.until('Z', 1)), 10);
    session.send(...frames, frame.sync());
    const answers = await world.unapproved(session.until('Z', 1));
    assert.ok(rowsOf(answers) <= 10, `${rowsOf(answers)} rows came`);
    session.send(frame.bind('', 'p', ['0', '1000']), frame.execute(''), frame.sync());
    assert.equal(rowsOf(await world.unapproved(session.until('Z', 1))), 0);
  });
}

add('a step whose rows are asked for in pieces waits for an approval of its own', async (world) => {
  const session = await world.raw('designer');
  session.send(frame.parse('p', bound), frame.bind('', 'p', ['0', '10']), frame.execute(''), frame.sync());
  await approveLoop(world);
  await session.until('Z', 1);
  session.send(frame.bind('', 'p', ['10', '20']), frame.execute('', 3), frame.sync());
  assert.equal(rowsOf(await world.unapproved(session.until('Z', 1))), 0);
});
