/**
 * The same messages to the gateway and straight to PostgreSQL must have the same answers, message for message and byte for
 * byte, where nothing in them is masked (promise P8). Masks are configured, so every path that could mask is taken.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { hasDebianPostgres } from '../demo/embedded-postgres.ts';
import { encodeBind, encodeParse } from '../src/wire/postgres/frontend.ts';
import { ByteSink } from '../src/lib/byte-sink.ts';
import { frame, RawSession, streamOf, type Answer } from './bypass/wire.ts';
import { customersSchema } from './customers.ts';
import { startHarness, type Harness } from './harness.ts';

/** Sent together; then so many messages of a type are waited for (default: ReadyForQuery, once per Sync and Query). */
interface Step {
  readonly send: readonly Buffer[];
  readonly until?: readonly [type: string, count: number];
}

const step = (...send: Buffer[]): Step => ({ send });
const query = (...texts: string[]): Step => step(...texts.map((text) => frame.query(text)));

interface Binding {
  readonly portal?: string;
  readonly statement?: string;
  readonly parameters?: readonly (Buffer | string | null)[];
  readonly parameterFormats?: readonly (0 | 1)[];
  readonly resultFormats?: readonly (0 | 1)[];
}

function bind({
  portal = '',
  statement = '',
  parameters = [],
  parameterFormats = [],
  resultFormats = [],
}: Binding): Buffer {
  const sink = new ByteSink(256);
  encodeBind(sink, {
    portal,
    statement,
    parameterFormats,
    parameters: parameters.map((value) => (value === null ? null : Buffer.from(value as string))),
    resultFormats,
  });
  return sink.take();
}

function parse(name: string, text: string, ...parameterTypes: number[]): Buffer {
  const sink = new ByteSink(256);
  encodeParse(sink, { name, query: text, parameterTypes });
  return sink.take();
}

const run = (text: string, binding: Binding = {}, rows = 0): Buffer[] => [
  parse('', text),
  bind(binding),
  frame.describe('P', ''),
  frame.execute('', rows),
];

const int4 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};

const copyRow = (text: string): Buffer => frame.raw('d', Buffer.from(text));
const binaryCopy = Buffer.concat([
  Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'),
  Buffer.alloc(8),
  Buffer.from([0, 2, 0, 0, 0, 4]),
  int4(920),
  Buffer.from([0, 0, 0, 3]),
  Buffer.from('bin'),
  Buffer.from([0xff, 0xff]),
]);

const fails = 'select 1 / (id - id) from plain where id = 1';
const five = 'select id, label from plain where id <= 5 order by id';

