/**
 * Which functions, operators and types a statement may use and still be understood: those that only compute on their
 * arguments. A list of what is allowed, by name: a function that a newer PostgreSQL or an extension adds is unknown
 * until somebody has looked at it. Never on it: whatever reads tables, files, large objects, other sessions or the
 * network by itself, changes settings, waits, or locks rows. What changes sequences, takes advisory locks or notifies has
 * lists of its own, because it gives the statement another class.
 *
 * A name stands for the functions of that name whose OIDs are below 16384, which are the server's own. One function of
 * that name with another OID, in any schema, and the name is unknown: which one a call means is up to the types of its
 * arguments, and we do not guess it.
 * Source: PostgreSQL manual, chapter 9; `functions.test.ts` holds the lists against every function of real servers.
 */
import type { Node, TypeName } from 'libpg-query';
import type { Catalogue } from './statement.ts';
import { stringsOf } from './tree.ts';

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

/** Aggregates: one row out of many when called without OVER. */
export const aggregateFunctions = words(`
  any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp every json_agg
  json_object_agg jsonb_agg jsonb_object_agg json_agg_strict jsonb_agg_strict json_object_agg_strict
  json_object_agg_unique json_object_agg_unique_strict jsonb_object_agg_strict jsonb_object_agg_unique
  jsonb_object_agg_unique_strict max min mode percentile_cont percentile_disc range_agg range_intersect_agg regr_avgx
  regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy stddev stddev_pop stddev_samp
  string_agg sum var_pop var_samp variance xmlagg`);

/** Functions that return more rows than one. */
export const setReturningFunctions = words(`
  _pg_expandarray aclexplode generate_series generate_subscripts json_array_elements json_array_elements_text json_each
  json_each_text json_object_keys json_populate_recordset json_to_recordset jsonb_array_elements
  jsonb_array_elements_text jsonb_each jsonb_each_text jsonb_object_keys jsonb_path_query jsonb_path_query_tz
  jsonb_populate_recordset jsonb_to_recordset pg_available_extension_versions pg_available_extensions pg_get_keywords
  pg_get_catalog_foreign_keys pg_listening_channels pg_options_to_table pg_partition_ancestors pg_partition_tree pg_snapshot_xip
  pg_timezone_abbrevs pg_timezone_names regexp_matches regexp_split_to_table string_to_table ts_parse ts_token_type txid_snapshot_xip
  unnest`);

const windowFunctions = words(`
  cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number`);

