import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import pg from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.ts';
import { type Finding, type SecretSet, searchSecrets } from './secrets.ts';
import { customers, secretsOf, seedCustomers } from './seed.ts';

const small = { rows: 3000, seed: 7 } as const;

function passesLuhn(number: string): boolean {
  const sum = number
    .split('')
    .reverse()
    .reduce((total, digit, place) => {
      const value = place % 2 === 1 ? Number(digit) * 2 : Number(digit);
      return total + (value > 9 ? value - 9 : value);
    }, 0);
  return sum % 10 === 0;
}

void describe('seeded customers', () => {
  const rows = [...customers(small)];

  void test('are the same for the same seed and others for another', () => {
    assert.deepEqual([...customers(small)], rows);
    assert.notDeepEqual([...customers({ ...small, seed: 8 })], rows);
  });

  void test('have growing ids with gaps, Luhn-valid cards and every region', () => {
    assert.equal(rows.length, small.rows);
    const steps = rows.slice(1).map(({ id }, index) => id - (rows[index]?.id ?? 0));
    assert.ok(steps.every((step) => step >= 1) && steps.some((step) => step > 100));
    assert.ok(rows.every(({ cardNumber }) => /^\d{16}$/.test(cardNumber) && passesLuhn(cardNumber)));
    assert.ok(rows.every(({ ssn }) => /^\d{3}-\d{2}-\d{4}$/.test(ssn)));
    assert.deepEqual([...new Set(rows.map(({ region }) => region))].sort(), ['APAC', 'EU', 'US']);
  });

  void test('hide secrets where they say, all of them known to secretsOf', () => {
    const secrets = secretsOf(small);
    for (const { email, ssn, cardNumber, profile, notes, hidden } of rows) {
      assert.ok(secrets.has('email', email) && secrets.has('ssn', ssn) && secrets.has('card', cardNumber));
      for (const { kind, value } of hidden) {
        assert.ok(`${profile}${notes}`.includes(value) && secrets.has(kind, value));
      }
    }
    const everything = rows.flatMap(({ hidden }) => hidden);
    assert.ok(
      everything.some(({ value }) => value.includes('-')) && everything.some(({ value }) => value.includes(' ')),
    );
  });
});

void describe('the search for secrets', () => {
  const secrets = secretsOf(small);
  const [victim] = [...customers(small)];
  assert.ok(victim);
  const groups = victim.cardNumber.match(/.{4}/g) ?? [];
  const search = (set: SecretSet, ...pieces: (Buffer | string)[]): Promise<Finding[]> => searchSecrets(pieces, set);

  const planted: readonly (readonly [string, string])[] = [
    ['a social security number', victim.ssn],
    ['a social security number behind another that overlaps it', `000-00-0${victim.ssn}`],
    ['a card number', victim.cardNumber],
    ['a card number in groups', groups.join(' ')],
    ['a card number with dashes', groups.join('-')],
    ['a card number inside a longer run of digits', `99${victim.cardNumber}11`],
    ['an e-mail address', victim.email],
    ['an e-mail address in capitals', victim.email.toUpperCase()],
    ['an e-mail address glued to the length byte before it', `-3${victim.email}9`],
    ['an e-mail address in JSON', JSON.stringify({ contact: victim.email })],
  ];
  for (const [what, text] of planted) {
    void test(`finds ${what}, wherever the chunks are cut`, async () => {
      const noise = Buffer.alloc(500, 'x. ');
      const bytes = Buffer.concat([noise, Buffer.from(text), noise]);
      assert.equal((await search(secrets, bytes)).length, 1);
      for (let cut = noise.length; cut <= noise.length + text.length; cut += 1) {
        const found = await searchSecrets([bytes.subarray(0, cut), bytes.subarray(cut)], secrets, 1);
        assert.equal(found.length, 1, `cut at ${cut}`);
        assert.ok((found[0]?.offset ?? 0) >= noise.length);
      }
      const single = Array.from(bytes, (byte) => Buffer.of(byte));
      assert.equal((await searchSecrets(single, secrets, 1)).length, 1, 'byte by byte');
    });
  }

  void test('finds it across the border of its own chunks, and in files', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'countersign-secrets-'));
    try {
      for (const start of [1024 * 1024 - 200, 1024 * 1024 - 160, 1024 * 1024 - 8, 1024 * 1024]) {
        const bytes = Buffer.concat([Buffer.alloc(start, ' '), Buffer.from(victim.email), Buffer.alloc(5000, ' ')]);
        const file = join(folder, 'haystack');
        await writeFile(file, bytes);
        const expected: Omit<Finding, 'source'> = { kind: 'email', offset: start, value: victim.email };
        assert.deepEqual(await search(secrets, file), [{ ...expected, source: file }]);
        const pieces = [bytes.subarray(0, start + 3), bytes.subarray(start + 3)];
        assert.deepEqual(await search(secrets, ...pieces), [{ ...expected, source: 'bytes' }]);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  void test('finds nothing in masked values', async () => {
    const last4 = `************${victim.cardNumber.slice(-4)}`;
    const masked = [last4, `***-**-${victim.ssn.slice(-4)}`, `***@${victim.email.split('@')[1]}`, '4111111111111111'];
    assert.deepEqual(await search(secrets, Buffer.from(masked.join('\n'))), []);
  });
});

void describe('seedCustomers', () => {
  let server: EmbeddedPostgres;
  before(async () => {
    server = await startEmbeddedPostgres({ databases: ['crm'] });
  });
  after(() => server.stop());

  void test('writes exactly these rows', async () => {
    const client = new pg.Client({ connectionString: server.url('crm') });
    await client.connect();
    try {
      await seedCustomers(client, small);
      const { rows } = await client.query<Record<string, unknown>>(
        `select id::int, name, email, ssn, card_number as "cardNumber", region, profile, notes, created_at as "createdAt"
           from public.customers order by id`,
      );
      const expected = [...customers(small)].map((customer) => ({
        id: customer.id,
        name: customer.name,
        email: customer.email,
        ssn: customer.ssn,
        cardNumber: customer.cardNumber,
        region: customer.region,
        profile: JSON.parse(customer.profile) as unknown,
        notes: customer.notes,
        createdAt: new Date(customer.createdAt),
      }));
      assert.deepEqual(rows, expected);
      await assert.rejects(seedCustomers(client, small), /already exists/);
      const { rows: estimate } = await client.query<{ reltuples: number }>(
        "select reltuples from pg_class where relname = 'customers'",
      );
      assert.equal(estimate[0]?.reltuples, small.rows);
    } finally {
      await client.end();
    }
  });
});
