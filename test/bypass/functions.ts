/** Attacks through functions, operators and casts: built-in ones that read by themselves, and those of users. */
import assert from 'node:assert/strict';
import { masked, refused, type Attack } from './attack-lists.ts';
import { scriptList, type World } from './attack.ts';
import { errorsOf, frame } from './wire.ts';
import { leaked } from './schema.ts';

export const functionAttacks: readonly Attack[] = [
  ...refused(
    'a function behind a dot',
    "select x.ts_stat from format('select to_tsvector(token) from vault') x",
    "select (x.ts_stat).word from format('select to_tsvector(token) from vault') x",
    "select q.t.ts_stat from (select 'select to_tsvector(token) from vault'::text t) q",
    "select (q.t).ts_stat from (select 'select to_tsvector(token) from vault'::text t) q",
    "select x.pg_read_file from format('PG_VERSION') x",
    'select x.lo_get from generate_series(16384, 16390) x',
    'select x.pg_stat_get_backend_activity from generate_series(1, 9) x',
    'select x.pg_sleep from random() x',
    "select x.lo_import from format('/etc/passwd') x",
    'select p.pg_notification_queue_usage from plain p',
    "select ('select to_tsvector(token) from vault'::text).ts_stat",
    "select (array['PG_VERSION'])[1].pg_read_file",
  ),
  ...refused(
    'functions that read by themselves',
    "select pg_catalog.query_to_xml('select token from vault', true, true, '')",
    "select xpath('//token/text()', query_to_xml('select token from vault', true, true, ''))",
    "select * from pg_catalog.ts_stat('select to_tsvector(token) from vault', 'ab')",
    "select ts_rewrite('a'::tsquery, 'select to_tsquery(token), to_tsquery(token) from vault')",
    "select * from ts_debug('x')",
    'select pg_stat_get_backend_activity(1), pg_stat_get_backend_pid(1)',
    'select * from pg_stat_get_progress_info($$ANALYZE$$)',
    "select * from pg_logical_slot_peek_changes('s', null, null)",
    "select * from pg_create_logical_replication_slot('s', 'test_decoding')",
    'select lo_get(16400), lo_open(16400, 262144), loread(0, 100)',
    "select pg_ls_dir('.'), pg_ls_logdir(), pg_current_logfile()",
    'select pg_mcv_list_items(stxdmcv) from pg_statistic_ext_data',
    'select currtid2($$vault$$, $$(0,1)$$::tid)',
    "select pg_restore_attribute_stats('schemaname', 'public', 'relname', 'vault')",
    'select pg_extension_config_dump($$vault$$, $$$$)',
    "select gin_clean_pending_list('vault_token')",
    'select pg_sequence_last_value($$numbers$$)',
    'select texteq(label, $$x$$), int4pl(1, 2), textin($$x$$) from plain',
    'select pg_prepared_statement(), pg_cursor()',
  ),
  ...masked(
    'functions that only compute',
    "select upper('x'), lower(label), format('%s', id), random_normal() is null from plain",
    'select jsonb_to_tsvector(\'{"a": "b"}\', \'"all"\'), to_tsquery(\'a & b\'), hashtext(label) from plain',
    "select pg_lsn(1), pg_wal_lsn_diff('0/2', '0/1'), pg_visible_in_snapshot('1', pg_current_snapshot())",
  ),
  ...refused(
    'relations that hold data under other names',
    'select * from vault_pkey',
    'select * from pg_toast.pg_toast_1255',
    'select most_common_vals, histogram_bounds from pg_stats_ext',
    'select stavalues1 from pg_statistic',
    'select query from pg_stat_activity',
    'select * from pg_stat_statements_info',
    'select data from pg_largeobject',
    'select * from pg_replication_slots',
    'select * from pg_stat_progress_analyze',
    'select * from pg_file_settings',
    'select * from pg_backend_memory_contexts',
    'select * from pg_hba_file_rules',
    'table pg_statistic',
  ),
  ...refused(
    'values in the catalogue',
    'select to_jsonb(a) from pg_attribute a',
    "select attname from pg_attribute where attmissingval::text like '%zq7k%'",
    'select attname from pg_attribute where attmissingval is distinct from null',
    'select attname from pg_attribute a where a.attmissingval = a.attmissingval',
    'select attname from pg_attribute order by attmissingval::text',
    "select (attmissingval::text::text[])[1] from pg_attribute where attrelid = 'grown'::regclass",
    "explain (analyze) select 1 from pg_attribute where attmissingval::text = 'x'",
    'insert into chained (id, label) select 1, attmissingval::text from pg_attribute',
    'select array_to_string(attmissingval, $$$$) || nullif($$$$, attname) from pg_attribute where attmissingval is not null and nosuch.x',
  ),
  ...masked(
    'values in the catalogue',
    "select attmissingval from pg_attribute where attrelid = 'grown'::regclass",
    "select * from pg_catalog.pg_attribute where attrelid = 'grown'::regclass",
    "select a.* from pg_attribute a where attrelid = 'grown'::regclass",
    "select a from pg_attribute a where attrelid = 'grown'::regclass",
    "select row_to_json(a) from pg_attribute a where attrelid = 'grown'::regclass",
    "select attmissingval::text from pg_attribute where attrelid = 'grown'::regclass",
    "select array_to_string(attmissingval, ','), x from (select attmissingval, array[attmissingval::text] x from pg_attribute where attrelid = 'grown'::regclass) q",
    "with q as (table pg_attribute) select (select max(attmissingval::text) from q where attrelid = 'grown'::regclass)",
    "select attmissingval from pg_attribute where attrelid = 'grown'::regclass union all select null",
    'select * from grown',
  ),
  ...masked(
    'relations read directly',
    'table vault',
    'table vault_copy',
    'select * from vault_copy',
    'select * from family_child',
    'select token from only family_child',
    'select * from split_high',
    'table split_low',
    'select xmin, ctid, cmax, tableoid, v from vault v',
    'select last_value from numbers',
    'select attname, atttypid from pg_attribute limit 3',
    'select name, statement from pg_cursors union all select name, statement from pg_prepared_statements union all select $$a$$, $$b$$',
  ),
  ...refused(
    'types that a temporary relation would hide',
    'create temp table text (id integer)',
    'create temp table name (id integer)',
    'create temp view varchar as select 1',
    'create table pg_temp.jsonb (id integer)',
    'select 1 as id into temp uuid',
    'create temp table date as select 1',
    'create temp sequence text',
  ),
  ...refused(
    'plans',
    'explain (analyze) select id from vault where token < $$zq7k0005$$',
    'explain (verbose, settings) select token from vault_tokens',
    'explain select id from plain where label = (select token from vault limit 1)',
    'explain (generic_plan) select id from vault where id = $1',
    'explain update vault set id = id',
    'explain (analyze, buffers) delete from labels where label in (select token from vault)',
    'explain (memory, summary) select * from split_low',
    'explain declare c cursor for select token from vault',
    'explain create table x as select token from vault',
    'explain (analyze off, analyze on) select id from vault where pin > 5',
    'explain (analyze $$off$$) select id from vault where id = 1',
    'set client_min_messages = log',
    'set client_min_messages to debug1',
    'set client_min_messages = info',
    "set local client_min_messages = 'debug5'",
    "select set_config('client_min_messages', 'log', false)",
    'set debug_print_plan = on',
    'set debug_print_parse = on',
    'set debug_print_rewritten = on',
    'set log_statement_stats = on',
    'set log_planner_stats = on',
    'set auto_explain.log_min_duration = 0',
    'set auto_explain.log_level = notice',
    'set log_min_messages = debug1',
    'set log_statement = all',
    'set log_min_error_statement = error',
    'set log_error_verbosity = verbose',
    'set log_parameter_max_length = -1',
    'set track_activities = on',
    'set track_functions = all',
    'set compute_query_id = on',
    'set trace_sort = on',
    'set trace_notify = on',
    'set debug_parallel_query = on',
    'set ignore_system_indexes = on',
    'set session_preload_libraries = auto_explain',
    'load $$auto_explain$$',
    'set exit_on_error = on',
    'set plpgsql.extra_warnings = all',
    'set xmloption = document',
    'set default_toast_compression = pglz',
    'set check_function_bodies = off',
  ),
];

