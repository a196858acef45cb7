/** postgres.js: describes every statement before it binds, and keeps it prepared. */
import postgres from 'postgres';
import {
  ca,
  check,
  database,
  gatewayPort,
  host,
  login,
  port,
  sleep,
  slow,
  texts,
  type Row,
} from '../client-environment.ts';
import { leaveWaiting, pleaseReject } from '../protocol.ts';

function connect(who: 'READER' | 'DESIGNER', to = port): postgres.Sql {
  return postgres({ host, port: to, database, ...login(who), ssl: { ca }, max: 1, onnotice: () => undefined });
}

async function sqlstate(work: PromiseLike<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof postgres.PostgresError) return error.code;
    throw error;
  }
  throw new Error('no error came');
}

async function cancelled(sql: postgres.Sql, text: string): Promise<string> {
  const query = sql.unsafe(text);
  const state = sqlstate(query.execute());
  await sleep(700);
  query.cancel();
  return state;
}

async function page(next: (last: string) => PromiseLike<readonly Row[]>): Promise<number> {
  let [last, total] = ['0', 0];
  for (;;) {
    const rows = await next(last);
    if (rows.length === 0) return total;
    [last, total] = [String(rows.at(-1)?.['id']), total + rows.length];
  }
}

await check('connect', async () => {
  const sql = connect('READER', gatewayPort);
  await sql`select 1`;
  await sql.end();
  return {};
});
const reader = connect('READER');
const designer = connect('DESIGNER');
await check('masked', async () => ({
  rows: texts(
    await reader`select id, ssn, email, card_number, notes, profile, name from customers where id <= 20 order by id`,
  ),
}));
await check('types', async () => {
  const [row = {}] = await reader<Row[]>`select * from kinds where id = ${1}`;
  const { id, big, exact, flag, at, words, nothing, doc, tag, raw, numbers, names } = row;
  const values = { id: String(id), big, exact, flag: String(flag), words, nothing, doc, tag };
  const arrays = { numbers: [...(numbers as number[])], names: [...(names as string[])] };
  return { values: { ...values, ...arrays, at: (at as Date).toISOString(), raw: (raw as Buffer).toString('hex') } };
});
await check('errors', async () => ({
  sqlstates: [
    await sqlstate(reader`select 1 / (id - id) from plain`),
    await sqlstate(reader`select id from customers order by ssn`),
    await sqlstate(reader`selec 1`),
  ],
}));
await check('prepared', async () => {
  const rows: Row[] = [];
  for (let id = 1; id <= 12; id++) rows.push(...(await reader`select id, ssn, email from customers where id = ${id}`));
  return { rows: texts(rows) };
});
await check('cancel', async () => ({ sqlstate: await cancelled(reader, slow) }));
await check('cancel-held', async () => ({
  sqlstate: await cancelled(designer, `select id, ssn from customers ${leaveWaiting}`),
}));
await check('approved', async () => ({
  total: await page((last) => designer`select id, ssn, email from customers where id > ${last} order by id limit 100`),
}));
await check('approved, simple protocol', async () => {
  const text = (last: string) => `select id, ssn, email from customers where id > ${last} order by id limit 100`;
  const total = await page((last) => designer.unsafe(text(last)));
  return { ok: total === 300, detail: `${total} rows` };
});
await check('rejected', async () => {
  const state = await sqlstate(
    designer.unsafe(`select id, ssn, email from customers where id > 0 order by id limit 100 ${pleaseReject}`),
  );
  await designer`select 1`;
  return { sqlstate: state };
});
await check('copy-out', async () => {
  try {
    let data = '';
    for await (const chunk of await reader`copy customers to stdout`.readable()) data += String(chunk);
    return { data };
  } catch (error) {
    return { sqlstate: await sqlstate(Promise.reject(error)) };
  }
});
await check('transaction', async () => {
  const rows = await reader.begin('read only', (sql) => sql`select id, ssn, email from customers where id <= 3`);
  return { ok: rows.length === 3 };
});
await check('cursor', async () => {
  let total = 0;
  for await (const rows of reader`select id, ssn, email from customers order by id`.cursor(70)) total += rows.length;
  return { ok: total === 300, detail: `${total} rows` };
});
await Promise.all([reader.end(), designer.end()]);
