-- Since when a principal's groups are known to be so (by the token's time of issue, or when the provider was asked), and
-- which provider the principal is of: the id of one provider's subject is never another's.
alter table principals add column groups_at timestamptz;
update principals set groups_at = last_seen_at;
alter table principals alter column groups_at set not null;
alter table principals add column provider text;
update principals set provider = case kind when 'service' then 'service' else 'default' end;
alter table principals alter column provider set not null;
