-- Built-in functions on text, dates, numbers, JSON, arrays, ranges, text search, regular expressions.
select upper('a'), lower('B'), initcap('ab cd'), length('äö'), octet_length('äö'), reverse('abc'), repeat('ab', 3);

select substring('hello' from 2 for 3), substr('hello', 2), left('hello', -1), right('hello', 2), position('l' in 'hello'), strpos('hello', 'l');

select trim(both 'x' from 'xxaxx'), ltrim('  a'), rtrim('a  '), btrim('xyax', 'xy'), lpad('a', 3, '*'), rpad('a', 3), overlay('hello' placing 'XX' from 2 for 2);

select concat('a', null, 1), concat_ws('-', 'a', null, 'b'), 'a' || 'b', split_part('a,b,c', ',', 2), split_part('a,b,c', ',', -1), translate('abc', 'ab', 'xy'), replace('aXbX', 'X', '-');

select format('%s %I %L %%', 'a', 'B c', 'd''e'), quote_ident('A b'), quote_literal(e'a\\b'), quote_nullable(null);

select ascii('a'), chr(228), md5('a'), encode(sha256('a'), 'hex'), encode('abc', 'base64'), decode('YWJj', 'base64'), to_hex(255), crc32('a');

select convert_from('\xc3a4', 'UTF8'), convert_to('ä', 'LATIN1'), starts_with('abc', 'ab'), string_to_array('a,b,,c', ',', ''), array_to_string(array[1, null, 3], ',', '*'), unistr('\0041');

select 'abc' like 'a%', 'abc' ilike 'A_C', 'abc' similar to '(a|b)%', 'abc' ~ '^a', 'ABC' ~* 'b', 'abc' !~ 'z', 'a%b' like 'a\%b', 'ab' like 'a#%' escape '#';

select regexp_match('foo123bar', '([a-z]+)(\d+)'), regexp_replace('a1b22', '\d+', '<\&>', 'g'), regexp_split_to_array('a, b,c', '\s*,\s*'), regexp_count('aXbXc', 'X'), regexp_instr('abcabc', 'c', 1, 2), regexp_substr('a12b', '\d+'), regexp_like('ABC', 'b', 'i');

select regexp_matches('a1b2c3', '([a-z])(\d)', 'g');

select regexp_split_to_table('a b  c', '\s+'), string_to_table('x-y', '-');

select date_trunc('month', timestamp '2024-05-17 12:34:56'), extract(epoch from timestamp '2024-01-01'), date_part('dow', date '2024-05-17'), extract(week from date '2024-12-30'), extract(isoyear from date '2024-12-30');

select age(timestamp '2024-03-01', timestamp '2023-01-31'), date '2024-03-01' - date '2024-02-01', date '2024-01-31' + interval '1 month', timestamp '2024-01-01' + 90 * interval '1 minute', justify_interval('35 days 25 hours');

select to_char(timestamp '2024-05-07 03:04:05.678', 'FMDay DD Mon YYYY HH24:MI:SS.MS AM Q WW J'), to_char(1234567.891, 'FM9,999,999.00'), to_char(-5, 'S00'), to_char(42, 'RN'), to_char(interval '26 hours', 'HH24:MI'), to_char(0.5, '90.9%');

select to_date('7 May 2024', 'DD Mon YYYY'), to_timestamp('2024-05-07 03:04', 'YYYY-MM-DD HH24:MI') at time zone 'UTC', to_number('1,234.5-', '9G999D9S'), make_date(2024, 2, 29), make_interval(days => 3, hours => 4), make_time(1, 2, 3.5), make_timestamp(2024, 1, 2, 3, 4, 5);

select timestamptz '2024-01-01 00:00:00+00' at time zone 'Asia/Tokyo', timezone('UTC', timestamp '2024-01-01'), (date '2024-01-01', date '2024-02-01') overlaps (date '2024-01-15', date '2024-03-01'), isfinite(date 'infinity'), date_bin('15 minutes', timestamp '2024-01-01 12:34', timestamp '2000-01-01');

select now() = transaction_timestamp() as same, clock_timestamp() >= statement_timestamp() as later, current_date = now()::date as today, localtimestamp is not null as there;

