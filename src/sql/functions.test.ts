/** Every function of real servers is on the list of `functions.ts`, or left out for a reason, and then it is unknown. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import pg from 'pg';
import { hasDebianPostgres, startEmbeddedPostgres, type EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { analyse } from './analyse.ts';
import { leftOut, leftOutFamilies } from './function-cases.ts';
import {
  informationSchemaFunctions,
  knownFunctions,
  sequenceFunctions,
  sessionFunctions,
  sessionReads,
} from './functions.ts';
import { loadParser } from './parse.ts';
import { makeCatalogue } from './catalogue.ts';
import { sampleCatalogue, sampleRaw } from './sample-catalogue.ts';

const versions = hasDebianPostgres() ? (['embedded', 'debian15'] as const) : (['embedded'] as const);

const decided: ReadonlySet<string> = new Set(Object.values(leftOut).flat());
const allowed: ReadonlySet<string> = new Set([
  ...knownFunctions,
  ...sequenceFunctions,
  ...sessionFunctions.keys(),
  ...sessionReads,
]);

/** What the server calls by itself: for operators, types, indexes, aggregates, encodings, languages. */
const called = `
  select oprcode::oid as id from pg_operator union select oprrest::oid from pg_operator
  union select oprjoin::oid from pg_operator union select amproc::oid from pg_amproc union select castfunc from pg_cast
  union select unnest(array[aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggmtransfn,
    aggminvtransfn, aggmfinalfn])::oid from pg_aggregate
  union select unnest(array[typinput, typoutput, typreceive, typsend, typmodin, typmodout, typanalyze,
    typsubscript])::oid from pg_type
  union select amhandler::oid from pg_am union select unnest(array[lanplcallfoid, laninline, lanvalidator]) from pg_language
  union select conproc::oid from pg_conversion union select prosupport::oid from pg_proc
  union select unnest(array[rngcanonical, rngsubdiff])::oid from pg_range
  union select unnest(array[tmplinit, tmpllexize])::oid from pg_ts_template
  union select unnest(array[prsstart, prstoken, prsend, prsheadline, prslextype])::oid from pg_ts_parser`;

const functions = `
  select p.proname as name, n.nspname as schema,
    bool_and(p.oid in (${called}) or 'internal'::regtype = any(p.proargtypes::oid[])
      or 'cstring'::regtype = any(p.proargtypes::oid[])
      or p.prorettype in ('cstring'::regtype, 'internal'::regtype, 'trigger'::regtype, 'event_trigger'::regtype)) as called,
    bool_or(p.oid >= 16384) as made, bool_or(p.prolang not in (12, 14)) as loaded
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname in ('pg_catalog', 'information_schema') group by 1, 2 order by 1, 2`;

for (const version of versions) {
  void describe(version, () => {
    let server: EmbeddedPostgres;
    let rows: { name: string; schema: string; called: boolean; made: boolean; loaded: boolean }[];
    before(async () => {
      await loadParser();
      server = await startEmbeddedPostgres({ version });
      const client = new pg.Client({ connectionString: server.url('postgres') });
      await client.connect();
      ({ rows } = await client.query(functions));
      await client.end();
    });
    after(async () => {
      await server.stop();
    });

    void test('somebody has decided on every function', () => {
      const undecided = rows
        .filter((row) => row.schema === 'pg_catalog' && !row.called && !allowed.has(row.name))
        .map((row) => row.name)
        .filter((name) => !decided.has(name) && !leftOutFamilies.test(name));
      assert.deepEqual(undecided, [], 'put them into functions.ts or, with the reason, into function-cases.ts');
      assert.ok(rows.length > 2_000);
    });

    void test('what is allowed is a function of the server itself', () => {
      for (const row of rows) {
        if (!allowed.has(row.name)) continue;
        assert.equal(row.made, false, `${row.name} was made by somebody`);
        assert.equal(row.loaded, false, `${row.name} is in a library, or in another language`);
      }
    });

    void test('whatever is not allowed is unknown, however it is called', () => {
      const options = { maxBytes: 10_000 };
      let asked = 0;
      for (const { name, schema } of rows) {
        if (allowed.has(name) || informationSchemaFunctions.has(name)) continue;
        asked++;
        const quoted = `"${name}"`;
        for (const text of [
          `select ${quoted}(1)`,
          `select ${schema}.${quoted}(name) from customers`,
          `select * from ${quoted}() x`,
          `select * from rows from (${schema}.${quoted}('a'), generate_series(1, 2)) x`,
          `select ${quoted}(1) over ()`,
          `select ${quoted}(variadic array[1])`,
          `select id from customers order by ${quoted}(id)`,
          `explain select ${quoted}(1)`,
          `copy (select ${quoted}(1)) to stdout`,
          `values (${quoted}(1))`,
          `select (1).${quoted}`,
          `select x.${quoted} from generate_series(1, 2) x`,
          `select abs.${quoted} from abs(1)`,
          `select x.${quoted} from (select 1 as ${quoted}) y, abs(1) x`,
          `select x.${quoted} from lower('a') x(other), (select x.${quoted} from upper('a') x(${quoted})) y`,
          `select (q.x).${quoted} from (select id x from customers) q`,
          `update customers set name = ${quoted}(name)`,
        ]) {
          // Some are columns that functions return.
          if (/\)\.|x\.|abs\./.test(text) && /^(name|type|level|value|schema)$/.test(name)) continue;
          const facts = analyse(text, sampleCatalogue, options);
          assert.ok(
            facts.every((one) => one.unknowns.length > 0),
            text,
          );
        }
      }
      assert.ok(asked > 1_500, `only ${asked} functions were asked`);
    });
  });
}

void test('nothing that was left out is allowed', () => {
  assert.deepEqual(
    [...decided, ...allowed].filter((name) => decided.has(name) && allowed.has(name)),
    [],
  );
});

void test('a function of users makes every form of its name unknown, except with the schema of the server', async () => {
  await loadParser();
  const own = makeCatalogue({
    ...sampleRaw,
    functions: ['upper', 'ssn_of'].map((name) => ({ name, among_built_in: false })),
  });
  for (const text of [
    'select upper(name) from customers',
    "select * from upper('x')",
    'select c.upper from customers c',
    'select (c).upper from customers c',
    'select (c.name).upper from customers c',
    'select c.ssn_of, c.id from customers c',
    'select crm.customers.ssn_of from crm.customers',
    'select crm.upper(name) from customers',
  ])
    assert.ok((analyse(text, own, { maxBytes: 1_000 })[0]?.unknowns.length ?? 0) > 0, text);
  assert.deepEqual(analyse('select pg_catalog.upper(name) from customers', own, { maxBytes: 1_000 })[0]?.unknowns, []);
});

void test('a function or operator that was put among those of the server makes its name unknown with their schema, too', async () => {
  await loadParser();
  const own = makeCatalogue({
    ...sampleRaw,
    functions: [{ name: 'upper', among_built_in: true }],
    operators: [{ name: '=', among_built_in: true }],
    definitions: [{ oid: 16_406, definition: 'SELECT id, upper(ssn) AS tax_no, email AS mail FROM crm.customers' }],
  });
  for (const text of [
    'select pg_catalog.upper(name) from customers',
    'select upper(name) from customers',
    'select (name).upper from customers',
    'select id from customers where id operator(pg_catalog.=) 1',
    'select id from customers where id in (1)',
    'select id from people',
  ])
    assert.ok((analyse(text, own, { maxBytes: 1_000 })[0]?.unknowns.length ?? 0) > 0, text);
});
