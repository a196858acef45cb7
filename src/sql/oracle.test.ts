/**
 * Our reading of statements against the reading of real servers: names and origins of output columns (RowDescription),
 * and that a column which we say an output does not depend on can change without changing the output, and one that is no
 * predicate without an error.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import pg from 'pg';
import { hasDebianPostgres, startEmbeddedPostgres, type EmbeddedPostgres } from '../../demo/embedded-postgres.ts';
import { analyse } from './analyse.ts';
import { catalogueQueries, definitionDigests, makeCatalogue, type RawCatalogue } from './catalogue.ts';
import {
  aggregateFunctions,
  functionColumns,
  knownFunctions,
  polymorphicFunctions,
  setReturningFunctions,
} from './functions.ts';
import { resolved, unresolved } from './lineage-cases.ts';
import { clientQueries } from './client-queries.ts';
import { loadParser } from './parse.ts';
import { sampleSchema } from './sample-catalogue.ts';
import type { Catalogue, StatementFacts } from './statement.ts';
import { isHarmlessCatalogueRelation } from './system-relations.ts';

const versions = hasDebianPostgres() ? (['embedded', 'debian15'] as const) : (['embedded'] as const);
if (versions.length === 1) {
  process.stderr.write(
    "\n*** src/sql/oracle.test.ts: Debian's PostgreSQL 15 is not installed, so only 18 was compared with ***\n\n",
  );
}

const options = { maxBytes: 100_000 };

async function load(client: pg.Client): Promise<Catalogue> {
  const raw: Record<string, unknown> = { searchPath: ['crm', 'public'] };
  await client.query('begin isolation level repeatable read read only');
  for (const [name, text] of Object.entries(catalogueQueries)) raw[name] = (await client.query(text)).rows;
  await client.query('rollback');
  return makeCatalogue(raw as unknown as RawCatalogue);
}

const data = `
insert into customers (id, name, email, ssn, region, tags, notes, age, born) values
  (1, 'ann', 'A@x', '1', 'EU', '{p,q}', '{"a": 1, "b": {"c": 2}}', 3, '2001-01-01'),
  (2, 'bob', 'B@x', '22', 'US', '{q}', '{"a": 5}', 2, '2002-02-02'),
  (3, 'cyd', 'C@x', '3', 'EU', '{}', '{"b": 7}', 4, '2003-03-03');
insert into orders values (1, 1, 7, '2025-01-01'), (2, 1, 3, '2025-01-02'), (7, 3, 9, '2025-01-03');
insert into notes values (1, 'one', 5), (2, 'two', 6), (9, 'nine', 7);
`;

/** Ways to change a column without changing which values are null. */
const changes: readonly (readonly [string, string, string])[] = [
  ...['name', 'email', 'ssn', 'region'].flatMap((column) => [
    ['customers', column, `'1' || ${column}`] as const,
    ['customers', column, `'1'`] as const,
  ]),
  ['customers', 'age', 'age + 2'],
  ['customers', 'age', '2'],
  // what many functions would fail on
  ['customers', 'ssn', `'€"\\(x'`],
  ['customers', 'age', '-2147483648'],
  ['customers', 'tags', `case id when 1 then '{{a,b},{c,d}}' when 2 then '{a}' else '{a,b,c}' end::text[]`],
  ['orders', 'total', '1e30'],
  ['customers', 'tags', `tags || '{z}'::text[]`],
  ['customers', 'notes', `'{"a": 3, "z": 4}'`],
  ['customers', 'born', `'1999-09-09'`],
  ['notes', 'txt', `'1'`],
  ['notes', 'id', 'id + 1'],
  ['orders', 'total', '4'],
  ['orders', 'customer_id', '4 - customer_id'],
  ['orders', 'id', 'id + 1'],
];

interface Result {
  readonly fields: readonly pg.FieldDef[];
  readonly rows: readonly (readonly unknown[])[];
}

