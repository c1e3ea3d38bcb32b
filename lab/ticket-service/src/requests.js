// What clients send, checked; a refusal is a 400 that names the field.

import { RefusedError } from './store.js';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const MOST_TICKETS = 10;

export function parseOrder(body) {
  const { eventId, tickets } = asObject(body);
  text(eventId, 'eventId');
  if (!Array.isArray(tickets) || tickets.length === 0 || tickets.length > MOST_TICKETS) {
    throw new RefusedError(400, `tickets must be a list of 1 to ${MOST_TICKETS} items`);
  }
  return {
    eventId,
    tickets: tickets.map((item, index) => {
      const { ticketTypeId, quantity } = asObject(item, `tickets[${index}]`);
      text(ticketTypeId, `tickets[${index}].ticketTypeId`);
      if (!Number.isInteger(quantity) || quantity < 1 || quantity > MOST_TICKETS) {
        throw new RefusedError(400, `tickets[${index}].quantity must be a whole number from 1 to ${MOST_TICKETS}`);
      }
      return { ticketTypeId, quantity };
    }),
  };
}

export function parsePurchase(body) {
  const { reservationId } = asObject(body);
  if (reservationId === undefined) {
    return { order: parseOrder(body) };
  }
  if (typeof reservationId !== 'string' || !UUID.test(reservationId)) {
    throw new RefusedError(400, 'reservationId must be the id that a reservation returned');
  }
  return { reservationId };
}

function asObject(value, name = 'the body') {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw new RefusedError(400, `${name} must be a JSON object`);
  }
  return value;
}

function text(value, name) {
  if (typeof value !== 'string' || value === '' || value.length > 100) {
    throw new RefusedError(400, `${name} must be a string of 1 to 100 characters`);
  }
}
