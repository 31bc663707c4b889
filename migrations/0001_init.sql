-- What the operator asks questions of. Nothing decides from these tables.

-- One row a request, written by the user's object in batches. The first eight columns are those of
-- the original design; `created_at` is UTC in SQLite's own text form, so that it compares with
-- datetime('now', '-5 minutes').
create table requests (
  id integer primary key,
  user_id text not null,
  endpoint text not null,
  status integer not null,
  latency_ms integer not null,
  tokens_est integer not null,
  ip_hash text,
  created_at text not null,
  request_id text not null,
  project text not null,
  model text,
  ttfb_ms integer,
  tokens_source text not null default 'none',
  error_code text,
  count integer not null default 1
);
create index requests_by_user on requests (user_id);
create index requests_by_time on requests (created_at);

-- How far each object's outbox has arrived. Written in the batch that carries the rows, which is
-- what makes a repeated flush harmless. An object that is born again has a new outbox.
create table outbox_cursors (
  outbox text primary key,
  user_id text not null,
  cursor integer not null
) without rowid;

create view user_summary as
select
  user_id,
  sum(count) as total_requests,
  sum(tokens_est) as total_tokens,
  round(sum(latency_ms * count) * 1.0 / sum(count), 1) as avg_latency,
  max(created_at) as last_seen
from requests
group by user_id;

create table monthly_usage (
  user_id text not null,
  month text not null,
  requests integer not null,
  tokens integer not null,
  primary key (user_id, month)
) without rowid;

create table users (
  user_id text primary key,
  name text,
  email text,
  tier text,
  tier_since text,
  tier_until text,
  blocked integer not null default 0,
  created_at text not null,
  updated_at text not null
) without rowid;

create table customers (
  customer_id text primary key,
  user_id text,
  subscription_id text,
  status text,
  updated_at text not null
) without rowid;

create table operator_actions (
  id integer primary key,
  operator text not null,
  action text not null,
  user_id text,
  detail text,
  created_at text not null
);