select abs(-1.5), ceil(1.2), floor(-1.2), round(2.5), round(1.2345, 2), trunc(1.99), mod(7, 3), div(7, 2), power(2, 0.5), exp(1), ln(10), log(100), log(2, 8), sign(-3), gcd(12, 18), lcm(4, 6), factorial(10), width_bucket(5, 0, 10, 4), scale(1.50), trim_scale(1.500);

select sin(1), cos(1), tan(1), atan2(1, 2), degrees(pi()), radians(180), cbrt(27), sinh(1), random() between 0 and 1 as random;

select '{"a": {"b": [1, 2, {"c": "d"}]}}'::jsonb -> 'a' -> 'b' -> 2 ->> 'c', '{"a": [1]}'::json #>> '{a,0}', '{"a": 1}'::jsonb @> '{"a": 1}', '{"a": 1}'::jsonb ? 'a', '{"a": 1}'::jsonb || '{"b": 2}', '{"a": 1, "b": 2}'::jsonb - 'a', '[1, 2]'::jsonb - 0, '{"a": {"b": 1}}'::jsonb #- '{a,b}';

select jsonb_set('{"a": 1}', '{b}', '2'), jsonb_insert('[1, 3]', '{1}', '2'), jsonb_pretty('{"a": [1, 2]}'), jsonb_strip_nulls('{"a": null, "b": 1}'), jsonb_typeof('[]'), json_array_length('[1, 2]'), to_json('x"y'::text), row_to_json(row(1, 'a')), json_build_object('a', 1, 'b', array[1, 2]), json_build_array(1, null, 'x');

select jsonb_path_query_array('{"a": [1, 2, 3]}', '$.a[*] ? (@ > 1)'), jsonb_path_exists('{"a": 1}', '$.a'), jsonb_path_query_first('[1, "x"]', '$[*] ? (@.type() == "string")'), '{"a": [1]}'::jsonb @? '$.a[0]', '[5]'::jsonb @@ '$[0] > 4', '{"a": 1}'::jsonb ['a'];

select jsonb_array_elements('[1, "two", null]'), json_object_keys('{"x": 1, "y": 2, "z": 3}');

select * from jsonb_to_record('{"a": 1, "b": {"c": 2}}') as t (a integer, b jsonb, missing text);

select json_object('{a,1,b,2}'), '{"a":  1}'::json::text, '{"b": 1, "aa": 2}'::jsonb::text, '"x"'::jsonb, '1e2'::jsonb, 'null'::jsonb is null;

select array[1, 2] || 3, array[1, 2] || array[3], array_append(array[1], 2), array_prepend(0, array[1]), array_cat(array[1], array[2]), array_length(array[1, 2, 3], 1), cardinality(array[[1], [2]]), array_ndims(array[[1]]), array_dims(array[[1, 2]]), array_upper(array[5, 6], 1);

select array_position(array['a', 'b'], 'b'), array_positions(array[1, 2, 1], 1), array_remove(array[1, 2, 1], 1), array_replace(array[1, 2], 2, 9), array[1, 2, 3] @> array[2], array[1] <@ array[1, 2], array[1, 2] && array[2, 3], 2 = any (array[1, 2]), 3 > all (array[1, 2]), (array[1, 2, 3])[2:3], trim_array(array[1, 2, 3], 1), array_fill(7, array[2, 2]);

select unnest(array[3, 1, 2]) order by 1;

select int4range(1, 5) @> 3, int4range(1, 5) && int4range(4, 8), int4range(1, 5) * int4range(3, 8), int4range(1, 3) + int4range(3, 5), int4range(1, 5) - int4range(3, 8), lower(int4range(1, 5)), upper_inc(int4range(1, 5)), isempty('empty'::int4range), int4range(1, 3) << int4range(5, 6), int4range(1, 3) -|- int4range(3, 5), range_merge(int4range(1, 2), int4range(5, 6));

select range_agg(r) from (values (int4range(1, 3)), (int4range(2, 5)), (int4range(8, 9))) v (r);

select to_tsvector('english', 'The quick brown foxes jumped'), to_tsquery('english', 'fox & jump'), plainto_tsquery('english', 'quick foxes'), phraseto_tsquery('english', 'brown fox'), websearch_to_tsquery('english', '"brown fox" or -dog');