const computing = words(`
  abbrev abs acos acosd acosh acldefault aclcontains aclitemeq age area array_append array_cat array_dims array_fill array_larger array_length
  array_lower array_ndims array_position array_positions array_prepend array_remove array_replace array_reverse
  array_sample array_shuffle array_smaller array_sort array_to_json array_to_string array_to_tsvector array_upper ascii
  asin asind asinh atan atan2 atan2d atand atanh
  bit_count bit_length bound_box box bpchar broadcast btrim
  cardinality casefold cash_words cbrt ceil ceiling center char_length character_length chr circle clock_timestamp concat concat_ws
  convert convert_from convert_to cos cosd cosh cot cotd crc32 crc32c
  date date_add date_bin date_larger date_part date_smaller date_subtract date_trunc decode degrees diagonal diameter div
  encode enum_first enum_last enum_range erf erfc exp extract
  factorial family floor format format_type
  gamma gcd gen_random_uuid get_bit get_byte get_current_ts_config
  hashtext hashtextextended height host hostmask
  icu_unicode_version
  inet_merge inet_same_family initcap isclosed isempty isfinite ishorizontal isopen isparallel isperp isvertical
  is_normalized
  json json_array_length json_build_array json_build_object json_extract_path json_extract_path_text json_object
  json_populate_record json_strip_nulls json_to_record json_to_tsvector json_typeof jsonb jsonb_array_length jsonb_build_array
  jsonb_build_object jsonb_concat jsonb_contains jsonb_delete jsonb_exists jsonb_exists_all jsonb_exists_any
  jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object jsonb_path_exists jsonb_path_exists_tz
  jsonb_path_match jsonb_path_match_tz jsonb_path_query_array jsonb_path_query_array_tz jsonb_path_query_first
  jsonb_path_query_first_tz jsonb_populate_record jsonb_populate_record_valid jsonb_pretty jsonb_set jsonb_set_lax
  jsonb_strip_nulls jsonb_to_record jsonb_to_tsvector jsonb_typeof json_scalar json_serialize justify_days justify_hours justify_interval
  lcm left length lgamma like like_escape line ln localtime log log10 lower lower_inc lower_inf lpad lseg ltrim
  macaddr8_set7bit make_date make_interval make_time make_timestamp make_timestamptz makeaclitem masklen md5 min_scale
  mod multirange mxid_age
  nameconcatoid netmask network normalize notlike now npoints num_nonnulls num_nulls numnode
  octet_length oidvectortypes overlaps overlay
  parse_ident path pclose phraseto_tsquery pi plainto_tsquery point polygon popen position pow power
  querytree quote_ident quote_literal quote_nullable
  radians radius random random_normal range_merge regexp_count regexp_instr regexp_like regexp_match regexp_replace regexp_split_to_array regexp_substr repeat
  replace reverse right round row_to_json rpad rtrim
  scale set_bit set_byte set_masklen setweight sha224 sha256 sha384 sha512 sign similar_escape similar_to_escape sin sind
  sinh slope split_part sqrt starts_with statement_timestamp string_to_array strip strpos substr substring
  tan tand tanh text textcat timeofday timezone to_ascii to_bin to_char to_date to_hex to_json to_jsonb to_number to_oct
  to_timestamp to_tsquery to_tsvector transaction_timestamp translate trim_array trim_scale trunc ts_delete ts_filter
  ts_headline ts_lexize ts_rank ts_rank_cd tsquery_phrase tsvector_to_array
  txid_snapshot_xmax txid_snapshot_xmin txid_visible_in_snapshot
  unicode_assigned unicode_version unistr upper upper_inc upper_inf uuid_extract_timestamp uuid_extract_version uuidv4
  uuidv7
  websearch_to_tsquery width width_bucket
  xml xml_is_well_formed xml_is_well_formed_content xml_is_well_formed_document xmlcomment xmlconcat2 xmlexists xmltext
  xmlvalidate xpath xpath_exists
  pg_column_compression pg_column_size pg_input_is_valid pg_lsn pg_snapshot_xmax pg_snapshot_xmin pg_typeof
  pg_visible_in_snapshot pg_wal_lsn_diff`);

/** Types in the notation of a function call: `date(x)`. */
const castingFunctions = words(`
  bool bytea char cidr float4 float8 inet int2 int4 int8 interval macaddr macaddr8 money name numeric oid regclass time
  timestamp timestamptz timetz varchar int4range int8range numrange tsrange tstzrange daterange int4multirange
  int8multirange nummultirange tsmultirange tstzmultirange datemultirange bit varbit`);

