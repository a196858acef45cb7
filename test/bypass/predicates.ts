/**
 * Attacks on columns whose rules let a statement ask something: `coded.code` may be compared with many constants an hour,
 * `coded.spare` with two, of `coded.noted` it may be asked whether it is NULL.
 */
import assert from 'node:assert/strict';
import { masked, refused, type Attack } from './attack-lists.ts';
import { scriptList, type World } from './attack.ts';
import { errorsOf, frame, rowsOf } from './wire.ts';

export const predicateAttacks: readonly Attack[] = [
  ...masked(
    'one value a comparison',
    "select id, code from coded where code = 'zq7k0003'",
    "select * from coded c join plain p using (id) where c.code = 'zq7k0003' and p.label <> 'x'",
    "select id, code from coded where 'zq7k0003' = code and id < 9",
    "select id, code from coded where code in ('zq7k0003', 'zq7k0009')",
    "select id from coded where (code = 'zq7k0003'::text and (id > 1 and code in ('a', 'zq7k0003')))",
    "select count(*) from coded where code = 'none'",
    'select id, noted from coded where noted is not null and not noted is null',
    "select case when noted is null then 'a' else 'b' end, coalesce(noted, 'x') from coded where id < 4",
    'select id from coded where code is not null limit 1',
  ),
  ...refused(
    'many values a comparison',
    'select id from coded where code = (select token from vault where id = 1)',
    "select id from coded where code = any (array['zq7k0001', 'zq7k0002'])",
    "select id from coded where code in ('a', (select label from plain where id = 1))",
    'select c.id from coded c, plain p where c.code = p.label',
    "select c.id from coded c join (values ('zq7k0001'), ('zq7k0002')) v(x) on c.code = v.x",
    "select c.id from coded c join (values ('zq7k0001'), ('zq7k0002')) v(x) on true where c.code = v.x",
    "select c.id from coded c, generate_series(1, 40) g where c.code = 'zq7k' || lpad(g::text, 4, '0')",
    "select g, c.id from generate_series(1, 40) g, lateral (select id from coded where code = 'zq7k000' || g) c",
    "select (select id from coded where code = 'zq7k0001')",
    "select exists (select 1 from coded where code = 'zq7k0001')",
    "select id from plain where id in (select id from coded where code = 'zq7k0001')",
    "with c as (select id from coded where code = 'zq7k0001') select * from c",
    "select id from (select * from coded) q where code = 'zq7k0001'",
    "select id from (select * from coded) q where q.code = 'zq7k0001'",
    "with coded as (select * from public.coded) select id from coded where code = 'zq7k0001'",
    "select id from coded_view where label = 'zq7k0001'",
    "select id from coded where code = 'zq7k0001' or code = 'zq7k0002'",
    "select id from coded where code = 'zq7k0001' or id = 2",
    "select id from coded where not code = 'zq7k0001'",
    "select id from coded where not (code <> 'zq7k0001')",
    "select id from coded where code not in ('zq7k0001')",
    "select id from coded where (code = 'zq7k0001') = true",
    "select id from coded where (code = 'zq7k0001') is true",
    "select id from coded where (code, id) = ('zq7k0001', 1)",
    "select id from coded where row(code) = row('zq7k0001')",
    "select id from coded where code is not distinct from 'zq7k0001'",
    "select id from coded where code like 'zq7k0001'",
    "select id from coded where code between 'zq7k0001' and 'zq7k0001'",
    "select id from coded where upper(code) = 'ZQ7K0001'",
    "select id from coded where code || '' = 'zq7k0001'",
    "select id from coded where code::text = 'zq7k0001'",
    'select id from coded where code collate "C" = \'zq7k0001\'',
    'select id from coded where code = \'zq7k0001\' collate "C"',
    'select id from coded where code = spare',
    'select id from coded where code = code',
    "select id from coded where code = lower('ZQ7K0001')",
    "select id from coded where code = current_setting('application_name')",
    "select id from coded where code = 'a' and code > 'b'",
    "select id, code = 'zq7k0001' from coded",
    "select id from coded order by code = 'zq7k0001'",
    "select count(*) filter (where code = 'zq7k0001') from coded",
    "select id from coded group by id, code having code = 'zq7k0001'",
    "select id from coded where code = 'zq7k0001' order by code",
    "select distinct code from coded where code = 'zq7k0001'",
    "select id from coded where code = 'zq7k0001' union all select id from coded where code = 'zq7k0002'",
    "(select id from coded where code = 'zq7k0001')  union select 1",
    "delete from coded where code = 'zq7k0001'",
    "update coded set id = id where code = 'zq7k0001'",
    "insert into labels select id + 5000, 'x' from coded where code = 'zq7k0001'",
    "explain select id from coded where code = 'zq7k0001'",
    "explain (analyze) select id from coded where code = 'zq7k0001'",
    'select c.id from coded c join coded d on c.code = d.code and d.id = 1',
    "select id from coded natural join (select 'zq7k0001' as code) v",
    "select c.id from coded c join vault v on v.token = 'zq7k0001' and c.id = v.id where c.code = 'x'",
    "select c.id from coded c join vault v on c.id = v.id where v.token = 'zq7k0001'",
    "select id from coded where code operator(pg_catalog.=) 'zq7k0001'",
    "select id from coded where noted = 'zq7k0001'",
    'select id from coded where coalesce(noted, code) is null',
    'select id from coded where nullif(noted, $$zq7k0001$$) is null',
    'select id from vault where token is null',
    'select id from vault where id = 1 and not token is not null',
    'select case when token is null then 1 else 2 end from vault',
    'select exists (select 1 from vault where token is null)',
    'select coalesce(token, (1 / (id - id))::text) from vault',
    'update vault set id = id where token is null',
    'select v.id from vault v join plain p on v.token is null',
    'select count(*) filter (where pin is null) from vault',
  ),
];

