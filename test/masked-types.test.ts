/**
 * Masked columns of every built-in type family, read through the whole gateway in text, in binary and by COPY. What is
 * delivered goes back into the target: the type's own input has to take it, and what it then is, is what was expected.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { elementTypeOf } from '../src/masking/type-oids.ts';
import { isDecided } from '../src/masking/placeholders.ts';
import { errorsOf, frame, RawSession } from './bypass/wire.ts';
import { binaryCells } from './cells.ts';
import { copyIn, copyOut } from './copy.ts';
import { startHarness, type Harness } from './harness.ts';

const masks = {
  redact: 'redact',
  null: 'null',
  hash: 'hash',
  last4: 'last4',
  partial: { kind: 'partial', keepStart: 1, keepEnd: 2 },
  domain: 'email-domain',
  year: 'year',
  month: { kind: 'truncate-date', to: 'month' },
  round: { kind: 'round', to: 1000 },
} as const;

type MaskName = keyof typeof masks;

interface Kind {
  readonly type: string;
  /** As the type's input takes it. */
  readonly raw: string;
  /** As the type's output shows it; null is the SQL NULL. */
  readonly redact: string | null;
  /** Masks that leave something else than `redact`. */
  readonly shown?: Partial<Record<Exclude<MaskName, 'redact' | 'null'>, string | RegExp>>;
  /** The server has no binary form of it. */
  readonly textOnly?: true;
}

const digest = /^h:[0-9a-f]{16}$/;
const textShown = {
  hash: digest,
  last4: '****mple',
  partial: 'z****le',
  domain: '***@secret.example',
};
const text = { raw: 'zq7k@secret.example', redact: '[masked]', shown: textShown };
const wholeNumber = (type: string, raw: string): Kind => ({ type, raw, redact: null, shown: { round: '81931000' } });
const array = (type: string, raw: string): Kind => ({ type, raw, redact: '{}' });
const withheld = (type: string, raw: string): Kind => ({ type, raw, redact: null });

