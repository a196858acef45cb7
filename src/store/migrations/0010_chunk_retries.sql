-- A chunk whose attempts are used up can be set going again by its executor: how often that was done.
alter table chunks add column retries integer not null default 0;