const { scripts, add } = scriptList('a budget of comparisons', 'refused');
export const predicateScripts = scripts;

const spent = /may be compared with 2 constants an hour, of which [012] are used/;

add('what is left of two is counted over sessions, statements, lists and protocols', async (world) => {
  const first = await world.tapped();
  const second = await world.tapped();
  const code = async (client: typeof first.client, text: string) =>
    client.query(text).then(
      () => 'ran',
      (error: unknown) => (error instanceof Error && spent.test(error.message) ? 'spent' : String(error)),
    );
  // More than there is: nothing is taken.
  assert.equal(await code(first.client, "select id from coded where spare in ('a', 'b', 'c')"), 'spent');
  assert.equal(
    await code(first.client, "select 1; select id from coded where spare = 'a' and spare = 'b' and spare = 'c'"),
    'spent',
  );
  assert.equal(await code(first.client, "select id from coded where spare = 'zq7k0003'"), 'ran');
  assert.equal(await code(second.client, "select id from coded where spare in ('a', 'b')"), 'spent');
  const session = await world.raw();
  const text = 'select id from coded where spare = $1';
  const answers = await session.run(1, frame.parse('kept', text), frame.describe('S', 'kept'), frame.sync());
  assert.deepEqual(errorsOf(answers), []);
  const counts: (number | string)[] = [];
  for (const guess of ['zq7k0004', 'zq7k0005', 'zq7k0006']) {
    const one = await session.run(1, frame.bind('', 'kept', [guess]), frame.execute(''), frame.sync());
    counts.push(errorsOf(one)[0] ?? rowsOf(one));
  }
  // The Parse has paid for the first execution, and nothing is left for another.
  assert.deepEqual(counts, [1, '42501', '42501']);
  const piped = await session.run(
    1,
    frame.bind('a', 'kept', ['zq7k0005']),
    frame.execute('a'),
    frame.bind('b', 'kept', ['zq7k0006']),
    frame.execute('b'),
    frame.sync(),
  );
  assert.deepEqual([errorsOf(piped), rowsOf(piped)], [['42501'], 0]);
  assert.equal(await code(second.client, "select id from coded where spare = 'zq7k0001'"), 'spent');
  assert.equal(
    await code(second.client, "declare c cursor with hold for select id from coded where spare = 'x'"),
    'spent',
  );
  assert.equal(await code(second.client, "copy (select id from coded where spare = 'x') to stdout"), 'spent');
  const other = await world.tapped('designer');
  assert.equal(await code(other.client, "select id from coded where spare = 'zq7k0003' limit 1"), 'ran');
});

add('what was compared stands neither in the log nor in a recording', async (world) => {
  const { harness } = world;
  const { client } = await world.tapped();
  await client.query("select id from coded where code = 'zq7k0003'");
  await client.query("select id from coded where code in ('zq7k0004', 'zq7k0005') and id > 1");
  await client.query({ text: 'select id from coded where code = $1', values: ['zq7k0003'] });
  await client.end();
  const entries = (await harness.entries()).filter((entry) => /coded where code (=|in)/.test(String(entry['text'])));
  const ran = entries.filter((entry) => entry['type'] === 'statement.intent');
  assert.ok(ran.length >= 3);
  for (const entry of ran) assert.doesNotMatch(JSON.stringify(entry), /zq7k/);
  const recorded = await recordingOf(world, String(ran.at(-1)?.['session']));
  assert.match(recorded, /code = '…'/);
  assert.match(recorded, /code = \$1|withheld/);
  assert.doesNotMatch(recorded, /zq7k/);
});

/** A recording can be read a moment after its session has ended. */
async function recordingOf({ harness }: World, session: string): Promise<string> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const response = await fetch(`${harness.app.apiUrl}/api/v1/sessions/${session}/replay`, {
      headers: { authorization: `Bearer ${await harness.token('auditor')}` },
    });
    const text = await response.text();
    if (response.ok) return text;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`there is no recording of session ${session}`);
}
