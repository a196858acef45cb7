/** node-postgres: simple and extended protocol, named statements, its cursor. */
import type { EventEmitter } from 'node:events';
import { isDeepStrictEqual } from 'node:util';
import pg from 'pg';
import Cursor from 'pg-cursor';
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

async function connect(who: 'READER' | 'DESIGNER', to = port): Promise<pg.Client> {
  const client = new pg.Client({ host, port: to, database, ...login(who), ssl: { ca } });
  await client.connect();
  return client;
}

async function sqlstate(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof pg.DatabaseError) return error.code ?? 'none';
    throw error;
  }
  throw new Error('no error came');
}

/** The driver's own way to cancel: a second client that sends a CancelRequest. */
function cancel(client: pg.Client, query: pg.Query): void {
  const second = new pg.Client({ host, port, database, ...login('READER'), ssl: { ca } });
  (second as unknown as { cancel(client: pg.Client, query: pg.Query): void }).cancel(client, query);
}

async function cancelled(client: pg.Client, text: string): Promise<string> {
  const query = new pg.Query(text);
  const ended = new Promise((resolve, reject) => {
    query.on('end', resolve);
    query.on('error', reject);
  });
  client.query(query);
  const state = sqlstate(ended);
  await sleep(700);
  cancel(client, query);
  return state;
}

async function page(client: pg.Client, comment: string): Promise<number> {
  let [last, total] = ['0', 0];
  for (;;) {
    const text = `select id, ssn, email from customers where id > $1 order by id limit 100 ${comment}`;
    const { rows } = await client.query<{ id: string }>(text, [last]);
    const end = rows.at(-1);
    if (end === undefined) return total;
    [last, total] = [end.id, total + rows.length];
  }
}

await check('connect', async () => {
  const client = await connect('READER', gatewayPort);
  await client.query('select 1');
  await client.end();
  return {};
});
const reader = await connect('READER');
const designer = await connect('DESIGNER');
await check('masked', async () => {
  const { rows } = await reader.query<Row>(
    'select id, ssn, email, card_number, notes, profile, name from customers where id <= 20 order by id',
  );
  return { rows: texts(rows) };
});
await check('types', async () => {
  const { rows } = await reader.query<Row>('select * from kinds where id = $1', [1]);
  const { id, big, exact, flag, at, words, nothing, doc, tag, raw, numbers, names } = rows[0] ?? {};
  const values = { id: String(id), big, exact, flag: String(flag), words, nothing, doc, tag, numbers, names };
  return { values: { ...values, at: (at as Date).toISOString(), raw: (raw as Buffer).toString('hex') } };
});
await check('masked types', async () => {
  const { rows } = await reader.query<Row>('select *, born::text as born_text from masked_kinds');
  const { digest, raw, days, born, ...rest } = rows[0] ?? {};
  const expected = {
    tag: '00000000-0000-0000-0000-000000000000',
    address: '0.0.0.0',
    network: '0.0.0.0/32',
    mac: '00:00:00:00:00:00',
    span: 'empty',
    bits: '',
    numbers: [],
    words: ['****mple', null],
    body: '[masked]',
    exact: '81931000.00',
    flag: null,
    born_text: '[masked]',
  };
  const parts = [
    Buffer.isBuffer(raw) && raw.length,
    (days as Date[]).map((day) => day.getFullYear()),
    (born as Date).getFullYear(),
  ];
  const ok =
    isDeepStrictEqual(rest, expected) &&
    isDeepStrictEqual(parts, [0, [1961], 1961]) &&
    /^[-0-9a-f]{13}-8/.test(String(digest));
  return { ok, detail: JSON.stringify({ ...rest, digest, parts }) };
});
await check('errors', async () => ({
  sqlstates: [
    await sqlstate(reader.query('select 1 / (id - id) from plain')),
    await sqlstate(reader.query('select id from customers order by ssn')),
    await sqlstate(reader.query('selec $1', [1])),
  ],
}));
await check('prepared', async () => {
  const rows: Row[] = [];
  for (let id = 1; id <= 12; id++) {
    const text = 'select id, ssn, email from customers where id = $1';
    rows.push(...(await reader.query<Row>({ name: 'again', text, values: [id] })).rows);
  }
  return { rows: texts(rows) };
});
await check('cancel', async () => ({ sqlstate: await cancelled(reader, slow) }));
await check('cancel-held', async () => ({
  sqlstate: await cancelled(designer, `select id, ssn from customers ${leaveWaiting}`),
}));
await check('approved', async () => ({ total: await page(designer, '') }));
await check('rejected', async () => {
  const state = await sqlstate(page(designer, pleaseReject));
  await designer.query('select 1');
  return { sqlstate: state };
});
await check('copy-out', async () => {
  let data = '';
  const { connection } = reader as unknown as { connection: EventEmitter };
  connection.on('copyData', ({ chunk }: { chunk: Buffer }) => (data += chunk.toString('utf8')));
  try {
    await reader.query('copy customers to stdout');
    return { data };
  } catch (error) {
    return { sqlstate: await sqlstate(Promise.reject(error)) };
  }
});
await check('cursor', async () => {
  const cursor = reader.query(new Cursor<Row>('select id, ssn, email from customers order by id', []));
  let total = 0;
  for (let rows = await cursor.read(70); rows.length > 0; rows = await cursor.read(70)) total += rows.length;
  return { ok: total === 300, detail: `${total} rows` };
});
await Promise.all([reader.end(), designer.end()]);
