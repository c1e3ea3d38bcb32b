import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import pg from 'pg';

import { startPostgres } from './support/postgres.js';
import { ORDER, sample, startService, until } from './support/service.js';

let postgres;

before(async () => {
  postgres = await startPostgres();
});

after(async () => postgres?.stop());

/** Run one release for the length of a test. */
function release(name, check, env = {}) {
  return async () => {
    const service = await startService(postgres.url, { RELEASE: name, ...env });
    try {
      await check(service);
    } finally {
      await service.stop();
    }
  };
}

const list = (service) => service.call('GET', '/api/v1/tickets');
const reserve = (service) => service.call('POST', '/api/v1/tickets/reserve', ORDER);
const purchase = (service) => service.call('POST', '/api/v1/tickets/purchase', ORDER);
const ready = async (service) => (await fetch(`${service.admin}/health/ready`)).status;

async function statuses(service, action, count) {
  const answers = await Promise.all(Array.from({ length: count }, () => action(service)));
  return answers.map(({ status }) => status);
}

const failed = (codes) => codes.filter((code) => code >= 500).length;

describe('the releases', () => {
  for (const good of ['v1.2.3', 'v1.4.0']) {
    it(`${good} works`, release(good, async (service) => {
      for (const action of [list, reserve, purchase]) {
        assert.equal(failed(await statuses(service, action, 20)), 0);
      }
      assert.equal(await ready(service), 200);
    }));
  }

  it('v1.3.0 fails every purchase and nothing else', release('v1.3.0', async (service) => {
    assert.equal(failed(await statuses(service, purchase, 20)), 20);
    assert.equal(failed(await statuses(service, reserve, 20)), 0);
    assert.equal(failed(await statuses(service, list, 20)), 0);
    const labels = { route: '/api/v1/tickets/purchase' };
    assert.equal(sample(await service.metrics(), 'http_request_errors_total', labels), 20);
    assert.match(service.output(), /"level":"ERROR"/);
  }));

  it('v1.3.1 fails a fifth of purchases and reservations', release('v1.3.1', async (service) => {
    for (const action of [purchase, reserve]) {
      const share = failed(await statuses(service, action, 200)) / 200;
      // Six standard deviations: once in a billion runs by chance.
      assert.ok(share > 0.03 && share < 0.37, `share ${share}`);
    }
    assert.equal(failed(await statuses(service, list, 20)), 0);
  }));

  it('v1.3.2 is slow on every route', release('v1.3.2', async (service) => {
    for (const action of [list, reserve, purchase]) {
      const started = performance.now();
      await action(service);
      assert.ok(performance.now() - started >= 79);
    }
  }));

  it('v1.3.3 leaks memory outside the heap', release('v1.3.3', async (service) => {
    const leaked = async () => sample(await service.metrics(), 'nodejs_external_memory_bytes');
    const start = await leaked();
    await until(async () => (await leaked()) - start > 64 * 1024 * 1024, 'the leak');
    assert.equal(failed(await statuses(service, purchase, 5)), 0);
  }, { LEAK_MIB_PER_SECOND: '200' }));

  it('v1.3.4 never becomes ready, and lives', release('v1.3.4', async (service) => {
    assert.equal(await ready(service), 503);
    assert.equal((await fetch(`${service.admin}/health/live`)).status, 200);
  }));

  it('v1.3.5 is ready and deaf to its users', release('v1.3.5', async (service) => {
    assert.equal(await ready(service), 200);
    await assert.rejects(list(service));
    assert.equal((await fetch(`http://127.0.0.1:${service.port + 1}/health`)).status, 200);
  }));

  it('v1.3.6 works while the flag is off', release('v1.3.6', async (service) => {
    assert.equal(failed(await statuses(service, purchase, 40)), 0);
  }));

  it('v1.3.6 fails half of the purchases while the flag is on', release('v1.3.6', async (service) => {
    const share = failed(await statuses(service, purchase, 100)) / 100;
    assert.ok(share > 0.2 && share < 0.8, `share ${share}`);
  }, { FEATURE_NEW_CHECKOUT: 'true' }));

  it('v1.3.7 fails every purchase and brings a migration', release('v1.3.7', async (service) => {
    assert.equal(failed(await statuses(service, purchase, 5)), 5);
    assert.match(service.output(), /004_add_seat_label/);
  }, { DATABASE_SCHEMA: 'newer' }));

  it('v1.3.8 damages what was sold, and answers all the same', release('v1.3.8', async (service) => {
    assert.equal(failed(await statuses(service, purchase, 5)), 0);
    const client = new pg.Client(postgres.url);
    await client.connect();
    try {
      const asked = "SELECT 1 FROM damaging.tickets WHERE status = 'invalid'";
      await until(async () => (await client.query(asked)).rowCount > 0, 'the damage');
    } finally {
      await client.end();
    }
  }, { DATABASE_SCHEMA: 'damaging' }));

  it('v1.3.9 refuses the orders of its clients', release('v1.3.9', async (service) => {
    for (const action of [reserve, purchase]) {
      assert.deepEqual(await statuses(service, action, 3), [400, 400, 400]);
    }
    assert.deepEqual(await statuses(service, list, 3), [200, 200, 200]);
    assert.equal(sample(await service.metrics(), 'http_request_errors_total', {}) ?? 0, 0);
  }));

  it('v1.5.0 fails every purchase and retires the old checkout', release('v1.5.0', async (service) => {
    assert.equal(failed(await statuses(service, purchase, 5)), 5);
    assert.match(service.output(), /005_retire_classic_checkout/);
  }, { DATABASE_SCHEMA: 'retiring-one' }));
});