const kinds: readonly Kind[] = [
  { type: 'text', ...text },
  { type: 'varchar(40)', ...text },
  { type: 'char(30)', ...text, redact: `[masked]${' '.repeat(22)}`, shown: padded(textShown) },
  { type: 'name', ...text },
  { type: 'refcursor', ...text },
  { type: 'short_text', ...text },
  { type: '"char"', raw: 'z', redact: '*' },
  { type: 'xml', raw: '<a>zq7k</a>', redact: '[masked]', shown: { hash: digest } },
  { type: 'json', raw: '{"a": "zq7k"}', redact: '"[masked]"', shown: { hash: /^"h:[0-9a-f]{16}"$/ } },
  { type: 'jsonb', raw: '{"a": "zq7k"}', redact: '"[masked]"', shown: { hash: /^"h:[0-9a-f]{16}"$/ } },
  { type: 'jsonpath', raw: '$."zq7k"', redact: '"[masked]"' },
  wholeNumber('int4', '81930517'),
  wholeNumber('int8', '81930517'),
  { type: 'int2', raw: '8193', redact: null, shown: { round: '8000' } },
  { type: 'float4', raw: '8193.5', redact: null, shown: { round: '8000' } },
  wholeNumber('float8', '81930517.25'),
  { type: 'numeric', raw: '81930517.25', redact: null, shown: { round: '81931000.00' } },
  { type: 'numeric(20,6)', raw: '-0.081930', redact: null, shown: { round: '0.000000' } },
  withheld('bool', 't'),
  withheld('money', '81930.17'),
  { type: 'date', raw: '1961-03-05', redact: null, shown: { year: '1961-01-01', month: '1961-03-01' } },
  {
    type: 'timestamp',
    raw: '1961-03-05 12:34:56.789',
    redact: null,
    shown: { year: '1961-01-01 00:00:00', month: '1961-03-01 00:00:00' },
  },
  {
    type: 'timestamptz',
    raw: '1961-03-05 12:34:56+00',
    redact: null,
    shown: { year: '1961-01-01 00:00:00+00', month: '1961-03-01 00:00:00+00' },
  },
  withheld('time', '12:34:56'),
  withheld('timetz', '12:34:56+02'),
  withheld('interval', '61 years 3 days'),
  {
    type: 'uuid',
    raw: '7a71376b-0000-4000-8000-7a71376b7a71',
    redact: '00000000-0000-0000-0000-000000000000',
    shown: { hash: /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/ },
  },
  { type: 'bytea', raw: String.raw`\x7a71376b00ff5c`, redact: String.raw`\x`, shown: { hash: /^\\x[0-9a-f]{64}$/ } },
  { type: 'inet', raw: '10.81.93.5', redact: '0.0.0.0/32' },
  { type: 'cidr', raw: '2001:db8:8193::/48', redact: '0.0.0.0/32' },
  { type: 'macaddr', raw: '7a:71:37:6b:00:01', redact: '00:00:00:00:00:00' },
  { type: 'macaddr8', raw: '7a:71:37:6b:00:01:02:03', redact: '00:00:00:00:00:00:00:00' },
  withheld('bit(8)', '10101101'),
  { type: 'varbit', raw: '10101101', redact: '' },
  { type: 'tsvector', raw: "'zq7k':1", redact: '' },
  withheld('tsquery', "'zq7k' & 'a'"),
  withheld('point', '(81.93,5)'),
  withheld('lseg', '[(81.93,5),(1,2)]'),
  withheld('path', '[(81.93,5),(1,2)]'),
  withheld('box', '(81.93,5),(1,2)'),
  withheld('polygon', '((81.93,5),(1,2),(3,4))'),
  withheld('line', '{81,93,5}'),
  withheld('circle', '<(81.93,5),1>'),
  withheld('oid', '81930517'),
  withheld('xid', '81930517'),
  withheld('xid8', '81930517'),
  withheld('cid', '81930517'),
  withheld('tid', '(8193,5)'),
  withheld('pg_lsn', '8/1930517'),
  withheld('pg_snapshot', '81930517:81930517:'),
  withheld('txid_snapshot', '81930517:81930517:'),
  withheld('regclass', 'secrets'),
  withheld('regtype', 'short_text'),
  withheld('int2vector', '81 93'),
  withheld('oidvector', '81 93'),
  { ...withheld('aclitem', '=r/postgres'), textOnly: true },
  { type: 'int4range', raw: '[8193,8194)', redact: 'empty' },
  { type: 'int8range', raw: '[8193,8194)', redact: 'empty' },
  { type: 'numrange', raw: '[81.93,)', redact: 'empty' },
  { type: 'daterange', raw: '[1961-03-05,)', redact: 'empty' },
  { type: 'tsrange', raw: '[1961-03-05,)', redact: 'empty' },
  { type: 'tstzrange', raw: '[1961-03-05,)', redact: 'empty' },
  array('int4multirange', '{[8193,8194)}'),
  array('int8multirange', '{[8193,8194)}'),
  array('nummultirange', '{[81.93,)}'),
  array('datemultirange', '{[1961-03-05,)}'),
  array('tsmultirange', '{[1961-03-05,)}'),
  array('tstzmultirange', '{[1961-03-05,)}'),
  {
    ...array('text[]', '{zq7k@secret.example,NULL,"zq\\"7k\\\\ {,}"}'),
    shown: {
      hash: /^\{h:[0-9a-f]{16},NULL,h:[0-9a-f]{16}\}$/,
      last4: '{****mple,NULL,"**** {,}"}',
      partial: String.raw`{z****le,NULL,"z****,}"}`,
      domain: '{***@secret.example,NULL,[masked]}',
    },
  },
  { ...array('short_text[]', '{zq7k@secret.example}'), redact: null },
  { ...array('date[]', '[0:0]={1961-03-05}'), shown: { year: '[0:0]={1961-01-01}', month: '[0:0]={1961-03-01}' } },
  { ...array('numeric[]', '{{81930517.5},{NaN}}'), shown: { round: '{{81931000.0},{NULL}}' } },
  { ...array('int8[]', '{81930517}'), shown: { round: '{81931000}' } },
  {
    ...array('uuid[]', '{7a71376b-0000-4000-8000-7a71376b7a71}'),
    shown: { hash: /^\{[0-9a-f]{8}-[0-9a-f]{4}-8[-0-9a-f]{21}\}$/ },
  },
  { ...array('bytea[]', '{"\\\\x7a71376b"}'), shown: { hash: /^\{"\\\\x[0-9a-f]{64}"\}$/ } },
  { ...array('jsonb[]', '{"{\\"a\\": \\"zq7k\\"}"}'), shown: { hash: /^\{"\\"h:[0-9a-f]{16}\\""\}$/ } },
  array('bool[]', '{t}'),
  array('inet[]', '{10.81.93.5}'),
  array('int4range[]', '{"[8193,8194)"}'),
  array('datemultirange[]', '{"{[1961-03-05,)}"}'),
  array('box[]', '{(81.93,5),(1,2)}'),
  array('oidvector[]', '{"81 93"}'),
  withheld('mood', 'zq7k'),
  withheld('mood[]', '{zq7k}'),
  withheld('pair', '(1,zq7k)'),
  withheld('textrange', '[zq7k,)'),
];

