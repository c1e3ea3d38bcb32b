import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import pg from 'pg';

import { startPostgres } from './support/postgres.js';
import { ORDER, sample, startService } from './support/service.js';

let postgres;
let service;
let database;

before(async () => {
  postgres = await startPostgres();
  service = await startService(postgres.url);
  database = new pg.Client(postgres.url);
  await database.connect();
});

after(async () => {
  await database?.end();
  await service?.stop();
  await postgres?.stop();
});

const post = (path, body) => service.call('POST', `/api/v1/tickets/${path}`, body);

describe('the API', () => {
  it('lists what is for sale', async () => {
    const { status, body } = await service.call('GET', '/api/v1/tickets');
    assert.equal(status, 200);
    assert.ok(body.tickets.some((type) => type.eventId === 'test-event-id' && type.ticketTypeId === 'test-type'));
  });

  it('reserves tickets and then sells them', async () => {
    const order = { ...ORDER, tickets: [{ ticketTypeId: 'test-type', quantity: 3 }] };
    const reserved = await post('reserve', order);
    assert.equal(reserved.status, 201);
    const { reservationId } = reserved.body;
    assert.equal(reserved.body.status, 'reserved');
    const bought = await post('purchase', { reservationId });
    assert.equal(bought.status, 201);
    assert.equal(bought.body.amountCents, 7500);
    const { rows } = await database.query('SELECT status FROM tickets WHERE reservation_id = $1', [reservationId]);
    assert.deepEqual(rows, [{ status: 'sold' }, { status: 'sold' }, { status: 'sold' }]);
  });

  it('sells without a reservation', async () => {
    const { status, body } = await post('purchase', ORDER);
    assert.equal(status, 201);
    const { rows } = await database.query('SELECT checkout, status FROM purchases WHERE id = $1', [body.purchaseId]);
    assert.deepEqual(rows, [{ checkout: 'classic', status: 'completed' }]);
  });

  it('takes nothing when one of several types is sold out', async () => {
    const remaining = async () =>
      (await database.query(`SELECT remaining FROM ticket_types WHERE id = 'seated'`)).rows[0].remaining;
    const before = await remaining();
    const order = {
      eventId: 'opening-night',
      tickets: [
        { ticketTypeId: 'seated', quantity: 2 },
        { ticketTypeId: 'unknown', quantity: 1 },
      ],
    };
    assert.equal((await post('reserve', order)).status, 404);
    assert.equal(await remaining(), before);
  });
});

describe('a refusal', () => {
  const bad = [
    ['reserve', {}, 400, /eventId/],
    ['reserve', [], 400, /JSON object/],
    ['reserve', undefined, 400, /eventId/],
    ['reserve', { eventId: 'test-event-id' }, 400, /tickets/],
    ['reserve', { eventId: 'test-event-id', tickets: [{ ticketTypeId: 'test-type', quantity: 0 }] }, 400, /quantity/],
    ['reserve', { eventId: 'nowhere', tickets: ORDER.tickets }, 404, /nowhere/],
    ['reserve', { eventId: 'farewell-tour', tickets: [{ ticketTypeId: 'standing', quantity: 1 }] }, 409, /0 tickets/],
    ['purchase', { reservationId: 'mine' }, 400, /reservationId/],
    ['purchase', { reservationId: '00000000-0000-0000-0000-000000000000' }, 404, /no reservation/],
    ['purchase', {}, 400, /eventId/],
    ['cancel', {}, 404, /cancel/],
  ];
  for (const [path, body, status, message] of bad) {
    it(`is ${status} for ${path} with ${JSON.stringify(body)}`, async () => {
      const answer = await post(path, body);
      assert.equal(answer.status, status);
      assert.match(answer.body.error, message);
    });
  }

  it('is 409 for a second purchase of one reservation', async () => {
    const { reservationId } = (await post('reserve', ORDER)).body;
    assert.equal((await post('purchase', { reservationId })).status, 201);
    assert.equal((await post('purchase', { reservationId })).status, 409);
  });

  it('is 400 for a body that is not JSON', async () => {
    const answer = await fetch(`${service.api}/api/v1/tickets/reserve`, {
      method: 'POST',
      headers: { Authorization: 'Bearer test-token', 'Content-Type': 'application/json' },
      body: '{"eventId":',
    });
    assert.equal(answer.status, 400);
  });

  for (const headers of [{}, { Authorization: 'Bearer wrong-one!' }, { Authorization: 'Basic test-token' }]) {
    it(`is 401 with ${JSON.stringify(headers)}`, async () => {
      assert.equal((await fetch(`${service.api}/api/v1/tickets`, { headers })).status, 401);
    });
  }

  it('never counts as an error', async () => {
    await post('reserve', {});
    const text = await service.metrics();
    const route = '/api/v1/tickets/reserve';
    assert.equal(sample(text, 'http_request_errors_total', { method: 'POST', route, service: 'ticket-service' }), 0);
    const labels = { method: 'POST', route, status: '400', service: 'ticket-service' };
    assert.ok(sample(text, 'http_request_duration_seconds_count', labels) >= 1);
  });
});

describe('health', () => {
  for (const path of ['/health', '/health/live', '/health/ready']) {
    it(`${path} is 200 on both ports`, async () => {
      assert.equal((await fetch(service.api + path)).status, 200);
      assert.equal((await fetch(service.admin + path)).status, 200);
    });
  }
});

describe('the metrics', () => {
  it('have every error series at 0 before the first request, under the given service name', async () => {
    const fresh = await startService(postgres.url, { SERVICE_NAME: 'box-office' });
    const text = await fresh.metrics();
    await fresh.stop();
    for (const [method, route] of [
      ['GET', '/api/v1/tickets'],
      ['POST', '/api/v1/tickets/reserve'],
      ['POST', '/api/v1/tickets/purchase'],
    ]) {
      assert.equal(sample(text, 'http_request_errors_total', { method, route, service: 'box-office' }), 0);
    }
    assert.ok(sample(text, 'process_start_time_seconds', { service: 'box-office' }) > 1e9);
  });
});

describe('the new checkout', () => {
  it('sells in two steps', async () => {
    const next = await startService(postgres.url, { FEATURE_NEW_CHECKOUT: 'true' });
    const { status, body } = await next.call('POST', '/api/v1/tickets/purchase', ORDER);
    const twice = await next.call('POST', '/api/v1/tickets/reserve', ORDER);
    const { reservationId } = twice.body;
    const first = await next.call('POST', '/api/v1/tickets/purchase', { reservationId });
    const second = await next.call('POST', '/api/v1/tickets/purchase', { reservationId });
    await next.stop();
    assert.deepEqual([status, first.status, second.status], [201, 201, 409]);
    assert.equal(body.amountCents, 2500);
    const { rows } = await database.query('SELECT checkout, status FROM purchases WHERE id = $1', [body.purchaseId]);
    assert.deepEqual(rows, [{ checkout: 'two-step', status: 'completed' }]);
    const pending = await database.query(`SELECT 1 FROM purchases WHERE status = 'pending'`);
    assert.equal(pending.rowCount, 0);
  });
});