const transcripts: Readonly<Record<string, readonly Step[]>> = {
  'simple: rows, no rows, an empty text, several statements': [
    query(five),
    query('select id from plain where id < 0'),
    query(''),
    query(' ; '),
    query('select 1 as a; select 2 as b; select id from plain where id = 3'),
  ],
  'simple: an error in the middle of several statements undoes what came before it': [
    query("insert into plain values (901, 'gone'); " + fails + '; select 1'),
    query('select count(*) from plain where id = 901'),
  ],
  'simple: queries sent ahead': [query(five, fails, 'select 3 as n', five)],
  'simple: transactions and their states': [
    query('begin'),
    query("insert into plain values (902, 'two')"),
    query('savepoint a'),
    query(fails),
    query('select 1'),
    query('rollback to a'),
    query('select label from plain where id = 902'),
    query('rollback'),
    query('commit'),
  ],
  'extended: a statement with parameters, in text, binary and mixed formats': [
    step(
      parse(
        's',
        'select id, label, id * 1.5 as n, null::int as z from plain where id = $1 or label = $2 order by id',
        23,
        25,
      ),
      frame.describe('S', 's'),
      frame.sync(),
    ),
    ...([[], [0], [1], [0, 1, 0, 1]] as const).map((resultFormats) =>
      step(
        bind({ statement: 's', parameters: [int4(4), 'label 7'], parameterFormats: [1, 0], resultFormats }),
        frame.describe('P', ''),
        frame.execute(''),
        frame.sync(),
      ),
    ),
    step(bind({ statement: 's', parameters: [null, null] }), frame.execute(''), frame.sync()),
  ],
  'extended: executed again after Sync without a description': [
    step(parse('s', five), frame.sync()),
    step(bind({ statement: 's' }), frame.describe('P', ''), frame.execute(''), frame.sync()),
    step(bind({ statement: 's' }), frame.execute(''), frame.sync()),
    step(bind({ statement: 's', resultFormats: [1] }), frame.execute(''), frame.sync()),
  ],
  'extended: an error before the rest of its batch comes': [
    { send: [...run(fails), frame.flush()], until: ['E', 1] },
    { send: [...run(five), frame.query('select 1'), frame.sync()], until: ['Z', 1] },
    { send: [parse('', 'select broken from plain'), frame.flush()], until: ['E', 1] },
    step(bind({}), frame.execute(''), parse('', 'select 4 as not_seen_yet'), frame.sync()),
    step(...run(five), frame.sync()),
  ],
  'extended: portals suspended, resumed and closed': [
    query('begin'),
    step(parse('s', five), bind({ portal: 'p', statement: 's' }), frame.execute('p', 2), frame.sync()),
    step(frame.execute('p', 2), frame.sync()),
    step(
      bind({ portal: 'q', statement: 's' }),
      frame.execute('q', 1),
      frame.execute('p', 2),
      frame.execute('q'),
      frame.sync(),
    ),
    step(frame.execute('p'), frame.sync()),
    step(frame.close('P', 'p'), frame.close('P', 'never'), frame.close('S', 's'), frame.sync()),
    query('commit'),
  ],
  'extended: an error in a pipeline skips to its Sync': [
    step(...run(five), ...run(fails), ...run('select 2 as n'), frame.sync(), ...run('select 3 as n'), frame.sync()),
    step(parse('a', five), parse('b', 'select upper(1)'), parse('c', five), frame.sync()),
    step(bind({ statement: 'a' }), frame.execute(''), frame.sync()),
  ],
  'extended: an implicit transaction of a batch': [
    step(...run("insert into plain values (903, 'three')"), ...run(fails), frame.sync()),
    step(...run('select count(*) from plain where id = 903'), frame.sync()),
    step(
      ...run("insert into plain values (904, 'four') returning id, label"),
      ...run('delete from plain where id = 904'),
      frame.sync(),
    ),
  ],
  'extended: Flush instead of Sync': [
    { send: [parse('', five), frame.describe('S', ''), frame.flush()], until: ['T', 1] },
    { send: [bind({}), frame.execute('', 2), frame.flush()], until: ['s', 1] },
    { send: [frame.execute(''), frame.flush()], until: ['C', 1] },
    step(frame.sync()),
  ],
  'extended: Sync alone, empty texts, statements without rows': [
    step(frame.sync()),
    step(frame.sync(), frame.sync()),
    step(parse('', ''), bind({}), frame.describe('P', ''), frame.execute(''), frame.sync()),
    step(parse('', 'begin'), frame.describe('S', ''), bind({}), frame.execute(''), frame.sync()),
    step(parse('', 'rollback'), bind({}), frame.execute(''), frame.sync()),
  ],
  'extended: the unnamed statement is replaced, also by a simple query': [
    step(parse('', 'select 1 as a'), parse('', 'select 2 as b'), bind({}), frame.execute(''), frame.sync()),
  ],
  'types: everything in text and binary': ([0, 1] as const).map((format) =>
    step(
      ...run(
        "select true, 1::int2, 2::int4, 3::int8, 1.5::float4, 2.5::float8, 12.340::numeric, 'a'::char, 'vär'::varchar(5), date '2024-02-29', time '10:11:12.5', timestamptz '2024-01-01 00:00:00Z', interval '1 mon 2 days', '\\x00ff'::bytea, '{1,2}'::int[], '{a,NULL}'::text[], int4range(1,5), '10.0.0.0/8'::cidr, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, '{\"a\": [1, null]}'::jsonb, '[1]'::json, b'101', point(1,2), 'a & b'::tsquery",
        { resultFormats: [format] },
      ),
      frame.sync(),
    ),
  ),
  'COPY IN: text, csv, binary, an error in the data, CopyFail': [
    { send: [frame.query('copy plain from stdin')], until: ['G', 1] },
    step(copyRow('910\tten\n'), copyRow('911\tele'), copyRow('ven\n'), frame.copyDone()),
    { send: [frame.query('copy plain from stdin (format csv)')], until: ['G', 1] },
    step(copyRow('912,"a, b"\n'), frame.copyDone()),
    { send: [frame.query('copy plain from stdin (format binary)')], until: ['G', 1] },
    step(frame.raw('d', binaryCopy), frame.copyDone()),
    { send: [frame.query('copy plain from stdin')], until: ['G', 1] },
    step(copyRow('x\ty\n'), frame.copyDone()),
    { send: [frame.query('copy plain from stdin')], until: ['G', 1] },
    step(frame.copyFail()),
    query('select * from plain where id >= 910 order by id', 'delete from plain where id >= 910'),
  ],
  'COPY IN in the extended protocol': [
    {
      send: [parse('', 'copy plain from stdin'), frame.describe('S', ''), bind({}), frame.execute(''), frame.flush()],
      until: ['G', 1],
    },
    step(copyRow('930\tx\n'), frame.copyDone(), frame.sync()),
    query('delete from plain where id >= 910'),
  ],
  'COPY OUT: text, csv, binary, no rows, an error in the middle': [
    query('copy plain to stdout'),
    query('copy (' + five + ') to stdout (format csv, header)'),
    query('copy (' + five + ') to stdout (format binary)'),
    query('copy (select 1 where false) to stdout'),
    query('copy (select 1 / (3 - id) from plain order by id) to stdout'),
  ],
  'COPY OUT in the extended protocol, in a pipeline': [
    step(parse('c', 'copy (' + five + ') to stdout'), frame.describe('S', 'c'), frame.sync()),
    step(bind({ statement: 'c' }), frame.execute(''), ...run('select 1 as n'), frame.sync()),
    step(bind({ statement: 'c' }), frame.execute(''), bind({ statement: 'c' }), frame.execute(''), frame.sync()),
  ],
  'SQL cursors': [
    query('begin', 'declare c scroll cursor for ' + five),
    query('fetch 2 from c', 'fetch backward 1 from c', 'move 2 in c', 'fetch all from c', 'fetch 1 from c', 'close c'),
    query('declare b binary cursor for ' + five),
    query('fetch 2 from b'),
    step(frame.describe('P', 'b'), frame.sync()),
    query('close all'),
    query('rollback'),
  ],
  'PREPARE, EXECUTE and DEALLOCATE in SQL': [
    query(
      'prepare p(int) as select id, label from plain where id <= $1 order by id',
      'execute p(3)',
      "execute p('2')",
      'execute p(null)',
      'execute p(1, 2)',
      "execute p('x')",
      'prepare p as select 1',
      'deallocate q',
      'prepare q as select 1 / (id - id) from plain',
      'execute q',
      'begin',
      'execute p(1)',
      'deallocate p',
      'rollback',
    ),
    query("prepare w as insert into plain values (950, 'made') returning *", 'execute w', 'execute w'),
    query(
      'prepare d(int) as delete from plain where id = $1; deallocate all; select 1 as n',
      'prepare d as select 2 as n',
    ),
    step(...run('execute d'), frame.sync()),
    step(parse('e', 'execute d'), frame.describe('S', 'e'), frame.sync()),
    ...([0, 1] as const).map((format) =>
      step(bind({ statement: 'e', resultFormats: [format] }), frame.execute(''), frame.sync()),
    ),
    step(parse('d', 'select 1'), frame.sync()),
    step(...run('deallocate d'), ...run('prepare d as select 3 as n'), frame.sync()),
    step(bind({ statement: 'e' }), frame.describe('P', ''), frame.execute(''), frame.sync()),
    query('delete from plain where id = 950', 'deallocate all'),
  ],
  'notices, warnings, settings that are reported': [
    query('rollback'),
    query("set time zone 'Europe/Vienna'", 'select current_setting($$timezone$$)', 'reset time zone'),
    query("set application_name = 'transcript'"),
    query('commit'),
  ],
  'LISTEN and NOTIFY of another session': [query('listen transcripts', 'unlisten transcripts')],
  'errors with positions, details and hints': [
    query('select upper(1)'),
    query("insert into plain values (1, 'again')"),
    query('insert into plain (id) values (940)'),
    query("select 'x'::int"),
    step(...run("select 'x'::int"), frame.sync()),
  ],
  'prepared statements that are not there, or there already': [
    step(parse('twice', five), frame.sync()),
    step(bind({ statement: 'twice' }), frame.execute('', 1), frame.sync()),
  ],
  'large messages': [
    step(...run('select length($1::text), $1::text', { parameters: ['x'.repeat(200_000)] }), frame.sync()),
    query("select repeat('y', 300000)"),
  ],
};

