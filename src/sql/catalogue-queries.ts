/**
 * The questions whose rows make a catalogue, for PostgreSQL 15 to 18. Run them in this order in ONE transaction (the
 * first empties search_path until its end, so that definitions come back fully qualified) and give the rows, by the same
 * names and with their columns as the `pg` driver reads them, to `makeCatalogue`. They need no right beyond CONNECT.
 */

/**
 * Extensions whose functions and operators only compute, though some bear the names of built-in ones (citext has its own
 * `=` and `replace`). What they define does not make a built-in name doubtful.
 */
const computingExtensions = `'citext', 'hstore', 'ltree', 'pg_trgm', 'btree_gist', 'btree_gin', 'intarray', 'cube', 'seg',
  'isn', 'unaccent', 'uuid-ossp', 'fuzzystrmatch', 'vector'`;

const ownedByComputingExtension = (catalogue: string, oid: string) => `exists (
  select from pg_catalog.pg_depend d
  join pg_catalog.pg_extension e on d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and e.oid = d.refobjid
  where d.classid = 'pg_catalog.${catalogue}'::pg_catalog.regclass and d.objid = ${oid} and d.deptype = 'e'
    and e.extname in (${computingExtensions}))`;

/**
 * Casts with a function, of users: PostgreSQL calls it wherever the types meet, and no text has to name it. The cast to
 * its multirange, which CREATE TYPE … AS RANGE makes, calls the server's own code.
 */
const userCasts = `pg_catalog.pg_cast k where k.oid >= 16384 and k.castfunc <> 0
    and not exists (select from pg_catalog.pg_proc f join pg_catalog.pg_language l on l.oid = f.prolang
      where f.oid = k.castfunc and l.lanname = 'internal' and f.prosrc = 'multirange_constructor1')
    and not ${ownedByComputingExtension('pg_cast', 'k.oid')}`;

/** Types of users whose values a function of users converts or compares unnamed, and all that is made of such types. */
const convertedTypes = `with recursive part(oid, whole) as (
    select t.typelem, t.oid from pg_catalog.pg_type t where t.typelem >= 16384
    union all select t.typbasetype, t.oid from pg_catalog.pg_type t where t.typbasetype >= 16384
    union all select a.atttypid, c.reltype from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
      where a.atttypid >= 16384 and a.attnum > 0 and not a.attisdropped and c.reltype <> 0
  ), converted(oid) as (
    select made.oid from (
      select k.castsource as oid from ${userCasts} union select k.casttarget from ${userCasts}
      union select o.opcintype from pg_catalog.pg_opclass o
        where o.oid >= 16384 and not ${ownedByComputingExtension('pg_opclass', 'o.oid')}) made
      where made.oid >= 16384
    union
    select part.whole from converted join part on part.oid = converted.oid)`;

const userSchema = (schema: string) =>
  `${schema} not in ('pg_catalog', 'information_schema', 'pg_toast') and ${schema} !~ '^pg_(toast_)?temp_'`;

