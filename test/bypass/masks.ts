/** Attacks on the masks themselves: a mask that says something about what it hides. */
import assert from 'node:assert/strict';
import pg from 'pg';
import { assertClean, failure, scriptList } from './attack.ts';

const { scripts, add } = scriptList('masks', 'masked');
export const maskScripts = scripts;

add('a computed value does not tell by being NULL what it was computed from', async (world) => {
  const { client } = await world.tapped();
  const digits = Array.from({ length: 10 }, (_, digit) => `case when substr(ssn, 3, 1) = '${digit}' then 'x' end`);
  const answer = await world.told(client, `select array[1], ${digits.join(', ')} from customers where id = 7`);
  const cells = answer.startsWith('[') ? (JSON.parse(answer) as unknown[][])[0]?.slice(1) : [];
  assert.ok(new Set(cells).size <= 1, answer);
});

for (const text of [
  'select nullif(token, $) from vault where id = 1',
  "select max(case when token = $ then 'x' end) from vault where id = 1",
  'select nullif(token, $) from vault where id = 1 union all select nullif(token, $) from vault where id = 1',
  'with c as (select nullif(token, $) a from vault where id = 1) select a from c',
  'select (select nullif(token, $)) from vault where id = 1',
  'select (array_remove(tags, $))[1] from vault where id = 1',
  'select substring(token from $) from vault where id = 1',
  'select lag(token, (token = $)::int) over () from vault where id = 1',
  ...['"char"', 'xml', 'json', 'name', 'bpchar', 'date', 'text[]', 'bytea'].map(
    (type) =>
      `select (case when token = $ then ${type === 'date' ? "'2020-01-01'" : type === 'text[]' ? "'{1}'" : "'1'"} end)::${type} from vault where id = 1`,
  ),
  'select 1 / (case when token = $ then 0 else 1 end) from vault where id = 1',
  "select (case when token = $ then 'x' else '1' end)::int from vault where id = 1",
  "select regexp_replace('a', case when token = $ then '(' else 'b' end, '') from vault where id = 1",
  'select 1 from vault where id = 1 limit (select case when token = $ then 0 else 1 end from vault where id = 1)',
]) {
  add(`a right and a wrong guess look alike: ${text}`, async (world) => {
    const { client } = await world.tapped();
    const [right, wrong] = ["'zq7k0001'", "'zq7k0002'"].map((guess) => world.told(client, text.replaceAll('$', guess)));
    assert.equal(await right, await wrong);
  });
}

/** The value and a guess at it, as rows: DISTINCT leaves one of them only where the guess is right. */
const guessed = '(select token x from vault where id = 1 union all select $) q';
const second = '(array_agg(distinct x))[2]';

for (const text of [
  // a JSON constructor fails on a key that is NULL, and picking a key out of an object makes it NULL or not
  'select json_build_object(json_build_object(token, 1) ->> $, 1) from vault where id = 1',
  'select jsonb_build_object(jsonb_build_object(token, 1) ->> $, 1) from vault where id = 1',
  'select json_object_agg(json_build_object(token, 1) ->> $, 1) from vault where id = 1',
  'select json_object((json_build_object(token, 1) ->> $) : 1) from vault where id = 1',
  'select json_objectagg((json_extract_path_text(json_build_object(token, 1), $)) : 1) from vault where id = 1',
  'select json_build_object(((jsonb_build_object(token, 1))[$])::text, 1) from vault where id = 1',
  `select json_build_object(${second}, 1) from ${guessed}`,
  `select json_object(null::text : ${second} absent on null) from ${guessed}`,
  // COALESCE computes its next argument only where the one before is NULL
  'select coalesce(json_build_object(token, 1) ->> $, (1 / (id - id))::text) from vault where id = 1',
  `select coalesce(${second}, (1 / (count(*) - 2))::text) from ${guessed}`,
  // what fails on every value does not fail on NULL
  "select split_part(json_build_object(token, 1) ->> $, 'a', 0) from vault where id = 1",
  'select substr(json_build_object(token, 1) ->> $, 1, -1) from vault where id = 1',
  "select encode(convert_to(json_build_object(token, 1) ->> $, 'UTF8'), 'none') from vault where id = 1",
  `select to_char(length(${second}), '9.9.9') from ${guessed}`,
  `select upper(${second} || a || b) from ${guessed}, (select 'a' collate "C" a, 'b' collate "POSIX" b) r group by a, b`,
  `select split_part(${second}, 'a', 0) from ${guessed}`,
  // rows whose column types differ are compared up to the first difference, and fail only behind it
  'select greatest(row(token, 1), row($::text, $$x$$::text)) from vault where id = 1',
  'select least(array[row(token, 1)], array[row($::text, $$x$$::text)]) from vault where id = 1',
  'select max(r) from (select row(token, 1) r from vault where id = 1 union all select row($::text, $$x$$::text)) q',
  'select count(distinct r) from (select row(token, 1) r from vault where id = 1 union all select row($::text, $$x$$::text)) q',
  // a number in json may be too large for jsonb
  "select to_jsonb(json_build_object(token, '1e999999'::json) -> $) from vault where id = 1",
  "select jsonb_agg(json_build_object(token, '1e999999'::json) -> $) from vault where id = 1",
  "select json_array((json_build_object(token, '1e999999'::json) -> $) returning jsonb) from vault where id = 1",
  // arrays of different sizes do not go together
  `select array[array_agg(distinct x), array['a', 'b']] from ${guessed}`,
  // the row, or the default, that is asked for is computed
  `select lag(1, n, (1 / z)::int) over () from (select num_nulls(${second}) n, count(*) - 2 z from ${guessed}) r`,
  // a conflict says whether the value is there
  'insert into locker (id, token) values (80001, $) on conflict do nothing returning 1',
  'insert into locker (id, token) values (80001, $) on conflict on constraint locker_token_key do nothing returning 1',
  'insert into locker (id, token) values (80001, $) on conflict (token) do nothing returning 1',
  // the size of the answer
  "select json_build_object(token, repeat('x', 34000000)) ->> $ from vault where id = 1",
]) {
  addGuess(text);
}

