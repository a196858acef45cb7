-- The extended protocol in psql 16.
select $1::integer + $2::integer as sum \bind 1 2 \g

select $1 as text \bind 'x y' \g

select $1::integer \bind abc \g

select 1 \bind \g

select $1 \bind \g

insert into no_such_table values ($1) \bind 1 \g

select * from generate_series(1, $1::integer) \bind 3 \g

select $1::jsonb -> 'a' as a \bind '{"a": [1]}' \gx

create table bound (id integer) \bind \g

insert into bound values ($1) returning * \bind 7 \g

drop table bound \bind \g
