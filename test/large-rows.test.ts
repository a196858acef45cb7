/**
 * Rows and messages of a target beyond `maxRowBytes`, through the whole gateway: what counts is what is delivered. Each
 * answer over a short masked value and the same over a long one must not differ in a byte.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { CountersignError } from '../src/errors.ts';
import { Target } from '../src/gateway/target.ts';
import { bypassColumns, bypassSchema, leaked } from './bypass/schema.ts';
import { frame, RawSession, type Answer } from './bypass/wire.ts';
import { copyOut } from './copy.ts';
import { startHarness, type Harness } from './harness.ts';

let harness: Harness;
const maxRowBytes = 10_000;

before(async () => {
  harness = await startHarness({
    schema: `${bypassSchema}
      create table sized (id integer, token text, hashed text, email text, card_number char(20000), tags text[], label text);
      insert into sized select 1, 'zq7k', 'zq7k0001', 'a@secret.example', '40128888', array['zq7k'], 'the label';
      insert into sized select 2, repeat('zq7k', 500000), repeat('zq7k', 9000), repeat('a', 12000) || '@secret.example',
        repeat('40128888', 2000), array_fill('zq7k'::text, array[9000]), 'the label';
      create table unmasked_large as select n as id, case when n = 50 then repeat('x', 20000) else 'x' end as label
        from generate_series(1, 60) n;
      create table mixed as select n as id, repeat('zq7k', case when n = 49 then 40000 else 1 end) as token,
        case when n = 50 then repeat('x', 20000) else 'x' end as label from generate_series(1, 60) n;
      grant select on sized, unmasked_large, mixed to public;`,
    configure: (raw) => {
      const [personal] = raw['masking'] as { columns: unknown[] }[];
      personal?.columns.push(...bypassColumns);
      const gateway = raw['gateway'] as { limits: object };
      gateway.limits = { ...gateway.limits, maxRowBytes };
    },
  });
});

after(async () => {
  await harness?.close();
});

async function raw(): Promise<RawSession> {
  return new RawSession(await harness.connect('reader'));
}

/** The answer to a simple query, byte for byte. */
async function answer(text: string): Promise<string> {
  const session = await raw();
  const answers = await session.run(1, frame.query(text));
  assert.equal(leaked(session.bytes), undefined, `${text} leaks`);
  return JSON.stringify(answers);
}

const columns = 'token, hashed, email, card_number, tags, label, upper(token) as loud';

describe('a row with large masked values', () => {
  it('is delivered like one with small ones, as text', async () => {
    const [short, long] = [1, 2].map((id) =>
      answer(`select token, tags, label, upper(token), token from sized where id = ${id}`),
    );
    assert.equal(await long, await short);
    const { rows } = await (await harness.connect('reader')).query(`select ${columns} from sized order by id`);
    const [first, second] = rows as Record<string, unknown>[];
    assert.deepEqual([second?.['token'], second?.['loud'], second?.['tags']], ['[masked]', '[masked]', []]);
    assert.match(String(second?.['hashed']), /^h:[0-9a-f]{16}$/);
    assert.notEqual(second?.['hashed'], first?.['hashed']);
    assert.equal(second?.['email'], '***@secret.example');
    assert.deepEqual([first?.['card_number'], second?.['card_number']], ['****8888', '****8888']);
  });

  it('and in binary, in the extended protocol, also after a short one', async () => {
    const client = await harness.connect('reader');
    const query = (id: number) => ({ name: 'large', text: `select ${columns} from sized where id = $1`, values: [id] });
    const seen: unknown[] = [];
    for (const id of [1, 2, 1, 2]) {
      const { rows } = await client.query<Record<string, unknown>>({ ...query(id), binary: true } as pg.QueryConfig);
      seen.push([rows[0]?.['token'], rows[0]?.['label'], rows[0]?.['loud']]);
      assert.equal(leaked(JSON.stringify(rows)), undefined);
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 4 }, () => ['[masked]', 'the label', '[masked]']),
    );
  });

  it('and by COPY, in each layout', async () => {
    for (const options of ['', '(format csv)', '(format csv, force_quote (label))', '(format binary)']) {
      const client = await harness.connect('reader');
      const copy = (id: number) =>
        copyOut(
          client,
          `copy (select token, tags, label, upper(token) from sized where id = ${id}) to stdout ${options}`,
        );
      const [short, long] = [await copy(1), await copy(2)];
      assert.equal(long.toString('latin1'), short.toString('latin1'), options);
      const all = await copyOut(client, `copy (select ${columns} from sized order by id desc) to stdout ${options}`);
      assert.equal(leaked(all.toString('latin1')), undefined);
      assert.match(all.toString('latin1'), /\*\*\*@secret\.example/);
    }
  });

  it('counts once in the log, with its masked cells and delivered bytes', async () => {
    const outcomes: unknown[] = [];
    for (const id of [1, 2]) {
      await (await harness.connect('reader')).query(`select token, label from sized where id = ${id}`);
      const entry = (await harness.entries()).findLast((one) => one['type'] === 'statement.outcome');
      outcomes.push([entry?.['tag'], entry?.['rows'], entry?.['maskedCells'], entry?.['bytes']]);
    }
    assert.deepEqual(outcomes[0], outcomes[1]);
    assert.deepEqual((outcomes[1] as unknown[]).slice(0, 3), ['SELECT 1', 1, 1]);
  });
});

