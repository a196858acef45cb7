-- Constants that masked columns were compared with: one line per statement, summed over the last hour like sample_reads.
create table equality_tests (
  id bigint generated always as identity primary key,
  human text not null,
  connection text not null,
  read_at timestamptz not null,
  rows integer not null
);
create index equality_tests_who on equality_tests (human, connection, read_at);
