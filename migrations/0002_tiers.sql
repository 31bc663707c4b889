-- The month in which a request counts, `YYYY-MM`, UTC; null for one that doesn't count: a refusal, and one
-- that the upstream failed. It is that of the admission, by the clock of the user's object, and so may
-- differ from that of `created_at` where a month turns.
alter table requests add column month text;

-- What the user's object says of it, besides its tier. `binding` is open, first-key or key; `codex` is
-- none, ok or expired. An older revision never replaces a newer one; those of the roster have none.
alter table users add column binding text;
alter table users add column keys integer not null default 0;
alter table users add column codex text;
alter table users add column revision integer not null default 0;

-- The months whose sums were compared with the rows, each once.
create table closed_months (
  month text primary key,
  closed_at text not null,
  requests integer not null,
  tokens integer not null,
  -- How many users' sums and rows still differed.
  mismatches integer not null
) without rowid;
