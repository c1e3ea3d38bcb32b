// Puts the service together, starts it, and ends it on SIGTERM without losing a request.

import { setTimeout as sleep } from 'node:timers/promises';

import { createAdminApp, createUserApp } from './app.js';
import { readConfig } from './config.js';
import { createClient, createPool } from './database.js';
import { createHealth } from './health.js';
import { log } from './log.js';
import { createMetrics } from './metrics.js';
import { migrateUp } from './migrations.js';
import { releaseNamed, startDamage, startLeak } from './releases.js';
import { close, listen } from './server.js';
import { createStore } from './store.js';

const LONGEST_DRAIN_MS = 10_000;
const MIGRATION_RETRY_MS = 1000;

async function start(config) {
  const release = releaseNamed(config.release);
  const pool = createPool(config.database);
  pool.on('error', (error) => log('WARN', `idle database connection lost: ${error.message}`));
  const metrics = createMetrics(config.serviceName);
  const health = createHealth(config, pool);
  const admin = await listen(createAdminApp({ metrics, health }), config.adminPort);
  const running = { config, pool, health, servers: [admin] };
  stopOnSignal(running);

  await migrated(config, release.lastMigration);
  const store = createStore(pool, config);
  const port = config.port + release.portOffset;
  running.servers.push(await listen(createUserApp({ config, store, metrics, health }), port));
  health.state.started = true;
  if (release.leaks) {
    startLeak(config.leakMibPerSecond);
  }
  if (release.damages) {
    startDamage(pool);
  }
  log('INFO', 'started', { release: config.release, port, newCheckout: config.newCheckout });
}

/** Bring the schema up to date; a database that is not there yet is waited for, a bad migration is not. */
async function migrated(config, last) {
  for (;;) {
    const client = createClient(config.database);
    try {
      await client.connect();
    } catch (error) {
      log('WARN', `database not reachable yet: ${error.message || error.code}`);
      await sleep(MIGRATION_RETRY_MS);
      continue;
    }
    try {
      const names = await migrateUp({ client, schema: config.database.schema, last });
      log('INFO', 'migrated', { applied: names });
      return;
    } finally {
      await client.end();
    }
  }
}

function stopOnSignal(running) {
  const stop = (signal) => {
    process.removeAllListeners('SIGTERM').removeAllListeners('SIGINT');
    drain(running, signal).then(
      () => process.exit(0),
      (error) => fail(error),
    );
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
}

/** Not ready first, then a pause in which the endpoint is taken out everywhere, then the listeners. */
async function drain({ config, pool, health, servers }, signal) {
  health.state.draining = true;
  log('INFO', 'draining', { signal });
  await sleep(config.shutdownDelayMs);
  const [admin, ...users] = servers;
  await Promise.race([Promise.all(users.map(close)), sleep(LONGEST_DRAIN_MS)]);
  await Promise.race([Promise.all([close(admin), pool.end()]), sleep(1000)]);
  log('INFO', 'stopped');
}

function fail(error) {
  log('ERROR', `stopped: ${error.message}`);
  process.exit(1);
}

try {
  await start(readConfig(process.env));
} catch (error) {
  fail(error);
}