select to_tsvector('english', 'a fat cat') @@ to_tsquery('english', 'cats'), ts_rank(to_tsvector('english', 'cat cat'), to_tsquery('cat')), ts_headline('english', 'a fat cat sat', to_tsquery('english', 'cat')), setweight('cat:1'::tsvector, 'A'), strip('a:1 b:2'::tsvector), length('a b c'::tsvector), numnode('a & b'::tsquery), ts_delete('a b'::tsvector, 'a');

select * from ts_debug('english', 'cats run');

select * from ts_parse('default', 'a-b 12');

select alias, description from ts_token_type('default') limit 3;

select ts_lexize('english_stem', 'running'), get_current_ts_config();

select host('10.1.2.3/8'), masklen('10.0.0.0/8'), network('10.1.2.3/8'), broadcast('10.1.2.3/8'), netmask('10.0.0.0/8'), '10.1.2.3'::inet << '10.0.0.0/8'::cidr, '10.0.0.1'::inet + 5, family('::1'), abbrev('10.0.0.0/8'::cidr), inet '10.0.0.5' - inet '10.0.0.1';

select point '(1,1)' <-> point '(4,5)', area(box '((0,0),(2,3))'), center(circle '<(1,2),3>'), box '((0,0),(2,2))' && box '((1,1),(3,3))', length(path '((0,0),(1,0))'), npoints(polygon '((0,0),(1,1),(2,0))'), diameter(circle '<(0,0),2>');

select xmlelement(name a, xmlattributes('v' as k), 'text'), xmlforest(1 as x, 'y' as z), xmlconcat('<a/>'::xml, '<b/>'::xml), xpath('/a/text()', '<a>t</a>'), xmlexists('//b' passing by value '<a><b/></a>'::xml), xmlcomment('c'), xmlparse(content 'abc'), xml_is_well_formed('<a'), xmlserialize(content '<a/>'::xml as text);

select bit_count('\xff'), get_bit('\x01', 0), set_bit('\x00', 0, 1), get_byte('\x0102', 1), length('\x0102'::bytea), substring('\x010203'::bytea from 2), '\x01'::bytea || '\x02', b'101' & b'110', b'101' || b'1', bit_length('a');

select uuid_nil() as never, gen_random_uuid() is not null as random;

select gen_random_uuid() is not null as random, num_nulls(1, null), num_nonnulls(1, null), pg_typeof('x'::text), pg_column_size(1), pg_size_pretty(123456789::bigint), pg_size_bytes('1 GB');

select current_schema, current_schemas(false), current_user = session_user as same, pg_client_encoding(), pg_backend_pid() > 0 as pid, version() like 'PostgreSQL%' as version;

select has_table_privilege('pg_class', 'select'), has_schema_privilege('public', 'usage'), pg_has_role(current_user, 'usage'), to_regclass('no_such'), to_regtype('int'), format_type(23, null), pg_get_userbyid(10), obj_description('pg_class'::regclass);

select set_config('application_name', 'renamed', false), current_setting('application_name');

select set_config('my.setting', 'value', false), current_setting('my.setting');

select current_setting('work_mem'), current_setting('server_encoding');

select pg_input_is_valid('12', 'integer');

select overlaps(date '2024-01-01', date '2024-02-01', date '2024-01-15', date '2024-03-01');

select json_value('{"a": 1}', '$.a');

select json_serialize('{}'), json_array(1, 2), json_object('a': 1);

select '{"a": 1}' is json, 'x' is json scalar, '[]' is json array;

select * from json_table('[{"a": 1}]', '$[*]' columns (a integer path '$.a')) t;

select any_value(n), array_agg(n) from generate_series(1, 3) n;

select lower('ÄÖÜ'), upper('straße'), 'ß' < 'z', normalize(u&'a\0308', nfc), u&'\00e4' is normalized;

select pg_sleep(0);

select generate_subscripts(array['a', 'b'], 1), pg_get_keywords() is not null limit 1;

select txid_current() > 0 as positive;

select pg_is_in_recovery(), pg_current_wal_lsn() is not null as there;

select count(*) > 100 from pg_timezone_names;

select string_agg(chr(n), '') from generate_series(65, 70) n;

select inet_client_addr() is null as unix, inet_server_port() > 0 as tcp;
