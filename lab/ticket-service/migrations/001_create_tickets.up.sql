CREATE TABLE ticket_types (
  event_id text NOT NULL,
  id text NOT NULL,
  title text NOT NULL,
  price_cents integer NOT NULL CHECK (price_cents >= 0),
  remaining integer NOT NULL CHECK (remaining >= 0),
  PRIMARY KEY (event_id, id)
);

CREATE TABLE tickets (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  reservation_id uuid NOT NULL,
  event_id text NOT NULL,
  ticket_type_id text NOT NULL,
  status text NOT NULL DEFAULT 'reserved' CHECK (status IN ('reserved', 'sold', 'invalid')),
  reserved_at timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (event_id, ticket_type_id) REFERENCES ticket_types (event_id, id)
);

CREATE INDEX tickets_reservation ON tickets (reservation_id);

CREATE TABLE purchases (
  id uuid PRIMARY KEY,
  reservation_id uuid NOT NULL,
  checkout text NOT NULL CHECK (checkout IN ('classic', 'two-step')),
  status text NOT NULL CHECK (status IN ('pending', 'completed')),
  amount_cents bigint NOT NULL,
  purchased_at timestamptz NOT NULL DEFAULT now()
);
