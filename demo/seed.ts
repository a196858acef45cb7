/**
 * The synthetic customers of the demo and the tests: the same rows for the same seed, on every machine, so that
 * whoever searches for leaked secrets knows every one of them without asking the database.
 *
 * No value belongs to anybody: e-mail domains are the reserved `example.*`, card numbers only pass Luhn.
 */
import type { Client, Connection, Submittable } from 'pg';
import pg from 'pg';
import { SecretSet } from './secrets.ts';

export interface SeedOptions {
  /** Default 200,000. */
  readonly rows?: number;
  /** A 32-bit integer; default 20261124. */
  readonly seed?: number;
}

export interface Customer {
  readonly id: number;
  readonly name: string;
  readonly email: string;
  readonly ssn: string;
  /** 16 digits, Luhn-valid. */
  readonly cardNumber: string;
  readonly region: 'EU' | 'US' | 'APAC';
  /** JSON text. Every third one hides another card number, every fourth another e-mail address. */
  readonly profile: string;
  /** Sentences. Every third one hides a card number written in groups, every fifth an e-mail address. */
  readonly notes: string | null;
  readonly createdAt: string;
  /** What profile and notes hide, as it is written there. */
  readonly hidden: readonly { readonly kind: 'card' | 'email'; readonly value: string }[];
}

export const createCustomersSql = `
  create table public.customers (
    id bigint primary key,
    name text not null,
    email text not null,
    ssn text not null,
    card_number text not null,
    region text not null,
    profile jsonb not null,
    notes text,
    created_at timestamptz not null
  )`;

const defaultRows = 200_000;
const defaultSeed = 20_261_124;

const firstNames = [
  'Ada',
  'Ben',
  'Chloe',
  'Dario',
  'Elif',
  'Femi',
  'Greta',
  'Hiro',
  'Ines',
  'Jonas',
  'Kavya',
  'Liam',
  'Mei',
  'Nils',
  'Olga',
  'Priya',
  'Rosa',
  'Sven',
  'Tariq',
  'Uma',
];
const lastNames = [
  'Abbot',
  'Berg',
  'Castillo',
  'Dubois',
  'Eriksen',
  'Farah',
  'Garcia',
  'Haas',
  'Ito',
  'Jansen',
  'Kowalski',
  'Larsen',
  'Moreau',
  'Nakamura',
  'Okafor',
  'Petrov',
  'Quinn',
  'Rossi',
  'Schmidt',
  'Tanaka',
];
const domains = ['example.com', 'example.org', 'example.net', 'mail.example.com'];
const tiers = ['basic', 'silver', 'gold'];
const pleasantries = [
  'Prefers to be called in the morning.',
  'Asked twice about delivery times.',
  'Very happy with the last order.',
  'Moved last spring; the old address is void.',
  'Wants paper invoices.',
];

/** A small 32-bit mixer (splitmix32): `below(n)` is an integer in [0, n). */
function makeRandom(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return Math.floor((((mixed ^ (mixed >>> 15)) >>> 0) / 0x1_0000_0000) * below);
  };
}

/** The digits with the check digit that makes them pass Luhn; for a body of odd length. */
function withLuhnDigit(body: string): string {
  let sum = 0;
  for (let place = 0; place < body.length; place += 1) {
    const digit = body.charCodeAt(place) - 48;
    const doubled = digit * 2;
    sum += place % 2 === 0 ? (doubled > 9 ? doubled - 9 : doubled) : digit;
  }
  return body + String((10 - (sum % 10)) % 10);
}

function digits(value: number, count: number): string {
  return String(value).padStart(count, '0');
}