export const catalogueQueries = {
  /** To compile one of these would take longer than to run it. */
  settings: `select pg_catalog.set_config('search_path', '', true) as search_path,
    pg_catalog.set_config('jit', 'off', true) as jit`,

  /** One row per relation, system relations included. Columns: [attnum, name, type OID, type name, not null, generated]. */
  relations: `select c.oid, n.nspname as schema, c.relname as name, c.relkind as kind, c.relrowsecurity as row_security,
    (select coalesce(json_agg(json_build_array(a.attnum, a.attname, a.atttypid::bigint,
        pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated) order by a.attnum), '[]')
      from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c') and n.nspname <> 'pg_toast' and n.nspname !~ '^pg_(toast_)?temp_'
  order by n.nspname, c.relname, c.oid`,

  definitions: `select c.oid, pg_catalog.pg_get_viewdef(c.oid) as definition
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('v', 'm') and ${userSchema('n.nspname')} order by c.oid`,

  inheritance: `select inhparent as parent, inhrelid as child from pg_catalog.pg_inherits
  order by inhparent, inhseqno, inhrelid`,

  /** Rewrite rules other than those that make a view, and row-level security policies, as texts. */
  rules: `select r.ev_class as oid, pg_catalog.pg_get_ruledef(r.oid) as rule
    from pg_catalog.pg_rewrite r join pg_catalog.pg_class c on c.oid = r.ev_class
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where r.rulename <> '_RETURN' and ${userSchema('n.nspname')}
  union all
  select p.polrelid, concat_ws(' ', 'POLICY', quote_ident(p.polname),
      case when p.polpermissive then 'permissive' else 'restrictive' end, 'for', p.polcmd::text, 'to',
      (select string_agg(coalesce(quote_ident(o.rolname), 'public'), ', ' order by o.rolname)
        from unnest(p.polroles) as role(id) left join pg_catalog.pg_roles o on o.oid = role.id),
      'using (' || pg_catalog.pg_get_expr(p.polqual, p.polrelid) || ')',
      'with check (' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) || ')')
    from pg_catalog.pg_policy p
  order by 1, 2`,

  /** What else belongs to a relation's definition and is not in its columns: triggers, defaults, constraints, options, owner. */
  attached: `select t.tgrelid as oid, concat_ws(' ', pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled) as text
    from pg_catalog.pg_trigger t where not t.tgisinternal
  union all select d.adrelid, concat_ws(' ', 'DEFAULT', a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid))
    from pg_catalog.pg_attrdef d join pg_catalog.pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
  union all select k.conrelid, concat_ws(' ', 'CONSTRAINT', k.conname, pg_catalog.pg_get_constraintdef(k.oid))
    from pg_catalog.pg_constraint k where k.conrelid <> 0
  union all select c.oid, concat_ws(' ', 'OWNER', pg_catalog.pg_get_userbyid(c.relowner), array_to_string(c.reloptions, ','))
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and ${userSchema('n.nspname')}
  order by 1, 2`,

  /**
   * Functions of users that reading or writing a relation calls, as far as the server itself knows: of triggers, views,
   * rules, policies, defaults, constraints, index expressions, and of functions whose bodies are parsed.
   */
  called: `with recursive part(relation, class, object) as (
    select t.tgrelid, 'pg_catalog.pg_proc'::pg_catalog.regclass::oid, t.tgfoid from pg_catalog.pg_trigger t where not t.tgisinternal
    union all select r.ev_class, 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid from pg_catalog.pg_rewrite r
    union all select p.polrelid, 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid from pg_catalog.pg_policy p
    union all select f.adrelid, 'pg_catalog.pg_attrdef'::pg_catalog.regclass, f.oid from pg_catalog.pg_attrdef f
    union all select k.conrelid, 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid from pg_catalog.pg_constraint k
      where k.conrelid <> 0
    union all select i.indrelid, 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid from pg_catalog.pg_index i
  ), calls(relation, function) as (
    select relation, object from part where class = 'pg_catalog.pg_proc'::pg_catalog.regclass
    union select part.relation, coalesce(o.oprcode::oid, d.refobjid) from part
      join pg_catalog.pg_depend d on d.classid = part.class and d.objid = part.object
        and d.refclassid in ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)
      left join pg_catalog.pg_operator o
        on d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass and o.oid = d.refobjid
      where part.class <> 'pg_catalog.pg_proc'::pg_catalog.regclass and d.refobjid >= 16384
    union select calls.relation, d.refobjid from calls
      join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = calls.function
        and d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.refobjid >= 16384
  ) select calls.relation as oid,
    n.nspname || '.' || p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')' as name,
    encode(sha256(convert_to(concat_ws(' ', pg_catalog.pg_get_userbyid(p.proowner),
      case when p.prokind = 'a' then p.proname || ' ' || p.prosrc else pg_catalog.pg_get_functiondef(p.oid) end), 'UTF8')), 'hex') as digest
  from calls join pg_catalog.pg_proc p on p.oid = calls.function join pg_catalog.pg_namespace n on n.oid = p.pronamespace
  where p.oid >= 16384 order by 1, 2`,

  /** Columns that a generated column's expression reads. Before PostgreSQL 15 the column itself holds the dependency. */
  generated: `select a.attrelid as oid, a.attnum, array_agg(distinct s.attname::text order by s.attname::text) as sources
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_attrdef f on f.adrelid = a.attrelid and f.adnum = a.attnum
  join pg_catalog.pg_depend d on d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = a.attrelid
    and d.refobjsubid > 0 and d.refobjsubid <> a.attnum
    and ((d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and d.objid = f.oid)
      or (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = a.attrelid and d.objsubid = a.attnum))
  join pg_catalog.pg_attribute s on s.attrelid = a.attrelid and s.attnum = d.refobjsubid
  where a.attgenerated <> '' group by 1, 2 order by 1, 2`,

  /** By OID: what the server did not come with, wherever it is, so also beside its own. */
  functions: `select p.proname as name, bool_or(n.nspname in ('pg_catalog', 'information_schema')) as among_built_in
  from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
  where (${userSchema('n.nspname')} or (p.oid >= 16384 and n.nspname !~ '^pg_(toast_)?temp_'))
    and not ${ownedByComputingExtension('pg_proc', 'p.oid')} group by 1 order by 1`,

  operators: `select o.oprname as name, bool_or(n.nspname in ('pg_catalog', 'information_schema')) as among_built_in
  from pg_catalog.pg_operator o join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
  where (${userSchema('n.nspname')} or (o.oid >= 16384 and n.nspname !~ '^pg_(toast_)?temp_'))
    and not ${ownedByComputingExtension('pg_operator', 'o.oid')} group by 1 order by 1`,

  /** Every type of that name is an enum, or an array of one, to which no cast calls a function of users. */
  types: `select t.typname as name, bool_and(coalesce(e.typtype, t.typtype) = 'e' and not exists (
      select from ${userCasts} and coalesce(e.oid, t.oid) in (k.castsource, k.casttarget))) as is_enum
  from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
  left join pg_catalog.pg_type e on t.typcategory = 'A' and e.oid = t.typelem
  where ${userSchema('n.nspname')} group by 1 order by 1`,

  /** Functions of users convert or compare their values without being named. */
  convertedTypes: `${convertedTypes} select oid from converted order by 1`,

  /**
   * Relations with such values, views that call code of users in any way, named or not, and 0 where a cast between types
   * that are built in calls a function of users.
   */
  userCode: `${convertedTypes}
  select c.oid from pg_catalog.pg_class c where c.reltype in (select oid from converted)
  union select a.attrelid from pg_catalog.pg_attribute a
    where a.atttypid in (select oid from converted) and a.attnum > 0 and not a.attisdropped
  union select r.ev_class from pg_catalog.pg_rewrite r
    join pg_catalog.pg_depend u on u.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and u.objid = r.oid
    where r.rulename = '_RETURN' and u.refobjid >= 16384
      and ((u.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass and not ${ownedByComputingExtension('pg_proc', 'u.refobjid')})
        or (u.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass
          and not ${ownedByComputingExtension('pg_operator', 'u.refobjid')}))
  union select 0 from ${userCasts} and k.castsource < 16384 and k.casttarget < 16384
  order by 1`,
} as const;