const { scripts, add } = scriptList('code of users', 'refused');
export const functionScripts = scripts;

let made = 0;

/** The gateway looks again when a name is new, so that what was made before this relation is known too. */
async function withCode(world: World, create: string, drop: string, work: () => Promise<void>): Promise<void> {
  const { client } = await world.tapped();
  const seen = async (sql: string) => {
    const marker = `marker_${++made}`;
    await world.harness.target(`${sql}; create table ${marker} (id integer); grant all on ${marker} to cs_executor`);
    await client.query(`select * from ${marker}`);
  };
  await seen(create);
  try {
    await work();
  } finally {
    await seen(drop);
  }
}

/** All of these are refused by the gateway, and say nothing. */
async function refusedAll(world: World, texts: readonly string[]): Promise<void> {
  const { client, taken } = await world.tapped();
  const failures: string[] = [];
  for (const text of texts) {
    const told = await world.unapproved(world.told(client, text));
    const raw = leaked(taken());
    if (raw !== undefined) failures.push(`${text}: a raw value was received: ${raw}`);
    else if (!/^(42501|0A000|ZC)/.test(told)) failures.push(`${text}: ${told}`);
  }
  if (failures.length > 0) throw new Error(failures.join('\n'));
}

const peek = (name: string, args: string, returns = 'text') =>
  `create function ${name}(${args}) returns ${returns} security definer stable language sql as 'select reverse(token)::${returns} from public.vault limit 1'`;