/** They read the catalogue's names, definitions, sizes and rights, or say something about this session; never rows. */
const catalogueFunctions = words(`
  has_largeobject_privilege pg_basetype pg_get_acl
  pg_get_replica_identity_index pg_relation_filenode pg_settings_get_flags pg_trigger_depth system_user
  col_description current_database current_schema current_schemas current_setting getdatabaseencoding has_any_column_privilege
  has_column_privilege has_database_privilege has_foreign_data_wrapper_privilege has_function_privilege
  has_language_privilege has_parameter_privilege has_schema_privilege has_sequence_privilege has_server_privilege
  has_table_privilege has_tablespace_privilege has_type_privilege inet_client_addr inet_client_port inet_server_addr
  inet_server_port obj_description pg_backend_pid pg_char_to_encoding pg_client_encoding pg_collation_for
  pg_collation_is_visible pg_conf_load_time pg_conversion_is_visible pg_database_size pg_describe_object
  pg_encoding_max_length pg_encoding_to_char pg_function_is_visible pg_get_constraintdef pg_get_expr pg_get_function_arg_default
  pg_get_function_arguments pg_get_function_identity_arguments pg_get_function_result pg_get_function_sqlbody
  pg_get_functiondef pg_get_indexdef pg_get_object_address pg_get_partition_constraintdef pg_get_partkeydef
  pg_get_ruledef pg_get_serial_sequence pg_get_statisticsobjdef pg_get_statisticsobjdef_columns
  pg_get_statisticsobjdef_expressions pg_get_triggerdef pg_get_userbyid pg_get_viewdef pg_has_role pg_identify_object
  pg_identify_object_as_address pg_index_column_has_property pg_index_has_property pg_indexam_has_property
  pg_indexes_size pg_is_in_recovery pg_is_other_temp_schema pg_my_temp_schema pg_opclass_is_visible
  pg_operator_is_visible pg_opfamily_is_visible pg_partition_root pg_postmaster_start_time pg_relation_is_publishable pg_relation_is_updatable
  pg_column_is_updatable pg_relation_size pg_size_bytes pg_size_pretty pg_statistics_obj_is_visible pg_table_is_visible pg_table_size
  pg_tablespace_location pg_tablespace_size pg_total_relation_size pg_ts_config_is_visible
  pg_ts_dict_is_visible pg_ts_parser_is_visible pg_ts_template_is_visible pg_type_is_visible row_security_active
  pg_current_snapshot pg_current_xact_id_if_assigned
  session_user shobj_description to_regclass to_regcollation to_regnamespace to_regoper to_regoperator to_regproc
  to_regprocedure to_regrole to_regtype to_regtypemod txid_current_if_assigned txid_current_snapshot
  version`);

/** They say what this session did or hears, and change nothing. */
export const sessionReads = words('currval lastval pg_notification_queue_usage');

/** They change a sequence, which their first argument names. */
export const sequenceFunctions = words('nextval setval');

/**
 * They lock numbers that mean something to applications only, or send a text to other sessions; by command. They touch no
 * row, and whatever their arguments depend on counts as a predicate.
 */
export const sessionFunctions: ReadonlyMap<string, string> = new Map([
  ...[
    ...words(`pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all
    pg_advisory_unlock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_lock
    pg_try_advisory_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared`),
  ].map((name) => [name, 'ADVISORY LOCK'] as const),
  ['pg_notify', 'NOTIFY'],
]);

const builtInLists = [
  aggregateFunctions,
  setReturningFunctions,
  windowFunctions,
  computing,
  castingFunctions,
  catalogueFunctions,
];
/** Every allowed name. */
export const knownFunctions: ReadonlySet<string> = new Set(builtInLists.flatMap((list) => [...list]));

/*
 * TOTAL functions: none of them fails on some values and not on others, or takes longer for some than a value's size
 * explains. The output of a masked value is a constant, so errors and time are all that is left to tell about it, and a
 * call that is not on these lists counts as a predicate on its arguments (`total.ts`). When in doubt, a function stays
 * off: `convert_to` fails on a character that the encoding lacks, `json_object_agg_unique` on a key that is there
 * already, `json_object` on an odd number of elements, `chr`, `repeat`, `to_number` … on many values.
 */

/** Total in all their arguments. */
export const totalFunctions = words(`
  upper lower initcap left right reverse concat concat_ws char_length character_length octet_length bit_length ascii md5
  sha224 sha256 sha384 sha512 quote_ident quote_literal quote_nullable string_agg
  count min max any_value bool_and bool_or every
  first_value last_value lag lead row_number rank dense_rank percent_rank cume_dist
  json_agg json_agg_strict json_object_agg json_object_agg_strict to_json row_to_json array_to_json json_build_object
  json_build_array json_typeof jsonb_typeof jsonb_pretty json_extract_path json_extract_path_text jsonb_extract_path
  jsonb_extract_path_text
  array_to_string array_length cardinality num_nulls num_nonnulls pg_typeof`);

