/** The tables that the clients read, and what of them must never get out. */
import { customersSchema, secretPatterns as customerSecrets } from '../customers.ts';

/** One row of each type that drivers convert. `ssn` is masked, so that every row goes through the masking. */
export const schema = `
  ${customersSchema}
  create table kinds (
    id integer primary key,
    big bigint,
    exact numeric(20, 4),
    flag boolean,
    at timestamptz,
    words text,
    nothing text,
    doc jsonb,
    tag uuid,
    raw bytea,
    numbers integer[],
    names text[],
    ssn text not null
  );
  insert into kinds values (
    1, 9007199254740993, 12345678901234.5678, true, '2024-02-29 12:34:56.789+00', 'Grüße, 世界 🐘', null,
    '{"a": [1, 2.5, "x"], "b": null}', '7d444840-9dc0-11d1-b245-5ffdce74fad2', '\\x00ff10deadbeef', '{1,null,3}',
    '{a,"b c",null,ä}', '555-45-6555'
  );
  create table masked_kinds (
    tag uuid,
    digest uuid,
    raw bytea,
    address inet,
    network cidr,
    mac macaddr,
    span int4range,
    bits varbit,
    numbers integer[],
    words text[],
    days date[],
    body jsonb,
    exact numeric,
    born date,
    flag boolean
  );
  insert into masked_kinds values (
    '7d444840-9dc0-11d1-b245-5ffdce74fad2', '7d444840-9dc0-11d1-b245-5ffdce74fad2', 'person1@secret.example', '10.81.93.5',
    '10.81.93.0/24', '7a:71:37:6b:00:01', '[8193,8194)', '10101101', '{8193}', '{person1@secret.example,null}',
    '{1961-03-05}', '{"mail": "person1@secret.example"}', 81930517.25, '1961-03-05', true
  );
  create table arrivals (id integer primary key, label text not null);
`;

/** Of the columns of `masked_kinds`: those that show a part, and `redact` for the rest. */
export const maskedKinds = [
  { match: 'masked_kinds.digest', mask: 'hash' },
  { match: 'masked_kinds.words', mask: 'last4' },
  { match: 'masked_kinds.days', mask: 'year' },
  { match: 'masked_kinds.exact', mask: { kind: 'round', to: 1000 } },
  { match: 'masked_kinds.born', mask: 'year' },
  ...['tag', 'raw', 'address', 'network', 'mac', 'span', 'bits', 'numbers', 'body', 'flag'].map((column) => ({
    match: `masked_kinds.${column}`,
    mask: 'redact',
  })),
];

/** The row of `kinds` as every client has to report it. */
export const expectedKinds: Readonly<Record<string, unknown>> = {
  id: '1',
  big: '9007199254740993',
  exact: '12345678901234.5678',
  flag: 'true',
  at: '2024-02-29T12:34:56.789Z',
  words: 'Grüße, 世界 🐘',
  nothing: null,
  doc: { a: [1, 2.5, 'x'], b: null },
  tag: '7d444840-9dc0-11d1-b245-5ffdce74fad2',
  raw: '00ff10deadbeef',
  numbers: [1, null, 3],
  names: ['a', 'b c', null, 'ä'],
};

export const customerCount = 300;

const others: readonly RegExp[] = [/4111\D?1111/];

/** The first secret in `text`; what came as hexadecimal digits or as UTF-16 is looked at, too. */
export function secretIn(text: string): string | undefined {
  for (const pattern of [...customerSecrets, ...others]) {
    const found = pattern.exec(text);
    if (found !== null) return found[0];
  }
  return undefined;
}

/** The first secret in bytes that a client received: as they are, and with what is written in hexadecimal digits decoded. */
export function secretInBytes(bytes: Buffer): string | undefined {
  const text = bytes.toString('latin1');
  const hexadecimal = [...text.matchAll(/(?:[0-9a-f]{2}){8,}/gi)]
    .map(([digits]) => Buffer.from(digits, 'hex').toString('latin1'))
    .join('\n');
  return secretIn(text) ?? secretIn(hexadecimal) ?? secretIn(text.replaceAll('\0', ''));
}
