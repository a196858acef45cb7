-- Transactions, savepoints, several statements in one message.
create table ledger (id integer primary key, amount integer, constraint positive check (amount >= 0));

begin;

insert into ledger values (1, 10);

rollback;

select * from ledger;

begin isolation level serializable read only deferrable;

insert into ledger values (1, 10);

rollback;

start transaction isolation level repeatable read, read write;

show transaction_isolation;

insert into ledger values (1, 10);

savepoint one;

insert into ledger values (1, 20);

select 'still failed';

rollback to savepoint one;

insert into ledger values (2, 20);

release savepoint one;

savepoint two;

update ledger set amount = -1;

rollback to two;

release two;

release two;

rollback;

begin;

insert into ledger values (1, 10), (2, 20);

commit and chain;

select count(*) from ledger;

rollback and no chain;

begin;

select no_such_column from ledger;

select * from ledger;

end;

abort;

set transaction isolation level serializable;

begin;

set transaction isolation level serializable;

select 1;

set transaction isolation level read committed;

rollback;

set session characteristics as transaction read only;

update ledger set amount = 0;

set session characteristics as transaction read write;

update ledger set amount = amount + 1 returning *;

select 1 as first\; select 2 as second;

select 1 as first\; select 1 / 0\; select 3 as third;

insert into ledger values (3, 30)\; insert into ledger values (3, 31);

select * from ledger order by id;

begin\; insert into ledger values (4, 40)\; commit\; insert into ledger values (4, 41);

select * from ledger order by id;

insert into ledger values (5, 50)\; commit\; insert into ledger values (5, 51);

insert into ledger values (6, 60)\; begin\; insert into ledger values (7, 70)\; rollback;

select * from ledger order by id;

select 1\; selec 2\; select 3;

create table made_here (id integer)\; insert into made_here values (1)\; select * from made_here;

begin\; create table never (id integer)\; rollback;

select * from never;

select 1\;\; select 2\;;

set local work_mem to '1MB'\; show work_mem;

savepoint x\; select 1;

begin\; savepoint x\; select 1 / 0;

rollback to x;

select 'usable' as again;

commit;

begin;

declare walk cursor for select * from ledger;

savepoint s;

fetch 1 from walk;

rollback to s;

fetch 1 from walk;

commit;

begin;

create table inside (id integer);

insert into inside values (1) returning *;

select * from inside;

\d inside

alter table inside add column more text default 'm';

select * from inside;

drop table inside;

select * from inside;

rollback;

create table deferred (id integer primary key deferrable initially deferred, parent integer references deferred deferrable);

begin;

insert into deferred values (1, null), (1, null);

set constraints all immediate;

rollback;

begin;

set constraints all deferred;

insert into deferred values (2, 3);

commit;

select txid_current_if_assigned() is null as idle;

select pg_current_xact_id_if_assigned() is null as idle;

begin; select pg_current_xact_id() is not null as running; commit;

\set AUTOCOMMIT off

insert into ledger values (8, 80);

rollback;

select count(*) from ledger;

commit;

\set AUTOCOMMIT on

\set ON_ERROR_ROLLBACK on

begin;

select 1 / 0;

select 'still usable' as again;

commit;

\set ON_ERROR_ROLLBACK off

begin;

select pg_advisory_xact_lock(7);

select mode, granted from pg_locks where locktype = 'advisory' and objid = 7;

rollback;

prepare transaction 'none';

drop table ledger, deferred, made_here;