function padded(shown: Record<string, string | RegExp>): Record<string, string | RegExp> {
  return Object.fromEntries(
    Object.entries(shown).map(([mask, value]) => [
      mask,
      typeof value === 'string' ? value.padEnd(30) : new RegExp(value.source.replace('$', ' *$')),
    ]),
  );
}

const columns = kinds.map((_, index) => `c${index}`);
const textOnlyColumns = columns.filter((_, index) => kinds[index]?.textOnly === true);
const binaryColumns = columns.filter((_, index) => kinds[index]?.textOnly !== true);

const schema = `
  create domain short_text as text;
  create type mood as enum ('zq7k', 'calm');
  create type pair as (a integer, b text);
  create type textrange as range (subtype = text);
  create table secrets (id integer);
  create table kinds (id integer primary key, ${kinds.map(({ type }, index) => `c${index} ${type}`).join(', ')});
  insert into kinds values (1, ${kinds.map(({ raw, type }) => `'${raw.replaceAll("'", "''")}'::${type}`).join(', ')});
  insert into kinds values (2);
  ${Object.keys(masks)
    .map((mask) => `create table kinds_${mask} as table kinds; create table back_${mask} as table kinds with no data;`)
    .join('\n')}
  grant all on all tables in schema public to public;
`;

let harness: Harness;
let direct: pg.Client;
let reader: pg.Client;
let raw: RawSession;

before(async () => {
  harness = await startHarness({
    schema,
    configure: (configuration) => {
      configuration['masking'] = [
        {
          name: 'kinds',
          appliesTo: {},
          columns: Object.entries(masks).map(([name, mask]) => ({ match: `kinds_${name}.c*`, mask })),
          detectors: [{ detect: 'card' }, { detect: 'ssn' }, { detect: 'email' }, { detect: 'ip' }],
        },
      ];
    },
  });
  direct = new pg.Client({ connectionString: harness.postgres.url('crm') });
  await direct.connect();
  await direct.query("set timezone = 'UTC'");
  reader = await harness.connect('reader');
  await reader.query("set timezone = 'UTC'");
  raw = new RawSession(await harness.connect('reader'));
});

after(async () => {
  await direct?.end();
  await harness?.close();
});

async function inText(client: pg.Client, sql: string, values?: unknown[]): Promise<unknown[][]> {
  const types = { getTypeParser: () => (value: unknown) => value };
  const result = await client.query<unknown[]>({
    text: sql,
    rowMode: 'array',
    types,
    ...(values === undefined ? {} : { values }),
  });
  return result.rows;
}

/** The cells of every row, as they came. */
async function inBinary(session: RawSession, sql: string): Promise<(Buffer | null)[][]> {
  const answers = await session.run(
    1,
    frame.parse('', sql),
    frame.bind('', '', [], 1),
    frame.execute(''),
    frame.sync(),
  );
  assert.deepEqual(errorsOf(answers), []);
  return binaryCells(answers);
}

/** What the target reads in the cells that were delivered. Bytes go there as binary parameters. */
async function readBack(delivered: readonly unknown[], of: readonly Kind[]): Promise<unknown[]> {
  const casts = of.map(({ type }, index) => `($${index + 1}::${type})::text`);
  const [row] = await inText(direct, `select ${casts.join(', ')}`, [...delivered]);
  return row ?? [];
}

function check(mask: MaskName, of: readonly Kind[], values: readonly unknown[]): void {
  assert.equal(values.length, of.length);
  for (const [index, { type, redact, shown }] of of.entries()) {
    const expected = mask === 'null' ? null : mask === 'redact' ? redact : (shown?.[mask] ?? redact);
    const value = values[index];
    const where = `${mask} of ${type}`;
    if (expected instanceof RegExp) assert.match(String(value), expected, where);
    // A cast to text takes the padding of char(n) away.
    else assert.equal(value, type.startsWith('char(') ? (expected?.trimEnd() ?? null) : expected, where);
  }
}

const binaryKinds = kinds.filter(({ textOnly }) => textOnly !== true);

for (const mask of Object.keys(masks) as MaskName[]) {
  describe(`the mask ${mask}`, () => {
    let shownInText: unknown[] = [];
    const inBinaryToo = () => shownInText.filter((_, index) => kinds[index]?.textOnly !== true);

    it('in text', async () => {
      const rows = await inText(reader, `select ${columns.join(', ')} from kinds_${mask} order by id`);
      assert.equal(rows.length, 2);
      assert.deepEqual(new Set(rows[1]), new Set([null]), 'NULL stays NULL');
      shownInText = await readBack(rows[0] ?? [], kinds);
      check(mask, kinds, shownInText);
    });

    it('in binary: the same values', async () => {
      const rows = await inBinary(raw, `select ${binaryColumns.join(', ')} from kinds_${mask} order by id`);
      assert.deepEqual(new Set(rows[1]), new Set([null]), 'NULL stays NULL');
      const values = await readBack(rows[0] ?? [], binaryKinds);
      check(mask, binaryKinds, values);
      assert.deepEqual(values, inBinaryToo());
    });

    for (const options of ['', '(format csv)', '(format binary)']) {
      it(`by COPY ${options}: the same values`, async () => {
        const isBinary = options.includes('binary');
        const list = (isBinary ? binaryColumns : columns).join(', ');
        const data = await copyOut(reader, `copy (select ${list} from kinds_${mask} order by id) to stdout ${options}`);
        await direct.query(`truncate back_${mask}`);
        if (isBinary)
          await direct.query(`alter table back_${mask} ${textOnlyColumns.map((one) => `drop ${one}`).join(', ')}`);
        await copyIn(direct, `copy back_${mask} (${list}) from stdin ${options}`, data);
        const shown = (isBinary ? binaryColumns : columns).map((column) => `${column}::text`).join(', ');
        const rows = await inText(direct, `select ${shown} from back_${mask}`);
        assert.equal(rows.length, 2);
        assert.deepEqual(rows[0], isBinary ? inBinaryToo() : shownInText);
      });
    }
  });
}

describe('the table of types', () => {
  it('bytea has the same digest under bytea_output = escape', async () => {
    const column = `c${kinds.findIndex(({ type }) => type === 'bytea')}`;
    const sql = `select ${column} from kinds_hash where id = 1`;
    await direct.query("alter role cs_executor set bytea_output = 'escape'");
    const escaping = await harness.connect('reader');
    await direct.query('alter role cs_executor reset bytea_output');
    assert.deepEqual((await escaping.query('show bytea_output')).rows, [{ bytea_output: 'escape' }]);
    assert.deepEqual(await inText(escaping, sql), await inText(reader, sql));
  });

  it('has every type of the server, and its arrays', async () => {
    const types = await direct.query<{ oid: number; name: string; array: number }>(
      `select oid::int, typname as name, typarray::int as array from pg_type
        where oid < 16384 and typtype in ('b', 'r', 'm') and typname !~ '^_' and typnamespace = 'pg_catalog'::regnamespace`,
    );
    assert.ok(types.rows.length > 70);
    for (const { oid, name, array: arrayOid } of types.rows) {
      assert.ok(isDecided(oid), `${name} (${oid}) is not decided`);
      if (arrayOid !== 0) assert.equal(elementTypeOf(arrayOid), oid, `the array of ${name}`);
    }
  });
});
