/**
 * Content detection in whatever can hold free text, through the whole gateway: in text, in binary and by COPY. Nothing of
 * what was found comes out, and what is delivered is still a value of its type.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import pg from 'pg';
import { errorsOf, frame, RawSession } from './bypass/wire.ts';
import { binaryCells } from './cells.ts';
import { copyIn, copyOut } from './copy.ts';
import { startHarness, type Harness } from './harness.ts';

interface Kind {
  readonly type: string;
  readonly raw: string;
  /** What comes out in text and, if that is something else, in binary; null is the SQL NULL. */
  readonly text: string | null;
  readonly binary?: string | null;
}

const card = '4111111111111111';
const quoted = `say \\"${card}\\"`;
const json = `{"n": ${card}, "mail": "ann@secret.example"}`;
const maskedJson = '{"n": "[masked:card]", "mail": "[masked:email]"}';
const inArray = (value: string) => `{"${value.replaceAll(/["\\]/g, String.raw`\$&`)}"}`;
const hidden = '{"n": "\\u0034111111111111111"}';

const kinds: readonly Kind[] = [
  { type: 'text', raw: `card ${card}`, text: 'card [masked:card]' },
  { type: 'char(60)', raw: `card ${card}`, text: 'card [masked:card]' },
  { type: 'name', raw: `card ${card}`, text: 'card [masked:card]' },
  { type: 'refcursor', raw: `card ${card}`, text: 'card [masked:card]' },
  { type: 'note', raw: `card ${card}`, text: 'card [masked:card]' },
  { type: 'json', raw: json, text: maskedJson },
  { type: 'json', raw: hidden, text: '{"n": "[masked:card]"}' },
  { type: 'jsonb', raw: json, text: '{"n": "[masked:card]", "mail": "[masked:email]"}' },
  { type: 'xml', raw: `<n>${card}</n>`, text: '<n>[masked:card]</n>' },
  { type: 'xml', raw: '<n>&#52;111111111111111</n>', text: null },
  { type: 'text[]', raw: `{a,NULL,"${quoted}"}`, text: String.raw`{a,NULL,"say \"[masked:card]\""}` },
  { type: 'varchar(30)[]', raw: `[0:1][1:1]={{a},{${card}}}`, text: '[0:1][1:1]={{a},{[masked:card]}}' },
  { type: 'json[]', raw: inArray(json), text: inArray(maskedJson) },
  { type: 'json[]', raw: inArray(hidden), text: inArray('{"n": "[masked:card]"}') },
  { type: 'jsonb[]', raw: inArray(json), text: inArray(maskedJson) },
  { type: 'xml[]', raw: `{<n>${card}</n>}`, text: '{<n>[masked:card]</n>}' },
  { type: 'bytea', raw: `say ${card}`, text: null },
  { type: 'bytea[]', raw: `{"say ${card}"}`, text: null },
  { type: 'tsvector', raw: `'${card}':1`, text: null },
  { type: 'tsvector[]', raw: `{"'${card}':1"}`, text: null },
  { type: 'tsquery', raw: `'${card}' & 'a'`, text: null },
  { type: 'jsonpath', raw: `$."n" == "${card}"`, text: null },
  { type: 'note[]', raw: `{a,"card ${card}"}`, text: '{a,"card [masked:card]"}', binary: null },
  { type: 'note[]', raw: `{${card}}`, text: null },
  { type: 'pair', raw: `(1,"card ${card}")`, text: '(1,"card [masked:card]")', binary: null },
  { type: 'pair', raw: `(${card},)`, text: null, binary: `(${card},)` },
  { type: 'pair[]', raw: `{"(1,\\"card ${card}\\")"}`, text: '{"(1,\\"card [masked:card]\\")"}', binary: null },
  {
    type: 'pair',
    raw: `(1,"${card.padEnd(0x0134)}")`,
    text: `(1,"${'[masked:card]'.padEnd(0x0134 - 3)}")`,
    binary: null,
  },
  { type: 'xml_pair', raw: '(1,<n>&#52;111111111111111</n>)', text: null },
  { type: 'blob_pair', raw: `(1,"\\\\x${Buffer.from(`say ${card}`).toString('hex')}")`, text: null },
  { type: 'address_pair', raw: '(1,10.81.93.5)', text: null },
  { type: 'address_note[]', raw: '{10.81.93.5}', text: null },
  { type: 'inet', raw: '10.81.93.5', text: null },
  { type: 'cidr[]', raw: '{10.81.93.0/24}', text: null },
  { type: 'textrange', raw: `["card ${card}",)`, text: '["card [masked:card]",)', binary: null },
  { type: 'textmultirange', raw: `{["card ${card}",)}`, text: '{["card [masked:card]",)}', binary: null },
  { type: 'citext', raw: `card ${card}`, text: 'card [masked:card]', binary: null },
  { type: 'hstore', raw: `"n"=>"${card}"`, text: '"n"=>"[masked:card]"', binary: null },
  { type: 'text[]', raw: '{a,"no secret"}', text: '{a,"no secret"}' },
  { type: 'pair', raw: '(1,"no ""secret""")', text: '(1,"no ""secret""")' },
  { type: 'jsonb[]', raw: '{"{\\"a\\": 1}"}', text: '{"{\\"a\\": 1}"}' },
  { type: 'hstore', raw: '"n"=>"1"', text: '"n"=>"1"' },
];

