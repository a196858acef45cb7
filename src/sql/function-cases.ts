/**
 * Functions of PostgreSQL 15 to 18 that are left out of `functions.ts` on purpose, each under its reason. What is on
 * neither list is unknown as well; `functions.test.ts` names it, so that somebody decides.
 */

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

export const leftOut: Readonly<Record<string, readonly string[]>> = {
  'runs a query that it is given as text, or reads a relation, a cursor or a row that it is told': words(`
    cursor_to_xml cursor_to_xmlschema database_to_xml database_to_xml_and_xmlschema database_to_xmlschema query_to_xml
    query_to_xml_and_xmlschema query_to_xmlschema schema_to_xml schema_to_xml_and_xmlschema schema_to_xmlschema
    table_to_xml table_to_xml_and_xmlschema table_to_xmlschema ts_rewrite ts_stat ts_debug currtid2
    pg_get_publication_tables pg_get_sequence_data pg_sequence_last_value pg_extension_config_dump
    satisfies_hash_partition`),
  'reads or writes large objects': words(`
    lo_close lo_creat lo_create lo_export lo_from_bytea lo_get lo_import lo_lseek lo_lseek64 lo_open lo_put lo_tell
    lo_tell64 lo_truncate lo_truncate64 lo_unlink loread lowrite`),
  'reads files of the server, or tells of them': words(`
    pg_current_logfile pg_hba_file_rules pg_ident_file_mappings pg_ls_archive_statusdir pg_ls_dir pg_ls_logdir
    pg_ls_logicalmapdir pg_ls_logicalsnapdir pg_ls_replslotdir pg_ls_summariesdir pg_ls_tmpdir pg_ls_waldir
    pg_read_binary_file pg_read_file pg_read_file_old pg_relation_filepath pg_filenode_relation pg_show_all_file_settings
    pg_stat_file pg_config pg_get_loaded_modules pg_column_toast_chunk_id`),
  'shows raw values out of statistics': words('pg_mcv_list_items'),
  'shows texts, plans or numbers of other sessions, or of the server as a whole': words(`
    current_query pg_blocking_pids pg_cursor pg_get_aios pg_get_backend_memory_contexts pg_get_shmem_allocations
    pg_get_shmem_allocations_numa pg_get_wait_events pg_isolation_test_session_is_blocked pg_lock_status
    pg_numa_available pg_prepared_statement pg_prepared_xact pg_safe_snapshot_blocking_pids pg_show_all_settings
    pg_get_multixact_members pg_indexam_progress_phasename`),
  'reads what was written, out of the log of writes': words(`
    pg_available_wal_summaries pg_control_checkpoint pg_control_init pg_control_recovery pg_control_system
    pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn pg_get_replication_slots
    pg_get_wal_replay_pause_state pg_get_wal_resource_managers pg_get_wal_summarizer_state pg_is_wal_replay_paused
    pg_last_committed_xact pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp
    pg_logical_slot_get_binary_changes pg_logical_slot_get_changes pg_logical_slot_peek_binary_changes
    pg_logical_slot_peek_changes pg_show_replication_origin_status pg_split_walfile_name pg_wal_summary_contents
    pg_walfile_name pg_walfile_name_offset pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status
    txid_status`),
  'changes replication': words(`
    pg_copy_logical_replication_slot pg_copy_physical_replication_slot pg_create_logical_replication_slot
    pg_create_physical_replication_slot pg_drop_replication_slot pg_log_standby_snapshot pg_logical_emit_message
    pg_promote pg_replication_origin_advance pg_replication_origin_create pg_replication_origin_drop
    pg_replication_origin_oid pg_replication_origin_progress pg_replication_origin_session_is_setup
    pg_replication_origin_session_progress pg_replication_origin_session_reset pg_replication_origin_session_setup
    pg_replication_origin_xact_reset pg_replication_origin_xact_setup pg_replication_slot_advance
    pg_sync_replication_slots pg_wal_replay_pause pg_wal_replay_resume`),
  'changes the server, the session or statistics, or takes a number that is gone then': words(`
    brin_desummarize_range brin_summarize_new_values brin_summarize_range gin_clean_pending_list pg_backup_start
    pg_backup_stop pg_cancel_backend pg_clear_attribute_stats pg_clear_relation_stats pg_create_restore_point
    pg_current_xact_id pg_nextoid pg_export_snapshot pg_import_system_collations pg_log_backend_memory_contexts 
    pg_reload_conf pg_restore_attribute_stats pg_restore_relation_stats pg_rotate_logfile pg_rotate_logfile_old
    pg_stop_making_pinned_objects pg_switch_wal pg_terminate_backend set_config setseed txid_current`),
  waits: words('pg_sleep pg_sleep_for pg_sleep_until'),
  'is of no use to people': words(`
    amvalidate pg_collation_actual_version pg_database_collation_actual_version current_user dexp dlog1 dlog10 dround dtrunc enum_send getpgusername int4inc int8_sum numeric_div_trunc
    numeric_exp numeric_inc numeric_ln numeric_log numeric_sqrt pg_event_trigger_ddl_commands
    pg_event_trigger_dropped_objects pg_event_trigger_table_rewrite_oid pg_event_trigger_table_rewrite_reason
    pg_extension_update_paths pg_input_error_info pg_jit_available pg_sequence_parameters pg_tablespace_databases
    pg_timezone_abbrevs_abbrevs pg_timezone_abbrevs_zone postgresql_fdw_validator textlen`),
};

/** Families whose new members are left out as well: numbers of the statistics collector, and what pg_upgrade needs. */
export const leftOutFamilies = /^(pg_stat_|binary_upgrade_)/;