function comparable(answers: readonly Answer[]): string[] {
  return answers.map(({ type, body }) => `${type} ${body}`);
}

async function play(client: pg.Client, steps: readonly Step[]): Promise<string[][]> {
  const session = new RawSession(client);
  const answers: string[][] = [];
  for (const { send, until } of steps) {
    session.send(...send);
    const ready = send.filter((one) => one[0] === 0x53 || one[0] === 0x51 || one[0] === 0x63 || one[0] === 0x66).length;
    const copying = send.some((one) => one[0] === 0x64 || one[0] === 0x63 || one[0] === 0x66);
    const [type, count] = until ?? (['Z', copying ? 1 : ready] as const);
    answers.push(comparable(await session.until(type, count, 5_000)));
  }
  streamOf(client).destroy();
  return answers;
}

/** Code of users, which runs where nothing is masked. */
const withoutMasks: Readonly<Record<string, readonly Step[]>> = {
  'DO: notices, errors, a batch': [
    query("do $$ begin raise notice 'said %', 1; raise warning 'and'; end $$"),
    query("do $$ begin raise exception 'no' using errcode = 'P0099', detail = 'why', hint = 'what'; end $$"),
    step(...run("do $$ begin perform 1; raise notice 'in a batch'; end $$"), ...run(five), frame.sync()),
    query('begin', 'do $$ begin perform 1 / 0; end $$', 'select 1', 'rollback'),
    query("do $$ begin raise notice 'first'; end $$; select 1 as one; do $$ begin raise notice 'last'; end $$"),
  ],
  'CALL: results, parameters, transactions of its own': [
    query('call doubled(21, null)'),
    step(...run('call doubled($1, null)', { parameters: ['4'] }), frame.sync()),
    query('call stored(990)', 'select label from plain where id = 990'),
    query('begin', 'call stored(991)', 'rollback'),
    query('call nobody()'),
    query('delete from plain where id >= 990'),
  ],
  'functions of users': [query('select twice(id) from plain where id <= 3 order by id', "select twice('x')")],
};

