/**
 * The size of an answer: a masked value is made long and then cut, or chosen, where a guess is found, so that a limit of
 * the gateway (`maxRowBytes`) or of the target (1 GiB) is met or not.
 */
import assert from 'node:assert/strict';
import pg from 'pg';
import { copyOut } from '../copy.ts';
import { scriptList, type World } from './attack.ts';

const { scripts, add } = scriptList('sizes', 'masked');
export const sizeScripts = scripts;

/** Longer than the default of `maxRowBytes`. */
const pad = "(select repeat('x', 34000000) p) r";
/** The value and a guess at it that was made long, as rows: which is the larger says whether the guess is. */
const rows = "(select token x from vault where id = 1 union all select $ || repeat('x', 34000000)) q";
/** Many copies of the value. */
const copies = '(select token t from vault, generate_series(1, 4500000) where id = 1) q';

const texts = [
  // cut where the guess is found
  `select split_part(token || p, $, 1) from vault, ${pad} where id = 1`,
  `select split_part(concat(token, p), $, 1) from vault, ${pad} where id = 1`,
  `select split_part(concat_ws('-', token, p), $, 1) from vault, ${pad} where id = 1`,
  `select split_part(t, $, 1) from (select token || p t from vault, ${pad} where id = 1) q`,
  `with c as materialized (select token || p t from vault, ${pad} where id = 1) select split_part(t, $, 1) from c`,
  `select split_part(t, $, 1) from vault, lateral (select token || repeat('x', 34000000) t) q where id = 1`,
  `select x from (values ((select split_part(token || p, $, 1) from vault, ${pad} where id = 1))) v(x)`,
  `select array[split_part(token || p, $, 1)] from vault, ${pad} where id = 1`,
  `select to_json(split_part(token || p, $, 1)) from vault, ${pad} where id = 1`,
  `select upper(split_part(left(token || p, 33999999), $, 1)) from vault, ${pad} where id = 1`,
  `select split_part(string_agg(t, ''), $, 1) from ${copies}`,
  `select replace(string_agg(t, ''), $, '') from ${copies}`,
  `select translate(string_agg(t, ''), substr($, 8), '') from ${copies}`,
  `update vault set id = id where id = 1 returning split_part(token || repeat('x', 34000000), $, 1)`,
  `select split_part((token || p) collate "C", $, 1) from vault, ${pad} where id = 1`,
  `select coalesce(split_part(token || p, $, 1), p) from vault, ${pad} where id = 1`,
  `select split_part(token || p, $, 1) from vault, ${pad} where id = 1 union all select 'a'`,
  // the larger and the smaller
  `select greatest(token, $ || p) from vault, ${pad} where id = 1`,
  `select least(token, $ || p) from vault, ${pad} where id = 1`,
  `select greatest($ || p, token) || '' from vault, ${pad} where id = 1`,
  `select max(x) from ${rows}`,
  `select min(x) from ${rows}`,
  `select max(x) over () from ${rows}`,
  // the same key, or the same value, is there once
  `select jsonb_build_object(token, p, $, 1) from vault, ${pad} where id = 1`,
  `select json_object(token : p, $ : 1 returning jsonb) from vault, ${pad} where id = 1`,
  `select jsonb_object_agg(k, v) from (select token k, repeat('x', 34000000) v from vault where id = 1 union all select $, 'y') q`,
  `select json_objectagg(k : v returning jsonb) from (select token k, repeat('x', 34000000) v from vault where id = 1 union all select $, 'y') q`,
  `select string_agg(distinct x, '') from (select token || p x from vault, ${pad} where id = 1 union all select $ || repeat('x', 34000000)) q`,
] as const;

/** Everything that can be told of an answer. */
async function toldOf(client: pg.Client, text: string): Promise<string> {
  try {
    const { rows: found } = await client.query({ text, rowMode: 'array' });
    return JSON.stringify(found);
  } catch (error) {
    assert.ok(error instanceof Error);
    return error instanceof pg.DatabaseError ? `${error.code}: ${error.message}` : error.message;
  }
}

/** A right and a wrong guess. Where the gateway ends the session, the second needs its own. */
async function compare(world: World, ask: (client: pg.Client, guess: string) => Promise<string>): Promise<void> {
  const answers: string[] = [];
  for (const guess of ["'zq7k0001'", "'zq7k0009'"]) {
    const { client } = await world.tapped();
    answers.push(await ask(client, guess));
    await client.end();
  }
  assert.equal(answers[0], answers[1]);
}

for (const text of texts) {
  const larger = text.includes('greatest') || text.includes('least') || text.includes('max(') || text.includes('min(');
  add(`a right and a wrong guess are as large: ${text}`, (world) =>
    // Of an order it is asked whether the value is behind the guess.
    compare(world, (client, guess) =>
      toldOf(client, text.replaceAll('$', larger ? guess.replace('0001', '0000').replace('0009', '0002') : guess)),
    ),
  );
}

add('a right and a wrong guess are as large in binary, in a cursor, by COPY in every layout', async (world) => {
  const text = texts[0];
  await compare(world, (client, guess) =>
    client.query({ text: text.replaceAll('$', guess), values: [], binary: true } as pg.QueryConfig).then(
      (result) => JSON.stringify(result.rows),
      (error: Error) => error.message,
    ),
  );
  await compare(world, async (client, guess) => {
    await client.query('begin');
    const declared = await toldOf(client, `declare c cursor for ${text.replaceAll('$', guess)}`);
    return `${declared} ${await toldOf(client, 'fetch all from c')}`;
  });
  for (const options of ['', '(format csv)', '(format binary)']) {
    await compare(world, (client, guess) =>
      copyOut(client, `copy (${text.replaceAll('$', guess)}) to stdout ${options}`).then(
        (data) => data.toString('latin1'),
        (error: Error) => error.message,
      ),
    );
  }
});

add('a value that a guess turns into the mask itself is written like every other', async (world) => {
  for (const options of ['(format csv)', '(format text)']) {
    await compare(world, (client, guess) =>
      copyOut(
        client,
        `copy (select replace(token, ${guess}, '[masked]') from vault where id = 1) to stdout ${options}`,
      ).then(
        (data) => data.toString('latin1'),
        (error: Error) => error.message,
      ),
    );
  }
});
