INSERT INTO ticket_types (event_id, id, title, price_cents, remaining) VALUES
  ('test-event-id', 'test-type', 'Test event', 2500, 1000000000),
  ('opening-night', 'seated', 'Opening night, seated', 8900, 1200),
  ('opening-night', 'standing', 'Opening night, standing', 4900, 3000),
  ('farewell-tour', 'standing', 'Farewell tour, standing', 6900, 0);