const columns = kinds.map((_, index) => `c${index}`).join(', ');
const shown = kinds.map((_, index) => `c${index}::text`).join(', ');
const casts = kinds.map(({ type }, index) => `($${index + 1}::${type})::text`).join(', ');

let harness: Harness;
let direct: pg.Client;

before(async () => {
  harness = await startHarness({
    schema: `
      create extension citext;
      create extension hstore;
      create domain note as text;
      create domain address_note as inet;
      create type pair as (a bigint, b text);
      create type blob_pair as (a integer, b bytea);
      create type xml_pair as (a integer, b xml);
      create type address_pair as (a integer, b inet);
      create type textrange as range (subtype = text, multirange_type_name = textmultirange);
      create table loose (${kinds.map(({ type }, index) => `c${index} ${type}`).join(', ')});
      create table back as table loose;
      insert into loose values (${kinds.map(({ raw, type }) => `'${raw.replaceAll("'", "''")}'::${type}`).join(', ')});
      create table labels (a integer, b text);
      insert into labels values (1, 'card ${card}');
      grant all on all tables in schema public to public;`,
    configure: (configuration) => {
      configuration['masking'] = [
        { name: 'd', appliesTo: {}, columns: [], detectors: ['card', 'email', 'ip'].map((detect) => ({ detect })) },
      ];
    },
  });
  direct = new pg.Client({ connectionString: harness.postgres.url('crm') });
  await direct.connect();
});

after(async () => {
  await direct?.end();
  await harness?.close();
});

/** @param cells strings as text, bytes as binary parameters */
async function readBack(cells: readonly (string | Buffer | null)[]): Promise<unknown[]> {
  const answer = await direct.query<unknown[]>({ text: `select ${casts}`, rowMode: 'array', values: [...cells] });
  return answer.rows[0] ?? [];
}

function check(values: readonly unknown[], format: 'text' | 'binary'): void {
  assert.equal(values.length, kinds.length);
  for (const [index, { type, raw, text, binary }] of kinds.entries())
    assert.equal(values[index], format === 'binary' && binary !== undefined ? binary : text, `${type}: ${raw}`);
}

describe('what detectors find', () => {
  it('in text', async () => {
    const reader = await harness.connect('reader');
    const answer = await reader.query<(string | null)[]>({
      text: `select ${columns} from loose`,
      rowMode: 'array',
      types: { getTypeParser: () => (value: unknown) => value },
    } as never);
    check(await readBack(answer.rows[0] ?? []), 'text');
  });

  it('in binary', async () => {
    const session = new RawSession(await harness.connect('reader'));
    const batch = [frame.parse('', `select ${columns} from loose`), frame.bind('', '', [], 1)];
    const answers = await session.run(1, ...batch, frame.execute(''), frame.sync());
    assert.deepEqual(errorsOf(answers), []);
    check(await readBack(binaryCells(answers)[0] ?? []), 'binary');
  });

  for (const options of ['', '(format csv)', '(format binary)']) {
    it(`by COPY ${options}`, async () => {
      const data = await copyOut(await harness.connect('reader'), `copy loose to stdout ${options}`);
      await direct.query('truncate back');
      await copyIn(direct, `copy back from stdin ${options}`, data);
      const answer = await direct.query<unknown[]>({ text: `select ${shown} from back`, rowMode: 'array' });
      check(answer.rows[0] ?? [], options.includes('binary') ? 'binary' : 'text');
    });
  }

  it('in records and in text of no type', async () => {
    const session = new RawSession(await harness.connect('reader'));
    for (const what of [
      'l',
      'row(l.*)',
      'array[row(l.*)]',
      'array[l]',
      "array['x', l.b]",
      'json_agg(l)',
      'jsonb_agg(l)',
      'xmlelement(name a, l.b)',
    ]) {
      for (const format of [0, 1] as const) {
        const batch = [
          frame.parse('', `select ${what} from labels l${what.includes('agg') ? '' : ' limit 5'}`),
          frame.bind('', '', [], format),
        ];
        const answers = await session.run(1, ...batch, frame.execute(''), frame.sync());
        assert.deepEqual(errorsOf(answers), [], what);
        assert.equal(answers.filter(({ type }) => type === 'D').length, 1);
      }
    }
    assert.ok(!session.bytes.includes(card.slice(4)));
  });
});
