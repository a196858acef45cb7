-- Changing rows: RETURNING, upserts, MERGE, joins, CTEs.
create table stock (id integer primary key, item text unique, amount integer default 0, price numeric(8, 2));

create table delivery (item text, amount integer);

insert into stock values (1, 'apple', 5, 0.50), (2, 'pear', 3, 0.75), (3, 'plum', 0, null);

insert into stock (id, item) values (4, 'fig') returning *;

insert into stock default values;

insert into stock select n, 'thing ' || n, n * 2, n * 1.1 from generate_series(10, 14) n returning id, item, price;

insert into stock values (1, 'apple', 7) on conflict do nothing;

insert into stock values (1, 'apple', 7) on conflict (id) do update set amount = stock.amount + excluded.amount returning id, amount;

insert into stock as s values (20, 'pear', 1) on conflict (item) do update set amount = excluded.amount where s.amount > 100 returning *;

insert into stock values (1, 'x'), (1, 'y') on conflict (id) do update set item = excluded.item;

insert into stock values (1, 'apple') on conflict (amount) do nothing;

insert into stock values (1, 'apple') on conflict on constraint stock_item_key do nothing;

update stock set amount = amount + 1, price = coalesce(price, 1) where id < 4 returning id, amount, price;

update stock set (item, amount) = ('quince', 9) where id = 4 returning *;

update stock set (amount, price) = (select 1, 2.5) where id = 4 returning item, amount, price;

update stock s set amount = d.amount from (values ('apple', 50), ('pear', 60)) d (item, amount) where d.item = s.item returning s.item, d.amount;

update stock set amount = default where id = 14 returning amount;

update stock set amount = 1 where false;

delete from stock where id > 12 returning *;

delete from stock using (values (10)) v (id) where v.id = stock.id returning stock.id;

insert into delivery values ('apple', 10), ('kiwi', 4), ('plum', null) returning *;

merge into stock s using delivery d on s.item = d.item
when matched and d.amount is null then delete
when matched then update set amount = s.amount + d.amount
when not matched then insert (id, item, amount) values (30, d.item, d.amount);

select * from stock order by id;

merge into stock s using (values (1)) v (id) on s.id = v.id when matched then do nothing;

with moved as (delete from stock where id = 30 returning *) insert into delivery select item, amount from moved returning *;

with new as (insert into stock values (40, 'date', 1, 1) returning id, item), upd as (update stock set amount = 0 where id = 1 returning id) select * from new, upd;

with a as (select 1 as n), b as (select n + 1 as m from a) select * from a, b;

table delivery;

values (1, 'one'), (2, 'two') order by 1 desc;

select * from stock where amount > 0 order by price desc nulls last, id limit 3;

select * from stock order by id offset 2 rows fetch next 2 rows only;

select * from stock order by amount fetch first 1 row with ties;

select id, item from stock where item ~ '^p' for update;

select id from stock where id = 1 for share skip locked;

select id from stock where id = 1 for no key update nowait;

insert into stock values (50, 'x', 2147483648);

insert into stock (id, item) select id, item from stock;

delete from stock where id in (select id from stock where amount = 0) returning id;

with d as (delete from delivery returning *) select count(*), sum(amount) from d;

insert into delivery select 'bulk', n from generate_series(1, 1000) n;

select count(*), min(amount), max(amount), avg(amount) from delivery;

update delivery set amount = amount * 2 where amount % 2 = 0;

delete from delivery where amount > 500;

truncate delivery;

select count(*) from delivery;

select exists (select from delivery), not exists (select from stock where false);

lock table delivery in share mode;

begin; lock table delivery in access exclusive mode; commit;

create function double_amount() returns trigger language plpgsql as $$ begin new.amount := new.amount * 2; return new; end $$;

create trigger double before insert on delivery for each row execute function double_amount();

insert into delivery values ('doubled', 21) returning *;

create view cheap as select id, item, price from stock where price < 1;

insert into cheap values (60, 'nut', 0.1) returning *;

update cheap set price = 0.2 where id = 60 returning *;

delete from cheap where id = 60 returning item;

drop view cheap;

drop table stock, delivery;

drop function double_amount;