add('a function of users with the name of a built-in one, in any schema', (world) =>
  withCode(
    world,
    `create schema aside; ${peek('aside.upper', 'integer')}; ${peek('public.lower', 'plain')}; ${peek('concat', 'plain, integer')}`,
    'drop schema aside cascade; drop function lower(plain); drop function concat(plain, integer)',
    () =>
      refusedAll(world, [
        'select upper(id) from plain',
        'select lower(p) from plain p',
        'select p.lower from plain p',
        'select (p).lower from plain p',
        'select concat(p, 1) from plain p',
        'select aside.upper(1)',
        'select "lower"(row(1, $$a$$)::plain)',
        'select * from lower($$x$$)',
        'select l.* from plain p, lateral lower(p) l',
      ]),
  ),
);

add('a function and an operator of users among those of the server', (world) =>
  withCode(
    world,
    `${peek('pg_catalog.upper', 'integer')}; ${peek('public.joined', 'integer, integer')};
     create operator pg_catalog.|| (leftarg = integer, rightarg = integer, function = public.joined)`,
    'drop operator pg_catalog.|| (integer, integer); drop function pg_catalog.upper(integer); drop function joined(integer, integer)',
    () =>
      refusedAll(world, [
        'select pg_catalog.upper(id) from plain',
        'select upper(1)',
        'select (1).upper',
        'select g.upper from generate_series(1, 2) g',
        'select 1 operator(pg_catalog.||) 2',
        'select id || id from plain',
      ]),
  ),
);

add('attribute notation and calls of functions of users', (world) =>
  withCode(
    world,
    `${peek('ssn_of', 'plain')}; ${peek('ssn_too', 'integer')}; ${peek('ssn_all', 'variadic text[]')}; ${peek('ssn_default', "a text default 'x'")}`,
    'drop function ssn_of(plain); drop function ssn_too(integer); drop function ssn_all(text[]); drop function ssn_default(text)',
    () =>
      refusedAll(world, [
        'select p.ssn_of from plain p',
        'select (p).ssn_of from plain p',
        'select ssn_of(p) from plain p',
        'select plain.ssn_of from plain',
        'select public.plain.ssn_of from plain',
        'select (select p).ssn_of from plain p',
        'select g.ssn_too from generate_series(1, 2) g',
        'select q.p.ssn_of from (select p from plain p) q',
        'select (q.p).ssn_of from (select p from plain p) q',
        "select ssn_all('a', 'b'), ssn_all(variadic array['a'])",
        'select ssn_default()',
        'select * from ssn_default() x, plain limit 1',
        'select id from plain order by ssn_default()',
        "select ('{1}'::int[])[1].ssn_too",
        'select row_to_json(ssn_of(p)) from plain p',
      ]),
  ),
);

add('operators of users', (world) =>
  withCode(
    world,
    `${peek('op', 'text, text')}; ${peek('op1', 'text')}; create operator public.||| (leftarg = text, rightarg = text, function = op); create operator public.~~~ (rightarg = text, function = op1)`,
    'drop operator ||| (text, text); drop operator ~~~ (none, text); drop function op(text, text); drop function op1(text)',
    () =>
      refusedAll(world, [
        "select 'a'::text ||| 'b'",
        "select 'a'::text operator(public.|||) 'b'",
        "select ~~~ 'a'::text",
        "select label ||| 'x' from plain",
        "select 'a'::text ||| any (array['b'])",
        'select id from plain order by label using |||',
      ]),
  ),
);

add('aggregates of users', (world) =>
  withCode(
    world,
    `${peek('step', 'state text, value text')}; create aggregate public.max(text) (sfunc = step, stype = text); create aggregate gather(text) (sfunc = step, stype = text)`,
    'drop aggregate gather(text); drop aggregate public.max(text); drop function step(text, text)',
    () =>
      refusedAll(world, [
        'select gather(label) from plain',
        'select max(label) from plain',
        'select gather(label) over () from plain',
        'select public.gather(label) from plain',
      ]),
  ),
);

