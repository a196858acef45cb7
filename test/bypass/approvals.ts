/** Attacks on approvals and on the sampling budget. */
import assert from 'node:assert/strict';
import { failure, scriptList } from './attack.ts';
import { frame, rowsOf } from './wire.ts';

const { scripts, add } = scriptList('approvals and budgets', 'held');
export const approvalScripts = scripts;

const bulk = 'select id, label from plain where id > $1';

for (const [name, frames] of [
  ['another bind of the same statement', [frame.bind('first', '', ['48']), frame.bind('', '', ['0'])]],
  ['another statement first', [frame.bind('first', 'other', ['48']), frame.bind('', '', ['0'])]],
  ['a portal that is closed again', [frame.bind('', '', ['48']), frame.close('P', ''), frame.bind('', '', ['0'])]],
] as const) {
  add(`what runs has the parameters that were approved: ${name}`, async (world) => {
    const session = await world.raw('designer');
    await session.run(1, frame.parse('other', 'select $1::text'), frame.sync());
    session.send(frame.parse('', bulk), ...frames, frame.execute(''), frame.sync());
    const approved = await world.approveNext().catch(() => undefined);
    const answers = await session.until('Z', 1);
    const allowed = approved?.parameters === '["48"]' ? 2 : approved === undefined ? 0 : 50;
    assert.ok(rowsOf(answers) <= allowed, `approved ${String(approved?.parameters)}, ${rowsOf(answers)} rows came`);
  });
}

add('an approval that was not used in its batch is not there for other parameters', async (world) => {
  const session = await world.raw('designer');
  session.send(frame.parse('', bulk), frame.bind('', '', ['48']), frame.describe('P', ''), frame.sync());
  const approved = await world.approveNext().catch(() => undefined);
  await session.until('Z', 1);
  session.send(frame.bind('', '', ['0']), frame.execute(''), frame.sync());
  const answers = await world.unapproved(session.until('Z', 1));
  assert.ok(rowsOf(answers) <= 2, `approved ${String(approved?.parameters)}, ${rowsOf(answers)} rows came`);
});

add('a Close of the held statement in its own batch does not pass the approval to another text', async (world) => {
  const session = await world.raw('designer');
  session.send(
    frame.parse('h', bulk),
    frame.bind('', 'h', ['48']),
    frame.close('S', 'h'),
    frame.parse('h', 'select id, label /*smuggled*/ from plain where id > $1'),
    frame.bind('', 'h', ['0']),
    frame.execute(''),
    frame.sync(),
  );
  await world.approveNext().catch(() => undefined);
  const answers = await world.unapproved(session.until('Z', 1));
  assert.ok(rowsOf(answers) <= 2);
  assert.ok(!(await world.harness.targetLog()).includes('/*smuggled*/'));
});

add('an approved statement runs once, whatever the batch that follows says', async (world) => {
  const session = await world.raw('designer');
  session.send(
    frame.parse('a', 'select id, label /*once*/ from plain'),
    frame.bind('', 'a'),
    frame.execute(''),
    frame.sync(),
  );
  await world.approveNext();
  assert.ok(rowsOf(await session.until('Z', 1)) >= 50);
  session.send(
    frame.parse('bad', 'select upper(1)'),
    frame.close('S', 'a'),
    frame.parse('a', 'select 1, upper(label) from plain limit 1'),
    frame.sync(),
    frame.bind('', 'a'),
    frame.execute(''),
    frame.sync(),
  );
  const answers = await world.unapproved(session.until('Z', 2));
  assert.ok(rowsOf(answers) <= 1, `${rowsOf(answers)} rows without an approval`);
});

for (const text of [
  'select json_agg(p) from plain p',
  'select string_agg(label, $$,$$) from plain',
  'select array(select label from plain)',
  'select (select jsonb_object_agg(id, label) from plain)',
  'select xmlagg(xmlelement(name a, label)) from plain',
  'select array_agg(label) over () from plain limit 1',
  'select q.all from (select json_arrayagg(label) as all from plain) q limit 1',
  'select json_array(select label from plain)',
  "with recursive r(n, t) as (select 0, '' union all select n + 1, t || (select label from plain where id = n + 1) from r where n < 49) select t from r order by n desc limit 1",
  `select ${Array.from({ length: 120 }, (_, n) => `(select label from plain where id = ${n})`).join(', ')}`,
  'select count(*) from plain; select id from plain limit 500',
  'select id from plain offset 1',
  'select id from plain order by id fetch first 10 rows with ties',
  'select id from plain limit (select 90)',
  'select id from plain where id > 10 order by id limit 10',
  'select id from plain where ctid > $$(0,1)$$ limit 10',
  'select id from plain tablesample bernoulli (100)',
  'update plain set label = label',
  'with w as (delete from plain where id = 1 returning *) select * from w limit 1',
  'copy plain from stdin',
  'create table t ()',
  'truncate plain',
]) {
  add(`a designer's ${text.slice(0, 100)} needs an approval`, async (world) => {
    const { client } = await world.tapped('designer');
    const error = await failure(world.unapproved(client.query(text)));
    assert.equal(error.code, 'ZC001', error.message);
  });
}

add('small reads of many sessions stay within one budget', async (world) => {
  const sessions = await Promise.all(Array.from({ length: 4 }, () => world.tapped('etl-designer')));
  let rows = 0;
  await world.unapproved(
    Promise.all(
      sessions.map(async ({ client }, index) => {
        for (let page = 0; page < 8; page++) {
          const low = (index * 8 + page) * 9;
          const text = `select id, region from customers where id > ${low} and id <= ${low + 9} limit 9`;
          rows += await client.query(page % 2 === 0 ? { text } : { text, name: `p${page}`, values: [] }).then(
            (result) => result.rows.length,
            () => 0,
          );
        }
      }),
    ),
  );
  assert.ok(rows <= 100, `${rows} rows`);
});
