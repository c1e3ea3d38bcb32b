import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import pg from 'pg';

import { startPostgres } from './support/postgres.js';

const FOLDER = fileURLToPath(new URL('..', import.meta.url));
const ALL = ['001_create_tickets', '002_seed_events', '003_index_ticket_status'];

let postgres;
let database;

before(async () => {
  postgres = await startPostgres();
  database = new pg.Client(postgres.url);
  await database.connect();
});

after(async () => {
  await database?.end();
  await postgres?.stop();
});

function environment(schema, release = 'v1.4.0') {
  return { PATH: process.env.PATH, DATABASE_URL: postgres.url, DATABASE_SCHEMA: schema, RELEASE: release };
}

function npm(schema, script, { args = [], release } = {}) {
  const env = { ...environment(schema, release), HOME: process.env.HOME };
  return spawnSync('npm', ['run', '--silent', script, ...args], { cwd: FOLDER, env, encoding: 'utf8' });
}

async function applied(schema) {
  const { rows } = await database.query(`SELECT name FROM "${schema}".schema_migrations ORDER BY applied_at, name`);
  return rows.map(({ name }) => name);
}

describe('the migrations', () => {
  it('go up once, and again without effect', async () => {
    const first = npm('up', 'migrate');
    assert.equal(first.status, 0, first.stderr);
    assert.match(first.stdout, /applied: 001_create_tickets, 002_seed_events, 003_index_ticket_status/);
    assert.match(npm('up', 'migrate').stdout, /nothing to do/);
    assert.deepEqual(await applied('up'), ALL);
  });

  it('go down one step, or as many as asked for', async () => {
    npm('down', 'migrate');
    assert.match(npm('down', 'migrate:rollback').stdout, /rolled back: 003_index_ticket_status/);
    const more = npm('down', 'migrate:rollback', { args: ['--', '--step=2'] });
    assert.match(more.stdout, /rolled back: 002_seed_events, 001_create_tickets/);
    assert.deepEqual(await applied('down'), []);
    assert.match(npm('down', 'migrate:rollback').stdout, /nothing to do/);
    npm('down', 'migrate');
    assert.deepEqual(await applied('down'), ALL);
  });

  it('refuse a step that is no number', () => {
    const { status, stderr } = npm('down', 'migrate:rollback', { args: ['--', '--step=all'] });
    assert.equal(status, 1);
    assert.match(stderr, /--step=all/);
  });

  it('have a status that creates nothing', async () => {
    assert.match(npm('status', 'migrate:status').stdout, /pending +001_create_tickets/);
    const { rowCount } = await database.query(`SELECT 1 FROM pg_namespace WHERE nspname = 'status'`);
    assert.equal(rowCount, 0);
    npm('status', 'migrate');
    assert.match(npm('status', 'migrate:status').stdout, /^\d{4}-.*Z +001_create_tickets/);
    assert.match(npm('status', 'migrate:status').stdout, /pending +004_add_seat_label/);
  });

  it('of a newer release stay when an older one starts, and can be taken back', async () => {
    npm('newer', 'migrate', { release: 'v1.3.7' });
    assert.deepEqual(await applied('newer'), [...ALL, '004_add_seat_label']);
    assert.match(npm('newer', 'migrate', { release: 'v1.2.3' }).stdout, /nothing to do/);
    assert.match(npm('newer', 'migrate:rollback').stdout, /rolled back: 004_add_seat_label/);
    assert.deepEqual(await applied('newer'), ALL);
  });

  it('of v1.5.0 let the classic checkout sell for a while, and then no more', async () => {
    npm('retiring', 'migrate', { release: 'v1.5.0' });
    assert.deepEqual(await applied('retiring'), [...ALL, '004_add_seat_label', '005_retire_classic_checkout']);
    const buy = `INSERT INTO retiring.purchases VALUES (gen_random_uuid(), gen_random_uuid(), 'classic', 'completed', 1)`;
    await database.query('SET search_path TO retiring');
    await database.query(buy);
    await database.query(`UPDATE retiring.schema_migrations SET applied_at = applied_at - interval '91 seconds'`);
    await assert.rejects(database.query(buy), /classic checkout is retired/);
    await database.query(buy.replace('classic', 'two-step'));
    await database.query('RESET search_path');
    assert.match(npm('retiring', 'migrate:rollback').stdout, /rolled back: 005_retire_classic_checkout/);
  });

  it('of many starts at once are applied once', async () => {
    const starts = Array.from({ length: 6 }, async () => {
      const child = spawn(process.execPath, ['src/migrate.js', 'up'], { cwd: FOLDER, env: environment('busy-one') });
      return (await once(child, 'exit'))[0];
    });
    assert.deepEqual(await Promise.all(starts), [0, 0, 0, 0, 0, 0]);
    assert.deepEqual(await applied('busy-one'), ALL);
  });
});
