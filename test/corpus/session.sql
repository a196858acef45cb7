-- SET, SHOW, RESET, sequences, advisory locks, LISTEN and NOTIFY, DISCARD.
-- differs, ` "public"`: the gateway logs in with the search path of its configuration
show search_path;

show work_mem;

set work_mem to '2MB';

show work_mem;

set local work_mem = '3MB';

set maintenance_work_mem = 4096;

reset work_mem;

set enable_seqscan to off;

show enable_seqscan;

reset enable_seqscan;

set session statement_timeout = '5s';

show statement_timeout;

set statement_timeout to default;

set lock_timeout to 100;

set random_page_cost to 1.5;

show random_page_cost;

set search_path to pg_catalog;

show search_path;

select current_schemas(true);

set search_path to public, pg_catalog;

reset search_path;

set names 'UTF8';

set client_encoding to 'utf8';

show client_encoding;

-- differs, `client_encoding UTF8`: the gateway reads and masks UTF-8 only
set client_encoding to 'latin1';

-- differs, `UTF8`: it was refused
show client_encoding;

reset client_encoding;

-- differs, `standard_conforming_strings on`: a statement must be read as the server reads it
set standard_conforming_strings to off;

-- differs, ` on`: it was refused
show standard_conforming_strings;

reset standard_conforming_strings;

set datestyle to german;

select date '2024-05-07';

reset datestyle;

set role none;

set session authorization default;

reset role;

set role no_such_role;

set session authorization postgres;

set my.own to 'a value';

show my.own;

set default_text_search_config to 'pg_catalog.german';

select to_tsvector('Häuser und Bäume');

reset default_text_search_config;

set xmlbinary to hex;

set lc_numeric to 'C';

set lc_messages to 'C';

set default_transaction_read_only to on;

create table refused (id integer);

set default_transaction_read_only to off;

set log_statement to 'all';

set shared_buffers to '1GB';

set application_name to 'somebody';

show application_name;

show server_encoding;

show transaction_read_only;

show time zone;

show all_nonsense;

select name, setting from pg_settings where name in ('work_mem', 'jit', 'enable_sort') order by name;

select count(*) > 200 from pg_settings;

reset all;

create sequence ticket;

select nextval('ticket'), nextval('ticket'::regclass), nextval('public.ticket');

select currval('ticket'), lastval();

select setval('ticket', 100), setval('ticket', 200, false);

select nextval('ticket');

select last_value, is_called from ticket;

select nextval('no_such_sequence');

select currval('no_such_sequence');

create table numbered (id integer default nextval('ticket'), serial serial, note text);

insert into numbered (note) values ('a'), ('b') returning *;

insert into numbered values (nextval('ticket'), default, 'c') returning *;

select nextval(pg_get_serial_sequence('numbered', 'serial'));

select setval('numbered_serial_seq', (select max(id) from numbered));

select currval(pg_get_serial_sequence('numbered', 'serial')) as current;

select nextval('ticket') from generate_series(1, 3);

select sequencename, start_value, last_value from pg_sequences where sequencename = 'ticket';

drop table numbered;

drop sequence ticket;

select pg_advisory_lock(42);

select pg_try_advisory_lock(42), pg_try_advisory_lock_shared(43, 44);

select locktype, classid, objid, mode, granted from pg_locks where locktype = 'advisory' and classid in (0, 43) order by objid, mode;

select pg_advisory_unlock(42), pg_advisory_unlock(42), pg_advisory_unlock(42);

select pg_advisory_unlock_shared(43, 44), pg_advisory_unlock_all();

select pg_try_advisory_xact_lock(1), pg_advisory_xact_lock_shared(2);

listen news;

listen "Mixed Case";

select * from pg_listening_channels() order by 1;

notify elsewhere;

notify elsewhere, 'a payload';

select pg_notify('elsewhere', 'another');

select pg_notify('', 'no channel');

unlisten news;

unlisten *;

select count(*) from pg_listening_channels();

select pg_notification_queue_usage() >= 0 as fine;

create table watched (id integer primary key);

insert into watched values (1);

select relname, n_live_tup >= 0 as live from pg_stat_user_tables where relname = 'watched';

select indexrelname, idx_scan from pg_stat_user_indexes where relname = 'watched';

select relname, heap_blks_read >= 0 as read from pg_statio_user_tables where relname = 'watched';

select count(*) > 0 from pg_stat_database;

select count(*) from pg_stat_bgwriter;

select datname is not null as named from pg_stat_activity where pid = pg_backend_pid();

select count(*) >= 0 from pg_stats where tablename = 'watched';

select pg_stat_get_numscans('watched'::regclass) >= 0 as counted;

select pg_relation_size('watched') > 0 as sized, pg_table_size('watched') > 0, pg_database_size(current_database()) > 0;

drop table watched;

discard plans;

discard sequences;

discard temp;

discard all;

checkpoint;

load 'no_such_library';

security label on table pg_class is 'x';
