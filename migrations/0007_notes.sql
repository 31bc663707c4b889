-- Whether what a note asks for was done. A note that the operator has resolved all the same isn't
-- opened again while it says the same.
alter table notes add column is_done integer not null default 0;
