/**
 * `npm run bench:page`: how soon an approver sees the inbox when 10,000 requests wait in the store. In Chromium, with an
 * empty cache, after a log-in. Prints milliseconds from the navigation to the first paint and to the first row; the
 * aim is less than 1,500 on a quiet machine.
 */
import pg from 'pg';
import { jobDefinition, pushJob } from '../test/browser/fixtures.ts';
import { startWorld } from '../test/browser/world.ts';

const requests = 10_000;
const rounds = 7;

const print = (text: string) => process.stdout.write(`${text}\n`);

/** Copies of one real request, a second apart. */
async function fill(storeUrl: string, model: string): Promise<void> {
  const client = new pg.Client({ connectionString: storeUrl });
  await client.connect();
  try {
    const { rows: columns } = await client.query<{ name: string }>(
      `select quote_ident(attname) as name from pg_attribute
       where attrelid = 'requests'::regclass and attnum > 0 and not attisdropped and attname not in ('id', 'created_at')`,
    );
    const others = columns.map(({ name }) => name).join(', ');
    await client.query(
      `insert into requests (id, created_at, ${others})
       select 'req_' || lpad(n::text, 16, '0'), created_at - n * interval '1 second', ${others}
       from requests, generate_series(1, ${requests - 1}) n where id = $1`,
      [model],
    );
    await client.query('vacuum analyze requests');
  } finally {
    await client.end();
  }
}

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

const world = await startWorld();
try {
  const model = await pushJob(world.harness, jobDefinition({ name: 'inbox' }));
  await fill(world.harness.postgres.url('control'), model);
  await (await world.visit('eli', '/')).end();
  const paints: number[] = [];
  const rows: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const visit = await world.visit('eli', '/');
    await visit.page.locator('.row').first().waitFor();
    rows.push(Number(await visit.page.evaluate('performance.now()')));
    paints.push(
      Number(await visit.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")),
    );
    await visit.end();
  }
  print(`inbox with ${requests.toLocaleString('en-US')} requests in the store, ${rounds} visits with an empty cache:`);
  print(`  first paint  ${Math.round(middle(paints))} ms (median; slowest ${Math.round(Math.max(...paints))} ms)`);
  print(`  first row    ${Math.round(middle(rows))} ms (median; slowest ${Math.round(Math.max(...rows))} ms)`);
} finally {
  await world.close();
}
