/**
 * System relations that hold names, types and definitions of objects, or count accesses, and never data: those that
 * psql's \d commands, pgjdbc, DBeaver and SQLAlchemy read, and monitoring. A list of what is allowed. Left out on purpose: statistics with raw values in them
 * (pg_statistic*, pg_stats*), secrets (pg_authid, pg_shadow, pg_user_mapping*, pg_subscription), large objects, texts of
 * other sessions (pg_stat_activity, pg_stat_statements), configuration files, and whatever a newer server adds.
 * Source: PostgreSQL manual, "System Catalogs", "System Views", "The Information Schema".
 */
import type { ColumnRef, RelationUse } from './statement.ts';

const harmlessPgCatalog = new Set(
  `pg_aggregate pg_am pg_amop pg_amproc pg_attrdef pg_attribute pg_auth_members pg_available_extensions
  pg_available_extension_versions pg_cast pg_class pg_collation pg_constraint pg_conversion pg_cursors pg_database pg_default_acl
  pg_depend pg_description pg_enum pg_event_trigger pg_extension pg_foreign_data_wrapper pg_foreign_server
  pg_foreign_table pg_group pg_index pg_indexes pg_inherits pg_init_privs pg_language pg_largeobject_metadata pg_locks pg_matviews pg_namespace
  pg_opclass pg_operator pg_opfamily pg_partitioned_table pg_policies pg_policy pg_prepared_statements pg_proc pg_publication
  pg_publication_namespace pg_publication_rel pg_publication_tables pg_range pg_rewrite pg_roles pg_rules pg_seclabel
  pg_seclabels pg_sequence pg_settings pg_shdepend pg_shdescription pg_statistic_ext pg_tables pg_tablespace
  pg_timezone_abbrevs pg_timezone_names pg_transform pg_trigger pg_ts_config pg_ts_config_map pg_ts_dict pg_ts_parser
  pg_ts_template pg_type pg_user pg_views
  pg_stat_all_indexes pg_stat_all_tables pg_stat_archiver pg_stat_bgwriter pg_stat_checkpointer pg_stat_database
  pg_stat_database_conflicts pg_stat_io pg_stat_slru pg_stat_sys_indexes pg_stat_sys_tables pg_stat_user_functions
  pg_stat_user_indexes pg_stat_user_tables pg_stat_wal pg_stat_xact_all_tables pg_stat_xact_sys_tables
  pg_stat_xact_user_functions pg_stat_xact_user_tables pg_statio_all_indexes pg_statio_all_sequences
  pg_statio_all_tables pg_statio_sys_indexes pg_statio_sys_sequences pg_statio_sys_tables pg_statio_user_indexes
  pg_statio_user_sequences pg_statio_user_tables`.split(/\s+/),
);

/** Options of servers and user mappings hold addresses and passwords. */
const hiddenInformationSchema = new Set([
  'user_mapping_options',
  'user_mappings',
  'foreign_server_options',
  'foreign_data_wrapper_options',
]);

export function isSystemSchema(schema: string): boolean {
  return schema === 'pg_catalog' || schema === 'information_schema' || schema === 'pg_toast';
}

/** True when a use reads a part of the catalogue that holds no data. */
export function isHarmlessCatalogueRelation(use: Pick<RelationUse, 'schema' | 'name' | 'access'>): boolean {
  if (use.access !== 'read') return false;
  if (use.schema === 'pg_catalog') return harmlessPgCatalog.has(use.name);
  if (use.schema !== 'information_schema') return false;
  return !use.name.startsWith('_') && !hiddenInformationSchema.has(use.name);
}

/** The one column of those relations that holds data: a value that ADD COLUMN … DEFAULT stored for the rows that were there. */
export function isStoredDefault(column: ColumnRef): boolean {
  return column.schema === 'pg_catalog' && column.relation === 'pg_attribute' && column.column === 'attmissingval';
}

export function readsStoredDefaults(use: Pick<RelationUse, 'schema' | 'name'>): boolean {
  return use.schema === 'pg_catalog' && use.name === 'pg_attribute';
}