// With `substr` and one character a guess, this would read the whole value.
addGuess("select split_part(token || p, $, 1) from vault, (select repeat('x', 34000000) p) r where id = 1");
const uniqueTells = 'a unique constraint on a masked column says to an INSERT whether the value is there';
addGuess('insert into locker (id, token) values (90001, $) returning 1', uniqueTells);

function addGuess(text: string, known?: string): void {
  add(
    `a right and a wrong guess look alike: ${text}`,
    async (world) => {
      // Where the gateway ends the session, too, the second guess needs its own.
      const clients = [(await world.tapped()).client, (await world.tapped()).client] as const;
      const [right, wrong] = ["'zq7k0001'", "'zq7k9999'"].map((guess, index) =>
        world.told(
          clients[index === 0 ? 0 : 1],
          text.replaceAll('$$', '\0').replaceAll('$', guess).replaceAll('\0', '$$$$'),
        ),
      );
      const [first, other] = [await right, await wrong];
      assert.equal(first, other);
    },
    known === undefined ? {} : { known },
  );
}

for (const [column, changes] of [
  ['card_number', ['right(card_number, 12) || left(card_number, 4)', 'left(card_number, 8)', 'reverse(card_number)']],
  ['email', ["'x@' || replace(email, '@', '.')", "regexp_replace(email, '^(.*)@', 'x@\\1.')"]],
] as const) {
  for (const change of changes) {
    add(`a mask that shows a part shows no other part after ${column} = ${change}`, async (world) => {
      const { client } = await world.tapped();
      await client.query('begin');
      const show = async () => {
        const { rows } = await client.query<Record<string, unknown>>(`select ${column} c from vault where id = 1`);
        return String(rows[0]?.['c']);
      };
      const before = await show();
      try {
        await client.query(`update vault set ${column} = ${change} where id = 1`);
        const after = await show();
        assert.ok(after === before || after === '[masked]', `${before} and now ${after}`);
      } catch (error) {
        if (!(error instanceof pg.DatabaseError)) throw error;
      } finally {
        await client.query('rollback');
      }
    });
  }
}

add('RETURNING, INSERT … SELECT, ON CONFLICT and MERGE rewrite no masked column for its mask', async (world) => {
  const { client } = await world.tapped();
  for (const text of [
    'update vault set card_number = left(card_number, 8) where id = 2 returning card_number c',
    "insert into vault (id, token, card_number) select 5001, 'a', left(card_number, 8) from vault where id = 2 returning card_number c",
    "insert into vault (id, token) values (2, 'b') on conflict (id) do update set card_number = left(vault.card_number, 8) returning card_number c",
    'merge into vault v using plain p on v.id = p.id and p.id = 2 when matched then update set card_number = left(v.card_number, 8) returning v.card_number c',
  ]) {
    await client.query('begin');
    const shown = await client.query<{ c: string }>(text).then(
      ({ rows }) => rows[0]?.c ?? '',
      () => 'refused',
    );
    await client.query('rollback');
    assert.doesNotMatch(shown, /8888/, text);
  }
});

add('a hash of one character is no dictionary', async (world) => {
  const { client } = await world.tapped();
  await client.query('begin');
  await client.query(
    "insert into vault (id, token, hashed) select 6000 + n, 'd' || n, n::text from generate_series(0, 9) n",
  );
  const text = 'update vault set hashed = right(hashed, 1) where id = 3 or id >= 6000 returning id, hashed';
  const rows = await client.query<{ id: number; hashed: string }>(text).then(
    (result) => result.rows,
    () => [],
  );
  await client.query('rollback');
  const known = rows.find((row) => row.id === 3)?.hashed;
  assert.equal(rows.find((row) => row.id >= 6000 && row.hashed === known)?.id, undefined);
});

add('a masked column that was made NULL by its value is no predicate', async (world) => {
  const { client } = await world.tapped();
  await client.query('begin');
  const found = await (async () => {
    try {
      await client.query("update vault set hashed = nullif(hashed, 'zq7k0004') where id < 9");
      return (await client.query<{ id: number }>('select id from vault where hashed is null and id < 9')).rows.map(
        (row) => row.id,
      );
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error;
      return [];
    }
  })();
  await client.query('rollback');
  assert.deepEqual(found, []);
});

add('errors of deferred constraints are withheld where they come: COMMIT, SET CONSTRAINTS, Sync', async (world) => {
  // A row that is moved onto another's key: the error would quote the key that both have now.
  const change = "update vault set token = 'zq7k0012' where id = 11";
  const { client, taken } = await world.tapped();
  const withheld = async (work: Promise<unknown>) => {
    assert.match((await failure(work)).message, /withheld/);
    taken();
  };
  await client.query('begin');
  await client.query(change);
  await withheld(client.query('commit'));
  await client.query('begin');
  await client.query(change);
  await withheld(client.query('set constraints all immediate'));
  await client.query('rollback');
  await withheld(client.query(`${change}; select 1`));
  await withheld(client.query({ text: `${change} and id > $1`, values: [1] }));
});

add('notifications and notices carry nothing raw', async (world) => {
  const listener = await world.tapped();
  await listener.client.query('listen secrets');
  await world.harness.target("select pg_notify('secrets', email || ssn || card_number) from customers limit 3");
  await listener.client.query('select 1');
  await new Promise((resolve) => setTimeout(resolve, 100));
  assertClean(listener.taken());
});
