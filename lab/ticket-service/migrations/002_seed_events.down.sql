DELETE FROM purchases;
DELETE FROM tickets;
DELETE FROM ticket_types;
