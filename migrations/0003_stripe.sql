-- Grows with each change of a customer, so that what comes late replaces nothing newer.
alter table customers add column revision integer not null default 0;

-- What the operator should know, mostly of Stripe's customers, and what to do about it. Whose
-- `resolved_at` is null waits for something; `refund`, `dispute` and `month_mismatch`, which is of no
-- customer, are resolved by hand, if at all.
create table notes (
  customer_id text not null,
  kind text not null,
  subject text not null,
  user_id text,
  text text not null,
  created_at text not null,
  resolved_at text,
  primary key (customer_id, kind, subject)
) without rowid;
