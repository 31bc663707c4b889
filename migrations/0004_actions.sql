-- The request that was the action, so that it is written once however often that is tried.
alter table operator_actions add column request_id text;
create unique index operator_actions_by_request on operator_actions (request_id);
create index operator_actions_by_user on operator_actions (user_id);