/** Total with one argument; their other forms check a length or an encoding. */
export const totalOfOne = words('length text name');

/** Total unless a value of one of these types is in it: arrays of different sizes, sums that overflow, \u0000 in json. */
export const totalExceptForTypes: ReadonlyMap<string, RegExp> = new Map([
  ['array_agg', /\[\]$/],
  ...['sum', 'avg'].map((name) => [name, /^(money|interval)/] as const),
  ...[
    ...words(
      'to_jsonb jsonb_agg jsonb_agg_strict jsonb_object_agg jsonb_object_agg_strict jsonb_build_object jsonb_build_array',
    ),
  ].map((name) => [name, /^json(\[\])?$/] as const),
]);

/** Total in the argument at this position, while all others are short constants. */
export const totalWithConstants: ReadonlyMap<string, number> = new Map([
  ...[
    ...words(
      'trim btrim ltrim rtrim substr substring replace translate split_part to_char encode convert_to nth_value',
    ),
  ].map((name) => [name, 0] as const),
  ...[...words('date_trunc date_part extract')].map((name) => [name, 1] as const),
]);

/** Aggregates that put the values of many rows into one. `percentile_*` do so with an array of fractions; see bounds.ts. */
export const collectingAggregates = words(`
  array_agg string_agg xmlagg range_agg json_agg jsonb_agg json_agg_strict jsonb_agg_strict json_object_agg
  jsonb_object_agg json_object_agg_strict json_object_agg_unique json_object_agg_unique_strict jsonb_object_agg_strict
  jsonb_object_agg_unique jsonb_object_agg_unique_strict`);

/** Helpers of the information schema that pgjdbc calls. */
export const informationSchemaFunctions = words(
  '_pg_expandarray _pg_truetypid _pg_truetypmod _pg_char_max_length _pg_numeric_precision _pg_numeric_scale _pg_datetime_precision _pg_index_position',
);
const onlyInInformationSchema = words('_pg_expandarray');

/** Columns of functions that return several. Source: pg_proc.proargnames. */
export const functionColumns: ReadonlyMap<string, readonly string[]> = new Map(
  `_pg_expandarray x n
  aclexplode grantor grantee privilege_type is_grantable
  json_array_elements value
  json_array_elements_text value
  json_each key value
  json_each_text key value
  jsonb_array_elements value
  jsonb_array_elements_text value
  jsonb_each key value
  jsonb_each_text key value
  pg_available_extension_versions name version superuser trusted relocatable schema requires comment
  pg_available_extensions name default_version comment
  pg_get_catalog_foreign_keys fktable fkcols pktable pkcols is_array is_opt
  pg_get_keywords word catcode barelabel catdesc baredesc
  pg_get_object_address classid objid objsubid
  pg_identify_object type schema name identity
  pg_identify_object_as_address type object_names object_args
  pg_input_error_info message detail hint sql_error_code
  pg_options_to_table option_name option_value
  pg_partition_ancestors relid
  pg_partition_tree relid parentrelid isleaf level
  pg_timezone_abbrevs abbrev utc_offset is_dst
  pg_timezone_names name abbrev utc_offset is_dst
  ts_parse tokid token
  ts_token_type tokid alias description`
    .split('\n')
    .map((line) => line.trim().split(' '))
    .map(([name, ...columns]) => [name ?? '', columns] as const),
);

/** Functions whose columns follow from the type of an argument. */
export const polymorphicFunctions = words(
  'unnest json_populate_record json_populate_recordset jsonb_populate_record jsonb_populate_recordset',
);

/** What may follow the dot of `(x).name` and is no unknown function: a column of a function, or a known function. */
export const knownFields: ReadonlySet<string> = new Set([...knownFunctions, ...[...functionColumns.values()].flat()]);