const code = `
  create function twice(n integer) returns integer language sql immutable as 'select 2 * n';
  create procedure doubled(n integer, inout twofold integer) language plpgsql as $$ begin twofold := twice(n); end $$;
  create procedure stored(n integer) language plpgsql as $$
    begin insert into plain values (n, 'stored'); commit; insert into plain values (n + 5, 'undone'); rollback; end $$;`;

for (const version of ['embedded', ...(hasDebianPostgres() ? (['debian15'] as const) : [])] as const) {
  describe(`transcripts, ${version}`, () => {
    let harness: Harness;
    before(async () => {
      harness = await startHarness({
        schema: `${customersSchema}${code}`,
        version,
        configure: (configuration) => {
          const connections = configuration['connections'] as object[];
          connections.push({ ...connections[0], name: 'open', labels: {} });
          const masking = configuration['masking'] as object[];
          configuration['masking'] = masking.map((template) => ({ ...template, appliesTo: { data: 'personal' } }));
        },
      });
    });
    after(async () => {
      await harness?.close();
    });

    async function compare(steps: readonly Step[], through: pg.Client): Promise<void> {
      const direct = new pg.Client({ connectionString: harness.postgres.url('crm') });
      for (const client of [direct, through]) client.on('error', () => undefined);
      await direct.connect();
      const expected = await play(direct, steps);
      assert.deepEqual(await play(through, steps), expected);
      assert.ok(
        expected.every((answers) => answers.length > 0),
        'the transcript itself waits in vain',
      );
    }

    for (const [name, steps] of Object.entries(transcripts)) {
      it(name, async () => compare(steps, await harness.connect('reader')));
    }

    for (const [name, steps] of Object.entries(withoutMasks)) {
      it(`${name}, where nothing is masked`, async () => {
        const { body } = await harness.api<{ user: string; password: string }>('reader', 'POST', '/credentials', {});
        const { user, password } = body;
        await compare(steps, await harness.connect('reader', { user, password, database: 'open' }));
      });
    }
  });
}
