/**
 * Which system relations may be read as "the catalogue": names, types and definitions of objects and counters of
 * accesses, never data. A list of what is allowed: a relation that a newer PostgreSQL adds is ordinary data until somebody
 * has looked at it. Left out on purpose: the planner's statistics (`pg_statistic`, `pg_stats`, `pg_stats_ext` … hold raw
 * values), `pg_sequences` (the last value of a sequence may stand in a masked column), query texts of others
 * (`pg_stat_activity`), secrets (`pg_authid`, `pg_shadow`, `pg_user_mapping`, `pg_subscription`), files and large objects.
 * Source: PostgreSQL manual, chapters "System Catalogs", "System Views" and "The Information Schema".
 */
import type { RelationUse } from '../sql/statement.ts';

const catalogueRelations = new Set(
  `pg_aggregate pg_am pg_amop pg_amproc pg_attrdef pg_attribute pg_auth_members pg_available_extensions
  pg_available_extension_versions pg_cast pg_class pg_collation pg_constraint pg_conversion pg_cursors pg_database pg_depend
  pg_description pg_enum pg_event_trigger pg_extension pg_foreign_data_wrapper pg_foreign_server pg_foreign_table
  pg_group pg_index pg_indexes pg_inherits pg_language pg_largeobject_metadata pg_locks pg_matviews pg_namespace pg_opclass pg_operator
  pg_opfamily pg_partitioned_table pg_policies pg_policy pg_prepared_statements pg_proc pg_publication pg_publication_namespace
  pg_publication_rel pg_publication_tables pg_range pg_rewrite pg_roles pg_rules pg_seclabel pg_seclabels pg_sequence
  pg_settings pg_shdepend pg_shdescription pg_statistic_ext pg_tables pg_tablespace pg_timezone_abbrevs
  pg_timezone_names pg_transform pg_trigger pg_ts_config pg_ts_config_map pg_ts_dict pg_ts_parser pg_ts_template
  pg_type pg_user pg_views
  pg_stat_all_indexes pg_stat_all_tables pg_stat_archiver pg_stat_bgwriter pg_stat_checkpointer pg_stat_database
  pg_stat_database_conflicts pg_stat_io pg_stat_slru pg_stat_sys_indexes pg_stat_sys_tables pg_stat_user_functions
  pg_stat_user_indexes pg_stat_user_tables pg_stat_wal pg_stat_xact_all_tables pg_stat_xact_sys_tables
  pg_stat_xact_user_functions pg_stat_xact_user_tables pg_statio_all_indexes pg_statio_all_sequences
  pg_statio_all_tables pg_statio_sys_indexes pg_statio_sys_sequences pg_statio_sys_tables pg_statio_user_indexes
  pg_statio_user_sequences pg_statio_user_tables`.split(/\s+/),
);

const hiddenInformationSchema = new Set(['user_mapping_options', 'user_mappings', 'foreign_server_options']);

/**
 * True when a read names catalogue relations only. What a system view reads inside (`pg_roles` reads `pg_authid`) is the
 * view's own business; what a user's view reads counts, because the view itself is no system relation.
 */
export function isCatalogueRead(relations: readonly RelationUse[]): boolean {
  return relations.every((relation) => {
    if (relation.access !== 'read') return false;
    if (relation.schema !== 'pg_catalog' && relation.schema !== 'information_schema') return false;
    if (!relation.direct) return true;
    if (relation.schema === 'pg_catalog') return catalogueRelations.has(relation.name);
    return !relation.name.startsWith('_') && !hiddenInformationSchema.has(relation.name);
  });
}