/** Every customer in order of id, which has gaps. */
export function* customers({ rows = defaultRows, seed = defaultSeed }: SeedOptions = {}): Generator<Customer> {
  const random = makeRandom(seed);
  const pick = (list: readonly string[]): string => list[random(list.length)] ?? '';
  const card = (): string =>
    withLuhnDigit(
      `${random(2) === 0 ? '4' : '5'}${digits(1 + random(4), 1)}${digits(random(1e7), 7)}${digits(random(1e6), 6)}`,
    );
  const firstDayMs = Date.UTC(2019, 0, 1);
  let id = 1000;
  for (let row = 0; row < rows; row += 1) {
    id += random(100) === 0 ? 1 + random(500) : 1 + Math.floor(random(8) / 5);
    const [first, last] = [pick(firstNames), pick(lastNames)];
    const hidden: { kind: 'card' | 'email'; value: string }[] = [];
    const hide = (kind: 'card' | 'email', value: string): string => {
      hidden.push({ kind, value });
      return value;
    };
    const profile: Record<string, unknown> = { tier: pick(tiers), visits: random(200) };
    if (random(3) === 0) profile['wallet'] = [{ type: 'card', number: hide('card', card()) }];
    if (random(4) === 0)
      profile['contact'] = { backup: hide('email', `${last}.${id}.home@${pick(domains)}`.toLowerCase()) };
    const sentences = [pick(pleasantries)];
    if (random(3) === 0) {
      const groups = card().match(/.{4}/g) ?? [];
      sentences.push(`Paid the deposit with ${hide('card', groups.join(random(2) === 0 ? ' ' : '-'))} by phone.`);
    }
    if (random(5) === 0) {
      sentences.push(`Copies of all letters go to ${hide('email', `office${id}@${pick(domains)}`)}, please.`);
    }
    const region = random(10);
    yield {
      id,
      name: `${first} ${last}`,
      email: `${first}.${last}${id}@${pick(domains)}`.toLowerCase(),
      ssn: `${digits(1 + random(665), 3)}-${digits(1 + random(99), 2)}-${digits(1 + random(9999), 4)}`,
      cardNumber: card(),
      region: region < 5 ? 'EU' : region < 8 ? 'US' : 'APAC',
      profile: JSON.stringify(profile),
      notes: random(20) === 0 && sentences.length === 1 ? null : sentences.join(' '),
      createdAt: new Date(firstDayMs + random(2500) * 86_400_000 + random(86_400) * 1000).toISOString(),
      hidden,
    };
  }
}

/** Every secret that `seedCustomers` writes with the same options. */
export function secretsOf(options: SeedOptions = {}): SecretSet {
  const secrets = new SecretSet();
  for (const customer of customers(options)) {
    secrets.add('email', customer.email);
    secrets.add('ssn', customer.ssn);
    secrets.add('card', customer.cardNumber);
    for (const { kind, value } of customer.hidden) secrets.add(kind, value);
  }
  return secrets;
}

/**
 * Creates `public.customers`, fills and analyses it. The connection needs the right to create tables in `public`.
 *
 * @param target a connected client, or a connection string
 */
export async function seedCustomers(target: Client | string, options: SeedOptions = {}): Promise<void> {
  if (typeof target !== 'string') {
    await fill(target, options);
    return;
  }
  const client = new pg.Client({ connectionString: target });
  await client.connect();
  try {
    await fill(client, options);
  } finally {
    await client.end();
  }
}

async function fill(client: Client, options: SeedOptions): Promise<void> {
  await client.query('begin');
  try {
    await client.query(createCustomersSql);
    await copyIn(client, 'copy public.customers from stdin', copyText(options));
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
  await client.query('vacuum analyze public.customers');
}

/** The rows in COPY's text format, in pieces of some hundred rows. */
function* copyText(options: SeedOptions): Generator<string> {
  const field = (value: string | number | null): string =>
    value === null ? '\\N' : String(value).replaceAll('\\', '\\\\').replaceAll('\t', '\\t').replaceAll('\n', '\\n');
  let lines: string[] = [];
  for (const { id, name, email, ssn, cardNumber, region, profile, notes, createdAt } of customers(options)) {
    const fields = [id, name, email, ssn, cardNumber, region, profile, notes, createdAt];
    lines.push(`${fields.map(field).join('\t')}\n`);
    if (lines.length === 500) {
      yield lines.join('');
      lines = [];
    }
  }
  yield lines.join('');
}

/** COPY ... FROM STDIN with `pg`, which leaves the data messages to a query object like this one. */
async function copyIn(client: Client, sql: string, pieces: Iterable<string>): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  let failure: Error | undefined;
  const send = async (connection: Connection): Promise<void> => {
    for (const piece of pieces) {
      const data = Buffer.from(piece);
      const head = Buffer.alloc(5, 'd');
      head.writeInt32BE(data.length + 4, 1);
      if (failure !== undefined) break;
      connection.stream.write(head);
      if (!connection.stream.write(data)) await new Promise((done) => connection.stream.once('drain', done));
    }
    connection.stream.write(Buffer.from([0x63, 0, 0, 0, 4])); // CopyDone
  };
  const query: Submittable & Record<string, unknown> = {
    submit: (connection: Connection) => connection.query(sql),
    handleCopyInResponse: (connection: Connection) => {
      send(connection).catch(reject);
    },
    handleCommandComplete: () => undefined,
    handleError: (error: Error) => {
      failure = error;
      reject(error);
    },
    handleReadyForQuery: () => resolve(undefined),
  };
  client.query(query);
  await promise;
}
