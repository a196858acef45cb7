/**
 * A small schema with masked and plain columns of many kinds, filled twice: the databases `one` and `two` differ only in
 * the masked values (never in what a mask shows of them by design), so whatever a client can tell apart is a leak.
 */
import type { MaskingTemplate } from '../../src/masking/policy.ts';

export const propertySchema = `
  create table people (
    id integer primary key,
    name text not null,
    ssn text,
    pin integer,
    born date,
    card text,
    email text,
    secret jsonb,
    tags text[],
    grade integer,
    doc jsonb,
    big bigint,
    ratio double precision,
    pay numeric
  );
  create table visits (id integer primary key, person_id integer not null, place text, cost numeric, day date, grade integer);
  create table plain (id integer primary key, label text not null, num integer, flag boolean, doc jsonb);
  create table ledger (id integer not null, ssn text, amount integer, label text) partition by range (id);
  create table ledger_low partition of ledger for values from (0) to (6);
  create table ledger_high partition of ledger for values from (6) to (1000);
  create table base (id integer, label text);
  create table derived (pin integer) inherits (base);
  create view people_view as select id, name, ssn as code, pin + 1 as next_pin, grade from people;
  create view joined as select v.id, v.place, p.ssn as who, p.grade from visits v join people p on p.id = v.person_id;
  create view open_view as select id, label, num from plain where num > 0;
  create view nested_view as select id as number, upper(code) as loud, name from people_view;
`;

/** What every masked text begins with, in both databases. */
export const marker = 'zqxk';
/** What every masked number begins with. */
export const numberMarker = '7319';

export function propertyData(database: string): string {
  const world = database === 'one' ? 1 : 2;
  // The second database's values have other lengths, another order and another parity.
  const n = world === 1 ? 'n' : '(13 - n)';
  const token = (column: string) =>
    `'${marker}${column}' || ${n} || repeat('${world === 1 ? 'u' : 'wv'}', 1 + (${n} % 3)) || '${world}'`;
  return `
    insert into people
    select n, 'name ' || n, case when n % 5 = 0 then null else ${token('s')} end,
           ${numberMarker}0000 + ${n} * ${world === 1 ? 3 : 7},
           make_date(1961 + n, ${world === 1 ? 2 : 11}, ${world === 1 ? '1 + n' : '20 - n'}),
           ${token('c')} || lpad(n::text, 4, '0'), ${token('e')} || '@site' || n % 2 || '.example',
           jsonb_build_object('t', ${token('j')}, 'n', ${numberMarker}1000 + ${n}, 'a', jsonb_build_array(${token('k')})) || ${world === 1 ? "'{}'" : '\'{"more": 1}\''}::jsonb,
           case when n % 4 = 0 then null else array[${token('t')}, ${token('v')}${world === 1 ? '' : `, ${token('w')}`}] end,
           n % 3, jsonb_build_object('k', n, 'l', 'x' || n), ${numberMarker}00000000 + ${n}, ${numberMarker}2000.5 + ${n}, ${numberMarker}3000.25 + ${n} * ${world}
      from generate_series(1, 12) n;
    insert into visits
    select n, 1 + n % 9, 'place ' || n % 4, n * 1.5, date '2020-01-01' + n, n % 4 from generate_series(1, 15) n;
    insert into plain
    select n, 'label ' || n, case when n % 6 = 0 then null else n % 5 end, n % 2 = 0,
           jsonb_build_object('k', n, 'a', jsonb_build_array(n, 'x'))
      from generate_series(1, 10) n;
    insert into ledger select n, ${token('l')}, n * 10, 'entry ' || n from generate_series(1, 10) n;
    insert into base select n, 'base ' || n from generate_series(1, 3) n;
    insert into derived select n + 10, 'derived ' || n, ${numberMarker}4000 + ${n} from generate_series(1, 4) n;
  `;
}

export const propertyMasking: readonly MaskingTemplate[] = [
  {
    name: 'property',
    appliesTo: {},
    columns: [
      { match: 'ssn', mask: 'redact' },
      { match: 'people.pin', mask: 'redact' },
      { match: 'derived.pin', mask: 'redact' },
      { match: 'people.born', mask: 'year' },
      { match: 'people.card', mask: 'last4' },
      { match: 'people.email', mask: 'email-domain' },
      { match: 'people.secret', mask: 'redact' },
      { match: 'people.tags', mask: 'null' },
      { match: 'people.big', mask: 'redact' },
      { match: 'people.ratio', mask: 'null' },
      { match: 'people.pay', mask: 'redact' },
    ],
    detectors: [],
  },
];

function hex(text: string): string {
  return Buffer.from(text).toString('hex');
}

/** The middle of a text's base64 form at each of three alignments, where it does not depend on its neighbours. */
function base64Forms(text: string): string[] {
  return [0, 1, 2].map((shift) => {
    const encoded = Buffer.from('\0'.repeat(shift) + text)
      .toString('base64')
      .replaceAll('=', '');
    const firstOwn = Math.ceil((shift * 8) / 6);
    const lastOwn = Math.floor(((shift + text.length) * 8) / 6);
    return encoded.slice(firstOwn, lastOwn);
  });
}

const reversed = marker.split('').toReversed().join('');
const forms = [marker, reversed, marker.toUpperCase(), reversed.toUpperCase()].flatMap((text) => [
  text,
  hex(text),
  hex(text).toUpperCase(),
  ...base64Forms(text),
]);
const canary = new RegExp(`${forms.join('|')}|(?<!\\d)${numberMarker}\\d{4,}`, 'i');

/** Binary forms of the masked numbers, which have no text to look for. */
function holdsBinaryNumber(bytes: Buffer): boolean {
  const low = Number(`${numberMarker}0000`);
  for (let at = 0; at + 4 <= bytes.length; at++) {
    const value = bytes.readInt32BE(at);
    if (value >= low && value <= low + 9_999) return true;
  }
  return false;
}

/** The first raw value in some bytes. */
export function rawValueIn(bytes: Buffer): string | undefined {
  const text = canary.exec(bytes.toString('latin1'))?.[0];
  return text ?? (holdsBinaryNumber(bytes) ? 'a masked number in binary' : undefined);
}