add('casts of users, explicit, implicit and by the type of a column', (world) =>
  withCode(
    world,
    `create type mood as enum ('a', 'b'); create table moods (id integer, mood mood); insert into moods values (1, 'a');
     grant all on moods to cs_executor;
     ${peek('from_mood', 'mood')}; create cast (mood as text) with function from_mood(mood) as implicit;
     create function to_mood(integer) returns mood security definer language plpgsql as $f$ begin
       raise notice '%', (select token from vault limit 1); return 'a'; end $f$;
     create cast (integer as mood) with function to_mood(integer) as assignment;
     ${peek('from_plain', 'plain')}; create cast (plain as text) with function from_plain(plain) as implicit;
     create view hidden_cast as select upper(mood) as shown from moods;
     grant all on hidden_cast to cs_executor`,
    'drop view hidden_cast; drop table moods; drop cast (plain as text); drop function from_plain(plain); drop type mood cascade',
    () =>
      refusedAll(world, [
        'select upper(mood) from moods',
        'select mood::text from moods',
        'select mood || $$x$$::text from moods',
        'select concat_ws($$-$$, mood::text) from moods',
        'select 1::mood',
        'select cast(id as mood) from plain',
        'select ($$a$$::mood)::text',
        'insert into moods (id, mood) select 1, id from plain where id = 1',
        'select upper(p) from plain p',
        'select p::text from plain p',
        'select * from hidden_cast',
        'select id from hidden_cast h, plain where h.shown is not null',
        'select to_json(m) from moods m',
        'select mood from moods union all select label from plain',
      ]),
  ),
);

add('operators of users that a view uses without naming them', (world) =>
  withCode(
    world,
    `create type tint as (shade integer);
     create function tint_eq(tint, tint) returns boolean security definer language plpgsql as $f$ begin
       raise notice '%', (select token from vault limit 1); return true; end $f$;
     create operator public.= (leftarg = tint, rightarg = tint, function = tint_eq);
     create view tinted as select case row(1)::tint when row(2)::tint then 1 else 2 end as a, nullif(row(1)::tint, row(1)::tint) is null as b;
     grant all on tinted to cs_executor`,
    'drop view tinted; drop type tint cascade',
    () =>
      refusedAll(world, [
        'select * from tinted',
        'select a from tinted',
        'select 1 where row(1)::tint is distinct from row(2)::tint',
        'select 1 = 1',
      ]),
  ),
);

add('a cast of users that the declared type of a parameter calls for', (world) =>
  withCode(
    world,
    `${peek('from_plain', 'plain')}; create cast (plain as text) with function from_plain(plain) as implicit`,
    'drop cast (plain as text); drop function from_plain(plain)',
    async () => {
      const [type] = await world.harness.target<{ oid: number; array: number }>(
        "select oid::int, typarray::int as array from pg_type where typname = 'plain'",
      );
      const session = await world.raw();
      for (const [oid, text, value] of [
        [type?.oid, 'select upper($1)', '(1,a)'],
        [type?.oid, 'select $1::text', '(1,a)'],
        [type?.oid, "select concat_ws('-', $1::text)", '(1,a)'],
        [type?.array, 'select $1::text[]', '{"(1,a)"}'],
        [type?.array, "select array_to_string($1::text[], ',')", '{"(1,a)"}'],
      ] as const) {
        const answers = await session.run(
          1,
          frame.parse('', text, [oid ?? 0]),
          frame.bind('', '', [value]),
          frame.execute(''),
          frame.sync(),
        );
        assert.equal(leaked(session.bytes), undefined, `a raw value: ${text}`);
        assert.deepEqual(errorsOf(answers), ['42501'], text);
      }
    },
  ),
);

add('a prepared statement that was denied once is denied again', async (world) => {
  const session = await world.raw();
  const text = "select id from changing where shown = 'zq7k0003'";
  await world.harness.target(
    'create view changing as select id, label as shown from plain; grant all on changing to cs_executor',
  );
  await session.run(1, frame.parse('kept', text), frame.sync());
  await world.harness.target('create or replace view changing as select id, token as shown from vault');
  const { client } = await world.tapped();
  await world.harness.target('create table changed (id integer); grant all on changed to cs_executor');
  await client.query('select * from changed');
  const answers = [];
  for (let turn = 0; turn < 3; turn++) {
    answers.push(await session.run(1, frame.bind('', 'kept'), frame.execute(''), frame.sync()));
  }
  assert.deepEqual(answers.map(errorsOf), [['42501'], ['42501'], ['42501']]);
});