const builtInTypes = words(`
  abstime aclitem any anyarray anycompatible anycompatiblearray anyelement bit bool boolean box bpchar bytea char
  character cid cidr circle cstring date datemultirange daterange decimal float4 float8 inet int int2 int2vector int4
  int4multirange int4range int8 int8multirange int8range interval json jsonb jsonpath line lseg macaddr macaddr8 money
  name numeric nummultirange numrange oid oidvector path pg_lsn pg_node_tree pg_snapshot point polygon real record refcursor regclass regcollation
  regconfig regdictionary regnamespace regoper regoperator regproc regprocedure regrole regtype smallint text tid time
  timestamp timestamptz timetz tsmultirange tsquery tsrange tstzmultirange tstzrange tsvector txid_snapshot unknown uuid varbit
  varchar xid xid8 xml bigint integer`);

export function isBuiltInType(name: string): boolean {
  return builtInTypes.has(name);
}

const informationSchemaTypes = words('cardinal_number character_data sql_identifier time_stamp yes_or_no');

/** How names without a schema are read: as the session would, or as pg_get_viewdef prints them (pg_catalog only). */
export type NameReading = 'session' | 'deparsed';

/** Why a call is not understood; undefined = it is. */
export function functionReason(
  call: { readonly funcname?: Node[] },
  catalogue: Catalogue,
  reading: NameReading,
): string | undefined {
  const path = stringsOf(call.funcname);
  const name = path.at(-1) ?? '';
  const schema = path.length > 1 ? path.at(-2) : undefined;
  const shown = path.join('.');
  if (path.length > 2) return `function ${shown} is not known`;
  if (catalogue.amongBuiltIn.has(name)) return `function ${shown} is not the server's own for certain`;
  if (schema === 'information_schema') {
    return informationSchemaFunctions.has(name) ? undefined : `function ${shown} is not known`;
  }
  if (schema !== undefined && schema !== 'pg_catalog') return `function ${shown} is not built in`;
  if (schema === undefined && reading === 'session' && catalogue.userFunctions.has(name)) {
    return `function ${name} is not the built-in one for certain: the database defines one of that name`;
  }
  // Only where the statement's class shows that they are there: not in a view.
  if (reading === 'session' && [sequenceFunctions, sessionFunctions, sessionReads].some((list) => list.has(name)))
    return undefined;
  if (!knownFunctions.has(name) || onlyInInformationSchema.has(name)) return `function ${shown} is not known`;
  return undefined;
}

/** Names of operators as the parser gives them; syntax with a hidden operator (BETWEEN, CASE, USING) passes that. */
export function operatorReason(
  path: readonly string[],
  catalogue: Catalogue,
  reading: NameReading,
): string | undefined {
  const name = path.at(-1) ?? '';
  const schema = path.length > 1 ? path.at(-2) : undefined;
  if (catalogue.amongBuiltIn.has(name)) return `operator ${path.join('.')} is not the server's own for certain`;
  if (schema === 'pg_catalog') return undefined;
  if (schema !== undefined) return `operator ${path.join('.')} is not built in`;
  if (reading === 'session' && catalogue.userOperators.has(name)) {
    return `operator ${name} is not the built-in one for certain: the database defines one of that name`;
  }
  return undefined;
}

export function typeReason(type: TypeName, catalogue: Catalogue, reading: NameReading): string | undefined {
  if (type.pct_type === true) return 'a %TYPE reference is not known';
  const path = stringsOf(type.names);
  const name = path.at(-1) ?? '';
  const schema = path.length > 1 ? path.at(-2) : undefined;
  // A user's type in a view was put there by the view's owner, and a type only checks and converts what it is given.
  if (reading === 'deparsed') return undefined;
  if (schema === 'information_schema' && informationSchemaTypes.has(name)) return undefined;
  const bare = name.startsWith('_') && builtInTypes.has(name.slice(1)) ? name.slice(1) : name;
  if (schema === 'pg_catalog') return builtInTypes.has(bare) ? undefined : `type ${path.join('.')} is not known`;
  if (catalogue.enumTypes?.has(name) === true) return undefined;
  if (schema === undefined && builtInTypes.has(bare) && !catalogue.userTypes.has(name)) return undefined;
  return `type ${path.join('.')} is not known`;
}