describe('a row that is too large as it is delivered', () => {
  const message = `a row is larger than the limit of ${maxRowBytes} bytes after masking`;

  it('ends the session with an error that does not say how large the row was', async () => {
    const texts = [1, 2].map((id) => `select token, repeat('x', 10000) from sized where id = ${id}`);
    const [short, long] = await Promise.all(texts.map((text) => answer(text)));
    assert.equal(long, short);
    assert.ok(short?.includes(message), short);
    assert.ok((await answer(`select repeat('x', 20000)`)).includes(message));
    const client = await harness.connect('reader');
    await assert.rejects(copyOut(client, `copy (select repeat('x', 20000)) to stdout`), new RegExp(message));
  });

  it('lets the rows before it through, in whatever pieces they came', async () => {
    for (const table of ['unmasked_large', 'mixed']) {
      const session = await raw();
      const answers: readonly Answer[] = await session.run(1, frame.query(`select * from ${table}`));
      assert.equal(answers.filter(({ type }) => type === 'D').length, 49, table);
      assert.ok(answers.at(-1)?.body.includes(message), table);
    }
  });

  it('fits or not to the byte', async () => {
    const around = 5 + 2 + 4 + 4 + '[masked]'.length;
    for (const id of [1, 2]) {
      const fits = `select token, repeat('x', ${maxRowBytes - around}) from sized where id = ${id}`;
      assert.ok((await answer(fits)).includes('SELECT 1'));
      assert.ok((await answer(fits.replace("'x', ", "'x', 1 + "))).includes(message));
      const copy = async (size: number) =>
        copyOut(
          await harness.connect('reader'),
          `copy (select token, repeat('x', ${size}) from sized where id = ${id}) to stdout`,
        );
      const beside = 5 + '[masked]\t\n'.length;
      assert.equal((await copy(maxRowBytes - beside)).length, maxRowBytes - 5);
      await assert.rejects(copy(maxRowBytes - beside + 1), new RegExp(message));
    }
  });
});

describe('an error text beyond the limit', () => {
  it('is left out; the session goes on', async () => {
    const client = await harness.connect('reader');
    await assert.rejects(client.query(`select repeat('y', 20000)::integer`), (error) => {
      assert.ok(error instanceof pg.DatabaseError);
      assert.deepEqual([error.code, error.severity], ['22P02', 'ERROR']);
      assert.match(error.message, /too long, and is left out/);
      return true;
    });
    await client.query('select 1');
  });

  it('looks like a short one where masked data was in reach', async () => {
    const errors = await Promise.all(
      [10, 20_000].map(async (size) => {
        const client = await harness.connect('reader');
        await client.query('begin');
        await client.query('select token from sized');
        return client.query(`select repeat('y', ${String(size).padStart(6, '0')})::integer`).then(
          () => assert.fail('this had to fail'),
          ({ message, code, detail, hint, position }: pg.DatabaseError) => ({ message, code, detail, hint, position }),
        );
      }),
    );
    assert.deepEqual(errors[1], errors[0]);
    assert.match(errors[0]?.message ?? '', /its text is withheld/);
  });
});

it("the gateway's own questions to a target have a limit, too", async () => {
  const { host, port, user, password } = new pg.Client(harness.postgres.url('crm'));
  const target = new Target({
    address: { name: 'crm', host, port, database: 'crm', tls: { mode: 'disable' } },
    user: user ?? '',
    password: password ?? '',
    searchPath: ['public'],
    connectTimeoutMs: 5_000,
    statementTimeoutMs: 60_000,
  });
  try {
    // The driver would make a string of it, and there are none of this length: that would be the end of the process.
    await assert.rejects(target.query("select repeat('x', 540000000)"), (error) => {
      assert.ok(error instanceof CountersignError, String(error));
      assert.equal(error.code, 'message_too_large');
      assert.doesNotMatch(error.message, /540/);
      return true;
    });
    assert.deepEqual((await target.query('select 1')).rows, [['1']]);
  } finally {
    await target.close();
  }
});
