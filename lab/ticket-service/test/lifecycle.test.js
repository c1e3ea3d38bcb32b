import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { readConfig } from '../src/config.js';
import { startPostgres } from './support/postgres.js';
import { startService, until } from './support/service.js';

let postgres;

before(async () => {
  postgres = await startPostgres();
});

after(async () => postgres?.stop());

describe('a start', () => {
  it('works again on a database that is there already', async () => {
    await (await startService(postgres.url)).stop();
    const service = await startService(postgres.url);
    assert.equal((await fetch(`${service.api}/health/ready`)).status, 200);
    await service.stop();
  });

  const bad = [
    [{ RELEASE: 'v9.9.9' }, /RELEASE=v9.9.9 .* use one of v1.2.3/],
    [{ API_TOKEN: '' }, /API_TOKEN is missing/],
    [{ DATABASE_URL: '' }, /DATABASE_URL is missing/],
    [{ PORT: 'http' }, /PORT=http/],
    [{ FEATURE_NEW_CHECKOUT: 'yes' }, /FEATURE_NEW_CHECKOUT=yes .* true or false/],
    [{ DATABASE_SCHEMA: 'Robert"; DROP' }, /DATABASE_SCHEMA/],
  ];
  for (const [env, message] of bad) {
    it(`is refused with ${JSON.stringify(env)}`, () => {
      assert.throws(() => readConfig({ API_TOKEN: 't', DATABASE_URL: 'u', ...env }), message);
    });
  }

  it('says why and exits 1 when it cannot go on', () => {
    const main = fileURLToPath(new URL('../src/main.js', import.meta.url));
    const { status, stdout } = spawnSync(process.execPath, [main], { env: {}, encoding: 'utf8' });
    assert.equal(status, 1);
    assert.match(stdout, /"level":"ERROR".*API_TOKEN/);
  });
});

describe('an end', () => {
  it('is first not ready, still serves, and finishes what is in flight', async () => {
    const service = await startService(postgres.url, { RELEASE: 'v1.3.2', SLOW_MS: '600', SHUTDOWN_DELAY_MS: '400' });
    const order = service.call('GET', '/api/v1/tickets');
    service.terminate();
    await until(async () => (await fetch(`${service.admin}/health/ready`)).status === 503, 'the drain');
    const late = service.call('GET', '/api/v1/tickets');
    assert.equal((await order).status, 200);
    assert.equal((await late).status, 200);
    assert.equal(await service.exited, 0);
    assert.match(service.output(), /"message":"stopped"/);
  });
});

describe('a database that is away', () => {
  it('makes the service not ready, then ready again', async () => {
    const own = await startPostgres();
    const service = await startService(own.url);
    const ready = async () => (await fetch(`${service.admin}/health/ready`)).status;
    assert.equal(await ready(), 200);
    await own.stop();
    await until(async () => (await ready()) === 503, '503');
    assert.equal((await fetch(`${service.admin}/health/live`)).status, 200);
    assert.equal((await service.call('GET', '/api/v1/tickets')).status, 500);
    assert.equal(await service.stop(), 0);
  });
});
