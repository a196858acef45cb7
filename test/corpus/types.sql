-- Every common type, and how psql prints its values.
select true as yes, false as no, null::boolean as neither;

select 1::smallint, -32768::int2, 2147483647::integer, -9223372036854775808::bigint;

select 1.50::numeric, 1e400::numeric, 'NaN'::numeric, 'Infinity'::numeric, 123456789.123456789::numeric(20, 5);

select 0.1::real, 0.1::double precision, 1e-300::float8, 'infinity'::float4, '-0'::float8;

select 1234.5::money, '-12.34'::money, cast('$1,000.00' as money);

select 'text'::text, 'padded'::char(10), 'cut off'::varchar(3), 'x'::"char", 'name'::name;

select '\xdeadbeef'::bytea, ''::bytea, 'abc'::bytea, e'\\000\\001'::bytea;

select date '2024-02-29', date 'infinity', date '0044-03-15 BC';

select time '13:14:15.123456', time '24:00', timetz '01:02:03+05:30';

select timestamp '2024-02-29 23:59:59.999999', timestamp '-infinity', timestamptz '2024-06-01 12:00:00+02';

select interval '1 year 2 months 3 days 04:05:06.789', interval '-1 day', interval 'P1Y2M3DT4H5M6S', interval '0';

select 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid as upper;

select '{"a": 1, "a": 2, "b": [1, 2.50, null]}'::json, '{"a": 1, "a": 2, "b": [1, 2.50, null]}'::jsonb;

select '<a b="c">d</a>'::xml;

select '192.168.0.1/24'::inet, '10.0.0.0/8'::cidr, '08:00:2b:01:02:03'::macaddr, '2001:db8::1'::inet;

select '(1,2)'::point, '[(0,0),(1,1)]'::lseg, '((0,0),(1,1))'::box, '<(0,0),2>'::circle, '((0,0),(1,0),(1,1))'::polygon;

select b'101', x'1F', b'1'::bit(3), b'10101'::varbit(3);

select array[1, 2, 3], array['a b', 'c"d', null, ''], array[[1, 2], [3, 4]], '[0:1]={1,2}'::int[], '{}'::text[];

select int4range(1, 10), numrange(1.5, null), 'empty'::int4range, daterange('2024-01-01', '2024-02-01', '[]');

select '{[1,3), [5,8)}'::int4multirange, '{}'::datemultirange;

select 'a fat cat'::tsvector, 'fat & (rat | cat)'::tsquery;

select row(1, 'two', null), row(row(1, 2), 'x y'), (1, '(2,3)', '"');

select 'pg_class'::regclass, 'int4'::regtype, 'lower(text)'::regprocedure, 'pg_catalog'::regnamespace, 'english'::regconfig;

select '16/B374D848'::pg_lsn, '10:20:10,14,15'::pg_snapshot, '$.a[*] ? (@ > 1)'::jsonpath;

select 'x'::text collate "C" < 'Y' as less, 'ä' as umlaut, '日本語' as wide, e'tab\there' as tab, e'new\nline' as line;

select null as "empty", '' as "blank", ' ' as space, 'multi
line' as "two lines";

select 1 as "Upper", 2 as "with space", 3 as "quote""inside", 4;

select 42 as a, 42 as a, 'same name' as a;

select;

select from generate_series(1, 3);

select 1 where false;

select '12'::oid, '1'::xid, '(0,1)'::tid, '1'::cid;

select 'on'::bool, 'off'::bool, 't'::bool, 'n'::bool, '1'::bool;

select pg_typeof(1), pg_typeof(1.0), pg_typeof('x'), pg_typeof(now()), pg_typeof(array[1]), pg_typeof(row(1));

select 1::bigint * 3, 7 / 2, 7 % 3, 7.0 / 2, 2 ^ 10, |/ 16, ||/ 27, @ -5, 5 # 3, ~1, 1 << 4, 91 & 15, 32 | 3;

\pset null '(null)'

select null, 'x' as known, null::int;

\pset null ''

\x on

select 1 as one, 'expanded' as mode, array[1, 2] as list;

\x off

\pset format unaligned

select 1 as a, 'b|c' as b;

\pset format csv

select 1 as a, 'b,"c"' as b, null as n;

\pset format html

select 1 as a, '<b>' as b;

\pset format aligned

\t on

select 'tuples only', 1;

\t off

set datestyle to 'ISO, DMY';

select date '01/02/2024', timestamp '2024-02-29 01:02:03';

reset datestyle;

set intervalstyle to 'iso_8601';

select interval '1 year 2 days 3 hours';

set intervalstyle to 'postgres_verbose';

select interval '1 year 2 days 3 hours', interval '-1 day';

reset intervalstyle;

set timezone to 'America/New_York';

select timestamptz '2024-07-01 12:00:00+00', timestamptz '2024-01-01 12:00:00+00';

set time zone interval '-03:00' hour to minute;

select timestamptz '2024-07-01 12:00:00+00';

reset timezone;

set extra_float_digits to 0;

select 0.1::float4, 1.0::float8 / 3;

set extra_float_digits to 3;

select 0.1::float4, 1.0::float8 / 3;

reset extra_float_digits;

set bytea_output to 'escape';

select '\xdeadbeef00'::bytea;

reset bytea_output;

select '\xdeadbeef00'::bytea;
