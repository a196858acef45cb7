import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { pagingLoop, type PagingLoop } from '../sql/paging.ts';
import { loadParser, parseStatements } from '../sql/parse.ts';
import { sampleCatalogue } from '../sql/sample-catalogue.ts';
import { parseJobDefinition, type JobDefinition } from './definition.ts';
import { draftJob, type JobDraft, type TableFacts } from './draft.ts';

before(() => loadParser());

const keys: Readonly<Record<string, readonly string[]>> = { customers: ['id'], orders: ['id'], visits: ['id', 'at'] };

function loop(first: string, second: string): PagingLoop {
  const [a, b] = [first, second].map((text) => {
    const parsed = parseStatements(text, { maxBytes: 1_000_000 });
    assert.ok(parsed.ok, parsed.ok ? '' : `${parsed.reason}: ${text}`);
    return parsed.statements[0];
  });
  assert.ok(a !== undefined && b !== undefined);
  const found = pagingLoop(a, b);
  assert.ok(found !== undefined, second);
  return found;
}

async function draft(
  found: PagingLoop,
  table: Partial<TableFacts> = {},
): Promise<{ draft: JobDraft; definition: JobDefinition }> {
  const made = await draftJob({
    loop: found,
    connection: 'crm',
    sessionId: 'ses_test',
    catalogue: sampleCatalogue,
    maskOf: ({ column }) => (column === 'ssn' ? 'redact' : undefined),
    table: (relation) => Promise.resolve({ primaryKey: keys[relation.name] ?? [], estimatedRows: 4_000_000, ...table }),
  });
  return { draft: made, definition: parseJobDefinition(made.content, made.path) };
}

const page = (text: string) => loop(`${text} limit 50`, `${text} limit 50 offset 50`);

