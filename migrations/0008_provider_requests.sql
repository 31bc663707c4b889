-- How many calls to a model's provider a real OpenClaw made for a request, where it comes back through the
-- gateway for these; its tokens are then what they cost together. Null where it doesn't.
alter table requests add column provider_requests integer;