/** Runs it and takes it back. undefined where the server refuses it (a newer construct, a failing cast). */
async function ask(client: pg.Client, sql: string, before: readonly string[]): Promise<Result | string> {
  await client.query('begin');
  try {
    await client.query('set local search_path = crm, public');
    for (const text of before) await client.query(text);
    const values = /\$1/.test(sql) ? ['7'] : [];
    const result = await client.query<unknown[]>({ text: sql, values, rowMode: 'array' });
    return { fields: result.fields, rows: result.rows };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await client.query('rollback');
  }
}

function dependsOn(facts: StatementFacts, output: number | undefined, relation: string, column: string): boolean {
  if (!facts.lineage.resolved) return true;
  const sources = output === undefined ? [] : (facts.lineage.outputs[output]?.sources ?? []);
  return [...sources, ...facts.lineage.predicates].some(
    (source) => source.relation === relation && source.column === column,
  );
}

for (const version of versions) {
  void describe(version, () => {
    let server: EmbeddedPostgres;
    let client: pg.Client;
    let catalogue: Catalogue;
    before(async () => {
      await loadParser();
      server = await startEmbeddedPostgres({ version });
      client = new pg.Client({ connectionString: server.url('postgres') });
      await client.connect();
      await client.query('set statement_timeout = 5000');
      await client.query(sampleSchema + data);
      catalogue = await load(client);
    });
    after(async () => {
      await client.end();
      await server.stop();
    });

    void test('outputs have the names and origins that the server says', async () => {
      let compared = 0;
      for (const [sql] of resolved) {
        if (/^(copy|create|explain|show)/.test(sql)) continue;
        const [facts] = analyse(sql, catalogue, options);
        assert.ok(facts?.lineage.resolved === true, sql);
        const result = await ask(client, sql, []);
        if (typeof result === 'string') continue;
        compared++;
        const { outputs } = facts.lineage;
        assert.deepEqual(
          outputs.map((output) => output.name),
          result.fields.map((field) => field.name),
          sql,
        );
        outputs.forEach((output, index) => {
          const field = result.fields[index];
          if (!output.verbatim || field === undefined) return;
          // The server names the column of the view that it came through.
          if (catalogue.relationByOid(field.tableID)?.kind === 'view') return;
          assert.deepEqual(
            output.sources.map((source) => [source.relationOid, source.attnum]),
            [[field.tableID, field.columnID]],
            `${sql}: ${output.name}`,
          );
        });
      }
      assert.ok(compared > 80, `only ${compared} statements were comparable`);
    });

    void test('what an output does not depend on can change without changing it, and what is no predicate without an error', async () => {
      let differences = 0;
      let failures = 0;
      for (const [sql] of resolved) {
        // Predicates inside a view are its owner's and are not listed; system columns and samples change by themselves.
        if (/^(copy|create|explain|show)|ctid|into t|tablesample|people/.test(sql)) continue;
        const [facts] = analyse(sql, catalogue, options);
        assert.ok(facts?.lineage.resolved === true, sql);
        const plain = await ask(client, sql, []);
        if (typeof plain === 'string') continue;
        for (const [relation, column, expression] of changes) {
          const change = `update crm.${relation} set ${column} = ${expression}`;
          const changed = await ask(client, sql, [change]);
          if (typeof changed === 'string') {
            failures++;
            assert.ok(
              dependsOn(facts, undefined, relation, column),
              `${sql}: whether it fails depends on ${relation}.${column}: ${changed}`,
            );
            continue;
          }
          if (changed.rows.length !== plain.rows.length) {
            differences++;
            assert.ok(
              dependsOn(facts, undefined, relation, column),
              `${sql}: the number of rows depends on ${relation}.${column}`,
            );
            continue;
          }
          plain.fields.forEach((field, index) => {
            const values = [plain, changed].map(({ rows }) => JSON.stringify(rows.map((row) => row[index])));
            if (values[0] === values[1]) return;
            differences++;
            assert.ok(
              dependsOn(facts, index, relation, column),
              `${sql}: ${field.name} depends on ${relation}.${column}`,
            );
          });
        }
      }
      assert.ok(differences > 200, `only ${differences} differences were seen`);
      assert.ok(failures > 5, `only ${failures} failures were seen`);
    });

    void test('what we cannot resolve is not resolved against the real catalogue either', () => {
      for (const [sql] of unresolved) assert.equal(analyse(sql, catalogue, options)[0]?.lineage.resolved, false, sql);
    });

    void test('the function list agrees with pg_proc', async () => {
      const { rows } = await client.query<{
        name: string;
        sets: boolean;
        aggregate: boolean;
        volatile: boolean;
        columns: string[] | null;
        sql: boolean;
      }>(
        `select proname as name, proretset as sets, prokind = 'a' as aggregate, provolatile = 'v' as volatile,
           case when proallargtypes is not null then
             (select array_agg(n order by i) from unnest(proargnames, proargmodes) with ordinality as a(n, m, i) where m in ('o', 't')) end as columns,
           prolang = 14 as sql
         from pg_catalog.pg_proc where pronamespace in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)`,
      );
      const mayBeVolatile = new Set([
        'random',
        'random_normal',
        'clock_timestamp',
        'timeofday',
        'gen_random_uuid',
        'uuidv4',
        'uuidv7',
        'array_sample',
        'array_shuffle',
        'setseed',
      ]);
      // Window functions that are aggregates WITHIN GROUP: not counted as such, which only makes row bounds wider.
      const hypotheticalSet = new Set(['rank', 'dense_rank', 'percent_rank', 'cume_dist']);
      // Sizes look at files, definitions and visibility at the newest catalogue: volatile, but they read no rows.
      const looksAtCatalogue =
        /^(pg_.*_size|pg_partition_|pg_relation_|pg_tablespace|pg_column_|pg_is_in_recovery$|pg_get_)/;
      for (const row of rows) {
        if (!knownFunctions.has(row.name)) continue;
        assert.equal(row.sets && !setReturningFunctions.has(row.name), false, `${row.name} returns a set`);
        assert.equal(
          row.aggregate && !aggregateFunctions.has(row.name) && !hypotheticalSet.has(row.name),
          false,
          `${row.name} is an aggregate`,
        );
        assert.ok(
          !row.volatile || mayBeVolatile.has(row.name) || looksAtCatalogue.test(row.name),
          `${row.name} is volatile`,
        );
        const columns = functionColumns.get(row.name);
        if (row.sets && row.columns !== null && columns === undefined && !polymorphicFunctions.has(row.name))
          assert.fail(`${row.name} has columns ${row.columns.join(' ')}`);
        if (row.columns !== null && columns !== undefined)
          assert.deepEqual(columns.slice(0, row.columns.length), row.columns, row.name);
      }
    });

    void test('what reads, waits, writes or signals is not on the function list', async () => {
      const dangerous =
        `query_to_xml query_to_xmlschema query_to_xml_and_xmlschema cursor_to_xml table_to_xml schema_to_xml database_to_xml
        pg_read_file pg_read_binary_file pg_ls_dir pg_stat_file lo_get lo_put lo_import lo_export loread lowrite set_config pg_sleep pg_sleep_for
        nextval setval currval lastval txid_current pg_current_xact_id pg_terminate_backend pg_cancel_backend pg_reload_conf pg_rotate_logfile
        pg_logical_emit_message pg_logical_slot_get_changes pg_create_restore_point pg_switch_wal pg_notify pg_advisory_lock pg_try_advisory_lock
        pg_export_snapshot pg_stat_get_activity pg_show_all_file_settings pg_hba_file_rules ts_stat pg_stat_reset pg_promote setseed
        pg_get_publication_tables pg_sequence_last_value has_table_data pg_cursor dblink`.split(/\s+/);
      for (const name of dangerous) assert.equal(knownFunctions.has(name), false, name);
      const { rows } = await client.query<{ name: string }>(
        `select distinct proname as name from pg_catalog.pg_proc where proname = any($1)`,
        [[...knownFunctions]],
      );
      assert.ok(rows.length > 300);
    });

    void test('what clients ask the catalogue is understood and harmless', async () => {
      for (const sql of clientQueries) {
        const [facts] = analyse(sql, catalogue, options);
        assert.deepEqual(facts?.unknowns, [], sql);
        assert.equal(facts?.class, 'read', sql);
        assert.ok(facts.lineage.resolved, `${sql}: ${facts.lineage.resolved ? '' : facts.lineage.reason}`);
        assert.ok(
          facts.relations.every((use) => isHarmlessCatalogueRelation(use)),
          sql,
        );
        const result = await ask(client, sql, []);
        if (typeof result === 'string') assert.fail(`${sql}: ${result}`);
        assert.deepEqual(
          facts.lineage.outputs.map((output) => output.name),
          result.fields.map((field) => field.name),
          sql,
        );
      }
    });

    void test('digests of definitions change with the definition and only then', async () => {
      const oid = catalogue.relationByName('crm', 'people')?.oid ?? 0;
      const table = catalogue.relationByName('crm', 'notes')?.oid ?? 0;
      const digest = (from: Catalogue) => definitionDigests(from, [table, oid]);
      assert.deepEqual(digest(await load(client)), digest(catalogue));
      assert.equal((await load(client)).version, catalogue.version);
      await client.query(
        'create or replace view crm.people as select id, name as tax_no, lower(email) as mail from crm.customers',
      );
      try {
        const changed = await load(client);
        assert.notEqual(changed.version, catalogue.version);
        const [notes, people] = digest(changed);
        assert.deepEqual(notes, digest(catalogue)[0]);
        assert.notDeepEqual(people, digest(catalogue)[1]);
      } finally {
        await client.query(
          'create or replace view crm.people as select id, ssn as tax_no, lower(email) as mail from crm.customers where ssn is not null',
        );
      }
    });

    void test('definitions hold triggers, defaults, constraints and options, and every function that is called by them', async () => {
      const oid = catalogue.relationByName('crm', 'notes')?.oid ?? 0;
      const now = async () => definitionDigests(await load(client), [oid]);
      await client.query(`
        create function crm.inner_one() returns int begin atomic select 1; end;
        create function crm.outer_one() returns int begin atomic select crm.inner_one(); end;
        create function crm.fired() returns trigger language plpgsql as 'begin return new; end'`);
      let before = await now();
      assert.equal(before.length, 1);
      for (const [change, ...changed] of [
        ['alter table crm.notes alter score set default 7', 'crm.notes'],
        [
          'alter table crm.notes alter score set default crm.outer_one()',
          'crm.notes',
          'function crm.inner_one()',
          'function crm.outer_one()',
        ],
        [
          'create or replace function crm.inner_one() returns int begin atomic select 2; end',
          'function crm.inner_one()',
        ],
        [
          'create trigger fires before insert on crm.notes for each row execute function crm.fired()',
          'crm.notes',
          'function crm.fired()',
        ],
        ['alter table crm.notes disable trigger fires', 'crm.notes'],
        [
          "create or replace function crm.fired() returns trigger language plpgsql as 'begin return old; end'",
          'function crm.fired()',
        ],
        ['alter function crm.fired() security definer', 'function crm.fired()'],
        ['alter table crm.notes add constraint positive check (score > 0)', 'crm.notes'],
        ['alter table crm.notes set (fillfactor = 70)', 'crm.notes'],
      ] as const) {
        await client.query(change);
        const after = await now();
        const was = new Map(before.map(({ name, digest }) => [name, digest]));
        const differing = after.filter(({ name, digest }) => was.get(name) !== digest).map(({ name }) => name);
        assert.deepEqual(differing, [...changed], change);
        before = after;
      }
      await client.query(`
        drop trigger fires on crm.notes;
        alter table crm.notes alter score drop default, drop constraint positive, reset (fillfactor);
        drop function crm.outer_one, crm.inner_one, crm.fired`);
      assert.deepEqual(await now(), definitionDigests(catalogue, [oid]));
    });

    void test('generated columns know what they are made of', () => {
      const loud = catalogue.relationByName('crm', 'customers')?.columns.find((column) => column.name === 'loud');
      assert.deepEqual(loud?.generatedFrom, ['ssn']);
    });
  });
}