describe('a draft', () => {
  test('is a whole job with comments', async () => {
    const { draft: made, definition } = await draft(
      loop(
        "select id, name from customers where region = 'EU' and id > 50 order by id limit 50",
        "select id, name from customers where region = 'EU' and id > 100 order by id limit 50",
      ),
    );
    assert.equal(made.path, 'jobs/customers-export.yaml');
    assert.equal(definition.source, "select id, name from customers where region = 'EU'");
    assert.deepEqual(definition.chunk, {
      by: { kind: 'columns', columns: ['id'] },
      size: { unit: 'rows', value: 50_000 },
      strategy: 'keyset',
    });
    assert.deepEqual(definition.output, {
      format: 'parquet',
      to: 'file://out/customers-export',
      escapeFormulas: false,
    });
    assert.equal(definition.limits.rows, 5_000_000);
    assert.match(made.content, /^# Draft made from session ses_test, which ran a keyset loop/);
    assert.match(made.content, /# conditions that all steps had in common stay/);
  });

  test('names the statement’s own parameters by what they are compared with', async () => {
    const text =
      'select id, name from customers where region = $2 and age between $3::int and 60 and id > $1 order by id limit 50';
    const { definition } = await draft(loop(text, text));
    assert.equal(
      definition.source,
      'select id, name from customers where region = :region and age between :age::int and 60',
    );
    assert.deepEqual(
      Object.entries(definition.parameters).map(([name, { type }]) => [name, type]),
      [
        ['region', 'text'],
        ['age', 'int'],
      ],
    );
  });

  test('takes the primary key for OFFSET, slices, addresses and cursors', async () => {
    for (const found of [
      page('select * from customers'),
      page('select * from customers order by name'),
      loop('select * from customers where id % 4 = 1', 'select * from customers where id % 4 = 2'),
      loop(
        "select * from customers where ctid > '(0,1)' limit 9",
        "select * from customers where ctid > '(1,1)' limit 9",
      ),
      loop('declare c cursor for select * from customers', 'fetch 10 from c'),
    ]) {
      const { definition } = await draft(found);
      assert.deepEqual(definition.chunk.by, { kind: 'columns', columns: ['id'] }, found.text);
      assert.equal(definition.chunk.strategy, 'quantile');
      assert.equal(definition.source, 'select * from customers');
    }
  });

  test('takes a whole composite key, and the loop’s own column where it is another', async () => {
    const visits = await draft(page('select id, at from visits'));
    assert.deepEqual(visits.definition.chunk.by, { kind: 'columns', columns: ['id', 'at'] });
    const own = await draft(
      loop(
        "select id, born from customers where born >= '2000-01-01' and born < '2001-01-01'",
        "select id, born from customers where born >= '2001-01-01' and born < '2002-01-01'",
      ),
    );
    assert.deepEqual(own.definition.chunk.by, { kind: 'columns', columns: ['born'] });
    assert.equal(own.definition.chunk.strategy, 'quantile');
  });

  test('never cuts by a masked column, and says when no key comes out', async () => {
    const masked = await draft(page('select ssn from customers order by ssn'), { primaryKey: ['ssn'] });
    assert.deepEqual(masked.definition.chunk.by, { kind: 'auto' });
    const without = await draft(page('select name from customers'));
    assert.deepEqual(without.definition.chunk.by, { kind: 'auto' });
    assert.match(without.draft.content, /select the primary key \(id\)/);
    const expression = await draft(page('select id + 1 as id from customers'));
    assert.deepEqual(expression.definition.chunk.by, { kind: 'auto' });
  });

  test('is one piece where pieces would not add up', async () => {
    for (const text of [
      'select distinct region from customers',
      'select region, count(*) from customers group by region',
      'select id from customers union all select id from notes',
      'select id, row_number() over (order by id) from customers',
    ]) {
      const { draft: made, definition } = await draft(page(text));
      assert.deepEqual(definition.chunk.by, { kind: 'none' }, text);
      assert.match(made.content, /read in one piece, because/);
    }
  });

  test('of a text that cannot be cut holds the statement, and says so', async () => {
    const { draft: made, definition } = await draft(page("select id from customers where name = 'a\n\nb'"));
    assert.deepEqual(definition.chunk.by, { kind: 'none' });
    assert.match(definition.source, /limit 50 offset 50$/);
    assert.match(made.content, /# the paging clause could not be taken out/);
  });

  test('says where the log withheld a literal, where names are double, and where a relation is not known', async () => {
    assert.match((await draft(page("select id from customers where name = '…'"))).draft.content, /not in the log/);
    assert.match(
      (await draft(page("select id from customers where name = '[email]'"))).draft.content,
      /not in the log/,
    );
    assert.match((await draft(page('select id, id from customers'))).draft.content, /a name of its own \(AS\): id/);
    assert.match((await draft(page('select id from gone'))).draft.content, /not understood: relation gone/);
    assert.match(
      (await draft(page('select * from customers'), { estimatedRows: undefined })).draft.content,
      /not known/,
    );
  });
});

test('whatever the loop, the draft is a valid definition with that source', async () => {
  const identifier = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 70 })
    .filter((name) => !name.includes('\0') && name.isWellFormed())
    .map((name) => `"${name.replaceAll('"', '""')}"`);
  const name = fc.oneof(fc.constantFrom('id', 'region', 'auto', 'none', 'c.id', 'tags[1:n]', 'ssn'), identifier);
  const relation = fc.oneof(
    fc.constantFrom('customers c', 'crm.orders c', 'visits c', 'gone c', 'people c'),
    identifier,
  );
  const literal = fc
    .string({ unit: 'grapheme', maxLength: 30 })
    .map((text) => `'${text.replaceAll('\0', '').replaceAll("'", "''")}'`);
  const condition = fc.oneof(
    fc.tuple(name, literal).map(([left, right]) => `${left} = ${right}`),
    fc.tuple(name, fc.integer({ min: 1, max: 9 })).map(([left, number]) => `${left} <> $${number}`),
    fc.tuple(name, name).map(([a, b]) => `(${a} is distinct from ${b} or ${b} between 1 and 2)`),
  );
  const paging = fc.constantFrom<readonly [string, string]>(
    ['limit 5', 'limit 5 offset 5'],
    ['order by 1 limit 5', 'order by 1 limit $1 offset $2'],
    ['order by 1 offset 5 rows fetch first 5 rows only', 'order by 1 offset 10 rows fetch first 5 rows only'],
  );
  const run = fc.asyncProperty(
    fc.array(name, { minLength: 1, maxLength: 4 }),
    relation,
    fc.array(condition, { maxLength: 3 }),
    paging,
    fc.boolean(),
    async (columns, from, conditions, [first, second], keyset) => {
      const bound = (value: number) => (keyset ? [...conditions, `id > ${value}`] : conditions);
      const where = (value: number) => (bound(value).length === 0 ? '' : `where ${bound(value).join(' and ')}`);
      const text = (value: number, tail: string) => `select ${columns.join(', ')} from ${from} ${where(value)} ${tail}`;
      const [a, b] = keyset ? [text(5, first), text(10, first)] : [text(5, first), text(5, second)];
      const parsed = parseStatements(a, { maxBytes: 100_000 });
      fc.pre(parsed.ok && parsed.statements.length === 1);
      const { definition } = await draft(loop(a, b));
      assert.match(definition.job, /^[a-z0-9][a-z0-9_-]{0,62}$/);
    },
  );
  await fc.assert(run, { numRuns: 500 });
});
