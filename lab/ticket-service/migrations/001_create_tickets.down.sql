DROP TABLE purchases;
DROP TABLE tickets;
DROP TABLE ticket_types;
