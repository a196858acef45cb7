-- Named prepared statements and pipelines in psql 18.
select $1::integer * 2 as double \parse doubling

\bind_named doubling 21 \g

\bind_named doubling x \g

\close_prepared doubling

\bind_named doubling 1 \g

select 1 \parse ''

\bind_named '' \g

\startpipeline

select $1::integer \bind 1 \sendpipeline

select $1::integer / 0 \bind 1 \sendpipeline

select 3 \bind \sendpipeline

\endpipeline
