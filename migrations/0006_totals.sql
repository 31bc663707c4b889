-- Totals of all requests that ever were, for /operator/metrics: rows of `requests` are added once and
-- go later; totals only grow. src/totals.rs adds them, in one batch.
create table totals (
  status integer not null,
  error_code text not null,
  requests integer not null,
  tokens integer not null,
  primary key (status, error_code)
) without rowid;

-- How long answers (2xx) took: how many took at most `bound` milliseconds and more than the bound below,
-- and how long in all. The last bound stands for everything beyond.
create table durations (
  measure text not null,
  bound integer not null,
  requests integer not null,
  milliseconds integer not null,
  primary key (measure, bound)
) without rowid;

-- The last row of `requests` that was added.
create table rolled_up (
  only integer primary key check (only = 1),
  last_id integer not null
);
insert into rolled_up values (1, 0);

-- Ids are given again once the highest have gone.
create trigger requests_forgotten after delete on requests
when old.id >= (select last_id from rolled_up)
begin
  update rolled_up set last_id = (select coalesce(max(id), 0) from requests)
  where last_id > (select coalesce(max(id), 0) from requests);
end;

-- What is bad now, as the operator was told: an upstream, d1, or outbox.
create table alerts (
  subject text primary key,
  since text not null,
  problem text not null
) without rowid;
