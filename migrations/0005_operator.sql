-- How each upstream fares: its queue, as its object last said, and its health, as it was last looked at.
create table upstreams (
  name text primary key,
  slots integer,
  running integer not null default 0,
  waiting integer not null default 0,
  longest_wait_ms integer not null default 0,
  reported_at text,
  is_well integer,
  checked_at text,
  -- What is wrong with it, in words.
  problem text
) without rowid;
