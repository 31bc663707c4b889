-- What the original design keeps of a request: the first eight columns of the gateway's own table.
create table requests (
  id integer primary key,
  user_id text not null,
  endpoint text not null,
  status integer not null,
  latency_ms integer not null,
  tokens_est integer not null,
  ip_hash text,
  created_at text not null
);
create index requests_by_user on requests (user_id);
create index requests_by_time on requests (created_at);
