// Everything the service reads and writes in PostgreSQL. Refusals are RefusedError with the HTTP status.

import { randomUUID } from 'node:crypto';

import { inTransaction } from './database.js';

export class RefusedError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const LIST = {
  name: 'list-ticket-types',
  text: `SELECT event_id AS "eventId", id AS "ticketTypeId", title, price_cents AS "priceCents", remaining
         FROM ticket_types ORDER BY event_id, id LIMIT 100`,
};

export function createStore(pool, { newCheckout }) {
  const buy = newCheckout ? buyInTwoSteps : buyAtOnce;

  async function list() {
    return (await pool.query(LIST)).rows;
  }

  async function reserve(order) {
    return inTransaction(pool, (client) => take(client, order));
  }

  /** Buy a reservation made before, or take the tickets and buy them in one go. */
  async function purchase({ reservationId, order }) {
    return inTransaction(pool, async (client) => {
      const id = reservationId ?? (await take(client, order)).reservationId;
      return buy(client, id);
    });
  }

  return { list, reserve, purchase };
}

async function take(client, { eventId, tickets }) {
  const reservationId = randomUUID();
  // Always in the same order, so that two orders for the same types cannot deadlock.
  const sorted = [...tickets].sort((a, b) => (a.ticketTypeId < b.ticketTypeId ? -1 : 1));
  for (const { ticketTypeId, quantity } of sorted) {
    const taken = await client.query({
      name: 'take-tickets',
      text: `UPDATE ticket_types SET remaining = remaining - $3
             WHERE event_id = $1 AND id = $2 AND remaining >= $3`,
      values: [eventId, ticketTypeId, quantity],
    });
    if (taken.rowCount === 0) {
      await explainRefusal(client, eventId, ticketTypeId);
    }
    await client.query({
      name: 'insert-tickets',
      text: `INSERT INTO tickets (reservation_id, event_id, ticket_type_id)
             SELECT $1, $2, $3 FROM generate_series(1, $4::int)`,
      values: [reservationId, eventId, ticketTypeId, quantity],
    });
  }
  return { reservationId, status: 'reserved', eventId, tickets };
}

async function explainRefusal(client, eventId, ticketTypeId) {
  const known = await client.query('SELECT remaining FROM ticket_types WHERE event_id = $1 AND id = $2', [
    eventId,
    ticketTypeId,
  ]);
  if (known.rowCount === 0) {
    throw new RefusedError(404, `no ticket type ${ticketTypeId} for event ${eventId}`);
  }
  throw new RefusedError(409, `only ${known.rows[0].remaining} tickets of type ${ticketTypeId} are left`);
}

/** The checkout in use: one statement sells the tickets and writes the purchase. */
async function buyAtOnce(client, reservationId) {
  const bought = await client.query({
    name: 'buy-at-once',
    text: `WITH sold AS (
             UPDATE tickets SET status = 'sold' WHERE reservation_id = $1 AND status = 'reserved'
             RETURNING event_id, ticket_type_id
           ), total AS (
             SELECT count(*) AS quantity, coalesce(sum(price_cents), 0) AS amount
             FROM sold JOIN ticket_types ON ticket_types.event_id = sold.event_id AND id = ticket_type_id
           )
           INSERT INTO purchases (id, reservation_id, checkout, status, amount_cents)
           SELECT $2, $1, 'classic', 'completed', amount FROM total WHERE quantity > 0
           RETURNING id AS "purchaseId", amount_cents::int AS "amountCents"`,
    values: [reservationId, randomUUID()],
  });
  if (bought.rowCount === 0) {
    await refusePurchase(client, reservationId);
  }
  return bought.rows[0];
}

/** The new checkout: write a pending purchase, sell the tickets, then complete the purchase. */
async function buyInTwoSteps(client, reservationId) {
  const purchaseId = randomUUID();
  await client.query({
    name: 'open-purchase',
    text: `INSERT INTO purchases (id, reservation_id, checkout, status, amount_cents)
           VALUES ($1, $2, 'two-step', 'pending', 0)`,
    values: [purchaseId, reservationId],
  });
  const sold = await client.query({
    name: 'sell-tickets',
    text: `UPDATE tickets SET status = 'sold' FROM ticket_types
           WHERE reservation_id = $1 AND status = 'reserved'
             AND ticket_types.event_id = tickets.event_id AND ticket_types.id = ticket_type_id
           RETURNING price_cents`,
    values: [reservationId],
  });
  if (sold.rowCount === 0) {
    await refusePurchase(client, reservationId);
  }
  const amountCents = sold.rows.reduce((sum, row) => sum + row.price_cents, 0);
  await client.query({
    name: 'complete-purchase',
    text: `UPDATE purchases SET status = 'completed', amount_cents = $2 WHERE id = $1`,
    values: [purchaseId, amountCents],
  });
  return { purchaseId, amountCents };
}

async function refusePurchase(client, reservationId) {
  const known = await client.query('SELECT 1 FROM tickets WHERE reservation_id = $1 LIMIT 1', [reservationId]);
  if (known.rowCount === 0) {
    throw new RefusedError(404, `no reservation ${reservationId}`);
  }
  throw new RefusedError(409, `reservation ${reservationId} is already purchased`);
}
