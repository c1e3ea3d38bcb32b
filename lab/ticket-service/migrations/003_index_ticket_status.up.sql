CREATE INDEX tickets_invalid ON tickets (id) WHERE status = 'invalid';
