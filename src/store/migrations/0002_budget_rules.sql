-- Constants that masked columns are compared with have budgets too, one for each masking rule that lets its columns be
-- compared. Rows of samples belong to no rule.
alter table sample_reads add column rule text not null default '';
drop index sample_reads_who;
create index sample_reads_who on sample_reads (human, connection, rule, read_at);
